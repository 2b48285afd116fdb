use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::kek::{Kek, KekUnavailable};
use super::seal::{SealedKey, UnsealError};
use super::signer::Signer;
use super::software::{SoftwareSigner, UnusableKey};
use crate::oauth::{Algorithm, KeyId};
use crate::store::StoreError;

/// Keeps private keys. All calls may block: call them off the async threads.
///
/// A new key is *pending* until the ring that names it is committed, and is then *kept*: whatever crashes
/// in between, the ring says which of the two it should be.
pub trait KeyVault: Send + Sync + 'static {
    /// Makes a key, stores it as pending, and reads it back: what is named in a ring can be opened.
    ///
    /// # Errors
    /// When the key can't be made or stored, or does not open or pass its self-test.
    fn generate(&self, algorithm: Algorithm) -> Result<Arc<dyn Signer>, VaultError>;

    /// Stores a key that was brought in as pending, and reads it back.
    ///
    /// # Errors
    /// As [`KeyVault::generate`]; also when the vault has the key already.
    fn import(&self, key: &SoftwareSigner) -> Result<Arc<dyn Signer>, VaultError>;

    /// Opens a key, pending or kept.
    ///
    /// # Errors
    /// When there is none, or it does not open or pass its self-test.
    fn open(&self, kid: &KeyId, algorithm: Algorithm) -> Result<Arc<dyn Signer>, VaultError>;

    /// Turns a pending key into a kept one; does nothing to a kept one.
    ///
    /// # Errors
    /// When there is no such key, or the vault fails.
    fn keep(&self, kid: &KeyId) -> Result<(), VaultError>;

    /// Every key, pending or kept.
    ///
    /// # Errors
    /// When the vault fails.
    fn list(&self) -> Result<Vec<StoredKey>, VaultError>;

    /// Destroys a private key, pending or kept; does nothing if there is none.
    ///
    /// # Errors
    /// When the vault fails.
    fn destroy(&self, kid: &KeyId) -> Result<(), VaultError>;

    /// Every key as it is sealed, pending or kept: for a copy of the installation.
    ///
    /// # Errors
    /// When one can't be read. A key that goes meanwhile is left out.
    fn sealed(&self) -> Result<Vec<SealedKey>, VaultError>;

    /// Stores a key of a copy as kept, and reads it back; does nothing if it is there already and opens.
    ///
    /// # Errors
    /// When it can't be stored, or does not open or pass its self-test.
    fn put_back(&self, sealed: &SealedKey) -> Result<(), VaultError>;
}

/// A vault that seals its keys under a key-encryption key, which can be replaced.
pub trait SealedVault: KeyVault {
    /// Seals every key that is sealed under `old` anew, under this vault's key-encryption key; a key that is so already
    /// stays as it is. Each is replaced as a whole: a crash leaves the old one or the new one. Gives how many were
    /// sealed anew.
    ///
    /// # Errors
    /// When one can't be read, opened or replaced; those before it are done.
    fn reseal(&self, old: &Kek) -> Result<usize, VaultError>;

    /// Reads every key and opens it under this vault's key-encryption key. Gives how many there are.
    ///
    /// # Errors
    /// When one can't be read, opened or used.
    fn verify(&self) -> Result<usize, VaultError>;
}

/// A key that the vault has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredKey {
    /// Which one.
    pub kid: KeyId,
    /// Pending or kept.
    pub state: StoredState,
}

/// Whether a ring is known to name the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoredState {
    /// Not yet.
    Pending {
        /// When it was made, in seconds since the epoch.
        since: i64,
    },
    /// Yes.
    Kept,
}

/// The vault can't do it.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is no such key.
    #[error(
        "the private key {kid} is missing from {place}: restore it from a backup (nodes share one key directory, or keep the keys in the store); \
         if there is none, `signet keys compromise {kid} --offline` condemns it"
    )]
    Missing {
        /// Which one.
        kid: KeyId,
        /// From where.
        place: String,
    },
    /// There is such a key already.
    #[error("{place} has the private key {kid} already")]
    Present {
        /// Which one.
        kid: KeyId,
        /// Where.
        place: String,
    },
    /// It does not open.
    #[error("the sealed key {path}: {reason}{}", way_out(path, reason))]
    Unseal {
        /// Which file, or which row of the store.
        path: PathBuf,
        /// Why.
        reason: UnsealError,
    },
    /// It can't be used.
    #[error("the key {kid}: {reason}")]
    Unusable {
        /// Which one; for a key that could not be made, its algorithm.
        kid: String,
        /// Why.
        reason: UnusableKey,
    },
    /// Other nodes changed it over and over.
    #[error("the key {kid} was changed by others again and again: try once more")]
    Contended {
        /// Which one.
        kid: KeyId,
    },
    /// Nothing can be sealed now.
    #[error(transparent)]
    Kek(#[from] KekUnavailable),
    /// The store that holds the keys fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file system fails.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// What there is to do without a backup.
fn way_out(path: &Path, reason: &UnsealError) -> String {
    match (path.file_stem().and_then(OsStr::to_str), reason) {
        (Some(kid), UnsealError::Damaged) => {
            format!("; if there is none, `signet keys compromise {kid} --offline` condemns it")
        }
        _ => String::new(),
    }
}
