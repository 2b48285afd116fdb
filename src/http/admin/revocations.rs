use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::{Admitted, act, limit};
use crate::http::body::{self, Body};
use crate::http::{State, reply};
use crate::protocol::admin::revocations;

pub(in crate::http) async fn list(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let listed = async {
        let params = body::form(request.query_string().as_bytes())?;
        revocations::list(&state.services, params.one("after"), limit(&params)?).await
    };
    match listed.await {
        Ok(page) => reply::json(StatusCode::OK, &page),
        Err(error) => reply::refusal(&error),
    }
}

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
