//! The token, revocation and introspection endpoints.

use actix_web::http::header;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};

use super::body::{self, Body, Encoding};
use super::dialects::{AUTH_TOKEN, Dialect, OAUTH_TOKEN, OAUTH_TOKEN_JSON, PHP, STANDARD};
use super::{State, exchange, limits, multipart, reply, to_the_end};
use crate::oauth::ErrorCode;
use crate::protocol::{self, Asked, Credentials, Granted, Params, ProtocolError, RevocationOutcome};

pub(super) async fn standard(state: web::Data<State>, request: HttpRequest, body: Body) -> HttpResponse {
    let params = form_params(&request, &body);
    if let Ok(params) = &params
        && exchange::is_asked_for(params)
    {
        // Boxed: what few ask for makes the future of every request no larger.
        let credentials = body::credentials(&request);
        return Box::pin(exchange::answer(&state, &request, &credentials, params)).await;
    }
    answer(&STANDARD, &state, &request, (params, &body)).await
}

pub(super) async fn auth_token(state: web::Data<State>, request: HttpRequest, body: Body) -> HttpResponse {
    form_token(&AUTH_TOKEN, &state, &request, &body).await
}

pub(super) async fn php(state: web::Data<State>, request: HttpRequest, body: Body) -> HttpResponse {
    form_token(&PHP, &state, &request, &body).await
}

/// Two documents share this path: the body's encoding tells which one the client was written for.
pub(super) async fn oauth_token(state: web::Data<State>, request: HttpRequest, body: Body) -> HttpResponse {
    if body::encoding(&request) != Some(Encoding::Json) {
        let params = either_form(&request, &body).await;
        return answer(&OAUTH_TOKEN, &state, &request, (params, &body)).await;
    }
    let params = body.bytes().map_err(Into::into).and_then(|bytes| body::json(bytes));
    answer(&OAUTH_TOKEN_JSON, &state, &request, (params, &body)).await
}

/// One document's prose says GET, which would leave the secret in logs: only where the operator wants it. HEAD never
/// is: it would issue a token that nobody sees.
pub(super) async fn oauth_token_get(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    if !state.oauth_token_get || request.method() == Method::HEAD {
        let reason = "use POST with the same parameters in the body: a query string ends up in logs";
        let mut response = reply::refusal(&ProtocolError::invalid_request(reason));
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("POST"));
        return response;
    }
    let params = body::form(request.query_string().as_bytes());
    answer(&OAUTH_TOKEN_JSON, &state, &request, (params, &Body::NONE)).await
}

async fn form_token(dialect: &Dialect, state: &State, request: &HttpRequest, body: &Body) -> HttpResponse {
    answer(dialect, state, request, (form_params(request, body), body)).await
}

fn form_params<'b>(request: &HttpRequest, body: &'b Body) -> Result<Params<'b>, ProtocolError> {
    let bytes = body.bytes()?;
    match body::encoding(request) {
        Some(Encoding::Form) => body::form(bytes),
        _ => Err(ProtocolError::invalid_request(
            "the body must be application/x-www-form-urlencoded, and Content-Type must say so",
        )),
    }
}

/// A form in either encoding that HTML has: some clients of the document at `/oauth` send the one, some the other.
async fn either_form<'b>(request: &HttpRequest, body: &'b Body) -> Result<Params<'b>, ProtocolError> {
    match multipart::boundary(request) {
        Some(boundary) => multipart::params(body, boundary).await,
        None => form_params(request, body),
    }
}

