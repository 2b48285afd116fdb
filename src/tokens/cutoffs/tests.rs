use std::collections::BTreeMap as Model;

use super::*;
use crate::entropy::{Entropy, SeededEntropy};

const START: i64 = 1_800_000_000;
const HOUR: i64 = 3600;
const GRANTS: i64 = 30 * 24 * HOUR;

fn client(name: &str) -> Whole {
    Whole::Client(ClientId::parse(name).unwrap())
}

fn subject(name: &str) -> Whole {
    Whole::Subject(Subject::parse(name).unwrap())
}

fn granted(client_id: &str, subject: &str) -> Whole {
    Whole::Granted(ClientId::parse(client_id).unwrap(), Subject::parse(subject).unwrap())
}

/// Of tokens that live for an hour and grants that live for thirty days.
fn at(before: i64) -> Cutoff {
    Cutoff { before, forget_at: before + HOUR, grants_until: before + GRANTS }
}

fn cut_off(cutoffs: &Cutoffs, whole: &Whole, cutoff: Cutoff) {
    cutoffs.add(vec![NewCutoff::new(whole, cutoff)], Some(START));
}

fn many(count: usize) -> Cutoffs {
    let cutoffs = Cutoffs::none_at(START);
    let each = |number| NewCutoff::new(&subject(&format!("user_{number}")), at(START));
    cutoffs.add((0..count).map(each).collect(), Some(START));
    cutoffs
}

fn of(cutoffs: &Cutoffs, client_id: &str, subject: &str) -> Option<i64> {
    cutoffs.of(&ClientId::parse(client_id).unwrap(), &Subject::parse(subject).unwrap())
}

fn listed(cutoffs: &Cutoffs, now: i64) -> usize {
    let published = cutoffs.published(now).1;
    published.clients.len() + published.subjects.len() + published.grants.len()
}

#[test]
fn a_cut_off_counts_at_once_for_whoever_reads_and_stands_in_the_lists_by_its_name() {
    let cutoffs = Cutoffs::none_at(START);
    assert_eq!(of(&cutoffs, "shop", "ada"), None);
    for (whole, before) in [(client("shop"), 1), (subject("ada"), 2), (granted("shop", "ada"), 3)] {
        let generation = cutoffs.generation();
        cut_off(&cutoffs, &whole, at(START + before));
        assert_eq!(of(&cutoffs, "shop", "ada"), Some(START + before));
        assert!(cutoffs.generation() > generation, "no list from before is true");
    }
    assert_eq!(of(&cutoffs, "shop", "bob"), Some(START + 1));
    assert_eq!(of(&cutoffs, "till", "ada"), Some(START + 2));
    assert_eq!(of(&cutoffs, "till", "bob"), None);
    let (generation, published) = cutoffs.published(START);
    assert_eq!(generation, cutoffs.generation());
    let (shop, ada) = (ClientId::parse("shop").unwrap(), Subject::parse("ada").unwrap());
    assert_eq!(published.clients, [(RevokedBefore::client_name(&shop), START + 1)].into());
    assert_eq!(published.subjects, [(RevokedBefore::subject_name(&ada), START + 2)].into());
    assert_eq!(published.grants, [(RevokedBefore::grant_name(&shop, &ada), START + 3)].into());
}

#[test]
fn what_has_left_the_lists_refuses_until_the_last_grant_has_ended_and_two_days_more() {
    let cutoffs = Cutoffs::none_at(START);
    let wholes = [client("shop"), subject("ada"), granted("till", "bob")];
    for whole in &wholes {
        cut_off(&cutoffs, whole, at(START));
    }
    let refused =
        || [("shop", "x"), ("x", "ada"), ("till", "bob")].map(|(c, s)| of(&cutoffs, c, s).is_some());
    let end = START + GRANTS + LONGEST_LEAD;
    for (now, stand) in [(START + HOUR - 1, 3), (START + HOUR, 0), (START + GRANTS, 0), (end - 1, 0)] {
        cutoffs.drop_ended(now);
        assert_eq!((refused(), listed(&cutoffs, now)), ([true; 3], stand), "{now}");
    }
    cutoffs.drop_ended(end);
    assert_eq!(refused(), [false; 3]);
}

