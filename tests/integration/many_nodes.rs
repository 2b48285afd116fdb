//! Several nodes over one store, in one process: what one has committed holds on the others after one step of the
//! follower, and what may happen once happens once.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use serde_json::{Value, json};
use signet::clock::ManualClock;
use signet::oauth::{ClientId, SessionId, UserId};
use signet::protocol::users::end_session;
use signet::tokens::{Grant, Whole};

use crate::grants_fixture::{VERIFIER, World, code_body, pair, register};
use crate::revocation::{revoke, status};
use crate::shared_store::SharedStore;
use crate::test_app::{Answer, ISSUER, RESOURCE, TestApp, form, part};

/// Two nodes of one installation, with a person and a client.
struct Cluster {
    store: Arc<SharedStore>,
    a: World,
    b: TestApp,
}

impl Cluster {
    async fn start() -> Self {
        let clock = Arc::new(ManualClock::at(1_800_000_000));
        let store = SharedStore::new(clock.clone());
        let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
        let a = World::on(app, json!({})).await;
        let b = a.app.another_node(store.clone(), 2).await;
        let cluster = Self { store, a, b };
        cluster.follow().await;
        cluster
    }

    /// One step of each node's follower.
    async fn follow(&self) {
        for node in [&self.a.app, &self.b] {
            node.app.follow().await.expect("the store's changes");
        }
    }

    async fn at_b(&self, body: &str) -> Answer {
        self.b.send(self.a.as_client(form("/oauth2/token", body))).await
    }

    /// Sends the same requests to both nodes in turn, all at once.
    async fn race(&self, body: &str, times: usize) -> Vec<Answer> {
        let node = |number: usize| if number.is_multiple_of(2) { &self.a.app } else { &self.b };
        let requests =
            (0..times).map(|number| node(number).send(self.a.as_client(form("/oauth2/token", body))));
        join_all(requests).await
    }
}

fn kid(token: &str) -> String {
    part(token, 0)["kid"].as_str().expect("a kid").to_owned()
}

#[actix_web::test]
async fn of_requests_racing_for_a_code_on_two_nodes_one_wins() {
    let cluster = Cluster::start().await;
    for _ in 0..50 {
        let code = cluster.a.code().await;
        let body = format!("{}&code_verifier={VERIFIER}", code_body(&code));
        let answers = cluster.race(&body, 40).await;
        let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(won.len(), 1);
        for lost in answers.iter().filter(|answer| answer.status != 200) {
            lost.refused(400, "invalid_grant");
        }
        // The others were as valid as the first: somebody has sent the code twice (RFC 6749, section 4.1.2).
        cluster.follow().await;
        let (access, refresh) = pair(won[0]);
        assert!(!cluster.b.is_active_for(cluster.a.client(), &access).await);
        assert!(!cluster.a.is_active(&access).await);
        cluster
            .at_b(&format!("grant_type=refresh_token&refresh_token={refresh}"))
            .await
            .refused(400, "invalid_grant");
    }
}

#[actix_web::test]
async fn of_requests_racing_for_a_refresh_token_on_two_nodes_all_get_the_same_child() {
    let cluster = Cluster::start().await;
    for _ in 0..50 {
        let (_, parent) = cluster.a.tokens().await;
        let body = format!("grant_type=refresh_token&refresh_token={parent}");
        let answers = cluster.race(&body, 40).await;
        let mut children: Vec<String> = Vec::new();
        for answer in &answers {
            assert_eq!(answer.status, 200, "within the grace, a retry gets what the first got: {answer:?}");
            children.push(pair(answer).1);
        }
        children.dedup();
        assert_eq!(children.len(), 1);
        // The grandparent kills the family, on both nodes.
        let child = format!("grant_type=refresh_token&refresh_token={}", children[0]);
        let (access, grandchild) = pair(&cluster.at_b(&child).await);
        cluster.at_b(&body).await.refused(400, "invalid_grant");
        cluster.follow().await;
        assert!(!cluster.a.is_active(&access).await);
        cluster.a.refresh(&grandchild).await.refused(400, "invalid_grant");
    }
}

