//! Signing out at a client's wish.

use serde_json::Value;
use signet::clients::Registration;
use signet::config::Config;
use signet::oauth::{ClientId, RedirectUri};

use crate::browser::{
    Browser, CALLBACK, ada, encoded, location, parameter, redeem, register, request, shop, state, text,
};
use crate::test_app::{TestApp, part};

pub(crate) const AFTER: &str = "https://shop.example.com/bye";

/// Ada, who is signed in, and what her client got for its code.
pub(crate) async fn service() -> (TestApp, Browser, Value) {
    service_with(|_| {}).await
}

/// The same, with other settings.
pub(crate) async fn service_with(change: impl FnOnce(&mut Config)) -> (TestApp, Browser, Value) {
    let app = TestApp::start_with(change).await;
    ada(&app).await;
    let after = vec![RedirectUri::parse(AFTER).unwrap()];
    let shop = register(&app, Registration { post_logout_redirect_uris: after, ..shop() }).await;
    let mut browser = Browser::default();
    let answer = browser.allow(&app, &request(&[])).await;
    let tokens = redeem(&app, &shop, &parameter(&answer, "code").unwrap()).await;
    (app, browser, tokens)
}

async fn is_signed_in(app: &TestApp, browser: &mut Browser) -> bool {
    parameter(&browser.get(app, &request(&[("prompt", "none")])).await, "code").is_some()
}

#[actix_web::test]
async fn without_a_hint_the_person_is_asked() {
    let (app, mut browser, _) = service().await;
    let page = browser.get(&app, "/oauth2/logout").await;
    assert!(text(&page).contains("Ada Lovelace") && is_signed_in(&app, &mut browser).await);
    for (decision, stays) in [("stay", true), ("", true), ("sign-out", false)] {
        let members = [("state", &*state(&page)), ("decision", decision)];
        let answer = browser.post(&app, "/oauth2/sign-out", &members).await;
        assert_eq!((answer.status, is_signed_in(&app, &mut browser).await), (200, stays), "{decision}");
    }
    assert!(!browser.cookies.contains_key("signet-session"));
    assert!(app.audit_log().contains("session.ended"));
    let answer = browser.get(&app, "/oauth2/logout").await;
    assert!(text(&answer).contains("You are signed out"));
}

#[actix_web::test]
async fn a_hint_signs_its_own_person_out_at_once() {
    let (app, mut browser, tokens) = service().await;
    let hint = tokens["id_token"].as_str().unwrap();
    let query = encoded(&[("id_token_hint", hint), ("post_logout_redirect_uri", AFTER), ("state", "x y")]);
    // After the token has ended it is still a hint.
    app.pass(std::time::Duration::from_hours(2)).await;
    let answer = browser.get(&app, &format!("/oauth2/logout?{query}")).await;
    assert_eq!(location(&answer), format!("{AFTER}?state=x+y"));
    assert!(!is_signed_in(&app, &mut browser).await);
}

#[actix_web::test]
async fn a_hint_of_somebody_else_or_a_forged_one_asks() {
    let (app, mut browser, tokens) = service().await;
    let hint = tokens["id_token"].as_str().unwrap();
    let (head, signature) = hint.rsplit_once('.').unwrap();
    // Well-formed, and of another token.
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{head}.{other}{}", &signature[1..]);
    for hint in [&*forged, "x", tokens["access_token"].as_str().unwrap()] {
        let answer = browser.get(&app, &format!("/oauth2/logout?id_token_hint={hint}")).await;
        assert!(text(&answer).contains("Do you want to sign out"), "{hint}");
    }
    // The same person in another session, say on another device: not this one.
    let mut other = Browser::default();
    other.allow(&app, &request(&[])).await;
    let answer = other.get(&app, &format!("/oauth2/logout?id_token_hint={hint}")).await;
    assert!(text(&answer).contains("Do you want to sign out"));
    assert!(is_signed_in(&app, &mut browser).await && is_signed_in(&app, &mut other).await);
    assert!(part(hint, 1)["sid"].is_string());
}

#[actix_web::test]
async fn nobody_is_sent_to_a_place_that_is_not_registered() {
    let (app, mut browser, tokens) = service().await;
    register(&app, Registration { client_id: Some(ClientId::parse("other").unwrap()), ..shop() }).await;
    let hint = tokens["id_token"].as_str().unwrap();
    for query in [
        encoded(&[("post_logout_redirect_uri", AFTER)]),
        encoded(&[("client_id", "shop"), ("post_logout_redirect_uri", "https://evil.example/")]),
        encoded(&[("client_id", "shop"), ("post_logout_redirect_uri", &format!("{AFTER}/"))]),
        encoded(&[("client_id", "shop"), ("post_logout_redirect_uri", CALLBACK)]),
        encoded(&[("client_id", "other"), ("post_logout_redirect_uri", AFTER)]),
        encoded(&[("client_id", "other"), ("id_token_hint", hint), ("post_logout_redirect_uri", AFTER)]),
        encoded(&[("id_token_hint", hint), ("post_logout_redirect_uri", "https://evil.example/")]),
    ] {
        let answer = browser.get(&app, &format!("/oauth2/logout?{query}")).await;
        assert_eq!((answer.status, answer.header("location")), (400, None), "{query}");
    }
    assert!(is_signed_in(&app, &mut browser).await);
    let query = encoded(&[("client_id", "shop"), ("post_logout_redirect_uri", AFTER)]);
    let page = browser.get(&app, &format!("/oauth2/logout?{query}")).await;
    let members = [("state", &*state(&page)), ("decision", "sign-out")];
    assert_eq!(location(&browser.post(&app, "/oauth2/sign-out", &members).await), AFTER);
}

#[actix_web::test]
async fn a_form_of_another_site_comes_by_way_of_get() {
    let (app, mut browser, _) = service().await;
    let answer = browser.post(&app, "/oauth2/logout", &[("client_id", "shop"), ("state", "\r\n")]).await;
    assert!(location(&answer).ends_with("/oauth2/logout?client_id=shop&state=%0D%0A"));
    assert!(is_signed_in(&app, &mut browser).await);
    // A sign-out form of ours can't be made elsewhere.
    let answer = browser.post(&app, "/oauth2/sign-out", &[("decision", "sign-out")]).await;
    assert_eq!(answer.status, 400);
    assert!(is_signed_in(&app, &mut browser).await);
}
