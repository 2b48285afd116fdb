//! Algorithms that are added to the settings and taken away: whoever has a token goes on having one, whoever verifies tokens refuses
//! none, and what is said of it.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use serde_json::{Value, json};
use signet::config::Config;
use signet::oauth::Algorithm::{self, ES256, ES384, EdDSA, RS256};
use signet::oauth::{Resource, Scope};

use crate::browser::text;
use crate::grants_fixture::{CALLBACK, World, pair};
use crate::process::{Process, free_port};
use crate::resource_server_fixture::ResourceServer;
use crate::revocation::status;
use crate::rotation::LazyVerifier;
use crate::shell::{account, signed_in};
use crate::test_app::{Answer, RESOURCE, TestApp, part};

/// How long a key waits before it signs, in seconds.
const LEAD: u64 = 86_400;
/// How far clocks may be apart, in seconds.
const SKEW: u64 = 90;

async fn pass(app: &TestApp, seconds: u64) {
    app.pass(Duration::from_secs(seconds)).await;
}

/// These in use, in this order.
fn using<const N: usize>(algorithms: [Algorithm; N]) -> impl FnOnce(&mut Config) {
    move |config| config.keys.algorithms = algorithms.to_vec()
}

fn alg(token: &str) -> String {
    part(token, 0)["alg"].as_str().unwrap().to_owned()
}

/// With what an access token, the administrator's and a status list are signed; the service says that it is ready.
async fn signed(app: &TestApp) -> [String; 3] {
    let token = app.demo_token().await;
    let uri = part(&token, 1)["status"]["status_list"]["uri"].as_str().unwrap().to_owned();
    let list = app.send(TestRequest::get().uri(url::Url::parse(&uri).unwrap().path())).await;
    assert_eq!(list.status, 200, "{list:?}");
    assert!(app.is_active(&token).await);
    let keys = app.administer(Method::GET, "/admin/keys", None).await;
    assert_eq!(keys.status, 200);
    assert_eq!(app.manage("/health/ready").await.status, 200);
    [alg(&token), alg(&app.admin_token().await), alg(std::str::from_utf8(&list.body).unwrap())]
}

/// What the service says of algorithms that wait: its health and the admin API alike.
async fn waiting(app: &TestApp) -> Value {
    let health = app.manage("/health/ready").await.json();
    assert_eq!(
        (&health["ready"], &health["keys"], &health["next_key"]),
        (&json!(true), &json!("ok"), &json!("ok"))
    );
    let listed = app.administer(Method::GET, "/admin/keys", None).await.json();
    assert_eq!(listed["waiting"], health["waiting"]);
    health["waiting"].clone()
}

async fn change_demo(app: &TestApp, change: Value) -> Answer {
    let path = format!("/admin/clients/{}", app.demo().0);
    app.administer(Method::PATCH, &path, Some(change)).await
}

#[actix_web::test]
async fn an_algorithm_added_first_takes_over_when_every_verifier_knows_its_key() {
    let app = TestApp::start_with(using([ES256])).await;
    let before = app.demo_token().await;
    let mut lazy = LazyVerifier::default();
    assert_eq!(lazy.check(&app, &before).await, Ok(()));
    let app = app.restart(using([EdDSA, ES256])).await;
    assert_eq!(signed(&app).await, ["ES256"; 3]);
    assert_eq!(waiting(&app).await, json!([{ "algorithm": "EdDSA", "sign_from": "2027-01-16T08:00:00Z" }]));
    // A resource server that starts now reads status lists too.
    let fresh = ResourceServer::beside(&app);
    for token in [before, app.demo_token().await] {
        assert_eq!(fresh.products(&token).await.status, 200);
        assert_eq!(lazy.check(&app, &token).await, Ok(()));
    }
    // Verifiers that never ask before they have to, at every moment around the change.
    pass(&app, LEAD - 600).await;
    let mut alive = Vec::new();
    for minute in 0..20 {
        alive.push(app.demo_token().await);
        for token in &alive {
            assert_eq!(fresh.products(token).await.status, 200, "in minute {minute}");
            assert_eq!(lazy.check(&app, token).await, Ok(()), "in minute {minute}");
            assert!(!status(&app, token).await.1);
        }
        pass(&app, 60).await;
    }
    assert_eq!((alg(&alive[9]), alg(&alive[10])), ("ES256".into(), "EdDSA".into()));
    assert_eq!((signed(&app).await, waiting(&app).await), (["EdDSA"; 3].map(str::to_owned), json!([])));
}

