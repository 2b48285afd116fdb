//! Keeps a failed disk from looking like a slow one.
//!
//! When a background write of sled 0.34 fails, it notes the failure but, on one path, wakes nobody: the
//! thread that waits in `flush` would wait for ever, and with it every commit. Any other call to `flush`
//! notices the failure and wakes the first.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(1);

/// Looks after a database until it is dropped.
pub(super) struct Watch {
    stop: Option<SyncSender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watch {
    /// Looks for a failure once a second.
    pub(super) fn start(db: sled::Db) -> io::Result<Self> {
        let (stop, stopped) = sync_channel::<()>(0);
        let thread = std::thread::Builder::new().name("signet-store-watch".to_owned()).spawn(move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                if db.context.global_error().is_err() {
                    // Its error is that failure, which the woken thread reports.
                    _ = db.flush();
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}
