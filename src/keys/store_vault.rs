use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::kek::Kek;
use super::seal::{SealedKey, UnsealError};
use super::signer::Signer;
use super::software::{SoftwareSigner, UnusableKey};
use super::vault::{KeyVault, SealedVault, StoredKey, StoredState, VaultError};
use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::oauth::{Algorithm, KeyId};
use crate::store::{Batch, Committed, Condition, Put, Row, Store, Table, scan_each};

pub(super) const TABLE: Table = Table::plain("sealed_keys");

/// How often a change of a row is tried anew when another node was faster.
const ATTEMPTS: usize = 100;

/// One sealed row of the store a key: for nodes that share nothing else but the key-encryption key.
///
/// Its calls wait for the store, so they need a thread that may block and belongs to a runtime.
pub struct StoreVault {
    store: Arc<dyn Store>,
    kek: Arc<Kek>,
    clock: SharedClock,
    entropy: SharedEntropy,
}

/// A key as its row holds it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// When it was made, in seconds since the epoch, while no ring is known to name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending_since: Option<i64>,
    sealed: SealedKey,
}

impl StoreVault {
    /// The vault in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, kek: Arc<Kek>, (clock, entropy): (SharedClock, SharedEntropy)) -> Self {
        Self { store, kek, clock, entropy }
    }

    fn read(&self, kid: &KeyId) -> Result<(Row, Entry), VaultError> {
        let row = Handle::current().block_on(self.store.get(TABLE, kid.as_str().as_bytes()))?;
        let row = row.ok_or_else(|| VaultError::Missing { kid: kid.clone(), place: place() })?;
        let entry = decode(kid, &row.value)?;
        Ok((row, entry))
    }

    fn write(&self, kid: &KeyId, condition: Condition, entry: &Entry) -> Result<Committed, VaultError> {
        let value = serde_json::to_vec(entry).map_err(|_| damaged(kid))?;
        let batch = Batch::new().put(TABLE, kid.as_str(), condition, Put::lasting(value));
        Ok(Handle::current().block_on(self.store.commit(batch))?)
    }

    /// Changes an entry, unless `change` says that there is nothing to change.
    fn change(
        &self,
        kid: &KeyId,
        change: impl Fn(Entry) -> Result<Option<Entry>, VaultError>,
    ) -> Result<bool, VaultError> {
        for _ in 0..ATTEMPTS {
            let (row, entry) = self.read(kid)?;
            let Some(changed) = change(entry)? else { return Ok(false) };
            if self.write(kid, Condition::VersionIs(row.version), &changed)? == Committed::Applied {
                return Ok(true);
            }
        }
        Err(VaultError::Contended { kid: kid.clone() })
    }

    fn keep_new(&self, signer: &SoftwareSigner) -> Result<Arc<dyn Signer>, VaultError> {
        let (kid, algorithm) = (signer.kid(), signer.algorithm());
        let der = signer.to_pkcs8().map_err(unusable(kid.as_str()))?;
        let sealed = SealedKey::seal(&self.kek, self.entropy.as_ref(), (kid, algorithm), &der)?;
        let entry = Entry { pending_since: Some(self.clock.numeric_date()), sealed };
        if self.write(kid, Condition::Absent, &entry)? == Committed::Conflict {
            return Err(VaultError::Present { kid: kid.clone(), place: place() });
        }
        self.open(kid, algorithm)
    }

    fn entries(&self) -> Result<Vec<(KeyId, Entry)>, VaultError> {
        let mut rows = Vec::new();
        Handle::current().block_on(scan_each(self.store.as_ref(), TABLE, |key, row| {
            rows.push((key, row.value));
            Ok(())
        }))?;
        let entry = |(key, value): (Vec<u8>, Vec<u8>)| {
            let name = String::from_utf8_lossy(&key).into_owned();
            let kid = KeyId::parse(&name).map_err(|_| VaultError::Unseal {
                path: PathBuf::from(&name),
                reason: UnsealError::Damaged,
            })?;
            let entry = decode(&kid, &value)?;
            Ok((kid, entry))
        };
        rows.into_iter().map(entry).collect()
    }
}

