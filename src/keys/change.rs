//! Changing the ring: read, plan, make what is needed, commit on the condition that nobody else did, and
//! take the result into use. A crash at any point leaves the old ring or the new one, and both readable.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;
use tokio::task::spawn_blocking;

use super::draft::{Dates, new_record};
use super::error::KeyRingError;
use super::intervene::Refusal;
use super::record::{KeyRingRecord, Origin};
use super::ring::KeyRing;
use super::schedule::{Delayed, Step, make_up_for_delay, plan};
use super::sealed_ring::{self, KEY, TABLE};
use super::signer::Signer;
use super::snapshot::{ReadFrom, Snapshot};
use super::software::SoftwareSigner;
use super::unrecorded::refuse_in_vain;
use crate::oauth::{Algorithm, KeyId};
use crate::store::{Batch, Committed, Condition, Patience, Put, Row, carried};

/// How often a change is tried anew when other nodes were faster.
const ATTEMPTS: usize = 100;

/// Something that happened to a key: for the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyEvent {
    /// When, in seconds since the epoch.
    pub at: i64,
    /// To which key.
    pub kid: Option<KeyId>,
    /// For which algorithm it is.
    pub algorithm: Option<Algorithm>,
    /// What.
    pub change: Step,
}

/// What an operation wants done: steps, and what it answers once they are durable.
pub(super) type Asked<T> = Result<(Vec<Step>, T), Refusal>;

/// Given the ring and the time, says what is wanted.
type Ask<'a, T> = dyn Fn(&KeyRingRecord, i64) -> Asked<T> + Send + Sync + 'a;

/// A change that is asked for.
pub(super) struct Change<'a, T> {
    /// What is wanted; asked anew when another node was faster.
    pub(super) ask: Box<Ask<'a, T>>,
    /// The key that a [`Step::Create`] of `ask` brings in, instead of one that is made.
    pub(super) import: Option<Arc<SoftwareSigner>>,
    /// Whose private halves need not be there.
    pub(super) spare: Spare<'a>,
    /// Whether what `ask` asks for is done even where the vault fails: without the keys that it would make, which the next
    /// change that can makes, and without what is due.
    pub(super) urgent: bool,
}

/// The keys whose private halves need not be there.
#[derive(Clone, Copy)]
pub(super) enum Spare<'a> {
    /// None.
    None,
    /// This one's.
    One(&'a KeyId),
    /// Nobody's: all of them go.
    All,
}

impl Spare<'_> {
    pub(super) fn spares(self, kid: &KeyId) -> bool {
        match self {
            Self::None => false,
            Self::One(spare) => spare == kid,
            Self::All => true,
        }
    }
}

impl Change<'_, ()> {
    /// Only what is due.
    pub(super) fn tick() -> Self {
        Self::new(|_, _| Ok((Vec::new(), ())))
    }
}

impl<'a, T> Change<'a, T> {
    /// What is due, and what `ask` asks for.
    pub(super) fn new(ask: impl Fn(&KeyRingRecord, i64) -> Asked<T> + Send + Sync + 'a) -> Self {
        Self { ask: Box::new(ask), import: None, spare: Spare::None, urgent: false }
    }
}

pub(super) type Signers = HashMap<KeyId, Arc<dyn Signer>>;

/// A change under way.
pub(super) struct Work {
    pub(super) now: i64,
    pub(super) ring: KeyRingRecord,
    pub(super) steps: Vec<Step>,
    pub(super) events: Vec<KeyEvent>,
    pub(super) created: Signers,
}

impl Work {
    pub(super) fn new(ring: KeyRingRecord, now: i64) -> Self {
        Self { now, ring, steps: Vec::new(), events: Vec::new(), created: Signers::new() }
    }

    fn erases(&self, kid: &KeyId) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::ErasePrivate { kid: erased } if erased == kid))
    }
}

