/// No name from a document is repeated at greater length, in characters.
const LONGEST_NAME: usize = 40;

/// A name that somebody sent, in the characters that a description may have (RFC 6749, section 5.2), clipped.
#[must_use]
pub fn quotable(name: &str) -> String {
    let printable = |c| if matches!(c, ' '..='~') && !matches!(c, '"' | '\\') { c } else { '\'' };
    name.chars().take(LONGEST_NAME).map(printable).collect()
}

/// What is wrong with a JSON document: which member is missing or unknown, else where to look. None of its
/// values is repeated, which may be secret and which serde's own messages quote.
///
/// ```
/// #[derive(Debug, serde::Deserialize)]
/// struct Import {
///     key: u8,
/// }
///
/// let why = |json| signet::oauth::unreadable(&serde_json::from_str::<Import>(json).unwrap_err());
/// assert_eq!(why(r#"{ }"#), "missing field `key`");
/// assert_eq!(why(r#"{ "key": "hush" }"#), "a member has the wrong type or value (line 1, column 15)");
/// assert_eq!(why("key = 1"), "the body is not JSON");
/// ```
#[must_use]
pub fn unreadable(error: &serde_json::Error) -> String {
    if error.classify() != serde_json::error::Category::Data {
        return "the body is not JSON".to_owned();
    }
    let text = error.to_string();
    for kind in ["missing field", "unknown field"] {
        let quoted = text.strip_prefix(kind).and_then(|rest| rest.strip_prefix(" `"));
        if let Some((name, _)) = quoted.and_then(|rest| rest.split_once('`')) {
            return format!("{kind} `{}`", quotable(name));
        }
    }
    match error.line() {
        0 => "a member has the wrong type or value".to_owned(),
        line => format!("a member has the wrong type or value (line {line}, column {})", error.column()),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its reading is looked at")]
    struct Request {
        key: String,
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize)]
    enum Kind {
        Plain,
    }

    fn why(json: &str) -> String {
        unreadable(&serde_json::from_str::<Request>(json).unwrap_err())
    }

    #[test]
    fn members_are_named_and_values_are_not() {
        assert_eq!(why("{}"), "missing field `key`");
        assert_eq!(why(r#"{"ke":"hush"}"#), "unknown field `ke`");
        for json in [
            r#"{"key":"k","kind":"hush"}"#,
            r#"{"key":{"hush":1}}"#,
            r#"{"key":["hush"]}"#,
            r#""hush""#,
            r#"["hush", "hush"]"#,
            r#"{"key":"k","kind":"missing field hush"}"#,
        ] {
            let reason = why(json);
            assert!(reason.starts_with("a member has the wrong type or value (line 1, "), "{reason}");
        }
    }

    #[test]
    fn a_name_is_clipped_and_harmless() {
        let long = why(&format!(r#"{{"{}":1}}"#, "x".repeat(1000)));
        assert_eq!(long, format!("unknown field `{}`", "x".repeat(40)));
        assert_eq!(why("{\"a\\\"\\\\\\n\u{e9}\":1}"), format!("unknown field `a{}`", "'".repeat(4)));
    }

    #[test]
    fn a_value_that_has_no_place_is_not_quoted_either() {
        let value = serde_json::json!({ "key": "k", "kind": "hush" });
        let error = serde_json::from_value::<Request>(value).unwrap_err();
        assert_eq!(unreadable(&error), "a member has the wrong type or value");
    }
}
