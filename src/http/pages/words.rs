//! How dates, stretches of time and browsers are written for people. All dates are UTC.

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

/// A date to the second.
pub(super) fn second(date: DateTime<Utc>) -> String {
    date.format("%-d %b %Y %H:%M:%S").to_string()
}

/// By how much a clock is ahead, in milliseconds; nothing to say of less than a tenth of a second.
pub(super) fn ahead(millis: i64) -> String {
    let tenths = millis.unsigned_abs() / 100;
    match (tenths, millis > 0) {
        (0, _) => String::new(),
        (tenths, true) => format!("{}.{} s ahead", tenths / 10, tenths % 10),
        (tenths, false) => format!("{}.{} s behind", tenths / 10, tenths % 10),
    }
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

/// Where a word stands in what a browser calls itself, and who that is. Most also say that they are others, which stand
/// further down.
const BROWSERS: [(&str, &str); 7] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];

/// The same for systems.
const SYSTEMS: [(&str, &str); 7] = [
    ("Android", "Android"),
    ("iPhone", "an iPhone"),
    ("iPad", "an iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// A browser by its `User-Agent` (RFC 9110, section 10.1.5), which is what it says and not what it is: `Firefox on
/// Linux`, or as it calls itself.
pub(super) fn browser(user_agent: &str) -> String {
    let find = |known: &[(&str, &'static str)]| {
        known.iter().find(|(word, _)| user_agent.contains(word)).map(|(_, name)| *name)
    };
    match (find(&BROWSERS), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        _ if user_agent.is_empty() => "unknown".to_owned(),
        _ => user_agent.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_named_as_people_know_them() {
        let webkit = "AppleWebKit/537.36 (KHTML, like Gecko)";
        for (user_agent, name) in [
            (format!("Mozilla/5.0 (X11; Linux x86_64) {webkit} Chrome/120.0 Safari/537.36"), "Chrome on Linux"),
            (format!("Mozilla/5.0 (Windows NT 10.0) {webkit} Chrome/120.0 Safari/537.36 Edg/120.0"), "Edge on Windows"),
            ("Mozilla/5.0 (Android 14; Mobile; rv:120.0) Gecko/120.0 Firefox/120.0".into(), "Firefox on Android"),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Version/17.0 Mobile/15E148 Safari/604.1".into(),
                "Safari on an iPhone",
            ),
            ("curl/8.5.0".into(), "curl/8.5.0"),
            (String::new(), "unknown"),
        ] {
            assert_eq!(browser(&user_agent), name);
        }
    }

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
