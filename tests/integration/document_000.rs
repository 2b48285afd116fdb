//! The older document that speaks of `/api/authorize.php`, `/api/token.php` and `/api/userinfo.php`: its own samples as
//! requests, unchanged but for host, id and secret, and then each of its promises in its order.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::{Value, json};
use signet::config::Config;
use signet::users::{AccountChange, Email};

use crate::browser::{Browser, PASSWORD, ada, encoded, location, parameter, text};
use crate::grants_fixture::register;
use crate::resource_server_fixture::ResourceServer;
use crate::shell::{act, signed_in};
use crate::test_app::{Answer, TestApp, bearer, form};

/// As the document has it.
const REDIRECT_URI: &str = "https://example.com/callback";
/// Where the page with the document's script is.
const ORIGIN: &str = "https://example.com";

/// "Before you can use our API, you need to register your application: `client_id` and `client_secret`".
struct Site {
    app: TestApp,
    client_id: String,
    client_secret: String,
}

impl Site {
    async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    async fn open_with(settings: impl FnOnce(&mut Config)) -> Self {
        let app = TestApp::start_with(settings).await;
        ada(&app).await;
        let registration = json!({
            "client_name": "Your application",
            "redirect_uris": [REDIRECT_URI],
            "allowed_origins": [ORIGIN],
            // The document knows no PKCE: an operator exempts its clients by name.
            "require_pkce": false,
        });
        let (client_id, client_secret) = register(&app, registration).await;
        Self { app, client_id, client_secret }
    }

    /// Step 1, as PHP's `http_build_query` and the script's `URLSearchParams` write it.
    fn authorization_url(&self) -> String {
        let members = [
            ("client_id", self.client_id.as_str()),
            ("redirect_uri", REDIRECT_URI),
            ("response_type", "code"),
        ];
        format!("/api/authorize.php?{}", encoded(&members))
    }

    /// The code that a person lets the application have.
    async fn code(&self) -> String {
        let answer = Browser::default().allow(&self.app, &self.authorization_url()).await;
        parameter(&answer, "code").expect("a code")
    }

    /// Step 3's parameters, less the one that is named.
    fn exchange_without(&self, code: &str, left_out: &str) -> TestRequest {
        let mut members =
            vec![("code", code), ("client_id", &self.client_id), ("client_secret", &self.client_secret)];
        members.retain(|(name, _)| *name != left_out);
        form("/api/token.php", &encoded(&members))
    }

    /// Step 3.
    async fn exchange(&self, code: &str) -> Answer {
        self.app.send(self.exchange_without(code, "")).await
    }

    async fn token(&self) -> String {
        self.exchange(&self.code().await).await.access_token()
    }

    /// Step 4.
    async fn userinfo(&self, token: &str) -> Answer {
        self.app.send(TestRequest::get().uri("/api/userinfo.php").insert_header(bearer(token))).await
    }
}

/// "API errors are returned with appropriate HTTP status codes and a JSON response."
#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str) {
    answer.refused(status, error);
    let Value::Object(members) = answer.json() else { panic!("{answer:?}") };
    assert_eq!(members.keys().collect::<Vec<_>>(), ["error", "error_description"]);
    assert!(members["error_description"].as_str().is_some_and(|text| !text.is_empty()));
}

#[actix_web::test]
async fn the_php_sample_runs() {
    let site = Site::open().await;
    let mut browser = Browser::default();
    // "The user will be prompted to log in (if not already) and grant permission to your application."
    let page = browser.get(&site.app, &site.authorization_url()).await;
    assert!(text(&page).contains("name=\"password\""));
    let next = location(&browser.sign_in(&site.app, &page, ("ada@example.com", PASSWORD)).await);
    let page = browser.get(&site.app, &next).await;
    assert!(text(&page).contains("Your application") && text(&page).contains("name=\"decision\""));
    // "the user will be redirected to your specified redirect URI with an authorization code"
    let answer = browser.decide(&site.app, &page, "allow").await;
    assert!(location(&answer).starts_with("https://example.com/callback?code="));
    let answer = site.exchange(&parameter(&answer, "code").unwrap()).await;
    let token = answer.access_token();
    assert_eq!(
        answer.json(),
        json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 }),
        "these three members and no others"
    );
    let person =
        json!({ "username": "ada@example.com", "email": "ada@example.com", "full_name": "Ada Lovelace" });
    let answer = site.userinfo(&token).await;
    assert_eq!((answer.status, answer.json()), (200, person));
    // Whoever is logged in already and has granted permission is asked neither again.
    let again = browser.get(&site.app, &site.authorization_url()).await;
    assert!(parameter(&again, "code").is_some());
}

