use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::SharedClock;
use crate::store::{NodeClock, Store, StoreError};

/// A clock that is further off than this, in milliseconds, dates tokens wrongly.
const LARGEST_OFFSET: i64 = 5_000;

/// The store showed its time at some moment while it answered. If it answered for longer than this, that says too little.
const LONGEST_ANSWER: Duration = Duration::from_secs(2);

/// How many seconds ahead of the store's clock a node that may issue dates anything at most: what its clock may be off by,
/// and what the comparison may be mistaken by, rounded up. It is mistaken by half of `LONGEST_ANSWER` at most.
pub const DATED_AHEAD: i64 = 7;

/// Nothing was compared yet.
const NOT_COMPARED: i64 = i64::MIN;

/// There is nothing to compare with: the store goes by this node's clock.
const NO_OTHER: i64 = i64::MAX;

/// Where the store has acknowledged nothing yet, or nothing since the node was stopped.
const NEVER: u64 = 0;

/// How many of its bits say when the store last acknowledged something; those above count how often the node was stopped.
const WHEN_BITS: u32 = 48;
const WHEN: u64 = (1 << WHEN_BITS) - 1;

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
    #[error(
        "this node's clock was not compared with the store's yet: the store must answer within 2 s; try again"
    )]
    NotCompared,
}

/// This node can tell nobody whether anything counts: another one can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Others may have revoked or deleted what it still takes to be good.
    #[error("what other nodes have done is not known for too long to judge anything")]
    Stale {
        /// When to try again, in seconds.
        retry_after: u64,
    },
    /// By its clock it would take for ended what counts, or the other way round.
    #[error("{off}")]
    ClockOff {
        /// By how much.
        off: ClockOff,
        /// When to try again, in seconds.
        retry_after: u64,
    },
}

/// A commit of this node, from when it was begun.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    monotonic: Duration,
    /// How often the node had been stopped by then.
    stops: u64,
}

/// Whether this node may issue or judge anything: it must know what the other nodes have committed, and what time it is.
///
/// Whoever follows the store says when it last knew all of it. Nobody needs to notice that nothing is heard any more: what
/// was heard grows old by itself, and a node that is cut off or held up stops by itself. To have read is not enough where
/// other nodes write: a primary that was cut off from its standby, and replaced, can still be read. It acknowledges nothing.
pub struct Fitness {
    clock: SharedClock,
    propagation: Duration,
    /// Up to when every commit is known, in milliseconds of monotonic time.
    mirrored_at: AtomicU64,
    /// When the newest commit of this node was begun that the store has acknowledged: so, and one more; and above that, how often
    /// the node was stopped. Nothing where no other node writes.
    acknowledged_at: Option<AtomicU64>,
    /// By how much the store's time of day is ahead of this node's *monotonic* time, in milliseconds. No step of this node's
    /// clock changes that, so whoever compares the time of day with it sees a step at once, not at the next comparison.
    store_time: AtomicI64,
    /// How many changed rows were taken in.
    rows: AtomicU64,
    /// What was to be taken in and can't be understood, if anything.
    damaged: Mutex<Option<String>>,
    /// Whether the installation was restored since the start.
    outlived: watch::Sender<bool>,
}

impl Fitness {
    /// A node that knows everything now, and may issue for `propagation` (P) after it last did.
    #[must_use]
    pub fn new(clock: SharedClock, propagation: Duration) -> Self {
        let mirrored_at = millis(clock.monotonic()).into();
        let (store_time, rows) = (AtomicI64::new(NO_OTHER), AtomicU64::new(0));
        let (damaged, outlived) = (Mutex::default(), watch::Sender::new(false));
        Self { clock, propagation, mirrored_at, acknowledged_at: None, store_time, rows, damaged, outlived }
    }

    /// The same for a node of `store`: if that is shared, the node may issue nothing before clocks were compared and the
    /// store has acknowledged something.
    #[must_use]
    pub fn of_node(store: &dyn Store, clock: SharedClock, propagation: Duration) -> Self {
        let alone = Self::new(clock, propagation);
        if !store.is_shared() {
            return alone;
        }
        let (acknowledged_at, store_time) = (Some(NEVER.into()), NOT_COMPARED.into());
        Self { acknowledged_at, store_time, ..alone }
    }

    /// A commit begins that shows, once it is acknowledged, that the store still takes this node's writes.
    #[must_use]
    pub fn begin(&self) -> Begun {
        let stops = self.acknowledged_at.as_ref().map_or(0, |at| at.load(Ordering::Relaxed) >> WHEN_BITS);
        Begun { monotonic: self.clock.monotonic(), stops }
    }

