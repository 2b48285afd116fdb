//! What people do again and again does not make the signed status lists, which every resource server fetches, grow without
//! end.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::json;
use signet::clock::ManualClock;
use signet::config::Config;
use signet::oauth::{ClientId, Subject};
use signet::tokens::Whole;

use crate::browser::{Browser, CALLBACK, location, request, text};
use crate::faulty_store::{Fault, FaultyStore};
use crate::grants_fixture::World;
use crate::shell::{account, act, done, shown_secrets, signed_in};
use crate::test_app::{RESOURCE, START, TestApp, form, part};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";
const APPLICATIONS: &str = "/account/applications";
const API_KEYS: &str = "/account/api-keys";

async fn app(change: impl FnOnce(&mut Config)) -> TestApp {
    let app = TestApp::start_with(change).await;
    account(&app, ("Ada", ADA), false).await;
    account(&app, ("Bob", BOB), false).await;
    app
}

/// What the newest status list says is revoked as a whole: how many entries of each kind.
async fn revoked(app: &TestApp) -> [usize; 3] {
    let token = app.demo_token().await;
    let uri = part(&token, 1)["status"]["status_list"]["uri"].as_str().unwrap().to_owned();
    // What is published is renewed once it is this old.
    app.pass(Duration::from_secs(10)).await;
    let answer = app.send(TestRequest::get().uri(uri.strip_prefix(crate::test_app::ISSUER).unwrap())).await;
    let claims = part(&String::from_utf8(answer.body.clone()).unwrap(), 1);
    ["clients", "subjects", "grants"].map(|kind| {
        let entries = claims["revoked_before"][kind].as_object();
        entries.map_or(0, serde_json::Map::len)
    })
}

async fn register(browser: &mut Browser, app: &TestApp, name: &str) -> crate::test_app::Answer {
    let members = [("client_name", name), ("redirect_uris", CALLBACK), ("scope:read", "yes")];
    act(browser, app, APPLICATIONS, &members).await
}

async fn delete(browser: &mut Browser, app: &TestApp, own: &str) {
    let deleted = act(browser, app, own, &[("act", "delete"), ("confirm", "yes")]).await;
    assert_eq!(deleted.status, 303, "{}", text(&deleted));
}

#[actix_web::test]
async fn an_application_that_is_deleted_leaves_one_entry_whoever_took_back_what_they_allowed_it() {
    let app = app(|_| {}).await;
    let mut ada = signed_in(&app, ADA, APPLICATIONS).await;
    let mut bob = signed_in(&app, BOB, "/account").await;
    let own = location(&register(&mut ada, &app, "Notes").await);
    let client_id = own.rsplit('/').next().unwrap().to_owned();
    let asked = request(&[("client_id", &client_id), ("scope", "read")]);
    for browser in [&mut ada, &mut bob] {
        assert_eq!(browser.allow(&app, &asked).await.status, 303);
        let withdrawn = act(browser, &app, "/account/consents", &[("client_id", &client_id)]).await;
        assert_eq!(withdrawn.status, 303, "{}", text(&withdrawn));
    }
    assert_eq!(revoked(&app).await, [0, 0, 2]);
    delete(&mut ada, &app, own.strip_prefix(crate::test_app::ISSUER).unwrap()).await;
    assert_eq!(revoked(&app).await, [1, 0, 0]);
    let app = app.restart(|_| {}).await;
    assert_eq!(revoked(&app).await, [1, 0, 0], "the rows are gone from the store, too");
}

#[actix_web::test]
async fn what_somebody_took_back_is_part_of_what_ends_when_they_are_signed_out_everywhere() {
    let app = app(|_| {}).await;
    crate::browser::register(&app, crate::browser::shop()).await;
    let mut people = Vec::new();
    for who in [ADA, BOB] {
        let mut browser = signed_in(&app, who, "/account").await;
        assert_eq!(browser.allow(&app, &request(&[])).await.status, 303);
        let withdrawn = act(&mut browser, &app, "/account/consents", &[("client_id", "shop")]).await;
        assert_eq!(withdrawn.status, 303);
        people.push(browser);
    }
    assert_eq!(revoked(&app).await, [0, 0, 2]);
    let users = app.administer(Method::GET, "/admin/users", None).await.json();
    let ada = users["users"].as_array().unwrap().iter().find(|user| user["email"] == ADA).unwrap();
    let path = format!("/admin/users/{}", ada["id"].as_str().unwrap());
    let change = json!({ "disabled": true });
    assert_eq!(app.administer(Method::PATCH, &path, Some(change)).await.status, 200);
    assert_eq!(revoked(&app).await, [0, 1, 1], "what Bob took back is not part of that");
}

