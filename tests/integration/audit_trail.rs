//! What the audit log says of a request: which one, from where, and what differs afterwards. And that nothing happens
//! that it can't be told of.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::pin;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use signet::app::StartError;
use signet::config::Config;
use signet::http::served;
use signet::stall::LONGEST_WRITE;
use signet::users::{Account, Page};
use tokio::task::yield_now;

use crate::browser::{Browser, CALLBACK, PASSWORD, ada, register, request, shop, state, text};
use crate::service_log::said;
use crate::shell::{act, signed_in};
use crate::sign_in::enrolled;
use crate::test_app::{Answer, ISSUER, RESOURCE, TestApp, basic, bearer, form};

const PEER: &str = "198.51.100.9:1234";

/// The entries of one kind, the oldest first.
fn entries(app: &TestApp, event: &str) -> Vec<Value> {
    let log = app.audit_log();
    let entries = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries.filter(|entry| entry["event"] == event).collect()
}

#[track_caller]
fn last(app: &TestApp, event: &str) -> Value {
    entries(app, event).pop().unwrap_or_else(|| panic!("no {event}: {}", app.audit_log()))
}

async fn keeper(app: &TestApp) -> String {
    let resource = format!("{ISSUER}/users");
    let client = json!({ "client_id": "keeper", "client_name": "Keeper", "scope": "users:read users:write", "resources": [resource] });
    let made = app.administer(Method::POST, "/admin/clients", Some(client)).await.json();
    let secret = made["client_secret"].as_str().unwrap();
    app.token(("keeper", secret), "").await.access_token()
}

fn named(answer: &Answer) -> &str {
    answer.header("x-request-id").unwrap()
}

#[actix_web::test]
async fn what_caches_hand_on_is_not_called_by_the_request_that_fetched_it() {
    let app = TestApp::start().await;
    let list = app.send(TestRequest::get().uri("/status")).await;
    let lists = list.json()["status_lists"][0].as_str().unwrap().strip_prefix(ISSUER).unwrap().to_owned();
    for path in ["/.well-known/jwks.json", "/.well-known/openid-configuration", &lists] {
        let answer = app.send(TestRequest::get().uri(path)).await;
        let cached = answer.header("cache-control").unwrap();
        assert!(answer.status == 200 && cached.starts_with("public"), "{path}: {cached}");
        assert_eq!(answer.header("x-request-id"), None, "{path}");
    }
    assert_eq!((list.header("cache-control"), named(&list).len()), (Some("no-store"), 16));
}

#[actix_web::test]
async fn every_event_says_which_request_and_from_where() {
    let app = TestApp::start().await;
    let token = keeper(&app).await;
    let from = |request: TestRequest| {
        let request = request.insert_header(bearer(&token)).insert_header(("X-Request-Id", "mine"));
        app.send(request.peer_addr(PEER.parse::<SocketAddr>().unwrap()))
    };
    let user = json!({ "name": "Al", "email": "al@example.com", "password": PASSWORD });
    let made = from(TestRequest::post().uri("/users").set_json(user)).await;
    let path = format!("/v1/users/{}", made.json()["id"].as_str().unwrap());
    let renamed = from(TestRequest::put().uri(&path).set_json(json!({ "name": "Alan" }))).await;
    let gone = from(TestRequest::delete().uri(&path)).await;
    let admin = app.admin_token().await;
    let refused = form("/oauth2/token", "").peer_addr(PEER.parse::<SocketAddr>().unwrap());
    app.send(refused.insert_header(basic(app.demo()))).await;
    let change = TestRequest::patch().uri("/admin/clients/keeper").set_json(json!({ "client_name": "K" }));
    let change = change.insert_header(bearer(&admin)).peer_addr(PEER.parse::<SocketAddr>().unwrap());
    let changed = app.send(change).await;
    for (event, answer) in [
        ("user.registered", &made),
        ("user.changed", &renamed),
        ("user.deleted", &gone),
        ("client.changed", &changed),
    ] {
        assert!(answer.status < 300, "{event} {answer:?}");
        let entry = last(&app, event);
        assert_eq!(entry["source_ip"], "198.51.100.9", "{entry}");
        assert_eq!(entry["request_id"], named(answer), "{entry}");
        assert!(named(answer).len() == 16 && named(answer) != "mine", "nobody but a trusted proxy gives one");
    }
    // What a person does in a browser, too.
    ada(&app).await;
    let mut browser = signed_in(&app, "ada@example.com", "/account").await;
    act(&mut browser, &app, "/account", &[("name", "Ada King")]).await;
    act(
        &mut browser,
        &app,
        "/account/password",
        &[("current_password", PASSWORD), ("new_password", "a quite different phrase")],
    )
    .await;
    act(&mut browser, &app, "/account/sessions", &[("act", "end_others")]).await;
    for event in ["session.started", "user.changed"] {
        let entry = last(&app, event);
        assert!(entry["source_ip"] == "192.0.2.1" && entry["request_id"].is_string(), "{entry}");
    }
    let alone = entries(&app, "key.generated").remove(0);
    assert!(alone.get("source_ip").is_none() && alone.get("request_id").is_none(), "{alone}");
}

