use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};

use super::{Admitted, act, limit};
use crate::http::body::{self, Body};
use crate::http::{State, reply, to_the_end};
use crate::protocol::admin::api_keys;

pub(in crate::http) async fn list(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let listed = async {
        let params = body::form(request.query_string().as_bytes())?;
        api_keys::list(&state.services, params.one("after"), limit(&params)?).await
    };
    match listed.await {
        Ok(page) => reply::json(StatusCode::OK, &page),
        Err(error) => reply::refusal(&error),
    }
}

pub(in crate::http) async fn create(
    state: web::Data<State>,
    Admitted(admin): Admitted,
    body: Body,
) -> HttpResponse {
    act(StatusCode::CREATED, &body, |request| async move {
        api_keys::create(&state.services, &admin, request).await
    })
    .await
}

pub(in crate::http) async fn revoke(
    state: web::Data<State>,
    Admitted(admin): Admitted,
    id: web::Path<String>,
) -> HttpResponse {
    let revoked = async move { api_keys::revoke(&state.services, &admin, &id).await };
    match to_the_end(revoked).await {
        Ok(()) => HttpResponse::NoContent().insert_header((header::CACHE_CONTROL, "no-store")).finish(),
        Err(error) => reply::refusal(&error),
    }
}
