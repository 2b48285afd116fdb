//! What was acknowledged survives `kill -9`: the real process, killed under load again and again.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::process::{Process, free_port};

/// How often it is killed, unless `SIGNET_TEST_KILLS` says.
const ROUNDS: usize = 50;

/// What the service said it had done.
#[derive(Default)]
struct Acknowledged {
    clients: Vec<String>,
    revoked: Vec<String>,
    signing: Option<String>,
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let rounds = std::env::var("SIGNET_TEST_KILLS").map_or(ROUNDS, |text| text.parse().expect("a number"));
    let dir = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let mut process = Process::start(dir.path(), port, &[]);
    let demo = process.credentials("demo client");
    let admin = process.credentials("administrator");
    let (demo, admin) = ((demo.0.as_str(), demo.1.as_str()), (admin.0.as_str(), admin.1.as_str()));
    let acknowledged = Mutex::new(Acknowledged::default());
    let mut seed: usize = 7;
    for round in 0..rounds {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let target = 5 + (seed >> 33) % 40;
        load(&process, (demo, admin), &acknowledged, (round, target));
        drop(process);
        process = Process::start(dir.path(), port, &[]);
        // The newest are the ones at risk.
        check(&process, (demo, admin), &acknowledged.lock().expect("no panic"), 30);
    }
    let acknowledged = acknowledged.into_inner().expect("no panic");
    check(&process, (demo, admin), &acknowledged, usize::MAX);
    assert!(acknowledged.clients.len() > rounds && acknowledged.revoked.len() > rounds, "the load was real");
    println!(
        "{rounds} kills: {} clients and {} revocations acknowledged, none lost",
        acknowledged.clients.len(),
        acknowledged.revoked.len()
    );
    assert_eq!(process.terminate(), Some(0));
}

type Credentials<'a> = ((&'a str, &'a str), (&'a str, &'a str));

/// Writes from several threads, and kills the process from under them once `target` writes of this round are
/// acknowledged.
fn load(
    process: &Process,
    (demo, admin): Credentials<'_>,
    log: &Mutex<Acknowledged>,
    (round, target): (usize, usize),
) {
    let (done, enough) = (AtomicUsize::new(0), std::sync::mpsc::channel());
    let Some(admin_token) = process.token(admin) else { panic!("no admin token") };
    if round % 5 == 0 {
        let reply = process.post_json("/admin/keys/rotate", &admin_token, &json!({ "force": true }));
        assert_eq!(reply.map(|reply| reply.status), Some(200));
        log.lock().expect("no panic").signing = process.token(demo).map(|token| kid(&token));
    }
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (done, enough, admin_token) = (&done, enough.0.clone(), admin_token.as_str());
            scope.spawn(move || {
                for n in 0.. {
                    if thread % 2 == 0 {
                        let id = format!("c-{round}-{thread}-{n}");
                        let body = json!({
                            "client_id": id, "client_name": "Load", "scope": "", "resources": ["http://127.0.0.1:9000"],
                        });
                        let Some(reply) = process.post_json("/admin/clients", admin_token, &body) else { return };
                        assert_eq!(reply.status, 201, "{reply:?}");
                        log.lock().expect("no panic").clients.push(id);
                    } else {
                        let Some(token) = process.token(demo) else { return };
                        let form = [("client_id", demo.0), ("client_secret", demo.1), ("token", token.as_str())];
                        let Some(reply) = process.post("/oauth2/revoke", &form) else { return };
                        assert_eq!(reply.status, 200, "{reply:?}");
                        log.lock().expect("no panic").revoked.push(token);
                    }
                    if done.fetch_add(1, Ordering::Relaxed) + 1 == target {
                        enough.send(()).expect("somebody waits");
                    }
                }
            });
        }
        enough.1.recv().expect("the load goes on");
        process.kill_now();
    });
}

/// Looks for as many of the newest of each kind.
fn check(process: &Process, (demo, admin): Credentials<'_>, acknowledged: &Acknowledged, newest: usize) {
    let admin_token = process.token(admin).expect("a token");
    for id in acknowledged.clients.iter().rev().take(newest) {
        let reply = process.get(&format!("/admin/clients/{id}"), &admin_token).expect("an answer");
        assert_eq!(reply.status, 200, "client {id} was lost");
    }
    for token in acknowledged.revoked.iter().rev().take(newest) {
        let form = [("client_id", demo.0), ("client_secret", demo.1), ("token", token.as_str())];
        let reply = process.post("/oauth2/introspect", &form).expect("an answer");
        assert_eq!(reply.json(), json!({ "active": false }), "a revocation was lost");
    }
    if let Some(signing) = &acknowledged.signing {
        assert_eq!(&kid(&process.token(demo).expect("a token")), signing, "a rotation was undone");
    }
}

fn kid(token: &str) -> String {
    crate::test_app::part(token, 0)["kid"].as_str().expect("a kid").to_owned()
}
