//! What happened to keys and does not stand in the audit log yet. It is kept here from before the commit until it is recorded,
//! whoever made the change and whatever failed afterwards: a change that is durable is told of by the next round if by nobody before.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::audit::{Origin, Pending};
use crate::store::{Store, StoreError};

/// What is to be recorded, in its order. What a process had not recorded when it ended is lost.
#[derive(Debug)]
pub struct Unrecorded<E> {
    events: Mutex<Events<E>>,
    /// One records at a time: nothing is recorded by two. What the one before has handed over may be written yet.
    recording: tokio::sync::Mutex<Pending>,
}

/// Something that is to be recorded.
#[derive(Clone, Debug)]
pub struct Owed<E> {
    /// What happened.
    pub event: E,
    /// The request that it was done for, if it was one, whoever records it.
    pub origin: Option<Origin>,
}

#[derive(Debug)]
struct Events<E> {
    owed: VecDeque<Owed<E>>,
    /// The last commits that were begun and of which nothing is known, in their order: whoever asked may have stopped waiting, and asked
    /// again, before the first one lands.
    begun: VecDeque<Begun<E>>,
}

/// Refuses what a store of this process alone would refuse without trying, for its disk stalls: commits that are begun in vain would make those
/// forgotten that may land yet, and keys would be made for nothing.
pub(super) fn refuse_in_vain(store: &dyn Store) -> Result<(), StoreError> {
    if !store.is_shared() && store.is_unwritable() {
        return Err(StoreError::Unavailable("its disk does not take what was written before".to_owned()));
    }
    Ok(())
}

/// So many commits are waited for: one that as many others were begun after has hardly a chance to land.
const MOST_BEGUN: usize = 16;

#[derive(Debug)]
struct Begun<E> {
    row: Vec<u8>,
    origin: Option<Origin>,
    events: Vec<E>,
}

impl<E> Default for Unrecorded<E> {
    fn default() -> Self {
        let events = Events { owed: VecDeque::new(), begun: VecDeque::new() };
        Self { events: Mutex::new(events), recording: tokio::sync::Mutex::default() }
    }
}

impl<E: Clone> Unrecorded<E> {
    fn events(&self) -> MutexGuard<'_, Events<E>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit begins that writes `row`, with which `happening` happens.
    pub(super) fn begin(&self, row: &[u8], happening: Vec<E>) {
        let begun = Begun { row: row.to_vec(), origin: Origin::current(), events: happening };
        let mut events = self.events();
        if events.begun.len() >= MOST_BEGUN {
            events.begun.pop_front();
        }
        events.begun.push_back(begun);
    }

    /// How many commits may land yet.
    #[cfg(test)]
    pub(super) fn begun(&self) -> usize {
        self.events().begun.len()
    }

    /// The last commit that was begun of `row` was refused: another one was faster, which may have been of the very same row.
    pub(super) fn refused(&self, row: &[u8]) {
        let mut events = self.events();
        if let Some(at) = events.begun.iter().rposition(|begun| begun.row == row) {
            events.begun.remove(at);
        }
    }

    /// The store has `row`, as it was read or as its commit was answered: was it written here, what happened with it is owed. So a
    /// commit whose answer was lost, or comes late, is found out about by whoever reads next, unless another node has written since. Those that
    /// were begun before it stood on the same row as it or on an older one: they can't land any more. Gives what happened, once.
    pub(super) fn found(&self, row: &[u8]) -> Vec<E> {
        let mut events = self.events();
        let Some(at) = events.begun.iter().rposition(|begun| begun.row == row) else { return Vec::new() };
        let landed = events.begun.drain(..=at).next_back();
        let Some(Begun { origin, events: happened, .. }) = landed else { return Vec::new() };
        let owed = happened.iter().map(|event| Owed { event: event.clone(), origin: origin.clone() });
        events.owed.extend(owed);
        happened
    }

    /// Takes all of it, of which nothing has been handed over yet: it is the caller's to record.
    pub fn take(&self) -> Vec<E> {
        self.events().owed.drain(..).map(|owed| owed.event).collect()
    }

    /// To record one after the other.
    pub async fn recording(&self) -> Recording<'_, E> {
        Recording { of: self, pending: self.recording.lock().await }
    }
}

/// Nobody else records until this is dropped.
#[must_use = "others record as soon as it is dropped"]
pub struct Recording<'a, E> {
    of: &'a Unrecorded<E>,
    pending: tokio::sync::MutexGuard<'a, Pending>,
}

impl<E: Clone> Recording<'_, E> {
    /// What is to be recorded first; it stays so until it [`is_recorded`](Self::is_recorded).
    #[must_use]
    pub fn first(&self) -> Option<Owed<E>> {
        self.of.events().owed.front().cloned()
    }

    /// Whether the first one was handed over to the audit log.
    pub fn pending(&mut self) -> &mut Pending {
        &mut self.pending
    }

    /// The first one stands in the audit log.
    pub fn is_recorded(&self) {
        self.of.events().owed.pop_front();
    }
}
