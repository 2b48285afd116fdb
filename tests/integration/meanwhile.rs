//! What somebody else does while a request is under way: between any two looks at the store, or before its turn comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use actix_web::http::Method;
use serde_json::json;
use signet::clients::ClientChange;
use signet::clock::ManualClock;
use signet::oauth::{ClientId, ErrorCode, Resource, Scope, UserId};
use signet::protocol::admin::{Administrator, clients, users};
use signet::protocol::{ProtocolError, Services};
use signet::tokens::Whole;
use signet::users::AccountChange;

use crate::faulty_store::FaultyStore;
use crate::grants_fixture::World;
use crate::sign_in::enrolled;
use crate::store_faults::admin;
use crate::store_faults_admin::exchange;
use crate::test_app::{RESOURCE, START, TestApp};

/// More looks at the store than any request takes.
const MOST: usize = 40;

async fn world() -> (World, Arc<FaultyStore>) {
    let clock = Arc::new(ManualClock::at(START));
    let store = FaultyStore::new(clock.clone());
    let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
    (World::on(app, json!({})).await, store)
}

/// An API key of the person: its identifier and its secret.
async fn key(world: &World) -> (String, String) {
    let request =
        json!({ "name": "k", "user_id": world.account.id, "scope": "read", "resources": [RESOURCE] });
    let made = world.app.administer(Method::POST, "/admin/api-keys", Some(request)).await.json();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("id"), text("api_key"))
}

#[actix_web::test]
async fn a_token_for_an_api_key_that_is_revoked_meanwhile_does_not_count() {
    let (world, store) = world().await;
    let (mut given, mut refused) = (0, 0);
    for at in 1..MOST {
        world.app.clock.advance(Duration::from_secs(2));
        let (id, secret) = key(&world).await;
        assert_eq!(exchange(&world, &secret).await.status, 200, "it has been used");
        world.app.clock.advance(Duration::from_secs(2));
        let state = world.app.app.state.clone();
        // As far as a revocation has come when the tokens are cut off and the key is not forgotten yet.
        store.after(at, async move {
            let owner = state.services.api_keys.find(&id).await.unwrap().unwrap();
            state.services.api_keys.revoke(&id).await.unwrap();
            let tokens = Whole::Client(ClientId::from(&owner.id));
            state.services.revocations.revoke_before_now(&tokens).await.unwrap();
        });
        let answer = exchange(&world, &secret).await;
        if !store.happened() {
            break;
        }
        if answer.status == 200 {
            given += 1;
            assert!(!world.app.is_active(&answer.access_token()).await, "after look {at}");
        } else {
            refused += 1;
        }
    }
    assert!(refused > 1, "{given} given, {refused} refused");
}

#[actix_web::test]
async fn a_token_for_an_api_key_whose_owner_is_disabled_meanwhile_does_not_count() {
    let (world, store) = world().await;
    let (_, secret) = key(&world).await;
    let (mut given, mut refused) = (0, 0);
    for at in 1..MOST {
        world.app.clock.advance(Duration::from_secs(2));
        let (state, id) = (world.app.app.state.clone(), world.account.id.to_string());
        store.after(at, async move { disable(&state.services, &id, true).await });
        let answer = exchange(&world, &secret).await;
        if !store.happened() {
            break;
        }
        if answer.status == 200 {
            given += 1;
            assert!(!world.app.is_active(&answer.access_token()).await, "after look {at}");
        } else {
            refused += 1;
        }
        disable(&world.app.app.state.services, world.account.id.as_str(), false).await;
    }
    assert!(refused > 1, "{given} given, {refused} refused");
}

async fn disable(services: &Services, id: &str, disabled: bool) {
    let request = users::AccountChangeRequest { disabled: Some(disabled), ..Default::default() };
    users::change(services, &Administrator::operator("root".into()), id, request).await.unwrap();
}

#[actix_web::test]
async fn an_account_that_is_made_an_administrators_meanwhile_is_not_for_everybody_to_delete() {
    made_an_administrators_meanwhile("").await;
}

#[actix_web::test]
async fn nor_is_its_second_factor() {
    made_an_administrators_meanwhile("/second-factor").await;
}

