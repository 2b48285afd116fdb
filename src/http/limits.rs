//! Limits on the surface: whom a request counts for, and how an answer says how a limit stands.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse, web};

use super::{State, pages, reply};
use crate::limits::{AddressPrefix, ClientAddress, Limited, Limits, Standing};
use crate::oauth::ErrorCode;
use crate::protocol::{Credentials, Params, ProtocolError};

/// Whom the request counts for; unknown only where it came over no network.
pub(super) fn address(state: &State, request: &HttpRequest) -> Option<ClientAddress> {
    let peer = request.peer_addr()?.ip();
    // Looked for only if they are asked for: behind no proxy they never are.
    let lines = std::iter::once_with(|| request.headers().get_all(state.proxies.header.name())).flatten();
    Some(state.proxies.client(peer, lines.map(HeaderValue::as_bytes)))
}

fn prefix(state: &State, request: &HttpRequest) -> AddressPrefix {
    let nowhere = || ClientAddress::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    address(state, request).unwrap_or_else(nowhere).prefix()
}

/// Counts a refused request for its address. Once too many were refused, the answer says only that; whoever brings the
/// right credentials is let through all the same, so that no stranger can lock out those who share an address.
pub(super) fn refused(state: &State, request: &HttpRequest, error: ProtocolError) -> ProtocolError {
    let credentials = matches!(
        error.code,
        ErrorCode::InvalidClient | ErrorCode::InvalidToken | ErrorCode::InsufficientScope
    );
    if !credentials {
        return error;
    }
    match state.services.limits.refused_per_address.spend(&prefix(state, request)) {
        Ok(_) => error,
        Err(exceeded) => exceeded.into(),
    }
}

/// Whether too many requests of this address were refused already.
pub(super) fn is_refused_too_often(state: &State, request: &HttpRequest) -> bool {
    state.services.limits.refused_per_address.is_used_up(&prefix(state, request))
}

/// Counts a request for a token, or to revoke one, in which no client authenticates itself: it can only count for its address.
pub(super) fn unauthenticated(
    state: &State,
    request: &HttpRequest,
    credentials: &Credentials,
    params: &Params<'_>,
) -> Result<(), ProtocolError> {
    if !matches!(credentials, Credentials::Absent) || params.one("client_secret").is_some() {
        return Ok(());
    }
    state.services.limits.token_per_address.spend(&prefix(state, request))?;
    Ok(())
}

/// One of the limits that go by address.
type Which = fn(&Limits) -> &Limited<AddressPrefix>;

/// How a refusal is shown: to a person as a page, to a program as JSON.
type Shown = fn(&State, &ProtocolError) -> HttpResponse;

/// The paths whose every request counts for its address.
const PATHS: [(&str, Which, Shown); 4] = [
    ("/oauth2/authorize", |limits| &limits.authorize_per_address, page),
    ("/oauth/authorize", |limits| &limits.authorize_per_address, page),
    ("/api/authorize.php", |limits| &limits.authorize_per_address, page),
    ("/api/v1/apps", |limits| &limits.registration_per_address, json),
];

fn json(_: &State, error: &ProtocolError) -> HttpResponse {
    reply::refusal(error)
}

fn page(state: &State, error: &ProtocolError) -> HttpResponse {
    pages::failure(state, error, None)
}

/// Whether [`guard`] belongs before a path of the URL table.
pub(super) fn guards(path: &str) -> bool {
    PATHS.iter().any(|(each, ..)| *each == path)
}

/// Refuses a request whose address has asked too often for what this path does.
pub(super) async fn guard(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let refused = request.app_data::<web::Data<State>>().and_then(|state| {
        let pattern = request.match_pattern()?;
        let (_, limited, shown) = PATHS.iter().find(|(path, ..)| *path == pattern)?;
        let exceeded = limited(&state.services.limits).spend(&prefix(state, request.request())).err()?;
        Some(shown(state, &exceeded.into()))
    });
    match refused {
        None => next.call(request).await,
        Some(refusal) => Ok(request.into_response(refusal)),
    }
}

/// Says how a limit stands: as the IETF draft has it (draft-ietf-httpapi-ratelimit-headers-11, sections 3 and 4), and in
/// the older fields, whose reset is a date in seconds since the epoch.
pub(super) fn announce(response: &mut HttpResponse, standing: &Standing) {
    let Standing { policy, quota, resets_at } = standing;
    let (name, limit, remaining) = (policy.as_str(), quota.limit.requests, quota.remaining);
    let span = quota.limit.span.as_secs();
    // Rounded up it may be a second more than there is in the window.
    let reset = quota.reset_seconds().min(span);
    let fields = [
        ("ratelimit-policy", format!("\"{name}\";q={limit};w={span}")),
        ("ratelimit", format!("\"{name}\";r={remaining};t={reset}")),
        ("x-ratelimit-limit", limit.to_string()),
        ("x-ratelimit-remaining", remaining.to_string()),
        ("x-ratelimit-reset", resets_at.to_string()),
    ];
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Limit, Policy, Quota};

    /// A request counts from the end of its millisecond, so that its window is over up to one later than it is long.
    #[test]
    fn a_window_is_not_said_to_be_over_later_than_it_is_long() {
        let limit = Limit::per_minute(100).unwrap();
        let resets_after = limit.span + std::time::Duration::from_millis(1);
        let quota = Quota { admitted: true, limit, remaining: 99, resets_after };
        let mut response = HttpResponse::Ok().finish();
        announce(&mut response, &Standing { policy: Policy::ApiKey, quota, resets_at: 60 });
        assert_eq!(response.headers().get("ratelimit").unwrap(), "\"apikey\";r=99;t=60");
    }
}
