//! The portal through its routes: who may see what, what every act does, and that nobody touches another one's things.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use signet::oauth::Scope;
use signet::users::{AccountChange, Page};

use crate::browser::{
    Browser, CALLBACK, PASSWORD, encoded, location, parameter, register, request, shop, text,
};
use crate::shell::{account, act, done, form_token, hidden, shown_secrets, signed_in};
use crate::test_app::{TestApp, basic, form};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

const PAGES: [&str; 8] = [
    "/account",
    "/account/email",
    "/account/password",
    "/account/second-factor",
    "/account/sessions",
    "/account/consents",
    "/account/api-keys",
    "/account/applications",
];

async fn app_with_two() -> TestApp {
    let app = TestApp::start_with(|config| config.people.change_email = true).await;
    account(&app, ("Ada <script>alert(1)</script>", ADA), false).await;
    // Accounts are listed in the order in which they were made.
    app.clock.advance(Duration::from_secs(1));
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
    let front = Browser::default().get(&app, "/").await;
    assert_eq!(
        (front.status, &*location(&front)),
        (303, &*format!("{}/account", app.app.state.services.issuer))
    );
    assert_eq!(Browser::default().get(&app, "/accountant").await.status, 404);
}

#[actix_web::test]
async fn no_form_counts_without_the_sessions_own_token() {
    let app = app_with_two().await;
    let (mut ada, mut bob) = (signed_in(&app, ADA, "/account").await, signed_in(&app, BOB, "/account").await);
    let others = form_token(&bob.get(&app, "/account").await);
    for path in PAGES {
        for token in ["", "x", &*others] {
            let members =
                [("form_token", token), ("name", "Mallory"), ("act", "end_others"), ("client_id", "shop")];
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
    assert!(
        page.contains("Your profile is changed.") && page.contains("Ada &#34;&#62;&#60;b&#62;"),
        "{page}"
    );
    assert!(!text(&ada.get(&app, "/account").await).contains("Your profile is changed."), "only once");
    let refused = act(&mut ada, &app, "/account", &[("name", "\u{7}")]).await;
    assert!(refused.status == 400 && text(&refused).contains("role=\"alert\""), "{}", text(&refused));
    assert!(app.audit_log().contains("user.changed"));
}

#[actix_web::test]
async fn an_e_mail_address_is_changed_and_is_not_verified_by_that() {
    let app = app_with_two().await;
    let path = "/account/email";
    let mut ada = signed_in(&app, ADA, path).await;
    let accounts = &app.app.state.services.accounts;
    let found = accounts.list(Page { limit: 1, offset: 0 }).await.unwrap();
    let verified = AccountChange { email_verified: Some(true), ..AccountChange::default() };
    accounts.update(&found[0].id, &verified).await.unwrap();
    for (bad, reason) in [
        ("BOB@example.com", "The email is taken."),
        (ADA, "already"),
        ("no address", "must be an address"),
        ("", "must be an address"),
    ] {
        let refused = act(&mut ada, &app, path, &[("email", bad)]).await;
        assert!(refused.status == 400 && text(&refused).contains(reason), "{bad}: {}", text(&refused));
        assert!(text(&refused).contains(&format!("value=\"{bad}\"")), "what was typed is kept");
    }
    assert!(
        text(&ada.get(&app, "/account").await).contains("class=\"state green aside\">verified"),
        "as it was"
    );
    let new = "countess@example.org";
    let answer = act(&mut ada, &app, path, &[("email", new), ("email_verified", "yes")]).await;
    let page = text(&done(&mut ada, &app, &answer).await);
    assert!(page.contains(new) && page.contains("not verified"), "{page}");
    assert!(!accounts.find(&found[0].id).await.unwrap().unwrap().email_verified);
    assert!(app.audit_log().contains("user.changed"));
    let mut late = Browser::default();
    let asked = late.get(&app, "/account").await;
    let refused = late.sign_in(&app, &asked, (ADA, PASSWORD)).await;
    assert!(refused.status != 303 && text(&refused).contains("role=\"alert\""), "{}", text(&refused));
    signed_in(&app, new, "/account").await;
    let log = app.audit_log();
    for event in ["sign_in.failed", "session.started"] {
        let of_address = |line: &str| line.contains(event) && line.contains("\"source_ip\":\"192.0.2.1\"");
        assert!(log.lines().any(of_address), "{event}: {log}");
    }
}

#[actix_web::test]
async fn nobody_changes_an_e_mail_address_unless_the_operator_says_so() {
    let app = TestApp::start().await;
    account(&app, ("Ada", ADA), false).await;
    let mut ada = signed_in(&app, ADA, "/account").await;
    assert!(!text(&ada.get(&app, "/account").await).contains("/account/email"));
    assert_eq!(ada.get(&app, "/account/email").await.status, 404);
    let answer = act(&mut ada, &app, "/account/email", &[("email", "new@example.com")]).await;
    assert_eq!(answer.status, 404, "{}", text(&answer));
    assert!(app.app.state.services.accounts.named("new@example.com").await.unwrap().is_none());
}

#[actix_web::test]
async fn an_e_mail_address_is_changed_only_shortly_after_a_sign_in() {
    let app = app_with_two().await;
    let path = "/account/email";
    let mut ada = signed_in(&app, ADA, path).await;
    app.pass(Duration::from_secs(15 * 60 + 1)).await;
    assert!(text(&ada.get(&app, path).await).contains("name=\"password\""));
    let answer = act(&mut ada, &app, path, &[("email", "mallory@example.com")]).await;
    assert!(location(&answer).ends_with(path), "one is sent to sign in");
    assert!(text(&ada.get(&app, "/account").await).contains(ADA), "nothing is done");
}

#[actix_web::test]
async fn a_new_password_asks_for_the_present_one_and_ends_everything_else() {
    let app = app_with_two().await;
    let (mut here, mut there) =
        (signed_in(&app, ADA, "/account").await, signed_in(&app, ADA, "/account").await);
    let new = "an entirely new pass phrase";
    let change = |current, new, again| {
        [("current_password", current), ("new_password", new), ("repeated_password", again)]
    };
    here.cookies.remove("signet-device");
    for (members, reason) in [
        (change("wrong password", new, new), "The present password is not right."),
        (change(PASSWORD, new, "another"), "not repeated"),
        (change(PASSWORD, "short", "short"), "8"),
        (change(PASSWORD, "password1", "password1"), "role=\"alert\""),
    ] {
        let refused = act(&mut here, &app, "/account/password", &members).await;
        assert!(refused.status == 400 && text(&refused).contains(reason), "{reason}: {}", text(&refused));
    }
    // The present one was right, if not the new one.
    assert!(here.cookies.contains_key("signet-device"));
    let before = here.cookies["signet-session"].clone();
    // A browser that is not known yet.
    here.cookies.remove("signet-device");
    let answer = act(&mut here, &app, "/account/password", &change(PASSWORD, new, new)).await;
    assert!(text(&done(&mut here, &app, &answer).await).contains("Your password is changed."));
    assert_ne!(here.cookies["signet-session"], before);
    assert!(text(&there.get(&app, "/account").await).contains("name=\"password\""), "signed out there");
    // Strangers who use up the tries of the account keep its owner out no more than after a sign-in.
    let mut stranger = Browser::default();
    for _ in 0..6 {
        let asked = stranger.get(&app, "/account").await;
        stranger.sign_in(&app, &asked, (ADA, "wrong password")).await;
    }
    assert!(here.cookies.contains_key("signet-device"));
    let mut back = Browser::default();
    back.cookies.insert("signet-device".into(), here.cookies["signet-device"].clone());
    let asked = back.get(&app, "/account").await;
    assert_eq!(back.sign_in(&app, &asked, (ADA, new)).await.status, 303);
    there.cookies.insert("signet-session".into(), before);
    assert!(text(&there.get(&app, "/account").await).contains("name=\"password\""), "the old cookie is dead");
    let asked = there.get(&app, "/account").await;
    assert_eq!(there.sign_in(&app, &asked, (ADA, PASSWORD)).await.status, 400);
    let asked = there.get(&app, "/account").await;
    assert_eq!(there.sign_in(&app, &asked, (ADA, new)).await.status, 303);
}

pub(crate) fn totp_code(app: &TestApp, secret: &str) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let totp =
        totp_rs::Builder::new().with_digits(6).with_step_duration(30).with_secret(secret).build().unwrap();
    totp.generate(u64::try_from(app.now()).unwrap()).to_string()
}

#[actix_web::test]
async fn a_second_factor_is_set_up_used_renewed_and_removed() {
    let app = app_with_two().await;
    let path = "/account/second-factor";
    let mut ada = signed_in(&app, ADA, path).await;
    let page = act(&mut ada, &app, path, &[("act", "enroll")]).await;
    let shown = text(&page);
    assert!(shown.contains("class=\"qr\"") && shown.contains("otpauth://totp/"), "{shown}");
    let secret = shown.split("<code class=\"secret\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let enrollment = hidden(&page, "enrollment");
    let wrong = [("act", "confirm"), ("code", "000000"), ("enrollment", &*enrollment)];
    let again = act(&mut ada, &app, path, &wrong).await;
    assert!(again.status == 400 && text(&again).contains(&secret), "it can be scanned once more");
    assert!(!app.audit_log().contains("second_factor.added"), "a wrong code adds nothing");
    let answer = act(&mut ada, &app, path, &[("act", "new_recovery_codes")]).await;
    assert!(answer.status == 400 && !app.audit_log().contains("recovery_codes.renewed"), "there are none");
    let right = totp_code(&app, &secret);
    let answer = act(&mut ada, &app, path, &[("act", "confirm"), ("code", &right)]).await;
    let page = done(&mut ada, &app, &answer).await;
    let first = shown_secrets(&page);
    assert_eq!(first.len(), 10, "{}", text(&page));
    assert!(!text(&ada.get(&app, path).await).contains(&first[0]), "only once");
    // The next sign-in asks for it.
    let mut other = Browser::default();
    let asked = other.get(&app, "/account").await;
    let halfway = other.sign_in(&app, &asked, (ADA, PASSWORD)).await;
    assert!(halfway.status == 200 && text(&halfway).contains("One more step"), "{}", text(&halfway));
    let answer = act(&mut ada, &app, path, &[("act", "new_recovery_codes")]).await;
    let second = shown_secrets(&done(&mut ada, &app, &answer).await);
    assert!(second.len() == 10 && !second.contains(&first[0]));
    assert_eq!(
        act(&mut ada, &app, path, &[("act", "remove")]).await.status,
        400,
        "not without a confirmation"
    );
    let answer = act(&mut ada, &app, path, &[("act", "remove"), ("confirm", "yes")]).await;
    assert!(text(&done(&mut ada, &app, &answer).await).contains("Your password alone opens"));
    let log = app.audit_log();
    for event in ["second_factor.added", "recovery_codes.renewed", "second_factor.removed"] {
        assert!(log.contains(event), "{event}");
    }
}

#[actix_web::test]
async fn an_enrolment_of_another_session_is_not_shown() {
    let app = app_with_two().await;
    let path = "/account/second-factor";
    let (mut ada, mut bob) = (signed_in(&app, ADA, path).await, signed_in(&app, BOB, path).await);
    let page = act(&mut ada, &app, path, &[("act", "enroll")]).await;
    let enrollment = hidden(&page, "enrollment");
    let members = [("act", "confirm"), ("code", "000000"), ("enrollment", &*enrollment)];
    assert!(!text(&act(&mut bob, &app, path, &members).await).contains("otpauth"));
}

#[actix_web::test]
async fn the_second_factor_asks_for_a_recent_sign_in() {
    let app = app_with_two().await;
    let path = "/account/second-factor";
    let mut ada = signed_in(&app, ADA, path).await;
    app.pass(Duration::from_secs(15 * 60 + 1)).await;
    assert!(text(&ada.get(&app, path).await).contains("name=\"password\""));
    let answer = act(&mut ada, &app, path, &[("act", "remove"), ("confirm", "yes")]).await;
    assert!(location(&answer).ends_with(path), "nothing is done");
    assert!(!app.audit_log().contains("second_factor.removed"));
    let asked = ada.get(&app, path).await;
    let answer = ada.sign_in(&app, &asked, (ADA, PASSWORD)).await;
    assert!(text(&done(&mut ada, &app, &answer).await).contains("Set up an authenticator app"));
}

#[actix_web::test]
async fn sessions_are_ended_by_their_own_person_only() {
    let app = app_with_two().await;
    let path = "/account/sessions";
    let (mut here, mut there) = (signed_in(&app, ADA, path).await, signed_in(&app, ADA, path).await);
    let mut bob = signed_in(&app, BOB, path).await;
    let sid = hidden(&here.get(&app, path).await, "sid");
    let foreign = act(&mut bob, &app, path, &[("act", "end"), ("sid", &sid)]).await;
    assert_eq!(foreign.status, 404);
    assert!(text(&there.get(&app, "/account").await).contains("Your profile"), "it goes on");
    let answer = act(&mut here, &app, path, &[("act", "end"), ("sid", &sid)]).await;
    assert!(text(&done(&mut here, &app, &answer).await).contains("The session has ended."));
    assert!(text(&there.get(&app, "/account").await).contains("name=\"password\""));
    let mut again = signed_in(&app, ADA, path).await;
    let answer = act(&mut here, &app, path, &[("act", "end_others")]).await;
    assert!(text(&done(&mut here, &app, &answer).await).contains("One other session has ended."));
    assert!(text(&again.get(&app, "/account").await).contains("name=\"password\""));
    assert!(text(&here.get(&app, "/account").await).contains("Your profile"), "but not this one");
    assert!(text(&bob.get(&app, "/account").await).contains("Your profile"), "nor anybody else's");
}

#[actix_web::test]
async fn access_that_was_taken_away_is_asked_for_anew_and_can_not_be_refreshed() {
    let app = app_with_two().await;
    let registered = register(&app, shop()).await;
    let client = ("shop", registered.client_secret.as_ref().unwrap().expose());
    let path = "/account/consents";
    let mut ada = signed_in(&app, ADA, path).await;
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let asked = request(&[("scope", "openid read offline_access"), ("prompt", "consent")]);
    let answer = ada.allow(&app, &asked).await;
    let code = parameter(&answer, "code").expect("a code");
    let body = encoded(&[
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", verifier),
    ]);
    let tokens = app.send(form("/oauth2/token", &body).insert_header(basic(client))).await.json();
    let (access, refresh) =
        (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    assert!(app.is_active(access).await);
    assert!(text(&ada.get(&app, path).await).contains("The Shop"));
    let mut bob = signed_in(&app, BOB, path).await;
    assert_eq!(act(&mut bob, &app, path, &[("client_id", "shop")]).await.status, 404, "it is not Bob's");
    assert!(!app.audit_log().contains("consent.withdrawn"), "what was never allowed leaves nothing behind");
    assert!(app.is_active(access).await);
    app.clock.advance(Duration::from_secs(1));
    let answer = act(&mut ada, &app, path, &[("client_id", "shop")]).await;
    assert!(text(&done(&mut ada, &app, &answer).await).contains("You have let no application in."));
    assert!(!app.is_active(access).await);
    let body = encoded(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]);
    app.send(form("/oauth2/token", &body).insert_header(basic(client))).await.refused(400, "invalid_grant");
    let app = app.restart(|_| {}).await;
    assert!(!app.is_active(access).await, "it is remembered");
    app.send(form("/oauth2/token", &body).insert_header(basic(client))).await.refused(400, "invalid_grant");
    let asked = ada.get(&app, &request(&[])).await;
    assert!(text(&asked).contains("name=\"decision\""), "the person is asked again");
}

#[actix_web::test]
async fn one_person_can_not_change_things_without_end() {
    let app = app_with_two().await;
    let (mut ada, mut bob) = (signed_in(&app, ADA, "/account").await, signed_in(&app, BOB, "/account").await);
    for _ in 0..60 {
        act(&mut ada, &app, "/account", &[("name", "Ada")]).await;
    }
    let refused = act(&mut ada, &app, "/account", &[("name", "Too many")]).await;
    assert!(refused.status == 429 && refused.header("retry-after").is_some());
    assert!(!text(&ada.get(&app, "/account").await).contains("Too many"));
    assert_eq!(
        act(&mut bob, &app, "/account", &[("name", "Bob")]).await.status,
        303,
        "nobody else is held up"
    );
    app.pass(Duration::from_mins(1)).await;
    assert_eq!(act(&mut ada, &app, "/account", &[("name", "Ada")]).await.status, 303);
}

#[actix_web::test]
async fn an_application_is_registered_changed_renewed_and_deleted_by_its_owner_only() {
    let app = app_with_two().await;
    let path = "/account/applications";
    let (mut ada, mut bob) = (signed_in(&app, ADA, path).await, signed_in(&app, BOB, path).await);
    let members = [
        ("client_name", "<i>Notes"),
        ("redirect_uris", CALLBACK),
        ("scope:openid", "yes"),
        ("scope:read", "yes"),
    ];
    let answer = act(&mut ada, &app, path, &members).await;
    let own = location(&answer).strip_prefix(crate::test_app::ISSUER).unwrap().to_owned();
    let page = done(&mut ada, &app, &answer).await;
    let secret = shown_secrets(&page).remove(0);
    let client_id = own.rsplit('/').next().unwrap().to_owned();
    assert!(
        text(&page).contains("&#60;i&#62;Notes") && text(&page).contains(&format!("client_id={client_id}"))
    );
    let client = app.app.state.services.clients.find(&client_id).expect("a client");
    assert_eq!(client.scope, Scope::parse("openid read").unwrap());
    // It gets what people allow it, and nothing of its own.
    app.token((&client_id, &secret), "").await.refused(400, "unauthorized_client");
    for act_of_bob in ["change", "rotate_secret", "delete"] {
        let members = [
            ("act", act_of_bob),
            ("confirm", "yes"),
            ("client_name", "Mine"),
            ("redirect_uris", "https://evil.example/"),
        ];
        assert_eq!(act(&mut bob, &app, &own, &members).await.status, 404, "{act_of_bob}");
    }
    assert_eq!(bob.get(&app, &own).await.status, 404);
    assert_eq!(bob.get(&app, &format!("{path}/{}", app.demo().0)).await.status, 404, "nor one of nobody");
    let bad = [("act", "change"), ("client_name", "Notes"), ("redirect_uris", "javascript:alert(1)")];
    let refused = act(&mut ada, &app, &own, &bad).await;
    assert!(refused.status == 400 && text(&refused).contains("redirect_uris"), "{}", text(&refused));
    let other = "https://notes.example/callback";
    let good = [("act", "change"), ("client_name", "Notes"), ("redirect_uris", other)];
    let answer = act(&mut ada, &app, &own, &good).await;
    assert!(text(&done(&mut ada, &app, &answer).await).contains(other));
    let answer = act(&mut ada, &app, &own, &[("act", "rotate_secret")]).await;
    let new = shown_secrets(&done(&mut ada, &app, &answer).await).remove(0);
    assert_ne!(new, secret);
    let clients = &app.app.state.services.clients;
    assert!(
        clients.authenticate(&client_id, &new).is_some()
            && clients.authenticate(&client_id, &secret).is_none()
    );
    assert_eq!(act(&mut ada, &app, &own, &[("act", "delete")]).await.status, 400);
    let answer = act(&mut ada, &app, &own, &[("act", "delete"), ("confirm", "yes")]).await;
    assert!(text(&done(&mut ada, &app, &answer).await).contains("You have registered no application."));
    assert!(app.app.state.services.clients.find(&client_id).is_none());
}

#[actix_web::test]
async fn an_account_that_is_deleted_takes_its_applications_along() {
    let app = app_with_two().await;
    let path = "/account/applications";
    let mut ada = signed_in(&app, ADA, path).await;
    let members = [("client_name", "Notes"), ("redirect_uris", CALLBACK), ("scope:read", "yes")];
    let own = location(&act(&mut ada, &app, path, &members).await);
    let client_id = own.rsplit('/').next().unwrap();
    let owner = app.app.state.services.clients.find(client_id).unwrap().owner().cloned().unwrap();
    let deleted =
        app.administer(actix_web::http::Method::DELETE, &format!("/admin/users/{owner}"), None).await;
    assert_eq!(deleted.status, 204);
    assert!(app.app.state.services.clients.find(client_id).is_none());
    assert!(app.audit_log().contains("client.deleted"));
}

#[actix_web::test]
async fn an_application_never_gets_what_is_not_offered() {
    let app = app_with_two().await;
    let path = "/account/applications";
    let mut ada = signed_in(&app, ADA, path).await;
    let page = text(&ada.get(&app, path).await);
    assert!(page.contains("scope:read") && !page.contains("signet:") && !page.contains("users:"), "{page}");
    let members = [
        ("client_name", "Notes"),
        ("redirect_uris", CALLBACK),
        ("scope:openid", "yes"),
        ("scope:signet:clients", "yes"),
        ("scope:users:write", "yes"),
        ("implied", "yes"),
        ("client_credentials", "yes"),
    ];
    let answer = act(&mut ada, &app, path, &members).await;
    let client_id = location(&answer).rsplit('/').next().unwrap().to_owned();
    let client = app.app.state.services.clients.find(&client_id).expect("a client");
    assert_eq!(client.scope, Scope::parse("openid").unwrap());
    assert!(client.resources.is_empty(), "it needs none");
    assert_eq!(client.consent, signet::clients::ConsentRule::Required);
    assert!(!client.may(signet::clients::GrantType::ClientCredentials) && client.require_pkce);
    for number in 1..20 {
        let name = format!("Notes {number}");
        let members = [("client_name", &*name), ("redirect_uris", CALLBACK), ("scope:openid", "yes")];
        assert_eq!(act(&mut ada, &app, path, &members).await.status, 303);
    }
    let members = [("client_name", "One more"), ("redirect_uris", CALLBACK), ("scope:openid", "yes")];
    let refused = act(&mut ada, &app, path, &members).await;
    assert!(refused.status == 400 && text(&refused).contains("may be no more"), "{}", text(&refused));
}

#[actix_web::test]
async fn an_api_key_is_made_only_shortly_after_a_sign_in() {
    let app = app_with_two().await;
    let path = "/account/api-keys";
    let mut ada = signed_in(&app, ADA, path).await;
    app.pass(Duration::from_secs(15 * 60 + 1)).await;
    let answer = act(&mut ada, &app, path, &[("name", "backup"), ("scope:read", "yes")]).await;
    assert!(location(&answer).ends_with(path), "one is sent to sign in");
    assert!(app.app.state.services.api_keys.list(None, 1).await.unwrap().is_empty(), "nothing is made");
}

#[actix_web::test]
async fn an_application_that_only_wants_to_know_who_somebody_is_is_for_no_resource() {
    let app = app_with_two().await;
    let path = "/account/applications";
    let mut ada = signed_in(&app, ADA, path).await;
    let members = [("client_name", "Notes"), ("redirect_uris", CALLBACK), ("scope:openid", "yes")];
    let answer = act(&mut ada, &app, path, &members).await;
    let client_id = location(&answer).rsplit('/').next().unwrap().to_owned();
    let secret = shown_secrets(&done(&mut ada, &app, &answer).await).remove(0);
    let asked = request(&[("client_id", &client_id), ("scope", "openid")]);
    let code = parameter(&ada.allow(&app, &asked).await, "code").expect("a code");
    let redeemed = encoded(&[
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    ]);
    let tokens = form("/oauth2/token", &redeemed).insert_header(basic((&client_id, &secret)));
    let claims = crate::test_app::part(&app.send(tokens).await.access_token(), 1);
    assert_eq!(claims["aud"], format!("{}/oauth2/userinfo", crate::test_app::ISSUER));
    let resource = [("client_id", &*client_id), ("scope", "openid"), ("resource", crate::test_app::RESOURCE)];
    let refused = text(&ada.get(&app, &request(&resource)).await);
    assert!(refused.contains("invalid_target"), "{refused}");
}

#[actix_web::test]
async fn an_api_key_is_made_shown_once_and_revoked_by_its_owner_only() {
    let app = app_with_two().await;
    let path = "/account/api-keys";
    let (mut ada, mut bob) = (signed_in(&app, ADA, path).await, signed_in(&app, BOB, path).await);
    let page = text(&ada.get(&app, path).await);
    assert!(page.contains("scope:read"), "{page}");
    assert!(!page.contains("scope:signet:") && !page.contains("scope:users:"), "{page}");
    for bad in [
        &[("name", "backup")][..],
        &[("name", ""), ("scope:read", "yes")],
        &[("name", "backup"), ("scope:users:write", "yes")],
        &[("name", "backup"), ("scope:read", "yes"), ("days", "0")],
        &[("name", "backup"), ("scope:read", "yes"), ("days", "many")],
    ] {
        let refused = act(&mut ada, &app, path, bad).await;
        assert_eq!(refused.status, 400, "{bad:?} {}", text(&refused));
    }
    let exchange =
        "subject_token=API_KEY \\\n  --data-urlencode &#39;resource=http://127.0.0.1:9000&#39;</code>";
    assert!(page.contains("/oauth2/token") && page.contains(exchange), "{page}");
    let good = [("name", "<b>backup"), ("scope:read", "yes"), ("days", "90")];
    let answer = act(&mut ada, &app, path, &good).await;
    let page = done(&mut ada, &app, &answer).await;
    let secret = shown_secrets(&page).remove(0);
    let keys = &app.app.state.services.api_keys;
    let key = keys.authenticate(&secret).await.unwrap().expect("a key");
    assert_eq!(key.scope, Scope::parse("read").unwrap());
    assert_eq!(key.expires_at.unwrap().timestamp(), app.now() + 90 * 24 * 3600);
    assert!(text(&page).contains("&#60;b&#62;backup") && !text(&ada.get(&app, path).await).contains(&secret));
    assert_eq!(act(&mut bob, &app, path, &[("revoke", key.id.as_str())]).await.status, 404);
    assert!(!text(&bob.get(&app, path).await).contains("backup"));
    assert!(keys.authenticate(&secret).await.unwrap().is_some(), "it is Ada's");
    let answer = act(&mut ada, &app, path, &[("revoke", key.id.as_str())]).await;
    assert!(text(&done(&mut ada, &app, &answer).await).contains("You have no API key."));
    assert!(keys.authenticate(&secret).await.unwrap().is_none());
    assert!(app.audit_log().contains("api_key.created") && app.audit_log().contains("api_key.revoked"));
}

#[actix_web::test]
async fn what_is_copied_into_a_shell_does_there_what_it_says() {
    let app = app_with_two().await;
    let path = "/account/applications";
    let mut ada = signed_in(&app, ADA, path).await;
    let hostile = "https://notes.example/cb?a=$(id)';id;'`id`&b=1";
    for public in ["yes", "no"] {
        let members = [
            ("client_name", "Notes"),
            ("redirect_uris", hostile),
            ("scope:openid", "yes"),
            ("public", public),
        ];
        let own = location(&act(&mut ada, &app, path, &members).await);
        let page = text(&ada.get(&app, own.strip_prefix(crate::test_app::ISSUER).unwrap()).await);
        let (_, snippet) = page.split_once("<pre><code>curl ").expect("a snippet");
        let snippet = snippet.split_once("</code>").unwrap().0;
        let snippet = [("&#39;", "'"), ("&#34;", "\""), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")]
            .into_iter()
            .fold(snippet.to_owned(), |text, (from, to)| text.replace(from, to));
        let script = format!("set -f; for word in {snippet}\ndo printf '[%s]' \"$word\"; done");
        let read = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let read = String::from_utf8(read.stdout).unwrap();
        assert!(read.contains(&format!("[redirect_uri={hostile}]")), "{read} {snippet}");
        assert!(!read.contains("uid="), "{read}");
        assert!(read.starts_with(&format!("[{}/oauth2/token]", crate::test_app::ISSUER)), "{read}");
    }
}

#[actix_web::test]
async fn a_script_in_a_page_may_ask_for_the_tokens_of_its_application() {
    let app = app_with_two().await;
    let path = "/account/applications";
    let mut ada = signed_in(&app, ADA, path).await;
    let uris = "https://notes.example/cb\nhttps://notes.example/other\nhttp://127.0.0.1:3000/cb\ncom.example.notes:/cb";
    let register = async |ada: &mut Browser, public| {
        let members =
            [("client_name", "Notes"), ("redirect_uris", uris), ("scope:openid", "yes"), ("public", public)];
        let own = location(&act(ada, &app, path, &members).await);
        own.strip_prefix(crate::test_app::ISSUER).unwrap().to_owned()
    };
    let allowed = async |origin: &'static str| {
        let preflight = TestRequest::with_uri("/oauth2/token")
            .method(Method::OPTIONS)
            .insert_header(("Origin", origin))
            .insert_header(("Access-Control-Request-Method", "POST"));
        let preflight = app.send(preflight).await;
        let request =
            form("/oauth2/token", "grant_type=authorization_code").insert_header(("Origin", origin));
        let answer = app.send(request).await;
        let header = "access-control-allow-origin";
        assert_eq!(preflight.header(header), answer.header(header), "{origin}");
        assert_eq!(preflight.status == 204, answer.header(header) == Some(origin), "{origin}");
        preflight.status == 204
    };
    // A client with a secret is no script.
    register(&mut ada, "no").await;
    assert!(!allowed("https://notes.example").await);
    let own = register(&mut ada, "yes").await;
    assert!(allowed("https://notes.example").await && allowed("http://127.0.0.1:3000").await);
    assert!(!allowed("http://127.0.0.1:3001").await && !allowed("https://evil.example").await);
    assert!(!allowed("null").await);
    // What an administrator allows besides stays when the person changes the URIs.
    let client_id = own.rsplit('/').next().unwrap().to_owned();
    let origins = || {
        let client = app.app.state.services.clients.find(&client_id).unwrap();
        client.allowed_origins.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(origins(), ["https://notes.example", "http://127.0.0.1:3000"]);
    let more = [origins(), vec!["https://cdn.example".to_owned()]].concat();
    let more = Some(serde_json::json!({ "allowed_origins": more }));
    let changed = app.administer(Method::PATCH, &format!("/admin/clients/{client_id}"), more).await;
    assert_eq!(changed.status, 200);
    let change = [("act", "change"), ("client_name", "Notes"), ("redirect_uris", "https://new.example/cb")];
    assert_eq!(act(&mut ada, &app, &own, &change).await.status, 303);
    assert_eq!(origins(), ["https://new.example", "https://cdn.example"]);
    assert!(allowed("https://new.example").await && !allowed("https://notes.example").await);
}
