use serde::{Deserialize, Serialize};

use super::form::{self, Opened, Purpose};
use super::goal::{Goal, Requester};
use super::second_factor::{self, SecondFactorForm};
use super::step::{Browser, Present};
use super::{Interrupted, session, throttle};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::oauth::{Secret, UserId};
use crate::protocol::{Params, ProtocolError, Services};
use crate::users::{Account, Arrival, Attempt, AuthenticateError, Busy, DeviceCookie, Tried};

/// The sign-in form.
#[derive(Debug)]
pub struct SignInForm {
    /// What it has to bring back.
    pub state: String,
    /// For which client, unless it is for a page of this service itself.
    pub requester: Option<Requester>,
    /// The name that stands in it already.
    pub username: String,
    /// Who is signed in already, where going on as that is offered.
    pub current: Option<Account>,
    /// Why it is shown again.
    pub problem: Option<Problem>,
}

/// Why a form is shown again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// What was entered is wrong, or something is missing. What of it, nobody is told.
    Wrong,
    /// Too many tries.
    TooMany {
        /// In how many seconds the next one is looked at.
        retry_after: u64,
    },
    /// Too many are signing in just now.
    Busy {
        /// In how many seconds another try may succeed.
        retry_after: u64,
    },
}

/// What the form carries.
#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    goal: Goal,
    /// Whom it offers to go on as. Nobody goes on as whom they were not asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<UserId>,
}

/// What came of a form.
#[derive(Debug)]
pub enum SignedIn {
    /// It is shown again.
    Again(Box<SignInForm>),
    /// The second factor is asked for.
    SecondFactor(Box<SecondFactorForm>),
    /// They are signed in.
    Done {
        /// Where it goes on: at this service, or at the client, which then has its code.
        location: String,
        /// The cookie of the session; absent if it stays as it is.
        session: Option<Secret>,
        /// The cookie by which this device is known from now on.
        device: Option<DeviceCookie>,
    },
}

/// The form for a page of this service itself, named by path and query, for the browser whose cookie is `holder`.
/// Whoever signs in comes back there.
///
/// # Errors
/// When no key may seal now.
pub fn sign_in_for_page(
    services: &Services,
    path: &str,
    holder: &Secret,
) -> Result<SignInForm, ProtocolError> {
    form(services, (Goal::Page(path.to_owned()), None), holder, None)
}

/// The form for what somebody signs in for, for the browser whose cookie is `holder`.
pub(super) fn form(
    services: &Services,
    (goal, requester): (Goal, Option<Requester>),
    holder: &Secret,
    current: Option<Account>,
) -> Result<SignInForm, ProtocolError> {
    let entry = Entry { goal, current: current.as_ref().map(|account| account.id.clone()) };
    Ok(SignInForm {
        state: form::seal(services, Purpose::SignIn, holder, entry)?,
        username: requester.as_ref().and_then(|each| each.login_hint.clone()).unwrap_or_default(),
        requester,
        current,
        problem: None,
    })
}

/// Signs somebody in: by `username` and `password`, or as who they are already if `account` is `current`.
///
/// # Errors
/// When the form is none of ours, too old or another browser's, or the store fails.
pub async fn sign_in(
    services: &Services,
    params: &Params<'_>,
    browser: &Browser,
) -> Result<SignedIn, Interrupted> {
    let opened = form::open(services, Purpose::SignIn, Some(&browser.holder), params.one("state"))?;
    let Entry { goal, current } = match opened {
        Opened::Good(entry) => entry,
        Opened::Stale(Entry { goal, .. }) => return Err(Interrupted::stale(goal.location(services))),
        Opened::Forged => return Err(Interrupted::forged()),
    };
    let requester = goal.requester(services)?;
    if params.one("account") == Some("current") {
        let present = Present::find(services, browser.session.as_ref()).await?;
        return match present.filter(|present| current.as_ref() == Some(&present.account.id)) {
            Some(_) => Ok(SignedIn::Done { location: goal.signed_in(services), session: None, device: None }),
            None => Err(Interrupted::stale(goal.location(services))),
        };
    }
    let username = params.one("username").unwrap_or_default();
    let password = Secret::new(params.one("password").unwrap_or_default().to_owned());
    let (account, arrival) = match check(services, (username, &password), browser).await? {
        Ok(proved) => proved,
        Err(problem) => {
            let form = form(services, (goal, requester), &browser.holder, None)?;
            return Ok(SignedIn::Again(Box::new(SignInForm {
                username: username.to_owned(),
                problem: Some(problem),
                ..form
            })));
        }
    };
    if services.second_factors.find(&account.id).await.map_err(ProtocolError::from)?.is_some() {
        let form = second_factor::form(services, (goal, requester), (&account, &browser.holder))?;
        return Ok(SignedIn::SecondFactor(Box::new(form)));
    }
    session::start(services, &goal, (&account, &["pwd"]), &arrival, browser).await
}

/// Whose name and password these are, if the throttle lets the try be looked at.
pub(in crate::protocol) async fn check(
    services: &Services,
    (username, password): (&str, &Secret),
    browser: &Browser,
) -> Result<Result<(Account, Arrival), Problem>, ProtocolError> {
    // Before it is counted: what names the same account counts as the same name.
    let username = username.trim();
    if username.is_empty() || password.expose().is_empty() {
        return Ok(Err(Problem::Wrong));
    }
    // Before it costs a write: there is no cheaper answer, and it is everybody's.
    let turn = match services.accounts.turn() {
        Ok(turn) => turn,
        Err(Busy { retry_after }) => return Ok(Err(Problem::Busy { retry_after })),
    };
    let owner = services.accounts.named(username).await?;
    let tried = owner.map_or_else(|| Tried::Nobody(username.to_owned()), Tried::Account);
    let attempt = Attempt { patience: turn.patience(), ..browser.attempt(tried) };
    let arrival = match throttle::check(services, &attempt).await? {
        Ok(arrival) => arrival,
        Err(problem) => return Ok(Err(problem)),
    };
    match services.accounts.authenticate(turn, username, password).await {
        Ok(Some(account)) => Ok(Ok((account, arrival))),
        Ok(None) => {
            // The name is left out: people type their password there.
            let event = Event::new(EventKind::SignInFailed, Actor::Anonymous).outcome(Outcome::Refused);
            services.audit.record(event).await?;
            Ok(Err(Problem::Wrong))
        }
        Err(AuthenticateError::Busy { retry_after }) => {
            services.login_throttle.withdrawn(&attempt, &arrival).await?;
            Ok(Err(Problem::Busy { retry_after }))
        }
        Err(AuthenticateError::Store(error)) => Err(error.into()),
    }
}
