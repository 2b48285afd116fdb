//! The libraries of modules. A module is initialized once a process, whoever uses it, and stays so: to end it while some
//! thread is in it is undefined.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use super::error::ModuleError;

static LOADED: Mutex<Vec<(PathBuf, Pkcs11)>> = Mutex::new(Vec::new());

/// The module in the library `path`, loaded and initialized.
///
/// # Errors
/// When it is no library, not one of PKCS#11, or does not start.
pub(super) fn open(path: &Path) -> Result<Pkcs11, ModuleError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let there = loaded.iter().find(|(each, _)| each == path).map(|(_, module)| module.clone());
    let module = if let Some(module) = there {
        module
    } else {
        let module = Pkcs11::new(path).map_err(|error| failed(&error))?;
        loaded.push((path.to_owned(), module.clone()));
        module
    };
    // Again at each call: something else in this process may have ended it.
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(module),
        Err(error) => Err(failed(&error)),
    }
}

/// What an error of the module says to people.
pub(super) fn failed(error: &Error) -> ModuleError {
    match error {
        Error::LibraryLoading(error) => ModuleError::Library { reason: error.to_string() },
        Error::MissingSymbol(name) => ModuleError::Library { reason: format!("{name} is missing in it") },
        Error::Pkcs11(code, function) => {
            ModuleError::Call { function: format!("C_{function:?}"), code: name(*code) }
        }
        other => ModuleError::Call { function: "the module".to_owned(), code: other.to_string() },
    }
}

/// As the standard writes it: `CKR_PIN_INCORRECT`.
fn name(code: RvError) -> String {
    if let RvError::VendorDefined(code) = code {
        return format!("{code:#x}, an error of the vendor's own");
    }
    let mut name = "CKR".to_owned();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn an_error_is_named_as_in_the_standard() {
        let error = failed(&Error::Pkcs11(RvError::PinIncorrect, Function::Login));
        assert!(error.to_string().starts_with("C_Login says CKR_PIN_INCORRECT; "), "{error}");
        let error = failed(&Error::Pkcs11(RvError::VendorDefined(0x8000_0001), Function::Sign));
        assert!(error.to_string().contains("0x80000001"), "{error}");
    }

    #[test]
    fn what_is_no_module_is_refused() {
        for path in ["/nonexistent/module.so", "/dev/null"] {
            assert!(matches!(open(Path::new(path)), Err(ModuleError::Library { .. })), "{path}");
        }
    }
}
