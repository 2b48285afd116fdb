//! What forms bring, as the types that the protocol takes.

use std::fmt::Display;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::oauth::WebUri;
use crate::protocol::{Params, ProtocolError};

/// The field's text; empty if it was left empty.
pub(super) fn text(params: &Params<'_>, name: &str) -> String {
    params.one(name).unwrap_or_default().trim().to_owned()
}

/// One value, of what `parse` takes.
///
/// # Errors
/// `invalid_request`, naming the field, when it takes it not.
pub(super) fn value<T, E: Display>(
    name: &str,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, ProtocolError> {
    parse(text).map_err(|error| ProtocolError::invalid_request(format!("{name}: {error}")))
}

/// One value a line; empty lines don't count.
///
/// # Errors
/// As [`value`].
pub(super) fn lines<T, E: Display>(
    name: &str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, ProtocolError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| value(name, line, &parse)).collect()
}

/// One value, or none if the field was left empty.
///
/// # Errors
/// As [`value`].
pub(super) fn optional<T, E: Display>(
    name: &str,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, ProtocolError> {
    if text.is_empty() { Ok(None) } else { value(name, text, parse).map(Some) }
}

/// A page on the web, or none.
///
/// # Errors
/// As [`value`].
pub(super) fn web_uri(name: &str, text: &str) -> Result<Option<WebUri>, ProtocolError> {
    optional(name, text, WebUri::parse)
}

/// Which version of a record a form shows, by when it was changed: a field that it brings back.
pub(super) fn version(changed_at: DateTime<Utc>) -> String {
    changed_at.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// The version of which a form is.
///
/// # Errors
/// As [`value`].
pub(super) fn of_version(text: &str) -> Result<DateTime<Utc>, ProtocolError> {
    value("version", text, str::parse)
}

/// Values as a text of lines.
pub(super) fn joined<T: Display>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::Resource;

    #[test]
    fn lines_are_read_one_by_one_and_named_when_they_are_wrong() {
        let read = |text| lines("resources", text, Resource::parse);
        assert_eq!(
            joined(&read("https://a.example\r\n\n  https://b.example  ").unwrap()),
            "https://a.example\nhttps://b.example"
        );
        assert!(read("").unwrap().is_empty());
        let error = read("https://a.example\nno uri").unwrap_err();
        assert!(error.description.starts_with("resources: "), "{}", error.description);
        assert!(web_uri("logo_uri", "javascript:alert(1)").is_err());
        assert!(web_uri("logo_uri", "").unwrap().is_none());
    }
}
