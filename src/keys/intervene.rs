//! What an operator may ask of the ring, as pure functions: the steps, and what they break.

use serde::Serialize;

use super::draft::Draft;
use super::policy::Policy;
use super::record::{KeyRecord, KeyRingRecord, Phase};
use super::rfc3339;
use super::schedule::{Step, lead, promise, signer};
use crate::oauth::{Algorithm, KeyId};

/// How many keys of one algorithm may wait at once.
const MOST_WAITING: usize = 4;

/// Why the ring does not do what it is asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The algorithm is not in use.
    #[error("{0} is not in keys.algorithms")]
    AlgorithmNotInUse(Algorithm),
    /// There is no waiting key yet: the rotator makes one at its next tick.
    #[error("no {0} key waits yet; try again in a moment")]
    NoneWaits(Algorithm),
    /// The ring does not know the key.
    #[error("there is no key {0} in the ring")]
    UnknownKey(KeyId),
    /// The key is compromised already.
    #[error("the key {0} was declared compromised before")]
    AlreadyCompromised(KeyId),
    /// Enough keys wait.
    #[error("{MOST_WAITING} keys wait for {0} already; rotate first")]
    TooManyWait(Algorithm),
    /// The key may not come in.
    #[error("the key {0} is in the ring, or was compromised or retired before: its kid is never used again")]
    Barred(KeyId),
}

/// A group of tokens that stops being accepted, or that some verifiers refuse for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breakage {
    /// What stops working, and for whom.
    pub what: String,
    /// Until when, in seconds since the epoch; written as RFC 3339.
    #[serde(serialize_with = "rfc3339::date")]
    pub until: i64,
}

/// A rotation, planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The key that will sign.
    pub kid: KeyId,
    /// The key that signs now.
    pub previous: Option<KeyId>,
    /// From when the key signs.
    pub sign_from: i64,
    /// What breaks, if it was forced.
    pub breaks: Vec<Breakage>,
    /// What to do.
    pub steps: Vec<Step>,
}

/// Lets the waiting key sign as soon as its lead is over; with `force`, at once: a declared emergency.
/// Of several waiting keys it takes the one that may sign first.
///
/// # Errors
/// When the algorithm is not in use, or no key waits.
pub fn rotate(
    ring: &KeyRingRecord,
    policy: &Policy,
    now: i64,
    (algorithm, force): (Algorithm, bool),
) -> Result<Rotation, Refusal> {
    if !policy.algorithms().contains(&algorithm) {
        return Err(Refusal::AlgorithmNotInUse(algorithm));
    }
    let lead = lead(ring, policy);
    let chosen = first_ready(&ring.records, lead, now, algorithm).ok_or(Refusal::NoneWaits(algorithm))?;
    let ready = chosen.publish_at + lead;
    let sign_from = if force { now } else { ready.max(now).min(chosen.sign_from) };
    let previous = signer(&ring.records, algorithm, now);
    let mut draft = Draft::new(ring, policy, now);
    let recorded = begin(&mut draft, chosen, sign_from);
    if let Some(previous) = previous {
        draft.retire(previous, (recorded + policy.overlap()).max(previous.publish_at));
    }
    let breaks = if sign_from < ready { vec![unknown_to_some(chosen, ready)] } else { Vec::new() };
    let previous = previous.map(|record| record.kid.clone());
    Ok(Rotation { kid: chosen.kid.clone(), previous, sign_from, breaks, steps: draft.into_steps() })
}