#[actix_web::test]
async fn a_client_is_on_the_other_node_what_it_is_on_this_one() {
    let cluster = Cluster::start().await;
    let (id, old) = cluster.a.client();
    let asks = async |secret: &str| cluster.b.token((id, secret), "scope=read").await;
    // Registered on A after B had started.
    assert_eq!(asks(old).await.status, 200);
    let path = format!("/admin/clients/{id}/secret");
    let rotated = cluster.a.app.administer(Method::POST, &path, Some(json!({ "overlap_seconds": 0 }))).await;
    let new = rotated.json()["client_secret"].as_str().expect("a secret").to_owned();
    cluster.follow().await;
    asks(old).await.refused(401, "invalid_client");
    assert_eq!(asks(&new).await.status, 200);
    let path = format!("/admin/clients/{id}");
    let narrower = json!({ "grant_types": ["authorization_code"] });
    assert_eq!(cluster.a.app.administer(Method::PATCH, &path, Some(narrower)).await.status, 200);
    cluster.follow().await;
    asks(&new).await.refused(400, "unauthorized_client");
    assert_eq!(cluster.a.app.administer(Method::DELETE, &path, None).await.status, 204);
    cluster.follow().await;
    asks(&new).await.refused(401, "invalid_client");
    // Whoever administers finds one on B that A registered a moment ago.
    for (method, rest, status) in [
        (Method::GET, "", 200),
        (Method::PATCH, "", 200),
        (Method::POST, "/secret", 200),
        (Method::DELETE, "", 204),
    ] {
        let (id, _) = register(&cluster.a.app, json!({})).await;
        let body = (method == Method::PATCH).then(|| json!({ "client_name": "Another" }));
        let path = format!("/admin/clients/{id}{rest}");
        assert_eq!(cluster.b.administer(method.clone(), &path, body).await.status, status, "{method}{rest}");
    }
}

#[actix_web::test]
async fn a_token_revoked_on_one_node_is_revoked_on_all() {
    let cluster = Cluster::start().await;
    let (a, b) = (&cluster.a.app, &cluster.b);
    // Each node issues from lists of its own, and serves everybody's.
    let (of_a, of_b, other) = (a.demo_token().await, b.demo_token().await, a.demo_token().await);
    assert_ne!(
        part(&of_a, 1)["status"]["status_list"]["uri"],
        part(&of_b, 1)["status"]["status_list"]["uri"]
    );
    for (token, by) in [(&of_a, b), (&of_b, a)] {
        assert!(a.is_active(token).await && b.is_active(token).await);
        assert!(!status(a, token).await.1 && !status(b, token).await.1);
        assert_eq!(revoke(by, by.demo(), token).await.status, 200);
        cluster.follow().await;
        assert!(!a.is_active(token).await && !b.is_active(token).await);
        assert!(status(a, token).await.1 && status(b, token).await.1);
    }
    assert!(a.is_active(&other).await && !status(b, &other).await.1);
    // Everything of the client, at once.
    let everything = json!({ "client_id": a.demo().0 });
    assert_eq!(a.administer(Method::POST, "/admin/revocations", Some(everything)).await.status, 200);
    cluster.follow().await;
    assert!(!b.is_active(&other).await);
    let revoked_before = |claims: Value| claims["revoked_before"].clone();
    let (at_a, at_b) = (status(a, &other).await.0, status(b, &other).await.0);
    assert_eq!(revoked_before(at_a), revoked_before(at_b));
    // What both issue from now on is good on both.
    for token in [a.demo_token().await, b.demo_token().await] {
        assert!(a.is_active(&token).await && b.is_active(&token).await);
    }
}

#[actix_web::test]
async fn a_cut_off_is_not_taken_back_by_a_node_that_does_not_know_it() {
    let cluster = Cluster::start().await;
    let (a, b) = (&cluster.a.app, &cluster.b);
    let token = a.demo_token().await;
    let everything = json!({ "client_id": a.demo().0 });
    // The store's clock is set back, and B has not heard of A's cut-off when it sets one itself.
    assert_eq!(a.administer(Method::POST, "/admin/revocations", Some(everything.clone())).await.status, 200);
    cluster.store.ahead.store(-20, SeqCst);
    assert_eq!(b.administer(Method::POST, "/admin/revocations", Some(everything)).await.status, 200);
    cluster.store.ahead.store(0, SeqCst);
    assert!(!b.is_active(&token).await);
    cluster.follow().await;
    assert!(!a.is_active(&token).await && !b.is_active(&token).await);
    let later = a.another_node(cluster.store.clone(), 3).await;
    assert!(!later.is_active(&token).await, "nor is it after a start");
}

