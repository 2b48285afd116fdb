//! Token exchange at the standard token endpoint.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::{State, limits, reply};
use crate::oauth::ErrorCode;
use crate::protocol::{
    ACCESS_TOKEN, Credentials, Exchanged, Params, ProtocolError, TOKEN_EXCHANGE, exchange,
};
use crate::tokens::Issued;

/// RFC 8693, section 2.2.1.
#[derive(Serialize)]
struct Answer<'a> {
    access_token: &'a str,
    issued_token_type: &'static str,
    token_type: &'static str,
    expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
}

/// Whether this is the grant that is asked for.
pub(super) fn is_asked_for(params: &Params<'_>) -> bool {
    params.one("grant_type") == Some(TOKEN_EXCHANGE)
}

pub(super) async fn answer(
    state: &State,
    request: &HttpRequest,
    credentials: &Credentials,
    params: &Params<'_>,
) -> HttpResponse {
    let Exchanged { issued, by_good_key, standing } = exchange(&state.services, credentials, params).await;
    let issued = issued.map_err(|error| {
        // Not before the key is looked at: a good one is not refused for what others do at its address.
        let own = matches!(error.code, ErrorCode::TemporarilyUnavailable | ErrorCode::ServerError);
        let counted = if by_good_key || own {
            Ok(())
        } else {
            limits::unauthenticated(state, request, credentials, params)
        };
        unexchangeable(limits::refused(state, request, counted.err().unwrap_or(error)))
    });
    let mut response = match &issued {
        Ok(issued) => {
            state.metrics.token_issued(TOKEN_EXCHANGE, issued.algorithm);
            success(issued)
        }
        Err(error) => {
            state.metrics.token_refused(TOKEN_EXCHANGE, error.code);
            let response = reply::refusal(error);
            if error.code == ErrorCode::InvalidClient { reply::challenge_basic(response) } else { response }
        }
    };
    if let Some(standing) = standing {
        limits::announce(&mut response, &standing);
    }
    response
}

fn success(issued: &Issued) -> HttpResponse {
    let answer = Answer {
        access_token: issued.access_token.expose(),
        issued_token_type: ACCESS_TOKEN,
        token_type: "Bearer",
        expires_in: issued.expires_in,
        scope: issued.scope.unless_empty(),
    };
    reply::json(StatusCode::OK, &answer)
}

/// A token that can't be exchanged is `invalid_request` (RFC 8693, section 2.2.2).
fn unexchangeable(error: ProtocolError) -> ProtocolError {
    match error.code {
        ErrorCode::InvalidToken => ProtocolError { code: ErrorCode::InvalidRequest, ..error },
        _ => error,
    }
}
