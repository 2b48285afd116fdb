//! When a relying party that did not take a logout token is asked again.

use std::time::Duration;

/// After the first failure.
const FIRST: Duration = Duration::from_secs(5);

/// By how much each wait is longer than the one before.
const FACTOR: u32 = 3;

/// No wait is longer.
pub(super) const LONGEST: Duration = Duration::from_hours(1);

/// How often it is tried in all: with the waits between, for about eight hours.
const TRIES: u32 = 16;

/// Nothing is tried again that is as old as this, say after the service was down for long.
const LONGEST_AGE: Duration = Duration::from_hours(24);

/// The wait after that many failures, when the session ended so long ago; `None` when it is given up. `chance` is one
/// random byte: the wait is shortened by up to a half, so that what failed together does not come back together.
pub(super) fn wait(failures: u32, age: Duration, chance: u8) -> Option<Duration> {
    if failures >= TRIES || age >= LONGEST_AGE {
        return None;
    }
    let grown = FACTOR.checked_pow(failures.saturating_sub(1)).and_then(|factor| FIRST.checked_mul(factor));
    let longest = grown.unwrap_or(LONGEST).min(LONGEST);
    let half = longest / 2;
    // Of the other half so much is left.
    Some(half + longest.saturating_sub(half) * u32::from(u8::MAX - chance) / u32::from(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_an_hour_and_come_to_an_end() {
        let longest = |failures| wait(failures, Duration::ZERO, 0).map(|wait| wait.as_secs());
        let expected = [5, 15, 45, 135, 405, 1215, 3600, 3600];
        assert_eq!((1..=8).map(|failures| longest(failures).unwrap()).collect::<Vec<_>>(), expected);
        assert_eq!(longest(TRIES - 1), Some(3600));
        assert_eq!(longest(TRIES), None);
        assert_eq!(longest(u32::MAX), None);
        let in_all: u64 = (1..TRIES).filter_map(longest).sum();
        assert!((8 * 3600..10 * 3600).contains(&in_all), "{in_all}");
    }

    #[test]
    fn what_is_a_day_old_is_not_tried_again() {
        assert!(wait(1, Duration::from_secs(86_399), 0).is_some());
        assert_eq!(wait(1, LONGEST_AGE, 0), None);
    }

    #[test]
    fn chance_shortens_a_wait_by_half_at_most() {
        for failures in 1..TRIES {
            let longest = wait(failures, Duration::ZERO, 0).unwrap();
            let waits: Vec<_> =
                (0..=u8::MAX).map(|chance| wait(failures, Duration::ZERO, chance).unwrap()).collect();
            assert!(waits.is_sorted_by(|a, b| a > b), "{failures}");
            assert_eq!(waits.last(), Some(&(longest / 2)));
        }
    }
}
