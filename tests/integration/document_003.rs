//! The older document that speaks of `/oauth/authorize`, `/oauth/token` and `/oauth/revoke`: its own examples as requests,
//! unchanged but for host, id and secret, and then each of its promises in its order. Parameters are "form data": its
//! clients send them in either of HTML's two encodings.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::{Value, json};
use signet::oauth::Scope;

use crate::browser::{Browser, ada, encoded, location, parameter, text};
use crate::grants_fixture::{World, register};
use crate::resource_server_fixture::ResourceServer;
use crate::test_app::{Answer, RESOURCE, TestApp, bearer, form, part};

const REDIRECT_URI: &str = "https://app.example.com/callback";
const OOB: &str = "urn:ietf:wg:oauth:2.0:oob";

const INVALID_GRANT: &str = "The provided authorization grant is invalid, expired, revoked, does not match the redirection \
                             URI used in the authorization request, or was issued to another client.";
const INVALID_SCOPE: &str = "The requested scope is invalid, unknown, or malformed.";
const INVALID_CLIENT: &str = "Client authentication failed due to unknown client, no client authentication included, or \
                              unsupported authentication method.";
const NOT_YOURS: &str = "You are not authorized to revoke this token";

struct Site {
    app: TestApp,
    client_id: String,
    client_secret: String,
}

impl Site {
    async fn open() -> Self {
        Self::with_scope("read write follow push").await
    }

    /// An application that was registered with this scope and "redirect URIs declared during app registration".
    async fn with_scope(scope: &str) -> Self {
        let app = TestApp::start_with(|config| {
            config.resources[0].scope = Scope::parse("read write follow push admin").unwrap();
        })
        .await;
        ada(&app).await;
        let (client_id, client_secret) = application(&app, scope).await;
        Self { app, client_id, client_secret }
    }

    async fn authorize(&self, more: &[(&str, &str)]) -> Answer {
        Browser::default().allow(&self.app, &self.authorization_url(more)).await
    }

    fn authorization_url(&self, more: &[(&str, &str)]) -> String {
        let mut members =
            vec![("response_type", "code"), ("client_id", &self.client_id), ("redirect_uri", REDIRECT_URI)];
        members.retain(|(name, _)| more.iter().all(|(each, _)| each != name));
        format!("/oauth/authorize?{}", encoded(&[&members, more].concat()))
    }

    fn credentials<'s>(&'s self, more: &[(&'s str, &'s str)]) -> Vec<(&'s str, &'s str)> {
        [&[("client_id", &*self.client_id), ("client_secret", &*self.client_secret)], more].concat()
    }

    /// A request with the application's credentials and more.
    async fn post(&self, path: &str, more: &[(&str, &str)]) -> Answer {
        self.app.send(form(path, &encoded(&self.credentials(more)))).await
    }

    /// The same in the other encoding.
    async fn post_parts(&self, path: &str, more: &[(&str, &str)]) -> Answer {
        self.app.send(parts(path, &self.credentials(more))).await
    }

    async fn code(&self, more: &[(&str, &str)]) -> String {
        parameter(&self.authorize(more).await, "code").expect("a code")
    }

    async fn redeem(&self, code: &str, more: &[(&str, &str)]) -> Answer {
        let usual = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT_URI)];
        let kept = usual.into_iter().filter(|(name, _)| more.iter().all(|(each, _)| each != name));
        let members: Vec<_> = kept.chain(more.iter().copied()).collect();
        self.post("/oauth/token", &members).await
    }

    async fn app_level_token(&self) -> String {
        self.post("/oauth/token", &[("grant_type", "client_credentials")]).await.access_token()
    }
}

async fn application(app: &TestApp, scope: &str) -> (String, String) {
    let registration = json!({
        "client_name": "Test Application",
        "scope": scope,
        "resources": [RESOURCE],
        "redirect_uris": [REDIRECT_URI, OOB],
        "grant_types": ["authorization_code", "client_credentials"],
        // The document knows no PKCE: an operator exempts its clients by name.
        "require_pkce": false,
    });
    register(app, registration).await
}

/// `multipart/form-data`, as `curl -F` writes it.
fn parts(path: &str, members: &[(&str, &str)]) -> TestRequest {
    let boundary = "------------------------d74496d66958873e";
    let part = |(name, value): &(&str, &str)| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body: String = members.iter().map(part).collect();
    raw_parts(path, format!("{body}--{boundary}--\r\n"), boundary)
}

