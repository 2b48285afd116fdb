//! Userinfo, and which scripts may ask for it.

use actix_web::http::Method;
use actix_web::http::header::HeaderName;
use actix_web::test::TestRequest;
use serde_json::json;
use signet::clients::Registration;
use signet::oauth::Origin;

use crate::browser::{Browser, ada, parameter, redeem, register, request, shop};
use crate::test_app::{TestApp, bearer, form};

const SHOP: &str = "https://shop.example.com";

/// An access token for `scope`.
async fn token(app: &TestApp, scope: &str) -> String {
    let origins = vec![Origin::parse(SHOP).unwrap()];
    let shop = register(app, Registration { allowed_origins: origins, ..shop() }).await;
    let answer = Browser::default().allow(app, &request(&[("scope", scope)])).await;
    let tokens = redeem(app, &shop, &parameter(&answer, "code").unwrap()).await;
    tokens["access_token"].as_str().unwrap().to_owned()
}

fn get(path: &str, token: &str) -> TestRequest {
    TestRequest::get().uri(path).insert_header(bearer(token))
}

#[actix_web::test]
async fn it_says_what_the_scope_covers() {
    for (scope, expected) in [
        ("openid", json!({})),
        ("openid email", json!({ "email": "ada@example.com", "email_verified": true })),
        (
            "openid profile",
            json!({ "name": "Ada Lovelace", "given_name": "Ada", "updated_at": 1_800_000_000 }),
        ),
    ] {
        let app = TestApp::start().await;
        let account = ada(&app).await;
        let token = token(&app, scope).await;
        let mut expected = expected;
        expected["sub"] = account.id.as_str().into();
        assert_eq!(app.send(get("/oauth2/userinfo", &token)).await.json(), expected, "{scope}");
        let posted = TestRequest::post().uri("/oauth2/userinfo").insert_header(bearer(&token));
        assert_eq!(app.send(posted).await.json(), expected);
        assert_eq!(
            app.send(form("/oauth2/userinfo", &format!("access_token={token}"))).await.json(),
            expected
        );
    }
}

#[actix_web::test]
async fn whoever_has_no_token_of_a_person_learns_nothing() {
    let app = TestApp::start().await;
    ada(&app).await;
    let good = token(&app, "openid email").await;
    for path in ["/oauth2/userinfo", "/api/userinfo.php"] {
        // Who sent none hears what is needed, and nothing of an error (RFC 6750, section 3.1).
        for request in [
            TestRequest::get().uri(path),
            TestRequest::get().uri(path).insert_header(("Authorization", "Basic YTpi")),
        ] {
            let answer = app.send(request).await;
            answer.refused(401, "invalid_token");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"signet\""), "{path}");
        }
        let answer = app.send(get(path, "x")).await;
        answer.refused(401, "invalid_token");
        assert!(answer.header("www-authenticate").unwrap().contains("error=\"invalid_token\""), "{path}");
        app.send(get(path, &format!("{good}x"))).await.refused(401, "invalid_token");
        app.send(TestRequest::get().uri(path).insert_header(("Authorization", "Basic YTpi")))
            .await
            .refused(401, "invalid_token");
        // A client's own token has no person, and no openid.
        app.send(get(path, &app.demo_token().await)).await.refused(403, "insufficient_scope");
        app.send(TestRequest::get().uri(&format!("{path}?access_token={good}")))
            .await
            .refused(401, "invalid_token");
    }
    let both = form("/oauth2/userinfo", &format!("access_token={good}")).insert_header(bearer(&good));
    app.send(both).await.refused(400, "invalid_request");
    let services = &app.app.state.services;
    let user = services.accounts.named("ada@example.com").await.unwrap().unwrap();
    let change = signet::users::AccountChange { disabled: Some(true), ..Default::default() };
    services.accounts.update(&user, &change).await.unwrap();
    app.send(get("/oauth2/userinfo", &good)).await.refused(401, "invalid_token");
}

#[actix_web::test]
async fn a_token_without_openid_is_not_enough() {
    let app = TestApp::start().await;
    ada(&app).await;
    let token = token(&app, "email read").await;
    app.send(get("/oauth2/userinfo", &token)).await.refused(403, "insufficient_scope");
}

#[actix_web::test]
async fn a_revoked_token_says_nothing() {
    let app = TestApp::start().await;
    ada(&app).await;
    let token = token(&app, "openid").await;
    assert_eq!(app.send(get("/oauth2/userinfo", &token)).await.status, 200);
    let user = app.app.state.services.accounts.named("ada@example.com").await.unwrap().unwrap();
    app.administer(Method::POST, "/admin/revocations", Some(json!({ "sub": user.as_str() }))).await;
    app.send(get("/oauth2/userinfo", &token)).await.refused(401, "invalid_token");
}

