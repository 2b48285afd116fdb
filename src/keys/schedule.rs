//! What must happen to the keys, and when: pure functions of records, policy and time.

use serde::Serialize;

use super::draft::Draft;
use super::policy::Policy;
use super::record::{End, KeyRecord, KeyRingRecord, LoweredMaxAge, Phase, PrivateHalf, PromisedMaxAge};
use crate::oauth::{Algorithm, KeyId};

/// How many keys of an algorithm that have left the JWKS are remembered at once: the ring is one row.
const MOST_REMEMBERED: usize = 64;

/// One change to the ring. Dates are seconds since the epoch, lifetimes seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// A key is made.
    Create {
        /// For this algorithm.
        algorithm: Algorithm,
        /// It stands in the JWKS from then.
        publish_at: i64,
        /// It signs from then.
        sign_from: i64,
    },
    /// A key's time to sign has come.
    Begin {
        /// Which key.
        kid: KeyId,
    },
    /// A waiting key gets other dates.
    Reschedule {
        /// Which key.
        kid: KeyId,
        /// It stands in the JWKS from then.
        publish_at: i64,
        /// It signs from then.
        sign_from: i64,
    },
    /// Tokens may live longer than before.
    RaiseLifetime {
        /// Signed with this key.
        kid: KeyId,
        /// So long.
        longest_lifetime: i64,
    },
    /// A key's end is fixed, or moved.
    Retire {
        /// Which key.
        kid: KeyId,
        /// It signs no more from then.
        retire_at: i64,
        /// It leaves the JWKS then.
        forget_at: i64,
    },
    /// A key that was to retire signs on.
    Reopen {
        /// Which key.
        kid: KeyId,
    },
    /// A private half is destroyed.
    ErasePrivate {
        /// Which key's.
        kid: KeyId,
    },
    /// A key is compromised.
    Compromise {
        /// Which key.
        kid: KeyId,
        /// Since then.
        compromised_at: i64,
        /// It is named as compromised until then.
        forget_at: i64,
    },
    /// A record is removed.
    Forget {
        /// Of which key.
        kid: KeyId,
    },
    /// Verifiers are told that they may cache the JWKS for longer, or shorter.
    Promise {
        /// For how long.
        max_age: PromisedMaxAge,
    },
}

impl Step {
    /// Which key it is about; [`Step::Create`] has none yet, [`Step::Promise`] is about all.
    #[must_use]
    pub fn kid(&self) -> Option<&KeyId> {
        match self {
            Self::Create { .. } | Self::Promise { .. } => None,
            Self::Begin { kid }
            | Self::Reschedule { kid, .. }
            | Self::RaiseLifetime { kid, .. }
            | Self::Retire { kid, .. }
            | Self::Reopen { kid }
            | Self::ErasePrivate { kid }
            | Self::Compromise { kid, .. }
            | Self::Forget { kid } => Some(kid),
        }
    }
}

/// The first key of a service that has never published any: one that signs access tokens, at once, since no verifier can
/// hold a JWKS without it. All others are for the first [`plan`]; nothing is published before it was carried out.
#[must_use]
pub fn bootstrap(policy: &Policy, now: i64) -> Option<Step> {
    let algorithm = *policy.algorithms().first()?;
    Some(Step::Create { algorithm, publish_at: now - policy.lead(), sign_from: now })
}

/// What must be done at `now` so that every algorithm in use has a key that signs and one that waits, and
/// every key leaves when its last token has expired and not before.
///
/// The steps apply in order. Planning again after they were applied gives nothing new, except that a
/// record is forgotten only once its private half is known to be erased, and that a service which has never published
/// a key makes an algorithm's first key before the one that waits.
#[must_use]
pub fn plan(ring: &KeyRingRecord, policy: &Policy, now: i64) -> Vec<Step> {
    let mut draft = Draft::new(ring, policy, now);
    if !draft.was_never_published() {
        promise(&mut draft);
    }
    let is_in_use = |algorithm: &Algorithm| policy.algorithms().contains(algorithm);
    for algorithm in Algorithm::ALL.into_iter().filter(is_in_use) {
        keep_in_use(&mut draft, algorithm);
    }
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| !is_in_use(algorithm)) {
        withdraw(&mut draft, algorithm);
    }
    for record in &ring.records {
        clear(&mut draft, record);
    }
    forget(&mut draft, ring);
    // Whoever fetches the keys finds those that wait among them: from here on every later key has its lead.
    if draft.was_never_published()
        && policy.algorithms().iter().all(|algorithm| draft.has_waiting(*algorithm))
    {
        promise(&mut draft);
    }
    draft.into_steps()
}

