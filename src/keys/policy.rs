use std::time::Duration;

use crate::config::KeysConfig;
use crate::oauth::Algorithm;

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;

/// How many keys of one algorithm may stand in the JWKS at once: verifiers refuse endless sets.
const MOST_PUBLISHED: i64 = 32;

/// The times that rotation keeps, checked: a policy that exists can't make a valid token fail.
///
/// All times are whole seconds. M, P, S and T are the symbols of the settings' documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    max_age: i64,
    propagation: i64,
    skew: i64,
    longest_lifetime: i64,
    lead: i64,
    hold: i64,
    period: i64,
    remembered: i64,
    algorithms: Vec<Algorithm>,
}

/// Why settings can't be served: the setting, the figures, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsafePolicy {
    /// No algorithm is in use.
    #[error("keys.algorithms is empty: nothing could be signed; name one, for example ES256")]
    NoAlgorithm,
    /// An algorithm is named twice.
    #[error("keys.algorithms names {0} twice; name it once")]
    DuplicateAlgorithm(Algorithm),
    /// A time is zero.
    #[error("{setting} is zero; set at least 1 second")]
    Zero {
        /// Which setting.
        setting: &'static str,
    },
    /// A time has a fraction of a second, which no `NumericDate` and no `max-age` could carry.
    #[error("{setting} is {value:?}; set whole seconds")]
    NotWholeSeconds {
        /// Which setting.
        setting: &'static str,
        /// What it was.
        value: Duration,
    },
    /// A time is so long that it is a mistake.
    #[error("{setting} is {value:?}; set at most {longest} seconds")]
    TooLong {
        /// Which setting.
        setting: &'static str,
        /// What it was.
        value: Duration,
        /// The longest allowed, in seconds.
        longest: i64,
    },
    /// Keys would sign before every verifier has them.
    #[error(
        "keys.lead is {lead} s, but a new key reaches every verifier only after keys.propagation ({propagation} s) \
         + keys.jwks_max_age ({max_age} s) + keys.clock_skew ({skew} s); set keys.lead to at least {least} s"
    )]
    LeadTooShort {
        /// In seconds.
        lead: i64,
        /// P, in seconds.
        propagation: i64,
        /// M, in seconds.
        max_age: i64,
        /// S, in seconds.
        skew: i64,
        /// The shortest safe lead, in seconds.
        least: i64,
    },
    /// Keys would leave the JWKS before their last token has expired.
    #[error(
        "keys.hold is {hold} s, but a key's last token lives for keys.propagation ({propagation} s) + \
         tokens.longest_lifetime ({longest_lifetime} s) + keys.clock_skew ({skew} s); set keys.hold to at least {least} s"
    )]
    HoldTooShort {
        /// In seconds.
        hold: i64,
        /// P, in seconds.
        propagation: i64,
        /// T, in seconds.
        longest_lifetime: i64,
        /// S, in seconds.
        skew: i64,
        /// The shortest safe hold, in seconds.
        least: i64,
    },
    /// The next key would have to sign before its lead is over.
    #[error(
        "keys.rotation_period is {period} s, but the next key waits keys.lead ({lead} s) before it may sign; \
         set keys.rotation_period to more than {lead} s"
    )]
    PeriodTooShort {
        /// In seconds.
        period: i64,
        /// In seconds.
        lead: i64,
    },
    /// Keys come faster than they go.
    #[error(
        "keys.rotation_period ({period} s) with keys.hold ({hold} s) keeps {keys} keys of an algorithm published; \
         at most {most} are allowed: lengthen keys.rotation_period or shorten keys.hold"
    )]
    TooManyKeys {
        /// In seconds.
        period: i64,
        /// In seconds.
        hold: i64,
        /// How many keys would be published.
        keys: i64,
        /// How many may be.
        most: i64,
    },
}

impl Policy {
    /// Checks the settings against the arithmetic of rotation. `longest_lifetime` is T: no JWT signed
    /// with any of the keys may live longer.
    ///
    /// # Errors
    /// When the settings could make one valid token fail, or can't be meant.
    pub fn new(settings: &KeysConfig, longest_lifetime: Duration) -> Result<Self, UnsafePolicy> {
        let policy = Self {
            max_age: seconds("keys.jwks_max_age", settings.jwks_max_age, 30 * DAY)?,
            propagation: seconds("keys.propagation", settings.propagation, DAY)?,
            skew: seconds("keys.clock_skew", settings.clock_skew, DAY)?,
            longest_lifetime: seconds("tokens.longest_lifetime", longest_lifetime, 366 * DAY)?,
            lead: seconds("keys.lead", settings.lead, 732 * DAY)?,
            hold: seconds("keys.hold", settings.hold, 732 * DAY)?,
            period: seconds("keys.rotation_period", settings.rotation_period, 732 * DAY)?,
            remembered: 0,
            algorithms: settings.algorithms.clone(),
        };
        policy.check_algorithms()?;
        policy.check_times()?;
        Ok(policy)
    }

