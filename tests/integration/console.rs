//! The console through its routes: who may see what, what every act does, and that keys change only as was shown.

use std::time::Duration;

use serde_json::json;
use signet::keys::Phase;

use crate::browser::{Browser, PASSWORD, location, text};
use crate::shell::{account, act, done, form_token, hidden, shown_secrets, signed_in};
use crate::sign_in::enrolled;
use crate::test_app::{Answer, TestApp};

const ROOT: &str = "root@example.com";
const BOB: &str = "bob@example.com";

const READS: [&str; 10] = [
    "/console",
    "/console/keys",
    "/console/keys/rotate",
    "/console/clients",
    "/console/new-client",
    "/console/users",
    "/console/new-user",
    "/console/resources",
    "/console/revocations",
    "/console/audit",
];

const ACTS: [&str; 7] = [
    "/console/keys/rotate",
    "/console/keys/some-key/compromise",
    "/console/new-client",
    "/console/clients/some-client",
    "/console/users/user_x",
    "/console/new-user",
    "/console/revocations",
];

async fn app_with_two() -> TestApp {
    let app = TestApp::start().await;
    account(&app, ("Root", ROOT), true).await;
    // Accounts are listed in the order in which they were made.
    app.clock.advance(Duration::from_secs(1));
    account(&app, ("Bob <script>alert(1)</script>", BOB), false).await;
    app
}

fn signing(app: &TestApp) -> String {
    let list = app.app.state.services.keys.list();
    list.keys.iter().find(|key| key.signs).expect("a key that signs").kid.to_string()
}

#[actix_web::test]
async fn only_administrators_see_it() {
    let app = app_with_two().await;
    let (mut root, mut bob) =
        (signed_in(&app, ROOT, "/console").await, signed_in(&app, BOB, "/account").await);
    for path in READS {
        let page = Browser::default().get(&app, path).await;
        assert!(page.status == 200 && text(&page).contains("name=\"password\""), "{path}");
        assert_eq!(bob.get(&app, path).await.status, 403, "{path}");
        let page = root.get(&app, path).await;
        assert!(
            page.status == 200 && text(&page).contains("aria-label=\"Console\""),
            "{path} {}",
            text(&page)
        );
    }
    for path in ACTS {
        assert!(
            location(&Browser::default().post(&app, path, &[("act", "delete")]).await).ends_with(path),
            "{path}"
        );
        let answer = act(&mut bob, &app, path, &[("act", "delete"), ("confirm", "yes")]).await;
        assert_eq!(answer.status, 403, "{path}");
        let answer = root.post(&app, path, &[("act", "delete"), ("confirm", "yes")]).await;
        assert_eq!(answer.status, 400, "{path}: no token {}", text(&answer));
        let others = form_token(&bob.get(&app, "/account").await);
        let answer = root.post(&app, path, &[("form_token", &others), ("act", "delete")]).await;
        assert_eq!(answer.status, 400, "{path}: another session's token");
    }
}

#[actix_web::test]
async fn whoever_is_no_administrator_any_more_is_out_at_once() {
    let app = app_with_two().await;
    let mut root = signed_in(&app, ROOT, "/console").await;
    let services = &app.app.state.services;
    let found = services.accounts.list(signet::users::Page { limit: 1, offset: 0 }).await.unwrap();
    account(&app, ("Another", "another@example.com"), true).await;
    let change = signet::users::AccountChange { administrator: Some(false), ..Default::default() };
    services.accounts.update(&found[0].id, &change).await.unwrap();
    assert_eq!(root.get(&app, "/console").await.status, 403);
}

#[actix_web::test]
async fn the_key_page_draws_every_key_and_tells_its_dates() {
    let app = app_with_two().await;
    let mut root = signed_in(&app, ROOT, "/console/keys").await;
    let page = text(&root.get(&app, "/console/keys").await);
    for key in app.app.state.services.keys.list().keys {
        assert_eq!(page.matches(&format!("<title>{}</title>", key.kid)).count(), 1, "in the drawing");
        assert!(page.contains(&format!("<code>{}</code>", key.kid)), "and in the table");
    }
    assert!(page.contains("class=\"bar signing\"") && page.contains("class=\"bar published\""));
    assert!(page.contains(">now</text>") && page.contains(">next change</text>"));
    assert!(!page.contains(" style=") && !page.contains("<script"), "the policy would refuse it");
}

