//! A synchronous standby is away: commits wait for it, and nothing ends that wait, not even that nobody is there any more.
//!
//! As `postgres_failures`, each test has a server of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use signet::clock::ManualClock;
use signet::store::postgres::{PostgresOptions, TimeSource};
use signet::store::{Batch, Committed, Condition, PostgresStore, Put, Store as _, StoreError, Table};

use crate::grants_fixture::{World, pair};
use crate::postgres_fixture::hurried;
use crate::postgres_proxy::Proxy;
use crate::postgres_server::Server;
use crate::revocation::revoke;
use crate::test_app::{START, TestApp};

const CODES: Table = Table::plain("codes");
/// So many the settings allow, of which three quarters may write; one listens, and two follow.
const CONNECTIONS: usize = 8;
const WRITING: u64 = 6;
const BACKENDS: i64 = 8 + 3;

fn put(key: &str) -> Batch {
    Batch::new().put(CODES, key, Condition::Absent, Put::lasting(vec![]))
}

/// What a call may take: each that waits for the standby takes all of it, and what goes on meanwhile has to be done within it on a busy machine too.
const LIMIT: Duration = Duration::from_secs(2);

fn options(server: &Server) -> PostgresOptions {
    PostgresOptions { connections: CONNECTIONS, waiting: 64, ..server.options(&[]) }
}

/// Connections of Signet's that the server has, whether anybody still listens to them or not.
async fn backends(operator: &tokio_postgres::Client) -> i64 {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'signet'";
    operator.query_one(count, &[]).await.unwrap().get(0)
}

/// Until the server has read its settings anew, and a commit waits that nobody waits for any more.
async fn until_unanswered(store: &PostgresStore) {
    for tries in 0..100_000 {
        if store.commit(put(&format!("until it waits {tries}"))).await.is_err() {
            return;
        }
    }
    panic!("no commit waited for the standby");
}

/// Until the server has let go of all but so many.
async fn until_left(left: u64, store: &PostgresStore, operator: &tokio_postgres::Client) {
    while store.load().unanswered > left {
        operator.query_one("SELECT 1", &[]).await.unwrap();
    }
}

/// Gives up commits until there is no place for any more; says what the next one is told. The server has no more backends for
/// them at any time.
async fn fill(store: &PostgresStore, operator: &tokio_postgres::Client) -> String {
    for round in 0..100 {
        let commits = (0..60).map(|number| {
            let key = format!("given up {round} {number}");
            async move { store.commit(put(&key)).await }
        });
        for given_up in join_all(commits).await {
            assert!(matches!(given_up, Err(StoreError::Unavailable(_))), "{given_up:?}");
        }
        let backends = backends(operator).await;
        assert!(backends <= BACKENDS, "{backends}");
        if store.load().unanswered >= WRITING {
            return store.commit(put("one more")).await.unwrap_err().to_string();
        }
    }
    panic!("there is always a place")
}

async fn readiness(app: &TestApp) -> (u16, Value) {
    let answer = app.manage("/health/ready").await;
    (answer.status, answer.json())
}

/// Hundreds of commits are given up. Each backend of theirs stays until the standby is back, so there may be no more of them
/// than the settings say, or the server lets nobody in any more, those who only read and its operators included.
#[actix_web::test]
async fn while_the_standby_is_away_reads_and_tokens_go_on_and_a_nodes_connections_are_bounded() {
    let Some(server) = Server::start("away") else { return };
    let clock = Arc::new(ManualClock::at(START));
    let options = PostgresOptions { time: TimeSource::Injected(clock.clone()), ..options(&server) };
    let store = hurried(options, LIMIT).await;
    let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
    let operator = server.operator().await;
    _ = store.commit(put("before")).await.unwrap();
    app.pass(Duration::from_secs(1)).await;
    assert_eq!(readiness(&app).await.1["store"], "ok");

    server.wait_for_standby("nobody").await;
    until_unanswered(&store).await;
    for _ in 0..5 {
        let told = fill(&store, &operator).await;
        assert!(told.contains("has not answered 6 commits"), "{told}");
    }
    assert_eq!(store.load().unanswered, WRITING);

    // Following has its own, to read and to write.
    for _ in 0..3 {
        assert!(app.app.announce().await.is_err());
        app.app.follow().await.unwrap();
    }
    assert!(store.get(CODES, b"before").await.unwrap().is_some());
    assert!(
        store.get(CODES, b"given up 0 0").await.unwrap().is_none(),
        "nobody sees what is not acknowledged"
    );
    assert!(app.is_active(&app.demo_token().await).await);
    let (status, said) = readiness(&app).await;
    assert_eq!((status, &said["ready"], &said["store"]), (200, &json!(true), &json!("unacknowledged")));
    let metrics = String::from_utf8(app.manage("/metrics").await.body).unwrap();
    assert!(metrics.contains("signet_store_commits_unanswered 7"), "{metrics}");
    let refused = revoke(&app, app.demo(), &app.demo_token().await).await;
    refused.refused(503, "temporarily_unavailable");
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert!(backends(&operator).await <= BACKENDS);
    // Nothing is acknowledged: another server may have taken over, of which this one does not know.
    app.clock.advance(Duration::from_secs(31));
    app.app.follow().await.unwrap();
    app.token(app.demo(), "").await.refused(503, "temporarily_unavailable");
    let (status, said) = readiness(&app).await;
    assert_eq!((status, &said["mirror"], &said["store"]), (503, &json!("failing"), &json!("unacknowledged")));

    server.wait_for_standby("").await;
    until_left(0, &store, &operator).await;
    for number in 0..50 {
        assert_eq!(store.commit(put(&format!("after {number}"))).await.unwrap(), Committed::Applied);
    }
    app.pass(Duration::from_secs(1)).await;
    let (status, said) = readiness(&app).await;
    assert_eq!((status, &said["store"], &said["mirror"]), (200, &json!("ok"), &json!("ok")));
    assert_eq!(revoke(&app, app.demo(), &app.demo_token().await).await.status, 200);
    assert!(backends(&operator).await <= BACKENDS);
}