fn raw_parts(path: &str, body: impl Into<Vec<u8>>, boundary: &str) -> TestRequest {
    let content_type = ("Content-Type", format!("multipart/form-data; boundary={boundary}"));
    TestRequest::post().uri(path).insert_header(content_type).set_payload(body.into())
}

#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str, text: &str) {
    answer.refused(status, error);
    assert_eq!(answer.json(), json!({ "error": error, "error_description": text }));
}

#[actix_web::test]
async fn authorize_redirects_with_a_code_or_shows_it() {
    let site = Site::open().await;
    // "Displays an authorization form to the user. If approved, it will create and return an authorization code, then
    // redirect to the desired redirect_uri": "returned as a query parameter named code".
    let answer = site.authorize(&[]).await;
    assert!(location(&answer).starts_with(&format!("{REDIRECT_URI}?code=")));
    assert_eq!(parameter(&answer, "code").unwrap().len(), 43);
    // "or show the authorization code if urn:ietf:wg:oauth:2.0:oob was requested"
    let answer = site.authorize(&[("redirect_uri", OOB)]).await;
    assert_eq!((answer.status, answer.header("location")), (200, None));
    let page = text(&answer);
    let (_, shown) = page.split_once("<code id=\"code\"").expect("a code");
    let code = shown.split(['>', '<']).nth(1).expect("its text").to_owned();
    let token = site.redeem(&code, &[("redirect_uri", OOB)]).await;
    assert_eq!(token.json()["scope"], "read");
}

#[actix_web::test]
async fn each_parameter_of_authorize_counts() {
    let site = Site::open().await;
    let mut browser = Browser::default();
    browser.allow(&site.app, &site.authorization_url(&[])).await;
    // "Set equal to code."
    for (response_type, error) in [("", "invalid_request"), ("token", "unsupported_response_type")] {
        let answer =
            browser.get(&site.app, &site.authorization_url(&[("response_type", response_type)])).await;
        assert_eq!(parameter(&answer, "error").as_deref(), Some(error));
    }
    // "Must match one of the redirect URIs declared during app registration."
    for wrong in
        ["https://app.example.com/callback/", "https://evil.example/", "urn:ietf:wg:oauth:2.0:oob:auto"]
    {
        let answer = browser.get(&site.app, &site.authorization_url(&[("redirect_uri", wrong)])).await;
        assert_eq!((answer.status, answer.header("location")), (400, None), "{wrong}");
    }
    // The scope's default is `read`; more than the application was registered for is none.
    for (scope, granted) in [("", "read"), ("read write", "read write"), ("follow", "follow")] {
        let code = site.code(&[("scope", scope)]).await;
        assert_eq!(site.redeem(&code, &[]).await.json()["scope"], granted);
    }
    let answer = browser.get(&site.app, &site.authorization_url(&[("scope", "read admin")])).await;
    assert_eq!(parameter(&answer, "error").as_deref(), Some("invalid_scope"));
    // force_login: the form is shown although the person is signed in.
    let page = browser.get(&site.app, &site.authorization_url(&[("force_login", "true")])).await;
    assert!(text(&page).contains("name=\"password\""));
}

/// What a common client library writes for parameters that it was not given.
#[actix_web::test]
async fn python_words_for_nothing_do_no_harm() {
    let site = Site::open().await;
    let none = [("scope", "read write"), ("force_login", "False"), ("state", "None"), ("lang", "None")];
    let url = site.authorization_url(&none);
    let mut browser = Browser::default();
    let answer = browser.allow(&site.app, &url).await;
    assert_eq!(parameter(&answer, "state").as_deref(), Some("None"), "a state is given back as it came");
    let code = parameter(&answer, "code").expect("a code");
    assert_eq!(site.redeem(&code, &[]).await.json()["scope"], "read write");
    // Nobody is made to sign in by `False`.
    assert!(parameter(&browser.get(&site.app, &url).await, "code").is_some());
}

