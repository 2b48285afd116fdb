//! Sessions that are renewed while a client asks, and a store that fails in between: neither costs anybody their tokens, and no
//! token outlives its session.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::test::TestRequest;
use futures_util::FutureExt as _;
use serde_json::json;
use signet::audit::Actor;
use signet::clock::ManualClock;
use signet::config::Config;
use signet::oauth::Secret;
use signet::protocol::users::{
    Keeper, change as change_account, end_session, remove_second_factor, sign_out_everywhere,
};
use signet::store::{Batch, Committed, Condition, Put, Row, Store as _, Table};
use signet::tokens::Grant;
use signet::users::{AccountChange, Authentication, NewSession, StartedSession};
use tokio::sync::oneshot;

use crate::browser::{Browser, PASSWORD, ada, parameter, redeem, register, request, shop, text};
use crate::faulty_store::{Fault, FaultyStore, House};
use crate::grants_fixture::{World, pair};
use crate::service_log::said;
use crate::shared_store::SharedStore;
use crate::sign_in::enrolled;
use crate::test_app::{START, TestApp, bearer};

/// More calls of the store than any of the flows makes.
const MOST: usize = 40;

const SESSIONS: Table = Table::plain("sessions");
const OF_USER: Table = Table::plain("user_sessions");

/// A session of Ada's, with its cookie, and what a code of it grants.
async fn session(world: &World) -> (StartedSession, Grant) {
    let (user, authentication) = (world.account.id.clone(), proof(world));
    let new = NewSession { user, authentication, user_agent: None, address: None };
    let started = world.services().sessions.start(new).await.unwrap();
    let (grant, ..) = world.session_grant().await;
    let grant = Grant { sid: Some(started.session.sid.clone()), ..grant };
    (started, grant)
}

fn proof(world: &World) -> Authentication {
    Authentication { auth_time: world.app.now(), amr: vec!["pwd".into()] }
}

/// Lets the person prove anew who they are after the call number `at`: the session has another cookie then.
fn renew_after(world: &World, store: &Arc<FaultyStore>, at: usize, cookie: &Secret) {
    let (state, cookie, proof) = (world.app.app.state.clone(), cookie.clone(), proof(world));
    let inner = store.clone();
    store.after(at, async move {
        let renewing = state.services.sessions.renewing(Batch::new(), &cookie, proof).await.unwrap();
        let (_, batch) = renewing.unwrap();
        assert_eq!(inner.commit(batch).await.unwrap(), Committed::Applied);
    });
}

#[actix_web::test]
async fn a_session_that_is_renewed_meanwhile_has_not_ended() {
    let House { world, store, .. } = House::open().await;
    let (mut listed, mut redeemed, mut refreshed) = (0, 0, 0);
    for at in 1..MOST {
        let (started, _) = session(&world).await;
        renew_after(&world, &store, at, &started.cookie);
        let sessions = world.services().sessions.of_user(&world.account.id).await.unwrap();
        if !store.happened() {
            break;
        }
        listed += 1;
        assert!(sessions.iter().any(|each| each.sid == started.session.sid), "after call {at}");
        assert!(end_session(world.services(), &world.account.id, &started.session.sid).await.is_ok());
    }
    for at in 1..MOST {
        let (started, grant) = session(&world).await;
        let code = world.code_for(grant).await;
        renew_after(&world, &store, at, &started.cookie);
        let answer = world.redeem(&code).await;
        if !store.happened() {
            break;
        }
        redeemed += 1;
        assert_eq!(answer.status, 200, "after call {at}: {answer:?}");
    }
    for at in 1..MOST {
        let (started, grant) = session(&world).await;
        let (_, refresh_token) = pair(&world.redeem(&world.code_for(grant).await).await);
        renew_after(&world, &store, at, &started.cookie);
        let answer = world.refresh(&refresh_token).await;
        if !store.happened() {
            break;
        }
        refreshed += 1;
        assert_eq!(answer.status, 200, "after call {at}: {answer:?}");
        assert!(world.is_active(&answer.access_token()).await, "after call {at}");
    }
    assert!(listed > 1 && redeemed > 3 && refreshed > 3, "{listed} {redeemed} {refreshed}");
}

