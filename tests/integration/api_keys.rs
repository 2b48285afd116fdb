//! API keys: made by an administrator, taken in all their places, limited one by one, exchanged for tokens.

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::{Value, json};

use crate::test_app::{Answer, ISSUER, RESOURCE, TestApp, basic, form, part};

pub(crate) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const API_KEY: &str = "urn:signet:params:oauth:token-type:api_key";
const PEER: &str = "198.51.100.9:1234";

/// A key of the demo client for its resource.
async fn demo_key(app: &TestApp) -> (String, String) {
    let client_id = app.demo().0;
    make(
        app,
        json!({ "name": "report", "client_id": client_id, "scope": "read write", "resources": [RESOURCE] }),
    )
    .await
}

/// A key that may keep accounts.
pub(crate) async fn users_key(app: &TestApp, scope: &str) -> (String, String) {
    let resource = format!("{ISSUER}/users");
    let client = json!({ "client_id": "keeper", "client_name": "Keeper", "scope": "users:read users:write", "resources": [resource] });
    app.administer(Method::POST, "/admin/clients", Some(client)).await;
    make(app, json!({ "name": "keeper", "client_id": "keeper", "scope": scope, "resources": [resource] }))
        .await
}

async fn make(app: &TestApp, request: Value) -> (String, String) {
    let answer = app.administer(Method::POST, "/admin/api-keys", Some(request)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
    (text("id"), text("api_key"))
}

fn from(request: TestRequest) -> TestRequest {
    request.peer_addr(PEER.parse::<SocketAddr>().unwrap())
}

pub(crate) async fn users(app: &TestApp, header: (&str, String)) -> Answer {
    app.send(from(TestRequest::get().uri("/v1/users").insert_header(header))).await
}

async fn exchange(app: &TestApp, key: &str, more: &str) -> Answer {
    let body = format!("grant_type={EXCHANGE}&subject_token={key}&subject_token_type={API_KEY}{more}");
    app.send(from(form("/oauth2/token", &body))).await
}

#[track_caller]
fn remaining(answer: &Answer) -> u32 {
    assert_eq!(answer.header("x-ratelimit-limit"), Some("100"));
    assert_eq!(answer.header("ratelimit-policy"), Some("\"apikey\";q=100;w=60"));
    let remaining = answer.header("x-ratelimit-remaining").unwrap();
    assert!(answer.header("ratelimit").unwrap().starts_with(&format!("\"apikey\";r={remaining};t=")));
    remaining.parse().unwrap()
}

#[actix_web::test]
async fn a_key_is_taken_wherever_a_client_may_send_it() {
    let app = TestApp::start().await;
    let (_, key) = users_key(&app, "users:read").await;
    let headers = [
        ("X-API-Key", key.clone()),
        ("Authorization", format!("Bearer {key}")),
        ("Authorization", format!("ApiKey {key}")),
        ("Authorization", format!("apikey {key}")),
    ];
    for (number, header) in (0..).zip(headers) {
        let answer = users(&app, header).await;
        assert_eq!((answer.status, answer.json()), (200, json!([])));
        assert_eq!(remaining(&answer), 99 - number);
    }
    let query = format!("/users?api_key={key}");
    app.send(TestRequest::get().uri(&query)).await.refused(401, "invalid_token");
    let twice = TestRequest::get().uri("/users").insert_header(("X-API-Key", key.clone()));
    let twice = twice.insert_header(("Authorization", format!("Bearer {key}")));
    app.send(twice).await.refused(400, "invalid_request");

    let app = app.restart(|config| config.api_keys.in_query = true).await;
    assert_eq!(app.send(TestRequest::get().uri(&query)).await.status, 200);
}

#[actix_web::test]
async fn the_101st_request_of_any_minute_is_refused_and_says_when_to_come_back() {
    let app = TestApp::start().await;
    let (_, key) = users_key(&app, "users:read").await;
    let (_, other) = users_key(&app, "users:read").await;
    for number in 0..100 {
        if number == 40 {
            app.pass(Duration::from_secs(30)).await;
        }
        let answer = users(&app, ("X-API-Key", key.clone())).await;
        assert_eq!((answer.status, remaining(&answer)), (200, 99 - number));
    }
    let answer = users(&app, ("X-API-Key", key.clone())).await;
    answer.refused(429, "temporarily_unavailable");
    assert_eq!((remaining(&answer), answer.header("retry-after")), (0, Some("30")));
    let reset = (app.now() + 30).to_string();
    assert_eq!(answer.header("x-ratelimit-reset"), Some(reset.as_str()));
    assert_eq!(users(&app, ("X-API-Key", other)).await.status, 200, "another key is not touched");
    app.pass(Duration::from_secs(30)).await;
    for _ in 0..40 {
        assert_eq!(users(&app, ("X-API-Key", key.clone())).await.status, 200);
    }
    assert_eq!(users(&app, ("X-API-Key", key)).await.status, 429);
}

#[actix_web::test]
async fn refusals_say_how_the_limit_stands_too() {
    let app = TestApp::start().await;
    let (_, key) = users_key(&app, "users:read").await;
    let post = TestRequest::post().uri("/users").insert_header(("X-API-Key", key.clone()));
    let answer = app.send(post.set_json(json!({}))).await;
    answer.refused(403, "insufficient_scope");
    assert_eq!(remaining(&answer), 99);
    let answer =
        app.send(TestRequest::get().uri("/users/user_nobody").insert_header(("X-API-Key", key))).await;
    answer.refused(404, "User not found");
    assert_eq!(remaining(&answer), 98);
}

#[actix_web::test]
async fn so_do_answers_where_there_is_no_such_path_or_method() {
    let app = TestApp::start().await;
    let (_, key) = users_key(&app, "users:read users:write").await;
    for (number, (method, path, status)) in (0..).zip([
        (Method::GET, "/users/user_nobody/keys", 404),
        (Method::GET, "/v1/users/", 404),
        (Method::DELETE, "/users", 405),
        (Method::POST, "/v1/users/user_nobody", 405),
    ]) {
        let request = TestRequest::with_uri(path).method(method).insert_header(("X-API-Key", key.clone()));
        let answer = app.send(request).await;
        assert_eq!((answer.status, remaining(&answer)), (status, 99 - number), "{path}");
    }
}

/// A window of 60 seconds never takes 61 to have room again, wherever in a second or a millisecond the request comes.
#[actix_web::test]
async fn a_limit_never_resets_later_than_its_window_is_long() {
    let app = TestApp::start().await;
    let (_, key) = users_key(&app, "users:read").await;
    app.pass(Duration::from_micros(123_456)).await;
    let answer = users(&app, ("X-API-Key", key.clone())).await;
    assert_eq!(answer.header("ratelimit"), Some("\"apikey\";r=99;t=60"));
    assert_eq!(answer.header("x-ratelimit-reset"), Some((app.now() + 60).to_string().as_str()));
    for _ in 0..99 {
        assert_eq!(users(&app, ("X-API-Key", key.clone())).await.status, 200);
    }
    // Who is refused is never told to come back too early.
    let refused = users(&app, ("X-API-Key", key)).await;
    assert_eq!(refused.header("ratelimit"), Some("\"apikey\";r=0;t=60"));
    assert_eq!(refused.header("x-ratelimit-reset"), Some((app.now() + 61).to_string().as_str()));
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("60")));
}

