//! What was acknowledged survives `kill -9`: the real process, killed under load again and again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::crash_figures::{Enough, Figures};
use crate::postgres_fixture::Database;
use crate::process::{Process, free_port};

/// How often it is killed, unless `SIGNET_TEST_KILLS` says.
const ROUNDS: usize = 50;

/// Longer than it is killed: a revocation that the token outlives says nothing once the token has ended by itself.
const TOKENS_LIVE: &str = "12h";

/// What the service said it had done.
#[derive(Default)]
struct Acknowledged {
    clients: Vec<String>,
    revoked: Vec<String>,
    /// Issued beside those of each round, and never revoked.
    kept: Vec<String>,
    accounts: Vec<String>,
    api_keys: Vec<String>,
    rotations: Rotations,
}

/// The keys that the service said it had rotated.
#[derive(Default)]
struct Rotations {
    /// How many were acknowledged.
    acknowledged: usize,
    /// The key that signs since the last of them.
    signing: Option<String>,
    /// Those that have signed before and may not again.
    replaced: BTreeSet<String>,
    /// The last that was asked for was not heard of, or put off: it may be done.
    unheard: bool,
    /// How often that was so, and how often it was done.
    cut_off: (usize, usize),
}

impl Rotations {
    /// Asks the service for one that takes effect at once, of the key of `algorithm` at least; `None` once the process is gone.
    fn ask(
        log: &Mutex<Acknowledged>,
        (process, token): (&Process, &str),
        algorithm: &str,
        request: &Value,
    ) -> Option<()> {
        let told = || log.lock().expect("no panic");
        told().rotations.unheard = true;
        let reply = process.post_json("/admin/keys/rotate", token, request)?;
        if reply.ask_again {
            return Some(());
        }
        assert_eq!(reply.status, 200, "{reply:?}");
        let (reply, mut told) = (reply.json(), told());
        let mut rotated = reply["rotations"].as_array().expect("rotations").iter();
        let rotated = rotated.find(|each| each["algorithm"] == algorithm).expect("the key");
        let rotations = &mut told.rotations;
        rotations.unheard = false;
        rotations.acknowledged += 1;
        rotations.replaced.insert(text(rotated, "previous"));
        rotations.signing = Some(text(rotated, "kid"));
        Some(())
    }

    /// Holds against them the key that signs after a start.
    fn check(&mut self, signing: &str) {
        assert!(!self.replaced.contains(signing), "a rotation was undone: {signing} signs again");
        let unheard = std::mem::take(&mut self.unheard);
        self.cut_off.0 += usize::from(unheard);
        match self.signing.replace(signing.to_owned()) {
            Some(acknowledged) if acknowledged != signing => {
                assert!(unheard, "{signing} signs, {acknowledged} should");
                self.replaced.insert(acknowledged);
                self.cut_off.1 += 1;
            }
            _ => {}
        }
    }
}

/// Clients that the load uses, by identifier and secret.
struct Clients {
    demo: (String, String),
    admin: (String, String),
}

impl Clients {
    fn of(process: &Process) -> Self {
        Self { demo: process.credentials("demo client"), admin: process.credentials("administrator") }
    }

    fn demo(&self) -> (&str, &str) {
        (&self.demo.0, &self.demo.1)
    }

