//! The authorization endpoint: from a request to a code, by way of the pages.

use actix_web::test::TestRequest;
use serde_json::json;
use signet::clients::{AuthMethod, ConsentRule, Registration};
use signet::config::ResourceConfig;
use signet::oauth::{ClientId, RedirectUri, Resource, Scope};

use crate::browser::{
    Browser, CALLBACK, PASSWORD, ada, encoded, location, parameter, redeem, register, request, shop, state,
    text,
};
use crate::test_app::{ISSUER, RESOURCE, TestApp, bearer, form, part};

async fn service() -> TestApp {
    let app = TestApp::start().await;
    ada(&app).await;
    register(&app, shop()).await;
    app
}

#[actix_web::test]
async fn a_person_signs_in_allows_and_comes_back_with_a_code() {
    let app = service().await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[])).await;
    assert_eq!(page.status, 200);
    for words in ["The Shop", "<label for=\"username\">", "<label for=\"password\">"] {
        assert!(text(&page).contains(words), "{words}");
    }
    let answer = browser.sign_in(&app, &page, ("ADA@example.com", PASSWORD)).await;
    let next = location(&answer);
    assert!(next.starts_with(&format!("{ISSUER}/oauth2/authorize?")), "{next}");
    let page = browser.get(&app, &next).await;
    for words in ["The Shop", "Ada Lovelace", "See your e-mail address", "shop.example.com"] {
        assert!(text(&page).contains(words), "{words}");
    }
    let answer = browser.decide(&app, &page, "allow").await;
    assert!(location(&answer).starts_with(&format!("{CALLBACK}?code=")));
    assert_eq!(parameter(&answer, "state").as_deref(), Some("af0ifjsldkj"));
    assert_eq!(parameter(&answer, "iss").as_deref(), Some(ISSUER));
    assert_eq!(parameter(&answer, "code").unwrap().len(), 43);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[actix_web::test]
async fn what_was_allowed_is_not_asked_again_and_more_is() {
    let app = service().await;
    let mut browser = Browser::default();
    browser.allow(&app, &request(&[])).await;
    assert!(parameter(&browser.get(&app, &request(&[])).await, "code").is_some());
    assert!(parameter(&browser.get(&app, &request(&[("scope", "read")])).await, "code").is_some());
    let page = browser.get(&app, &request(&[("scope", "read write")])).await;
    let page = text(&page);
    let (new, granted) = page.split_once("You have already allowed").unwrap();
    assert!(new.contains("Add to your data") && granted.contains("See your data"));
    let page = browser.get(&app, &request(&[("prompt", "consent")])).await;
    assert!(text(&page).contains("name=\"decision\""));
}

#[actix_web::test]
async fn a_consent_for_one_resource_is_none_for_another() {
    const OTHER: &str = "https://billing.example.com";
    let app = TestApp::start_with(|config| {
        let other = Resource::parse(OTHER).unwrap();
        config.resources.push(ResourceConfig { uri: other, ..config.resources[0].clone() });
    })
    .await;
    ada(&app).await;
    let both = [RESOURCE, OTHER].map(|uri| Resource::parse(uri).unwrap()).to_vec();
    register(&app, Registration { resources: both, ..shop() }).await;
    let mut browser = Browser::default();
    let here = [("scope", "read"), ("resource", RESOURCE)];
    let there = [("scope", "read"), ("resource", OTHER)];
    assert!(parameter(&browser.allow(&app, &request(&here)).await, "code").is_some());
    let silent =
        |asked: [(&'static str, &'static str); 2]| request(&[&asked[..], &[("prompt", "none")]].concat());
    assert!(parameter(&browser.get(&app, &silent(here)).await, "code").is_some());
    let answer = browser.get(&app, &silent(there)).await;
    assert_eq!(parameter(&answer, "error").as_deref(), Some("consent_required"));
    let page = browser.get(&app, &request(&there)).await;
    assert!(
        text(&page).contains(OTHER) && !text(&page).contains("You have already allowed"),
        "{}",
        text(&page)
    );
    assert!(parameter(&browser.decide(&app, &page, "allow").await, "code").is_some());
    assert!(parameter(&browser.get(&app, &silent(there)).await, "code").is_some());
    let shown = text(&browser.get(&app, "/account/consents").await);
    assert!(shown.contains(OTHER) && shown.contains(RESOURCE), "{shown}");
    // What is granted is what was shown, also where the client's first resource has become another one since.
    let page = browser.get(&app, &request(&[("scope", "write")])).await;
    let change = Some(json!({ "resources": [OTHER, RESOURCE] }));
    let changed = app.administer(actix_web::http::Method::PATCH, "/admin/clients/shop", change).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let answer = browser.decide(&app, &page, "allow").await;
    assert_eq!((answer.status, answer.header("location")), (400, None));
}

