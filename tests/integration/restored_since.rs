//! Restores that somebody slept through: a node, which must not go on with what it remembers, and another restore, which must not
//! go on with what it began.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use actix_web::test::TestRequest;
use futures_util::FutureExt as _;
use serde_json::json;
use signet::app::StartError;
use signet::backup::{self, Assurances, BackupError, Purpose};
use signet::clock::ManualClock;
use signet::keys::{KeyRing, KeyRingParts, Phase};
use signet::store::NodeClock;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::backup::{copy_for, empty, world};
use crate::faulty_store::{Fault, FaultyStore};
use crate::shared_store::SharedStore;
use crate::test_app::{ISSUER, START, TestApp, basic, form};

fn is_outlived<T: std::fmt::Debug>(done: &Result<T, StartError>) -> bool {
    matches!(done, Err(StartError::Backup(BackupError::RestoredSince)))
}

async fn restore(parts: &KeyRingParts) -> Result<(), BackupError> {
    parts.fitness.compare_with(parts.store.as_ref()).await?;
    backup::restore_in_place(parts, Assurances::default()).await.map(drop)
}

#[actix_web::test]
async fn a_node_that_slept_through_a_restore_issues_nothing_more_and_ends() {
    let clock = Arc::new(ManualClock::at(START));
    let store = SharedStore::new(clock.clone());
    let slept = TestApp::start_on(store.clone(), clock.clone(), |_| {}).await;
    slept.app.join().await.unwrap();
    let old = slept.demo_token().await;
    // Nobody counts it any more.
    clock.advance(Duration::from_secs(61));
    restore(&slept.parts()).await.unwrap();
    let fitness = &slept.app.state.services.fitness;
    assert!(fitness.outlived().now_or_never().is_none());
    for _ in 0..2 {
        assert!(is_outlived(&slept.app.follow().await));
        assert!(is_outlived(&slept.app.announce().await));
        assert!(is_outlived(&slept.app.rotate().await));
        assert!(is_outlived(&slept.app.join().await));
        slept.token(slept.demo(), "").await.refused(503, "temporarily_unavailable");
        let asked = form("/oauth2/introspect", &format!("token={old}")).insert_header(basic(slept.demo()));
        slept.send(asked).await.refused(503, "temporarily_unavailable");
        let readiness = slept.manage("/health/ready").await;
        assert_eq!((readiness.status, &readiness.json()["mirror"]), (503, &json!("restored")));
    }
    assert!(fitness.outlived().now_or_never().is_some(), "nothing ends it");
    // Those that are started afterwards agree, it too.
    let other = slept.another_node(store, 2).await;
    let anew = slept.restart(|_| {}).await;
    for node in [&other, &anew] {
        node.app.join().await.unwrap();
    }
    assert!(!other.is_active(&old).await && !anew.is_active(&old).await);
    for (by, at) in [(&other, &anew), (&anew, &other)] {
        let token = by.demo_token().await;
        at.app.follow().await.unwrap();
        assert!(at.is_active(&token).await);
    }
    let keys = TestRequest::get().uri("/.well-known/jwks.json");
    let others = TestRequest::get().uri("/.well-known/jwks.json");
    assert_eq!(anew.send(keys).await.json(), other.send(others).await.json());
}

/// How many calls of the store a restore of these parts makes.
async fn calls_of_a_restore(store: &FaultyStore, parts: &KeyRingParts) -> usize {
    for at in 1.. {
        store.after(at, async {});
        restore(parts).await.unwrap();
        if !store.happened() {
            return at - 1;
        }
    }
    unreachable!("it ends")
}

/// Lets a restore run until its call number `at` is answered, where it stops until somebody lets it go on.
pub(crate) async fn stopped_after<T: Send + 'static>(
    (store, at): (&FaultyStore, usize),
    run: impl Future<Output = T> + Send + 'static,
) -> (JoinHandle<T>, oneshot::Sender<()>) {
    let ((there, reached), (goes_on, waits)) = (oneshot::channel::<()>(), oneshot::channel());
    store.after(at, async {
        drop(there);
        _ = waits.await;
    });
    let run = tokio::spawn(run);
    let ended = async {
        while !run.is_finished() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = reached => {}
        // It makes fewer calls: nobody else is to be held up.
        () = ended => drop(store.happened()),
    }
    (run, goes_on)
}

