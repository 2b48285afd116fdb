use std::fmt;
use std::future::{Ready, ready};
use std::rc::Rc;

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError, web};
use url::form_urlencoded;

use super::anti_forgery;
use super::notice::{self, Notice};
use crate::clock::FURTHEST_AHEAD;
use crate::http::body::{self, Body};
use crate::http::pages::answers::{failure, refused, see_other, whole};
use crate::http::pages::browser::{browser, hold};
use crate::http::pages::sign_in::sign_in_page;
use crate::http::routes::path_of_table;
use crate::http::{State, reply};
use crate::oauth::{ErrorCode, Secret};
use crate::protocol::authorize::{Browser, Present, sign_in_for_page};
use crate::protocol::{Params, ProtocolError};

/// How long ago somebody may have signed in who does what can't be undone, in seconds.
const RECENT: i64 = 15 * 60;

/// The paths that ask for that.
const NEED_RECENT: [&str; 12] = [
    "/console/keys/rotate",
    "/console/keys/{kid}/compromise",
    "/console/new-client",
    "/console/clients/{client_id}",
    "/console/users/{id}",
    "/console/new-user",
    "/console/revocations",
    "/account/email",
    "/account/second-factor",
    "/account/api-keys",
    "/account/applications",
    "/account/applications/{client_id}",
];

/// Who looks at a page: present in every handler of the portal and the console, put there by [`guard`].
#[derive(Clone)]
pub(in crate::http) struct Visitor(Rc<Seen>);

pub(in crate::http) struct Seen {
    pub(in crate::http::pages) present: Present,
    pub(in crate::http::pages) browser: Browser,
    pub(in crate::http::pages) form_token: String,
    pub(in crate::http::pages) notice: Option<Notice>,
}

impl std::ops::Deref for Visitor {
    type Target = Seen;

    fn deref(&self) -> &Seen {
        &self.0
    }
}

/// What a form of this session brought: present in every handler of a POST, put there by [`guard`].
#[derive(Clone)]
pub(in crate::http) struct Form(Rc<Params<'static>>);

impl std::ops::Deref for Form {
    type Target = Params<'static>;

    fn deref(&self) -> &Params<'static> {
        &self.0
    }
}

/// What a handler of the portal or the console answers with.
pub(in crate::http) type Answered = Result<HttpResponse, Refusal>;

/// A refusal, which [`guard`] shows as a page.
#[derive(Debug)]
pub(in crate::http) struct Refusal(ProtocolError);

impl<E: Into<ProtocolError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.description)
    }
}

impl ResponseError for Refusal {
    fn error_response(&self) -> HttpResponse {
        reply::refusal(&self.0)
    }
}

/// Puts what [`let_through`] answers out of reach of a window that opened the page, or that it opened (HTML Living Standard,
/// section 7.1.3).
pub(in crate::http) async fn guard(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut answered = let_through(request, next).await?;
    let alone = HeaderValue::from_static("same-origin");
    answered.headers_mut().insert(header::CROSS_ORIGIN_OPENER_POLICY, alone);
    Ok(answered)
}

