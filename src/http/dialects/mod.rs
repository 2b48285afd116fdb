//! Dialects: how the token endpoints of older API documents read a request and shape an answer. A dialect
//! is a value; whatever it does, it can't grant what the standard path would refuse.

mod auth_token;
mod oauth_token;
mod php;
mod standard;

use actix_web::{HttpRequest, HttpResponse};

pub(super) use auth_token::AUTH_TOKEN;
pub(super) use oauth_token::{OAUTH_TOKEN, OAUTH_TOKEN_JSON};
pub(super) use php::PHP;
pub(super) use standard::STANDARD;

use crate::protocol::{Credentials, Defaults, Granted, ProtocolError};

/// One token endpoint's way of speaking.
pub(super) struct Dialect {
    /// What of the `Authorization` header authenticates the client.
    pub(super) credentials: fn(&HttpRequest) -> Credentials,
    /// What absent parameters mean.
    pub(super) defaults: Defaults,
    /// How an answer is shaped.
    pub(super) success: fn(&Granted) -> HttpResponse,
    /// How a refusal is shaped.
    pub(super) refusal: fn(&ProtocolError) -> HttpResponse,
}