#[actix_web::test]
async fn the_python_sample_runs() {
    let site = Site::open().await;
    // It writes the redirect URI into the query as it stands, like the document's own example of a request.
    let url = format!(
        "/api/authorize.php?client_id={}&redirect_uri={REDIRECT_URI}&response_type=code",
        site.client_id
    );
    let code = parameter(&Browser::default().allow(&site.app, &url).await, "code").unwrap();
    let requests = [("Accept-Encoding", "gzip, deflate"), ("Accept", "*/*"), ("Connection", "keep-alive")];
    let with_headers = |request: TestRequest| requests.into_iter().fold(request, TestRequest::insert_header);
    let token_json = site.app.send(with_headers(site.exchange_without(&code, ""))).await.json();
    let token = token_json["access_token"].as_str().expect("an access token");
    let get = TestRequest::get().uri("/api/userinfo.php").insert_header(bearer(token));
    let response = site.app.send(with_headers(get)).await;
    assert_eq!(response.status, 200);
    let user_data = response.json();
    let hello = format!("Hello, {}! Your email is {}", user_data["username"], user_data["email"]);
    assert_eq!(hello.replace('"', ""), "Hello, ada@example.com! Your email is ada@example.com");
    // "return "Authorization failed", 400": it looks whether there is an access token in what is always JSON.
    assert!(site.exchange(&code).await.json().get("access_token").is_none());
}

/// A site that knows people by what it reads here must not take one for another: the document has no word for an address
/// that nobody has verified.
#[actix_web::test]
async fn an_address_that_somebody_gave_themselves_is_nobody_to_the_site() {
    let site = Site::open_with(|config| config.people.change_email = true).await;
    let accounts = &site.app.app.state.services.accounts;
    let user = accounts.named("ada@example.com").await.unwrap().unwrap();
    let change = |email: &str, verified| AccountChange {
        email: Some(Email::parse(email).unwrap()),
        email_verified: verified,
        ..AccountChange::default()
    };
    let token = site.token().await;
    // As an operator registers people by default: the address is the operator's word, without a claim about its owner.
    accounts.update(&user, &change("ada@site.example", Some(false))).await.unwrap();
    assert_eq!(site.userinfo(&token).await.json()["username"], "ada@site.example");
    let mut browser = signed_in(&site.app, "ada@site.example", "/account/email").await;
    let victim = "victim@example.com";
    let answer = act(&mut browser, &site.app, "/account/email", &[("email", victim)]).await;
    assert_eq!(answer.status, 303, "{}", text(&answer));
    let told = json!({ "username": user, "email": null, "full_name": "Ada Lovelace" });
    assert_eq!(site.userinfo(&token).await.json(), told);
    // What leaves the address as it is changes nothing about that, until somebody has verified it.
    accounts.update(&user, &change(victim, None)).await.unwrap();
    assert_eq!(site.userinfo(&token).await.json(), told);
    accounts.update(&user, &change(victim, Some(true))).await.unwrap();
    assert_eq!(site.userinfo(&token).await.json()["email"], victim);
}

#[actix_web::test]
async fn the_javascript_sample_runs() {
    let site = Site::open().await;
    let answer = Browser::default().allow(&site.app, &site.authorization_url()).await;
    let code = parameter(&answer, "code").expect("urlParams.get('code')");
    // Step 3 goes "via your backend"; step 4 is asked by the page itself, after the browser has asked whether it may.
    let token = site.exchange(&code).await.access_token();
    for (origin, allowed) in [(ORIGIN, Some(ORIGIN)), ("https://evil.example", None)] {
        let preflight = TestRequest::with_uri("/api/userinfo.php")
            .method(Method::OPTIONS)
            .insert_header(("Origin", origin))
            .insert_header(("Access-Control-Request-Method", "GET"))
            .insert_header(("Access-Control-Request-Headers", "authorization"));
        let answer = site.app.send(preflight).await;
        assert_eq!(answer.header("access-control-allow-origin"), allowed);
        let headers = answer.header("access-control-allow-headers");
        assert_eq!(headers.is_some_and(|list| list.contains("Authorization")), allowed.is_some());
        let fetch = TestRequest::get().uri("/api/userinfo.php").insert_header(("Origin", origin));
        let answer = site.app.send(fetch.insert_header(bearer(&token))).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, allowed));
        assert_eq!(answer.json()["email"], "ada@example.com");
    }
}

#[actix_web::test]
async fn each_parameter_of_the_authorization_request_counts() {
    let site = Site::open().await;
    let mut browser = Browser::default();
    browser.allow(&site.app, &site.authorization_url()).await;
    let url = site.authorization_url();
    // "response_type: Must be set to code"
    for (response_type, error) in [("", "invalid_request"), ("token", "unsupported_response_type")] {
        let wrong = url.replace("response_type=code", &format!("response_type={response_type}"));
        let answer = browser.get(&site.app, &wrong).await;
        assert!(location(&answer).starts_with(&format!("{REDIRECT_URI}?error=")));
        assert_eq!(parameter(&answer, "error").as_deref(), Some(error));
    }
    // "redirect_uri: must match the one registered"; and nobody is sent anywhere for an unknown client.
    for wrong in [
        url.replace("callback", "callback2"),
        url.replace("https%3A", "http%3A"),
        url.replace(&site.client_id, "YOUR_CLIENT_ID"),
        url.replace("client_id=", "x="),
    ] {
        let answer = browser.get(&site.app, &wrong).await;
        assert_eq!((answer.status, answer.header("location")), (400, None), "{wrong}");
    }
    // One that says no leaves the page at the redirect URI without `code`, which is what the samples look for.
    let page = browser.get(&site.app, &format!("{url}&prompt=consent")).await;
    let answer = browser.decide(&site.app, &page, "deny").await;
    assert_eq!(
        (parameter(&answer, "code"), parameter(&answer, "error")),
        (None, Some("access_denied".into()))
    );
}

