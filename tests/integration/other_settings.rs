//! Nodes that are not given the same settings: what must be the same is refused, the rest may differ while nodes are given new ones
//! in turn.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use futures_util::FutureExt as _;
use signet::app::{self, App, Disagreement, Ground, StartError};
use signet::backup::Assurances;
use signet::clock::ManualClock;
use signet::config::{Config, VaultPlace};
use signet::entropy::SystemEntropy;
use signet::oauth::{Algorithm, Secret};
use signet::store::Store;
use signet::store::postgres::TimeSource;
use tokio::sync::oneshot;

use crate::faulty_store::FaultyStore;
use crate::postgres_fixture::Database;
use crate::restored_since::stopped_after;
use crate::shared_store::SharedStore;
use crate::test_app::{ISSUER, START, TestApp, part};

const OTHER: &str = "https://id.example.com";

async fn first() -> (Arc<SharedStore>, TestApp) {
    let clock = Arc::new(ManualClock::at(START));
    let store = SharedStore::new(clock.clone());
    (store.clone(), TestApp::start_on(store, clock, |_| {}).await)
}

fn refused(started: Result<TestApp, StartError>) -> Disagreement {
    match started.map(drop) {
        Err(StartError::Disagreement(disagreement)) => disagreement,
        other => panic!("{other:?}"),
    }
}

fn said(started: Result<TestApp, StartError>) -> String {
    refused(started).to_string()
}

fn longer_p(config: &mut Config) {
    config.keys.propagation = Duration::from_mins(1);
}

