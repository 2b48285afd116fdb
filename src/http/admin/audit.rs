use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::limit;
use crate::http::{State, body, reply};
use crate::protocol::admin::audit::{self, EntryPage};
use crate::protocol::{ProtocolError, Services};

pub(in crate::http) async fn search(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    match found(&state.services, &request).await {
        Ok(page) => reply::json(StatusCode::OK, &page),
        Err(error) => reply::refusal(&error),
    }
}

async fn found(services: &Services, request: &HttpRequest) -> Result<EntryPage, ProtocolError> {
    let params = body::form(request.query_string().as_bytes())?;
    let search = audit::asked(&params, limit(&params)?.unwrap_or(100))?;
    audit::search(services, search).await
}
