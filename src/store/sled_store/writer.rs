//! The one thread that writes.
//!
//! It takes the commits that wait, as many as there are, checks and stages each on top of those before it,
//! applies them as one batch, makes that durable, and only then answers all of them. So concurrent commits
//! share one log entry, one flush and one `fdatasync`, no lock is held while the disk works, and no
//! condition can be overtaken. A conflict is answered as late as a success, when what caused it is durable.
//! A commit with patience waits for one that has none, or for whoever sent it to ask for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot, watch};

use super::disk::Disk;
use super::frozen::{View, Views};
use super::reader::Reader;
use super::staging::Staging;
use super::unsynced::Unsynced;
use crate::clock::SharedClock;
use crate::stall::Stall;
use crate::store::{Action, Batch, Committed, StoreError};

/// At most so many commits share a flush; it bounds how long the first of them waits.
const GROUP_COMMITS: usize = 1024;
/// A group takes no further commit once it holds so many bytes.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// At most so many commits wait for another one, and none with values of more bytes: together they are less than a group may be.
pub(super) const PATIENT_COMMITS: usize = 256;
const PATIENT_BYTES: usize = 8 * 1024;

/// How an operation is answered.
pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked to do.
pub(super) enum Operation {
    /// [`crate::store::Store::commit`].
    Commit(Batch, Answer<Committed>),
    /// The patience of a commit is at its end.
    Hurry,
    /// [`crate::store::Store::sweep`].
    Sweep(DateTime<Utc>, usize, Answer<usize>),
    /// [`crate::store::Store::freeze`].
    Freeze(Answer<View>),
}

/// What the writer lets others see.
pub(super) struct Progress {
    /// How many groups have been made durable.
    pub(super) flushes: AtomicU64,
    /// Why nothing is written any more.
    pub(super) failure: OnceLock<String>,
    /// The place of the newest change that is durable.
    pub(super) newest_change: watch::Sender<u64>,
    /// Whether the disk holds it up.
    pub(super) stall: Stall,
    /// What readers see of the group under way.
    pub(super) unsynced: Unsynced,
}

impl Progress {
    /// Nothing is done yet; `clock` says how long what follows takes.
    pub(super) fn new(clock: SharedClock) -> Self {
        let (flushes, failure, newest_change, unsynced) = Default::default();
        Self { flushes, failure, newest_change, stall: Stall::new(clock), unsynced }
    }
}

/// The writing thread's belongings.
pub(super) struct Writer {
    pub(super) db: sled::Db,
    pub(super) reader: Reader,
    pub(super) views: Views,
    pub(super) staging: Staging,
    pub(super) disk: Box<dyn Disk>,
    pub(super) clock: SharedClock,
    pub(super) progress: Arc<Progress>,
}

/// An operation whose outcome is known and waits to be durable.
enum Settled {
    Commit(Result<Committed, StoreError>, Answer<Committed>),
    Sweep(Result<usize, StoreError>, Answer<usize>),
    Freeze(Result<View, StoreError>, Answer<View>),
}

impl Writer {
    /// Works until all senders are gone and nothing waits, or until a write fails: then it stops for good, for what the
    /// disk holds is not known any more, and a second, successful `fdatasync` would prove nothing about it.
    pub(super) fn run(mut self, mut operations: mpsc::Receiver<Operation>) {
        let mut patient = Vec::new();
        let progress = self.progress.clone();
        loop {
            let first = match operations.blocking_recv() {
                Some(operation) => operation,
                // Taken in, if nobody waits for it any more.
                None if !patient.is_empty() => Operation::Hurry,
                None => return,
            };
            if first.is_patient() && patient.len() < PATIENT_COMMITS {
                patient.push(first);
                continue;
            }
            // What is read to settle them may be held up as a write is.
            let settling = progress.stall.begin();
            let room = self.room();
            let mut settled: Vec<_> = patient
                .drain(..)
                .chain([first])
                .filter_map(|each| self.settle(each, room.as_ref()))
                .collect();
            loop {
                // Whoever is about to commit on this core does so first: a group costs the same for one as for all.
                // Where nobody else wants the core, this takes a microsecond.
                std::thread::yield_now();
                let before = settled.len();
                while settled.len() < GROUP_COMMITS && self.staging.bytes() < GROUP_BYTES {
                    let Ok(next) = operations.try_recv() else { break };
                    settled.extend(self.settle(next, room.as_ref()));
                }
                if settled.len() == before {
                    break;
                }
            }
            drop(settling);
            let writing = progress.stall.begin();
            if let Err(reason) = self.make_durable() {
                tracing::error!(%reason, "the store takes no more writes until it is opened again");
                // Set before the answers and the receiver are dropped: whoever notices finds the reason.
                _ = self.progress.failure.set(reason);
                // Closing would flush once more, and panic if that fails again; the process's end closes too.
                std::mem::forget(self.db.clone());
                return;
            }
            drop(writing);
            settled.into_iter().for_each(Settled::answer);
        }
    }

    fn settle(&mut self, operation: Operation, room: Result<&(), &String>) -> Option<Settled> {
        let room = room.map_err(|reason| StoreError::Unavailable(reason.clone()));
        Some(match operation {
            Operation::Commit(batch, answer) => {
                let outcome = room.and_then(|()| self.staging.commit(batch, self.clock.now()));
                Settled::Commit(outcome, answer)
            }
            Operation::Hurry => return None,
            Operation::Sweep(now, limit, answer) => {
                let outcome = room.and_then(|()| self.staging.sweep(now, limit));
                Settled::Sweep(outcome, answer)
            }
            // What the tree holds now: of the group under way nothing, and that is not answered yet.
            Operation::Freeze(answer) => {
                let view = self.views.open(self.reader.clone(), self.clock.now());
                Settled::Freeze(Ok(view), answer)
            }
        })
    }

    /// Whether there is room for a group.
    fn room(&mut self) -> Result<(), String> {
        match self.disk.has_room() {
            Ok(true) => Ok(()),
            Ok(false) => Err("the disk is full".to_owned()),
            Err(error) => Err(format!("the disk does not answer: {error}")),
        }
    }

    fn make_durable(&mut self) -> Result<(), String> {
        if self.staging.bytes() == 0 {
            return Ok(());
        }
        self.views.keep(self.staging.row_keys(), &self.reader);
        self.progress.unsynced.begin(self.staging.row_keys());
        self.staging.apply().map_err(|error| format!("writing failed: {error}"))?;
        self.db.flush().map_err(|error| format!("flushing failed: {error}"))?;
        self.disk.sync().map_err(|error| format!("syncing to disk failed: {error}"))?;
        self.progress.unsynced.end();
        self.progress.flushes.fetch_add(1, Ordering::Relaxed);
        let newest = self.staging.newest_change();
        self.progress.newest_change.send_if_modified(|known| std::mem::replace(known, newest) != newest);
        Ok(())
    }
}

impl Operation {
    fn is_patient(&self) -> bool {
        let Self::Commit(batch, _) = self else { return false };
        let sizes = batch.writes.iter().map(|write| match &write.action {
            Action::Put { value, .. } => value.len(),
            Action::Delete | Action::Check => 0,
        });
        !batch.patience.is_zero() && sizes.sum::<usize>() <= PATIENT_BYTES
    }
}

impl Settled {
    /// Answers; whoever no longer waits for it does not get to know.
    fn answer(self) {
        match self {
            Self::Commit(outcome, answer) => _ = answer.send(outcome),
            Self::Sweep(outcome, answer) => _ = answer.send(outcome),
            Self::Freeze(outcome, answer) => _ = answer.send(outcome),
        }
    }
}
