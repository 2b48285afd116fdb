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

const EVIDENCE: TypedTable<Evidence> = TypedTable::new(INSTALLATION);
const EVIDENCE_ROW: &[u8] = b"went_back";

/// What shows that the store was put back from a copy without a cut-off: kept until there is one, for what is noticed at
/// one start is overwritten by the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// When it was noticed.
    pub noticed_at: DateTime<Utc>,
    /// What was noticed.
    pub what: String,
}

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

/// When the store was last in use as far as it knows; nothing if nobody ever used it.
///
/// # Errors
/// When the store fails.
pub async fn last_seen(store: &dyn Store) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(SEEN.get(store, ROW).await?.map(|record| record.value.at))
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
    let seen = last_seen(store).await?;
    Ok(seen.filter(|seen| last_known - *seen > LAG))
}

/// What shows that the store was put back without a cut-off, if anything was ever noticed.
///
/// # Errors
/// When the store fails.
pub async fn read_evidence(store: &dyn Store) -> Result<Option<Evidence>, StoreError> {
    Ok(EVIDENCE.get(store, EVIDENCE_ROW).await?.map(|record| record.value))
}

/// Keeps what was noticed, unless something was noticed before.
///
/// # Errors
/// When the store fails.
pub async fn note_evidence(store: &dyn Store, evidence: &Evidence) -> Result<(), StoreError> {
    let batch = EVIDENCE.put(Batch::new(), EVIDENCE_ROW, Condition::Absent, evidence)?;
    // What was noticed first says more.
    let _first = store.commit(batch).await?;
    Ok(())
}

/// Says that what was noticed counts no more, because a cut-off is set or because nothing was put back; the store is as it
/// should be at `now`.
///
/// # Errors
/// When the store fails.
pub async fn forget_evidence(store: &dyn Store, now: DateTime<Utc>) -> Result<(), StoreError> {
    let batch = SEEN.put(Batch::new(), ROW, Condition::Always, &Seen { at: now })?;
    let _applied = store.commit(batch.delete(INSTALLATION, EVIDENCE_ROW, Condition::Always)).await?;
    Ok(())
}