#[actix_web::test]
async fn wrong_keys_use_up_the_address_and_no_key() {
    let app = TestApp::start_with(|config| config.limits.refused_per_address = 3).await;
    let (id, key) = users_key(&app, "users:read").await;
    let wrong = format!("{}A", &key[..key.len() - 1]);
    for guess in [wrong.as_str(), "sk_x", id.as_str()] {
        let answer = users(&app, ("X-API-Key", guess.to_owned())).await;
        answer.refused(401, "invalid_token");
        assert_eq!(answer.header("x-ratelimit-limit"), None);
    }
    let answer = users(&app, ("X-API-Key", wrong.clone())).await;
    answer.refused(429, "temporarily_unavailable");
    assert_eq!(answer.header("ratelimit-policy"), Some("\"refused_per_address\";q=3;w=60"));
    assert_eq!(exchange(&app, &wrong, "").await.status, 429);
    let answer = users(&app, ("X-API-Key", key)).await;
    assert_eq!((answer.status, remaining(&answer)), (200, 99));
}

#[actix_web::test]
async fn a_key_becomes_a_short_lived_token_that_verifies_like_any_other() {
    let app = TestApp::start().await;
    let (id, key) = demo_key(&app).await;
    let answer = exchange(&app, &key, "&scope=read").await;
    let token = answer.access_token();
    assert_eq!(remaining(&answer), 99);
    let body = answer.json();
    assert_eq!(body["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!(
        (&body["token_type"], &body["expires_in"], &body["scope"]),
        (&json!("Bearer"), &json!(900), &json!("read"))
    );
    let claims = part(&token, 1);
    assert_eq!(claims["sub"], app.demo().0);
    assert_eq!((&claims["client_id"], &claims["aud"]), (&json!(id), &json!(RESOURCE)));
    assert!(app.is_active(&token).await);
    assert_eq!(exchange(&app, &key, "").await.json()["scope"], "read write");
    let requested =
        format!("&requested_token_type=urn:ietf:params:oauth:token-type:access_token&resource={RESOURCE}");
    exchange(&app, &key, &requested).await.access_token();
}

#[actix_web::test]
async fn an_exchange_gives_nothing_beyond_the_key() {
    let app = TestApp::start().await;
    let (_, key) = demo_key(&app).await;
    let (_, keeper) = users_key(&app, "users:read").await;
    let admin = format!("&resource={ISSUER}/admin");
    let own = format!("&resource={ISSUER}/users");
    let two = format!("&resource={RESOURCE}&resource={ISSUER}/users");
    for (key, more, error) in [
        (&key, "&scope=read+admin", "invalid_scope"),
        (&key, "&scope=signet:keys", "invalid_scope"),
        (&key, "&resource=https://other.example", "invalid_target"),
        (&key, admin.as_str(), "invalid_target"),
        (&key, two.as_str(), "invalid_target"),
        (&key, "&audience=shop", "invalid_target"),
        (&keeper, own.as_str(), "invalid_target"),
        (&keeper, "", "invalid_target"),
        (&key, "&requested_token_type=urn:ietf:params:oauth:token-type:refresh_token", "invalid_request"),
        (&key, "&actor_token=x&actor_token_type=y", "invalid_request"),
        (&"sk_wrong".to_owned(), "", "invalid_request"),
    ] {
        exchange(&app, key, more).await.refused(400, error);
    }
    let other_type = format!(
        "grant_type={EXCHANGE}&subject_token={key}&subject_token_type=urn:ietf:params:oauth:token-type:jwt"
    );
    app.send(form("/oauth2/token", &other_type)).await.refused(400, "invalid_request");
    app.send(form("/oauth2/token", &format!("grant_type={EXCHANGE}"))).await.refused(400, "invalid_request");
    let body = format!("grant_type={EXCHANGE}&subject_token={key}&subject_token_type={API_KEY}");
    let wrong = form("/oauth2/token", &body).insert_header(basic((app.demo().0, "wrong")));
    app.send(wrong).await.refused(401, "invalid_client");
    let right = form("/oauth2/token", &body).insert_header(basic(app.demo()));
    app.send(right).await.access_token();
}

#[actix_web::test]
async fn what_its_client_may_no_longer_do_a_key_may_not_either() {
    let app = TestApp::start().await;
    let (_, key) = demo_key(&app).await;
    let path = format!("/admin/clients/{}", app.demo().0);
    app.administer(Method::PATCH, &path, Some(json!({ "scope": "read", "default_scope": "read" }))).await;
    exchange(&app, &key, "&scope=write").await.refused(400, "invalid_scope");
    assert_eq!(exchange(&app, &key, "").await.json()["scope"], "read");
    let (_, keeper) = users_key(&app, "users:read").await;
    let other = json!({ "scope": "users:write", "default_scope": "users:write" });
    app.administer(Method::PATCH, "/admin/clients/keeper", Some(other)).await;
    users(&app, ("X-API-Key", keeper)).await.refused(403, "insufficient_scope");
}

#[actix_web::test]
async fn a_revoked_key_ends_with_all_that_came_of_it() {
    let app = TestApp::start().await;
    let (id, key) = demo_key(&app).await;
    let token = exchange(&app, &key, "").await.access_token();
    let by_itself = app.demo_token().await;
    assert_eq!(app.administer(Method::DELETE, &format!("/admin/api-keys/{id}"), None).await.status, 204);
    exchange(&app, &key, "").await.refused(400, "invalid_request");
    assert!(!app.is_active(&token).await);
    assert!(app.is_active(&by_itself).await, "the client's own tokens go on");
    app.administer(Method::DELETE, &format!("/admin/api-keys/{id}"), None).await.refused(404, "not_found");
    for event in ["api_key.created", "api_key.revoked"] {
        assert!(app.audit_log().contains(event), "{event}");
    }
    assert!(!app.audit_log().contains(&key));
}

#[actix_web::test]
async fn a_deleted_client_takes_its_keys_along() {
    let app = TestApp::start().await;
    let (id, key) = users_key(&app, "users:read").await;
    assert_eq!(users(&app, ("X-API-Key", key.clone())).await.status, 200);
    app.administer(Method::DELETE, "/admin/clients/keeper", None).await;
    users(&app, ("X-API-Key", key)).await.refused(401, "invalid_token");
    let listed = app.administer(Method::GET, "/admin/api-keys", None).await.json();
    assert!(!listed.to_string().contains(&id));
}

#[actix_web::test]
async fn a_persons_key_counts_while_they_are_an_administrator_and_not_disabled() {
    let app = TestApp::start().await;
    let person = json!({ "name": "Alice", "email": "alice@example.com", "administrator": true });
    let person = app.administer(Method::POST, "/admin/users", Some(person)).await.json();
    let another = json!({ "name": "Root", "email": "root@example.com", "administrator": true });
    assert_eq!(app.administer(Method::POST, "/admin/users", Some(another)).await.status, 201, "one stays");
    let user_id = person["id"].as_str().unwrap();
    let resource = format!("{ISSUER}/users");
    let request = json!({ "name": "k", "user_id": user_id, "scope": "users:read", "resources": [resource] });
    let (_, key) = make(&app, request).await;
    let ask = || users(&app, ("X-API-Key", key.clone()));
    assert_eq!(ask().await.status, 200);
    let path = format!("/admin/users/{user_id}");
    app.administer(Method::PATCH, &path, Some(json!({ "administrator": false }))).await;
    ask().await.refused(403, "insufficient_scope");
    app.administer(Method::PATCH, &path, Some(json!({ "disabled": true }))).await;
    ask().await.refused(401, "invalid_token");
    app.administer(Method::DELETE, &path, None).await;
    assert_eq!(app.administer(Method::GET, "/admin/api-keys", None).await.json()["api_keys"], json!([]));
}

#[actix_web::test]
async fn keys_are_made_for_what_their_owners_may_do_and_no_more() {
    let app = TestApp::start().await;
    let client_id = app.demo().0.to_owned();
    let good = json!({ "name": "k", "client_id": client_id, "scope": "read", "resources": [RESOURCE] });
    let with = |name: &str, value: Value| {
        let mut request = good.clone();
        request[name] = value;
        request
    };
    for request in [
        with("name", json!("")),
        with("name", json!("a\nb")),
        with("client_id", json!("nobody")),
        with("client_id", Value::Null),
        with("user_id", json!("user_x")),
        with("scope", json!("")),
        with("scope", json!("other")),
        with("resources", json!([])),
        with("resources", json!(["https://other.example"])),
        with("resources", json!([format!("{ISSUER}/admin")])),
        with("resources", json!([format!("{ISSUER}/users")])),
        with("expires_at", json!("2001-01-01T00:00:00Z")),
        with("unheard_of", json!(1)),
    ] {
        let answer = app.administer(Method::POST, "/admin/api-keys", Some(request.clone())).await;
        assert_eq!(answer.status, 400, "{request}");
    }
    make(&app, good).await;
    // A client can't be called like a key.
    let like_a_key =
        json!({ "client_id": "key_x", "client_name": "K", "scope": "read", "resources": [RESOURCE] });
    app.administer(Method::POST, "/admin/clients", Some(like_a_key)).await.refused(400, "invalid_request");
}

#[actix_web::test]
async fn keys_are_listed_without_their_secrets_and_with_their_last_use() {
    let app = TestApp::start().await;
    let (id, key) = demo_key(&app).await;
    demo_key(&app).await;
    exchange(&app, &key, "").await.access_token();
    let answer = app.administer(Method::GET, "/admin/api-keys?limit=1", None).await;
    let next = answer.json()["next"].as_str().unwrap().to_owned();
    let second = app.administer(Method::GET, &format!("/admin/api-keys?limit=1&after={next}"), None).await;
    let both = format!("{}{}", answer.json(), second.json());
    assert!(both.contains(&id) && !both.contains("sk_") && !both.contains("hash"));
    assert!(both.contains(r#""last_used_at":"20"#) && both.contains(r#""last_used_at":null"#), "{both}");
    let token = app.token(app.admin(), "scope=signet:clients").await.access_token();
    let request = TestRequest::get().uri("/admin/api-keys").insert_header(crate::test_app::bearer(&token));
    app.send(request).await.refused(403, "insufficient_scope");
}

#[actix_web::test]
async fn a_key_that_ends_soon_gives_no_longer_token() {
    let app = TestApp::start().await;
    let end = chrono::DateTime::from_timestamp(app.now() + 120, 0).unwrap();
    let request = json!({ "name": "k", "client_id": app.demo().0, "scope": "read", "resources": [RESOURCE], "expires_at": end });
    let (_, key) = make(&app, request).await;
    assert_eq!(exchange(&app, &key, "").await.json()["expires_in"], 120);
    app.pass(Duration::from_mins(2)).await;
    exchange(&app, &key, "").await.refused(400, "invalid_request");
}
