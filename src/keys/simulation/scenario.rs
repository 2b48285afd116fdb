//! What may happen in the years that are simulated: settings, and what operators and machines do.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::subsequence;

use crate::config::{KekSource, KeysConfig, VaultPlace};
use crate::keys::policy::Policy;
use crate::oauth::Algorithm;

#[derive(Clone, Debug)]
pub(super) struct Times {
    pub(super) max_age: u64,
    pub(super) propagation: u64,
    pub(super) skew: u64,
    pub(super) lifetime: u64,
    pub(super) slack: (u64, u64, u64),
    pub(super) algorithms: Vec<Algorithm>,
}

impl Times {
    pub(super) fn policy(&self) -> Policy {
        let least_lead = self.propagation + self.max_age + self.skew;
        let least_hold = self.propagation + self.lifetime + self.skew;
        let lead = least_lead + self.slack.0;
        let hold = least_hold + self.slack.1;
        // Few enough keys, however short the period.
        let period = (lead + 1 + self.slack.2).max(hold / 20);
        let settings = KeysConfig {
            vault: VaultPlace::Directory,
            dir: "keys".into(),
            kek: KekSource::Developer,
            algorithms: self.algorithms.clone(),
            jwks_max_age: Duration::from_secs(self.max_age),
            propagation: Duration::from_secs(self.propagation),
            clock_skew: Duration::from_secs(self.skew),
            lead: Duration::from_secs(lead),
            hold: Duration::from_secs(hold),
            rotation_period: Duration::from_secs(period),
            sealing_period: Duration::from_hours(720),
        };
        Policy::new(&settings, Duration::from_secs(self.lifetime)).expect("safe by construction")
    }
}

/// P and S are properties of the machines: they stay, whatever else the settings become.
fn times(propagation: u64, skew: u64) -> impl Strategy<Value = Times> {
    let slack = prop_oneof![Just(0_u64), 0..100_u64, 0..5_000_000_u64];
    let slack = (slack.clone(), slack.clone(), slack);
    let algorithms = subsequence(Algorithm::ALL.to_vec(), 1..=2);
    let tuple = (1..600_u64, prop_oneof![1..60_u64, 1..7200_u64], slack, algorithms);
    tuple.prop_map(move |(max_age, lifetime, slack, algorithms)| Times {
        max_age,
        propagation,
        skew,
        lifetime,
        slack,
        algorithms,
    })
}

#[derive(Clone, Debug)]
pub(super) enum Act {
    Wait(i64),
    ToNextChange(i64),
    Rotate {
        algorithm: Algorithm,
        force: bool,
    },
    Compromise(usize),
    Import(Algorithm),
    /// Every node is given other settings at once.
    Reconfigure(Times),
    /// One node is, and the others are not.
    Roll(Times),
    Outage(i64),
    /// What is due next is durable so long after it was planned, and its answer is lost.
    Late(i64),
    SetClockBack(i64),
}

fn act(propagation: u64, skew: u64) -> impl Strategy<Value = Act> {
    let algorithm = proptest::sample::select(Algorithm::ALL.to_vec());
    prop_oneof![
        6 => (0..200_i64).prop_map(Act::Wait),
        12 => (-3..70_i64).prop_map(Act::ToNextChange),
        4 => algorithm.clone().prop_map(|algorithm| Act::Rotate { algorithm, force: false }),
        1 => algorithm.clone().prop_map(|algorithm| Act::Rotate { algorithm, force: true }),
        2 => (0..20_usize).prop_map(Act::Compromise),
        1 => algorithm.prop_map(Act::Import),
        2 => times(propagation, skew).prop_map(Act::Reconfigure),
        3 => times(propagation, skew).prop_map(Act::Roll),
        1 => prop_oneof![0..1000_i64, 0..10_000_000_i64].prop_map(Act::Outage),
        2 => prop_oneof![0..1000_i64, 0..10_000_000_i64].prop_map(Act::Late),
        1 => prop_oneof![0..1000_i64, 0..1_000_000_i64].prop_map(Act::SetClockBack),
    ]
}

#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    /// Of S, how much is skew between clocks; the rest is the verifiers' leeway.
    pub(super) skew: i64,
    pub(super) times: Times,
    pub(super) acts: Vec<Act>,
}

pub(super) fn scenario() -> impl Strategy<Value = Scenario> {
    (1..60_u64, 1..120_u64).prop_flat_map(|(propagation, skew)| {
        let acts = proptest::collection::vec(act(propagation, skew), 1..40);
        let of_it = 0..=i64::try_from(skew).expect("small");
        (any::<u64>(), of_it, times(propagation, skew), acts).prop_map(|(seed, skew, times, acts)| Scenario {
            seed,
            skew,
            times,
            acts,
        })
    })
}