/// The store's clock is behind when B looks, and between that look and its commit A sets a later one.
#[actix_web::test]
async fn a_cut_off_is_not_taken_back_by_a_node_that_is_overtaken() {
    let cluster = Cluster::start().await;
    let (a, b) = (&cluster.a.app, &cluster.b);
    let token = a.demo_token().await;
    let whole = Whole::Client(ClientId::parse(a.demo().0).expect("an id"));
    let now = a.now();
    cluster.store.ahead.store(-20, SeqCst);
    let release = cluster.store.hold_next_commit();
    let mut overtaken = pin!(b.app.state.services.revocations.revoke_before_now(&whole));
    while cluster.store.holds_next_commit() {
        assert!(overtaken.as_mut().now_or_never().is_none());
    }
    cluster.store.ahead.store(0, SeqCst);
    let set = a.app.state.services.revocations.revoke_before_now(&whole).await.expect("it is set");
    assert!(set >= now);
    release.send(()).expect("it waits");
    assert!(overtaken.await.expect("it is set") >= set);
    cluster.follow().await;
    let later = a.another_node(cluster.store.clone(), 3).await;
    for node in [a, b, &later] {
        assert!(!node.is_active(&token).await);
    }
}

/// Followers hear of lists that they know, and read all of them anew when they were left behind: meanwhile, too, what is
/// revoked stays so.
#[actix_web::test]
async fn a_status_list_that_is_heard_of_again_keeps_what_was_revoked_in_it() {
    let cluster = Cluster::start().await;
    let (a, b) = (&cluster.a.app, &cluster.b);
    let token = a.demo_token().await;
    assert_eq!(revoke(a, a.demo(), &token).await.status, 200);
    cluster.follow().await;
    for node in [a, b] {
        node.app.state.services.status_lists.reload().await.expect("the lists");
        assert!(!node.is_active(&token).await && status(node, &token).await.1);
    }
}

#[actix_web::test]
async fn a_key_that_one_node_drops_signs_nowhere_else() {
    let cluster = Cluster::start().await;
    let (a, b) = (&cluster.a.app, &cluster.b);
    let first = kid(&b.demo_token().await);
    assert_eq!(kid(&a.demo_token().await), first);
    assert_eq!(a.administer(Method::POST, "/admin/keys/rotate", None).await.status, 200);
    cluster.follow().await;
    let (token, second) = (b.demo_token().await, kid(&a.demo_token().await));
    assert_eq!(kid(&token), second);
    assert_ne!(second, first);
    let path = format!("/admin/keys/{second}/compromise");
    let answer = a.administer(Method::POST, &path, None).await;
    assert_eq!(answer.status, 200);
    // What nobody can prevent is told: a node that hears of nothing goes on for P.
    let breaks = answer.json()["breaks"].clone();
    let late =
        breaks.as_array().expect("a list").iter().find(|each| each["what"].to_string().contains("cut off"));
    assert_eq!(late.expect("it is told")["until"], "2027-01-15T08:00:30Z");
    cluster.follow().await;
    assert_ne!(kid(&b.demo_token().await), second);
    assert!(!b.is_active(&token).await);
    let jwks = b.send(TestRequest::get().uri("/.well-known/jwks.json")).await.json().to_string();
    assert!(jwks.contains(&first) && !jwks.contains(&second));
    assert_eq!(status(b, &token).await.0["revoked_before"]["keys"], json!([second]));
}

#[actix_web::test]
async fn whoever_is_signed_out_on_one_node_is_signed_out_on_all() {
    let cluster = Cluster::start().await;
    let (grant, user, sid): (Grant, UserId, SessionId) = cluster.a.session_grant().await;
    let code = cluster.a.code_for(grant.clone()).await;
    let body = format!("{}&code_verifier={VERIFIER}", code_body(&code));
    let access = cluster.at_b(&body).await.access_token();
    assert!(cluster.b.is_active_for(cluster.a.client(), &access).await);
    let late = cluster.a.code_for(grant).await;
    end_session(cluster.a.services(), &user, &sid).await.expect("it ends");
    let body = format!("{}&code_verifier={VERIFIER}", code_body(&late));
    cluster.at_b(&body).await.refused(400, "invalid_grant");
    let found = cluster.b.app.state.services.sessions.find_by_sid(&user, &sid).await.expect("the store");
    assert!(found.is_none(), "sessions are read from the store");
}

