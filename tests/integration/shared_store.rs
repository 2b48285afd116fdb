//! A store that several nodes share, in one process: it can be out of reach, and has a clock of its own.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use signet::clock::{Clock as _, ManualClock};
use signet::store::{
    Batch, Changes, Committed, Cursor, MemoryStore, Row, SharedFrozen, Store, StoreError, Table,
};
use tokio::sync::oneshot;

pub(crate) struct SharedStore {
    inner: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    out_of_reach: AtomicBool,
    read_only: AtomicBool,
    /// Whether commits are never answered.
    silent: AtomicBool,
    /// For how many milliseconds a request waits for it; 0 is for ever.
    pub(crate) patience: AtomicU64,
    /// How many milliseconds a commit takes.
    pub(crate) commits_take: AtomicU64,
    /// In seconds ahead of the nodes' clock.
    pub(crate) ahead: AtomicI64,
    /// How many milliseconds it takes to tell the time, which it reads in the middle of them.
    pub(crate) tells_time_in: AtomicU64,
    pub(crate) commits: AtomicU64,
    /// A clock that is set to this many seconds since the epoch while the next row is read.
    pub(crate) steps: Mutex<Option<(Arc<ManualClock>, i64)>>,
    /// How often the requests of API keys were looked at.
    pub(crate) counts_read: AtomicU64,
    /// How often a page of a mirrored table was asked for.
    pub(crate) scans: AtomicU64,
    /// Whether every second of them fails.
    pub(crate) every_second_scan_fails: AtomicBool,
    /// Of which epoch its places are.
    epoch: AtomicU64,
    /// So many commits more it has counted than there are: those that a failover will have lost.
    to_be_lost: AtomicU64,
    /// Whether sweeps are never answered.
    pub(crate) never_swept: AtomicBool,
    pub(crate) sweeps: AtomicU64,
    /// What the next commit waits for, if it is held up.
    held: Mutex<Option<oneshot::Receiver<()>>>,
}

impl SharedStore {
    pub(crate) fn new(clock: Arc<ManualClock>) -> Arc<Self> {
        Self::over(MemoryStore::new(clock.clone()), clock)
    }

