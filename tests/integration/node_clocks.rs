//! Nodes whose clocks differ: by as much as they may, and by more.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::{Value, json};
use signet::app::StartError;
use signet::clock::ManualClock;
use signet::keys::{ClockOff, Fitness, KeyRing, KeyRingError, KeyRingParts};
use signet::oauth::{ClientId, Subject};
use signet::protocol::users::sign_out_everywhere;
use signet::tokens::{Grant, RevocationError, Whole};

use crate::browser::{Browser, PASSWORD, ada, parameter, redeem, register, request, shop};
use crate::grants_fixture::{World, pair};
use crate::revocation::{revoke, status};
use crate::shared_store::SharedStore;
use crate::test_app::{START, TestApp, bearer, part};

/// A store and two nodes, whose clocks are so many seconds ahead of its own.
struct Nodes {
    store: Arc<SharedStore>,
    /// Their own clocks, and the store's.
    clocks: [Arc<ManualClock>; 3],
    a: TestApp,
    b: TestApp,
}

impl Nodes {
    async fn start(ahead: [i64; 2]) -> Self {
        let at = |ahead: i64| Arc::new(ManualClock::at(START + ahead));
        let clocks = [at(ahead[0]), at(ahead[1]), at(0)];
        let store = SharedStore::new(clocks[2].clone());
        let a = TestApp::start_on(store.clone(), clocks[0].clone(), |_| {}).await;
        let b = a.another_node_by((store.clone(), clocks[1].clone()), 2).await;
        let nodes = Self { store, clocks, a, b };
        nodes.follow().await;
        nodes
    }

    async fn follow(&self) {
        for node in [&self.a, &self.b] {
            node.app.follow().await.expect("the store's changes");
        }
    }

    fn pass(&self, seconds: u64) {
        for clock in &self.clocks {
            clock.advance(Duration::from_secs(seconds));
        }
    }
}

