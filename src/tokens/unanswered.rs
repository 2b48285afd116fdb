use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::RefreshToken;
use crate::oauth::{ClientId, FamilyId, Subject};

/// Of how many families at most it is known, in some 17 MB.
const ROOM: usize = 32_768;

/// The refresh tokens that were presented to this node, and about which it could tell nothing: the store was away, or nothing may be
/// issued. For so long their owners ask again, and the store can't note it.
pub(super) struct Unanswered {
    /// A run is over when its token was not presented for so many milliseconds.
    gap: i64,
    /// On the heap, or it would make every future larger that carries it.
    known: Mutex<Box<Known>>,
}

/// Those that came first have their places, for of them the store may have spent some before it fell silent. When all are taken, each
/// person's first family comes before anybody's second, and among these each client's first before any client's second: nobody can
/// take the places of others by having many.
#[derive(Default)]
struct Known {
    runs: HashMap<FamilyId, Runs>,
    /// The last one makes room.
    ranks: BTreeMap<Rank, Holder>,
    /// How many places somebody has. None is 0.
    held: HashMap<Held, usize>,
    /// When those that are over were last looked for.
    tidied_at: i64,
}

/// The tokens of a family of which it is known: the latest, and the one before it, for which two programs of one client may ask at once. Whoever
/// presents an earlier one can do nothing for or against them.
#[derive(Clone, Copy)]
struct Runs {
    latest: Run,
    before: Option<Run>,
}

impl Runs {
    fn of(&self, generation: u64) -> Option<Run> {
        self.before.into_iter().chain([self.latest]).find(|run| run.generation == generation)
    }

    fn note(&mut self, run: Run) {
        let latest = self.latest.generation;
        if run.generation == latest {
            self.latest = run;
        } else if run.generation > latest {
            let before = (run.generation == latest + 1).then_some(self.latest);
            *self = Self { latest: run, before };
        } else if run.generation + 1 == latest {
            self.before = Some(run);
        }
    }

    fn go_on(&self, gap: i64, now: i64) -> bool {
        self.latest.goes_on(gap, now) || self.before.is_some_and(|run| run.goes_on(gap, now))
    }
}

#[derive(Clone, Copy)]
struct Run {
    generation: u64,
    /// When it was first presented and when last, never with a longer gap in between.
    since: i64,
    until: i64,
}

impl Run {
    fn goes_on(&self, gap: i64, now: i64) -> bool {
        (self.since..=self.until.saturating_add(gap)).contains(&now)
    }
}

/// How many places the person had before; how many the client had of people who had as many; and the family.
type Rank = (usize, usize, FamilyId);

/// Whose a place is.
#[derive(Clone)]
struct Holder {
    person: Subject,
    client: ClientId,
}

#[derive(PartialEq, Eq, Hash)]
enum Held {
    By(Subject),
    /// By people who had so many before.
    Through(ClientId, usize),
}

impl Unanswered {
    pub(super) fn new(gap: i64) -> Self {
        Self { gap, known: Mutex::default() }
    }

    /// Notes that `token` was presented at `since`, in milliseconds since the epoch, and that whoever did was told `now` that
    /// nothing can be said.
    pub(super) fn note(&self, token: &RefreshToken, (since, now): (i64, i64)) {
        let mut known = self.lock();
        if known.runs.len() >= ROOM && known.tidied_at.abs_diff(now) >= 1_000 {
            known.tidied_at = now;
            known.tidy(self.gap, now);
        }
        let generation = token.generation;
        let run = Run { generation, since, until: now };
        if let Some(runs) = known.runs.get_mut(&token.family) {
            let goes_on = runs.of(generation).filter(|run| run.goes_on(self.gap, since));
            runs.note(Run { since: goes_on.map_or(since, |run| run.since), ..run });
        } else if known.has_room_for(token) {
            known.runs.insert(token.family.clone(), Runs { latest: run, before: None });
        }
    }

    /// Until when it was presented in vain, if it was so without a longer gap from `from` on.
    pub(super) fn until(&self, token: &RefreshToken, from: i64) -> Option<i64> {
        let known = self.lock();
        let run = known.runs.get(&token.family)?.of(token.generation)?;
        (run.since <= from.saturating_add(self.gap)).then_some(run.until)
    }