#[test]
fn what_left_the_lists_by_a_clock_that_was_ahead_comes_back_into_them() {
    let cutoffs = many(3);
    let mut generation = cutoffs.generation();
    for (now, stand) in [(START + HOUR + LONGEST_LEAD - 1, 0), (START + HOUR - 1, 3), (START + HOUR, 0)] {
        cutoffs.drop_ended(now);
        assert_eq!(listed(&cutoffs, now), stand);
        assert!(cutoffs.generation() > generation, "no list from before is true: {now}");
        generation = cutoffs.generation();
    }
    // By a clock that is off it can't be known that it has left.
    let whole = subject("eve");
    cutoffs.add(vec![NewCutoff::new(&whole, at(START))], None);
    assert_eq!(listed(&cutoffs, START), 4);
}

#[test]
fn what_has_left_the_lists_by_more_than_a_clock_may_lead_takes_no_room_for_them() {
    let cutoffs = many(3);
    let in_memory = |cutoffs: &Cutoffs| cutoffs.listed().cutoffs.len();
    cutoffs.drop_ended(START + HOUR + LONGEST_LEAD - 1);
    assert_eq!(in_memory(&cutoffs), 3);
    cutoffs.drop_ended(START + HOUR + LONGEST_LEAD);
    assert_eq!(in_memory(&cutoffs), 0);
    let late = START + HOUR + LONGEST_LEAD;
    cutoffs.add(vec![NewCutoff::new(&subject("eve"), at(START))], Some(late));
    assert_eq!((in_memory(&cutoffs), of(&cutoffs, "c", "eve")), (0, Some(START)));
    // Its place there goes with its date.
    cut_off(&cutoffs, &subject("ada"), at(START));
    cut_off(&cutoffs, &subject("ada"), at(START + 1));
    assert_eq!((in_memory(&cutoffs), of(&cutoffs, "c", "ada")), (1, Some(START + 1)));
}

/// So docs/scale.md counts them.
#[test]
fn each_that_is_kept_takes_forty_bytes() {
    assert_eq!(size_of::<(WholeName, Cutoff)>(), 40);
}

#[test]
fn one_more_copies_one_part_of_those_that_are_kept() {
    let cutoffs = many(20_000);
    let then = cutoffs.kept.snapshot();
    let touched = || cutoffs.kept.untouched_since(&then).iter().filter(|untouched| !**untouched).count();
    assert!(cutoffs.kept.untouched_since(&then).len() > 4000, "they are spread");
    cut_off(&cutoffs, &subject("user_7"), at(START));
    assert_eq!(touched(), 0, "it is known");
    cut_off(&cutoffs, &subject("one_more"), at(START));
    assert_eq!(touched(), 1);
    cut_off(&cutoffs, &subject("one_more"), at(START + 1));
    assert_eq!(touched(), 1);
    for name in 0..20_000 {
        assert_eq!(of(&cutoffs, "c", &format!("user_{name}")), Some(START));
    }
}

#[test]
fn a_round_copies_nothing_unless_something_has_ended_and_makes_no_list_untrue_unless_something_left_it() {
    let cutoffs = many(20_000);
    let short = Cutoff { before: START, forget_at: START + 60, grants_until: START };
    cut_off(&cutoffs, &subject("short"), short);
    let (then, generation) = (cutoffs.kept.snapshot(), cutoffs.generation());
    let touched = || cutoffs.kept.untouched_since(&then).iter().filter(|untouched| !**untouched).count();
    cutoffs.drop_ended(START + 59);
    assert_eq!((touched(), cutoffs.generation()), (0, generation));
    cutoffs.drop_ended(START + 60);
    assert_eq!((touched(), cutoffs.generation()), (0, generation + 1), "it leaves the lists");
    cutoffs.drop_ended(START + HOUR);
    cutoffs.drop_ended(START + HOUR + 1);
    assert_eq!((touched(), cutoffs.generation()), (0, generation + 2), "all others do");
    cutoffs.drop_ended(START + 60 + LONGEST_LEAD);
    assert_eq!((touched(), cutoffs.generation()), (1, generation + 2), "it is forgotten");
    assert_eq!((of(&cutoffs, "c", "short"), of(&cutoffs, "c", "user_1")), (None, Some(START)));
}

#[test]
fn what_is_known_already_makes_no_list_untrue() {
    let cutoffs = many(3);
    let generation = cutoffs.generation();
    cut_off(&cutoffs, &subject("user_1"), at(START));
    cut_off(&cutoffs, &subject("user_2"), at(START - 5));
    assert_eq!(cutoffs.generation(), generation);
}

