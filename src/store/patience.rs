//! How long one request waits for a store that does not answer, all its calls and turns together.
//!
//! A store in a database gives up each call after a while ([`Store::patience`]). Without more, a request that goes on without
//! what it did not get would wait as long for its next call, and one that must wait for its turn, until all before it have
//! waited. So what a request has waited in vain is counted, and so is the time that it stood in a line that does not move: after
//! a call's time and an eighth more it waits no longer. Calls that are answered count nothing, however many they are.

use std::cell::Cell;
use std::pin::pin;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Store, StoreError};

tokio::task_local! {
    /// Nothing for what a request asked for, and that goes on however late it is.
    static WAITED: Cell<Option<Duration>>;
}

/// What a request has waited so far. Whoever polls a request does so [`during`](Self::during) it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience(Duration);

impl Patience {
    /// Does a part of the request's work.
    pub fn during<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (done, waited) = WAITED.sync_scope(Cell::new(Some(self.0)), || (work(), waited()));
        self.0 = waited.unwrap_or(self.0);
        done
    }

    /// `work` that is to wait no longer than a request, because a request may wait for it. Where it is some request's already, it is a
    /// part of that.
    pub fn of_a_request<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
        // Seldom, and large: not to be carried about twice.
        let work = Box::pin(work);
        async move {
            if is_asked_for() {
                return work.await;
            }
            WAITED.scope(Cell::new(Some(Duration::ZERO)), work).await
        }
    }

    /// `work` of the same request that a task of its own does.
    pub fn carried<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
        let waited = waited();
        async move {
            match waited {
                Some(waited) => WAITED.scope(Cell::new(Some(waited)), work).await,
                None => work.await,
            }
        }
    }

    /// `work` of whoever has the turn ([`Line`]). Where all calls end in time, and whoever stands in the line is sent away from it, it goes on as
    /// if no request waited for it: it may be several slow commits, one after another, and given up between them and begun anew
    /// it would never be done.
    pub fn in_turn<T>(store: &dyn Store, work: impl Future<Output = T>) -> impl Future<Output = T> {
        let waited = waited().filter(|_| store.patience().is_none());
        WAITED.scope(Cell::new(waited), Box::pin(work))
    }
}

/// `call`, for as long as this request still waits. What it was to write may be written all the same.
///
/// # Errors
/// Its own, and that it took too long.
pub async fn patiently<T>(
    store: &dyn Store,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    patiently_for(1, store, call).await
}

/// The same of so many calls one after another, each of which may be slow.
///
/// # Errors
/// Likewise.
pub async fn patiently_for<T, E: From<StoreError>>(
    calls: u32,
    store: &dyn Store,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let (Some(patience), Some(waited)) = (store.patience(), waited()) else { return work.await };
    // A call's own limit ends it first, unless some of the time is used up.
    let most = (patience * calls + patience / 8).saturating_sub(waited);
    let began = Instant::now();
    let answer = timeout(most, work).await.unwrap_or_else(|_| Err(late("the store's answer").into()));
    if answer.is_err() {
        count(began.elapsed());
    }
    answer
}

/// Those who change the same, one after another.
///
/// A store that is slow answers all the same: whoever stands in a line that moves is not sent away, however long the line is, and
/// what was waited until it last moved was not in vain. It moves when somebody's turn ends and every call of it was answered.
#[derive(Debug, Default)]
pub struct Line {
    turn: Mutex<()>,
    moved: std::sync::Mutex<Option<Instant>>,
}

/// Nobody else changes the same until this is dropped.
#[derive(Debug)]
#[must_use = "others come in as soon as it is dropped"]
pub struct Turn<'a> {
    line: &'a Line,
    waited: Option<Duration>,
    _alone: MutexGuard<'a, ()>,
}

impl Line {
    /// The turn, for as long as this request still waits. Work that is no request's waits for it however long that takes, which is no
    /// longer than those before it may wait.
    ///
    /// # Errors
    /// When the one before it takes too long.
    pub async fn turn(&self, store: &dyn Store) -> Result<Turn<'_>, StoreError> {
        if let Some(turn) = self.free_turn() {
            return Ok(turn);
        }
        let (Some(patience), Some(waited)) = (store.patience(), waited()) else {
            return Ok(self.turn_however_late().await);
        };
        let (mut since, mut turn) = (Instant::now(), pin!(self.turn.lock()));
        loop {
            let came = timeout_at(since + patience.saturating_sub(waited), turn.as_mut()).await;
            let moved = self.moved().filter(|moved| *moved > since);
            since = moved.unwrap_or(since);
            match came {
                Err(_) if moved.is_some() => {}
                Ok(turn) => {
                    count(since.elapsed());
                    return Ok(self.begun(turn));
                }
                Err(_) => {
                    count(since.elapsed());
                    return Err(late("others that change the same"));
                }
            }
        }
    }

    /// The turn, if nobody has it.
    pub fn free_turn(&self) -> Option<Turn<'_>> {
        self.turn.try_lock().ok().map(|turn| self.begun(turn))
    }

    /// The turn, whoever takes how long before it.
    pub async fn turn_however_late(&self) -> Turn<'_> {
        self.begun(self.turn.lock().await)
    }

    fn begun<'a>(&'a self, turn: MutexGuard<'a, ()>) -> Turn<'a> {
        Turn { line: self, waited: waited(), _alone: turn }
    }

    fn moved(&self) -> Option<Instant> {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Of a request that was dropped half-way nothing is known.
        if self.waited.is_some() && self.waited == waited() {
            *self.line.moved.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }
}

/// The turn in a line in which nobody waits longer than for a call, though it moves: for those who can go on without it.
///
///
/// # Errors
/// When those before it take too long.
pub async fn turn<'a, T>(line: &'a Mutex<T>, store: &dyn Store) -> Result<MutexGuard<'a, T>, StoreError> {
    if let Ok(turn) = line.try_lock() {
        return Ok(turn);
    }
    let (Some(patience), Some(waited)) = (store.patience(), waited()) else { return Ok(line.lock().await) };
    let began = Instant::now();
    let turn = timeout(patience.saturating_sub(waited), line.lock()).await;
    count(began.elapsed());
    turn.map_err(|_| late("others that change the same"))
}

/// `work` of the same request that another thread does.
pub(super) fn carried_over<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let waited = waited();
    move || match waited {
        Some(waited) => WAITED.sync_scope(Cell::new(Some(waited)), work),
        None => work(),
    }
}

/// Whether this is done for a request, which waits no longer than for a call.
pub(super) fn is_asked_for() -> bool {
    waited().is_some()
}

/// Nothing where no request is served.
fn waited() -> Option<Duration> {
    WAITED.try_with(Cell::get).ok().flatten()
}

fn count(more: Duration) {
    let _no_request = WAITED.try_with(|waited| waited.set(waited.get().map(|waited| waited + more)));
}

fn late(awaited: &str) -> StoreError {
    StoreError::Unavailable(format!("the request has waited too long, last for {awaited}"))
}
