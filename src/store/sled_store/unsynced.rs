//! The rows that readers see and the disk may not have yet.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Their keys.
pub(super) type Rows = HashSet<Box<[u8]>>;

/// The rows of the group that is being written: in the tree, and on their way to the disk.
#[derive(Default)]
pub(super) struct Unsynced {
    rows: Mutex<Rows>,
    /// How many groups have come to their end, the last one perhaps by a failure.
    ended: watch::Sender<u64>,
}

impl Unsynced {
    /// Before readers can see them.
    pub(super) fn begin<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) {
        self.rows().extend(rows.map(Box::from));
    }

    /// They are on the disk.
    pub(super) fn end(&self) {
        self.rows().clear();
        self.tell();
    }

    /// They never are, as far as anybody knows: whoever reads one is to be told the reason, which is known by now.
    pub(super) fn fail(&self) {
        self.tell();
    }

    fn tell(&self) {
        self.ended.send_modify(|ended| *ended += 1);
    }

    /// Comes when the group that is under way has come to its end, if what was read before concerns it.
    pub(super) fn on_their_way(
        &self,
        concerns: &dyn Fn(&Rows) -> bool,
    ) -> Option<impl Future<Output = ()> + use<>> {
        // Mostly nothing does.
        if !concerns(&self.rows()) {
            return None;
        }
        // Before the look that counts: what ends from here on was under way when that was read, or began later.
        let mut ended = self.ended.subscribe();
        concerns(&self.rows()).then_some(async move { _ = ended.changed().await })
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