#[actix_web::test]
async fn an_algorithm_added_last_changes_nothing_but_what_asks_for_it() {
    let app = TestApp::start_with(using([ES256])).await.restart(using([ES256, EdDSA])).await;
    assert_eq!(signed(&app).await, ["ES256"; 3]);
    assert_eq!(change_demo(&app, json!({ "access_token_signing_alg": "EdDSA" })).await.status, 200);
    assert_eq!(signed(&app).await, ["ES256"; 3]);
    pass(&app, LEAD - 1).await;
    assert_eq!(signed(&app).await, ["ES256"; 3]);
    pass(&app, 1).await;
    assert_eq!(signed(&app).await, ["EdDSA", "ES256", "ES256"]);
    assert_eq!(waiting(&app).await, json!([]));
}

#[actix_web::test]
async fn a_resource_that_names_an_added_algorithm_gets_it_when_it_signs() {
    const OTHER: &str = "https://orders.example";
    let app = TestApp::start_with(|config| {
        let mut other = config.resources[0].clone();
        other.uri = Resource::parse(OTHER).unwrap();
        config.resources.push(other);
    });
    let app = app.await.restart(|config| {
        using([ES256, EdDSA])(config);
        config.resources[0].algorithm = Some(EdDSA);
    });
    let app = app.await;
    assert_eq!(change_demo(&app, json!({ "resources": [RESOURCE, OTHER] })).await.status, 200);
    let both = format!("resource={RESOURCE}&resource={OTHER}");
    assert_eq!(signed(&app).await, ["ES256"; 3]);
    assert_eq!(alg(&app.token(app.demo(), &both).await.access_token()), "ES256");
    pass(&app, LEAD).await;
    assert_eq!(signed(&app).await, ["EdDSA", "ES256", "ES256"]);
    // From now on they want different signatures, and only what the client wants itself can decide.
    app.token(app.demo(), &both).await.refused(400, "invalid_target");
    assert_eq!(change_demo(&app, json!({ "access_token_signing_alg": "ES256" })).await.status, 200);
    assert_eq!(alg(&app.token(app.demo(), &both).await.access_token()), "ES256");
}

#[actix_web::test]
async fn a_client_of_an_algorithm_that_is_gone_goes_on_and_is_named() {
    let app = TestApp::start_with(using([ES256, EdDSA])).await;
    assert_eq!(change_demo(&app, json!({ "access_token_signing_alg": "EdDSA" })).await.status, 200);
    assert_eq!(signed(&app).await, ["EdDSA", "ES256", "ES256"]);
    let stranded = async |app: &TestApp| app.manage("/health/ready").await.json()["stranded_clients"].clone();
    assert_eq!(stranded(&app).await, json!({ "count": 0, "first": [] }));
    let app = app.restart(using([ES256])).await;
    assert_eq!(signed(&app).await, ["EdDSA", "ES256", "ES256"], "it signs on for a lead");
    assert_eq!(stranded(&app).await, json!({ "count": 1, "first": [app.demo().0] }));
    pass(&app, LEAD).await;
    assert_eq!(signed(&app).await, ["ES256"; 3]);
    let refused = change_demo(&app, json!({ "access_token_signing_alg": "EdDSA" })).await;
    refused.refused(400, "invalid_request");
    assert!(refused.json()["error_description"].as_str().unwrap().contains("EdDSA is not in use"));
    assert_eq!(change_demo(&app, json!({ "access_token_signing_alg": null })).await.status, 200);
    assert_eq!(stranded(&app).await["count"], 0);
}

/// One algorithm in place of another: the old one signs until the new one may.
#[actix_web::test]
async fn algorithms_that_are_all_replaced_leave_no_gap() {
    let mut app = TestApp::start_with(using([ES256])).await;
    app = app.restart(using([EdDSA])).await;
    pass(&app, LEAD / 2).await;
    assert_eq!(signed(&app).await, ["ES256"; 3]);
    // Somebody thinks better of it before it has signed anything.
    app = app.restart(using([ES384])).await;
    for _ in 0..23 {
        pass(&app, 3600).await;
        signed(&app).await;
    }
    pass(&app, 3600).await;
    assert_eq!(signed(&app).await, ["ES384"; 3]);
    pass(&app, LEAD).await;
    assert_eq!(app.app.state.services.keys.algorithms(0), [ES384]);
    assert_eq!(signed(&app).await, ["ES384"; 3]);
}

/// The algorithms of the ID token and the access token that a code is redeemed for, and the refresh token.
async fn redeemed(world: &World) -> (String, String, String) {
    let answer = world.redeem(&world.code().await).await;
    let (access_token, refresh_token) = pair(&answer);
    (alg(answer.json()["id_token"].as_str().unwrap()), alg(&access_token), refresh_token)
}

