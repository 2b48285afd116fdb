use serde::{Deserialize, Serialize};

use super::schedule::Step;
use crate::oauth::{Algorithm, Jwk, KeyId, PublicKey};

/// A signing key as the ring remembers it: dates, from which its [`Phase`] follows, and its public half.
///
/// Dates are seconds since the epoch; `publish_at ≤ sign_from` and `publish_at ≤ retire_at ≤ forget_at`.
/// The private half is the vault's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// The RFC 7638 thumbprint of the public half.
    pub kid: KeyId,
    /// The only algorithm that it signs with.
    pub algorithm: Algorithm,
    /// What is published.
    pub public: PublicKey,
    /// Where it came from.
    pub origin: Origin,
    /// When it was made or brought in.
    pub created_at: i64,
    /// From when it stands in the JWKS: its lead counts from then. Before `created_at` where no verifier could hold a copy of
    /// the JWKS without it.
    pub publish_at: i64,
    /// From when it signs.
    pub sign_from: i64,
    /// Whether `sign_from` has been seen to come: a clock that is set back does not undo it.
    pub begun: bool,
    /// The longest lifetime, in seconds, that any token signed with it was ever allowed.
    pub longest_lifetime: i64,
    /// Whether its private half still exists.
    pub private_half: PrivateHalf,
    /// How it ends.
    pub end: End,
}

/// Where a key came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Made by Signet; its private half was never elsewhere.
    Generated,
    /// Brought in by an operator.
    Imported,
}

/// Whether a key's private half still exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrivateHalf {
    /// Sealed in the vault.
    Sealed,
    /// Destroyed: the key can't sign any more, whatever its dates say.
    Erased,
}

/// How a key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum End {
    /// Not yet known: no successor has a date.
    Open,
    /// Its successor's date is known, or its algorithm was dropped.
    Planned {
        /// From when it signs no more.
        retire_at: i64,
        /// From when it is no longer in the JWKS: its last token has expired.
        forget_at: i64,
    },
    /// Its private half is known, or feared to be known, to others.
    Compromised {
        /// Since when: it left the JWKS and signs no more.
        compromised_at: i64,
        /// Until when it is named as compromised.
        forget_at: i64,
    },
}

/// Where a key stands at a given time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Its publication date has not come: another node's clock is ahead, or this one was set back. It
    /// stands in the JWKS all the same, since to publish early hurts nobody.
    Pending,
    /// In the JWKS, not yet signing.
    Published,
    /// In the JWKS, and signing unless a newer key of its algorithm does.
    Signing,
    /// In the JWKS for the tokens that it signed; signs no more.
    Retired,
    /// Not in the JWKS; nothing valid was signed with it. It is remembered for a while for what comes back as a hint.
    Forgotten,
    /// Not in the JWKS; nothing signed with it counts.
    Compromised,
}

impl KeyRecord {
    /// Where the key stands at `now`, in seconds since the epoch.
    #[must_use]
    pub fn phase(&self, now: i64) -> Phase {
        match self.end {
            End::Compromised { .. } => Phase::Compromised,
            End::Planned { forget_at, .. } if forget_at <= now => Phase::Forgotten,
            End::Planned { retire_at, .. } if retire_at <= now => Phase::Retired,
            _ if self.begun || self.sign_from <= now => Phase::Signing,
            _ if self.publish_at <= now => Phase::Published,
            _ => Phase::Pending,
        }
    }

    /// Whether the key stands in the JWKS at `now`.
    #[must_use]
    pub fn is_published(&self, now: i64) -> bool {
        !matches!(self.phase(now), Phase::Forgotten | Phase::Compromised)
    }

    /// Whether the key signs, or will sign: it is neither retired nor compromised, and has its private half.
    #[must_use]
    pub fn is_alive(&self, now: i64) -> bool {
        self.private_half == PrivateHalf::Sealed
            && matches!(self.phase(now), Phase::Pending | Phase::Published | Phase::Signing)
    }

    /// Whether the key has yet to sign.
    #[must_use]
    pub fn is_waiting(&self, now: i64) -> bool {
        self.is_alive(now) && self.phase(now) != Phase::Signing
    }

