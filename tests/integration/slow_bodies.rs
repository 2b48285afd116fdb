//! Who asks is looked at when the request is there as a whole: whoever keeps a body back acts for nobody who has gone meanwhile.

use std::pin::pin;
use std::sync::Arc;

use actix_web::http::Method;
use actix_web::http::header::COOKIE;
use actix_web::test::TestRequest;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use signet::clock::ManualClock;
use signet::protocol::users::end_session;
use tokio::sync::oneshot;

use crate::api_keys::users_key;
use crate::browser::{ada, text};
use crate::shared_store::SharedStore;
use crate::shell::{form_token, signed_in};
use crate::test_app::{Answer, START, TestApp, basic, bearer, form};

const ADA: &str = "ada@example.com";

/// On a store that answers before long.
async fn service() -> TestApp {
    let clock = Arc::new(ManualClock::at(START));
    TestApp::start_on(SharedStore::new(clock.clone()), clock, |_| {}).await
}

/// What the request is answered whose body comes only when `meanwhile` has happened.
async fn answered(app: &TestApp, request: TestRequest, meanwhile: impl Future<Output = ()>) -> Answer {
    let (release, held) = oneshot::channel();
    let mut answered = pin!(app.send_when(request, Some(held)));
    for _ in 0..100 {
        assert!(answered.as_mut().now_or_never().is_none(), "it waits for the body");
        tokio::task::yield_now().await;
    }
    meanwhile.await;
    release.send(()).expect("it waits");
    answered.await
}

fn sent(method: Method, path: &str, body: &Value) -> TestRequest {
    TestRequest::with_uri(path).method(method).set_json(body)
}

#[actix_web::test]
async fn a_form_that_comes_after_its_session_has_ended_does_nothing() {
    let app = service().await;
    let account = ada(&app).await;
    for ends in [false, true] {
        let mut browser = signed_in(&app, ADA, "/account").await;
        let token = form_token(&browser.get(&app, "/account").await);
        let name = if ends { "Mallory" } else { "Countess" };
        let cookies = browser.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        let request = form("/account", &format!("form_token={token}&name={name}"))
            .insert_header((COOKIE, cookies.collect::<Vec<_>>().join("; ")));
        let services = &app.app.state.services;
        let end = async {
            for session in services.sessions.of_user(&account.id).await.expect("sessions") {
                if ends {
                    end_session(services, &account.id, &session.sid).await.expect("it ends");
                }
            }
        };
        assert_eq!(answered(&app, request, end).await.status, 303);
        assert_eq!(services.accounts.find(&account.id).await.unwrap().unwrap().name, "Countess");
        assert_eq!(text(&browser.get(&app, "/account").await).contains("Your profile"), !ends);
    }
}

#[actix_web::test]
async fn an_act_of_administration_that_comes_after_its_token_was_revoked_does_nothing() {
    let app = service().await;
    for revoked in [false, true] {
        let token = app.admin_token().await;
        let email = format!("{revoked}@example.com");
        let new = json!({ "name": "Bob", "email": email });
        let request = sent(Method::POST, "/admin/users", &new).insert_header(bearer(&token));
        let revoke = async {
            if revoked {
                let request = form("/oauth2/revoke", &format!("token={token}"));
                assert_eq!(app.send(request.insert_header(basic(app.admin()))).await.status, 200);
            }
        };
        let answer = answered(&app, request, revoke).await;
        assert_eq!(answer.status, if revoked { 401 } else { 201 }, "{}", text(&answer));
        let made = app.app.state.services.accounts.named(&email).await.unwrap();
        assert_eq!(made.is_none(), revoked);
    }
}

#[actix_web::test]
async fn an_account_that_comes_after_the_api_key_was_revoked_is_not_made() {
    let app = service().await;
    let (id, key) = users_key(&app, "users:read users:write").await;
    for revoked in [false, true] {
        let email = format!("{revoked}@example.com");
        let new = json!({ "name": "Bob", "email": email, "password": "correct horse battery staple" });
        let request = sent(Method::POST, "/users", &new).insert_header(("X-API-Key", key.clone()));
        let revoke = async {
            if revoked {
                let path = format!("/admin/api-keys/{id}");
                assert_eq!(app.administer(Method::DELETE, &path, None).await.status, 204);
            }
        };
        let answer = answered(&app, request, revoke).await;
        assert_eq!(answer.status, if revoked { 401 } else { 201 }, "{}", text(&answer));
        let made = app.app.state.services.accounts.named(&email).await.unwrap();
        assert_eq!(made.is_none(), revoked);
    }
}

/// It is read before that is known, and no more of it than of any other.
#[actix_web::test]
async fn a_body_that_is_too_long_is_refused_as_such_to_who_may_ask() {
    let app = service().await;
    let (_, key) = users_key(&app, "users:read users:write").await;
    let token = app.admin_token().await;
    let long = json!({ "name": "x".repeat(17_000) });
    for (path, proof) in [("/admin/clients", bearer(&token)), ("/users", ("X-API-Key", key))] {
        let request = || sent(Method::POST, path, &long);
        assert_eq!(app.send(request().insert_header(proof)).await.status, 413, "{path}");
        assert_eq!(app.send(request()).await.status, 401, "{path}");
    }
}
