use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;

use super::Dialect;
use crate::http::reply;
use crate::protocol::Defaults;
use crate::tokens::Issued;

/// `/oauth2/token`: RFC 6749 to the letter.
pub(in crate::http) static STANDARD: Dialect =
    Dialect { defaults: Defaults::NONE, success, refusal: reply::refusal };

/// RFC 6749, section 5.1.
#[derive(Serialize)]
struct Answer<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: i64,
    scope: &'a str,
}

pub(super) fn success(issued: &Issued) -> HttpResponse {
    let answer = Answer {
        access_token: issued.access_token.expose(),
        token_type: "Bearer",
        expires_in: issued.expires_in,
        scope: issued.scope.as_str(),
    };
    reply::json(StatusCode::OK, &answer)
}