#[actix_web::test]
async fn a_token_is_answered_as_shown() {
    let site = Site::open().await;
    let api = ResourceServer::beside(&site.app);
    let all = ("scope", "read write follow push");
    let code = site.code(&[all]).await;
    let person = site.redeem(&code, &[all]).await;
    // redirect_uri is sent along by clients that ask for app-level access too.
    let redirect_uri = ("redirect_uri", OOB);
    let app_level = [("grant_type", "client_credentials"), redirect_uri, all];
    for answer in [person, site.post("/oauth/token", &app_level).await] {
        let token = answer.access_token();
        let Value::Object(mut members) = answer.json() else { panic!("{answer:?}") };
        assert_eq!(members.remove("expires_in"), Some(json!(3600)), "one more than the document shows");
        let shown = json!({
            "access_token": token,
            "token_type": "Bearer",
            "scope": "read write follow push",
            "created_at": site.app.now(),
        });
        assert_eq!(Value::Object(members), shown);
        // "The token should be passed as an HTTP Authorization header": `Bearer access_token`.
        let answer = api.send(TestRequest::get().uri("/v1/data").insert_header(bearer(&token))).await;
        assert_eq!((answer.status, &answer.json()["read_by"]), (200, &json!(site.client_id)));
    }
    let user = site.app.app.state.services.accounts.named("ada@example.com").await.unwrap().unwrap();
    let token = site.redeem(&site.code(&[]).await, &[]).await.access_token();
    assert_eq!(part(&token, 1)["sub"], user.as_str(), "user-level access");
    assert_eq!(
        part(&site.app_level_token().await, 1)["sub"],
        site.client_id.as_str(),
        "app-level access only"
    );
    // "scope: … If none is provided, defaults to read."
    let answer = site.post("/oauth/token", &[("grant_type", "client_credentials")]).await;
    assert_eq!(answer.json()["scope"], "read");
}

#[actix_web::test]
async fn form_data_is_taken_in_either_encoding() {
    let site = Site::open().await;
    let answer =
        site.post_parts("/oauth/token", &[("grant_type", "client_credentials"), ("redirect_uri", OOB)]).await;
    assert_eq!((answer.status, &answer.json()["scope"]), (200, &json!("read")));
    let token = answer.access_token();
    let code = site.code(&[]).await;
    let members = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", REDIRECT_URI)];
    site.post_parts("/oauth/token", &members).await.access_token();
    assert_eq!(site.post_parts("/oauth/revoke", &[("token", &token)]).await.json(), json!({}));
    assert!(!site.app.is_active(&token).await);
    let wrong =
        site.post_parts("/oauth/token", &[("grant_type", "client_credentials"), ("scope", "admin")]).await;
    refused(&wrong, 400, "invalid_scope", INVALID_SCOPE);
}

#[actix_web::test]
async fn damaged_parts_are_refused() {
    let site = Site::open().await;
    let head = "--b\r\nContent-Disposition: form-data; name=\"grant_type\"";
    let good = format!("{head}\r\n\r\nclient_credentials\r\n");
    let file = good.replace("\"grant_type\"", "\"grant_type\"; filename=\"x\"");
    let many: String = (0..100).map(|n| good.replace("grant_type", &format!("p{n}"))).collect();
    for body in [
        String::new(),
        "--b".to_owned(),
        good.clone(),
        format!("{head}\r\n\r\nclient_credentials"),
        format!("{file}--b--\r\n"),
        format!("{good}{good}--b--\r\n"),
        format!("{many}--b--\r\n"),
        format!("{}--b--\r\n", good.replace("; name=\"grant_type\"", "")),
        format!("--b\r\n{}\r\n\r\nx\r\n--b--\r\n", "A: b\r\n".repeat(500)),
    ] {
        let answer = site.app.send(raw_parts("/oauth/token", body.clone(), "b")).await;
        assert_eq!(answer.status, 400, "{body}");
        answer.refused(400, "invalid_request");
    }
    let not_text =
        [good.as_bytes(), b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n\xff\r\n--b--\r\n"].concat();
    site.app.send(raw_parts("/oauth/token", not_text, "b")).await.refused(400, "invalid_request");
    let long = format!("{}--b--\r\n", good.replace("client_credentials", &"x".repeat(17 * 1024)));
    site.app.send(raw_parts("/oauth/token", long, "b")).await.refused(413, "invalid_request");
    // Only where the document's clients send it.
    for path in ["/oauth2/token", "/auth/token", "/api/token.php", "/oauth2/revoke", "/oauth2/introspect"] {
        let request = parts(path, &[("grant_type", "client_credentials"), ("token", "x")]);
        site.app.send(request).await.refused(400, "invalid_request");
    }
}

#[actix_web::test]
async fn a_bad_code_has_the_documents_own_words() {
    let site = Site::open().await;
    let (other_id, other_secret) = application(&site.app, "read").await;
    refused(
        &site.redeem("qDFUEaYrRK5c-HNmTCJbAzazwLRInJ7VHFat0wcMgCU", &[]).await,
        400,
        "invalid_grant",
        INVALID_GRANT,
    );
    let code = site.code(&[]).await;
    let elsewhere = site.redeem(&code, &[("redirect_uri", OOB)]).await;
    refused(&elsewhere, 400, "invalid_grant", INVALID_GRANT);
    let body = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", REDIRECT_URI),
        ("client_id", &other_id),
        ("client_secret", &other_secret),
    ];
    let foreign = site.app.send(form("/oauth/token", &encoded(&body))).await;
    refused(&foreign, 400, "invalid_grant", INVALID_GRANT);
    site.redeem(&code, &[]).await.access_token();
    // "If the authorization code is incorrect or has been used already, the request will fail."
    refused(&site.redeem(&code, &[]).await, 400, "invalid_grant", INVALID_GRANT);
}

