use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::clock::SharedClock;

/// A document that is fetched, used for as long as its publisher allows, and fetched again.
///
/// - In the last quarter of its time it is renewed in the background: a busy process never waits.
/// - When its time is over, whoever asks waits for the renewal, a second at most. If the last attempt
///   failed, or one is under way for as long, the stale copy is handed out at once, and attempts go on in
///   the background. How stale a copy may be is the caller's to judge.
/// - At most one fetch is under way. Failed ones are followed by a pause that doubles up to a minute,
///   counted from their end, so that nothing storms a publisher who is away.
/// - A fetch belongs to no request: it ends, and is counted, though its caller went away.
pub(super) struct Cached<L: Load> {
    loader: L,
    clock: SharedClock,
    copy: ArcSwapOption<Copy<L::Value>>,
    attempts: Attempts,
    flight: Arc<Mutex<()>>,
}

/// Where a document comes from.
#[async_trait]
pub(super) trait Load: Send + Sync + 'static {
    /// The document, parsed and checked.
    type Value: Send + Sync + 'static;

    /// What the document is, for the log.
    fn name(&self) -> &str;

    /// Fetches it. `previous` is the copy at hand.
    async fn load(&self, previous: Option<&Copy<Self::Value>>) -> Result<Loaded<Self::Value>, LoadError>;
}

/// What [`Load::load`] found.
pub(super) enum Loaded<T> {
    /// The previous copy is still the current one; `lifetime` as in [`Loaded::New`].
    Unchanged { lifetime: Option<Duration> },
    /// A new one, with its entity tag, and for how long it may be used, if its publisher says so.
    New { value: T, etag: Option<String>, lifetime: Option<Duration> },
}

/// The document could not be had or is not what it should be.
pub(super) type LoadError = Box<dyn std::error::Error + Send + Sync>;

/// A copy of a document.
pub(super) struct Copy<T> {
    /// The document.
    pub value: Arc<T>,
    /// Its entity tag.
    pub etag: Option<String>,
    /// When it was asked for.
    checked_at: Duration,
    lifetime: Duration,
}

impl<T> Copy<T> {
    /// For how long the copy has been stale, in monotonic time; zero while it is fresh.
    pub(super) fn stale_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.checked_at + self.lifetime)
    }

    /// Whether the publisher allows it to be used.
    pub(super) fn is_fresh(&self, now: Duration) -> bool {
        now < self.checked_at + self.lifetime
    }

    fn is_ageing(&self, now: Duration) -> bool {
        now >= self.checked_at + self.lifetime * 3 / 4
    }
}

/// For how long a request waits for a renewal while there is a stale copy.
const PATIENCE: Duration = Duration::from_secs(1);
/// A publisher who forbids caching is still asked no more than once a second.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(1);
/// A publisher who allows caching for ever is still asked once a day.
const LONGEST_LIFETIME: Duration = Duration::from_hours(24);
/// When the publisher says nothing.
const DEFAULT_LIFETIME: Duration = Duration::from_mins(5);

impl<L: Load> Cached<L> {
    pub(super) fn new(loader: L, clock: SharedClock) -> Arc<Self> {
        Arc::new(Self {
            loader,
            clock,
            copy: ArcSwapOption::empty(),
            attempts: Attempts::default(),
            flight: Arc::default(),
        })
    }

    /// The copy to use now; nothing if there never was one.
    pub(super) async fn read(self: &Arc<Self>) -> Option<Arc<Copy<L::Value>>> {
        let now = self.clock.monotonic();
        if let Some(copy) = self.copy.load_full() {
            if copy.is_fresh(now) {
                if copy.is_ageing(now) {
                    self.renew_in_background();
                }
                return Some(copy);
            }
            if self.attempts.last_failed() || self.attempt_is_slow(now) {
                self.renew_in_background();
                return Some(copy);
            }
            // Whether it ended or not, what is there now is the best there is.
            let _ = tokio::time::timeout(PATIENCE, self.renew_in_turn()).await;
        } else {
            self.renew_in_turn().await;
        }
        self.copy.load_full()
    }

    /// The copy after a fetch that happens out of turn, because the one at hand seems to lack something;
    /// at most once in `interval`. Those who ask while that fetch is under way share its outcome.
    pub(super) async fn read_out_of_turn(
        self: &Arc<Self>,
        interval: Duration,
    ) -> Option<Arc<Copy<L::Value>>> {
        let flight = self.flight.clone().lock_owned().await;
        let now = self.clock.monotonic();
        if self.attempts.permit(now) && self.attempts.permit_out_of_turn(now, interval) {
            self.renew(flight).await;
        }
        self.copy.load_full()
    }

