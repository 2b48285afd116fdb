//! The same world for years at a time, under policies whose keys sign for days to months: what the shorter runs, a month of
//! simulated time on the average, do not come to. That is keys forgotten by the dozen, operators and clocks that go wrong
//! again and again, and plans made upon plans.
//!
//! 10,000 random policies are run for a year each, and 300 for three.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::World;
use super::scenario::{Act, Scenario, Times};
use crate::oauth::Algorithm;

const DAY: u64 = 86_400;

/// In seconds.
const YEAR: i64 = 365 * 86_400;

/// Policies as installations have them: copies of the JWKS for minutes to a day, tokens for seconds to a day, periods of 2
/// to 100 days, some as tight as they may be.
fn times(propagation: u64, skew: u64) -> impl Strategy<Value = Times> {
    let slack = || prop_oneof![Just(0), 0..3600_u64, 0..3 * DAY];
    let period = prop_oneof![2 * DAY..10 * DAY, 10 * DAY..95 * DAY];
    let lifetime = prop_oneof![1..60_u64, 60..7200_u64, 7200..DAY];
    let algorithms = subsequence(Algorithm::ALL.to_vec(), 1..=2);
    (prop_oneof![1..600_u64, 600..DAY], lifetime, (slack(), slack(), period), algorithms).prop_map(
        move |(max_age, lifetime, slack, algorithms)| Times {
            max_age,
            propagation,
            skew,
            lifetime,
            slack,
            algorithms,
        },
    )
}

/// What happens between two dates of the ring, over and over.
fn act(propagation: u64, skew: u64) -> impl Strategy<Value = Act> {
    let algorithm = || select(Algorithm::ALL.to_vec());
    prop_oneof![
        6 => (0..200_i64).prop_map(Act::Wait),
        6 => (0..20 * 86_400_i64).prop_map(Act::Wait),
        4 => algorithm().prop_map(|algorithm| Act::Rotate { algorithm, force: false }),
        1 => algorithm().prop_map(|algorithm| Act::Rotate { algorithm, force: true }),
        1 => (0..20_usize).prop_map(Act::Compromise),
        1 => algorithm().prop_map(Act::Import),
        1 => times(propagation, skew).prop_map(Act::Reconfigure),
        1 => (0..5 * 86_400_i64).prop_map(Act::Outage),
        1 => (0..5 * 86_400_i64).prop_map(Act::Late),
        1 => (0..10_000_i64).prop_map(Act::SetClockBack),
    ]
}

/// A world, what happens in it, and by how many seconds each date of the ring is missed on the way.
fn scenario() -> impl Strategy<Value = (Scenario, Vec<i64>)> {
    (1..60_u64, 1..120_u64).prop_flat_map(|(propagation, skew)| {
        let acts = proptest::collection::vec(act(propagation, skew), 10..60);
        let of_it = 0..=i64::try_from(skew).expect("small");
        let jitter = proptest::collection::vec(-3..70_i64, 7);
        (any::<u64>(), of_it, times(propagation, skew), acts, jitter)
            .prop_map(|(seed, skew, times, acts, jitter)| (Scenario { seed, skew, times, acts }, jitter))
    })
}

/// Runs the acts again and again, each followed by the time to the ring's next date, for so many years at least.
fn run_for(years: u16, (scenario, jitter): &(Scenario, Vec<i64>)) {
    let mut world = World::new(scenario);
    let begun = world.t;
    let mut established = world.in_use();
    let mut done = 0;
    for (act, jitter) in scenario.acts.iter().cycle().zip(jitter.iter().cycle()) {
        for act in [act, &Act::ToNextChange(*jitter)] {
            world.act(act);
            let in_use = world.in_use();
            established.retain(|algorithm| in_use.contains(algorithm));
            world.assert_signs(&established);
        }
        done += 2;
        if world.t - begun >= i64::from(years) * YEAR {
            break;
        }
        assert!(done < 100_000, "time does not pass: {} s", world.t - begun);
    }
    // With the longest period, and operators who keep away: three rotations a year of one algorithm, and the first two keys.
    assert!(world.made >= 3 * usize::from(years), "{} keys", world.made);
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn no_valid_token_is_refused_for_three_years(world in scenario()) {
        run_for(3, &world);
    }
}

proptest! {
    #![proptest_config(cases(5000))]

    #[test]
    fn no_valid_token_is_refused_for_a_year(world in scenario()) {
        run_for(1, &world);
    }

    #[test]
    fn no_valid_token_is_refused_for_a_year_the_second_half(world in scenario()) {
        run_for(1, &world);
    }
}
