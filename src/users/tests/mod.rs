//! The room as a whole, on a store in memory with a clock that stands still.

mod accounts;
mod administrators;
mod allowance;
mod api_keys;
mod consents;
mod logouts;
mod passwords;
mod second_factors;
mod sessions;

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::*;
use crate::clock::{Clock as _, ManualClock, SharedClock};
use crate::config::{HashingCost, SessionsConfig};
use crate::entropy::{SeededEntropy, SharedEntropy};
use crate::oauth::{Secret, UserId};
use crate::store::{
    Batch, Changes, Committed, Cursor, MemoryStore, Row, SharedFrozen, Store, StoreError, Table,
};

/// A store that lets others run after each read, so that what is read may be old when it is acted on; it counts its
/// commits.
struct Yielding {
    store: Arc<dyn Store>,
    commits: AtomicU64,
    /// What is to happen once, between a read and whatever its reader does next.
    after_a_read: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
}

impl Yielding {
    fn over(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { store, commits: AtomicU64::new(0), after_a_read: Mutex::default() })
    }
}

#[async_trait]
impl Store for Yielding {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>, StoreError> {
        let row = self.store.get(table, key).await;
        let meanwhile = self.after_a_read.lock().unwrap().take();
        match meanwhile {
            Some(meanwhile) => meanwhile.await,
            None => tokio::task::yield_now().await,
        }
        row
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
        let rows = self.store.scan(table, after, limit).await;
        tokio::task::yield_now().await;
        rows
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        self.commits.fetch_add(1, Relaxed);
        self.store.commit(batch).await
    }

    async fn changes(&self, after: Cursor) -> Result<Changes, StoreError> {
        self.store.changes(after).await
    }

    async fn sweep(&self, now: DateTime<Utc>, limit: usize) -> Result<usize, StoreError> {
        self.store.sweep(now, limit).await
    }

    async fn freeze(&self) -> Result<SharedFrozen, StoreError> {
        self.store.freeze().await
    }

    fn flushes(&self) -> u64 {
        self.commits.load(Relaxed)
    }
}

/// What everything stands on.
struct Ground {
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    entropy: SharedEntropy,
}

impl Ground {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(1_800_000_000));
        let entropy = Arc::new(SeededEntropy::new(7));
        Self { store: Yielding::over(MemoryStore::new(clock.clone())), clock, entropy }
    }

    fn clock(&self) -> SharedClock {
        self.clock.clone()
    }

    fn sources(&self) -> (SharedClock, SharedEntropy) {
        (self.clock(), self.entropy.clone())
    }

    fn accounts(&self) -> Accounts {
        self.accounts_at(HashingCost::LEAST)
    }

    fn accounts_at(&self, cost: HashingCost) -> Accounts {
        let hasher = PasswordHasher::new(cost, 2, self.sources());
        Accounts::new(self.store.clone(), self.clock(), self.entropy.clone(), hasher)
    }

    fn sessions(&self) -> Sessions {
        self.sessions_that_idle_for(Duration::from_hours(8))
    }

    fn sessions_that_idle_for(&self, idle: Duration) -> Sessions {
        let config = SessionsConfig { idle, absolute: Duration::from_hours(168) };
        let chance = (self.clock(), self.entropy.clone());
        Sessions::new(&config, self.store.clone(), chance, Arc::new(self.logouts()))
    }

    fn logouts(&self) -> LogoutQueue {
        LogoutQueue::new(self.store.clone(), self.clock(), self.entropy.clone())
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

fn user(name: &str) -> UserId {
    UserId::parse(&format!("user_{name}")).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn new_account(name: &str) -> NewAccount {
    let email = Email::parse(&format!("{name}@example.com")).unwrap();
    NewAccount { password: Some(secret("correct horse battery")), ..NewAccount::new(name, email) }
}