    /// When the key begins to sign, if it ever does and has not begun.
    #[must_use]
    pub fn signs_first_at(&self) -> Option<i64> {
        (self.private_half == PrivateHalf::Sealed && !self.begun).then_some(self.sign_from)
    }

    /// Since when the key is compromised.
    #[must_use]
    pub fn compromised_at(&self) -> Option<i64> {
        match self.end {
            End::Compromised { compromised_at, .. } => Some(compromised_at),
            End::Open | End::Planned { .. } => None,
        }
    }

    /// From when the key signs no more, if that is known.
    #[must_use]
    pub fn retire_at(&self) -> Option<i64> {
        match self.end {
            End::Planned { retire_at, .. } => Some(retire_at),
            End::Open | End::Compromised { .. } => None,
        }
    }

    /// From when the key is forgotten, if that is known.
    #[must_use]
    pub fn forget_at(&self) -> Option<i64> {
        match self.end {
            End::Planned { forget_at, .. } | End::Compromised { forget_at, .. } => Some(forget_at),
            End::Open => None,
        }
    }

    /// The key as it stands in the JWKS.
    #[must_use]
    pub fn jwk(&self) -> Jwk {
        Jwk { key: self.public.clone(), kid: self.kid.clone(), alg: self.algorithm, use_: "sig".into() }
    }

    fn is_consistent(&self) -> bool {
        let ends_in_order = match self.end {
            End::Open => true,
            End::Planned { retire_at, forget_at } => self.publish_at <= retire_at && retire_at <= forget_at,
            End::Compromised { compromised_at, forget_at } => compromised_at <= forget_at,
        };
        self.kid == self.public.thumbprint() && self.publish_at <= self.sign_from && ends_in_order
    }
}

/// Every key of the service: one row, changed only as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRingRecord {
    /// The version of this format.
    pub schema: u32,
    /// In order of creation.
    pub records: Vec<KeyRecord>,
    /// Keys that may never come back: compromised ones, and imported ones that were forgotten.
    pub barred: Vec<KeyId>,
    /// For how long a JWKS may be cached that some verifier may still hold.
    pub max_age: PromisedMaxAge,
    /// The latest time at which a node is known to have used the ring, in seconds since the epoch. Where the
    /// clock stands before it, the clock was set back, and tokens were issued that seem to be of the future.
    pub as_of: i64,
}

/// For how long verifiers were told that they may cache the JWKS. A shorter promise counts only once the
/// copies that were given out under the longer one have run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromisedMaxAge {
    /// In seconds.
    pub seconds: i64,
    /// Whether less is promised by now.
    pub lowered: Option<LoweredMaxAge>,
}

/// What is promised since the promise was lowered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoweredMaxAge {
    /// Since when, in seconds since the epoch.
    pub at: i64,
    /// The most that was promised since, in seconds.
    pub to: i64,
}

impl KeyRingRecord {
    /// The version of this format.
    pub const SCHEMA: u32 = 1;

    /// A ring without keys, of which nothing was ever published.
    #[must_use]
    pub fn empty() -> Self {
        let max_age = PromisedMaxAge { seconds: 0, lowered: None };
        Self { schema: Self::SCHEMA, records: Vec::new(), barred: Vec::new(), max_age, as_of: i64::MIN }
    }

    /// The record of `kid`.
    #[must_use]
    pub fn find(&self, kid: &KeyId) -> Option<&KeyRecord> {
        self.records.iter().find(|record| record.kid == *kid)
    }

    /// Whether `kid` may not be taken in: it is in the ring, or was compromised once.
    #[must_use]
    pub fn refuses(&self, kid: &KeyId) -> bool {
        self.find(kid).is_some() || self.barred.contains(kid)
    }

