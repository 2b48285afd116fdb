//! Condemning every key at once: what a restored backup needs, since nobody knows what the keys signed after it
//! was taken, nor which of that was revoked.

use serde::Serialize;

use super::change::{Change, KeyEvent, Spare};
use super::error::KeyRingError;
use super::intervene::{Breakage, condemn_all};
use super::record::KeyRingRecord;
use super::ring::{KeyRing, KeyRingParts};
use super::schedule::Step;
use super::sealed_ring::{self, RingUnreadable, TABLE};
use super::{Kek, sealing};
use crate::oauth::KeyId;
use crate::store::{Batch, Condition};

/// What was condemned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condemned {
    /// The keys that left the JWKS: nothing that they signed is accepted.
    pub kids: Vec<KeyId>,
    /// What breaks for whom until when.
    pub breaks: Vec<Breakage>,
}

impl KeyRing {
    /// Declares every key of the ring compromised, whether its private half is there or not, and makes new ones,
    /// which sign at once. Gives what happened to which key, too.
    ///
    /// # Errors
    /// When the ring is missing or can't be read, and when store or vault fail.
    pub async fn condemn_all(parts: KeyRingParts) -> Result<(Condemned, Vec<KeyEvent>), KeyRingError> {
        let ring = Self::unopened(parts);
        let policy = ring.policy().clone();
        let ask = |record: &KeyRingRecord, now| {
            let (steps, breaks) = condemn_all(record, &policy, now);
            let kids = steps.iter().filter_map(condemned).cloned().collect();
            Ok((steps, Condemned { kids, breaks }))
        };
        let condemned = ring.change(&Change { spare: Spare::All, ..Change::new(ask) }).await?;
        Ok((condemned, ring.unrecorded.take()))
    }
}

fn condemned(step: &Step) -> Option<&KeyId> {
    match step {
        Step::Compromise { kid, .. } => Some(kid),
        _ => None,
    }
}

impl KeyEvent {
    /// The key that was condemned, if this is what happened.
    #[must_use]
    pub fn condemned(&self) -> Option<&KeyId> {
        condemned(&self.change)
    }
}

/// Adds to `batch` that the sealing keys go: nothing that they sealed opens again. The next start makes new ones.
#[must_use]
pub fn forget_sealing_keys(batch: Batch) -> Batch {
    batch.delete(TABLE, sealing::TABLE_KEY, Condition::Always)
}

/// The keys whose private halves a ring needs at `now`, in seconds since the epoch; `row` is how the store holds it.
///
/// # Errors
/// When the ring can't be read under `kek`.
pub fn keys_needed(row: &[u8], kek: &Kek, now: i64) -> Result<Vec<KeyId>, RingUnreadable> {
    let ring = sealed_ring::decode(row, kek)?;
    Ok(ring.records.into_iter().filter(|record| record.is_alive(now)).map(|record| record.kid).collect())
}

/// Every key that a ring names, whatever has become of it; `row` is how the store holds it.
///
/// # Errors
/// When the ring can't be read under `kek`.
pub fn keys_named(row: &[u8], kek: &Kek) -> Result<Vec<KeyId>, RingUnreadable> {
    Ok(sealed_ring::decode(row, kek)?.records.into_iter().map(|record| record.kid).collect())
}

/// Whether some verifier may hold a key of a ring; `row` is how the store holds it.
///
/// # Errors
/// When the ring can't be read under `kek`.
pub fn was_published(row: &[u8], kek: &Kek) -> Result<bool, RingUnreadable> {
    Ok(!sealed_ring::decode(row, kek)?.was_never_published())
}

/// Under which key the ring lies in its table.
#[must_use]
pub fn ring_row() -> &'static [u8] {
    sealed_ring::KEY
}
