//! A key in a module, which may never answer.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::{Derived, Derives, KekUnavailable, ModuleError};

/// A call that takes too long is given up; while one is out no other is made, so no threads pile up behind a module that is silent. When
/// all have come back the module is asked again.
pub(super) struct InModule {
    key: Arc<dyn Derives>,
    /// Alive while calls that were given up have not come back.
    given_up: Mutex<Vec<Weak<()>>>,
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
            return Err(KekUnavailable { reason: "it has not answered an earlier call yet".to_owned() });
        }
        let (key, salt, out) = (Arc::clone(&self.key), salt.to_vec(), Arc::new(()));
        let (patience, is_out) = (key.patience(), Arc::downgrade(&out));
        let derived = answered(patience, move || {
            let derived = key.derive(&salt, info);
            drop(out);
            derived
        });
        if matches!(derived, Err(ModuleError::Silent { .. })) {
            self.given_up.lock().unwrap_or_else(PoisonError::into_inner).push(is_out);
        }
        Ok(derived?)
    }

    /// Whether a call that was given up is still out.
    pub(super) fn is_silent(&self) -> bool {
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        given_up.retain(|call| call.strong_count() > 0);
        !given_up.is_empty()
    }
}

/// What `call` gives, which enters a module. Where it takes longer than `patience` its thread is left there: nobody can end it.
///
/// # Errors
/// Its own, and [`ModuleError::Silent`].
pub(super) fn answered<T: Send + 'static>(
    patience: Duration,
    call: impl FnOnce() -> Result<T, ModuleError> + Send + 'static,
) -> Result<T, ModuleError> {
    let (tell, answer) = sync_channel(1);
    // Nobody may wait for it any more.
    let call = move || _ = tell.send(call());
    let spawned = thread::Builder::new().name("pkcs11".to_owned()).spawn(call);
    spawned.map_err(|error| ModuleError::NotCalled { reason: error.to_string() })?;
    answer.recv_timeout(patience).unwrap_or_else(|error| {
        Err(match error {
            RecvTimeoutError::Timeout => ModuleError::Silent { seconds: patience.as_secs() },
            RecvTimeoutError::Disconnected => {
                ModuleError::NotCalled { reason: "the call ended without an answer".to_owned() }
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Barrier, Condvar};

    use super::*;
    use crate::keys::kek::silent::SilentModule;
    use crate::keys::kek::{Kek, ModuleKeyInfo};

    /// Answers calls of these salts when they are let go, and any other at once.
    struct TwoAtOnce {
        both_asked: Barrier,
        may_be_given_up: Mutex<Receiver<()>>,
        let_go: Mutex<Vec<&'static [u8]>>,
        went: Condvar,
        info: ModuleKeyInfo,
    }

    const TWO: [&[u8]; 2] = [b"one", b"other"];

    impl TwoAtOnce {
        fn new() -> (Arc<Self>, Sender<()>) {
            let (give_up, may_be_given_up) = channel();
            let info = ModuleKeyInfo { token: "two at once".to_owned(), never_outside: true };
            let (both_asked, may_be_given_up) = (Barrier::new(2), Mutex::new(may_be_given_up));
            let (let_go, went) = Default::default();
            (Arc::new(Self { both_asked, may_be_given_up, let_go, went, info }), give_up)
        }

        fn let_go(&self, salt: &'static [u8]) {
            self.let_go.lock().unwrap().push(salt);
            self.went.notify_all();
        }
    }

    impl Derives for TwoAtOnce {
        fn derive(&self, salt: &[u8], _: &'static [u8]) -> Result<Derived, ModuleError> {
            let let_go = self.let_go.lock().unwrap();
            let waits = |let_go: &mut Vec<&[u8]>| TWO.contains(&salt) && !let_go.contains(&salt);
            drop(self.went.wait_while(let_go, waits).unwrap());
            Ok(Derived::default())
        }

        fn info(&self) -> &ModuleKeyInfo {
            &self.info
        }

        /// Asked for when it is clear that a call is made.
        fn patience(&self) -> Duration {
            if thread::current().name() != Some("one of two") {
                return Duration::from_hours(1);
            }
            self.both_asked.wait();
            self.may_be_given_up.lock().unwrap().recv().unwrap();
            Duration::ZERO
        }
    }

    #[test]
    fn no_call_is_made_while_one_is_out_that_was_given_up_though_another_has_come_back() {
        let (key, go_ahead) = TwoAtOnce::new();
        let module = Arc::new(InModule::new(key.clone()));
        let (tell, given_up) = channel();
        for salt in TWO {
            let (module, tell) = (module.clone(), tell.clone());
            let ask = move || tell.send((salt, module.derive(salt, b"").unwrap_err())).unwrap();
            thread::Builder::new().name("one of two".to_owned()).spawn(ask).unwrap();
        }
        let [first, last] = [(); 2].map(|()| {
            go_ahead.send(()).unwrap();
            given_up.recv().unwrap().0
        });
        let is_out = module.given_up.lock().unwrap().last().unwrap().clone();
        key.let_go(last);
        while is_out.strong_count() > 0 {
            thread::yield_now();
        }
        let error = module.derive(b"third", b"").unwrap_err().to_string();
        assert!(error.contains("an earlier call"), "{error}");
        key.let_go(first);
        while module.is_silent() {
            thread::yield_now();
        }
        assert!(module.derive(b"third", b"").is_ok());
    }

    #[test]
    fn a_start_that_gets_no_answer_says_so() {
        let module = Arc::<SilentModule>::default();
        let silence = module.fall_silent();
        let error = Kek::in_module(Duration::ZERO, module.key()).unwrap_err();
        assert!(error.may_pass() && error.to_string().contains("has not answered"), "{error}");
        drop(silence);
        assert!(Kek::in_module(Duration::from_hours(1), module.key()).is_ok());
    }
}