impl KeyRing {
    /// Does what `change` asks for, and takes the result into use. What happened to keys by that is [`Self::unrecorded`], also where it
    /// fails after the commit.
    pub(super) async fn change<T>(&self, change: &Change<'_, T>) -> Result<T, KeyRingError> {
        let store = self.parts.store.as_ref();
        let _one_at_a_time = if change.urgent {
            // Not to be sent away because a vault is slow.
            self.changing.turn_however_late().await
        } else {
            self.changing.turn(store).await?
        };
        Patience::in_turn(store, self.change_in_turn(change)).await
    }

    /// The same while nobody else changes it here.
    pub(super) async fn change_in_turn<T>(&self, change: &Change<'_, T>) -> Result<T, KeyRingError> {
        if let Err(off) = self.parts.fitness.check_clock() {
            self.take_over().await?;
            return Err(off.into());
        }
        let mut signers = Signers::new();
        let mut answer = None;
        for _ in 0..ATTEMPTS {
            let read = self.begin_to_read();
            let (row, mut ring) = self.read().await?;
            let delayed = self.delayed().clone();
            let opened = self.open_signers(&ring, &mut signers, change.spare).await;
            // Reading and opening took their time: the clock may have been stepped since.
            self.parts.fitness.check_clock()?;
            ring.as_of = ring.as_of.max(self.latest_use());
            let now = self.parts.clock.numeric_date();
            let mut work = Work::new(ring.clone(), now);
            let ask = answer.is_none().then_some(change);
            // Nothing is planned while the vault is not in line: a record is forgotten only when its private half is gone.
            let prepared = async {
                opened?;
                self.settle(&ring).await?;
                self.prepare(&mut work, &delayed, ask).await
            };
            let mut made_up = 0;
            let asked = match prepared.await {
                Ok(asked) => {
                    made_up = delayed.len();
                    asked
                }
                Err(error) => {
                    self.discard(&work.created).await;
                    if !matches!(error, KeyRingError::Vault(_)) {
                        return Err(error);
                    }
                    // No key can be opened or made now, or none destroyed: that is no reason to sign no more with those that are
                    // open. What the other nodes did is known, and what they dropped goes here too.
                    self.install(ring.clone(), row.version, &signers, read);
                    if let Some(answer) = answer.take() {
                        tracing::warn!(%error, "what the vault had to do besides waits until the next tick");
                        return Ok(answer);
                    }
                    if !change.urgent {
                        return Err(error);
                    }
                    tracing::error!(%error, "no key can be made in place of the one that goes, which goes all the same");
                    work = Work::new(ring, now);
                    Some(self.prepare_without_keys(&mut work, change).await?)
                }
            };
            if work.steps.is_empty() {
                self.delayed().drain(..made_up);
                self.install(work.ring, row.version, &signers, read);
                if let Some(answer) = answer.take().or(asked) {
                    return Ok(answer);
                }
                continue;
            }
            match self.commit(&work, Condition::VersionIs(row.version)).await? {
                Committed::Applied => {
                    self.delayed().drain(..made_up);
                    answer = answer.or(asked);
                    signers.extend(work.created);
                }
                Committed::Conflict => self.discard(&work.created).await,
            }
        }
        Err(KeyRingError::Contended)
    }

    /// Reads the ring and takes it into use as it is: what another node has planned is not this one's to plan anew at once, or two
    /// whose settings differ would take turns for ever. It waits for no change that is under way here, which may wait for the store: the follower
    /// would wait too.
    pub(super) async fn read_anew(&self) -> Result<(), KeyRingError> {
        if let Err(off) = self.parts.fitness.check_clock() {
            self.take_over().await?;
            return Err(off.into());
        }
        let read = self.begin_to_read();
        let (row, ring) = self.read().await?;
        let mut signers = Signers::new();
        let opened = self.open_signers(&ring, &mut signers, Spare::None).await;
        // Reading and opening took their time: the clock may have been stepped since.
        self.parts.fitness.check_clock()?;
        if matches!(opened, Ok(()) | Err(KeyRingError::Vault(_))) {
            self.install(ring, row.version, &signers, read);
        }
        opened
    }

