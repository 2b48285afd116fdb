//! Which nodes serve an installation, as the admin API and the console show it; and how long their store's calls take.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use signet::clock::{Clock as _, ManualClock};
use signet::store::{Batch, Condition, Put, Store as _, Table};

use crate::browser::text;
use crate::shared_store::SharedStore;
use crate::shell::{account, signed_in};
use crate::test_app::{START, TestApp};

const ROOT: &str = "root@example.com";

async fn listed(app: &TestApp) -> Value {
    let answer = app.administer(Method::GET, "/admin/nodes", None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[actix_web::test]
async fn a_node_alone_says_so() {
    let app = TestApp::start().await;
    let started_at = "2027-01-15T08:00:00Z";
    app.pass(Duration::from_mins(2)).await;
    let alone = json!({
        "shared": false,
        "nodes": [{
            "name": "node-1",
            "version": env!("CARGO_PKG_VERSION"),
            "started_at": started_at,
            "seen_at": "2027-01-15T08:02:00Z",
            "clock_offset_millis": 0,
            "clock_off": false,
        }],
    });
    assert_eq!(listed(&app).await, alone);
    account(&app, ("Root", ROOT), true).await;
    let page = text(&signed_in(&app, ROOT, "/console").await.get(&app, "/console").await);
    assert!(page.contains("there are no others") && page.contains("node-1"), "{page}");
}

#[actix_web::test]
async fn every_node_shows_all_of_them_and_whose_clock_is_off() {
    let at_start = || Arc::new(ManualClock::at(START));
    let [store_clock, a_clock, b_clock] = [at_start(), at_start(), at_start()];
    let store = SharedStore::new(store_clock.clone());
    let a = TestApp::start_on(store.clone(), a_clock.clone(), |_| {}).await;
    let b = a.another_node_by((store.clone(), b_clock.clone()), 2).await;
    // One of an earlier release, which wrote its name and nothing else.
    let put = Put::until(store_clock.now() + Duration::from_mins(1), b"z".to_vec());
    let batch = Batch::new().put(Table::plain("nodes"), "z/1", Condition::Always, put);
    _ = store.commit(batch).await.unwrap();
    b_clock.advance(Duration::from_millis(8_300));
    b.app.follow().await.unwrap();
    b.app.announce().await.unwrap();
    let list = listed(&a).await;
    let nodes = list["nodes"].as_array().unwrap();
    let summary: Vec<_> = nodes
        .iter()
        .map(|node| json!([node["name"], node["clock_offset_millis"], node["clock_off"]]))
        .collect();
    assert_eq!(list["shared"], true);
    assert_eq!(
        summary,
        [json!(["node-1", 0, false]), json!(["node-2", 8300, true]), json!(["z", null, null])]
    );
    assert_eq!(nodes[2]["seen_at"], Value::Null);
    account(&a, ("Root", ROOT), true).await;
    let page = text(&signed_in(&a, ROOT, "/console").await.get(&a, "/console").await);
    for part in ["node-1", "right", "node-2", "off: it issues nothing", "8.3 s ahead", "not known"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("there are no others"));
    // Whoever stops takes leave, whoever is not heard of for a minute is gone.
    b.app.leave().await;
    store_clock.advance(Duration::from_secs(61));
    a_clock.advance(Duration::from_secs(61));
    a.app.follow().await.unwrap();
    a.app.announce().await.unwrap();
    assert_eq!(listed(&a).await["nodes"].as_array().unwrap().len(), 1);
}

/// A node whose clock is behind the store's by more than a minute would write a row that has ended already.
#[actix_web::test]
async fn a_node_whose_clock_is_far_behind_is_seen_all_the_same() {
    let [store_clock, clock] = [0, 1].map(|_| Arc::new(ManualClock::at(START)));
    let store = SharedStore::new(store_clock.clone());
    let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
    store_clock.advance(Duration::from_secs(90));
    app.app.follow().await.unwrap();
    app.app.announce().await.unwrap();
    let refused = signet::backup::refuse_running_nodes(store.as_ref()).await.unwrap_err().to_string();
    assert!(refused.contains("node-1"), "{refused}");
}

/// A commit that was given up may land at any time. The first announcement finds no row, a later one finds its own.
#[actix_web::test]
async fn an_announcement_that_lands_after_the_leave_brings_no_node_back() {
    for is_first in [true, false] {
        let clock = Arc::new(ManualClock::at(START));
        let store = SharedStore::new(clock.clone());
        let app = TestApp::start_on(store.clone(), clock.clone(), |_| {}).await;
        if is_first {
            app.app.leave().await;
        }
        let release = store.hold_next_commit();
        let mut late = pin!(app.app.announce());
        while store.holds_next_commit() {
            assert!(late.as_mut().now_or_never().is_none());
        }
        app.app.leave().await;
        clock.advance(Duration::from_secs(59));
        // Nor when what has ended is swept.
        store.sweep(clock.now(), 100).await.unwrap();
        release.send(()).unwrap();
        assert!(late.await.is_err());
        signet::backup::refuse_running_nodes(store.as_ref()).await.unwrap();
        // Whoever starts under its name counts, and what was sent longer ago than a minute has ended.
        let again = app.another_node(store.clone(), 1).await;
        assert!(signet::backup::refuse_running_nodes(store.as_ref()).await.is_err());
        again.app.leave().await;
        signet::backup::refuse_running_nodes(store.as_ref()).await.unwrap();
    }
}

/// After that the leave is forgotten.
#[actix_web::test]
async fn an_announcement_that_lands_a_minute_late_has_ended() {
    let clock = Arc::new(ManualClock::at(START));
    let store = SharedStore::new(clock.clone());
    let app = TestApp::start_on(store.clone(), clock.clone(), |_| {}).await;
    let release = store.hold_next_commit();
    let mut late = pin!(app.app.announce());
    while store.holds_next_commit() {
        assert!(late.as_mut().now_or_never().is_none());
    }
    app.app.leave().await;
    clock.advance(Duration::from_mins(1));
    assert_eq!(store.sweep(clock.now(), 100).await.unwrap(), 1);
    release.send(()).unwrap();
    _ = late.await;
    signet::backup::refuse_running_nodes(store.as_ref()).await.unwrap();
}

/// How many calls were timed, by operation.
fn calls(app: &TestApp) -> Vec<(String, u64)> {
    let text = app.app.state.metrics.render();
    let counts = text.lines().filter_map(|line| line.strip_prefix("signet_store_seconds_count{op=\""));
    let counts = counts.map(|line| line.split_once("\"} ").unwrap());
    counts.map(|(op, count)| (op.to_owned(), count.parse().unwrap())).collect()
}

#[actix_web::test]
async fn calls_to_the_store_are_timed_and_issuing_a_token_makes_none() {
    let app = TestApp::start().await;
    app.demo_token().await;
    let before = calls(&app);
    for _ in 0..5 {
        app.demo_token().await;
    }
    assert_eq!(calls(&app), before, "a token by client credentials asks nothing of the store");
    account(&app, ("Root", ROOT), true).await;
    app.pass(Duration::from_secs(10)).await;
    let count = |counts: &[(String, u64)], op: &str| {
        counts.iter().find(|(each, _)| each == op).map_or(0, |(_, count)| *count)
    };
    let after = calls(&app);
    for op in ["get", "scan", "commit", "changes", "now", "sweep"] {
        assert!(count(&after, op) > 0, "{op}: {after:?}");
    }
    assert!(count(&after, "commit") > count(&before, "commit"));
    app.app.state.services.store.freeze().await.unwrap();
    assert_eq!(count(&calls(&app), "freeze"), 1);
}