#[actix_web::test]
async fn each_parameter_of_the_token_request_is_required() {
    let site = Site::open().await;
    let code = site.code().await;
    // "invalid_request | 400 | The request is missing required parameters"
    for name in ["code", "client_id", "client_secret"] {
        let answer = site.app.send(site.exchange_without(&code, name)).await;
        refused(&answer, 400, "invalid_request");
        assert_eq!(answer.json()["error_description"], format!("{name} is missing"));
    }
    refused(&site.app.send(form("/api/token.php", "")).await, 400, "invalid_request");
    let nobody = form("/api/token.php", &format!("code={code}&client_id=nobody"));
    refused(&site.app.send(nobody).await, 400, "invalid_request");
    // The code is still good: none of these has spent it.
    site.exchange(&code).await.access_token();
    // Only POST.
    assert_eq!(site.app.send(TestRequest::get().uri("/api/token.php")).await.status, 405);
}

#[actix_web::test]
async fn each_error_code_has_its_status() {
    let site = Site::open().await;
    let code = site.code().await;
    // "invalid_client | 401 | Client authentication failed"
    let (id, secret) = (site.client_id.as_str(), site.client_secret.as_str());
    for (id, secret) in [(id, "YOUR_CLIENT_SECRET"), ("YOUR_CLIENT_ID", secret)] {
        let body = encoded(&[("code", &code), ("client_id", id), ("client_secret", secret)]);
        refused(&site.app.send(form("/api/token.php", &body)).await, 401, "invalid_client");
    }
    // "invalid_code | 400 | The authorization code is invalid or expired"
    refused(&site.exchange("AUTHORIZATION_CODE").await, 400, "invalid_code");
    let token = site.exchange(&code).await.access_token();
    refused(&site.exchange(&code).await, 400, "invalid_code");
    refused(&site.userinfo(&token).await, 401, "invalid_token");
    let late = site.code().await;
    site.app.pass(Duration::from_mins(1)).await;
    refused(&site.exchange(&late).await, 400, "invalid_code");
    // "invalid_token | 401 | The access token is invalid or expired"
    let token = site.token().await;
    for wrong in ["ACCESS_TOKEN", &token[1..], &format!("{token}x")] {
        refused(&site.userinfo(wrong).await, 401, "invalid_token");
    }
    let anonymous = TestRequest::get().uri("/api/userinfo.php");
    refused(&site.app.send(anonymous).await, 401, "invalid_token");
    assert_eq!(site.userinfo(&token).await.status, 200);
    site.app.pass(Duration::from_hours(1)).await;
    refused(&site.userinfo(&token).await, 401, "invalid_token");
}

#[actix_web::test]
async fn too_many_requests_are_told_the_limit_and_when_to_come_back() {
    let site = Site::open_with(|config| {
        config.limits.token_per_client = 2;
        config.limits.authorize_per_address = 2;
    })
    .await;
    for _ in 0..2 {
        refused(&site.exchange("AUTHORIZATION_CODE").await, 400, "invalid_code");
        let get = TestRequest::get().uri("/api/authorize.php");
        assert_eq!(site.app.send(get).await.status, 400);
    }
    let get = TestRequest::get().uri("/api/authorize.php");
    let (exchange, page) = (site.exchange("AUTHORIZATION_CODE").await, site.app.send(get).await);
    refused(&exchange, 429, "temporarily_unavailable");
    for answer in [exchange, page] {
        assert_eq!(answer.status, 429);
        assert_eq!(answer.header("x-ratelimit-limit"), Some("2"));
        assert_eq!(answer.header("x-ratelimit-remaining"), Some("0"));
        assert_eq!(answer.header("retry-after"), Some("60"));
    }
}

#[actix_web::test]
async fn nothing_comes_of_the_shorter_words_that_the_standard_would_refuse() {
    let site = Site::open().await;
    // At the standard path the redirect URI must be named again; here it need not be, but must be right where it is.
    let code = site.code().await;
    let body =
        encoded(&[("code", &code), ("client_id", &site.client_id), ("client_secret", &site.client_secret)]);
    let standard = form("/oauth2/token", &format!("grant_type=authorization_code&{body}"));
    site.app.send(standard).await.refused(400, "invalid_grant");
    let other = form("/api/token.php", &format!("{body}&redirect_uri=https://evil.example/"));
    refused(&site.app.send(other).await, 400, "invalid_code");
    let token = site.exchange(&code).await.access_token();
    // The token is one for Signet's own person, whom no resource server was asked to let in.
    let api = ResourceServer::beside(&site.app);
    assert_eq!(api.products(&token).await.status, 403);
}
