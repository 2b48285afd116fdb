//! `/api/v1/apps`: applications register themselves, and ask who they are. Served only where the operator wants it.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::bearer::{self, Unadmitted};
use super::body::{self, Body, Encoding};
use super::{State, multipart, reply, to_the_end};
use crate::oauth::{ErrorCode, RedirectUri, WebUri};
use crate::protocol::{self, Params, ProtocolError};

#[derive(Serialize)]
struct RegisteredApp<'a> {
    id: &'a str,
    name: &'a str,
    website: Option<&'a str>,
    redirect_uri: String,
    client_id: &'a str,
    client_secret: &'a str,
}

#[derive(Serialize)]
struct App<'a> {
    name: &'a str,
    website: Option<&'a str>,
}

pub(super) async fn register(state: web::Data<State>, request: HttpRequest, body: Body) -> HttpResponse {
    if !state.apps {
        return not_served();
    }
    let registered = match parameters(&request, &body).await {
        Ok(params) => {
            let services = state.services.clone();
            to_the_end(async move { protocol::register_app(&services, &params).await }).await
        }
        Err(error) => Err(error),
    };
    match registered {
        Ok(registered) => {
            let client = &registered.client;
            let uris: Vec<&str> = client.redirect_uris.iter().map(RedirectUri::as_str).collect();
            let app = RegisteredApp {
                id: client.client_id.as_str(),
                name: &client.client_name,
                website: client.client_uri.as_ref().map(WebUri::as_str),
                redirect_uri: uris.join("\n"),
                client_id: client.client_id.as_str(),
                client_secret: registered.client_secret.as_ref().map_or("", |secret| secret.expose()),
            };
            reply::json(StatusCode::OK, &app)
        }
        Err(error) => reply::unread(reply::refusal(&error), &body),
    }
}

/// A form in either encoding or a JSON object, taken out of the body: the registration goes on even if the client hangs up.
async fn parameters(request: &HttpRequest, body: &Body) -> Result<Params<'static>, ProtocolError> {
    let bytes = body.bytes()?;
    if let Some(boundary) = multipart::boundary(request) {
        return multipart::params(body, boundary).await;
    }
    match body::encoding(request) {
        Some(Encoding::Json) => body::json(bytes),
        Some(Encoding::Form) => {
            let pairs = url::form_urlencoded::parse(bytes);
            Params::new(pairs.map(|(name, value)| (name.into_owned().into(), value.into_owned().into())))
        }
        None => Err(ProtocolError::invalid_request("the body must be a form or a JSON object")),
    }
}

pub(super) async fn verify_credentials(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    if !state.apps {
        return not_served();
    }
    let found = bearer::token(request.headers())
        .and_then(|token| Ok(protocol::app_of_token(&state.services, token)?))
        .map_err(|unadmitted| unadmitted.counted(&state, &request));
    match found {
        Ok(client) => {
            let website = client.client_uri.as_ref().map(WebUri::as_str);
            reply::json(StatusCode::OK, &App { name: &client.client_name, website })
        }
        Err(Unadmitted::Refused(error)) => reply::refusal(&error),
        Err(Unadmitted::Anonymous) => reply::challenge_bearer(reply::refusal(&bearer::anonymous()), ""),
    }
}

fn not_served() -> HttpResponse {
    reply::refusal(&ProtocolError::new(ErrorCode::NotFound, "there is nothing here"))
}
