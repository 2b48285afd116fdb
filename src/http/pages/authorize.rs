//! The authorization endpoint and the consent form.

use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};

use super::answers::{answer, by_link, failure, host, interrupted, see_other, whole};
use super::browser::{browser, hold};
use super::frame::{Allowed, page};
use super::sign_in::sign_in_page;
use super::{scopes, views};
use crate::http::State;
use crate::http::body::{self, Body};
use crate::oauth::{RedirectUri, Resource};
use crate::protocol::authorize::{self, Asked, ConsentForm, Door, Refused, Step};

/// `/oauth2/authorize`.
pub(in crate::http) async fn standard(
    state: web::Data<State>,
    request: HttpRequest,
    body: Body,
) -> HttpResponse {
    asked(&state, &request, (&body, Door::Standard)).await
}

/// `/oauth/authorize`.
pub(in crate::http) async fn oauth(
    state: web::Data<State>,
    request: HttpRequest,
    body: Body,
) -> HttpResponse {
    asked(&state, &request, (&body, Door::OAuth)).await
}

/// `/api/authorize.php`.
pub(in crate::http) async fn php(state: web::Data<State>, request: HttpRequest, body: Body) -> HttpResponse {
    asked(&state, &request, (&body, Door::Php)).await
}

/// An authorization request by `door`.
async fn asked(state: &State, request: &HttpRequest, (body, door): (&Body, Door)) -> HttpResponse {
    if request.method() == Method::POST {
        return by_post(state, request, (body, door));
    }
    let browser = browser(state, request);
    let holder = browser.holder.clone();
    let (services, query) = (state.services.clone(), request.query_string().to_owned());
    let step = async move { authorize::authorize(&services, door, &query, &browser).await };
    match whole(step).await {
        Ok(Ok(Step::SignIn(form))) => hold(state, sign_in_page(state, &form), &holder),
        Ok(Ok(Step::Consent(form))) => consent_page(state, &form),
        Ok(Ok(Step::Reply(reply)) | Err(Refused::ToClient(reply))) => answer(state, &reply),
        Ok(Err(Refused::ByLink(reply))) => by_link(state, &reply),
        Ok(Err(Refused::Here(error))) | Err(error) => failure(state, &error, None),
    }
}

/// The same by POST (OpenID Connect Core 1.0, section 3.1.2.1). The form may come from another site, and then no
/// cookie comes with it; so the browser is sent on to ask by GET.
fn by_post(state: &State, request: &HttpRequest, (body, door): (&Body, Door)) -> HttpResponse {
    let form = body::form_text(request, body);
    match form.and_then(|form| Asked::new(door, &body::as_query(&form))) {
        Ok(asked) => see_other(&asked.location(&state.services)),
        Err(error) => crate::http::reply::unread(failure(state, &error, None), body),
    }
}

/// What the person answers to the question of [`consent_page`].
pub(in crate::http) async fn consent(
    state: web::Data<State>,
    request: HttpRequest,
    body: Body,
) -> HttpResponse {
    let (services, asker) = (state.services.clone(), browser(&state, &request));
    let form = match body::form_text(&request, &body) {
        Ok(form) => form,
        Err(error) => return crate::http::reply::unread(failure(&state, &error, None), &body),
    };
    let decided = async move {
        let params = body::form(form.as_bytes())?;
        authorize::decide(&services, &params, &asker).await
    };
    match whole(decided).await {
        Ok(Ok(reply)) => answer(&state, &reply),
        Ok(Err(error)) => interrupted(&state, &error),
        Err(error) => failure(&state, &error, None),
    }
}

fn consent_page(state: &State, form: &ConsentForm) -> HttpResponse {
    let client = views::ClientView::of(&state.frame, &form.client);
    let destination = destination(&form.redirect_uri);
    let template = views::Consent {
        frame: &state.frame,
        state: &form.state,
        account: &form.account.name,
        resources: form.resources.iter().map(Resource::as_str).collect(),
        asked: form.asked.iter().map(|token| scopes::view(state, token)).collect(),
        granted: form.granted.iter().map(|token| scopes::view(state, token)).collect(),
        destination: &destination,
        client: client.clone(),
    };
    page(StatusCode::OK, &template, &Allowed::of(client.logo, Some(&form.redirect_uri)))
}

/// Where the answer goes, for people.
fn destination(redirect_uri: &str) -> String {
    if redirect_uri == RedirectUri::OUT_OF_BAND {
        return "If you allow it, you get a code to copy into the application.".to_owned();
    }
    match host(redirect_uri) {
        Some(host) => format!("Either way, you are sent back to {host}."),
        None => "Either way, you are sent back to an application on this device.".to_owned(),
    }
}
