//! Takes the key-encryption key from where the settings say.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::module::{ModuleError, ModuleKey};
use super::{Kek, START_PATIENCE};
use crate::config::{KekSource, ModuleKeyConfig, exposed};
use crate::entropy::Entropy;

/// The key-encryption key is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum KekError {
    /// It is not 32 bytes in a known encoding.
    #[error(
        "the key-encryption key from {from} must be 32 bytes as base64, base64url or hex, as `openssl rand -base64 32` \
         makes it"
    )]
    Malformed {
        /// Where it came from.
        from: String,
    },
    /// Its file can't be read or written.
    #[error("the key-encryption key in {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Others can read or change its file.
    #[error(
        "the key-encryption key in {path} has mode {mode:04o}: others may read it, or its group change it; \
         `chmod 600 {path}` (0440 will do for a secret that an orchestrator mounts)"
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// There are keys, but not what sealed them.
    #[error(
        "{path} is gone, but there are sealed keys beside it: restore it from a backup, or set keys.kek_file to what \
         sealed them"
    )]
    Lost {
        /// Which file.
        path: PathBuf,
    },
    /// The module does not give it to use.
    #[error("the key-encryption key in the PKCS#11 module {module}: {reason}")]
    Module {
        /// The module's library.
        module: PathBuf,
        /// Why.
        reason: ModuleError,
    },
}

impl Kek {
    /// Reads 32 bytes as base64, base64url or hex; white space around them does not count.
    ///
    /// # Errors
    /// When that is not what it is; `from` stands in the message.
    pub fn parse(text: &str, from: &str) -> Result<Self, KekError> {
        let malformed = || KekError::Malformed { from: from.to_owned() };
        let text = text.trim();
        let bytes = Zeroizing::new(
            if text.len() == 64 { from_hex(text) } else { from_base64(text) }.ok_or_else(malformed)?,
        );
        let mut kek = Zeroizing::new([0; 32]);
        if bytes.len() != kek.len() {
            return Err(malformed());
        }
        kek.copy_from_slice(&bytes);
        Ok(Self::new(kek))
    }

    /// Takes the key-encryption key from where the settings say. For [`KekSource::Developer`] that is the
    /// file `kek` in `keys_dir`, made if there is none, with a warning.
    ///
    /// A file that everyone may read, or its group may change, is refused: the settings would promise what
    /// the file system does not keep.
    ///
    /// # Errors
    /// When it can't be had, is malformed, or is exposed.
    pub fn load(source: &KekSource, keys_dir: &Path, entropy: &dyn Entropy) -> Result<Self, KekError> {
        match source {
            KekSource::Value(secret) => Self::parse(secret.expose(), "SIGNET_KEYS_KEK"),
            KekSource::File(path) => Self::read(path),
            KekSource::Module(key) => Self::of_module(key),
            KekSource::Developer => {
                let path = keys_dir.join("kek");
                tracing::warn!(
                    path = %path.display(),
                    "the key-encryption key lies beside the keys: for development only; stop the service, run `signet keys rekey --new-kek-file FILE`, \
                     then set keys.kek_file = FILE"
                );
                match Self::read(&path) {
                    Err(KekError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                        Self::make(&path, keys_dir, entropy)
                    }
                    read => read,
                }
            }
        }
    }

    /// Refuses what [`Self::load`] would refuse of a key-encryption key that is there already, and makes none: whoever
    /// starts a service learns that its settings are wrong before anything is done.
    ///
    /// # Errors
    /// When what the settings name can't be had, is malformed, or is exposed.
    pub fn check(source: &KekSource, keys_dir: &Path) -> Result<(), KekError> {
        Self::find(source, keys_dir).map(drop)
    }

