//! What a group of commits is going to write, on top of what the tree already holds.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sled::Tree;

use super::{layout, unavailable};
use crate::store::batch::whole_millis;
use crate::store::{Action, Batch, Committed, Row, StoreError, Write};

/// How many versions are set aside at once. A restart skips what is left of them, so that no version is
/// ever given twice, at the price of one more entry every so many writes.
const VERSIONS_AT_ONCE: u64 = 10_000;

/// The writes of a group, and the numbers that they are given.
pub(super) struct Staging {
    tree: Tree,
    writes: HashMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
    next_version: u64,
    version_ceiling: u64,
    next_change: u64,
    changes_kept: u64,
}

impl Staging {
    /// Nothing staged; goes on where the numbers in `tree` stop.
    pub(super) fn open(tree: Tree, changes_kept: u64) -> Result<Self, StoreError> {
        let ceiling = tree.get(layout::VERSIONS_KEY).map_err(unavailable)?;
        let version_ceiling = ceiling.map_or(1, |bytes| layout::number(&bytes));
        let last_change = tree.scan_prefix(b"c").next_back().transpose().map_err(unavailable)?;
        let next_change = last_change.map_or(1, |(key, _)| layout::place_of_change(&key) + 1);
        let writes = HashMap::new();
        Ok(Self {
            tree,
            writes,
            bytes: 0,
            next_version: version_ceiling,
            version_ceiling,
            next_change,
            changes_kept,
        })
    }

    /// Stages all of `batch`, or nothing.
    pub(super) fn commit(&mut self, batch: Batch, now: DateTime<Utc>) -> Result<Committed, StoreError> {
        batch.validate()?;
        let mut found = Vec::with_capacity(batch.writes.len());
        for write in &batch.writes {
            let row_key = layout::row_key(write.table, &write.key);
            let stored = self.stored(write.table.name, &row_key)?;
            let live = stored.as_ref().map(|stored| &stored.row).filter(|row| row.is_live(now));
            if !write.condition.holds(live.map(|row| row.version)) {
                return Ok(Committed::Conflict);
            }
            found.push((row_key, stored));
        }
        for (write, (row_key, old)) in batch.writes.into_iter().zip(found) {
            self.stage(write, row_key, old.as_ref());
        }
        Ok(Committed::Applied)
    }

    /// Stages the removal of up to `limit` rows that have expired by `now`.
    pub(super) fn sweep(&mut self, now: DateTime<Utc>, limit: usize) -> Result<usize, StoreError> {
        let due = self.tree.range(b"x".to_vec()..layout::expiries_end(now.timestamp_millis()));
        let mut swept = 0;
        for entry in due {
            if swept == limit {
                break;
            }
            let (expiry_key, mirrored) = entry.map_err(unavailable)?;
            if self.writes.get(expiry_key.as_ref()).is_some_and(Option::is_none) {
                continue;
            }
            let Some(row_key) = layout::row_key_of_expiry(&expiry_key) else {
                return Err(layout::damaged("the expiries", "an entry is too short"));
            };
            match self.stored("a table that expires", &row_key) {
                Ok(Some(stored)) if !stored.row.is_live(now) => {
                    self.forget(&row_key, &stored);
                    self.put(row_key.clone(), None);
                    if !mirrored.is_empty() {
                        self.log_change(&row_key);
                    }
                    swept += 1;
                }
                Ok(_) => {}
                Err(error @ StoreError::Damaged { .. }) => tracing::error!(%error, "a row was not swept"),
                Err(error) => return Err(error),
            }
            // Even if its row stays: an entry that stayed behind would be met again by every sweep.
            self.put(expiry_key.to_vec(), None);
        }
        Ok(swept)
    }

    /// How much is staged, in bytes; 0 means nothing.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The place of the newest change, staged or not; 0 before the first.
    pub(super) fn newest_change(&self) -> u64 {
        self.next_change - 1
    }

    /// The keys of the rows that [`Self::apply`] is going to write.
    pub(super) fn row_keys(&self) -> impl Iterator<Item = &[u8]> {
        self.writes.keys().map(Vec::as_slice).filter(|key| key.starts_with(b"r"))
    }

    /// Writes all that is staged into the tree, all or nothing; it is not durable yet.
    pub(super) fn apply(&mut self) -> sled::Result<()> {
        let mut batch = sled::Batch::default();
        for (key, value) in self.writes.drain() {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.bytes = 0;
        self.tree.apply_batch(batch)
    }

    fn stored(&self, table: &str, row_key: &[u8]) -> Result<Option<layout::Stored>, StoreError> {
        let decode = |bytes: &[u8]| layout::Stored::decode(table, bytes);
        if let Some(staged) = self.writes.get(row_key) {
            return staged.as_deref().map(decode).transpose();
        }
        self.tree.get(row_key).map_err(unavailable)?.as_deref().map(decode).transpose()
    }

    fn stage(&mut self, write: Write, row_key: Vec<u8>, old: Option<&layout::Stored>) {
        if write.action == Action::Check {
            return;
        }
        if let Some(old) = old {
            self.forget(&row_key, old);
        }
        if write.table.mirrored {
            self.log_change(&row_key);
        }
        match write.action {
            Action::Put { value, expires_at } => {
                let row = Row { version: self.version(), expires_at: whole_millis(expires_at), value };
                if let Some(expires_at) = row.expires_at {
                    let mirrored = if write.table.mirrored { vec![1] } else { vec![] };
                    let expiry_key = layout::expiry_key(expires_at.timestamp_millis(), &row_key);
                    self.put(expiry_key, Some(mirrored));
                }
                if row.value.len() > layout::PIECE {
                    for (number, piece) in (0..).zip(row.value.chunks(layout::PIECE)) {
                        self.put(layout::piece_key(row.version, number), Some(piece.to_vec()));
                    }
                }
                self.put(row_key, Some(layout::encode(&row)));
            }
            Action::Delete | Action::Check => self.put(row_key, None),
        }
    }

    /// Stages the removal of what belongs to a row besides itself.
    fn forget(&mut self, row_key: &[u8], old: &layout::Stored) {
        if let Some(expires_at) = old.row.expires_at {
            self.put(layout::expiry_key(expires_at.timestamp_millis(), row_key), None);
        }
        for piece in old.pieces() {
            self.put(piece, None);
        }
    }

    fn log_change(&mut self, row_key: &[u8]) {
        self.put(layout::change_key(self.next_change), Some(row_key[1..].to_vec()));
        if let Some(stale) = self.next_change.checked_sub(self.changes_kept).filter(|&stale| stale > 0) {
            self.put(layout::change_key(stale), None);
        }
        self.next_change += 1;
    }

    fn version(&mut self) -> u64 {
        if self.next_version == self.version_ceiling {
            self.version_ceiling += VERSIONS_AT_ONCE;
            self.put(layout::VERSIONS_KEY.to_vec(), Some(self.version_ceiling.to_be_bytes().to_vec()));
        }
        self.next_version += 1;
        self.next_version - 1
    }

    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        self.writes.insert(key, value);
    }
}