/// The order of what a node asks when it has announced itself counts: whether something is under way, then whether something ended.
#[actix_web::test]
async fn a_restore_that_ends_while_a_node_announces_itself_is_noticed_or_notices_the_node() {
    let clock = Arc::new(ManualClock::at(START));
    let store = FaultyStore::new(clock.clone());
    store.shared.store(true, SeqCst);
    let mut node = TestApp::start_on(store.clone(), clock, |_| {}).await;
    node.app.leave().await;
    let calls = calls_of_a_restore(&store, &node.parts()).await;
    assert!(calls > 20, "{calls}");
    let (mut noticed, mut refused) = (0, 0);
    // Before it is written down what is under way, then before it looks for nodes, and before its end.
    for stop in (1..12).chain(calls - 2..=calls) {
        for at in 1.. {
            node = node.restart(|_| {}).await;
            node.app.leave().await;
            let parts = node.parts();
            let (ends, ended) = oneshot::channel::<()>();
            let run = async move {
                let restored = restore(&parts).await;
                drop(ends);
                restored
            };
            let (run, go_on) = stopped_after((&store, stop), run).await;
            store.after(at, async move {
                _ = go_on.send(());
                _ = ended.await;
            });
            let announced = node.app.announce().await;
            // If not it goes on now.
            let was_meanwhile = store.happened();
            match run.await.unwrap() {
                Ok(()) => {
                    noticed += 1;
                    assert!(announced.is_err(), "stopped at {stop}, went on at {at}");
                    assert!(is_outlived(&node.app.announce().await));
                }
                Err(BackupError::NodesRun(_)) => {
                    refused += 1;
                    node.app.announce().await.unwrap();
                }
                Err(other) => panic!("{other:?}"),
            }
            node.app.leave().await;
            if !was_meanwhile {
                break;
            }
        }
    }
    assert!(noticed > 10 && refused > 3, "{noticed} {refused}");
}

/// Every key that signs, or will, can be read.
async fn keys_are_there(parts: &KeyRingParts) {
    let (ring, held) = (KeyRing::look(parts.clone()).await.unwrap(), parts.vault.list().unwrap());
    let needed = [Phase::Pending, Phase::Published, Phase::Signing];
    for key in ring.list().keys.iter().filter(|key| needed.contains(&key.phase)) {
        assert!(held.iter().any(|held| held.kid == key.kid), "{} is gone", key.kid);
    }
}

/// The same command is given again while it is still at work: the second takes over, and the first does nothing more, wherever it was.
#[actix_web::test]
async fn of_two_restores_in_place_at_once_the_later_takes_over() {
    let clock = Arc::new(ManualClock::at(START));
    let store = FaultyStore::new(clock.clone());
    let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
    let parts = app.parts();
    let calls = calls_of_a_restore(&store, &parts).await;
    let (mut overtaken, mut went_on) = (0, 0);
    for at in (1..12).chain((12..calls - 3).step_by(5)).chain(calls - 3..calls) {
        // The second gets to its end, or is cut off there.
        for cut_off in [None, Some(calls / 2)] {
            let (of_first, before) = (parts.clone(), store.written.lock().unwrap().commits);
            let first = async move { restore(&of_first).await };
            let (first, go_on) = stopped_after((&store, at), first).await;
            let has_begun = store.written.lock().unwrap().commits > before;
            if let Some(call) = cut_off {
                store.fail(call, (Fault::Refused, true));
            }
            let second = restore(&parts).await;
            assert_eq!((store.heal(), second.is_err()), (cut_off.is_some(), cut_off.is_some()), "{second:?}");
            let ring = KeyRing::look(parts.clone()).await.unwrap().version();
            _ = go_on.send(());
            let first = first.await.unwrap();
            if has_begun {
                overtaken += 1;
                assert!(first.is_err(), "call {at}, {cut_off:?}");
                assert_eq!(KeyRing::look(parts.clone()).await.unwrap().version(), ring, "call {at}");
                keys_are_there(&parts).await;
                let is_over = backup::refuse_unfinished(store.as_ref()).await.is_ok();
                assert_eq!(is_over, cut_off.is_none(), "call {at}");
            } else {
                went_on += 1;
            }
            // Once more, on purpose: it finishes what was cut off.
            restore(&parts).await.unwrap();
            backup::refuse_unfinished(store.as_ref()).await.unwrap();
            keys_are_there(&parts).await;
        }
    }
    assert!(overtaken > 20 && went_on > 1, "{overtaken} {went_on}");
    app.restart(|_| {}).await.demo_token().await;
}

