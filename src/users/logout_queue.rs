//! Who is still to be told that a session has ended (OpenID Connect Back-Channel Logout 1.0): a queue in the store.
//!
//! A row stands under its client and the time from which on it is due. Whoever sends it claims it first: one
//! conditional commit that moves the row behind a lease, so that of several nodes one sends. A node that is gone before
//! it is done leaves the row where it comes due again when the lease is over. A row that is due later than any wait could have it
//! was dated by a clock that was ahead, and is due now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::logout_schedule;
use super::session::Session;
use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::oauth::{ClientId, SessionId, UserId};
use crate::store::typed::TypedTable;
use crate::store::{Batch, Committed, Condition, Store, StoreError, Table, scan_each};

pub(super) const TABLE: Table = Table::plain("logouts");
const LOGOUTS: TypedTable<Logout> = TypedTable::new(TABLE);

/// For how long whoever claimed a row has it alone: longer than any request may take.
const LEASE: Duration = Duration::from_mins(2);

/// A client that has to be told that a session has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logout {
    /// Whom to tell.
    pub client_id: ClientId,
    /// Since when that client took part in the session.
    pub joined_at: DateTime<Utc>,
    /// Whose session it was.
    pub user: UserId,
    /// Which one.
    pub sid: SessionId,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// How often it was tried and failed.
    pub failures: u32,
}

/// A row that is due.
#[derive(Clone, Debug)]
pub struct DueLogout {
    /// What is to be told.
    pub logout: Logout,
    key: Vec<u8>,
    version: u64,
}

/// A row that nobody else sends, as long as the lease lasts.
#[derive(Debug)]
pub struct ClaimedLogout {
    /// What is to be told.
    pub logout: Logout,
    key: Vec<u8>,
}

/// The queue.
pub struct LogoutQueue {
    store: Arc<dyn Store>,
    clock: SharedClock,
    entropy: SharedEntropy,
    wanted: Notify,
    /// Whether it was told that there are rows that can't be read.
    told_damage: AtomicBool,
}