/// A longer `max-age` counts before it is served, a shorter one when the last longer-lived copy has run out.
pub(super) fn promise(draft: &mut Draft) {
    let (promised, served, now) = (draft.promised(), draft.policy().max_age(), draft.now());
    let seconds = promised.seconds;
    let run_out = seconds + draft.policy().propagation() + draft.policy().skew();
    let lowered = match promised.lowered {
        _ if served >= seconds => None,
        None => Some(LoweredMaxAge { at: now, to: served }),
        Some(LoweredMaxAge { at, to }) if at + run_out <= now => {
            let to = to.max(served);
            let lowered = (served < to).then_some(LoweredMaxAge { at: now, to: served });
            draft.push(Step::Promise { max_age: PromisedMaxAge { seconds: to, lowered } });
            return;
        }
        // A date in the future: the clock was set back.
        Some(LoweredMaxAge { at, to }) => {
            let set_back = at > now + draft.policy().skew();
            Some(LoweredMaxAge { at: if set_back { now } else { at }, to: to.max(served) })
        }
    };
    let max_age = PromisedMaxAge { seconds: seconds.max(served), lowered };
    if max_age == promised {
        return;
    }
    draft.push(Step::Promise { max_age });
}

fn keep_in_use(draft: &mut Draft, algorithm: Algorithm) {
    draft.begin_due(algorithm);
    let moved = draft.reschedule_waiting(algorithm);
    draft.begin_due(algorithm);
    draft.create_if_none_waits(algorithm);
    draft.raise_lifetimes(algorithm);
    draft.fix_ends(algorithm, &moved);
}

/// An algorithm that was dropped from the settings signs on for a lead, so that taking the setting back
/// in that time changes nothing for anyone. The lead begins when one that is in use signs: until then nothing else could.
fn withdraw(draft: &mut Draft, algorithm: Algorithm) {
    draft.begin_due(algorithm);
    draft.raise_lifetimes(algorithm);
    if draft.policy().algorithms().iter().any(|in_use| draft.signs(*in_use)) {
        draft.end_chain(algorithm);
    } else {
        draft.fix_ends(algorithm, &[]);
    }
}

/// What is due whatever the algorithm's use: a longer hold, the erasure.
fn clear(draft: &mut Draft, record: &KeyRecord) {
    let Some(record) = draft.find(&record.kid).cloned() else { return };
    let now = draft.now();
    let kid = || record.kid.clone();
    if let End::Planned { retire_at, forget_at } = record.end
        && forget_at > now
    {
        let least = retire_at + draft.policy().hold_for(record.longest_lifetime);
        if forget_at < least {
            draft.push(Step::Retire { kid: kid(), retire_at, forget_at: least });
        }
    }
    if matches!(record.phase(now), Phase::Retired | Phase::Forgotten)
        && record.private_half == PrivateHalf::Sealed
    {
        draft.push(Step::ErasePrivate { kid: kid() });
    }
}

/// Removes the records that nobody asks for any more: a compromised key's when it need not be named, another's when it was
/// remembered for long enough, or when so many younger ones of its algorithm are.
fn forget(draft: &mut Draft, ring: &KeyRingRecord) {
    let (now, remembered) = (draft.now(), draft.policy().remembered());
    // Not what this very plan erases: until that is done, the record is what tells the vault to do it.
    let was_erased = |record: &&KeyRecord| {
        ring.find(&record.kid).is_some_and(|before| before.private_half == PrivateHalf::Erased)
    };
    let mut ended: Vec<(i64, KeyRecord)> = draft
        .records()
        .iter()
        .filter(was_erased)
        .filter_map(|record| {
            Some((record.forget_at().filter(|forget_at| *forget_at <= now)?, record.clone()))
        })
        .collect();
    ended.sort_by(|(a, left), (b, right)| (b, &right.kid).cmp(&(a, &left.kid)));
    let mut kept = [0; Algorithm::ALL.len()];
    for (forget_at, record) in ended {
        let kept = &mut kept[record.algorithm as usize];
        let is_remembered = record.compromised_at().is_none() && now < forget_at + remembered;
        if is_remembered && *kept < MOST_REMEMBERED {
            *kept += 1;
        } else {
            draft.push(Step::Forget { kid: record.kid });
        }
    }
}

/// Steps that were durable later than they were planned for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delayed {
    /// What was planned.
    pub steps: Vec<Step>,
    /// For when.
    pub planned_at: i64,
    /// When it was durable, at the latest.
    pub durable_at: i64,
}

