use std::time::Duration;

use super::*;
use crate::keys::draft::{Dates, new_record, placeholder};
use crate::keys::intervene::{condemn_all, rotate};
use crate::keys::policy::tests::settings;

const NOW: i64 = 1_700_000_000;

/// M 5, P 1, S 2, lead 8, hold 13, period 9; T as given.
fn policy(lifetime: u64) -> Policy {
    policy_of(&settings().algorithms, lifetime)
}

fn policy_of(algorithms: &[Algorithm], lifetime: u64) -> Policy {
    let mut settings = settings();
    settings.algorithms = algorithms.to_vec();
    settings.hold = Duration::from_secs(13.max(3 + lifetime));
    Policy::new(&settings, Duration::from_secs(lifetime)).unwrap()
}

fn apply(ring: &mut KeyRingRecord, steps: &[Step]) {
    for step in steps {
        if let Step::Create { algorithm, publish_at, sign_from } = *step {
            let dates = Dates { publish_at, sign_from, lifetime: 10 };
            let number = usize::try_from(sign_from).unwrap();
            ring.add(new_record(placeholder(algorithm, number), algorithm, dates));
        }
        ring.apply(step);
    }
}

fn first_ring() -> KeyRingRecord {
    let mut ring = KeyRingRecord::empty();
    apply(&mut ring, bootstrap(&policy(10), NOW).as_slice());
    let steps = plan(&ring, &policy(10), NOW);
    apply(&mut ring, &steps);
    ring
}

fn late(steps: &[Step], planned_at: i64, by: i64) -> Delayed {
    Delayed { steps: steps.to_vec(), planned_at, durable_at: planned_at + by }
}

#[test]
fn the_first_keys_are_planned_in_order() {
    let ring = first_ring();
    assert_eq!(signer(&ring.records, Algorithm::ES256, NOW), ring.records.first());
    assert_eq!(next_signer(&ring.records, Algorithm::ES256, NOW), ring.records.get(1));
    assert_eq!(ring.records[1].sign_from, NOW + 9);
    // Its successor begins, lagging nodes and fast clocks follow, its last token expires.
    let end = End::Planned { retire_at: NOW + 9 + 1 + 2, forget_at: NOW + 9 + 1 + 2 + 13 };
    assert_eq!(ring.records[0].end, end);
    assert_eq!(plan(&ring, &policy(10), NOW), []);
}

#[test]
fn nothing_is_published_before_others_wait_behind_the_first_keys() {
    let policy = policy_of(&[Algorithm::ES256, Algorithm::RS256], 10);
    let mut ring = KeyRingRecord::empty();
    apply(&mut ring, bootstrap(&policy, NOW).as_slice());
    assert_eq!((ring.records.len(), ring.was_never_published()), (1, true));
    let steps = plan(&ring, &policy, NOW + 1);
    apply(&mut ring, &steps);
    // RS256 signs, ES256 waits; RS256 has none that waits yet.
    assert!(signer(&ring.records, Algorithm::RS256, NOW + 1).is_some());
    assert_eq!((ring.records.len(), ring.was_never_published()), (3, true));
    let steps = plan(&ring, &policy, NOW + 1);
    apply(&mut ring, &steps);
    assert_eq!((ring.records.len(), ring.was_never_published()), (4, false));
    assert_eq!(max_age(&ring, &changes(&ring.records), &policy, NOW + 1), 5);
    assert_eq!(plan(&ring, &policy, NOW + 1), []);
    // No verifier holds a copy without those that wait.
    for algorithm in [Algorithm::ES256, Algorithm::RS256] {
        let rotation = rotate(&ring, &policy, NOW + 1, (algorithm, false)).unwrap();
        assert_eq!((rotation.sign_from, rotation.breaks.len()), (NOW + 1, 0));
    }
    assert_eq!(make_up_for_delay(&ring, &late(&steps, NOW + 1, 1), &policy, NOW + 2), []);
}

