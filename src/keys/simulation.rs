//! Years of rotation in seconds: nodes that lag and whose clocks differ, operators who rotate, drop and
//! bring in keys, settings that change, outages and clocks set back, against verifiers that fetch the
//! JWKS only when their copy's `max-age` has ended. No valid token may be refused.

mod scenario;
mod years;

use proptest::prelude::*;

use super::draft::{Dates, new_record, placeholder};
use super::intervene::{Refusal, admit, compromise, rotate};
use super::policy::Policy;
use super::record::KeyRingRecord;
use super::schedule::{
    Delayed, ExpBound, Step, bootstrap, changes, make_up_for_delay, max_age, next_change, plan, signer,
};
use crate::oauth::{Algorithm, KeyId};
use scenario::{Act, Scenario, scenario};

struct Node {
    offset: i64,
    policy: Policy,
    ring: KeyRingRecord,
    loaded_at: i64,
}

#[derive(Default)]
struct Verifier {
    offset: i64,
    kids: Vec<KeyId>,
    fresh_until: i64,
}

struct Token {
    kid: KeyId,
    exp: i64,
}

struct World {
    random: u64,
    t: i64,
    set_back: i64,
    leeway: i64,
    /// P, in seconds: of all nodes.
    propagation: i64,
    ring: KeyRingRecord,
    nodes: Vec<Node>,
    verifiers: Vec<Verifier>,
    tokens: Vec<Token>,
    /// Keys that were made to sign too early on purpose, and until when that may hurt.
    excused: Vec<(KeyId, i64)>,
    made: usize,
}

impl World {
    fn new(scenario: &Scenario) -> Self {
        let policy = scenario.times.policy();
        let mut world = Self {
            random: scenario.seed,
            t: 1_800_000_000,
            set_back: 0,
            leeway: policy.skew() - scenario.skew,
            propagation: policy.propagation(),
            ring: KeyRingRecord::empty(),
            nodes: Vec::new(),
            verifiers: Vec::new(),
            tokens: Vec::new(),
            excused: Vec::new(),
            made: 0,
        };
        let bootstraps_at = world.t + world.upto(scenario.skew);
        let first: Vec<Step> = bootstrap(&policy, bootstraps_at).into_iter().collect();
        for kid in world.apply(&first, &policy) {
            world.ring.apply(&Step::Begin { kid });
        }
        // No tick yet: the first acts find one node, which knows the first key only, and verifiers that know none.
        for node in 0..3 {
            let offset = if node == 0 { bootstraps_at - world.t } else { world.upto(scenario.skew) };
            let loaded_at = if node == 0 { world.t } else { world.t - world.propagation - 1 };
            let (ring, policy) = (world.ring.clone(), policy.clone());
            world.nodes.push(Node { offset, policy, ring, loaded_at });
            let offset = world.upto(scenario.skew);
            world.verifiers.push(Verifier { offset, ..Verifier::default() });
        }
        world.issue();
        world.verify();
        world
    }

