//! What the endpoints of the pages answer with: redirects, replies to clients, refusals.

use std::future::Future;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};

use super::frame::{Allowed, page};
use super::views;
use crate::audit::Origin;
use crate::http::{State, reply};
use crate::oauth::ErrorCode;
use crate::protocol::authorize::{Interrupted, Reply, ResponseMode};
use crate::protocol::{Patience, ProtocolError};

/// Lets `act` end even if the browser hangs up.
pub(super) async fn whole<T: 'static>(act: impl Future<Output = T> + 'static) -> Result<T, ProtocolError> {
    actix_web::rt::spawn(Origin::carried(Patience::carried(act))).await.map_err(ProtocolError::server_error)
}

/// Sends the browser on by GET, whatever it came by: 303 and never 307, which would carry a password along (RFC 9700,
/// section 4.12).
pub(super) fn see_other(location: &str) -> HttpResponse {
    match HeaderValue::from_str(location) {
        Ok(location) => {
            let mut response = HttpResponse::new(StatusCode::SEE_OTHER);
            let headers = response.headers_mut();
            headers.insert(header::LOCATION, location);
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            response
        }
        Err(error) => reply::refusal(&ProtocolError::server_error(error)),
    }
}

/// Answers the client, by way of the browser.
pub(super) fn answer(state: &State, reply: &Reply) -> HttpResponse {
    match reply.to.response_mode {
        ResponseMode::Query => see_other(&reply.location()),
        ResponseMode::FormPost => {
            let template = views::FormPost {
                frame: &state.frame,
                client_name: &reply.to.client_name,
                action: &reply.to.redirect_uri,
                members: &reply.members,
            };
            let allowed = Allowed { script: true, ..Allowed::of(None, Some(&reply.to.redirect_uri)) };
            page(StatusCode::OK, &template, &allowed)
        }
        ResponseMode::OutOfBand => shown(state, reply),
    }
}

/// The answer for a client that can't be redirected to.
fn shown(state: &State, reply: &Reply) -> HttpResponse {
    let client_name = &reply.to.client_name;
    if let Some(code) = reply.member("code") {
        let template = views::ShownCode { frame: &state.frame, client_name, code };
        return page(StatusCode::OK, &template, &Allowed::default());
    }
    let template = views::Failure {
        frame: &state.frame,
        heading: "The application gets no access",
        text: &sentence(reply.member("error_description").unwrap_or_default()),
        again: None,
        home: false,
        code: reply.member("error"),
    };
    page(StatusCode::BAD_REQUEST, &template, &Allowed::default())
}

/// A refusal for a client that nobody vouches for: the person reads it, and goes on to the client only if they want to. The link
/// carries it as a query, whatever `response_mode` was asked for.
pub(super) fn by_link(state: &State, reply: &Reply) -> HttpResponse {
    if reply.to.response_mode == ResponseMode::OutOfBand {
        return shown(state, reply);
    }
    let location = reply.location();
    let template = views::DeadEnd {
        frame: &state.frame,
        client_name: &reply.to.client_name,
        text: &sentence(reply.member("error_description").unwrap_or_default()),
        code: reply.member("error").unwrap_or_default(),
        host: host(&reply.to.redirect_uri),
        location: &location,
    };
    page(StatusCode::BAD_REQUEST, &template, &Allowed::default())
}

/// The host that a redirect URI leads to, for people: who pretends to be somebody else can't hide that. None if it leads to an
/// application on this device: what looks like a host there is the application's own wording.
pub(super) fn host(redirect_uri: &str) -> Option<String> {
    let url = url::Url::parse(redirect_uri).ok().filter(|url| url.scheme() == "https")?;
    url.host_str().map(str::to_owned)
}

/// A page that says what is wrong, in fixed words. Nothing of the request is repeated.
pub(in crate::http) fn failure(state: &State, error: &ProtocolError, again: Option<&str>) -> HttpResponse {
    let text = sentence(&error.description);
    let template = views::Failure::of(state, error, (&text, again));
    reply::with_retry(page(reply::status(error.code), &template, &Allowed::default()), error)
}

/// The same for who is signed in and uses the portal or the console: there is a way back, and no application whose
/// developer had to know more.
pub(super) fn refused(state: &State, error: &ProtocolError) -> HttpResponse {
    let text = sentence(&error.description);
    let template =
        views::Failure { code: None, home: true, ..views::Failure::of(state, error, (&text, None)) };
    reply::with_retry(page(reply::status(error.code), &template, &Allowed::default()), error)
}

/// What only a form leads to was opened by its address: after an error there, or with a tab of before.
pub(in crate::http) fn form_opened(state: &State) -> HttpResponse {
    let text = "It belongs to a form that was sent. Please start again at the application that you were on the way to.";
    stray(state, StatusCode::METHOD_NOT_ALLOWED, ("This page can’t be opened by its address", text))
}

/// There is no such page.
pub(in crate::http) fn no_such_page(state: &State) -> HttpResponse {
    let text = "Please look at the address again, or start at the application that you were on the way to.";
    stray(state, StatusCode::NOT_FOUND, ("There is nothing here", text))
}

fn stray(state: &State, status: StatusCode, (heading, text): (&str, &str)) -> HttpResponse {
    let template = views::Failure { frame: &state.frame, heading, text, again: None, home: true, code: None };
    page(status, &template, &Allowed::default())
}

/// A form that leads nowhere.
pub(super) fn interrupted(state: &State, interrupted: &Interrupted) -> HttpResponse {
    match interrupted {
        Interrupted::Form { error, again } => failure(state, error, again.as_deref()),
        Interrupted::ToClient(reply) => answer(state, reply),
        Interrupted::ByLink(reply) => by_link(state, reply),
    }
}

/// What is wrong with a form that can be mended, as a sentence; any other error stays one.
pub(super) fn curable(error: ProtocolError) -> Result<String, ProtocolError> {
    match error.code {
        ErrorCode::InvalidRequest | ErrorCode::InvalidScope | ErrorCode::Conflict => {
            Ok(sentence(&error.description))
        }
        _ => Err(error),
    }
}

/// A description as a sentence; a parameter's name stays as it is written.
pub(super) fn sentence(description: &str) -> String {
    let first_word = description.split(' ').next().unwrap_or_default();
    let mut letters = description.chars();
    match letters.next() {
        Some(first) if !first_word.contains('_') => {
            format!("{}{}.", first.to_uppercase(), letters.as_str())
        }
        _ => format!("{description}."),
    }
}
