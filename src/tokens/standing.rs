use chrono::{DateTime, Utc};

use super::revocation::{CUTOFFS, Revocations, Whole};
use super::revocation_rows::{CutoffRecord, damaged, whole};
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
        let now = self.clock.numeric_date();
        let (mut standing, mut after) = (Vec::new(), after.map(|after| after.as_bytes().to_vec()));
        loop {
            let rows = self.store.scan(CUTOFFS.table(), after.as_deref(), limit).await?;
            let is_last = rows.len() < limit;
            for (key, row) in rows {
                after = Some(key.clone());
                let record = CUTOFFS.decode(&row)?.value;
                // It is kept for longer than it counts.
                if standing.len() < limit && now < record.forget_at.max(record.grants_until) {
                    standing.push(named(key, record)?);
                }
            }
            if is_last || standing.len() == limit {
                return Ok(standing);
            }
        }
    }
}

fn named(key: Vec<u8>, record: CutoffRecord) -> Result<StandingCutoff, StoreError> {
    Ok(StandingCutoff {
        whole: whole(&key).ok_or_else(|| damaged(CUTOFFS.table(), &key))?,
        name: String::from_utf8(key).map_err(|error| damaged(CUTOFFS.table(), error.as_bytes()))?,
        before: record.before,
        tokens_until: date(record.forget_at),
        grants_until: date(record.grants_until),
    })
}
