//! A clock that runs ahead for a while and is then set right, with the housekeeping that it does meanwhile: what was revoked stays so.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use serde_json::json;
use signet::backup::{self, Assurances};
use signet::clock::{Clock as _, ManualClock};
use signet::protocol::users::end_session;
use signet::store::Store;

use crate::backup::copy;
use crate::grants_fixture::{World, pair};
use crate::revocation::{revoke, status};
use crate::shared_store::SharedStore;
use crate::test_app::{ISSUER, START, TestApp};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// How long grants live here: less than the clock is ahead.
const GRANTS: Duration = Duration::from_hours(12);

/// Whether the service is started while the clock is ahead, as where a machine has its clock in local time, and after it was set right.
const RESTARTS: [[bool; 2]; 4] = [[false, false], [true, false], [false, true], [true, true]];

async fn world() -> World {
    let settings = |config: &mut signet::config::Config| {
        config.refresh_tokens.lifetime = GRANTS;
        config.refresh_tokens.idle = GRANTS;
    };
    World::start_with(json!({}), settings).await
}

/// The clock is so many seconds ahead for one round of housekeeping, and set right.
async fn ahead_for_a_while(mut world: World, ahead: i64, [while_ahead, after]: [bool; 2]) -> World {
    let right = world.app.now();
    world.app.clock.jump_to(right + ahead);
    if while_ahead {
        world.app = world.app.restart(|_| {}).await;
    }
    world.app.pass(Duration::ZERO).await;
    world.app.clock.jump_to(right);
    world.app.pass(Duration::ZERO).await;
    if after {
        world.app.clock.advance(Duration::from_secs(1));
        world.app = world.app.restart(|_| {}).await;
    }
    world
}

#[actix_web::test]
async fn a_revoked_token_stays_so() {
    for (ahead, restarts) in
        [HOUR, 2 * HOUR, DAY].into_iter().flat_map(|ahead| RESTARTS.map(|each| (ahead, each)))
    {
        let world = world().await;
        let (token, good) = (world.app.demo_token().await, world.app.demo_token().await);
        world.app.pass(Duration::from_mins(5)).await;
        assert_eq!(revoke(&world.app, world.app.demo(), &token).await.status, 200);
        let world = ahead_for_a_while(world, ahead, restarts).await;
        assert!(!world.app.is_active(&token).await, "{ahead}, {restarts:?}");
        world.app.app.replenish().await.unwrap();
        let new = world.app.demo_token().await;
        assert!(world.app.is_active(&new).await, "of a list that is kept: {ahead}, {restarts:?}");
        if ahead == HOUR {
            // The list is still there, and says so to those who ask nobody else.
            assert!(status(&world.app, &token).await.1, "{restarts:?}");
            assert!(world.app.is_active(&good).await, "{restarts:?}");
        }
    }
}

#[actix_web::test]
async fn a_revoked_family_stays_so() {
    for restarts in RESTARTS {
        let world = world().await;
        let ((_, revoked), (_, good)) = (world.tokens().await, world.tokens().await);
        assert_eq!(revoke(&world.app, world.client(), &revoked).await.status, 200);
        let world = ahead_for_a_while(world, DAY, restarts).await;
        world.refresh(&revoked).await.refused(400, "invalid_grant");
        assert_eq!(world.refresh(&good).await.status, 200, "{restarts:?}");
    }
}

#[actix_web::test]
async fn a_refresh_token_that_was_used_stays_so() {
    for restarts in RESTARTS {
        let world = world().await;
        let (_, first) = world.tokens().await;
        let (_, second) = pair(&world.refresh(&first).await);
        world.app.pass(Duration::from_mins(2)).await;
        let world = ahead_for_a_while(world, DAY, restarts).await;
        world.refresh(&first).await.refused(400, "invalid_grant");
        world.refresh(&second).await.refused(400, "invalid_grant");
    }
}