#[actix_web::test]
async fn whoever_denies_sends_the_client_away() {
    let app = service().await;
    for decision in ["deny", "", "Allow"] {
        let mut browser = Browser::default();
        let page = browser.get(&app, &request(&[])).await;
        let next = location(&browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await);
        let page = browser.get(&app, &next).await;
        let answer = browser.decide(&app, &page, decision).await;
        assert_eq!(parameter(&answer, "error").as_deref(), Some("access_denied"), "{decision}");
        assert_eq!(parameter(&answer, "code"), None);
        assert_eq!(parameter(&answer, "state").as_deref(), Some("af0ifjsldkj"));
        assert_eq!(parameter(&answer, "iss").as_deref(), Some(ISSUER));
    }
    assert!(app.audit_log().contains("consent.given"));
}

#[actix_web::test]
async fn a_request_may_be_posted_from_another_site() {
    let app = service().await;
    let query = request(&[]);
    let (path, query) = query.split_once('?').unwrap();
    let mut browser = Browser::default();
    let answer = browser.send(&app, form(path, query)).await;
    let page = browser.get(&app, &location(&answer)).await;
    assert!(text(&page).contains("name=\"password\""));
    let odd = "client_id=shop&state=%0d%0aSet-Cookie: a=b\u{e9}";
    let answer = browser.send(&app, form(path, odd)).await;
    assert!(location(&answer).is_ascii());
    let answer = browser.send(&app, TestRequest::post().uri(path).set_json(json!({}))).await;
    assert_eq!(answer.status, 400);
}

