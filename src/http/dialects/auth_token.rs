use actix_web::HttpResponse;
use serde::Serialize;

use super::Dialect;
use crate::http::{body, reply};
use crate::oauth::{ErrorCode, Secret, SignedToken};
use crate::protocol::{Defaults, Granted, ProtocolError};

/// `/auth/token`: `bearer` in small letters, errors with a `message`, and one token for everything that the client may use.
pub(in crate::http) static AUTH_TOKEN: Dialect = Dialect {
    credentials: body::credentials,
    defaults: Defaults { every_resource: true, ..Defaults::NONE },
    success,
    refusal,
};

#[derive(Serialize)]
struct Answer<'a> {
    token_type: &'static str,
    expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
}

fn success(granted: &Granted) -> HttpResponse {
    let issued = &granted.issued;
    let answer = Answer {
        token_type: "bearer",
        expires_in: issued.expires_in,
        scope: issued.scope.unless_empty(),
        refresh_token: granted.refresh_token.as_ref().map(Secret::expose),
        id_token: granted.id_token.as_ref().map(SignedToken::expose),
    };
    reply::token(&issued.access_token, &answer)
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorCode,
    message: &'a str,
}

fn refusal(error: &ProtocolError) -> HttpResponse {
    let body = ErrorBody { error: error.code, message: &error.description };
    reply::with_retry(reply::json(reply::status(error.code), &body), error)
}