    fn admin(&self) -> (&str, &str) {
        (&self.admin.0, &self.admin.1)
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    survives("sled", &[], ROUNDS);
}

/// What is stored is the database's, and outlives a node anyway; but what a node answered must have been stored, and what
/// it left begun must keep nobody waiting.
#[tokio::test]
async fn postgres_has_what_a_killed_node_acknowledged() {
    let Some(database) = Database::fresh().await else { return };
    let (url, kek) = (database.url(), "ab".repeat(32));
    let killed =
        move || survives("PostgreSQL", &[("SIGNET_STORE", &url), ("SIGNET_KEYS_KEK", &kek)], ROUNDS / 5);
    tokio::task::spawn_blocking(killed).await.expect("nothing was lost");
}

/// Kills a service with these settings so many times, unless the environment says how often.
fn survives(store: &str, settings: &[(&str, &str)], rounds: usize) {
    let rounds = std::env::var("SIGNET_TEST_KILLS").map_or(rounds, |text| text.parse().expect("a number"));
    let dir = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let settings = &[settings, &[("SIGNET_TOKENS__LIFETIME", TOKENS_LIVE)]].concat();
    let mut process = Process::start(dir.path(), port, settings);
    let clients = Clients::of(&process);
    let (acknowledged, mut figures) = (Mutex::new(Acknowledged::default()), Figures::default());
    let mut seed: usize = 7;
    for round in 0..rounds {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let target = 5 + (seed >> 33) % 40;
        load(&process, &clients, &acknowledged, (round, target), &mut figures);
        drop(process);
        process = figures.of_start(|| Process::start(dir.path(), port, settings));
        let mut acknowledged = acknowledged.lock().expect("no panic");
        // The newest are the ones at risk.
        check(&process, &clients, &acknowledged, 30);
        acknowledged.rotations.check(&header(&process.token(clients.demo()).expect("a token"), "kid"));
    }
    let acknowledged = acknowledged.into_inner().expect("no panic");
    check(&process, &clients, &acknowledged, usize::MAX);
    let Acknowledged { clients, revoked, kept, accounts, api_keys, rotations } = &acknowledged;
    for kind in [clients, revoked, kept, accounts, api_keys] {
        assert!(kind.len() >= rounds, "the load was real");
    }
    assert!(rotations.acknowledged >= rounds.div_ceil(5), "the load was real");
    let done = format!(
        "{} clients, {} revocations (of tokens as old as {} others that still counted in the end), {} accounts, {} API keys and {} rotations \
         acknowledged, none lost or undone; {} kills fell into a rotation, of which {} were done",
        clients.len(),
        revoked.len(),
        kept.len(),
        accounts.len(),
        api_keys.len(),
        rotations.acknowledged,
        rotations.cut_off.0,
        rotations.cut_off.1
    );
    figures.judge(store, &done);
    assert_eq!(process.terminate(), Some(0));
}

fn text(reply: &Value, name: &str) -> String {
    reply[name].as_str().unwrap_or_else(|| panic!("no {name}: {reply}")).to_owned()
}

/// Writes from several threads, and kills the process from under them once `target` writes of this round are
/// acknowledged and each thread has one.
fn load(
    process: &Process,
    clients: &Clients,
    log: &Mutex<Acknowledged>,
    (round, target): (usize, usize),
    figures: &mut Figures,
) {
    let enough = Enough::default();
    let done: [AtomicUsize; 4] = Default::default();
    let Some(token) = process.token(clients.admin()) else { panic!("no admin token") };
    let kept = process.token(clients.demo()).expect("a token");
    let algorithm = header(&kept, "alg");
    log.lock().expect("no panic").kept.push(kept);
    let rotate = |request: &Value| Rotations::ask(log, (process, &token), &algorithm, request);
    if round % 5 == 0 {
        // Answered when a key waits for each algorithm: at a first start they are being made.
        assert_eq!(process.get("/.well-known/jwks.json", &token).map(|reply| reply.status), Some(200));
        rotate(&json!({ "force": true })).expect("an answer");
    }
    // No owner may have more than 100 API keys.
    let request = json!({
        "client_name": "Keeper", "scope": "users:read", "resources": [format!("{}/users", process.issuer)],
        "grant_types": ["client_credentials"],
    });
    let keeper = process.insist(|process| process.post_json("/admin/clients", &token, &request));
    let keeper = keeper.expect("an answer").json();
    let keeper = text(&keeper, "client_id");
    figures.of_load(|| {
        std::thread::scope(|scope| {
            for thread in 0..done.len() {
                let (done, enough) = (&done, &enough);
                let writer = Writer { process, clients, token: &token, keeper: &keeper, log };
                scope.spawn(move || {
                    let _failing = enough.also_after_a_panic();
                    for n in 0.. {
                        let name = format!("c-{round}-{thread}-{n}");
                        let written = match thread {
                            0 => writer.register(name),
                            1 => writer.revoke(),
                            2 => writer.make_account(&name),
                            _ => writer.make_api_key(&name),
                        };
                        if written.is_none() {
                            return;
                        }
                        done[thread].fetch_add(1, Ordering::Relaxed);
                        let each = || done.iter().map(|done| done.load(Ordering::Relaxed));
                        if each().sum::<usize>() >= target && each().all(|done| done > 0) {
                            enough.say();
                        }
                    }
                });
            }
            if round % 5 == 2 {
                // A few, for what they replace stays published.
                scope.spawn(|| {
                    let request = json!({ "force": true, "algorithm": algorithm });
                    let written = || done.iter().map(|done| done.load(Ordering::Relaxed)).sum::<usize>();
                    let _failing = enough.also_after_a_panic();
                    while written() * 3 < target && !enough.was_said() {
                        std::thread::yield_now();
                    }
                    (0..4).all(|_| rotate(&request).is_some())
                });
            }
            enough.wait();
            process.kill_now();
        });
        // Whoever revokes a token asked for it first.
        done.iter().chain([&done[1]]).map(|done| done.load(Ordering::Relaxed)).sum()
    });
}

/// Somebody who writes; `None` once the process is gone. What the service puts off with 503, as it does where the disk stalls, is no
/// acknowledgement, and nobody asks whether it was done.
#[derive(Clone, Copy)]
struct Writer<'a> {
    process: &'a Process,
    clients: &'a Clients,
    token: &'a str,
    /// Whose API keys read accounts.
    keeper: &'a str,
    log: &'a Mutex<Acknowledged>,
}

