//! What ends a grant ends it for good, whatever the settings become, and ends what is issued for it by a node that has not heard of it.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use signet::clock::ManualClock;
use signet::config::{Config, KekSource, VaultPlace};
use signet::keys::KeyRing;
use signet::oauth::{ClientId, Secret, Subject, UserId};
use signet::protocol::Services;
use signet::protocol::admin::{Administrator, users};
use signet::store::postgres::TimeSource;
use signet::store::{Batch, Committed, Condition, Put, Store, Table};
use signet::tokens::{Grant, Whole};

use crate::faulty_store::House;
use crate::grants_fixture::{VERIFIER, World, code_body, pair};
use crate::postgres_fixture::Database;
use crate::revocation::status;
use crate::shared_store::SharedStore;
use crate::test_app::{Answer, START, TestApp, form};

const DAY: Duration = Duration::from_hours(24);

fn long(config: &mut Config) {
    config.refresh_tokens.lifetime = 30 * DAY;
    config.refresh_tokens.idle = 14 * DAY;
}

fn short(config: &mut Config) {
    config.refresh_tokens.lifetime = DAY;
    config.refresh_tokens.idle = DAY;
}

/// A token request of the world's client, at another node.
async fn at(node: &TestApp, world: &World, body: &str) -> Answer {
    node.send(world.as_client(form("/oauth2/token", body))).await
}

async fn refresh_at(node: &TestApp, world: &World, token: &str) -> Answer {
    at(node, world, &format!("grant_type=refresh_token&refresh_token={token}")).await
}

/// A code of `grant`, redeemed at another node.
async fn redeem_at(node: &TestApp, world: &World, grant: Grant) -> Answer {
    let code = world.code_for(grant).await;
    at(node, world, &format!("{}&code_verifier={VERIFIER}", code_body(&code))).await
}

async fn revoke(app: &TestApp, what: Value) {
    assert_eq!(app.administer(Method::POST, "/admin/revocations", Some(what)).await.status, 200);
}

fn client_id(world: &World) -> ClientId {
    ClientId::parse(&world.client.0).unwrap()
}

fn wholes(world: &World) -> [Whole; 3] {
    let (client, subject) = (client_id(world), Subject::from(&world.account.id));
    [Whole::Client(client.clone()), Whole::Subject(subject.clone()), Whole::Granted(client, subject)]
}

/// Two days of two nodes that both do their housekeeping.
async fn two_days(nodes: [&TestApp; 2]) {
    for _ in 0..4 {
        for (node, time) in nodes.iter().zip([DAY / 2, Duration::ZERO]) {
            node.pass(time).await;
        }
    }
}

#[actix_web::test]
async fn a_grant_that_was_revoked_stays_so_where_grants_live_shorter_now() {
    for at in 0..3 {
        let world = World::start_with(json!({}), long).await;
        let (_, refresh) = world.tokens().await;
        let app = world.app.restart(short).await;
        let world = World { app, ..world };
        world.app.pass(Duration::from_secs(1)).await;
        let whole = &wholes(&world)[at];
        world.services().revocations.revoke_before_now(whole).await.unwrap();
        for _ in 0..4 {
            world.app.pass(DAY / 2).await;
            world.refresh(&refresh).await.refused(400, "invalid_grant");
        }
        let app = world.app.restart(long).await;
        let world = World { app, ..world };
        world.refresh(&refresh).await.refused(400, "invalid_grant");
        // It is known no longer than it has to be.
        world.app.pass(29 * DAY).await;
        assert!(world.services().revocations.has_cut_off(whole).await.unwrap());
        world.app.pass(2 * DAY).await;
        assert!(!world.services().revocations.has_cut_off(whole).await.unwrap());
    }
}

/// A code that was granted when codes lived longer.
#[actix_web::test]
async fn nor_does_a_code_come_back_that_was_granted_when_codes_lived_longer() {
    let world = World::start_with(json!({}), |config| {
        config.codes.lifetime = Duration::from_mins(10);
        config.refresh_tokens.lifetime = Duration::from_secs(10);
        config.refresh_tokens.idle = Duration::from_secs(10);
    })
    .await;
    let code = world.code().await;
    let app = world.app.restart(|config| config.codes.lifetime = Duration::from_secs(10)).await;
    let world = World { app, ..world };
    for whole in wholes(&world) {
        world.services().revocations.revoke_before_now(&whole).await.unwrap();
    }
    let promised = world.services().revocations.standing(None, 10).await.unwrap();
    let end = world.app.now() + 600;
    assert!(promised.iter().all(|cutoff| cutoff.grants_until.timestamp() > end), "{promised:?}");
    world.redeem(&code).await.refused(400, "invalid_grant");
}