async fn revoke_all(node: &TestApp, of: Value) -> i64 {
    let answer = node.administer(Method::POST, "/admin/revocations", Some(of)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["issued_up_to"].as_i64().expect("a date")
}

fn ring_version(node: &TestApp) -> u64 {
    node.app.state.services.keys.version()
}

#[actix_web::test]
async fn a_node_whose_clock_is_off_does_not_start_and_has_written_nothing() {
    let elsewhere = TestApp::start().await;
    for (ahead, millis) in [(-6, 6_000), (3_600, -3_600_000)] {
        let store = SharedStore::new(elsewhere.clock.clone());
        store.ahead.store(ahead, SeqCst);
        let refused = elsewhere.start_over(store.clone()).await.unwrap_err();
        assert!(matches!(refused, StartError::ClockOff(ClockOff::By { millis: by }) if by == millis));
        assert!(refused.to_string().contains("NTP"), "{refused}");
        assert_eq!(store.commits.load(SeqCst), 0);
    }
}

#[actix_web::test]
async fn a_clock_that_was_not_compared_yet_counts_as_off() {
    let elsewhere = TestApp::start().await;
    let store = SharedStore::new(elsewhere.clock.clone());
    let p = Duration::from_secs(30);
    let fitness = Arc::new(Fitness::of_node(store.as_ref(), elsewhere.clock.clone(), p));
    let parts = KeyRingParts { store: store.clone(), fitness: fitness.clone(), ..elsewhere.parts() };
    let refused = KeyRing::open(parts).await.unwrap_err();
    assert!(matches!(refused, KeyRingError::ClockOff(ClockOff::NotCompared)), "{refused}");
    assert_eq!(store.commits.load(SeqCst), 0);
    fitness.compare_with(store.as_ref()).await.expect("the store's time");
    assert!(!fitness.is_clock_off());
    // Nor is a node fit to which nothing was acknowledged yet.
    assert!(fitness.is_stale());
    fitness.acknowledged(fitness.begin());
    assert!(!fitness.is_stale());
}

#[actix_web::test]
async fn a_node_whose_clock_is_off_changes_no_key_and_takes_over_what_the_others_change() {
    let nodes = Nodes::start([0, 0]).await;
    let (a, b) = (&nodes.a, &nodes.b);
    let admin = b.admin_token().await;
    let signs = part(&b.demo_token().await, 0)["kid"].as_str().expect("a kid").to_owned();
    // By B's clock everything is long due.
    nodes.clocks[1].jump_to(START + 300 * 24 * 3600);
    b.app.follow().await.expect("the store's changes");
    let (before, commits) = (ring_version(a), nodes.store.commits.load(SeqCst));
    assert!(matches!(b.app.rotate().await, Err(StartError::Keys(_))));
    let rotate = TestRequest::post().uri("/admin/keys/rotate").insert_header(bearer(&admin));
    assert_ne!(b.send(rotate).await.status, 200);
    assert!(b.app.state.services.keys.rotate(None, true).await.is_err());
    assert!(b.app.state.services.sealing_keys.tick().await.is_err());
    assert_eq!(nodes.store.commits.load(SeqCst), commits + 1, "its announcement alone");
    a.app.rotate().await.expect("rotation");
    assert_eq!(ring_version(a), before);

    let path = format!("/admin/keys/{signs}/compromise");
    assert_eq!(a.administer(Method::POST, &path, None).await.status, 200);
    b.app.follow().await.expect("the store's changes");
    assert_eq!(ring_version(b), ring_version(a));
    let jwks = b.send(TestRequest::get().uri("/.well-known/jwks.json")).await.json().to_string();
    assert!(!jwks.contains(&signs), "{jwks}");

    let now = a.now();
    nodes.clocks[1].jump_to(now);
    b.app.follow().await.expect("the store's changes");
    assert_eq!(b.token(b.demo(), "").await.status, 200, "it signs again at once");
}

#[actix_web::test]
async fn a_node_whose_clock_is_off_drops_nothing() {
    let nodes = Nodes::start([0, 0]).await;
    let b = &nodes.b;
    let (token, other) = (b.demo_token().await, b.demo_token().await);
    assert_eq!(revoke(b, b.demo(), &token).await.status, 200);
    revoke_all(b, json!({ "sub": "somebody" })).await;
    let now = b.now();
    nodes.clocks[1].jump_to(START + 300 * 24 * 3600);
    b.app.follow().await.expect("the store's changes");
    // It drops no list, and of what it hears it takes nothing for ended.
    revoke_all(&nodes.a, json!({ "sub": "another" })).await;
    b.app.follow().await.expect("the store's changes");
    b.app.tidy().await.expect("housekeeping");
    nodes.clocks[1].jump_to(now);
    b.app.follow().await.expect("the store's changes");
    assert!(b.is_active(&other).await && !b.is_active(&token).await);
    let (list, revoked) = status(b, &token).await;
    let cut_off = list["revoked_before"]["subjects"].as_object().map(serde_json::Map::len);
    assert!(revoked && cut_off == Some(2), "{list}");
}

#[actix_web::test]
async fn what_is_revoked_while_a_nodes_clock_is_ahead_counts_when_it_is_right_again() {
    let nodes = Nodes::start([0, 0]).await;
    let (a, b) = (&nodes.a, &nodes.b);
    let [by_another, by_itself] = [a.demo_token().await, a.demo_token().await];
    nodes.follow().await;
    let now = b.now();
    nodes.clocks[1].jump_to(START + 300 * 24 * 3600);
    b.app.follow().await.expect("the store's changes");
    assert_eq!(revoke(a, a.demo(), &by_another).await.status, 200);
    // For B it has ended long ago; but B's clock says nothing.
    assert_eq!(revoke(b, b.demo(), &by_itself).await.status, 200);
    nodes.follow().await;
    nodes.clocks[1].jump_to(now);
    nodes.follow().await;
    for node in [a, b] {
        assert!(!node.is_active(&by_another).await && !node.is_active(&by_itself).await);
    }
}

#[actix_web::test]
async fn a_cut_off_covers_what_a_node_with_a_clock_ahead_has_dated() {
    let nodes = Nodes::start([5, -5]).await;
    let (a, b) = (&nodes.a, &nodes.b);
    let token = a.demo_token().await;
    let cut_off = revoke_all(b, json!({ "client_id": b.demo().0 })).await;
    assert_eq!(cut_off, START + 7);
    nodes.follow().await;
    assert!(!a.is_active(&token).await && !b.is_active(&token).await);
    // Whoever comes back is let in at once, on both, by a token that is dated behind it.
    for node in [a, b] {
        let again = node.demo_token().await;
        assert_eq!(part(&again, 1)["iat"], cut_off + 1);
        assert!(a.is_active(&again).await && b.is_active(&again).await);
    }
    // Of everybody else nothing changed.
    assert_eq!(part(&a.admin_token().await, 1)["iat"], START + 5);
    nodes.pass(9);
    assert_eq!(part(&a.demo_token().await, 1)["iat"], START + 14);
}

#[actix_web::test]
async fn a_node_whose_clock_is_off_sets_no_cut_off() {
    let nodes = Nodes::start([0, 0]).await;
    let b = &nodes.b;
    let admin = b.admin_token().await;
    nodes.store.ahead.store(6, SeqCst);
    b.app.follow().await.expect("the store's changes");
    let everything = json!({ "client_id": b.demo().0 });
    let ask = TestRequest::post().uri("/admin/revocations").insert_header(bearer(&admin));
    let refused = b.send(ask.set_json(everything)).await;
    refused.refused(503, "temporarily_unavailable");
    assert!(refused.header("retry-after").is_some());
    let whole = Whole::Client(ClientId::parse(b.demo().0).expect("a client"));
    let refused = b.app.state.services.revocations.revoke_before_now(&whole).await.unwrap_err();
    assert!(matches!(refused, RevocationError::ClockOff(_)), "{refused}");
}

/// By such a date it would outlive every cut-off of the next hour.
#[actix_web::test]
async fn a_node_whose_clock_is_off_grants_nothing_and_lets_nobody_in() {
    let nodes = Nodes::start([0, 0]).await;
    let (a, b) = (&nodes.a, &nodes.b);
    ada(a).await;
    let client = register(a, shop()).await;
    nodes.follow().await;
    let mut browser = Browser::default();
    browser.allow(a, &request(&[])).await;
    let more = request(&[("scope", "openid email read write")]);
    for step in [6, -6, 3_600] {
        // Nobody has told it.
        nodes.clocks[1].jump_to(START + step);
        let known = browser.get(b, &request(&[])).await;
        let decided = browser.allow(b, &more).await;
        for answer in [known, decided] {
            assert_eq!(parameter(&answer, "error").as_deref(), Some("temporarily_unavailable"), "{step}");
        }
        let mut stranger = Browser::default();
        let page = stranger.get(b, "/account").await;
        let refused = stranger.sign_in(b, &page, ("ada@example.com", PASSWORD)).await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("30")), "{step}");
        assert!(!stranger.cookies.contains_key("signet-session"));
    }
    nodes.clocks[1].jump_to(START);
    assert!(!b.audit_log().contains("consent.given"), "what was not granted is not on record");
    let code = parameter(&browser.get(b, &request(&[])).await, "code").expect("a code");
    redeem(a, &client, &code).await;
}

