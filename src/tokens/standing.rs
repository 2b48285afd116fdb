use chrono::{DateTime, Utc};

use super::revocation::{CUTOFFS, Revocations, Whole};
use super::revocation_rows::{damaged, whole};
use super::status_list::date;
use crate::store::StoreError;

/// A cut-off that still counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingCutoff {
    /// Its place among the others.
    pub name: String,
    /// Whose tokens and grants are revoked.
    pub whole: Whole,
    /// Up to which date of issue, in seconds since the epoch.
    pub before: i64,
    /// When the last of the tokens has ended.
    pub tokens_until: DateTime<Utc>,
    /// When the last of the grants has ended, which could be refreshed otherwise.
    pub grants_until: DateTime<Utc>,
}

impl Revocations {
    /// Up to `limit` of the cut-offs that count, in the order of their names, behind the one named `after`. From the
    /// store, so for all nodes.
    ///
    /// # Errors
    /// When the store can't be read or a record can't be understood.
    pub async fn standing(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StandingCutoff>, StoreError> {
        let rows = self.store.scan(CUTOFFS.table(), after.map(str::as_bytes), limit).await?;
        let standing = rows.into_iter().map(|(key, row)| {
            let record = CUTOFFS.decode(&row)?.value;
            Ok(StandingCutoff {
                whole: whole(&key).ok_or_else(|| damaged(CUTOFFS.table(), &key))?,
                name: String::from_utf8(key).map_err(|error| damaged(CUTOFFS.table(), error.as_bytes()))?,
                before: record.before,
                tokens_until: date(record.forget_at),
                grants_until: date(record.grants_until),
            })
        });
        standing.collect()
    }
}
