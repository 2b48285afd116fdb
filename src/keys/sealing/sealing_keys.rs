use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::record::{
    ID_BYTES, Material, SealingKey, SealingKeyId, SealingKeyView, SealingPolicy, SealingRecord, SealingStep,
};
use super::row::{self, TABLE_KEY};
use super::sealer::{self, OpenKey, SealError};
use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::keys::sealed_ring::{RingUnreadable, TABLE};
use crate::keys::unrecorded::refuse_in_vain;
use crate::keys::{Fitness, Kek, KeyRingError, Policy, Unrecorded};
use crate::oauth::KeyId;
use crate::store::{Batch, Committed, Condition, Patience, Put, Row, Store, StoreError, turn};

/// How long a revocation waits for a module that keeps the key-encryption key.
const MODULE_PATIENCE: Duration = Duration::from_secs(1);

/// How often a change is tried anew when other nodes were faster.
const ATTEMPTS: usize = 100;

/// What [`SealingKeys`] are made of.
#[derive(Clone)]
pub struct SealingParts {
    /// Where they live.
    pub store: Arc<dyn Store>,
    /// What they are sealed under.
    pub kek: Arc<Kek>,
    /// What time it is.
    pub clock: SharedClock,
    /// What they, and nonces, are drawn from.
    pub entropy: SharedEntropy,
    /// Whether this node may change them: not while its clock is off.
    pub fitness: Arc<Fitness>,
}

/// The keys that seal what only this service reads: refresh tokens, cookies, the state of forms. As this node last
/// read them; changed only by conditional commits.
pub struct SealingKeys {
    parts: SealingParts,
    policy: SealingPolicy,
    snapshot: ArcSwap<Snapshot>,
    /// One change at a time in this process; other nodes are held off by the commit's condition.
    changing: tokio::sync::Mutex<()>,
    unrecorded: Unrecorded<SealingEvent>,
}

struct Snapshot {
    record: SealingRecord,
    /// The row that it was opened from, or written to: as long as it is the same, nothing has to be opened anew, which the
    /// module that may keep the key-encryption key would do every few seconds.
    row: Vec<u8>,
    open: HashMap<SealingKeyId, OpenKey>,
    read_at: Duration,
}

/// Something that happened to a sealing key: for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealingEvent {
    /// It was made.
    Created(SealingKeyId),
    /// It opens nothing any more, and is gone.
    Forgotten(SealingKeyId),
}

impl Snapshot {
    fn new(record: SealingRecord, row: Vec<u8>, read_at: Duration) -> Self {
        let opened = |key: &SealingKey| Some((key.id.clone(), OpenKey::new(key)?));
        let open = record.keys.iter().filter_map(opened).collect();
        Self { record, row, open, read_at }
    }
}

impl SealingKeys {
    /// Reads the keys, or makes the first, and does what is due. What was done is [`Self::unrecorded`]. A key seals for `period`,
    /// and opens for `longest_lifetime` after that; P and S are the ring's.
    ///
    /// # Errors
    /// When they can't be read, when this node's clock is off, or the store fails. Nothing is made anew in place of what can't be read.
    pub async fn open(
        parts: SealingParts,
        policy: &Policy,
        (period, longest_lifetime): (Duration, Duration),
    ) -> Result<Arc<Self>, KeyRingError> {
        let keys = Self::unopened(parts, policy, (period, longest_lifetime));
        keys.change(|_| None).await?;
        Ok(keys)
    }

    /// The keys as the store has them, to be looked at: nothing that is due is done. For the rest as [`SealingKeys::open`].
    ///
    /// # Errors
    /// When they can't be read.
    pub async fn look(
        parts: SealingParts,
        policy: &Policy,
        times: (Duration, Duration),
    ) -> Result<Arc<Self>, KeyRingError> {
        let keys = Self::unopened(parts, policy, times);
        let read_at = keys.parts.clock.monotonic();
        let (stored, record) = keys.read().await?;
        keys.take_over(stored, record, read_at);
        Ok(keys)
    }