/// The plan that the page at `path` shows, and the answer to its confirmation.
async fn confirm(root: &mut Browser, app: &TestApp, path: &str, more: &[(&str, &str)]) -> (Answer, Answer) {
    let shown = root.get(app, path).await;
    let plan = hidden(&shown, "plan");
    let bare = path.split('?').next().expect("a path");
    let members = [&[("plan", &*plan), ("confirm", "yes")], more].concat();
    let answer = act(root, app, bare, &members).await;
    (shown, answer)
}

#[actix_web::test]
async fn a_rotation_shows_its_plan_first_and_changes_nothing_until_it_is_confirmed() {
    let app = app_with_two().await;
    let mut root = signed_in(&app, ROOT, "/console/keys").await;
    let before = app.app.state.services.keys.list();
    let shown = root.get(&app, "/console/keys/rotate?force=yes").await;
    assert!(text(&shown).contains("Nothing has been changed yet."));
    let plan = hidden(&shown, "plan");
    for members in [
        &[("force", "yes"), ("plan", &*plan)][..],
        &[("force", "yes"), ("confirm", "yes")],
        &[("force", "yes"), ("plan", "another plan"), ("confirm", "yes")],
    ] {
        let answer = act(&mut root, &app, "/console/keys/rotate", members).await;
        assert!(answer.status == 400 && text(&answer).contains("Please read it again"), "{members:?}");
    }
    assert_eq!(app.app.state.services.keys.list(), before, "looking changes nothing");
    assert!(!app.audit_log().contains("key.rotate_requested"));
    let (_, answer) = confirm(&mut root, &app, "/console/keys/rotate", &[]).await;
    assert!(location(&answer).ends_with("/console/keys"));
    assert_ne!(app.app.state.services.keys.list(), before);
    assert!(app.audit_log().contains("key.rotate_requested"));
    assert!(text(&done(&mut root, &app, &answer).await).contains("signs"));
}

#[actix_web::test]
async fn a_plan_that_is_not_what_would_happen_any_more_is_shown_again() {
    let app = app_with_two().await;
    let mut root = signed_in(&app, ROOT, "/console/keys").await;
    let plan = hidden(&root.get(&app, "/console/keys/rotate?force=yes").await, "plan");
    let members = [("force", "yes"), ("plan", &*plan), ("confirm", "yes")];
    assert_eq!(act(&mut root, &app, "/console/keys/rotate", &members).await.status, 303);
    let after = app.app.state.services.keys.list();
    assert_eq!(act(&mut root, &app, "/console/keys/rotate", &members).await.status, 400, "sent twice");
    assert_eq!(app.app.state.services.keys.list(), after);
}

#[actix_web::test]
async fn a_compromise_shows_what_it_breaks_and_then_condemns_the_key() {
    let app = app_with_two().await;
    let mut root = signed_in(&app, ROOT, "/console/keys").await;
    let kid = signing(&app);
    let path = format!("/console/keys/{kid}/compromise");
    let unconfirmed = act(&mut root, &app, &path, &[("confirm", "yes")]).await;
    assert_eq!(unconfirmed.status, 400, "the plan was not shown");
    assert_eq!(signing(&app), kid);
    let (shown, answer) = confirm(&mut root, &app, &path, &[("reason", "<b>lost</b>")]).await;
    assert!(text(&shown).contains("This breaks:"), "{}", text(&shown));
    let page = done(&mut root, &app, &answer).await;
    assert!(text(&page).contains("is compromised") && text(&page).contains("class=\"bar compromised\""));
    let key =
        app.app.state.services.keys.list().keys.into_iter().find(|key| key.kid.as_str() == kid).unwrap();
    assert_eq!(key.phase, Phase::Compromised);
    assert_eq!(root.get(&app, &path).await.status, 409, "not twice");
    assert_eq!(root.get(&app, "/console/keys/no-such-key/compromise").await.status, 404);
    let trail = text(&root.get(&app, "/console/audit?event=compromised").await);
    assert!(trail.contains("key.compromised") && trail.contains("&#60;b&#62;lost"), "{trail}");
}

