//! Whether the store has gone back in time. A store that was put back from a copy can't know it; but what lies beside
//! it may.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::INSTALLATION;
use crate::store::typed::TypedTable;
use crate::store::{Batch, Condition, Store, StoreError};

const SEEN: TypedTable<Seen> = TypedTable::new(INSTALLATION);
pub(super) const ROW: &[u8] = b"seen";

/// By how much the store may lag behind what lies beside it: it notes the time once a minute.
const LAG: TimeDelta = TimeDelta::minutes(5);

#[derive(Serialize, Deserialize)]
struct Seen {
    at: DateTime<Utc>,
}

/// Notes that the store is in use at `now`.
///
/// # Errors
/// When the store fails.
pub async fn note_seen(store: &dyn Store, now: DateTime<Utc>) -> Result<(), StoreError> {
    let batch = SEEN.put(Batch::new(), ROW, Condition::Always, &Seen { at: now })?;
    let _applied = store.commit(batch).await?;
    Ok(())
}

/// When the store was last in use as far as it knows, if something beside it happened well after that: at
/// `last_known`, such as the time of the last entry of the audit log. Then it was put back from a copy. Says
/// nothing where the copy is of both.
///
/// # Errors
/// When the store fails.
pub async fn went_back(
    store: &dyn Store,
    last_known: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let seen = SEEN.get(store, ROW).await?.map(|record| record.value.at);
    Ok(seen.filter(|seen| last_known - *seen > LAG))
}
