//! How dates and stretches of time are written for people. All dates are UTC.

use chrono::{DateTime, Utc};

/// A date in seconds since the epoch.
pub(super) fn seconds(date: i64) -> String {
    DateTime::from_timestamp(date, 0).map_or_else(|| "never".to_owned(), self::date)
}

/// The same for a date that may not be known.
pub(super) fn optional(date: Option<i64>) -> String {
    date.map_or_else(|| "not yet known".to_owned(), seconds)
}

/// A date to the minute.
pub(super) fn date(date: DateTime<Utc>) -> String {
    date.format("%-d %b %Y %H:%M").to_string()
}

/// A stretch of time ahead, in its largest unit.
pub(super) fn wait(seconds: i64) -> String {
    let (number, unit) = match seconds {
        ..=0 => return "at once".to_owned(),
        1..=119 => (seconds, "second"),
        120..=7_199 => (seconds / 60, "minute"),
        7_200..=172_799 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("in {number} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_for_people() {
        assert_eq!(seconds(1_800_000_000), "15 Jan 2027 08:00");
        assert_eq!(optional(None), "not yet known");
        assert_eq!(seconds(i64::MAX), "never");
        let waits = [-5, 0, 1, 90, 120, 7_200, 86_400, 172_800].map(wait);
        let words = [
            "at once",
            "at once",
            "in 1 second",
            "in 90 seconds",
            "in 2 minutes",
            "in 2 hours",
            "in 24 hours",
            "in 2 days",
        ];
        assert_eq!(waits, words);
    }
}