impl World {
    async fn restart(self, change: impl FnOnce(&mut Config)) -> Self {
        let Self { app, client, account } = self;
        Self { app: app.restart(change).await, client, account }
    }

    async fn register_id_token_alg(&self, alg: Option<&str>) -> Answer {
        let path = format!("/admin/clients/{}", self.client.0);
        let change = json!({ "id_token_signed_response_alg": alg });
        self.app.administer(Method::PATCH, &path, Some(change)).await
    }
}

#[actix_web::test]
async fn id_tokens_go_on_as_they_were_until_what_the_client_registered_signs() {
    let world = World::start_with(json!({}), using([ES256])).await;
    assert_eq!(redeemed(&world).await.0, "ES256");
    // RS256, which OpenID Connect has as the default, and another one that the client asks for.
    let world = world.restart(using([ES256, RS256, EdDSA])).await;
    let path = "/.well-known/openid-configuration";
    let metadata = world.app.send(TestRequest::get().uri(path)).await.json();
    assert_eq!(metadata["id_token_signing_alg_values_supported"], json!(["ES256"]), "what works today");
    let (id_token, _, refresh_token) = redeemed(&world).await;
    assert_eq!(id_token, "ES256");
    let early = world.register_id_token_alg(Some("EdDSA")).await;
    early.refused(400, "invalid_request");
    let said = early.json()["error_description"].as_str().unwrap().to_owned();
    assert!(said.contains("EdDSA waits until every verifier knows its key, until 20"), "{said}");
    let registration = json!({ "client_name": "Early", "scope": "read", "resources": [RESOURCE], "id_token_signed_response_alg": "EdDSA" });
    let registered = world.app.administer(Method::POST, "/admin/clients", Some(registration)).await;
    registered.refused(400, "invalid_request");
    // For as long as a copy may be kept before, by any node's clock: whoever reads there what to take, takes them from the first.
    pass(&world.app, LEAD - SKEW - 3601).await;
    let metadata = world.app.send(TestRequest::get().uri(path)).await.json();
    assert_eq!(metadata["id_token_signing_alg_values_supported"], json!(["ES256"]));
    pass(&world.app, 1).await;
    let answer = world.app.send(TestRequest::get().uri(path)).await;
    assert_eq!(answer.header("cache-control"), Some("public, max-age=3600"));
    let listed = answer.json()["id_token_signing_alg_values_supported"].clone();
    assert_eq!(listed, json!(["ES256", "RS256", "EdDSA"]));
    assert_eq!(redeemed(&world).await.0, "ES256");
    pass(&world.app, SKEW + 3600).await;
    assert_eq!(world.register_id_token_alg(Some("EdDSA")).await.status, 200);
    assert_eq!(redeemed(&world).await.0, "EdDSA");
    let refreshed = world.refresh(&refresh_token).await.json();
    assert_eq!(alg(refreshed["id_token"].as_str().unwrap()), "EdDSA");
    assert_eq!(world.register_id_token_alg(None).await.status, 200);
    assert_eq!(redeemed(&world).await.0, "RS256");
    // Dropped again: who was promised nothing is told where it goes, and goes on.
    let world = world.restart(using([ES256])).await;
    let metadata = world.app.send(TestRequest::get().uri(path)).await.json();
    assert_eq!(metadata["id_token_signing_alg_values_supported"], json!(["ES256", "EdDSA", "RS256"]));
    assert_eq!(redeemed(&world).await.0, "RS256");
    pass(&world.app, LEAD).await;
    assert_eq!(redeemed(&world).await.0, "ES256");
    let metadata = world.app.send(TestRequest::get().uri(path)).await.json();
    assert_eq!(metadata["id_token_signing_alg_values_supported"], json!(["ES256"]), "without a restart");
}

/// A client that holds its ID tokens to what it registered had rather wait than get another.
#[actix_web::test]
async fn id_tokens_that_were_promised_wait_for_an_algorithm_that_comes_back() {
    let alg = json!({ "id_token_signed_response_alg": "EdDSA" });
    let world = World::start_with(alg, using([ES256, EdDSA])).await.restart(using([ES256])).await;
    pass(&world.app, LEAD).await;
    let world = world.restart(using([ES256, EdDSA])).await;
    let code = world.code().await;
    let refused = world.redeem(&code).await;
    refused.refused(400, "invalid_scope");
    let said = refused.json()["error_description"].as_str().unwrap().to_owned();
    assert!(said.contains("EdDSA waits until every verifier knows its key"), "{said}");
    // What the client has registered already is no new promise.
    assert_eq!(world.register_id_token_alg(Some("EdDSA")).await.status, 200);
    pass(&world.app, LEAD).await;
    assert_eq!(redeemed(&world).await.0, "EdDSA");
}