#[actix_web::test]
async fn a_node_of_another_issuer_does_not_start() {
    let (store, a) = first().await;
    let rows = store.commits.load(SeqCst);
    let text = said(a.try_another_node(store.clone(), 2, |config| config.issuer = OTHER.into()).await);
    for part in [ISSUER, OTHER, "signet change-issuer --from"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(store.commits.load(SeqCst), rows, "it has written nothing");
    // Nor when it is alone.
    a.app.leave().await;
    said(a.try_another_node(store.clone(), 2, |config| config.issuer = OTHER.into()).await);
    assert!(a.try_another_node(store, 3, |_| {}).await.is_ok());
}

#[actix_web::test]
async fn an_issuer_is_changed_on_purpose_and_while_no_node_runs() {
    let (store, a) = first().await;
    let change = async |from: &str| {
        let (store, to) = (store.clone() as Arc<dyn Store>, OTHER);
        app::change_issuer(store.as_ref(), (from, to), Assurances::default()).await
    };
    let text = change(ISSUER).await.unwrap_err().to_string();
    assert!(text.contains("nodes use the store: node-1"), "{text}");
    a.app.leave().await;
    let text = change("https://third.example").await.unwrap_err().to_string();
    assert!(
        text.contains(&format!("nothing was changed; name the former issuer by `--from {ISSUER}`")),
        "{text}"
    );
    change(ISSUER).await.unwrap();
    // Once more changes nothing, whatever it was called before.
    let rows = store.commits.load(SeqCst);
    change(ISSUER).await.unwrap();
    change("https://third.example").await.unwrap();
    assert_eq!(store.commits.load(SeqCst), rows);
    said(a.try_another_node(store.clone(), 2, |_| {}).await);
    // One that was still there, or comes back, issues no more.
    assert!(matches!(a.app.rotate().await, Err(StartError::Disagreement(_))));
    a.token(a.demo(), "").await.refused(503, "temporarily_unavailable");
    a.app.leave().await;
    let b = a.try_another_node(store.clone(), 3, |config| config.issuer = OTHER.into()).await.unwrap();
    b.demo_token().await;
}

#[actix_web::test]
async fn a_node_alone_keeps_to_the_issuer_of_its_store_too() {
    let a = TestApp::start().await;
    let b = a.restart(longer_p).await;
    b.demo_token().await;
    let again = b.try_restart(|config| config.issuer = OTHER.into()).await;
    assert!(matches!(again.map(drop), Err(StartError::Disagreement(Disagreement::Issuer { .. }))));
}

/// A node that may lag for longer than the others think would sign with keys that they let go.
#[actix_web::test]
async fn p_and_the_clocks_skew_are_the_same_on_all_nodes_that_run() {
    let (store, a) = first().await;
    let text = said(a.try_another_node(store.clone(), 2, longer_p).await);
    for part in ["keys.propagation is 60 s here, but 30 s", "node-1", "stop every node"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let skew = |config: &mut Config| config.keys.clock_skew += Duration::from_secs(1);
    assert!(said(a.try_another_node(store.clone(), 2, skew).await).contains("keys.clock_skew"));
    // Those that run go on.
    a.app.rotate().await.unwrap();
    a.demo_token().await;
    // Once all have stopped, whoever starts first says what it is.
    a.app.leave().await;
    let b = a.try_another_node(store.clone(), 3, longer_p).await.unwrap();
    b.demo_token().await;
    assert!(said(a.try_another_node(store.clone(), 4, |_| {}).await).contains("node-3"));
    // A node that was not heard of for so long that it counted as gone, and comes back.
    assert!(matches!(a.app.rotate().await, Err(StartError::Disagreement(Disagreement::Overtaken(_)))));
    a.token(a.demo(), "").await.refused(503, "temporarily_unavailable");
    b.app.rotate().await.unwrap();
    b.demo_token().await;
    // It stays out while the other runs, and goes on by itself when that has gone: nobody has to start it again.
    let signing = part(&b.demo_token().await, 0)["kid"].as_str().unwrap().to_owned();
    let path = format!("/admin/keys/{signing}/compromise");
    assert_eq!(b.administer(Method::POST, &path, None).await.status, 200);
    let out = a.app.rotate().await;
    assert!(matches!(out, Err(StartError::Disagreement(Disagreement::Setting { .. }))), "{out:?}");
    let jwks =
        async |node: &TestApp| node.send(TestRequest::get().uri("/.well-known/jwks.json")).await.json();
    assert_eq!(jwks(&a).await, jwks(&b).await, "what they dropped it does not publish either");
    a.clock.advance(Duration::from_secs(61));
    a.app.rotate().await.unwrap();
    a.app.follow().await.unwrap();
    a.demo_token().await;
    assert!(matches!(b.app.rotate().await, Err(StartError::Disagreement(Disagreement::Overtaken(_)))));
    b.token(b.demo(), "").await.refused(503, "temporarily_unavailable");
}

/// Between its look for other nodes and its commit one announces itself.
#[actix_web::test]
async fn of_two_nodes_that_start_at_once_with_another_p_one_gives_way() {
    let (store, a) = first().await;
    a.app.leave().await;
    let release = store.hold_next_commit();
    let mut late = pin!(a.try_another_node(store.clone(), 2, longer_p));
    while store.holds_next_commit() {
        assert!(late.as_mut().now_or_never().is_none());
    }
    a.app.announce().await.unwrap();
    release.send(()).unwrap();
    assert!(said(late.await).contains("node-1"));
    a.app.announce().await.expect("what it wrote was taken back");
    a.demo_token().await;
}

/// What is written down is what the second says, who looked for nodes before the first had announced itself; and the first for nodes
/// before the second had.
#[actix_web::test]
async fn of_two_nodes_that_announce_themselves_at_once_with_another_p_one_takes_part_at_most() {
    let mut one = 0;
    // Where the first stands still, then the second, then the first once more.
    let places = (5..=7).flat_map(|first| (5..=8).map(move |second| (first, second)));
    for ((first, second), again) in places.flat_map(|place| (2..=5).map(move |again| (place, again))) {
        let clock = Arc::new(ManualClock::at(START));
        let store = FaultyStore::new(clock.clone());
        store.shared.store(true, SeqCst);
        let dir = tempfile::tempdir().unwrap();
        let open = async |node: &str, change: fn(&mut Config)| {
            let mut config = Config::for_tests(&dir.path().join(node));
            on_database(&mut config);
            change(&mut config);
            config.node = node.to_owned();
            let entropy = SystemEntropy::shared();
            let ground = Ground { store: store.clone(), clock: clock.clone(), entropy };
            App::open(&config, ground).await.unwrap()
        };
        let (a, b) = (open("a", |_| {}).await, open("b", longer_p).await);
        let announcing = async move { a.announce().await.is_ok() };
        let (a, go_on) = stopped_after((&store, first), announcing).await;
        let ((there, reached), (go_on_again, waits)) = (oneshot::channel::<()>(), oneshot::channel::<()>());
        let of_a = store.clone();
        store.after(second, async move {
            of_a.after(again, async {
                drop(there);
                _ = waits.await;
            });
            _ = go_on.send(());
            _ = reached.await;
        });
        let b_takes_part = b.announce().await.is_ok();
        assert!(store.happened());
        _ = go_on_again.send(());
        let a_takes_part = a.await.unwrap();
        assert!(!(a_takes_part && b_takes_part), "at {first}, {second} and {again}");
        one += usize::from(a_takes_part != b_takes_part);
    }
    assert!(one > 5, "{one}");
}

/// All nodes were away for so long that none counted, and one with another P was started before they came back.
#[actix_web::test]
async fn a_node_that_slips_in_while_all_others_are_away_stops_no_fleet() {
    let (store, a) = first().await;
    let b = a.try_another_node(store.clone(), 2, |_| {}).await.unwrap();
    let c = a.try_another_node(store.clone(), 3, |_| {}).await.unwrap();
    a.clock.advance(Duration::from_secs(61));
    let wrong = a.try_another_node(store.clone(), 4, longer_p).await.unwrap();
    wrong.demo_token().await;
    // One against one, and it is the other that is written down.
    assert!(matches!(a.app.rotate().await, Err(StartError::Disagreement(Disagreement::Overtaken(_)))));
    a.token(a.demo(), "").await.refused(503, "temporarily_unavailable");
    // Most that say something say what it was before.
    for node in [&b, &c, &a] {
        node.app.rotate().await.unwrap();
        node.app.follow().await.unwrap();
        node.demo_token().await;
    }
    assert!(matches!(wrong.app.rotate().await, Err(StartError::Disagreement(Disagreement::Overtaken(_)))));
    wrong.token(wrong.demo(), "").await.refused(503, "temporarily_unavailable");
    let text = said(a.try_another_node(store.clone(), 5, longer_p).await);
    assert!(text.contains("keys.propagation is 60 s here, but 30 s"), "{text}");
    // What is written down is theirs again, so that it is clear who comes back to fewer.
    for node in [&b, &c, &wrong] {
        node.app.leave().await;
    }
    a.app.rotate().await.unwrap();
    assert!(wrong.app.rotate().await.is_err());
    a.demo_token().await;
}

fn rolled(config: &mut Config) {
    config.keys.algorithms = vec![Algorithm::ES256, Algorithm::EdDSA];
    config.keys.jwks_max_age *= 2;
    config.keys.lead *= 2;
    config.keys.hold *= 2;
    config.keys.rotation_period *= 2;
    config.tokens.longest_lifetime *= 2;
    config.refresh_tokens.lifetime *= 2;
}

#[actix_web::test]
async fn all_else_may_differ_while_nodes_are_given_new_settings_in_turn() {
    let (store, a) = first().await;
    let b = a.try_another_node(store.clone(), 2, rolled).await.unwrap();
    let (a_token, b_token) = (a.demo_token().await, b.demo_token().await);
    let step = async |node: &TestApp| node.app.follow().await.unwrap();
    for node in [&a, &b, &a] {
        step(node).await;
    }
    for node in [&a, &b] {
        assert!(node.is_active(&a_token).await && node.is_active(&b_token).await);
    }
    // Neither plans anew what the other has planned as soon as it hears of it: that would go on for ever.
    let commits = store.commits.load(SeqCst);
    for _ in 0..10 {
        step(&a).await;
        step(&b).await;
    }
    assert_eq!(store.commits.load(SeqCst), commits, "they take turns");
    // A minute of what their rotators do, every ten seconds.
    let keys = || a.app.state.services.keys.list().keys.len();
    let before = keys();
    for _ in 0..6 {
        a.clock.advance(Duration::from_secs(10));
        for node in [&a, &b] {
            step(node).await;
            node.app.rotate().await.unwrap();
            node.demo_token().await;
        }
    }
    assert!(keys() <= before + 1, "{before} keys, then {}", keys());
    assert!(a.is_active(&a_token).await && b.is_active(&b_token).await);
}

fn on_database(config: &mut Config) {
    config.keys.vault = VaultPlace::Store;
    config.keys.kek = signet::config::KekSource::Value(Secret::new("ab".repeat(32)));
}

#[actix_web::test]
async fn nodes_of_one_postgres_agree_too() {
    let Some(database) = Database::fresh().await else { return };
    let clock = Arc::new(ManualClock::at(START));
    let store = async || database.store(TimeSource::Injected(clock.clone())).await;
    let a = TestApp::start_on(store().await, clock.clone(), on_database).await;
    let refused = [
        said(a.try_another_node(store().await, 2, |config| config.issuer = OTHER.into()).await),
        said(a.try_another_node(store().await, 2, longer_p).await),
    ];
    assert!(refused[0].contains(ISSUER) && refused[1].contains("node-1"), "{refused:?}");
    let b = a.try_another_node(store().await, 3, rolled).await.unwrap();
    b.demo_token().await;
    for node in [&a, &b] {
        App::leave(&node.app).await;
    }
    a.try_another_node(store().await, 4, longer_p).await.unwrap().demo_token().await;
}
