//! Keys that rotate every few seconds under load, by the machine's own clock: the real process on its store, and verifiers
//! that keep their copies of the JWKS for as long as they may. `rotation` has the same in simulated time.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use serde_json::json;
use signet::clock::{Clock as _, SharedClock, SystemClock};
use signet::oauth::{JwkSet, KeyId, Resource};
use signet::verify::{Expectations, ExpectedAudience, KeySet, VerificationKey, check};

use crate::process::{PATIENCE, Process, free_port};
use crate::test_app::RESOURCE;

/// The shortest times that there are. A key is published for three seconds before it signs and four after.
const SETTINGS: [(&str, &str); 9] = [
    ("SIGNET_KEYS_ALGORITHMS", "ES256"),
    ("SIGNET_KEYS_JWKS_MAX_AGE", "1s"),
    ("SIGNET_KEYS_PROPAGATION", "1s"),
    ("SIGNET_KEYS_CLOCK_SKEW", "1s"),
    ("SIGNET_KEYS_LEAD", "3s"),
    ("SIGNET_KEYS_HOLD", "4s"),
    ("SIGNET_KEYS_ROTATION_PERIOD", "4s"),
    ("SIGNET_TOKENS_LIFETIME", "2s"),
    ("SIGNET_TOKENS_STATUS_LIST_TTL", "2s"),
];

/// For how long tokens are issued where all goes well.
const SPAN: Duration = Duration::from_secs(8);

/// After how many rotations that is enough: one at once, by the first keys, and others whose keys have waited for their lead.
const ENOUGH: usize = 3;

/// How many rotations there must be, and how many tokens for each thread, which a slow machine has more time for.
const LEAST: usize = 2;
const TOKENS: usize = 25;

/// A resource server's copy of the JWKS, asked for anew when its `max-age` is over and for no other reason.
struct Copy {
    url: String,
    keys: KeySet,
    clock: SharedClock,
    until: Duration,
    fetches: usize,
}

impl Copy {
    fn of(process: &Process, clock: SharedClock) -> Self {
        let url = format!("{}/.well-known/jwks.json", process.issuer);
        Self { url, keys: KeySet::default(), clock, until: Duration::ZERO, fetches: 0 }
    }

    fn keys(&mut self) -> &KeySet {
        let now = self.clock.monotonic();
        if self.fetches == 0 || now >= self.until {
            let mut answer = ureq::get(&self.url).call().expect("the JWKS");
            let cached = answer.headers()["cache-control"].to_str().expect("text");
            let max_age = cached.strip_prefix("public, max-age=").and_then(|seconds| seconds.parse().ok());
            // Counted from when it was asked for: on the way it was no younger.
            self.until = now + Duration::from_secs(max_age.expect("seconds"));
            let body = answer.body_mut().read_to_string().expect("a body");
            let set: JwkSet = serde_json::from_str(&body).expect("a key set");
            self.keys = set.keys.iter().map(|jwk| VerificationKey::from_jwk(jwk).expect("a key")).collect();
            self.fetches += 1;
        }
        &self.keys
    }
}

/// What one thread has seen.
#[derive(Default)]
struct Seen {
    tokens: usize,
    checks: usize,
    refused: Vec<String>,
    fetches: usize,
    kids: BTreeSet<KeyId>,
}

/// Has tokens issued, and checks each of them again and again until it ends.
fn ask_and_check(
    process: &Process,
    client: (&str, &str),
    (done, signs): (&AtomicBool, &Sender<KeyId>),
) -> Seen {
    let clock = SystemClock::shared();
    let (mut copy, mut seen) = (Copy::of(process, clock.clone()), Seen::default());
    let audience = [Resource::parse(RESOURCE).expect("a resource")];
    let mut live: VecDeque<(i64, String)> = VecDeque::new();
    // The last tokens are followed to their ends.
    loop {
        if !done.load(Ordering::Relaxed) || seen.tokens < TOKENS {
            let token = process.token(client).expect("a token");
            let end = crate::test_app::part(&token, 1)["exp"].as_i64().expect("its end");
            live.push_back((end, token));
            seen.tokens += 1;
        } else if live.is_empty() {
            break;
        }
        let keys = copy.keys();
        let now = clock.numeric_date();
        let expected = Expectations {
            issuer: &process.issuer,
            audience: ExpectedAudience::AnyOf(&audience),
            leeway: Duration::ZERO,
            now,
        };
        while live.front().is_some_and(|(end, _)| *end <= now) {
            live.pop_front();
        }
        // The oldest and the newest: their keys are the ones that are about to go, and have just come.
        for (_, token) in live.front().into_iter().chain(live.back()) {
            seen.checks += 1;
            match check(token, &expected, keys) {
                Ok(verified) => {
                    if seen.kids.insert(verified.kid.clone()) {
                        signs.send(verified.kid).expect("somebody waits");
                    }
                }
                Err(refusal) => seen.refused.push(format!("{refusal:?}: {token}")),
            }
        }
    }
    seen.fetches = copy.fetches;
    seen
}

#[test]
fn no_token_is_refused_while_keys_rotate_under_load() {
    let dir = tempfile::tempdir().expect("a directory");
    let process = Process::start(dir.path(), free_port(), &SETTINGS);
    let (demo, admin) = (process.credentials("demo client"), process.credentials("administrator"));
    let demo = (demo.0.as_str(), demo.1.as_str());
    let done = AtomicBool::new(false);
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let (signs, news) = channel();
        let threads = [(); 4].map(|()| {
            let (signs, process, done) = (signs.clone(), &process, &done);
            scope.spawn(move || ask_and_check(process, demo, (done, &signs)))
        });
        let clock = SystemClock::new();
        let mut signing = BTreeSet::new();
        // Whenever a key begins to sign an operator asks for the next one: it comes as soon as that is safe.
        while signing.len() <= ENOUGH {
            let span = if signing.len() <= LEAST { PATIENCE } else { SPAN };
            let Ok(kid) = news.recv_timeout(span.saturating_sub(clock.monotonic())) else { break };
            if signing.insert(kid) {
                let token = process.token((&admin.0, &admin.1)).expect("a token");
                let ask = |process: &Process| process.post_json("/admin/keys/rotate", &token, &json!({}));
                let asked = process.insist(ask).expect("an answer");
                assert_eq!(asked.status, 200, "{asked:?}");
            }
        }
        done.store(true, Ordering::Relaxed);
        threads.map(|thread| thread.join().expect("no panic")).into()
    });
    let sum = |figure: fn(&Seen) -> usize| seen.iter().map(figure).sum::<usize>();
    let kids: BTreeSet<&KeyId> = seen.iter().flat_map(|each| &each.kids).collect();
    let refused: Vec<&String> = seen.iter().flat_map(|each| &each.refused).collect();
    let (tokens, rotations) = (sum(|each| each.tokens), kids.len().saturating_sub(1));
    println!(
        "{tokens} tokens under {rotations} rotations, checked {} times against {} copies of the keys: {} refused",
        sum(|each| each.checks),
        sum(|each| each.fetches),
        refused.len()
    );
    assert!(refused.is_empty(), "{} times, at first {:?}", refused.len(), refused[0]);
    assert!(rotations >= LEAST, "{rotations} rotations within {PATIENCE:?}");
    assert_eq!(process.terminate(), Some(0));
}
