use std::collections::BTreeMap;

use figment::value::{Dict, Value};
use figment::{Figment, Profile, Provider as _};

use super::closest::{closest, find};
use super::error::{Problem, Refusal};
use super::leaf::{DEFAULTS, Leaf, Wrong, shown};
use super::setting::DEMO_RESOURCE;
use super::store::redacted;

/// Takes settings out of the merged layers one by one, each as its type; keeps what was wrong, and what
/// nobody took.
pub(super) struct Reader {
    leaves: BTreeMap<String, Leaf>,
    origins: BTreeMap<String, (String, String)>,
    resources: usize,
    /// How many problems there were when everything was read, before the rules.
    unread: Option<usize>,
    pub(super) problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(figment: &Figment, problems: Vec<Problem>) -> Self {
        let (leaves, origins) = (BTreeMap::new(), BTreeMap::new());
        let mut reader = Self { leaves, origins, resources: 0, unread: None, problems };
        let data = figment.data().unwrap_or_default();
        for (key, value) in data.get(&Profile::Default).into_iter().flatten() {
            reader.flatten(figment, &unambiguous(key), value);
        }
        if !reader.origins.contains_key("resources") {
            reader.resources = 1;
            for (member, text) in DEMO_RESOURCE {
                reader.keep(format!("resources[0].{member}"), Leaf::default_text(text));
            }
        }
        reader
    }

    fn flatten(&mut self, figment: &Figment, path: &str, value: &Value) {
        let metadata = figment.get_metadata(value.tag());
        let origin = metadata.map_or_else(|| DEFAULTS.to_owned(), |metadata| metadata.name.to_string());
        let textual = metadata.is_none_or(|metadata| metadata.source.is_none());
        match value {
            Value::String(_, text) if path == "resources" && textual => {
                self.origins.insert(path.to_owned(), (origin.clone(), text.clone()));
                self.resources_from_text(text, &origin);
            }
            Value::Dict(..) if path == "resources" => {
                self.origins.insert(path.to_owned(), (origin, "{…}".to_owned()));
                let reason = "is one section, but there may be several";
                self.push(Refusal::new(path, reason, "write [[resources]] above each"));
            }
            Value::Dict(_, dict) => {
                for (key, value) in dict {
                    self.flatten(figment, &format!("{path}.{}", unambiguous(key)), value);
                }
            }
            Value::Array(_, items) if path == "resources" => {
                self.origins.insert(path.to_owned(), (origin, shown(value)));
                self.resources = items.len();
                for (index, item) in items.iter().enumerate() {
                    self.flatten(figment, &format!("{path}[{index}]"), item);
                }
            }
            _ => self.keep(path.to_owned(), Leaf { value: value.clone(), origin, textual }),
        }
    }

    /// `[{uri = "…", scope = "…"}, …]` from an environment variable.
    fn resources_from_text(&mut self, text: &str, origin: &str) {
        let parsed = text.parse::<Value>().ok();
        let items: Option<Vec<Dict>> = parsed
            .and_then(Value::into_array)
            .and_then(|items| items.into_iter().map(Value::into_dict).collect());
        let Some(items) = items else {
            let wrong =
                ("is not a list of resources".into(), "write [{uri = \"…\", scope = \"…\"}]".to_owned());
            return self.refuse("resources", wrong);
        };
        self.resources = items.len();
        for (index, item) in items.into_iter().enumerate() {
            for (member, value) in item {
                let leaf = Leaf { value, origin: origin.to_owned(), textual: true };
                self.keep(format!("resources[{index}].{member}"), leaf);
            }
        }
    }

    fn keep(&mut self, key: String, leaf: Leaf) {
        let shown = match &leaf.value {
            // A password may be in it.
            Value::String(_, text) if key == "store" => redacted(text),
            value => shown(value),
        };
        self.origins.insert(key.clone(), (leaf.origin.clone(), shown));
        self.leaves.insert(key, leaf);
    }

    /// How many resources are given.
    pub(super) fn resources(&self) -> usize {
        self.resources
    }

    /// The setting `key` by `parse`, or its default; what is wrong with it becomes a problem, and the
    /// default is taken so that the other settings can be read too.
    #[expect(clippy::expect_used, reason = "a test reads every default of the table")]
    pub(super) fn read<T>(&mut self, key: &str, parse: impl Fn(&Leaf) -> Result<T, Wrong>) -> T {
        if let Some(value) = self.read_optional(key, &parse) {
            return value;
        }
        let default = find(key).and_then(|setting| setting.default).expect("the table has a default");
        parse(&Leaf::default_text(default)).expect("the default is well-formed")
    }

