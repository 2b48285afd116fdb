//! What clients are told of a person is what the person sees and changes, and administrators do; what is verified only they say.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::{Value, json};
use signet::clients::Registration;
use signet::oauth::Scope;

use crate::browser::{Browser, parameter, redeem, register, request, shop, text};
use crate::shell::{account, act, done, form_token, hidden, signed_in};
use crate::test_app::{Answer, TestApp, bearer};

const ADA: &str = "ada@example.com";
const ROOT: &str = "root@example.com";

/// What a person may write, as forms send it.
const WRITTEN: [(&str, &str); 18] = [
    ("given_name", "Ada"),
    ("middle_name", "\"><b>"),
    ("family_name", "King"),
    ("nickname", "Countess"),
    ("birthdate", "1815-12-10"),
    ("gender", "female"),
    ("locale", "en-GB"),
    ("zoneinfo", "Europe/London"),
    ("website", "https://ada.example"),
    ("profile", "https://ada.example/me"),
    ("picture", "https://ada.example/me.png"),
    ("phone_number", "+44 20 7946 0958"),
    ("street_address", "12 St James\u{2019}s Square\r\nSecond floor"),
    ("postal_code", "SW1Y"),
    ("locality", "London"),
    ("region", "Westminster"),
    ("country", "United Kingdom"),
    ("formatted", "12 St James\u{2019}s Square\r\nLondon"),
];

/// The same, as clients are told.
fn told(verified: bool) -> Value {
    json!({
        "given_name": "Ada", "middle_name": "\"><b>", "family_name": "King", "nickname": "Countess",
        "birthdate": "1815-12-10", "gender": "female", "locale": "en-GB", "zoneinfo": "Europe/London",
        "website": "https://ada.example", "profile": "https://ada.example/me",
        "picture": "https://ada.example/me.png", "phone_number": "+44 20 7946 0958",
        "phone_number_verified": verified,
        "address": {
            "formatted": "12 St James\u{2019}s Square\nLondon",
            "street_address": "12 St James\u{2019}s Square\nSecond floor", "locality": "London",
            "region": "Westminster", "postal_code": "SW1Y", "country": "United Kingdom",
        },
    })
}

/// The fields that the page says are wrong, and that the words of its problem belong to.
fn marked(page: &Answer) -> Vec<String> {
    let page = text(page);
    let inputs = page.split(['<', '>']).filter(|tag| tag.contains("aria-invalid=\"true\""));
    inputs
        .map(|tag| {
            assert!(tag.contains("problem\"") && page.contains("id=\"problem\""), "{tag}");
            tag.split("name=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a name").to_owned()
        })
        .collect()
}

async fn profile(app: &TestApp, id: &str) -> Value {
    app.administer(Method::GET, &format!("/admin/users/{id}"), None).await.json()["profile"].clone()
}

#[actix_web::test]
async fn people_see_and_change_all_that_clients_are_told() {
    let app = TestApp::start().await;
    let id = account(&app, ("Ada", ADA), false).await.id.to_string();
    let mut ada = signed_in(&app, ADA, "/account").await;
    let members = [&[("name", "Ada Lovelace")][..], &WRITTEN].concat();
    let answer = act(&mut ada, &app, "/account", &members).await;
    let page = text(&done(&mut ada, &app, &answer).await);
    assert!(page.contains("Your profile is changed."), "{page}");
    assert_eq!(profile(&app, &id).await, told(false));
    for (name, value) in WRITTEN {
        assert!(page.contains(&format!("<label for=\"{name}\">")), "{name} has a label");
        let value = value.replace("\r\n", "\n").replace("\"><b>", "&#34;&#62;&#60;b&#62;");
        assert!(
            page.contains(&format!("value=\"{value}\"")) || page.contains(&format!(">{value}</textarea>")),
            "{name}"
        );
    }
    assert!(!page.contains("name=\"phone_number_verified\""));
    for autocomplete in ["given-name", "bday", "tel", "street-address", "postal-code", "country-name"] {
        assert!(page.contains(&format!("autocomplete=\"{autocomplete}\"")), "{autocomplete}");
    }
    // And clients are told what the person sees.
    let scope = Scope::parse("openid profile address phone").unwrap();
    let shop = register(&app, Registration { scope, default_scope: None, ..shop() }).await;
    let asked = request(&[("scope", "openid profile address phone")]);
    let tokens = redeem(&app, &shop, &parameter(&ada.allow(&app, &asked).await, "code").unwrap()).await;
    let token = bearer(tokens["access_token"].as_str().unwrap());
    let userinfo = app.send(TestRequest::get().uri("/oauth2/userinfo").insert_header(token)).await.json();
    for (name, value) in told(false).as_object().unwrap() {
        assert_eq!(&userinfo[name], value, "{name}");
    }
    // What is not brought stays; what is brought empty is gone.
    let members = [("name", "Ada"), ("nickname", ""), ("street_address", " ")];
    assert_eq!(act(&mut ada, &app, "/account", &members).await.status, 303);
    let mut expected = told(false);
    expected.as_object_mut().unwrap().remove("nickname");
    expected["address"].as_object_mut().unwrap().remove("street_address");
    assert_eq!(profile(&app, &id).await, expected);
    let cleared: Vec<(&str, &str)> = WRITTEN.iter().map(|(name, _)| (*name, "")).collect();
    act(&mut ada, &app, "/account", &[&[("name", "Ada")][..], &cleared].concat()).await;
    assert_eq!(profile(&app, &id).await, json!({}));
}

