//! What will happen to the keys, and when, if nobody intervenes: the plan, run ahead.

use serde::Serialize;

use super::draft::{Dates, new_record, placeholder};
use super::policy::Policy;
use super::record::{KeyRecord, KeyRingRecord, Phase};
use super::rfc3339;
use super::schedule::{Step, next_signer, plan};
use crate::oauth::{Algorithm, KeyId};

/// No forecast is longer than this.
const MOST_EVENTS: usize = 200;

/// The future of the ring, up to the next rotation of every algorithm and the end of the keys it replaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// When it was made, in seconds since the epoch; written as RFC 3339.
    #[serde(serialize_with = "rfc3339::date")]
    pub now: i64,
    /// What happens, in order.
    pub events: Vec<ForecastEvent>,
}

/// One thing that will happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForecastEvent {
    /// When, in seconds since the epoch; written as RFC 3339.
    #[serde(serialize_with = "rfc3339::date")]
    pub at: i64,
    /// With which algorithm's keys.
    pub algorithm: Algorithm,
    /// Which key; none while it has yet to be made.
    pub kid: Option<KeyId>,
    /// What happens.
    pub what: Forecasted,
    /// The same in words.
    pub words: String,
}

/// What can be foreseen of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Forecasted {
    /// It is made and published.
    Created,
    /// It begins to sign.
    Signs,
    /// It signs no more, and its private half is erased.
    Retires,
    /// It leaves the JWKS.
    LeavesJwks,
}

/// Runs the plan ahead from `now`. Keys that have yet to be made are named by no kid.
#[must_use]
pub fn forecast(ring: &KeyRingRecord, policy: &Policy, now: i64) -> Forecast {
    let records = &ring.records;
    let horizon = horizon(records, policy, now);
    let mut ring = ring.clone();
    let mut events = Vec::new();
    let mut at = now;
    // Every turn moves to a later date of a finite list, or ends.
    while events.len() < MOST_EVENTS {
        let before = ring.records.clone();
        settle(&mut ring, policy, at);
        events.extend(
            ring.records
                .iter()
                .filter(|record| !before.iter().any(|old| old.kid == record.kid))
                .map(|record| event(record, records, Forecasted::Created, at)),
        );
        let Some(next) = next_date(&ring.records, at).filter(|next| *next <= horizon) else { break };
        events.extend(changes(&ring.records, records, at, next));
        at = next;
    }
    Forecast { now, events }
}

fn horizon(records: &[KeyRecord], policy: &Policy, now: i64) -> i64 {
    let rotations = policy.algorithms().iter().map(|algorithm| {
        let next = next_signer(records, *algorithm, now).map(|record| record.sign_from);
        next.unwrap_or(now + policy.lead())
    });
    let last_rotation = rotations.max().unwrap_or(now);
    let ends = records.iter().filter_map(KeyRecord::forget_at).max().unwrap_or(now);
    ends.max(last_rotation + policy.overlap() + policy.hold_for(policy.longest_lifetime()))
}

/// Applies all that is due, as ticks would.
fn settle(ring: &mut KeyRingRecord, policy: &Policy, now: i64) {
    for round in 0..4 {
        let steps = plan(ring, policy, now);
        if steps.is_empty() {
            return;
        }
        for (number, step) in steps.iter().enumerate() {
            if let Step::Create { algorithm, publish_at, sign_from } = *step {
                let lifetime = policy.longest_lifetime();
                let unique = usize::try_from(now).unwrap_or_default().wrapping_mul(64) + round * 16 + number;
                let public = placeholder(algorithm, unique);
                ring.add(new_record(public, algorithm, Dates { publish_at, sign_from, lifetime }));
            }
            ring.apply(step);
        }
    }
}

fn next_date(records: &[KeyRecord], now: i64) -> Option<i64> {
    records
        .iter()
        .flat_map(|record| {
            let starts = record.is_waiting(now).then_some(record.sign_from);
            [starts, record.retire_at(), record.forget_at()]
        })
        .flatten()
        .filter(|date| *date > now)
        .min()
}

fn changes(records: &[KeyRecord], known: &[KeyRecord], before: i64, at: i64) -> Vec<ForecastEvent> {
    let mut events: Vec<ForecastEvent> = records
        .iter()
        .filter(|record| record.phase(before) != record.phase(at))
        .filter_map(|record| {
            let what = match record.phase(at) {
                Phase::Signing => Forecasted::Signs,
                Phase::Retired => Forecasted::Retires,
                Phase::Forgotten => Forecasted::LeavesJwks,
                Phase::Pending | Phase::Published | Phase::Compromised => return None,
            };
            Some(event(record, known, what, at))
        })
        .collect();
    events.sort_by_key(|event| event.what);
    events
}

fn event(record: &KeyRecord, known: &[KeyRecord], what: Forecasted, at: i64) -> ForecastEvent {
    let kid = known.iter().any(|old| old.kid == record.kid).then(|| record.kid.clone());
    let name = match &kid {
        Some(kid) => format!("the {} key {kid}", record.algorithm),
        None => format!("a new {} key", record.algorithm),
    };
    let words = match what {
        Forecasted::Created => format!("{name} is made and published; it waits to sign"),
        Forecasted::Signs => format!("{name} begins to sign"),
        Forecasted::Retires => format!("{name} signs no more; its private half is erased"),
        Forecasted::LeavesJwks => format!("{name} leaves the JWKS; the last token it signed has expired"),
    };
    ForecastEvent { at, algorithm: record.algorithm, kid, what, words }
}
