use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::clock::SharedClock;

/// A clock that is further off than this, in milliseconds, dates tokens wrongly.
const LARGEST_OFFSET: i64 = 30_000;

/// Whether this node may issue anything: it must know what the other nodes have committed, and what time it is.
///
/// Whoever follows the store says when it last knew all of it. Nobody needs to notice that nothing is heard any more: what
/// was heard grows old by itself, and a node that is cut off or held up stops by itself.
pub struct Fitness {
    clock: SharedClock,
    propagation: Duration,
    /// Up to when every commit is known, in milliseconds of monotonic time.
    mirrored_at: AtomicU64,
    /// By how much this node's clock is ahead of the store's, in milliseconds.
    clock_offset: AtomicI64,
    /// How many changed rows were taken in.
    rows: AtomicU64,
}

impl Fitness {
    /// A node that knows everything now, and may issue for `propagation` (P) after it last did.
    #[must_use]
    pub fn new(clock: SharedClock, propagation: Duration) -> Self {
        let mirrored_at = millis(clock.monotonic()).into();
        Self { clock, propagation, mirrored_at, clock_offset: AtomicI64::new(0), rows: AtomicU64::new(0) }
    }

    /// Every commit before `monotonic` is known.
    pub fn mirrored(&self, monotonic: Duration) {
        self.mirrored_at.fetch_max(millis(monotonic), Ordering::Relaxed);
    }

    /// So many changed rows were taken in.
    pub fn took_in(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// How many changed rows were taken in since the start.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// The store's clock showed `store` at some time between these two readings of this node's.
    pub fn compare_clocks(&self, before: DateTime<Utc>, store: DateTime<Utc>, after: DateTime<Utc>) {
        // Within the two readings there is nothing to complain of; an answer that took long says little.
        let offset = if store < before {
            before - store
        } else if store > after {
            after - store
        } else {
            chrono::Duration::zero()
        };
        self.clock_offset.store(offset.num_milliseconds(), Ordering::Relaxed);
    }

    /// How long ago this node last knew all that was committed.
    #[must_use]
    pub fn mirror_age(&self) -> Duration {
        self.age_at(self.clock.monotonic())
    }

    fn age_at(&self, monotonic: Duration) -> Duration {
        let mirrored_at = self.mirrored_at.load(Ordering::Relaxed);
        Duration::from_millis(millis(monotonic).saturating_sub(mirrored_at))
    }

    /// Whether that is longer than P: then others may have revoked, deleted or compromised what this node still honours.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.is_stale_at(self.clock.monotonic())
    }

    pub(super) fn is_stale_at(&self, monotonic: Duration) -> bool {
        self.age_at(monotonic) > self.propagation
    }

    /// By how much this node's clock is ahead of the store's, in milliseconds; 0 where the store has none of its own.
    #[must_use]
    pub fn clock_offset(&self) -> i64 {
        self.clock_offset.load(Ordering::Relaxed)
    }

    /// Whether this node's clock is more than 30 seconds off the store's.
    #[must_use]
    pub fn is_clock_off(&self) -> bool {
        self.clock_offset().saturating_abs() > LARGEST_OFFSET
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::{Clock as _, ManualClock};

    const P: Duration = Duration::from_secs(30);

    #[test]
    fn what_was_heard_grows_old_by_itself() {
        let clock = Arc::new(ManualClock::at(1_800_000_000));
        let fitness = Fitness::new(clock.clone(), P);
        clock.advance(P);
        assert!(!fitness.is_stale());
        clock.advance(Duration::from_millis(1));
        assert!(fitness.is_stale());
        let heard = clock.monotonic();
        fitness.mirrored(heard);
        assert!(!fitness.is_stale());
        clock.advance(Duration::from_secs(20));
        // An answer that comes late says nothing newer, and takes nothing back.
        fitness.mirrored(heard.checked_sub(Duration::from_secs(25)).unwrap());
        assert_eq!(fitness.mirror_age(), Duration::from_secs(20));
    }

    #[test]
    fn a_clock_is_off_only_if_no_reading_explains_the_difference() {
        let at = |millis: i64| DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap();
        let fitness = Fitness::new(Arc::new(ManualClock::at(0)), P);
        for (before, store, after, offset) in [
            (0, 5, 10, 0),
            (0_i64, -30_000, 10, 30_000_i64),
            (0, -30_001, 10, 30_001),
            (0, 30_010, 10, -30_000),
            (0, 30_011, 10, -30_001),
            // The answer took two minutes.
            (0, 100_000, 120_000, 0),
        ] {
            fitness.compare_clocks(at(before), at(store), at(after));
            assert_eq!(fitness.clock_offset(), offset);
            assert_eq!(fitness.is_clock_off(), offset.abs() > 30_000);
        }
    }
}