#[actix_web::test]
async fn nodes_that_rotate_at_once_make_one_new_key() {
    // Before the file times of this machine, so that no key that is about to be committed seems old.
    let clock = Arc::new(ManualClock::at(1_600_000_000));
    let store = SharedStore::new(clock.clone());
    let first = TestApp::start_on(store.clone(), clock, |_| {}).await;
    let mut nodes = Vec::new();
    for seed in 0..50 {
        nodes.push(first.another_node(store.clone(), 100 + seed).await);
    }
    for round in 0..3 {
        first.clock.advance(Duration::from_hours(30 * 24));
        let before = first.app.state.services.keys.list().keys.len();
        let ticks = nodes.iter().map(|node| node.app.rotate());
        for tick in join_all(ticks).await {
            tick.expect("rotation");
        }
        first.app.rotate().await.expect("rotation");
        let keys = first.app.state.services.keys.list().keys;
        let made: Vec<_> = keys.iter().filter(|key| key.publish_at == first.now()).collect();
        assert_eq!(made.len(), 1, "round {round}: {before} before, {keys:?}");
        let versions: Vec<u64> = nodes.iter().map(|node| node.app.state.services.keys.version()).collect();
        for node in &nodes {
            node.app.follow().await.expect("the store's changes");
        }
        let newest = first.app.state.services.keys.version();
        assert!(nodes.iter().all(|node| node.app.state.services.keys.version() == newest), "{versions:?}");
    }
}

#[actix_web::test]
async fn a_node_that_is_cut_off_stops_issuing_and_goes_on_publishing() {
    let cluster = Cluster::start().await;
    let b = &cluster.b;
    let token = b.demo_token().await;
    b.pass(Duration::from_secs(1)).await;
    let list = status(b, &token).await.0;
    cluster.store.take_out_of_reach(true);
    let wait = async |seconds| {
        b.clock.advance(Duration::from_secs(seconds));
        // Its rotator and its follower go on trying.
        assert!(b.app.follow().await.is_err());
        assert!(b.app.rotate().await.is_err());
    };
    wait(30).await;
    assert_eq!(b.token(b.demo(), "").await.status, 200, "up to P it may");
    wait(1).await;
    let refused = b.token(b.demo(), "").await;
    refused.refused(503, "temporarily_unavailable");
    assert!(refused.header("retry-after").is_some());
    let health = b.manage("/health/ready").await;
    assert_eq!(health.status, 503);
    assert_eq!(health.json()["mirror"], "failing");
    let metrics = String::from_utf8(b.manage("/metrics").await.body).expect("text");
    assert!(metrics.contains("signet_mirror_age_seconds 31\n"), "{metrics}");
    // What was signed before is served until it ends.
    assert_eq!(status(b, &token).await.0, list);
    for path in ["/.well-known/jwks.json", "/.well-known/openid-configuration"] {
        assert_eq!(b.send(TestRequest::get().uri(path)).await.status, 200);
    }
    let end = u64::try_from(list["exp"].as_i64().expect("exp") - b.now()).expect("later");
    wait(end).await;
    let uri = list["sub"].as_str().expect("a uri").strip_prefix(ISSUER).expect("ours").to_owned();
    assert_eq!(b.send(TestRequest::get().uri(&uri)).await.status, 503, "never beyond its own end");
    // The ring alone does not make it fit again: others may have revoked something.
    cluster.store.take_out_of_reach(false);
    b.app.rotate().await.expect("rotation");
    b.token(b.demo(), "").await.refused(503, "temporarily_unavailable");
    b.app.follow().await.expect("the store's changes");
    // Its status lists are over, too.
    b.app.replenish().await.expect("a spare status list");
    assert_eq!(b.token(b.demo(), "").await.status, 200);
    assert_eq!(b.manage("/health/ready").await.status, 200);
}

