use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::oauth::FamilyId;

/// Of how many tokens at most it is known; further ones are not noted. Those that came first are those of whom the store may have spent
/// some before it fell silent.
const ROOM: usize = 32_768;

/// The refresh tokens that were presented to this node, and about which it could tell nothing: the store was away, or nothing may be
/// issued. For so long their owners ask again, and the store can't note it.
pub(super) struct Unanswered {
    /// A run is over when its token was not presented for so many milliseconds.
    gap: i64,
    runs: Mutex<Runs>,
}

#[derive(Default)]
struct Runs {
    /// By the family and the number of the token in it.
    known: HashMap<(FamilyId, u64), Run>,
    /// When those that are over were last looked for.
    tidied_at: i64,
}

/// When a token was first presented and when last, never with a longer gap in between.
#[derive(Clone, Copy)]
struct Run {
    since: i64,
    until: i64,
}

impl Run {
    fn goes_on(&self, gap: i64, now: i64) -> bool {
        (self.since..=self.until.saturating_add(gap)).contains(&now)
    }
}

impl Unanswered {
    pub(super) fn new(gap: i64) -> Self {
        Self { gap, runs: Mutex::default() }
    }

    /// Notes that the token of that number was presented at `since`, in milliseconds since the epoch, and that whoever did was told `now` that
    /// nothing can be said.
    pub(super) fn note(&self, (family, generation): (&FamilyId, u64), (since, now): (i64, i64)) {
        let mut runs = self.lock();
        if runs.known.len() >= ROOM && runs.tidied_at.abs_diff(now) >= 1_000 {
            runs.tidied_at = now;
            runs.known.retain(|_, run| run.goes_on(self.gap, now));
        }
        let key = (family.clone(), generation);
        let since = match runs.known.get(&key) {
            Some(run) if run.goes_on(self.gap, since) => run.since,
            Some(_) => since,
            None if runs.known.len() < ROOM => since,
            None => return,
        };
        runs.known.insert(key, Run { since, until: now });
    }

    /// Until when it was presented in vain, if it was so without a longer gap from `from` on.
    pub(super) fn until(&self, (family, generation): (&FamilyId, u64), from: i64) -> Option<i64> {
        let run = self.lock().known.get(&(family.clone(), generation)).copied()?;
        (run.since <= from.saturating_add(self.gap)).then_some(run.until)
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_and_again_when_those_are_over() {
        let (unanswered, family) = (Unanswered::new(10_000), FamilyId::parse("f").expect("a family"));
        let note = |generation, now| {
            unanswered.note((&family, generation), (now, now));
            unanswered.until((&family, generation), now)
        };
        let room = u64::try_from(ROOM).expect("a number");
        for generation in 0..room {
            assert_eq!(note(generation, 5_000), Some(5_000));
        }
        assert_eq!(note(room, 5_000), None);
        assert_eq!(note(room, 15_000), None, "they may come again");
        assert_eq!(note(0, 15_000), Some(15_000));
        assert_eq!(note(room, 15_999), None, "all of them are not looked at for each that comes");
        assert_eq!(note(room, 16_000), Some(16_000));
        assert_eq!(unanswered.until((&family, 0), 16_000), Some(15_000));
        assert_eq!(unanswered.until((&family, 1), 16_000), None);
    }
    #[test]
    fn a_run_begins_when_it_was_asked_and_not_when_that_was_answered() {
        let (unanswered, family) = (Unanswered::new(10_000), FamilyId::parse("f").expect("a family"));
        unanswered.note((&family, 0), (5_000, 35_000));
        assert_eq!(unanswered.until((&family, 0), 0), Some(35_000));
        // And goes on by when it is asked again.
        unanswered.note((&family, 0), (45_000, 75_000));
        assert_eq!(unanswered.until((&family, 0), 0), Some(75_000));
        unanswered.note((&family, 0), (85_001, 85_002));
        assert_eq!(unanswered.until((&family, 0), 0), None);
    }
}
