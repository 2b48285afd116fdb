//! The one source of time. Everything that asks for the time is handed a [`Clock`]; `clippy.toml`
//! bans the system calls elsewhere, so a test can hold, advance and jump time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// A date on record that is further ahead is of a clock that was off, or that was set back since: it says nothing of how long ago that
/// was. The clocks of nodes differ by less.
pub const FURTHEST_AHEAD: TimeDelta = TimeDelta::seconds(60);

/// Tells the time of day and the time elapsed.
///
/// Dates that leave the process (`exp`, key dates) come from [`Clock::now`]; deadlines inside the
/// process come from [`Clock::monotonic`], which no clock adjustment moves.
pub trait Clock: Send + Sync + 'static {
    /// The time of day, in UTC.
    fn now(&self) -> DateTime<Utc>;

    /// Time elapsed since an arbitrary start; never goes backwards.
    fn monotonic(&self) -> Duration;

    /// The time of day in milliseconds since the epoch.
    fn millis(&self) -> i64 {
        self.now().timestamp_millis()
    }

    /// The time of day in whole seconds since the epoch: a `NumericDate` (RFC 7519, section 2).
    fn numeric_date(&self) -> i64 {
        self.now().timestamp()
    }
}

/// A shared clock.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may ask")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }

    /// The machine's clock, ready to share.
    #[must_use]
    pub fn shared() -> SharedClock {
        Arc::new(Self::new())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may ask")]
    fn now(&self) -> DateTime<Utc> {
        // Without the calendar that rounding would go through.
        let now = Utc::now();
        DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn millis(&self) -> i64 {
        i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
    }

    fn numeric_date(&self) -> i64 {
        i64::try_from(since_epoch().as_secs()).unwrap_or(i64::MAX)
    }
}

/// Asked for several times a token: without the calendar that [`Clock::now`] goes through.
#[expect(clippy::disallowed_methods, reason = "this is the one place that may ask")]
fn since_epoch() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// A clock that stands still until it is told to move: for tests and simulations.
///
/// ```
/// use signet::clock::{Clock, ManualClock};
/// use std::time::Duration;
///
/// let clock = ManualClock::at(1_700_000_000);
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.numeric_date(), 1_700_000_060);
/// ```
#[derive(Debug)]
pub struct ManualClock {
    millis: std::sync::atomic::AtomicI64,
    elapsed_millis: std::sync::atomic::AtomicU64,
}

impl ManualClock {
    /// A clock standing at `seconds` since the epoch.
    #[must_use]
    pub fn at(seconds: i64) -> Self {
        Self { millis: (seconds * 1000).into(), elapsed_millis: 0.into() }
    }

    /// Lets `by` pass: both the time of day and monotonic time move.
    pub fn advance(&self, by: Duration) {
        use std::sync::atomic::Ordering::SeqCst;
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.elapsed_millis.fetch_add(millis, SeqCst);
        self.millis.fetch_add(i64::try_from(millis).unwrap_or(i64::MAX), SeqCst);
    }

    /// Sets the time of day, as an operator or NTP would; monotonic time does not move.
    pub fn jump_to(&self, seconds: i64) {
        self.millis.store(seconds * 1000, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        let millis = self.millis.load(std::sync::atomic::Ordering::SeqCst);
        DateTime::from_timestamp_millis(millis).unwrap_or_default()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.elapsed_millis.load(std::sync::atomic::Ordering::SeqCst))
    }
}