#[actix_web::test]
async fn acts_on_keys_ask_for_a_recent_sign_in() {
    let app = app_with_two().await;
    let mut root = signed_in(&app, ROOT, "/console/keys").await;
    let before = app.app.state.services.keys.list();
    let plan = hidden(&root.get(&app, "/console/keys/rotate?force=yes").await, "plan");
    app.pass(Duration::from_secs(15 * 60 + 1)).await;
    let members = [("force", "yes"), ("plan", &*plan), ("confirm", "yes")];
    let answer = act(&mut root, &app, "/console/keys/rotate", &members).await;
    assert!(location(&answer).ends_with("/console/keys/rotate"), "one is sent to sign in");
    assert_eq!(app.app.state.services.keys.list().keys.len(), before.keys.len());
    assert!(!app.audit_log().contains("key.rotate_requested"));
    for path in
        ["/console/keys/rotate?force=yes".to_owned(), format!("/console/keys/{}/compromise", signing(&app))]
    {
        let asked = root.get(&app, &path).await;
        assert!(text(&asked).contains("name=\"password\""), "{path}");
    }
    let asked = root.get(&app, "/console/keys/rotate?force=yes").await;
    let answer = root.sign_in(&app, &asked, (ROOT, PASSWORD)).await;
    assert!(location(&answer).ends_with("/console/keys/rotate?force=yes"), "query and all");
    assert!(text(&done(&mut root, &app, &answer).await).contains("Nothing has been changed yet."));
    assert_eq!(root.get(&app, "/console/users").await.status, 200);
}

