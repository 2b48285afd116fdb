//! A session has ended for good by one commit: what that could not revoke is revoked later, whatever fails after it and whoever
//! tidies up.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use signet::oauth::{SessionId, UserId};
use signet::protocol::users::end_session;
use signet::store::{Batch, Condition, Put, Store as _, Table};
use signet::tokens::Grant;
use tokio::sync::oneshot;

use crate::faulty_store::{Fault, FaultyStore, House};
use crate::grants_fixture::World;
use crate::test_app::claims;

const ENDED: Table = Table::plain("ended_sessions");
const LIVE_TOKENS: Table = Table::plain("family_tokens");

/// How long the request that ended a session is left to finish by itself.
const OWN_PASS: Duration = Duration::from_secs(10);

/// The calls of an end up to its commit: the pointer, the session, the tokens, the commit.
const UNTIL_COMMIT: usize = 4;

/// The ways in which a call fails.
const FAULTS: [(Fault, bool); 4] =
    [(Fault::Refused, false), (Fault::Refused, true), (Fault::AnswerLost, false), (Fault::AnswerLost, true)];

/// The names of the sessions of which something may be left.
async fn unfinished(store: &FaultyStore) -> Vec<Vec<u8>> {
    store.scan(ENDED, None, 1000).await.unwrap().into_iter().map(|(key, _)| key).collect()
}

async fn redeem(world: &World, grant: &Grant) -> String {
    world.redeem(&world.code_for(grant.clone()).await).await.access_token()
}

/// Ends the session; a token comes when it was looked for such already, and the call number `at` after the commit fails. Answers
/// with that token, and whether any call has failed.
async fn end_with_a_late_token(
    (world, store): (&World, &Arc<FaultyStore>),
    (grant, user, sid): (&Grant, &UserId, &SessionId),
    (at, fault): (usize, (Fault, bool)),
) -> (String, bool) {
    let code = world.code_for(grant.clone()).await;
    let (release, held) = oneshot::channel();
    store.after(UNTIL_COMMIT - 1, async move { held.await.unwrap() });
    let mut ended = pin!(end_session(world.services(), user, sid));
    for _ in 0..10 {
        assert!(ended.as_mut().now_or_never().is_none());
    }
    let late = world.redeem(&code).await.access_token();
    store.fail(1 + at, fault);
    release.send(()).unwrap();
    assert!(ended.await.unwrap().is_some(), "the person is signed out, call {at}, {fault:?}");
    (late, store.heal())
}

#[actix_web::test]
async fn whatever_fails_after_the_commit_the_late_tokens_end() {
    let House { world, store, .. } = House::open().await;
    for fault in FAULTS {
        let mut calls = 0;
        for at in 1..10 {
            let (grant, user, sid) = world.session_grant().await;
            let (late, struck) =
                end_with_a_late_token((&world, &store), (&grant, &user, &sid), (at, fault)).await;
            let here = format!("call {at}, {fault:?}");
            assert_eq!(unfinished(&store).await, [sid.as_str().as_bytes()], "{here}");
            if struck && fault.0 == Fault::Refused {
                assert!(world.is_active(&late).await, "{here}: nothing was left to do");
            }
            world.app.pass(OWN_PASS + Duration::from_secs(1)).await;
            assert!(!world.is_active(&late).await, "{here}");
            assert!(unfinished(&store).await.is_empty(), "{here}");
            if !struck {
                calls = at - 1;
                break;
            }
        }
        assert_eq!(calls, 2, "the tokens, their revocation");
    }
}

#[actix_web::test]
async fn another_node_or_the_next_start_finishes_what_is_left() {
    let House { world, store, .. } = House::open().await;
    let lasting = (1, (Fault::Refused, true));
    let (grant, user, sid) = world.session_grant().await;
    let (late, _) = end_with_a_late_token((&world, &store), (&grant, &user, &sid), lasting).await;
    let other = world.app.another_node(store.clone(), 2).await;
    assert!(other.is_active_for(world.client(), &late).await);
    other.pass(OWN_PASS + Duration::from_secs(1)).await;
    assert!(!other.is_active_for(world.client(), &late).await);
    world.app.app.follow().await.unwrap();
    assert!(!world.is_active(&late).await && unfinished(&store).await.is_empty());
    drop(other);
    let (grant, user, sid) = world.session_grant().await;
    let (late, _) = end_with_a_late_token((&world, &store), (&grant, &user, &sid), lasting).await;
    let World { app, client, account } = world;
    let world = World { app: app.restart(|_| {}).await, client, account };
    assert!(world.is_active(&late).await);
    world.app.pass(OWN_PASS + Duration::from_secs(1)).await;
    assert!(!world.is_active(&late).await && unfinished(&store).await.is_empty());
}

