use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::keys::rfc3339;
use crate::oauth::KeyId;

/// Names a sealing key: 48 random bits as base64url.
pub type SealingKeyId = KeyId;

/// How many bytes an identifier has before it becomes text.
pub(super) const ID_BYTES: usize = 6;

/// The bytes of a key.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct Material(pub(super) [u8; 32]);

/// A sealing key as the row remembers it; dates are seconds since the epoch.
///
/// It seals from `seal_from` until its successor does, and opens until `longest_lifetime` after that.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SealingKey {
    pub(super) id: SealingKeyId,
    pub(super) material: Material,
    pub(super) created_at: i64,
    pub(super) seal_from: i64,
    /// For how long what is sealed with it may count, in seconds.
    pub(super) longest_lifetime: i64,
}

/// All sealing keys, in the order in which they seal.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SealingRecord {
    pub(super) keys: Vec<SealingKey>,
}

/// The times that sealing keys keep, in whole seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct SealingPolicy {
    /// For how long a key seals.
    pub(super) period: i64,
    /// P: within what time every node has loaded a new key.
    pub(super) propagation: i64,
    /// S: by how much clocks differ.
    pub(super) skew: i64,
    /// For how long anything that is sealed may count.
    pub(super) longest_lifetime: i64,
}

/// What must be done to the sealing keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SealingStep {
    /// A key is made, which seals from then.
    Create { seal_from: i64 },
    /// What is sealed may count for longer than before.
    Raise { id: SealingKeyId, longest_lifetime: i64 },
    /// A key that opens nothing any more goes.
    Forget { id: SealingKeyId },
}

impl SealingRecord {
    /// The key that seals at `now`: of those whose time has come, the newest.
    pub(super) fn current(&self, now: i64) -> Option<&SealingKey> {
        self.keys.iter().rev().find(|key| key.seal_from <= now)
    }

    pub(super) fn find(&self, id: &str) -> Option<&SealingKey> {
        self.keys.iter().find(|key| key.id.as_str() == id)
    }

    /// Until when the key at `index` opens; none while no other seals after it.
    fn forget_at(&self, index: usize, policy: &SealingPolicy) -> Option<i64> {
        let successor = self.keys.get(index + 1)?;
        // A node that has not loaded the successor seals on for P.
        let last_sealed = successor.seal_from + policy.propagation + policy.skew;
        Some(last_sealed + self.keys[index].longest_lifetime)
    }

    /// What must be done at `now`, in order: there is always one key that seals, or will within P; none stays when
    /// it opens nothing, and none goes before.
    pub(super) fn plan(&self, policy: &SealingPolicy, now: i64) -> Vec<SealingStep> {
        let mut steps = Vec::new();
        for (index, key) in self.keys.iter().enumerate() {
            match self.forget_at(index, policy) {
                Some(forget_at) if forget_at <= now => steps.push(SealingStep::Forget { id: key.id.clone() }),
                // Its successor may not be known everywhere yet.
                Some(forget_at)
                    if key.longest_lifetime < policy.longest_lifetime
                        && now < forget_at - key.longest_lifetime =>
                {
                    steps.push(raise(key, policy));
                }
                None if key.longest_lifetime < policy.longest_lifetime => steps.push(raise(key, policy)),
                _ => {}
            }
        }
        match self.keys.last() {
            None => steps.push(SealingStep::Create { seal_from: now }),
            Some(newest) if newest.seal_from + policy.period <= now => {
                steps.push(SealingStep::Create { seal_from: now + policy.propagation + policy.skew });
            }
            Some(_) => {}
        }
        steps
    }

    /// Applies a step; a key that is to be made is given.
    pub(super) fn apply(&mut self, step: &SealingStep, made: Option<SealingKey>) {
        match step {
            SealingStep::Create { .. } => self.keys.extend(made),
            SealingStep::Raise { id, longest_lifetime } => {
                if let Some(key) = self.keys.iter_mut().find(|key| key.id == *id) {
                    key.longest_lifetime = *longest_lifetime;
                }
            }
            SealingStep::Forget { id } => self.keys.retain(|key| key.id != *id),
        }
    }

    /// The keys as an administrator sees them.
    pub(super) fn views(&self, policy: &SealingPolicy, now: i64) -> Vec<SealingKeyView> {
        let current = self.current(now).map(|key| &key.id);
        let view = |(index, key): (usize, &SealingKey)| SealingKeyView {
            id: key.id.clone(),
            seals: current == Some(&key.id),
            created_at: key.created_at,
            seal_from: key.seal_from,
            forget_at: self.forget_at(index, policy),
        };
        self.keys.iter().enumerate().map(view).collect()
    }
}

fn raise(key: &SealingKey, policy: &SealingPolicy) -> SealingStep {
    SealingStep::Raise { id: key.id.clone(), longest_lifetime: policy.longest_lifetime }
}

/// A sealing key, without its bytes. Dates are seconds since the epoch here, and written as RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SealingKeyView {
    /// Which one.
    pub id: SealingKeyId,
    /// Whether it seals now.
    pub seals: bool,
    /// When it was made.
    #[serde(serialize_with = "rfc3339::date")]
    pub created_at: i64,
    /// From when it seals.
    #[serde(serialize_with = "rfc3339::date")]
    pub seal_from: i64,
    /// From when it opens nothing any more, if its successor is known.
    #[serde(serialize_with = "rfc3339::optional")]
    pub forget_at: Option<i64>,
}