#[actix_web::test]
async fn the_answer_can_be_a_form() {
    let app = service().await;
    let mut browser = Browser::default();
    let answer = browser.allow(&app, &request(&[("response_mode", "form_post"), ("state", "\"><b>")])).await;
    assert_eq!(answer.status, 200);
    let page = text(&answer);
    assert!(page.contains(&format!("<form method=\"post\" action=\"{CALLBACK}\"")), "{page}");
    assert!(page.contains("name=\"code\"") && page.contains("name=\"iss\""));
    assert!(!page.contains("<b>"));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let script = page.split("<script src=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(
        browser.get(&app, script).await.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    let answer =
        browser.get(&app, &request(&[("response_mode", "form_post"), ("prompt", "none login")])).await;
    assert!(text(&answer).contains("invalid_request"));
}

#[actix_web::test]
async fn prompt_none_never_shows_a_page() {
    let app = service().await;
    let mut browser = Browser::default();
    let silent = request(&[("prompt", "none")]);
    let answer = browser.get(&app, &silent).await;
    assert_eq!(parameter(&answer, "error").as_deref(), Some("login_required"));
    let page = browser.get(&app, &request(&[])).await;
    browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    let answer = browser.get(&app, &silent).await;
    assert_eq!(parameter(&answer, "error").as_deref(), Some("consent_required"));
    browser.allow(&app, &request(&[])).await;
    assert!(parameter(&browser.get(&app, &silent).await, "code").is_some());
    let answer = browser.get(&app, &request(&[("prompt", "none consent")])).await;
    assert_eq!(parameter(&answer, "error").as_deref(), Some("invalid_request"));
}

#[actix_web::test]
async fn prompt_login_asks_for_the_password_once_more_and_only_once() {
    let app = service().await;
    let mut browser = Browser::default();
    browser.allow(&app, &request(&[])).await;
    let before = browser.cookies.get("signet-session").cloned();
    for parameters in [("prompt", "login"), ("force_login", "true"), ("max_age", "0")] {
        app.pass(std::time::Duration::from_secs(5)).await;
        let page = browser.get(&app, &request(&[parameters])).await;
        assert!(text(&page).contains("name=\"password\""), "{parameters:?}");
        let answer = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
        assert!(parameter(&answer, "code").is_some(), "{parameters:?}");
    }
    assert_ne!(browser.cookies.get("signet-session").cloned(), before);
    for harmless in [
        ("force_login", "False"),
        ("state", "None"),
        ("lang", "None"),
        ("max_age", "1000"),
        ("display", "popup"),
        ("acr_values", "urn:mace:incommon:iap:silver 0"),
        ("ui_locales", "fr-CA fr"),
        ("response_mode", "query"),
    ] {
        assert!(parameter(&browser.get(&app, &request(&[harmless])).await, "code").is_some(), "{harmless:?}");
    }
    app.pass(std::time::Duration::from_secs(1001)).await;
    let silent = request(&[("max_age", "1000"), ("prompt", "none")]);
    let answer = browser.get(&app, &silent).await;
    assert_eq!(parameter(&answer, "error").as_deref(), Some("login_required"));
}

#[actix_web::test]
async fn a_max_age_of_0_asks_for_a_sign_in_even_in_its_very_second() {
    let app = service().await;
    let mut browser = Browser::default();
    browser.allow(&app, &request(&[])).await;
    for more in [&[][..], &[("prompt", "select_account")]] {
        let page = browser.get(&app, &request(&[&[("max_age", "0")], more].concat())).await;
        assert!(text(&page).contains("name=\"password\"") && !text(&page).contains("Continue as"));
    }
    let answer = browser.get(&app, &request(&[("max_age", "0"), ("prompt", "none")])).await;
    assert_eq!(parameter(&answer, "error").as_deref(), Some("login_required"));
}

#[actix_web::test]
async fn nobody_goes_on_as_whom_the_form_did_not_offer() {
    let app = service().await;
    crate::shell::account(&app, ("Bob", "bob@example.com"), false).await;
    let mut browser = Browser::default();
    browser.allow(&app, &request(&[])).await;
    let mut bob = crate::shell::signed_in(&app, "bob@example.com", "/account").await;
    let is_begun_anew = |answer: &crate::test_app::Answer| {
        assert_eq!((answer.status, answer.header("location")), (400, None), "{}", text(answer));
        assert!(text(answer).contains("Start again"), "{}", text(answer));
    };
    for asked in [("prompt", "login"), ("max_age", "0")] {
        let page = browser.get(&app, &request(&[asked])).await;
        let members = [("state", &*state(&page)), ("account", "current")];
        is_begun_anew(&browser.post(&app, "/oauth2/sign-in", &members).await);
    }
    // Nor as somebody else, who has signed in since.
    let page = browser.get(&app, &request(&[("prompt", "select_account")])).await;
    let members = [("state", &*state(&page)), ("account", "current")];
    let session = bob.cookies.remove("signet-session").unwrap();
    let adas = browser.cookies.insert("signet-session".into(), session).unwrap();
    is_begun_anew(&browser.post(&app, "/oauth2/sign-in", &members).await);
    browser.cookies.insert("signet-session".into(), adas);
    assert!(location(&browser.post(&app, "/oauth2/sign-in", &members).await).contains("/oauth2/authorize?"));
}

#[actix_web::test]
async fn select_account_offers_who_is_signed_in() {
    let app = service().await;
    let mut browser = Browser::default();
    browser.allow(&app, &request(&[])).await;
    let page = browser.get(&app, &request(&[("prompt", "select_account")])).await;
    assert!(text(&page).contains("Continue as") && text(&page).contains("Ada Lovelace"));
    let answer =
        browser.post(&app, "/oauth2/sign-in", &[("state", &*state(&page)), ("account", "current")]).await;
    assert!(parameter(&browser.get(&app, &location(&answer)).await, "code").is_some());
    let page = browser.get(&app, &request(&[("prompt", "select_account login")])).await;
    assert!(!text(&page).contains("Continue as"), "whoever has to sign in anew can't go on without");
}

#[actix_web::test]
async fn an_exempted_client_needs_neither_challenge_nor_scope() {
    let app = TestApp::start().await;
    ada(&app).await;
    register(&app, Registration { require_pkce: Some(false), ..shop() }).await;
    let query = encoded(&[("client_id", "shop"), ("redirect_uri", CALLBACK), ("response_type", "code")]);
    let mut browser = Browser::default();
    let answer = browser.allow(&app, &format!("/api/authorize.php?{query}")).await;
    assert!(parameter(&answer, "code").is_some());
    let answer = browser.allow(&app, &format!("/oauth/authorize?{query}&force_login=False&lang=None")).await;
    assert!(parameter(&answer, "code").is_some());
    // A challenge that is sent must still be a good one.
    let answer = browser.get(&app, &format!("/oauth2/authorize?{query}&code_challenge=abc")).await;
    assert_eq!(parameter(&answer, "error").as_deref(), Some("invalid_request"));
}

#[actix_web::test]
async fn out_of_band_the_code_is_shown() {
    let app = TestApp::start().await;
    ada(&app).await;
    let oob = RedirectUri::OUT_OF_BAND;
    register(&app, Registration { redirect_uris: vec![RedirectUri::parse(oob).unwrap()], ..shop() }).await;
    let mut browser = Browser::default();
    let answer = browser.allow(&app, &request(&[("redirect_uri", oob)])).await;
    assert_eq!((answer.status, answer.header("location")), (200, None));
    assert!(text(&answer).contains("Authorization code"));
    let page = browser.get(&app, &request(&[("redirect_uri", oob), ("prompt", "consent")])).await;
    let answer = browser.decide(&app, &page, "deny").await;
    assert_eq!((answer.status, answer.header("location")), (400, None));
    assert!(text(&answer).contains("access_denied"));
}

#[actix_web::test]
async fn a_client_that_anybody_could_pretend_to_be_is_asked_about_every_time() {
    let app = TestApp::start().await;
    ada(&app).await;
    let public = |id: &str, uri: &str, consent| Registration {
        client_id: Some(ClientId::parse(id).unwrap()),
        token_endpoint_auth_method: AuthMethod::None,
        redirect_uris: vec![RedirectUri::parse(uri).unwrap()],
        consent,
        ..shop()
    };
    register(&app, public("native", "http://127.0.0.1/cb", ConsentRule::Implied)).await;
    register(&app, public("scheme", "com.example.app:/cb", ConsentRule::Required)).await;
    register(&app, public("spa", "https://spa.example.com/cb", ConsentRule::Required)).await;
    let mut browser = Browser::default();
    for (id, uri, asked) in [
        ("native", "http://127.0.0.1:49152/cb", true),
        ("scheme", "com.example.app:/cb", true),
        ("spa", "https://spa.example.com/cb", false),
    ] {
        let asking = request(&[("client_id", id), ("redirect_uri", uri)]);
        assert!(location(&browser.allow(&app, &asking).await).starts_with(uri));
        let again = browser.get(&app, &asking).await;
        assert_eq!(text(&again).contains("name=\"decision\""), asked, "{id}");
    }
    let none = request(&[
        ("client_id", "spa"),
        ("redirect_uri", "https://spa.example.com/cb"),
        ("code_challenge", ""),
    ]);
    let none = none.replace("&code_challenge_method=S256", "");
    assert_eq!(parameter(&browser.get(&app, &none).await, "error").as_deref(), Some("invalid_request"));
}

#[actix_web::test]
async fn consent_is_implied_only_where_an_administrator_says_so() {
    let app = TestApp::start().await;
    ada(&app).await;
    register(&app, Registration { consent: ConsentRule::Implied, ..shop() }).await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[])).await;
    let answer = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    assert!(parameter(&answer, "code").is_some());
}

