//! Bringing both kinds of keys up to date.

use std::sync::atomic::{AtomicBool, Ordering};

use super::follow::unless_known;
use super::{App, StartError};
use crate::audit::{Actor, AuditError, Event, EventKind, Outcome};
use crate::keys::{Health, KeyRingError};
use crate::protocol::admin::keys::{record, record_sealing};

/// What is left to do of earlier rounds.
#[derive(Default)]
pub(super) struct Rotation {
    /// Whether the keys wait for this node's clock to be right: what was due was left undone, and new ones were not opened.
    postponed: AtomicBool,
}

impl App {
    /// Reads the key ring and the sealing keys anew and does what is due, and tells the other nodes that this one is there. Of
    /// these three none waits for another to succeed.
    ///
    /// # Errors
    /// When the store, the keys or the audit log fail, or this node's clock is off; the next round tries again.
    pub async fn rotate(&self) -> Result<(), StartError> {
        let announced = self.announce().await;
        let is_out = match &announced {
            Err(StartError::Backup(error)) => error.is_unfinished(),
            Err(StartError::Disagreement(_)) => true,
            _ => false,
        };
        if matches!(announced, Err(StartError::Disagreement(_))) {
            // It still publishes keys: what the others have dropped must leave it.
            self.follow_keys().await?;
        }
        if is_out {
            // The keys are no longer this node's to change.
            return announced;
        }
        let rotated = self.rotate_keys().await;
        announced?;
        rotated
    }

    async fn rotate_keys(&self) -> Result<(), StartError> {
        self.bring_up(self.state.services.keys.tick()).await
    }

    /// Takes in what another node has made of the keys. What is due is left to the next round.
    pub(super) async fn follow_keys(&self) -> Result<(), StartError> {
        let keys = &self.state.services.keys;
        unless_unrecorded(self.bring_up(keys.follow()).await)
    }

    /// Both kinds of keys, the signing ones by `ring`.
    async fn bring_up(&self, ring: impl Future<Output = Result<(), KeyRingError>>) -> Result<(), StartError> {
        let services = &self.state.services;
        // Both at once: a key that another node has dropped must leave this one, whatever the other kind waits for.
        let (signing, sealing) = tokio::join!(ring, services.sealing_keys.tick());
        if is_clock_off(&signing) || is_clock_off(&sealing) {
            self.rotation.postponed.store(true, Ordering::Relaxed);
        }
        // The first in a row is told; the log and the metrics count the rest.
        let is_first =
            matches!(services.keys.health(), Health::Amber { failures: 1 } | Health::Red { failures: 1, .. });
        let failed = signing.as_ref().err().filter(|_| is_first).map(|error| {
            Event::new(EventKind::KeyRotationFailed, Actor::Service)
                .outcome(Outcome::Failed)
                .detail("error", error.to_string())
        });
        let recorded = self.record_of_keys(failed).await;
        // What is not known of the keys weighs more than what is not recorded.
        both(signing, sealing)?;
        Ok(recorded?)
    }

    async fn record_of_keys(&self, failed: Option<Event>) -> Result<(), AuditError> {
        let services = &self.state.services;
        if let Some(failed) = failed {
            services.audit.record(failed).await?;
        }
        // What could not be recorded before, whoever asked for it, is owed until it is.
        record(&services.audit, services.keys.unrecorded()).await?;
        record_sealing(&services.audit, services.sealing_keys.unrecorded()).await
    }

    /// Does what was left undone while this node's clock was off, if it is right again: what was due, and keys that were not
    /// opened.
    pub(super) async fn make_up(&self) -> Result<(), StartError> {
        let is_right = !self.state.services.fitness.is_clock_off();
        if is_right && self.rotation.postponed.swap(false, Ordering::Relaxed) {
            let made_up = unless_known(self.rotate().await);
            self.rotation.postponed.fetch_or(made_up.is_err(), Ordering::Relaxed);
            return unless_unrecorded(made_up);
        }
        Ok(())
    }
}

/// Nothing of what the others have done is unknown where only this node's own log takes nothing: it must hear of revocations as any
/// other. What happened to the keys is owed until it is recorded, and the rotator tries again.
fn unless_unrecorded(done: Result<(), StartError>) -> Result<(), StartError> {
    match done {
        Err(StartError::Audit(error)) => {
            tracing::error!(%error, "what happened to the keys can't be recorded; it is tried again");
            Ok(())
        }
        done => done,
    }
}

fn is_clock_off(outcome: &Result<(), KeyRingError>) -> bool {
    matches!(outcome, Err(KeyRingError::ClockOff(_)))
}

/// The worse of what went wrong. That the clock is off says least: then both were read, and whatever else failed was not.
fn both(signing: Result<(), KeyRingError>, sealing: Result<(), KeyRingError>) -> Result<(), KeyRingError> {
    let weight = |outcome: &Result<(), KeyRingError>| match outcome {
        Ok(()) => 0,
        Err(KeyRingError::ClockOff(_)) => 1,
        Err(error) if error.is_of_vault() => 2,
        Err(_) => 3,
    };
    let (worse, other) =
        if weight(&sealing) > weight(&signing) { (sealing, signing) } else { (signing, sealing) };
    match other {
        Err(KeyRingError::ClockOff(_)) | Ok(()) => {}
        Err(error) => {
            tracing::error!(%error, "the other kind of keys could not be brought up to date either");
        }
    }
    worse
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{ClockOff, VaultError};
    use crate::store::StoreError;

    #[test]
    fn what_keeps_the_rest_from_being_known_is_what_is_told() {
        let outcomes: [fn() -> Result<(), KeyRingError>; 4] = [
            || Ok(()),
            || Err(ClockOff::NotCompared.into()),
            || Err(VaultError::Io { path: "keys".into(), source: std::io::Error::other("away") }.into()),
            || Err(StoreError::Unavailable("away".into()).into()),
        ];
        for (worse, outcome) in outcomes.iter().enumerate() {
            for other in &outcomes[..=worse] {
                let told = format!("{:?}", outcome());
                assert_eq!(format!("{:?}", both(outcome(), other())), told);
                assert_eq!(format!("{:?}", both(other(), outcome())), told);
            }
        }
        // It may be there when the next step asks.
        let read = VaultError::Store(StoreError::Unavailable("away".into()));
        assert!(unless_known(Err(KeyRingError::from(read).into())).is_err());
    }
}
