//! Bringing both kinds of keys up to date.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Mutex;

use super::{App, StartError};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::keys::{Health, KeyEvent, KeyRingError, SealingEvent};
use crate::protocol::admin::keys::{record, record_sealing};

/// What is left to do of earlier rounds.
#[derive(Default)]
pub(super) struct Rotation {
    unrecorded: Mutex<Unrecorded>,
    /// Whether the keys wait for this node's clock to be right: what was due was left undone, and new ones were not opened.
    postponed: AtomicBool,
}

/// What happened to keys and does not stand in the audit log yet.
#[derive(Default)]
struct Unrecorded {
    signing: Vec<KeyEvent>,
    sealing: Vec<SealingEvent>,
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
        self.bring_up(async { keys.follow().await.map(|()| Vec::new()) }).await
    }

    /// Both kinds of keys, the signing ones by `ring`.
    async fn bring_up(
        &self,
        ring: impl Future<Output = Result<Vec<KeyEvent>, KeyRingError>>,
    ) -> Result<(), StartError> {
        let services = &self.state.services;
        // Both at once: a key that another node has dropped must leave this one, whatever the other kind waits for.
        let (signing, sealing) = tokio::join!(ring, services.sealing_keys.tick());
        // What could not be recorded is owed until it is.
        let mut owed = self.rotation.unrecorded.lock().await;
        let signing = signing.map(|events| owed.signing.extend(events));
        let sealing = sealing.map(|events| owed.sealing.extend(events));
        if is_clock_off(&signing) || is_clock_off(&sealing) {
            self.rotation.postponed.store(true, Ordering::Relaxed);
        }
        // The first in a row is told; the log and the metrics count the rest.
        let is_first =
            matches!(services.keys.health(), Health::Amber { failures: 1 } | Health::Red { failures: 1, .. });
        if let Err(error) = &signing
            && is_first
        {
            let failed = Event::new(EventKind::KeyRotationFailed, Actor::Service)
                .outcome(Outcome::Failed)
                .detail("error", error.to_string());
            services.audit.record(failed).await?;
        }
        record(&services.audit, &owed.signing).await?;
        owed.signing.clear();
        record_sealing(&services.audit, &owed.sealing).await?;
        owed.sealing.clear();
        Ok(both(signing, sealing)?)
    }

    /// Does what was left undone while this node's clock was off, if it is right again: what was due, and keys that were not
    /// opened.
    pub(super) async fn make_up(&self) -> Result<(), StartError> {
        let is_right = !self.state.services.fitness.is_clock_off();
        if is_right && self.rotation.postponed.swap(false, Ordering::Relaxed) {
            let made_up = self.rotate().await;
            self.rotation.postponed.fetch_or(made_up.is_err(), Ordering::Relaxed);
            return made_up;
        }
        Ok(())
    }
}

fn is_clock_off(outcome: &Result<(), KeyRingError>) -> bool {
    matches!(outcome, Err(KeyRingError::ClockOff(_)))
}

/// What went wrong. That the clock is off says least: then both were read, and whatever else failed was not.
fn both(signing: Result<(), KeyRingError>, sealing: Result<(), KeyRingError>) -> Result<(), KeyRingError> {
    match (signing, sealing) {
        (Err(KeyRingError::ClockOff(_)) | Ok(()), sealing @ Err(_)) => sealing,
        (signing, Err(KeyRingError::ClockOff(_)) | Ok(())) => signing,
        (signing, Err(error)) => {
            tracing::error!(%error, "the sealing keys could not be brought up to date either");
            signing
        }
    }
}
