use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::kek::Kek;
use super::seal::{SealedKey, UnsealError};
use super::signer::Signer;
use super::software::{SoftwareSigner, UnusableKey};
use super::vault::{KeyVault, SealedVault, StoredKey, StoredState, VaultError};
use crate::entropy::SharedEntropy;
use crate::oauth::{Algorithm, KeyId};
use crate::store::sync_names_above;

/// One sealed file a key: `<kid>.key`, or `<kid>.pending` while no ring is known to name it.
///
/// Files are for the owner alone (0600); what is in them is sealed all the same.
pub struct DirectoryVault {
    dir: PathBuf,
    kek: Arc<Kek>,
    entropy: SharedEntropy,
}

impl DirectoryVault {
    /// The vault in `dir`, which is made, for the owner alone, if it does not exist.
    ///
    /// # Errors
    /// When the directory can't be made or read.
    pub fn open(dir: &Path, kek: Arc<Kek>, entropy: SharedEntropy) -> Result<Self, VaultError> {
        let vault = Self { dir: dir.to_owned(), kek, entropy };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(dir))?;
        // No key is of use that a power cut takes away with its directory.
        sync_names_above(dir).map_err(failed(dir))?;
        vault.list()?;
        Ok(vault)
    }

    /// Puts `sealed` at `path`, as a whole.
    fn replace(&self, path: &Path, sealed: &SealedKey) -> Result<(), VaultError> {
        let temporary = path.with_extension("resealed");
        if let Err(error) = fs::remove_file(&temporary)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(failed(&temporary)(error));
        }
        write_new(&temporary, sealed)?;
        fs::rename(&temporary, path).map_err(failed(path))?;
        self.sync()
    }

    fn store(&self, signer: &SoftwareSigner) -> Result<Arc<dyn Signer>, VaultError> {
        let (kid, algorithm) = (signer.kid(), signer.algorithm());
        if self.find(kid).is_ok() {
            return Err(VaultError::Present { kid: kid.clone(), place: self.place() });
        }
        let der = signer.to_pkcs8().map_err(unusable(kid.as_str()))?;
        let sealed = SealedKey::seal(&self.kek, self.entropy.as_ref(), (kid, algorithm), &der)?;
        write_new(&self.path(kid, "pending"), &sealed)?;
        self.sync()?;
        self.open(kid, algorithm)
    }

    fn path(&self, kid: &KeyId, extension: &str) -> PathBuf {
        self.dir.join(format!("{kid}.{extension}"))
    }

    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn find(&self, kid: &KeyId) -> Result<PathBuf, VaultError> {
        // "Kept" last: a key that becomes kept meanwhile is found under one name or the other.
        ["key", "pending", "key"]
            .into_iter()
            .map(|extension| self.path(kid, extension))
            .find(|path| path.exists())
            .ok_or_else(|| VaultError::Missing { kid: kid.clone(), place: self.place() })
    }

    fn sync(&self) -> Result<(), VaultError> {
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(failed(&self.dir))
    }
}

impl KeyVault for DirectoryVault {
    fn generate(&self, algorithm: Algorithm) -> Result<Arc<dyn Signer>, VaultError> {
        let signer = SoftwareSigner::generate(algorithm).map_err(unusable(algorithm.as_str()))?;
        self.store(&signer)
    }

    fn import(&self, key: &SoftwareSigner) -> Result<Arc<dyn Signer>, VaultError> {
        self.store(key)
    }

    fn open(&self, kid: &KeyId, algorithm: Algorithm) -> Result<Arc<dyn Signer>, VaultError> {
        let path = self.find(kid)?;
        let sealed = read(&path)?;
        let unseal = |reason| VaultError::Unseal { path: path.clone(), reason };
        let der = sealed.open(&self.kek).map_err(unseal)?;
        let signer = SoftwareSigner::from_pkcs8(algorithm, &der).map_err(unusable(kid.as_str()))?;
        // A file under another's name, or a key under another's algorithm.
        if signer.kid() != kid || sealed.algorithm != algorithm {
            return Err(unseal(UnsealError::Damaged));
        }
        Ok(Arc::new(signer))
    }

