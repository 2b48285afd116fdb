use std::path::{Path, PathBuf};

use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::closest::closest_variable;
use super::error::Problem;
use super::setting::SETTINGS;
use crate::oauth::Secret;

/// The environment variable that holds the database's password.
const POSTGRES_PASSWORD_VARIABLE: &str = "SIGNET_POSTGRES_PASSWORD";

/// The environment variable that holds the key-encryption key.
pub(super) const KEK_VARIABLE: &str = "SIGNET_KEYS_KEK";

/// The environment variable that holds the PIN of the module's token.
pub(crate) const PIN_VARIABLE: &str = "SIGNET_KEYS_PKCS11_PIN";

const SECRET_VARIABLES: [&str; 3] = [KEK_VARIABLE, PIN_VARIABLE, POSTGRES_PASSWORD_VARIABLE];

/// Variables of the command line, which are no settings.
const OTHER_VARIABLES: [&str; 3] = ["SIGNET_CONFIG", "SIGNET_ADMIN_CLIENT_ID", "SIGNET_ADMIN_CLIENT_SECRET"];

/// Whether it is one of those that Kubernetes sets in every pod beside a service called `signet`.
fn is_from_kubernetes(name: &str, value: &str) -> bool {
    name.starts_with("SIGNET_SERVICE_")
        || name.starts_with("SIGNET_PORT_")
        || (name == "SIGNET_PORT" && value.contains("://"))
}

/// Where settings come from; later ones win over earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The settings file; `None` for none. A file that is named must be there.
    pub file: Option<PathBuf>,
    /// Environment variables, all of them; those that don't begin with `SIGNET_` don't count.
    ///
    /// A setting's variable is `SIGNET_` and its name in capitals with `_` for the dot, or `__` for those
    /// who prefer it: `SIGNET_KEYS_LEAD=24h`, `SIGNET_KEYS__LEAD=24h`. Lists are separated by commas.
    pub env: Vec<(String, String)>,
    /// The command line.
    pub flags: FlagOverrides,
}

impl Sources {
    /// The settings file, this process's environment, and the command line.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: FlagOverrides) -> Self {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with("SIGNET_"))
            .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
            .collect();
        Self { file, env, flags }
    }
}

/// Settings given on the command line.
#[derive(Clone, Debug, Default)]
pub struct FlagOverrides(Vec<(&'static str, &'static str, String)>);

impl FlagOverrides {
    /// Sets `key` to `value` if there is one; `flag` is what errors name.
    #[must_use]
    pub fn set(mut self, flag: &'static str, key: &'static str, value: Option<String>) -> Self {
        if let Some(value) = value {
            self.0.push((flag, key, value));
        }
        self
    }
}

/// What only the environment may say.
#[derive(Default)]
pub(super) struct Secrets {
    pub(super) kek: Option<Secret>,
    pub(super) pin: Option<Secret>,
    pub(super) postgres_password: Option<Secret>,
}

/// All layers merged, not yet typed.
pub(super) struct Merged {
    pub(super) figment: Figment,
    pub(super) secrets: Secrets,
    pub(super) problems: Vec<Problem>,
}

/// Merges the layers. What can't be merged stands in [`Merged::problems`].
pub(super) fn merge(sources: &Sources) -> Merged {
    let mut merged = Merged { figment: Figment::new(), secrets: Secrets::default(), problems: Vec::new() };
    if let Some(path) = &sources.file {
        match read_file(path) {
            Ok(layer) => merged.figment = merged.figment.merge(layer),
            Err(problem) => merged.problems.push(problem),
        }
    }
    merge_environment(&mut merged, &sources.env);
    for (flag, key, value) in &sources.flags.0 {
        let layer = Layer::text(format!("flag {flag}"), key, value);
        merged.figment = merged.figment.merge(layer);
    }
    merged
}

