use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::oauth::{Secret, SecretHash};
use crate::protocol::{ProtocolError, Services};

/// How long a form may be left open, in seconds.
pub(super) const LIFETIME: i64 = 10 * 60;

/// The longest state that a form is given, sealed: it has to come back in a body of 16 KiB at most, beside what is typed into the form.
const LONGEST: usize = 14 * 1024;

/// What a form is for; none is taken where another is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol) enum Purpose {
    SignIn,
    SecondFactor,
    Consent,
    SignOut,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in form",
            Self::SecondFactor => "second-factor form",
            Self::Consent => "consent form",
            Self::SignOut => "sign-out form",
        }
    }
}

/// What a form carries from one request to the next: sealed, for ten minutes, and for the browser it was made for.
/// So nothing is stored for those who never sign in, and a form of another site can't stand in for one of ours.
#[derive(Serialize, Deserialize)]
struct State<T> {
    ends_at: i64,
    /// Of a cookie of that browser.
    holder: SecretHash,
    content: T,
}

/// What became of a form.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::protocol) enum Opened<T> {
    /// It is one of ours, in time and from the browser that got it.
    Good(T),
    /// It is one of ours, but too old or from another browser: nothing may be done on its word.
    Stale(T),
    /// It is none of ours.
    Forged,
}

/// Seals the state of a form for the browser whose cookie is `holder`.
///
/// # Errors
/// `invalid_request` when there is more in it than a form can bring back, or no key may seal now.
pub(in crate::protocol) fn seal<T: Serialize>(
    services: &Services,
    purpose: Purpose,
    holder: &Secret,
    content: T,
) -> Result<String, ProtocolError> {
    let ends_at = services.clock.numeric_date() + LIFETIME;
    let state = State { ends_at, holder: holder.hash(), content };
    let text = serde_json::to_vec(&state).map_err(ProtocolError::server_error)?;
    let sealed = services.sealer.seal(purpose.as_str(), &text)?;
    if sealed.len() > LONGEST {
        return Err(ProtocolError::invalid_request("the request is too long"));
    }
    Ok(sealed)
}

/// Opens the state of a form that came from the browser whose cookie is `holder`.
///
/// # Errors
/// When it can't be told now whether it is one of ours.
pub(in crate::protocol) fn open<T: DeserializeOwned>(
    services: &Services,
    purpose: Purpose,
    holder: Option<&Secret>,
    text: Option<&str>,
) -> Result<Opened<T>, ProtocolError> {
    let Some(text) = text else { return Ok(Opened::Forged) };
    let opened = services.sealer.open(purpose.as_str(), text)?;
    let Some(state) = opened.and_then(|plain| serde_json::from_slice::<State<T>>(&plain).ok()) else {
        return Ok(Opened::Forged);
    };
    let in_time = services.clock.numeric_date() < state.ends_at;
    let same_browser = holder.is_some_and(|cookie| state.holder.matches(cookie.expose()));
    Ok(if in_time && same_browser { Opened::Good(state.content) } else { Opened::Stale(state.content) })
}