#[actix_web::test]
async fn nobody_says_of_themselves_what_is_verified() {
    let app = TestApp::start().await;
    let id = account(&app, ("Ada", ADA), false).await.id.to_string();
    let verified = json!({ "profile": { "phone_number": "+44 1", "phone_number_verified": true } });
    let path = format!("/admin/users/{id}");
    assert_eq!(app.administer(Method::PATCH, &path, Some(verified)).await.status, 200);
    let mut ada = signed_in(&app, ADA, "/account").await;
    let claim = [("phone_number_verified", "yes"), ("email_verified", "yes")];
    for (number, expected) in [("+44 1", true), ("+44 2", false), ("+44 1", false)] {
        let members = [&[("name", "Ada"), ("phone_number", number)][..], &claim].concat();
        assert_eq!(act(&mut ada, &app, "/account", &members).await.status, 303);
        assert_eq!(profile(&app, &id).await["phone_number_verified"], expected, "{number}");
    }
    assert_eq!(app.administer(Method::GET, &path, None).await.json()["email_verified"], false);
    // An administrator does.
    account(&app, ("Root", ROOT), true).await;
    let own = format!("/console/users/{id}");
    let mut root = signed_in(&app, ROOT, "/console/users").await;
    for (verified, expected) in [("yes", true), ("", false)] {
        let members = [("act", "change"), ("name", "Ada"), ("email", ADA), ("phone_number", "+44 2")];
        let members = [&members[..], &[("phone_number_verified", verified)]].concat();
        assert_eq!(act(&mut root, &app, &own, &members).await.status, 303);
        assert_eq!(profile(&app, &id).await["phone_number_verified"], expected);
        let page = text(&ada.get(&app, "/account").await);
        assert_eq!(page.contains("<span class=\"state green aside\">verified</span>"), expected, "{page}");
    }
    // That a form has no tick says nothing where nobody has said anything; and a tick that was there is the former number's.
    for (before, number, ticked, expected) in [
        (Value::Null, "+44 2", "", Value::Null),
        (Value::Null, "+44 3", "", json!(false)),
        (json!(true), "+44 2", "yes", json!(true)),
        (json!(true), "+44 3", "yes", json!(false)),
    ] {
        let stored = json!({ "profile": { "phone_number": "+44 2", "phone_number_verified": before } });
        assert_eq!(app.administer(Method::PATCH, &path, Some(stored)).await.status, 200);
        let members = [("act", "change"), ("name", "Ada"), ("email", ADA), ("phone_number", number)];
        let members = [&members[..], &[("phone_number_verified", ticked)]].concat();
        assert_eq!(act(&mut root, &app, &own, &members).await.status, 303);
        assert_eq!(profile(&app, &id).await["phone_number_verified"], expected, "{before} {number}");
    }
}