#[actix_web::test]
async fn a_client_is_registered_changed_renewed_and_deleted() {
    let app = app_with_two().await;
    let mut root = signed_in(&app, ROOT, "/console/clients").await;
    let resource = crate::test_app::RESOURCE;
    let bad = [("client_name", "<b>Shop"), ("resource", resource), ("scope", "no-such-scope")];
    let refused = act(&mut root, &app, "/console/new-client", &bad).await;
    assert!(refused.status == 400 && text(&refused).contains("&#60;b&#62;Shop"), "what was typed is kept");
    let good = [
        ("client_name", "<b>Shop"),
        ("resource", resource),
        ("scope", "read"),
        ("client_credentials", "yes"),
    ];
    let answer = act(&mut root, &app, "/console/new-client", &good).await;
    let own = location(&answer).strip_prefix(crate::test_app::ISSUER).unwrap().to_owned();
    let client_id = own.rsplit('/').next().unwrap().to_owned();
    let secret = shown_secrets(&done(&mut root, &app, &answer).await).remove(0);
    assert!(!text(&root.get(&app, &own).await).contains(&secret), "shown once");
    assert!(!app.audit_log().contains(&secret));
    app.token((&client_id, &secret), "").await.access_token();
    let change = [
        ("act", "change"),
        ("client_name", "Store"),
        ("resource", resource),
        ("scope", "read write"),
        ("default_scope", "read"),
        ("client_credentials", "yes"),
        ("backchannel_logout_uri", "https://shop.example/logout"),
        ("backchannel_logout_session_required", "yes"),
    ];
    let answer = act(&mut root, &app, &own, &change).await;
    let page = text(&done(&mut root, &app, &answer).await);
    for shown in [
        "value=\"read write\"",
        "value=\"https://shop.example/logout\"",
        "name=\"backchannel_logout_session_required\" value=\"yes\" checked",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let inside = [&change[..6], &[("backchannel_logout_uri", "https://10.0.0.1/")]].concat();
    let refused = act(&mut root, &app, &own, &inside).await;
    assert!(refused.status == 400 && text(&refused).contains("10.0.0.1, which is not public"));
    let page = text(&root.get(&app, &own).await);
    assert!(
        page.contains("name=\"overlap_hours\" type=\"number\" min=\"0\" max=\"2160\" value=\"24\""),
        "{page}"
    );
    let answer = act(&mut root, &app, &own, &[("act", "rotate_secret"), ("overlap_hours", "1")]).await;
    let new = shown_secrets(&done(&mut root, &app, &answer).await).remove(0);
    let token = app.token((&client_id, &new), "").await.access_token();
    app.token((&client_id, &secret), "").await.access_token();
    assert_eq!(
        act(&mut root, &app, &own, &[("act", "delete")]).await.status,
        400,
        "not without a confirmation"
    );
    app.token((&client_id, &new), "").await.access_token();
    let answer = act(&mut root, &app, &own, &[("act", "delete"), ("confirm", "yes")]).await;
    assert!(text(&done(&mut root, &app, &answer).await).contains("is deleted"));
    assert!(!app.is_active(&token).await);
    assert_eq!(root.get(&app, &own).await.status, 404);
    let log = app.audit_log();
    for event in ["client.registered", "client.changed", "client.secret_rotated", "client.deleted"] {
        let of_root = |line: &str| {
            line.contains(event) && line.contains("\"type\":\"user\"") && line.contains("192.0.2.1")
        };
        assert!(log.lines().any(of_root), "{event}");
    }
}

#[actix_web::test]
async fn every_member_of_a_client_is_registered_shown_and_changed() {
    let app = app_with_two().await;
    let mut root = signed_in(&app, ROOT, "/console/clients").await;
    let resource = crate::test_app::RESOURCE;
    let members = [
        ("client_id", "shop"),
        ("client_name", "Shop"),
        ("token_endpoint_auth_method", "client_secret_post"),
        ("authorization_code", "yes"),
        ("refresh_token", "yes"),
        ("resource", resource),
        ("audience_of:http://127.0.0.1:9000", "yes"),
        ("audience_of:http://127.0.0.1:8080/users", "yes"),
        ("scope", "openid read write"),
        ("default_scope", "read"),
        ("redirect_uris", "https://shop.example/back\r\nhttp://127.0.0.1/back"),
        ("post_logout_redirect_uris", "https://shop.example/bye"),
        ("access_token_lifetime", "120"),
        ("access_token_signing_alg", "ES256"),
        ("id_token_signed_response_alg", "ES256"),
        ("allowed_origins", "https://shop.example"),
        ("client_uri", "https://shop.example/"),
        ("implied", "yes"),
        ("without_pkce", "yes"),
    ];
    let answer = act(&mut root, &app, "/console/new-client", &members).await;
    let own = location(&answer).strip_prefix(crate::test_app::ISSUER).unwrap().to_owned();
    assert_eq!(own, "/console/clients/shop");
    let shown = app.administer(actix_web::http::Method::GET, "/admin/clients/shop", None).await.json();
    for (member, value) in [
        ("token_endpoint_auth_method", json!("client_secret_post")),
        ("grant_types", json!(["authorization_code", "refresh_token"])),
        ("resources", json!([resource])),
        ("audience_of", json!([resource, "http://127.0.0.1:8080/users"])),
        ("scope", json!("openid read write")),
        ("default_scope", json!("read")),
        ("redirect_uris", json!(["https://shop.example/back", "http://127.0.0.1/back"])),
        ("post_logout_redirect_uris", json!(["https://shop.example/bye"])),
        ("access_token_lifetime", json!(120)),
        ("access_token_signing_alg", json!("ES256")),
        ("id_token_signed_response_alg", json!("ES256")),
        ("allowed_origins", json!(["https://shop.example"])),
        ("client_uri", json!("https://shop.example/")),
        ("consent", json!("implied")),
        ("require_pkce", json!(false)),
    ] {
        assert_eq!(shown[member], value, "{member}");
    }
    // What the page shows is what it sends when nothing was touched: nothing changes.
    let page = text(&root.get(&app, &own).await);
    for part in [
        "<option value=\"client_secret_post\" selected>",
        "name=\"audience_of:http://127.0.0.1:9000\" value=\"yes\" checked",
        "name=\"audience_of:http://127.0.0.1:8080/users\" value=\"yes\" checked",
        "as the resource says</option>\n<option selected>ES256</option>",
        "else the first that is</option>\n<option selected>ES256</option>",
        "name=\"without_pkce\" value=\"yes\" checked",
        "type=\"number\" min=\"1\" value=\"120\"",
    ] {
        assert!(page.contains(part), "{part} {page}");
    }
    let again: Vec<_> = [("act", "change")].into_iter().chain(members).collect();
    assert_eq!(act(&mut root, &app, &own, &again).await.status, 303);
    let mut unchanged =
        app.administer(actix_web::http::Method::GET, "/admin/clients/shop", None).await.json();
    unchanged["updated_at"] = shown["updated_at"].clone();
    assert_eq!(unchanged, shown);
    for (member, bad, reason) in [
        ("access_token_lifetime", "soon", "number of seconds"),
        ("access_token_signing_alg", "HS256", "unknown algorithm"),
        ("id_token_signed_response_alg", "none", "unknown algorithm"),
        ("token_endpoint_auth_method", "private_key_jwt", "is not one of client_secret_basic"),
        ("audience_of:https://elsewhere.example", "yes", ""),
    ] {
        let others = again.iter().copied().filter(|(name, _)| *name != member);
        let members: Vec<_> = others.chain([(member, bad)]).collect();
        let answer = act(&mut root, &app, &own, &members).await;
        if reason.is_empty() {
            assert_eq!(answer.status, 303, "a resource that is none can't be chosen");
        } else {
            assert!(answer.status == 400 && text(&answer).contains(reason), "{member}: {}", text(&answer));
        }
    }
    // Without a method the form came from elsewhere: it stays what it is, and codes are bound again.
    let bare = [
        ("act", "change"),
        ("client_name", "Shop"),
        ("client_credentials", "yes"),
        ("resource", resource),
        ("scope", "read"),
    ];
    let answer = act(&mut root, &app, &own, &bare).await;
    assert_eq!(answer.status, 303, "{}", text(&answer));
    let shown = app.administer(actix_web::http::Method::GET, "/admin/clients/shop", None).await.json();
    assert_eq!(
        (&shown["token_endpoint_auth_method"], &shown["require_pkce"], &shown["access_token_lifetime"]),
        (&json!("client_secret_post"), &json!(true), &json!(null))
    );
}

#[actix_web::test]
async fn an_account_is_made_changed_and_deleted() {
    let app = app_with_two().await;
    let mut root = signed_in(&app, ROOT, "/console/users").await;
    for (members, reason) in [
        (&[("name", "<b>Eve"), ("email", BOB)][..], "The email is taken."),
        (&[("name", "<b>Eve"), ("email", "nowhere")], "must be an address"),
        (&[("name", "<b>Eve"), ("email", "eve@example.com"), ("password", "short")], "at least 8 characters"),
        (&[("name", "<b>Eve"), ("email", "eve@example.com"), ("preferred_username", "e")], "2 to 64"),
    ] {
        let refused = act(&mut root, &app, "/console/new-user", members).await;
        assert!(refused.status == 400 && text(&refused).contains(reason), "{reason}: {}", text(&refused));
        assert!(text(&refused).contains("value=\"&#60;b&#62;Eve\""), "what was typed is kept");
        assert!(!text(&refused).contains("short\""), "but no password");
    }
    let eve = "eve@example.com";
    let members = [("name", "<b>Eve"), ("email", eve), ("preferred_username", "eve"), ("password", PASSWORD)];
    let answer = act(&mut root, &app, "/console/new-user", &members).await;
    let own = location(&answer).strip_prefix(crate::test_app::ISSUER).unwrap().to_owned();
    let page = text(&done(&mut root, &app, &answer).await);
    assert!(page.contains("&#60;b&#62;Eve") && !page.contains("<b>Eve"), "{page}");
    let mut browser = signed_in(&app, eve, "/account").await;
    assert_eq!(browser.get(&app, "/console").await.status, 403);

    let change = [("act", "change"), ("name", "Eve"), ("email", eve), ("email_verified", "yes")];
    assert_eq!(act(&mut root, &app, &own, &change).await.status, 303);
    let id = signet::oauth::UserId::parse(own.rsplit('/').next().unwrap()).unwrap();
    let accounts = &app.app.state.services.accounts;
    let account = accounts.find(&id).await.unwrap().unwrap();
    assert!(account.email_verified && account.preferred_username.is_none() && !account.administrator);
    assert!(
        text(&browser.get(&app, "/account").await).contains("Your profile"),
        "nobody is signed out by it"
    );
    let bad = [("act", "change"), ("name", "Eve"), ("email", BOB)];
    let refused = act(&mut root, &app, &own, &bad).await;
    assert!(refused.status == 400 && text(&refused).contains(&format!("value=\"{BOB}\"")));

    let new = "an entirely new pass phrase";
    for password in [&[][..], &[("password", "")], &[("password", "short")]] {
        let members = [&[("act", "set_password")], password].concat();
        assert_eq!(act(&mut root, &app, &own, &members).await.status, 400, "{password:?}");
    }
    let answer = act(&mut root, &app, &own, &[("act", "set_password"), ("password", new)]).await;
    assert!(text(&done(&mut root, &app, &answer).await).contains("The password is set"));
    assert!(text(&browser.get(&app, "/account").await).contains("name=\"password\""), "signed out");
    let asked = browser.get(&app, "/account").await;
    assert_eq!(browser.sign_in(&app, &asked, (eve, PASSWORD)).await.status, 400);
    let asked = browser.get(&app, "/account").await;
    assert_eq!(browser.sign_in(&app, &asked, (eve, new)).await.status, 303);

    assert_eq!(act(&mut root, &app, &own, &[("act", "delete")]).await.status, 400, "it has to be confirmed");
    assert!(accounts.find(&id).await.unwrap().is_some());
    let answer = act(&mut root, &app, &own, &[("act", "delete"), ("confirm", "yes")]).await;
    assert!(text(&done(&mut root, &app, &answer).await).contains("is deleted"));
    assert!(accounts.find(&id).await.unwrap().is_none());
    assert_eq!(root.get(&app, &own).await.status, 404);
    let log = app.audit_log();
    assert!(!log.contains(new) && !log.contains(PASSWORD));
    for event in ["user.registered", "user.changed", "user.deleted"] {
        let of_root = |line: &str| {
            line.contains(event) && line.contains("\"type\":\"user\"") && line.contains("192.0.2.1")
        };
        assert!(log.lines().any(of_root), "{event}");
    }
}

#[actix_web::test]
async fn a_password_that_an_administrator_sets_is_advised_to_be_as_long_as_ones_own() {
    let app = app_with_two().await;
    let bob = app.app.state.services.accounts.named(BOB).await.unwrap().unwrap();
    let mut root = signed_in(&app, ROOT, "/console").await;
    for path in ["/account/password", "/console/new-user", &format!("/console/users/{bob}")] {
        let page = text(&root.get(&app, path).await);
        assert!(page.contains("At least 8 characters; 15 or more are better."), "{path}: {page}");
    }
}

#[actix_web::test]
async fn nobody_locks_themselves_out_of_the_console() {
    let app = app_with_two().await;
    let mut root = signed_in(&app, ROOT, "/console/users").await;
    let accounts = &app.app.state.services.accounts;
    let me = accounts.list(signet::users::Page { limit: 1, offset: 0 }).await.unwrap().remove(0);
    let own = format!("/console/users/{}", me.id);
    for act_on_oneself in ["disable", "delete", "set_password"] {
        let members =
            [("act", act_on_oneself), ("confirm", "yes"), ("password", "an entirely new pass phrase")];
        assert_eq!(act(&mut root, &app, &own, &members).await.status, 400, "{act_on_oneself}");
    }
    let members = [("act", "change"), ("name", "Root and more"), ("email", ROOT)];
    assert_eq!(act(&mut root, &app, &own, &members).await.status, 303);
    let now = accounts.find(&me.id).await.unwrap().unwrap();
    assert!(now.administrator && !now.disabled && now.name == "Root and more");
    assert_eq!(root.get(&app, "/console").await.status, 200);
    let members = [("act", "set_password"), ("password", PASSWORD)];
    assert_eq!(root.post(&app, &own, &members).await.status, 400, "nor without a form of the session");
}

#[actix_web::test]
async fn accounts_are_kept_only_shortly_after_a_sign_in() {
    let app = app_with_two().await;
    let mut root = signed_in(&app, ROOT, "/console/users").await;
    app.pass(Duration::from_secs(15 * 60 + 1)).await;
    let path = "/console/new-user";
    assert!(text(&root.get(&app, path).await).contains("name=\"username\""));
    let members = [("name", "Mallory"), ("email", "mallory@example.com"), ("administrator", "yes")];
    assert!(location(&act(&mut root, &app, path, &members).await).ends_with(path), "one is sent to sign in");
    assert!(!text(&root.get(&app, "/console/users").await).contains("mallory"));
}

#[actix_web::test]
async fn an_account_is_disabled_and_enabled_but_not_ones_own() {
    let app = app_with_two().await;
    let mut root = signed_in(&app, ROOT, "/console/users").await;
    let mut bob = signed_in(&app, BOB, "/account").await;
    let page = text(&root.get(&app, "/console/users").await);
    assert!(page.contains("Bob &#60;script&#62;") && !page.contains("<script"), "{page}");
    let found =
        app.app.state.services.accounts.list(signet::users::Page { limit: 9, offset: 0 }).await.unwrap();
    let [mine, bobs] = [0, 1].map(|at: usize| format!("/console/users/{}", found[at].id));
    assert!(!text(&root.get(&app, &bobs).await).contains("<script"));
    let answer = act(&mut root, &app, &bobs, &[("act", "disable")]).await;
    assert!(text(&done(&mut root, &app, &answer).await).contains("disabled"));
    assert!(text(&bob.get(&app, "/account").await).contains("name=\"password\""), "signed out at once");
    let asked = bob.get(&app, "/account").await;
    assert_eq!(bob.sign_in(&app, &asked, (BOB, PASSWORD)).await.status, 400);
    let answer = act(&mut root, &app, &bobs, &[("act", "enable")]).await;
    assert_eq!(answer.status, 303);
    let asked = bob.get(&app, "/account").await;
    assert_eq!(bob.sign_in(&app, &asked, (BOB, PASSWORD)).await.status, 303);
    assert_eq!(act(&mut root, &app, &mine, &[("act", "disable")]).await.status, 400);
    assert_eq!(root.get(&app, &mine).await.status, 200);
    assert_eq!(root.get(&app, "/console/users/user_nobody").await.status, 404);
}

#[actix_web::test]
async fn a_second_factor_is_removed_but_not_ones_own_and_not_without_a_recent_sign_in() {
    let app = app_with_two().await;
    let mut bob = signed_in(&app, BOB, "/account").await;
    let mut root = signed_in(&app, ROOT, "/console/users").await;
    let services = &app.app.state.services;
    let found = services.accounts.list(signet::users::Page { limit: 9, offset: 0 }).await.unwrap();
    let [mine, bobs] = [0, 1].map(|at: usize| format!("/console/users/{}", found[at].id));
    let members = [("act", "remove_second_factor"), ("confirm", "yes")];
    assert!(!text(&root.get(&app, &bobs).await).contains("remove_second_factor"), "there is none");
    for account in &found {
        enrolled(&app, account).await;
    }
    assert!(text(&root.get(&app, &bobs).await).contains("remove_second_factor"));
    assert_eq!(act(&mut root, &app, &bobs, &members[..1]).await.status, 400, "not without a confirmation");
    assert_eq!(act(&mut root, &app, &mine, &members).await.status, 400, "not one's own");
    app.pass(Duration::from_secs(13 * 60 + 1)).await;
    assert!(
        location(&act(&mut root, &app, &bobs, &members).await).ends_with(&bobs),
        "one is sent to sign in"
    );
    for account in &found {
        assert!(services.second_factors.find(&account.id).await.unwrap().is_some());
    }
    assert!(!text(&bob.get(&app, "/account").await).contains("name=\"password\""), "still signed in");
    services.second_factors.remove(&found[0].id).await.unwrap();
    let mut root = signed_in(&app, ROOT, "/console/users").await;
    let answer = act(&mut root, &app, &bobs, &members).await;
    assert!(text(&done(&mut root, &app, &answer).await).contains("The second factor is removed"));
    assert!(services.second_factors.find(&found[1].id).await.unwrap().is_none());
    assert!(text(&bob.get(&app, "/account").await).contains("name=\"password\""), "signed out at once");
    let by_root = |line: &str| line.contains("second_factor.removed") && line.contains(found[0].id.as_str());
    assert!(app.audit_log().lines().any(by_root));
}

#[actix_web::test]
async fn everything_of_a_client_is_revoked() {
    let app = app_with_two().await;
    let mut root = signed_in(&app, ROOT, "/console/revocations").await;
    let (token, client_id) = (app.demo_token().await, app.demo().0.to_owned());
    let path = "/console/revocations";
    for members in [
        &[("client_id", &*client_id)][..],
        &[("confirm", "yes")],
        &[("client_id", "a b"), ("confirm", "yes")],
    ] {
        assert_eq!(act(&mut root, &app, path, members).await.status, 400, "{members:?}");
    }
    assert!(app.is_active(&token).await);
    let answer = act(&mut root, &app, path, &[("client_id", &client_id), ("confirm", "yes")]).await;
    let page = text(&done(&mut root, &app, &answer).await);
    let listed =
        format!("<td data-label=\"Client\"><code>{client_id}</code></td><td data-label=\"Subject\">any</td>");
    assert!(page.contains("is revoked") && page.contains(&listed), "{page}");
    assert!(!app.is_active(&token).await);
}

#[actix_web::test]
async fn a_single_token_is_revoked_and_never_shown() {
    let app = app_with_two().await;
    let mut root = signed_in(&app, ROOT, "/console/revocations").await;
    let (token, other) = (app.demo_token().await, app.demo_token().await);
    let path = "/console/revocations";
    for members in [
        &[("token", &*token)][..],
        &[("token", &format!("{token}x")), ("confirm", "yes")],
        &[("token", &*token), ("client_id", app.demo().0), ("confirm", "yes")],
        &[("token", &*token), ("sub", app.demo().0), ("confirm", "yes")],
    ] {
        let page = act(&mut root, &app, path, members).await;
        assert!(page.status == 400 && !text(&page).contains(&token), "{members:?} {}", text(&page));
    }
    assert!(app.is_active(&token).await);
    let answer = act(&mut root, &app, path, &[("token", &token), ("confirm", "yes")]).await;
    let page = text(&done(&mut root, &app, &answer).await);
    assert!(page.contains("The token is revoked.") && page.contains("Nothing is."), "{page}");
    assert!(!app.is_active(&token).await && app.is_active(&other).await);
}

#[actix_web::test]
async fn what_is_revoked_as_a_whole_is_paged() {
    let app = app_with_two().await;
    for n in 0..60 {
        let sub = signet::oauth::Subject::parse(&format!("person-{n:02}")).unwrap();
        let whole = signet::tokens::Whole::Subject(sub);
        app.app.state.services.revocations.revoke_before_now(&whole).await.unwrap();
    }
    let mut root = signed_in(&app, ROOT, "/console/revocations").await;
    let rows = |page: &str| page.matches("<tr><td data-label=\"Client\">any</td>").count();
    let page = text(&root.get(&app, "/console/revocations").await);
    assert_eq!(rows(&page), 50);
    let next =
        page.split("href=\"/console/revocations?").nth(1).expect("a next page").split('"').next().unwrap();
    let page = text(&root.get(&app, &format!("/console/revocations?{next}")).await);
    assert!(rows(&page) == 10 && page.contains("person-59") && !page.contains("rel=\"next\""), "{page}");
}

#[actix_web::test]
async fn the_audit_trail_is_searched_and_paged() {
    let app = app_with_two().await;
    for _ in 0..60 {
        app.administer(
            actix_web::http::Method::POST,
            "/admin/revocations",
            Some(serde_json::json!({ "sub": "nobody" })),
        )
        .await;
    }
    let mut root = signed_in(&app, ROOT, "/console/audit").await;
    let rows = |page: &Answer| text(page).matches("<tr><td data-label=\"When\"").count();
    let page = root.get(&app, "/console/audit?event=REVOKED_BEFORE&subject=nobody").await;
    assert_eq!(rows(&page), 50);
    let all = text(&page);
    let next = all.split("href=\"/console/audit?").nth(1).expect("a next page").split('"').next().unwrap();
    let next = format!("/console/audit?{}", next.replace("&#38;", "&").replace("&amp;", "&"));
    let page = root.get(&app, &next).await;
    assert_eq!(rows(&page), 10, "{next}");
    assert!(!text(&page).contains("Older entries"));
    let page = root.get(&app, "/console/audit?actor=%3Cscript%3E").await;
    assert!(
        text(&page).contains("Nothing was found.") && !text(&page).contains("<script"),
        "{}",
        text(&page)
    );
    assert_eq!(root.get(&app, "/console/audit?before=x").await.status, 400);
    // The admin API finds the same.
    let get = |query: &str| {
        let path = format!("/admin/audit?{query}");
        let app = &app;
        async move { app.administer(actix_web::http::Method::GET, &path, None).await }
    };
    let asked = "event=REVOKED_BEFORE&subject=nobody&limit=50";
    let (mut seen, mut before) = (Vec::new(), String::new());
    for entries in [50, 10] {
        let page = get(&format!("{asked}{before}")).await.json();
        let found = page["entries"].as_array().unwrap();
        assert_eq!(found.len(), entries);
        let is_meant = |entry: &serde_json::Value| {
            entry["subject"] == "nobody" && entry["actor"]["type"] == "client" && entry.get("hash").is_none()
        };
        assert!(found.iter().all(is_meant), "{page}");
        seen.extend(found.iter().map(|entry| entry["seq"].as_u64().unwrap()));
        before = page["before"].as_u64().map_or(String::new(), |before| format!("&before={before}"));
    }
    assert!(before.is_empty() && seen.is_sorted_by(|newer, older| newer > older), "{seen:?}");
    for wrong in ["before=x", "limit=0", "limit=1001", "after=1"] {
        get(wrong).await.refused(400, "invalid_request");
    }
}
