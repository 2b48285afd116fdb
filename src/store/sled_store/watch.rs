//! Keeps a failed disk from looking like a slow one.
//!
//! When a background write of sled 0.34 fails, it notes the failure but, on one path, wakes nobody: the
//! thread that waits in `flush` would wait for ever, and with it every commit. Any other call to `flush`
//! notices the failure and wakes the first.

use std::io;
use std::sync::Arc;

use super::writer::Progress;
use crate::stall::Watch;

/// Looks after a database until what it gives is dropped; also whether its writing thread is held up.
pub(super) fn start(db: sled::Db, progress: Arc<Progress>) -> io::Result<Watch> {
    Watch::start("signet-store-watch", move || {
        progress.stall.look();
        if db.context.global_error().is_err() {
            // Its error is that failure, which the woken thread reports.
            _ = db.flush();
        }
    })
}
