//! Signing in: passwords, second factors, tries.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use futures_util::FutureExt as _;
use signet::clock::ManualClock;
use signet::oauth::Secret;
use signet::protocol::users::{Entry, sign_in, sign_in_from};
use signet::users::{Account, Attempt, Authentication, Enrollment, NewSession, Tried};

use crate::browser::{Browser, PASSWORD, ada, location, parameter, register, request, shop, state, text};
use crate::shared_store::SharedStore;
use crate::shell::account;
use crate::test_app::{START, TestApp, bearer};

async fn service() -> TestApp {
    let app = TestApp::start().await;
    ada(&app).await;
    register(&app, shop()).await;
    app
}

#[actix_web::test]
async fn a_wrong_password_and_an_unknown_name_look_the_same() {
    let app = service().await;
    let eve = account(&app, ("Eve", "eve@example.com"), false).await;
    let change = signet::users::AccountChange { disabled: Some(true), ..Default::default() };
    app.app.state.services.accounts.update(&eve.id, &change).await.unwrap();
    let mut answers = Vec::new();
    for who in [
        ("ada@example.com", "wrong password"),
        ("bob@example.com", PASSWORD),
        ("ada@example.com", ""),
        ("eve@example.com", PASSWORD),
        ("eve@example.com", "wrong password"),
    ] {
        let mut browser = Browser::default();
        let page = browser.get(&app, &request(&[])).await;
        let answer = browser.sign_in(&app, &page, who).await;
        assert!(!browser.cookies.contains_key("signet-session"));
        assert!(text(&answer).contains("role=\"alert\""));
        // The sealed state differs each time; the name is the one that was typed.
        let body = text(&answer).replace(&state(&answer), "").replace(who.0, "");
        let headers: Vec<String> =
            answer.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        answers.push((answer.status, body, headers.len()));
    }
    assert_eq!(answers[0].0, 400);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let log = app.audit_log();
    assert!(log.contains("sign_in.failed") && !log.contains("bob@example.com"));
}

#[actix_web::test]
async fn whoever_comes_when_too_many_wait_is_sent_away_without_a_write() {
    // Without a permit there is no place to wait either.
    let app = TestApp::start_with(|config| config.passwords.hashing_permits = 0).await;
    register(&app, shop()).await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[])).await;
    let flushes = async || {
        let metrics = app.manage("/metrics").await;
        let metrics = text(&metrics);
        let count = metrics.lines().find_map(|line| line.strip_prefix("signet_store_flushes_total "));
        count.expect("the metric").parse::<u64>().expect("a number")
    };
    let before = flushes().await;
    assert!(before > 0);
    for _ in 0..10 {
        let answer = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
        assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("1")));
    }
    assert_eq!(flushes().await, before);
}

#[actix_web::test]
async fn a_sign_in_is_two_commits_the_try_and_all_that_it_comes_to() {
    let app = service().await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[])).await;
    let before = app.app.state.services.store.flushes();
    location(&browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await);
    assert_eq!(app.app.state.services.store.flushes() - before, 2);
}

#[actix_web::test]
async fn whoever_mistypes_can_go_on_with_the_same_page() {
    let app = service().await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[("login_hint", "ada@example.com")])).await;
    assert!(text(&page).contains("value=\"ada@example.com\""));
    let page = browser.sign_in(&app, &page, ("ada@example.com", "wrong")).await;
    let answer = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    assert!(text(&browser.get(&app, &location(&answer)).await).contains("name=\"decision\""));
    assert!(app.audit_log().contains("session.started"));
}

#[actix_web::test]
async fn tries_are_counted_and_a_known_device_is_let_in() {
    let app = service().await;
    let mut owner = Browser::default();
    let page = owner.get(&app, &request(&[])).await;
    owner.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    assert!(owner.cookies.contains_key("signet-device"));
    let mut stranger = Browser::default();
    let page = stranger.get(&app, &request(&[])).await;
    let mut refused = 0;
    for _ in 0..10 {
        let answer = stranger.sign_in(&app, &page, ("ada@example.com", "guess")).await;
        if answer.status == 429 {
            refused += 1;
            assert!(answer.header("retry-after").is_some());
            // The right password does not help now either.
            assert_eq!(stranger.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await.status, 429);
        }
    }
    assert_eq!(refused, 5);
    let page = owner.get(&app, &request(&[("prompt", "login")])).await;
    assert_eq!(owner.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await.status, 303);
}