/// More than are read at once: a session is done with when all of its tokens are.
#[actix_web::test]
async fn a_session_of_many_tokens_is_done_with_when_all_have_ended() {
    let House { world, store, .. } = House::open().await;
    let (grant, user, sid) = world.session_grant().await;
    let mut issued = Vec::new();
    for _ in 0..300 {
        issued.push(redeem(&world, &grant).await);
    }
    // The second page of the tokens.
    store.fail(UNTIL_COMMIT + 2, (Fault::Refused, true));
    assert!(end_session(world.services(), &user, &sid).await.unwrap().is_some());
    assert!(store.heal());
    let mut living = 0;
    for token in &issued {
        living += usize::from(world.is_active(token).await);
    }
    assert_eq!(living, 300 - 256);
    let families = &world.services().families;
    assert_eq!(families.finish().await.unwrap(), 0, "it is left to who ended it");
    world.app.clock.advance(OWN_PASS);
    // The sessions, the first page, whether each of its tokens is on record; then the second page.
    store.fail(2 + 256 + 1, (Fault::Refused, false));
    assert!(families.finish().await.is_err() && store.heal());
    assert_eq!(unfinished(&store).await, [sid.as_str().as_bytes()]);
    assert_eq!(families.finish().await.unwrap(), 1);
    assert!(unfinished(&store).await.is_empty());
    for token in &issued {
        assert!(!world.is_active(token).await);
    }
}

/// As many as more than one page holds, some of which can't be read.
#[actix_web::test]
async fn what_cant_be_read_holds_up_no_other_session() {
    let House { world, store, .. } = House::open().await;
    let (grant, user, sid) = world.session_grant().await;
    let (late, _) =
        end_with_a_late_token((&world, &store), (&grant, &user, &sid), (1, (Fault::Refused, true))).await;
    let until = signet::clock::Clock::now(world.app.clock.as_ref()) + Duration::from_hours(1);
    let put = |rows: Batch, table, key: &str, value: &[u8]| {
        rows.put(table, key, Condition::Always, Put::until(until, value.to_vec()))
    };
    let mut rows = Batch::new();
    for number in 0..300 {
        rows = put(rows, ENDED, &format!("0{number:03}"), &[0; 8]);
    }
    // A date that lies ahead says nothing, either.
    rows = put(rows, ENDED, "ahead", &(world.app.now() + 3600).to_be_bytes());
    for unreadable in ["!no sid", "0damaged", "~no sid"] {
        rows = put(rows, ENDED, unreadable, b"no date");
    }
    let _unconditional = store.commit(put(rows, LIVE_TOKENS, "0damaged.family/list", b"")).await.unwrap();
    world.app.clock.advance(OWN_PASS);
    assert_eq!(world.services().families.finish().await.unwrap(), 302);
    assert!(!world.is_active(&late).await);
    assert_eq!(unfinished(&store).await, ["!no sid", "0damaged", "~no sid"].map(str::as_bytes));
}

