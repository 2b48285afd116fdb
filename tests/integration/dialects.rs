//! The token endpoints of the older documents: each answers as its document says.

use actix_web::test::TestRequest;
use serde_json::{Value, json};

use crate::grants_fixture::{CALLBACK, VERIFIER, World, code_body};
use crate::test_app::{Answer, TestApp, form, part};

fn members(answer: &Answer) -> Vec<String> {
    let Value::Object(members) = answer.json() else { panic!("not an object: {answer:?}") };
    members.keys().cloned().collect()
}

fn credentials(app: &TestApp) -> String {
    let (id, secret) = app.demo();
    format!("grant_type=client_credentials&client_id={id}&client_secret={secret}")
}

#[actix_web::test]
async fn every_dialect_grants_the_same() {
    let app = TestApp::start().await;
    let (id, secret) = app.demo();
    let body = credentials(&app);
    let mut tokens = Vec::new();
    for path in ["/oauth2/token", "/oauth/token", "/auth/token", "/api/token.php"] {
        tokens.push(app.send(form(path, &format!("{body}&scope=read"))).await.access_token());
    }
    let object = json!({ "grant_type": "client_credentials", "client_id": id, "client_secret": secret, "scope": "read" });
    let request = TestRequest::post().uri("/oauth/token").set_json(object);
    tokens.push(app.send(request).await.access_token());
    assert!(tokens.iter().all(|token| bare(token) == bare(&tokens[0])));
}

/// Claims without what no two tokens share.
fn bare(token: &str) -> (Value, serde_json::Map<String, Value>) {
    let Value::Object(mut claims) = part(token, 1) else { panic!("not an object") };
    claims.remove("jti");
    claims.remove("status");
    (part(token, 0), claims)
}

#[actix_web::test]
async fn a_persons_grant_is_the_same_in_every_dialect() {
    let world = World::start().await;
    let (id, secret) = world.client();
    let mut tokens = Vec::new();
    for path in ["/oauth2/token", "/oauth/token", "/auth/token", "/api/token.php"] {
        let body = code_body(&world.code().await);
        let body = format!("{body}&client_id={id}&client_secret={secret}&code_verifier={VERIFIER}");
        tokens.push(world.app.send(form(path, &body)).await.access_token());
    }
    let object = json!({
        "grant_type": "authorization_code", "code": world.code().await, "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER, "client_id": id, "client_secret": secret,
    });
    let request = TestRequest::post().uri("/oauth/token").set_json(object);
    tokens.push(world.app.send(request).await.access_token());
    assert!(tokens.iter().all(|token| bare(token) == bare(&tokens[0])));
    assert_eq!(bare(&tokens[0]).1["sub"], world.account.id.as_str());
}

#[actix_web::test]
async fn no_dialect_grants_what_the_standard_path_refuses() {
    let world = World::start().await;
    let (id, secret) = world.client();
    let client = format!("&client_id={id}&client_secret={secret}");
    for path in ["/oauth2/token", "/oauth/token", "/auth/token", "/api/token.php"] {
        let code = world.code().await;
        let error = if path == "/api/token.php" { "invalid_code" } else { "invalid_grant" };
        for wrong in [
            format!("{}{client}", code_body(&code)),
            format!(
                "{}{client}&code_verifier={VERIFIER}",
                code_body(&code).replace("shop.example", "evil.example")
            ),
            format!("{}{client}&code_verifier={VERIFIER}", code_body("unknown")),
        ] {
            let answer = world.app.send(form(path, &wrong)).await;
            answer.refused(400, error);
        }
    }
}

#[actix_web::test]
async fn token_php_takes_a_code_as_its_document_shows() {
    let world = World::start_with(json!({ "require_pkce": false }), |_| {}).await;
    let (id, secret) = world.client();
    let new = signet::tokens::NewCode {
        grant: world.grant(),
        redirect_uri: Some(CALLBACK.into()),
        code_challenge: None,
    };
    let code = world.issue(new.clone()).await;
    let body = format!("code={code}&client_id={id}&client_secret={secret}");
    let answer = world.app.send(form("/api/token.php", &body)).await;
    let token = answer.access_token();
    assert_eq!(members(&answer), ["access_token", "expires_in", "token_type"]);
    assert_eq!(answer.json()["token_type"], "Bearer");
    // Once.
    let answer = world.app.send(form("/api/token.php", &body)).await;
    answer.refused(400, "invalid_code");
    assert!(!world.is_active(&token).await);
    // Elsewhere the redirect URI must be named again, and here it must be right where it is.
    let code = world.issue(new).await;
    let body = format!("code={code}&client_id={id}&client_secret={secret}");
    let standard = format!("grant_type=authorization_code&{body}");
    world.app.send(form("/oauth2/token", &standard)).await.refused(400, "invalid_grant");
    let other = format!("{body}&redirect_uri=https://evil.example/");
    world.app.send(form("/api/token.php", &other)).await.refused(400, "invalid_code");
    world.app.send(form("/api/token.php", &body)).await.access_token();
}