/// A balancer that went by the first call that fails would take every node away when the database is, and with them the keys.
#[actix_web::test]
async fn a_store_that_is_away_for_a_moment_takes_no_node_out_of_use() {
    let cluster = Cluster::start().await;
    let b = &cluster.b;
    let looked = async |milliseconds, ready| {
        b.clock.advance(Duration::from_millis(milliseconds));
        let answer = b.manage("/health/ready").await;
        let said = answer.json();
        assert_eq!((answer.status == 200, &said["ready"]), (ready, &json!(ready)), "{said}");
        said["store"].clone()
    };
    for _ in 0..2 {
        // However often it is away: every time is one of its own, from when it was first noticed.
        cluster.store.take_out_of_reach(true);
        for (milliseconds, ready) in [(0, true), (4_000, true), (6_000, true), (1, false), (2_000, false)] {
            assert_eq!(looked(milliseconds, ready).await, "failing");
        }
        assert_eq!(b.token(b.demo(), "").await.status, 200, "tokens go on for P");
        cluster.store.take_out_of_reach(false);
        b.app.follow().await.expect("the store's changes");
        b.app.rotate().await.expect("rotation");
        assert_eq!(looked(0, true).await, "ok");
    }
}

#[actix_web::test]
async fn a_node_whose_clock_is_off_stops_issuing() {
    let cluster = Cluster::start().await;
    let b = &cluster.b;
    for (ahead, fit) in [(5, true), (6, false), (0, true), (-6, false), (-5, true)] {
        cluster.store.ahead.store(ahead, SeqCst);
        b.app.follow().await.expect("the store's changes");
        let answer = b.token(b.demo(), "").await;
        let health = b.manage("/health/ready").await;
        let word = if fit { "ok" } else { "failing" };
        assert_eq!((health.status == 200, health.json()["clock"].as_str()), (fit, Some(word)), "{ahead}");
        if fit {
            assert_eq!(answer.status, 200, "{ahead}");
        } else {
            answer.refused(503, "temporarily_unavailable");
            assert_eq!(b.send(TestRequest::get().uri("/.well-known/jwks.json")).await.status, 200);
        }
    }
}

#[actix_web::test]
async fn a_node_that_was_left_behind_reads_everything_anew() {
    let clock = Arc::new(ManualClock::at(1_800_000_000));
    let memory = signet::store::MemoryStore::keeping_changes(clock.clone(), 3);
    let store = SharedStore::over(memory, clock.clone());
    let a = World::on(TestApp::start_on(store.clone(), clock, |_| {}).await, json!({})).await;
    let b = a.app.another_node(store, 2).await;
    let token = b.demo_token().await;
    for number in 0..10 {
        let client = json!({ "client_id": format!("c{number}"), "client_name": "C", "scope": "read", "resources": [RESOURCE] });
        assert_eq!(a.app.administer(Method::POST, "/admin/clients", Some(client)).await.status, 201);
    }
    // A was left behind too: it does not know B's list.
    a.app.app.follow().await.expect("the store's changes");
    assert_eq!(revoke(&a.app, a.app.demo(), &token).await.status, 200);
    b.app.follow().await.expect("the store's changes");
    assert!(!b.is_active(&token).await);
    assert!(b.app.state.services.clients.find("c0").is_some());
}

#[actix_web::test]
async fn what_a_standby_that_took_over_counts_alike_is_not_taken_for_what_was_seen() {
    let cluster = Cluster::start().await;
    let (a, b) = (&cluster.a.app, &cluster.b);
    let token = b.demo_token().await;
    // Both have seen one commit that the standby has not.
    cluster.store.run_ahead(1);
    cluster.follow().await;
    cluster.store.fail_over();
    // What comes next has the number of the one that is lost.
    let everything = json!({ "client_id": a.demo().0 });
    assert_eq!(a.administer(Method::POST, "/admin/revocations", Some(everything)).await.status, 200);
    assert!(b.is_active(&token).await);
    b.app.follow().await.expect("the store's changes");
    assert!(!b.is_active(&token).await);
    assert_eq!(b.app.follow().await.expect("the store's changes"), 0);
}

