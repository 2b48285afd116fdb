//! What an operator can ask of the ring: the admin API and the command line call the same functions.
//! Whoever must not act unaudited writes the audit record before the call.

use std::sync::Arc;

use super::change::{Change, Spare};
use super::error::KeyRingError;
use super::forecast::{Forecast, forecast};
use super::import::read_private_key;
use super::intervene::{self, Refusal};
use super::record::{KeyRecord, KeyRingRecord};
use super::report::{Compromised, Imported, KeyList, KeyView, Rotated, Rotations};
use super::ring::KeyRing;
use super::schedule::{Step, lead, max_age, next_change, signer};
use super::signer::Signer as _;
use super::vault::KeyVault;
use crate::oauth::{Algorithm, KeyId, Secret};

impl KeyRing {
    /// Every key, who signs, and when the JWKS changes next, as this node last read the ring.
    #[must_use]
    pub fn list(&self) -> KeyList {
        let snapshot = self.snapshot.load();
        let (ring, policy, now) = (&snapshot.ring, &self.parts.policy, self.parts.clock.numeric_date());
        let mut keys: Vec<KeyView> = ring.records.iter().map(|record| self.view(ring, record, now)).collect();
        keys.sort_by(|a, b| (a.publish_at, a.sign_from, &a.kid).cmp(&(b.publish_at, b.sign_from, &b.kid)));
        KeyList {
            now,
            snapshot_age: snapshot.age(self.parts.clock.monotonic()).as_secs(),
            next_change: next_change(&snapshot.changes, now),
            max_age: max_age(ring, &snapshot.changes, policy, now),
            lead: lead(ring, policy),
            waiting: self.waiting(),
            keys,
        }
    }

    /// The keys that sign or wait and whose private half the vault has no more: this node goes on with what it has read
    /// of them, and would not start again.
    ///
    /// # Errors
    /// When the vault can't be read.
    pub async fn missing(&self) -> Result<Vec<KeyId>, KeyRingError> {
        let stored = self.in_vault(KeyVault::list).await?;
        let now = self.parts.clock.numeric_date();
        let snapshot = self.snapshot.load();
        let alive = snapshot.ring.records.iter().filter(|record| record.is_alive(now));
        let lost = alive.filter(|record| stored.iter().all(|each| each.kid != record.kid));
        Ok(lost.map(|record| record.kid.clone()).collect())
    }

    fn view(&self, ring: &KeyRingRecord, record: &KeyRecord, now: i64) -> KeyView {
        KeyView {
            kid: record.kid.clone(),
            algorithm: record.algorithm,
            phase: record.phase(now),
            signs: signer(&ring.records, record.algorithm, now)
                .is_some_and(|signer| signer.kid == record.kid),
            origin: record.origin,
            created_at: record.created_at,
            publish_at: record.publish_at,
            sign_from: record.sign_from,
            retire_at: record.retire_at(),
            forget_at: record.forget_at(),
            compromised_at: record.compromised_at(),
            age: (now - record.created_at).max(0),
            longest_lifetime: record.longest_lifetime,
            fetchers: self.fetchers.since(record.publish_at),
        }
    }

    /// What will happen when, if nobody intervenes. Changes nothing.
    #[must_use]
    pub fn forecast(&self) -> Forecast {
        let snapshot = self.snapshot.load();
        forecast(&snapshot.ring, &self.parts.policy, self.parts.clock.numeric_date())
    }

    /// Lets the waiting key of `algorithm`, or of every algorithm in use, sign as soon as its lead is over;
    /// the answer says when. With `force`, at once: a declared emergency; the answer says what breaks.
    ///
    /// # Errors
    /// When the algorithm is not in use, and when store or vault fail.
    pub async fn rotate(&self, algorithm: Option<Algorithm>, force: bool) -> Result<Rotations, KeyRingError> {
        let ask = |ring: &KeyRingRecord, now| self.ask_rotation(ring, now, (algorithm, force));
        self.change(&Change::new(ask)).await
    }

    /// What [`KeyRing::rotate`] would do and break if it were asked now. Changes nothing.
    ///
    /// # Errors
    /// When the algorithm is not in use, or no key waits.
    pub fn preview_rotation(
        &self,
        algorithm: Option<Algorithm>,
        force: bool,
    ) -> Result<Rotations, KeyRingError> {
        let (snapshot, now) = (self.snapshot.load(), self.parts.clock.numeric_date());
        Ok(self.ask_rotation(&snapshot.ring, now, (algorithm, force))?.1)
    }

    fn ask_rotation(
        &self,
        ring: &KeyRingRecord,
        now: i64,
        (algorithm, force): (Option<Algorithm>, bool),
    ) -> Result<(Vec<Step>, Rotations), Refusal> {
        let policy = &self.parts.policy;
        let algorithms = algorithm.map_or_else(|| policy.algorithms().to_vec(), |algorithm| vec![algorithm]);
        let (mut steps, mut rotations) = (Vec::new(), Vec::new());
        for algorithm in algorithms {
            let rotation = intervene::rotate(ring, policy, now, (algorithm, force))?;
            steps.extend(rotation.steps);
            rotations.push(Rotated {
                algorithm,
                kid: rotation.kid,
                previous: rotation.previous,
                sign_from: rotation.sign_from,
                wait: rotation.sign_from - now,
                breaks: rotation.breaks,
            });
        }
        Ok((steps, Rotations { rotations }))
    }