    fn keep(&self, kid: &KeyId) -> Result<(), VaultError> {
        let (pending, kept) = (self.path(kid, "pending"), self.path(kid, "key"));
        match fs::rename(&pending, &kept) {
            Ok(()) => self.sync(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.find(kid).map(drop),
            Err(error) => Err(failed(&pending)(error)),
        }
    }

    fn list(&self) -> Result<Vec<StoredKey>, VaultError> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed(&self.dir))? {
            let entry = entry.map_err(failed(&self.dir))?;
            let path = entry.path();
            let Some(kid) = path.file_stem().and_then(OsStr::to_str).and_then(|name| KeyId::parse(name).ok())
            else {
                continue;
            };
            let state = match path.extension().and_then(OsStr::to_str) {
                Some("key") => StoredState::Kept,
                Some("pending") => match entry.metadata().and_then(|metadata| metadata.modified()) {
                    Ok(modified) => {
                        StoredState::Pending { since: DateTime::<Utc>::from(modified).timestamp() }
                    }
                    // It became a kept one, or is gone.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(failed(&path)(error)),
                },
                _ => continue,
            };
            keys.push(StoredKey { kid, state });
        }
        keys.sort();
        Ok(keys)
    }

    fn destroy(&self, kid: &KeyId) -> Result<(), VaultError> {
        for extension in ["pending", "key"] {
            let path = self.path(kid, extension);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&path)(error)),
                _ => {}
            }
        }
        self.sync()
    }

    fn sealed(&self) -> Result<Vec<SealedKey>, VaultError> {
        let mut keys = Vec::new();
        for stored in self.list()? {
            match self.find(&stored.kid).and_then(|path| read(&path)) {
                Ok(sealed) => keys.push(sealed),
                Err(VaultError::Missing { .. }) => {}
                Err(VaultError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(keys)
    }

    fn put_back(&self, sealed: &SealedKey) -> Result<(), VaultError> {
        if self.find(&sealed.kid).is_ok() {
            self.open(&sealed.kid, sealed.algorithm)?;
            return self.keep(&sealed.kid);
        }
        self.replace(&self.path(&sealed.kid, "key"), sealed)?;
        self.open(&sealed.kid, sealed.algorithm).map(drop)
    }
}

impl SealedVault for DirectoryVault {
    fn reseal(&self, old: &Kek) -> Result<usize, VaultError> {
        let mut resealed = 0;
        for stored in self.list()? {
            let path = self.find(&stored.kid)?;
            let sealed = read(&path)?;
            if sealed.kek == self.kek.id() {
                continue;
            }
            let unseal = |reason| VaultError::Unseal { path: path.clone(), reason };
            let der = sealed.open(old).map_err(unseal)?;
            let anew =
                SealedKey::seal(&self.kek, self.entropy.as_ref(), (&sealed.kid, sealed.algorithm), &der)?;
            self.replace(&path, &anew)?;
            resealed += 1;
        }
        Ok(resealed)
    }

    fn verify(&self) -> Result<usize, VaultError> {
        let stored = self.list()?;
        for key in &stored {
            let sealed = read(&self.find(&key.kid)?)?;
            self.open(&key.kid, sealed.algorithm)?;
        }
        Ok(stored.len())
    }
}

fn read(path: &Path) -> Result<SealedKey, VaultError> {
    let json = fs::read(path).map_err(failed(path))?;
    serde_json::from_slice(&json)
        .map_err(|_| VaultError::Unseal { path: path.to_owned(), reason: UnsealError::Damaged })
}

fn write_new(path: &Path, sealed: &SealedKey) -> Result<(), VaultError> {
    let json = serde_json::to_vec_pretty(sealed).map_err(|error| failed(path)(error.into()))?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed(path))?;
    file.write_all(&json).and_then(|()| file.sync_all()).map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> VaultError {
    move |source| VaultError::Io { path: path.to_owned(), source }
}

fn unusable(kid: &str) -> impl Fn(UnusableKey) -> VaultError {
    move |reason| VaultError::Unusable { kid: kid.to_owned(), reason }
}
