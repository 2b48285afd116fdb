//! The default backend: an embedded sled database, one process a data directory.
//!
//! Decisions, with what was measured on 2 busy cores and a disk whose `fdatasync` takes 0.2 ms:
//!
//! - **One writing thread** (`writer`) instead of locks around sled, and one batch for all commits that
//!   wait: each of sled's atomic batches writes log buffers to disk on its own, so sharing one pays that
//!   once. 256 commits of 4 entries took 85 µs each with a batch of their own, 34 µs each in one batch.
//!   It gives way once before it closes a batch, so that those about to commit share it (docs/decisions/0016).
//! - **One tree, keys that begin with the table.** A tree a table and a multi-tree transaction took 90 µs
//!   where one tree and `apply_batch` took 85, read every row twice, and can't be shared between commits.
//! - **Reads run on the caller's thread**: a get of a cached row takes 2 µs and never waits for the disk's
//!   flush, since only the writing thread takes sled's exclusive lock, and not while it flushes. Scans run
//!   on the blocking pool. Whoever meets a row that is on its way to the disk waits until it is there
//!   (`unsynced`): somebody who is told "that is done already" must not lose it in a power cut.
//! - **sled flushes every 500 ms by itself as well**, because its space reclamation runs only then. If its
//!   `fsync` fails, ours, on a handle of its own, still reports the failure (Linux keeps it per handle;
//!   `tests/faults/sync.py` breaks a real disk).
//!
//! After a write that sled itself could not make, some reads fail too: it consolidates pages on reading.
//!
//! Not promised: that sled's own reuse of log space survives every power cut. It may overwrite a freed part
//! of its log after `sync_file_range` alone; a whole further log segment (512 KiB) must have been written
//! since, and every group of ours ends with `fdatasync`, which leaves room only for very large groups.

mod disk;
mod frozen;
mod layout;
mod opening;
mod reader;
mod staging;
mod unsynced;
mod watch;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot};

use self::disk::{Claim, DataFiles, Disk};
use self::frozen::{Shared, Views};
use self::reader::Reader;
use self::staging::Staging;
use self::unsynced::Rows;
use self::writer::{Operation, Progress, Writer};
use super::patience::is_asked_for;
use super::{Batch, Changes, Committed, Cursor, Room, Row, SharedFrozen, Store, StoreError, Table};
use crate::clock::SharedClock;
use crate::priority::stand_back;
use crate::stall::Watch;

/// So many commits may wait for the writer; further ones wait to be let in.
const WAITING_COMMITS: usize = 1024;
/// The reason if there is no better one.
const STOPPED: &str = "its writing thread stopped";

/// What can be tuned.
#[derive(Clone, Copy, Debug)]
pub struct SledOptions {
    /// How much of the data sled may keep in memory, in bytes.
    pub cache_capacity: u64,
    /// How many of the latest changes stay readable; older cursors are answered [`Changes::Reset`].
    pub changes_kept: u64,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self { cache_capacity: 64 * 1024 * 1024, changes_kept: 100_000 }
    }
}

/// A [`Store`] in a directory of this machine. Dropping it finishes what was begun and closes the files.
pub struct SledStore {
    reader: Reader,
    operations: Option<mpsc::Sender<Operation>>,
    writer: Option<JoinHandle<()>>,
    progress: Arc<Progress>,
    dir: PathBuf,
    _watch: Watch,
    db: sled::Db,
    // Given up last, when sled has closed its files.
    _claim: Claim,
}

impl SledStore {
    /// Opens the store in `dir`, or sets one up if there is none. Blocks; `clock` decides which rows have
    /// expired.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if another process has it open or the disk fails. [`StoreError::Damaged`]
    /// if what is there is no complete store of this version; nothing is repaired or set up anew then.
    pub fn open(dir: impl AsRef<Path>, clock: SharedClock) -> Result<Arc<Self>, StoreError> {
        Self::open_with(dir, clock, SledOptions::default())
    }