    fn unopened(
        parts: SealingParts,
        policy: &Policy,
        (period, longest_lifetime): (Duration, Duration),
    ) -> Arc<Self> {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX / 4);
        let policy = SealingPolicy {
            period: seconds(period),
            propagation: policy.propagation(),
            skew: policy.skew(),
            longest_lifetime: seconds(longest_lifetime),
        };
        let snapshot =
            ArcSwap::from_pointee(Snapshot::new(SealingRecord::default(), Vec::new(), Duration::ZERO));
        let changing = tokio::sync::Mutex::default();
        Arc::new(Self { parts, policy, snapshot, changing, unrecorded: Unrecorded::default() })
    }

    /// Reads the keys anew, does what is due and takes the result into use. What was done is [`Self::unrecorded`].
    ///
    /// # Errors
    /// As [`SealingKeys::open`]; the keys in use stay in use. While this node's clock is off, what the other nodes have made
    /// of them is taken into use all the same: what they dropped opens nothing here either.
    pub async fn tick(&self) -> Result<(), KeyRingError> {
        // Requests wait for its end.
        Patience::of_a_request(self.change(|_| None)).await.map(|_| ())
    }

    /// Drops a key for good: whatever was sealed with it does not open any more, so refresh tokens end and forms
    /// must be filled in anew. If it sealed, the one before it does again, or a new one at once, which another node
    /// knows within P. Says whether there was such a key.
    ///
    /// # Errors
    /// As [`SealingKeys::open`].
    pub async fn compromise(&self, id: &SealingKeyId) -> Result<bool, KeyRingError> {
        self.change(|record| record.find(id.as_str()).map(|_| id.clone())).await
    }

    /// What was done and does not stand in the audit log yet, by whomever it was asked for. That a key was condemned is not part of
    /// it: whoever does that records it before.
    #[must_use]
    pub fn unrecorded(&self) -> &Unrecorded<SealingEvent> {
        &self.unrecorded
    }

    /// Whether there is a key of that name.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.snapshot.load().record.find(id).is_some()
    }

    /// Until when something that the key sealed may count, in seconds since the epoch.
    #[must_use]
    pub fn opens_until(&self, id: &str) -> i64 {
        let now = self.parts.clock.numeric_date();
        let view = self.list().into_iter().find(|view| view.id.as_str() == id);
        view.and_then(|view| view.forget_at).unwrap_or(now + self.policy.longest_lifetime)
    }

    /// The keys, as this node last read them.
    #[must_use]
    pub fn list(&self) -> Vec<SealingKeyView> {
        self.snapshot.load().record.views(&self.policy, self.parts.clock.numeric_date())
    }

    /// Seals `plaintext` for `purpose`: two calls give two texts. An expiry is the caller's to put inside.
    ///
    /// # Errors
    /// When the keys were not read for P.
    pub fn seal(&self, purpose: &str, plaintext: &[u8]) -> Result<String, SealError> {
        self.with_current(|key| key.seal(purpose, self.parts.entropy.bytes(), plaintext))
    }

    /// Seals as [`SealingKeys::seal`], but gives the same text for the same purpose and plaintext, as long as the
    /// same key seals. Whoever sees two texts learns whether they hold the same.
    ///
    /// # Errors
    /// When the keys were not read for P.
    pub fn seal_repeatably(&self, purpose: &str, plaintext: &[u8]) -> Result<String, SealError> {
        self.with_current(|key| key.seal(purpose, key.synthetic_nonce(purpose, plaintext), plaintext))
    }

    /// Opens what was sealed for `purpose`; none for anything else, and for what was changed.
    ///
    /// # Errors
    /// When the keys were not read for P: another node may have condemned the one that sealed it.
    pub fn open_sealed(&self, purpose: &str, text: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SealError> {
        let snapshot = self.fresh()?;
        Ok(sealer::open(purpose, text, |id| snapshot.open.get(id)))
    }

    /// The same by the keys as they were last read, however long ago: somebody may have sealed it with one that was condemned since. So it
    /// must not be believed where anything is given for it.
    pub fn open_as_last_known(&self, purpose: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
        let snapshot = self.snapshot.load();
        sealer::open(purpose, text, |id| snapshot.open.get(id))
    }

    /// Reads the keys anew where `text` names one that is not known here: another node makes one at once in place of one that was
    /// condemned, and seals with it before this node has heard of either. Nothing is read where the keys are too old to open anything.
    ///
    /// Anybody can make up a name. One reading is under way at a time, of one row, and all who asked before it began share it.
    ///
    /// # Errors
    /// When they can't be read: then nobody knows whether there is such a key.
    pub async fn look_for_key_of(&self, text: &str) -> Result<(), KeyRingError> {
        let Some(id) = sealer::key_of(text) else { return Ok(()) };
        let asked_at = self.parts.clock.monotonic();
        let is_answered = || {
            self.fresh().map_or(true, |keys| keys.open.contains_key(id.as_str()) || keys.read_at > asked_at)
        };
        if is_answered() {
            return Ok(());
        }
        let _one_at_a_time = turn(&self.changing, self.parts.store.as_ref()).await?;
        if is_answered() {
            return Ok(());
        }
        let read_at = self.parts.clock.monotonic();
        let (stored, record) = self.read().await?;
        self.take_over(stored, record, read_at);
        Ok(())
    }

    /// Takes the keys into use as the store has them.
    fn take_over(&self, stored: Option<Row>, record: SealingRecord, read_at: Duration) {
        let row = stored.map(|stored| stored.value).unwrap_or_default();
        self.snapshot.store(Arc::new(Snapshot::new(record, row, read_at)));
    }

    /// The keys in use, if they were read within P.
    fn fresh(&self) -> Result<Guard<Arc<Snapshot>>, SealError> {
        let snapshot = self.snapshot.load();
        let propagation = Duration::from_secs(u64::try_from(self.policy.propagation).unwrap_or_default());
        if self.parts.clock.monotonic().saturating_sub(snapshot.read_at) > propagation {
            return Err(SealError::Stale { retry_after: propagation.as_secs().max(1) });
        }
        Ok(snapshot)
    }

    fn with_current(
        &self,
        seal: impl FnOnce(&OpenKey) -> Result<String, SealError>,
    ) -> Result<String, SealError> {
        let snapshot = self.fresh()?;
        let record = &snapshot.record;
        // A clock that was set back: the first key goes on.
        let current = record.current(self.parts.clock.numeric_date()).or(record.keys.first());
        let key = current.and_then(|key| snapshot.open.get(&key.id)).ok_or(SealError::Unusable)?;
        seal(key)
    }

    /// Does what is due, and drops the key that `condemned` names; says whether there was one. While this node's clock is off nothing is due, or dropped:
    /// the keys are taken over as the other nodes have left them.
    async fn change(
        &self,
        condemned: impl Fn(&SealingRecord) -> Option<SealingKeyId>,
    ) -> Result<bool, KeyRingError> {
        let _one_at_a_time = self.changing.lock().await;
        let Self { parts, policy, .. } = self;
        for _ in 0..ATTEMPTS {
            let read_at = parts.clock.monotonic();
            let (stored, mut record) = self.read().await?;
            let before = record.clone();
            // Behind the reading, which may take its time: the clock may have been stepped meanwhile.
            if let Err(off) = parts.fitness.check_clock() {
                self.take_over(stored, record, read_at);
                return Err(off.into());
            }
            let now = parts.clock.numeric_date();
            let dropped = condemned(&record);
            let mut steps: Vec<SealingStep> =
                dropped.iter().map(|id| SealingStep::Forget { id: id.clone() }).collect();
            record.keys.retain(|key| dropped.as_ref() != Some(&key.id));
            let due = record.plan(policy, now);
            let mut events = Vec::new();
            for step in &due {
                let made = match step {
                    SealingStep::Create { seal_from } => Some(self.make(now, *seal_from)),
                    SealingStep::Raise { .. } | SealingStep::Forget { .. } => None,
                };
                events.extend(made.iter().map(|key| SealingEvent::Created(key.id.clone())));
                if let SealingStep::Forget { id } = step {
                    events.push(SealingEvent::Forgotten(id.clone()));
                }
                record.apply(step, made);
            }
            steps.extend(due);
            let version = stored.as_ref().map(|row| row.version);
            let mut value = stored.as_ref().map(|row| row.value.clone()).unwrap_or_default();
            let done = steps.is_empty() || {
                let condition = version.map_or(Condition::Absent, Condition::VersionIs);
                value = match row::encode(&record, &parts.kek, parts.entropy.as_ref()).await {
                    Ok(value) => value,
                    Err(error) => {
                        // Nothing can be sealed anew: that is no reason to do no more with what was read.
                        self.take_over(stored, before, read_at);
                        return Err(error.into());
                    }
                };
                refuse_in_vain(parts.store.as_ref())?;
                self.unrecorded.begin(&value, events);
                let batch = Batch::new().put(TABLE, TABLE_KEY, condition, Put::lasting(value.clone()));
                let committed = parts.store.commit(batch).await?;
                if committed == Committed::Conflict {
                    self.unrecorded.refused(&value);
                }
                committed == Committed::Applied
            };
            if done {
                self.unrecorded.found(&value);
                self.snapshot.store(Arc::new(Snapshot::new(record, value, read_at)));
                return Ok(dropped.is_some());
            }
        }
        Err(KeyRingError::Contended)
    }

    /// For how many seconds what is sealed may count, by what any node has promised of what still opens, whatever its settings are now;
    /// and the same batch, which applies only while none promises more. `None` where the keys can't be opened, as by a module that is
    /// away.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn promised(&self, batch: Batch) -> Result<(Option<i64>, Batch), StoreError> {
        // From the store: another node may have been started with other settings a moment ago.
        let stored = self.parts.store.get(TABLE, TABLE_KEY).await?;
        let condition = stored.as_ref().map_or(Condition::Absent, |row| Condition::VersionIs(row.version));
        let opened = tokio::time::timeout(MODULE_PATIENCE, self.opened(stored.as_ref())).await;
        let promised = match opened {
            Ok(Ok(SealingRecord { keys })) => {
                let of_keys = keys.iter().map(|key| key.longest_lifetime).max();
                Some(of_keys.unwrap_or_default().max(self.policy.longest_lifetime))
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "how long what was sealed may count can't be read");
                None
            }
            Err(_) => {
                tracing::warn!("how long what was sealed may count is not read: the module does not answer");
                None
            }
        };
        Ok((promised, batch.check(TABLE, TABLE_KEY, condition)))
    }

    /// The keys, and the row that they stand in.
    async fn read(&self) -> Result<(Option<Row>, SealingRecord), KeyRingError> {
        let stored = self.parts.store.get(TABLE, TABLE_KEY).await?;
        self.unrecorded.found(stored.as_ref().map_or(&[], |stored| stored.value.as_slice()));
        let record = self.opened(stored.as_ref()).await?;
        Ok((stored, record))
    }

    /// The keys of a row; those in use, if they came from this very row.
    async fn opened(&self, stored: Option<&Row>) -> Result<SealingRecord, RingUnreadable> {
        let snapshot = self.snapshot.load_full();
        Ok(match stored {
            Some(stored) if stored.value == snapshot.row => snapshot.record.clone(),
            Some(stored) => row::decode(&stored.value, &self.parts.kek).await?,
            // Whoever puts an installation back drops them all.
            None => SealingRecord::default(),
        })
    }

    fn make(&self, now: i64, seal_from: i64) -> SealingKey {
        let entropy = &self.parts.entropy;
        let id = URL_SAFE_NO_PAD.encode(entropy.bytes::<ID_BYTES>());
        #[expect(clippy::expect_used, reason = "base64url is a valid identifier")]
        let id = KeyId::parse(&id).expect("base64url is a valid identifier");
        let longest_lifetime = self.policy.longest_lifetime;
        SealingKey { id, material: Material(entropy.bytes()), created_at: now, seal_from, longest_lifetime }
    }
}

impl std::fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealingKeys").field("keys", &self.list()).finish_non_exhaustive()
    }
}
