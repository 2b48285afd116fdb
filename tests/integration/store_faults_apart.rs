//! What the service does by itself, what an operator does to a stopped one, and the count that nodes share, while the store fails
//! at any call.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::http::Method;
use serde_json::json;
use signet::app::{change_issuer, refuse_other_issuer};
use signet::backup::Assurances;
use signet::clients::Registration;
use signet::clock::ManualClock;
use signet::config::{Config, KekSource, VaultPlace};
use signet::entropy::SeededEntropy;
use signet::keys::{DataKey, DataKeyError, Rekey, StoreVault, rekey};
use signet::oauth::{Algorithm, ClientId, Secret, WebUri};
use signet::protocol::users::end_session;
use signet::store::{Store as _, Table};
use signet::users::{Authentication, NewSession};

use crate::api_keys::{users, users_key};
use crate::browser::{register, shop};
use crate::faulty_store::{FaultyStore, House, WAYS, as_answer};
use crate::grants_fixture::{World, pair};
use crate::key_ring_fixture::kek;
use crate::relying_party::{Answers, RelyingParty};
use crate::store_faults::admin;
use crate::store_faults_people::Person;
use crate::test_app::{Answer, ISSUER, START, TestApp, form};

/// Ends a session of which the client is to be told.
pub(crate) async fn end_a_session(world: &World, client_id: &ClientId) {
    let sessions = &world.services().sessions;
    let authentication = Authentication { auth_time: world.app.now(), amr: vec!["pwd".into()] };
    let user = world.account.id.clone();
    let new = NewSession { user: user.clone(), authentication, user_agent: None, address: None };
    let sid = sessions.start(new).await.unwrap().session.sid;
    let registered_at = world.services().clients.find(client_id.as_str()).unwrap().created_at;
    assert!(sessions.join(&user, &sid, (client_id, registered_at)).await.unwrap());
    assert!(end_session(world.services(), &user, &sid).await.unwrap().is_some());
}

/// Sends what is due; then says how many wait.
async fn send(world: &World) -> Result<u64, String> {
    for task in world.app.app.send_logouts().await.map_err(|error| format!("{error:?}"))? {
        task.await.unwrap();
    }
    world.services().logouts.count().await.map_err(|error| error.to_string())
}

