//! A world for key rings: a clock that stands still, a store in memory that can fail, a directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use signet::clock::ManualClock;
use signet::config::{KekSource, KeysConfig, VaultPlace};
use signet::entropy::SeededEntropy;
use signet::keys::{
    DirectoryVault, Fitness, Kek, KeyRing, KeyRingError, KeyRingParts, KeyVault, Policy, SealedKey, Signer,
    SoftwareSigner, StoredKey, VaultError,
};
use signet::oauth::{Algorithm, KeyId};
use signet::store::{
    Action, Batch, Changes, Committed, Condition, Cursor, Row, SharedFrozen, Store, StoreError, Table, Write,
};
use tempfile::TempDir;

/// Before the file times of this machine, so that no pending key seems old.
pub(crate) const START: i64 = 1_700_000_000;

pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<FakeStore>,
    pub(crate) dir: TempDir,
    pub(crate) settings: KeysConfig,
    pub(crate) lifetime: Duration,
    pub(crate) kek: Arc<Kek>,
    /// Of a node that is never stale for anything but its ring.
    pub(crate) fitness: Arc<Fitness>,
}

impl World {
    /// M 5, P 3, S 2, T 10; lead 10, hold 15, period 60.
    pub(crate) fn new() -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let seconds = Duration::from_secs;
        let settings = KeysConfig {
            vault: VaultPlace::Directory,
            dir: "keys".into(),
            kek: KekSource::Developer,
            algorithms: vec![Algorithm::ES256],
            jwks_max_age: seconds(5),
            propagation: seconds(3),
            clock_skew: seconds(2),
            lead: seconds(10),
            hold: seconds(15),
            rotation_period: seconds(60),
            sealing_period: seconds(3600),
        };
        Self {
            store: Arc::new(FakeStore::new(Arc::clone(&clock))),
            fitness: Arc::new(Fitness::new(Arc::clone(&clock) as Arc<_>, Duration::MAX)),
            clock,
            dir: tempfile::tempdir().unwrap(),
            settings,
            lifetime: seconds(10),
            kek: kek(1),
        }
    }

    pub(crate) fn vault(&self) -> Arc<dyn KeyVault> {
        let entropy = SeededEntropy::new(u64::try_from(self.files().len()).unwrap());
        Arc::new(DirectoryVault::open(self.dir.path(), Arc::clone(&self.kek), Arc::new(entropy)).unwrap())
    }

    pub(crate) fn parts(&self) -> KeyRingParts {
        KeyRingParts {
            store: Arc::clone(&self.store) as Arc<dyn Store>,
            vault: self.vault(),
            kek: Arc::clone(&self.kek),
            policy: Policy::new(&self.settings, self.lifetime).unwrap(),
            clock: Arc::clone(&self.clock) as Arc<_>,
            entropy: Arc::new(SeededEntropy::new(47)),
            fitness: self.fitness.clone(),
        }
    }

    pub(crate) async fn try_open(&self) -> Result<Arc<KeyRing>, KeyRingError> {
        KeyRing::open(self.parts()).await
    }

    /// An open ring, after its first tick.
    pub(crate) async fn open(&self) -> Arc<KeyRing> {
        let ring = self.try_open().await.unwrap();
        ring.tick().await.unwrap();
        ring
    }

    pub(crate) fn now(&self) -> i64 {
        signet::clock::Clock::numeric_date(self.clock.as_ref())
    }

    /// Lets `seconds` pass with a tick each.
    pub(crate) async fn run(&self, ring: &Arc<KeyRing>, seconds: u64) {
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            ring.tick().await.unwrap();
        }
    }

    /// The names of the files in the key directory, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// How many files in the key directory are pending keys.
    pub(crate) fn pending(&self) -> usize {
        let is_pending = |name: &&String| Path::new(name).extension().is_some_and(|end| end == "pending");
        self.files().iter().filter(is_pending).count()
    }

    /// Lets every pending key be as old as if it had been made at `at`, in seconds since the epoch.
    pub(crate) fn date_pending(&self, at: i64) {
        let at = UNIX_EPOCH + Duration::from_secs(u64::try_from(at).unwrap());
        for name in self.files().iter().filter(|name| name.ends_with(".pending")) {
            let file = File::options().write(true).open(self.dir.path().join(name)).unwrap();
            file.set_modified(at).unwrap();
        }
    }

    /// Whether every file in the key directory is a kept key.
    pub(crate) fn has_only_kept_keys(&self) -> bool {
        self.files().iter().all(|name| Path::new(name).extension().is_some_and(|end| end == "key"))
    }

    pub(crate) fn file(&self, kid: &KeyId) -> PathBuf {
        self.dir.path().join(format!("{kid}.key"))
    }
}