    fn lock(&self) -> MutexGuard<'_, Box<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Gives the family of `token` a place, if one is free or somebody has more of them.
    fn has_room_for(&mut self, token: &RefreshToken) -> bool {
        let holder = Holder { person: token.grant.subject.clone(), client: token.grant.client_id.clone() };
        let rank = self.next_rank(&holder, token.family.clone());
        if self.runs.len() >= ROOM {
            let Some(last) = self.ranks.last_entry() else { return false };
            if (last.key().0, last.key().1) <= (rank.0, rank.1) {
                return false;
            }
            // It is the last one of its person and of its client, and neither of these is who comes.
            let ((of_person, _, family), holder) = last.remove_entry();
            self.runs.remove(&family);
            self.hold_less(Held::By(holder.person));
            self.hold_less(Held::Through(holder.client, of_person));
        }
        self.take(rank, holder);
        true
    }

    fn next_rank(&self, holder: &Holder, family: FamilyId) -> Rank {
        let held = |held| self.held.get(&held).copied().unwrap_or_default();
        let of_person = held(Held::By(holder.person.clone()));
        (of_person, held(Held::Through(holder.client.clone(), of_person)), family)
    }

    fn take(&mut self, rank: Rank, holder: Holder) {
        *self.held.entry(Held::By(holder.person.clone())).or_default() += 1;
        *self.held.entry(Held::Through(holder.client.clone(), rank.0)).or_default() += 1;
        self.ranks.insert(rank, holder);
    }

    fn hold_less(&mut self, held: Held) {
        if let Entry::Occupied(mut number) = self.held.entry(held) {
            *number.get_mut() -= 1;
            if *number.get() == 0 {
                number.remove();
            }
        }
    }