#[actix_web::test]
async fn of_two_imports_at_once_the_later_takes_over() {
    let world = world().await;
    let (file, contents) = copy_for(&world.app.parts(), Purpose::Backup).await.unwrap();
    let restored = async |target: &KeyRingParts, file: Vec<u8>| {
        backup::restore(target, ISSUER, Cursor::new(file), Assurances::default()).await.map(|done| done.0)
    };
    let (mut overtaken, mut at) = (0, 0);
    loop {
        at += 1;
        let (target, _dir) = empty(&world.app.parts());
        let store = FaultyStore::new(world.app.clock.clone());
        let target = KeyRingParts { store: store.clone(), ..target };
        let (of_first, copy) = (target.clone(), file.clone());
        let first = async move {
            backup::restore(&of_first, ISSUER, Cursor::new(copy), Assurances::default()).await.map(drop)
        };
        let (first, go_on) = stopped_after((&store, at), first).await;
        if first.is_finished() {
            break;
        }
        let has_begun = store.written.lock().unwrap().commits > 0;
        let second = restored(&target, file.clone()).await;
        _ = go_on.send(());
        let first = first.await.unwrap();
        if has_begun {
            overtaken += usize::from(first.is_err());
            // After the last call of the first there is nothing to take over.
            assert!(first.is_err() || matches!(second, Err(BackupError::NotEmpty(_))), "call {at}");
        }
        if let Ok(second) = second {
            assert_eq!(second, contents);
            backup::refuse_unfinished(store.as_ref()).await.unwrap();
            keys_are_there(&target).await;
        }
    }
    assert!(overtaken > 20, "{overtaken}");
}

/// It looked whether the store is empty, and was slow to write down that it begins.
#[actix_web::test]
async fn an_import_does_not_begin_in_a_store_that_another_has_filled_since_it_looked() {
    let world = world().await;
    let (file, contents) = copy_for(&world.app.parts(), Purpose::Backup).await.unwrap();
    let (target, _dir) = empty(&world.app.parts());
    let store = SharedStore::new(world.app.clock.clone());
    let target = KeyRingParts { store: store.clone(), ..target };
    let restored = async |parts: KeyRingParts, file: Vec<u8>| {
        backup::restore(&parts, ISSUER, Cursor::new(file), Assurances::default()).await.map(|done| done.0)
    };
    let release = store.hold_next_commit();
    let (of_first, copy) = (target.clone(), file.clone());
    let first = tokio::spawn(async move {
        backup::restore(&of_first, ISSUER, Cursor::new(copy), Assurances::default()).await.map(drop)
    });
    while store.holds_next_commit() {
        tokio::task::yield_now().await;
    }
    assert_eq!(restored(target.clone(), file).await.unwrap(), contents);
    drop(release);
    let first = first.await.unwrap();
    assert!(matches!(first, Err(BackupError::Contended)), "{first:?}");
    backup::refuse_unfinished(store.as_ref()).await.unwrap();
    keys_are_there(&target).await;
}

/// Who is refused because nodes run takes back its own mark, not that of another who was not.
#[actix_web::test]
async fn what_is_copied_to_be_moved_stays_marked_whoever_else_was_refused() {
    let clock = Arc::new(ManualClock::at(START));
    let store = FaultyStore::new(clock.clone());
    store.shared.store(true, SeqCst);
    let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
    let parts = app.parts();
    let mut moved = 0;
    for at in 1..20 {
        app.app.state.services.nodes.announce(NodeClock::default()).await.unwrap();
        let of_first = parts.clone();
        let first = async move { copy_for(&of_first, Purpose::Move).await.map(drop) };
        let (first, go_on) = stopped_after((&store, at), first).await;
        app.app.leave().await;
        let second = copy_for(&parts, Purpose::Move).await;
        _ = go_on.send(());
        _ = first.await.unwrap();
        second.unwrap();
        let left = backup::refuse_unfinished(store.as_ref()).await;
        assert!(matches!(left, Err(BackupError::Moved)), "call {at}: {left:?}");
        moved += 1;
        restore(&parts).await.unwrap();
    }
    assert_eq!(moved, 19);
}
