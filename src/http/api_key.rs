//! How API keys are sent: in a header of their own, in place of a bearer token, or, where the operator wants it, in the
//! query.

use actix_web::HttpRequest;
use actix_web::http::header;
use url::form_urlencoded;

use super::State;
use crate::oauth::Secret;
use crate::protocol::{API_KEY_PREFIX, ProtocolError};

/// The API key that the request is sent with, if it is with one.
///
/// # Errors
/// `invalid_request` when there are several, or one besides a bearer token: it would not be clear who asks.
pub(super) fn sent(state: &State, request: &HttpRequest) -> Result<Option<Secret>, ProtocolError> {
    let text = |value: &header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let mut found: Vec<String> = request.headers().get_all("x-api-key").map(text).collect();
    let authorizations: Vec<String> = request.headers().get_all(header::AUTHORIZATION).map(text).collect();
    found.extend(authorizations.iter().filter_map(|value| authorized(value)).map(str::to_owned));
    if state.api_keys_in_query {
        let pairs = form_urlencoded::parse(request.query_string().as_bytes());
        found.extend(pairs.filter(|(name, _)| name == "api_key").map(|(_, value)| value.into_owned()));
    }
    let besides = authorizations.iter().any(|value| authorized(value).is_none());
    match (found.pop().map(Secret::new), found.is_empty() && !besides) {
        (Some(_), false) => Err(ProtocolError::invalid_request("the request is authenticated in two ways")),
        (sent, _) => Ok(sent),
    }
}

/// The key in an `Authorization` header: `ApiKey …`, or `Bearer sk_…`.
fn authorized(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    let bearer = scheme.eq_ignore_ascii_case("Bearer") && key.starts_with(API_KEY_PREFIX);
    (bearer || scheme.eq_ignore_ascii_case("ApiKey")).then_some(key)
}