    /// The store has acknowledged that commit. That says nothing where this node was stopped after it was begun: what stopped it
    /// was seen later than what the commit shows.
    pub fn acknowledged(&self, begun: Begun) {
        let Some(acknowledged_at) = &self.acknowledged_at else { return };
        let when = millis(begun.monotonic).saturating_add(1).min(WHEN);
        let newer = |at: u64| (at >> WHEN_BITS == begun.stops).then_some(at & !WHEN | (at & WHEN).max(when));
        _ = acknowledged_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, newer);
    }

    /// Nothing is issued until the store acknowledges something that is begun from now on: the installation goes on elsewhere, or
    /// is being restored.
    pub fn stop(&self) {
        let stopped = |at: u64| Some(((at >> WHEN_BITS) + 1) << WHEN_BITS | NEVER);
        if let Some(acknowledged_at) = &self.acknowledged_at {
            _ = acknowledged_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, stopped);
        }
    }

    /// The same for good: the installation was restored after this node was started, and what is in memory is of before.
    pub fn outlive(&self) {
        self.stop();
        self.outlived.send_replace(true);
    }

    /// Whether it was.
    #[must_use]
    pub fn is_outlived(&self) -> bool {
        *self.outlived.borrow()
    }

    /// Returns once it was.
    pub async fn outlived(&self) {
        // Whoever sends is this very value.
        _ = self.outlived.subscribe().wait_for(|outlived| *outlived).await;
    }

    /// Whether the store has acknowledged nothing yet, or nothing since this node was stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let never = |at: &AtomicU64| at.load(Ordering::Relaxed) & WHEN == NEVER;
        self.acknowledged_at.as_ref().is_some_and(never)
    }

    /// Every commit before `monotonic` is known.
    pub fn mirrored(&self, monotonic: Duration) {
        self.mirrored_at.fetch_max(millis(monotonic), Ordering::Relaxed);
    }

    /// What was to be taken in and can't be understood, if anything; says whether that is another thing than before. It makes the
    /// node no less fit: it grows stale by itself, as nothing behind that is known either.
    pub fn note_damaged(&self, damaged: Option<String>) -> bool {
        let mut known = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *known != damaged;
        *known = damaged;
        is_news
    }

    /// Whether there is such a thing.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).is_some()
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

    /// Compares this node's clock with the store's. A store without one says nothing: it goes by this node's. Says whether
    /// anything came of it: an answer that took more than 2 seconds counts as none, and what was known stands.
    ///
    /// # Errors
    /// When the store does not answer; what was known stands.
    pub async fn compare_with(&self, store: &dyn Store) -> Result<bool, StoreError> {
        let before = self.clock.monotonic();
        let Some(now) = store.now().await? else {
            self.store_time.store(NO_OTHER, Ordering::Relaxed);
            return Ok(true);
        };
        Ok(self.compare(before, now.timestamp_millis(), self.clock.monotonic()))
    }

    /// The store's clock showed `store`, in milliseconds since the epoch, at some time between these two of monotonic time.
    fn compare(&self, before: Duration, store: i64, after: Duration) -> bool {
        let took = after.saturating_sub(before);
        if took > LONGEST_ANSWER {
            return false;
        }
        self.store_time.store(store - signed_millis(before + took / 2), Ordering::Relaxed);
        true
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

    /// Whether this node may say of a token that it counts, as far as that is not a matter of the token.
    ///
    /// # Errors
    /// When it may not: what it has in memory is as old as P, or its clock is off.
    pub fn check(&self) -> Result<(), Unfit> {
        let (monotonic, retry_after) = (self.clock.monotonic(), self.propagation.as_secs().max(1));
        if self.is_stale_at(monotonic) {
            return Err(Unfit::Stale { retry_after });
        }
        let checked = self.check_clock_at(monotonic, self.clock.millis());
        checked.map_err(|off| Unfit::ClockOff { off, retry_after })
    }

    fn is_unacknowledged_at(&self, monotonic: Duration) -> bool {
        let Some(acknowledged_at) = &self.acknowledged_at else { return false };
        match acknowledged_at.load(Ordering::Relaxed) & WHEN {
            NEVER => true,
            at => Duration::from_millis(millis(monotonic).saturating_sub(at - 1)) > self.propagation,
        }
    }

    /// By how much this node's clock is ahead of the store's now, in milliseconds; 0 where the store has none of its own, and
    /// before they were compared.
    #[must_use]
    pub fn clock_offset(&self) -> i64 {
        self.offset_at(self.clock.monotonic(), self.clock.millis()).unwrap_or_default()
    }

    /// None before clocks were compared.
    fn offset_at(&self, monotonic: Duration, now: i64) -> Option<i64> {
        match self.store_time.load(Ordering::Relaxed) {
            NOT_COMPARED => None,
            NO_OTHER => Some(0),
            store_time => Some(now - signed_millis(monotonic) - store_time),
        }
    }

    /// What this node tells the others of its clock.
    #[must_use]
    pub fn node_clock(&self) -> NodeClock {
        NodeClock { offset_millis: self.clock_offset(), is_off: self.is_clock_off() }
    }

    /// Whether this node's clock is more than 5 seconds off the store's now, or that is not known yet.
    #[must_use]
    pub fn is_clock_off(&self) -> bool {
        self.check_clock().is_err()
    }

    /// The same.
    ///
    /// # Errors
    /// When it is off; says by how much.
    pub fn check_clock(&self) -> Result<(), ClockOff> {
        self.check_clock_at(self.clock.monotonic(), self.clock.millis())
    }

    /// The same for a clock that shows `now`, in milliseconds since the epoch, at `monotonic`.
    pub(super) fn check_clock_at(&self, monotonic: Duration, now: i64) -> Result<(), ClockOff> {
        match self.offset_at(monotonic, now) {
            None => Err(ClockOff::NotCompared),
            Some(millis) if millis.saturating_abs() > LARGEST_OFFSET => Err(ClockOff::By { millis }),
            Some(_) => Ok(()),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn signed_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
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
    fn what_was_begun_before_a_stop_does_not_undo_it() {
        let clock = Arc::new(ManualClock::at(1_800_000_000));
        let alone = Fitness::new(clock.clone(), P);
        let fitness = Fitness { acknowledged_at: Some(NEVER.into()), ..alone };
        assert!(fitness.is_stopped());
        fitness.acknowledged(fitness.begin());
        assert!(!fitness.is_stopped() && !fitness.is_stale());
        // Also where it is stopped once more before the answer to what was begun in between.
        for _ in 0..2 {
            let begun = fitness.begin();
            fitness.stop();
            fitness.acknowledged(begun);
            assert!(fitness.is_stopped() && fitness.is_stale());
        }
        fitness.acknowledged(fitness.begin());
        assert!(!fitness.is_stopped() && !fitness.is_stale());
        // An answer that comes late takes nothing back.
        let early = fitness.begin();
        clock.advance(P);
        fitness.acknowledged(fitness.begin());
        fitness.acknowledged(early);
        fitness.mirrored(clock.monotonic());
        clock.advance(P);
        assert!(!fitness.is_stale());
    }

    #[test]
    fn a_clock_is_compared_with_the_middle_of_the_time_that_the_answer_took() {
        let clock = Arc::new(ManualClock::at(1_800_000_000));
        let fitness = Fitness::new(clock.clone(), P);
        let now = clock.millis();
        let after = |millis: u64| Duration::from_millis(millis);
        for (took, ahead, offset) in [
            (0, 0, 0),
            (0, -5_000, 5_000_i64),
            (0, -5_001, 5_001),
            (0, 5_000, -5_000),
            (0, 5_001, -5_001),
            (2_000, 0, 1_000),
            (2_000, 6_000, -5_000),
        ] {
            assert!(fitness.compare(Duration::ZERO, now + ahead, after(took)));
            assert_eq!(fitness.clock_offset(), offset);
            assert_eq!(fitness.is_clock_off(), offset.abs() > 5_000);
        }
        assert!(fitness.compare(Duration::ZERO, now + 65_500, Duration::ZERO));
        let told = fitness.check_clock().unwrap_err().to_string();
        assert!(told.contains("65 s behind the store's, at most 5 s"), "{told}");
        // Within such a time lies any offset: it neither clears a clock nor blames it.
        assert!(!fitness.compare(Duration::ZERO, now + 1_000, after(2_001)));
        assert_eq!(fitness.clock_offset(), -65_500);
        assert!(fitness.compare(Duration::ZERO, now, Duration::ZERO));
        assert!(!fitness.compare(Duration::ZERO, now + 60_000, after(120_000)));
        assert!(!fitness.is_clock_off());
    }

    #[test]
    fn a_step_of_the_clock_shows_before_the_next_comparison() {
        let clock = Arc::new(ManualClock::at(1_800_000_000));
        let fitness = Fitness::new(clock.clone(), P);
        assert!(fitness.compare(clock.monotonic(), clock.millis(), clock.monotonic()));
        // Time that passes is no step.
        clock.advance(Duration::from_hours(24));
        assert_eq!(fitness.clock_offset(), 0);
        let now = clock.numeric_date();
        for (step, off) in [(5, false), (6, true), (-6, true), (-5, false), (3_600, true), (0, false)] {
            clock.jump_to(now + step);
            assert_eq!((fitness.clock_offset(), fitness.is_clock_off()), (step * 1000, off));
        }
        // A store that goes by this very clock has nothing to say of it.
        let alone = Fitness::new(clock.clone(), P);
        clock.jump_to(now + 3_600);
        assert!(!alone.is_clock_off());
    }

    #[test]
    fn each_thing_that_is_damaged_is_news_once() {
        let fitness = Fitness::new(Arc::new(ManualClock::at(1_800_000_000)), P);
        let told = [Some("a"), Some("a"), Some("b"), None, Some("b")];
        let news = told.map(|each| fitness.note_damaged(each.map(str::to_owned)));
        assert_eq!(news, [true, false, true, true, true]);
        assert!(fitness.is_damaged());
    }
}
