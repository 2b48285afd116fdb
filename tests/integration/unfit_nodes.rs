//! Nodes that can't know what the others have done, or what time it is: they neither issue nor judge.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::json;
use signet::clients::Registration;
use signet::clock::ManualClock;
use signet::oauth::{ClientId, WebUri};
use signet::protocol::Services;

use crate::browser::{Browser, PASSWORD, parameter, redeem, register, request, shop};
use crate::grants_fixture::{World, pair};
use crate::relying_party::RelyingParty;
use crate::revocation::revoke;
use crate::shared_store::SharedStore;
use crate::shell::account;
use crate::store_faults_apart::end_a_session;
use crate::test_app::{Answer, ISSUER, START, TestApp, basic, bearer, form, part};

const P: Duration = Duration::from_secs(30);

/// Two nodes, each by a clock of its own, and the store's.
struct Nodes {
    store: Arc<SharedStore>,
    clock: Arc<ManualClock>,
    clock_of_b: Arc<ManualClock>,
    a: World,
    b: TestApp,
}

impl Nodes {
    async fn start() -> Self {
        let [clock, clock_of_b] = [START, START].map(|at| Arc::new(ManualClock::at(at)));
        let store = SharedStore::new(clock.clone());
        let app = TestApp::start_on(store.clone(), clock.clone(), |config| {
            config.dialects.apps = true;
            config.outgoing.allowed_networks = vec!["127.0.0.1/32".parse().expect("a network")];
            // An application asks more often here than one does.
            config.limits.registration_per_address = 100;
        })
        .await;
        let a = World::on(app, json!({})).await;
        let b = a.app.another_node_by((store.clone(), clock_of_b.clone()), 2).await;
        let nodes = Self { store, clock, clock_of_b, a, b };
        nodes.follow().await;
        nodes
    }

    async fn follow(&self) {
        for node in [&self.a.app, &self.b] {
            node.app.follow().await.expect("the store's changes");
        }
    }

    fn advance(&self, time: Duration) {
        self.clock.advance(time);
        self.clock_of_b.advance(time);
    }

    /// The sealing key that seals now, condemned at A.
    async fn condemn_sealing_key(&self) {
        let keys = self.a.app.administer(Method::GET, "/admin/keys", None).await.json();
        let path = format!("/admin/keys/{}/compromise", keys["sealing"][0]["id"].as_str().expect("an id"));
        assert_eq!(self.a.app.administer(Method::POST, &path, None).await.status, 200);
    }
}

/// Whatever of the HTTP interface says that a token counts.
struct Judged {
    admin: String,
    demo: String,
    person: String,
    users: String,
    refresh: String,
}

impl Judged {
    async fn at(nodes: &Nodes) -> Self {
        let app = &nodes.a.app;
        let keeper = json!({
            "client_id": "keeper", "client_name": "K", "scope": "users:read", "resources": [format!("{ISSUER}/users")],
        });
        let keeper = app.administer(Method::POST, "/admin/clients", Some(keeper)).await.json();
        nodes.follow().await;
        let keeper = ("keeper", keeper["client_secret"].as_str().expect("a secret"));
        let (person, refresh) = nodes.a.tokens().await;
        let (admin, demo) = (app.admin_token().await, app.demo_token().await);
        let users = app.token(keeper, "").await.access_token();
        nodes.follow().await;
        Self { admin, demo, person, users, refresh }
    }

    async fn ask(&self, nodes: &Nodes) -> Vec<(&'static str, Answer)> {
        let get = |path: &str, token: &str| TestRequest::get().uri(path).insert_header(bearer(token));
        let b = &nodes.b;
        let introspect = |client, token: &str| {
            form("/oauth2/introspect", &format!("token={token}")).insert_header(basic(client))
        };
        let requests = [
            ("an access token", introspect(b.demo(), &self.demo)),
            ("a refresh token", introspect(nodes.a.client(), &self.refresh)),
            ("no token at all", introspect(b.demo(), "nonsense")),
            ("the admin API", get("/admin/clients", &self.admin)),
            ("userinfo", get("/oauth2/userinfo", &self.person)),
            ("the older userinfo", get("/api/userinfo.php", &self.person)),
            ("the users API", get("/users", &self.users)),
            ("an application", get("/api/v1/apps/verify_credentials", &self.demo)),
        ];
        let mut answers = Vec::new();
        for (name, request) in requests {
            answers.push((name, b.send(request).await));
        }
        answers
    }

