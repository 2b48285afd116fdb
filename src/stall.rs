//! Tells a disk that stalls from one that is slow. A call to the system that is neither done nor refused has no end of its own, and
//! whoever waits for it would have none either: requests that are never answered, with their connections.
//!
//! Those who wait are told together, by the thread that looks, when what is under way has taken too long; whoever comes later is not
//! let in until it has ended. So no line of them grows, and while it moves nobody in it is sent away.

use std::fmt;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::SharedClock;

/// A write, of all that share it, may take so long: a disk that is busy with other work takes up to a second or two, and clients wait
/// for longer than this.
pub const LONGEST_WRITE: Duration = Duration::from_secs(5);

/// How often it is looked whether one takes longer.
const EVERY: Duration = Duration::from_secs(1);

/// Whether the one thread that writes is held up.
pub struct Stall {
    clock: SharedClock,
    /// When what is under way began.
    since: Mutex<Option<Duration>>,
    lasts: watch::Sender<bool>,
}

/// The disk stalls. What was asked for may be done later all the same, unless that was known before it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disk has neither done nor refused a write for {} seconds", LONGEST_WRITE.as_secs())]
pub struct HeldUp;

/// A write is under way until this is dropped.
#[must_use = "it ends when it is dropped"]
pub struct UnderWay<'a>(&'a Stall);

impl Stall {
    /// Nothing is under way; `clock` says how long what follows takes.
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, since: Mutex::default(), lasts: watch::Sender::default() }
    }

    /// Begins a write.
    pub fn begin(&self) -> UnderWay<'_> {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.clock.monotonic());
        UnderWay(self)
    }

    /// Whether a write was seen to be under way for too long, and still is.
    pub fn lasts(&self) -> bool {
        *self.lasts.borrow()
    }

    /// Tells those who wait if what is under way has taken too long.
    pub fn look(&self) {
        // Held until they are told, so that the end can't come in between.
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_some_and(|since| self.clock.monotonic().saturating_sub(since) >= LONGEST_WRITE) {
            self.lasts.send_if_modified(|lasts| !std::mem::replace(lasts, true));
        }
    }

    /// What `work` gives, which waits for the thread that writes.
    ///
    /// # Errors
    /// When that is held up: it was before, and `work` is not begun, or it is meanwhile.
    pub async fn outlasted_by<T>(&self, work: impl Future<Output = T>) -> Result<T, HeldUp> {
        let mut lasts = self.lasts.subscribe();
        if *lasts.borrow() {
            return Err(HeldUp);
        }
        tokio::select! {
            biased;
            done = work => Ok(done),
            _ = lasts.wait_for(|lasts| *lasts) => Err(HeldUp),
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut since = self.0.since.lock().unwrap_or_else(PoisonError::into_inner);
        *since = None;
        self.0.lasts.send_if_modified(std::mem::take);
    }
}

impl fmt::Debug for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stall").field("lasts", &self.lasts()).finish_non_exhaustive()
    }
}

/// A thread that looks once a second, until this is dropped.
#[derive(Debug)]
pub struct Watch {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts the thread `name`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(name: &str, mut look: impl FnMut() + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = sync_channel::<()>(0);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                look();
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

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::clock::ManualClock;

    fn stall() -> (Arc<ManualClock>, Stall) {
        let clock = Arc::new(ManualClock::at(1_700_000_000));
        (clock.clone(), Stall::new(clock))
    }

    #[test]
    fn who_waits_for_what_takes_too_long_is_told_and_nobody_is_let_in_until_it_ends() {
        let (clock, stall) = stall();
        let under_way = stall.begin();
        let mut waiting = Box::pin(stall.outlasted_by(pending::<()>()));
        clock.advance(LONGEST_WRITE.checked_sub(Duration::from_millis(1)).unwrap());
        stall.look();
        assert_eq!(waiting.as_mut().now_or_never(), None);
        clock.advance(Duration::from_millis(1));
        stall.look();
        assert_eq!(waiting.now_or_never(), Some(Err(HeldUp)));
        assert!(stall.lasts());
        let later = async { panic!("it is not begun") };
        assert_eq!(stall.outlasted_by::<()>(later).now_or_never(), Some(Err(HeldUp)));
        drop(under_way);
        assert!(!stall.lasts());
        assert_eq!(stall.outlasted_by(ready(1)).now_or_never(), Some(Ok(1)));
    }

    #[test]
    fn a_line_that_moves_and_one_that_is_empty_are_no_stall() {
        let (clock, stall) = stall();
        let mut waiting = Box::pin(stall.outlasted_by(pending::<()>()));
        for _ in 0..10 {
            let under_way = stall.begin();
            clock.advance(Duration::from_secs(4));
            stall.look();
            drop(under_way);
        }
        clock.advance(Duration::from_hours(1));
        stall.look();
        assert!(!stall.lasts());
        assert_eq!(waiting.as_mut().now_or_never(), None);
    }
}
