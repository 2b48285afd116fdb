//! Whether the store has gone back in time. A store that was put back from a copy can't know it; but what lies beside
//! it may.
//!
//! Every node has an audit log of its own, and notes for itself up to when the store knows of it: held against a note of all
//! of them, the log of a node that did nothing for long would say that all is well, and wipe out what others could tell.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{BackupError, INSTALLATION, unfinished};
use crate::keys::DATED_AHEAD;
use crate::store::typed::TypedTable;
use crate::store::{Batch, Condition, Store, StoreError, scan_each};

const SEEN: TypedTable<Seen> = TypedTable::new(INSTALLATION);
const SEEN_ROWS: &str = "seen/";

/// By how much the store may lag behind what lies beside it: it notes the time once a minute.
pub const LAG: TimeDelta = TimeDelta::minutes(5);

/// How many rows one commit changes at most.
const AT_ONCE: usize = 256;

/// Up to when things were dated that were moved into this store, by a clock that may be ahead of those here.
const ELSEWHERE: TypedTable<DateTime<Utc>> = TypedTable::new(INSTALLATION);
const ELSEWHERE_ROW: &str = "dated_elsewhere";

const EVIDENCE: TypedTable<Evidence> = TypedTable::new(INSTALLATION);
const EVIDENCE_ROWS: &str = "went_back/";

/// What shows that the store was put back from a copy without a cut-off: kept until there is one, for what is noticed at
/// one start is overwritten by the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Which node noticed it.
    pub node: String,
    /// When it was noticed, in whole milliseconds.
    pub noticed_at: DateTime<Utc>,
    /// What was noticed.
    pub what: String,
}

impl Evidence {
    /// Whether it was noticed then, to the millisecond.
    #[must_use]
    pub fn is_of(&self, noticed_at: DateTime<Utc>) -> bool {
        self.noticed_at == noticed_at.trunc_subsecs(3)
    }
}

/// Up to where the store knows of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When the node last used it.
    pub at: DateTime<Utc>,
    /// The number of the last entry in the node's audit log; 0 if there was none.
    pub entries: u64,
    /// The latest time at which the node ever used it, by a clock that agreed with the store's if that has one; nothing where an earlier
    /// release has noted it last. Where the clock stands before it, it was set back.
    #[serde(default)]
    latest: Option<DateTime<Utc>>,
}

impl Seen {
    /// Up to when the node may have dated anything, by a clock that may have been set back since.
    fn dated(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let latest = self.latest.unwrap_or(self.at);
        if now < latest { latest + LAG } else { latest }
    }
}

/// Whether a row of the installation's table is about this store and who uses it, not about the installation.
pub(super) fn is_of_store(key: &[u8]) -> bool {
    key.starts_with(SEEN_ROWS.as_bytes()) || key == ELSEWHERE_ROW.as_bytes() || key == unfinished::ROW
}

fn seen_row(node: &str) -> Vec<u8> {
    format!("{SEEN_ROWS}{node}").into_bytes()
}

/// Notes that `node` uses the store at that time, with so many `entries` in its audit log, and that it has dated things up to `dated`, if
/// that was later.
///
/// # Errors
/// When the store fails.
pub async fn note_seen(
    store: &dyn Store,
    node: &str,
    (at, entries): (DateTime<Utc>, u64),
    dated: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    let before = last_seen(store, node).await?;
    // By a clock that is off nothing is dated.
    let noted = furthest(store).await?.map_or(at, |furthest| at.min(furthest));
    let latest = before.map(|seen| seen.latest.unwrap_or(seen.at)).max(Some(noted)).max(dated);
    let seen = Seen { at, entries, latest };
    let batch = SEEN.put(Batch::new(), seen_row(node), Condition::Always, &seen)?;
    let _applied = store.commit(batch).await?;
    Ok(())
}

/// Up to where the store knows of `node`; nothing if that never used it.
///
/// # Errors
/// When the store fails.
pub async fn last_seen(store: &dyn Store, node: &str) -> Result<Option<Seen>, StoreError> {
    Ok(SEEN.get(store, &seen_row(node)).await?.map(|record| record.value))
}

/// Up to when `node` may have dated anything; nothing if it never used the store. One that is not shared has one node at a time: whatever
/// its names, as those of a host or a container are, it was that one.
///
/// # Errors
/// When the store fails.
pub async fn dated_until(
    store: &dyn Store,
    node: &str,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    if store.is_shared() {
        return Ok(last_seen(store, node).await?.map(|seen| seen.dated(now)));
    }
    noted_dates(store, now).await
}

/// Up to when any node may have dated anything.
async fn noted_dates(store: &dyn Store, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(rows(store, &SEEN, SEEN_ROWS).await?.into_iter().map(|(_, seen)| seen.dated(now)).max())
}

/// Up to when anything is dated now by the store's own clock; nothing if it has none.
async fn furthest(store: &dyn Store) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(store.now().await?.map(|now| now + TimeDelta::seconds(DATED_AHEAD)))
}

