//! The userinfo endpoints.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::body::{self, Body, Encoding};
use super::{State, reply};
use crate::oauth::{ErrorCode, Secret};
use crate::protocol::{self, ProtocolError};

/// OpenID Connect Core 1.0, section 5.3.
pub(super) async fn standard(state: web::Data<State>, request: HttpRequest, body: Body) -> HttpResponse {
    let answer = match token(&request, &body) {
        Ok(token) => protocol::userinfo(&state.services, token.expose()).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(claims) => reply::json(StatusCode::OK, &claims),
        Err(error) => reply::unread(reply::refusal(&error), &body),
    }
}

/// The same in an older document's words.
pub(super) async fn php(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let answer = match token(&request, &Body::NONE) {
        Ok(token) => protocol::plain_userinfo(&state.services, token.expose()).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(person) => reply::json(StatusCode::OK, &person),
        Err(error) => reply::refusal(&error),
    }
}

/// The access token: in the header, or in the form that was posted, and never in both (RFC 6750, section 2).
fn token(request: &HttpRequest, body: &Body) -> Result<Secret, ProtocolError> {
    let missing = || ProtocolError::new(ErrorCode::InvalidToken, "an access token is needed");
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let in_header = match (headers.next(), headers.next()) {
        (None, _) => None,
        (Some(value), None) => Some(value.to_str().ok().and_then(bearer).ok_or_else(missing)?),
        (Some(_), Some(_)) => {
            return Err(ProtocolError::invalid_request("there are two Authorization headers"));
        }
    };
    let bytes = body.bytes()?;
    let form = match body::encoding(request) {
        Some(Encoding::Form) => body::form(bytes)?,
        _ => protocol::Params::default(),
    };
    match (in_header, form.one("access_token")) {
        (Some(_), Some(_)) => Err(ProtocolError::invalid_request("the access token is sent in two ways")),
        (None, None) => Err(missing()),
        (header, form) => Ok(Secret::new(header.or(form).unwrap_or_default().to_owned())),
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}