    /// Like [`SledStore::open`], tuned.
    ///
    /// # Errors
    /// As [`SledStore::open`].
    pub fn open_with(
        dir: impl AsRef<Path>,
        clock: SharedClock,
        options: SledOptions,
    ) -> Result<Arc<Self>, StoreError> {
        Self::open_on(dir.as_ref(), clock, options, |files| Box::new(files))
    }

    fn open_on(
        dir: &Path,
        clock: SharedClock,
        options: SledOptions,
        disk: impl FnOnce(DataFiles) -> Box<dyn Disk>,
    ) -> Result<Arc<Self>, StoreError> {
        let failed = |error| disk::unavailable(dir, &error);
        disk::create_private(dir).map_err(failed)?;
        let dir = dir.canonicalize().map_err(failed)?;
        let mut claim = Claim::take(&dir)?;
        disk::remove_unfinished_snapshots(&dir).map_err(failed)?;
        let marked = claim.is_marked().map_err(failed)?;
        let db = opening::open_database(&dir, options.cache_capacity)?;
        // Before the first write, so that no error of the disk can pass this handle by.
        let mut files = DataFiles::open(&dir).map_err(failed)?;
        let tree = db.open_tree("signet").map_err(unavailable)?;
        opening::set_up(&dir, &tree, marked, &mut || {
            tree.flush().map_err(unavailable)?;
            files.sync().map_err(failed)
        })?;
        if !marked {
            claim.mark().map_err(failed)?;
        }

        let progress = Arc::new(Progress::new(clock.clone()));
        let staging = Staging::open(tree.clone(), options.changes_kept)?;
        progress.newest_change.send_replace(staging.newest_change());
        let (operations, receiver) = mpsc::channel(WAITING_COMMITS);
        let writer = Writer {
            db: db.clone(),
            reader: Reader { tree: tree.clone(), clock: clock.clone() },
            staging,
            views: Views::default(),
            disk: disk(files),
            clock: clock.clone(),
            progress: progress.clone(),
        };
        let writer = std::thread::Builder::new()
            .name("signet-store".to_owned())
            .spawn(move || {
                stand_back(opening::NICENESS);
                let _ended = Ended(writer.progress.clone());
                writer.run(receiver);
            })
            .map_err(failed)?;
        Ok(Arc::new(Self {
            reader: Reader { tree, clock },
            operations: Some(operations),
            writer: Some(writer),
            _watch: watch::start(db.clone(), progress.clone()).map_err(failed)?,
            progress,
            dir,
            db,
            _claim: claim,
        }))
    }

    /// How many groups of commits have been made durable since the store was opened.
    #[must_use]
    pub fn flushes(&self) -> u64 {
        self.progress.flushes.load(Ordering::Relaxed)
    }

    /// Why the store takes no more writes, if it doesn't: a write to disk failed, and only opening the store
    /// anew tells what the disk holds.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let stopped = || self.operations.as_ref().is_none_or(mpsc::Sender::is_closed);
        let reason = self.progress.failure.get().cloned();
        reason.or_else(|| stopped().then(|| STOPPED.to_owned()))
    }

    async fn ask<T>(&self, operation: impl FnOnce(writer::Answer<T>) -> Operation) -> Result<T, StoreError> {
        self.ask_patiently(Duration::ZERO, operation).await
    }

    /// Asks the writer; a request for as long as the disk does not hold it up: what was asked for may be done later all the same. A start, a
    /// copy and housekeeping wait however long the disk takes.
    async fn ask_patiently<T>(
        &self,
        patience: Duration,
        operation: impl FnOnce(writer::Answer<T>) -> Operation,
    ) -> Result<T, StoreError> {
        self.unless_held_up(self.ask_writer(patience, operation)).await
    }

    async fn unless_held_up<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if !is_asked_for() {
            return work.await;
        }
        let done = self.progress.stall.outlasted_by(work);
        done.await.map_err(|held_up| StoreError::Unavailable(held_up.to_string()))?
    }

    /// Waits until what was read is on the disk, if that `concerns` rows which are on their way there; a request as long as for what it
    /// writes.
    async fn durable(&self, concerns: impl Fn(&Rows) -> bool) -> Result<(), StoreError> {
        let Some(ended) = self.progress.unsynced.on_their_way(&concerns) else { return Ok(()) };
        let failed = || {
            let reason = self.progress.failure.get();
            reason.map_or(Ok(()), |reason| Err(StoreError::Unavailable(reason.clone())))
        };
        failed()?;
        self.unless_held_up(async {
            ended.await;
            failed()
        })
        .await
    }

    /// Asks the writer, and for the answer once more when `patience` is over.
    async fn ask_writer<T>(
        &self,
        patience: Duration,
        operation: impl FnOnce(writer::Answer<T>) -> Operation,
    ) -> Result<T, StoreError> {
        let (answer, mut answered) = oneshot::channel();
        let refused = || StoreError::Unavailable(self.failure().unwrap_or_else(|| STOPPED.to_owned()));
        let operations = self.operations.as_ref().ok_or_else(refused)?;
        operations.send(operation(answer)).await.map_err(|_| refused())?;
        if !patience.is_zero() {
            if let Ok(answer) = tokio::time::timeout(patience, &mut answered).await {
                return answer.map_err(|_| refused())?;
            }
            operations.send(Operation::Hurry).await.map_err(|_| refused())?;
        }
        answered.await.map_err(|_| refused())?
    }

    async fn read_blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let reader = self.reader.clone();
        let reading = tokio::task::spawn_blocking(move || read(&reader));
        reading.await.map_err(|error| StoreError::Unavailable(format!("reading failed: {error}")))?
    }
}

