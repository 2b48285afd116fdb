use serde::{Deserialize, Serialize};

use super::form::{self, Opened, Purpose};
use super::goal::{Goal, Requester};
use super::sign_in::{Problem, SignedIn};
use super::step::Browser;
use super::{Interrupted, session, throttle};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::oauth::{Secret, UserId};
use crate::protocol::{Params, ProtocolError, Services};
use crate::users::{Account, Factor, Tried};

/// The form that asks for the second factor.
#[derive(Debug)]
pub struct SecondFactorForm {
    /// What it has to bring back.
    pub state: String,
    /// For which client, unless it is for a page of this service itself.
    pub requester: Option<Requester>,
    /// Why it is shown again.
    pub problem: Option<Problem>,
}

/// What the form carries: whose password was right.
#[derive(Serialize, Deserialize)]
struct Halfway {
    goal: Goal,
    user: UserId,
    /// As it was when the password was right: a password that was changed since lets nobody in.
    sign_in_generation: u64,
}

/// The form for a request of somebody whose password was right.
pub(super) fn form(
    services: &Services,
    (goal, requester): (Goal, Option<Requester>),
    (account, holder): (&Account, &Secret),
) -> Result<SecondFactorForm, ProtocolError> {
    let halfway = Halfway { goal, user: account.id.clone(), sign_in_generation: account.sign_in_generation };
    Ok(SecondFactorForm {
        state: form::seal(services, Purpose::SecondFactor, holder, halfway)?,
        requester,
        problem: None,
    })
}

/// Signs in somebody whose password was right, by the second factor.
///
/// # Errors
/// When the form is none of ours, too old or another browser's, or the store fails.
pub async fn second_factor(
    services: &Services,
    params: &Params<'_>,
    browser: &Browser,
) -> Result<SignedIn, Interrupted> {
    let opened = form::open(services, Purpose::SecondFactor, Some(&browser.holder), params.one("state"));
    let halfway: Halfway = match opened? {
        Opened::Good(halfway) => halfway,
        Opened::Stale(halfway) => return Err(Interrupted::stale(halfway.goal.location(services))),
        Opened::Forged => return Err(Interrupted::forged()),
    };
    let requester = halfway.goal.requester(services)?;
    let account = services.accounts.find(&halfway.user).await.map_err(ProtocolError::from)?;
    let unchanged =
        |account: &Account| !account.disabled && account.sign_in_generation == halfway.sign_in_generation;
    let Some(account) = account.filter(unchanged) else {
        return Err(Interrupted::stale(halfway.goal.location(services)));
    };
    let again = |problem| -> Result<SignedIn, Interrupted> {
        let form = form(services, (halfway.goal.clone(), requester.clone()), (&account, &browser.holder))?;
        Ok(SignedIn::SecondFactor(Box::new(SecondFactorForm { problem: Some(problem), ..form })))
    };
    let attempt = browser.attempt(Tried::Account(account.id.clone()));
    let arrival = match throttle::check(services, &attempt).await? {
        Ok(arrival) => arrival,
        Err(problem) => return again(problem),
    };
    let code = params.one("code").unwrap_or_default();
    let amr: &[&str] =
        match services.second_factors.check(&account.id, code).await.map_err(ProtocolError::from)? {
            Some(Factor::Totp) => &["pwd", "otp", "mfa"],
            Some(Factor::RecoveryCode { .. }) => &["pwd", "mfa"],
            None => {
                let event = Event::new(EventKind::SignInFailed, Actor::User(account.id.clone()));
                services.audit.record(event.outcome(Outcome::Refused)).await.map_err(ProtocolError::from)?;
                return again(Problem::Wrong);
            }
        };
    session::start(services, &halfway.goal, (&account, amr), &arrival, browser).await
}
