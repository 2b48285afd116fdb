use std::net::{IpAddr, Ipv4Addr};

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};

use super::cookies::Cookie;
use crate::http::{State, limits};
use crate::limits::ClientAddress;
use crate::oauth::Secret;
use crate::protocol::authorize::Browser;

/// The browser that asks, by what its request bears. Nothing else of a request decides anything: not its `Host`, and
/// no header that somebody else may have put there.
pub(super) fn browser(state: &State, request: &HttpRequest) -> Browser {
    let read = |cookie| state.cookies.read(request, cookie);
    let user_agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    Browser {
        session: read(Cookie::Session),
        holder: read(Cookie::Browser).unwrap_or_else(|| state.services.new_holder()),
        device: read(Cookie::Device),
        address: limits::address(state, request).unwrap_or_else(nowhere),
        user_agent: user_agent.map(str::to_owned),
    }
}

/// The address of a request that came over no network.
fn nowhere() -> ClientAddress {
    ClientAddress::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Adds the cookie that ties forms to this browser.
pub(super) fn hold(state: &State, response: HttpResponse, holder: &Secret) -> HttpResponse {
    with_cookie(response, state.cookies.set(Cookie::Browser, holder, None))
}

/// Adds a cookie.
pub(super) fn with_cookie(mut response: HttpResponse, cookie: Option<HeaderValue>) -> HttpResponse {
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