    async fn all_answer(&self, nodes: &Nodes) {
        for (name, answer) in self.ask(nodes).await {
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
        }
    }

    async fn all_refuse(&self, nodes: &Nodes) {
        for (name, answer) in self.ask(nodes).await {
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("30")), "{name}");
            answer.refused(503, "temporarily_unavailable");
        }
        // Nor does it know who may ask.
        let stranger = basic(("a-client-of-late", "secret"));
        let answer = nodes.b.send(form("/oauth2/introspect", "token=x").insert_header(stranger)).await;
        answer.refused(503, "temporarily_unavailable");
        // What verifiers go by offline.
        let list = part(&self.demo, 1)["status"]["status_list"]["uri"].as_str().expect("a list").to_owned();
        let list = list.strip_prefix(ISSUER).expect("ours").to_owned();
        for path in ["/.well-known/jwks.json", "/.well-known/openid-configuration", &list] {
            assert_eq!(nodes.b.send(TestRequest::get().uri(path)).await.status, 200, "{path}");
        }
    }
}

#[actix_web::test]
async fn a_node_that_is_cut_off_says_of_no_token_that_it_counts() {
    let nodes = Nodes::start().await;
    let judged = Judged::at(&nodes).await;
    // For its lists to be at hand.
    nodes.b.pass(Duration::ZERO).await;
    nodes.advance(P);
    judged.all_answer(&nodes).await;
    // It can read the store: nothing but its own doubt keeps it from answering.
    nodes.advance(Duration::from_millis(1));
    judged.all_refuse(&nodes).await;
    nodes.b.pass(Duration::ZERO).await;
    judged.all_answer(&nodes).await;
    // Nor if it reads all there is, and the store takes no writes: as a primary that was replaced.
    nodes.store.make_read_only(true);
    nodes.advance(P + Duration::from_millis(1));
    nodes.b.app.follow().await.expect("the store's changes");
    assert!(nodes.b.app.rotate().await.is_err());
    judged.all_refuse(&nodes).await;
}

#[actix_web::test]
async fn a_node_whose_clock_is_off_says_of_no_token_that_it_counts() {
    let nodes = Nodes::start().await;
    let judged = Judged::at(&nodes).await;
    nodes.b.pass(Duration::ZERO).await;
    for step in [6, -6] {
        // Since the last comparison: nobody has told it.
        nodes.clock_of_b.jump_to(START + step);
        judged.all_refuse(&nodes).await;
        nodes.b.app.follow().await.expect("the store's changes");
        judged.all_refuse(&nodes).await;
        nodes.clock_of_b.jump_to(START);
        judged.all_answer(&nodes).await;
    }
}

#[actix_web::test]
async fn a_clock_that_is_stepped_stops_the_node_before_the_next_comparison() {
    let nodes = Nodes::start().await;
    let b = &nodes.b;
    for (step, fit) in
        [(5, true), (6, false), (3_600, false), (-6, false), (-5, true), (-86_400, false), (0, true)]
    {
        nodes.clock_of_b.jump_to(START + step);
        let answer = b.token(b.demo(), "").await;
        let health = b.manage("/health/ready").await;
        assert_eq!(health.json()["clock"], if fit { "ok" } else { "failing" }, "{step}");
        if fit {
            assert_eq!(part(&answer.access_token(), 1)["iat"], START + step);
        } else {
            answer.refused(503, "temporarily_unavailable");
            assert_eq!(answer.header("retry-after"), Some("30"), "{step}");
            assert!(b.app.state.services.sealing_keys.tick().await.is_err());
            assert!(b.app.state.services.keys.tick().await.is_err());
        }
        let metrics = String::from_utf8(b.manage("/metrics").await.body).expect("text");
        assert!(metrics.contains(&format!("signet_clock_offset_seconds {step}\n")), "{metrics}");
    }
}