/// Where an account is known on as many devices as it may be, each new one pushes out the same one: of two at once the second begins anew.
#[actix_web::test]
async fn a_sign_in_that_is_begun_anew_counts_for_the_account_once() {
    let clock = Arc::new(ManualClock::at(START));
    let store = SharedStore::new(clock.clone());
    let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
    let ada = ada(&app).await;
    let services = &app.app.state.services;
    let throttle = &services.login_throttle;
    let attempt = Attempt {
        tried: Tried::Account(ada.id.clone()),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST).into(),
        device: None,
        patience: Duration::ZERO,
    };
    let arrive = async || throttle.check(&attempt).await.unwrap();
    for _ in 0..64 {
        throttle.succeeded(&ada.id, &arrive().await).await.unwrap();
        app.clock.advance(Duration::from_mins(1));
    }
    let left = || services.limits.login_per_account.look(&ada.id).expect("a limit").remaining;
    let all = left();
    let authentication = Authentication { auth_time: app.now(), amr: vec!["pwd".into()] };
    let new = NewSession { user: ada.id.clone(), authentication, user_agent: None, address: None };
    let arrival = arrive().await;
    let other = arrive().await;
    let release = store.hold_next_commit();
    let begun = sign_in_from(services, (&ada, Entry::New(new)), &arrival, |_, batch| Ok(((), batch)));
    let mut first = pin!(begun);
    while store.holds_next_commit() {
        assert!(first.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    throttle.succeeded(&ada.id, &other).await.unwrap();
    release.send(()).expect("it waits");
    let commits = store.commits.load(std::sync::atomic::Ordering::SeqCst);
    assert!(first.await.unwrap().is_some());
    assert!(store.commits.load(std::sync::atomic::Ordering::SeqCst) > commits + 1, "it was begun anew");
    assert_eq!(all - left(), 2);
}

#[actix_web::test]
async fn an_administrator_who_sets_a_password_forgets_strangers_tries() {
    let app = TestApp::start().await;
    let account = ada(&app).await;
    register(&app, shop()).await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[])).await;
    for _ in 0..10 {
        browser.sign_in(&app, &page, ("ada@example.com", "guess")).await;
    }
    let new = "another sentence that nobody guesses";
    assert_eq!(browser.sign_in(&app, &page, ("ada@example.com", new)).await.status, 429);
    let change = serde_json::json!({ "password": new });
    let path = format!("/admin/users/{}", account.id);
    assert_eq!(app.administer(Method::PATCH, &path, Some(change)).await.status, 200);
    assert_eq!(browser.sign_in(&app, &page, ("ada@example.com", new)).await.status, 303);
}

/// What the authenticator app shows now.
pub(crate) fn totp(app: &TestApp, enrollment: &Enrollment) -> String {
    let secret = totp_rs::Secret::try_from_base32(enrollment.secret.expose()).unwrap();
    let totp = totp_rs::Builder::new()
        .with_digits(6)
        .with_skew(1)
        .with_step_duration(30)
        .with_secret(secret)
        .build()
        .unwrap();
    totp.generate(u64::try_from(app.now()).unwrap()).to_string()
}

/// Gives the account an authenticator app, whose next code counts; with its recovery codes.
pub(crate) async fn enrolled(app: &TestApp, account: &Account) -> (Enrollment, Vec<Secret>) {
    let factors = &app.app.state.services.second_factors;
    let enrollment = factors.enroll(&account.id, account.email.as_str()).await.unwrap();
    let codes = factors.confirm(&account.id, &totp(app, &enrollment)).await.unwrap().unwrap();
    app.pass(Duration::from_mins(1)).await;
    (enrollment, codes)
}

#[actix_web::test]
async fn a_password_that_was_changed_meanwhile_lets_nobody_in_by_a_second_factor() {
    let app = TestApp::start().await;
    let account = ada(&app).await;
    register(&app, shop()).await;
    let services = &app.app.state.services;
    let (enrollment, _) = enrolled(&app, &account).await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[])).await;
    let halfway = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    let changed = Secret::new("another sentence that nobody guesses".to_owned());
    services.accounts.set_password(&account.id, &changed).await.unwrap();
    let code = totp(&app, &enrollment);
    let members = [("state", &*state(&halfway)), ("code", &*code)];
    let refused = browser.post(&app, "/oauth2/second-factor", &members).await;
    assert_eq!(refused.status, 400);
    assert!(!browser.cookies.contains_key("signet-session"));
}

