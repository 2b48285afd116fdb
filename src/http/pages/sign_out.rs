//! Signing out.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::answers::{failure, see_other, whole};
use super::browser::{browser, with_cookie};
use super::cookies::Cookie;
use super::frame::{Allowed, page};
use super::views;
use crate::http::body::{self, Body};
use crate::http::{State, reply};
use crate::protocol::{self, ProtocolError, SignOut};

/// A client's wish that somebody be signed out (OpenID Connect RP-Initiated Logout 1.0, section 2).
pub(in crate::http) async fn logout(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let (services, asker) = (state.services.clone(), browser(&state, &request));
    let query = request.query_string().to_owned();
    let ended = async move {
        let params = body::form(query.as_bytes())?;
        protocol::logout(&services, &params, &asker).await
    };
    outcome(&state, whole(ended).await.and_then(|outcome| outcome))
}

/// The same by POST: the form may come from another site, without cookies; so the browser asks again by GET.
pub(in crate::http) async fn logout_by_post(
    state: web::Data<State>,
    request: HttpRequest,
    body: Body,
) -> HttpResponse {
    match body::form_text(&request, &body) {
        Ok(form) => see_other(&format!("{}/oauth2/logout?{}", state.services.issuer, body::as_query(&form))),
        Err(error) => reply::unread(failure(&state, &error, None), &body),
    }
}

/// What the person answers to the question.
pub(in crate::http) async fn sign_out(
    state: web::Data<State>,
    request: HttpRequest,
    body: Body,
) -> HttpResponse {
    let (services, asker) = (state.services.clone(), browser(&state, &request));
    let form = match body::form_text(&request, &body) {
        Ok(form) => form,
        Err(error) => return reply::unread(failure(&state, &error, None), &body),
    };
    let answered = async move {
        let params = body::form(form.as_bytes())?;
        protocol::sign_out(&services, &params, &asker).await
    };
    outcome(&state, whole(answered).await.and_then(|outcome| outcome))
}

fn outcome(state: &State, outcome: Result<SignOut, ProtocolError>) -> HttpResponse {
    match outcome {
        Ok(SignOut::Ask(form)) => {
            let (frame, account) = (&state.frame, form.account_name.as_str());
            let template = views::SignOut { frame, account, state: &form.state };
            page(StatusCode::OK, &template, &Allowed::of(None, form.location.as_deref()))
        }
        Ok(SignOut::Done { location }) => {
            let response = match location {
                Some(location) => see_other(&location),
                None => message(state, "You are signed out", "You can close this window now."),
            };
            with_cookie(response, state.cookies.remove(Cookie::Session))
        }
        Ok(SignOut::Stayed) => message(state, "You are still signed in", "You can close this window now."),
        Err(error) => failure(state, &error, None),
    }
}

fn message(state: &State, heading: &str, text: &str) -> HttpResponse {
    let template = views::Message { frame: &state.frame, heading, text };
    page(StatusCode::OK, &template, &Allowed::default())
}
