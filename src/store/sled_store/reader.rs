//! Reads rows and changes; blocks for as long as sled does.

use sled::Tree;

use super::{layout, unavailable};
use crate::clock::SharedClock;
use crate::store::{Changes, Cursor, Row, StoreError, Table};

/// At most so many changes a page.
const CHANGES_PAGE: usize = 1000;

/// What a reader needs.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) tree: Tree,
    pub(super) clock: SharedClock,
}

impl Reader {
    /// The live row at `row_key`.
    pub(super) fn row(&self, table: Table, row_key: &[u8]) -> Result<Option<Row>, StoreError> {
        loop {
            let Some(bytes) = self.tree.get(row_key).map_err(unavailable)? else { return Ok(None) };
            if let Some(row) = self.whole(table, &bytes)? {
                return Ok(Some(row).filter(|row| row.is_live(self.clock.now())));
            }
            if self.tree.get(row_key).map_err(unavailable)?.is_some_and(|now| now == bytes) {
                return Err(layout::damaged(table.name, "a piece of its value is missing"));
            }
        }
    }

    /// The row at `row_key`, expired or not. For the writing thread, while nobody else could rewrite it.
    pub(super) fn stored_row(&self, row_key: &[u8]) -> Result<Option<Row>, StoreError> {
        let Some(bytes) = self.tree.get(row_key).map_err(unavailable)? else { return Ok(None) };
        let table = Table::plain("a table that is being copied");
        let whole = self.whole(table, &bytes)?;
        whole.map(Some).ok_or_else(|| layout::damaged(table.name, "a piece of its value is missing"))
    }

    /// The row with all pieces of its value; `None` if some are gone, as they are once it is rewritten.
    pub(super) fn whole(&self, table: Table, bytes: &[u8]) -> Result<Option<Row>, StoreError> {
        let mut stored = layout::Stored::decode(table.name, bytes)?;
        for piece in stored.pieces() {
            let Some(piece) = self.tree.get(piece).map_err(unavailable)? else { return Ok(None) };
            stored.row.value.extend_from_slice(&piece);
        }
        match stored.in_pieces {
            Some(length) if length != stored.row.value.len() => {
                Err(layout::damaged(table.name, "the pieces of its value have the wrong length"))
            }
            _ => Ok(Some(stored.row)),
        }
    }

    /// [`crate::store::Store::scan`].
    pub(super) fn rows(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
        let prefix = layout::row_key(table, b"");
        let mut rows = Vec::new();
        for entry in self.tree.range(layout::scan_start(table, after)..) {
            let (row_key, bytes) = entry.map_err(unavailable)?;
            let Some(key) = row_key.strip_prefix(prefix.as_slice()) else { break };
            if rows.len() == limit {
                break;
            }
            let row = match self.whole(table, &bytes)? {
                Some(row) => Some(row).filter(|row| row.is_live(self.clock.now())),
                None => self.row(table, &row_key)?,
            };
            rows.extend(row.map(|row| (key.to_vec(), row)));
        }
        Ok(rows)
    }

    /// [`crate::store::Store::changes`], up to the one at `newest`: later ones are not on the disk yet.
    pub(super) fn changes(&self, after: Cursor, newest: u64) -> Result<Changes, StoreError> {
        let newest = Cursor { epoch: Cursor::ONLY_EPOCH, place: newest };
        if !after.is_known_to(newest) {
            // From before a backup was restored.
            return Ok(Changes::Reset { next: newest });
        }
        let mut rows = Vec::new();
        let mut next = Cursor { place: after.place, ..newest };
        let behind = layout::change_key(after.place + 1)..=layout::change_key(newest.place);
        for entry in self.tree.range(behind) {
            let (key, change) = entry.map_err(unavailable)?;
            let place = layout::place_of_change(&key);
            if place != next.place + 1 {
                // The log is without gaps, so what stood between has been trimmed.
                return Ok(Changes::Reset { next: newest });
            }
            let row = layout::split_place(&change);
            rows.push(row.ok_or_else(|| layout::damaged("the change log", "an entry names no row"))?);
            next.place = place;
            if rows.len() == CHANGES_PAGE {
                break;
            }
        }
        Ok(Changes::Rows { rows, next })
    }
}