#[actix_web::test]
async fn what_was_put_off_by_a_step_is_made_up_for_though_no_comparison_has_seen_it() {
    let nodes = Nodes::start().await;
    let (a, b) = (&nodes.a.app, &nodes.b);
    nodes.clock_of_b.jump_to(START + 60);
    // Twice: the one that waited, B has opened already.
    for _ in 0..2 {
        let signs = part(&a.demo_token().await, 0)["kid"].as_str().expect("a kid").to_owned();
        let path = format!("/admin/keys/{signs}/compromise");
        assert_eq!(a.administer(Method::POST, &path, None).await.status, 200);
    }
    // It reads that its key is gone, and opens no other.
    b.app.rotate().await.expect_err("its clock is off");
    b.app.follow().await.expect("the store's changes");
    nodes.clock_of_b.jump_to(START);
    b.app.follow().await.expect("the store's changes");
    let kid = |token: String| part(&token, 0)["kid"].clone();
    assert_eq!(kid(b.demo_token().await), kid(a.demo_token().await));
}

#[actix_web::test]
async fn a_clock_that_is_stepped_while_the_keys_are_read_changes_none() {
    let nodes = Nodes::start().await;
    let Services { keys, sealing_keys, .. } = &*nodes.b.app.state.services;
    let (commits, version) = (nodes.store.commits.load(SeqCst), keys.version());
    let year = START + 365 * 24 * 3600;
    for sealing in [false, true] {
        *nodes.store.steps.lock().expect("no panic") = Some((nodes.clock_of_b.clone(), year));
        // By then everything is due.
        assert!(if sealing { sealing_keys.tick().await.is_err() } else { keys.tick().await.is_err() });
        assert_eq!(nodes.b.now(), year);
        nodes.clock_of_b.jump_to(START);
    }
    assert_eq!((nodes.store.commits.load(SeqCst), keys.version()), (commits, version));
    // Nor is it remembered as the latest time that keys were used at.
    keys.tick().await.expect("rotation");
    nodes.b.demo_token().await;
    assert_eq!(keys.version(), version);
}

#[actix_web::test]
async fn a_store_that_takes_long_to_tell_the_time_has_not_told_it() {
    let nodes = Nodes::start().await;
    let (a, b) = (&nodes.a.app, &nodes.b);
    // It was set forward by a minute, and the answer takes two: no reading of A's clock contradicts it.
    nodes.store.ahead.store(60, SeqCst);
    nodes.store.tells_time_in.store(2_002, SeqCst);
    let begun = a.now();
    let token = b.demo_token().await;
    assert_eq!(revoke(b, b.demo(), &token).await.status, 200);
    let mut steps = 0;
    // A step asks for the time more than once.
    while a.now() < begun + 26 {
        a.app.rotate().await.expect("rotation");
        a.app.follow().await.expect("the store's changes");
        assert_eq!(a.token(a.demo(), "").await.status, 200, "what was compared before stands");
        steps += 1;
    }
    assert!(steps > 3 && !a.is_active(&token).await, "what others do is taken in all the same");
    while a.now() <= begun + 30 {
        a.app.rotate().await.expect("rotation");
        a.app.follow().await.expect("the store's changes");
    }
    a.token(a.demo(), "").await.refused(503, "temporarily_unavailable");
    assert_eq!(a.manage("/health/ready").await.json()["mirror"], "failing");
    // Of an answer that was short enough the middle counts.
    nodes.store.tells_time_in.store(2_000, SeqCst);
    nodes.store.ahead.store(0, SeqCst);
    a.app.follow().await.expect("the store's changes");
    assert_eq!(a.app.state.services.fitness.clock_offset(), 0);
}

#[actix_web::test]
async fn what_a_condemned_key_sealed_opens_on_no_node_whose_clock_is_off() {
    let nodes = Nodes::start().await;
    let sealer = &nodes.b.app.state.services.sealer;
    let text = sealer.seal("form", b"hello").expect("sealed");
    nodes.clock_of_b.jump_to(START + 3_600);
    nodes.b.app.follow().await.expect("the store's changes");
    assert!(sealer.open("form", &text).expect("fresh keys").is_some());
    nodes.condemn_sealing_key().await;
    let commits = nodes.store.commits.load(SeqCst);
    nodes.b.app.follow().await.expect("the store's changes");
    assert!(sealer.open("form", &text).expect("fresh keys").is_none());
    assert_eq!(nodes.store.commits.load(SeqCst), commits, "it takes them in, and changes nothing");
    let list = |node: &TestApp| node.app.state.services.sealing_keys.list();
    assert_eq!(list(&nodes.b)[0].id, list(&nodes.a.app)[0].id);
    // Nor may somebody condemn another one there.
    let id = list(&nodes.b)[0].id.clone();
    assert!(nodes.b.app.state.services.sealing_keys.compromise(&id).await.is_err());
    assert_eq!(nodes.store.commits.load(SeqCst), commits);
}