async fn answer(
    dialect: &Dialect,
    state: &State,
    request: &HttpRequest,
    (params, body): (Result<Params<'_>, ProtocolError>, &Body),
) -> HttpResponse {
    let credentials = (dialect.credentials)(request);
    let granted = match &params {
        Ok(params) => {
            let granted = match limits::unauthenticated(state, request, &credentials, params) {
                Ok(()) => grant(dialect, state, &credentials, params).await,
                Err(error) => Err(error),
            };
            granted.map_err(|error| limits::refused(state, request, error))
        }
        Err(error) => {
            state.metrics.token_refused("", error.code);
            return refused((dialect.refusal)(error), error, body);
        }
    };
    match granted {
        Ok(granted) => {
            state.metrics.token_issued(granted.grant_type.as_str(), granted.issued.algorithm);
            (dialect.success)(&granted)
        }
        Err(error) => {
            let named = params.as_ref().ok().and_then(|params| params.one("grant_type"));
            let named = named.or(dialect.defaults.grant_type).unwrap_or_default();
            state.metrics.token_refused(named, error.code);
            refused((dialect.refusal)(&error), &error, body)
        }
    }
}

async fn grant(
    dialect: &Dialect,
    state: &State,
    credentials: &Credentials,
    params: &Params<'_>,
) -> Result<Box<Granted>, ProtocolError> {
    match protocol::asked_for_token(&state.services, credentials, params, &dialect.defaults)? {
        Asked::Answered(granted) => Ok(granted),
        Asked::Pending(pending) => {
            let services = state.services.clone();
            to_the_end(async move { protocol::grant(&services, pending).await.map(Box::new) }).await
        }
    }
}

/// What any refusal of an authenticated endpoint bears, whatever its shape.
fn refused(response: HttpResponse, error: &ProtocolError, body: &Body) -> HttpResponse {
    if error.code == ErrorCode::InvalidClient {
        return reply::challenge_basic(response);
    }
    reply::unread(response, body)
}

/// RFC 7009, section 2.
pub(super) async fn revoke(state: web::Data<State>, request: HttpRequest, body: Body) -> HttpResponse {
    let credentials = body::credentials(&request);
    let outcome = revocation(&state, &request, &credentials, form_params(&request, &body)).await;
    match outcome.map_err(|error| limits::refused(&state, &request, error)) {
        Ok(RevocationOutcome::NoToken) => reply::refusal(&ProtocolError::invalid_request("token is missing")),
        // What is no token needs no revoking (RFC 7009, section 2.2); that a good one is still good must be told (section 2.1).
        Ok(RevocationOutcome::Done | RevocationOutcome::Unknown) => {
            HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).finish()
        }
        Ok(RevocationOutcome::NotYours) => reply::refusal(&ProtocolError::new(
            ErrorCode::UnauthorizedClient,
            "the token was issued to another client and is not revoked",
        )),
        Err(error) => refused(reply::refusal(&error), &error, &body),
    }
}

/// `/oauth/revoke`: answers `{}`, or 403 for a token that is not the client's own, or none at all.
pub(super) async fn oauth_revoke(state: web::Data<State>, request: HttpRequest, body: Body) -> HttpResponse {
    let credentials = (OAUTH_TOKEN.credentials)(&request);
    let params = either_form(&request, &body).await;
    let outcome = revocation(&state, &request, &credentials, params).await;
    let outcome = outcome.map_err(|error| limits::refused(&state, &request, error));
    let not_yours =
        || ProtocolError::new(ErrorCode::UnauthorizedClient, "You are not authorized to revoke this token");
    match outcome {
        Ok(RevocationOutcome::Done) => reply::json(StatusCode::OK, &serde_json::json!({})),
        Ok(RevocationOutcome::NotYours | RevocationOutcome::Unknown | RevocationOutcome::NoToken) => {
            let mut response = reply::refusal(&not_yours());
            *response.status_mut() = StatusCode::FORBIDDEN;
            response
        }
        Err(error) => refused((OAUTH_TOKEN.refusal)(&error), &error, &body),
    }
}

async fn revocation(
    state: &State,
    request: &HttpRequest,
    credentials: &Credentials,
    params: Result<Params<'_>, ProtocolError>,
) -> Result<RevocationOutcome, ProtocolError> {
    let params = params?;
    limits::unauthenticated(state, request, credentials, &params)?;
    let asked = protocol::asked_to_revoke(&state.services, credentials, &params).await?;
    let services = state.services.clone();
    let outcome = to_the_end(async move { protocol::revoke(&services, asked).await }).await?;
    if outcome == RevocationOutcome::Done {
        state.metrics.revocations.increment(1);
    }
    Ok(outcome)
}

/// RFC 7662, section 2.
pub(super) async fn introspect(state: web::Data<State>, request: HttpRequest, body: Body) -> HttpResponse {
    let credentials = body::credentials(&request);
    let asked = form_params(&request, &body)
        .and_then(|params| protocol::asked_to_introspect(&state.services, &credentials, &params));
    let answer = match asked {
        Ok(asked) => protocol::introspect(&state.services, &asked).await,
        Err(error) => Err(limits::refused(&state, &request, error)),
    };
    match answer {
        Ok(introspection) => reply::json(StatusCode::OK, &introspection),
        Err(error) => refused(reply::refusal(&error), &error, &body),
    }
}