#[actix_web::test]
async fn id_tokens_that_were_promised_by_an_algorithm_that_is_gone_are_refused_by_name() {
    let alg = json!({ "id_token_signed_response_alg": "EdDSA" });
    let world = World::start_with(alg, using([ES256, EdDSA])).await.restart(using([ES256])).await;
    let (id_token, access_token, refresh_token) = redeemed(&world).await;
    assert_eq!((&*id_token, &*access_token), ("EdDSA", "ES256"), "it signs on for a lead");
    pass(&world.app, LEAD).await;
    let code = world.code().await;
    let refused = world.redeem(&code).await;
    refused.refused(400, "invalid_scope");
    let said = refused.json()["error_description"].as_str().unwrap().to_owned();
    assert!(
        said.contains("EdDSA, which is not in use; register another id_token_signed_response_alg"),
        "{said}"
    );
    // What needs no ID token goes on: a refresh without one (OpenID Connect Core 1.0, section 12.2), a code without openid.
    let refreshed = world.refresh(&refresh_token).await;
    let (_, refresh_token) = pair(&refreshed);
    assert_eq!(refreshed.json().get("id_token"), None);
    let scope = Scope::parse("offline_access read").unwrap();
    let other = world.code_for(signet::tokens::Grant { scope, ..world.grant() }).await;
    pair(&world.redeem(&other).await);
    // The person is not asked for what can't be had.
    let query =
        format!("response_type=code&client_id={}&redirect_uri={CALLBACK}&scope=openid", world.client().0);
    let query =
        format!("{query}&code_challenge_method=S256&code_challenge={}", crate::grants_fixture::CHALLENGE);
    let answer = world.app.send(TestRequest::get().uri(&format!("/oauth2/authorize?{query}"))).await;
    let place = answer.header("location").unwrap();
    assert!(place.starts_with(CALLBACK) && place.contains("error=invalid_scope"), "{place}");
    // The code was not spent for it.
    assert_eq!(world.register_id_token_alg(Some("ES256")).await.status, 200);
    assert_eq!(world.redeem(&code).await.status, 200);
    let refreshed = world.refresh(&refresh_token).await.json();
    assert_eq!(self::alg(refreshed["id_token"].as_str().unwrap()), "ES256");
}

#[actix_web::test]
async fn the_console_says_what_waits_and_what_is_signed_with_until_then() {
    let app = TestApp::start_with(using([ES256])).await;
    account(&app, ("Root", "root@example.com"), true).await;
    let app = app.restart(using([EdDSA, ES256])).await;
    let mut root = signed_in(&app, "root@example.com", "/console").await;
    let keys = text(&root.get(&app, "/console/keys").await);
    assert!(keys.contains("EdDSA is in use and signs from <span class=\"date\">16 Jan 2027 08:00"), "{keys}");
    let resources = text(&root.get(&app, "/console/resources").await);
    assert!(resources.contains("EdDSA; ES256 until its key signs"), "{resources}");
    pass(&app, LEAD).await;
    let mut root = signed_in(&app, "root@example.com", "/console").await;
    assert!(!text(&root.get(&app, "/console/keys").await).contains("is in use and signs from"));
    assert!(!text(&root.get(&app, "/console/resources").await).contains("until its key signs"));
}

/// What may become of an installation.
#[derive(Clone, Debug)]
enum Act {
    /// It is started again with these algorithms, and with one of them, if any, for the resource.
    Restart(Vec<Algorithm>, Option<Index>),
    /// A client registers for one of those in use, or for none, for access tokens and ID tokens.
    Register(Option<Index>, Option<Index>),
    /// Seconds pass, in three parts.
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    // RSA keys take long to make.
    let algorithms = subsequence(vec![ES256, ES384, EdDSA], 1..=3).prop_shuffle();
    let which = || option::of(any::<Index>());
    prop_oneof![
        3 => (algorithms, which()).prop_map(|(algorithms, resource)| Act::Restart(algorithms, resource)),
        2 => (which(), which()).prop_map(|(access_token, id_token)| Act::Register(access_token, id_token)),
        3 => prop_oneof![0..LEAD / 2, LEAD..3 * LEAD].prop_map(Act::Pass),
    ]
}

