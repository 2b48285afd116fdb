//! Answers: JSON, never stored, with the headers that the RFCs ask for.

use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::http::ConnectionType;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use serde::Serialize;

use super::bearer;
use super::body::{Body, BodyError};
use super::limits;
use crate::oauth::{ErrorCode, SignedToken};
use crate::protocol::ProtocolError;
use crate::telemetry::request_failed;

/// The one table of statuses.
pub(super) fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidClient | ErrorCode::InvalidToken => StatusCode::UNAUTHORIZED,
        ErrorCode::InsufficientScope => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Conflict => StatusCode::CONFLICT,
        ErrorCode::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::InvalidRequest
        | ErrorCode::InvalidGrant
        | ErrorCode::UnauthorizedClient
        | ErrorCode::UnsupportedGrantType
        | ErrorCode::InvalidScope
        | ErrorCode::UnsupportedResponseType
        | ErrorCode::AccessDenied
        | ErrorCode::LoginRequired
        | ErrorCode::UnmetAuthenticationRequirements
        | ErrorCode::ConsentRequired
        | ErrorCode::RequestNotSupported
        | ErrorCode::RequestUriNotSupported
        | ErrorCode::RegistrationNotSupported
        | ErrorCode::InvalidTarget => StatusCode::BAD_REQUEST,
    }
}

/// Room for most answers, a token's included, so that they are written without growing.
const USUAL_BODY: usize = 1024;

/// A JSON answer that no cache keeps (RFC 6749, section 5.1).
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    let mut text = Vec::with_capacity(USUAL_BODY);
    match serde_json::to_writer(&mut text, body) {
        Ok(()) => unstored(status, text),
        Err(error) => refusal(&ProtocolError::server_error(error)),
    }
}

/// A token answer (RFC 6749, section 5.1): `access_token`, and the members of `rest`, of which there is one at least.
///
/// A signed token has nothing in it that JSON would escape: it is copied, not searched for such characters.
pub(super) fn token(access_token: &SignedToken, rest: &impl Serialize) -> HttpResponse {
    let mut text = Vec::with_capacity(USUAL_BODY);
    text.extend_from_slice(br#"{"access_token":""#);
    text.extend_from_slice(access_token.expose().as_bytes());
    text.push(b'"');
    let brace = text.len();
    match serde_json::to_writer(&mut text, rest) {
        Ok(()) => {
            text[brace] = b',';
            unstored(StatusCode::OK, text)
        }
        Err(error) => refusal(&ProtocolError::server_error(error)),
    }
}

fn unstored(status: StatusCode, text: Vec<u8>) -> HttpResponse {
    let mut response = HttpResponse::with_body(status, BoxBody::new(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The members of an error answer (RFC 6749, section 5.2).
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorCode,
    error_description: &'a str,
}

/// A refusal in the standard shape; where a bearer token is at fault, with its challenge (RFC 6750, section 3).
pub(super) fn refusal(error: &ProtocolError) -> HttpResponse {
    let body = ErrorBody { error: error.code, error_description: &error.description };
    let response = with_retry(json(status(error.code), &body), error);
    bearer::challenged(response, error)
}

/// Asks for a bearer token; `parameters` come behind the realm.
pub(super) fn challenge_bearer(mut response: HttpResponse, parameters: &str) -> HttpResponse {
    if let Ok(value) = HeaderValue::from_str(&format!("Bearer realm=\"signet\"{parameters}")) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    response
}

/// Logs what lies behind a refusal, and says when to try again.
pub(super) fn with_retry(mut response: HttpResponse, error: &ProtocolError) -> HttpResponse {
    if let Some(cause) = &error.cause {
        request_failed(error.code, cause);
    }
    if let Some(seconds) = error.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(exceeded) = &error.exceeded {
        limits::announce(&mut response, exceeded.standing());
    }
    response
}

/// The status of a refusal whose reason is that the body could not be read (RFC 9110, sections 15.5.9 and
/// 15.5.14). The connection is closed: the rest of the body is not waited for.
pub(super) fn unread(mut response: HttpResponse, body: &Body) -> HttpResponse {
    let status = match body.bytes() {
        Ok(_) | Err(BodyError::Unreadable) => return response,
        Err(BodyError::TooLong) => StatusCode::PAYLOAD_TOO_LARGE,
        Err(BodyError::TooSlow) => StatusCode::REQUEST_TIMEOUT,
    };
    *response.status_mut() = status;
    response.head_mut().set_connection_type(ConnectionType::Close);
    response
}

/// Asks for HTTP Basic (RFC 6749, section 5.2; RFC 9110, section 15.5.2 wants a challenge with every 401).
pub(super) fn challenge_basic(mut response: HttpResponse) -> HttpResponse {
    let challenge = HeaderValue::from_static("Basic realm=\"signet\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}
