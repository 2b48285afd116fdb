//! What guards the portal and the console: what is shown once is shown, acts count only as the person's own and ask for a recent
//! sign-in, and what is not there is a page too.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use signet::clients::Registrant;
use signet::clock::ManualClock;

use crate::browser::{Browser, CALLBACK, location, register, request, shop, text};
use crate::shared_store::SharedStore;
use crate::shell::{account, act, shown_secrets, signed_in};
use crate::test_app::{TestApp, bearer, form};

const ADA: &str = "ada@example.com";
const ROOT: &str = "root@example.com";
const APPLICATIONS: &str = "/account/applications";
const NOTES: [(&str, &str); 3] =
    [("client_name", "Notes"), ("redirect_uris", CALLBACK), ("scope:openid", "yes")];

async fn people(app: &TestApp) {
    account(app, ("Ada", ADA), false).await;
    account(app, ("Root", ROOT), true).await;
}

async fn service() -> TestApp {
    let app = TestApp::start().await;
    people(&app).await;
    app
}

#[actix_web::test]
async fn a_secret_waits_for_the_page_that_shows_it() {
    let app = service().await;
    let mut ada = signed_in(&app, ADA, APPLICATIONS).await;
    let own = location(&act(&mut ada, &app, APPLICATIONS, &NOTES).await);
    // What another tab asks for meanwhile, and what comes to nothing.
    for (method, path, status) in [
        (Method::GET, "/account/applications/none", 404),
        (Method::GET, "/account/none", 404),
        (Method::GET, "/console", 403),
        (Method::HEAD, "/account", 200),
        (Method::PUT, "/account", 405),
        (Method::POST, "/account", 400),
    ] {
        let answer = ada.send(&app, TestRequest::with_uri(path).method(method.clone())).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(ada.cookies.contains_key("signet-notice"), "{method} {path}");
    }
    let secret = shown_secrets(&ada.get(&app, &own).await).remove(0);
    let client_id = own.rsplit('/').next().unwrap();
    assert!(app.app.state.services.clients.authenticate(client_id, &secret).is_some());
    assert!(!text(&ada.get(&app, &own).await).contains(&secret), "only once");
}

/// Ada's browser about to be shown something once, the page that will show it, and what of that is secret.
async fn about_to_be_shown(
    app: &TestApp,
    path: &str,
    members: &[(&str, &str)],
) -> (Browser, String, Vec<String>) {
    let mut ada = signed_in(app, ADA, path).await;
    let next = location(&act(&mut ada, app, path, members).await);
    let secrets = shown_secrets(&ada.clone().get(app, &next).await);
    assert!(!secrets.is_empty(), "{path}");
    (ada, next, secrets)
}

/// A client secret, an API key and recovery codes, each waiting for the page that shows it.
async fn all_about_to_be_shown(app: &TestApp) -> Vec<(Browser, String, Vec<String>)> {
    let factor = "/account/second-factor";
    let application = about_to_be_shown(app, APPLICATIONS, &NOTES).await;
    let key = [("name", "backup"), ("scope:read", "yes")];
    let key = about_to_be_shown(app, "/account/api-keys", &key).await;
    let mut ada = signed_in(app, ADA, factor).await;
    let page = text(&act(&mut ada, app, factor, &[("act", "enroll")]).await);
    let secret =
        page.split("<code class=\"secret\">").nth(1).and_then(|rest| rest.split('<').next()).unwrap();
    let code = crate::portal::totp_code(app, secret);
    let next = location(&act(&mut ada, app, factor, &[("act", "confirm"), ("code", &code)]).await);
    let codes = shown_secrets(&ada.clone().get(app, &next).await);
    assert_eq!(codes.len(), 10);
    vec![application, key, (ada, next, codes)]
}

/// Asks for pages that show whatever waits to be shown.
async fn shows_nothing(app: &TestApp, browser: &Browser, next: &str, secrets: &[String]) {
    for path in [next, "/account", APPLICATIONS, "/account/api-keys", "/account/second-factor"] {
        let page = text(&browser.clone().get(app, path).await);
        assert!(!page.contains("class=\"shown\""), "{page}");
        assert!(secrets.iter().all(|secret| !page.contains(secret)), "{page}");
    }
}