/// Somebody who asks for tokens of every kind, and somebody who verifies them.
struct Watch {
    lazy: LazyVerifier,
    /// What the client holds its ID tokens to.
    promised: Option<Algorithm>,
    alive: Vec<(i64, String)>,
}

impl Watch {
    async fn look(&mut self, world: &World) {
        let app = &world.app;
        self.alive.push((app.now() + 900, app.demo_token().await));
        signed(app).await;
        let answer = world.redeem(&world.code().await).await;
        if answer.status == 200 {
            self.alive.push((app.now() + 900, pair(&answer).0));
            let signed = alg(answer.json()["id_token"].as_str().unwrap());
            assert!(self.promised.is_none_or(|promised| signed == promised.as_str()), "{signed}");
        } else {
            answer.refused(400, "invalid_scope");
            let health = app.manage("/health/ready").await.json();
            let promised = self.promised.unwrap().as_str();
            let waits =
                health["waiting"].as_array().unwrap().iter().any(|each| each["algorithm"] == promised);
            let stranded = json!({ "count": 1, "first": [world.client().0] });
            assert!(waits || health["stranded_clients"] == stranded, "{health}");
        }
        self.alive.retain(|(end, _)| app.now() < *end);
        for (_, token) in &self.alive {
            assert_eq!(self.lazy.check(app, token).await, Ok(()));
        }
    }
}

async fn play(acts: Vec<Act>) {
    let mut world = World::start_with(json!({}), using([ES256])).await;
    let mut watch = Watch { lazy: LazyVerifier::default(), promised: None, alive: Vec::new() };
    watch.look(&world).await;
    for act in acts {
        let in_use = world.services().keys.policy().algorithms().to_vec();
        let named = |index: Option<Index>, of: &[Algorithm]| index.map(|index| *index.get(of));
        match act {
            Act::Restart(algorithms, resource) => {
                let restarted = world.restart(|config| {
                    config.resources[0].algorithm = named(resource, &algorithms);
                    config.keys.algorithms = algorithms;
                });
                world = restarted.await;
            }
            Act::Register(access_token, id_token) => {
                let path = format!("/admin/clients/{}", world.client().0);
                let promised = named(id_token, &in_use);
                let waits =
                    world.services().keys.waiting().iter().any(|each| Some(each.algorithm) == promised);
                let is_early = waits && promised != watch.promised;
                let change = json!({
                    "access_token_signing_alg": named(access_token, &in_use),
                    "id_token_signed_response_alg": promised,
                });
                let answer = world.app.administer(Method::PATCH, &path, Some(change)).await;
                assert_eq!(answer.status, if is_early { 400 } else { 200 }, "{answer:?}");
                if !is_early {
                    watch.promised = promised;
                }
            }
            Act::Pass(seconds) => {
                for part in [seconds / 3, seconds / 3, seconds - 2 * (seconds / 3)] {
                    pass(&world.app, part).await;
                    watch.look(&world).await;
                }
            }
        }
        watch.look(&world).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_becomes_of_the_settings_tokens_are_issued_and_believed(acts in vec(act(), 1..8)) {
        actix_web::rt::System::new().block_on(play(acts));
    }
}

/// The binary, as an operator has it: started anew with an algorithm before those that it had.
#[test]
fn doctor_names_what_waits_and_finds_no_fault_in_it() {
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let with = |algorithms| [("SIGNET_KEYS_ALGORITHMS", algorithms)];
    let mut service = Process::start(dir.path(), port, &with("ES256"));
    service.await_ready();
    // Which is published by the first answer; before it an algorithm would have nothing to wait for.
    assert_eq!(service.get("/.well-known/jwks.json", "").unwrap().status, 200);
    let credentials = service.credentials("demo client");
    let credentials = (credentials.0.as_str(), credentials.1.as_str());
    assert_eq!(alg(&service.token(credentials).unwrap()), "ES256");
    assert_eq!(service.terminate(), Some(0));
    let mut service = Process::start(dir.path(), port, &with("EdDSA,ES256"));
    service.await_ready();
    assert_eq!(alg(&service.token(credentials).unwrap()), "ES256");
    let findings = service.doctor(dir.path(), &with("EdDSA,ES256"));
    let found =
        |name: &str| findings.as_array().unwrap().iter().find(|finding| finding["name"] == name).cloned();
    assert_eq!(found("keys").unwrap()["level"], "ok", "{findings}");
    let algorithms = found("algorithms").unwrap();
    assert_eq!(algorithms["level"], "warn");
    assert!(algorithms["what"].as_str().unwrap().contains("EdDSA signs from 20"), "{algorithms}");
    assert_eq!(found("clients"), None);
}