#[actix_web::test]
async fn what_a_condemned_key_sealed_opens_on_no_node_whose_vault_fails() {
    let nodes = Nodes::start().await;
    let sealer = &nodes.b.app.state.services.sealer;
    let text = sealer.seal("form", b"hello").expect("sealed");
    nodes.condemn_sealing_key().await;
    let (keys, away) = (nodes.a.app.dir().join("keys"), nodes.a.app.dir().join("away"));
    std::fs::rename(&keys, &away).expect("keys of files");
    assert!(nodes.b.app.rotate().await.is_err());
    assert!(sealer.open("form", &text).expect("fresh keys").is_none());
    // And both failures are told of.
    nodes.store.take_out_of_reach(true);
    assert!(nodes.b.app.rotate().await.is_err());
    std::fs::rename(&away, &keys).expect("keys of files");
}

/// What it has open is enough to sign with, and of the rest it must hear as any other.
#[actix_web::test]
async fn a_node_whose_vault_fails_follows_the_others_and_issues_on() {
    for read_anew in [false, true] {
        let nodes = Nodes::start().await;
        let (a, b) = (&nodes.a.app, &nodes.b);
        let revoked = b.demo_token().await;
        let rotate = a.administer(Method::POST, "/admin/keys/rotate", Some(json!({ "force": true }))).await;
        assert_eq!(rotate.status, 200, "a next key is made, which B has not opened");
        assert_eq!(revoke(a, a.demo(), &revoked).await.status, 200);
        let signs = part(&a.demo_token().await, 0)["kid"].clone();
        let (keys, away) = (a.dir().join("keys"), a.dir().join("away"));
        std::fs::rename(&keys, &away).expect("keys of files");
        if read_anew {
            nodes.store.fail_over();
        }
        for _ in 0..4 {
            nodes.advance(Duration::from_secs(20));
            b.app.follow().await.expect("the store's changes");
            b.app.rotate().await.expect_err("its vault is away");
            let token = b.demo_token().await;
            assert_eq!(part(&token, 0)["kid"], signs);
            assert!(b.is_active(&token).await && !b.is_active(&revoked).await);
        }
        // What was put off while its clock was off is the rotator's too, as long as the vault is away.
        nodes.clock_of_b.jump_to(a.now() + 60);
        b.app.rotate().await.expect_err("its clock is off");
        nodes.clock_of_b.jump_to(a.now());
        b.app.follow().await.expect("the store's changes");
        // But not what the store keeps from it.
        nodes.store.take_out_of_reach(true);
        b.app.follow().await.expect_err("the store is away");
        nodes.store.take_out_of_reach(false);
        std::fs::rename(&away, &keys).expect("keys of files");
        b.app.rotate().await.expect("rotation");
    }
}

#[actix_web::test]
async fn a_refresh_token_is_not_called_bad_by_a_node_that_can_not_know() {
    let nodes = Nodes::start().await;
    let (_, refresh) = nodes.a.tokens().await;
    let at_b = async |path: &str, body: &str| nodes.b.send(nodes.a.as_client(form(path, body))).await;
    let body = format!("grant_type=refresh_token&refresh_token={refresh}");
    nodes.advance(P + Duration::from_secs(1));
    for (path, body) in [
        ("/oauth2/token", &body),
        // Nor does it say that it has revoked what it could not read.
        ("/oauth2/revoke", &format!("token={refresh}")),
    ] {
        let answer = at_b(path, body).await;
        answer.refused(503, "temporarily_unavailable");
        assert_eq!(answer.header("retry-after"), Some("30"), "{path}");
    }
    nodes.b.pass(Duration::ZERO).await;
    pair(&at_b("/oauth2/token", &body).await);
}

