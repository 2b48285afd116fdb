//! What every backend asks of a batch: that it is well formed, and that its conditions hold.

use std::collections::HashSet;

use chrono::{DateTime, SubsecRound as _, Utc};

use super::{Action, Batch, Condition, Row, StoreError};

/// The longest key, in bytes.
pub const LONGEST_KEY: usize = 512;

/// The longest value, in bytes.
pub const LONGEST_VALUE: usize = 16 * 1024 * 1024;

impl Batch {
    /// Refuses a malformed batch.
    pub(super) fn validate(&self) -> Result<(), StoreError> {
        let mut rows = HashSet::with_capacity(self.writes.len());
        for write in &self.writes {
            if write.key.is_empty() {
                return Err(StoreError::Invalid("a key is empty"));
            }
            if write.key.len() > LONGEST_KEY {
                return Err(StoreError::Invalid("a key is longer than 512 bytes"));
            }
            if matches!(&write.action, Action::Put { value, .. } if value.len() > LONGEST_VALUE) {
                return Err(StoreError::Invalid("a value is longer than 16 MiB"));
            }
            if !rows.insert((write.table.name, write.key.as_slice())) {
                return Err(StoreError::Invalid("it names a row twice"));
            }
        }
        Ok(())
    }
}

impl Condition {
    /// Whether it holds of the live row, if there is one.
    pub(super) fn holds(self, version: Option<u64>) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => version.is_none(),
            Self::VersionIs(expected) => version == Some(expected),
        }
    }
}

impl Row {
    /// Whether the row exists at `now`: at the very instant of `expires_at` it does not any more.
    pub(super) fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

/// Cuts to what every backend can keep.
pub(super) fn whole_millis(expires_at: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    expires_at.map(|instant| instant.trunc_subsecs(3))
}