#[actix_web::test]
async fn oauth_token_says_its_own_text_of_a_bad_code() {
    let world = World::start().await;
    let request = world.as_client(form("/oauth/token", &code_body("unknown")));
    let answer = world.app.send(request).await;
    answer.refused(400, "invalid_grant");
    let text = "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used \
                in the authorization request, or was issued to another client.";
    assert_eq!(answer.json()["error_description"], text);
    let body = format!("{}&code_verifier={VERIFIER}", code_body(&world.code().await));
    let answer = world.app.send(world.as_client(form("/oauth/token", &body))).await;
    answer.access_token();
    assert_eq!(answer.json()["created_at"], world.app.now());
    assert_eq!(answer.json()["scope"], "openid offline_access read write");
}

#[actix_web::test]
async fn oauth_token_takes_json_as_its_document_shows() {
    let app = TestApp::start().await;
    let (id, secret) = app.demo();
    let post = |body: Value| TestRequest::post().uri("/oauth/token").set_json(body);
    let answer = app
        .send(post(json!({ "client_id": id, "client_secret": secret, "grant_type": "client_credentials" })))
        .await;
    answer.access_token();
    assert_eq!(answer.json()["expires_in"], 3600);
    for body in [json!([]), json!("x"), json!({ "client_id": 1 }), json!({ "scope": { "a": 1 } })] {
        app.send(post(body)).await.refused(400, "invalid_request");
    }
    app.send(post(json!({}))).await.refused(401, "invalid_client");
    let twice = r#"{"client_id":"a","client_id":"b"}"#;
    let request = TestRequest::post().uri("/oauth/token").insert_header(("Content-Type", "application/json"));
    app.send(request.set_payload(twice)).await.refused(400, "invalid_request");
}

#[actix_web::test]
async fn oauth_token_by_get_is_refused_unless_the_operator_wants_it() {
    let app = TestApp::start().await;
    let uri = format!("/oauth/token?{}", credentials(&app));
    let answer = app.send(TestRequest::get().uri(&uri)).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    assert_eq!(answer.json()["error"], "invalid_request");

    let app = TestApp::start_with(|config| config.dialects.oauth_token_get = true).await;
    let uri = format!("/oauth/token?{}", credentials(&app));
    let answer = app.send(TestRequest::get().uri(&uri)).await;
    answer.access_token();
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[actix_web::test]
async fn oauth_token_by_form_says_created_at_and_its_own_texts() {
    let app = TestApp::start().await;
    let body = credentials(&app);
    let answer = app.send(form("/oauth/token", &body)).await;
    answer.access_token();
    assert_eq!(answer.json()["scope"], "read", "the default scope of this document");
    assert_eq!(answer.json()["created_at"], app.now());
    assert_eq!(answer.json()["token_type"], "Bearer");

    let answer = app.send(form("/oauth/token", &format!("{body}&scope=follow"))).await;
    answer.refused(400, "invalid_scope");
    let text = "The requested scope is invalid, unknown, or malformed.";
    assert_eq!(answer.json()["error_description"], text);

    let answer =
        app.send(form("/oauth/token", "grant_type=client_credentials&client_id=x&client_secret=y")).await;
    answer.refused(401, "invalid_client");
    let text = "Client authentication failed due to unknown client, no client authentication included, or \
                unsupported authentication method.";
    assert_eq!(answer.json()["error_description"], text);
}

#[actix_web::test]
async fn auth_token_speaks_in_small_letters_and_messages() {
    let app = TestApp::start().await;
    let answer = app.send(form("/auth/token", &credentials(&app))).await;
    answer.access_token();
    assert_eq!(answer.json()["token_type"], "bearer");
    assert_eq!(answer.json()["scope"], "read write");
    assert_eq!(members(&answer), ["access_token", "expires_in", "scope", "token_type"]);
    let answer = app.send(form("/auth/token", "grant_type=client_credentials")).await;
    answer.refused(401, "invalid_client");
    assert_eq!(members(&answer), ["error", "message"]);
}

#[actix_web::test]
async fn token_php_answers_three_members_and_invalid_code() {
    let app = TestApp::start().await;
    let answer = app.send(form("/api/token.php", &credentials(&app))).await;
    answer.access_token();
    assert_eq!(members(&answer), ["access_token", "expires_in", "token_type"]);
    let world = World::start().await;
    let (id, secret) = world.client();
    let client = format!("client_id={id}&client_secret={secret}");
    world.app.send(form("/api/token.php", &format!("{client}&code=abc"))).await.refused(400, "invalid_code");
    world.app.send(form("/api/token.php", &client)).await.refused(400, "invalid_request");
    app.send(form("/api/token.php", "code=abc&client_id=x&client_secret=y"))
        .await
        .refused(401, "invalid_client");
}

#[actix_web::test]
async fn oauth_revoke_answers_an_empty_object_or_403() {
    let app = TestApp::start().await;
    let (id, secret) = app.demo();
    let token = app.demo_token().await;
    let client = format!("client_id={id}&client_secret={secret}");
    for _ in 0..2 {
        let answer = app.send(form("/oauth/revoke", &format!("{client}&token={token}"))).await;
        assert_eq!((answer.status, answer.json()), (200, json!({})));
    }
    assert!(!app.is_active(&token).await);
    let foreign = app.admin_token().await;
    for body in [client.clone(), format!("{client}&token=nonsense"), format!("{client}&token={foreign}")] {
        let answer = app.send(form("/oauth/revoke", &body)).await;
        answer.refused(403, "unauthorized_client");
        assert_eq!(answer.json()["error_description"], "You are not authorized to revoke this token");
    }
}