/// The client tries again when the grace is over: what it presents has not been spent in vain.
#[actix_web::test]
async fn a_call_that_fails_costs_nobody_a_code_or_a_family() {
    let House { world, store, .. } = House::open().await;
    let (mut redeemed, mut refreshed) = (0, 0);
    for at in 1..MOST {
        let (_, grant) = session(&world).await;
        let code = world.code_for(grant).await;
        store.fail(at, (Fault::Refused, false));
        let answer = world.redeem(&code).await;
        if !store.heal() {
            break;
        }
        redeemed += 1;
        world.app.pass(Duration::from_secs(11)).await;
        if answer.status != 200 {
            assert_eq!(world.redeem(&code).await.status, 200, "call {at}: {answer:?}");
        }
    }
    for at in 1..MOST {
        let (_, grant) = session(&world).await;
        let (_, refresh_token) = pair(&world.redeem(&world.code_for(grant).await).await);
        store.fail(at, (Fault::Refused, false));
        let answer = world.refresh(&refresh_token).await;
        if !store.heal() {
            break;
        }
        refreshed += 1;
        world.app.pass(Duration::from_secs(11)).await;
        if answer.status != 200 {
            assert_eq!(world.refresh(&refresh_token).await.status, 200, "call {at}: {answer:?}");
        }
    }
    assert!(redeemed > 3 && refreshed > 3, "{redeemed} {refreshed}");
}

/// It has ended, and nobody was told: a token that came after the look for such is revoked all the same.
#[actix_web::test]
async fn an_end_whose_answer_is_lost_ends_all() {
    let House { world, store, .. } = House::open().await;
    let (started, grant) = session(&world).await;
    let before = world.redeem(&world.code_for(grant.clone()).await).await.access_token();
    let code = world.code_for(grant).await;
    let (release, held) = oneshot::channel();
    // The pointer, the session, the tokens; then comes the commit.
    store.after(3, async move { held.await.unwrap() });
    let mut ended = pin!(end_session(world.services(), &world.account.id, &started.session.sid));
    for _ in 0..10 {
        assert!(ended.as_mut().now_or_never().is_none());
    }
    let late = world.redeem(&code).await.access_token();
    store.fail(1, (Fault::AnswerLost, false));
    release.send(()).unwrap();
    assert!(ended.await.is_ok());
    assert!(store.heal());
    assert!(!world.is_active(&before).await);
    assert!(!world.is_active(&late).await);
}

