//! A build that knows no modules.

#[path = "error.rs"]
mod error;

pub use error::ModuleError;

use super::{Derived, KekId};
use crate::config::ModuleKeyConfig;

/// There is none.
pub(super) enum ModuleKey {}

/// Which key of a module it is; here there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleKeyInfo {
    /// The token's label and model.
    pub token: String,
    /// Whether the key was made in the module and never left it, as the module says.
    pub never_outside: bool,
}

impl ModuleKey {
    pub(super) fn open(_: &ModuleKeyConfig) -> Result<Self, ModuleError> {
        Err(ModuleError::NotBuilt)
    }

    pub(super) fn derive(&self, _: &[u8], _: &'static [u8]) -> Result<Derived, ModuleError> {
        match *self {}
    }

    pub(super) fn info(&self) -> &ModuleKeyInfo {
        match *self {}
    }
}

/// Makes nothing.
///
/// # Errors
/// Always [`ModuleError::NotBuilt`].
pub fn make_module_key(_: &ModuleKeyConfig) -> Result<KekId, ModuleError> {
    Err(ModuleError::NotBuilt)
}