#[actix_web::test]
async fn a_trusted_proxy_names_requests_and_where_they_come_from() {
    let trusting = |config: &mut Config| {
        config.trusted_proxies = vec!["198.51.100.0/24".parse().unwrap()];
        config.believe_request_id = true;
    };
    let app = TestApp::start_with(trusting).await;
    let (given, entry) = from_a_proxy(&app, "edge-1").await;
    assert_eq!(
        (given.as_str(), &entry["request_id"], &entry["source_ip"]),
        ("edge-1", &json!("edge-1"), &json!("203.0.113.7"))
    );
    let (own, entry) = from_a_proxy(&app, "no word\"").await;
    assert!(own.len() == 16 && entry["request_id"] == own.as_str(), "{own} {entry}");
    // Unless it is told to, the service believes no name: a proxy may pass on what its clients send.
    let app = app.restart(|config| config.believe_request_id = false).await;
    let (own, entry) = from_a_proxy(&app, "edge-2").await;
    assert!(own.len() == 16 && entry["request_id"] == own.as_str(), "{own} {entry}");
    assert_eq!(entry["source_ip"], "203.0.113.7");
}

/// What a request that a trusted proxy calls `name` is called in its answer, and its entry.
async fn from_a_proxy(app: &TestApp, name: &str) -> (String, Value) {
    let token = app.admin_token().await;
    let request = TestRequest::patch().uri(&format!("/admin/clients/{}", app.demo().0));
    let request = request.set_json(json!({ "client_name": "K" })).insert_header(bearer(&token));
    let request =
        request.insert_header(("X-Forwarded-For", "203.0.113.7")).insert_header(("X-Request-Id", name));
    let answer = app.send(request.peer_addr(PEER.parse::<SocketAddr>().unwrap())).await;
    (named(&answer).to_owned(), last(app, "client.changed"))
}

