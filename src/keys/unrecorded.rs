//! What happened to keys and does not stand in the audit log yet. It is kept here from before the commit until it is recorded,
//! whoever made the change and whatever failed afterwards: a change that is durable is told of by the next round if by nobody before.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is to be recorded, in its order. What a process had not recorded when it ended is lost.
#[derive(Debug)]
pub struct Unrecorded<E> {
    events: Mutex<Events<E>>,
    /// One records at a time: nothing is recorded by two.
    recording: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Events<E> {
    owed: VecDeque<E>,
    /// What the last commit that was begun writes, and what happened with it, unless its answer has come.
    begun: Option<(Vec<u8>, Vec<E>)>,
}

impl<E> Default for Unrecorded<E> {
    fn default() -> Self {
        Self {
            events: Mutex::new(Events { owed: VecDeque::new(), begun: None }),
            recording: tokio::sync::Mutex::default(),
        }
    }
}

impl<E: Clone> Unrecorded<E> {
    fn events(&self) -> MutexGuard<'_, Events<E>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit begins that writes `row`, with which `events` happen.
    pub(super) fn begin(&self, row: &[u8], events: Vec<E>) {
        self.events().begun = Some((row.to_vec(), events));
    }

    /// The store has `row`, as it was read or as its commit was answered: was it written here, what happened with it is owed. So a
    /// commit whose answer was lost is found out about by whoever reads next, unless another node has written since.
    pub(super) fn found(&self, row: &[u8]) {
        let mut events = self.events();
        if let Some((_, happened)) = events.begun.take_if(|(written, _)| written == row) {
            events.owed.extend(happened);
        }
    }

    /// Takes all of it: it is the caller's to record.
    pub fn take(&self) -> Vec<E> {
        self.events().owed.drain(..).collect()
    }

    /// To record one after the other.
    pub async fn recording(&self) -> Recording<'_, E> {
        Recording { of: self, _alone: self.recording.lock().await }
    }
}

/// Nobody else records until this is dropped.
#[must_use = "others record as soon as it is dropped"]
pub struct Recording<'a, E> {
    of: &'a Unrecorded<E>,
    _alone: tokio::sync::MutexGuard<'a, ()>,
}

impl<E: Clone> Recording<'_, E> {
    /// What is to be recorded first; it stays so until it [`is_recorded`](Self::is_recorded).
    #[must_use]
    pub fn first(&self) -> Option<E> {
        self.of.events().owed.front().cloned()
    }

    /// The first one stands in the audit log.
    pub fn is_recorded(&self) {
        self.of.events().owed.pop_front();
    }
}
