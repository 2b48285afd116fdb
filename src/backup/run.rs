//! An import, a restore or a move, as one run of many: what it writes counts until the same order is given again, and once it has
//! ended, nodes from before it know by its name that they are.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::unfinished::{Mark, ROW, Unfinished};
use super::{Assurances, BackupError, INSTALLATION, refuse_running_nodes, refuse_unfinished};
use crate::keys::KeyRingParts;
use crate::store::{
    Batch, Changes, Committed, Condition, Cursor, Put, Row, SharedFrozen, Store, StoreError, Table,
};

/// What was done to this store as a whole: of the store, not of the installation, so that no copy has it.
const RUNS: Table = Table::plain("runs");

/// The name of the run that is under way, or was when its process ended.
const CURRENT: &[u8] = b"current";

/// The name of the last one that has ended and that nodes may be started after.
const LAST: &[u8] = b"last";

/// How a store was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) mark: Option<Mark>,
    /// That no run has ended since.
    last: Condition,
}

/// A run that has written down that it is under way.
pub(super) struct Run {
    name: Vec<u8>,
    version: u64,
    store: Arc<dyn Store>,
    parts: KeyRingParts,
}

impl Run {
    /// Whether one is under way, and which was the last: before anything else is looked at.
    pub(super) async fn find(store: &dyn Store) -> Result<Found, BackupError> {
        let last =
            store.get(RUNS, LAST).await?.map_or(Condition::Absent, |row| Condition::VersionIs(row.version));
        Ok(Found { mark: Unfinished::find(store).await?, last })
    }

    /// Writes down that `what` is under way from now on, in place of what was `found`, and refuses it where nodes use the store
    /// all the same: then what was written is taken back, and nothing was done. Either such a node is seen here, or it sees what was
    /// written and takes no part. Where the same is under way already, whoever began it does nothing more from here on.
    pub(super) async fn begin_alone(
        what: Unfinished,
        (parts, assurances): (&KeyRingParts, Assurances),
        found: Found,
    ) -> Result<Self, BackupError> {
        let refuse_nodes = async || {
            if assurances.nodes_stopped { Ok(()) } else { refuse_running_nodes(parts.store.as_ref()).await }
        };
        if found.mark.is_some_and(|mark| mark.what == what) {
            // What nodes ask for stands there already; and who is refused should not end the work of another.
            refuse_nodes().await?;
            return Self::begin(what, parts, found).await;
        }
        let run = Self::begin(what, parts, found).await?;
        if let Err(refused) = refuse_nodes().await {
            run.take_back(found.mark).await?;
            return Err(refused);
        }
        Ok(run)
    }

    async fn begin(
        what: Unfinished,
        parts: &KeyRingParts,
        Found { mark, last }: Found,
    ) -> Result<Self, BackupError> {
        let store = &parts.store;
        let name = parts.entropy.token::<16>().into_bytes();
        let condition = mark.map_or(Condition::Absent, |mark| Condition::VersionIs(mark.version));
        // One that has begun and ended since would be done over: its rows are no longer those that were looked at.
        let batch = what.begin(Batch::new().check(RUNS, LAST, last), condition);
        let batch = batch.put(RUNS, CURRENT, Condition::Always, Put::lasting(name.clone()));
        if store.commit(batch).await? == Committed::Conflict {
            return Err(BackupError::Contended);
        }
        // Another may have begun since.
        let current = store.get(RUNS, CURRENT).await?.filter(|row| row.value == name);
        let version = current.ok_or(BackupError::Contended)?.version;
        let fenced = Arc::new(Fenced { inner: store.clone(), version });
        let fenced = KeyRingParts { store: fenced, ..parts.clone() };
        Ok(Self { name, version, store: store.clone(), parts: fenced })
    }

    /// What it works on. Whatever it commits there is refused once another has begun in its place.
    pub(super) fn parts(&self) -> &KeyRingParts {
        &self.parts
    }

    /// Notes that it is over. In the same commit every node that was started before is one of before, whether it has noticed
    /// anything or not.
    pub(super) async fn end(self) -> Result<(), BackupError> {
        let batch = Batch::new().delete(INSTALLATION, ROW, Condition::Always);
        let batch = batch.put(RUNS, LAST, Condition::Always, Put::lasting(self.name));
        let batch = batch.delete(RUNS, CURRENT, Condition::VersionIs(self.version));
        match self.store.commit(batch).await? {
            Committed::Applied => Ok(()),
            Committed::Conflict => Err(overtaken().into()),
        }
    }

    /// As if it had never begun, unless another has begun in its place: that one needs the mark.
    async fn take_back(self, before: Option<Mark>) -> Result<(), BackupError> {
        let batch = match before {
            Some(before) => before.what.begin(Batch::new(), Condition::Always),
            None => Batch::new().delete(INSTALLATION, ROW, Condition::Always),
        };
        let batch = batch.delete(RUNS, CURRENT, Condition::VersionIs(self.version));
        let _anothers_by_now = self.store.commit(batch).await?;
        Ok(())
    }
}

fn overtaken() -> StoreError {
    StoreError::Unavailable(
        "the same command was started again and goes on in place of this one, which ends: see what that one says".into(),
    )
}

/// What was last done to a store as a whole when somebody looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incarnation(Option<Vec<u8>>);

impl Incarnation {
    /// Taken before anything is kept in memory of the store.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn of(store: &dyn Store) -> Result<Self, StoreError> {
        Ok(Self(store.get(RUNS, LAST).await?.map(|row| row.value)))
    }

    /// Refuses a store that is restored, filled or moved now, or was since this was taken.
    ///
    /// # Errors
    /// As [`refuse_unfinished`], and [`BackupError::RestoredSince`].
    pub async fn refuse_another(&self, store: &dyn Store) -> Result<(), BackupError> {
        // In this order: what ends in between shows in the second.
        refuse_unfinished(store).await?;
        if Self::of(store).await? == *self { Ok(()) } else { Err(BackupError::RestoredSince) }
    }
}

/// A store in which nothing is done for a run once another has begun in its place.
struct Fenced {
    inner: Arc<dyn Store>,
    /// Of the row that says which run it is.
    version: u64,
}

#[async_trait]
impl Store for Fenced {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>, StoreError> {
        self.inner.get(table, key).await
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
        self.inner.scan(table, after, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        let batch = batch.check(RUNS, CURRENT, Condition::VersionIs(self.version));
        let committed = self.inner.commit(batch).await?;
        if committed == Committed::Conflict {
            // Whoever hears of a conflict may try again.
            let current = self.inner.get(RUNS, CURRENT).await?;
            current.filter(|row| row.version == self.version).ok_or_else(overtaken)?;
        }
        Ok(committed)
    }

    async fn changes(&self, after: Cursor) -> Result<Changes, StoreError> {
        self.inner.changes(after).await
    }

    async fn now(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.inner.now().await
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    fn patience(&self) -> Option<Duration> {
        self.inner.patience()
    }

    async fn sweep(&self, now: DateTime<Utc>, limit: usize) -> Result<usize, StoreError> {
        self.inner.sweep(now, limit).await
    }

    async fn freeze(&self) -> Result<SharedFrozen, StoreError> {
        self.inner.freeze().await
    }
}
