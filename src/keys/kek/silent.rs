//! A module that stops answering when a test says so.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::{Derived, Derives, Kek, ModuleError, ModuleKeyInfo, hkdf};

/// The module.
#[derive(Default)]
pub(crate) struct SilentModule {
    is_silent: Mutex<bool>,
    speaks_again: Condvar,
    /// Whether nobody waits for it while it is silent.
    pub(crate) is_given_up: AtomicBool,
    /// How often it was called.
    pub(crate) calls: AtomicUsize,
    /// Told of each call that is not answered.
    pub(crate) called: Notify,
}

/// As long as this is kept, no call comes back.
pub(crate) struct Silence(Arc<SilentModule>);

impl SilentModule {
    /// A key-encryption key that the module keeps.
    pub(crate) fn kek(self: &Arc<Self>) -> Kek {
        Kek::in_module(Duration::from_hours(1), self.key()).unwrap()
    }

    /// Finds that key.
    pub(super) fn key(self: &Arc<Self>) -> impl FnOnce() -> Result<Key, ModuleError> + use<> {
        let info = ModuleKeyInfo { token: "silent".to_owned(), never_outside: true };
        let key = Key { module: self.clone(), info };
        || Ok(key)
    }

    pub(crate) fn fall_silent(self: &Arc<Self>) -> Silence {
        *self.is_silent.lock().unwrap() = true;
        Silence(self.clone())
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        *self.0.is_silent.lock().unwrap() = false;
        self.0.speaks_again.notify_all();
    }
}

pub(super) struct Key {
    module: Arc<SilentModule>,
    info: ModuleKeyInfo,
}

impl Derives for Key {
    fn derive(&self, salt: &[u8], info: &'static [u8]) -> Result<Derived, ModuleError> {
        let silent = self.module.is_silent.lock().unwrap();
        self.module.calls.fetch_add(1, SeqCst);
        if *silent {
            self.module.called.notify_one();
        }
        drop(self.module.speaks_again.wait_while(silent, |silent| *silent).unwrap());
        Ok(hkdf(&Zeroizing::new([1; 32]), salt, info))
    }

    fn info(&self) -> &ModuleKeyInfo {
        &self.info
    }

    fn patience(&self) -> Duration {
        let is_given_up = self.module.is_given_up.load(SeqCst) && *self.module.is_silent.lock().unwrap();
        if is_given_up { Duration::ZERO } else { Duration::from_hours(1) }
    }
}
