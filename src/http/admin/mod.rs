//! The admin API. Every route stands in the URL table with the scope it needs; [`guard`] lets nothing else
//! through.

pub(super) mod api_keys;
pub(super) mod audit;
pub(super) mod clients;
pub(super) mod copies;
mod guard;
pub(super) mod keys;
pub(super) mod nodes;
pub(super) mod revocations;
pub(super) mod users;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) use guard::guard;

use guard::Admitted;

use super::body::Body;
use super::{reply, to_the_end};
use crate::oauth::unreadable;
use crate::protocol::{Params, ProtocolError};

/// A JSON body of the admin API; an empty one reads as `{}`.
fn parse<T: DeserializeOwned>(body: &Body) -> Result<T, ProtocolError> {
    let bytes = body.bytes()?;
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(text).map_err(|error| ProtocolError::invalid_request(unreadable(&error)))
}

/// How long a page of a list is to be, if the request says so.
fn limit(params: &Params<'_>) -> Result<Option<usize>, ProtocolError> {
    let number = |text: &str| {
        let limit = text.parse().ok().filter(|limit| (1..=1000).contains(limit));
        limit.ok_or_else(|| ProtocolError::invalid_request("limit must be a number from 1 to 1000"))
    };
    params.one("limit").map(number).transpose()
}

/// Reads the body, does what it asks for, and answers.
async fn act<R, T, F>(status: StatusCode, body: &Body, act: impl FnOnce(R) -> F) -> HttpResponse
where
    R: DeserializeOwned,
    T: Serialize + 'static,
    F: Future<Output = Result<T, ProtocolError>> + 'static,
{
    let done = match parse(body) {
        Ok(request) => to_the_end(act(request)).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(value) => reply::json(status, &value),
        Err(error) => reply::unread(reply::refusal(&error), body),
    }
}
