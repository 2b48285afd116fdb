use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::{FURTHEST_AHEAD, SharedClock};
use crate::oauth::UserId;
use crate::store::typed::TypedTable;
use crate::store::{Batch, Committed, Condition, Store, StoreError, Table};

/// When a person made something, oldest first: what has left the day is dropped with the next one.
pub(super) const MADE: TypedTable<Vec<DateTime<Utc>>> = TypedTable::new(Table::plain("made_by_people"));

/// What [`Allowance::spend`] counts together.
const DAY: TimeDelta = TimeDelta::days(1);

/// How often a write is tried again when another one came first.
const ATTEMPTS: usize = 16;

/// How many applications and API keys a person may make in **any** 24 hours (`people.made_per_day`), whatever became of
/// them. Each that ends may leave a cut-off in the signed status lists, which every resource server fetches: without
/// this bound one person could make those as long as they like. Counted in the store, so for all nodes together and across
/// restarts.
pub struct Allowance {
    store: Arc<dyn Store>,
    clock: SharedClock,
    most: usize,
}

/// The person may not make one more yet.
#[derive(Debug, thiserror::Error)]
pub enum AllowanceError {
    /// They have made as many as they may.
    #[error("you have made {most} applications and API keys in 24 hours, and may not make more yet")]
    TooMany {
        /// How many that is.
        most: usize,
        /// After how long the next one is let through.
        retry_after: Duration,
    },
    /// The store could not do it: nothing may be made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Allowance {
    /// So many in any 24 hours.
    #[must_use]
    pub fn new(most: usize, store: Arc<dyn Store>, clock: SharedClock) -> Self {
        Self { store, clock, most }
    }

    /// Counts one more for `user`, durably, before it is made. One that is not made after all stays counted.
    ///
    /// # Errors
    /// [`AllowanceError::TooMany`], and then nothing is counted; or the store's.
    pub async fn spend(&self, user: &UserId) -> Result<(), AllowanceError> {
        for _ in 0..ATTEMPTS {
            let now = self.clock.now();
            let known = MADE.get(self.store.as_ref(), user.as_str().as_bytes()).await?;
            let condition =
                known.as_ref().map_or(Condition::Absent, |known| Condition::VersionIs(known.version));
            let mut made = known.map(|known| known.value).unwrap_or_default();
            // What seems to be made later must not count for as long as the clock was set back.
            made.retain(|each| now < *each + DAY && *each <= now + FURTHEST_AHEAD);
            // If the setting was lowered meanwhile, more than one has to leave.
            let leaves = made.len().checked_sub(self.most).and_then(|surplus| made.get(surplus));
            if let Some(leaves) = leaves {
                let retry_after = (*leaves + DAY - now).to_std().unwrap_or_default();
                return Err(AllowanceError::TooMany { most: self.most, retry_after });
            }
            made.push(now);
            let put = MADE.encode(&made, Some(now + DAY))?;
            let batch = Batch::new().put(MADE.table(), user.as_str(), condition, put);
            if self.store.commit(batch).await? == Committed::Applied {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("too many things are made by one person at once".into()).into())
    }
}
