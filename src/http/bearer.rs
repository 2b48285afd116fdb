//! Bearer tokens (RFC 6750): how they are sent, and what is answered to who sends none, or a bad one.

use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse};

use super::{State, limits, reply};
use crate::oauth::ErrorCode;
use crate::protocol::ProtocolError;

/// Why somebody is not let through.
pub(super) enum Unadmitted {
    /// They did not say who they are.
    Anonymous,
    /// Anything else.
    Refused(ProtocolError),
}

impl<E: Into<ProtocolError>> From<E> for Unadmitted {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

impl Unadmitted {
    /// Counts the refusal for the address that the request came from; once there are too many, that is all it says.
    pub(super) fn counted(self, state: &State, request: &HttpRequest) -> Self {
        match self {
            Self::Refused(error) => Self::Refused(limits::refused(state, request, error)),
            Self::Anonymous => {
                let error = limits::refused(state, request, anonymous());
                if error.exceeded.is_some() { Self::Refused(error) } else { Self::Anonymous }
            }
        }
    }
}

/// What is answered to whoever sends no token, besides the challenge.
pub(super) fn anonymous() -> ProtocolError {
    ProtocolError::new(ErrorCode::InvalidToken, "an access token is needed")
}

/// The token in the `Authorization` header (RFC 6750, section 2.1).
pub(super) fn token(headers: &HeaderMap) -> Result<&str, Unadmitted> {
    let mut values = headers.get_all(header::AUTHORIZATION);
    let Some(value) = values.next() else { return Err(Unadmitted::Anonymous) };
    if values.next().is_some() {
        return Err(ProtocolError::invalid_request("there are two Authorization headers").into());
    }
    match value.to_str().ok().and_then(|value| value.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => Ok(token),
        _ => Err(Unadmitted::Anonymous),
    }
}

/// Adds the challenge where a bearer token is at fault (RFC 6750, section 3).
pub(super) fn challenged(response: HttpResponse, error: &ProtocolError) -> HttpResponse {
    match error.code {
        ErrorCode::InvalidToken | ErrorCode::InsufficientScope => {
            let (code, description) = (error.code.as_str(), &error.description);
            let parameters = format!(", error=\"{code}\", error_description=\"{description}\"");
            reply::challenge_bearer(response, &parameters)
        }
        _ => response,
    }
}
