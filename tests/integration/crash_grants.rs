//! What clients of people were told survives `kill -9`: the real process is killed while codes are exchanged, refresh
//! tokens rotated and revoked. `SIGNET_TEST_KILLS` says how often; a few times unless set.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::crash_figures::{Enough, Figures, now};
use crate::grants_fixture::VERIFIER;
use crate::postgres_fixture::Database;
use crate::process::{Process, Reply, free_port};
use crate::signed_in::{SignedIn, WITHOUT_LIMITS};

const KILLS: usize = 4;

/// For how long the predecessor of the newest refresh token is taken. On a machine that is slower than this, what depends on it is left out,
/// or not decided where the answer comes later.
const GRACE: Duration = Duration::from_secs(10);

/// A code that was spent, and what came of it.
struct Spent {
    code: String,
    tokens: Pair,
}

#[derive(Clone)]
struct Pair {
    access: String,
    refresh: String,
}

/// The refresh tokens of one family that were heard of, oldest first.
struct Family {
    heard: Vec<String>,
    /// The newest was presented, and no answer was heard.
    asked: bool,
    /// Before the newest was asked for: its predecessor was spent no earlier.
    last: Instant,
}

/// What the service said it had done.
#[derive(Default)]
struct Told {
    spent: Vec<Spent>,
    revoked: Vec<Pair>,
    families: Vec<Family>,
    /// How many families nobody can say anything of, for it came to that after their grace.
    undecided: usize,
    repeated: usize,
}

#[test]
fn what_clients_of_people_were_told_survives_kill_9() {
    survives("sled", &[]);
}

#[tokio::test]
async fn postgres_has_what_clients_of_people_were_told_by_a_killed_node() {
    let Some(database) = Database::fresh().await else { return };
    let (url, kek) = (database.url(), "ab".repeat(32));
    let killed = move || survives("PostgreSQL", &[("SIGNET_STORE", &url), ("SIGNET_KEYS_KEK", &kek)]);
    tokio::task::spawn_blocking(killed).await.expect("nothing was lost");
}

/// Kills a service with these settings, and without limits.
fn survives(store: &str, settings: &[(&str, &str)]) {
    let kills = std::env::var("SIGNET_TEST_KILLS").map_or(KILLS, |text| text.parse().expect("a number"));
    let dir = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let settings = [settings, &WITHOUT_LIMITS].concat();
    let mut process = Process::start(dir.path(), port, &settings);
    let browser = SignedIn::new(&process);
    let (mut told, mut figures, mut seed) = (Told::default(), Figures::default(), 11_usize);
    for round in 0..kills {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let target = 8 + (seed >> 33) % 60;
        let of_round = Mutex::new(Told::default());
        figures.of_load(|| load(&Site::of(&process, &browser), &of_round, target));
        drop(process);
        process = figures.of_start(|| Process::start(dir.path(), port, &settings));
        let mut of_round = of_round.into_inner().expect("no panic");
        check(&Site::of(&process, &browser), &mut of_round, round);
        told.spent.append(&mut of_round.spent);
        told.revoked.append(&mut of_round.revoked);
        told.families.append(&mut of_round.families);
        told.undecided += of_round.undecided;
        told.repeated += of_round.repeated;
    }
    let site = Site::of(&process, &browser);
    // What an earlier kill did not take, a later one might have.
    told.spent.iter().for_each(|spent| site.is_over(&spent.tokens));
    told.revoked.iter().for_each(|pair| site.is_over(pair));
    told.families.iter().for_each(|family| site.has_one_live_token(family));
    let families = told.families.len() + told.undecided;
    assert!(told.spent.len() >= kills && told.revoked.len() >= kills && families >= kills);
    let done = format!(
        "{} codes, {} families with {} refresh tokens and {} revocations acknowledged, none lost, and {} answers that nobody heard given \
         again; {} families of which nothing could be said within their grace",
        told.spent.len(),
        told.families.len(),
        told.families.iter().map(|family| family.heard.len()).sum::<usize>(),
        told.revoked.len(),
        told.repeated,
        told.undecided
    );
    figures.judge(store, &done);
}