#[actix_web::test]
async fn a_whole_form_records_what_differs_and_from_what_to_what() {
    let app = TestApp::start().await;
    let made = json!({
        "client_id": "shop", "client_name": "Shop", "scope": "read", "resources": [RESOURCE],
        "redirect_uris": [CALLBACK], "client_uri": "https://shop.example.com/",
    });
    assert_eq!(app.administer(Method::POST, "/admin/clients", Some(made.clone())).await.status, 201);
    let mut whole = made;
    whole.as_object_mut().unwrap().remove("client_id");
    whole["scope"] = json!("read write");
    whole["require_pkce"] = json!(false);
    whole["client_name"] = json!("Another");
    whole["access_token_lifetime"] = json!(60);
    assert_eq!(app.administer(Method::PATCH, "/admin/clients/shop", Some(whole)).await.status, 200);
    let detail = last(&app, "client.changed")["detail"].clone();
    assert_eq!(detail["members"], json!(["access_token_lifetime", "client_name", "require_pkce", "scope"]));
    let changes = json!({
        "access_token_lifetime": { "from": null, "to": 60 },
        "require_pkce": { "from": true, "to": false },
        "scope": { "added": ["write"], "removed": [] },
    });
    assert_eq!(detail["changes"], changes);
    let uris = json!({ "redirect_uris": [CALLBACK, format!("{CALLBACK}?tenant=hush")] });
    assert_eq!(app.administer(Method::PATCH, "/admin/clients/shop", Some(uris)).await.status, 200);
    let changed = last(&app, "client.changed")["detail"]["changes"]["redirect_uris"].clone();
    assert_eq!(changed["removed"], json!([]));
    let added = changed["added"][0].as_str().unwrap();
    assert!(
        added.starts_with(&format!("{CALLBACK}?digest=")) && !app.audit_log().contains("hush"),
        "{added}"
    );

    let ada = json!({ "name": "Ada", "email": "ada@example.com", "email_verified": true });
    let id = app.administer(Method::POST, "/admin/users", Some(ada)).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/admin/users/{id}");
    let whole = json!({ "name": "Countess", "email": "Ada@Example.com", "email_verified": true, "administrator": true, "disabled": false });
    assert_eq!(app.administer(Method::PATCH, &path, Some(whole)).await.status, 200);
    let detail = last(&app, "user.changed")["detail"].clone();
    assert_eq!(detail["members"], json!(["administrator", "email", "name"]));
    assert_eq!(detail["changes"]["administrator"], json!({ "from": false, "to": true }));
    let digest = last(&app, "user.registered")["detail"]["email"].as_str().unwrap().to_owned();
    assert_eq!(
        detail["changes"]["email"],
        json!({ "from": digest, "to": digest }),
        "only the letters' case differs"
    );
    let other = json!({ "email": "eve@example.com", "password": PASSWORD });
    assert_eq!(app.administer(Method::PATCH, &path, Some(other)).await.status, 200);
    let detail = last(&app, "user.changed")["detail"].clone();
    assert_eq!(detail["members"], json!(["email", "email_verified", "password"]));
    assert_eq!(detail["changes"]["email"]["from"], digest.as_str());
    assert_ne!(detail["changes"]["email"]["to"], digest.as_str());
    let log = app.audit_log();
    for personal in ["ada@", "Ada@", "eve@", "Countess", PASSWORD] {
        assert!(!log.contains(personal), "{personal}");
    }
}

/// Everything that the acts below could have changed.
async fn standing(app: &TestApp, token: &str, person: &Account) -> Value {
    let mut standing = Vec::new();
    for path in ["/admin/clients", "/admin/users", "/admin/keys", "/admin/api-keys", "/admin/revocations"] {
        let answer = app.send(TestRequest::get().uri(path).insert_header(bearer(token))).await;
        assert_eq!(answer.status, 200, "{path}");
        standing.push(answer.json());
    }
    let services = &app.app.state.services;
    let factor = services.second_factors.find(&person.id).await.unwrap().expect("a second factor");
    let sessions = services.sessions.of_user(&person.id).await.unwrap().len();
    json!([standing, format!("{factor:?}"), sessions])
}

