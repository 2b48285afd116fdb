//! What is kept in memory is read anew, page by page, after a restart or a failover of the store that all nodes share.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use actix_web::http::Method;
use serde_json::json;
use signet::clock::ManualClock;
use signet::store::{Batch, Condition, Put, Store as _, Table};
use signet::tokens::Whole;

use crate::revocation::revoke;
use crate::shared_store::SharedStore;
use crate::test_app::{RESOURCE, START, TestApp, part};

const CLIENTS: Table = Table::mirrored("clients");
const REVOCATIONS: Table = Table::mirrored("revocations");

/// Two nodes of one installation.
async fn nodes() -> (Arc<SharedStore>, TestApp, TestApp) {
    let clock = Arc::new(ManualClock::at(START));
    let store = SharedStore::new(clock.clone());
    let a = TestApp::start_on(store.clone(), clock, |_| {}).await;
    let b = a.another_node(store.clone(), 2).await;
    follow(&[&a, &b]).await;
    (store, a, b)
}

async fn follow(nodes: &[&TestApp]) {
    for node in nodes {
        node.app.follow().await.expect("the store's changes");
    }
}

async fn put(store: &SharedStore, table: Table, rows: &[(Vec<u8>, Vec<u8>)]) {
    for some in rows.chunks(500) {
        let batch = some.iter().fold(Batch::new(), |batch, (key, value)| {
            batch.put(table, key.clone(), Condition::Always, Put::lasting(value.clone()))
        });
        let _unconditional = store.commit(batch).await.expect("a commit");
    }
}

/// Nodes that begin from the start after each page that fails read the same again and again, and may all stop together.
#[actix_web::test]
async fn a_page_that_fails_costs_that_page_and_no_revocation_is_missed() {
    let (store, a, b) = nodes().await;
    let (early, late) = (a.demo_token().await, a.demo_token().await);
    let reference = |token: &str| part(token, 1)["status"]["status_list"].clone();
    let place = |token: &str| reference(token)["idx"].as_u64().expect("a place");
    let uri = reference(&early)["uri"].as_str().expect("a list").to_owned();
    let list = uri.rsplit('/').next().expect("an id");
    // Behind those of both tokens: two pages and a half of single revocations.
    let behind = place(&early).max(place(&late)) + 1;
    let many: Vec<_> = (behind..behind + 2_500)
        .map(|place| ([list.as_bytes(), b"/", &place.to_be_bytes()].concat(), vec![]))
        .collect();
    put(&store, REVOCATIONS, &many).await;
    follow(&[&a, &b]).await;
    // What B has not heard of when another server takes over.
    assert_eq!(revoke(&a, a.demo(), &early).await.status, 200);
    store.fail_over();
    store.every_second_scan_fails.store(true, SeqCst);
    store.scans.store(0, SeqCst);
    let fitness = &b.app.state.services.fitness;
    for step in 1..=5 {
        b.clock.advance(Duration::from_secs(1));
        assert!(b.app.follow().await.is_err(), "step {step}");
        assert_eq!(fitness.mirror_age(), Duration::from_secs(step), "it knows no more than it has read");
        assert_eq!(store.scans.load(SeqCst), 2 * step);
        if step == 3 {
            // Its row lies in a page that was read.
            assert_eq!(revoke(&a, a.demo(), &late).await.status, 200);
        }
    }
    b.clock.advance(Duration::from_secs(1));
    b.app.follow().await.expect("the rest");
    // Of clients, lists and cut-offs one page each.
    assert_eq!(store.scans.load(SeqCst), 6 + 5);
    assert_eq!(fitness.mirror_age(), Duration::ZERO);
    for token in [&early, &late] {
        assert!(!b.is_active(token).await);
    }
    store.every_second_scan_fails.store(false, SeqCst);
    b.app.follow().await.expect("nothing new");
    assert_eq!(store.scans.load(SeqCst), 6 + 5, "what was read is not read again");
}

/// What was read before belongs to a server that is no longer the one.
#[actix_web::test]
async fn another_failover_while_all_is_read_begins_it_anew() {
    let (store, a, b) = nodes().await;
    store.fail_over();
    store.every_second_scan_fails.store(true, SeqCst);
    store.scans.store(0, SeqCst);
    assert!(b.app.follow().await.is_err(), "the clients are read, the lists are not");
    let client = json!({ "client_id": "late", "client_name": "C", "scope": "read", "resources": [RESOURCE] });
    assert_eq!(a.administer(Method::POST, "/admin/clients", Some(client)).await.status, 201);
    store.fail_over();
    store.every_second_scan_fails.store(false, SeqCst);
    b.app.follow().await.expect("all of it");
    assert_eq!(store.scans.load(SeqCst), 2 + 4);
    assert!(b.app.state.services.clients.find("late").is_some());
}

