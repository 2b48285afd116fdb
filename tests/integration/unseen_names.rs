//! Names that look like another's for what can't be seen: no surface that takes a name takes them.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::{Value, json};

use crate::browser::{CALLBACK, encoded};
use crate::shell::{account, act, signed_in};
use crate::test_app::{RESOURCE, TestApp, bearer, form};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

/// Names that show `The Shop`, or something that is not there.
fn unseen() -> Vec<String> {
    let unseen =
        "\u{202e}\u{2066}\u{2069}\u{200b}\u{200d}\u{200f}\u{2028}\u{2029}\u{feff}\u{ad}\u{3164}\u{85}\u{7}";
    unseen.chars().map(|c| format!("The Sh{c}op")).collect()
}

async fn app() -> TestApp {
    let app = TestApp::start_with(|config| {
        config.dialects.apps = true;
        config.limits.registration_per_address = 0;
    })
    .await;
    account(&app, ("Ada", ADA), true).await;
    account(&app, ("Bob", BOB), false).await;
    app
}

#[actix_web::test]
async fn no_surface_takes_a_name_that_is_not_all_seen() {
    let app = app().await;
    let user = app.app.state.services.accounts.named(ADA).await.unwrap().unwrap();
    let bob = app.app.state.services.accounts.named(BOB).await.unwrap().unwrap();
    let keeper = json!({ "client_name": "Keeper", "grant_types": ["client_credentials"], "scope": "users:read users:write",
        "resources": [format!("{}/users", crate::test_app::ISSUER)] });
    let keeper = app.administer(Method::POST, "/admin/clients", Some(keeper)).await.json();
    let keeper = (keeper["client_id"].as_str().unwrap(), keeper["client_secret"].as_str().unwrap());
    let keeper = app.token(keeper, "").await.access_token();
    let mut browser = signed_in(&app, ADA, "/account").await;
    let demo = format!("/admin/clients/{}", app.demo().0);
    let application = |name: &str| -> Vec<(&'static str, String)> {
        vec![
            ("client_name", name.to_owned()),
            ("redirect_uris", CALLBACK.to_owned()),
            ("scope:openid", "yes".to_owned()),
        ]
    };
    let made = application("Notes");
    let made: Vec<(&str, &str)> = made.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let own = crate::browser::location(&act(&mut browser, &app, "/account/applications", &made).await);
    let own = own.strip_prefix(crate::test_app::ISSUER).unwrap().to_owned();
    for name in unseen() {
        let administered: [(Method, &str, Value); 6] = [
            (
                Method::POST,
                "/admin/clients",
                json!({ "client_name": name, "scope": "read", "resources": [RESOURCE] }),
            ),
            (Method::PATCH, &demo, json!({ "client_name": name })),
            (Method::POST, "/admin/users", json!({ "name": name, "email": "new@example.com" })),
            (Method::PATCH, &format!("/admin/users/{user}"), json!({ "name": name })),
            (Method::PATCH, &format!("/admin/users/{user}"), json!({ "profile": { "nickname": name } })),
            (
                Method::POST,
                "/admin/api-keys",
                json!({ "name": name, "user_id": user, "scope": "read", "resources": [RESOURCE] }),
            ),
        ];
        for (method, path, body) in administered {
            let answer = app.administer(method.clone(), path, Some(body)).await;
            assert_eq!(answer.status, 400, "{method} {path} {name:?} {}", crate::browser::text(&answer));
        }
        let users = [
            (
                Method::POST,
                "/users".to_owned(),
                json!({ "name": name, "email": "new@example.com", "password": "securepassword123" }),
            ),
            (Method::PUT, format!("/users/{bob}"), json!({ "name": name })),
        ];
        for (method, path, body) in users {
            let request = TestRequest::with_uri(&path).method(method).insert_header(bearer(&keeper));
            app.send(request.set_json(body)).await.refused(400, "invalid_request");
        }
        let apps = encoded(&[("client_name", &name), ("redirect_uris", CALLBACK)]);
        assert_eq!(app.send(form("/api/v1/apps", &apps)).await.status, 400, "{name:?}");
        let own_change = vec![
            ("act", "change".to_owned()),
            ("client_name", name.clone()),
            ("redirect_uris", CALLBACK.to_owned()),
        ];
        for (path, members) in [
            ("/account", vec![("name", name.clone())]),
            ("/account/applications", application(&name)),
            (&*own, own_change),
            ("/account/api-keys", vec![("name", name.clone()), ("scope:read", "yes".to_owned())]),
        ] {
            let members: Vec<(&str, &str)> =
                members.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = act(&mut browser, &app, path, &members).await;
            assert_eq!(answer.status, 400, "{path} {name:?}");
        }
    }
    for (id, name) in [(user, "Ada"), (bob, "Bob")] {
        let account = app.app.state.services.accounts.find(&id).await.unwrap().unwrap();
        assert_eq!(account.name, name);
    }
}

#[actix_web::test]
async fn blanks_around_a_name_are_no_part_of_it() {
    let app = app().await;
    let user = app.app.state.services.accounts.named(ADA).await.unwrap().unwrap();
    let (shop, zoe) = (" \u{3000}The Shop\t", "\u{a0}Zo\u{eb} ");
    let client = json!({ "client_name": shop, "scope": "read", "resources": [RESOURCE] });
    let made = app.administer(Method::POST, "/admin/clients", Some(client)).await.json();
    assert_eq!(made["client_name"], "The Shop");
    let path = format!("/admin/clients/{}", app.demo().0);
    let changed = app.administer(Method::PATCH, &path, Some(json!({ "client_name": shop }))).await.json();
    assert_eq!(changed["client_name"], "The Shop");
    let new = json!({ "name": zoe, "email": "zoe@example.com" });
    let made = app.administer(Method::POST, "/admin/users", Some(new)).await.json();
    assert_eq!(made["name"], "Zo\u{eb}");
    let path = format!("/admin/users/{user}");
    let changed = app.administer(Method::PATCH, &path, Some(json!({ "name": zoe }))).await.json();
    assert_eq!(changed["name"], "Zo\u{eb}");
}