    /// Takes the ring into use as the other nodes have left it, and plans nothing: what they dropped must leave this node
    /// too. Changes neither store nor vault, and opens no key: this node does not sign before the next change.
    async fn take_over(&self) -> Result<(), KeyRingError> {
        let read = self.begin_to_read();
        let Some(row) = self.parts.store.get(TABLE, KEY).await? else { return Ok(()) };
        let ring = sealed_ring::decode(&row.value, &self.parts.kek)?;
        let current = self.snapshot.load_full();
        let open = |kid: &KeyId| Some((kid.clone(), current.signer(kid)?));
        let signers = ring.records.iter().filter_map(|record| open(&record.kid)).collect();
        self.install(ring, row.version, &signers, read);
        Ok(())
    }

    /// The ring, and the row that it stands in.
    pub(super) async fn read(&self) -> Result<(Row, KeyRingRecord), KeyRingError> {
        let Some(row) = self.parts.store.get(TABLE, KEY).await? else {
            return Err(KeyRingError::RingLost { keys: self.kept().await? });
        };
        let ring = sealed_ring::decode(&row.value, &self.parts.kek)?;
        self.found(&row.value);
        Ok((row, ring))
    }

    /// Carries out on `work` what makes up for delays, what is due, what is asked for, and what is due after that.
    async fn prepare<T>(
        &self,
        work: &mut Work,
        delayed: &[Delayed],
        change: Option<&Change<'_, T>>,
    ) -> Result<Option<T>, KeyRingError> {
        let policy = &self.parts.policy;
        for delayed in delayed {
            let owed = make_up_for_delay(&work.ring, delayed, policy, work.now);
            self.carry_out(work, owed, None).await?;
        }
        // Twice: a service that has never published a key makes an algorithm's first before the one that waits, which may be asked for.
        for _ in 0..2 {
            self.carry_out(work, plan(&work.ring, policy, work.now), None).await?;
        }
        let Some(change) = change else { return Ok(None) };
        let (steps, answer) = (change.ask)(&work.ring, work.now)?;
        self.carry_out(work, steps, change.import.as_ref()).await?;
        self.carry_out(work, plan(&work.ring, policy, work.now), None).await?;
        Ok(Some(answer))
    }

    /// Carries out on `work` what is asked for, as far as the vault is not needed for it, and nothing else.
    async fn prepare_without_keys<T>(
        &self,
        work: &mut Work,
        change: &Change<'_, T>,
    ) -> Result<T, KeyRingError> {
        let (mut steps, answer) = (change.ask)(&work.ring, work.now)?;
        steps.retain(|step| !matches!(step, Step::Create { .. }));
        self.carry_out(work, steps, None).await?;
        Ok(answer)
    }

    pub(super) async fn carry_out(
        &self,
        work: &mut Work,
        steps: Vec<Step>,
        import: Option<&Arc<SoftwareSigner>>,
    ) -> Result<(), KeyRingError> {
        let mut made = self.make(work, &steps, import).await?;
        for step in steps {
            // What is erased with this commit is gone from the vault only after it: the next one forgets it.
            if matches!(&step, Step::Forget { kid } if work.erases(kid)) {
                continue;
            }
            let mut kid = step.kid().cloned();
            let mut algorithm =
                kid.as_ref().and_then(|kid| work.ring.find(kid)).map(|record| record.algorithm);
            if let Step::Create { algorithm: wanted, publish_at, sign_from } = step {
                let Some(at) = made.iter().position(|signer| signer.algorithm() == wanted) else { continue };
                let signer = made.swap_remove(at);
                let lifetime = self.parts.policy.longest_lifetime();
                let public = signer.public_jwk().key.clone();
                let mut record = new_record(public, wanted, Dates { publish_at, sign_from, lifetime });
                record.created_at = work.now;
                record.origin = if import.is_some() { Origin::Imported } else { Origin::Generated };
                (kid, algorithm) = (Some(record.kid.clone()), Some(wanted));
                work.ring.add(record);
            }
            work.ring.apply(&step);
            work.events.push(KeyEvent { at: work.now, kid, algorithm, change: step.clone() });
            work.steps.push(step);
        }
        Ok(())
    }

