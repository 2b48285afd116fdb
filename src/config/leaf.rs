use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use figment::value::Value;

/// Where settings stand that nobody set.
pub(super) const DEFAULTS: &str = "default settings";

/// A value as it was given.
pub(super) struct Leaf {
    pub(super) value: Value,
    pub(super) origin: String,
    /// From the environment, a flag or the table of defaults, where everything is text.
    pub(super) textual: bool,
}

/// Why a value can't be, and what to write instead.
pub(super) type Wrong = (String, String);

impl Leaf {
    pub(super) fn default_text(text: &str) -> Self {
        Self { value: Value::from(text), origin: DEFAULTS.to_owned(), textual: true }
    }

    /// A text.
    pub(super) fn text(&self) -> Result<&str, Wrong> {
        match &self.value {
            Value::String(_, text) if text.trim().is_empty() => {
                Err(("must not be empty".into(), "give it a value, or remove it".into()))
            }
            Value::String(_, text) => Ok(text),
            _ => Err(("must be text".into(), "write it in quotation marks".into())),
        }
    }

    /// A text that `T` reads; `example` goes into the remedy.
    pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, example: &str) -> Result<T, Wrong> {
        self.text()?.parse().map_err(|error: T::Err| (error.to_string(), format!("write, say, {example:?}")))
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Result<bool, Wrong> {
        let flag = match &self.value {
            Value::Bool(_, flag) => Some(*flag),
            Value::String(_, text) if self.textual => text.parse().ok(),
            _ => None,
        };
        flag.ok_or_else(|| ("must be true or false".into(), "write true or false, without quotes".into()))
    }

    /// A whole number in `range`.
    pub(super) fn count(&self, range: &RangeInclusive<usize>) -> Result<usize, Wrong> {
        let count = match &self.value {
            Value::String(_, text) if self.textual => text.parse().ok(),
            // A file's numbers are signed, whatever their sign.
            value => value.to_i128().and_then(|number| usize::try_from(number).ok()),
        };
        count.filter(|count| range.contains(count)).ok_or_else(|| {
            let (from, to) = (range.start(), range.end());
            (format!("must be a number from {from} to {to}"), format!("write, say, {from}"))
        })
    }

    /// Whole seconds in `range`.
    pub(super) fn duration(&self, range: &RangeInclusive<Duration>) -> Result<Duration, Wrong> {
        let duration = self.short_duration(range)?;
        if duration.subsec_nanos() != 0 {
            return Err(("must be whole seconds".into(), "leave the fraction out".into()));
        }
        Ok(duration)
    }

    /// A time in `range`, which may be less than a second.
    pub(super) fn short_duration(&self, range: &RangeInclusive<Duration>) -> Result<Duration, Wrong> {
        let units = "write a number with its unit, such as \"30s\", \"5m\", \"24h\" or \"30d\"";
        let Value::String(_, text) = &self.value else {
            return Err(("must be a duration".into(), units.into()));
        };
        let duration = humantime::parse_duration(text)
            .map_err(|error| (format!("is not a duration: {error}"), units.to_owned()))?;
        let (from, to) = (*range.start(), *range.end());
        if !range.contains(&duration) {
            let reason = format!("must be at least {} and at most {}", written(from), written(to));
            let remedy = if duration < from { "raise it" } else { "lower it" };
            return Err((reason, remedy.into()));
        }
        Ok(duration)
    }

    /// A list of texts; as text, separated by commas.
    pub(super) fn list(&self) -> Result<Vec<&str>, Wrong> {
        match &self.value {
            Value::String(_, text) if self.textual => Some(text.split(',').map(str::trim).collect()),
            Value::Array(_, items) => items.iter().map(Value::as_str).collect::<Option<_>>(),
            _ => None,
        }
        .ok_or_else(|| ("must be a list of texts".into(), "write, say, [\"ES256\"]".into()))
    }
}

/// A duration as it would be written in the settings.
pub(super) fn written(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (millis.into(), "ms"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if parts.is_empty() { "0s".to_owned() } else { parts.concat() }
}

/// A value as an error shows it.
pub(super) fn shown(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::String(_, text) => write!(out, "{:?}", clipped(text)),
        Value::Bool(_, flag) => write!(out, "{flag}"),
        Value::Num(_, number) => match (number.to_i128(), number.to_f64()) {
            (Some(integer), _) => write!(out, "{integer}"),
            (None, Some(float)) => write!(out, "{float}"),
            (None, None) => Ok(()),
        },
        Value::Array(_, items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            write!(out, "[{}]", items.join(", "))
        }
        Value::Dict(..) => write!(out, "{{…}}"),
        _ => Ok(()),
    }
    .ok();
    out
}

fn clipped(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_settings_are() {
        for text in ["0s", "100ms", "30s", "5m", "1h30m", "1d", "1d1h", "30d", "3650d"] {
            assert_eq!(written(humantime::parse_duration(text).unwrap()), text);
        }
    }
}
