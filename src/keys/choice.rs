//! Which key signs: one rule for everything that is signed, and who has to wait by it.

use std::sync::Arc;

use serde::Serialize;

use super::rfc3339;
use super::ring::KeyRing;
use super::schedule::{next_signer, signer};
use super::snapshot::{NoKey, SigningKey};
use crate::oauth::Algorithm;

/// An algorithm in use that no key signs with yet: its first key waits until every verifier knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// Which one.
    pub algorithm: Algorithm,
    /// From when it signs; nothing while its first key has yet to be made.
    #[serde(serialize_with = "rfc3339::optional")]
    pub sign_from: Option<i64>,
}

impl KeyRing {
    /// The key to sign with now: of the first algorithm that signs among those that are `wanted`, then those of the settings in
    /// their order, then those that the settings have dropped and that sign still. So an algorithm that was added changes nothing
    /// before every verifier knows its key, one that was dropped leaves no gap, and nothing fails while any key signs.
    ///
    /// Before the first JWKS of an installation nothing was signed that could go on as it was: then what is wanted and in use
    /// is waited for, which takes a fraction of a second.
    ///
    /// Takes no lock and reads no store: this is called for every token.
    ///
    /// # Errors
    /// When the ring, or anything else that this node keeps in memory, was not read for P, when its clock is off, or when
    /// no key signs.
    pub fn signing_key(&self, wanted: impl IntoIterator<Item = Algorithm>) -> Result<Arc<SigningKey>, NoKey> {
        let (snapshot, now) = self.snapshot_to_sign_by()?;
        let in_use = self.policy().algorithms();
        for algorithm in wanted.into_iter().chain(in_use.iter().copied()).chain(Algorithm::ALL) {
            if let Some(key) = snapshot.signing_key(algorithm, now) {
                return Ok(Arc::clone(key));
            }
            if snapshot.ring.was_never_published() && in_use.contains(&algorithm) {
                return Err(NoKey::Unpublished);
            }
        }
        // None that waits: its key could not be made yet, which is tried again within seconds.
        let wait = snapshot.first_signs_at(now).map_or(1, |date| date - now);
        Err(NoKey::NotYet { retry_after: u64::try_from(wait).unwrap_or(1) })
    }

    /// The algorithms that something is signed with now or within `seconds`: those of the settings in their order, without those that
    /// wait for longer, then those that the settings have dropped and that sign still.
    #[must_use]
    pub fn algorithms(&self, seconds: i64) -> Vec<Algorithm> {
        let (snapshot, now) = (self.snapshot.load(), self.parts.clock.numeric_date());
        let in_use = self.policy().algorithms();
        if snapshot.ring.was_never_published() {
            return in_use.to_vec();
        }
        let dropped = Algorithm::ALL.into_iter().filter(|algorithm| !in_use.contains(algorithm));
        let records = &snapshot.ring.records;
        // By the clock of another node it may sign earlier.
        let soon = now + seconds + self.policy().skew();
        let signs = |algorithm: &Algorithm| {
            signer(records, *algorithm, now).is_some()
                || next_signer(records, *algorithm, now).is_some_and(|next| next.sign_from <= soon)
        };
        in_use.iter().copied().chain(dropped).filter(signs).collect()
    }

    /// The algorithms in use that no key signs with yet, in the order of the settings: after the first JWKS of an installation,
    /// those that were added.
    #[must_use]
    pub fn waiting(&self) -> Vec<Waiting> {
        let (snapshot, now) = (self.snapshot.load(), self.parts.clock.numeric_date());
        let records = &snapshot.ring.records;
        if snapshot.ring.was_never_published() {
            return Vec::new();
        }
        let waits = |algorithm: &&Algorithm| signer(records, **algorithm, now).is_none();
        let waiting = self.policy().algorithms().iter().filter(waits).map(|&algorithm| Waiting {
            algorithm,
            sign_from: next_signer(records, algorithm, now).map(|record| record.sign_from),
        });
        waiting.collect()
    }
}