impl LogoutQueue {
    /// The queue in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: SharedClock, entropy: SharedEntropy) -> Self {
        Self { store, clock, entropy, wanted: Notify::new(), told_damage: false.into() }
    }

    /// Adds to `batch`, which ends `session`, that all who took part in it are to be told. Call [`Self::wake`] once it
    /// is committed.
    pub(super) fn add(&self, mut batch: Batch, session: &Session) -> Result<Batch, StoreError> {
        let now = self.clock.now();
        for party in &session.parties {
            let logout = Logout {
                client_id: party.client_id.clone(),
                joined_at: party.joined_at,
                user: session.user.clone(),
                sid: session.sid.clone(),
                ended_at: now,
                failures: 0,
            };
            batch = LOGOUTS.put(batch, key(&logout, now), Condition::Always, &logout)?;
        }
        Ok(batch)
    }

    /// Something may be due now.
    pub fn wake(&self) {
        self.wanted.notify_one();
    }

    /// Returns when [`Self::wake`] was called since the last time.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// What is due now, at most `each` of one client, and as many that were dated ahead, so that a client with many does not hide the
    /// others'. A row that can't be read holds up no other.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn due(&self, each: usize) -> Result<Vec<DueLogout>, StoreError> {
        let now = self.clock.now();
        let bound = now + chrono::Duration::milliseconds(1);
        // The clocks of nodes differ by less than a lease.
        let furthest = later(now, logout_schedule::LONGEST + LEASE);
        let mut due = Vec::new();
        let mut after = Vec::new();
        loop {
            let from = Some(after.as_slice()).filter(|after| !after.is_empty());
            let rows = self.store.scan(LOGOUTS.table(), from, each.max(1)).await?;
            let Some((first, _)) = rows.first() else { return Ok(due) };
            // No identifier holds a slash.
            let client_id = first.split(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
            let ahead = place(&client_id, furthest);
            // The next client: '0' comes right behind the slash.
            let next = [client_id.as_slice(), b"0"].concat();
            let (end, behind) =
                if *first < ahead { (place(&client_id, bound), ahead) } else { (next.clone(), next) };
            let before = due.len();
            let mut last = None;
            for (key, row) in rows.into_iter().take_while(|(key, _)| *key < end) {
                last = Some(key.clone());
                match LOGOUTS.decode(&row) {
                    Ok(record) => due.push(DueLogout { logout: record.value, key, version: record.version }),
                    Err(error) => self.tell_damage(&error),
                }
            }
            after = match last {
                // All were damaged: what comes behind them is due too.
                Some(last) if due.len() == before => last,
                _ => behind,
            };
        }
    }

    /// Once: the row stays, and is seen every two seconds.
    fn tell_damage(&self, error: &StoreError) {
        if !self.told_damage.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "a client can't be told that a session has ended: what was to be told can't be read");
        }
    }

    /// Takes a row that is due: until the lease is over nobody else gets it. `None` if somebody was faster.
    ///
    /// # Errors
    /// When the store fails: then it may or may not be taken, and comes due again after the lease.
    pub async fn claim(&self, due: DueLogout) -> Result<Option<ClaimedLogout>, StoreError> {
        let until = later(self.clock.now(), LEASE);
        let key = key(&due.logout, until);
        let batch = Batch::new().delete(LOGOUTS.table(), due.key, Condition::VersionIs(due.version));
        let batch = LOGOUTS.put(batch, key.clone(), Condition::Absent, &due.logout)?;
        let claimed = self.store.commit(batch).await? == Committed::Applied;
        Ok(claimed.then_some(ClaimedLogout { logout: due.logout, key }))
    }

    /// Removes a row: it was told, or never will be.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn done(&self, claimed: ClaimedLogout) -> Result<(), StoreError> {
        let batch = Batch::new().delete(LOGOUTS.table(), claimed.key, Condition::Always);
        let _unconditional = self.store.commit(batch).await?;
        Ok(())
    }

    /// Puts a row off that could not be told. Gives it back where it was tried often or long enough: it is there until
    /// it is [`Self::done`].
    ///
    /// # Errors
    /// When the store fails: then it comes due again after the lease.
    pub async fn postpone(&self, claimed: ClaimedLogout) -> Result<Option<ClaimedLogout>, StoreError> {
        let now = self.clock.now();
        let mut logout = claimed.logout.clone();
        logout.failures = logout.failures.saturating_add(1);
        let age = (now - logout.ended_at).to_std().unwrap_or_default();
        let [chance] = self.entropy.bytes();
        let Some(wait) = logout_schedule::wait(logout.failures, age, chance) else {
            return Ok(Some(claimed));
        };
        // Somebody else has it by now where the lease is over.
        if let Some(row) = self.store.get(LOGOUTS.table(), &claimed.key).await? {
            let condition = Condition::VersionIs(row.version);
            let batch = Batch::new().delete(LOGOUTS.table(), claimed.key, condition);
            let batch = LOGOUTS.put(batch, key(&logout, later(now, wait)), Condition::Always, &logout)?;
            let _taken_over = self.store.commit(batch).await?;
        }
        Ok(None)
    }

    /// How many rows there are.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        scan_each(self.store.as_ref(), LOGOUTS.table(), |_, _| {
            count += 1;
            Ok(())
        })
        .await?;
        Ok(count)
    }
}

fn later(now: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    now + chrono::Duration::from_std(by).unwrap_or_default()
}

/// Where a row stands that is due at `due`.
fn key(logout: &Logout, due: DateTime<Utc>) -> Vec<u8> {
    let mut key = place(logout.client_id.as_str().as_bytes(), due);
    key.push(b'/');
    key.extend_from_slice(logout.sid.as_str().as_bytes());
    key
}

/// How the keys of a client's rows begin that are due at `due`: in the order of the milliseconds.
fn place(client_id: &[u8], due: DateTime<Utc>) -> Vec<u8> {
    let due = format!("/{:016x}", due.timestamp_millis().max(0));
    [client_id, due.as_bytes()].concat()
}
