//! The sign-in form and the form of the second factor.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

use super::answers::{failure, interrupted, see_other, whole};
use super::browser::{browser, with_cookie};
use super::cookies::Cookie;
use super::frame::{Allowed, page};
use super::views;
use crate::http::body::{self, Body};
use crate::http::{State, reply};
use crate::protocol::ProtocolError;
use crate::protocol::authorize::{
    self, Interrupted, Problem, Requester, SecondFactorForm, SignInForm, SignedIn,
};

/// Takes name and password.
pub(in crate::http) async fn sign_in(
    state: web::Data<State>,
    request: HttpRequest,
    body: Body,
) -> HttpResponse {
    let (services, asker) = (state.services.clone(), browser(&state, &request));
    let form = match body::form_text(&request, &body) {
        Ok(form) => form,
        Err(error) => return reply::unread(failure(&state, &error, None), &body),
    };
    let signed_in = async move {
        let params = body::form(form.as_bytes())?;
        authorize::sign_in(&services, &params, &asker).await
    };
    outcome(&state, whole(signed_in).await)
}

/// Takes the second factor.
pub(in crate::http) async fn second_factor(
    state: web::Data<State>,
    request: HttpRequest,
    body: Body,
) -> HttpResponse {
    let (services, asker) = (state.services.clone(), browser(&state, &request));
    let form = match body::form_text(&request, &body) {
        Ok(form) => form,
        Err(error) => return reply::unread(failure(&state, &error, None), &body),
    };
    let signed_in = async move {
        let params = body::form(form.as_bytes())?;
        authorize::second_factor(&services, &params, &asker).await
    };
    outcome(&state, whole(signed_in).await)
}

fn outcome(state: &State, signed_in: Result<Result<SignedIn, Interrupted>, ProtocolError>) -> HttpResponse {
    match signed_in {
        Ok(Ok(SignedIn::Again(form))) => sign_in_page(state, &form),
        Ok(Ok(SignedIn::SecondFactor(form))) => second_factor_page(state, &form),
        Ok(Ok(SignedIn::Done { location, session, device })) => {
            let cookies = state.cookies;
            let mut response = see_other(&location);
            if let Some(session) = session {
                response = with_cookie(response, cookies.set(Cookie::Session, &session, None));
                // Whoever knows it can't use a form of before any more.
                response = with_cookie(response, cookies.remove(Cookie::Browser));
            }
            let device =
                device.and_then(|device| cookies.set(Cookie::Device, &device.value, Some(device.max_age)));
            with_cookie(response, device)
        }
        Ok(Err(error)) => interrupted(state, &error),
        Err(error) => failure(state, &error, None),
    }
}

pub(super) fn sign_in_page(state: &State, form: &SignInForm) -> HttpResponse {
    let client = form.requester.as_ref().map(|each| views::ClientView::of(&state.frame, &each.client));
    let allowed = allowed(client.as_ref(), form.requester.as_ref());
    let template = views::SignIn {
        frame: &state.frame,
        state: &form.state,
        username: &form.username,
        current: form.current.as_ref().map(|account| account.name.as_str()),
        problem: form.problem.map(|problem| match problem {
            Problem::Wrong => "The name or the password is not right. Please check both and try again.",
            other => elsewise(other),
        }),
        client,
    };
    again(form.problem, |status| page(status, &template, &allowed))
}

fn second_factor_page(state: &State, form: &SecondFactorForm) -> HttpResponse {
    let client = form.requester.as_ref().map(|each| views::ClientView::of(&state.frame, &each.client));
    let allowed = allowed(client.as_ref(), form.requester.as_ref());
    let template = views::SecondFactor {
        frame: &state.frame,
        state: &form.state,
        problem: form.problem.map(|problem| match problem {
            Problem::Wrong => "That code is not right, or was used before. Please wait for the next one.",
            other => elsewise(other),
        }),
        client,
    };
    again(form.problem, |status| page(status, &template, &allowed))
}

/// What the pages on the way to a client may load, and where their forms lead in the end.
fn allowed(shown: Option<&views::ClientView<'_>>, requester: Option<&Requester>) -> Allowed {
    let redirect_uri = requester.map(|requester| requester.redirect_uri.as_str());
    Allowed::of(shown.and_then(|client| client.logo), redirect_uri)
}

fn elsewise(problem: Problem) -> &'static str {
    match problem {
        Problem::TooMany { .. } => "There were too many tries. Please wait a while before the next one.",
        _ => "Many people are signing in just now. Please try again in a moment.",
    }
}

/// The page with the status of what was wrong with the form before it.
fn again(problem: Option<Problem>, page: impl FnOnce(StatusCode) -> HttpResponse) -> HttpResponse {
    let (status, retry_after) = match problem {
        None => (StatusCode::OK, None),
        Some(Problem::Wrong) => (StatusCode::BAD_REQUEST, None),
        Some(Problem::TooMany { retry_after }) => (StatusCode::TOO_MANY_REQUESTS, Some(retry_after)),
        Some(Problem::Busy { retry_after }) => (StatusCode::SERVICE_UNAVAILABLE, Some(retry_after)),
    };
    let mut response = page(status);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