#[actix_web::test]
async fn whoever_was_signed_out_everywhere_is_let_in_again_in_the_same_second() {
    let nodes = Nodes::start([-3, 3]).await;
    for app in [&TestApp::start().await, &nodes.a] {
        let (account, client) = (ada(app).await, register(app, shop()).await);
        let first = Browser::default().allow(app, &request(&[])).await;
        let first = redeem(app, &client, &parameter(&first, "code").expect("a code")).await;
        let secret = client.client_secret.as_ref().expect("a secret").expose();
        let shop = (client.client.client_id.as_str(), secret);
        let active = async |answer: &Value| {
            app.is_active_for(shop, answer["access_token"].as_str().expect("a token")).await
        };
        assert!(active(&first).await);
        sign_out_everywhere(&app.app.state.services, &account.id).await.expect("signed out");
        assert!(!active(&first).await);
        let again = Browser::default().allow(app, &request(&[])).await;
        let again = redeem(app, &client, &parameter(&again, "code").expect("a code")).await;
        assert!(active(&again).await && !active(&first).await);
    }
}

#[actix_web::test]
async fn a_token_dated_behind_one_cut_off_is_covered_by_the_next_of_another_whole() {
    let world = World::start().await;
    let revocations = &world.services().revocations;
    let client = ClientId::parse(world.client().0).expect("a client");
    let subject = Subject::from(&world.account.id);
    let wholes = [
        Whole::Subject(subject.clone()),
        Whole::Client(client.clone()),
        Whole::Granted(client.clone(), subject.clone()),
        Whole::Subject(subject.clone()),
        Whole::Granted(client.clone(), subject.clone()),
        Whole::Client(client.clone()),
    ];
    // All in one second.
    for whole in wholes {
        let granted_at = revocations.date_of_new(&client, &subject).expect("a date");
        let code = world.code_for(Grant { granted_at, ..world.grant() }).await;
        let (token, refresh) = pair(&world.redeem(&code).await);
        assert!(world.is_active(&token).await);
        revocations.revoke_before_now(&whole).await.expect("a cut-off");
        assert!(!world.is_active(&token).await, "{whole:?}");
        world.refresh(&refresh).await.refused(400, "invalid_grant");
    }
    // What others have pushed on does not push on everybody.
    let other = Subject::parse("somebody").expect("a subject");
    let date = revocations.revoke_before_now(&Whole::Granted(client, other)).await.expect("a cut-off");
    assert!(date <= world.app.now() + 6, "{date}");
}