    /// Drops `kid` for good, in one commit: it leaves the JWKS, signs no more, and another key signs at once.
    /// Works for a signing, a waiting and a retired key. The answer says what breaks, for whom, until when.
    ///
    /// # Errors
    /// When the key is unknown or compromised already, and when store or vault fail.
    pub async fn compromise(&self, kid: &KeyId) -> Result<Compromised, KeyRingError> {
        let ask = |ring: &KeyRingRecord, now| self.ask_compromise(ring, now, kid);
        let change = Change { spare: Spare::One(kid), urgent: true, ..Change::new(ask) };
        let mut answer = self.change(&change).await?;
        let (snapshot, now) = (self.snapshot.load(), self.parts.clock.numeric_date());
        if let Some(record) = snapshot.ring.find(kid) {
            answer.named_until = record.forget_at();
            answer.signs_now = self.signs_for(&snapshot.ring.records, record.algorithm, now);
        }
        Ok(answer)
    }

    /// What [`KeyRing::compromise`] would do and break if it were asked now. Changes nothing. `signs_now` is absent
    /// where a key would have to be made first.
    ///
    /// # Errors
    /// When the key is unknown or compromised already.
    pub fn preview_compromise(&self, kid: &KeyId) -> Result<Compromised, KeyRingError> {
        let (snapshot, now) = (self.snapshot.load(), self.parts.clock.numeric_date());
        let (steps, mut answer) = self.ask_compromise(&snapshot.ring, now, kid)?;
        let mut after = snapshot.ring.clone();
        for step in &steps {
            after.apply(step);
        }
        if let Some(record) = after.find(kid) {
            answer.named_until = record.forget_at();
            let is_made = steps.iter().any(|step| matches!(step, Step::Create { .. }));
            answer.signs_now =
                if is_made { None } else { self.signs_for(&after.records, record.algorithm, now) };
        }
        Ok(answer)
    }

    /// The key that signs for those who want `algorithm`, in the order of [`KeyRing::signing_key`].
    fn signs_for(&self, records: &[KeyRecord], algorithm: Algorithm, now: i64) -> Option<KeyId> {
        let in_use = self.parts.policy.algorithms().iter().copied();
        let mut order = std::iter::once(algorithm).chain(in_use).chain(Algorithm::ALL);
        order.find_map(|each| signer(records, each, now)).map(|signer| signer.kid.clone())
    }

    fn ask_compromise(
        &self,
        ring: &KeyRingRecord,
        now: i64,
        kid: &KeyId,
    ) -> Result<(Vec<Step>, Compromised), Refusal> {
        let policy = &self.parts.policy;
        let (steps, mut breaks) = intervene::compromise(ring, policy, now, kid)?;
        if self.parts.store.is_shared() {
            breaks.extend(intervene::heard_late(ring, policy, now, kid));
        }
        Ok((steps, Compromised { kid: kid.clone(), signs_now: None, named_until: None, breaks }))
    }

    /// Takes in a private key, as PEM or JWK, for `algorithm`. It waits behind the keys that wait already, and
    /// never less than the lead; the answer says when it signs.
    ///
    /// # Errors
    /// When it can't be read, is weak or of the wrong kind, is in the ring, was compromised or retired once,
    /// when the algorithm is not in use, and when store or vault fail.
    pub async fn import(&self, private_key: &Secret, algorithm: Algorithm) -> Result<Imported, KeyRingError> {
        let signer = Arc::new(read_private_key(algorithm, private_key)?);
        let ask = |ring: &KeyRingRecord, now| self.ask_import(ring, now, (algorithm, signer.kid()));
        let change = Change { import: Some(Arc::clone(&signer)), ..Change::new(ask) };
        self.change(&change).await
    }

    /// What [`KeyRing::import`] would come to if it were asked now. Changes nothing.
    ///
    /// # Errors
    /// As [`KeyRing::import`], without what vault and store fail with.
    pub fn preview_import(
        &self,
        private_key: &Secret,
        algorithm: Algorithm,
    ) -> Result<Imported, KeyRingError> {
        let signer = read_private_key(algorithm, private_key)?;
        let (snapshot, now) = (self.snapshot.load(), self.parts.clock.numeric_date());
        Ok(self.ask_import(&snapshot.ring, now, (algorithm, signer.kid()))?.1)
    }

    fn ask_import(
        &self,
        ring: &KeyRingRecord,
        now: i64,
        (algorithm, kid): (Algorithm, &KeyId),
    ) -> Result<(Vec<Step>, Imported), Refusal> {
        let step = intervene::admit(ring, &self.parts.policy, now, (algorithm, kid))?;
        let sign_from = match step {
            Step::Create { sign_from, .. } => sign_from,
            _ => now,
        };
        Ok((vec![step], Imported { kid: kid.clone(), algorithm, sign_from }))
    }
}