/// Up to when anything may have been dated that was moved into this store; nothing if nothing was.
///
/// # Errors
/// When the store fails.
pub async fn dated_elsewhere(store: &dyn Store) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(ELSEWHERE.get(store, ELSEWHERE_ROW.as_bytes()).await?.map(|record| record.value))
}

/// Notes that what was moved into this store may have been dated up to `latest`.
pub(super) async fn note_dated_elsewhere(
    store: &dyn Store,
    latest: DateTime<Utc>,
) -> Result<(), BackupError> {
    let batch = ELSEWHERE.put(Batch::new(), ELSEWHERE_ROW, Condition::Always, &latest)?;
    unfinished::applied(store, batch).await
}

/// Up to when anything in the store may have been dated, here or before it was moved, that a node which is stopped by `now` has dated.
pub(super) async fn latest_date(store: &dyn Store, now: DateTime<Utc>) -> Result<DateTime<Utc>, StoreError> {
    // A store's own clock may have been set back too, as that of a database on the node's machine.
    let now = furthest(store).await?.unwrap_or(now);
    let here = noted_dates(store, now).await?.max(Some(now)).unwrap_or(now);
    Ok(dated_elsewhere(store).await?.max(Some(here)).unwrap_or(here))
}

/// The records of `table` whose keys begin with `prefix`.
async fn rows<T: Serialize + DeserializeOwned>(
    store: &dyn Store,
    table: &TypedTable<T>,
    prefix: &str,
) -> Result<Vec<(Vec<u8>, T)>, StoreError> {
    let mut rows = Vec::new();
    scan_each(store, INSTALLATION, |key, row| {
        if key.starts_with(prefix.as_bytes()) {
            rows.push((key, table.decode(&row)?.value));
        }
        Ok(())
    })
    .await?;
    Ok(rows)
}

/// What shows that the store was put back without a cut-off, what was noticed first before the rest.
///
/// # Errors
/// When the store fails.
pub async fn read_evidence(store: &dyn Store) -> Result<Vec<Evidence>, StoreError> {
    Ok(evidence_rows(store).await?.into_iter().map(|(_, evidence)| evidence).collect())
}

async fn evidence_rows(store: &dyn Store) -> Result<Vec<(Vec<u8>, Evidence)>, StoreError> {
    let mut rows = rows(store, &EVIDENCE, EVIDENCE_ROWS).await?;
    rows.sort_by(|(one, a), (other, b)| (a.noticed_at, one).cmp(&(b.noticed_at, other)));
    Ok(rows)
}

/// Keeps that `node` has noticed `what` at `now`, unless it has noticed the very same before.
///
/// # Errors
/// When the store fails.
pub async fn note_evidence(
    store: &dyn Store,
    (node, what): (&str, String),
    now: DateTime<Utc>,
) -> Result<Evidence, StoreError> {
    let evidence = Evidence { node: node.to_owned(), noticed_at: now.trunc_subsecs(3), what };
    let known = read_evidence(store).await?;
    let same = known.into_iter().find(|each| each.node == evidence.node && each.what == evidence.what);
    if let Some(same) = same {
        return Ok(same);
    }
    let row = format!("{EVIDENCE_ROWS}{node}/{}", evidence.noticed_at.timestamp_millis());
    let batch = EVIDENCE.put(Batch::new(), row.as_bytes(), Condition::Always, &evidence)?;
    let _applied = store.commit(batch).await?;
    Ok(evidence)
}

/// Says that what was noticed at `noticed_at` counts no more, because nothing was put back. What was noticed at another time stays.
///
/// # Errors
/// When the store fails.
pub async fn dismiss_evidence(store: &dyn Store, noticed_at: DateTime<Utc>) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    for (key, _) in evidence_rows(store).await?.into_iter().filter(|(_, each)| each.is_of(noticed_at)) {
        batch = batch.delete(INSTALLATION, key, Condition::Always);
    }
    let _applied = store.commit(batch).await?;
    Ok(())
}

/// Says that all that was noticed counts no more, because a cut-off is set; for every node the store is as it should be at
/// `now`, and nothing counts that was dated before.
///
/// # Errors
/// When the store fails.
pub async fn forget_evidence(store: &dyn Store, now: DateTime<Utc>) -> Result<(), StoreError> {
    // The evidence last: whatever keeps this from ending, a node that has not looked yet finds it.
    for page in rows(store, &SEEN, SEEN_ROWS).await?.chunks(AT_ONCE) {
        let mut batch = Batch::new();
        for (key, seen) in page {
            let seen = Seen { at: now, latest: None, ..*seen };
            batch = SEEN.put(batch, key.clone(), Condition::Always, &seen)?;
        }
        let _applied = store.commit(batch).await?;
    }
    let elsewhere = Batch::new().delete(INSTALLATION, ELSEWHERE_ROW, Condition::Always);
    let _applied = store.commit(elsewhere).await?;
    for page in evidence_rows(store).await?.chunks(AT_ONCE) {
        let delete = |batch: Batch, (key, _): &(Vec<u8>, _)| {
            batch.delete(INSTALLATION, key.clone(), Condition::Always)
        };
        let _applied = store.commit(page.iter().fold(Batch::new(), delete)).await?;
    }
    Ok(())
}