    /// The setting `key` by `parse`, if it is set and well-formed.
    pub(super) fn read_optional<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&Leaf) -> Result<T, Wrong>,
    ) -> Option<T> {
        debug_assert!(find(key).is_some(), "{key} is missing in the table of settings");
        let leaf = self.leaves.remove(key)?;
        match parse(&leaf) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.refuse(key, wrong);
                None
            }
        }
    }

    /// The texts of a table whose keys are not settings, by key.
    pub(super) fn read_table(&mut self, key: &str) -> BTreeMap<String, String> {
        let prefix = format!("{key}.");
        let keys: Vec<String> =
            self.leaves.keys().filter(|each| each.starts_with(&prefix)).cloned().collect();
        let mut table = BTreeMap::new();
        for full in keys {
            let Some(leaf) = self.leaves.remove(&full) else { continue };
            // A key with a dot in it was quoted when it was taken in.
            let name = full[prefix.len()..].trim_matches('"').to_owned();
            match leaf.text().map(str::to_owned) {
                Ok(text) => _ = table.insert(name, text),
                Err(wrong) => self.refuse(&full, wrong),
            }
        }
        table
    }

    /// As [`Reader::read_optional`], and its absence is a problem.
    pub(super) fn read_required<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&Leaf) -> Result<T, Wrong>,
    ) -> Option<T> {
        if !self.leaves.contains_key(key) {
            let origin = self.origins.get("resources").map_or(DEFAULTS, |(origin, _)| origin).to_owned();
            let (reason, remedy) = ("is missing".to_owned(), "set it".to_owned());
            self.problems.push(Problem { origin, key: Some(key.into()), value: None, reason, remedy });
        }
        self.read_optional(key, parse)
    }

    fn refuse(&mut self, key: &str, (reason, remedy): Wrong) {
        self.push(Refusal::new(key, reason, remedy));
    }

    /// From here on the rules speak. What they refuse was read, so that other rules may look at it.
    pub(super) fn everything_is_read(&mut self) {
        self.unread = Some(self.problems.len());
    }

    /// Adds a rule's refusal, unless a setting that it looked at could not be read.
    pub(super) fn push(&mut self, refusal: Refusal) {
        let unread = &self.problems[..self.unread.unwrap_or(self.problems.len())];
        let broken = |key: &str| unread.iter().any(|problem| problem.key.as_deref() == Some(key));
        let told = self.problems.iter().any(|problem| problem.key.as_ref() == Some(&refusal.key));
        // A resource that could not be read shifts the places of those behind it.
        let shifted = refusal.key.starts_with("resources[")
            && unread.iter().any(|p| p.key.as_ref().is_some_and(|key| key.starts_with("resources[")));
        if shifted || told || refusal.depends_on.iter().any(|key| broken(key)) {
            return;
        }
        let given = self.origins.get(&refusal.key).cloned();
        let (origin, value) = given.map_or_else(
            || {
                let default = find(&refusal.key).and_then(|setting| setting.default);
                (DEFAULTS.to_owned(), default.map(|default| format!("{default:?}")))
            },
            |(origin, value)| (origin, Some(value)),
        );
        let Refusal { key, reason, remedy, .. } = refusal;
        self.problems.push(Problem { origin, key: Some(key), value, reason, remedy });
    }

    /// Whatever is still there is not a setting. Values are left out: a misnamed secret may be among them.
    pub(super) fn refuse_the_rest(&mut self) {
        for (key, leaf) in std::mem::take(&mut self.leaves) {
            let (reason, remedy) = match closest(&key) {
                _ if key == "postgres.password" => (
                    "a secret does not belong in a settings file",
                    "put it into the environment variable SIGNET_POSTGRES_PASSWORD, or name a file by \
                     postgres.password_file"
                        .to_owned(),
                ),
                _ if key == "keys.kek" => (
                    "a secret does not belong in a settings file",
                    "put it into the environment variable SIGNET_KEYS_KEK, or name a file by keys.kek_file"
                        .to_owned(),
                ),
                _ if key == "keys.pkcs11.pin" => (
                    "a secret does not belong in a settings file",
                    "put it into the environment variable SIGNET_KEYS_PKCS11_PIN, or name a file by \
                     keys.pkcs11.pin_file"
                        .to_owned(),
                ),
                Some(known) => ("is not a setting", format!("did you mean {known}?")),
                None => ("is not a setting", "remove it (docs/settings.md lists all settings)".to_owned()),
            };
            self.problems.push(Problem {
                origin: leaf.origin,
                key: Some(key),
                value: None,
                reason: reason.to_owned(),
                remedy,
            });
        }
    }
}

/// A quoted key with a dot in it must not pass for a section and a setting.
fn unambiguous(key: &str) -> String {
    if key.contains('.') { format!("{key:?}") } else { key.to_owned() }
}
