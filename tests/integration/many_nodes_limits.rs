//! Limits that several nodes keep together, whichever of them is asked.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use signet::clock::ManualClock;
use signet::store::{NodeClock, Nodes};
use signet::users::{Attempt, ThrottleError, Tried};

use crate::api_keys::{users, users_key};
use crate::shared_store::SharedStore;
use crate::test_app::{Answer, TestApp};

/// So many requests of a client for tokens, to the nodes in turn; how many were let through.
async fn tokens(nodes: &[&TestApp], times: usize) -> usize {
    let demo = nodes[0].demo();
    let answers = join_all((0..times).map(|number| nodes[number % nodes.len()].token(demo, ""))).await;
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        refused.refused(429, "temporarily_unavailable");
        assert_eq!(refused.header("retry-after"), Some("60"));
        assert_eq!(refused.header("x-ratelimit-limit"), Some("12"), "the limit of all nodes");
    }
    answers.iter().filter(|answer| answer.status == 200).count()
}

#[actix_web::test]
async fn every_limit_is_kept_by_all_nodes_together() {
    let clock = Arc::new(ManualClock::at(1_800_000_000));
    let store = SharedStore::new(clock.clone());
    let a = TestApp::start_on(store.clone(), clock, |config| config.limits.token_per_client = 12).await;
    assert_eq!(tokens(&[&a], 20).await, 12, "one node alone has all of it");
    a.pass(Duration::from_mins(1)).await;
    let b = a.another_node(store.clone(), 2).await;
    for node in [&b, &a] {
        node.pass(Duration::ZERO).await;
    }
    let commits = store.commits.load(Ordering::SeqCst);
    assert_eq!(tokens(&[&a, &b], 40).await, 12);
    assert_eq!(tokens(&[&b], 10).await, 0);
    assert_eq!(store.commits.load(Ordering::SeqCst), commits, "no node asks another");
    // Who joins has its own part at once; the others hear of it when they announce themselves.
    let c = a.another_node(store.clone(), 3).await;
    c.pass(Duration::ZERO).await;
    assert_eq!(tokens(&[&c], 20).await, 4);
    for _ in 0..3 {
        a.clock.advance(Duration::from_secs(20));
        for node in [&a, &b, &c] {
            node.pass(Duration::ZERO).await;
        }
    }
    assert_eq!(tokens(&[&a, &b, &c], 40).await, 12);
    // One that starts again and again is one.
    for _ in 0..3 {
        a.clock.advance(Duration::from_secs(20));
        for node in [&a, &b, &c] {
            node.pass(Duration::ZERO).await;
        }
    }
    for start in ["2", "3", "4", "5"] {
        let again = Nodes::new(store.clone(), a.clock.clone(), ("node-3", start));
        again.announce(NodeClock::default()).await.expect("an announcement");
    }
    a.pass(Duration::ZERO).await;
    assert_eq!((a.app.state.services.nodes.live(), a.app.state.services.nodes.names()), (7, 3));
    assert_eq!(tokens(&[&a], 20).await, 4);
    // While nothing can be written, what was counted last stands.
    store.make_read_only(true);
    a.clock.advance(Duration::from_mins(2));
    assert!(a.app.rotate().await.is_err());
    assert_eq!(a.app.state.services.nodes.names(), 3);
    store.make_read_only(false);
    a.pass(Duration::ZERO).await;
    assert_eq!(a.app.state.services.nodes.names(), 1, "who is gone is counted no more");
    assert_eq!(tokens(&[&a], 20).await, 12);
}

async fn two_nodes() -> (Arc<SharedStore>, [TestApp; 2]) {
    let clock = Arc::new(ManualClock::at(1_800_000_000));
    let store = SharedStore::new(clock.clone());
    let a = TestApp::start_on(store.clone(), clock, |_| {}).await;
    let b = a.another_node(store.clone(), 2).await;
    (store, [a, b])
}

/// So many requests with the key, to the nodes in turn, all at once.
async fn ask(nodes: &[TestApp; 2], key: &str, times: usize) -> Vec<Answer> {
    join_all((0..times).map(|number| users(&nodes[number % 2], ("X-API-Key", key.to_owned())))).await
}

fn admitted(answers: &[Answer]) -> usize {
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        refused.refused(429, "temporarily_unavailable");
        let retry_after: u64 = refused.header("retry-after").expect("retry-after").parse().expect("seconds");
        let quota = refused.header("ratelimit").expect("ratelimit").to_owned();
        let (left, after) =
            quota.strip_prefix("\"apikey\";r=").and_then(|rest| rest.split_once(";t=")).expect("r, t");
        assert_eq!(left, "0");
        assert!(retry_after >= after.parse().expect("seconds") && retry_after > 0, "{quota} {retry_after}");
    }
    answers.iter().filter(|answer| answer.status == 200).count()
}