/// A client hears of an ended session at least once, whatever fails before, in between and afterwards.
#[actix_web::test]
async fn clients_are_told_of_ended_sessions_whatever_fails() {
    let party = RelyingParty::start();
    let mut house = House::open_with(|config| {
        config.outgoing.allowed_networks = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let client = Registration {
        client_id: Some(ClientId::parse("told").unwrap()),
        backchannel_logout_uri: Some(WebUri::parse(&party.uri("/logout")).unwrap()),
        ..shop()
    };
    let client_id = register(&house.world.app, client).await.client.client_id.clone();
    for (status, left) in [(200, 0), (500, 1)] {
        house = house
            .hold(
                &format!("tell a client, which says {status}"),
                async |world: &World, _| {
                    end_a_session(world, &client_id).await;
                    party.take();
                    party.answer(Answers::with(status));
                },
                async |world: &World, (): &()| {
                    let sent = send(world).await.and_then(|waiting| {
                        if waiting == left { Ok(()) } else { Err(format!("{waiting} wait")) }
                    });
                    as_answer(&sent)
                },
                (
                    async |world: &World, (): &(), _: Option<&Answer>| {
                        world.services().logouts.count().await.unwrap() == left
                    },
                    async |world: &World, (): &(), _| {
                        party.answer(Answers::with(200));
                        // What was claimed, and what is tried again later, is due by then.
                        world.app.pass(Duration::from_hours(2)).await;
                        assert_eq!(send(world).await, Ok(0));
                        assert!(!party.take().is_empty(), "it was never told");
                    },
                ),
            )
            .await;
    }
}

#[actix_web::test]
async fn lists_for_revocations_are_reserved_whatever_fails() {
    let house = House::open().await;
    house
        .hold(
            "reserve a status list",
            async |world: &World, _| {
                // The spare list is too old by then.
                world.app.clock.advance(Duration::from_hours(24));
                world.app.app.rotate().await.unwrap();
                world.services().status_lists.uris()
            },
            async |world: &World, _: &Vec<String>| {
                as_answer(&world.services().status_indexes.replenish().await)
            },
            (
                async |world: &World, before: &Vec<String>, _: Option<&Answer>| {
                    world.services().status_lists.uris().iter().any(|uri| !before.contains(uri))
                },
                async |world: &World, _: &Vec<String>, _| {
                    world.services().status_indexes.replenish().await.unwrap();
                    let (access, _) = world.tokens().await;
                    assert!(world.is_active(&access).await);
                    let request = world.as_client(form("/oauth2/revoke", &format!("token={access}")));
                    assert_eq!(world.app.send(request).await.status, 200);
                    assert!(!world.is_active(&access).await, "its place is in a list that is kept");
                },
            ),
        )
        .await;
}

/// The service is called the one or the other, and what was asked for can be asked for again.
#[actix_web::test]
async fn an_issuer_is_changed_whatever_fails() {
    const OTHER: &str = "https://id.example.com";
    let mut calls = 0;
    for way in WAYS {
        for at in 1.. {
            let clock = Arc::new(ManualClock::at(START));
            let store = FaultyStore::new(clock.clone());
            drop(TestApp::start_on(store.clone(), clock, |_| {}).await);
            let change = async || change_issuer(store.as_ref(), (ISSUER, OTHER), Assurances::default()).await;
            let is = async |issuer: &str| refuse_other_issuer(store.as_ref(), issuer).await.is_ok();
            store.fail(at, way);
            let changed = change().await;
            let struck = store.heal();
            let here = format!("call {at}, {way:?}: {changed:?}");
            let (former, new) = (is(ISSUER).await, is(OTHER).await);
            assert!(former != new, "{here}");
            assert!(new || changed.is_err(), "{here}");
            assert!(change().await.is_ok(), "{here}");
            assert!(is(OTHER).await, "{here}");
            if !struck {
                calls = at - 1;
                break;
            }
        }
    }
    assert!(calls > 3, "{calls}");
    println!("{:<38} {calls:>3} calls", "change the issuer");
}

fn sealed_by(config: &mut Config, kek: u8) {
    config.keys.vault = VaultPlace::Store;
    config.keys.kek = KekSource::Value(Secret::new(format!("{kek:02x}").repeat(32)));
    // Made as often as the store fails, and faster than the others.
    config.keys.algorithms = vec![Algorithm::ES256];
}

/// `signet keys rekey`, with the keys themselves in the store that fails: it says that it is not done, the same order finishes it,
/// and no key is lost, of none of the kinds that there are: those that sign, those that seal, and the data key.
#[actix_web::test]
async fn the_key_encryption_key_is_replaced_whatever_fails() {
    let (mut calls, mut faults) = (0, 0);
    for way in WAYS {
        for at in 1.. {
            let clock = Arc::new(ManualClock::at(START));
            let store = FaultyStore::new(clock.clone());
            let app = TestApp::start_on(store.clone(), clock.clone(), |config| sealed_by(config, 1)).await;
            let world = World::on(app, json!({})).await;
            let (access, refresh) = world.tokens().await;
            let published = |world: &World| world.services().keys.list().keys;
            let before = published(&world);
            let entropy = || Arc::new(SeededEntropy::new(u64::try_from(at).unwrap()));
            let secret = DataKey::open(store.as_ref(), &kek(1), entropy()).await.unwrap().seal("it", b"hush");
            let order = async || {
                let vault = StoreVault::new(store.clone(), kek(2), (clock.clone(), entropy()));
                let keks = Rekey { old: kek(1), new: kek(2) };
                rekey(store.as_ref(), Arc::new(vault), &keks, entropy()).await
            };
            store.fail(at, way);
            let done = order().await;
            let struck = store.heal();
            let here = format!("call {at}, {way:?}: {done:?}");
            assert_eq!(done.is_err(), struck, "{here}");
            if struck {
                faults += 1;
                let again = order().await.unwrap_or_else(|error| panic!("{here}: {error}"));
                assert_eq!(again.verified, before.len(), "{here}");
            }
            let old = DataKey::open(store.as_ref(), &kek(1), entropy()).await;
            assert!(matches!(old, Err(DataKeyError::WrongKek { .. })), "{here}");
            let new = DataKey::open(store.as_ref(), &kek(2), entropy()).await.unwrap();
            let unsealed = new.unseal("it", &secret);
            assert_eq!(unsealed.as_deref().map(Vec::as_slice), Some(b"hush".as_slice()), "{here}");
            // Which reads all keys, and would make those anew that are missing.
            let app = world.app.restart(|config| sealed_by(config, 2)).await;
            let world = World { app, client: world.client, account: world.account };
            assert_eq!(published(&world), before, "{here}");
            assert!(world.is_active(&access).await, "{here}");
            pair(&world.refresh(&refresh).await);
            if !struck {
                calls = at - 1;
                break;
            }
        }
    }
    assert!(calls > 10, "{calls}");
    println!("{:<38} {calls:>3} calls, {faults:>3} faults", "replace the key-encryption key");
}

/// Each request counts once at most, and one that could not be counted by all is counted by this node.
#[actix_web::test]
async fn an_api_keys_requests_are_counted_whatever_fails() {
    const COUNTS: Table = Table::plain("api_key_requests");
    let house = House::open_with(|config| config.limits.api_key = 3).await;
    let store = house.store.clone();
    let ask = async |world: &World, key: &str| {
        store.shared.store(true, Ordering::SeqCst);
        let answer = users(&world.app, ("X-API-Key", key.to_owned())).await;
        store.shared.store(false, Ordering::SeqCst);
        answer
    };
    house
        .hold(
            "count a request with an API key",
            async |world: &World, _| users_key(&world.app, "users:read").await,
            async |world: &World, (_, key): &(String, String)| ask(world, key).await,
            (
                async |_: &World, (id, _): &(String, String), told: Option<&Answer>| {
                    told.is_some() || store.get(COUNTS, id.as_bytes()).await.unwrap().is_some()
                },
                async |world: &World, (id, key): &(String, String), _| {
                    let counted = store.get(COUNTS, id.as_bytes()).await.unwrap().is_some();
                    let mut statuses = Vec::new();
                    for _ in 0..5 {
                        statuses.push(ask(world, key).await.status);
                    }
                    let more = 3 - usize::from(counted);
                    assert_eq!(
                        statuses.iter().filter(|status| **status == 200).count(),
                        more,
                        "{statuses:?}"
                    );
                    assert_eq!(
                        statuses.iter().filter(|status| **status == 429).count(),
                        5 - more,
                        "{statuses:?}"
                    );
                },
            ),
        )
        .await;
}

/// The sessions that were begun by it end with it.
#[actix_web::test]
async fn an_administrator_removes_a_second_factor_whatever_fails() {
    let house = House::open().await;
    house
        .hold(
            "remove somebody's second factor",
            async |world: &World, number| {
                let person = Person::inside(world, number, "/account").await;
                person.factor(world).await;
                (world.app.admin_token().await, person)
            },
            async |world: &World, (token, person): &(String, Person)| {
                let path = format!("/admin/users/{}/second-factor", person.id);
                admin(world, token, (Method::DELETE, &path), None).await
            },
            (
                async |world: &World, (_, person): &(String, Person), told: Option<&Answer>| {
                    let removed = world.services().second_factors.find(&person.id).await.unwrap().is_none();
                    let out = person.sessions(world).await == 0;
                    assert!(out || !removed, "a session outlived the factor by which it was begun");
                    assert!(told.is_none() || out);
                    removed
                },
                async |world: &World, (token, person): &(String, Person), _happened| {
                    let path = format!("/admin/users/{}/second-factor", person.id);
                    let again = admin(world, token, (Method::DELETE, &path), None).await;
                    assert_eq!(again.status, 204, "{again:?}");
                    assert_eq!(person.sessions(world).await, 0);
                    assert!(world.services().second_factors.find(&person.id).await.unwrap().is_none());
                },
            ),
        )
        .await;
}
