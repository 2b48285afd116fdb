//! Bearer tokens (RFC 6750): how they are sent, and what is answered to who sends none, or a bad one.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderMap};

use super::reply;
use crate::audit::Actor;
use crate::oauth::ErrorCode;
use crate::protocol::ProtocolError;

/// Why somebody is not let through.
pub(super) enum Unadmitted {
    /// They did not say who they are.
    Anonymous,
    /// Anything else.
    Refused(ProtocolError),
    /// They are somebody, but may not do this; to be recorded.
    NotPermitted(Actor, ProtocolError),
}

impl<E: Into<ProtocolError>> From<E> for Unadmitted {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
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
