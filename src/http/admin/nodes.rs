use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use crate::http::{State, reply};
use crate::protocol::admin::nodes;

pub(in crate::http) async fn list(state: web::Data<State>) -> HttpResponse {
    match nodes::list(&state.services).await {
        Ok(list) => reply::json(StatusCode::OK, &list),
        Err(error) => reply::refusal(&error),
    }
}