/// Drops a key: it leaves the JWKS, signs no more, and is never taken in again. If it signs, the waiting key
/// signs at once; if that was published too recently, an older key that has not yet retired goes on
/// instead; if there is neither, a key is made that no verifier knows yet.
///
/// # Errors
/// When the key is unknown, or compromised already.
pub fn compromise(
    ring: &KeyRingRecord,
    policy: &Policy,
    now: i64,
    kid: &KeyId,
) -> Result<(Vec<Step>, Vec<Breakage>), Refusal> {
    let lead = lead(ring, policy);
    let record = ring.find(kid).ok_or_else(|| Refusal::UnknownKey(kid.clone()))?;
    if record.compromised_at().is_some() {
        return Err(Refusal::AlreadyCompromised(kid.clone()));
    }
    let algorithm = record.algorithm;
    let signed = signer(&ring.records, algorithm, now).is_some_and(|signer| signer.kid == *kid);
    let mut breaks = what_compromise_breaks(record, ring, policy, now);
    let mut draft = Draft::new(ring, policy, now);
    draft.push(condemn(record, policy, lead, now));
    let left = draft.records().to_vec();
    if let Some(algorithm) = heir(&left, policy, now, algorithm).filter(|_| signed) {
        let waiting = first_ready(&left, lead, now, algorithm);
        let ready = waiting.is_some_and(|waiting| waiting.publish_at + lead <= now);
        match (waiting, signer(&left, algorithm, now)) {
            (Some(waiting), _) if ready => {
                begin(&mut draft, waiting, now);
            }
            (_, Some(_)) => {}
            (Some(waiting), None) => {
                breaks.push(unknown_to_some(waiting, waiting.publish_at + lead));
                begin(&mut draft, waiting, now);
            }
            (None, None) => {
                draft.push(Step::Create { algorithm, publish_at: now, sign_from: now });
                breaks.push(Breakage {
                    what:
                        "no other key could sign: new tokens are refused by verifiers that hold an older JWKS"
                            .into(),
                    until: now + lead,
                });
            }
        }
    }
    Ok((draft.into_steps(), breaks))
}

/// Of which algorithm a key has to sign at once when one of `algorithm` does no more: of the same, if it is in use; otherwise of
/// the first that is, if nothing is `left` that signs.
fn heir(left: &[KeyRecord], policy: &Policy, now: i64, algorithm: Algorithm) -> Option<Algorithm> {
    if policy.algorithms().contains(&algorithm) {
        return Some(algorithm);
    }
    let nothing_signs = Algorithm::ALL.iter().all(|each| signer(left, *each, now).is_none());
    policy.algorithms().first().copied().filter(|_| nothing_signs)
}

/// Drops every key, and makes new ones that sign at once.
#[must_use]
pub fn condemn_all(ring: &KeyRingRecord, policy: &Policy, now: i64) -> (Vec<Step>, Vec<Breakage>) {
    let lead = lead(ring, policy);
    let mut draft = Draft::new(ring, policy, now);
    if draft.was_never_published() {
        // The copy may be of the moment before: verifiers hold what was published after it, so no key has a head start.
        promise(&mut draft);
    }
    let mut last_token = now;
    for record in ring.records.iter().filter(|record| record.compromised_at().is_none()) {
        last_token = last_token.max(now + policy.overlap() + record.longest_lifetime);
        draft.push(condemn(record, policy, lead, now));
    }
    for &algorithm in policy.algorithms() {
        draft.push(Step::Create { algorithm, publish_at: now, sign_from: now });
    }
    let caches = now + policy.propagation() + draft.promised().seconds;
    let breakage = |what: &str, until| Breakage { what: what.to_owned(), until };
    let breaks = vec![
        breakage("every token that was issued until now is refused; its holder needs a new one", last_token),
        breakage(
            "verifiers that hold an older JWKS and read no status list, or not its claim revoked_before, still accept old tokens",
            caches,
        ),
        breakage(
            "verifiers that hold an older JWKS and don't fetch it for an unknown kid refuse new tokens",
            caches,
        ),
    ];
    (draft.into_steps(), breaks)
}

fn condemn(record: &KeyRecord, policy: &Policy, lead: i64, now: i64) -> Step {
    // Lagging nodes sign with it for P, lagging caches verify with it for M.
    let named = policy.hold_for(record.longest_lifetime) + lead;
    let forget_at = record.forget_at().unwrap_or(now).max(now + named);
    Step::Compromise { kid: record.kid.clone(), compromised_at: now, forget_at }
}

