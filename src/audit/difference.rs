use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::chain::digest;

/// What one side of a change may take at most, in bytes of JSON: of a longer one the log has a digest.
const LONGEST_SIDE: usize = 2048;

/// What an entry may tell of a member that was changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Nothing, not even that it was changed.
    Nothing,
    /// That it was changed.
    Name,
    /// What it was and what it became, in these words.
    Value(Value),
}

/// How two states of one thing differ, as far as the log may tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Difference {
    /// The names of the members that differ.
    pub members: Vec<String>,
    /// What those that matter for security were and became.
    pub changes: BTreeMap<String, Change>,
}

/// What became of a member. What is longer than 2 KiB stands as `{"sha256": …, "bytes": …}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Change {
    /// Of a list: one that was long would otherwise stand there twice, for the sake of one element.
    List {
        /// What it has got.
        added: Value,
        /// What it has lost.
        removed: Value,
    },
    /// Of anything else; `null` where it was or became absent.
    Value {
        /// What it was.
        from: Value,
        /// What it became.
        to: Value,
    },
}

impl Change {
    fn between(from: Value, to: Value) -> Self {
        match (from, to) {
            (Value::Array(from), Value::Array(to)) => {
                let without = |list: &[Value], other: &[Value]| {
                    bounded(list.iter().filter(|each| !other.contains(each)).cloned().collect())
                };
                Self::List { added: without(&to, &from), removed: without(&from, &to) }
            }
            (from, to) => Self::Value { from: bounded(from), to: bounded(to) },
        }
    }
}

fn bounded(value: Value) -> Value {
    let text = value.to_string();
    if text.len() <= LONGEST_SIDE {
        return value;
    }
    json!({ "sha256": digest(text.as_bytes()), "bytes": text.len() })
}

impl Difference {
    /// How `after` differs from `before`, two states of one thing that is an object in JSON. `tell` says what may be told
    /// of a member that has this value; it must answer alike for every value of one member.
    ///
    /// # Errors
    /// When one of the two can't be written as JSON.
    pub fn between<T: Serialize>(
        before: &T,
        after: &T,
        tell: impl Fn(&str, &Value) -> Told,
    ) -> Result<Self, serde_json::Error> {
        let (before, after) = (members(before)?, members(after)?);
        let mut difference = Self::default();
        let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
        for name in names {
            let (from, to) =
                (before.get(name).unwrap_or(&Value::Null), after.get(name).unwrap_or(&Value::Null));
            if from == to {
                continue;
            }
            match (tell(name, from), tell(name, to)) {
                (Told::Nothing, _) | (_, Told::Nothing) => continue,
                (Told::Value(from), Told::Value(to)) => {
                    difference.changes.insert(name.clone(), Change::between(from, to));
                }
                _ => {}
            }
            difference.members.push(name.clone());
        }
        difference.members.sort_unstable();
        Ok(difference)
    }

    /// The same with a member more, whose values are nobody's business.
    #[must_use]
    pub fn and(mut self, name: &str) -> Self {
        self.members.push(name.to_owned());
        self.members.sort_unstable();
        self
    }
}

fn members(state: &impl Serialize) -> Result<Map<String, Value>, serde_json::Error> {
    match serde_json::to_value(state)? {
        Value::Object(members) => Ok(members),
        _ => Ok(Map::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tell(name: &str, value: &Value) -> Told {
        match name {
            "version" => Told::Nothing,
            "name" => Told::Name,
            _ => Told::Value(value.clone()),
        }
    }

    #[test]
    fn only_what_differs_is_named_and_only_what_may_be_is_told() {
        let before =
            json!({ "admin": false, "name": "Ada", "scope": ["a"], "version": 1, "uri": "x", "same": 1 });
        let after =
            json!({ "admin": true, "name": "Bob", "scope": ["a", "b"], "version": 2, "new": 2, "same": 1 });
        let difference = Difference::between(&before, &after, tell).unwrap().and("password");
        assert_eq!(difference.members, ["admin", "name", "new", "password", "scope", "uri"]);
        let changes = json!({
            "admin": { "from": false, "to": true }, "scope": { "added": ["b"], "removed": [] },
            "uri": { "from": "x", "to": null }, "new": { "from": null, "to": 2 },
        });
        assert_eq!(json!(difference.changes), changes);
        assert_eq!(Difference::between(&after, &after, tell).unwrap(), Difference::default());
    }

    #[test]
    fn a_long_list_takes_no_more_than_what_it_has_got_and_lost_and_that_is_bounded() {
        let uri = |number: usize| format!("https://shop.example.com/{number:04}/{}", "x".repeat(1900));
        let of = |numbers: std::ops::Range<usize>| json!({ "uris": numbers.map(uri).collect::<Vec<_>>() });
        let changes =
            |from, to| json!(Difference::between(&from, &to, tell).unwrap().changes)["uris"].clone();
        assert_eq!(changes(of(0..50), of(1..50)), json!({ "added": [], "removed": [uri(0)] }));
        let all = changes(of(0..0), of(0..50));
        assert_eq!(all["removed"], json!([]));
        let text = of(0..50)["uris"].to_string();
        assert_eq!(all["added"], json!({ "sha256": digest(text.as_bytes()), "bytes": text.len() }));
        let long = changes(json!({ "uris": null }), json!({ "uris": "x".repeat(3000) }));
        assert_eq!((&long["from"], &long["to"]["bytes"]), (&json!(null), &json!(3002)));
    }
}
