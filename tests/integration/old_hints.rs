//! ID tokens that come back as hints when the key that signed them has left the JWKS.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::json;

use crate::browser::{Browser, encoded, location, parameter, request, state, text};
use crate::sign_out::{AFTER, service};
use crate::test_app::{Answer, TestApp, part};

/// Ada, who is signed in, and an ID token of hers whose key has left the JWKS.
struct Old {
    app: TestApp,
    browser: Browser,
    hint: String,
}

impl Old {
    async fn start() -> Self {
        let (app, browser, tokens) = service().await;
        let hint = tokens["id_token"].as_str().unwrap().to_owned();
        let rotate = Some(json!({ "algorithm": part(&hint, 0)["alg"], "force": true }));
        assert_eq!(app.administer(Method::POST, "/admin/keys/rotate", rotate).await.status, 200);
        let mut old = Self { app, browser, hint };
        assert!(old.is_published().await);
        old.pass(26).await;
        assert!(!old.is_published().await);
        old
    }

    fn kid(&self) -> String {
        part(&self.hint, 0)["kid"].as_str().unwrap().to_owned()
    }

    /// Lets so many hours pass, with Ada at her browser.
    async fn pass(&mut self, hours: u64) {
        for _ in 0..hours.div_ceil(4) {
            self.app.pass(Duration::from_hours(4)).await;
            self.browser.get(&self.app, &request(&[])).await;
        }
    }

    async fn is_published(&self) -> bool {
        let jwks = self.app.send(TestRequest::get().uri("/.well-known/jwks.json")).await.json();
        jwks["keys"].as_array().unwrap().iter().any(|key| key["kid"] == self.kid().as_str())
    }

    async fn is_known(&self) -> bool {
        let keys = self.app.administer(Method::GET, "/admin/keys", None).await.json();
        keys["keys"].as_array().unwrap().iter().any(|key| key["kid"] == self.kid().as_str())
    }

    async fn ask(&mut self, more: &[(&str, &str)]) -> Answer {
        let members = [&[("id_token_hint", self.hint.as_str())], more].concat();
        self.browser.get(&self.app, &request(&members)).await
    }

    async fn log_out(&mut self, more: &[(&str, &str)]) -> Answer {
        let members = [&[("id_token_hint", self.hint.as_str()), ("state", "x")], more].concat();
        self.browser.get(&self.app, &format!("/oauth2/logout?{}", encoded(&members))).await
    }

    /// The hint says nothing of anybody; whoever brings it is asked, and refused only where asking is forbidden.
    async fn counts_for_nothing(&mut self) {
        let error = |answer: &Answer| parameter(answer, "error");
        assert_eq!(error(&self.ask(&[("prompt", "none")]).await).as_deref(), Some("login_required"));
        assert!(parameter(&self.ask(&[]).await, "code").is_some());
        // It says no more whose the place is, so nobody is sent there; the client's own name does.
        let named = self.log_out(&[("post_logout_redirect_uri", AFTER), ("client_id", "shop")]).await;
        assert_eq!((named.status, text(&named).contains("Do you want to sign out")), (200, true));
        let page = self.log_out(&[("post_logout_redirect_uri", AFTER)]).await;
        assert_eq!((page.status, text(&page).contains("Do you want to sign out")), (200, true));
        let leave = [("state", &*state(&page)), ("decision", "sign-out")];
        let answer = self.browser.post(&self.app, "/oauth2/sign-out", &leave).await;
        assert!(text(&answer).contains("You are signed out") && answer.header("location").is_none());
        // Nor is it an error when nobody is signed in any more.
        let answer = self.log_out(&[("post_logout_redirect_uri", AFTER)]).await;
        assert!(text(&answer).contains("You are signed out") && answer.header("location").is_none());
    }
}

#[actix_web::test]
async fn a_hint_outlives_the_publication_of_its_key() {
    let mut old = Old::start().await;
    assert!(parameter(&old.ask(&[("prompt", "none")]).await, "code").is_some());
    let answer = old.log_out(&[("post_logout_redirect_uri", AFTER)]).await;
    assert_eq!(location(&answer), format!("{AFTER}?state=x"));
    let answer = old.ask(&[("prompt", "none")]).await;
    assert_eq!(parameter(&answer, "error").as_deref(), Some("login_required"));
}

#[actix_web::test]
async fn a_hint_older_than_any_session_counts_for_nothing_and_is_no_error() {
    let mut old = Old::start().await;
    assert!(old.is_known().await);
    old.pass(7 * 24 - 8).await;
    assert!(old.is_known().await);
    old.pass(12).await;
    assert!(!old.is_known().await && !old.is_published().await);
    let Old { app, browser, .. } = &mut old;
    let page = browser.get(app, &request(&[])).await;
    assert!(text(&page).contains("name=\"password\""), "no session is so old");
    let answer = browser.sign_in(app, &page, ("ada@example.com", crate::browser::PASSWORD)).await;
    browser.go_on(app, answer).await;
    old.counts_for_nothing().await;
}

#[actix_web::test]
async fn what_a_compromised_key_signed_is_no_hint() {
    let mut old = Old::start().await;
    let condemn = format!("/admin/keys/{}/compromise", old.kid());
    assert_eq!(old.app.administer(Method::POST, &condemn, Some(json!({}))).await.status, 200);
    old.app.pass(Duration::from_secs(1)).await;
    old.counts_for_nothing().await;
}
