use std::fmt::Write as _;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use serde_json::{Value, json};

use super::Refusal;
use crate::oauth::ErrorCode;

/// For how long a caller should wait when keys or status can't be had, in seconds.
const RETRY_AFTER_SECONDS: u32 = 5;

/// Why a request was turned away, and the answer that says so (RFC 6750, section 3).
///
/// The body is `{"error", "error_description"}` unless the application sets an [`ErrorBody`].
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Challenge {
    reason: Reason,
    realm: String,
    body: ErrorBody,
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Reason {
    #[error("no bearer token was sent")]
    NoCredentials,
    #[error("{0}")]
    MalformedRequest(&'static str),
    #[error("the token was refused: {0}")]
    Refused(Refusal),
    #[error("the token does not permit {0}")]
    InsufficientScope(&'static str),
    #[error("no Verifier is set up")]
    NotSetUp,
}

/// How the body of an error is shaped, for an API whose errors look otherwise than those of OAuth. Set it
/// by `app_data`, for the whole application or a scope of it.
///
/// ```
/// use signet::verify::ErrorBody;
///
/// let shape = ErrorBody(|challenge| {
///     serde_json::json!({ "error": challenge.error_code(), "message": challenge.description() })
/// });
/// let app = actix_web::App::new().app_data(shape);
/// # let _ = app;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ErrorBody(pub fn(&Challenge) -> Value);

impl Default for ErrorBody {
    fn default() -> Self {
        Self(
            |challenge| json!({ "error": challenge.error_code(), "error_description": challenge.description() }),
        )
    }
}

impl Challenge {
    pub(super) fn new(reason: Reason, realm: String, request: &HttpRequest) -> Self {
        let body = request.app_data::<ErrorBody>().copied().unwrap_or_default();
        Self { reason, realm, body }
    }

    /// The code for the body. Where no credentials were sent, the `WWW-Authenticate` header bears none.
    #[must_use]
    pub fn error_code(&self) -> &'static str {
        let code = match self.reason {
            Reason::MalformedRequest(_) => ErrorCode::InvalidRequest,
            Reason::NoCredentials => ErrorCode::InvalidToken,
            Reason::Refused(refusal) => refusal.error_code(),
            Reason::InsufficientScope(_) => ErrorCode::InsufficientScope,
            Reason::NotSetUp => ErrorCode::ServerError,
        };
        code.as_str()
    }

    /// What the caller is told.
    #[must_use]
    pub fn description(&self) -> &'static str {
        match self.reason {
            Reason::NoCredentials => "an access token is required",
            Reason::MalformedRequest(what) => what,
            Reason::Refused(refusal) => refusal.description(),
            Reason::InsufficientScope(_) => "the access token does not permit this",
            Reason::NotSetUp => "the server is not set up",
        }
    }

    /// The verifier's reason, if it was the verifier who refused: for the log.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self.reason {
            Reason::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The value of `WWW-Authenticate`. Every part is free of quotes and backslashes by its type.
    fn www_authenticate(&self) -> String {
        let mut value = format!(r#"Bearer realm="{}""#, self.realm);
        if !matches!(self.reason, Reason::NoCredentials) {
            let (code, description) = (self.error_code(), self.description());
            let _ = write!(value, r#", error="{code}", error_description="{description}""#);
        }
        if let Reason::InsufficientScope(scope) = self.reason {
            let _ = write!(value, r#", scope="{scope}""#);
        }
        value
    }
}

impl ResponseError for Challenge {
    fn status_code(&self) -> StatusCode {
        match self.reason {
            Reason::MalformedRequest(_) => StatusCode::BAD_REQUEST,
            Reason::Refused(refusal) if refusal.is_temporary() => StatusCode::SERVICE_UNAVAILABLE,
            Reason::NoCredentials | Reason::Refused(_) => StatusCode::UNAUTHORIZED,
            Reason::InsufficientScope(_) => StatusCode::FORBIDDEN,
            Reason::NotSetUp => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        response.insert_header((CACHE_CONTROL, "no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((RETRY_AFTER, RETRY_AFTER_SECONDS.to_string()));
        }
        if status.is_client_error() {
            response.insert_header((WWW_AUTHENTICATE, self.www_authenticate()));
        }
        response.json((self.body.0)(self))
    }
}