#[actix_web::test]
async fn a_cut_off_stays_one() {
    for restarts in RESTARTS {
        let world = world().await;
        let (access, refresh) = world.tokens().await;
        let body = json!({ "client_id": world.client().0 });
        let answer = world.app.administer(Method::POST, "/admin/revocations", Some(body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let world = ahead_for_a_while(world, DAY, restarts).await;
        assert!(!world.is_active(&access).await, "{restarts:?}");
        world.refresh(&refresh).await.refused(400, "invalid_grant");
    }
}

#[actix_web::test]
async fn what_is_revoked_while_the_clock_is_ahead_is_so_afterwards() {
    let world = world().await;
    let token = world.app.demo_token().await;
    let (access, refresh) = world.tokens().await;
    let right = world.app.now();
    // By that clock both access tokens have ended, for every verifier too.
    world.app.clock.jump_to(right + HOUR + 100);
    world.app.pass(Duration::ZERO).await;
    assert_eq!(revoke(&world.app, world.app.demo(), &token).await.status, 200);
    assert_eq!(revoke(&world.app, world.client(), &refresh).await.status, 200);
    world.app.clock.jump_to(right);
    assert!(!world.app.is_active(&token).await && status(&world.app, &token).await.1);
    assert!(!world.is_active(&access).await && status(&world.app, &access).await.1);
}

#[actix_web::test]
async fn a_family_that_is_revoked_afterwards_takes_its_access_tokens_with_it() {
    for restarts in RESTARTS {
        let world = world().await;
        let (access, refresh) = world.tokens().await;
        let world = ahead_for_a_while(world, HOUR + 100, restarts).await;
        assert!(world.is_active(&access).await, "{restarts:?}");
        assert_eq!(revoke(&world.app, world.client(), &refresh).await.status, 200);
        assert!(!world.is_active(&access).await, "{restarts:?}");
    }
}

/// It is asked for the end of each list, of those too of which this node has not heard, nor of what is revoked in them.
#[actix_web::test]
async fn a_list_of_another_node_does_not_come_without_what_is_revoked_in_it() {
    let clock = Arc::new(ManualClock::at(START));
    let store = SharedStore::new(clock.clone());
    let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
    let other = app.another_node(store, 2).await;
    let token = other.demo_token().await;
    assert_eq!(revoke(&other, other.demo(), &token).await.status, 200);
    let body = json!({ "client_id": "another" });
    let answer = app.administer(Method::POST, "/admin/revocations", Some(body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(!app.is_active(&token).await);
}

/// A machine may start with a wrong clock and ask for the time a moment later.
#[actix_web::test]
async fn what_is_revoked_before_the_housekeeping_of_a_start_with_a_clock_ahead_stays_so() {
    // By then the list has ended, and what was revoked in it; also its grant.
    for (ahead, has_grant) in [(2 * HOUR + 100, true), (2 * HOUR + 500, true), (DAY, false)] {
        for restarted in [false, true] {
            let mut world = world().await;
            let token = world.app.demo_token().await;
            let (access, refresh) = world.tokens().await;
            let (grant, user, sid) = world.session_grant().await;
            let of_session = world.redeem(&world.code_for(grant).await).await.access_token();
            let right = world.app.now();
            world.app.clock.jump_to(right + ahead);
            world.app = world.app.restart(|_| {}).await;
            assert_eq!(revoke(&world.app, world.app.demo(), &token).await.status, 200);
            assert_eq!(revoke(&world.app, world.client(), &refresh).await.status, 200);
            let ended = end_session(world.services(), &user, &sid).await.unwrap();
            assert_eq!(ended.is_some(), has_grant, "{ahead}");
            world.app.clock.jump_to(right);
            if restarted {
                world.app = world.app.restart(|_| {}).await;
            }
            assert!(!world.app.is_active(&token).await, "{ahead}, {restarted}");
            assert!(!world.is_active(&access).await, "{ahead}, {restarted}");
            assert!(!world.is_active(&of_session).await, "{ahead}, {restarted}");
        }
    }
}

/// Moves the installation to where the clock is right, onto `store` if that is not to be one of its own.
async fn moved(world: World, right: i64, store: Option<Arc<dyn Store>>) -> World {
    let (copy, _) = copy(&world.app.parts()).await;
    let World { app, client, account } = world;
    app.clock.jump_to(right);
    let import = async |parts: &_| {
        backup::import(parts, ISSUER, Cursor::new(&copy), Assurances::default()).await.unwrap();
    };
    let app = app.elsewhere_on(store, import).await;
    World { app, client, account }
}

/// Up to when a cut-off reaches that is set where the installation was moved to.
async fn cut_off_after(world: &World) -> i64 {
    let body = json!({ "client_id": world.client().0 });
    let answer = world.app.administer(Method::POST, "/admin/revocations", Some(body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["issued_up_to"].as_i64().unwrap()
}

/// What was dated ahead where the installation was moved from is cut off where it was moved to, as it would be if it had stayed.
#[actix_web::test]
async fn a_cut_off_covers_what_was_dated_ahead_before_a_move() {
    let shared = |world: &World| SharedStore::new(world.app.clock.clone()) as Arc<dyn Store>;
    for (is_set_right, is_shared, moves) in
        [(false, false, 1), (false, true, 1), (true, false, 1), (true, true, 1), (false, false, 2)]
    {
        let mut world = crate::backup::world().await;
        world.app.clock.jump_to(START + 600);
        world.app.pass(Duration::ZERO).await;
        let (access, refresh) = world.tokens().await;
        if is_set_right {
            world.app.clock.jump_to(START + 120);
        }
        for _ in 0..moves {
            let store = is_shared.then(|| shared(&world));
            world = Box::pin(moved(world, START + 120, store)).await;
        }
        world.app = world.app.restart(|_| {}).await;
        world.app.pass(Duration::ZERO).await;
        let up_to = cut_off_after(&world).await;
        let latest = START + 600 + if is_set_right { 300 } else { 0 };
        assert!((START + 600..=latest).contains(&up_to), "{up_to}");
        world.app.pass(Duration::from_mins(10)).await;
        assert!(!world.is_active(&access).await, "{is_set_right}, {is_shared}, {moves}");
        world.refresh(&refresh).await.refused(400, "invalid_grant");
    }
}

/// A world on a store with a clock of its own.
async fn shared_world(store: Arc<SharedStore>, clock: Arc<ManualClock>) -> World {
    World::on(TestApp::start_on(store, clock, crate::backup::settings).await, json!({})).await
}

/// The clock of a database on the node's own machine goes as that of the node.
#[actix_web::test]
async fn a_cut_off_covers_what_was_dated_before_a_databases_clock_was_set_right_and_all_was_moved() {
    let clock = Arc::new(ManualClock::at(START));
    let world = shared_world(SharedStore::new(clock.clone()), clock).await;
    world.app.clock.jump_to(START + 600);
    world.app.pass(Duration::ZERO).await;
    let (access, refresh) = world.tokens().await;
    world.app.clock.jump_to(START + 120);
    world.app.pass(Duration::ZERO).await;
    world.app.app.leave().await;
    let world = Box::pin(moved(world, START + 120, None)).await;
    let up_to = cut_off_after(&world).await;
    assert!((START + 600..=START + 900).contains(&up_to), "{up_to}");
    world.app.pass(Duration::from_mins(10)).await;
    assert!(!world.is_active(&access).await);
    world.refresh(&refresh).await.refused(400, "invalid_grant");
}

/// Such a node dates nothing: nobody is to wait for what it takes for the time.
#[actix_web::test]
async fn what_a_node_notes_by_a_clock_that_is_off_moves_no_cut_off() {
    let [store_clock, clock] = [0, 1].map(|_| Arc::new(ManualClock::at(START)));
    let store = SharedStore::new(store_clock.clone());
    let world = shared_world(store, clock.clone()).await;
    for ahead in [3, 600, 3] {
        store_clock.advance(Duration::from_mins(1));
        clock.jump_to(store_clock.numeric_date() + ahead);
        world.app.app.follow().await.unwrap();
        world.app.app.tidy().await.unwrap();
    }
    world.app.app.leave().await;
    let right = store_clock.numeric_date();
    let world = Box::pin(moved(world, right, None)).await;
    let up_to = cut_off_after(&world).await;
    assert!((right..=right + 7).contains(&up_to), "{}", up_to - right);
}

/// The clock was ahead for less than the ten seconds between two rounds of housekeeping, and what was dated then is revoked as a whole by
/// the next process.
#[actix_web::test]
async fn a_cut_off_after_a_restart_covers_what_was_dated_by_a_clock_that_was_ahead_for_a_moment() {
    for is_killed in [false, true] {
        let mut world = world().await;
        let right = world.app.now();
        world.app.clock.jump_to(right + HOUR);
        world.app.app.replenish().await.unwrap();
        let (access, refresh) = world.tokens().await;
        world.app.clock.jump_to(right);
        if is_killed {
            world.app.pass(Duration::from_secs(10)).await;
        } else {
            world.app.app.note_last_entry().await;
        }
        world.app = world.app.restart(|_| {}).await;
        let body = json!({ "client_id": world.client().0 });
        let answer = world.app.administer(Method::POST, "/admin/revocations", Some(body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        world.app.clock.jump_to(right + HOUR);
        world.app.pass(Duration::ZERO).await;
        assert!(!world.is_active(&access).await, "{is_killed}");
        world.refresh(&refresh).await.refused(400, "invalid_grant");
    }
}