#[actix_web::test]
async fn while_all_clients_are_read_anew_nobody_waits_for_more_than_a_page_and_those_that_are_lost_go() {
    let (store, a, b) = nodes().await;
    let lost = json!({ "client_id": "lost", "client_name": "C", "scope": "read", "resources": [RESOURCE] });
    assert_eq!(a.administer(Method::POST, "/admin/clients", Some(lost)).await.status, 201);
    let row = store.get(CLIENTS, b"lost").await.expect("a row").expect("a row").value;
    let row = String::from_utf8(row).expect("JSON");
    let many: Vec<_> = (0..3_500)
        .map(|number| format!("many-{number}"))
        .map(|id| (id.clone().into_bytes(), row.replace("\"lost\"", &format!("\"{id}\"")).into_bytes()))
        .collect();
    put(&store, CLIENTS, &many).await;
    follow(&[&a, &b]).await;
    let clients = &b.app.state.services.clients;
    let before = clients.count();
    assert!(clients.find("many-3499").is_some() && clients.find("lost").is_some());
    // The server that takes over never had it.
    let _unconditional =
        store.commit(Batch::new().delete(CLIENTS, "lost", Condition::Always)).await.expect("a commit");
    store.fail_over();
    store.scans.store(0, SeqCst);
    let asked = async {
        while store.scans.load(SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(clients.find_or_follow("nobody").await.expect("an answer").is_none());
        store.scans.load(SeqCst)
    };
    let (followed, pages) = futures_util::future::join(b.app.follow(), asked).await;
    followed.expect("all of it");
    assert!(pages <= 2, "it waited for {pages} pages");
    assert!(clients.find("lost").is_none());
    assert_eq!(clients.count(), before - 1);
}

/// It may be one that refuses something, so no node passes it over; an operator must learn which one it is.
#[actix_web::test]
async fn a_row_that_nobody_understands_is_named_and_stops_the_nodes_until_it_is_removed() {
    let (store, a, b) = nodes().await;
    let key = |text: &str| text.as_bytes().to_vec();
    let cases = [
        (CLIENTS, key("broken"), b"\x01{hush".to_vec(), "broken ('\\x62726f6b656e')"),
        (REVOCATIONS, b"odd \0".to_vec(), vec![], "'\\x6f64642000'"),
        (
            Table::mirrored("cutoffs"),
            key("client:x"),
            b"\x01hush".to_vec(),
            "client:x ('\\x636c69656e743a78')",
        ),
        (Table::mirrored("cutoffs"), key("hush:x"), b"\x01{}".to_vec(), "hush:x ('\\x687573683a78')"),
        (Table::mirrored("status_lists"), key("-x-"), b"\x01hush".to_vec(), "-x- ('\\x2d782d')"),
    ];
    for (table, key, value, named) in cases {
        for read_anew in [false, true] {
            put(&store, table, &[(key.clone(), value.clone())]).await;
            if read_anew {
                store.fail_over();
            }
            let told = b.app.follow().await.expect_err("a damaged row").to_string();
            let place = format!("damaged row in {}", table.name);
            assert!(told.contains(&place) && told.contains(named), "{told}");
            assert!(
                named.contains("hush") || !told.contains("hush"),
                "the value is nobody's business: {told}"
            );
            let ready = b.manage("/health/ready").await;
            assert_eq!((ready.status, &ready.json()["mirror"]), (200, &json!("damaged")));
            // That the store is away meanwhile does not mend it.
            store.take_out_of_reach(true);
            assert!(b.app.follow().await.is_err());
            store.take_out_of_reach(false);
            assert_eq!(b.manage("/health/ready").await.json()["mirror"], "damaged");
            for node in [&a, &b] {
                node.app.announce().await.expect("the store takes it");
            }
            b.clock.advance(Duration::from_secs(31));
            b.app.announce().await.expect("the store takes it");
            let ready = b.manage("/health/ready").await;
            assert_eq!((ready.status, &ready.json()["mirror"]), (503, &json!("damaged")));
            b.token(b.demo(), "").await.refused(503, "temporarily_unavailable");
            let removed = Batch::new().delete(table, key.clone(), Condition::Always);
            let _unconditional = store.commit(removed).await.expect("a commit");
            follow(&[&a, &b]).await;
            b.app.rotate().await.expect("the keys");
            let ready = b.manage("/health/ready").await;
            assert_eq!((ready.status, &ready.json()["mirror"]), (200, &json!("ok")));
        }
    }
}

/// Cut-offs count from the last page of them on, all at once.
#[actix_web::test]
async fn a_cut_off_that_was_missed_counts_when_all_is_read() {
    let (store, a, b) = nodes().await;
    let token = b.demo_token().await;
    let client = signet::oauth::ClientId::parse(a.demo().0).expect("a client");
    let cutoffs = &a.app.state.services.revocations;
    cutoffs.revoke_before_now(&Whole::Client(client)).await.expect("a cut-off");
    assert!(b.is_active(&token).await, "B has not heard of it");
    store.fail_over();
    store.every_second_scan_fails.store(true, SeqCst);
    while b.app.follow().await.is_err() {
        assert!(store.scans.load(SeqCst) < 100, "it never ends");
    }
    assert!(!b.is_active(&token).await);
}
