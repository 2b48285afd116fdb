use super::policy::Policy;
use super::record::{End, KeyRecord, KeyRingRecord, Origin, PrivateHalf, PromisedMaxAge};
use super::schedule::{self, Step};
use crate::oauth::{Algorithm, KeyId, PublicKey};

/// Steps under construction, with the ring as it will be once they are applied.
///
/// A key that is yet to be made stands in the draft under a placeholder's kid, so that its predecessor's
/// end can be planned; no step ever names it.
pub(super) struct Draft<'a> {
    ring: KeyRingRecord,
    policy: &'a Policy,
    now: i64,
    steps: Vec<Step>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(ring: &KeyRingRecord, policy: &'a Policy, now: i64) -> Self {
        Self { ring: ring.clone(), policy, now, steps: Vec::new() }
    }

    /// Whether no verifier has ever seen a key of the ring.
    pub(super) fn was_never_published(&self) -> bool {
        self.ring.was_never_published()
    }

    pub(super) fn has_waiting(&self, algorithm: Algorithm) -> bool {
        self.chain(algorithm).iter().any(|record| record.is_waiting(self.now))
    }

    pub(super) fn signs(&self, algorithm: Algorithm) -> bool {
        self.chain(algorithm).iter().any(|record| !record.is_waiting(self.now))
    }

    pub(super) fn promised(&self) -> PromisedMaxAge {
        self.ring.max_age
    }

    /// How long a key that is published now waits before it signs.
    pub(super) fn lead(&self) -> i64 {
        schedule::lead(&self.ring, self.policy)
    }

    pub(super) fn policy(&self) -> &'a Policy {
        self.policy
    }

    pub(super) fn now(&self) -> i64 {
        self.now
    }

    pub(super) fn find(&self, kid: &KeyId) -> Option<&KeyRecord> {
        self.ring.find(kid)
    }

    pub(super) fn records(&self) -> &[KeyRecord] {
        &self.ring.records
    }

    pub(super) fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    pub(super) fn push(&mut self, step: Step) {
        if let Step::Create { algorithm, publish_at, sign_from } = step {
            let lifetime = self.policy.longest_lifetime();
            let public = placeholder(algorithm, self.steps.len());
            self.ring.add(new_record(public, algorithm, Dates { publish_at, sign_from, lifetime }));
        }
        self.ring.apply(&step);
        self.steps.push(step);
    }

    /// The keys of an algorithm that sign or will sign, in the order in which they do.
    fn chain(&self, algorithm: Algorithm) -> Vec<KeyRecord> {
        let mut chain: Vec<KeyRecord> = self
            .ring
            .records
            .iter()
            .filter(|record| record.algorithm == algorithm && record.is_alive(self.now))
            .cloned()
            .collect();
        chain.sort_by(|a, b| self.order(a).cmp(&self.order(b)));
        chain
    }

    /// Whoever has begun comes before whoever waits, even if a clock that was set back says otherwise.
    fn order<'r>(&self, record: &'r KeyRecord) -> (bool, i64, &'r KeyId) {
        (record.is_waiting(self.now), record.sign_from, &record.kid)
    }

    pub(super) fn begin_due(&mut self, algorithm: Algorithm) {
        for record in self.chain(algorithm) {
            if !record.begun && record.sign_from <= self.now {
                self.push(Step::Begin { kid: record.kid });
            }
        }
    }

    /// Gives waiting keys the dates that the policy asks for: later where the lead has grown, earlier where
    /// the period has shrunk or the clock was set back. A date that an operator brought forward stays.
    /// Says which keys will sign earlier than before.
    pub(super) fn reschedule_waiting(&mut self, algorithm: Algorithm) -> Vec<KeyId> {
        let (lead, period) = (self.lead(), self.policy.period());
        let chain = self.chain(algorithm);
        let begun = chain.iter().filter(|record| !record.is_waiting(self.now));
        let mut previous = begun.map(|record| record.sign_from.min(self.now)).max();
        let mut waiting: Vec<_> = chain
            .iter()
            .filter(|record| record.is_waiting(self.now))
            .map(|record| {
                // More than the skew between nodes ahead: the clock stood wrong when the key was made.
                let wrong = record.publish_at > self.now + self.policy.skew();
                let publish_at = if wrong { self.now } else { record.publish_at };
                (record, publish_at, publish_at + lead)
            })
            .collect();
        waiting.sort_by_key(|(record, _, earliest)| (record.sign_from.max(*earliest), &record.kid));
        let mut earlier = Vec::new();
        for (record, publish_at, earliest) in waiting {
            let latest = previous.map_or(self.now + lead, |sign_from| sign_from + period).max(earliest);
            let sign_from = if record.sign_from < earliest {
                earliest
            } else {
                record.sign_from.min(latest.max(self.now))
            };
            if sign_from < record.sign_from {
                earlier.push(record.kid.clone());
            }
            if (publish_at, sign_from) != (record.publish_at, record.sign_from) {
                self.push(Step::Reschedule { kid: record.kid.clone(), publish_at, sign_from });
            }
            previous = Some(sign_from);
        }
        earlier
    }

    pub(super) fn create_if_none_waits(&mut self, algorithm: Algorithm) {
        if self.has_waiting(algorithm) {
            return;
        }
        // Where no verifier holds a copy without it, its lead is over.
        let head_start = if self.was_never_published() { self.lead() } else { 0 };
        let publish_at = self.now - head_start;
        let earliest = publish_at + self.lead();
        let newest = self.chain(algorithm).pop();
        let in_turn = newest.map(|newest| newest.sign_from.min(self.now) + self.policy.period());
        // Somebody may ask it to sign sooner, but by itself it does not sign before it is its turn.
        let sign_from = in_turn.unwrap_or(earliest).max(earliest);
        self.push(Step::Create { algorithm, publish_at, sign_from });
    }

    pub(super) fn raise_lifetimes(&mut self, algorithm: Algorithm) {
        let longest_lifetime = self.policy.longest_lifetime();
        for record in self.chain(algorithm) {
            if record.longest_lifetime < longest_lifetime {
                self.push(Step::RaiseLifetime { kid: record.kid, longest_lifetime });
            }
        }
    }

    /// Every key but the last ends when a lagging node has learnt of its successor. A planned end moves
    /// later, never earlier, unless its successor was just moved earlier: nodes with different settings
    /// must not undo each other's plans for ever.
    pub(super) fn fix_ends(&mut self, algorithm: Algorithm, moved_earlier: &[KeyId]) {
        let chain = self.chain(algorithm);
        for pair in chain.windows(2) {
            let [record, successor] = pair else { continue };
            let wanted = (successor.sign_from + self.policy.overlap()).max(record.publish_at);
            match record.retire_at() {
                Some(retire_at) if retire_at == wanted => {}
                Some(retire_at) if retire_at > wanted && !moved_earlier.contains(&successor.kid) => {}
                _ => self.retire(record, wanted),
            }
        }
        if let Some(last) = chain.last()
            && last.end != End::Open
        {
            self.push(Step::Reopen { kid: last.kid.clone() });
        }
    }

    /// Ends an algorithm's keys a lead from now, unless they were already ended.
    pub(super) fn end_chain(&mut self, algorithm: Algorithm) {
        let chain = self.chain(algorithm);
        if chain.last().is_none_or(|last| last.end != End::Open) {
            return;
        }
        let end = self.now + self.lead();
        for record in chain {
            let end = end.max(record.publish_at);
            if record.sign_from > end {
                let publish_at = record.publish_at;
                self.push(Step::Reschedule { kid: record.kid.clone(), publish_at, sign_from: end });
            }
            if record.retire_at().is_none_or(|retire_at| retire_at > end) {
                self.retire(&record, end);
            }
        }
    }

    pub(super) fn retire(&mut self, record: &KeyRecord, retire_at: i64) {
        // A clock that was set back: tokens were signed at times that are yet to come.
        let set_back = self.ring.as_of > self.now;
        let last_signature =
            if set_back { retire_at.max(self.ring.as_of + self.policy.overlap()) } else { retire_at };
        let forget_at = last_signature + self.policy.hold_for(record.longest_lifetime);
        if record.end == (End::Planned { retire_at, forget_at }) {
            return;
        }
        self.push(Step::Retire { kid: record.kid.clone(), retire_at, forget_at });
    }
}

/// The dates of a key that is made.
#[derive(Clone, Copy)]
pub(super) struct Dates {
    pub(super) publish_at: i64,
    pub(super) sign_from: i64,
    pub(super) lifetime: i64,
}

/// The record of a key that is made. Whoever makes it says when.
pub(super) fn new_record(public: PublicKey, algorithm: Algorithm, dates: Dates) -> KeyRecord {
    KeyRecord {
        kid: public.thumbprint(),
        algorithm,
        public,
        origin: Origin::Generated,
        created_at: dates.publish_at,
        publish_at: dates.publish_at,
        sign_from: dates.sign_from,
        begun: false,
        longest_lifetime: dates.lifetime,
        private_half: PrivateHalf::Sealed,
        end: End::Open,
    }
}

/// A public half for a key that is not yet made, different from every other in a draft.
pub(super) fn placeholder(algorithm: Algorithm, number: usize) -> PublicKey {
    PublicKey::OKP { crv: format!("{algorithm}, yet to be made"), x: number.to_string() }
}
