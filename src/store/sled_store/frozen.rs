//! Views of the store as it stood between two groups of commits.
//!
//! sled has no snapshots, but there is one writing thread: before it applies a group, it hands every open view
//! what the group is about to overwrite. A view reads the tree first and looks at what it was handed afterwards,
//! so that whatever it has seen of a later group is put right. Writers wait for nothing but these reads of the
//! old rows; a view of a quiet store costs no memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::layout;
use super::reader::Reader;
use super::unavailable;
use crate::store::{Frozen, Row, StoreError, Table};

/// How much a view may be handed, in bytes, before it is given up: memory is for those who serve.
const MOST_KEPT: usize = 256 * 1024 * 1024;

/// Rows under their keys in the tree; nothing where there was none.
type Rows = BTreeMap<Vec<u8>, Option<Row>>;

/// A view of the store at one moment.
pub(super) struct View {
    reader: Reader,
    at: DateTime<Utc>,
    earlier: Arc<Earlier>,
}

/// What was overwritten since a view was opened, by the keys of the rows; nothing where there was no row.
#[derive(Default)]
pub(super) struct Earlier(Mutex<State>);

#[derive(Default)]
struct State {
    rows: Rows,
    bytes: usize,
    given_up: Option<StoreError>,
}

impl Earlier {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, row_key: &[u8], reader: &Reader) {
        let mut state = self.lock();
        if state.given_up.is_some() || state.rows.contains_key(row_key) {
            return;
        }
        match reader.stored_row(row_key) {
            Ok(row) => {
                state.bytes +=
                    row_key.len() + row.as_ref().map_or(0, |row| row.value.len()) + size_of::<Row>();
                state.rows.insert(row_key.to_vec(), row);
            }
            Err(error) => state.give_up(error),
        }
        if state.bytes > MOST_KEPT {
            let reason = "too much was written while it was being copied; try again at a quieter time";
            state.give_up(StoreError::Unavailable(reason.to_owned()));
        }
    }
}

impl State {
    fn give_up(&mut self, error: StoreError) {
        *self = Self { given_up: Some(error), ..Self::default() };
    }
}

/// The views that are open, as the writing thread knows them.
#[derive(Default)]
pub(super) struct Views(Vec<Weak<Earlier>>);

impl Views {
    /// Opens a view of what `reader`'s tree holds now. Only the writing thread may call this.
    pub(super) fn open(&mut self, reader: Reader, at: DateTime<Utc>) -> View {
        let earlier = Arc::<Earlier>::default();
        self.0.push(Arc::downgrade(&earlier));
        View { reader, at, earlier }
    }

    /// Hands the open views the rows of `row_keys`, which are about to be overwritten.
    pub(super) fn keep<'k>(&mut self, row_keys: impl Iterator<Item = &'k [u8]>, reader: &Reader) {
        self.0.retain(|view| view.strong_count() > 0);
        if self.0.is_empty() {
            return;
        }
        for row_key in row_keys {
            for view in self.0.iter().filter_map(Weak::upgrade) {
                view.keep(row_key, reader);
            }
        }
    }
}

impl View {
    fn rows(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
        let prefix = layout::row_key(table, b"");
        let mut start = layout::scan_start(table, after);
        let mut live = Vec::new();
        while live.len() < limit {
            let (page, end) = self.page(table, &start, limit)?;
            let next = match &end {
                Bound::Included(last) => [last.as_slice(), &[0]].concat(),
                _ => Vec::new(),
            };
            for (row_key, row) in page {
                let key = row_key.strip_prefix(prefix.as_slice()).unwrap_or_default().to_vec();
                live.extend(row.filter(|row| row.is_live(self.at)).map(|row| (key, row)));
            }
            if next.is_empty() {
                break;
            }
            start = next;
        }
        live.truncate(limit);
        Ok(live)
    }

    /// The rows of the table from `start` on, as they stood, up to the bound given; unbounded if that was all.
    fn page(&self, table: Table, start: &[u8], limit: usize) -> Result<(Rows, Bound<Vec<u8>>), StoreError> {
        let prefix = layout::row_key(table, b"");
        let (mut page, mut torn, mut end) = (Rows::new(), Vec::new(), Bound::Unbounded);
        for entry in self.reader.tree.range(start.to_vec()..) {
            let (row_key, bytes) = entry.map_err(unavailable)?;
            if !row_key.starts_with(&prefix) {
                break;
            }
            let row = self.reader.whole(table, &bytes)?;
            if row.is_none() {
                torn.push(row_key.to_vec());
            }
            page.insert(row_key.to_vec(), row);
            if page.len() == limit {
                end = Bound::Included(row_key.to_vec());
                break;
            }
        }
        // Only now: what was read of a later group, that group had handed over before.
        let earlier = self.earlier.lock();
        if let Some(error) = &earlier.given_up {
            return Err(error.clone());
        }
        let within = earlier.rows.range((Bound::Included(start.to_vec()), end.clone()));
        for (row_key, row) in within.take_while(|(row_key, _)| row_key.starts_with(&prefix)) {
            page.insert(row_key.clone(), row.clone());
        }
        // Its pieces are gone, and not because it was rewritten.
        if torn.iter().any(|row_key| !earlier.rows.contains_key(row_key)) {
            return Err(layout::damaged(table.name, "a piece of its value is missing"));
        }
        Ok((page, end))
    }
}

/// A [`View`] whose reads run on the blocking pool.
pub(super) struct Shared(pub(super) Arc<View>);

#[async_trait]
impl Frozen for Shared {
    async fn scan(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
        let (view, after) = (Arc::clone(&self.0), after.map(<[u8]>::to_vec));
        let reading = tokio::task::spawn_blocking(move || view.rows(table, after.as_deref(), limit));
        reading.await.map_err(|error| StoreError::Unavailable(format!("reading failed: {error}")))?
    }
}