impl KeyVault for StoreVault {
    fn generate(&self, algorithm: Algorithm) -> Result<Arc<dyn Signer>, VaultError> {
        let signer = SoftwareSigner::generate(algorithm).map_err(unusable(algorithm.as_str()))?;
        self.keep_new(&signer)
    }

    fn import(&self, key: &SoftwareSigner) -> Result<Arc<dyn Signer>, VaultError> {
        self.keep_new(key)
    }

    fn open(&self, kid: &KeyId, algorithm: Algorithm) -> Result<Arc<dyn Signer>, VaultError> {
        let (_, Entry { sealed, .. }) = self.read(kid)?;
        let der = sealed.open(&self.kek).map_err(|reason| unseal(kid, reason))?;
        let signer = SoftwareSigner::from_pkcs8(algorithm, &der).map_err(unusable(kid.as_str()))?;
        // A row under another's name, or a key under another's algorithm.
        if signer.kid() != kid || sealed.algorithm != algorithm {
            return Err(damaged(kid));
        }
        Ok(Arc::new(signer))
    }

    fn keep(&self, kid: &KeyId) -> Result<(), VaultError> {
        let kept = |entry: Entry| {
            Ok(entry.pending_since.is_some().then_some(Entry { pending_since: None, sealed: entry.sealed }))
        };
        self.change(kid, kept).map(drop)
    }

    fn list(&self) -> Result<Vec<StoredKey>, VaultError> {
        let state = |entry: &Entry| match entry.pending_since {
            Some(since) => StoredState::Pending { since },
            None => StoredState::Kept,
        };
        let entries = self.entries()?.into_iter();
        let mut keys: Vec<_> = entries.map(|(kid, entry)| StoredKey { kid, state: state(&entry) }).collect();
        keys.sort();
        Ok(keys)
    }

    fn destroy(&self, kid: &KeyId) -> Result<(), VaultError> {
        let batch = Batch::new().delete(TABLE, kid.as_str(), Condition::Always);
        // Nothing can be in its way.
        let _applied = Handle::current().block_on(self.store.commit(batch))?;
        Ok(())
    }

    fn sealed(&self) -> Result<Vec<SealedKey>, VaultError> {
        Ok(self.entries()?.into_iter().map(|(_, entry)| entry.sealed).collect())
    }

    fn put_back(&self, sealed: &SealedKey) -> Result<(), VaultError> {
        let kid = &sealed.kid;
        let entry = Entry { pending_since: None, sealed: sealed.clone() };
        let there = self.write(kid, Condition::Absent, &entry)? == Committed::Conflict;
        self.open(kid, sealed.algorithm)?;
        if there { self.keep(kid) } else { Ok(()) }
    }
}

impl SealedVault for StoreVault {
    fn reseal(&self, old: &Kek) -> Result<usize, VaultError> {
        let mut resealed = 0;
        for (kid, _) in self.entries()? {
            let anew = |entry: Entry| {
                if entry.sealed.kek == self.kek.id() {
                    return Ok(None);
                }
                let der = entry.sealed.open(old).map_err(|reason| unseal(&kid, reason))?;
                let named = (&entry.sealed.kid, entry.sealed.algorithm);
                let sealed = SealedKey::seal(&self.kek, self.entropy.as_ref(), named, &der)?;
                Ok(Some(Entry { sealed, ..entry }))
            };
            resealed += usize::from(self.change(&kid, anew)?);
        }
        Ok(resealed)
    }

    fn verify(&self) -> Result<usize, VaultError> {
        let entries = self.entries()?;
        for (kid, entry) in &entries {
            self.open(kid, entry.sealed.algorithm)?;
        }
        Ok(entries.len())
    }
}

fn decode(kid: &KeyId, value: &[u8]) -> Result<Entry, VaultError> {
    serde_json::from_slice(value).map_err(|_| damaged(kid))
}

fn place() -> String {
    "the store".to_owned()
}

fn damaged(kid: &KeyId) -> VaultError {
    unseal(kid, UnsealError::Damaged)
}

fn unseal(kid: &KeyId, reason: UnsealError) -> VaultError {
    VaultError::Unseal { path: PathBuf::from(kid.as_str()), reason }
}

fn unusable(kid: &str) -> impl Fn(UnusableKey) -> VaultError {
    move |reason| VaultError::Unusable { kid: kid.to_owned(), reason }
}
