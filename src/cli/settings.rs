use std::time::Duration;

use super::directories;
use crate::clock::Clock;
use crate::config::{
    self, Config, ConfigError, KekSource, PIN_VARIABLE, PinSource, Problem, Refusal, Sources, StoreConfig,
};
use crate::http::Tls;
use crate::keys::{DATED_AHEAD, Kek, KekError, Policy, UnsafePolicy};
use crate::outgoing::Outgoing;

const PIN_FILE: &str = "keys.pkcs11.pin_file";

/// The settings, held against the arithmetic of key rotation too.
pub(super) fn load(sources: &Sources) -> Result<Config, ConfigError> {
    config::load_with(sources, |config| unsafe_policy(config).into_iter().collect())
}

/// As [`load`], held against what the clocks of nodes may differ by too: for who issues, or is asked whether all is in order. Who
/// withdraws a key at once must not be kept from it by that.
pub(super) fn load_of_node(sources: &Sources) -> Result<Config, ConfigError> {
    config::load_with(sources, unsafe_node)
}

/// As [`load_of_node`], with what a service needs of the files that the settings name: reported together, before there are sockets,
/// keys and a store.
pub(super) fn load_to_serve(sources: &Sources, clock: &dyn Clock) -> Result<Config, ConfigError> {
    let mut of_variables = Vec::new();
    let loaded = config::load_with(sources, |config| {
        let (mut refusals, kek) = (unsafe_node(config), &config.keys.kek);
        of_variables.extend(lone_pin(sources, kek));
        let of_directories = directories::look(config);
        // A key-encryption key that would lie in a directory that can't be is not what is wrong.
        let can_be = of_directories.is_empty() || !matches!(kek, KekSource::Developer);
        refusals.extend(of_directories);
        match if can_be { Kek::check(kek, &config.keys.dir) } else { Ok(()) } {
            Ok(()) => {}
            // Not for want of other settings: the start itself will tell, and can be tried again.
            Err(KekError::Module { reason, .. }) if reason.may_pass() => {}
            Err(error) => match variable(kek, &error) {
                Some(variable) => of_variables.push(problem(variable, &error.to_string())),
                None => refusals.push(wrong_kek(&error)),
            },
        }
        if let Some(Err(error)) = config.tls.as_ref().map(|files| Tls::open(files, clock.now())) {
            refusals.push(Refusal::new(error.setting, error.reason, error.remedy));
        }
        if let Err(error) = Outgoing::new(&config.outgoing) {
            let reason = error.to_string();
            let reason =
                reason.strip_prefix("outgoing.ca_bundle: the settings can't be used: ").unwrap_or(&reason);
            let remedy = "name a file of certificates in PEM, or remove the setting";
            refusals.push(Refusal::new("outgoing.ca_bundle", reason, remedy));
        }
        refusals
    });
    if of_variables.is_empty() {
        // Last, and only where nothing else is wrong: this makes the directories.
        return match directories::make(&loaded?) {
            Ok(()) => load(sources),
            Err(refusals) => config::load_with(sources, |_| refusals),
        };
    }
    let mut problems = loaded.map_or_else(|error| error.problems, |_| Vec::new());
    // An empty one was told of.
    of_variables.retain(|of_variable| problems.iter().all(|problem| problem.origin != of_variable.origin));
    problems.extend(of_variables);
    Err(ConfigError { problems })
}

/// What is wrong with a setting that nobody can tell before it is used, and where it comes from.
pub(super) fn told(sources: &Sources, refusal: Refusal) -> String {
    let alone = format!("{}: {}; {}", refusal.key, refusal.reason, refusal.remedy);
    config::load_with(sources, |_| vec![refusal]).map_or_else(|error| error.to_string(), |_| alone)
}

/// A PIN for a module that nobody names: left over from half a change, it must not end in a key-encryption key beside the keys.
/// Only `signet keys rekey` has a use for it.
fn lone_pin(sources: &Sources, kek: &KekSource) -> Option<Problem> {
    let is_given = || sources.env.iter().any(|(name, _)| name.replace("__", "_") == PIN_VARIABLE);
    let text = "gives the PIN of a module, but no module is named: the key-encryption key would lie beside the keys that it seals; \
                set keys.pkcs11.module, token and key, or unset it";
    (matches!(kek, KekSource::Developer) && is_given()).then(|| problem(PIN_VARIABLE, text))
}

/// What is wrong with a variable: the reason, a semicolon, the remedy.
fn problem(variable: &str, text: &str) -> Problem {
    let (reason, remedy) = text.rsplit_once("; ").unwrap_or((text, "correct it"));
    let (reason, remedy) = (reason.to_owned(), remedy.to_owned());
    Problem { origin: format!("environment variable {variable}"), key: None, value: None, reason, remedy }
}

/// The environment variable that is to blame, if one is.
fn variable(source: &KekSource, error: &KekError) -> Option<&'static str> {
    match (source, error) {
        (KekSource::Value(_), _) => Some("SIGNET_KEYS_KEK"),
        (KekSource::Module(key), KekError::Module { reason, .. }) => {
            let by_variable = matches!(key.pin, PinSource::Value(_));
            (by_variable && reason.setting() == PIN_FILE).then_some(PIN_VARIABLE)
        }
        _ => None,
    }
}

fn wrong_kek(error: &KekError) -> Refusal {
    let text = error.to_string();
    let (reason, remedy) = text.rsplit_once("; ").unwrap_or((
        &text,
        "name the file that holds it, or, for keys yet to be made, make one (docs/settings.md says how)",
    ));
    let key = match error {
        KekError::Module { reason, .. } => reason.setting(),
        _ => "keys.kek_file",
    };
    Refusal::new(key, reason, remedy).depending_on(&["keys.dir"])
}

