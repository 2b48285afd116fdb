use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::clock::SharedClock;
use crate::store::{NodeClock, Store, StoreError};

/// A clock that is further off than this, in milliseconds, dates tokens wrongly.
const LARGEST_OFFSET: i64 = 5_000;

/// How many seconds ahead of the store's clock a node that may issue dates anything at most: what its clock may be off by,
/// and what may stay unnoticed of that while the store answers.
pub const DATED_AHEAD: i64 = 7;

/// The offset of a clock that was not compared yet.
const NOT_COMPARED: i64 = i64::MIN;

/// When the store has acknowledged nothing yet.
const NEVER: u64 = 0;

/// This node's clock can't be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockOff {
    /// It shows another time than the store's.
    #[error(
        "this node's clock is {} s {} the store's, at most {} s are allowed: set both machines' clocks by NTP, then try again",
        .millis.unsigned_abs() / 1000,
        if *.millis > 0 { "ahead of" } else { "behind" },
        LARGEST_OFFSET / 1000
    )]
    By {
        /// By how much it is ahead, in milliseconds.
        millis: i64,
    },
    /// Nobody knows.
    #[error("this node's clock was not compared with the store's yet")]
    NotCompared,
}

/// Whether this node may issue anything: it must know what the other nodes have committed, and what time it is.
///
/// Whoever follows the store says when it last knew all of it. Nobody needs to notice that nothing is heard any more: what
/// was heard grows old by itself, and a node that is cut off or held up stops by itself. To have read is not enough where
/// other nodes write: a primary that was cut off from its standby, and replaced, can still be read. It acknowledges nothing.
pub struct Fitness {
    clock: SharedClock,
    propagation: Duration,
    /// Up to when every commit is known, in milliseconds of monotonic time.
    mirrored_at: AtomicU64,
    /// When the newest commit of this node was begun that the store has acknowledged: so, and one more. Nothing where no
    /// other node writes.
    acknowledged_at: Option<AtomicU64>,
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
        let (clock_offset, rows) = (AtomicI64::new(0), AtomicU64::new(0));
        Self { clock, propagation, mirrored_at, acknowledged_at: None, clock_offset, rows }
    }

    /// The same for a node of `store`: if that is shared, the node may issue nothing before clocks were compared and the
    /// store has acknowledged something.
    #[must_use]
    pub fn of_node(store: &dyn Store, clock: SharedClock, propagation: Duration) -> Self {
        let alone = Self::new(clock, propagation);
        if !store.is_shared() {
            return alone;
        }
        let (acknowledged_at, clock_offset) = (Some(NEVER.into()), NOT_COMPARED.into());
        Self { acknowledged_at, clock_offset, ..alone }
    }

    /// The store has acknowledged a commit that this node began at `monotonic`.
    pub fn acknowledged(&self, monotonic: Duration) {
        if let Some(acknowledged_at) = &self.acknowledged_at {
            acknowledged_at.fetch_max(millis(monotonic).saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Nothing is issued until the store acknowledges something again: the installation goes on elsewhere, or is being restored.
    pub fn stop(&self) {
        if let Some(acknowledged_at) = &self.acknowledged_at {
            acknowledged_at.store(NEVER, Ordering::Relaxed);
        }
    }

    /// Whether the store has acknowledged nothing yet, or nothing since this node was stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let never = |at: &AtomicU64| at.load(Ordering::Relaxed) == NEVER;
        self.acknowledged_at.as_ref().is_some_and(never)
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

    /// Compares this node's clock with the store's. A store without one says nothing: it goes by this node's.
    ///
    /// # Errors
    /// When the store does not answer; what was known stands.
    pub async fn compare_with(&self, store: &dyn Store) -> Result<(), StoreError> {
        let before = self.clock.now();
        match store.now().await? {
            Some(now) => self.compare_clocks(before, now, self.clock.now()),
            None => self.clock_offset.store(0, Ordering::Relaxed),
        }
        Ok(())
    }

    /// The store's clock showed `store` at some time between these two readings of this node's.
    fn compare_clocks(&self, before: DateTime<Utc>, store: DateTime<Utc>, after: DateTime<Utc>) {
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

    /// Whether that is longer than P, or the store has acknowledged nothing of this node for so long: then others may have
    /// revoked, deleted or compromised what this node still honours.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.is_stale_at(self.clock.monotonic())
    }

    pub(super) fn is_stale_at(&self, monotonic: Duration) -> bool {
        self.age_at(monotonic) > self.propagation || self.is_unacknowledged_at(monotonic)
    }

    fn is_unacknowledged_at(&self, monotonic: Duration) -> bool {
        let Some(acknowledged_at) = &self.acknowledged_at else { return false };
        match acknowledged_at.load(Ordering::Relaxed) {
            NEVER => true,
            at => Duration::from_millis(millis(monotonic).saturating_sub(at - 1)) > self.propagation,
        }
    }

    /// By how much this node's clock is ahead of the store's, in milliseconds; 0 where the store has none of its own, and
    /// before they were compared.
    #[must_use]
    pub fn clock_offset(&self) -> i64 {
        match self.clock_offset.load(Ordering::Relaxed) {
            NOT_COMPARED => 0,
            millis => millis,
        }
    }

    /// What this node tells the others of its clock.
    #[must_use]
    pub fn node_clock(&self) -> NodeClock {
        NodeClock { offset_millis: self.clock_offset(), is_off: self.is_clock_off() }
    }

    /// Whether this node's clock is more than 5 seconds off the store's, or that is not known yet.
    #[must_use]
    pub fn is_clock_off(&self) -> bool {
        self.check_clock().is_err()
    }

    /// The same.
    ///
    /// # Errors
    /// When it is off; says by how much.
    pub fn check_clock(&self) -> Result<(), ClockOff> {
        match self.clock_offset.load(Ordering::Relaxed) {
            NOT_COMPARED => Err(ClockOff::NotCompared),
            millis if millis.saturating_abs() > LARGEST_OFFSET => Err(ClockOff::By { millis }),
            _ => Ok(()),
        }
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
            (0_i64, -5_000, 10, 5_000_i64),
            (0, -5_001, 10, 5_001),
            (0, 5_010, 10, -5_000),
            (0, 5_011, 10, -5_001),
            // The answer took two minutes.
            (0, 100_000, 120_000, 0),
        ] {
            fitness.compare_clocks(at(before), at(store), at(after));
            assert_eq!(fitness.clock_offset(), offset);
            assert_eq!(fitness.is_clock_off(), offset.abs() > 5_000);
        }
        fitness.compare_clocks(at(0), at(65_500), at(10));
        let told = fitness.check_clock().unwrap_err().to_string();
        assert!(told.contains("65 s behind the store's, at most 5 s"), "{told}");
    }
}
