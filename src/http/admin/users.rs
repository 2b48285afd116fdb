use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};

use super::{Admitted, act};
use crate::http::body::{self, Body};
use crate::http::{State, reply, to_the_end};
use crate::protocol::ProtocolError;
use crate::protocol::admin::users::{self, AccountSearch};

pub(in crate::http) async fn list(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let params = body::form(request.query_string().as_bytes());
    let listed = match params.and_then(|params| AccountSearch::parse(&params)) {
        Ok(search) => users::list(&state.services, &search).await,
        Err(error) => Err(error),
    };
    match listed {
        Ok(page) => reply::json(StatusCode::OK, &page),
        Err(error) => reply::refusal(&error),
    }
}

pub(in crate::http) async fn show(state: web::Data<State>, id: web::Path<String>) -> HttpResponse {
    match users::show(&state.services, &id).await {
        Ok(account) => reply::json(StatusCode::OK, &account),
        Err(error) => reply::refusal(&error),
    }
}

pub(in crate::http) async fn register(
    state: web::Data<State>,
    Admitted(admin): Admitted,
    body: Body,
) -> HttpResponse {
    act(StatusCode::CREATED, &body, |request| async move {
        users::register(&state.services, &admin, request).await
    })
    .await
}

pub(in crate::http) async fn change(
    state: web::Data<State>,
    Admitted(admin): Admitted,
    id: web::Path<String>,
    body: Body,
) -> HttpResponse {
    act(
        StatusCode::OK,
        &body,
        |request| async move { users::change(&state.services, &admin, &id, request).await },
    )
    .await
}

pub(in crate::http) async fn delete(
    state: web::Data<State>,
    Admitted(admin): Admitted,
    id: web::Path<String>,
) -> HttpResponse {
    let deleted = async move { users::delete(&state.services, &admin, &id).await };
    no_more(to_the_end(deleted).await)
}

pub(in crate::http) async fn remove_second_factor(
    state: web::Data<State>,
    Admitted(admin): Admitted,
    id: web::Path<String>,
) -> HttpResponse {
    let removed = async move { users::remove_second_factor(&state.services, &admin, &id).await };
    no_more(to_the_end(removed).await)
}

/// The answer to a removal.
fn no_more(removed: Result<(), ProtocolError>) -> HttpResponse {
    match removed {
        Ok(()) => HttpResponse::NoContent().insert_header((header::CACHE_CONTROL, "no-store")).finish(),
        Err(error) => reply::refusal(&error),
    }
}