    /// `SplitMix64`.
    fn upto(&mut self, most: i64) -> i64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let z = (z ^ (z >> 31)) >> 1;
        i64::try_from(z).unwrap() % (most + 1)
    }

    fn node_now(&self, node: usize) -> i64 {
        self.t + self.nodes[node].offset - self.set_back
    }

    fn apply(&mut self, steps: &[Step], policy: &Policy) -> Vec<KeyId> {
        let mut kids = Vec::new();
        for step in steps {
            if let Step::Create { algorithm, publish_at, sign_from } = *step {
                self.made += 1;
                let public = placeholder(algorithm, self.made);
                let lifetime = policy.longest_lifetime();
                let record = new_record(public, algorithm, Dates { publish_at, sign_from, lifetime });
                kids.push(record.kid.clone());
                self.ring.add(record);
            }
            self.ring.apply(step);
        }
        kids
    }

    /// What a node remembers of its own clock.
    fn remember(&mut self) {
        for node in 0..self.nodes.len() {
            self.ring.as_of = self.ring.as_of.max(self.node_now(node));
        }
    }

    fn tick(&mut self, node: usize) {
        let (now, policy) = (self.node_now(node), self.nodes[node].policy.clone());
        for round in 0.. {
            let steps = plan(&self.ring, &policy, now);
            if steps.is_empty() {
                break;
            }
            let only_forgets = steps.iter().all(|step| matches!(step, Step::Forget { .. }));
            let first_keys = self.ring.was_never_published();
            assert!(round == 0 || only_forgets || first_keys, "a plan leaves something to plan: {steps:?}");
            self.apply(&steps, &policy);
        }
        for algorithm in policy.algorithms() {
            let waiting = self
                .ring
                .records
                .iter()
                .filter(|record| record.algorithm == *algorithm && record.is_waiting(now))
                .count();
            assert!((1..=4).contains(&waiting), "{waiting} next keys");
        }
        assert!(self.ring.is_consistent());
        self.nodes[node].ring = self.ring.clone();
        self.nodes[node].loaded_at = self.t;
    }

    fn tick_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.tick(node);
        }
    }

    /// Lets time pass in steps that end at most P after a date of the ring, with ticks at random times.
    fn advance(&mut self, mut by: i64) {
        for _ in 0..20 {
            if by <= 0 {
                return;
            }
            let dates = self.ring.records.iter().flat_map(|record| {
                [Some(record.sign_from), record.retire_at(), record.forget_at()].into_iter().flatten()
            });
            let server_now = self.t - self.set_back;
            let next = dates.filter(|date| *date > server_now).min().map(|date| date - server_now);
            let jitter = self.upto(self.propagation);
            let chunk = next.map_or(by, |next| by.min(next + jitter)).max(1);
            by -= chunk;
            if self.is_mixed() {
                self.pass_mixed(chunk);
            } else {
                self.pass(chunk);
            }
            let ticking = usize::try_from(self.upto(2)).unwrap();
            self.tick(ticking);
            self.issue();
            self.verify();
        }
    }

    /// Time passes; some nodes load the ring, which they need not change.
    fn pass(&mut self, chunk: i64) {
        self.t += chunk;
        for node in 0..self.nodes.len() {
            if self.upto(9) > 0 {
                // It has loaded the ring since, before anything changed.
                let lag = self.upto(self.propagation);
                let loaded_at = self.t - lag;
                if loaded_at > self.t - chunk && !self.ring.was_never_published() {
                    self.nodes[node].ring = self.ring.clone();
                }
                self.nodes[node].loaded_at = self.nodes[node].loaded_at.max(loaded_at.min(self.t));
                let late = loaded_at <= self.t - chunk && self.nodes[node].loaded_at == loaded_at;
                if late || self.ring.was_never_published() {
                    self.tick(node);
                }
            }
        }
    }

    /// The same where settings differ: whoever reads the ring may have something to change, and every node that runs reads it
    /// within P, at the beginning as at the end.
    fn pass_mixed(&mut self, chunk: i64) {
        let (begun, first) = (self.t, usize::try_from(self.upto(2)).unwrap());
        let running: Vec<usize> =
            (0..3).map(|turn| (first + turn) % 3).filter(|_| self.upto(9) > 0).collect();
        if chunk > self.propagation {
            self.t += self.propagation;
            for &node in &running {
                self.tick(node);
            }
        }
        let mut reads: Vec<_> =
            running.iter().map(|node| (begun + chunk - self.upto(self.propagation), *node)).collect();
        reads.sort_unstable();
        for (at, node) in reads {
            self.t = at.max(self.t);
            self.tick(node);
        }
        self.t = begun + chunk;
    }

    fn is_mixed(&self) -> bool {
        self.nodes.iter().any(|node| node.policy != self.nodes[0].policy)
    }

    fn is_fresh(&self, node: usize) -> bool {
        self.t - self.nodes[node].loaded_at <= self.propagation
    }

    fn issue(&mut self) {
        for node in 0..self.nodes.len() {
            if !self.is_fresh(node) {
                continue;
            }
            let (now, policy) = (self.node_now(node), &self.nodes[node].policy);
            // What the settings have dropped is signed with too, for as long as it signs.
            for algorithm in Algorithm::ALL {
                let Some(record) = signer(&self.nodes[node].ring.records, algorithm, now) else { continue };
                let exp = ExpBound::of(record, policy).latest_exp(now);
                assert!(exp <= now + policy.longest_lifetime());
                self.tokens.push(Token { kid: record.kid.clone(), exp });
            }
        }
        let newest = self.tokens.len().saturating_sub(40);
        self.tokens.drain(..newest);
    }

    fn verify(&mut self) {
        for index in 0..self.verifiers.len() {
            if self.t >= self.verifiers[index].fresh_until && !self.fetch(index) {
                continue;
            }
            let verifier = &self.verifiers[index];
            let expired_before = self.t + verifier.offset - self.leeway;
            for token in self.tokens.iter().filter(|token| token.exp >= expired_before) {
                let Some(record) = self.ring.find(&token.kid) else {
                    panic!("{} is forgotten before its token has expired", token.kid)
                };
                if record.compromised_at().is_some() {
                    continue;
                }
                assert!(record.forget_at().is_none_or(|forget_at| token.exp <= forget_at), "exp > forget_at");
                let excused = |(kid, until): &(KeyId, i64)| *kid == token.kid && self.t <= *until;
                let known = verifier.kids.contains(&token.kid);
                assert!(known || self.excused.iter().any(excused), "a valid token is refused: {record:?}");
            }
        }
        let (t, leeway) = (self.t, self.leeway);
        self.tokens.retain(|token| token.exp >= t - leeway);
    }

    fn fetch(&mut self, index: usize) -> bool {
        let first = usize::try_from(self.upto(2)).unwrap();
        let serves = |node: &usize| self.is_fresh(*node) && !self.nodes[*node].ring.was_never_published();
        let Some(node) = (0..3).map(|turn| (first + turn) % 3).find(serves) else {
            return false;
        };
        let now = self.node_now(node);
        let Node { ring, policy, .. } = &self.nodes[node];
        let published = ring.records.iter().filter(|record| record.is_published(now));
        self.verifiers[index].kids = published.map(|record| record.kid.clone()).collect();
        let changes = changes(&ring.records);
        let max_age = max_age(ring, &changes, policy, now);
        assert!((1..=policy.max_age()).contains(&max_age), "max-age {max_age}");
        assert!(next_change(&changes, now).is_none_or(|date| now + max_age <= date));
        self.verifiers[index].fresh_until = self.t + max_age;
        true
    }

    fn act(&mut self, act: &Act) {
        let node = usize::try_from(self.upto(2)).unwrap();
        let (now, policy) = (self.node_now(node), self.nodes[node].policy.clone());
        if matches!(act, Act::Rotate { .. } | Act::Compromise(_) | Act::Import(_)) {
            self.tick(node);
        }
        match act {
            Act::Wait(by) => self.advance(*by),
            Act::ToNextChange(jitter) => {
                let next = next_change(&changes(&self.ring.records), now).unwrap_or(now);
                self.advance((next - now + jitter).max(0));
            }
            Act::Rotate { algorithm, force } => {
                match rotate(&self.ring, &policy, now, (*algorithm, *force)) {
                    Ok(rotation) => {
                        assert!(*force || rotation.breaks.is_empty());
                        self.apply(&rotation.steps, &policy);
                        self.excuse(
                            &rotation.kid,
                            now,
                            rotation.breaks.iter().map(|breakage| breakage.until).max(),
                        );
                    }
                    Err(refusal) => assert!(matches!(refusal, Refusal::AlgorithmNotInUse(_))),
                }
                self.tick(node);
            }
            Act::Compromise(which) => self.compromise(*which, node),
            Act::Import(algorithm) => {
                let public = placeholder(*algorithm, self.made + 1);
                if let Ok(step) = admit(&self.ring, &policy, now, (*algorithm, &public.thumbprint())) {
                    self.apply(&[step], &policy);
                }
                self.tick(node);
            }
            Act::Reconfigure(times) => {
                for node in &mut self.nodes {
                    node.policy = times.policy();
                }
                self.tick_all();
            }
            Act::Roll(times) => {
                self.nodes[node].policy = times.policy();
                self.tick(node);
            }
            Act::Outage(by) => {
                self.t += by;
                self.tick_all();
            }
            Act::Late(by) => self.late(*by, node),
            Act::SetClockBack(by) => {
                self.remember();
                self.set_back += by;
                self.tick_all();
            }
        }
        self.issue();
        self.verify();
    }

    /// Nobody plans until what is due next was planned by `node`, nor before that is durable. The others may read it a P before `node` does,
    /// and a P later they may still hold what they read: what would sign, or end, by then is beyond help.
    fn late(&mut self, by: i64, node: usize) {
        // Nodes of different settings must each plan once in P, and the first keys are made in two steps.
        if self.is_mixed() || self.ring.was_never_published() {
            return;
        }
        let (policy, planned_at) = (self.nodes[node].policy.clone(), self.node_now(node));
        let next = next_change(&changes(&self.ring.records), planned_at).unwrap_or(planned_at);
        self.t += next - planned_at;
        let planned_at = self.node_now(node);
        let steps = plan(&self.ring, &policy, planned_at);
        // A new key signs by then; and one that is to sign on has left the others' JWKS.
        let beyond_help = steps.iter().filter_map(|step| match step {
            Step::Create { sign_from, .. } => Some(*sign_from),
            Step::Retire { kid, .. } | Step::Reopen { kid } => self.ring.find(kid)?.forget_at(),
            _ => None,
        });
        let within = beyond_help
            .min()
            .map_or(by, |first| first - planned_at - 2 * self.propagation - policy.skew() - 1);
        let before = self.ring.clone();
        self.apply(&steps, &policy);
        self.t += by.min(within).max(0);
        let others: Vec<usize> = (0..self.nodes.len()).filter(|other| *other != node).collect();
        for other in &others {
            self.nodes[*other].ring = before.clone();
            self.nodes[*other].loaded_at = self.t;
        }
        // Whoever fetches keys just now finds what was planned on none of them.
        self.verify();
        for other in others {
            self.nodes[other].ring = self.ring.clone();
        }
        self.issue();
        self.verify();
        self.t += self.upto(self.propagation);
        self.issue();
        self.verify();
        let now = self.node_now(node);
        let owed =
            make_up_for_delay(&self.ring, &Delayed { steps, planned_at, durable_at: now }, &policy, now);
        self.apply(&owed, &policy);
        self.tick(node);
    }

    fn compromise(&mut self, which: usize, node: usize) {
        let (now, policy) = (self.node_now(node), self.nodes[node].policy.clone());
        let Some(record) = self.ring.records.get(which) else { return };
        let kid = record.kid.clone();
        let signers = |ring: &KeyRingRecord| {
            Algorithm::ALL.map(|each| signer(&ring.records, each, now).map(|record| record.kid.clone()))
        };
        let before = signers(&self.ring);
        if let Ok((steps, breaks)) = compromise(&self.ring, &policy, now, &kid) {
            self.apply(&steps, &policy);
            assert!(!self.ring.find(&kid).unwrap().is_published(now));
            let until = breaks.iter().filter(|breakage| breakage.what.contains("new tokens"));
            let until = until.map(|breakage| breakage.until).max();
            for successor in
                signers(&self.ring).into_iter().flatten().filter(|kid| !before.contains(&Some(kid.clone())))
            {
                self.excuse(&successor, now, until);
            }
        }
        self.tick(node);
    }

    fn excuse(&mut self, kid: &KeyId, now: i64, until: Option<i64>) {
        if let Some(until) = until {
            // "Until" is by the clock of the node that answered.
            self.excused.push((kid.clone(), self.t + until - now));
        }
    }

    /// The algorithms that every node uses.
    fn in_use(&self) -> Vec<Algorithm> {
        let everywhere = |algorithm: &Algorithm| {
            self.nodes.iter().all(|node| node.policy.algorithms().contains(algorithm))
        };
        Algorithm::ALL.into_iter().filter(everywhere).collect()
    }

    /// An algorithm that was in use all the time can always sign, from the first publication on.
    fn assert_signs(&self, established: &[Algorithm]) {
        for algorithm in established {
            for (node, state) in self.nodes.iter().enumerate() {
                if self.is_fresh(node) && !state.ring.was_never_published() {
                    let found = signer(&state.ring.records, *algorithm, self.node_now(node));
                    assert!(found.is_some(), "nobody signs {algorithm}");
                }
            }
        }
    }

    /// Whatever becomes of the settings, something signs from the first publication on.
    fn assert_something_signs(&self) {
        for (node, state) in self.nodes.iter().enumerate() {
            if self.is_fresh(node) && !state.ring.was_never_published() {
                let now = self.node_now(node);
                let signs =
                    Algorithm::ALL.iter().any(|each| signer(&state.ring.records, *each, now).is_some());
                assert!(signs, "nobody signs anything");
            }
        }
    }
}

fn run(scenario: &Scenario) {
    let mut world = World::new(scenario);
    let mut established = world.in_use();
    for act in &scenario.acts {
        world.act(act);
        let in_use = world.in_use();
        established.retain(|algorithm| in_use.contains(algorithm));
        world.assert_signs(&established);
        world.assert_something_signs();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_valid_token_is_refused(scenario in scenario()) {
        run(&scenario);
    }

    #[test]
    fn no_valid_token_is_refused_the_second_half(scenario in scenario()) {
        run(&scenario);
    }
}
