//! Forms that were tampered with, that are somebody else's, or that were used before: nothing comes of them.

use std::time::Duration;

use signet::oauth::Secret;
use signet::store::Batch;
use signet::users::{Asker, Consents, Email, NewAccount};

use crate::browser::{Browser, CALLBACK, PASSWORD, location, parameter, request, state, text};
use crate::hostile_pages::service;
use crate::test_app::RESOURCE;

/// What another text would be: each letter changed in turn, cut off at each place, and longer.
pub(crate) fn near(text: &str) -> Vec<String> {
    let changed = (0..text.len()).map(|at| {
        let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &text[..at], &text[at + 1..])
    });
    let cut = (0..text.len()).flat_map(|at| [text[..at].to_owned(), text[at + 1..].to_owned()]);
    changed.chain(cut).chain([format!("{text}A"), format!("{text}="), format!("A{text}")]).collect()
}

#[actix_web::test]
async fn a_tampered_or_foreign_form_does_nothing() {
    let app = service().await;
    let mut browser = Browser::default();
    let sign_in_page = browser.get(&app, &request(&[])).await;
    let before = browser.clone();
    let next = location(&browser.sign_in(&app, &sign_in_page, ("ada@example.com", PASSWORD)).await);
    let page = browser.get(&app, &next).await;
    let good = state(&page);
    let mut forged: Vec<String> = (0..40)
        .map(|n| {
            let at = n * good.len() / 40;
            let other = if good.as_bytes()[at] == b'A' { "B" } else { "A" };
            format!("{}{other}{}", &good[..at], &good[at + 1..])
        })
        .collect();
    forged.extend(["", "x", "null", &good[1..], &good[..good.len() - 1]].map(str::to_owned));
    forged.extend([format!("{good}A"), format!("{good}="), good.to_lowercase()]);
    // A form of another purpose, sealed by the same service for the same person.
    forged.push(state(&sign_in_page));
    forged.push(state(&browser.get(&app, "/oauth2/logout").await));
    assert!(forged.len() >= 50, "{}", forged.len());
    for state in &forged {
        let members = [("state", &**state), ("decision", "allow")];
        let answer = browser.post(&app, "/oauth2/consent", &members).await;
        assert_eq!((answer.status, answer.header("location")), (400, None), "{state}");
    }
    // Another scope beside the state changes nothing: what is granted is what was shown.
    let members = [
        ("state", &*good),
        ("decision", "allow"),
        ("scope", "write"),
        ("redirect_uri", "https://evil.example/"),
    ];
    let answer = browser.post(&app, "/oauth2/consent", &members).await;
    assert!(location(&answer).starts_with(CALLBACK));
    let services = &app.app.state.services;
    let client = services.clients.find("shop").unwrap();
    let user = services.accounts.named("ada@example.com").await.unwrap().unwrap();
    let asker = Asker { client_id: &client.client_id, registered_at: client.created_at, shown_as: None };
    let consent = services.consents.granted(&user, asker).await.unwrap().unwrap();
    let allowed: Vec<(&str, &str)> =
        consent.resources.iter().map(|(uri, scope)| (uri.as_str(), scope.as_str())).collect();
    assert_eq!(allowed, [(RESOURCE, "openid email read")]);
    // Nobody's browser, and the browser as it was before the sign-in.
    for mut other in [Browser::default(), before] {
        let answer = other.decide(&app, &page, "allow").await;
        assert_eq!((answer.status, answer.header("location")), (400, None));
    }
}

#[actix_web::test]
async fn no_other_sealed_form_than_the_one_that_was_made_is_taken() {
    let app = service().await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[])).await;
    let sign_in = state(&page);
    for forged in near(&sign_in).iter().step_by(7) {
        let members = [("state", &**forged), ("username", "ada@example.com"), ("password", PASSWORD)];
        let answer = browser.post(&app, "/oauth2/sign-in", &members).await;
        assert_eq!((answer.status, answer.header("location")), (400, None), "{forged}");
        assert!(!browser.cookies.contains_key("signet-session"), "{forged}");
    }
    assert_eq!(browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await.status, 303);
    let silent = request(&[("prompt", "none")]);
    let sign_out = state(&browser.get(&app, "/oauth2/logout").await);
    for forged in near(&sign_out).iter().step_by(7).chain([&sign_in]) {
        let members = [("state", &**forged), ("decision", "sign-out")];
        assert_eq!(browser.post(&app, "/oauth2/sign-out", &members).await.status, 400, "{forged}");
    }
    let answer = browser.get(&app, &silent).await;
    assert_eq!(parameter(&answer, "error").as_deref(), Some("consent_required"), "still signed in");
}

