//! Who may have a connection: so many calls at once, of which fewer may write.
//!
//! A commit that waits for a synchronous standby waits for as long as that is away, whatever its caller does. So a write
//! that was given up keeps its place until the server has let go of it (`Lease::leave_behind`). When nothing but such places
//! is left, writes fail at once; reads have connections that no write can take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, watch};

use super::pool::{Pool, Purpose};
use crate::store::StoreError;

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// It changes nothing.
    Read,
    /// It may commit something.
    Write,
}

/// Calls of one purpose.
pub(super) struct Lane {
    /// All of its connections.
    connections: Places,
    /// Those by which somebody may write: there is one more at least.
    writing: Places,
    /// Calls that only read, running or waiting.
    reads: AtomicUsize,
    /// Calls that write, running or waiting.
    writes: AtomicUsize,
    /// Writes that were not answered in time, and that the server has not let go of.
    kept: watch::Sender<usize>,
}

/// So many at once.
struct Places {
    free: Arc<Semaphore>,
    all: usize,
}

/// The right to a connection. It is to be given up after the connection, not before.
pub(super) struct Place {
    _connection: OwnedSemaphorePermit,
    _writing: Option<OwnedSemaphorePermit>,
}

/// Counts a write that was not answered in time, for as long as that lasts.
pub(super) struct Kept {
    pool: Arc<Pool>,
    purpose: Purpose,
}

impl Kept {
    pub(super) fn new(pool: Arc<Pool>, purpose: Purpose) -> Self {
        pool.lane(purpose).kept.send_modify(|kept| *kept += 1);
        Self { pool, purpose }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.pool.lane(self.purpose).kept.send_modify(|kept| *kept -= 1);
    }
}

impl Places {
    fn new(all: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(all)), all }
    }

    async fn take(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let stopped = |_: AcquireError| StoreError::Unavailable("the store is closed".to_owned());
        self.free.clone().acquire_owned().await.map_err(stopped)
    }
}

impl Lane {
    /// One of so many connections, two at least; a quarter of them, one at least, is for reading alone.
    pub(super) fn new(connections: usize) -> Self {
        let connections = connections.max(2);
        let reading = (connections / 4).max(1);
        Self {
            connections: Places::new(connections),
            writing: Places::new(connections - reading),
            reads: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            kept: watch::Sender::new(0),
        }
    }

    fn calls(&self, access: Access) -> (&AtomicUsize, &Places) {
        match access {
            Access::Read => (&self.reads, &self.connections),
            Access::Write => (&self.writes, &self.writing),
        }
    }

    /// Counts a call until it leaves; says whether no more than `waiting` such wait.
    pub(super) fn enter(&self, access: Access, waiting: usize) -> bool {
        let (calls, places) = self.calls(access);
        calls.fetch_add(1, Ordering::AcqRel) < places.all.saturating_add(waiting)
    }

    /// A call is over.
    pub(super) fn leave(&self, access: Access) {
        self.calls(access).0.fetch_sub(1, Ordering::AcqRel);
    }

    /// A place for a call, when there is one. A write fails instead where it would wait for nothing but writes that
    /// were given up.
    pub(super) async fn place(&self, access: Access) -> Result<Place, StoreError> {
        let writing = match access {
            Access::Read => None,
            Access::Write => Some(self.place_to_write().await?),
        };
        Ok(Place { _connection: self.connections.take().await?, _writing: writing })
    }

    async fn place_to_write(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let (mut kept, all) = (self.kept.subscribe(), self.writing.all);
        tokio::select! {
            biased;
            place = self.writing.take() => place,
            _ = kept.wait_for(|kept| *kept >= all) => Err(StoreError::Unavailable(format!(
                "PostgreSQL has not answered {all} commits that were given up: is its synchronous standby away?"
            ))),
        }
    }

    /// Writes that were given up, and that the server has not let go of.
    pub(super) fn kept(&self) -> usize {
        *self.kept.borrow()
    }

    /// Connections in use, those of writes that were given up included, and calls that wait for one.
    pub(super) fn load(&self) -> (usize, usize) {
        let connections = self.connections.all - self.connections.free.available_permits();
        let calls = self.reads.load(Ordering::Acquire) + self.writes.load(Ordering::Acquire);
        (connections, calls.saturating_sub(connections.saturating_sub(self.kept())))
    }
}