#[actix_web::test]
async fn a_secret_that_waits_is_shown_to_nobody_else() {
    let app = service().await;
    account(&app, ("Bob", "bob@example.com"), false).await;
    let bob = signed_in(&app, "bob@example.com", "/account").await;
    let anew = signed_in(&app, ADA, "/account").await;
    for (ada, next, secrets) in all_about_to_be_shown(&app).await {
        let notice = ada.cookies["signet-notice"].clone();
        for other in [&bob, &anew, &Browser::default()] {
            let mut other = other.clone();
            other.cookies.insert("signet-notice".into(), notice.clone());
            shows_nothing(&app, &other, &next, &secrets).await;
        }
        assert_eq!(shown_secrets(&ada.clone().get(&app, &next).await), secrets);
    }
}

#[actix_web::test]
async fn a_secret_waits_for_two_minutes_and_no_longer() {
    let app = service().await;
    let waiting = all_about_to_be_shown(&app).await;
    app.pass(Duration::from_secs(119)).await;
    for (ada, next, secrets) in &waiting {
        assert_eq!(shown_secrets(&ada.clone().get(&app, next).await), *secrets);
    }
    for seconds in [1, 1] {
        app.pass(Duration::from_secs(seconds)).await;
        for (ada, next, secrets) in &waiting {
            shows_nothing(&app, ada, next, secrets).await;
        }
    }
}

#[actix_web::test]
async fn what_is_shown_once_is_made_here_and_not_changed() {
    let app = service().await;
    for (mut ada, next, secrets) in all_about_to_be_shown(&app).await {
        let notice = ada.cookies["signet-notice"].clone();
        let changed = (0..notice.len()).step_by(5).map(|at| {
            let other = if &notice[at..=at] == "A" { "B" } else { "A" };
            format!("{}{other}{}", &notice[..at], &notice[at + 1..])
        });
        // What else is sealed here, for another purpose.
        let sealed = crate::browser::state(&Browser::default().get(&app, "/account").await);
        let session = ada.cookies["signet-session"].clone();
        let shorter = notice[..notice.len() - 4].to_owned();
        for forged in changed.chain([sealed, session, shorter, String::new()]) {
            ada.cookies.insert("signet-notice".into(), forged.clone());
            let page = ada.clone().get(&app, &next).await;
            assert_eq!(page.status, 200, "{forged}");
            assert!(!text(&page).contains("class=\"shown\""), "{forged}");
            assert!(secrets.iter().all(|secret| !text(&page).contains(secret)), "{forged}");
        }
        // Sent twice, one of the two was planted.
        ada.cookies.insert("signet-notice".into(), format!("{notice}; signet-notice={notice}"));
        shows_nothing(&app, &ada, &next, &secrets).await;
    }
}

#[actix_web::test]
async fn a_secret_is_shown_by_a_node_that_has_not_heard_of_the_client_yet() {
    let clock = Arc::new(ManualClock::at(1_800_000_000));
    let store = SharedStore::new(clock.clone());
    let here = TestApp::start_on(store.clone(), clock, |_| {}).await;
    let there = here.another_node(store.clone(), 2).await;
    people(&here).await;
    let new = [
        ("client_name", "Shop"),
        ("resource", crate::test_app::RESOURCE),
        ("scope", "read"),
        ("client_credentials", "yes"),
    ];
    for (email, path, members) in [(ADA, APPLICATIONS, &NOTES[..]), (ROOT, "/console/new-client", &new)] {
        let mut browser = signed_in(&here, email, path).await;
        let next = location(&act(&mut browser, &here, path, members).await);
        let client_id = next.rsplit('/').next().unwrap();
        assert!(there.app.state.services.clients.find(client_id).is_none(), "it has not followed");
        let page = browser.get(&there, &next).await;
        assert_eq!(page.status, 200, "{path} {}", text(&page));
        assert_eq!(shown_secrets(&page).len(), 1);
    }
}

#[actix_web::test]
async fn forms_of_another_site_use_up_nobodys_acts() {
    let app = service().await;
    let mut ada = signed_in(&app, ADA, "/account").await;
    for _ in 0..100 {
        let forged = ada.post(&app, "/account", &[("name", "Mallory"), ("form_token", "x")]).await;
        assert_eq!(forged.status, 400);
    }
    assert_eq!(act(&mut ada, &app, "/account", &[("name", "Ada L.")]).await.status, 303);
}