/// Whoever asks again is told that it did not happen, for as long as nobody knows; and then, that it did.
#[actix_web::test]
async fn what_was_given_up_is_not_done_for_whoever_asks_again_until_the_standby_has_it() {
    let Some(server) = Server::start("again") else { return };
    let clock = Arc::new(ManualClock::at(START));
    let options = PostgresOptions { time: TimeSource::Injected(clock.clone()), ..options(&server) };
    let store = hurried(options, LIMIT).await;
    let world = World::on(TestApp::start_on(store.clone(), clock, |_| {}).await, json!({})).await;
    let (code, (access, refresh), (revoked, _)) =
        (world.code().await, world.tokens().await, world.tokens().await);
    server.wait_for_standby("nobody").await;
    until_unanswered(&store).await;
    let before = store.load().unanswered;
    for _ in 0..3 {
        world.redeem(&code).await.refused(503, "temporarily_unavailable");
        world.refresh(&refresh).await.refused(503, "temporarily_unavailable");
        let answer = revoke(&world.app, world.client(), &revoked).await;
        answer.refused(503, "temporarily_unavailable");
    }
    // One of each waits for the standby, with its locks; those who asked again waited for them, and are let go of.
    let operator = server.operator().await;
    until_left(before + 3, &store, &operator).await;
    assert_eq!(store.load().unanswered, before + 3);
    // Nothing was refused for good.
    assert!(world.is_active(&access).await);

    server.wait_for_standby("").await;
    until_left(0, &store, &operator).await;
    world.app.app.follow().await.unwrap();
    assert!(!world.is_active(&revoked).await);
    assert_eq!(revoke(&world.app, world.client(), &revoked).await.status, 200);
    // Its answer was lost: it counts as spent.
    world.redeem(&code).await.refused(400, "invalid_grant");
    // Within its grace a refresh token that was spent gives the same successor again.
    let (_, successor) = pair(&world.refresh(&refresh).await);
    pair(&world.refresh(&successor).await);
}

/// What waits at a server that was replaced is nobody's business any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_that_takes_over_is_written_to_at_once() {
    let (Some(old), Some(new)) = (Server::start("away-old"), Server::start("away-new")) else { return };
    drop(PostgresStore::open(new.options(&[])).await.unwrap());
    let proxy = Proxy::before("127.0.0.1".to_owned(), old.port).await;
    let mut options = options(&old);
    options.hosts[0].port = proxy.port;
    let store = hurried(options, LIMIT).await;
    _ = store.commit(put("before")).await.unwrap();
    old.wait_for_standby("nobody").await;
    until_unanswered(&store).await;
    let operator = old.operator().await;
    let told = fill(&store, &operator).await;
    assert!(told.contains("has not answered 6 commits"), "{told}");
    proxy.lead_to(new.port);
    // Those who read notice: what there is of connections is in use, and a new one is made.
    let mut tries = 0;
    while store.load().unanswered > 0 {
        tries += 1;
        assert!(tries < 100_000, "nobody noticed");
        let _either = join_all((0..4).map(|_| store.get(CODES, b"before"))).await;
    }
    assert_eq!(store.commit(put("after")).await.unwrap(), Committed::Applied);
    assert!(store.get(CODES, b"before").await.unwrap().is_none());
    // Those who are left at the old one wait in vain.
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    assert_eq!(operator.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0), WRITING.cast_signed());
}