#[actix_web::test]
async fn a_refresh_token_that_another_node_has_sealed_with_a_new_key_is_known_before_that_key_was_heard_of() {
    let nodes = Nodes::start().await;
    nodes.condemn_sealing_key().await;
    // B hears of nothing yet.
    let (access, refresh) = nodes.a.tokens().await;
    let at_b = async |path: &str, body: &str| nodes.b.send(nodes.a.as_client(form(path, body))).await;
    let introspected = at_b("/oauth2/introspect", &format!("token={refresh}")).await;
    assert_eq!(introspected.json()["active"], true);
    let (_, next) =
        pair(&at_b("/oauth2/token", &format!("grant_type=refresh_token&refresh_token={refresh}")).await);

    nodes.follow().await;
    nodes.condemn_sealing_key().await;
    let (other_access, other) = nodes.a.tokens().await;
    assert_eq!(at_b("/oauth2/revoke", &format!("token={other}")).await.status, 200);
    nodes.follow().await;
    assert!(!nodes.a.is_active(&other_access).await && !nodes.a.is_active(&other).await);
    nodes.a.refresh(&other).await.refused(400, "invalid_grant");
    // What the condemned ones sealed is nobody's any more, which revoking it says no louder.
    assert!(nodes.a.is_active(&access).await);
    for dead in [&refresh, &next] {
        at_b("/oauth2/token", &format!("grant_type=refresh_token&refresh_token={dead}"))
            .await
            .refused(400, "invalid_grant");
        assert_eq!(at_b("/oauth2/revoke", &format!("token={dead}")).await.status, 200);
    }
    // Where nobody can say, nobody does.
    nodes.store.take_out_of_reach(true);
    for (path, body) in
        [("/oauth2/token", "grant_type=refresh_token&refresh_token="), ("/oauth2/revoke", "token=")]
    {
        at_b(path, &format!("{body}{next}")).await.refused(503, "temporarily_unavailable");
    }
}

#[actix_web::test]
async fn a_form_is_not_called_forged_by_a_node_that_can_not_know() {
    let nodes = Nodes::start().await;
    account(&nodes.a.app, ("Grace", "grace@example.com"), false).await;
    let client = register(&nodes.a.app, shop()).await;
    nodes.follow().await;
    let mut browser = Browser::default();
    let page = browser.get(&nodes.b, &request(&[])).await;
    nodes.advance(P + Duration::from_secs(1));
    let refused = browser.sign_in(&nodes.b, &page, ("grace@example.com", PASSWORD)).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("30")));
    nodes.b.pass(Duration::ZERO).await;
    let answer = browser.sign_in(&nodes.b, &page, ("grace@example.com", PASSWORD)).await;
    let answer = browser.go_on(&nodes.b, answer).await;
    let answer = browser.decide(&nodes.b, &answer, "allow").await;
    redeem(&nodes.b, &client, &parameter(&answer, "code").expect("a code")).await;
}

#[actix_web::test]
async fn a_node_whose_clock_is_ahead_leaves_it_to_the_others_to_tell_clients_of_ended_sessions() {
    let (nodes, party) = (Nodes::start().await, RelyingParty::start());
    let client = Registration {
        client_id: Some(ClientId::parse("told").expect("a client_id")),
        backchannel_logout_uri: Some(WebUri::parse(&party.uri("/")).expect("a URI")),
        ..shop()
    };
    let client_id = register(&nodes.a.app, client).await.client.client_id.clone();
    end_a_session(&nodes.a, &client_id).await;
    nodes.follow().await;
    // By that clock it is due, and so old that it is not tried again.
    let ahead = START + 25 * 3_600;
    nodes.clock_of_b.jump_to(ahead);
    let commits = nodes.store.commits.load(SeqCst);
    assert_eq!(nodes.b.app.send_logouts().await.expect("the store").len(), 0);
    assert_eq!(nodes.store.commits.load(SeqCst), commits);
    // Nor does a node forget it that has just taken it when its clock is stepped.
    nodes.clock_of_b.jump_to(START);
    let sent = nodes.b.app.send_logouts().await.expect("the store");
    assert_eq!(sent.len(), 1);
    nodes.clock_of_b.jump_to(ahead);
    for task in sent {
        task.await.expect("a task");
    }
    assert_eq!(nodes.a.services().logouts.count().await.expect("the store"), 1);
    assert_eq!(party.take().len(), 0);
    // After its lease.
    nodes.advance(Duration::from_mins(2));
    nodes.a.app.pass(Duration::ZERO).await;
    for task in nodes.a.app.app.send_logouts().await.expect("the store") {
        task.await.expect("a task");
    }
    assert_eq!((party.take().len(), nodes.a.services().logouts.count().await.expect("the store")), (1, 0));
}