    /// The key-encryption key as [`Self::load`] gives it, or nothing where that would make one.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn find(source: &KekSource, keys_dir: &Path) -> Result<Option<Self>, KekError> {
        let read = match source {
            KekSource::Value(secret) => Self::parse(secret.expose(), "SIGNET_KEYS_KEK"),
            KekSource::File(path) => Self::read(path),
            KekSource::Module(key) => Self::of_module(key),
            KekSource::Developer => match Self::read(&keys_dir.join("kek")) {
                Err(KekError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    return Ok(None);
                }
                read => read,
            },
        };
        read.map(Some)
    }

    fn of_module(key: &ModuleKeyConfig) -> Result<Self, KekError> {
        let config = key.clone();
        let opened = Self::in_module(START_PATIENCE, move || ModuleKey::open(&config));
        opened.map_err(|reason| KekError::Module { module: key.module.clone(), reason })
    }

    fn read(path: &Path) -> Result<Self, KekError> {
        let failed = |source| KekError::Io { path: path.to_owned(), source };
        let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
        if let Some(mode) = exposed(&fs::metadata(path).map_err(failed)?) {
            return Err(KekError::Exposed { path: path.to_owned(), mode });
        }
        Self::parse(&text, &path.display().to_string())
    }

    fn make(path: &Path, keys_dir: &Path, entropy: &dyn Entropy) -> Result<Self, KekError> {
        let failed = |source| KekError::Io { path: path.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(keys_dir).map_err(failed)?;
        let is_sealed = |entry: io::Result<fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.path().extension().is_some_and(|extension| extension == "key"))
        };
        if fs::read_dir(keys_dir).map_err(failed)?.any(is_sealed) {
            return Err(KekError::Lost { path: path.to_owned() });
        }
        let mut bytes = Zeroizing::new([0; 32]);
        entropy.fill(bytes.as_mut_slice());
        let text = Zeroizing::new(format!("{}\n", STANDARD.encode(bytes.as_slice())));
        // It gets its name when all of it is on disk: half a key-encryption key, left by a power cut, would stop every later start.
        let unnamed = path.with_extension(std::process::id().to_string());
        let written = write_whole(&unnamed, text.as_bytes()).and_then(|()| fs::hard_link(&unnamed, path));
        fs::remove_file(&unnamed).ok();
        match written {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Self::read(path),
            written => written.map_err(failed)?,
        }
        fs::File::open(keys_dir).and_then(|directory| directory.sync_all()).map_err(failed)?;
        Ok(Self::new(bytes))
    }
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].iter().find_map(|engine| engine.decode(text).ok())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

/// Writes a file for the owner alone, durably but for its name.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::entropy::SeededEntropy;
    use crate::oauth::Secret;

    #[test]
    fn every_encoding_gives_the_same_key() {
        let bytes = [0xfb; 32];
        let hex = "fb".repeat(32);
        let texts = [
            STANDARD.encode(bytes),
            URL_SAFE_NO_PAD.encode(bytes),
            hex,
            STANDARD_NO_PAD.encode(bytes) + "\n",
        ];
        let id = Kek::new(Zeroizing::new(bytes)).id();
        for text in texts {
            assert_eq!(Kek::parse(&text, "a test").unwrap().id(), id, "{text}");
        }
    }

    #[test]
    fn what_is_not_32_bytes_is_refused_without_showing_it() {
        for text in ["", "hunter2", &STANDARD.encode([1; 31]), &STANDARD.encode([1; 33]), &"zz".repeat(32)] {
            let error = Kek::parse(text, "a test").unwrap_err();
            assert!(matches!(error, KekError::Malformed { .. }));
            assert!(text.is_empty() || !error.to_string().contains(text));
        }
    }

    #[test]
    fn it_does_not_print() {
        let kek = Kek::load(
            &KekSource::Value(Secret::new("ab".repeat(32))),
            Path::new("/"),
            &SeededEntropy::new(1),
        );
        assert_eq!(format!("{:?}", kek.unwrap()), "[redacted]");
    }

    #[test]
    fn the_developers_key_is_made_once_for_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        let first = Kek::load(&KekSource::Developer, &keys, &SeededEntropy::new(1)).unwrap();
        let again = Kek::load(&KekSource::Developer, &keys, &SeededEntropy::new(2)).unwrap();
        assert!(first.is_same_as(&again));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&keys), mode(&keys.join("kek"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&keys).unwrap().count(), 1, "what it was made from is gone");
    }

    #[test]
    fn a_lost_developers_key_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.key"), "sealed").unwrap();
        let lost = Kek::load(&KekSource::Developer, dir.path(), &SeededEntropy::new(1));
        assert!(matches!(lost, Err(KekError::Lost { .. })));
    }

    #[test]
    fn an_exposed_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "ab".repeat(32)).unwrap();
        for (mode, accepted) in
            [(0o600, true), (0o400, true), (0o440, true), (0o644, false), (0o660, false), (0o604, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let read = Kek::load(&KekSource::File(path.clone()), dir.path(), &SeededEntropy::new(1));
            assert_eq!(read.is_ok(), accepted, "{mode:o}: {read:?}");
        }
    }
}