fn merge_environment(merged: &mut Merged, env: &[(String, String)]) {
    let mut env: Vec<_> = env.iter().filter(|(name, _)| name.starts_with("SIGNET_")).collect();
    env.sort();
    let mut seen: Map<&str, &str> = Map::new();
    for (name, value) in env {
        let ours = !OTHER_VARIABLES.contains(&name.as_str()) && !is_from_kubernetes(name, value);
        let variable = name.replace("__", "_");
        if variable == KEK_VARIABLE {
            // An empty variable must not fall back to the developer's key without a word.
            if value.trim().is_empty() {
                merged.problems.push(variable_problem(
                    name,
                    "is set but empty",
                    "give it the key-encryption key, or unset it",
                ));
            }
            merged.secrets.kek = Some(Secret::new(value.clone()));
        } else if variable == PIN_VARIABLE {
            if value.trim().is_empty() {
                merged.problems.push(variable_problem(
                    name,
                    "is set but empty",
                    "give it the PIN, or unset it",
                ));
            }
            merged.secrets.pin = Some(Secret::new(value.clone()));
        } else if variable == POSTGRES_PASSWORD_VARIABLE {
            merged.secrets.postgres_password = Some(Secret::new(value.clone()));
        } else if let Some(key) = key_of(&variable) {
            if let Some(other) = seen.insert(key, name) {
                let reason = format!("sets {key}, as {other} does");
                merged.problems.push(variable_problem(name, &reason, "unset one of them"));
            }
            let layer = Layer::text(format!("environment variable {name}"), key, value);
            let figment = std::mem::take(&mut merged.figment);
            merged.figment = figment.merge(layer);
        } else if ours {
            let others = [&OTHER_VARIABLES[..], &SECRET_VARIABLES].concat();
            let remedy = match closest_variable(&variable, &others) {
                Some(known) => format!("did you mean {known}?"),
                None => "correct its name (docs/settings.md lists all settings) or unset it".to_owned(),
            };
            merged.problems.push(variable_problem(name, "is not a setting", &remedy));
        }
    }
}

fn variable_problem(name: &str, reason: &str, remedy: &str) -> Problem {
    Problem {
        origin: format!("environment variable {name}"),
        key: None,
        value: None,
        reason: reason.into(),
        remedy: remedy.into(),
    }
}

/// The setting that `variable` sets; `resources` as a whole can be set, not one of its members.
fn key_of(variable: &str) -> Option<&'static str> {
    let name = variable.strip_prefix("SIGNET_")?.to_ascii_lowercase();
    if name == "resources" {
        return Some("resources");
    }
    SETTINGS.iter().map(|setting| setting.key).find(|key| !key.contains('[') && key.replace('.', "_") == name)
}

fn read_file(path: &Path) -> Result<Layer, Problem> {
    let problem = |reason: String, remedy: &str| Problem {
        origin: path.display().to_string(),
        key: None,
        value: None,
        reason,
        remedy: remedy.into(),
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        problem(
            format!("can't be read: {error}"),
            "correct the path given by --config or SIGNET_CONFIG, or the permissions",
        )
    })?;
    // Only the message: the library's full text quotes the line, which may hold a secret.
    let dict = Toml::from_str::<Dict>(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        let message = error.message().replace('\n', ", ");
        let unquoted = message.starts_with("invalid string") || message.contains("newline, `#`");
        let remedy = if unquoted { "write text in quotation marks" } else { "correct it" };
        problem(format!("line {line} is not TOML: {message}"), remedy)
    })?;
    Ok(Layer { name: path.display().to_string(), file: true, dict })
}

/// One origin of settings. figment remembers for each value which layer it came from.
struct Layer {
    name: String,
    file: bool,
    dict: Dict,
}

impl Layer {
    fn text(name: String, key: &str, value: &str) -> Self {
        let nested = figment::util::nest(key, Value::from(value));
        Self { name, file: false, dict: nested.into_dict().unwrap_or_default() }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        let metadata = Metadata::named(self.name.clone());
        if self.file { metadata.source(PathBuf::from(&self.name).as_path()) } else { metadata }
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}
