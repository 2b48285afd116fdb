use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use serde::Serialize;
use tokio::sync::oneshot;

use super::change::{Change, KeyEvent};
use super::error::KeyRingError;
use super::fetchers::Fetchers;
use super::fitness::Fitness;
use super::kek::Kek;
use super::policy::Policy;
use super::record::{KeyRecord, KeyRingRecord};
use super::schedule::{Delayed, signer};
use super::snapshot::{NoKey, ServedJwks, Snapshot};
use super::unrecorded::Unrecorded;
use super::vault::KeyVault;
use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::oauth::KeyId;
use crate::store::{Line, Patience, Store};
use crate::verify::KeySet;

/// What a [`KeyRing`] is made of.
#[derive(Clone)]
pub struct KeyRingParts {
    /// Where the ring lives.
    pub store: Arc<dyn Store>,
    /// Where the private keys live.
    pub vault: Arc<dyn KeyVault>,
    /// What the ring is authenticated under.
    pub kek: Arc<Kek>,
    /// The times that rotation keeps.
    pub policy: Policy,
    /// What time it is.
    pub clock: SharedClock,
    /// Chance; keys are drawn by the vault's own.
    pub entropy: SharedEntropy,
    /// Whether this node may sign, as far as that is not a matter of the ring.
    pub fitness: Arc<Fitness>,
}

/// The keys of the service, as this node knows them: signs and verifies from memory, and changes only by
/// conditional commits to the store.
pub struct KeyRing {
    pub(super) parts: KeyRingParts,
    pub(super) snapshot: ArcSwap<Snapshot>,
    /// One change at a time in this process; other nodes are held off by the commit's condition.
    pub(super) changing: Line,
    /// How many readings were begun.
    pub(super) readings: AtomicU64,
    pub(super) fetchers: Fetchers,
    pub(super) unrecorded: Unrecorded<KeyEvent>,
    /// What took so long to be durable that the next change has to make up for it.
    pub(super) delayed: Mutex<Vec<Delayed>>,
    /// Whether the vault was seen to hold keys that no ring has named for long.
    pub(super) strays: AtomicBool,
    /// Woken when a tick has ended, or the ring was read anew, whatever came of it.
    ticked: tokio::sync::Notify,
    /// The latest time this node has signed or planned at: notices a clock that is set back.
    latest_use: AtomicI64,
    /// In a row.
    failures: AtomicU64,
    failures_ever: AtomicU64,
}

/// Whether this node's ring is good to sign with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Health {
    /// All is well.
    Green,
    /// The last attempts to read or change the ring failed; this node still signs.
    Amber {
        /// How many in a row.
        failures: u64,
    },
    /// The ring was not read for P: this node does not sign. It still verifies and serves the JWKS. Or the first keys
    /// can't be made, and there is no JWKS to serve. Or it signs, but for P no next key could be made.
    Red {
        /// How many attempts failed in a row.
        failures: u64,
        /// Whether it still signs.
        signs: bool,
    },
}

impl KeyRing {
    /// The table of the ring, and of the sealing keys: whoever sees a change of it calls [`KeyRing::tick`] and
    /// [`super::SealingKeys::tick`].
    pub const TABLE: &str = "keys";

    /// Opens the ring and does what is due; where there is neither a ring nor a key, makes the first key, and
    /// leaves all others to the first tick. What was done is [`Self::unrecorded`].
    ///
    /// # Errors
    /// When the ring can't be read or is missing while there are keys, when a key that signs or waits is
    /// missing or does not open, when this node's clock is off, and when store or vault fail. Nothing is made anew in place of what can't
    /// be read.
    pub async fn open(parts: KeyRingParts) -> Result<Arc<Self>, KeyRingError> {
        let ring = Self::unopened(parts);
        if !ring.bootstrap().await? {
            ring.change_in_turn(&Change::tick()).await?;
        }
        Ok(ring)
    }

    /// The ring as the store has it, to be looked at: nothing that is due is done, no private half is opened, and it signs
    /// nothing.
    ///
    /// # Errors
    /// When the ring is missing or can't be read.
    pub async fn look(parts: KeyRingParts) -> Result<Arc<Self>, KeyRingError> {
        let ring = Self::unopened(parts);
        let read = ring.begin_to_read();
        let (row, record) = ring.read().await?;
        ring.install(record, row.version, &std::collections::HashMap::new(), read);
        Ok(ring)
    }