#[test]
fn no_key_has_a_head_start_after_every_key_was_condemned() {
    let policy = policy_of(&[Algorithm::ES256, Algorithm::RS256], 10);
    // A copy of the moment before the first keys were published: what followed, verifiers may hold.
    let mut ring = KeyRingRecord::empty();
    apply(&mut ring, bootstrap(&policy, NOW).as_slice());
    let (steps, _) = condemn_all(&ring, &policy, NOW + 100);
    apply(&mut ring, &steps);
    assert!(!ring.was_never_published());
    let steps = plan(&ring, &policy, NOW + 100);
    apply(&mut ring, &steps);
    for record in ring.records.iter().filter(|record| record.is_waiting(NOW + 100)) {
        assert!(record.publish_at >= NOW + 100, "{record:?}");
        assert!(record.sign_from >= NOW + 100 + policy.lead(), "{record:?}");
    }
    assert!(ring.records.iter().any(|record| record.is_waiting(NOW + 100)));
}

#[test]
fn a_key_that_has_left_is_remembered_but_not_for_ever_nor_with_too_many_others() {
    let (forgetful, policy) = (policy(10), policy(10).remembering(Duration::from_secs(500)));
    let mut ring = first_ring();
    let (first, left_at) = (ring.records[0].kid.clone(), ring.records[0].forget_at().unwrap());
    let turn = |ring: &mut KeyRingRecord, policy: &Policy, now: i64| {
        for _ in 0..3 {
            let steps = plan(ring, policy, now);
            apply(ring, &steps);
        }
    };
    for now in (NOW..left_at + 500).step_by(3) {
        turn(&mut ring, &policy, now);
        assert!(ring.find(&first).is_some(), "{}", now - left_at);
    }
    assert!(!ring.find(&first).unwrap().is_published(left_at));
    turn(&mut ring, &policy, left_at + 500);
    assert!(ring.find(&first).is_none());
    // A compromised one is not remembered, and those that are go when nothing is remembered any more.
    let (last, now) = (ring.records[0].clone(), left_at + 500);
    assert_eq!(last.phase(now), Phase::Forgotten);
    let (condemned, _) = condemn_all(&ring, &policy, now);
    apply(&mut ring, &condemned);
    let named_until = ring.find(&last.kid).unwrap().forget_at().unwrap();
    turn(&mut ring, &policy, named_until);
    assert!(ring.find(&last.kid).is_none());
    // However long that is, the ring does not grow without end.
    let endless = policy.remembering(Duration::MAX);
    for now in (now..=now + 9 * 100).step_by(9) {
        turn(&mut ring, &endless, now);
    }
    let forgotten = |record: &&KeyRecord| record.phase(now + 9 * 100) == Phase::Forgotten;
    assert_eq!(ring.records.iter().filter(forgotten).count(), MOST_REMEMBERED);
    turn(&mut ring, &forgetful, now + 9 * 100);
    assert_eq!(ring.records.iter().filter(forgotten).count(), 0);
}

#[test]
fn a_key_that_is_durable_late_is_ready_later() {
    let mut ring = first_ring();
    let now = ring.records[1].sign_from;
    let steps = plan(&ring, &policy(10), now);
    apply(&mut ring, &steps);
    let (publish_at, kid) = (ring.records[2].publish_at, ring.records[2].kid.clone());
    let owed = make_up_for_delay(&ring, &late(&steps, now, 4), &policy(10), now + 4);
    let sign_from = ring.records[2].sign_from.max(publish_at + 4 + lead(&ring, &policy(10)));
    assert_eq!(owed[0], Step::Reschedule { kid, publish_at: publish_at + 4, sign_from });
    assert_eq!(make_up_for_delay(&ring, &late(&steps, now, 0), &policy(10), now), []);
}

