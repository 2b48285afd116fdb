use actix_web::HttpResponse;
use serde::Serialize;

use super::Dialect;
use crate::http::{body, reply};
use crate::oauth::ErrorCode;
use crate::protocol::{Defaults, Granted, ProtocolError};

/// `/api/token.php`: no `grant_type` means a code, whose redirect URI is not named again, and a bad code is
/// `invalid_code`. The answer has three members: a refresh token or an ID token would have no place in it.
pub(in crate::http) static PHP: Dialect = Dialect {
    credentials: body::credentials,
    defaults: Defaults {
        grant_type: Some("authorization_code"),
        without_redirect_uri: true,
        credentials_are_parameters: true,
        ..Defaults::NONE
    },
    success,
    refusal,
};

#[derive(Serialize)]
struct Answer {
    token_type: &'static str,
    expires_in: i64,
}

fn success(granted: &Granted) -> HttpResponse {
    let issued = &granted.issued;
    let answer = Answer { token_type: "Bearer", expires_in: issued.expires_in };
    reply::token(&issued.access_token, &answer)
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'static str,
    error_description: &'a str,
}

fn refusal(error: &ProtocolError) -> HttpResponse {
    let body = ErrorBody {
        error: match error.code {
            ErrorCode::InvalidGrant => "invalid_code",
            code => code.as_str(),
        },
        error_description: &error.description,
    };
    reply::with_retry(reply::json(reply::status(error.code), &body), error)
}