/// However they come, one by one or together, twice or out of order: the latest of each counts, and stands in the lists.
#[test]
fn many_that_come_together_count_as_one_by_one() {
    let chance: &dyn Entropy = &SeededEntropy::new(5);
    for batch in [1, 7, 500] {
        let (cutoffs, mut model) = (Cutoffs::none_at(START), Model::<String, Cutoff>::new());
        for _ in 0..2000 / batch {
            let mut new = Vec::new();
            for _ in 0..batch {
                let [a, b, c, d] = chance.bytes().map(i64::from);
                let name = format!("user_{}", (a * 256 + b) % 700);
                let cutoff = Cutoff {
                    before: START + c,
                    forget_at: START + c + HOUR + d,
                    grants_until: START + GRANTS - d,
                };
                new.push(NewCutoff::new(&subject(&name), cutoff));
                let known = model.entry(name).or_insert(cutoff);
                *known = known.with(&cutoff);
            }
            cutoffs.add(new, Some(START));
        }
        for (name, cutoff) in &model {
            assert_eq!(cutoffs.known(&subject(name)), Some(*cutoff), "{name}, by {batch}");
        }
        for now in [START, START + HOUR + 200, START + HOUR + 300] {
            let stand = model.values().filter(|cutoff| now < cutoff.forget_at).count();
            assert_eq!(listed(&cutoffs, now), stand, "by {batch}");
        }
        let end = START + GRANTS + LONGEST_LEAD - 100;
        cutoffs.drop_ended(end);
        for (name, cutoff) in &model {
            assert_eq!(cutoffs.known(&subject(name)).is_some(), end < cutoff.kept_until(), "{name}");
        }
    }
}

#[test]
fn a_cut_off_gets_behind_those_that_its_tokens_may_have_got_behind() {
    let cutoffs = Cutoffs::none_at(START);
    let all = [
        (client("shop"), 1),
        (client("till"), 2),
        (subject("ada"), 3),
        (subject("bob"), 4),
        (granted("shop", "eve"), 5),
        (granted("till", "ada"), 6),
    ];
    for (whole, before) in &all {
        cut_off(&cutoffs, whole, at(START + before));
    }
    let beside = |whole: &Whole, dates: Range<i64>| {
        let dates = START + dates.start..START + dates.end;
        cutoffs.latest_beside(whole, &dates).map(|before| before - START)
    };
    assert_eq!(beside(&client("shop"), 0..10), Some(5));
    assert_eq!(beside(&client("till"), 0..10), Some(6));
    assert_eq!(beside(&client("other"), 0..10), Some(4));
    assert_eq!(beside(&subject("ada"), 0..10), Some(6));
    assert_eq!(beside(&subject("bob"), 0..10), Some(2));
    assert_eq!(beside(&granted("till", "ada"), 0..10), Some(3));
    assert_eq!(beside(&granted("till", "eve"), 0..10), Some(2));
    assert_eq!(beside(&client("till"), 0..6), Some(4));
    assert_eq!(beside(&client("till"), 4..6), Some(4));
    assert_eq!(beside(&client("till"), 7..10), None);
}

#[test]
fn what_a_wider_cut_off_covers_is_found_and_leaves_the_lists() {
    let cutoffs = Cutoffs::none_at(START);
    for (whole, before) in
        [(granted("shop", "ada"), 0), (granted("shop", "bob"), 9), (granted("till", "ada"), 0)]
    {
        cut_off(&cutoffs, &whole, at(START + before));
    }
    let new = at(START + 5);
    let covered = |whole: &Whole, most| cutoffs.covered(whole, &new, (START, most));
    assert_eq!(covered(&client("shop"), 9), [granted("shop", "ada")]);
    assert_eq!(covered(&subject("ada"), 1).len(), 1);
    assert_eq!(covered(&subject("bob"), 9), []);
    assert_eq!(cutoffs.covered(&client("till"), &new, (START + HOUR, 9)), [], "it has left them");
    let generation = cutoffs.generation();
    cutoffs.forget(&[granted("shop", "ada"), granted("shop", "bob")], &new);
    assert!(cutoffs.generation() > generation);
    assert_eq!(listed(&cutoffs, START), 2);
    assert_eq!((of(&cutoffs, "shop", "ada"), of(&cutoffs, "shop", "bob")), (None, Some(START + 9)));
}