    async fn renew_in_turn(self: &Arc<Self>) {
        let flight = self.flight.clone().lock_owned().await;
        if self.attempts.permit(self.clock.monotonic()) {
            self.renew(flight).await;
        }
    }

    fn attempt_is_slow(&self, now: Duration) -> bool {
        self.flight.try_lock().is_err() && self.attempts.none_since(now, PATIENCE)
    }

    fn renew_in_background(self: &Arc<Self>) {
        if self.attempts.permit(self.clock.monotonic())
            && let Ok(flight) = self.flight.clone().try_lock_owned()
        {
            // Dropping the handle lets the task run on.
            drop(tokio::spawn(self.clone().attempt(flight)));
        }
    }

    async fn renew(self: &Arc<Self>, flight: OwnedMutexGuard<()>) {
        if tokio::spawn(self.clone().attempt(flight)).await.is_err() {
            tracing::error!(document = self.loader.name(), "the fetch ended in a panic or with its runtime");
        }
    }

    async fn attempt(self: Arc<Self>, flight: OwnedMutexGuard<()>) {
        let began = self.clock.monotonic();
        self.attempts.start(began);
        let previous = self.copy.load_full();
        let outcome = self.loader.load(previous.as_deref()).await;
        let now = self.clock.monotonic();
        let renewed = match outcome {
            Ok(Loaded::New { value, etag, lifetime }) => Ok((Arc::new(value), etag, lifetime)),
            Ok(Loaded::Unchanged { lifetime }) => match previous {
                Some(copy) => Ok((copy.value.clone(), copy.etag.clone(), lifetime)),
                None => Err("not modified, but there is no copy yet".into()),
            },
            Err(error) => Err(error),
        };
        match renewed {
            Ok((value, etag, lifetime)) => {
                let lifetime =
                    lifetime.unwrap_or(DEFAULT_LIFETIME).clamp(SHORTEST_LIFETIME, LONGEST_LIFETIME);
                // Its publisher may have answered as soon as it was asked, and its time runs from there (RFC 9111,
                // section 4.2.3).
                self.copy.store(Some(Arc::new(Copy { value, etag, checked_at: began, lifetime })));
                self.attempts.succeeded(now);
            }
            Err(error) => {
                let failures = self.attempts.failed(now);
                tracing::warn!(document = self.loader.name(), %error, failures, "could not be renewed");
            }
        }
        drop(flight);
    }
}

/// When fetches were attempted, and how the last ones ended. Times are monotonic milliseconds plus one;
/// zero is never.
#[derive(Default)]
struct Attempts {
    last: AtomicU64,
    last_out_of_turn: AtomicU64,
    failures: AtomicU32,
}

impl Attempts {
    /// Whether it is time for another one.
    fn permit(&self, now: Duration) -> bool {
        // 1 s after a success, then 1, 2, 4, ... 64 s.
        let pause = Duration::from_secs(1 << self.failures.load(SeqCst).saturating_sub(1).min(6));
        self.none_since(now, pause)
    }

    /// Whether none began or ended within the last `pause`.
    fn none_since(&self, now: Duration, pause: Duration) -> bool {
        passed(&self.last, now, pause)
    }

    /// Whether it is time for another one out of turn; counts it, if so.
    fn permit_out_of_turn(&self, now: Duration, interval: Duration) -> bool {
        let permitted = passed(&self.last_out_of_turn, now, interval);
        if permitted {
            self.last_out_of_turn.store(stamp(now), SeqCst);
        }
        permitted
    }

    fn start(&self, now: Duration) {
        self.last.store(stamp(now), SeqCst);
    }

    fn succeeded(&self, now: Duration) {
        self.last.store(stamp(now), SeqCst);
        self.failures.store(0, SeqCst);
    }

    fn failed(&self, now: Duration) -> u32 {
        self.last.store(stamp(now), SeqCst);
        self.failures.fetch_add(1, SeqCst).saturating_add(1)
    }

    fn last_failed(&self) -> bool {
        self.failures.load(SeqCst) > 0
    }
}

fn stamp(now: Duration) -> u64 {
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

fn passed(since: &AtomicU64, now: Duration, pause: Duration) -> bool {
    let since = since.load(SeqCst);
    since == 0 || stamp(now) >= since.saturating_add(stamp(pause) - 1)
}

#[cfg(test)]
mod tests;
