//! A key-encryption key that a PKCS#11 module keeps: what is derived of it is computed there, and it never comes here.

mod error;
mod library;
mod object;
mod token;

use std::sync::{Mutex, PoisonError};

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

pub use error::ModuleError;
use library::failed;
use token::Access;

use super::{Derived, KekId};
use crate::config::ModuleKeyConfig;

/// A secret key in a module, ready to derive. Calls wait for each other: they are rare.
pub(super) struct ModuleKey {
    config: ModuleKeyConfig,
    info: ModuleKeyInfo,
    /// What the key makes of nothing: tells it from another one of its name.
    mark: Derived,
    /// None after it was lost, until it is reached again.
    open: Mutex<Option<Open>>,
}

/// Which key of a module it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleKeyInfo {
    /// The token's label and model.
    pub token: String,
    /// Whether the key was made in the module and never left it, as the module says.
    pub never_outside: bool,
}

struct Open {
    session: Session,
    key: ObjectHandle,
}

impl ModuleKey {
    /// Logs in and finds the key.
    ///
    /// # Errors
    /// When it can't be used, or could leave the module.
    pub(super) fn open(config: &ModuleKeyConfig) -> Result<Self, ModuleError> {
        let (open, info) = reach(config)?;
        let mark = mac(&open, &message(&[], MARK))?;
        Ok(Self { config: config.clone(), info, mark, open: Mutex::new(Some(open)) })
    }

    /// Derives 32 bytes. Where the module fails, and be it that it closed the session, it is entered once more: a key of that
    /// name that is another one than before derives nothing.
    ///
    /// # Errors
    /// When the module fails then too. The next call tries again.
    pub(super) fn derive(&self, salt: &[u8], info: &'static [u8]) -> Result<Derived, ModuleError> {
        let message = message(salt, info);
        let mut present = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(derived) = present.as_ref().and_then(|open| mac(open, &message).ok()) {
            return Ok(derived);
        }
        // The former session ends first: a login belongs to all sessions of a process.
        *present = None;
        let (open, _) = reach(&self.config)?;
        let mark = mac(&open, &self::message(&[], MARK))?;
        if !bool::from(mark.as_slice().ct_eq(self.mark.as_slice())) {
            return Err(ModuleError::OtherKey { key: self.config.key.clone() });
        }
        let derived = mac(&open, &message)?;
        *present = Some(open);
        Ok(derived)
    }

    /// Which key it is.
    pub(super) fn info(&self) -> &ModuleKeyInfo {
        &self.info
    }
}

/// Makes the key that `config` names: 32 random bytes of the module's, which can't leave it. Gives the name of the
/// key-encryption key that it is.
///
/// # Errors
/// When there is such a key already, or the module does not make it. After [`ModuleError::Silent`] it may have been made.
pub fn make_module_key(config: &ModuleKeyConfig) -> Result<KekId, ModuleError> {
    let config = config.clone();
    let made = super::Kek::in_module(super::START_PATIENCE, move || {
        let (session, token) = token::log_in(&config, Access::Write)?;
        object::make(&session, (token.label(), &config.key))?;
        ModuleKey::open(&config)
    });
    Ok(made?.id())
}

fn reach(config: &ModuleKeyConfig) -> Result<(Open, ModuleKeyInfo), ModuleError> {
    let (session, token) = token::log_in(config, Access::Read)?;
    let (key, never_outside) = object::find(&session, (token.label(), &config.key))?;
    let token = format!("{} ({})", token.label(), token.model());
    Ok((Open { session, key }, ModuleKeyInfo { token, never_outside }))
}

const MARK: &[u8] = b"signet module key mark";

/// HMAC with SHA-256, by the module.
fn mac(open: &Open, message: &[u8]) -> Result<Derived, ModuleError> {
    let signed = open.session.sign(&Mechanism::Sha256Hmac, open.key, message);
    let signed = Zeroizing::new(signed.map_err(|error| failed(&error))?);
    let mut derived = Zeroizing::new([0; 32]);
    if signed.len() != derived.len() {
        let code = format!("{} bytes for an HMAC with SHA-256", signed.len());
        return Err(ModuleError::Call { function: "C_Sign".to_owned(), code });
    }
    derived.copy_from_slice(&signed);
    Ok(derived)
}

/// What the module makes the HMAC of: the counter mode of NIST SP 800-108r1, section 4.1, whose one block are the 32
/// bytes: counter, label, a zero byte, context, length in bits. `info` has no zero byte, so no two pairs make the same.
fn message(salt: &[u8], info: &'static [u8]) -> Vec<u8> {
    [&1_u32.to_be_bytes(), info, &[0], salt, &256_u32.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_that_of_sp_800_108() {
        assert_eq!(message(b"salt", b"label"), b"\0\0\0\x01label\0salt\0\0\x01\0");
        assert_ne!(message(b"", b"ab"), message(b"b", b"a"));
    }
}