    /// The same, but a key is remembered for `remembered` after it has left the JWKS: what it signed may come back as the
    /// hint whom a client means (OpenID Connect Core 1.0, section 3.1.2.1) as long as somebody who got it may be signed in.
    #[must_use]
    pub fn remembering(self, remembered: Duration) -> Self {
        let longest = 732 * DAY;
        Self { remembered: i64::try_from(remembered.as_secs()).map_or(longest, |it| it.min(longest)), ..self }
    }

    fn check_algorithms(&self) -> Result<(), UnsafePolicy> {
        if self.algorithms.is_empty() {
            return Err(UnsafePolicy::NoAlgorithm);
        }
        for (index, algorithm) in self.algorithms.iter().enumerate() {
            if self.algorithms[..index].contains(algorithm) {
                return Err(UnsafePolicy::DuplicateAlgorithm(*algorithm));
            }
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), UnsafePolicy> {
        let Self { max_age, propagation, skew, longest_lifetime, lead, hold, period, .. } = *self;
        let least = propagation + max_age + skew;
        if lead < least {
            return Err(UnsafePolicy::LeadTooShort { lead, propagation, max_age, skew, least });
        }
        let least = propagation + longest_lifetime + skew;
        if hold < least {
            return Err(UnsafePolicy::HoldTooShort { hold, propagation, longest_lifetime, skew, least });
        }
        if period <= lead {
            return Err(UnsafePolicy::PeriodTooShort { period, lead });
        }
        // One signs, one waits, and the rest are held.
        let keys = (propagation + hold) / period + 3;
        if keys > MOST_PUBLISHED {
            return Err(UnsafePolicy::TooManyKeys { period, hold, keys, most: MOST_PUBLISHED });
        }
        Ok(())
    }

    /// M: for how long a JWKS may be cached, in seconds.
    #[must_use]
    pub fn max_age(&self) -> i64 {
        self.max_age
    }

    /// P: within how many seconds every node has loaded a change.
    #[must_use]
    pub fn propagation(&self) -> i64 {
        self.propagation
    }

    /// S: clock skew between nodes plus verifiers' leeway, in seconds.
    #[must_use]
    pub fn skew(&self) -> i64 {
        self.skew
    }

    /// T: how long the longest-lived JWT may live, in seconds.
    #[must_use]
    pub fn longest_lifetime(&self) -> i64 {
        self.longest_lifetime
    }

    /// How long a key is published before it signs, in seconds.
    #[must_use]
    pub fn lead(&self) -> i64 {
        self.lead
    }

    /// How long a key signs before the next one does, in seconds.
    #[must_use]
    pub fn period(&self) -> i64 {
        self.period
    }

    /// How long a key may go on signing after its successor began, in seconds: a node that has not loaded
    /// the change signs with the older key for P, by a clock that may be ahead by S.
    #[must_use]
    pub fn overlap(&self) -> i64 {
        self.propagation + self.skew
    }

    /// For how long a key is remembered that has left the JWKS, in seconds.
    #[must_use]
    pub fn remembered(&self) -> i64 {
        self.remembered
    }

    /// The algorithms in use; the first is the default.
    #[must_use]
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// How long a key that signed tokens of up to `longest_lifetime` seconds stays published after it
    /// retired, in seconds: the hold of the settings, or more where an earlier setting needs it.
    #[must_use]
    pub fn hold_for(&self, longest_lifetime: i64) -> i64 {
        self.hold.max(self.propagation + longest_lifetime + self.skew)
    }
}

fn seconds(setting: &'static str, value: Duration, longest: i64) -> Result<i64, UnsafePolicy> {
    if value.is_zero() {
        return Err(UnsafePolicy::Zero { setting });
    }
    if value.subsec_nanos() != 0 {
        return Err(UnsafePolicy::NotWholeSeconds { setting, value });
    }
    match i64::try_from(value.as_secs()) {
        Ok(seconds) if seconds <= longest => Ok(seconds),
        _ => Err(UnsafePolicy::TooLong { setting, value, longest }),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::KekSource;

    /// Settings with the shortest safe times: M 5, P 1, S 2, T 10.
    pub(crate) fn settings() -> KeysConfig {
        KeysConfig {
            vault: crate::config::VaultPlace::Directory,
            dir: "keys".into(),
            kek: KekSource::Developer,
            algorithms: vec![Algorithm::ES256],
            jwks_max_age: Duration::from_secs(5),
            propagation: Duration::from_secs(1),
            clock_skew: Duration::from_secs(2),
            lead: Duration::from_secs(8),
            hold: Duration::from_secs(13),
            rotation_period: Duration::from_secs(9),
            sealing_period: Duration::from_hours(720),
        }
    }

    fn refusal(change: impl FnOnce(&mut KeysConfig)) -> UnsafePolicy {
        let mut settings = settings();
        change(&mut settings);
        Policy::new(&settings, Duration::from_secs(10)).unwrap_err()
    }

    #[test]
    fn the_shortest_safe_times_are_accepted() {
        assert!(Policy::new(&settings(), Duration::from_secs(10)).is_ok());
    }

    #[test]
    fn one_second_less_is_refused() {
        assert!(matches!(
            refusal(|s| s.lead = Duration::from_secs(7)),
            UnsafePolicy::LeadTooShort { lead: 7, least: 8, .. }
        ));
        assert!(matches!(
            refusal(|s| s.hold = Duration::from_secs(12)),
            UnsafePolicy::HoldTooShort { hold: 12, least: 13, .. }
        ));
        assert!(matches!(
            refusal(|s| s.rotation_period = Duration::from_secs(8)),
            UnsafePolicy::PeriodTooShort { period: 8, lead: 8 }
        ));
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        assert_eq!(refusal(|s| s.algorithms.clear()), UnsafePolicy::NoAlgorithm);
        assert_eq!(
            refusal(|s| s.algorithms.push(Algorithm::ES256)),
            UnsafePolicy::DuplicateAlgorithm(Algorithm::ES256)
        );
        assert_eq!(
            refusal(|s| s.clock_skew = Duration::ZERO),
            UnsafePolicy::Zero { setting: "keys.clock_skew" }
        );
        assert!(matches!(
            refusal(|s| s.propagation = Duration::from_millis(1500)),
            UnsafePolicy::NotWholeSeconds { setting: "keys.propagation", .. }
        ));
        assert!(matches!(
            refusal(|s| s.rotation_period = Duration::from_secs(u64::MAX)),
            UnsafePolicy::TooLong { setting: "keys.rotation_period", .. }
        ));
        assert!(matches!(
            refusal(|s| s.hold = Duration::from_secs(400)),
            UnsafePolicy::TooManyKeys { keys: 47, .. }
        ));
    }

    #[test]
    fn a_refusal_names_the_setting_the_figures_and_the_remedy() {
        let text = refusal(|s| s.lead = Duration::from_secs(7)).to_string();
        for part in ["keys.lead is 7 s", "keys.propagation (1 s)", "at least 8 s"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_lifetime_once_allowed_prolongs_the_hold() {
        let policy = Policy::new(&settings(), Duration::from_secs(10)).unwrap();
        assert_eq!(policy.hold_for(10), 13);
        assert_eq!(policy.hold_for(60), 63);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// The oracle is the arithmetic itself, in integers that can't overflow.
        #[test]
        fn no_unsafe_policy_is_accepted(times in proptest::array::uniform7(prop_oneof![0..40_u64, 0..200_000_u64, any::<u64>()])) {
            let [max_age, propagation, skew, lifetime, lead, hold, period] = times;
            let settings = KeysConfig {
                jwks_max_age: Duration::from_secs(max_age),
                propagation: Duration::from_secs(propagation),
                clock_skew: Duration::from_secs(skew),
                lead: Duration::from_secs(lead),
                hold: Duration::from_secs(hold),
                rotation_period: Duration::from_secs(period),
                ..settings()
            };
            let [m, p, s, t, lead, hold, period] = times.map(u128::from);
            let safe = times.iter().all(|time| *time > 0)
                && lead >= p + m + s
                && hold >= p + t + s
                && period > lead;
            let accepted = Policy::new(&settings, Duration::from_secs(lifetime)).is_ok();
            prop_assert!(!accepted || safe);
            let meant = times.iter().all(|time| *time <= 86_400) && (p + hold) / period.max(1) < 29;
            prop_assert!(accepted || !(safe && meant));
        }
    }
}