/// Somebody who may keep accounts, but not those of administrators, sends DELETE to what is at `of_account`.
async fn made_an_administrators_meanwhile(of_account: &str) {
    let (world, store) = world().await;
    let services = &world.app.app.state.services;
    let mut refused = 0;
    for at in 1..MOST {
        let body = json!({ "name": "Eve", "email": format!("eve-{at}@example.com") });
        let made = world.app.administer(Method::POST, "/admin/users", Some(body)).await.json();
        let user = UserId::parse(made["id"].as_str().unwrap()).unwrap();
        let account = services.accounts.find(&user).await.unwrap().unwrap();
        enrolled(&world.app, &account).await;
        let token = world.app.token(world.app.admin(), "scope=signet:users").await.access_token();
        let (state, promoted) = (world.app.app.state.clone(), user.clone());
        let came_first = Arc::new(AtomicBool::new(false));
        let noted = came_first.clone();
        store.after(at, async move {
            let (accounts, factors) = (&state.services.accounts, &state.services.second_factors);
            let change = AccountChange { administrator: Some(true), ..AccountChange::default() };
            let made = accounts.update(&promoted, &change).await.is_ok();
            noted.store(made && factors.find(&promoted).await.unwrap().is_some(), SeqCst);
        });
        let path = format!("/admin/users/{user}{of_account}");
        let answer = admin(&world, &token, (Method::DELETE, &path), None).await;
        if !store.happened() {
            break;
        }
        let account = services.accounts.find(&user).await.unwrap();
        let factor = services.second_factors.find(&user).await.unwrap();
        if answer.status == 204 {
            assert!(!came_first.load(SeqCst) && factor.is_none(), "after look {at}");
        } else {
            refused += 1;
            assert!(matches!(answer.status, 403 | 409), "{answer:?}");
            assert!(account.is_some_and(|account| account.administrator), "after look {at}");
            assert!(factor.is_some(), "after look {at}");
        }
    }
    assert!(refused > 1, "{refused}");
}

#[actix_web::test]
async fn a_client_that_is_given_more_meanwhile_is_not_for_everybody_to_change() {
    let change = async |services: &Services, ops: &Administrator, id: &str| {
        let change = ClientChange { client_name: Some("Other".into()), ..ClientChange::default() };
        clients::change(services, ops, id, change).await.map(drop)
    };
    given_more_meanwhile(change, ErrorCode::InsufficientScope).await;
}

#[actix_web::test]
async fn nor_to_give_a_new_secret() {
    let rotate = async |services: &Services, ops: &Administrator, id: &str| {
        clients::rotate_secret(services, ops, id, &clients::SecretRotation::default()).await.map(drop)
    };
    given_more_meanwhile(rotate, ErrorCode::InsufficientScope).await;
}

#[actix_web::test]
async fn nor_to_delete() {
    let delete =
        async |services: &Services, ops: &Administrator, id: &str| clients::delete(services, ops, id).await;
    given_more_meanwhile(delete, ErrorCode::Conflict).await;
}

/// Somebody who may keep clients, but not those of the admin API, does `act` to one.
async fn given_more_meanwhile(
    act: impl AsyncFn(&Services, &Administrator, &str) -> Result<(), ProtocolError>,
    expected: ErrorCode,
) {
    let (world, _) = world().await;
    let services = &world.app.app.state.services;
    let made = json!({ "client_id": "ops", "client_name": "Ops", "scope": "read", "resources": [RESOURCE] });
    assert_eq!(world.app.administer(Method::POST, "/admin/clients", Some(made)).await.status, 201);
    world.app.clock.advance(Duration::from_secs(1));
    let administered = services.resources.admin().uri.clone();
    let more = ClientChange {
        scope: Some(Scope::parse("read signet:keys").unwrap()),
        resources: Some(vec![Resource::parse(RESOURCE).unwrap(), administered]),
        ..ClientChange::default()
    };
    // It is about to be written when the other administrator's request comes.
    let more = services.clients.intend("ops", more).await.unwrap();
    let operator = Administrator::operator("ops".into());
    let limited = Administrator { scope: Scope::parse("signet:clients").unwrap(), ..operator };
    let (refused, given) = tokio::join!(Box::pin(act(services, &limited, "ops")), more.write());
    given.unwrap();
    assert_eq!(refused.unwrap_err().code, expected);
    let client = services.clients.find("ops").unwrap();
    assert_eq!((client.client_name.as_str(), client.secrets.len()), ("Ops", 1));
}