impl Writer<'_> {
    fn told(&self) -> MutexGuard<'_, Acknowledged> {
        self.log.lock().expect("no panic")
    }

    fn administer(
        &self,
        path: &str,
        body: &Value,
        note: impl FnOnce(&mut Acknowledged, &Value),
    ) -> Option<()> {
        let reply = self.process.post_json(path, self.token, body)?;
        if !reply.ask_again {
            assert_eq!(reply.status, 201, "{reply:?}");
            note(&mut self.told(), &reply.json());
        }
        Some(())
    }

    fn register(&self, id: String) -> Option<()> {
        let body = json!({
            "client_id": id, "client_name": "Load", "scope": "", "resources": ["http://127.0.0.1:9000"],
        });
        self.administer("/admin/clients", &body, |told, _| told.clients.push(id))
    }

    fn revoke(&self) -> Option<()> {
        let token = self.process.token(self.clients.demo())?;
        let (id, secret) = self.clients.demo();
        let form = [("client_id", id), ("client_secret", secret), ("token", token.as_str())];
        let reply = self.process.insist(|process| process.post("/oauth2/revoke", &form))?;
        assert_eq!(reply.status, 200, "{reply:?}");
        self.told().revoked.push(token);
        Some(())
    }

    fn make_account(&self, name: &str) -> Option<()> {
        let body = json!({ "name": "Load", "email": format!("{name}@example.com") });
        self.administer("/admin/users", &body, |told, account| told.accounts.push(text(account, "id")))
    }

    fn make_api_key(&self, name: &str) -> Option<()> {
        let users = format!("{}/users", self.process.issuer);
        let body = json!({
            "name": name, "client_id": self.keeper, "scope": "users:read", "resources": [users],
        });
        self.administer("/admin/api-keys", &body, |told, key| told.api_keys.push(text(key, "api_key")))
    }
}

/// Looks for as many of the newest of each kind.
fn check(process: &Process, clients: &Clients, acknowledged: &Acknowledged, newest: usize) {
    let token = process.token(clients.admin()).expect("a token");
    for id in acknowledged.clients.iter().rev().take(newest) {
        let reply = process
            .insist(|process| process.get(&format!("/admin/clients/{id}"), &token))
            .expect("an answer");
        assert_eq!(reply.status, 200, "client {id} was lost");
    }
    for id in acknowledged.accounts.iter().rev().take(newest) {
        let reply =
            process.insist(|process| process.get(&format!("/admin/users/{id}"), &token)).expect("an answer");
        assert_eq!(reply.status, 200, "account {id} was lost");
    }
    for key in acknowledged.api_keys.iter().rev().take(newest) {
        let reply = process
            .insist(|process| process.get_with("/v1/users?limit=1", ("X-API-Key", key)))
            .expect("an answer");
        assert_eq!(reply.status, 200, "an API key was lost: {reply:?}");
    }
    let (id, secret) = clients.demo();
    let introspect = |token: &str| {
        let form = [("client_id", id), ("client_secret", secret), ("token", token)];
        process.insist(|process| process.post("/oauth2/introspect", &form)).expect("an answer").json()
    };
    for token in acknowledged.revoked.iter().rev().take(newest) {
        assert_eq!(introspect(token), json!({ "active": false }), "a revocation was lost");
    }
    for token in acknowledged.kept.iter().rev().take(newest) {
        assert_eq!(introspect(token)["active"], true, "without a revocation it would have ended too");
    }
}

/// A member of a token's header.
fn header(token: &str, name: &str) -> String {
    text(&crate::test_app::part(token, 0), name)
}