    /// Makes, all at once, or takes in the keys that `steps` create. Whatever is made on the way counts as created,
    /// also when another one fails.
    async fn make(
        &self,
        work: &mut Work,
        steps: &[Step],
        import: Option<&Arc<SoftwareSigner>>,
    ) -> Result<Vec<Arc<dyn Signer>>, KeyRingError> {
        let wanted = steps.iter().filter_map(|step| match step {
            Step::Create { algorithm, .. } => Some(*algorithm),
            _ => None,
        });
        let wanted: Vec<Algorithm> = wanted.collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        refuse_in_vain(self.parts.store.as_ref())?;
        if let Some(key) = import.cloned() {
            let signer = self.in_vault(move |vault| vault.import(&key)).await?;
            work.created.insert(signer.kid().clone(), Arc::clone(&signer));
            return Ok(vec![signer]);
        }
        let start = |algorithm| {
            let vault = Arc::clone(&self.parts.vault);
            spawn_blocking(carried(move || vault.generate(algorithm)))
        };
        let tasks: Vec<_> = wanted.into_iter().map(start).collect();
        let (mut made, mut failed) = (Vec::new(), None);
        for task in tasks {
            match task.await {
                Ok(Ok(signer)) => {
                    work.created.insert(signer.kid().clone(), Arc::clone(&signer));
                    made.push(signer);
                }
                Ok(Err(error)) => failed = Some(error.into()),
                Err(_) => failed = Some(KeyRingError::Stopping),
            }
        }
        failed.map_or(Ok(made), Err)
    }

    pub(super) async fn commit(&self, work: &Work, condition: Condition) -> Result<Committed, KeyRingError> {
        refuse_in_vain(self.parts.store.as_ref())?;
        let value = sealed_ring::encode(&work.ring, &self.parts.kek);
        self.unrecorded.begin(&value, work.events.clone());
        let batch = Batch::new().put(TABLE, KEY, condition, Put::lasting(value.clone()));
        // A failure leaves open whether it was applied: what was made stays pending, and the next change
        // finds it named in the ring, or not.
        let committed = self.parts.store.commit(batch).await?;
        match committed {
            Committed::Applied => self.found(&value),
            Committed::Conflict => self.unrecorded.refused(&value),
        }
        Ok(committed)
    }

    /// From now on: a reading that begins later finds nothing older.
    pub(super) fn begin_to_read(&self) -> ReadFrom {
        let number = self.readings.fetch_add(1, Ordering::AcqRel) + 1;
        ReadFrom { at: self.parts.clock.monotonic(), number }
    }

    /// Takes it into use, unless what is in use was read from a later moment on.
    pub(super) fn install(&self, ring: KeyRingRecord, version: u64, signers: &Signers, read: ReadFrom) {
        let now = self.parts.clock.numeric_date();
        let alive = |kid: &KeyId| ring.find(kid).is_some_and(|record| record.is_alive(now));
        let signers = signers.iter().filter(|(kid, _)| alive(kid));
        let signers = signers.map(|(kid, signer)| (kid.clone(), Arc::clone(signer))).collect();
        let snapshot = Snapshot::new(ring, version, &self.parts.policy, &signers, now).read_from(read);
        let snapshot = Arc::new(snapshot);
        self.snapshot
            .rcu(|current| Arc::clone(if snapshot.is_behind(current) { current } else { &snapshot }));
    }
}