#[test]
fn a_key_whose_end_was_durable_after_it_had_come_does_not_sign_again() {
    let mut ring = first_ring();
    let rotation = rotate(&ring, &policy(10), NOW, (Algorithm::ES256, true)).unwrap();
    apply(&mut ring, &rotation.steps);
    let (retire_at, lifetime) = (ring.records[0].retire_at().unwrap(), ring.records[0].longest_lifetime);
    for (by, signs_on) in [(1, true), (3, true), (retire_at - NOW, false), (1_000, false)] {
        let mut ring = ring.clone();
        let owed = make_up_for_delay(&ring, &late(&rotation.steps, NOW, by), &policy(10), NOW + by);
        apply(&mut ring, &owed);
        assert_eq!(ring.records[0].is_alive(NOW + by), signs_on, "{by}");
        // Whoever has not heard of it signs with it until then.
        let last = NOW + by + policy(10).overlap();
        let wanted = if signs_on { retire_at.max(last) } else { retire_at };
        assert_eq!(ring.records[0].retire_at(), Some(wanted), "{by}");
        assert!(ring.records[0].forget_at().unwrap() >= last + policy(10).hold_for(lifetime), "{by}");
    }
}

#[test]
fn a_token_of_a_lagging_node_whose_clock_is_ahead_does_not_outlive_its_key() {
    let mut ring = first_ring();
    let rotation = rotate(&ring, &policy(10), NOW, (Algorithm::ES256, false)).unwrap();
    let not_yet_loaded = ring.records[0].clone();
    apply(&mut ring, &rotation.steps);
    // P after the change, by a clock that is ahead by S.
    let exp = ExpBound::of(&not_yet_loaded, &policy(10)).latest_exp(NOW + 1 + 2);
    assert!(exp <= ring.records[0].forget_at().unwrap() - 2);
}

#[test]
fn a_longer_lifetime_counts_only_once_it_is_recorded() {
    let mut ring = first_ring();
    assert_eq!(ExpBound::of(&ring.records[1], &policy(60)).latest_exp(NOW), NOW + 10);
    let steps = plan(&ring, &policy(60), NOW);
    apply(&mut ring, &steps);
    assert_eq!(ExpBound::of(&ring.records[1], &policy(60)).latest_exp(NOW), NOW + 60);
    assert_eq!(ring.records[0].forget_at(), Some(NOW + 9 + 1 + 2 + 63));
}

#[test]
fn a_longer_lead_postpones_who_waits() {
    let mut ring = first_ring();
    ring.records[1].publish_at = NOW;
    let mut settings = settings();
    settings.lead = Duration::from_secs(50);
    settings.rotation_period = Duration::from_secs(51);
    let policy = Policy::new(&settings, Duration::from_secs(10)).unwrap();
    let steps = plan(&ring, &policy, NOW);
    apply(&mut ring, &steps);
    assert_eq!(ring.records[1].sign_from, NOW + 50);
    assert_eq!(ring.records[0].retire_at(), Some(NOW + 50 + 3));
}

#[test]
fn a_key_that_another_nodes_faster_clock_published_is_published_here() {
    let ring = first_ring();
    assert!(ring.records[1].is_published(ring.records[1].publish_at - 1));
}

#[test]
fn a_clock_that_is_set_back_makes_no_key_and_drops_none() {
    let mut ring = first_ring();
    for step in 1..40 {
        let steps = plan(&ring, &policy(10), NOW + step);
        apply(&mut ring, &steps);
    }
    ring.as_of = NOW + 39;
    let signs = signer(&ring.records, Algorithm::ES256, NOW + 39).unwrap().kid.clone();
    for back in [1, 10, 1_000, 1_000_000_000] {
        let steps = plan(&ring, &policy(10), NOW + 39 - back);
        let drops = |step: &Step| {
            matches!(step, Step::Create { .. } | Step::ErasePrivate { .. } | Step::Forget { .. })
        };
        assert!(!steps.iter().any(drops), "{steps:?}");
        let mut ring = ring.clone();
        apply(&mut ring, &steps);
        assert_eq!(signer(&ring.records, Algorithm::ES256, NOW + 39 - back).unwrap().kid, signs);
        // Nor does the next rotation wait until the clock is where it was.
        let next = next_signer(&ring.records, Algorithm::ES256, NOW + 39 - back).unwrap();
        assert!(next.sign_from <= NOW + 39 - back + 9);
    }
}