#[actix_web::test]
async fn a_node_to_which_nothing_is_acknowledged_stops_issuing_whatever_it_can_read() {
    let cluster = Cluster::start().await;
    let b = &cluster.b;
    let pass = async |seconds| {
        b.clock.advance(Duration::from_secs(seconds));
        b.app.follow().await.expect("the store's changes");
        b.app.rotate().await
    };
    // As the primary does that lost its standby, and was replaced by it.
    cluster.store.make_read_only(true);
    assert!(pass(30).await.is_err());
    assert_eq!(b.token(b.demo(), "").await.status, 200, "up to P it may");
    assert!(pass(1).await.is_err());
    b.token(b.demo(), "").await.refused(503, "temporarily_unavailable");
    let health = b.manage("/health/ready").await;
    assert_eq!((health.status, health.json()["mirror"].as_str()), (503, Some("failing")));
    cluster.store.make_read_only(false);
    assert!(pass(0).await.is_ok());
    assert_eq!(b.token(b.demo(), "").await.status, 200);
    assert_eq!(b.manage("/health/ready").await.status, 200);
}

#[actix_web::test]
async fn a_node_whose_store_comes_back_issues_with_the_next_step() {
    let cluster = Cluster::start().await;
    let b = &cluster.b;
    cluster.store.take_out_of_reach(true);
    for _ in 0..2 {
        b.clock.advance(Duration::from_secs(20));
        assert!(b.app.follow().await.is_err());
    }
    b.token(b.demo(), "").await.refused(503, "temporarily_unavailable");
    cluster.store.take_out_of_reach(false);
    b.app.follow().await.expect("the store's changes");
    assert_eq!(b.token(b.demo(), "").await.status, 200, "without waiting for its keys' turn");
    assert_eq!(b.manage("/health/ready").await.status, 200);
}

#[actix_web::test]
async fn a_token_of_a_list_that_is_not_known_here_yet_is_revoked_all_the_same() {
    let cluster = Cluster::start().await;
    let a = &cluster.a;
    let late = a.app.another_node(cluster.store.clone(), 3).await;
    let (single, other) = (late.demo_token().await, late.demo_token().await);
    let redeem = async || {
        let body = format!("{}&code_verifier={VERIFIER}", code_body(&a.code().await));
        pair(&late.send(a.as_client(form("/oauth2/token", &body))).await)
    };
    let (of_family, refresh) = redeem().await;
    // A has not heard of the lists that the late node has made.
    assert_eq!(revoke(&a.app, a.app.demo(), &single).await.status, 200);
    assert_eq!(revoke(&a.app, a.client(), &refresh).await.status, 200);
    late.app.follow().await.expect("the store's changes");
    assert!(!late.is_active(&single).await && !status(&late, &other).await.1);
    assert!(!late.is_active_for(a.client(), &of_family).await);
    cluster.follow().await;
    assert!(!a.app.is_active(&single).await && !a.is_active(&of_family).await);
    assert!(status(&a.app, &single).await.1 && !status(&a.app, &other).await.1);
}

#[actix_web::test]
async fn every_node_signs_what_it_puts_on_record() {
    let cluster = Cluster::start().await;
    cluster.b.administer(Method::POST, "/admin/keys/rotate", None).await;
    assert!(cluster.a.app.audit_log().lines().all(|line| line.contains(r#""node":"node-1","event""#)));
    let log = cluster.b.audit_log();
    assert!(log.contains("key.rotate_requested"));
    assert!(log.lines().all(|line| line.contains(r#""node":"node-2","event""#)), "{log}");
    let metrics = String::from_utf8(cluster.b.manage("/metrics").await.body).expect("text");
    assert!(metrics.contains("node=\"node-2\"} 1"), "{metrics}");
}

#[actix_web::test]
async fn whoever_waits_for_changes_is_woken_by_another_node() {
    let cluster = Cluster::start().await;
    let waits = cluster.b.app.changed();
    let acts = async {
        let everything = json!({ "client_id": cluster.a.app.demo().0 });
        cluster.a.app.administer(Method::POST, "/admin/revocations", Some(everything)).await
    };
    let ((), acted) = tokio::join!(waits, acts);
    assert_eq!(acted.status, 200);
    assert_eq!(cluster.b.app.follow().await.expect("the store's changes"), 1);
}