    /// Applies one step of a plan. [`Step::Create`] needs a key, hence [`KeyRingRecord::add`]; here it does
    /// nothing, and so does a step for a key that is not in the ring.
    pub fn apply(&mut self, step: &Step) {
        if let Step::Promise { max_age } = *step {
            self.max_age = max_age;
        }
        let Some(kid) = step.kid() else { return };
        let Some(index) = self.records.iter().position(|record| record.kid == *kid) else { return };
        let record = &mut self.records[index];
        match *step {
            Step::Create { .. } | Step::Promise { .. } => {}
            Step::Begin { .. } => record.begun = true,
            Step::Reschedule { publish_at, sign_from, .. } => {
                (record.publish_at, record.sign_from) = (publish_at, sign_from);
            }
            Step::RaiseLifetime { longest_lifetime, .. } => record.longest_lifetime = longest_lifetime,
            Step::Retire { retire_at, forget_at, .. } => record.end = End::Planned { retire_at, forget_at },
            Step::Reopen { .. } => record.end = End::Open,
            Step::ErasePrivate { .. } => record.private_half = PrivateHalf::Erased,
            Step::Compromise { compromised_at, forget_at, .. } => {
                record.end = End::Compromised { compromised_at, forget_at };
                record.private_half = PrivateHalf::Erased;
                self.barred.push(record.kid.clone());
            }
            Step::Forget { .. } => {
                let gone = self.records.remove(index);
                if gone.origin == Origin::Imported && !self.barred.contains(&gone.kid) {
                    self.barred.push(gone.kid);
                }
            }
        }
    }

    /// Whether no verifier can hold a copy of the JWKS: it is served as soon as it says for how long it may be cached, which
    /// is when every algorithm has a key that signs and one that waits.
    #[must_use]
    pub fn was_never_published(&self) -> bool {
        self.max_age.seconds == 0
    }

    /// Adds a key that was created or imported.
    pub fn add(&mut self, record: KeyRecord) {
        self.records.push(record);
    }

    /// Whether every record's dates are in order, its kid is its thumbprint, and no kid stands twice.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.records.iter().enumerate().all(|(index, record)| {
            record.is_consistent() && self.records[..index].iter().all(|other| other.kid != record.kid)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(end: End) -> KeyRecord {
        let public = PublicKey::OKP { crv: "Ed25519".into(), x: "AA".into() };
        KeyRecord {
            kid: public.thumbprint(),
            algorithm: Algorithm::EdDSA,
            public,
            origin: Origin::Generated,
            created_at: 10,
            publish_at: 10,
            sign_from: 20,
            begun: false,
            longest_lifetime: 5,
            private_half: PrivateHalf::Sealed,
            end,
        }
    }

    #[test]
    fn the_phase_follows_from_the_dates() {
        use Phase::{Forgotten, Pending, Published, Retired, Signing};
        let planned = record(End::Planned { retire_at: 30, forget_at: 40 });
        let phases = [9, 10, 19, 20, 29, 30, 39, 40].map(|now| planned.phase(now));
        assert_eq!(phases, [Pending, Published, Published, Signing, Signing, Retired, Retired, Forgotten]);
        let compromised = record(End::Compromised { compromised_at: 25, forget_at: 60 });
        assert_eq!(compromised.phase(0), Phase::Compromised);
        assert!(!compromised.is_published(26));
    }

    #[test]
    fn a_clock_set_back_does_not_undo_that_a_key_signs() {
        let mut begun = record(End::Open);
        begun.begun = true;
        assert_eq!(begun.phase(5), Phase::Signing);
        assert!(begun.is_published(5));
    }

    #[test]
    fn a_compromised_key_is_barred_for_good() {
        let key = record(End::Open);
        let kid = key.kid.clone();
        let mut ring = KeyRingRecord::empty();
        ring.add(key);
        ring.apply(&Step::Compromise { kid: kid.clone(), compromised_at: 25, forget_at: 60 });
        assert_eq!(ring.records[0].private_half, PrivateHalf::Erased);
        ring.apply(&Step::Forget { kid: kid.clone() });
        assert!(ring.records.is_empty());
        assert!(ring.refuses(&kid));
    }

    #[test]
    fn dates_out_of_order_and_foreign_kids_are_noticed() {
        let mut ring = KeyRingRecord::empty();
        ring.add(record(End::Planned { retire_at: 30, forget_at: 40 }));
        assert!(ring.is_consistent());
        ring.records[0].sign_from = 9;
        assert!(!ring.is_consistent());
        ring.records[0] = record(End::Planned { retire_at: 30, forget_at: 29 });
        assert!(!ring.is_consistent());
        ring.records[0] = record(End::Open);
        ring.records[0].kid = KeyId::parse("other").unwrap();
        assert!(!ring.is_consistent());
        ring.records[0] = record(End::Open);
        ring.add(record(End::Open));
        assert!(!ring.is_consistent());
    }
}