#[actix_web::test]
async fn a_scope_beyond_the_registration_and_a_wrong_client_have_the_documents_own_words() {
    let site = Site::with_scope("read").await;
    let grant = ("grant_type", "client_credentials");
    // "If you try to request a scope that was not included when registering the app, the request will fail."
    for scope in ["write", "read write", "unheard-of", "re\"ad"] {
        let answer = site.post("/oauth/token", &[grant, ("scope", scope)]).await;
        refused(&answer, 400, "invalid_scope", INVALID_SCOPE);
    }
    // "If client_id and client_secret do not match or are invalid, the request will fail."
    let (id, secret) = (site.client_id.as_str(), site.client_secret.as_str());
    let other = application(&site.app, "read").await;
    for (id, secret) in [(id, "x"), ("x", secret), (id, &*other.1), (id, ""), ("", secret), ("", "")] {
        let body = encoded(&[grant, ("client_id", id), ("client_secret", secret)]);
        let answer = site.app.send(form("/oauth/token", &body)).await;
        refused(&answer, 401, "invalid_client", INVALID_CLIENT);
        let body = encoded(&[("token", "x"), ("client_id", id), ("client_secret", secret)]);
        let answer = site.app.send(form("/oauth/revoke", &body)).await;
        refused(&answer, 401, "invalid_client", INVALID_CLIENT);
    }
}

/// "The token should be passed as an HTTP Authorization header when making API calls": common clients do so with every call,
/// these two included.
#[actix_web::test]
async fn a_token_in_the_header_is_no_hindrance_and_no_clients_authentication() {
    let site = Site::open().await;
    let with = |header: &str, path: &str, members: &[(&str, &str)]| {
        site.app.send(form(path, &encoded(members)).insert_header(("Authorization", header.to_owned())))
    };
    let token = site.app_level_token().await;
    let header = format!("Bearer {token}");
    let grant = [("grant_type", "client_credentials")];
    let next = with(&header, "/oauth/token", &site.credentials(&grant)).await;
    assert_eq!(next.status, 200, "{}", next.json());
    let refused_without = async |header: &str| {
        for members in [&grant[..], &[grant[0], ("client_id", &*site.client_id)]] {
            let answer = with(header, "/oauth/token", members).await;
            refused(&answer, 401, "invalid_client", INVALID_CLIENT);
        }
        for members in [&[("token", &*token)][..], &[("token", &*token), ("client_id", &*site.client_id)]] {
            let answer = with(header, "/oauth/revoke", members).await;
            refused(&answer, 401, "invalid_client", INVALID_CLIENT);
        }
    };
    refused_without(&header).await;
    assert!(site.app.is_active(&token).await);
    // Any other scheme tries to authenticate the client, and what the body has would be a second way.
    for other in ["Digest abc", "Bearer", "Basic !!!"] {
        let answer = with(other, "/oauth/token", &site.credentials(&grant)).await;
        refused(&answer, 401, "invalid_client", INVALID_CLIENT);
    }
    // Only where the document's clients do so.
    let (id, secret) = (("client_id", &*site.client_id), ("client_secret", &*site.client_secret));
    for (path, members) in
        [("/oauth2/token", grant[0]), ("/auth/token", grant[0]), ("/oauth2/revoke", ("token", &*token))]
    {
        with(&header, path, &[members, id, secret]).await.refused(401, "invalid_client");
    }
    let members = json!({ "grant_type": "client_credentials", "client_id": id.1, "client_secret": secret.1 });
    let request = TestRequest::post().uri("/oauth/token").insert_header(("Authorization", &*header));
    site.app.send(request.set_json(members)).await.refused(401, "invalid_client");
    let revoked = with(&header, "/oauth/revoke", &site.credentials(&[("token", &token)])).await;
    assert_eq!((revoked.status, revoked.json()), (200, json!({})));
    assert!(!site.app.is_active(&token).await);
    // Though the token in the header is over by now.
    let again = with(&header, "/oauth/revoke", &site.credentials(&[("token", &token)])).await;
    assert_eq!((again.status, again.json()), (200, json!({})));
}

