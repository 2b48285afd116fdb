//! What people may open to programs that no administrator looks at: the `people_scope` of a resource, and no more.

use actix_web::http::Method;
use serde_json::json;
use signet::clients::{GrantType, Registrant, Registration};
use signet::config::Config;
use signet::oauth::{ClientId, Scope};

use crate::browser::{Browser, CALLBACK, ada, encoded, parameter, redeem, register, request, shop, text};
use crate::shell::{act, signed_in};
use crate::test_app::{Answer, RESOURCE, TestApp, basic, form, part};

const ADA: &str = "ada@example.com";

/// People may open `scope` of the resource, which knows `read` and `write`.
fn open(scope: &'static str) -> impl FnOnce(&mut Config) {
    move |config| config.resources[0].people_scope = Scope::parse(scope).unwrap()
}

/// Ada's own application, registered for more than people may open by now.
async fn application(app: &TestApp) -> signet::clients::Registered {
    let owner = ada(app).await.id;
    let registration = Registration {
        client_id: Some(ClientId::parse("notes").unwrap()),
        grant_types: Some(vec![GrantType::AuthorizationCode, GrantType::RefreshToken]),
        registrant: Registrant::Person(owner),
        ..shop()
    };
    register(app, registration).await
}

async fn exchange(app: &TestApp, key: &str, more: &str) -> Answer {
    let kind = "urn:ietf:params:oauth:grant-type:token-exchange";
    let body = format!("grant_type={kind}&subject_token={key}&resource={RESOURCE}{more}");
    app.send(form(
        "/oauth2/token",
        &format!("{body}&subject_token_type=urn:signet:params:oauth:token-type:api_key"),
    ))
    .await
}

#[actix_web::test]
async fn the_demonstration_can_be_opened_and_a_resource_of_ones_own_can_not_until_it_says_so() {
    let defaults = signet::config::load(&signet::config::Sources::default()).unwrap();
    assert_eq!(defaults.resources[0].people_scope.as_str(), "read write");
    let env = |text: &str| vec![("SIGNET_RESOURCES".to_owned(), text.to_owned())];
    let given =
        |text: &str| signet::config::load(&signet::config::Sources { env: env(text), ..Default::default() });
    let own = given("[{uri = \"https://a.example\", scope = \"read write\"}]").unwrap();
    assert!(own.resources[0].people_scope.is_empty());
    let wrong =
        given("[{uri = \"https://a.example\", scope = \"read\", people_scope = \"write\"}]").unwrap_err();
    assert!(wrong.to_string().contains("people_scope"), "{wrong}");
}

#[actix_web::test]
async fn the_portal_offers_what_people_may_open() {
    let app = TestApp::start_with(open("read")).await;
    ada(&app).await;
    let mut browser = signed_in(&app, ADA, "/account").await;
    for path in ["/account/api-keys", "/account/applications"] {
        let page = text(&browser.get(&app, path).await);
        assert!(page.contains("scope:read") && !page.contains("scope:write"), "{path}");
    }
    let forged = [("name", "backup"), ("scope:write", "yes")];
    assert_eq!(act(&mut browser, &app, "/account/api-keys", &forged).await.status, 400);
    let app = app.restart(open("")).await;
    let page = text(&browser.get(&app, "/account/api-keys").await);
    assert!(page.contains("nothing that an API key could be for"), "{page}");
    let page = text(&browser.get(&app, "/account/applications").await);
    assert!(page.contains("scope:openid") && !page.contains("scope:read"), "{page}");
}

