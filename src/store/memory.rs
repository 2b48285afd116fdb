//! A store in memory: for tests, and as the shortest description of what a store does.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::batch::whole_millis;
use super::{Action, Batch, Changes, Committed, Cursor, Frozen, Row, SharedFrozen, Store, StoreError, Table};
use crate::clock::SharedClock;

const CHANGES_PAGE: usize = 1000;

type Place = (&'static str, Vec<u8>);

/// The rows, and whether their tables are mirrored.
type Rows = BTreeMap<Place, (Row, bool)>;

/// A [`Store`] that forgets everything when it is dropped. **Not durable, never for service.**
pub struct MemoryStore {
    clock: SharedClock,
    changes_kept: usize,
    state: Mutex<State>,
    /// The place of the newest change.
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    rows: Rows,
    last_version: u64,
    changes: Vec<(String, Vec<u8>)>,
    changes_trimmed: usize,
}

impl MemoryStore {
    /// An empty store; `clock` decides which rows have expired.
    #[must_use]
    pub fn new(clock: SharedClock) -> Arc<Self> {
        Self::keeping_changes(clock, 100_000)
    }

    /// An empty store that answers [`Changes::Reset`] to cursors older than its `changes_kept` latest changes.
    #[must_use]
    pub fn keeping_changes(clock: SharedClock, changes_kept: usize) -> Arc<Self> {
        Arc::new(Self { clock, changes_kept, state: Mutex::default(), newest: watch::Sender::new(0) })
    }

    /// Wakes whoever follows the changes.
    fn announce(&self, state: &State) {
        let newest = state.newest_change();
        self.newest.send_if_modified(|known| std::mem::replace(known, newest) != newest);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>, StoreError> {
        let now = self.clock.now();
        Ok(self.state().live(&(table.name, key.to_vec()), now).cloned())
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
        Ok(page(&self.state().rows, self.clock.now(), (table, after), limit))
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        batch.validate()?;
        let now = self.clock.now();
        let mut state = self.state();
        let holds = batch.writes.iter().all(|write| {
            let live = state.live(&(write.table.name, write.key.clone()), now);
            write.condition.holds(live.map(|row| row.version))
        });
        if !holds {
            return Ok(Committed::Conflict);
        }
        for write in batch.writes {
            let place = (write.table.name, write.key);
            if write.table.mirrored && write.action != Action::Check {
                state.log_change(&place, self.changes_kept);
            }
            match write.action {
                Action::Put { value, expires_at } => {
                    state.last_version += 1;
                    let expires_at = whole_millis(expires_at);
                    let row = Row { version: state.last_version, expires_at, value };
                    state.rows.insert(place, (row, write.table.mirrored));
                }
                Action::Delete => _ = state.rows.remove(&place),
                Action::Check => {}
            }
        }
        self.announce(&state);
        Ok(Committed::Applied)
    }

    async fn changes(&self, after: Cursor) -> Result<Changes, StoreError> {
        let state = self.state();
        let newest = Cursor { epoch: Cursor::ONLY_EPOCH, place: state.newest_change() };
        let place = usize::try_from(after.place).unwrap_or(usize::MAX);
        if place < state.changes_trimmed || !after.is_known_to(newest) {
            return Ok(Changes::Reset { next: newest });
        }
        let rows = state.changes.iter().skip(place - state.changes_trimmed).take(CHANGES_PAGE);
        let rows: Vec<_> = rows.cloned().collect();
        let next = Cursor { place: after.place + rows.len() as u64, ..newest };
        Ok(Changes::Rows { rows, next })
    }

    async fn changed(&self, after: Cursor) {
        // An error would mean that the sender is gone, which is this store's own.
        _ = self.newest.subscribe().wait_for(|newest| *newest > after.place).await;
    }

    async fn sweep(&self, now: DateTime<Utc>, limit: usize) -> Result<usize, StoreError> {
        let mut state = self.state();
        let expired = state.rows.iter().filter(|(_, (row, _))| !row.is_live(now));
        let mut expired: Vec<_> =
            expired.map(|(place, (row, mirrored))| (row.expires_at, place.clone(), *mirrored)).collect();
        expired.sort();
        expired.truncate(limit);
        for (_, place, mirrored) in &expired {
            state.rows.remove(place);
            if *mirrored {
                state.log_change(place, self.changes_kept);
            }
        }
        self.announce(&state);
        Ok(expired.len())
    }

    async fn freeze(&self) -> Result<SharedFrozen, StoreError> {
        Ok(Arc::new(Copied { rows: self.state().rows.clone(), at: self.clock.now() }))
    }
}

/// All rows as they were at one moment.
struct Copied {
    rows: Rows,
    at: DateTime<Utc>,
}

#[async_trait]
impl Frozen for Copied {
    async fn scan(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
        Ok(page(&self.rows, self.at, (table, after), limit))
    }
}

fn page(
    rows: &Rows,
    now: DateTime<Utc>,
    (table, after): (Table, Option<&[u8]>),
    limit: usize,
) -> Vec<(Vec<u8>, Row)> {
    let start = after
        .map_or(Bound::Included((table.name, vec![])), |after| Bound::Excluded((table.name, after.to_vec())));
    let rows = rows.range((start, Bound::Unbounded)).take_while(|((name, _), _)| *name == table.name);
    let live = rows.filter(|(_, (row, _))| row.is_live(now));
    live.take(limit).map(|((_, key), (row, _))| (key.clone(), row.clone())).collect()
}

impl State {
    fn live(&self, place: &Place, now: DateTime<Utc>) -> Option<&Row> {
        self.rows.get(place).map(|(row, _)| row).filter(|row| row.is_live(now))
    }

    fn newest_change(&self) -> u64 {
        (self.changes_trimmed + self.changes.len()) as u64
    }

    fn log_change(&mut self, (table, key): &Place, kept: usize) {
        self.changes.push(((*table).to_owned(), key.clone()));
        let stale = self.changes.len().saturating_sub(kept);
        self.changes.drain(..stale);
        self.changes_trimmed += stale;
    }
}