/// Held by the writing thread: when that ends, by a panic too, nobody waits for it any more.
struct Ended(Arc<Progress>);

impl Drop for Ended {
    fn drop(&mut self) {
        _ = self.0.failure.set(STOPPED.to_owned());
        self.0.unsynced.fail();
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.operations = None;
        if let Some(Err(_)) = self.writer.take().map(JoinHandle::join) {
            // It panicked within sled, perhaps while it held a log buffer: closing could wait for it forever.
            std::mem::forget(self.db.clone());
        }
    }
}

#[async_trait]
impl Store for SledStore {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>, StoreError> {
        let key = layout::row_key(table, key);
        let row = self.reader.row(table, &key)?;
        self.durable(|rows| rows.contains(key.as_slice())).await?;
        Ok(row)
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
        let after = after.map(<[u8]>::to_vec);
        let rows = self.read_blocking(move |reader| reader.rows(table, after.as_deref(), limit)).await?;
        let rows_of_table = layout::row_key(table, &[]);
        self.durable(|rows| rows.iter().any(|row| row.starts_with(&rows_of_table))).await?;
        Ok(rows)
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        let patience = batch.patience;
        self.ask_patiently(patience, |answer| Operation::Commit(batch, answer)).await
    }

    async fn changes(&self, after: Cursor) -> Result<Changes, StoreError> {
        let newest = *self.progress.newest_change.borrow();
        self.read_blocking(move |reader| reader.changes(after, newest)).await
    }

    async fn changed(&self, after: Cursor) {
        // An error would mean that the sender is gone, which this store holds.
        _ = self.progress.newest_change.subscribe().wait_for(|newest| *newest > after.place).await;
    }

    async fn sweep(&self, now: DateTime<Utc>, limit: usize) -> Result<usize, StoreError> {
        self.ask(|answer| Operation::Sweep(now, limit, answer)).await
    }

    async fn freeze(&self) -> Result<SharedFrozen, StoreError> {
        Ok(Arc::new(Shared(Arc::new(self.ask(Operation::Freeze).await?))))
    }

    fn flushes(&self) -> u64 {
        Self::flushes(self)
    }

    fn failure(&self) -> Option<String> {
        Self::failure(self)
    }

    fn is_unwritable(&self) -> bool {
        self.progress.stall.lasts()
    }

    fn room(&self) -> Option<Room> {
        Room::at(&self.dir).ok()
    }
}

/// What sled's errors mean to us.
fn unavailable(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } => StoreError::Damaged {
            table: "the whole store".to_owned(),
            reason: "sled can't read its files; keep a copy of them, and restore from a backup".to_owned(),
        },
        error => StoreError::Unavailable(error.to_string()),
    }
}