#[actix_web::test]
async fn the_second_factor_is_asked_for_where_there_is_one() {
    let app = TestApp::start().await;
    let account = ada(&app).await;
    register(&app, shop()).await;
    let (enrollment, codes) = enrolled(&app, &account).await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[])).await;
    let halfway = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    assert_eq!(halfway.status, 200);
    assert!(text(&halfway).contains("name=\"code\"") && !browser.cookies.contains_key("signet-session"));
    // Nobody is signed in by half.
    let silent = browser.get(&app, &request(&[("prompt", "none")])).await;
    assert_eq!(parameter(&silent, "error").as_deref(), Some("login_required"));
    let give = |code: String, page: String| [("state", page), ("code", code)];
    let pairs = give("000000".into(), state(&halfway));
    let members: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let again = browser.post(&app, "/oauth2/second-factor", &members).await;
    assert_eq!(again.status, 400);
    // Another browser can't finish what this one began.
    let code = totp(&app, &enrollment);
    let members = [("state", &*state(&again)), ("code", &*code)];
    assert_eq!(Browser::default().post(&app, "/oauth2/second-factor", &members).await.status, 400);
    let next = location(&browser.post(&app, "/oauth2/second-factor", &members).await);
    let page = browser.get(&app, &next).await;
    assert!(text(&page).contains("name=\"decision\""));
    // A recovery code works too, once.
    for (expected, code) in [(303, &codes[0]), (400, &codes[0])] {
        let mut browser = Browser { cookies: browser.cookies.clone() };
        let page = browser.get(&app, &request(&[("prompt", "login")])).await;
        let halfway = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
        let members = [("state", &*state(&halfway)), ("code", code.expose())];
        assert_eq!(browser.post(&app, "/oauth2/second-factor", &members).await.status, expected);
    }
}

#[actix_web::test]
async fn an_administrator_removes_the_second_factor_of_somebody_who_lost_it() {
    let app = TestApp::start().await;
    let account = ada(&app).await;
    register(&app, shop()).await;
    let services = &app.app.state.services;
    let path = format!("/admin/users/{}/second-factor", account.id);
    let remove = || app.administer(Method::DELETE, &path, None);
    let (enrollment, _) = enrolled(&app, &account).await;
    let session = || {
        let authentication = Authentication { auth_time: app.now(), amr: vec!["otp".into()] };
        NewSession { user: account.id.clone(), authentication, user_agent: None, address: None }
    };
    let before = services.accounts.find(&account.id).await.unwrap().unwrap();
    let thief = sign_in(services, &before, Entry::New(session())).await.unwrap().unwrap();
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[])).await;
    let halfway = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    assert!(text(&halfway).contains("name=\"code\""));

    assert_eq!(remove().await.status, 204);
    assert_eq!(remove().await.status, 204, "it can be asked for again");
    let unknown = "/admin/users/user_nobody/second-factor";
    app.administer(Method::DELETE, unknown, None).await.refused(404, "not_found");
    let of_ada = |line: &&str| line.contains("second_factor.removed") && line.contains(account.id.as_str());
    let log = app.audit_log();
    let entries: Vec<&str> = log.lines().filter(of_ada).collect();
    assert!(entries.len() == 2 && entries[0].contains(app.admin().0), "{entries:?}");
    assert!(
        entries[0].contains("\"was_set\":true") && entries[1].contains("\"was_set\":false"),
        "{entries:?}"
    );
    // Who has found the phone is out, also who was about to come in by it.
    assert!(services.sessions.find(&thief.cookie).await.unwrap().is_none());
    assert!(sign_in(services, &before, Entry::New(session())).await.unwrap().is_none());
    let code = totp(&app, &enrollment);
    let members = [("state", &*state(&halfway)), ("code", &*code)];
    assert_eq!(browser.post(&app, "/oauth2/second-factor", &members).await.status, 400);
    assert!(!browser.cookies.contains_key("signet-session"));
    // The password alone is enough, and no other one.
    let page = browser.get(&app, &request(&[])).await;
    assert_eq!(browser.sign_in(&app, &page, ("ada@example.com", "guess")).await.status, 400);
    let signed_in = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    assert!(location(&signed_in).contains("/oauth2/authorize"));
}

#[actix_web::test]
async fn an_administrators_second_factor_is_removed_by_who_holds_every_admin_scope() {
    let app = TestApp::start().await;
    let root = account(&app, ("Root", "root@example.com"), true).await;
    enrolled(&app, &root).await;
    let path = format!("/admin/users/{}/second-factor", root.id);
    let token = app.token(app.admin(), "scope=signet:users").await.access_token();
    let request = TestRequest::delete().uri(&path).insert_header(bearer(&token));
    app.send(request).await.refused(403, "insufficient_scope");
    let factors = &app.app.state.services.second_factors;
    assert!(factors.find(&root.id).await.unwrap().is_some());
    assert_eq!(app.administer(Method::DELETE, &path, None).await.status, 204);
    assert!(factors.find(&root.id).await.unwrap().is_none());
}
