use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use super::{Admitted, act};
use crate::http::State;
use crate::http::body::Body;
use crate::protocol::admin::revocations;

pub(in crate::http) async fn revoke(
    state: web::Data<State>,
    Admitted(admin): Admitted,
    body: Body,
) -> HttpResponse {
    act(StatusCode::OK, &body, |request| async move {
        revocations::revoke(&state.services, &admin, request).await
    })
    .await
}
