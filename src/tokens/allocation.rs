use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::StatusLists;
use super::status_list::List;
use crate::clock::SharedClock;
use crate::oauth::ListId;
use crate::store::StoreError;

/// Hands out places in status lists without writing: a spare list always waits, so that issuing never does.
pub struct StatusIndexes {
    lists: Arc<StatusLists>,
    clock: SharedClock,
    open: ArcSwap<OpenList>,
    spare: ArcSwapOption<OpenList>,
    swapping: Mutex<()>,
    wanted: tokio::sync::Notify,
}

#[derive(Debug)]
struct OpenList {
    list: Arc<List>,
    next: AtomicU64,
}

/// A place in a list.
#[derive(Debug)]
pub struct Place {
    /// The index of the bit.
    pub idx: u64,
    list: Arc<OpenList>,
}

impl Place {
    /// The identifier of the list.
    pub(super) fn list_id(&self) -> &ListId {
        &self.list.list.id
    }

    /// The URI of the list.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.list.list.uri
    }
}

impl OpenList {
    fn new(list: Arc<List>) -> Self {
        Self { list, next: AtomicU64::new(0) }
    }

    fn take(&self, iat: i64) -> Option<u64> {
        if iat >= self.list.issue_until() {
            return None;
        }
        let idx = self.next.fetch_add(1, Ordering::Relaxed);
        (idx < self.list.capacity()).then_some(idx)
    }

    /// It takes no more tokens: as if it were full.
    fn close(&self) {
        self.next.fetch_max(self.list.capacity(), Ordering::Relaxed);
    }

    fn is_full(&self) -> bool {
        self.next.load(Ordering::Relaxed) >= self.list.capacity()
    }
}

impl StatusIndexes {
    /// Opens a new list and reserves its successor: two rows a start.
    ///
    /// # Errors
    /// When the store can't write them.
    pub async fn open(lists: Arc<StatusLists>, clock: SharedClock) -> Result<Self, StoreError> {
        let open = ArcSwap::from_pointee(OpenList::new(lists.reserve().await?));
        let spare = ArcSwapOption::from_pointee(OpenList::new(lists.reserve().await?));
        Ok(Self { lists, clock, open, spare, swapping: Mutex::default(), wanted: tokio::sync::Notify::new() })
    }

    /// The next free place for a token issued at `iat`; none while every list is full or over.
    pub fn take(&self, iat: i64) -> Option<Place> {
        let open = self.open.load();
        if let Some(idx) = open.take(iat) {
            return Some(Place { idx, list: Arc::clone(&open) });
        }
        drop(open);
        self.take_from_next(iat)
    }

    fn take_from_next(&self, iat: i64) -> Option<Place> {
        let _turn = self.swapping.lock().unwrap_or_else(PoisonError::into_inner);
        let open = self.open.load_full();
        if let Some(idx) = open.take(iat) {
            return Some(Place { idx, list: open });
        }
        let spare = self.spare.swap(None);
        // Not before: who is woken looks whether there is one.
        self.wanted.notify_one();
        let spare = spare?;
        self.open.store(spare.clone());
        spare.take(iat).map(|idx| Place { idx, list: spare })
    }

    /// Waits until a spare list is wanted.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Whether a spare list waits that has not used up half of its time.
    pub fn has_spare(&self) -> bool {
        let now = self.clock.numeric_date();
        let half = self.lists.dates().window / 2;
        let spare = self.spare.load();
        spare.as_ref().is_some_and(|spare| !spare.is_full() && spare.list.issue_until() - now >= half)
    }

    /// Takes no more tokens into lists that are not kept any more: a clock that is ahead has had them end, and may be set right.
    pub fn close_dropped(&self) {
        for own in self.spare.load_full().into_iter().chain([self.open.load_full()]) {
            if self.lists.kept(own.list.id.as_str()).is_none() {
                own.close();
            }
        }
    }

    /// Takes no more tokens into lists whose rows the store does not have: a standby took over that had not got them. No other node knows
    /// of such a list, nor does this one when it is started again. Nothing is written here; a spare list is wanted then.
    ///
    /// # Errors
    /// When the store can't be read; to be called again.
    pub async fn close_lost(&self) -> Result<(), StoreError> {
        let (now, mut lost) = (self.clock.numeric_date(), false);
        for own in self.spare.load_full().into_iter().chain([self.open.load_full()]) {
            if !self.lists.is_stored(&own.list.id).await? {
                own.close();
                // One that is over may have ended, and been removed.
                lost |= now < own.list.issue_until();
            }
        }
        if lost {
            tracing::warn!("the store has lost status lists of this node; tokens of theirs count here only");
            self.wanted.notify_one();
        }
        Ok(())
    }

    /// Reserves a spare list if there is none. Call it from one place: of two calls at once each would reserve one.
    ///
    /// # Errors
    /// When the store can't write its row.
    pub async fn replenish(&self) -> Result<(), StoreError> {
        if !self.has_spare() {
            let fresh = self.lists.reserve().await?;
            self.spare.store(Some(Arc::new(OpenList::new(fresh))));
        }
        Ok(())
    }
}