#[actix_web::test]
async fn two_nodes_let_a_key_through_no_more_often_than_one() {
    let (store, nodes) = two_nodes().await;
    let (_, key) = users_key(&nodes[0], "users:read").await;
    nodes[1].app.follow().await.expect("the store's changes");
    assert_eq!(admitted(&ask(&nodes, &key, 60).await), 60);
    nodes[0].clock.advance(Duration::from_millis(59_999));
    assert_eq!(admitted(&ask(&nodes, &key, 400).await), 40, "at most 100 in any 60 seconds");
    let commits = store.commits.load(Ordering::SeqCst);
    assert_eq!(admitted(&ask(&nodes, &key, 50).await), 0);
    assert_eq!(store.commits.load(Ordering::SeqCst), commits, "a refused request writes nothing");
    nodes[0].clock.advance(Duration::from_millis(1));
    let answers = ask(&nodes, &key, 400).await;
    assert_eq!(admitted(&answers), 60);
    let left = |answer: &Answer| answer.header("x-ratelimit-remaining").map(str::to_owned);
    let mut lefts: Vec<u32> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .filter_map(left)
        .map(|left| left.parse().expect("a number"))
        .collect();
    lefts.sort_unstable();
    assert_eq!(lefts, (0..60).collect::<Vec<_>>(), "each is told what is left on all nodes");
    println!("910 requests of one key over two nodes: at most 100 let through in any 60 s");
}

#[actix_web::test]
async fn a_key_that_is_used_up_moves_no_other() {
    let (_, nodes) = two_nodes().await;
    let (_, key) = users_key(&nodes[0], "users:read").await;
    let (_, other) = users_key(&nodes[0], "users:read").await;
    nodes[1].app.follow().await.expect("the store's changes");
    assert_eq!(admitted(&ask(&nodes, &key, 110).await), 100);
    assert_eq!(admitted(&ask(&nodes, &other, 100).await), 100);
}

#[actix_web::test]
async fn while_nothing_can_be_written_each_node_lets_its_share_through() {
    let (store, nodes) = two_nodes().await;
    let (_, key) = users_key(&nodes[0], "users:read").await;
    for node in [&nodes[0], &nodes[1], &nodes[0]] {
        node.pass(Duration::from_secs(1)).await;
    }
    assert_eq!(nodes[0].app.state.services.nodes.live(), 2);
    assert_eq!(admitted(&ask(&nodes, &key, 20).await), 20);
    store.make_read_only(true);
    assert_eq!(admitted(&ask(&nodes, &key, 400).await), 80, "50 each, of which 10 were used");
    store.make_read_only(false);
    // A node that is gone is counted no more.
    nodes[0].pass(Duration::from_secs(61)).await;
    assert_eq!(nodes[0].app.state.services.nodes.live(), 1);
}

#[actix_web::test]
async fn a_key_that_is_used_up_does_not_ask_the_store_until_it_may_again() {
    let (store, nodes) = two_nodes().await;
    let (_, key) = users_key(&nodes[0], "users:read").await;
    nodes[1].app.follow().await.expect("the store's changes");
    assert_eq!(admitted(&ask(&nodes, &key, 110).await), 100);
    // Each node has to be told once.
    assert_eq!(admitted(&ask(&nodes, &key, 2).await), 0);
    let read = store.counts_read.load(Ordering::SeqCst);
    nodes[0].clock.advance(Duration::from_millis(59_999));
    let answers = ask(&nodes, &key, 50).await;
    assert_eq!(admitted(&answers), 0);
    assert!(answers.iter().all(|answer| answer.header("retry-after") == Some("1")));
    assert_eq!(store.counts_read.load(Ordering::SeqCst), read);
    nodes[0].clock.advance(Duration::from_millis(1));
    assert_eq!(admitted(&ask(&nodes, &key, 110).await), 100);
}

#[actix_web::test]
async fn a_node_whose_clock_is_off_counts_for_itself_and_locks_no_key_out() {
    let (store, nodes) = two_nodes().await;
    let (_, key) = users_key(&nodes[0], "users:read").await;
    nodes[0].app.rotate().await.expect("rotation");
    store.ahead.store(-50, Ordering::SeqCst);
    nodes[0].app.follow().await.expect("the store's changes");
    let read = store.counts_read.load(Ordering::SeqCst);
    let answers = join_all((0..100).map(|_| users(&nodes[0], ("X-API-Key", key.clone())))).await;
    assert_eq!(admitted(&answers), 50, "its share");
    assert_eq!(store.counts_read.load(Ordering::SeqCst), read, "it adds nothing to what all count");
    store.ahead.store(0, Ordering::SeqCst);
    nodes[1].app.follow().await.expect("the store's changes");
    let answers = join_all((0..110).map(|_| users(&nodes[1], ("X-API-Key", key.clone())))).await;
    assert_eq!(admitted(&answers), 100);
}

#[actix_web::test]
async fn strangers_get_no_more_tries_by_asking_two_nodes() {
    let (_, nodes) = two_nodes().await;
    let tries = (0..400_u16).map(|number| {
        let [high, low] = number.to_be_bytes();
        let address = IpAddr::V4(Ipv4Addr::new(198, 51, high, low));
        let attempt = Attempt {
            tried: Tried::Nobody("ada@example.com".into()),
            address: address.into(),
            device: None,
            patience: Duration::ZERO,
        };
        let throttle = &nodes[usize::from(number % 2)].app.state.services.login_throttle;
        async move { throttle.check(&attempt).await }
    });
    let answers = join_all(tries).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 5);
    assert!(answers.iter().all(|answer| !matches!(answer, Err(ThrottleError::Store(_)))));
}
