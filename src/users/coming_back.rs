//! When those for whom there is no room are told to come back: one after another, as fast as they can be served.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Nobody is told to come back sooner, or later, than that.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// Each who is sent away is promised a turn after those who wait and after those who were sent away before. All told the same second
/// would come back in it, and all but a few be sent away again: of 500 people 440 asked once a second, until the answers to them
/// took longer than the sign-ins (docs/decisions/0016). Nobody is bound to come: a turn that is not taken is lost, and nobody
/// is refused because it was promised to another.
#[derive(Default)]
pub(super) struct ComingBack(Mutex<Duration>);

impl ComingBack {
    /// In how many seconds whoever is sent away at `now` on the monotonic clock comes back, where all who wait take `queue`, and one
    /// more `each`: 1 to 30.
    pub(super) fn after(&self, now: Duration, queue: Duration, each: Duration) -> u64 {
        let mut promised = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*promised).clamp(now.saturating_add(queue).min(now + LONGEST), now + LONGEST);
        *promised = turn.saturating_add(each);
        // Early by less than a second: there is room as soon as one of those who wait has been served.
        turn.saturating_sub(now).max(SHORTEST).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn whoever_is_sent_away_comes_back_after_those_who_wait_and_those_sent_away_before() {
        let coming_back = ComingBack::default();
        let told: Vec<_> =
            (0..440).map(|_| coming_back.after(millis(500), millis(1000), millis(20))).collect();
        assert!(told.is_sorted(), "{told:?}");
        for (second, turns) in (1..=9).zip([50, 50, 50, 50, 50, 50, 50, 50, 40]) {
            assert_eq!(told.iter().filter(|told| **told == second).count(), turns, "{second}");
        }
    }

    #[test]
    fn a_turn_that_has_passed_is_nobodys() {
        let coming_back = ComingBack::default();
        for _ in 0..100 {
            coming_back.after(millis(0), millis(1000), millis(20));
        }
        assert_eq!(coming_back.after(millis(0), millis(1000), millis(20)), 3);
        assert_eq!(coming_back.after(millis(60_000), millis(1000), millis(20)), 1);
        assert_eq!(coming_back.after(millis(60_000), millis(13_000), millis(20)), 13);
    }

    #[test]
    fn nobody_is_told_less_than_a_second_or_more_than_half_a_minute() {
        let coming_back = ComingBack::default();
        assert_eq!(coming_back.after(millis(0), millis(0), millis(0)), 1);
        assert_eq!(coming_back.after(millis(0), Duration::MAX, Duration::MAX), 30);
        assert_eq!(coming_back.after(millis(0), millis(0), millis(0)), 30);
        for _ in 0..10_000 {
            assert_eq!(coming_back.after(millis(0), millis(1000), millis(20)), 30);
        }
        assert_eq!(coming_back.after(millis(31_000), millis(1000), millis(20)), 1);
    }
}
