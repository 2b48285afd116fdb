//! What the page after an act shows, once: that it was done, and a secret that was made. It travels with the browser,
//! sealed, for the session that did the act; so an act is answered by a redirect, and loading the page again repeats
//! nothing.

use actix_web::HttpRequest;
use actix_web::http::header::HeaderValue;
use serde::{Deserialize, Serialize};

use super::guard::{Answered, Visitor};
use crate::http::State;
use crate::http::pages::answers::see_other;
use crate::http::pages::browser::with_cookie;
use crate::http::pages::cookies::Cookie;
use crate::oauth::{Secret, SessionId};
use crate::protocol::ProtocolError;

const PURPOSE: &str = "notice";

/// How long it waits to be shown, in seconds.
const LIFETIME: i64 = 120;

/// What is shown.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::http::pages) struct Notice {
    pub(in crate::http::pages) text: String,
    /// What the secrets are, if there are any.
    pub(in crate::http::pages) label: Option<String>,
    pub(in crate::http::pages) secrets: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    ends_at: i64,
    sid: SessionId,
    notice: Notice,
}

impl Notice {
    /// That something was done.
    pub(in crate::http::pages) fn done(text: impl Into<String>) -> Self {
        Self { text: text.into(), label: None, secrets: Vec::new() }
    }

    /// With secrets that can be seen only now.
    pub(in crate::http::pages) fn with_secrets(
        self,
        label: impl Into<String>,
        secrets: impl IntoIterator<Item = Secret>,
    ) -> Self {
        let secrets = secrets.into_iter().map(|secret| secret.expose().to_owned()).collect();
        Self { label: Some(label.into()), secrets, ..self }
    }
}

/// Sends the browser on to `path` after an act, to be shown `notice` there.
pub(in crate::http::pages) fn after(
    state: &State,
    visitor: &Visitor,
    (path, notice): (&str, Notice),
) -> Answered {
    after_in(state, &visitor.present.session.sid, (path, notice))
}

/// The same, to be shown in the session `sid`.
pub(in crate::http::pages) fn after_in(
    state: &State,
    sid: &SessionId,
    (path, notice): (&str, Notice),
) -> Answered {
    let services = &state.services;
    let ends_at = services.clock.numeric_date() + LIFETIME;
    let sealed = Sealed { ends_at, sid: sid.clone(), notice };
    let plain = serde_json::to_vec(&sealed).map_err(ProtocolError::server_error)?;
    let text = services.sealer.seal(PURPOSE, &plain).map_err(ProtocolError::from)?;
    let response = see_other(&format!("{}{path}", services.issuer));
    Ok(with_cookie(response, state.cookies.set(Cookie::Notice, &Secret::new(text), None)))
}

/// What the session `sid` is to be shown now.
///
/// # Errors
/// When it can't be opened now: it may be a secret that is shown only once, so nothing is shown in its place.
pub(super) fn waiting(
    state: &State,
    request: &HttpRequest,
    sid: &SessionId,
) -> Result<Option<Notice>, ProtocolError> {
    let Some(cookie) = state.cookies.read(request, Cookie::Notice) else { return Ok(None) };
    let plain = state.services.sealer.open(PURPOSE, cookie.expose())?;
    let sealed: Option<Sealed> = plain.and_then(|plain| serde_json::from_slice(&plain).ok());
    let now = state.services.clock.numeric_date();
    let theirs = sealed.filter(|sealed| now < sealed.ends_at && sealed.sid == *sid);
    Ok(theirs.map(|sealed| sealed.notice))
}

/// The header by which it is shown only once.
pub(super) fn removal(state: &State, request: &HttpRequest) -> Option<HeaderValue> {
    state.cookies.read(request, Cookie::Notice).and_then(|_| state.cookies.remove(Cookie::Notice))
}
