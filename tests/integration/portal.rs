//! The portal through its routes: who may see what, what every act does, and that nobody touches another one's things.

use std::time::Duration;

use signet::oauth::{ClientId, Scope};
use totp_rs::{Algorithm, TOTP};

use crate::browser::{Browser, CALLBACK, PASSWORD, location, text};
use crate::shell::{account, act, done, form_token, hidden, shown_secrets, signed_in};
use crate::test_app::TestApp;

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

const PAGES: [&str; 6] = [
    "/account",
    "/account/password",
    "/account/second-factor",
    "/account/sessions",
    "/account/consents",
    "/account/applications",
];

async fn app_with_two() -> TestApp {
    let app = TestApp::start().await;
    account(&app, ("Ada <script>alert(1)</script>", ADA), false).await;
    account(&app, ("Bob", BOB), false).await;
    app
}

#[actix_web::test]
async fn whoever_is_not_signed_in_is_asked_to_and_comes_back() {
    let app = app_with_two().await;
    for path in PAGES {
        let page = Browser::default().get(&app, path).await;
        assert!(page.status == 200 && text(&page).contains("name=\"password\""), "{path}");
        assert!(!text(&page).contains("form_token"), "{path}");
        let mut browser = signed_in(&app, ADA, path).await;
        let page = browser.get(&app, path).await;
        assert!(page.status == 200 && text(&page).contains("aria-current=\"page\""), "{path}");
        let late = Browser::default().post(&app, path, &[("name", "x")]).await;
        assert!(location(&late).ends_with(path), "a form that comes too late is begun anew");
    }
    assert_eq!(Browser::default().get(&app, "/accountant").await.status, 404);
}

#[actix_web::test]
async fn no_form_counts_without_the_sessions_own_token() {
    let app = app_with_two().await;
    let (mut ada, mut bob) = (signed_in(&app, ADA, "/account").await, signed_in(&app, BOB, "/account").await);
    let others = form_token(&bob.get(&app, "/account").await);
    for path in PAGES {
        for token in ["", "x", &*others] {
            let members = [("form_token", token), ("name", "Mallory"), ("act", "end_others"), ("client_id", "shop")];
            let answer = ada.post(&app, path, &members).await;
            assert_eq!(answer.status, 400, "{path} {}", text(&answer));
        }
        assert_eq!(ada.post(&app, path, &[("name", "Mallory")]).await.status, 400, "{path}");
    }
    assert!(text(&ada.get(&app, "/account").await).contains("alert(1)"), "the name is as it was");
}

#[actix_web::test]
async fn a_name_is_changed_escaped_and_told_once() {
    let app = app_with_two().await;
    let mut ada = signed_in(&app, ADA, "/account").await;
    let page = text(&ada.get(&app, "/account").await);
    assert!(page.contains("Ada &#60;script&#62;") && !page.contains("<script"), "{page}");
    let answer = act(&mut ada, &app, "/account", &[("name", "Ada \"><b>")]).await;
    let page = text(&done(&mut ada, &app, &answer).await);
    assert!(page.contains("Your name is changed.") && page.contains("Ada &#34;&#62;&#60;b&#62;"), "{page}");
    assert!(!text(&ada.get(&app, "/account").await).contains("Your name is changed."), "only once");
    let refused = act(&mut ada, &app, "/account", &[("name", "\u{7}")]).await;
    assert!(refused.status == 400 && text(&refused).contains("role=\"alert\""), "{}", text(&refused));
    assert!(app.audit_log().contains("user.changed"));
}

#[actix_web::test]
async fn a_new_password_asks_for_the_present_one_and_ends_everything_else() {
    let app = app_with_two().await;
    let (mut here, mut there) = (signed_in(&app, ADA, "/account").await, signed_in(&app, ADA, "/account").await);
    let new = "an entirely new pass phrase";
    let change = |current, new, again| [("current_password", current), ("new_password", new), ("repeated_password", again)];
    for (members, reason) in [
        (change("wrong password", new, new), "The present password is not right."),
        (change(PASSWORD, new, "another"), "not repeated"),
        (change(PASSWORD, "short", "short"), "8"),
        (change(PASSWORD, "password1", "password1"), "role=\"alert\""),
    ] {
        let refused = act(&mut here, &app, "/account/password", &members).await;
        assert!(refused.status == 400 && text(&refused).contains(reason), "{reason}: {}", text(&refused));
    }
    let before = here.cookies["signet-session"].clone();
    let answer = act(&mut here, &app, "/account/password", &change(PASSWORD, new, new)).await;
    assert!(text(&done(&mut here, &app, &answer).await).contains("Your password is changed."));
    assert_ne!(here.cookies["signet-session"], before);
    assert!(text(&there.get(&app, "/account").await).contains("name=\"password\""), "signed out there");
    there.cookies.insert("signet-session".into(), before);
    assert!(text(&there.get(&app, "/account").await).contains("name=\"password\""), "the old cookie is dead");
    let asked = there.get(&app, "/account").await;
    assert_eq!(there.sign_in(&app, &asked, (ADA, PASSWORD)).await.status, 400);
    let asked = there.get(&app, "/account").await;
    assert_eq!(there.sign_in(&app, &asked, (ADA, new)).await.status, 303);
}

fn code(secret: &str, now: i64) -> String {
    let secret = totp_rs::Secret::Encoded(secret.to_owned()).to_bytes().expect("base32");
    let totp = TOTP::new(Algorithm::SHA1, 6, 1, 30, secret).expect("a secret");
    totp.generate(u64::try_from(now).expect("a date"))
}