#[actix_web::test]
async fn administrators_see_and_change_it_too() {
    let app = TestApp::start().await;
    account(&app, ("Root", ROOT), true).await;
    let mut root = signed_in(&app, ROOT, "/console/users").await;
    let members = [("name", "Ada"), ("email", ADA), ("phone_number_verified", "yes")];
    let members = [&members[..], &WRITTEN].concat();
    let answer = act(&mut root, &app, "/console/new-user", &members).await;
    let page = text(&done(&mut root, &app, &answer).await);
    assert!(
        page.contains("value=\"1815-12-10\"")
            && page.contains("name=\"phone_number_verified\" value=\"yes\" checked")
    );
    let users = app.administer(Method::GET, "/admin/users", None).await.json();
    let found = users["users"].as_array().unwrap().iter().find(|user| user["email"] == ADA).unwrap();
    let id = found["id"].as_str().unwrap();
    assert_eq!(found["profile"], told(true));
    // A form without these fields leaves them as they are.
    let own = format!("/console/users/{id}");
    let change = [("act", "change"), ("name", "Ada L."), ("email", ADA)];
    assert_eq!(act(&mut root, &app, &own, &change).await.status, 303);
    assert_eq!(profile(&app, id).await, told(true));
    let bad = [&change[..], &[("website", "javascript:alert(1)")]].concat();
    let refused = act(&mut root, &app, &own, &bad).await;
    assert!(
        refused.status == 400 && text(&refused).contains("Website must be an http or https URL"),
        "{}",
        text(&refused)
    );
    assert!(
        text(&refused).contains("value=\"javascript:alert(1)\"") && text(&refused).contains("<details open")
    );
    assert_eq!(marked(&refused), ["website"]);
    let bad = [("act", "change"), ("name", "Ada\u{7} L."), ("email", ADA), ("website", "nowhere")];
    assert_eq!(marked(&act(&mut root, &app, &own, &bad).await), ["name"], "the first, as the words have it");
    let new = [("name", "Eve"), ("email", "eve@example.com"), ("locality", "\u{7}")];
    assert_eq!(marked(&act(&mut root, &app, "/console/new-user", &new).await), ["locality"]);
    let taken = [("name", "Eve"), ("email", ADA)];
    assert!(marked(&act(&mut root, &app, "/console/new-user", &taken).await).is_empty());
    let gone = [&change[..], &[("country", "")]].concat();
    assert_eq!(act(&mut root, &app, &own, &gone).await.status, 303);
    assert_eq!(profile(&app, id).await["address"].get("country"), None);
    assert_eq!(profile(&app, id).await["address"]["locality"], "London");
}

#[actix_web::test]
async fn a_form_of_before_undoes_nothing_and_what_is_wrong_is_shown_as_it_was_typed() {
    let app = TestApp::start().await;
    let id = account(&app, ("Ada", ADA), false).await.id.to_string();
    let mut ada: Browser = signed_in(&app, ADA, "/account").await;
    let page = ada.get(&app, "/account").await;
    let (token, version) = (form_token(&page), hidden(&page, "version"));
    let token = ("form_token", token.as_str());
    app.pass(Duration::from_secs(1)).await;
    let path = format!("/admin/users/{id}");
    let change = json!({ "profile": { "phone_number": "+44 1", "phone_number_verified": true } });
    assert_eq!(app.administer(Method::PATCH, &path, Some(change.clone())).await.status, 200);
    let stale = [token, ("name", "Ada L."), ("phone_number", ""), ("version", version.as_str())];
    let refused = ada.post(&app, "/account", &stale).await;
    assert!(refused.status == 400 && text(&refused).contains("was changed meanwhile"), "{}", text(&refused));
    assert!(text(&refused).contains("value=\"+44 1\""), "as it is now");
    assert_eq!(profile(&app, &id).await, change["profile"]);
    let fresh = hidden(&refused, "version");
    let bad = [token, ("name", "Ada L."), ("website", "nowhere"), ("version", fresh.as_str())];
    let refused = ada.post(&app, "/account", &bad).await;
    assert!(refused.status == 400 && text(&refused).contains("Website must be an http or https URL"));
    assert!(text(&refused).contains("value=\"nowhere\"") && text(&refused).contains("value=\"Ada L.\""));
    assert_eq!(marked(&refused), ["website"]);
    let bad = [token, ("name", "Ada L."), ("locale", "\u{7}"), ("version", fresh.as_str())];
    let refused = ada.post(&app, "/account", &bad).await;
    assert_eq!(marked(&refused), ["locale"]);
    assert!(text(&refused).contains("aria-describedby=\"locale-hint problem\""), "the hint is read too");
    assert!(marked(&ada.get(&app, "/account").await).is_empty());
    let good = [token, ("name", "Ada L."), ("website", "https://ada.example"), ("version", fresh.as_str())];
    assert_eq!(ada.post(&app, "/account", &good).await.status, 303);
    assert_eq!(profile(&app, &id).await["website"], "https://ada.example");
}
