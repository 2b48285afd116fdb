//! Requests that fail for what passes: told when it begins, counted while it lasts, and told when it is over. A store that is
//! away would otherwise fill the log with one line a request.

use std::sync::{Mutex, PoisonError};

use crate::oauth::ErrorCode;

/// So many reasons are kept apart; all others are counted together. A reason may quote a number, so there is no end to them.
const KEPT_APART: usize = 16;

/// What stands for all others.
const OTHERS: &str = "other errors";

/// Of this process, as the log is.
static FAILURES: Failures = Failures::new();

/// Logs that a request failed, and why. What is only out of order for a while is told once; each further request that fails
/// for it stands in the log at the level `debug`, and is counted for [`tell_failures`].
pub fn request_failed(code: ErrorCode, cause: &dyn std::fmt::Display) {
    let error = code.as_str();
    if code == ErrorCode::TemporarilyUnavailable && !FAILURES.is_news(&cause.to_string()) {
        tracing::debug!(error, %cause, "a request failed");
    } else {
        tracing::error!(error, %cause, "a request failed");
    }
}

/// Logs how many requests failed since the last time this was called, besides those that were told of, and what no request
/// failed for any more.
pub fn tell_failures() {
    for (cause, more) in FAILURES.more() {
        if more > 0 {
            tracing::error!(%cause, more, "requests go on failing");
        } else {
            tracing::info!(%cause, "no request has failed for this reason since");
        }
    }
}

/// For what requests fail.
struct Failures(Mutex<Vec<Reason>>);

struct Reason {
    /// As it was told.
    text: String,
    /// How many requests failed for it that were not told of.
    more: u64,
}

impl Failures {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// A request failed for this reason. Says whether that is to be told; else it is counted.
    fn is_news(&self, text: &str) -> bool {
        let mut reasons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = reasons.iter_mut().find(|reason| is_same(&reason.text, text)) {
            known.more += 1;
            return false;
        }
        let kept = reasons.iter().filter(|reason| reason.text != OTHERS).count();
        if kept < KEPT_APART {
            reasons.push(Reason { text: text.to_owned(), more: 0 });
            return true;
        }
        match reasons.iter_mut().find(|reason| reason.text == OTHERS) {
            Some(others) => others.more += 1,
            None => reasons.push(Reason { text: OTHERS.to_owned(), more: 1 }),
        }
        false
    }

    /// Each reason, and how many more requests failed for it since this was last asked; those for which none did are over.
    fn more(&self) -> Vec<(String, u64)> {
        let mut reasons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = reasons.iter_mut().map(|reason| (reason.text.clone(), std::mem::take(&mut reason.more)));
        let told: Vec<_> = told.collect();
        let mut counts = told.iter().map(|(_, more)| *more);
        reasons.retain(|_| counts.next().is_some_and(|more| more > 0));
        told
    }
}

/// Whether two texts differ in nothing but numbers.
fn is_same(one: &str, other: &str) -> bool {
    let words = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<Vec<_>>();
    words(one) == words(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_when_it_begins_counted_while_it_lasts_and_over_when_nothing_more_came() {
        let failures = Failures::new();
        assert!(failures.is_news("away for 1 s"));
        for _ in 0..1000 {
            assert!(!failures.is_news("away for 20 s"));
        }
        assert!(failures.is_news("full"));
        let told = |text: &str, more| (text.to_owned(), more);
        assert_eq!(failures.more(), [told("away for 1 s", 1000), told("full", 0)]);
        assert!(!failures.is_news("away for 3 s"));
        assert_eq!(failures.more(), [told("away for 1 s", 1)]);
        assert_eq!(failures.more(), [told("away for 1 s", 0)]);
        assert_eq!(failures.more(), []);
        assert!(failures.is_news("away for 4 s"));
    }

    #[test]
    fn reasons_without_end_are_told_of_a_bounded_number_of_times() {
        let failures = Failures::new();
        let reason = |number: usize| "x".repeat(number);
        let news = (0..1000).filter(|number| failures.is_news(&reason(*number))).count();
        assert_eq!(news, KEPT_APART);
        let mut told = failures.more();
        assert_eq!(told.pop(), Some(("other errors".to_owned(), 984)));
        assert!(told.len() == KEPT_APART && told.iter().all(|(_, more)| *more == 0), "{told:?}");
        // None of the first came again: there is room.
        assert!(failures.is_news(&reason(999)));
        assert_eq!(failures.more(), [(OTHERS.to_owned(), 0), (reason(999), 0)]);
    }
}