/// The same with a refresh token, which clients that came by way of OpenID Connect have.
#[actix_web::test]
async fn a_refresh_may_bear_the_access_token_it_replaces() {
    let world = World::start().await;
    let (access_token, refresh_token) = world.tokens().await;
    let (id, secret) = world.client();
    let members = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &*refresh_token),
        ("client_id", id),
        ("client_secret", secret),
    ];
    let request = form("/oauth/token", &encoded(&members)).insert_header(bearer(&access_token));
    let answer = world.app.send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
}

#[actix_web::test]
async fn revoking_is_idempotent_and_only_for_ones_own() {
    let site = Site::open().await;
    let api = ResourceServer::beside(&site.app);
    let get = |token: &str| api.send(TestRequest::get().uri("/v1/data").insert_header(bearer(token)));
    let token = site.app_level_token().await;
    assert_eq!(get(&token).await.status, 200);
    // "calling this API multiple times will still return OK"
    for _ in 0..3 {
        let answer = site.post("/oauth/revoke", &[("token", &token)]).await;
        assert_eq!((answer.status, answer.json()), (200, json!({})));
    }
    // "Revoke an access token to make it no longer valid for use": within the lifetime of the status list.
    site.app.pass(std::time::Duration::from_secs(10)).await;
    assert_eq!(get(&token).await.status, 401);
    // "If you provide a token you do not own, or no token at all, the API call will return a 403 error."
    let foreign = site.app.demo_token().await;
    for more in [&[][..], &[("token", "")], &[("token", "x")], &[("token", &foreign)]] {
        refused(&site.post("/oauth/revoke", more).await, 403, "unauthorized_client", NOT_YOURS);
    }
    assert!(site.app.is_active(&foreign).await);
    // "If you own the provided token, the API call will provide an empty response": also when it is over by itself.
    let token = site.app_level_token().await;
    site.app.pass(std::time::Duration::from_hours(3)).await;
    assert!(!site.app.is_active(&token).await);
    let log = site.app.audit_log();
    for _ in 0..2 {
        let answer = site.post("/oauth/revoke", &[("token", &token)]).await;
        assert_eq!((answer.status, answer.json()), (200, json!({})));
    }
    assert_eq!(site.app.audit_log(), log, "there was nothing to revoke");
    let forged = format!("{}AAAAAAAA", &token[..token.len() - 8]);
    for not_theirs in [&foreign, &forged] {
        let answer = site.post("/oauth/revoke", &[("token", not_theirs)]).await;
        refused(&answer, 403, "unauthorized_client", NOT_YOURS);
    }
    // And when its key is published no more, for whatever reason.
    let (old, foreign) = (site.app_level_token().await, site.app.demo_token().await);
    let rotate =
        site.app.administer(Method::POST, "/admin/keys/rotate", Some(json!({ "force": true }))).await;
    assert_eq!(rotate.status, 200);
    for _ in 0..7 {
        site.app.pass(std::time::Duration::from_hours(4)).await;
    }
    let condemned = site.app_level_token().await;
    let kid = |token: &str| part(token, 0)["kid"].as_str().unwrap().to_owned();
    let path = format!("/admin/keys/{}/compromise", kid(&condemned));
    assert_eq!(site.app.administer(Method::POST, &path, None).await.status, 200);
    let jwks = site.app.send(TestRequest::get().uri("/.well-known/jwks.json")).await.json().to_string();
    for token in [&old, &condemned] {
        assert!(!jwks.contains(&kid(token)) && !site.app.is_active(token).await);
        let answer = site.post("/oauth/revoke", &[("token", token)]).await;
        assert_eq!((answer.status, answer.json()), (200, json!({})));
    }
    let forged = format!("{}AAAAAAAA", &condemned[..condemned.len() - 8]);
    for not_theirs in [&foreign, &forged] {
        let answer = site.post("/oauth/revoke", &[("token", not_theirs)]).await;
        refused(&answer, 403, "unauthorized_client", NOT_YOURS);
    }
    let method = TestRequest::with_uri("/oauth/revoke").method(Method::GET);
    assert_eq!(site.app.send(method).await.status, 405);
}
