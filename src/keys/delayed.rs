//! Commits that are known to be durable only some time after what they write was planned: other nodes' time to load it counts from
//! then.

use std::sync::{MutexGuard, PoisonError};

use super::ring::KeyRing;
use super::schedule::Delayed;

impl KeyRing {
    /// The store has `row`, as it was read or as its commit was answered. Was it written here, what happened with it is to be recorded, and
    /// what it took beyond its time is to be made up for: also where the answer was lost, or nobody waited for it.
    pub(super) fn found(&self, row: &[u8]) {
        let happened = self.unrecorded.found(row);
        let Some(planned_at) = happened.first().map(|event| event.at) else { return };
        let durable_at = self.parts.clock.numeric_date();
        if durable_at > planned_at {
            let steps = happened.into_iter().map(|event| event.change).collect();
            self.delayed().push(Delayed { steps, planned_at, durable_at });
        }
    }

    /// What is to be made up for; those that a change has made up for are the first ones.
    pub(super) fn delayed(&self) -> MutexGuard<'_, Vec<Delayed>> {
        self.delayed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
