//! A key in a module, which may never answer.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use super::{Derived, Derives, KekUnavailable};

/// A call that takes too long is given up; while it is out no other is made, so no threads pile up behind a module that is silent. When it
/// comes back the module is asked again.
pub(super) struct InModule {
    key: Arc<dyn Derives>,
    /// Alive while a call that was given up has not come back.
    given_up: Mutex<Weak<()>>,
}

impl InModule {
    pub(super) fn new(key: Arc<dyn Derives>) -> Self {
        Self { key, given_up: Mutex::default() }
    }

    pub(super) fn key(&self) -> &dyn Derives {
        self.key.as_ref()
    }

    /// As [`super::Kek::derive`].
    pub(super) fn derive(&self, salt: &[u8], info: &'static [u8]) -> Result<Derived, KekUnavailable> {
        if self.is_silent() {
            return Err(unavailable("it has not answered an earlier call yet"));
        }
        let (key, salt, out) = (Arc::clone(&self.key), salt.to_vec(), Arc::new(()));
        let (patience, is_out, (tell, answer)) = (key.patience(), Arc::downgrade(&out), sync_channel(1));
        let call = move || {
            let derived = key.derive(&salt, info);
            drop(out);
            // Nobody may wait for it any more.
            _ = tell.send(derived);
        };
        thread::Builder::new()
            .name("pkcs11".to_owned())
            .spawn(call)
            .map_err(|error| unavailable(&error.to_string()))?;
        match answer.recv_timeout(patience) {
            Ok(derived) => Ok(derived?),
            Err(RecvTimeoutError::Timeout) => {
                *self.given_up.lock().unwrap_or_else(PoisonError::into_inner) = is_out;
                Err(unavailable("it does not answer"))
            }
            Err(RecvTimeoutError::Disconnected) => Err(unavailable("the call ended without an answer")),
        }
    }

    /// Whether a call that was given up is still out.
    pub(super) fn is_silent(&self) -> bool {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner).strong_count() > 0
    }
}

fn unavailable(reason: &str) -> KekUnavailable {
    KekUnavailable { reason: reason.to_owned() }
}