pub(crate) fn kek(byte: u8) -> Arc<Kek> {
    Arc::new(Kek::parse(&format!("{byte:02x}").repeat(32), "a test").unwrap())
}

/// The kid that signs with ES256.
pub(crate) fn signing(ring: &KeyRing) -> KeyId {
    ring.signing_key(Some(Algorithm::ES256)).unwrap().kid().clone()
}

/// The kids in the JWKS.
pub(crate) fn published(ring: &KeyRing) -> Vec<String> {
    let set: serde_json::Value = serde_json::from_slice(&ring.jwks(None).unwrap().document.body).unwrap();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// How a commit goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Every call fails.
    Down,
    /// Commits fail and do nothing.
    CommitLost,
    /// Commits are applied, but the answer is lost.
    AnswerLost,
    /// Another node writes the ring anew before the next commit.
    Overtaken,
    /// The next commit is applied and answered, and is the last thing that it does.
    LastCommit,
    /// Commits fail, and go on all the same: they are applied when a test lets them, or before the next one that comes through.
    Late,
}

/// A store in memory.
pub(crate) struct FakeStore {
    clock: Arc<ManualClock>,
    rows: Mutex<BTreeMap<(&'static str, Vec<u8>), Row>>,
    pub(crate) fault: Mutex<Option<Fault>>,
    /// Commits that were given up, and go on.
    late: Mutex<Vec<Batch>>,
    /// How many seconds a commit takes.
    pub(crate) slowness: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) reads: AtomicU64,
}

impl FakeStore {
    fn new(clock: Arc<ManualClock>) -> Self {
        Self {
            clock,
            rows: Mutex::default(),
            fault: Mutex::default(),
            late: Mutex::default(),
            slowness: 0.into(),
            commits: 0.into(),
            reads: 0.into(),
        }
    }

