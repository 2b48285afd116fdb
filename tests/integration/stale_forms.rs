//! What the console changes is what it showed: a form that was opened before somebody else's change undoes nothing.

use std::time::Duration;

use actix_web::http::Method;
use serde_json::json;

use crate::browser::text;
use crate::shell::{account, form_token, hidden, signed_in};
use crate::test_app::{RESOURCE, TestApp};

const ROOT: &str = "root@example.com";

#[actix_web::test]
async fn a_form_of_an_account_that_was_changed_meanwhile_is_shown_anew() {
    let app = TestApp::start().await;
    account(&app, ("Root", ROOT), true).await;
    let mallory = account(&app, ("Mallory", "mallory@example.com"), true).await;
    let mut root = signed_in(&app, ROOT, "/console/users").await;
    let own = format!("/console/users/{}", mallory.id);
    let page = root.get(&app, &own).await;
    let (token, version) = (form_token(&page), hidden(&page, "version"));
    let accounts = &app.app.state.services.accounts;
    app.pass(Duration::from_secs(1)).await;
    let demoted = signet::users::AccountChange { administrator: Some(false), ..Default::default() };
    accounts.update(&mallory.id, &demoted).await.unwrap();

    let members = |version| {
        [
            ("form_token", token.as_str()),
            ("act", "change"),
            ("name", "Mallory M."),
            ("email", "mallory@example.com"),
            ("administrator", "yes"),
            ("version", version),
        ]
    };
    let refused = root.post(&app, &own, &members(&version)).await;
    assert!(refused.status == 400 && text(&refused).contains("was changed meanwhile"), "{}", text(&refused));
    let shown = text(&refused);
    assert!(
        shown.contains("value=\"Mallory\"")
            && !shown.contains("name=\"administrator\" value=\"yes\" checked")
    );
    let without = root.post(&app, &own, &members(&version)[..5]).await;
    assert_eq!(without.status, 400, "a form says what it shows");
    let now = accounts.find(&mallory.id).await.unwrap().unwrap();
    assert!(!now.administrator && now.name == "Mallory");
    let answer = root.post(&app, &own, &members(&hidden(&refused, "version"))).await;
    assert_eq!(answer.status, 303, "what is shown now can be changed");
}

#[actix_web::test]
async fn a_form_of_a_client_that_was_changed_meanwhile_is_shown_anew() {
    let app = TestApp::start().await;
    account(&app, ("Root", ROOT), true).await;
    let mut root = signed_in(&app, ROOT, "/console/clients").await;
    let new =
        json!({ "client_id": "shop", "client_name": "Shop", "scope": "read write", "resources": [RESOURCE] });
    assert_eq!(app.administer(Method::POST, "/admin/clients", Some(new)).await.status, 201);
    let own = "/console/clients/shop";
    let page = root.get(&app, own).await;
    let (token, version) = (form_token(&page), hidden(&page, "version"));
    app.pass(Duration::from_secs(1)).await;
    let narrowed = json!({ "scope": "read", "default_scope": "read" });
    assert_eq!(app.administer(Method::PATCH, "/admin/clients/shop", Some(narrowed)).await.status, 200);
    let members = [
        ("form_token", token.as_str()),
        ("act", "change"),
        ("client_name", "Store"),
        ("resource", RESOURCE),
        ("scope", "read write"),
        ("client_credentials", "yes"),
        ("version", &version),
    ];
    let refused = root.post(&app, own, &members).await;
    assert!(refused.status == 400 && text(&refused).contains("was changed meanwhile"), "{}", text(&refused));
    assert!(!text(&refused).contains("value=\"read write\""), "what it is now is shown");
    assert_eq!(root.post(&app, own, &members[..6]).await.status, 400, "a form says what it shows");
    let client = app.administer(Method::GET, "/admin/clients/shop", None).await.json();
    assert_eq!((&client["scope"], &client["client_name"]), (&json!("read"), &json!("Shop")));
}
