//! The admin API: who may do what, and what it does.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::{Value, json};
use signet::clock::ManualClock;

use crate::faulty_store::{Fault, FaultyStore};
use crate::test_app::{ISSUER, START, TestApp, basic, bearer, form};

#[actix_web::test]
async fn every_admin_route_is_denied_without_exactly_its_scope() {
    let app = TestApp::start().await;
    let admin = app.admin().0.to_owned();
    let demo = app.demo_token().await;
    let scopes = [
        "signet:keys",
        "signet:clients",
        "signet:users",
        "signet:api-keys",
        "signet:revocations",
        "signet:audit",
    ];
    let mut tokens = Vec::new();
    for scope in scopes {
        tokens.push((scope, app.token(app.admin(), &format!("scope={scope}")).await.access_token()));
    }
    let table = signet::http::served();
    let routes: Vec<_> = table.iter().filter(|route| route.path.starts_with("/admin")).collect();
    assert_eq!(routes.len(), 25);
    for route in routes {
        let needed = route.scope.expect("every admin route names its scope");
        let path =
            route.path.replace("{client_id}", &admin).replace("{kid}", "unknown").replace("{id}", "user_a1");
        let request = || TestRequest::with_uri(&path).method(route.method.clone());
        let anonymous = app.send(request()).await;
        anonymous.refused(401, "invalid_token");
        assert!(anonymous.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer ")));
        app.send(request().insert_header(bearer("nonsense"))).await.refused(401, "invalid_token");
        app.send(request().insert_header(basic(app.admin()))).await.refused(401, "invalid_token");
        // A token for another resource does not open the admin API, whatever its scope says.
        app.send(request().insert_header(bearer(&demo))).await.refused(401, "invalid_token");
        for (scope, token) in tokens.iter().filter(|(scope, _)| *scope != needed) {
            let answer = app.send(request().insert_header(bearer(token))).await;
            answer.refused(403, "insufficient_scope");
            assert!(answer.header("www-authenticate").is_some(), "{scope}");
        }
    }
}

/// What is misspelt would not be done, and something else instead: all keys rotated, say, not the one that was meant.
#[actix_web::test]
async fn a_query_parameter_that_a_route_does_not_take_is_refused_before_anything_is_done() {
    let app = TestApp::start().await;
    let token = app.admin_token().await;
    let entries = || app.audit_log().lines().count();
    let before = entries();
    for route in signet::http::served().iter().filter(|route| route.scope.is_some()) {
        let path = route.path.replace("{client_id}", app.demo().0).replace("{kid}", "x").replace("{id}", "x");
        for query in ["limt=1", "algorithm=ES384", "after=&x=", "access_token=x", "rotate"] {
            let request = TestRequest::with_uri(&format!("{path}?{query}")).method(route.method.clone());
            let answer = app.send(request.insert_header(bearer(&token))).await;
            answer.refused(400, "invalid_request");
        }
        let request = |token: Option<&str>| {
            let request = TestRequest::with_uri(&format!("{path}?x=1")).method(route.method.clone());
            token.into_iter().fold(request, |request, token| request.insert_header(bearer(token)))
        };
        app.send(request(None)).await.refused(401, "invalid_token");
        let query: Vec<String> = route.query.iter().map(|name| format!("{name}=1")).collect();
        if !query.is_empty() {
            let request = TestRequest::with_uri(&format!("{path}?{}", query.join("&")));
            assert_eq!(app.send(request.insert_header(bearer(&token))).await.status, 200, "{path}");
        }
    }
    assert_eq!(entries(), before, "nothing was done");
}

#[actix_web::test]
async fn a_revoked_or_ended_token_administers_nothing() {
    let app = TestApp::start().await;
    let token = app.admin_token().await;
    let list = || TestRequest::get().uri("/admin/clients").insert_header(bearer(&token));
    assert_eq!(app.send(list()).await.status, 200);
    app.send(form("/oauth2/revoke", &format!("token={token}")).insert_header(basic(app.admin()))).await;
    app.send(list()).await.refused(401, "invalid_token");
    let token = app.admin_token().await;
    app.pass(Duration::from_hours(1)).await;
    let list = TestRequest::get().uri("/admin/clients").insert_header(bearer(&token));
    app.send(list).await.refused(401, "invalid_token");
}

fn registration() -> Value {
    json!({ "client_name": "Shop", "scope": "read", "resources": ["http://127.0.0.1:9000"] })
}

#[actix_web::test]
async fn a_client_is_registered_used_changed_and_deleted() {
    let app = TestApp::start().await;
    let created = app.administer(Method::POST, "/admin/clients", Some(registration())).await;
    assert_eq!(created.status, 201, "{created:?}");
    let created = created.json();
    let id = created["client_id"].as_str().expect("an id").to_owned();
    let secret = created["client_secret"].as_str().expect("a secret").to_owned();
    let path = format!("/admin/clients/{id}");
    let token = app.token((&id, &secret), "").await.access_token();

    let shown = app.administer(Method::GET, &path, None).await;
    assert_eq!(shown.json()["client_name"], "Shop");
    assert!(!String::from_utf8_lossy(&shown.body).contains(&secret), "the secret is shown once");
    assert!(shown.json().get("client_secret").is_none());

    let changed =
        app.administer(Method::PATCH, &path, Some(json!({ "client_name": "Shop 2", "scope": "read write" })));
    assert_eq!(changed.await.json()["client_name"], "Shop 2");
    app.token((&id, &secret), "scope=write").await.access_token();

    assert_eq!(app.administer(Method::DELETE, &path, None).await.status, 204);
    app.token((&id, &secret), "").await.refused(401, "invalid_client");
    app.administer(Method::GET, &path, None).await.refused(404, "not_found");
    app.administer(Method::DELETE, &path, None).await.refused(404, "not_found");
    // Its tokens went with it.
    assert!(!app.is_active(&token).await);
}

#[actix_web::test]
async fn an_old_secret_is_honoured_for_the_overlap_and_no_longer() {
    let app = TestApp::start().await;
    let id = app.demo().0.to_owned();
    let path = format!("/admin/clients/{id}/secret");
    let rotated = app.administer(Method::POST, &path, Some(json!({ "overlap_seconds": 60 }))).await.json();
    let second = rotated["client_secret"].as_str().expect("a secret").to_owned();
    app.demo_token().await;
    app.token((&id, &second), "").await.access_token();
    app.pass(Duration::from_secs(59)).await;
    app.demo_token().await;
    app.pass(Duration::from_secs(1)).await;
    app.token(app.demo(), "").await.refused(401, "invalid_client");
    // Without an overlap the old one ends at once.
    let rotated = app.administer(Method::POST, &path, None).await.json();
    let third = rotated["client_secret"].as_str().expect("a secret").to_owned();
    app.token((&id, &second), "").await.refused(401, "invalid_client");
    app.token((&id, &third), "").await.access_token();
    let long = json!({ "overlap_seconds": 7_776_001 });
    app.administer(Method::POST, &path, Some(long)).await.refused(400, "invalid_request");
}

#[actix_web::test]
async fn a_registration_that_can_not_be_honoured_is_refused_with_its_reason() {
    let app = TestApp::start().await;
    let cases = [
        (json!({ "client_name": "" }), "client_name"),
        (json!({ "client_name": "a\nb" }), "client_name"),
        (json!({ "scope": "admin" }), "scope token"),
        (json!({ "scope": "re\"ad" }), "wrong type or value"),
        (json!({ "default_scope": "write" }), "default_scope"),
        (json!({ "resources": [] }), "resources"),
        (json!({ "resources": ["https://unknown.example"] }), "unknown resource"),
        (json!({ "resources": ["http://127.0.0.1:9000", "http://127.0.0.1:9000"] }), "resources"),
        (json!({ "grant_types": [] }), "grant_types"),
        (json!({ "grant_types": ["password"] }), "wrong type or value"),
        (json!({ "access_token_lifetime": 0 }), "access_token_lifetime"),
        (json!({ "access_token_lifetime": 3601 }), "access_token_lifetime"),
        (json!({ "access_token_signing_alg": "RS256" }), "access_token_signing_alg"),
        (json!({ "access_token_signing_alg": "none" }), "wrong type or value"),
        (json!({ "client_id": "not allowed" }), "wrong type or value"),
        (json!({ "unheard_of": 1 }), "unknown field"),
    ];
    for (change, reason) in cases {
        let mut body = registration();
        for (name, value) in change.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let answer = app.administer(Method::POST, "/admin/clients", Some(body)).await;
        answer.refused(400, "invalid_request");
        let description = answer.json()["error_description"].as_str().expect("a description").to_owned();
        assert!(description.contains(reason), "{change}: {description}");
    }
    let taken = json!({ "client_id": app.demo().0 });
    let mut body = registration();
    body["client_id"] = taken["client_id"].clone();
    app.administer(Method::POST, "/admin/clients", Some(body)).await.refused(409, "conflict");
}

#[actix_web::test]
async fn a_refusal_never_repeats_what_may_be_secret() {
    let app = TestApp::start().await;
    let pem = "-----BEGIN PRIVATE KEY-----";
    for body in [
        json!({ "key": "k", "algorithm": pem }),
        json!({ "key": { pem: 1 }, "algorithm": "ES256" }),
        json!({ "key": [pem], "algorithm": "ES256" }),
        json!(pem),
    ] {
        let answer = app.administer(Method::POST, "/admin/keys/import", Some(body.clone())).await;
        answer.refused(400, "invalid_request");
        assert!(!String::from_utf8_lossy(&answer.body).contains("BEGIN"), "{body}: {answer:?}");
    }
}

#[actix_web::test]
async fn clients_are_listed_page_by_page() {
    let app = TestApp::start().await;
    for _ in 0..5 {
        app.administer(Method::POST, "/admin/clients", Some(registration())).await;
    }
    let mut seen = Vec::new();
    let mut path = "/admin/clients?limit=3".to_owned();
    loop {
        let page = app.administer(Method::GET, &path, None).await.json();
        let clients = page["clients"].as_array().expect("clients");
        seen.extend(clients.iter().map(|client| client["client_id"].as_str().expect("an id").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/admin/clients?limit=3&after={next}");
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.is_sorted());
    app.administer(Method::GET, "/admin/clients?limit=0", None).await.refused(400, "invalid_request");
}

#[actix_web::test]
async fn the_issuer_never_comes_from_a_request() {
    let app = TestApp::start().await;
    let document = |request: TestRequest| app.send(request.uri("/.well-known/oauth-authorization-server"));
    let plain = document(TestRequest::get()).await;
    assert_eq!(plain.json()["issuer"], ISSUER);
    for name in ["Host", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Original-URL"] {
        let spoofed = document(TestRequest::get().insert_header((name, "evil.example"))).await;
        assert_eq!(spoofed.body, plain.body, "{name}");
    }
}

#[actix_web::test]
async fn nobody_gives_takes_or_reveals_an_admin_scope_they_do_not_hold() {
    let app = TestApp::start().await;
    let token = app.token(app.admin(), "scope=signet:clients").await.access_token();
    let as_clients = |method: Method, path: String, body: Option<Value>| {
        let mut request = TestRequest::with_uri(&path).method(method).insert_header(bearer(&token));
        if let Some(body) = body {
            request = request.set_json(body);
        }
        app.send(request)
    };
    let resources = json!([format!("{ISSUER}/admin")]);
    let grab = json!({ "client_name": "Grab", "scope": "signet:keys", "resources": resources });
    as_clients(Method::POST, "/admin/clients".into(), Some(grab)).await.refused(403, "insufficient_scope");
    let path = format!("/admin/clients/{}", app.admin().0);
    as_clients(Method::POST, format!("{path}/secret"), None).await.refused(403, "insufficient_scope");
    as_clients(Method::DELETE, path.clone(), None).await.refused(403, "insufficient_scope");
    let change = json!({ "client_name": "Mine" });
    as_clients(Method::PATCH, path, Some(change)).await.refused(403, "insufficient_scope");
    let own = json!({ "client_name": "Own", "scope": "signet:clients", "resources": resources });
    assert_eq!(as_clients(Method::POST, "/admin/clients".into(), Some(own)).await.status, 201);
    // Its own kind of client it may administer.
    let demo = format!("/admin/clients/{}/secret", app.demo().0);
    assert_eq!(as_clients(Method::POST, demo, None).await.status, 200);
}

#[actix_web::test]
async fn who_does_not_keep_the_users_reaches_them_by_no_key_and_no_client() {
    let app = TestApp::start().await;
    let person = json!({ "name": "Alice", "email": "alice@example.com" });
    let person = app.administer(Method::POST, "/admin/users", Some(person)).await.json();
    let keeper = json!({
        "client_id": "keeper", "client_name": "Keeper", "scope": "users:read users:write",
        "resources": [format!("{ISSUER}/users")],
    });
    let token = app.token(app.admin(), "scope=signet:clients signet:api-keys").await.access_token();
    let act = |path: &str, body: &Value| {
        app.send(TestRequest::post().uri(path).insert_header(bearer(&token)).set_json(body))
    };
    act("/admin/clients", &keeper).await.refused(403, "insufficient_scope");
    assert_eq!(app.administer(Method::POST, "/admin/clients", Some(keeper)).await.status, 201);
    act("/admin/clients/keeper/secret", &json!({})).await.refused(403, "insufficient_scope");
    let by_client = json!({
        "name": "k", "client_id": "keeper", "scope": "users:write", "resources": [format!("{ISSUER}/users")],
    });
    act("/admin/api-keys", &by_client).await.refused(403, "insufficient_scope");
    let as_person = json!({
        "name": "k", "user_id": person["id"], "scope": "read", "resources": ["http://127.0.0.1:9000"],
    });
    act("/admin/api-keys", &as_person).await.refused(403, "insufficient_scope");
    assert_eq!(app.administer(Method::POST, "/admin/api-keys", Some(as_person)).await.status, 201);
}

#[actix_web::test]
async fn a_demoted_administrator_loses_what_its_tokens_still_say() {
    let app = TestApp::start().await;
    let second = json!({
        "client_name": "Second", "scope": "signet:keys signet:clients", "resources": [format!("{ISSUER}/admin")],
    });
    let second = app.administer(Method::POST, "/admin/clients", Some(second)).await.json();
    let text = |name: &str| second[name].as_str().unwrap().to_owned();
    let (id, secret) = (text("client_id"), text("client_secret"));
    let token = app.token((&id, &secret), "").await.access_token();
    let keys = || app.send(TestRequest::get().uri("/admin/keys").insert_header(bearer(&token)));
    assert_eq!(keys().await.status, 200);
    let change = json!({ "scope": "signet:clients", "default_scope": "signet:clients" });
    let path = format!("/admin/clients/{id}");
    assert_eq!(app.administer(Method::PATCH, &path, Some(change)).await.status, 200);
    keys().await.refused(403, "insufficient_scope");
    assert_eq!(app.administer(Method::DELETE, &path, None).await.status, 204);
    keys().await.refused(401, "invalid_token");
}

#[actix_web::test]
async fn the_admin_api_shares_no_token_with_another_resource() {
    let app = TestApp::start().await;
    let both = json!({ "client_name": "Both", "scope": "read signet:keys",
        "resources": ["http://127.0.0.1:9000", format!("{ISSUER}/admin")] });
    let both = app.administer(Method::POST, "/admin/clients", Some(both)).await.json();
    let client = (both["client_id"].as_str().unwrap(), both["client_secret"].as_str().unwrap());
    let two = format!("resource=http://127.0.0.1:9000&resource={ISSUER}/admin");
    app.token(client, &two).await.refused(400, "invalid_target");
    app.token(client, &format!("resource={ISSUER}/admin")).await.access_token();
    app.token(client, "scope=read&resource=http://127.0.0.1:9000").await.access_token();
    app.token(client, "scope=signet:keys&resource=http://127.0.0.1:9000").await.refused(400, "invalid_scope");
}

#[actix_web::test]
async fn a_secret_can_be_rotated_whatever_became_of_the_settings() {
    let app = TestApp::start().await;
    let path = format!("/admin/clients/{}/secret", app.demo().0);
    let app = app.restart(|config| config.resources.clear()).await;
    assert_eq!(app.administer(Method::POST, &path, None).await.status, 200);
}

#[actix_web::test]
async fn what_is_refused_on_its_merits_is_not_put_on_record_as_done() {
    let app = TestApp::start().await;
    let before = app.audit_log();
    let mut taken = registration();
    taken["client_id"] = json!(app.demo().0);
    app.administer(Method::POST, "/admin/clients", Some(taken)).await.refused(409, "conflict");
    let user = json!({ "name": "Al", "email": "al@example.com" });
    assert_eq!(app.administer(Method::POST, "/admin/users", Some(user.clone())).await.status, 201);
    app.administer(Method::POST, "/admin/users", Some(user)).await.refused(409, "conflict");
    let condemn = "/admin/keys/nosuch/compromise";
    app.administer(Method::POST, condemn, Some(json!({}))).await.refused(404, "not_found");
    let rotate = Some(json!({ "algorithm": "ES384" }));
    app.administer(Method::POST, "/admin/keys/rotate", rotate).await.refused(409, "conflict");
    for key in ["nonsense", include_str!("../fixtures/keys/ed.pem")] {
        let import = Some(json!({ "key": key, "algorithm": "ES256" }));
        app.administer(Method::POST, "/admin/keys/import", import).await.refused(400, "invalid_request");
    }
    let mallory = json!({ "name": "Mallory", "email": "mallory@example.com", "password": "short" });
    app.administer(Method::POST, "/admin/users", Some(mallory)).await.refused(400, "invalid_request");
    let path = format!("/admin/clients/{}", app.demo().0);
    let change = Some(json!({ "default_scope": "unheard-of" }));
    app.administer(Method::PATCH, &path, change).await.refused(400, "invalid_request");
    let log = app.audit_log();
    let entries = log.strip_prefix(before.as_str()).unwrap().lines();
    let events: Vec<Value> =
        entries.map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone()).collect();
    assert_eq!(events, ["user.registered"]);
}

#[actix_web::test]
async fn what_failed_is_audited_as_failed() {
    let clock = Arc::new(ManualClock::at(START));
    let store = FaultyStore::new(clock.clone());
    let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
    let token = app.admin_token().await;
    let import = json!({ "key": include_str!("../fixtures/keys/p256.pem"), "algorithm": "ES256" });
    let request = TestRequest::post().uri("/admin/keys/import").insert_header(bearer(&token));
    store.fail(1, (Fault::Refused, true));
    app.send(request.set_json(import)).await.refused(503, "temporarily_unavailable");
    assert!(store.heal());
    let log = app.audit_log();
    let told: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [.., begun, failed] = told.as_slice() else { panic!("{log}") };
    for (entry, outcome) in [(begun, "success"), (failed, "failed")] {
        assert_eq!((&entry["event"], &entry["outcome"]), (&json!("key.imported"), &json!(outcome)));
        assert_eq!(entry["kid"], begun["kid"], "both say which key");
        assert!(entry["kid"].is_string(), "{entry}");
    }
    assert_eq!(failed["detail"]["error"], "temporarily_unavailable");
}

/// A stranger learns nothing there, not even which paths there are.
#[actix_web::test]
async fn a_request_is_refused_for_its_token_before_its_path_or_method_is_looked_at() {
    let app = TestApp::start().await;
    for path in ["/admin", "/admin/", "/admin/nothing", "/admin/keys/", "/admin/keys/a/b/c", "/admin/keys"] {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
            let stranger = || TestRequest::with_uri(path).method(method.clone());
            assert_eq!(app.send(stranger()).await.status, 401, "{method} {path}");
            // A token for something else opens nothing either.
            let other = stranger().insert_header(bearer(&app.demo_token().await));
            assert_eq!(app.send(other).await.status, 401, "{method} {path}");
            let known = app.send(stranger().insert_header(bearer(&app.admin_token().await))).await.status;
            let expected = match (path, &method) {
                ("/admin/keys", &Method::GET) => 200,
                ("/admin/keys", _) => 405,
                _ => 404,
            };
            assert_eq!(known, expected, "{method} {path}");
        }
    }
    // Nobody else's path is guarded by its beginning.
    app.send(TestRequest::get().uri("/administration")).await.refused(404, "not_found");
}
