//! The document of the standard paths, `/oauth2/token`, `/v1/users` and `/v1/data`: its own examples as requests, unchanged
//! but for host, id and secret, and then each of its promises in its order.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::{Value, json};
use signet::clients::GrantType;
use signet::oauth::Scope;

use crate::browser::{Browser, CHALLENGE, PASSWORD, ada, encoded, location, parameter, text};
use crate::grants_fixture::VERIFIER;
use crate::resource_server_fixture::ResourceServer;
use crate::shell::{act, done, shown_secrets, signed_in};
use crate::test_app::{Answer, ISSUER, RESOURCE, TestApp, bearer, form, part};

const REDIRECT_URI: &str = "https://app.example.com/callback";

/// "POST /oauth2/token", as the document writes it.
fn token_request(client_id: &str, client_secret: &str) -> TestRequest {
    let body = format!("grant_type=client_credentials&client_id={client_id}&client_secret={client_secret}");
    form("/oauth2/token", &body).insert_header(("Host", "api.example.com"))
}

/// A token by the document's own request.
async fn token(app: &TestApp) -> String {
    let (client_id, client_secret) = app.demo();
    app.send(token_request(client_id, client_secret)).await.access_token()
}

/// "GET /v1/users" with "Authorization: Bearer".
fn users(token: &str) -> TestRequest {
    TestRequest::get()
        .uri("/v1/users")
        .insert_header(("Host", "api.example.com"))
        .insert_header(bearer(token))
}

/// An API key for `resource`.
async fn api_key(app: &TestApp, (client_id, scope, resource): (&str, &str, &str)) -> String {
    let new = json!({ "name": "legacy", "client_id": client_id, "scope": scope, "resources": [resource] });
    let answer = app.administer(Method::POST, "/admin/api-keys", Some(new)).await;
    answer.json()["api_key"].as_str().expect("a key").to_owned()
}

#[actix_web::test]
async fn the_client_credentials_flow_runs_and_its_token_opens_v1_users() {
    let app = TestApp::start().await;
    let (client_id, client_secret) = app.demo();
    let answer = app.send(token_request(client_id, client_secret)).await;
    let token = answer.access_token();
    let shape =
        json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600, "scope": "read write" });
    assert_eq!(answer.json(), shape, "RFC 6749, section 5.1");
    let api = ResourceServer::beside(&app);
    let answer = api.send(users(&token)).await;
    assert_eq!((answer.status, &answer.json()[0]["name"]), (200, &json!("Alice Wonderland")));
}

/// Signet serves `/v1/users` itself too, for the accounts that it keeps.
#[actix_web::test]
async fn v1_users_of_the_service_itself_opens_to_a_client_that_may_keep_them() {
    let app = TestApp::start().await;
    let ada = ada(&app).await;
    let resource = format!("{ISSUER}/users");
    let keeper = json!({ "client_name": "Directory", "scope": "users:read", "resources": [resource] });
    let registered = app.administer(Method::POST, "/admin/clients", Some(keeper)).await.json();
    let text = |name: &str| registered[name].as_str().unwrap().to_owned();
    let answer = app.send(token_request(&text("client_id"), &text("client_secret"))).await;
    let answer = app.send(users(&answer.access_token())).await;
    assert_eq!((answer.status, &answer.json()[0]["id"]), (200, &json!(ada.id.as_str())));
}

