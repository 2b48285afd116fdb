//! The userinfo endpoints.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::bearer::{self, Unadmitted};
use super::body::{self, Body, Encoding};
use super::{State, reply};
use crate::oauth::Secret;
use crate::protocol::{self, ProtocolError};

/// OpenID Connect Core 1.0, section 5.3.
pub(super) async fn standard(state: web::Data<State>, request: HttpRequest, body: Body) -> HttpResponse {
    let answer = match token(&request, &body) {
        Ok(token) => protocol::userinfo(&state.services, token.expose()).await.map_err(Unadmitted::from),
        Err(unadmitted) => Err(unadmitted),
    };
    match answer {
        Ok(claims) => reply::json(StatusCode::OK, &claims),
        Err(unadmitted) => reply::unread(refusal(&unadmitted), &body),
    }
}

/// The same in an older document's words.
pub(super) async fn php(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let answer = match token(&request, &Body::NONE) {
        Ok(token) => {
            protocol::plain_userinfo(&state.services, token.expose()).await.map_err(Unadmitted::from)
        }
        Err(unadmitted) => Err(unadmitted),
    };
    match answer {
        Ok(person) => reply::json(StatusCode::OK, &person),
        Err(unadmitted) => refusal(&unadmitted),
    }
}

/// The challenge to whoever sent no token says only that one is needed (RFC 6750, section 3.1).
fn refusal(unadmitted: &Unadmitted) -> HttpResponse {
    match unadmitted {
        Unadmitted::Refused(error) => reply::refusal(error),
        Unadmitted::Anonymous => reply::challenge_bearer(reply::refusal(&bearer::anonymous()), ""),
    }
}

/// The access token: in the header, or in the form that was posted, and never in both (RFC 6750, section 2).
fn token(request: &HttpRequest, body: &Body) -> Result<Secret, Unadmitted> {
    let in_header = if request.headers().contains_key(header::AUTHORIZATION) {
        Some(bearer::token(request.headers())?.trim())
    } else {
        None
    };
    let bytes = body.bytes()?;
    let form = match body::encoding(request) {
        Some(Encoding::Form) => body::form(bytes)?,
        _ => protocol::Params::default(),
    };
    match (in_header, form.one("access_token")) {
        (Some(_), Some(_)) => {
            Err(ProtocolError::invalid_request("the access token is sent in two ways").into())
        }
        (None, None) => Err(Unadmitted::Anonymous),
        (header, form) => Ok(Secret::new(header.or(form).unwrap_or_default().to_owned())),
    }
}
