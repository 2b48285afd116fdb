use crate::config::{self, Config, ConfigError, Refusal, Sources};
use crate::keys::{Policy, UnsafePolicy};

/// The settings, held against the arithmetic of key rotation too.
pub(super) fn load(sources: &Sources) -> Result<Config, ConfigError> {
    config::load_with(sources, |config| {
        Policy::new(&config.keys, config.tokens.longest_lifetime)
            .err()
            .map(|unsafe_| refusal(&unsafe_))
            .into_iter()
            .collect()
    })
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
