use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use super::{Admitted, act};
use crate::http::body::Body;
use crate::http::{State, reply};
use crate::protocol::admin::keys;

pub(in crate::http) async fn list(state: web::Data<State>) -> HttpResponse {
    reply::json(StatusCode::OK, &keys::list(&state.services))
}

pub(in crate::http) async fn plan(state: web::Data<State>) -> HttpResponse {
    reply::json(StatusCode::OK, &keys::plan(&state.services))
}

pub(in crate::http) async fn rotate(
    state: web::Data<State>,
    Admitted(admin): Admitted,
    body: Body,
) -> HttpResponse {
    act(StatusCode::OK, &body, |request| async move { keys::rotate(&state.services, &admin, &request).await })
        .await
}

pub(in crate::http) async fn compromise(
    state: web::Data<State>,
    Admitted(admin): Admitted,
    kid: web::Path<String>,
    body: Body,
) -> HttpResponse {
    act(StatusCode::OK, &body, |request| async move {
        keys::compromise(&state.services, &admin, &kid, &request).await
    })
    .await
}

pub(in crate::http) async fn import(
    state: web::Data<State>,
    Admitted(admin): Admitted,
    body: Body,
) -> HttpResponse {
    act(
        StatusCode::CREATED,
        &body,
        |request| async move { keys::import(&state.services, &admin, &request).await },
    )
    .await
}
