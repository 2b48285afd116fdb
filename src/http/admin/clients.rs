use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};

use super::{Admitted, act, limit};
use crate::http::body::{self, Body};
use crate::http::{State, reply, to_the_end};
use crate::protocol::admin::clients::{self, PageRequest};
use crate::protocol::{Params, ProtocolError};

pub(in crate::http) async fn list(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    match body::form(request.query_string().as_bytes()).and_then(|params| page(&params)) {
        Ok(page) => reply::json(StatusCode::OK, &clients::list(&state.services, &page)),
        Err(error) => reply::refusal(&error),
    }
}

fn page(params: &Params<'_>) -> Result<PageRequest, ProtocolError> {
    Ok(PageRequest { after: params.one("after").map(str::to_owned), limit: limit(params)? })
}

pub(in crate::http) async fn show(state: web::Data<State>, client_id: web::Path<String>) -> HttpResponse {
    match clients::show(&state.services, &client_id).await {
        Ok(client) => reply::json(StatusCode::OK, &client),
        Err(error) => reply::refusal(&error),
    }
}

pub(in crate::http) async fn register(
    state: web::Data<State>,
    Admitted(admin): Admitted,
    body: Body,
) -> HttpResponse {
    act(StatusCode::CREATED, &body, |request| async move {
        clients::register(&state.services, &admin, request).await
    })
    .await
}

pub(in crate::http) async fn change(
    state: web::Data<State>,
    Admitted(admin): Admitted,
    client_id: web::Path<String>,
    body: Body,
) -> HttpResponse {
    act(StatusCode::OK, &body, |request| async move {
        clients::change(&state.services, &admin, &client_id, request).await
    })
    .await
}

pub(in crate::http) async fn rotate_secret(
    state: web::Data<State>,
    Admitted(admin): Admitted,
    client_id: web::Path<String>,
    body: Body,
) -> HttpResponse {
    act(StatusCode::OK, &body, |request| async move {
        clients::rotate_secret(&state.services, &admin, &client_id, &request).await
    })
    .await
}

pub(in crate::http) async fn delete(
    state: web::Data<State>,
    Admitted(admin): Admitted,
    client_id: web::Path<String>,
) -> HttpResponse {
    let deleted = async move { clients::delete(&state.services, &admin, &client_id).await };
    match to_the_end(deleted).await {
        Ok(()) => HttpResponse::NoContent().insert_header((header::CACHE_CONTROL, "no-store")).finish(),
        Err(error) => reply::refusal(&error),
    }
}