/// A session whose row can't be read ends like any other, and so does one of which it can't be read where that is. Where neither can,
/// it can't be ended, which the act says: it holds up no other, whichever comes first, and nobody's tokens live on for that.
#[actix_web::test]
async fn a_session_that_cant_be_read_holds_up_no_other_and_keeps_no_token_alive() {
    // Of which sessions what says where the row is is damaged, and the row.
    for (which, pointer, row) in [
        (&[0][..], false, true),
        (&[0], true, false),
        (&[2], true, false),
        (&[0, 1, 2], true, false),
        (&[1], true, true),
    ] {
        let can_end = !(pointer && row);
        let House { world, store, .. } = House::open().await;
        let (user, mut issued) = (world.account.id.clone(), Vec::new());
        for _ in 0..3 {
            let (_, grant) = session(&world).await;
            issued.push(world.redeem(&world.code_for(grant).await).await.access_token());
        }
        for token in &issued {
            assert!(world.is_active(token).await);
        }
        let mut cookies = Vec::new();
        for _ in 0..2 {
            cookies.push(session(&world).await.0.cookie);
        }
        let pointers = store.scan(OF_USER, None, 100).await.unwrap();
        for (key, Row { value, expires_at, .. }) in which.iter().map(|at| pointers[*at].clone()) {
            let named = serde_json::from_slice::<String>(&value[1..]).unwrap().into_bytes();
            let damaged = || Put { value: b"no session".to_vec(), expires_at };
            let mut batch = Batch::new();
            if pointer {
                batch = batch.put(OF_USER, key, Condition::Always, damaged());
            }
            if row {
                batch = batch.put(SESSIONS, named, Condition::Always, damaged());
            }
            assert_eq!(store.commit(batch).await.unwrap(), Committed::Applied);
        }
        let keeper = Keeper { actor: Actor::Service, of_administrators: true };
        let change = AccountChange { disabled: Some(true), ..AccountChange::default() };
        let changed = change_account(world.services(), &keeper, user.as_str(), change);
        let (changed, log) = said(Box::pin(changed)).await;
        assert_eq!(changed.is_ok(), can_end, "{changed:?}");
        assert!(log.contains("ERROR") && log.contains("sid="), "{log}");
        for token in &issued {
            assert!(!world.is_active(token).await);
        }
        let left = store.scan(OF_USER, None, 100).await.unwrap();
        assert_eq!(left.len(), usize::from(!can_end), "all others have ended");
        let left = store.scan(SESSIONS, None, 100).await.unwrap();
        assert_eq!(left.len(), usize::from(!can_end), "all others have ended");
        assert_eq!(
            world.services().accounts.find(&user).await.unwrap().unwrap().disabled,
            can_end,
            "the change itself"
        );
        // Whether the account is disabled or not: no cookie leads to a session any more.
        for cookie in &cookies {
            assert!(!matches!(world.services().sessions.find(cookie).await, Ok(Some(_))));
        }
    }
}

/// As an administrator does who sets a new password, where every pointer of the person's sessions is damaged: no browser is
/// signed in afterwards.
#[actix_web::test]
async fn a_new_password_ends_a_session_whose_place_cant_be_read() {
    let House { world, store, .. } = House::open().await;
    let (started, _) = session(&world).await;
    let (another, _) = session(&world).await;
    let sessions = &world.services().sessions;
    for (key, row) in store.scan(OF_USER, None, 100).await.unwrap() {
        let damaged = Put { value: Vec::new(), expires_at: row.expires_at };
        let batch = Batch::new().put(OF_USER, key, Condition::Always, damaged);
        assert_eq!(store.commit(batch).await.unwrap(), Committed::Applied);
    }
    assert!(sessions.find(&started.cookie).await.unwrap().is_some(), "it lives");
    let keeper = Keeper { actor: Actor::Service, of_administrators: true };
    let password = Some(Secret::new("a sentence that nobody guesses".to_owned()));
    let change = AccountChange { password, ..AccountChange::default() };
    change_account(world.services(), &keeper, world.account.id.as_str(), change).await.unwrap();
    for cookie in [&started.cookie, &another.cookie] {
        assert!(sessions.find(cookie).await.unwrap().is_none());
    }
    assert!(store.scan(OF_USER, None, 100).await.unwrap().is_empty());
    assert!(store.scan(SESSIONS, None, 100).await.unwrap().is_empty());
}

/// The factor may be gone and the end of what it opened still to come: whoever asked has to be able to ask again.
#[actix_web::test]
async fn a_second_factor_whose_removal_failed_can_be_removed_again() {
    let House { world, store, .. } = House::open().await;
    let (keeper, id) = (Keeper { actor: Actor::Service, of_administrators: true }, world.account.id.clone());
    let (factors, sessions) = (&world.services().second_factors, &world.services().sessions);
    let remove = async || remove_second_factor(world.services(), &keeper, id.as_str()).await;
    let (mut failed, mut gone) = (0, 0);
    for at in 1..MOST {
        enrolled(&world.app, &world.account).await;
        let (_, grant) = session(&world).await;
        let token = world.redeem(&world.code_for(grant).await).await.access_token();
        store.fail(at, (Fault::Refused, false));
        let removed = remove().await;
        if !store.heal() {
            removed.unwrap();
            break;
        }
        failed += usize::from(removed.is_err());
        gone += usize::from(removed.is_err() && factors.find(&id).await.unwrap().is_none());
        if removed.is_err() {
            // As somebody may who has found the app, between the two passes.
            let (meanwhile, _) = session(&world).await;
            remove().await.unwrap();
            assert!(sessions.find(&meanwhile.cookie).await.unwrap().is_none(), "call {at}");
        }
        assert!(factors.find(&id).await.unwrap().is_none(), "call {at}");
        assert!(sessions.of_user(&id).await.unwrap().is_empty(), "call {at}");
        assert!(!world.is_active(&token).await, "call {at}");
    }
    assert!(failed > 5 && gone > 1, "{failed} {gone}");
}