/// Lets a request through to the portal only for somebody who is signed in, to the console only for an administrator,
/// and a POST only with a form that was made for the session. Whoever is not signed in is asked to, and comes back.
async fn let_through(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<web::Data<State>>().cloned() else {
        let refusal = reply::refusal(&ProtocolError::server_error("the service has no state"));
        return Ok(request.into_response(refusal));
    };
    body::read_first(&mut request).await;
    let seen = match seen(&state, request.request()).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(unseen)) => {
            let response = ask_to_sign_in(&state, request.request(), &unseen);
            return Ok(request.into_response(response));
        }
        Err(error) => return Ok(request.into_response(refused(&state, &error))),
    };
    let pattern = request.match_pattern().unwrap_or_default();
    if pattern.starts_with("/console") && !seen.present.account.administrator {
        let error = ProtocolError::new(ErrorCode::InsufficientScope, "this page is for administrators");
        return Ok(request.into_response(refused(&state, &error)));
    }
    let now = state.services.clock.numeric_date();
    let age = now - seen.present.session.authentication.auth_time;
    let is_recent = (-FURTHEST_AHEAD.num_seconds()..=RECENT).contains(&age);
    if NEED_RECENT.contains(&&*pattern) && !is_recent {
        let response = ask_to_sign_in(&state, request.request(), &seen.browser);
        return Ok(request.into_response(response));
    }
    let is_act = *request.method() == Method::POST;
    if is_act {
        match form(&mut request, &seen.present.cookie).await {
            Ok(form) => _ = request.extensions_mut().insert(form),
            Err(error) => {
                let again = format!(
                    "{}{}",
                    state.services.issuer,
                    path_of_table(request.request(), &state.frame.base)
                );
                return Ok(request.into_response(failure(&state, &error, Some(&again))));
            }
        }
        // Behind that: a form of another site is not the person's act.
        if let Err(exceeded) = state.services.limits.acts_per_person.spend(&seen.present.account.id) {
            return Ok(request.into_response(refused(&state, &exceeded.into())));
        }
    }
    let is_shown = *request.method() == Method::GET;
    let shown = notice::removal(&state, request.request()).filter(|_| is_shown);
    request.extensions_mut().insert(Visitor(Rc::new(seen)));
    // An act ends even if the browser hangs up.
    let mut answered = whole(next.call(request)).await.map_err(Refusal)??;
    let refusal = answered.response().error().and_then(|error| error.as_error::<Refusal>());
    if let Some(page) = refusal.map(|Refusal(error)| refused(&state, error)) {
        answered = answered.into_response(page);
    }
    // Only a page that came out as it was meant to has shown what waited for it, a secret perhaps.
    if let Some(removal) = shown.filter(|_| answered.status() == StatusCode::OK) {
        answered.headers_mut().append(header::SET_COOKIE, removal);
    }
    Ok(answered)
}

/// Who asks; or, where that is nobody, from which browser.
async fn seen(state: &State, request: &HttpRequest) -> Result<Result<Seen, Browser>, ProtocolError> {
    let browser = browser(state, request);
    let Some(present) = Present::find(&state.services, browser.session.as_ref()).await? else {
        return Ok(Err(browser));
    };
    let notice = match *request.method() {
        Method::GET => notice::waiting(state, request, &present.session.sid)?,
        _ => None,
    };
    let form_token = anti_forgery::token(&present.cookie);
    Ok(Ok(Seen { present, browser, form_token, notice }))
}

/// The sign-in form, from which the browser comes back to the page. A form that was sent too late is begun anew.
fn ask_to_sign_in(state: &State, request: &HttpRequest, browser: &Browser) -> HttpResponse {
    let path = path_of_table(request, &state.frame.base);
    if *request.method() == Method::POST {
        return see_other(&format!("{}{path}", state.services.issuer));
    }
    let page = request.uri().query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    match sign_in_for_page(&state.services, &page, &browser.holder) {
        Ok(form) => hold(state, sign_in_page(state, &form), &browser.holder),
        Err(error) => refused(state, &error),
    }
}

/// The form, if it was made for the session.
async fn form(request: &mut ServiceRequest, session: &Secret) -> Result<Form, ProtocolError> {
    let body = request.extract::<Body>().await.map_err(ProtocolError::server_error)?;
    let text = body::form_text(request.request(), &body)?;
    let pairs = form_urlencoded::parse(text.as_bytes()).into_owned();
    let params = Params::new(pairs.map(|(name, value)| (name.into(), value.into())))?;
    if params.one("form_token").is_some_and(|token| anti_forgery::matches(session, token)) {
        return Ok(Form(Rc::new(params)));
    }
    Err(ProtocolError::invalid_request("the form was not made for this session"))
}

/// What is below the two paths and is no page.
pub(in crate::http) async fn nothing_here() -> Answered {
    Err(ProtocolError::new(ErrorCode::NotFound, "there is nothing here").into())
}

impl FromRequest for Visitor {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    /// Fails closed where the guard was not passed.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let visitor = request.extensions().get::<Self>().cloned();
        ready(visitor.ok_or_else(|| actix_web::error::ErrorForbidden("not signed in")))
    }
}

impl FromRequest for Form {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    /// Fails closed where the guard was not passed.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let form = request.extensions().get::<Self>().cloned();
        ready(form.ok_or_else(|| actix_web::error::ErrorForbidden("no form of this session")))
    }
}