    pub(crate) fn fail(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    fn fault(&self) -> Option<Fault> {
        *self.fault.lock().unwrap()
    }

    /// Those commits land that were given up, as far as their conditions hold.
    pub(crate) fn land(&self) {
        for batch in self.take_late() {
            let _ = self.apply(batch);
        }
    }

    /// Those commits that were given up, to be let land by whoever asks.
    pub(crate) fn take_late(&self) -> Vec<Batch> {
        std::mem::take(&mut *self.late.lock().unwrap())
    }

    pub(crate) fn edit(&self, edit: impl FnOnce(&mut BTreeMap<(&'static str, Vec<u8>), Row>)) {
        edit(&mut self.rows.lock().unwrap());
    }

    pub(crate) fn ring_row(&self) -> Option<Row> {
        self.rows.lock().unwrap().get(&("keys", b"ring".to_vec())).cloned()
    }

    fn apply(&self, batch: Batch) -> Committed {
        let mut rows = self.rows.lock().unwrap();
        let holds = |write: &Write| {
            let row = rows.get(&(write.table.name, write.key.clone()));
            match write.condition {
                Condition::Always => true,
                Condition::Absent => row.is_none(),
                Condition::VersionIs(version) => row.is_some_and(|row| row.version == version),
            }
        };
        if !batch.writes.iter().all(holds) {
            return Committed::Conflict;
        }
        for write in batch.writes {
            let key = (write.table.name, write.key);
            let version = rows.get(&key).map_or(1, |row| row.version + 1);
            match write.action {
                Action::Put { value, expires_at } => {
                    rows.insert(key, Row { version, expires_at, value });
                }
                Action::Delete => {
                    rows.remove(&key);
                }
                Action::Check => {}
            }
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        Committed::Applied
    }
}

fn down() -> StoreError {
    StoreError::Unavailable("a test took it down".into())
}

#[async_trait]
impl Store for FakeStore {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>, StoreError> {
        // Others get a turn between reading and committing.
        tokio::task::yield_now().await;
        self.reads.fetch_add(1, Ordering::SeqCst);
        match self.fault() {
            Some(Fault::Down) => Err(down()),
            _ => Ok(self.rows.lock().unwrap().get(&(table.name, key.to_vec())).cloned()),
        }
    }

    async fn scan(
        &self,
        _table: Table,
        _after: Option<&[u8]>,
        _limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
        Ok(Vec::new())
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        tokio::task::yield_now().await;
        self.clock.advance(Duration::from_secs(self.slowness.load(Ordering::SeqCst)));
        match self.fault() {
            None => {
                self.land();
                Ok(self.apply(batch))
            }
            Some(Fault::AnswerLost) => {
                let _ = self.apply(batch);
                Err(down())
            }
            Some(Fault::Overtaken) => {
                self.fail(None);
                self.edit(|rows| rows.values_mut().for_each(|row| row.version += 1));
                Ok(self.apply(batch))
            }
            Some(Fault::LastCommit) => {
                self.fail(Some(Fault::Down));
                Ok(self.apply(batch))
            }
            Some(Fault::Late) => {
                self.late.lock().unwrap().push(batch);
                Err(down())
            }
            Some(Fault::Down | Fault::CommitLost) => Err(down()),
        }
    }

    async fn changes(&self, after: Cursor) -> Result<Changes, StoreError> {
        Ok(Changes::Rows { rows: Vec::new(), next: after })
    }

    async fn sweep(&self, _now: DateTime<Utc>, _limit: usize) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn freeze(&self) -> Result<SharedFrozen, StoreError> {
        Err(down())
    }
}

/// A vault whose process dies at the n-th call: that call and all later ones fail.
pub(crate) struct DyingVault {
    pub(crate) inner: Arc<dyn KeyVault>,
    pub(crate) calls_left: AtomicI64,
}

impl DyingVault {
    fn live(&self) -> Result<&dyn KeyVault, VaultError> {
        if self.calls_left.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(self.inner.as_ref());
        }
        Err(VaultError::Io { path: "dead".into(), source: std::io::Error::other("the process died") })
    }
}

impl KeyVault for DyingVault {
    fn generate(&self, algorithm: Algorithm) -> Result<Arc<dyn Signer>, VaultError> {
        self.live()?.generate(algorithm)
    }

    fn import(&self, key: &SoftwareSigner) -> Result<Arc<dyn Signer>, VaultError> {
        self.live()?.import(key)
    }

    fn open(&self, kid: &KeyId, algorithm: Algorithm) -> Result<Arc<dyn Signer>, VaultError> {
        self.live()?.open(kid, algorithm)
    }

    fn keep(&self, kid: &KeyId) -> Result<(), VaultError> {
        self.live()?.keep(kid)
    }

    fn list(&self) -> Result<Vec<StoredKey>, VaultError> {
        self.live()?.list()
    }

    fn destroy(&self, kid: &KeyId) -> Result<(), VaultError> {
        self.live()?.destroy(kid)
    }

    fn sealed(&self) -> Result<Vec<SealedKey>, VaultError> {
        self.live()?.sealed()
    }

    fn put_back(&self, sealed: &SealedKey) -> Result<(), VaultError> {
        self.live()?.put_back(sealed)
    }
}