/// One act for each route of the admin API that changes something or gives a copy away, in which `{…}` stands for the name beside it.
fn acts(
    (client, key): (&str, &str),
    account: &Account,
    keys: &Value,
) -> Vec<(Method, &'static str, String, Value)> {
    let signing = keys["keys"][0]["kid"].as_str().unwrap();
    let sealing = keys["sealing"][0]["id"].as_str().unwrap();
    let (none, account) = ("", account.id.as_str());
    let service = json!({ "client_name": "S", "scope": "read", "resources": [RESOURCE] });
    let api_key = json!({ "name": "k", "client_id": client, "scope": "read", "resources": [RESOURCE] });
    let pem = json!({ "key": include_str!("../fixtures/keys/p256.pem"), "algorithm": "ES256" });
    let acts = [
        (Method::POST, "/admin/clients", none, service),
        (Method::PATCH, "/admin/clients/{client_id}", client, json!({ "client_name": "Changed" })),
        (Method::POST, "/admin/clients/{client_id}/secret", client, json!({})),
        (Method::DELETE, "/admin/clients/{client_id}", client, Value::Null),
        (Method::POST, "/admin/users", none, json!({ "name": "B", "email": "b@example.com" })),
        (Method::PATCH, "/admin/users/{id}", account, json!({ "disabled": true })),
        (Method::DELETE, "/admin/users/{id}", account, Value::Null),
        (Method::DELETE, "/admin/users/{id}/second-factor", account, Value::Null),
        (Method::POST, "/admin/api-keys", none, api_key),
        (Method::DELETE, "/admin/api-keys/{id}", key, Value::Null),
        (Method::POST, "/admin/keys/rotate", none, json!({ "force": true })),
        (Method::POST, "/admin/keys/{kid}/compromise", signing, json!({})),
        (Method::POST, "/admin/keys/{kid}/compromise", sealing, json!({})),
        (Method::POST, "/admin/keys/import", none, pem),
        (Method::POST, "/admin/backup", none, Value::Null),
        (Method::POST, "/admin/revocations", none, json!({ "client_id": client })),
    ];
    let routes =
        served().iter().filter(|route| route.path.starts_with("/admin") && route.method != Method::GET);
    let tried: BTreeSet<_> = acts.iter().map(|(method, route, ..)| (method.as_str(), *route)).collect();
    assert_eq!(tried, routes.map(|route| (route.method.as_str(), route.path)).collect(), "all of the table");
    let filled = |route: &str, name: &str| match route.split_once('{') {
        Some((start, rest)) => format!("{start}{name}{}", rest.split_once('}').unwrap().1),
        None => route.to_owned(),
    };
    acts.map(|(method, route, name, body)| (method, route, filled(route, name), body)).into()
}

#[actix_web::test]
async fn a_thousand_acts_that_can_not_be_recorded_do_not_happen() {
    let app = TestApp::start().await;
    let account = ada(&app).await;
    signed_in(&app, "ada@example.com", "/account").await;
    enrolled(&app, &account).await;
    let (admin, demo) = (app.admin_token().await, app.demo_token().await);
    let client = app.demo().0.to_owned();
    let key = json!({ "name": "k", "client_id": client, "scope": "read", "resources": [RESOURCE] });
    let made = app.administer(Method::POST, "/admin/api-keys", Some(key)).await.json();
    let keys = app.administer(Method::GET, "/admin/keys", None).await.json();
    let acts = acts((&client, made["id"].as_str().unwrap()), &account, &keys);
    let (before, log) = (standing(&app, &admin, &account).await, app.audit_log());
    app.audit_disk.fill(true);
    for (method, _, path, body) in acts.iter().cycle().take(1000) {
        let act = TestRequest::with_uri(path).method(method.clone()).insert_header(bearer(&admin));
        let answer = app.send(if body.is_null() { act } else { act.set_json(body) }).await;
        assert_eq!(answer.status, 503, "{method} {path} {answer:?}");
    }
    assert_eq!(standing(&app, &admin, &account).await, before, "0 took effect");
    assert!(app.is_active(&demo).await, "nothing was revoked");
    assert_eq!(app.audit_log(), log);
    println!(
        "1,000 administrative acts, of every route that changes something or gives a copy away, while nothing can be recorded: all 503, 0 took effect"
    );
    assert_eq!(app.manage("/health/ready").await.status, 503);
    app.audit_disk.fill(false);
    let (method, _, path, body) = &acts[0];
    assert_eq!(app.administer(method.clone(), path, Some(body.clone())).await.status, 201, "room again");
}