    /// A ring that has read nothing yet. It opens with its first change: so [`Self::compromise`] can name a key whose private half is
    /// missing or damaged, because of which the ring does not open; that is the way out where no backup has it.
    #[must_use]
    pub fn unopened(parts: KeyRingParts) -> Arc<Self> {
        let snapshot = Snapshot::new(
            KeyRingRecord::empty(),
            0,
            &parts.policy,
            &std::collections::HashMap::new(),
            i64::MIN,
        );
        Arc::new(Self {
            parts,
            snapshot: ArcSwap::from_pointee(snapshot),
            changing: Line::default(),
            readings: AtomicU64::new(0),
            fetchers: Fetchers::default(),
            unrecorded: Unrecorded::default(),
            delayed: Mutex::default(),
            strays: AtomicBool::default(),
            ticked: tokio::sync::Notify::new(),
            latest_use: AtomicI64::new(i64::MIN),
            failures: AtomicU64::new(0),
            failures_ever: AtomicU64::new(0),
        })
    }

    /// Reads the ring, does what is due, and takes the result into use. What was done is [`Self::unrecorded`]. The rotator
    /// calls this; a failure is counted.
    ///
    /// # Errors
    /// As [`KeyRing::open`]; the keys in use stay in use. While this node's clock is off, what the other nodes have made of
    /// the ring is taken into use all the same, for verifying.
    pub async fn tick(self: &Arc<Self>) -> Result<(), KeyRingError> {
        let outcome = self.do_what_is_due().await;
        if outcome.is_ok() {
            self.failures.store(0, Ordering::Relaxed);
        } else {
            self.count_failure();
        }
        self.ticked.notify_waiters();
        if outcome.is_ok()
            && let Err(error) = Patience::of_a_request(self.destroy_strays()).await
        {
            tracing::warn!(%error, "keys that no ring names stay in the vault until the next tick");
        }
        outcome
    }

    /// Whoever changes the ring does what is due, too, and may have to wait for long, for its store. What is in use must not grow old
    /// meanwhile, nor may the rotator wait, who announces this node.
    async fn do_what_is_due(self: &Arc<Self>) -> Result<(), KeyRingError> {
        let Some(patience) = self.parts.store.patience() else {
            return match self.changing.free_turn() {
                // Requests wait for its end.
                Some(_one_at_a_time) => Patience::of_a_request(self.change_in_turn(&Change::tick())).await,
                None => self.read_anew().await,
            };
        };
        if self.changing.free_turn().is_none() {
            return self.read_anew().await;
        }
        // Given up between its commits and begun anew it would never be done, and each time a key would be made that is not used.
        let (tell, told) = oneshot::channel();
        let ring = self.clone();
        tokio::spawn(async move {
            let store = ring.parts.store.as_ref();
            let outcome = match ring.changing.free_turn() {
                Some(_one_at_a_time) => Patience::in_turn(store, ring.change_in_turn(&Change::tick())).await,
                None => ring.read_anew().await,
            };
            if let Err(Err(error)) = tell.send(outcome) {
                ring.count_failure();
                tracing::warn!(%error, "what was due of the keys could not be done");
            }
        });
        tokio::select! {
            Ok(outcome) = told => outcome,
            () = tokio::time::sleep(patience) => self.read_anew().await,
        }
    }

    /// Takes into use what another node has made of the ring, and does nothing that may be due: the rotator's next tick does.
    /// A failure is counted.
    ///
    /// # Errors
    /// As [`KeyRing::tick`].
    pub async fn follow(&self) -> Result<(), KeyRingError> {
        let outcome = self.read_anew().await;
        if outcome.is_err() {
            self.count_failure();
        }
        self.ticked.notify_waiters();
        outcome
    }

    fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.failures_ever.fetch_add(1, Ordering::Relaxed);
    }

    /// The ring to sign by, and the time that it is judged by.
    pub(super) fn snapshot_to_sign_by(&self) -> Result<(Guard<Arc<Snapshot>>, i64), NoKey> {
        let snapshot = self.snapshot.load();
        let (monotonic, fitness) = (self.parts.clock.monotonic(), &self.parts.fitness);
        if snapshot.age(monotonic) > self.propagation() || fitness.is_stale_at(monotonic) {
            return Err(NoKey::Stale { retry_after: self.propagation().as_secs() });
        }
        // The one reading that is checked is the one that the key is chosen by.
        let millis = self.parts.clock.millis();
        if fitness.check_clock_at(monotonic, millis).is_err() {
            return Err(NoKey::ClockOff { retry_after: self.propagation().as_secs() });
        }
        let now = millis.div_euclid(1000);
        if now > self.latest_use.load(Ordering::Relaxed) {
            self.latest_use.fetch_max(now, Ordering::Relaxed);
        }
        Ok((snapshot, now))
    }

    /// The published keys, ready to verify with: for introspection.
    #[must_use]
    pub fn key_set(&self) -> Arc<KeySet> {
        Arc::clone(&self.snapshot.load().key_set)
    }

    /// The keys that have left the JWKS for their age and are remembered, ready to verify with. **For hints only**: nothing
    /// that they signed is still good for anything else.
    #[must_use]
    pub fn past_keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.snapshot.load().past_keys)
    }

    /// The keys that are compromised, as long as the ring remembers them. What they signed may be anybody's.
    #[must_use]
    pub fn compromised_keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.snapshot.load().compromised_keys)
    }

    /// The version of the ring in use: nodes must agree on it.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.snapshot.load().version
    }

    /// How many attempts to read or change the ring failed since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures_ever.load(Ordering::Relaxed)
    }

    /// The JWKS, from memory; it is served even while the store is out of reach. Notes who fetches it, for
    /// [`KeyRing::list`].
    ///
    /// # Errors
    /// [`NoKey::Unpublished`] at the first start of an installation, until the keys that wait are made.
    pub fn jwks(&self, fetcher: Option<IpAddr>) -> Result<ServedJwks, NoKey> {
        let snapshot = self.snapshot.load();
        if snapshot.ring.was_never_published() {
            return Err(NoKey::Unpublished);
        }
        let now = self.parts.clock.numeric_date();
        if let Some(fetcher) = fetcher {
            self.fetchers.record(fetcher, now);
        }
        Ok(snapshot.jwks(&self.parts.policy, now))
    }

    /// As [`KeyRing::jwks`], but where nothing is published yet it waits until the present tick, or the next, has ended.
    ///
    /// # Errors
    /// [`NoKey::Unpublished`] where that tick has made nothing.
    pub async fn jwks_when_published(&self, fetcher: Option<IpAddr>) -> Result<ServedJwks, NoKey> {
        let ticked = self.ticked.notified();
        if let Ok(jwks) = self.jwks(fetcher) {
            return Ok(jwks);
        }
        ticked.await;
        self.jwks(fetcher)
    }

    /// The compromised keys that some token or verifier may still know: for the status lists.
    #[must_use]
    pub fn compromised(&self) -> Vec<KeyId> {
        let snapshot = self.snapshot.load();
        let compromised = snapshot.ring.records.iter().filter(|record| record.compromised_at().is_some());
        compromised.map(|record| record.kid.clone()).collect()
    }

    /// Whether this node's ring is good to sign with.
    #[must_use]
    pub fn health(&self) -> Health {
        let failures = self.failures.load(Ordering::Relaxed);
        let unpublished = self.snapshot.load().ring.was_never_published();
        let is_useless = unpublished || self.signing_key(None).is_err();
        if self.age() > self.propagation() || (failures > 0 && is_useless) {
            Health::Red { failures, signs: false }
        } else if failures > 0 && self.lacks_a_next_key() {
            Health::Red { failures, signs: true }
        } else if failures > 0 {
            Health::Amber { failures }
        } else {
            Health::Green
        }
    }

    /// Whether for P some algorithm in use has had no key that waits.
    fn lacks_a_next_key(&self) -> bool {
        let (snapshot, policy) = (self.snapshot.load(), &self.parts.policy);
        let (records, now) = (&snapshot.ring.records, self.parts.clock.numeric_date());
        policy.algorithms().iter().any(|algorithm| {
            let waits = |record: &KeyRecord| record.algorithm == *algorithm && record.is_waiting(now);
            let since = signer(records, *algorithm, now).map_or(i64::MIN, |signer| signer.sign_from);
            !records.iter().any(waits) && since <= now - policy.propagation()
        })
    }

    /// How long ago this node began to read the ring that it uses.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.snapshot.load().age(self.parts.clock.monotonic())
    }

    /// What was done and does not stand in the audit log yet, by whomever it was asked for.
    #[must_use]
    pub fn unrecorded(&self) -> &Unrecorded<KeyEvent> {
        &self.unrecorded
    }

    /// What the ring is made of.
    #[must_use]
    pub fn parts(&self) -> &KeyRingParts {
        &self.parts
    }

    /// The times that rotation keeps.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.parts.policy
    }

    /// P: for how long a ring that was read may be signed by.
    pub(super) fn propagation(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.parts.policy.propagation()).unwrap_or_default())
    }

    /// Notes that the ring is used now, and gives the latest time that it ever was.
    pub(super) fn latest_use(&self) -> i64 {
        let now = self.parts.clock.numeric_date();
        self.latest_use.fetch_max(now, Ordering::Relaxed).max(now)
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("snapshot", &self.snapshot.load()).finish_non_exhaustive()
    }
}