#[actix_web::test]
async fn the_authorization_code_flow_runs_with_what_the_developer_portal_gave() {
    let app = TestApp::start().await;
    ada(&app).await;
    let api = ResourceServer::beside(&app);
    // "You can obtain these from your developer portal."
    let portal = "/account/applications";
    let mut developer = signed_in(&app, "ada@example.com", portal).await;
    let application = [("client_name", "Web"), ("redirect_uris", REDIRECT_URI), ("scope:read", "yes")];
    let answer = act(&mut developer, &app, portal, &application).await;
    let client_id = location(&answer).rsplit('/').next().unwrap().to_owned();
    let client_secret = shown_secrets(&done(&mut developer, &app, &answer).await).remove(0);
    // "where a user grants your application permission to access their data"
    let query = encoded(&[
        ("response_type", "code"),
        ("client_id", &client_id),
        ("redirect_uri", REDIRECT_URI),
        ("state", "xyz"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    let mut browser = Browser::default();
    let answer = browser.allow(&app, &format!("/oauth2/authorize?{query}")).await;
    assert_eq!(parameter(&answer, "state").as_deref(), Some("xyz"));
    let body = encoded(&[
        ("grant_type", "authorization_code"),
        ("code", &parameter(&answer, "code").unwrap()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
        ("client_id", &client_id),
        ("client_secret", &client_secret),
    ]);
    let token = app.send(form("/oauth2/token", &body)).await.access_token();
    assert_eq!(api.send(users(&token)).await.status, 200);
    // Such an application speaks for people, never for itself, unless the operator wants that.
    app.send(token_request(&client_id, &client_secret)).await.refused(400, "unauthorized_client");
    assert!(browser.cookies.values().all(|value| !value.contains(PASSWORD)));
}

#[actix_web::test]
async fn the_client_credentials_flow_runs_with_what_the_developer_portal_gave() {
    let app = TestApp::start_with(|config| {
        config.people.client_credentials = true;
        config.resources[0].people_scope = Scope::parse("read").unwrap();
    })
    .await;
    ada(&app).await;
    let portal = "/account/applications";
    let mut developer = signed_in(&app, "ada@example.com", portal).await;
    let mut register = async |more: &[(&str, &str)]| {
        let members = [&[("client_name", "Job"), ("redirect_uris", REDIRECT_URI)], more].concat();
        let answer = act(&mut developer, &app, portal, &members).await;
        let client_id = location(&answer).rsplit('/').next().unwrap().to_owned();
        let page = done(&mut developer, &app, &answer).await;
        (client_id, page)
    };
    // "You can obtain these from your developer portal."
    let (client_id, page) = register(&[("scope:read", "yes")]).await;
    let client_secret = shown_secrets(&page).remove(0);
    assert!(text(&page).contains("grant_type=client_credentials"), "the sample is there to copy");
    let answer = app.send(token_request(&client_id, &client_secret)).await;
    let token = answer.access_token();
    assert_eq!(answer.json()["scope"], "read");
    // Nobody's but its own (RFC 9068, section 2.2), and no more than people could let it have.
    let claims = part(&token, 1);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(client_id), &json!(client_id)));
    assert_eq!(claims["aud"], json!(RESOURCE));
    assert_eq!(ResourceServer::beside(&app).send(users(&token)).await.status, 200);
    for beyond in ["write", "openid", "signet:keys"] {
        let answer = app.token((&client_id, &client_secret), &format!("scope={beyond}")).await;
        answer.refused(400, "invalid_scope");
    }
    let other = format!("resource={ISSUER}/users");
    app.token((&client_id, &client_secret), &other).await.refused(400, "invalid_target");
    // One that can't keep a secret, or is for no API, has nothing of its own.
    for more in [&[("scope:read", "yes"), ("public", "yes")][..], &[("scope:openid", "yes")]] {
        let (client_id, page) = register(more).await;
        assert!(!text(&page).contains("grant_type=client_credentials"));
        let client = app.app.state.services.clients.find(&client_id).unwrap();
        assert!(!client.may(GrantType::ClientCredentials));
    }
    // It ends with its person.
    let ada = app.app.state.services.accounts.named("ada@example.com").await.unwrap().unwrap();
    let disable = Some(json!({ "disabled": true }));
    assert_eq!(app.administer(Method::PATCH, &format!("/admin/users/{ada}"), disable).await.status, 200);
    assert!(!app.is_active(&token).await);
    app.send(token_request(&client_id, &client_secret)).await.refused(401, "invalid_client");
}

#[actix_web::test]
async fn what_an_application_has_of_its_own_is_what_people_can_let_it_have_now() {
    let app = TestApp::start_with(|config| config.people.client_credentials = true).await;
    ada(&app).await;
    let portal = "/account/applications";
    let mut developer = signed_in(&app, "ada@example.com", portal).await;
    let application = [("client_name", "Job"), ("redirect_uris", REDIRECT_URI), ("scope:read", "yes")];
    let answer = act(&mut developer, &app, portal, &application).await;
    let client_id = location(&answer).rsplit('/').next().unwrap().to_owned();
    let client_secret = shown_secrets(&done(&mut developer, &app, &answer).await).remove(0);
    // What was promised to it is not taken back by the setting.
    let app = app.restart(|config| config.people.client_credentials = false).await;
    app.send(token_request(&client_id, &client_secret)).await.access_token();
    let narrower = Scope::parse("write").unwrap();
    let app = app.restart(|config| config.resources[0].people_scope = narrower).await;
    app.token((&client_id, &client_secret), "scope=read").await.refused(400, "invalid_scope");
}

#[actix_web::test]
async fn an_api_key_is_taken_in_its_own_header_and_where_it_is_wanted_in_the_query() {
    let app = TestApp::start().await;
    let key = api_key(&app, (app.demo().0, "read", RESOURCE)).await;
    let api = ResourceServer::beside(&app);
    let data = || TestRequest::get().uri("/v1/data").insert_header(("Host", "api.example.com"));
    // "Include your API key in the X-API-Key header"
    let answer = api.send(data().insert_header(("X-API-Key", key.clone()))).await;
    assert_eq!((answer.status, &answer.json()["data"]), (200, &json!([1, 2, 3])));
    // "or as a query parameter": it ends up in logs there, so an operator has to want it. This resource server does.
    let in_query = |key: &str| api.send(TestRequest::get().uri(&format!("/v1/data?api_key={key}")));
    assert_eq!(in_query(&key).await.status, 200);
    // RFC 9110, section 15.5.2: a 401 says how to come back. Without an error code for whoever brought nothing (RFC 6750, section 3.1).
    let wrong = format!("Bearer realm=\"{RESOURCE}\", error=\"invalid_token\"");
    for (answer, challenge) in [
        (api.send(data()).await, format!("Bearer realm=\"{RESOURCE}\"")),
        (api.send(data().insert_header(("X-API-Key", "YOUR_API_KEY"))).await, wrong.clone()),
        (in_query("YOUR_API_KEY").await, wrong),
    ] {
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), Some(&*challenge), "{answer:?}");
        let Value::Object(members) = answer.json() else { panic!("{answer:?}") };
        assert_eq!(members.keys().collect::<Vec<_>>(), ["error", "message"]);
    }
}