#[actix_web::test]
async fn a_token_that_cant_be_read_keeps_no_other_alive() {
    let House { world, store, .. } = House::open().await;
    let (grant, user, sid) = world.session_grant().await;
    let until = signet::clock::Clock::now(world.app.clock.as_ref()) + Duration::from_hours(1);
    // Before the others and behind them.
    let unreadable = [format!("{sid}.!/list"), format!("{sid}.~/list")];
    let put = |rows: Batch, key: &String| {
        rows.put(LIVE_TOKENS, key.as_str(), Condition::Always, Put::until(until, b"no date".to_vec()))
    };
    let _unconditional = store.commit(unreadable.iter().fold(Batch::new(), put)).await.unwrap();
    let early = redeem(&world, &grant).await;
    let (late, _) =
        end_with_a_late_token((&world, &store), (&grant, &user, &sid), (1, (Fault::Refused, true))).await;
    assert!(!world.is_active(&early).await, "it has ended with the session");
    assert!(world.is_active(&late).await);
    world.app.clock.advance(OWN_PASS);
    assert_eq!(world.services().families.finish().await.unwrap(), 0);
    assert!(!world.is_active(&late).await);
    assert_eq!(unfinished(&store).await, [sid.as_str().as_bytes()], "it is not done with");
}

/// Housekeeping has other things to do, and comes again.
#[actix_web::test]
async fn a_round_takes_on_a_bounded_number_of_sessions() {
    let House { world, store, .. } = House::open().await;
    let until = signet::clock::Clock::now(world.app.clock.as_ref()) + Duration::from_hours(1);
    let put = |rows: Batch, number: usize| {
        let put = Put::until(until, vec![0; 8]);
        rows.put(ENDED, format!("0{number:04}"), Condition::Always, put)
    };
    let _unconditional = store.commit((0..1100).fold(Batch::new(), put)).await.unwrap();
    let finish = async || world.services().families.finish().await.unwrap();
    assert_eq!(finish().await, 1024);
    assert_eq!(finish().await, 1100 - 1024);
    assert!(unfinished(&store).await.is_empty());
}

/// Nothing was put on record by the second, so that nobody would come back to it.
#[actix_web::test]
async fn the_end_of_a_session_that_has_ended_says_when_it_fails() {
    let House { world, store, .. } = House::open().await;
    let (_, user, sid) = world.session_grant().await;
    end_session(world.services(), &user, &sid).await.unwrap();
    let mut failed = 0;
    for at in 1..10 {
        store.fail(at, (Fault::Refused, true));
        let again = end_session(world.services(), &user, &sid).await;
        if !store.heal() {
            assert!(again.unwrap().is_none());
            break;
        }
        assert!(again.is_err(), "call {at}");
        failed += 1;
    }
    assert_eq!(failed, 2, "the pointer, the tokens");
}

#[actix_web::test]
async fn that_a_session_has_ended_is_remembered_until_no_token_of_it_lives() {
    let House { world, store, .. } = House::open().await;
    let (grant, user, sid) = world.session_grant().await;
    let token = redeem(&world, &grant).await;
    end_session(world.services(), &user, &sid).await.unwrap();
    let (_, row) = store.scan(ENDED, None, 1).await.unwrap().remove(0);
    let until = row.expires_at.unwrap().timestamp();
    // No longer than the status lists are kept in which its tokens stand.
    assert!(claims(&token).exp < until && until < world.app.now() + 7 * 86_400, "{until}");
}

#[actix_web::test]
async fn what_the_commit_has_revoked_is_not_asked_for_again() {
    let House { world, store, .. } = House::open().await;
    let (grant, user, sid) = world.session_grant().await;
    for _ in 0..5 {
        redeem(&world, &grant).await;
    }
    // After the commit the tokens, and nothing for each.
    store.fail(UNTIL_COMMIT + 2, (Fault::Refused, false));
    end_session(world.services(), &user, &sid).await.unwrap();
    assert!(!store.heal());
}

#[actix_web::test]
async fn housekeeping_goes_on_where_a_session_can_not_be_finished() {
    let House { world, store, .. } = House::open().await;
    let mut went_on = 0;
    for at in 1..40 {
        let (_, user, sid) = world.session_grant().await;
        end_session(world.services(), &user, &sid).await.unwrap();
        world.app.clock.advance(OWN_PASS);
        store.fail(at, (Fault::Refused, false));
        let tidied = world.app.app.tidy().await;
        if !store.heal() {
            break;
        }
        went_on += usize::from(tidied.is_ok() && !unfinished(&store).await.is_empty());
        world.app.app.tidy().await.unwrap();
        assert!(unfinished(&store).await.is_empty(), "call {at}");
    }
    assert_eq!(went_on, 3, "the sessions, the tokens of one, that it is done with");
}