#[actix_web::test]
async fn applications_and_revocations_ask_for_a_recent_sign_in() {
    let app = service().await;
    let owner = app.app.state.services.accounts.named(ADA).await.unwrap().unwrap();
    let registrant = Registrant::Person(owner);
    register(&app, signet::clients::Registration { registrant, ..shop() }).await;
    let ada = signed_in(&app, ADA, "/account").await;
    let root = signed_in(&app, ROOT, "/console").await;
    let token = app.demo_token().await;
    app.pass(Duration::from_secs(15 * 60 + 1)).await;
    let shop = "/account/applications/shop";
    let mine =
        [("act", "change"), ("client_name", "Your bank"), ("redirect_uris", "https://elsewhere.example/")];
    let revoked = [("token", &*token), ("confirm", "yes")];
    for (browser, path, members) in [
        (&ada, APPLICATIONS, &NOTES[..]),
        (&ada, shop, &mine),
        (&ada, shop, &[("act", "rotate_secret")]),
        (&ada, shop, &[("act", "delete"), ("confirm", "yes")]),
        (&root, "/console/revocations", &revoked),
    ] {
        let mut browser = browser.clone();
        let answer = act(&mut browser, &app, path, members).await;
        assert!(location(&answer).ends_with(path), "one is sent to sign in");
        assert!(text(&browser.get(&app, path).await).contains("name=\"password\""), "{path}");
    }
    let clients = &app.app.state.services.clients;
    assert_eq!(clients.find("shop").unwrap().client_name, "The Shop");
    assert!(app.is_active(&token).await);
    assert!(
        !app.audit_log().contains("client.changed") && !app.audit_log().contains("client.secret_rotated")
    );
}

#[actix_web::test]
async fn no_link_says_that_a_password_was_changed() {
    let app = service().await;
    let mut ada = signed_in(&app, ADA, "/account").await;
    let page = text(&ada.get(&app, "/account/password?changed").await);
    assert!(page.contains("Your password</h1>") && !page.contains("is changed"), "{page}");
}

#[actix_web::test]
async fn what_is_not_there_is_a_page_for_whom_it_concerns() {
    let app = service().await;
    let mut ada = signed_in(&app, ADA, "/account").await;
    let mut root = signed_in(&app, ROOT, "/console").await;
    for path in ["/account/", "/account/none", "/account/none/deeper", "/console/", "/console/none/deeper"] {
        let page = root.get(&app, path).await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (404, Some("text/html; charset=utf-8")),
            "{path}"
        );
        assert!(text(&page).contains("There is nothing here"), "{}", text(&page));
        // Nobody else learns whether it is there.
        let stranger = Browser::default().get(&app, path).await;
        assert!(stranger.status == 200 && text(&stranger).contains("name=\"password\""), "{path}");
        let late = Browser::default().post(&app, path, &[]).await;
        assert!(location(&late).ends_with(path));
        if path.starts_with("/console") {
            assert_eq!(ada.get(&app, path).await.status, 403, "{path}");
        }
    }
    assert_eq!(
        Browser::default().get(&app, "/accountant").await.header("content-type"),
        Some("application/json")
    );
}

/// Windows that opened each other: the pages for whoever is signed in stand alone, those on the way to a client may be in a
/// window that its page opened.
#[actix_web::test]
async fn own_pages_are_out_of_reach_of_the_windows_that_opened_them() {
    let app = service().await;
    register(&app, shop()).await;
    let mut root = signed_in(&app, ROOT, "/console").await;
    let opener = "cross-origin-opener-policy";
    for path in ["/account", "/console/keys", "/account/none"] {
        assert_eq!(root.get(&app, path).await.header(opener), Some("same-origin"), "{path}");
        assert_eq!(Browser::default().get(&app, path).await.header(opener), Some("same-origin"), "{path}");
    }
    assert_eq!(root.post(&app, "/account", &[]).await.header(opener), Some("same-origin"));
    for browser in [&mut root, &mut Browser::default()] {
        assert_eq!(browser.get(&app, &request(&[])).await.header(opener), None);
    }
}

#[actix_web::test]
async fn no_browser_takes_json_for_anything_else() {
    let app = service().await;
    let token = app.demo_token().await;
    let demo = crate::test_app::basic(app.demo());
    let credentials = || form("/oauth2/token", "grant_type=client_credentials").insert_header(demo.clone());
    for answer in [
        app.send(credentials()).await,
        app.send(form("/oauth2/token", "grant_type=none")).await,
        app.administer(Method::GET, "/admin/clients", None).await,
        app.send(TestRequest::get().uri("/users").insert_header(bearer(&token))).await,
        app.send(TestRequest::get().uri("/none")).await,
        app.send(TestRequest::delete().uri("/oauth2/token")).await,
    ] {
        assert!(answer.header("content-type").unwrap().starts_with("application/json"), "{answer:?}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
    }
}
