//! The key-encryption key: everything that seals keys is sealed under what is derived of it.
//!
//! It is 32 bytes in this process, or a secret key that a PKCS#11 module keeps and that nobody ever sees. What is
//! derived is what the two have in common; see `docs/decisions/0024-pkcs11.md`.

mod in_module;
mod load;
#[cfg(feature = "pkcs11")]
mod module;
#[cfg(not(feature = "pkcs11"))]
#[path = "module/absent.rs"]
mod module;
#[cfg(test)]
pub(crate) mod silent;

use std::sync::Arc;
use std::time::Duration;

use ring::hkdf::{HKDF_SHA256, Salt};
use subtle::ConstantTimeEq as _;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use in_module::{InModule, answered};
pub use load::KekError;
use module::ModuleKey;
pub use module::{ModuleError, ModuleKeyInfo, make_module_key};

/// How long a module is waited for. One that works takes milliseconds, and a second or so where it is entered anew; and whoever follows
/// what other nodes revoke may be behind who waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a start, or a command, waits until the key is found in its module and has derived what it must: some modules are entered
/// over a network, and nobody waits behind it.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Names a key-encryption key without telling anything of it, so that a wrong one is told apart from a
/// damaged file.
pub type KekId = String;

/// 32 bytes derived from a key-encryption key.
pub(super) type Derived = Zeroizing<[u8; 32]>;

/// The key-encryption key: a secret from which everything that seals keys is derived.
pub struct Kek {
    held: Held,
    id: KekId,
    ring_key: Derived,
}

enum Held {
    /// 32 bytes in this process's memory.
    Here(Zeroizing<[u8; 32]>),
    /// By a module, which derives.
    InModule(Arc<InModule>, Arc<Mutex<()>>),
}

/// A key that a module keeps.
trait Derives: Send + Sync {
    /// As [`Kek::derive`].
    fn derive(&self, salt: &[u8], info: &'static [u8]) -> Result<Derived, ModuleError>;

    /// Which key it is.
    fn info(&self) -> &ModuleKeyInfo;

    /// How long a call is waited for.
    fn patience(&self) -> Duration {
        PATIENCE
    }
}

impl Derives for ModuleKey {
    fn derive(&self, salt: &[u8], info: &'static [u8]) -> Result<Derived, ModuleError> {
        Self::derive(self, salt, info)
    }

    fn info(&self) -> &ModuleKeyInfo {
        Self::info(self)
    }
}

/// The module that keeps the key-encryption key does not derive: nothing can be sealed or opened until it does.
/// What was opened before stays in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the PKCS#11 module that keeps the key-encryption key fails: {reason}")]
pub struct KekUnavailable {
    reason: String,
}

impl Kek {
    /// Takes the 32 bytes into care.
    #[must_use]
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        let derive = |info| hkdf(&bytes, &[], info);
        let (id, ring_key) = (name(&derive(ID)), derive(RING_KEY));
        Self { held: Held::Here(bytes), id, ring_key }
    }

    /// Takes a key into use that a module keeps, once `open` has found it there; within `patience`.
    fn in_module<K: Derives + 'static>(
        patience: Duration,
        open: impl FnOnce() -> Result<K, ModuleError> + Send + 'static,
    ) -> Result<Self, ModuleError> {
        answered(patience, move || {
            let key = open()?;
            let derive = |info| key.derive(&[], info);
            let (id, ring_key) = (name(&derive(ID)?), derive(RING_KEY)?);
            let key = Arc::new(InModule::new(Arc::new(key)));
            Ok(Self { held: Held::InModule(key, Arc::default()), id, ring_key })
        })
    }

    /// Names this key-encryption key.
    #[must_use]
    pub fn id(&self) -> KekId {
        self.id.clone()
    }

    /// What authenticates the ring. It is derived once, when the key-encryption key is loaded: the ring is read every
    /// few seconds, and a module that is away for a while must not end the signing.
    pub(super) fn ring_key(&self) -> &Derived {
        &self.ring_key
    }

    /// Derives 32 bytes for the purpose that `info` names: HKDF with SHA-256 (RFC 5869) of bytes that are here; in
    /// a module, one HMAC (NIST SP 800-108r1, section 4.1). May block: call it off the async threads.
    ///
    /// # Errors
    /// When the key is in a module that fails, or does not answer.
    pub(super) fn derive(&self, salt: &[u8], info: &'static [u8]) -> Result<Derived, KekUnavailable> {
        match &self.held {
            Held::Here(bytes) => Ok(hkdf(bytes, salt, info)),
            Held::InModule(key, _) => key.derive(salt, info),
        }
    }

    /// As [`Kek::derive`], from an async thread, which a slow module does not hold up.
    ///
    /// # Errors
    /// As [`Kek::derive`].
    pub(super) async fn derive_aside(
        &self,
        salt: &[u8],
        info: &'static [u8],
    ) -> Result<Derived, KekUnavailable> {
        match &self.held {
            Held::Here(bytes) => Ok(hkdf(bytes, salt, info)),
            Held::InModule(key, turn) => {
                let (key, turn, salt) = (Arc::clone(key), Arc::clone(turn), salt.to_vec());
                // Seldom, and no part of what everybody keeps who reads keys.
                Box::pin(async move {
                    // One thread waits for a module that does not answer, and not one for everybody who has given it up.
                    let turn = turn.lock_owned().await;
                    let derive = move || {
                        let derived = key.derive(&salt, info);
                        drop(turn);
                        derived
                    };
                    let derived = tokio::task::spawn_blocking(derive).await;
                    derived.map_err(|_| KekUnavailable { reason: "the process is stopping".to_owned() })?
                })
                .await
            }
        }
    }

    /// Whether both are the same; takes the same time whatever the answer. Bytes and a module's key are never the same,
    /// even if the module was given those bytes: different things are derived of them.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (&self.held, &other.held) {
            (Held::Here(one), Held::Here(other)) => one.as_slice().ct_eq(other.as_slice()).into(),
            _ => self.ring_key.as_slice().ct_eq(other.ring_key.as_slice()).into(),
        }
    }

    /// Whether a module is still to answer a call that was given up.
    #[cfg(test)]
    pub(crate) fn is_silent(&self) -> bool {
        matches!(&self.held, Held::InModule(key, _) if key.is_silent())
    }

    /// Of a key in a module: which one it is.
    #[must_use]
    pub fn module_key(&self) -> Option<&ModuleKeyInfo> {
        match &self.held {
            Held::Here(_) => None,
            Held::InModule(key, _) => Some(key.key().info()),
        }
    }
}

impl From<ModuleError> for KekUnavailable {
    fn from(error: ModuleError) -> Self {
        Self { reason: error.to_string() }
    }
}

impl std::fmt::Debug for Kek {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

const ID: &[u8] = b"signet kek id";
const RING_KEY: &[u8] = b"signet key ring";

/// The first half of what is derived for it, in hex.
fn name(derived: &Derived) -> KekId {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    derived[..8].iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[expect(clippy::expect_used, reason = "32 bytes are within what HKDF gives")]
fn hkdf(bytes: &Zeroizing<[u8; 32]>, salt: &[u8], info: &[u8]) -> Derived {
    let mut derived = Zeroizing::new([0; 32]);
    Salt::new(HKDF_SHA256, salt)
        .extract(bytes.as_slice())
        .expand(&[info], HKDF_SHA256)
        .and_then(|okm| okm.fill(derived.as_mut_slice()))
        .expect("HKDF gives 32 bytes");
    derived
}