/// Two nodes that are given longer lifetimes one after the other: the first has not heard yet that the second promises more.
#[actix_web::test]
async fn a_grant_is_revoked_for_as_long_as_the_node_that_gave_it_lets_it_live() {
    for overtaken in [false, true] {
        let clock = Arc::new(ManualClock::at(START));
        let store = SharedStore::new(clock.clone());
        let app = TestApp::start_on(store.clone(), clock, |config| {
            short(config);
            config.keys.sealing_period = 30 * DAY;
        });
        let a = World::on(app.await, json!({})).await;
        let services = a.app.app.state.services.clone();
        let subject = wholes(&a)[1].clone();
        let start = || a.app.try_another_node(store.clone(), 2, long);
        let redeem = async |b: &TestApp| pair(&redeem_at(b, &a, a.grant()).await).1;
        let (b, refresh) = if overtaken {
            // B is started, and the grant made, between A's look and its commit.
            let release = store.hold_next_commit();
            let mut revoking = std::pin::pin!(services.revocations.revoke_before_now(&subject));
            while store.holds_next_commit() {
                assert!(revoking.as_mut().now_or_never().is_none());
            }
            let b = start().await.unwrap();
            let refresh = redeem(&b).await;
            release.send(()).unwrap();
            revoking.await.unwrap();
            (b, refresh)
        } else {
            let b = start().await.unwrap();
            let refresh = redeem(&b).await;
            services.revocations.revoke_before_now(&subject).await.unwrap();
            (b, refresh)
        };
        two_days([&a.app, &b]).await;
        for node in [&a.app, &b] {
            refresh_at(node, &a, &refresh).await.refused(400, "invalid_grant");
        }
    }
}

/// As by a module that is away, while another node has changed them.
#[actix_web::test]
async fn everything_can_be_revoked_while_the_sealing_keys_can_not_be_read() {
    let clock = Arc::new(ManualClock::at(START));
    let store = SharedStore::new(clock.clone());
    let a = World::on(TestApp::start_on(store.clone(), clock, short).await, json!({})).await;
    let (access, refresh) = a.tokens().await;
    let damaged = Put::lasting(b"none of ours".to_vec());
    let batch = Batch::new().put(Table::mirrored(KeyRing::TABLE), b"sealing", Condition::Always, damaged);
    assert_eq!(store.commit(batch).await.unwrap(), Committed::Applied);
    let revocations = &a.services().revocations;
    revocations.revoke_before_now(&wholes(&a)[1]).await.unwrap();
    let set = revocations.standing(None, 10).await.unwrap();
    assert!(set[0].grants_until.timestamp() > a.app.now() + 730 * 86_400, "{set:?}");
    assert!(!a.is_active(&access).await);
    a.refresh(&refresh).await.refused(400, "invalid_grant");
}

/// The same of access tokens, whose lists say how long they live.
#[actix_web::test]
async fn a_token_is_revoked_for_as_long_as_the_node_that_issued_it_lets_it_live() {
    let clock = Arc::new(ManualClock::at(START));
    let store = SharedStore::new(clock.clone());
    let a = World::on(TestApp::start_on(store.clone(), clock, |_| {}).await, json!({})).await;
    let b = a.app.try_another_node(store, 2, |config| {
        config.tokens.lifetime = Duration::from_hours(5);
        config.tokens.longest_lifetime = Duration::from_hours(5);
        config.keys.hold += Duration::from_hours(5);
    });
    let b = b.await.unwrap();
    let token = b.demo_token().await;
    revoke(&a.app, json!({ "client_id": a.app.demo().0 })).await;
    for _ in 0..4 {
        for (node, time) in [(&a.app, Duration::from_hours(1)), (&b, Duration::ZERO)] {
            node.pass(time).await;
            assert!(!node.is_active(&token).await);
            let published = status(node, &token).await.0["revoked_before"].clone();
            assert_eq!(published["clients"].as_object().map(serde_json::Map::len), Some(1), "{published}");
        }
    }
}

#[actix_web::test]
async fn what_was_revoked_elsewhere_is_refused_by_a_node_that_has_not_heard_of_it() {
    for number in 0..3 {
        let clock = Arc::new(ManualClock::at(START));
        let store = SharedStore::new(clock.clone());
        let a = World::on(TestApp::start_on(store.clone(), clock, |_| {}).await, json!({})).await;
        let b = a.app.another_node(store, 2).await;
        refused_behind(&a, &b, number).await;
    }
}

#[actix_web::test]
async fn what_was_revoked_elsewhere_is_refused_by_such_a_node_over_postgres_too() {
    let Some(database) = Database::fresh().await else { return };
    let clock = Arc::new(ManualClock::at(START));
    let store = async || database.store(TimeSource::Injected(clock.clone())).await;
    let app = TestApp::start_on(store().await, clock.clone(), |config| {
        config.keys.vault = VaultPlace::Store;
        config.keys.kek = KekSource::Value(Secret::new("ab".repeat(32)));
    });
    let a = World::on(app.await, json!({})).await;
    let b = a.app.another_node(store().await, 2).await;
    refused_behind(&a, &b, 1).await;
}

