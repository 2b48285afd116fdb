//! What must be remembered, and nothing more: a tiny ordered key-value contract and its backends.
//!
//! One primitive carries all concurrency: [`Store::commit`] applies a [`Batch`] of conditional puts
//! and deletes, all or nothing, and is durable when it returns. No rule of OAuth lives here.

mod batch;
mod following;
mod frozen;
pub mod memory;
mod names;
mod nodes;
mod patience;
#[cfg(feature = "postgres")]
pub mod postgres;
mod room;
mod scan;
pub mod sled_store;
pub mod typed;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub use batch::{LONGEST_KEY, LONGEST_VALUE};
pub use following::{carried, following};
pub use frozen::{Frozen, SharedFrozen};
pub use memory::MemoryStore;
pub(crate) use names::sync_names_above;
pub use nodes::{Node, NodeClock, Nodes, Said};
pub use patience::{Line, Patience, Turn, patiently, patiently_for, turn};
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
pub use room::Room;
pub use scan::{Reading, scan_each, scan_page};
pub use sled_store::SledStore;
#[cfg(test)]
pub(crate) use sled_store::tests::GatedStore;

/// A durable, ordered key-value store.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The row under `key`, unless there is none or it has expired.
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>, StoreError>;

    /// The same for several keys, in their order: one call where a store answers over a network. Not one state of it: a row may
    /// change between the reading of two.
    async fn get_each(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Option<Row>>, StoreError> {
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            rows.push(self.get(table, key).await?);
        }
        Ok(rows)
    }

    /// Up to `limit` live rows in key order, beginning behind `after`, or at the start.
    async fn scan(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError>;

    /// Applies all of `batch`, or nothing if one of its conditions does not hold. An expired row counts
    /// as absent. When this returns [`Committed::Applied`], the batch survives a crash and a power cut.
    /// A batch that [`Batch`] calls malformed is refused with [`StoreError::Invalid`], and nothing is done.
    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError>;

    /// What changed in the mirrored tables behind `after`, in commit order, never skipping a commit.
    async fn changes(&self, after: Cursor) -> Result<Changes, StoreError>;

    /// Returns when there may be changes behind `after`: whoever follows them then asks [`Store::changes`]. May return
    /// when there are none, and may never return: it only makes a follower faster that asks from time to time anyway.
    async fn changed(&self, after: Cursor) {
        let _ = after;
        std::future::pending::<()>().await;
    }

    /// What time the store's own clock shows; nothing where it has none, because it goes by that of the process.
    async fn now(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        Ok(None)
    }

    /// Whether other processes may write to it meanwhile.
    fn is_shared(&self) -> bool {
        false
    }

    /// How long a call waits for an answer at most; nothing where none is waited for over a network. A disk that holds up one write
    /// holds up all: who waits for it is told, and nobody waits twice.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// Removes up to `limit` rows that have expired by `now`, of the mirrored tables, and of the others, those first that expired first; says how
    /// many. On that order it rests that a status list goes before what was revoked in it (docs/decisions/0018). A row that somebody else is just writing may be left to
    /// the next call.
    async fn sweep(&self, now: DateTime<Utc>, limit: usize) -> Result<usize, StoreError>;

    /// The store as it stands between two commits, to be read at leisure while others go on writing.
    async fn freeze(&self) -> Result<SharedFrozen, StoreError>;

    /// How many times data was made durable since the store was opened; commits share flushes.
    fn flushes(&self) -> u64 {
        0
    }

    /// What is asked of it, where it can be too much: nothing, for a store of this process alone.
    fn load(&self) -> StoreLoad {
        StoreLoad::default()
    }

    /// Why the store takes no more writes, if it doesn't; reads may go on.
    fn failure(&self) -> Option<String> {
        None
    }

    /// Whether it refused the last write for a reason of its own, such as a full disk, and has taken none since, or its disk holds one
    /// up; reads may go on, and it needs no restart.
    fn is_unwritable(&self) -> bool {
        false
    }

    /// How much room there is for more, where this machine knows.
    fn room(&self) -> Option<Room> {
        None
    }
}

/// What is asked of a store in a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreLoad {
    /// Connections that are in use.
    pub connections: u64,
    /// Calls that wait for one.
    pub waiting: u64,
    /// Commits that were given up and that the database has neither done nor undone: a synchronous standby may be away.
    pub unanswered: u64,
    /// Calls that failed since the start.
    pub failures: u64,
}

/// A table, and whether every node mirrors it in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    /// The name in the backend.
    pub name: &'static str,
    /// Whether its commits stand in [`Store::changes`].
    pub mirrored: bool,
    /// Whether what is asked for there is wanted even where nobody waits for the answer any more.
    pub even_late: bool,
}

impl Table {
    /// A table that is read when it is needed.
    #[must_use]
    pub const fn plain(name: &'static str) -> Self {
        Self { name, mirrored: false, even_late: false }
    }

    /// A small, hot table whose changes every node follows.
    #[must_use]
    pub const fn mirrored(name: &'static str) -> Self {
        Self { name, mirrored: true, even_late: false }
    }

    /// This table, of orders: to revoke, to replace a key. Each is wanted although whoever gave it was told that it could not be carried out
    /// in time, and a second one of the same does nothing more. So a commit that waits for others, at a backend where it may wait
    /// for long, is then made nevertheless, if it can be.
    #[must_use]
    pub const fn even_late(self) -> Self {
        Self { even_late: true, ..self }
    }
}

/// A stored value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Grows with every write of the row, never 0, never given twice. For [`Condition::VersionIs`].
    pub version: u64,
    /// The instant from which on the row does not exist, cut to whole milliseconds.
    pub expires_at: Option<DateTime<Utc>>,
    /// The value, uninterpreted.
    pub value: Vec<u8>,
}