/// More than one commit should hold: none of them is revoked before the session has ended, and then all are.
#[actix_web::test]
async fn however_many_there_are_none_ends_before_the_session() {
    let clock = Arc::new(ManualClock::at(START));
    let store = SharedStore::new(clock.clone());
    let settings = |config: &mut Config| config.limits.token_per_client = 0;
    let world = World::on(TestApp::start_on(store.clone(), clock, settings).await, json!({})).await;
    let (started, grant) = session(&world).await;
    let mut issued = Vec::new();
    for _ in 0..300 {
        issued.push(world.redeem(&world.code_for(grant.clone()).await).await.access_token());
    }
    let end = async || end_session(world.services(), &world.account.id, &started.session.sid).await;
    let release = store.hold_next_commit();
    let mut ended = pin!(end());
    while store.holds_next_commit() {
        assert!(ended.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    assert_eq!(world.services().status_lists.revoked(), 0);
    for token in [&issued[0], &issued[299]] {
        assert!(world.is_active(token).await);
    }
    let rest = store.hold_next_commit();
    release.send(()).unwrap();
    while store.holds_next_commit() {
        assert!(ended.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    let sessions = &world.services().sessions;
    assert!(sessions.find(&started.cookie).await.unwrap().is_none(), "it ends by the first commit");
    rest.send(()).unwrap();
    assert!(ended.await.unwrap().is_some());
    for token in &issued {
        assert!(!world.is_active(token).await);
    }
}

/// Its cookie may have been changed by then, and nobody has the new one: the browser can go on with the former, or it has ended.
#[actix_web::test]
async fn a_renewal_that_fails_leaves_no_session_that_the_browser_can_not_end() {
    let clock = Arc::new(ManualClock::at(START));
    let store = FaultyStore::new(clock.clone());
    let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
    let (account, shop) = (ada(&app).await, register(&app, shop()).await);
    let services = &app.app.state.services;
    for fault in [Fault::Refused, Fault::AnswerLost] {
        let (mut calls, mut ended) = (0, 0);
        for at in 1..MOST {
            app.pass(Duration::from_mins(2)).await;
            let mut browser = Browser::default();
            let code = parameter(&browser.allow(&app, &request(&[])).await, "code").unwrap();
            let tokens = redeem(&app, &shop, &code).await;
            let page = browser.get(&app, &request(&[("prompt", "login")])).await;
            store.fail(at, (fault, false));
            let answer = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
            let struck = store.heal();
            let here = format!("call {at}, {fault:?}: {answer:?}");
            let lives = !services.sessions.of_user(&account.id).await.unwrap().is_empty();
            let is_in = !text(&browser.get(&app, "/account").await).contains("name=\"password\"");
            assert_eq!(lives, is_in, "{here}");
            let token = bearer(tokens["access_token"].as_str().unwrap());
            let userinfo = TestRequest::get().uri("/oauth2/userinfo").insert_header(token);
            assert_eq!(app.send(userinfo).await.status, if lives { 200 } else { 401 }, "{here}");
            sign_out_everywhere(services, &account.id).await.unwrap();
            if !struck {
                break;
            }
            (calls, ended) = (at, ended + usize::from(!lives));
        }
        assert!(ended > 0 && ended < calls && calls < MOST - 1, "{fault:?}: {ended} of {calls}");
    }
}
