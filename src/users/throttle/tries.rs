use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::clock::FURTHEST_AHEAD;

/// How many tries need no waiting.
const FREE: u32 = 5;

/// How long the first wait is; every further one is twice as long.
const FIRST_WAIT: TimeDelta = TimeDelta::seconds(30);

/// No wait is longer.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(1);

/// How many tries there are at all: the bound of NIST SP 800-63B-4, section 3.2.2.
const MOST: u32 = 100;

/// How long after the last one tries are forgotten.
pub(super) const REMEMBERED: TimeDelta = TimeDelta::days(90);

/// Tries since the last success.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tries {
    count: u32,
    #[serde(default)]
    last: Option<DateTime<Utc>>,
}

impl Tries {
    /// Whether no amount of waiting helps.
    pub(super) fn are_used_up(&self) -> bool {
        self.count >= MOST
    }

    /// Whether there are none that would have to be remembered.
    pub(super) fn are_none(&self) -> bool {
        self.last.is_none()
    }

    /// When they are forgotten: at once if there are none.
    pub(super) fn forgotten_at(&self) -> DateTime<Utc> {
        self.last.map_or(DateTime::UNIX_EPOCH, |last| last + REMEMBERED)
    }

    /// Takes one more; or says how long to wait, until they are forgotten if they are used up.
    pub(super) fn take_unless_used_up(&mut self, now: DateTime<Utc>) -> Result<(), Duration> {
        if self.are_used_up() {
            return Err((self.forgotten_at() - now).to_std().unwrap_or_default());
        }
        self.take(now)
    }

    /// Takes one more; or says how long to wait. A last one of the future imposes no wait, or whoever tried once by a clock that was
    /// ahead would lock out the owner until then; it counts all the same.
    pub(super) fn take(&mut self, now: DateTime<Utc>) -> Result<(), Duration> {
        let last = self.last.filter(|last| *last <= now + FURTHEST_AHEAD);
        let wait = last.map_or(TimeDelta::zero(), |last| last + self.wait() - now);
        if wait > TimeDelta::zero() {
            return Err(wait.to_std().unwrap_or_default());
        }
        self.count += 1;
        self.last = Some(now);
        Ok(())
    }

    /// The last one was none.
    pub(super) fn give_back(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    /// How long after the last try the next one may come.
    fn wait(&self) -> TimeDelta {
        match self.count.checked_sub(FREE) {
            None => TimeDelta::zero(),
            Some(doublings) => (FIRST_WAIT * (1 << doublings.min(10))).min(LONGEST_WAIT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_of_the_future_counts_and_locks_nobody_out() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let year = TimeDelta::days(365);
        let mut tries = Tries { count: 20, last: Some(now + year) };
        assert_eq!(tries.take_unless_used_up(now), Ok(()));
        // From then on as ever.
        assert_eq!(tries, Tries { count: 21, last: Some(now) });
        assert_eq!(tries.take(now), Err(Duration::from_hours(1)));
        let mut used_up = Tries { count: MOST, last: Some(now + year) };
        assert!(used_up.take_unless_used_up(now).is_err());
        // As far as the clocks of nodes may differ the wait is kept, and further.
        let mut tries = Tries { count: FREE, last: Some(now + FURTHEST_AHEAD) };
        assert_eq!(tries.take(now), Err(Duration::from_secs(90)));
        let mut tries = Tries { count: FREE, last: Some(now + FURTHEST_AHEAD + TimeDelta::milliseconds(1)) };
        assert_eq!(tries.take(now), Ok(()));
    }

    #[test]
    fn five_are_free_and_then_the_wait_doubles_up_to_an_hour() {
        let mut tries = Tries::default();
        let mut now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut waits = Vec::new();
        while !tries.are_used_up() {
            if let Err(wait) = tries.take(now) {
                waits.push(wait.as_secs());
                now += wait;
                assert_eq!(
                    tries.clone().take(now - TimeDelta::milliseconds(1)),
                    Err(Duration::from_millis(1))
                );
                assert_eq!(tries.take(now), Ok(()));
            }
        }
        assert_eq!(waits[..8], [30, 60, 120, 240, 480, 960, 1920, 3600]);
        assert!(waits[8..].iter().all(|wait| *wait == 3600));
        assert_eq!(waits.len(), 95);
    }
}