/// The service's own `/v1/users` takes keys in the query only where `api_keys.in_query` is on.
#[actix_web::test]
async fn an_api_key_opens_v1_users_of_the_service_itself() {
    let app = TestApp::start().await;
    let resource = format!("{ISSUER}/users");
    let keeper = json!({ "client_id": "keeper", "client_name": "Keeper", "scope": "users:read", "resources": [resource] });
    assert_eq!(app.administer(Method::POST, "/admin/clients", Some(keeper)).await.status, 201);
    let key = api_key(&app, ("keeper", "users:read", &resource)).await;
    let own = TestRequest::get().uri("/v1/users").insert_header(("X-API-Key", key.clone()));
    assert_eq!(app.send(own).await.status, 200);
    let in_query = || TestRequest::get().uri(&format!("/v1/users?api_key={key}"));
    app.send(in_query()).await.refused(401, "invalid_token");
    let app = app.restart(|config| config.api_keys.in_query = true).await;
    assert_eq!(app.send(in_query()).await.status, 200);
}

/// "Regularly rotate your API keys": a second one is made, and the first one ends.
#[actix_web::test]
async fn an_api_key_is_rotated_without_a_gap() {
    let app = TestApp::start().await;
    let (old, new) = (
        api_key(&app, (app.demo().0, "read", RESOURCE)).await,
        api_key(&app, (app.demo().0, "read", RESOURCE)).await,
    );
    let api = ResourceServer::beside(&app);
    let data =
        |key: &str| api.send(TestRequest::get().uri("/v1/data").insert_header(("X-API-Key", key.to_owned())));
    assert_eq!((data(&old).await.status, data(&new).await.status), (200, 200));
    let keys = app.administer(Method::GET, "/admin/api-keys", None).await.json();
    let prefix = |key: &Value| key["id"].as_str().unwrap().to_owned();
    let ids: Vec<String> =
        keys["api_keys"].as_array().unwrap_or_else(|| panic!("{keys}")).iter().map(prefix).collect();
    assert_eq!(ids.len(), 2);
    let mut revoked = 0;
    for id in ids {
        // Which of the two is the old one, its token says: it speaks for the key.
        let answer = data(&old).await.json();
        if answer["read_by"] == id {
            assert_eq!(
                app.administer(Method::DELETE, &format!("/admin/api-keys/{id}"), None).await.status,
                204
            );
            revoked += 1;
            break;
        }
    }
    assert_eq!(revoked, 1);
    app.pass(Duration::from_secs(10)).await;
    assert_eq!((data(&old).await.status, data(&new).await.status), (401, 200));
}

#[actix_web::test]
async fn each_trouble_has_an_answer_that_says_which_it_is() {
    let app = TestApp::start().await;
    let api = ResourceServer::beside(&app);
    let (client_id, client_secret) = app.demo();
    // "Verify that your client_id and client_secret are correct."
    for (id, secret) in [(client_id, "YOUR_CLIENT_SECRET"), ("YOUR_CLIENT_ID", client_secret)] {
        app.send(token_request(id, secret)).await.refused(401, "invalid_client");
    }
    // "Check that the Authorization header is correctly formatted with the Bearer scheme."
    let token = token(&app).await;
    let with =
        |value: String| api.send(TestRequest::get().uri("/v1/users").insert_header(("Authorization", value)));
    assert_eq!(with(format!("bearer {token}")).await.status, 200, "schemes have no letter case");
    for wrong in [token.clone(), format!("Token {token}"), "Bearer".into(), "Bearer YOUR_ACCESS_TOKEN".into()]
    {
        let answer = with(wrong.clone()).await;
        assert!(matches!(answer.status, 400 | 401), "{wrong}");
        assert!(challenge(&answer).starts_with("Bearer"), "{answer:?}");
    }
    // "Limit the scope of permissions granted to your application": and no more is let through.
    let narrow = app.token((client_id, client_secret), "scope=write").await.access_token();
    let answer = api.send(users(&narrow)).await;
    assert_eq!(answer.status, 403);
    assert!(challenge(&answer).contains("insufficient_scope"));
    // "Ensure your access token is still valid and has not expired."
    app.pass(Duration::from_mins(61)).await;
    let answer = api.send(users(&token)).await;
    assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_token")));
    // "Confirm you are using the correct API endpoint and domain."
    app.send(TestRequest::post().uri("/oauth2/tokens")).await.refused(404, "not_found");
    assert_eq!(app.send(TestRequest::get().uri("/oauth2/token")).await.header("allow"), Some("POST"));
    // A token of another domain opens nothing here.
    let other = app.admin_token().await;
    assert_eq!(api.send(users(&other)).await.status, 401);
}

#[track_caller]
fn challenge(answer: &Answer) -> &str {
    answer.header("www-authenticate").expect("a challenge")
}