#[actix_web::test]
async fn whoever_signs_in_is_sent_to_the_client_at_once_only_where_nothing_is_left_to_ask() {
    let app = TestApp::start().await;
    ada(&app).await;
    register(&app, Registration { consent: ConsentRule::Implied, ..shop() }).await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[])).await;
    let before = app.app.state.services.store.flushes();
    let answer = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    assert!(location(&answer).starts_with(CALLBACK) && browser.cookies.contains_key("signet-session"));
    assert_eq!(app.app.state.services.store.flushes() - before, 2, "the try, and all that it comes to");
    // A page is never the answer to a password.
    let page = browser.get(&app, &request(&[("prompt", "login"), ("response_mode", "form_post")])).await;
    let answer = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    assert!(location(&answer).starts_with(ISSUER));
    assert!(text(&browser.go_on(&app, answer).await).contains("name=\"code\""));
    // What was asked for with `prompt=consent` is shown, though nobody would have to be asked.
    let page = browser.get(&app, &request(&[("prompt", "login consent")])).await;
    let answer = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    assert!(location(&answer).starts_with(ISSUER));
    assert!(text(&browser.go_on(&app, answer).await).contains("name=\"decision\""));
}

#[actix_web::test]
async fn a_claim_asks_for_the_scope_that_stands_for_it() {
    let app = service().await;
    let mut browser = Browser::default();
    let claims = json!({ "id_token": { "email": null }, "userinfo": { "address": { "essential": true } } });
    let asking = request(&[("scope", "openid"), ("claims", &claims.to_string())]);
    let page = browser.get(&app, &asking).await;
    let next = location(&browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await);
    let page = text(&browser.get(&app, &next).await);
    assert!(page.contains("See your e-mail address"));
    assert!(!page.contains("See your postal address"), "the client may not have it");
    for malformed in ["x", "[]", "{\"userinfo\":1}", "\"email\""] {
        let answer = browser.get(&app, &request(&[("claims", malformed)])).await;
        assert_eq!(parameter(&answer, "error").as_deref(), Some("invalid_request"), "{malformed}");
    }
}

