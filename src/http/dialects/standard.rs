use actix_web::HttpResponse;
use serde::Serialize;

use super::Dialect;
use crate::http::{body, reply};
use crate::oauth::{Secret, SignedToken};
use crate::protocol::{Defaults, Granted};

/// `/oauth2/token`: RFC 6749 to the letter.
pub(in crate::http) static STANDARD: Dialect =
    Dialect { credentials: body::credentials, defaults: Defaults::NONE, success, refusal: reply::refusal };

/// RFC 6749, section 5.1.
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

pub(super) fn success(granted: &Granted) -> HttpResponse {
    let issued = &granted.issued;
    let answer = Answer {
        token_type: "Bearer",
        expires_in: issued.expires_in,
        scope: issued.scope.unless_empty(),
        refresh_token: granted.refresh_token.as_ref().map(Secret::expose),
        id_token: granted.id_token.as_ref().map(SignedToken::expose),
    };
    reply::token(&issued.access_token, &answer)
}