/// Somebody cuts off what they granted, again and again in one second; then all of the client is cut off.
#[actix_web::test]
async fn whoever_cuts_off_again_and_again_escapes_nothing_and_holds_up_nobody_else_for_long() {
    let world = World::start().await;
    let revocations = &world.services().revocations;
    let client = ClientId::parse(world.client().0).expect("a client");
    let [own, other] = ["somebody", "else"].map(|subject| Subject::parse(subject).expect("a subject"));
    for times in [0, 1, 5, 12, 13, 14, 15, 40] {
        world.app.pass(Duration::from_mins(1)).await;
        let (now, subject) = (world.app.now(), Subject::from(&world.account.id));
        let mut tokens = Vec::new();
        for _ in 0..times {
            let granted = Whole::Granted(client.clone(), subject.clone());
            revocations.revoke_before_now(&granted).await.expect("a cut-off");
            // Nothing at all is given out that is dated further ahead.
            let Ok(granted_at) = revocations.date_of_new(&client, &subject) else { continue };
            assert!(granted_at <= now + 14, "{times}");
            let code = world.code_for(Grant { granted_at, ..world.grant() }).await;
            tokens.push(pair(&world.redeem(&code).await).0);
        }
        assert!(tokens.len() >= times.min(14), "{times}");
        let date = revocations.revoke_before_now(&Whole::Client(client.clone())).await.expect("a cut-off");
        assert!(date <= now + 14, "{times}: {date}");
        for token in &tokens {
            assert!(!world.is_active(token).await, "{times}");
        }
        for subject in [&own, &other] {
            assert!(
                revocations.date_of_new(&client, subject).is_ok_and(|date| date <= now + 14)
                    || date == now + 14
            );
        }
        world.app.pass(Duration::from_secs(1)).await;
        assert!(revocations.date_of_new(&client, &own).is_ok(), "{times}");
    }
}

#[actix_web::test]
async fn a_token_that_a_verifier_with_a_clock_behind_still_takes_can_be_revoked() {
    let app = TestApp::start().await;
    let (token, other) = (app.demo_token().await, app.demo_token().await);
    let (now, exp) = (app.now(), part(&token, 1)["exp"].as_i64().expect("exp"));
    // By the clocks of others it has not ended yet, as far as they may be behind.
    app.clock.jump_to(exp + 30);
    app.app.replenish().await.expect("a spare status list");
    app.app.tidy().await.expect("housekeeping");
    assert_eq!(revoke(&app, app.demo(), &token).await.status, 200);
    let body = json!({ "token": other });
    assert_eq!(app.administer(Method::POST, "/admin/revocations", Some(body)).await.status, 200);
    app.clock.jump_to(now);
    assert!(!app.is_active(&token).await && !app.is_active(&other).await);
}