#[actix_web::test]
async fn a_persons_key_permits_what_people_may_open_now() {
    let app = TestApp::start().await;
    let user = ada(&app).await.id;
    let key = json!({ "name": "k", "user_id": user, "scope": "read write", "resources": [RESOURCE] });
    let made = app.administer(Method::POST, "/admin/api-keys", Some(key.clone())).await;
    let secret = made.json()["api_key"].as_str().unwrap().to_owned();
    assert_eq!(exchange(&app, &secret, "").await.json()["scope"], "read write");
    let app = app.restart(open("read")).await;
    assert_eq!(exchange(&app, &secret, "").await.json()["scope"], "read");
    exchange(&app, &secret, "&scope=write").await.refused(400, "invalid_scope");
    let refused = app.administer(Method::POST, "/admin/api-keys", Some(key)).await;
    refused.refused(400, "invalid_request");
    assert!(refused.json()["error_description"].as_str().unwrap().contains("people_scope"));
    // A client's key is bounded by what an administrator gave the client.
    let own = json!({ "name": "k", "client_id": app.demo().0, "scope": "write", "resources": [RESOURCE] });
    let made = app.administer(Method::POST, "/admin/api-keys", Some(own)).await;
    let secret = made.json()["api_key"].as_str().unwrap().to_owned();
    assert_eq!(exchange(&app, &secret, "").await.json()["scope"], "write");
}

#[actix_web::test]
async fn a_persons_application_asks_people_for_what_they_may_open_and_an_administrators_for_its_own() {
    let app = TestApp::start_with(open("read")).await;
    application(&app).await;
    register(&app, shop()).await;
    let mut browser = Browser::default();
    for (client, scope, admitted) in [
        ("notes", "openid read", true),
        ("notes", "openid write", false),
        ("notes", "read write", false),
        ("shop", "openid write", true),
    ] {
        let answer = browser.allow(&app, &request(&[("client_id", client), ("scope", scope)])).await;
        if admitted {
            assert!(parameter(&answer, "code").is_some(), "{client} {scope}");
        } else {
            assert!(text(&answer).contains("invalid_scope"), "{client} {scope}: {}", text(&answer));
        }
    }
    // What it was registered for by default is cut down to what people may open.
    let whole = request(&[("client_id", "notes"), ("scope", "")]);
    assert!(parameter(&browser.allow(&app, &whole).await, "code").is_some());
}

/// Two resources that know the same words, of which people may open only the first.
fn guarded(config: &mut Config) {
    let mut vault = config.resources[0].clone();
    vault.uri = signet::oauth::Resource::parse(VAULT).unwrap();
    vault.people_scope = Scope::default();
    vault.scope = Scope::parse("write").unwrap();
    config.resources.push(vault);
}

const VAULT: &str = "https://vault.example";

/// The token's `aud` and `scope`.
fn aimed(tokens: &serde_json::Value) -> (serde_json::Value, serde_json::Value) {
    let token = tokens["access_token"].as_str().unwrap();
    let claims = part(token, 1);
    (claims["aud"].clone(), claims["scope"].clone())
}

