//! Keys that are made, and that begin to sign, stand in the audit log once things are well again: whoever asked for it, whatever
//! failed, and when.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use serde_json::{Value, json};
use signet::app::StartError;
use signet::clock::ManualClock;
use signet::keys::Origin;

use crate::faulty_store::{FaultyStore, WAYS, without_limits};
use crate::shared_store::SharedStore;
use crate::test_app::{START, TestApp};

/// More calls than any of these makes.
const MOST_CALLS: usize = 60;

/// A key from elsewhere.
const KEY: &str = include_str!("../fixtures/keys/p256.pem");

/// What is asked of an administrator's API.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Rotate,
    CompromiseSigning,
    CompromiseSealing,
    Import,
}

const ASKED: [Asked; 4] = [Asked::Rotate, Asked::CompromiseSigning, Asked::CompromiseSealing, Asked::Import];

impl Asked {
    /// Gives the answer's status, once what was said to be done is seen to be done.
    async fn of(self, app: &TestApp) -> u16 {
        let (keys, sealing) = (&app.app.state.services.keys, &app.app.state.services.sealing_keys);
        let signing = || keys.list().keys.into_iter().find(|key| key.signs).expect("a key signs").kid;
        let (signed, sealed) = (signing(), sealing.list().remove(0).id);
        let (path, body) = match self {
            Self::Rotate => ("rotate".to_owned(), json!({ "force": true })),
            Self::CompromiseSigning => (format!("{signed}/compromise"), json!({})),
            Self::CompromiseSealing => (format!("{sealed}/compromise"), json!({})),
            Self::Import => ("import".to_owned(), json!({ "key": KEY, "algorithm": "ES256" })),
        };
        let answer = app.administer(Method::POST, &format!("/admin/keys/{path}"), Some(body)).await;
        let is_done = match self {
            Self::Rotate => signing() != signed,
            Self::CompromiseSigning => keys.compromised().contains(&signed) && signing() != signed,
            Self::CompromiseSealing => !sealing.contains(sealed.as_str()),
            Self::Import => keys.list().keys.iter().any(|key| key.origin == Origin::Imported),
        };
        assert!(is_done || !matches!(answer.status, 200 | 201), "{self:?}: {answer:?}");
        answer.status
    }
}

async fn start() -> (TestApp, Arc<FaultyStore>) {
    let clock = Arc::new(ManualClock::at(START));
    let store = FaultyStore::new(clock.clone());
    (TestApp::start_on(store.clone(), clock, without_limits).await, store)
}

/// Everything that has become of the keys that there are is on record, and once.
fn assert_on_record(app: &TestApp, here: &str) {
    let log = app.audit_log();
    let log: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let times = |event: &str, kid: &str| {
        log.iter().filter(|entry| entry["event"] == event && entry["kid"] == kid).count()
    };
    for key in app.app.state.services.sealing_keys.list() {
        assert_eq!(times("key.generated", key.id.as_str()), 1, "{here}: {key:?}");
    }
    for key in app.app.state.services.keys.list().keys {
        let kid = key.kid.as_str();
        assert_eq!(times("key.generated", kid), 1, "{here}: {key:?}");
        if key.signs {
            assert_eq!(times("key.activated", kid), 1, "{here}: {key:?}");
        }
        assert!(key.origin != Origin::Imported || times("key.imported", kid) > 0, "{here}: {key:?}");
    }
}

/// Where a key can be brought in only once, each trial has an installation of its own.
async fn trial(asked: Asked, last: Option<(TestApp, Arc<FaultyStore>)>) -> (TestApp, Arc<FaultyStore>) {
    match last {
        Some(last) if !matches!(asked, Asked::Import) => {
            last.0.pass(Duration::from_secs(1)).await;
            last
        }
        _ => start().await,
    }
}

#[actix_web::test]
async fn what_happened_to_keys_is_on_record_whatever_call_to_the_store_failed() {
    let mut last = None;
    for asked in ASKED {
        for way in WAYS {
            for at in 1.. {
                assert!(at < MOST_CALLS, "{asked:?} never gets through");
                let (app, store) = trial(asked, last.take()).await;
                store.fail(at, way);
                let status = asked.of(&app).await;
                let struck = store.heal();
                assert!(
                    matches!(status, 200 | 201) || struck && status == 503,
                    "{asked:?}, call {at}, {way:?}: {status}"
                );
                app.app.rotate().await.expect("rotation");
                assert_on_record(&app, &format!("{asked:?}, call {at}, {way:?}"));
                last = Some((app, store));
                if !struck {
                    break;
                }
            }
        }
    }
}

#[actix_web::test]
async fn what_happened_to_keys_is_on_record_though_the_audit_log_was_full_meanwhile() {
    let mut last = None;
    for asked in ASKED {
        for at in 1.. {
            assert!(at < MOST_CALLS, "{asked:?} never gets through");
            let (app, store) = trial(asked, last.take()).await;
            let disk = app.audit_disk.clone();
            store.after(at, async move { disk.fill(true) });
            let status = asked.of(&app).await;
            let happened = store.happened();
            app.audit_disk.fill(false);
            app.app.rotate().await.expect("rotation");
            assert_on_record(&app, &format!("{asked:?}, call {at}: {status}"));
            last = Some((app, store));
            if !happened {
                assert!(matches!(status, 200 | 201), "{asked:?}: {status}");
                break;
            }
        }
    }
}

/// Else it would stop after P for its own log alone, and honour until then what was revoked.
#[actix_web::test]
async fn a_node_whose_audit_log_takes_nothing_follows_the_others_all_the_same() {
    let clock = Arc::new(ManualClock::at(START));
    let store = SharedStore::new(clock.clone());
    let app = TestApp::start_on(store, clock, |_| {}).await;
    let kids = || app.app.state.services.keys.list().keys.into_iter().map(|key| key.kid);
    let before: Vec<_> = kids().collect();
    app.audit_disk.fill(true);
    app.clock.advance(Duration::from_hours(24 * 400));
    let rotated = app.app.rotate().await;
    assert!(matches!(rotated, Err(StartError::Audit(_))), "{rotated:?}");
    assert!(kids().any(|kid| !before.contains(&kid)), "it was due");
    app.app.follow().await.expect("what the others have done");
    assert_eq!(app.manage("/health/ready").await.json()["mirror"], "ok");
    app.audit_disk.fill(false);
    app.app.rotate().await.expect("rotation");
    assert_on_record(&app, "room again");
}

/// Another request, or none, may be the one that records it.
#[actix_web::test]
async fn what_is_recorded_late_says_for_which_request_it_was_done() {
    for at in 1.. {
        assert!(at < MOST_CALLS, "it never gets through");
        let (app, store) = start().await;
        let disk = app.audit_disk.clone();
        store.after(at, async move { disk.fill(true) });
        Asked::CompromiseSealing.of(&app).await;
        let happened = store.happened();
        app.audit_disk.fill(false);
        app.app.rotate().await.expect("rotation");
        let log = app.audit_log();
        let log = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let (mut condemned, mut made) = (Value::Null, Value::Null);
        for entry in log {
            match entry["event"].as_str() {
                Some("key.compromised") => condemned = entry["request_id"].clone(),
                Some("key.generated") if entry["detail"]["use"] == "sealing" => {
                    made = entry["request_id"].clone();
                }
                _ => {}
            }
        }
        assert_eq!((made.is_string(), &made), (condemned.is_string(), &condemned), "call {at}");
        if !happened {
            break;
        }
    }
}
