//! The administration: what the admin API and the command line on a stopped installation both call.
//! Every act is audited before it takes effect; what can't be audited does not happen, and what then fails
//! is audited as failed.

pub mod api_keys;
pub mod audit;
pub mod clients;
pub mod copies;
pub(in crate::protocol) mod difference;
pub mod keys;
pub mod nodes;
pub mod revocations;
pub mod users;

use std::future::Future;

use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::clients::ADMIN_SCOPE;
use crate::oauth::{ErrorCode, Scope, UserId};
use crate::protocol::{ProtocolError, Services};

/// What it takes to keep the users.
const USERS: &str = "signet:users";

fn exceeds(needed: &[&str]) -> ProtocolError {
    let needed = needed.join(" ");
    ProtocolError::new(
        ErrorCode::InsufficientScope,
        format!("what is asked for exceeds your own admin scope: it needs {needed} too"),
    )
}

/// Who administers, and how far.
#[derive(Clone, Debug)]
pub struct Administrator {
    /// Who.
    pub actor: Actor,
    /// The admin scope tokens that they hold.
    pub scope: Scope,
}

impl Administrator {
    /// The operator of a stopped installation, who could do anything to its files anyway.
    #[must_use]
    pub fn operator(name: String) -> Self {
        Self { actor: Actor::Operator(name), scope: Scope::parse(ADMIN_SCOPE).unwrap_or_default() }
    }

    /// Their act, for the record.
    fn event(&self, kind: EventKind) -> Event {
        Event::new(kind, self.actor.clone())
    }

    /// Nobody gives, takes or reveals an admin scope that they do not hold, nor a scope of the users API without
    /// keeping the users themselves.
    fn may_touch(&self, scope: &Scope) -> Result<(), ProtocolError> {
        let needed = |token| if str::starts_with(token, "users:") { USERS } else { token };
        let mut foreign: Vec<&str> = scope.iter().map(needed).collect();
        foreign.retain(|token| Scope::is_admin(token) && !self.scope.contains(token));
        foreign.dedup();
        if foreign.is_empty() { Ok(()) } else { Err(exceeds(&foreign)) }
    }

    fn is(&self, user: &UserId) -> bool {
        matches!(&self.actor, Actor::User(actor) if actor == user)
    }

    /// Nobody makes anything that speaks for another person without keeping the users.
    fn may_speak_for(&self, user: &UserId) -> Result<(), ProtocolError> {
        if self.is(user) || self.scope.contains(USERS) { Ok(()) } else { Err(exceeds(&[USERS])) }
    }
}

/// Records `event`, then does `act`; if that fails, records that too.
pub(super) async fn audited<T>(
    services: &Services,
    event: Event,
    act: impl Future<Output = Result<T, ProtocolError>>,
) -> Result<T, ProtocolError> {
    services.audit.record(event.clone()).await?;
    let done = act.await;
    if let Err(error) = &done {
        let failed = event.outcome(Outcome::Failed).detail("error", error.code.as_str());
        services.audit.record(failed).await?;
    }
    done
}