#[actix_web::test]
async fn what_one_resource_lends_another_keeps_back_from_a_token_for_both() {
    let app = TestApp::start_with(guarded).await;
    let owner = ada(&app).await.id;
    let resources = [RESOURCE, VAULT].map(|uri| signet::oauth::Resource::parse(uri).unwrap()).to_vec();
    let registration = |registrant| Registration {
        client_id: Some(ClientId::parse("notes").unwrap()),
        grant_types: Some(vec![GrantType::AuthorizationCode, GrantType::RefreshToken]),
        resources: resources.clone(),
        registrant,
        ..shop()
    };
    let client = register(&app, registration(Registrant::Person(owner))).await;
    let both = format!("&{}", encoded(&[("resource", RESOURCE), ("resource", VAULT)]));
    let mut browser = Browser::default();
    let asked = |scope: &str| request(&[("client_id", "notes"), ("scope", scope)]) + &both;
    let refused = browser.allow(&app, &asked("openid write")).await;
    assert!(text(&refused).contains("invalid_scope"), "{}", text(&refused));
    // What only the first one knows is for it alone.
    let answer = browser.allow(&app, &asked("openid offline_access read")).await;
    let tokens = redeem(&app, &client, &parameter(&answer, "code").expect("a code")).await;
    assert_eq!(aimed(&tokens), (json!(RESOURCE), json!("openid offline_access read")));

    // The code was given while both lent it: neither it nor its refresh token gives more than they lend now.
    let app = app.restart(|config| config.resources[1].people_scope = Scope::parse("write").unwrap()).await;
    let answer = browser.allow(&app, &asked("openid offline_access read write")).await;
    let tokens = redeem(&app, &client, &parameter(&answer, "code").expect("a code")).await;
    assert_eq!(aimed(&tokens).1, "openid offline_access read write");
    let answer = browser.allow(&app, &asked("openid offline_access read write")).await;
    let code = parameter(&answer, "code").expect("a code");
    let app = app.restart(|config| config.resources[1].people_scope = Scope::default()).await;
    let secret = client.client_secret.as_ref().unwrap().expose().to_owned();
    let redeemed = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    ];
    let redeemed = encoded(&redeemed) + &both;
    let refreshed =
        format!("grant_type=refresh_token&refresh_token={}{both}", tokens["refresh_token"].as_str().unwrap());
    for body in [redeemed, refreshed] {
        let answer = app.send(form("/oauth2/token", &body).insert_header(basic(("notes", &secret)))).await;
        let told = aimed(&answer.json());
        assert_eq!(told, (json!(RESOURCE), json!("openid offline_access read")), "{body}");
    }
}

#[actix_web::test]
async fn a_token_that_opens_no_resource_is_for_none() {
    let app = TestApp::start_with(open("")).await;
    let client = application(&app).await;
    let mut browser = Browser::default();
    let asked = |scope: &str| request(&[("client_id", "notes"), ("scope", scope)]);
    let own = json!("http://127.0.0.1:8080/oauth2/userinfo");
    let answer = browser.allow(&app, &asked("openid offline_access")).await;
    let tokens = redeem(&app, &client, &parameter(&answer, "code").expect("a code")).await;
    assert_eq!(aimed(&tokens), (own.clone(), json!("openid offline_access")));
    let token = tokens["access_token"].as_str().unwrap().to_owned();
    let userinfo = actix_web::test::TestRequest::get().uri("/oauth2/userinfo");
    let answer = app.send(userinfo.insert_header(crate::test_app::bearer(&token))).await;
    assert_eq!(answer.status, 200, "it opens what it is for");
    let secret = client.client_secret.as_ref().unwrap().expose();
    let body =
        format!("grant_type=refresh_token&refresh_token={}", tokens["refresh_token"].as_str().unwrap());
    let refresh = |body: &str| form("/oauth2/token", body).insert_header(basic(("notes", secret)));
    app.send(refresh(&format!("{body}&resource={RESOURCE}"))).await.refused(400, "invalid_target");
    let tokens = app.send(refresh(&body)).await.json();
    assert_eq!(aimed(&tokens).0, own);
    // The person is asked for what was not allowed yet, whichever resource it is for.
    let page = text(&browser.get(&app, &asked("openid email")).await);
    assert!(page.contains("name=\"decision\""), "{page}");
}

#[actix_web::test]
async fn what_people_may_open_no_more_a_refreshed_token_has_no_more() {
    let app = TestApp::start().await;
    let client = application(&app).await;
    let mut browser = Browser::default();
    let asked = request(&[("client_id", "notes"), ("scope", "openid offline_access read write")]);
    let code = parameter(&browser.allow(&app, &asked).await, "code").expect("a code");
    let tokens = redeem(&app, &client, &code).await;
    assert_eq!(tokens["scope"], "openid offline_access read write");
    let app = app.restart(open("read")).await;
    let secret = client.client_secret.as_ref().unwrap().expose();
    let body =
        format!("grant_type=refresh_token&refresh_token={}", tokens["refresh_token"].as_str().unwrap());
    let answer = app.send(form("/oauth2/token", &body).insert_header(basic(("notes", secret)))).await;
    assert_eq!(answer.json()["scope"], "openid offline_access read", "{CALLBACK}");
}
