use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::clock::SharedClock;
use crate::store::{
    Batch, Changes, Committed, Cursor, Room, Row, SharedFrozen, Store, StoreError, StoreLoad, Table,
    patiently,
};
use crate::telemetry::{Metrics, StoreCall};

/// A store whose calls are timed, whichever it is: how long each took, waiting included, and also where it failed; within what a
/// request has left of its patience.
/// [`Store::changed`] is none: it waits on purpose.
pub struct TimedStore {
    inner: Arc<dyn Store>,
    clock: SharedClock,
    metrics: Arc<Metrics>,
}

impl TimedStore {
    /// `inner`, with times taken by `clock` and told to `metrics`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, clock: SharedClock, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { inner, clock, metrics })
    }

    async fn timed<T>(
        &self,
        call: StoreCall,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let began = self.clock.monotonic();
        let answer = patiently(self, work).await;
        self.metrics.store_call(call, self.clock.monotonic().saturating_sub(began));
        answer
    }
}

#[async_trait]
impl Store for TimedStore {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>, StoreError> {
        self.timed(StoreCall::Get, self.inner.get(table, key)).await
    }

    async fn get_each(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Option<Row>>, StoreError> {
        self.timed(StoreCall::Get, self.inner.get_each(table, keys)).await
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
        self.timed(StoreCall::Scan, self.inner.scan(table, after, limit)).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        self.timed(StoreCall::Commit, self.inner.commit(batch)).await
    }

    async fn changes(&self, after: Cursor) -> Result<Changes, StoreError> {
        self.timed(StoreCall::Changes, self.inner.changes(after)).await
    }

    async fn changed(&self, after: Cursor) {
        self.inner.changed(after).await;
    }

    async fn now(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.timed(StoreCall::Now, self.inner.now()).await
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    fn patience(&self) -> Option<Duration> {
        self.inner.patience()
    }

    async fn sweep(&self, now: DateTime<Utc>, limit: usize) -> Result<usize, StoreError> {
        self.timed(StoreCall::Sweep, self.inner.sweep(now, limit)).await
    }

    async fn freeze(&self) -> Result<SharedFrozen, StoreError> {
        self.timed(StoreCall::Freeze, self.inner.freeze()).await
    }

    fn flushes(&self) -> u64 {
        self.inner.flushes()
    }

    fn load(&self) -> StoreLoad {
        self.inner.load()
    }

    fn failure(&self) -> Option<String> {
        self.inner.failure()
    }

    fn is_unwritable(&self) -> bool {
        self.inner.is_unwritable()
    }

    fn room(&self) -> Option<Room> {
        self.inner.room()
    }
}