/// A running service and the one browser that has signed in to it.
struct Site<'a> {
    process: &'a Process,
    browser: &'a SignedIn,
    answers: AtomicUsize,
}

/// `None` where the service was killed before it answered. Where it says 503, as it does where the disk stalls, it is asked again, but for
/// codes: one may have been spent then.
impl<'a> Site<'a> {
    fn of(process: &'a Process, browser: &'a SignedIn) -> Self {
        Self { process, browser, answers: AtomicUsize::new(0) }
    }

    fn counted<T>(&self, answer: Option<T>) -> Option<T> {
        self.answers.fetch_add(usize::from(answer.is_some()), Ordering::Relaxed);
        answer
    }

    fn post(&self, path: &str, form: &[(&str, &str)]) -> Option<Reply> {
        let (id, secret) = &self.browser.client;
        let client = [("client_id", id.as_str()), ("client_secret", secret)];
        self.counted(self.process.post(path, &[form, &client].concat()))
    }

    fn insist(&self, path: &str, form: &[(&str, &str)]) -> Option<Reply> {
        self.process.insist(|_| self.post(path, form))
    }

    fn exchange(&self, code: &str) -> Option<Reply> {
        let redirect_uri = ("redirect_uri", SignedIn::REDIRECT_URI);
        let code = ("code", code);
        let grant = ("grant_type", "authorization_code");
        self.post("/oauth2/token", &[grant, code, redirect_uri, ("code_verifier", VERIFIER)])
    }

    fn refresh(&self, token: &str) -> Option<Reply> {
        self.insist("/oauth2/token", &[("grant_type", "refresh_token"), ("refresh_token", token)])
    }

    /// What a refresh token that was spent gives again. Nothing where it is refused after its grace, as it has to be, its family with it.
    fn again(&self, token: &str, spent: Instant) -> Option<String> {
        let reply = self.refresh(token).expect("an answer");
        let over = reply.status == 400 && spent.elapsed() >= GRACE;
        (!over).then(|| pair(&reply).refresh)
    }

    fn about(&self, path: &str, token: &str) -> Option<Reply> {
        self.insist(path, &[("token", token)])
    }

    /// A code that was exchanged, with its tokens.
    fn tokens(&self) -> Option<Spent> {
        loop {
            let code = self.counted(self.browser.code(self.process))?;
            let reply = self.exchange(&code)?;
            if !reply.ask_again {
                return Some(Spent { code, tokens: pair(&reply) });
            }
        }
    }

    fn is_active(&self, token: &str) -> bool {
        let reply = self.about("/oauth2/introspect", token).expect("an answer");
        reply.json()["active"].as_bool().expect("an introspection")
    }

    fn is_over(&self, pair: &Pair) {
        assert!(!self.is_active(&pair.access), "an access token lives again");
        assert!(!self.is_active(&pair.refresh), "a refresh token lives again");
    }

    fn has_one_live_token(&self, family: &Family) {
        let (newest, older) = family.heard.split_last().expect("a refresh token");
        assert!(self.is_active(newest), "the newest refresh token of {} was lost", family.heard.len());
        for (n, token) in older.iter().enumerate() {
            assert!(!self.is_active(token), "refresh token {n} of {} lives too", family.heard.len());
        }
    }
}

fn pair(reply: &Reply) -> Pair {
    assert_eq!(reply.status, 200, "{reply:?}");
    let text = |name: &str| reply.json()[name].as_str().expect("a token").to_owned();
    Pair { access: text("access_token"), refresh: text("refresh_token") }
}

/// Lets clients work, and kills the process from under them once `target` answers were noted. Says how many requests were answered.
fn load(site: &Site<'_>, told: &Mutex<Told>, target: usize) -> usize {
    let (heard, enough) = (AtomicUsize::new(0), Enough::default());
    let tell = |note: &dyn Fn(&mut Told)| {
        note(&mut told.lock().expect("no panic"));
        if heard.fetch_add(1, Ordering::Relaxed) + 1 == target {
            enough.say();
        }
    };
    let work = |work: &dyn Fn()| {
        let _failing = enough.also_after_a_panic();
        work();
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| work(&|| spend(site, &tell)));
            scope.spawn(|| work(&|| rotate(site, told, &tell)));
        }
        scope.spawn(|| work(&|| revoke(site, &tell)));
        enough.wait();
        site.process.kill_now();
    });
    site.answers.load(Ordering::Relaxed)
}