#[actix_web::test]
async fn a_disk_that_stalls_below_the_audit_log_keeps_no_request_waiting() {
    let app = TestApp::start().await;
    let bearer = bearer(&app.admin_token().await);
    let register = |name: &str| {
        let client =
            json!({ "client_id": name, "client_name": name, "scope": "read", "resources": [RESOURCE] });
        app.send(TestRequest::post().uri("/admin/clients").insert_header(bearer.clone()).set_json(client))
    };
    let stalled = app.audit_disk.stall();
    let mut first = pin!(register("first"));
    while !stalled.holds_one() {
        assert!(first.as_mut().now_or_never().is_none());
        yield_now().await;
    }
    assert_eq!(app.manage("/health/ready").await.status, 200);
    app.clock.advance(LONGEST_WRITE);
    // The thread that looks sees to it.
    let answer = first.await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("30"));
    let ready = app.manage("/health/ready").await;
    assert_eq!((ready.status, &ready.json()["audit"]), (503, &json!("failing")));
    let refused = app.app.state.services.audit.failures();
    assert_eq!(register("second").await.status, 503);
    assert_eq!(app.app.state.services.audit.failures(), refused + 1);
    assert_eq!(app.send(TestRequest::with_uri("/.well-known/jwks.json")).await.status, 200);

    drop(stalled);
    while !app.app.state.services.audit.is_writable() {
        yield_now().await;
    }
    assert_eq!(app.manage("/health/ready").await.status, 200);
    assert_eq!(register("third").await.status, 201);
    // What was waited for in vain is recorded and not done; what came later is neither.
    let recorded: Vec<_> =
        entries(&app, "client.registered").iter().map(|entry| entry["client_id"].clone()).collect();
    assert!(recorded.ends_with(&[json!("first"), json!("third")]), "{recorded:?}");
    let clients = &app.app.state.services.clients;
    assert_eq!(["first", "second", "third"].map(|id| clients.find(id).is_some()), [false, false, true]);
}

/// What happened to keys is recorded when the disk goes on, whoever waited for it and gave up.
#[actix_web::test]
async fn what_is_owed_to_a_disk_that_stalls_is_recorded_once() {
    let app = TestApp::start().await;
    let services = &app.app.state.services;
    let of_keys = || {
        let log = app.audit_log();
        let entries = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of_keys = entries.filter(|entry| entry["event"].as_str().unwrap().starts_with("key."));
        of_keys.map(|entry| format!("{} {}", entry["event"], entry["kid"])).collect::<Vec<_>>()
    };
    let before = of_keys().len();
    services.keys.rotate(None, true).await.expect("a new key");
    let stalled = app.audit_disk.stall();
    let mut round = pin!(app.app.rotate());
    while !stalled.holds_one() {
        assert!(round.as_mut().now_or_never().is_none());
        yield_now().await;
    }
    app.clock.advance(LONGEST_WRITE);
    assert!(matches!(round.await, Err(StartError::Audit(_))));
    assert!(matches!(app.app.rotate().await, Err(StartError::Audit(_))));
    drop(stalled);
    while !services.audit.is_writable() {
        yield_now().await;
    }
    app.app.rotate().await.expect("the audit log");
    let recorded = of_keys();
    assert!(recorded.len() > before);
    assert_eq!(recorded.iter().collect::<BTreeSet<_>>().len(), recorded.len(), "{recorded:?}");
}

#[actix_web::test]
async fn nobody_signs_in_or_allows_anything_unrecorded() {
    let app = TestApp::start().await;
    let account = ada(&app).await;
    register(&app, shop()).await;
    let services = &app.app.state.services;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[])).await;
    app.audit_disk.fill(true);
    let refused = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    assert_eq!(refused.status, 503, "{}", text(&refused));
    assert!(services.sessions.of_user(&account.id).await.unwrap().is_empty(), "the session is taken back");
    let again = browser.get(&app, &request(&[])).await;
    assert!(text(&again).contains("name=\"password\""), "nobody is signed in");

    app.audit_disk.fill(false);
    let answer = browser.sign_in(&app, &again, ("ada@example.com", PASSWORD)).await;
    let question = browser.go_on(&app, answer).await;
    let mut portal = browser.clone();
    app.audit_disk.fill(true);
    let answer =
        browser.post(&app, "/oauth2/consent", &[("state", &*state(&question)), ("decision", "allow")]).await;
    let location = answer.header("location").unwrap_or_default();
    assert!(!location.contains("code="), "{answer:?}");
    assert!(services.consents.of_user(&account.id).await.unwrap().is_empty(), "nothing is allowed");
    let renamed = act(&mut portal, &app, "/account", &[("name", "Countess")]).await;
    assert_eq!(renamed.status, 503, "{}", text(&renamed));
    let found = services.accounts.list(Page { limit: 9, offset: 0 }).await.unwrap();
    assert!(found.iter().all(|each| each.name != "Countess"));
}