#[actix_web::test]
async fn a_cut_off_counts_although_what_it_makes_needless_can_not_be_removed() {
    let clock = Arc::new(ManualClock::at(START));
    let store = FaultyStore::new(clock.clone());
    let mut world = World::on(TestApp::start_on(store.clone(), clock, |_| {}).await, json!({})).await;
    let client_id = ClientId::parse(&world.client.0).unwrap();
    let client = Whole::Client(client_id.clone());
    let granted = Whole::Granted(client_id, Subject::from(&world.account.id));
    // The first three calls set the cut-off; the others look for the row that it covers, and remove it.
    for (at, fault) in [(4, Fault::Refused), (5, Fault::Refused), (5, Fault::AnswerLost)] {
        world.app.clock.advance(Duration::from_secs(2));
        world.services().revocations.revoke_before_now(&granted).await.unwrap();
        world.app.clock.advance(Duration::from_secs(2));
        let (token, _) = world.tokens().await;
        store.fail(at, (fault, true));
        let done = world.services().revocations.revoke_before_now(&client).await;
        assert!(store.heal(), "call {at} was made");
        assert!(done.is_ok(), "call {at}: {done:?}");
        assert!(!world.is_active(&token).await);
        world = World { app: world.app.restart(|_| {}).await, ..world };
        assert!(!world.is_active(&token).await, "it is stored");
    }
}

#[actix_web::test]
async fn an_api_key_that_was_never_used_leaves_nothing_and_one_that_was_leaves_an_entry() {
    let app = app(|_| {}).await;
    let mut ada = signed_in(&app, ADA, API_KEYS).await;
    for (used, entries) in [(false, 0), (true, 1)] {
        let made = act(&mut ada, &app, API_KEYS, &[("name", "backup"), ("scope:read", "yes")]).await;
        let secret = shown_secrets(&done(&mut ada, &app, &made).await).remove(0);
        let key = app.app.state.services.api_keys.list(None, 1).await.unwrap().remove(0);
        let mut token = None;
        if used {
            let exchange = format!(
                "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={secret}\
                 &subject_token_type=urn:signet:params:oauth:token-type:api_key"
            );
            token = Some(app.send(form("/oauth2/token", &exchange)).await.access_token());
        }
        assert_eq!(act(&mut ada, &app, API_KEYS, &[("revoke", key.id.as_str())]).await.status, 303);
        assert_eq!(revoked(&app).await, [entries, 0, 0], "used: {used}");
        if let Some(token) = token {
            assert!(!app.is_active(&token).await);
        }
    }
}

#[actix_web::test]
async fn one_person_makes_so_many_things_a_day_whatever_becomes_of_them() {
    let app = app(|config| config.people.made_per_day = 3).await;
    let mut ada = signed_in(&app, ADA, APPLICATIONS).await;
    for _ in 0..2 {
        let own = location(&register(&mut ada, &app, "Notes").await);
        delete(&mut ada, &app, own.strip_prefix(crate::test_app::ISSUER).unwrap()).await;
    }
    let key = [("name", "backup"), ("scope:read", "yes")];
    // What is refused for another reason is not counted.
    assert_eq!(register(&mut ada, &app, "").await.status, 400);
    assert_eq!(act(&mut ada, &app, API_KEYS, &[("name", "")]).await.status, 400);
    assert_eq!(act(&mut ada, &app, API_KEYS, &key).await.status, 303);
    let app = app.restart(|_| {}).await;
    for refused in [register(&mut ada, &app, "Notes").await, act(&mut ada, &app, API_KEYS, &key).await] {
        assert_eq!(refused.status, 429, "{}", text(&refused));
        assert!(text(&refused).contains("3 applications and API keys in 24 hours"), "{}", text(&refused));
        assert_eq!(refused.header("retry-after"), Some("86400"));
    }
    assert!(app.app.state.services.clients.of_owner(&owner(&app).await).is_empty());
    // An administrator is not bounded, nor is anybody else.
    let request = json!({
        "name": "given", "user_id": owner(&app).await, "scope": "read", "resources": [RESOURCE]
    });
    assert_eq!(app.administer(Method::POST, "/admin/api-keys", Some(request)).await.status, 201);
    let mut bob = signed_in(&app, BOB, APPLICATIONS).await;
    assert_eq!(register(&mut bob, &app, "Notes").await.status, 303);
    app.pass(Duration::from_hours(24)).await;
    let mut ada = signed_in(&app, ADA, APPLICATIONS).await;
    assert_eq!(register(&mut ada, &app, "Notes").await.status, 303);
}

async fn owner(app: &TestApp) -> signet::oauth::UserId {
    let page = signet::users::Page { offset: 0, limit: 10 };
    let accounts = app.app.state.services.accounts.list(page).await.unwrap();
    accounts.into_iter().find(|account| account.email.as_str() == ADA).unwrap().id
}