type Tell<'a> = dyn Fn(&dyn Fn(&mut Told)) + Sync + 'a;

fn spend(site: &Site<'_>, tell: &Tell<'_>) {
    while let Some(Spent { code, tokens }) = site.tokens() {
        tell(&|told| told.spent.push(Spent { code: code.clone(), tokens: tokens.clone() }));
    }
}

fn revoke(site: &Site<'_>, tell: &Tell<'_>) {
    while let Some(Spent { tokens, .. }) = site.tokens() {
        let Some(reply) = site.about("/oauth2/revoke", &tokens.refresh) else { return };
        assert_eq!(reply.status, 200, "{reply:?}");
        tell(&|told| told.revoked.push(tokens.clone()));
    }
}

/// Refreshes one family; each of its tokens is presented by two requests at once, as crossing requests do.
fn rotate(site: &Site<'_>, told: &Mutex<Told>, tell: &Tell<'_>) {
    let Some(Spent { tokens, .. }) = site.tokens() else { return };
    let mut newest = tokens.refresh;
    let family = {
        let mut told = told.lock().expect("no panic");
        told.families.push(Family { heard: vec![newest.clone()], asked: false, last: now() });
        told.families.len() - 1
    };
    loop {
        let begun = now();
        told.lock().expect("no panic").families[family].asked = true;
        let answers = std::thread::scope(|scope| {
            let other = scope.spawn(|| site.refresh(&newest));
            [site.refresh(&newest), other.join().expect("no panic")]
        });
        let refused = answers.iter().flatten().any(|reply| reply.status == 400);
        if refused && begun.elapsed() >= GRACE {
            return;
        }
        let mut children: Vec<String> = answers.iter().flatten().map(|reply| pair(reply).refresh).collect();
        children.dedup();
        assert!(children.len() < 2, "one token has two successors");
        let Some(child) = children.pop() else { return };
        newest.clone_from(&child);
        tell(&|told| {
            let family = &mut told.families[family];
            family.heard.push(child.clone());
            (family.asked, family.last) = (false, begun);
        });
    }
}

/// Holds what was heard in this round against what the service says now.
fn check(site: &Site<'_>, told: &mut Told, round: usize) {
    for family in &mut told.families {
        let (newest, older) = family.heard.split_last().expect("a refresh token");
        if family.last.elapsed() < GRACE {
            // Nobody knows whether the request under way was answered. Whoever asks again gets the only successor.
            if family.asked && !site.is_active(newest) {
                let Some(child) = site.again(newest, family.last) else { continue };
                assert!(site.is_active(&child), "round {round}: the successor does not live");
                family.heard.push(child);
                told.repeated += 1;
            } else if let Some(parent) = older.last() {
                let Some(repeated) = site.again(parent, family.last) else {
                    family.asked = true;
                    continue;
                };
                assert_eq!(repeated, *newest, "round {round}: a second successor");
            }
        } else if family.asked {
            let _whichever_it_is = site.refresh(newest);
            continue;
        }
        site.has_one_live_token(family);
        let newest = family.heard.last().expect("a refresh token");
        let child = pair(&site.refresh(newest).expect("an answer")).refresh;
        family.heard.push(child);
        site.has_one_live_token(family);
        family.asked = false;
    }
    let all = told.families.len();
    told.families.retain(|family| !family.asked);
    told.undecided = all - told.families.len();
    told.revoked.iter().for_each(|pair| site.is_over(pair));
    for spent in &told.spent {
        assert!(site.is_active(&spent.tokens.refresh) && site.is_active(&spent.tokens.access));
        let again = site.process.insist(|_| site.exchange(&spent.code)).expect("an answer");
        assert_eq!(
            (again.status, &again.json()["error"]),
            (400, &json!("invalid_grant")),
            "a code lives again"
        );
        site.is_over(&spent.tokens);
    }
}