/// What must be put right at `now` of steps that were late: other nodes' time to load them counts from when they were durable.
#[must_use]
pub fn make_up_for_delay(
    ring: &KeyRingRecord,
    Delayed { steps, planned_at, durable_at }: &Delayed,
    policy: &Policy,
    now: i64,
) -> Vec<Step> {
    let mut draft = Draft::new(ring, policy, now);
    let (lead, delay) = (draft.lead(), durable_at - planned_at);
    for record in ring.records.iter().filter(|record| record.is_waiting(now)) {
        let fresh = |step: &Step| {
            matches!(step, Step::Create { algorithm, publish_at, .. }
            if *algorithm == record.algorithm && *publish_at == record.publish_at)
        };
        if delay > 0 && record.publish_at + lead > *planned_at && steps.iter().any(fresh) {
            let publish_at = record.publish_at + delay;
            let sign_from = record.sign_from.max(publish_at + lead);
            draft.push(Step::Reschedule { kid: record.kid.clone(), publish_at, sign_from });
        }
    }
    for step in steps {
        if let Step::Retire { kid, retire_at, .. } = step
            && let Some(record) = ring.find(kid)
            && *retire_at < durable_at + policy.overlap()
            && record.retire_at() == Some(*retire_at)
        {
            let last_signature = durable_at + policy.overlap();
            if record.is_alive(now) {
                draft.retire(record, last_signature);
            } else {
                // Verifiers may have let go of it: it signs no more, and is published for whoever had not heard of its end.
                let least = last_signature + policy.hold_for(record.longest_lifetime);
                let forget_at = record.forget_at().map_or(least, |forget_at| forget_at.max(least));
                draft.push(Step::Retire { kid: kid.clone(), retire_at: *retire_at, forget_at });
            }
        }
    }
    draft.into_steps()
}

/// The key that signs with `algorithm` at `now`: among those whose time has come, the newest.
#[must_use]
pub fn signer(records: &[KeyRecord], algorithm: Algorithm, now: i64) -> Option<&KeyRecord> {
    records
        .iter()
        .filter(|record| record.algorithm == algorithm && record.is_alive(now) && !record.is_waiting(now))
        .max_by(|a, b| (a.sign_from, &a.kid).cmp(&(b.sign_from, &b.kid)))
}

/// The key that will sign next with `algorithm`.
#[must_use]
pub fn next_signer(records: &[KeyRecord], algorithm: Algorithm, now: i64) -> Option<&KeyRecord> {
    records
        .iter()
        .filter(|record| record.algorithm == algorithm && record.is_waiting(now))
        .min_by(|a, b| (a.sign_from, &a.kid).cmp(&(b.sign_from, &b.kid)))
}

/// When the JWKS changes, as far as is planned, in order: a key leaves, or begins to sign, upon which a new one is made.
#[must_use]
pub fn changes(records: &[KeyRecord]) -> Vec<i64> {
    let planned = records.iter().filter(|record| record.compromised_at().is_none());
    let dates = planned.flat_map(|record| [record.signs_first_at(), record.forget_at()]);
    let mut changes: Vec<i64> = dates.flatten().collect();
    changes.sort_unstable();
    changes
}

/// The first of the [`changes`] that is yet to come.
#[must_use]
pub fn next_change(changes: &[i64], now: i64) -> Option<i64> {
    changes.iter().find(|date| **date > now).copied()
}

/// For how many seconds a JWKS served at `now` may be cached: M, but never past its next change, and at
/// least 1.
#[must_use]
pub fn max_age(ring: &KeyRingRecord, changes: &[i64], policy: &Policy, now: i64) -> i64 {
    let max_age = policy.max_age().min(ring.max_age.seconds);
    match next_change(changes, now) {
        Some(date) => max_age.min(date - now),
        None => max_age,
    }
}

/// How far a key's tokens may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpBound {
    lifetime: i64,
    last: i64,
}

impl ExpBound {
    /// The bound for tokens signed with the key of `record`: T, but no more than is recorded with the key,
    /// and S before the key leaves the JWKS.
    #[must_use]
    pub fn of(record: &KeyRecord, policy: &Policy) -> Self {
        Self {
            lifetime: record.longest_lifetime.min(policy.longest_lifetime()),
            last: record.forget_at().map_or(i64::MAX, |forget_at| forget_at - policy.skew()),
        }
    }

    /// The latest `exp` of a token that is signed at `now`.
    #[must_use]
    pub fn latest_exp(&self, now: i64) -> i64 {
        now.saturating_add(self.lifetime).min(self.last)
    }
}

/// How long a key published at a time must wait before it signs, in seconds: the lead of the settings, or
/// more while verifiers may hold copies of the JWKS that were given out for longer.
#[must_use]
pub fn lead(ring: &KeyRingRecord, policy: &Policy) -> i64 {
    policy.lead().max(policy.propagation() + ring.max_age.seconds + policy.skew())
}

#[cfg(test)]
mod tests;
