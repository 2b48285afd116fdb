//! How long a request waits for a database that does not answer: once, not once a call, and not once for each that came before it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use serde_json::json;
use signet::clients::{ClientChange, Registration};
use signet::clock::ManualClock;
use signet::oauth::Scope;
use signet::store::Patience;
use signet::tokens::Whole;
use tokio::time::{Instant, advance};

use crate::api_keys::{users, users_key};
use crate::shared_store::SharedStore;
use crate::test_app::{RESOURCE, START, TestApp, bearer};

/// What a call to the store may take.
const PATIENCE: Duration = Duration::from_millis(1500);
/// What a request may take when the store does not answer.
const BAR: Duration = Duration::from_secs(2);

/// A service on a shared store. From now on time passes only while everybody waits.
async fn service() -> (Arc<SharedStore>, TestApp) {
    let clock = Arc::new(ManualClock::at(START));
    let store = SharedStore::new(clock.clone());
    let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
    store.patience.store(u64::try_from(PATIENCE.as_millis()).unwrap(), SeqCst);
    tokio::time::pause();
    (store, app)
}

/// How each request was answered, and after what time.
async fn at_once<T>(requests: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<(T, Duration)> {
    let began = Instant::now();
    join_all(requests.into_iter().map(|request| async { (request.await, began.elapsed()) })).await
}

/// Its keys were used before, so that the use is to be written down; that is given up, and so is the common count.
#[actix_web::test]
async fn requests_with_an_api_key_wait_once_for_a_database_that_takes_no_commits() {
    let (store, app) = service().await;
    let (_, key) = users_key(&app, "users:read").await;
    assert_eq!(users(&app, ("X-API-Key", key.clone())).await.status, 200);
    app.pass(Duration::from_mins(2)).await;
    store.leave_commits_unanswered(true);
    for at_a_time in [1, 20] {
        for (answer, took) in at_once((0..at_a_time).map(|_| users(&app, ("X-API-Key", key.clone())))).await {
            assert_eq!(answer.status, 200, "by this node's own share: {answer:?}");
            assert!(took <= BAR, "{at_a_time} at a time: one took {took:?}");
        }
    }
    store.leave_commits_unanswered(false);
    assert_eq!(users(&app, ("X-API-Key", key)).await.status, 200);
}

/// With more keys than there are maps that hold them, some share one with the key that is held up.
#[actix_web::test]
async fn a_key_whose_count_is_held_up_holds_up_no_other() {
    let (store, app) = service().await;
    let (_, held_up) = users_key(&app, "users:read").await;
    let mut others = Vec::new();
    for _ in 0..90 {
        others.push(users_key(&app, "users:read").await.1);
    }
    for key in others.iter().chain([&held_up]) {
        assert_eq!(users(&app, ("X-API-Key", key.clone())).await.status, 200);
    }
    let release = store.hold_next_commit();
    let mut first = Box::pin(users(&app, ("X-API-Key", held_up.clone())));
    while store.holds_next_commit() {
        assert!(first.as_mut().now_or_never().is_none());
    }
    let began = Instant::now();
    for key in others {
        let answer = users(&app, ("X-API-Key", key)).await;
        assert_eq!((answer.status, answer.header("x-ratelimit-remaining")), (200, Some("98")));
    }
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody waited");
    release.send(()).unwrap();
    assert_eq!(first.await.header("x-ratelimit-remaining"), Some("98"));
}

/// What changes the same is done one after another: who waits in line waits no longer than whoever is served.
#[actix_web::test]
async fn changes_that_wait_in_line_are_sent_away_in_time() {
    let (store, app) = service().await;
    let services = app.app.state.services.clone();
    let demo = services.clients.find(app.demo().0).unwrap();
    let new = |number: usize| Registration {
        client_name: format!("New {number}"),
        scope: Scope::parse("read").unwrap(),
        resources: demo.resources.clone(),
        ..Registration::default()
    };
    let other = || ClientChange { client_name: Some("Other".into()), ..ClientChange::default() };
    let whole = Whole::Client(demo.client_id.clone());
    let none = Duration::ZERO;
    let services = &services;
    store.leave_commits_unanswered(true);
    for turn in 0..5 {
        let change = |number: usize| {
            let (demo, whole, change, new) = (demo.clone(), whole.clone(), other(), new(number));
            async move {
                let (clients, id) = (&services.clients, demo.client_id.as_str());
                match turn {
                    0 => services.revocations.revoke_before_now(&whole).await.map(drop).map_err(text),
                    1 => clients.register(new).await.map(drop).map_err(text),
                    2 => async { clients.intend(id, change).await?.write().await }
                        .await
                        .map(drop)
                        .map_err(text),
                    3 => async { clients.intend_secret(id, none).await?.write().await }
                        .await
                        .map(drop)
                        .map_err(text),
                    _ => clients.delete(&demo).await.map_err(text),
                }
            }
        };
        for (done, took) in at_once((0..10).map(|number| of_a_request(change(number)))).await {
            assert!(done.is_err_and(|error| error.contains("waited too long")), "change {turn}");
            assert!(took <= BAR, "change {turn} took {took:?}");
        }
    }
    store.leave_commits_unanswered(false);
    of_a_request(services.revocations.revoke_before_now(&whole)).await.unwrap();
}

/// A burst of cut-offs over a database that is slow, and then stands still: each of them that it can do is done, and who stands in line
/// when it stands still is sent away as soon as if it had come then.
#[actix_web::test]
async fn nobody_in_a_line_that_moves_is_sent_away() {
    let (store, app) = service().await;
    let services = &app.app.state.services;
    let whole = Whole::Client(services.clients.find(app.demo().0).unwrap().client_id.clone());
    let cut_off = || of_a_request(services.revocations.revoke_before_now(&whole));
    let takes = PATIENCE / 5;
    store.commits_take.store(u64::try_from(takes.as_millis()).unwrap(), SeqCst);
    let burst = at_once((0..30).map(|_| cut_off())).await;
    assert!(burst.iter().all(|(done, _)| done.is_ok()), "{burst:?}");
    assert!(burst.iter().map(|(_, took)| *took).max() >= Some(takes * 30), "one after another");

    let mut burst = Box::pin(at_once((0..30).map(|_| cut_off())));
    for _ in 0..20 {
        assert!(burst.as_mut().now_or_never().is_none());
        advance(PATIENCE / 10).await;
    }
    store.leave_commits_unanswered(true);
    let (since, answers) = (Instant::now(), burst.await);
    assert!(since.elapsed() <= BAR, "the last was sent away after {:?}", since.elapsed());
    let refused = answers.iter().filter(|(done, _)| done.is_err()).count();
    assert!((10..30).contains(&refused), "{refused}");
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// `work` as the routes have it done.
async fn of_a_request<T>(work: impl Future<Output = T>) -> T {
    let (mut work, mut patience) = (pin!(work), Patience::default());
    poll_fn(|context| patience.during(|| work.as_mut().poll(context))).await
}

/// What goes on if the client hangs up is still the request's work.
#[actix_web::test]
async fn what_is_done_to_the_end_has_the_patience_of_its_request() {
    let (store, app) = service().await;
    let token = app.admin_token().await;
    let (demo, _) = app.demo();
    let ask = |(method, path, body): (Method, String, serde_json::Value)| {
        app.send(TestRequest::with_uri(&path).method(method).insert_header(bearer(&token)).set_json(body))
    };
    store.leave_commits_unanswered(true);
    let flows = [
        (Method::POST, "/admin/revocations".to_owned(), json!({ "client_id": demo })),
        (Method::PATCH, format!("/admin/clients/{demo}"), json!({ "client_name": "Other" })),
        (Method::DELETE, format!("/admin/clients/{demo}"), json!({})),
        (Method::POST, "/admin/keys/rotate".to_owned(), json!({ "force": true })),
    ];
    for flow in flows {
        let (mut asked, mut answers) = (Box::pin(join_all((0..3).map(|_| ask(flow.clone())))), None);
        // Far more than it takes: the audit log takes time of its own.
        for _ in 0..1_000_000 {
            answers = asked.as_mut().now_or_never();
            if answers.is_some() {
                break;
            }
            advance(Duration::from_millis(1)).await;
        }
        for answer in answers.expect("an end") {
            answer.refused(503, "temporarily_unavailable");
            assert!(answer.header("retry-after").is_some(), "{flow:?}");
        }
    }
    store.leave_commits_unanswered(false);
    let revoked = ask((Method::POST, "/admin/revocations".to_owned(), json!({ "client_id": demo }))).await;
    assert_eq!(revoked.status, 200);
}

/// Nothing is counted of what was answered: a slow database refuses nobody.
#[actix_web::test]
async fn a_wait_that_ends_well_sends_nobody_away() {
    let (store, app) = service().await;
    let token = app.admin_token().await;
    let register = || {
        let body = json!({ "client_name": "New", "scope": "read", "resources": [RESOURCE] });
        app.send(TestRequest::post().uri("/admin/clients").insert_header(bearer(&token)).set_json(body))
    };
    let release = store.hold_next_commit();
    let mut both = Box::pin(join_all([register(), register()]));
    while store.holds_next_commit() {
        let early = both.as_mut().now_or_never();
        assert!(early.is_none(), "{early:?}");
        // The audit log is written elsewhere.
        tokio::task::yield_now().await;
    }
    advance(PATIENCE / 10 * 9).await;
    assert!(both.as_mut().now_or_never().is_none());
    release.send(()).unwrap();
    for answer in both.await {
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}
