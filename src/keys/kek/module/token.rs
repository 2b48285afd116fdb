//! A token of a module, logged in to.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::error::ModuleError;
use super::library::{self, failed};
use crate::config::{ModuleKeyConfig, PinSource, exposed};

/// The PINs that a token did not take, by its serial number. This process does not try them again: a token counts wrong
/// ones and locks itself.
static REFUSED: Mutex<Vec<(String, Zeroizing<String>)>> = Mutex::new(Vec::new());

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    /// For making a key.
    Write,
}

/// Opens a session on the token that `config` names, and logs in.
///
/// # Errors
/// When module, token or PIN don't allow that. A PIN that was refused before is not tried again.
pub(super) fn log_in(config: &ModuleKeyConfig, access: Access) -> Result<(Session, TokenInfo), ModuleError> {
    let module = library::open(&config.module)?;
    let (slot, token) = find(&module, &config.token)?;
    let session = match access {
        Access::Read => module.open_ro_session(slot),
        Access::Write => module.open_rw_session(slot),
    };
    let session = session.map_err(|error| failed(&error))?;
    if token.login_required() {
        log_in_once(&session, &token, &config.pin)?;
    }
    Ok((session, token))
}

fn find(module: &Pkcs11, name: &str) -> Result<(Slot, TokenInfo), ModuleError> {
    let slots = module.get_slots_with_initialized_token().map_err(|error| failed(&error))?;
    // A token that goes while it is looked at is not there.
    let tokens: Vec<(Slot, TokenInfo)> =
        slots.into_iter().filter_map(|slot| Some((slot, module.get_token_info(slot).ok()?))).collect();
    let called = |token: &TokenInfo| token.label() == name || token.serial_number() == name;
    let mut named: Vec<&(Slot, TokenInfo)> = tokens.iter().filter(|(_, token)| called(token)).collect();
    match (named.pop(), named.len()) {
        (Some((slot, token)), 0) => Ok((*slot, token.clone())),
        (Some((_, last)), _) => {
            let mut serials: Vec<&str> = named.iter().map(|(_, token)| token.serial_number()).collect();
            serials.push(last.serial_number());
            Err(ModuleError::SeveralTokens { token: name.to_owned(), serials: serials.join(", ") })
        }
        (None, _) => {
            let found = tokens.iter().map(|(_, token)| token.label().to_owned()).collect();
            Err(ModuleError::NoToken { token: name.to_owned(), found })
        }
    }
}

fn log_in_once(session: &Session, token: &TokenInfo, source: &PinSource) -> Result<(), ModuleError> {
    let name = || token.label().to_owned();
    let (pin, from) = match source {
        PinSource::Value(pin) => {
            (Zeroizing::new(pin.expose().trim().to_owned()), "SIGNET_KEYS_PKCS11_PIN".to_owned())
        }
        PinSource::File(path) => (read(path)?, path.display().to_string()),
    };
    let wrong = || ModuleError::WrongPin { token: name(), from: from.clone() };
    let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    let was_refused = refused.iter().any(|(serial, each)| serial == token.serial_number() && *each == pin);
    if was_refused || pin.is_empty() {
        return Err(wrong());
    }
    if let Some(state) = at_stake(token.user_pin_locked(), token.user_pin_final_try()) {
        return Err(ModuleError::PinAtStake { token: name(), state });
    }
    match session.login(UserType::User, Some(&AuthPin::from(pin.as_str()))) {
        // All sessions of a process are logged in together.
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
            refused.push((token.serial_number().to_owned(), pin));
            Err(wrong())
        }
        Err(error) => Err(failed(&error)),
    }
}

/// What a token says of its PIN that forbids to try one.
fn at_stake(locked: bool, final_try: bool) -> Option<&'static str> {
    match (locked, final_try) {
        (true, _) => Some("is locked after too many wrong PINs"),
        (false, true) => Some("would lock itself after one more wrong PIN, so none is tried"),
        (false, false) => None,
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, ModuleError> {
    let unreadable = |source| ModuleError::PinFile { path: path.to_owned(), source };
    let text = Zeroizing::new(fs::read_to_string(path).map_err(unreadable)?);
    if let Some(mode) = exposed(&fs::metadata(path).map_err(unreadable)?) {
        return Err(ModuleError::PinExposed { path: path.to_owned(), mode });
    }
    Ok(Zeroizing::new(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pin_is_tried_where_one_more_would_lock_the_token() {
        assert_eq!(at_stake(false, false), None);
        assert!(at_stake(false, true).is_some_and(|state| state.contains("would lock itself")));
        assert!(at_stake(true, false).is_some_and(|state| state.contains("is locked")));
    }
}