/// Conditional writes, applied together.
///
/// It is malformed if it names a row twice, if a key is empty or longer than [`LONGEST_KEY`], or if a
/// value is longer than [`LONGEST_VALUE`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order; no two of the same row.
    pub writes: Vec<Write>,
    /// For how long it may be put off, so that what makes another commit durable carries it too; a backend may apply it at once.
    pub patience: Duration,
}

/// One conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub table: Table,
    /// Under which key; 1 to 512 bytes.
    pub key: Vec<u8>,
    /// On which condition.
    pub condition: Condition,
    /// What to do.
    pub action: Action,
}

/// What must hold of a row for its batch to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// There is no live row.
    Absent,
    /// The live row has this version.
    VersionIs(u64),
}

/// What a write does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Stores a value until `expires_at`, or for good.
    Put {
        /// The value, uninterpreted.
        value: Vec<u8>,
        /// When the row ceases to exist.
        expires_at: Option<DateTime<Utc>>,
    },
    /// Removes the row.
    Delete,
    /// Changes nothing: only the condition counts.
    Check,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same batch, which may be put off for up to `patience`.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Adds a put.
    #[must_use]
    pub fn put(mut self, table: Table, key: impl Into<Vec<u8>>, condition: Condition, put: Put) -> Self {
        let action = Action::Put { value: put.value, expires_at: put.expires_at };
        self.writes.push(Write { table, key: key.into(), condition, action });
        self
    }

    /// Adds a delete.
    #[must_use]
    pub fn delete(mut self, table: Table, key: impl Into<Vec<u8>>, condition: Condition) -> Self {
        self.writes.push(Write { table, key: key.into(), condition, action: Action::Delete });
        self
    }

    /// Adds a condition on a row that stays as it is.
    #[must_use]
    pub fn check(mut self, table: Table, key: impl Into<Vec<u8>>, condition: Condition) -> Self {
        self.writes.push(Write { table, key: key.into(), condition, action: Action::Check });
        self
    }
}

/// A value to put.
#[derive(Clone, Debug)]
pub struct Put {
    /// The value, uninterpreted.
    pub value: Vec<u8>,
    /// When the row ceases to exist.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Put {
    /// A value that stays.
    #[must_use]
    pub fn lasting(value: Vec<u8>) -> Self {
        Self { value, expires_at: None }
    }

    /// A value that ceases to exist at `expires_at`.
    #[must_use]
    pub fn until(expires_at: DateTime<Utc>, value: Vec<u8>) -> Self {
        Self { value, expires_at: Some(expires_at) }
    }
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Committed {
    /// All of it, durably.
    Applied,
    /// None of it: a condition did not hold.
    Conflict,
}

/// A place in the order of commits; the default is before the first of whatever epoch.
///
/// An epoch is one server's unbroken history. After a failover the new server may lack commits that were seen, and number
/// others like them: places of two epochs can't be compared. What an epoch says is the store's own business.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Of which epoch; 0 is none in particular, and no store's own.
    pub epoch: u64,
    /// How many changes there were up to here.
    pub place: u64,
}

impl Cursor {
    /// Ahead of every store: [`Store::changes`] answers it with [`Changes::Reset`], and so with the place of the newest
    /// commit. For whoever is about to read the tables for the first time.
    pub const AHEAD: Self = Self { epoch: 0, place: u64::MAX };

    /// The epoch of a store that is opened by one process and ends with it: it has no other.
    pub(crate) const ONLY_EPOCH: u64 = 1;

    /// Whether it is a place that a store has been at whose newest one is `newest`.
    #[must_use]
    pub fn is_known_to(self, newest: Self) -> bool {
        (self.epoch == 0 || self.epoch == newest.epoch) && self.place <= newest.place
    }
}

/// What [`Store::changes`] answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Rows of mirrored tables that were written or removed, in commit order, at most a page of them;
    /// ask again from `next` until `rows` is empty.
    Rows {
        /// Table name and key; read the row itself with [`Store::get`].
        rows: Vec<(String, Vec<u8>)>,
        /// Where to go on.
        next: Cursor,
    },
    /// The cursor is older than the log reaches back, or not of this store's epoch: scan the tables anew, then go on
    /// from `next`.
    Reset {
        /// Where to go on. Taken before the scan, so that nothing is missed.
        next: Cursor,
    },
}

/// The store could not do it. Nothing is known of a commit that ended so, except that it was all or nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The caller asked for something the contract rules out; nothing was done.
    #[error("the batch is malformed: {0}")]
    Invalid(&'static str),
    /// The backend is out of reach, full, or failing.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What was read can't be what was written.
    #[error("the store holds a damaged row in {table}: {reason}")]
    Damaged {
        /// In which table.
        table: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl StoreError {
    /// The row of `table` under `key` can't be what was written. Which one it is, is told of a mirrored table alone: whoever mends it
    /// must know, and those keys are names. Others may be what somebody proves themselves by.
    #[must_use]
    pub fn damaged(table: Table, key: &[u8], reason: &str) -> Self {
        let reason = if table.mirrored {
            format!("{reason}, under the key {}", shown(key))
        } else {
            reason.to_owned()
        };
        Self::Damaged { table: table.name.to_owned(), reason }
    }
}

/// A key as SQL takes it, and what it says where that is text.
fn shown(key: &[u8]) -> String {
    let hex = key.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    match std::str::from_utf8(key) {
        Ok(text) if key.iter().all(u8::is_ascii_graphic) => format!("{text} ('\\x{hex}')"),
        _ => format!("'\\x{hex}'"),
    }
}
