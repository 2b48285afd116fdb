use actix_web::HttpResponse;
use serde::Serialize;

use super::{Dialect, standard};
use crate::http::{body, reply};
use crate::oauth::{ErrorCode, Secret, SignedToken};
use crate::protocol::{Defaults, Granted, ProtocolError};

/// `/oauth/token` with a form: the answer carries `created_at`, and the error texts are fixed. Common clients of its
/// document send the access token that they have with every request, those for the next one and for its end too.
pub(in crate::http) static OAUTH_TOKEN: Dialect = Dialect {
    credentials: body::credentials_beside_token,
    defaults: Defaults { scope: Some("read"), ..Defaults::NONE },
    success,
    refusal,
};

/// `/oauth/token` with JSON: another document's clients, served in the standard shape.
pub(in crate::http) static OAUTH_TOKEN_JSON: Dialect = Dialect {
    credentials: body::credentials,
    defaults: Defaults::NONE,
    success: standard::success,
    refusal: reply::refusal,
};

#[derive(Serialize)]
struct Answer<'a> {
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    created_at: i64,
    expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
}

fn success(granted: &Granted) -> HttpResponse {
    let issued = &granted.issued;
    let answer = Answer {
        token_type: "Bearer",
        scope: issued.scope.unless_empty(),
        created_at: issued.issued_at,
        expires_in: issued.expires_in,
        refresh_token: granted.refresh_token.as_ref().map(Secret::expose),
        id_token: granted.id_token.as_ref().map(SignedToken::expose),
    };
    reply::token(&issued.access_token, &answer)
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorCode,
    error_description: &'a str,
}

/// The document's own texts, which its clients may show or compare.
pub(in crate::http) fn refusal(error: &ProtocolError) -> HttpResponse {
    let error_description = match error.code {
        ErrorCode::InvalidClient => {
            "Client authentication failed due to unknown client, no client authentication included, or \
             unsupported authentication method."
        }
        ErrorCode::InvalidScope => "The requested scope is invalid, unknown, or malformed.",
        ErrorCode::InvalidGrant => {
            "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI \
             used in the authorization request, or was issued to another client."
        }
        _ => &error.description,
    };
    let body = ErrorBody { error: error.code, error_description };
    reply::with_retry(reply::json(reply::status(error.code), &body), error)
}