    pub(crate) fn over(inner: Arc<MemoryStore>, clock: Arc<ManualClock>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            clock,
            out_of_reach: AtomicBool::default(),
            read_only: AtomicBool::default(),
            silent: AtomicBool::default(),
            patience: AtomicU64::default(),
            commits_take: AtomicU64::default(),
            ahead: AtomicI64::default(),
            tells_time_in: AtomicU64::default(),
            commits: AtomicU64::default(),
            steps: Mutex::default(),
            counts_read: AtomicU64::default(),
            scans: AtomicU64::default(),
            every_second_scan_fails: AtomicBool::default(),
            epoch: 7.into(),
            to_be_lost: AtomicU64::default(),
            never_swept: AtomicBool::default(),
            sweeps: AtomicU64::default(),
            held: Mutex::default(),
        })
    }

    pub(crate) fn take_out_of_reach(&self, out_of_reach: bool) {
        self.out_of_reach.store(out_of_reach, Ordering::SeqCst);
    }

    pub(crate) fn make_read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Ordering::SeqCst);
    }

    /// From now on commits arrive nowhere, and nobody is told, as when a synchronous standby is away.
    pub(crate) fn leave_commits_unanswered(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    /// From now on it has counted `commits` that its standby does not have.
    pub(crate) fn run_ahead(&self, commits: u64) {
        self.to_be_lost.store(commits, Ordering::SeqCst);
    }

    /// The standby takes over: what it has is numbered anew from there, in another epoch.
    pub(crate) fn fail_over(&self) {
        self.to_be_lost.store(0, Ordering::SeqCst);
        self.epoch.fetch_add(2, Ordering::SeqCst);
    }

    /// A place as it counts them.
    fn place(&self, inner: Cursor) -> Cursor {
        let (epoch, lost) = (self.epoch.load(Ordering::SeqCst), self.to_be_lost.load(Ordering::SeqCst));
        Cursor { epoch, place: inner.place + lost }
    }

    /// The next commit does not arrive until the sender is used or dropped; those after it overtake it.
    pub(crate) fn hold_next_commit(&self) -> oneshot::Sender<()> {
        let (release, held) = oneshot::channel();
        *self.held.lock().expect("no test panics with it") = Some(held);
        release
    }

    /// Whether nobody has run into it yet.
    pub(crate) fn holds_next_commit(&self) -> bool {
        self.held.lock().expect("no test panics with it").is_some()
    }

    async fn reach(&self) -> Result<(), StoreError> {
        // Other requests get a turn, as they would over a network.
        tokio::task::yield_now().await;
        if self.out_of_reach.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("a test took it out of reach".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl Store for SharedStore {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>, StoreError> {
        self.reach().await?;
        if let Some((clock, to)) = self.steps.lock().expect("no test panics with it").take() {
            clock.jump_to(to);
        }
        if table.name == "api_key_requests" {
            self.counts_read.fetch_add(1, Ordering::SeqCst);
        }
        self.inner.get(table, key).await
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
        self.reach().await?;
        if table.mirrored {
            let number = self.scans.fetch_add(1, Ordering::SeqCst) + 1;
            if number.is_multiple_of(2) && self.every_second_scan_fails.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable("a test lets every second page fail".into()));
            }
        }
        self.inner.scan(table, after, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        self.reach().await?;
        let held = self.held.lock().expect("no test panics with it").take();
        if let Some(held) = held {
            held.await.ok();
        }
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.read_only.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("a test lets nobody write".into()));
        }
        let takes = self.commits_take.load(Ordering::SeqCst);
        if takes > 0 {
            tokio::time::sleep(Duration::from_millis(takes)).await;
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.inner.commit(batch).await
    }

    async fn changes(&self, after: Cursor) -> Result<Changes, StoreError> {
        self.reach().await?;
        let (epoch, lost) = (self.epoch.load(Ordering::SeqCst), self.to_be_lost.load(Ordering::SeqCst));
        let inner = match after {
            Cursor { epoch: 0, .. } => after,
            Cursor { epoch: of, place } if of == epoch => {
                Cursor { epoch: 0, place: place.saturating_sub(lost) }
            }
            Cursor { .. } => Cursor::AHEAD,
        };
        Ok(match self.inner.changes(inner).await? {
            Changes::Rows { rows, next } => Changes::Rows { rows, next: self.place(next) },
            Changes::Reset { next } => Changes::Reset { next: self.place(next) },
        })
    }

    async fn changed(&self, after: Cursor) {
        let place = after.place.saturating_sub(self.to_be_lost.load(Ordering::SeqCst));
        self.inner.changed(Cursor { epoch: 0, place }).await;
    }

    async fn now(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.reach().await?;
        let half = Duration::from_millis(self.tells_time_in.load(Ordering::SeqCst) / 2);
        self.clock.advance(half);
        let now = self.clock.now() + chrono::Duration::seconds(self.ahead.load(Ordering::SeqCst));
        self.clock.advance(half);
        Ok(Some(now))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn patience(&self) -> Option<Duration> {
        let patience = self.patience.load(Ordering::SeqCst);
        (patience > 0).then(|| Duration::from_millis(patience))
    }

    async fn freeze(&self) -> Result<SharedFrozen, StoreError> {
        self.reach().await?;
        self.inner.freeze().await
    }

    async fn sweep(&self, now: DateTime<Utc>, limit: usize) -> Result<usize, StoreError> {
        self.reach().await?;
        self.sweeps.fetch_add(1, Ordering::SeqCst);
        if self.never_swept.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.inner.sweep(now, limit).await
    }
}