/// OpenID Connect Core 1.0, section 5.5: of either endpoint where claims are told.
#[actix_web::test]
async fn a_claim_asked_of_userinfo_is_consented_to_and_told_there() {
    let app = TestApp::start().await;
    ada(&app).await;
    let client = register(&app, shop()).await;
    let mut browser = Browser::default();
    let plain = browser.get(&app, &request(&[("scope", "openid")])).await;
    let next = location(&browser.sign_in(&app, &plain, ("ada@example.com", PASSWORD)).await);
    assert!(!text(&browser.get(&app, &next).await).contains("See your e-mail address"));
    let claims = json!({ "userinfo": { "email": null } }).to_string();
    let page = browser.get(&app, &request(&[("scope", "openid"), ("claims", &claims)])).await;
    assert!(text(&page).contains("See your e-mail address"), "{}", text(&page));
    let code = parameter(&browser.decide(&app, &page, "allow").await, "code").unwrap();
    let tokens = redeem(&app, &client, &code).await;
    let token = bearer(tokens["access_token"].as_str().unwrap());
    let told = app.send(TestRequest::get().uri("/oauth2/userinfo").insert_header(token)).await;
    assert_eq!(told.json()["email"], "ada@example.com");
}

#[actix_web::test]
async fn errors_go_to_the_client_once_its_redirect_uri_is_known() {
    let app = service().await;
    let mut browser = Browser::default();
    let admin = format!("{ISSUER}/admin");
    for (members, error) in [
        ([("response_type", "token")], "unsupported_response_type"),
        ([("response_type", "")], "invalid_request"),
        ([("response_mode", "fragment")], "invalid_request"),
        ([("scope", "follow")], "invalid_scope"),
        ([("scope", "signet:keys")], "invalid_scope"),
        ([("scope", "openid address")], "invalid_scope"),
        ([("scope", "a\"b")], "invalid_scope"),
        ([("resource", "https://elsewhere.example.com")], "invalid_target"),
        ([("resource", &*admin)], "invalid_target"),
        ([("code_challenge", "")], "invalid_request"),
        ([("code_challenge", "short")], "invalid_request"),
        ([("code_challenge_method", "plain")], "invalid_request"),
        ([("code_challenge_method", "")], "invalid_request"),
        ([("prompt", "create")], "invalid_request"),
        ([("max_age", "-1")], "invalid_request"),
        ([("max_age", "x")], "invalid_request"),
        ([("nonce", &*"n".repeat(513))], "invalid_request"),
        ([("request", "x")], "request_not_supported"),
        ([("request_uri", "https://a.example/r")], "request_uri_not_supported"),
        ([("registration", "{}")], "registration_not_supported"),
    ] {
        let answer = browser.get(&app, &request(&members)).await;
        assert_eq!(parameter(&answer, "error").as_deref(), Some(error), "{members:?}");
        assert!(location(&answer).starts_with(&format!("{CALLBACK}?error=")), "{members:?}");
        assert_eq!(parameter(&answer, "state").as_deref(), Some("af0ifjsldkj"), "{members:?}");
        assert_eq!(parameter(&answer, "iss").as_deref(), Some(ISSUER), "{members:?}");
    }
}

