//! What a request says, read a second time and by other means than Signet's, to measure its answer by.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// The members of a form or of a JSON object in order, repeated ones kept.
pub(crate) struct Members(pub(crate) Vec<(String, String)>);

impl Members {
    /// Those of a form (the URL standard, section 5.1).
    pub(crate) fn of_form(text: &[u8]) -> Self {
        let decode = |part: &[u8]| {
            let mut bytes = Vec::with_capacity(part.len());
            let mut at = 0;
            while let Some(byte) = part.get(at) {
                let digits = part.get(at + 1..at + 3).filter(|_| *byte == b'%');
                let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
                let digits = digits.filter(|digits| digits.bytes().all(|each| each.is_ascii_hexdigit()));
                match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                    Some(decoded) => {
                        bytes.push(decoded);
                        at += 2;
                    }
                    None => bytes.push(if *byte == b'+' { b' ' } else { *byte }),
                }
                at += 1;
            }
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let pairs = text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        let pair = |pair: &[u8]| match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (decode(&pair[..at]), decode(&pair[at + 1..])),
            None => (decode(pair), String::new()),
        };
        Self(pairs.map(pair).collect())
    }

    /// Those of a JSON object whose values are texts; nothing if it is none.
    pub(crate) fn of_json(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// The one value of a member; nothing if it is absent, empty or repeated.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(each, _)| each == name).map(|(_, value)| value.as_str());
        values.next().filter(|value| !value.is_empty() && values.next().is_none())
    }

    /// Whether a member other than `resource` is repeated (RFC 6749, section 3.2; RFC 8707, section 2).
    pub(crate) fn has_repeated(&self) -> bool {
        let mut seen = HashSet::new();
        self.0.iter().any(|(name, _)| name != "resource" && !seen.insert(name))
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    members.push((name, value.as_str().unwrap_or_default().to_owned()));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}