#[actix_web::test]
async fn scripts_of_registered_origins_may_ask_and_no_others() {
    let app = TestApp::start().await;
    ada(&app).await;
    let token = token(&app, "openid").await;
    let preflight = |path: &str, origin: &str| {
        TestRequest::with_uri(path)
            .method(Method::OPTIONS)
            .insert_header(("Origin", origin.to_owned()))
            .insert_header(("Access-Control-Request-Method", "POST"))
    };
    for path in [
        "/oauth2/token",
        "/oauth2/userinfo",
        "/oauth2/revoke",
        "/auth/token",
        "/oauth/token",
        "/oauth/revoke",
        "/api/token.php",
        "/api/userinfo.php",
    ] {
        let answer = app.send(preflight(path, SHOP)).await;
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (204, Some(SHOP)),
            "{path}"
        );
        for origin in [
            "https://evil.example",
            "null",
            "https://shop.example.com.evil.example",
            "https://shop.example.com:444",
        ] {
            let answer = app.send(preflight(path, origin)).await;
            assert_eq!(
                (answer.status, answer.header("access-control-allow-origin")),
                (405, None),
                "{path} {origin}"
            );
        }
    }
    for path in ["/.well-known/jwks.json", "/.well-known/openid-configuration"] {
        let answer = app.send(preflight(path, "https://any.example")).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")), "{path}");
    }
    for path in [
        "/oauth2/authorize",
        "/oauth/authorize",
        "/api/authorize.php",
        "/oauth2/sign-in",
        "/oauth2/consent",
        "/oauth2/introspect",
        "/admin/keys",
    ] {
        let answer = app.send(preflight(path, SHOP)).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
    // Nor is an answer there a script's to read (RFC 9700, section 2.6), be it a page or a refusal.
    let doors = signet::http::served().iter().filter(|served| served.path.contains("/authorize"));
    let doors: Vec<&str> = doors.filter(|door| door.method == Method::GET).map(|door| door.path).collect();
    assert_eq!(doors, ["/oauth2/authorize", "/oauth/authorize", "/api/authorize.php"]);
    let asking = request(&[]);
    let (_, query) = asking.split_once('?').unwrap();
    for (path, query) in doors.iter().flat_map(|path| [(path, query), (path, "")]) {
        for method in [Method::GET, Method::POST] {
            let asked = TestRequest::with_uri(&format!("{path}?{query}")).method(method.clone());
            let answer = app.send(asked.insert_header(("Origin", SHOP))).await;
            let cors = answer.headers.keys().filter(|name| name.as_str().starts_with("access-control-"));
            assert_eq!(cors.count(), 0, "{method} {path}");
        }
    }
    for (origin, allowed) in [(SHOP, Some(SHOP)), ("https://evil.example", None)] {
        let answer = app.send(get("/oauth2/userinfo", &token).insert_header(("Origin", origin))).await;
        assert_eq!(answer.header("access-control-allow-origin"), allowed);
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
}

#[actix_web::test]
async fn a_script_reads_why_it_was_refused_and_how_its_limit_stands() {
    let app = TestApp::start_with(|config| config.limits.token_per_address = 1).await;
    ada(&app).await;
    let _origin_of_the_client = token(&app, "openid").await;
    let ask = |path| app.send(form(path, "grant_type=authorization_code").insert_header(("Origin", SHOP)));
    ask("/oauth2/token").await;
    let (too_many, challenged) = (
        ask("/oauth2/token").await,
        app.send(get("/oauth2/userinfo", "x").insert_header(("Origin", SHOP))).await,
    );
    assert_eq!((too_many.status, challenged.status), (429, 401));
    // What a script sees without being told so is nothing of this (Fetch standard, section 2.2.2).
    let hidden =
        |name: &str| name.contains("ratelimit") || matches!(name, "retry-after" | "www-authenticate");
    for (answer, count) in [(too_many, 6), (challenged, 1)] {
        let exposed = answer.header("access-control-expose-headers").unwrap().to_lowercase();
        let exposed: Vec<&str> = exposed.split(", ").collect();
        let names = answer.headers.keys().map(HeaderName::as_str).filter(|name| hidden(name));
        assert_eq!(names.inspect(|name| assert!(exposed.contains(name), "{name}")).count(), count);
    }
    let elsewhere = form("/oauth2/token", "").insert_header(("Origin", "https://evil.example"));
    assert_eq!(app.send(elsewhere).await.header("access-control-expose-headers"), None);
}