#[actix_web::test]
async fn a_form_that_was_used_counts_for_its_session_only_and_gives_nothing_new() {
    let app = service().await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[])).await;
    let next = location(&browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await);
    // The sign-in form again: its cookie is gone.
    assert_eq!(browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await.status, 400);
    let page = browser.get(&app, &next).await;
    let first = parameter(&browser.decide(&app, &page, "allow").await, "code").unwrap();
    // Sent twice, as by the button for going back, also after what was allowed has been taken back: it is asked for anew.
    let again = browser.decide(&app, &page, "allow").await;
    assert_eq!((again.status, again.header("location")), (400, None));
    assert!(
        text(&again).contains("answered already") && text(&again).contains("Start again"),
        "{}",
        text(&again)
    );
    assert_ne!(
        parameter(&browser.get(&app, &next).await, "code").unwrap(),
        first,
        "begun again, it is answered"
    );
    let user = app.app.state.services.accounts.named("ada@example.com").await.unwrap().unwrap();
    let shop = signet::oauth::ClientId::parse("shop").unwrap();
    let withdrawn = Consents::withdrawing(Batch::new(), &user, &shop);
    let _unconditional = app.app.state.services.store.commit(withdrawn).await.unwrap();
    assert_eq!(browser.decide(&app, &page, "allow").await.status, 400);
    assert!(app.app.state.services.consents.of_user(&user).await.unwrap().is_empty());
    // After the person has signed in anew, and after they have signed out, it is nobody's.
    let before = browser.clone();
    let anew = browser.get(&app, &request(&[("prompt", "login")])).await;
    browser.sign_in(&app, &anew, ("ada@example.com", PASSWORD)).await;
    for browser in [&mut browser, &mut before.clone()] {
        let answer = browser.decide(&app, &page, "allow").await;
        assert_eq!((answer.status, answer.header("location")), (400, None));
    }
    let question = browser.get(&app, &request(&[("prompt", "consent")])).await;
    let out = browser.get(&app, "/oauth2/logout").await;
    let members = [("state", &*state(&out)), ("decision", "sign-out")];
    let signed_in = browser.clone();
    assert_eq!(browser.post(&app, "/oauth2/sign-out", &members).await.status, 200);
    for mut browser in [browser, signed_in] {
        let answer = browser.decide(&app, &question, "allow").await;
        assert_eq!((answer.status, answer.header("location")), (400, None));
    }
}

/// Each answer is put on record: by one form nobody fills the disk.
#[actix_web::test]
async fn a_no_is_said_once_and_is_no_yes_afterwards() {
    let app = service().await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[])).await;
    let next = location(&browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await);
    let page = browser.get(&app, &next).await;
    let answer = browser.decide(&app, &page, "deny").await;
    assert_eq!(parameter(&answer, "error").as_deref(), Some("access_denied"));
    for decision in ["deny", "", "allow"] {
        let again = browser.decide(&app, &page, decision).await;
        assert_eq!((again.status, again.header("location")), (400, None), "{decision}");
        assert!(text(&again).contains("answered already") && text(&again).contains("Start again"));
    }
    assert_eq!(app.audit_log().matches("consent.given").count(), 1);
    let page = browser.get(&app, &next).await;
    assert!(parameter(&browser.decide(&app, &page, "allow").await, "code").is_some(), "begun again");
}

#[actix_web::test]
async fn a_form_that_was_answered_stays_so_although_the_clock_is_set_back() {
    let app = service().await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[])).await;
    let next = location(&browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await);
    let page = browser.get(&app, &next).await;
    assert!(parameter(&browser.decide(&app, &page, "allow").await, "code").is_some());
    // What has ended by then is removed.
    app.pass(Duration::from_secs(10 * 60 + 1)).await;
    app.clock.jump_to(app.now() - 30);
    let again = browser.decide(&app, &page, "allow").await;
    assert_eq!((again.status, again.header("location")), (400, None));
    assert!(text(&again).contains("answered already"), "{}", text(&again));
}

#[actix_web::test]
async fn a_form_belongs_to_one_browser_and_ends() {
    let app = service().await;
    let (mut mine, mut theirs) = (Browser::default(), Browser::default());
    let page = mine.get(&app, &request(&[])).await;
    theirs.get(&app, &request(&[])).await;
    // Somebody else's form, put before a person to have them sign in to it.
    let answer = theirs.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    assert_eq!(answer.status, 400);
    assert!(text(&answer).contains("Start again") && !theirs.cookies.contains_key("signet-session"));
    app.pass(Duration::from_mins(10)).await;
    assert_eq!(mine.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await.status, 400);
    let page = mine.get(&app, &request(&[])).await;
    app.pass(Duration::from_secs(599)).await;
    assert_eq!(mine.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await.status, 303);
}

#[actix_web::test]
async fn a_session_belongs_to_one_form_of_consent() {
    let app = service().await;
    let email = Email::parse("eve@example.com").unwrap();
    let eve = NewAccount { password: Some(Secret::new(PASSWORD.into())), ..NewAccount::new("Eve", email) };
    app.app.state.services.accounts.register(eve).await.unwrap();
    let mut pages = Vec::new();
    for who in ["ada@example.com", "eve@example.com"] {
        let mut browser = Browser::default();
        let page = browser.get(&app, &request(&[])).await;
        let next = location(&browser.sign_in(&app, &page, (who, PASSWORD)).await);
        pages.push((browser.get(&app, &next).await, browser));
    }
    let (page_of_eve, _) = pages.pop().unwrap();
    let (_, mut browser_of_ada) = pages.pop().unwrap();
    let answer = browser_of_ada.decide(&app, &page_of_eve, "allow").await;
    assert_eq!((answer.status, answer.header("location")), (400, None));
}