    /// Forgets the runs that are over. The others move up.
    fn tidy(&mut self, gap: i64, now: i64) {
        let before = self.runs.len();
        self.runs.retain(|_, runs| runs.go_on(gap, now));
        if self.runs.len() == before {
            return;
        }
        self.held.clear();
        for ((.., family), holder) in std::mem::take(&mut self.ranks) {
            if self.runs.contains_key(&family) {
                let rank = self.next_rank(&holder, family);
                self.take(rank, holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Grant;

    /// What nobody but its family, person and client is asked of.
    fn token(family: usize, person: &str, client: &str) -> RefreshToken {
        let grant = serde_json::json!({
            "client_id": client, "subject": person, "scope": "", "resources": [], "sid": null, "auth_time": 0, "acr": null, "amr": [],
            "nonce": null, "claims": null, "granted_at": 0,
        });
        let grant: Grant = serde_json::from_value(grant).expect("a grant");
        let family = FamilyId::parse(&format!("{client}.{person}.{family}")).expect("a family");
        RefreshToken { family, generation: 0, grant, issued_at: 0, expires_at: 0, family_ends_at: 0 }
    }

    fn unanswered() -> Unanswered {
        Unanswered::new(10_000)
    }

    fn note(unanswered: &Unanswered, token: &RefreshToken, now: i64) -> Option<i64> {
        unanswered.note(token, (now, now));
        unanswered.until(token, now)
    }

    /// So many are more than there is room for.
    const MANY: usize = 40_000;

    /// The tokens whose family, person and client these are of each number.
    fn many(of: impl Fn(usize) -> (usize, String, String)) -> Vec<RefreshToken> {
        let of_each = |number| {
            let (family, person, client) = of(number);
            token(family, &person, &client)
        };
        (0..MANY).map(of_each).collect()
    }

    fn of_one_client(client: &str) -> Vec<RefreshToken> {
        many(|number| (0, format!("{client}_{number}"), client.into()))
    }

    #[test]
    fn there_is_room_for_so_many_of_one_client_and_again_when_those_are_over() {
        let unanswered = unanswered();
        let tokens = of_one_client("c");
        let note = |number: usize, now| note(&unanswered, &tokens[number], now);
        for number in 0..ROOM {
            assert_eq!(note(number, 5_000), Some(5_000));
        }
        assert_eq!(note(ROOM, 5_000), None);
        assert_eq!(note(ROOM, 15_000), None, "they may come again");
        assert_eq!(note(0, 15_000), Some(15_000));
        assert_eq!(note(ROOM, 15_999), None, "all of them are not looked at for each that comes");
        assert_eq!(note(ROOM, 16_000), Some(16_000));
        assert_eq!(unanswered.until(&tokens[0], 16_000), Some(15_000));
        assert_eq!(unanswered.until(&tokens[1], 16_000), None);
        assert_eq!(unanswered.lock().held.len(), 3, "two people, and their client");
    }

    #[test]
    fn a_run_begins_when_it_was_asked_and_not_when_that_was_answered() {
        let (unanswered, token) = (unanswered(), token(0, "p", "c"));
        unanswered.note(&token, (5_000, 35_000));
        assert_eq!(unanswered.until(&token, 0), Some(35_000));
        // And goes on by when it is asked again.
        unanswered.note(&token, (45_000, 75_000));
        assert_eq!(unanswered.until(&token, 0), Some(75_000));
        unanswered.note(&token, (85_001, 85_002));
        assert_eq!(unanswered.until(&token, 0), None);
    }

    #[test]
    fn a_family_has_one_place_and_an_earlier_token_does_nothing_to_a_later_one() {
        let unanswered = unanswered();
        let of_family = token(0, "p", "c");
        let earlier = |generation| RefreshToken { generation, ..of_family.clone() };
        for generation in 0..MANY as u64 {
            assert_eq!(note(&unanswered, &earlier(generation), 1_000), Some(1_000));
        }
        let last = earlier(MANY as u64 - 1);
        for now in [2_000, 11_500] {
            assert_eq!(note(&unanswered, &earlier(MANY as u64 - 3), now), None);
        }
        // Neither was it kept up by that, nor is it over.
        assert_eq!(unanswered.until(&last, 0), Some(1_000));
        // Also where it was presented before the later one, and answered after it.
        unanswered.note(&earlier(MANY as u64 - 3), (500, 11_000));
        unanswered.note(&last, (11_000, 11_000));
        assert_eq!(unanswered.until(&last, 0), Some(11_000));
        assert_eq!(note(&unanswered, &token(0, "q", "c"), 11_000), Some(11_000));
        assert_eq!(unanswered.lock().ranks.len(), 2);
    }

    #[test]
    fn of_two_who_present_a_token_and_its_successor_in_vain_both_are_known() {
        let (unanswered, of_family) = (unanswered(), token(0, "p", "c"));
        let of = |generation| RefreshToken { generation, ..of_family.clone() };
        for (generation, now) in [(5, 1_000), (6, 2_000), (5, 9_000), (4, 9_500)] {
            note(&unanswered, &of(generation), now);
        }
        assert_eq!(
            [4, 5, 6].map(|generation| unanswered.until(&of(generation), 0)),
            [None, Some(9_000), Some(2_000)]
        );
        note(&unanswered, &of(7), 10_000);
        assert_eq!(unanswered.until(&of(5), 0), None);
        assert_eq!(unanswered.until(&of(6), 0), Some(2_000));
    }

    /// And of whoever has as many as others none is pushed out by them.
    #[test]
    fn whoever_has_many_makes_room_for_whoever_has_few() {
        let of_one_person = || many(|number| (number, "somebody".into(), "c".into()));
        let of_one_person_everywhere = || many(|number| (number, "somebody".into(), format!("c{number}")));
        let others_of_the_same = || many(|number| (0, format!("other_{number}"), "c".into()));
        for (crowd, others, stay, come) in [
            (of_one_client("c"), of_one_client("d"), ROOM / 2, ROOM / 2),
            (of_one_client("c"), others_of_the_same(), ROOM, 0),
            (of_one_person(), of_one_client("d"), 1, ROOM - 1),
            (of_one_person(), others_of_the_same(), 1, ROOM - 1),
            (of_one_person_everywhere(), others_of_the_same(), 1, ROOM - 1),
        ] {
            let unanswered = unanswered();
            for token in &crowd {
                note(&unanswered, token, 1_000);
            }
            assert_eq!(note(&unanswered, &others[0], 1_000).is_some(), come > 0);
            for (one, other) in crowd.iter().zip(&others) {
                note(&unanswered, one, 2_000);
                note(&unanswered, other, 2_000);
            }
            // Of each the first ones, as of those that nobody else wants the places of.
            for (tokens, kept) in [(&crowd, stay), (&others, come)] {
                let known: Vec<_> = tokens.iter().map(|t| unanswered.until(t, 2_000).is_some()).collect();
                assert_eq!(known.iter().filter(|known| **known).count(), kept);
                assert!(known[..kept].iter().all(|known| *known));
            }
            let known = unanswered.lock();
            assert_eq!((known.runs.len(), known.ranks.len()), (ROOM, ROOM));
        }
    }
}