fn unsafe_node(config: &Config) -> Vec<Refusal> {
    unsafe_policy(config).into_iter().chain(skew_of_nodes(config)).collect()
}

/// Two nodes that issue may show times that differ by as much as twice what one may be ahead of the store: S must cover that,
/// or a key that the slow one has made signs on the fast one before every verifier has it.
fn skew_of_nodes(config: &Config) -> Option<Refusal> {
    let least = 2 * DATED_AHEAD.unsigned_abs();
    let is_shared = matches!(config.store, StoreConfig::Postgres(_));
    (is_shared && config.keys.clock_skew < Duration::from_secs(least)).then(|| {
        let reason = format!(
            "must be at least {least} s where nodes share a store: a node issues while its clock seems 5 s off the database's, so two \
             may differ by twice that, and by what both are mistaken by"
        );
        Refusal::new("keys.clock_skew", reason, "raise it, and keys.lead and keys.hold by as much")
            .depending_on(&["store"])
    })
}

fn unsafe_policy(config: &Config) -> Option<Refusal> {
    Policy::new(&config.keys, config.tokens.longest_lifetime).err().map(|unsafe_| refusal(&unsafe_))
}

fn refusal(unsafe_: &UnsafePolicy) -> Refusal {
    let text = unsafe_.to_string();
    let (reason, remedy) = text.rsplit_once("; ").unwrap_or((&text, "see docs/settings.md"));
    let key = match unsafe_ {
        UnsafePolicy::NoAlgorithm | UnsafePolicy::DuplicateAlgorithm(_) => "keys.algorithms",
        UnsafePolicy::Zero { setting }
        | UnsafePolicy::NotWholeSeconds { setting, .. }
        | UnsafePolicy::TooLong { setting, .. } => setting,
        UnsafePolicy::LeadTooShort { .. } => "keys.lead",
        UnsafePolicy::HoldTooShort { .. } => "keys.hold",
        UnsafePolicy::PeriodTooShort { .. } | UnsafePolicy::TooManyKeys { .. } => "keys.rotation_period",
    };
    Refusal::new(key, reason, remedy).depending_on(&[
        "keys.algorithms",
        "keys.jwks_max_age",
        "keys.propagation",
        "keys.clock_skew",
        "keys.lead",
        "keys.hold",
        "keys.rotation_period",
        "tokens.lifetime",
        "tokens.longest_lifetime",
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn of(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let env = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        load_to_serve(&Sources { env, ..Sources::default() }, &ManualClock::at(0))
    }

    #[test]
    fn a_pin_without_a_module_does_not_end_in_a_key_beside_the_keys() {
        let dir = tempfile::tempdir().unwrap();
        let (data, keys) = (dir.path().join("data"), dir.path().join("keys"));
        let (data, keys) = (data.display().to_string(), keys.display().to_string());
        let given = [("SIGNET_DATA_DIR", data.as_str()), ("SIGNET_KEYS_DIR", keys.as_str())];
        for name in ["SIGNET_KEYS_PKCS11_PIN", "SIGNET_KEYS__PKCS11__PIN"] {
            let error = of(&[given[0], given[1], (name, "hunter2")]).unwrap_err();
            let [problem] = error.problems.as_slice() else { panic!("{error}") };
            assert_eq!(problem.origin, "environment variable SIGNET_KEYS_PKCS11_PIN");
            let said = error.to_string();
            assert!(said.contains("keys.pkcs11.module") && !said.contains("hunter2"), "{said}");
        }
        assert!(!dir.path().join("keys").exists());
        // Beside another source it is for `signet keys rekey`.
        let kek = "ab".repeat(32);
        of(&[given[0], given[1], ("SIGNET_KEYS_PKCS11_PIN", "hunter2"), ("SIGNET_KEYS_KEK", &kek)]).unwrap();
    }

    #[test]
    fn nodes_of_one_store_need_room_for_the_clocks_that_they_may_have() {
        let dir = tempfile::tempdir().unwrap();
        let kek = "ab".repeat(32);
        let sources = |store: Option<&str>, skew: &str| {
            let own = |name: &str| dir.path().join(name).display().to_string();
            let store = store.map(|store| ("SIGNET_STORE".to_owned(), store.to_owned()));
            let others = [
                ("SIGNET_KEYS_KEK", kek.clone()),
                ("SIGNET_KEYS_CLOCK_SKEW", skew.to_owned()),
                ("SIGNET_DATA_DIR", own("data")),
                ("SIGNET_KEYS_DIR", own("keys")),
            ];
            let others = others.map(|(name, value)| (name.to_owned(), value));
            Sources { env: store.into_iter().chain(others).collect(), ..Sources::default() }
        };
        let shared = Some("postgres://a@localhost/b");
        let short = sources(shared, "13s");
        for refused in [load_to_serve(&short, &ManualClock::at(0)), load_of_node(&short)] {
            let error = refused.unwrap_err();
            let [problem] = error.problems.as_slice() else { panic!("{error}") };
            assert_eq!(problem.key.as_deref(), Some("keys.clock_skew"));
            assert!(problem.reason.contains("at least 14 s"), "{error}");
        }
        // Who condemns a key or asks whether a node is ready can do it all the same.
        load(&short).unwrap();
        load_of_node(&sources(shared, "14s")).unwrap();
        // One node has one clock.
        load_of_node(&sources(None, "1s")).unwrap();
    }
}