/// B hears of nothing for as long as it may go on issuing.
async fn refused_behind(a: &World, b: &TestApp, number: usize) {
    let (_, refresh) = a.tokens().await;
    let grant = a.grant();
    let (_, introspected) = a.tokens().await;
    a.app.clock.advance(Duration::from_secs(1));
    a.services().revocations.revoke_before_now(&wholes(a)[number]).await.unwrap();
    // Further than a cut-off reaches.
    a.app.clock.advance(Duration::from_secs(25));
    assert!(!b.is_active_for(a.client(), &introspected).await);
    refresh_at(b, a, &refresh).await.refused(400, "invalid_grant");
    redeem_at(b, a, grant).await.refused(400, "invalid_grant");
    // What was granted since counts, and so does what is issued for it.
    let (access, refresh) = pair(&redeem_at(b, a, a.grant()).await);
    let (later, _) = pair(&refresh_at(b, a, &refresh).await);
    for node in [&a.app, b] {
        node.app.follow().await.unwrap();
        for token in [&access, &later] {
            assert!(node.is_active_for(a.client(), token).await);
        }
    }
}

#[actix_web::test]
async fn a_token_for_a_grant_behind_a_cut_off_is_dated_behind_it_too_by_a_node_that_has_not_heard_of_it() {
    let clock = Arc::new(ManualClock::at(START));
    let store = SharedStore::new(clock.clone());
    let a = World::on(TestApp::start_on(store.clone(), clock, |_| {}).await, json!({})).await;
    let b = a.app.another_node(store.clone(), 2).await;
    let [client, subject, _] = wholes(&a);
    let revocations = &a.services().revocations;
    revocations.revoke_before_now(&client).await.unwrap();
    revocations.revoke_before_now(&subject).await.unwrap();
    let granted_at = revocations.date_of_new(&client_id(&a), &Subject::from(&a.account.id)).unwrap();
    let (access, refresh) = pair(&redeem_at(&b, &a, Grant { granted_at, ..a.grant() }).await);
    let (later, _) = pair(&refresh_at(&b, &a, &refresh).await);
    for node in [&a.app, &b] {
        node.app.follow().await.unwrap();
        for token in [&access, &later] {
            assert!(node.is_active_for(a.client(), token).await);
        }
    }
}

async fn disable(services: &Services, id: &UserId, disabled: bool) {
    let request = users::AccountChangeRequest { disabled: Some(disabled), ..Default::default() };
    let administrator = Administrator::operator("root".into());
    users::change(services, &administrator, id.as_str(), request).await.unwrap();
}

/// A node stands still between any two looks at the store, and hears of nothing before it goes on.
#[actix_web::test]
async fn what_a_node_gives_that_stood_still_while_the_account_was_disabled_counts_nowhere() {
    for redeems in [false, true] {
        let House { world: a, store, .. } = House::open_shared().await;
        let b = a.app.another_node(store.clone() as Arc<dyn Store>, 2).await;
        let (mut given, mut refused) = (0, 0);
        for number in 1..40 {
            for (node, seconds) in [(&a.app, 20), (&b, 20), (&a.app, 0)] {
                node.pass(Duration::from_secs(seconds)).await;
            }
            let refresh = a.tokens().await.1;
            let code = a.code().await;
            a.app.clock.advance(Duration::from_secs(1));
            let (state, id, clock) = (a.app.app.state.clone(), a.account.id.clone(), a.app.clock.clone());
            store.after(number, async move {
                disable(&state.services, &id, true).await;
                clock.advance(Duration::from_secs(20));
            });
            let answer = if redeems {
                at(&b, &a, &format!("{}&code_verifier={VERIFIER}", code_body(&code))).await
            } else {
                refresh_at(&b, &a, &refresh).await
            };
            let happened = store.happened();
            for node in [&b, &a.app] {
                node.pass(Duration::ZERO).await;
            }
            if !happened {
                assert_eq!(answer.status, 200, "{answer:?}");
                break;
            }
            disable(a.services(), &a.account.id, false).await;
            if answer.status == 200 {
                given += 1;
                let (access, refresh) = pair(&answer);
                for node in [&a.app, &b] {
                    assert!(!node.is_active_for(a.client(), &access).await, "after look {number}");
                    assert!(!node.is_active_for(a.client(), &refresh).await, "after look {number}");
                }
            } else {
                refused += 1;
                answer.refused(400, "invalid_grant");
            }
        }
        assert!(given > 1 && given + refused > 3, "{given} given, {refused} refused");
    }
}