#[actix_web::test]
async fn a_start_on_a_damaged_audit_log_says_so_and_goes_on() {
    let app = TestApp::start().await;
    let (app, log) = said(Box::pin(app.restart(|_| {}))).await;
    assert!(!log.contains("audit"), "{log}");
    let path = app.dir().join("data/audit.jsonl");
    let altered = app.audit_log().replacen("key.generated", "key.forgotten", 1);
    std::fs::write(&path, altered).unwrap();
    let (app, log) = said(Box::pin(app.restart(|_| {}))).await;
    let told: Vec<_> = log.lines().filter(|line| line.contains("signet audit verify")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("ERROR") && told[0].contains("move the log away"), "{log}");
    assert_eq!(entries(&app, "audit.damaged").len(), 1);
    assert_eq!(app.app.evidence, [], "of the log, not of the store");
    let ready = app.manage("/health/ready").await;
    assert_eq!((ready.status, &ready.json()["audit"]), (200, &json!("damaged")));
    app.demo_token().await;
    std::fs::rename(&path, path.with_extension("moved")).unwrap();
    let (app, log) = said(Box::pin(app.restart(|_| {}))).await;
    assert!(log.contains("it was moved away"), "{log}");
    assert_eq!(app.manage("/health/ready").await.json()["audit"], "ok");
}

/// Who looks at the service's own log sees when its keys were touched, and by whom.
#[actix_web::test]
async fn acts_on_keys_are_told_of_in_the_log_too() {
    let app = TestApp::start().await;
    let admin = format!("by=client {}", app.admin().0);
    let pem = include_str!("../fixtures/keys/p256.pem");
    let kid = |answer: &Value| answer["kid"].as_str().unwrap().to_owned();
    let act = async |path: &str, body: Value| {
        let (answer, log) = said(app.administer(Method::POST, path, Some(body))).await;
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        let lines = log.lines().filter(|line| line.contains(&admin)).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines.len(), 1, "{path}: {log}");
        assert!(!log.contains("PRIVATE"), "{log}");
        (answer.json(), lines[0].clone())
    };
    let (imported, line) = act("/admin/keys/import", json!({ "key": pem, "algorithm": "ES256" })).await;
    assert!(line.contains("INFO") && line.contains(&kid(&imported)), "{line}");
    let (asked, line) = act("/admin/keys/rotate", json!({})).await;
    assert!(line.contains("INFO") && line.contains(&kid(&asked["rotations"][0])), "{line}");
    let (forced, line) = act("/admin/keys/rotate", json!({ "force": true })).await;
    assert!(line.contains("WARN") && line.contains(&kid(&forced["rotations"][0])), "{line}");
    let signing = kid(&forced["rotations"][0]);
    let (_, line) = act(&format!("/admin/keys/{signing}/compromise"), json!({ "reason": "PRIVATE" })).await;
    assert!(line.contains("WARN") && line.contains(&signing), "{line}");
    let keys = app.administer(Method::GET, "/admin/keys", None).await.json();
    let sealing = keys["sealing"][0]["id"].as_str().unwrap();
    let (_, line) = act(&format!("/admin/keys/{sealing}/compromise"), json!({})).await;
    assert!(line.contains("WARN") && line.contains(sealing), "{line}");
}