#[actix_web::test]
async fn errors_stay_here_until_then() {
    let app = service().await;
    let mut browser = Browser::default();
    for (members, names) in [
        ([("client_id", "")], "client_id"),
        ([("client_id", "nobody")], "client_id"),
        ([("redirect_uri", "https://evil.example/")], "redirect_uri"),
    ] {
        let answer = browser.get(&app, &request(&members)).await;
        assert_eq!((answer.status, answer.header("location")), (400, None), "{members:?}");
        assert!(text(&answer).contains(names), "{members:?}");
        assert!(!text(&answer).contains("evil.example"), "nothing of the request is repeated");
    }
    let twice = format!("{}&state=b", request(&[]));
    let answer = browser.get(&app, &twice).await;
    assert_eq!((answer.status, answer.header("location")), (400, None));
    let long = request(&[("state", &"s".repeat(9000))]);
    assert_eq!(browser.get(&app, &long).await.status, 400);
    let demo = app.demo().0.to_owned();
    let answer = browser.get(&app, &request(&[("client_id", &demo), ("redirect_uri", "")])).await;
    assert_eq!(answer.status, 400, "a client without redirect URIs");
}

#[actix_web::test]
async fn the_one_redirect_uri_may_be_left_out() {
    let app = service().await;
    let oauth = [("redirect_uri", ""), ("scope", "read")];
    let answer = Browser::default().allow(&app, &request(&oauth)).await;
    assert!(location(&answer).starts_with(&format!("{CALLBACK}?code=")));
    // OpenID Connect Core 1.0, section 3.1.2.1: "REQUIRED". There is no place to tell the client.
    for scope in ["openid", "read openid", "openid unheard-of"] {
        let answer = Browser::default().get(&app, &request(&[("redirect_uri", ""), ("scope", scope)])).await;
        assert_eq!((answer.status, answer.header("location")), (400, None), "{scope}");
        assert!(text(&answer).contains("redirect_uri is missing"), "{scope}");
    }
}

#[actix_web::test]
async fn an_openid_request_may_name_a_scope_that_means_nothing_here() {
    let app = TestApp::start().await;
    ada(&app).await;
    let client = register(&app, shop()).await;
    let mut browser = Browser::default();
    for (asked, granted) in [
        ("openid unheard-of", "openid"),
        ("groups openid email read roles", "openid email read"),
        ("signet:unheard-of openid", "openid"),
    ] {
        let asking = request(&[("scope", asked), ("prompt", "consent")]);
        let page = browser.get(&app, &asking).await;
        let page = if text(&page).contains("name=\"password\"") {
            let answer = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
            browser.go_on(&app, answer).await
        } else {
            page
        };
        assert!(!text(&page).contains("unheard-of") && !text(&page).contains("groups"), "{asked}");
        let answer = browser.decide(&app, &page, "allow").await;
        let tokens = redeem(&app, &client, &parameter(&answer, "code").expect("a code")).await;
        assert_eq!(tokens["scope"], granted, "the answer tells what was granted");
        assert_eq!(part(tokens["access_token"].as_str().unwrap(), 1)["scope"], granted);
    }
    // What is known here and not the client's stays refused, and so does anything unknown where nothing says that it may be ignored.
    for asked in
        ["openid address", "openid follow signet:keys", "openid users:read", "read unheard-of", "unheard-of"]
    {
        let answer = browser.get(&app, &request(&[("scope", asked)])).await;
        assert_eq!(parameter(&answer, "error").as_deref(), Some("invalid_scope"), "{asked}");
    }
}