/// When a key that is brought in at `now` may be published and sign: behind the keys that wait already, and
/// never before its lead is over.
///
/// # Errors
/// When the algorithm is not in use, the key may not come in, or enough keys wait.
pub fn admit(
    ring: &KeyRingRecord,
    policy: &Policy,
    now: i64,
    (algorithm, kid): (Algorithm, &KeyId),
) -> Result<Step, Refusal> {
    if !policy.algorithms().contains(&algorithm) {
        return Err(Refusal::AlgorithmNotInUse(algorithm));
    }
    if ring.refuses(kid) {
        return Err(Refusal::Barred(kid.clone()));
    }
    let waiting = |record: &&KeyRecord| record.algorithm == algorithm && record.is_waiting(now);
    if ring.records.iter().filter(waiting).count() >= MOST_WAITING {
        return Err(Refusal::TooManyWait(algorithm));
    }
    let last = ring.records.iter().filter(waiting).map(|record| record.sign_from).max();
    let last = last.or_else(|| signer(&ring.records, algorithm, now).map(|signer| signer.sign_from.min(now)));
    let lead_over = now + lead(ring, policy);
    let sign_from = last.map_or(lead_over, |last| lead_over.max(last + policy.period()));
    Ok(Step::Create { algorithm, publish_at: now, sign_from })
}

fn first_ready(records: &[KeyRecord], lead: i64, now: i64, algorithm: Algorithm) -> Option<&KeyRecord> {
    records
        .iter()
        .filter(|record| record.algorithm == algorithm && record.is_waiting(now))
        .min_by_key(|record| ((record.publish_at + lead).max(now), record.sign_from, &record.kid))
}

/// Lets a key sign from `sign_from`, or now if that has come. Gives the date under which it is recorded:
/// later than that of every key that signs already, for the newest signs, even within one second.
fn begin(draft: &mut Draft, record: &KeyRecord, sign_from: i64) -> i64 {
    let now = draft.now();
    let begun = draft
        .records()
        .iter()
        .filter(|other| other.algorithm == record.algorithm && other.is_alive(now) && !other.is_waiting(now));
    let newest = begun.map(|other| other.sign_from + 1).max().unwrap_or(sign_from);
    let recorded = if sign_from <= now { sign_from.max(newest) } else { sign_from };
    let publish_at = record.publish_at.min(recorded);
    if (publish_at, recorded) != (record.publish_at, record.sign_from) {
        draft.push(Step::Reschedule { kid: record.kid.clone(), publish_at, sign_from: recorded });
    }
    if sign_from <= now {
        draft.push(Step::Begin { kid: record.kid.clone() });
    }
    recorded
}

fn unknown_to_some(record: &KeyRecord, until: i64) -> Breakage {
    Breakage {
        what: format!(
            "new tokens are signed with {} before its lead is over: verifiers that hold an older JWKS refuse them",
            record.kid
        ),
        until,
    }
}

/// What a node that can't reach the store goes on doing with a dropped key, because it has not heard of it: there is no
/// reaching it, only P after which it stops by itself.
pub(super) fn heard_late(ring: &KeyRingRecord, policy: &Policy, now: i64, kid: &KeyId) -> Option<Breakage> {
    let signs = ring.find(kid).is_some_and(|record| record.phase(now) == Phase::Signing);
    signs.then(|| Breakage {
        what: format!(
            "a node that is cut off from the store has not heard of it and goes on signing with {kid}, which all others refuse; it \
             publishes the key until it reaches the store again: take a node whose /health/ready says mirror: failing out of use"
        ),
        until: now + policy.propagation(),
    })
}

fn what_compromise_breaks(
    record: &KeyRecord,
    ring: &KeyRingRecord,
    policy: &Policy,
    now: i64,
) -> Vec<Breakage> {
    let kid = &record.kid;
    let mut breaks = Vec::new();
    match record.phase(now) {
        Phase::Signing | Phase::Retired => {
            let last_signature = record.retire_at().unwrap_or(i64::MAX).min(now + policy.overlap());
            breaks.push(Breakage {
                what: format!("every token signed with {kid} is refused; its holders need a new one"),
                until: last_signature + record.longest_lifetime,
            });
        }
        Phase::Pending | Phase::Published | Phase::Forgotten | Phase::Compromised => {}
    }
    if record.is_published(now) {
        breaks.push(Breakage {
            what: format!(
                "verifiers that hold an older JWKS and read no status list, or not its claim revoked_before, still accept \
                 tokens signed with {kid}, forged ones included"
            ),
            until: now + policy.propagation() + ring.max_age.seconds,
        });
    }
    breaks
}