#[actix_web::test]
async fn a_disabled_account_is_signed_in_no_more() {
    let app = service().await;
    let mut browser = Browser::default();
    browser.allow(&app, &request(&[])).await;
    let services = &app.app.state.services;
    let user = services.accounts.named("ada@example.com").await.unwrap().unwrap();
    let change = signet::users::AccountChange { disabled: Some(true), ..Default::default() };
    services.accounts.update(&user, &change).await.unwrap();
    let page = browser.get(&app, &request(&[])).await;
    let again = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    assert_eq!(again.status, 400);
}

#[actix_web::test]
async fn cross_origin_scripts_can_not_ask() {
    let app = service().await;
    let preflight = TestRequest::with_uri("/oauth2/authorize")
        .method(actix_web::http::Method::OPTIONS)
        .insert_header(("Origin", "https://shop.example.com"))
        .insert_header(("Access-Control-Request-Method", "GET"));
    let answer = app.send(preflight).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (405, None));
}

/// A service for these resources too, and the shop's client for them alone, with this scope.
async fn service_of(resources: &[String], scope: &str) -> TestApp {
    let resources: Vec<_> = resources.iter().map(|uri| Resource::parse(uri).unwrap()).collect();
    let scope = Scope::parse(scope).unwrap();
    let app = TestApp::start_with(|config| {
        let first = &mut config.resources[0];
        first.scope = Scope::parse(&format!("{scope} write")).unwrap();
        let first = first.clone();
        let more = resources.iter().map(|uri| ResourceConfig { uri: uri.clone(), ..first.clone() });
        config.resources.extend(more);
    })
    .await;
    ada(&app).await;
    register(&app, Registration { scope, resources, ..shop() }).await;
    app
}

#[actix_web::test]
async fn a_consent_form_is_only_shown_if_its_answer_can_be_read() {
    let resources: Vec<String> =
        (0..8).map(|n| format!("https://{n}.example.com/{}", "x".repeat(225))).collect();
    let scope = (0..8).map(|n| format!("{n}{}", "s".repeat(240))).collect::<Vec<_>>().join(" ");
    let app = service_of(&resources, &format!("read {scope}")).await;
    let mut browser = Browser::default();
    browser.allow(&app, &request(&[("scope", "read")])).await;
    let (mut allowed, mut refused) = (0, 0);
    for filler in (100..3500).step_by(100) {
        let filler = "f".repeat(filler);
        let mut asked = vec![("scope", &*scope), ("state", &*filler), ("prompt", "consent")];
        asked.extend(resources.iter().map(|uri| ("resource", &**uri)));
        let answer = browser.get(&app, &request(&asked)).await;
        if answer.status == 200 {
            let answer = browser.decide(&app, &answer, "allow").await;
            assert!(parameter(&answer, "code").is_some(), "{}", filler.len());
            allowed += 1;
        } else {
            assert_eq!(parameter(&answer, "error").as_deref(), Some("invalid_request"));
            assert_eq!(parameter(&answer, "error_description").as_deref(), Some("the request is too long"));
            refused += 1;
        }
    }
    assert!(allowed > 5 && refused > 5, "{allowed} {refused}");
}

/// RFC 8707, section 2: more audiences than any token has reason to name.
#[actix_web::test]
async fn a_request_names_at_most_eight_resources() {
    let resources: Vec<String> = (0..9).map(|n| format!("https://{n}.example.com")).collect();
    let app = service_of(&resources, "read").await;
    let mut browser = Browser::default();
    for (count, is_taken) in [(9, false), (8, true)] {
        let mut asked = vec![("scope", "read")];
        asked.extend(resources[..count].iter().map(|uri| ("resource", &**uri)));
        // The same one twice is one.
        asked.push(("resource", &*resources[0]));
        let answer = browser.allow(&app, &request(&asked)).await;
        assert_eq!(parameter(&answer, "code").is_some(), is_taken, "{count}");
        let error = parameter(&answer, "error");
        assert_eq!(error.as_deref(), (!is_taken).then_some("invalid_target"), "{count}");
    }
}
