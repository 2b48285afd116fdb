//! Copies of an installation that are taken, and put back in place, while the store fails at any call, the pages of a view
//! included.

use std::io::Cursor;
use std::sync::Arc;

use actix_web::body::to_bytes;
use actix_web::test::{call_service, init_service};
use actix_web::{App as ActixApp, web};
use signet::backup::{self, Assurances, BackupError, Contents, Purpose};
use signet::clock::ManualClock;
use signet::keys::KeyRingParts;
use signet::store::{Batch, Committed, Condition, Put, Store as _, Table};

use crate::backup::{copy, copy_for, empty, world};
use crate::faulty_store::{Fault, FaultyStore, House, WAYS};
use crate::grants_fixture::World;
use crate::test_app::{Answer, ISSUER, START, bearer, form};

/// What comes of asking a running service for a copy.
#[derive(Debug)]
enum Came {
    Whole(Contents),
    /// It began well: whoever takes it sees that it is not whole.
    BrokenOff,
    /// With the 503 that says so.
    Refused,
}

async fn ask(world: &World, token: &str) -> Came {
    let state = web::Data::from(world.app.app.state.clone());
    let service = init_service(ActixApp::new().configure(signet::http::configure(state))).await;
    let request = form("/admin/backup", "").insert_header(bearer(token)).to_request();
    let response = call_service(&service, request).await;
    if response.status() != 200 {
        let answer = Answer::read(response).await;
        answer.refused(503, "temporarily_unavailable");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        return Came::Refused;
    }
    match to_bytes(response.into_body()).await {
        Ok(file) => Came::Whole(backup::inspect(Cursor::new(&file), &world.app.parts().kek).unwrap()),
        Err(_) => Came::BrokenOff,
    }
}

/// Nobody is told 200 of a copy that failed before there was anything of it.
#[actix_web::test]
async fn a_running_service_is_copied_whatever_fails() {
    // What fits into a piece is read before it is begun to be sent; of more, an answer can break off.
    for (rows, name) in [(0, "copy a running service"), (40, "copy a running service, which has more")] {
        let House { world, store, .. } = House::open().await;
        for row in 0..rows {
            let put = Put::lasting(vec![7; 4096]);
            let key = format!("row {row}");
            let batch = Batch::new().put(Table::plain("consents"), key, Condition::Absent, put);
            assert_eq!(store.commit(batch).await.unwrap(), Committed::Applied);
        }
        let recorded = || {
            let log = world.app.audit_log();
            let ends = log.lines().filter(|line| line.contains("\"installation.exported\""));
            ends.filter(|line| line.contains("\"failed\"")).count()
        };
        let token = world.app.admin_token().await;
        let Came::Whole(all) = ask(&world, &token).await else { panic!("nothing fails yet") };
        let (mut calls, mut refused, mut broken) = (0, 0, 0);
        for way in WAYS {
            for at in 1.. {
                let before = recorded();
                store.fail(at, way);
                let came = ask(&world, &token).await;
                let here = format!("{name}, call {at}, {way:?}: {came:?}");
                match (came, store.heal()) {
                    (Came::Whole(contents), false) => {
                        assert_eq!(contents.sha256, all.sha256, "{here}");
                        calls = at - 1;
                        break;
                    }
                    (Came::BrokenOff, true) => broken += 1,
                    (Came::Refused, true) => refused += 1,
                    _ => panic!("{here}"),
                }
                assert_eq!(recorded(), before + 1, "that it failed is on record: {here}");
                let again = ask(&world, &token).await;
                assert!(
                    matches!(&again, Came::Whole(contents) if contents.sha256 == all.sha256),
                    "{here}: {again:?}"
                );
            }
        }
        assert!(
            calls > 20 && refused > 0 && (broken > 0) == (rows > 0),
            "{refused} refused, {broken} broken off"
        );
        let faults = refused + broken;
        println!(
            "{name:<38} {calls:>3} calls, {faults:>3} faults: {refused:>3} refused, {broken:>3} broken off"
        );
    }
}

async fn forget_mark(store: &FaultyStore) {
    let batch = Batch::new().delete(backup::INSTALLATION, "unfinished", Condition::Always);
    assert_eq!(store.commit(batch).await.unwrap(), Committed::Applied);
}

/// `signet export --move`: either it goes on here or it is said to have moved, never half; and the same command makes the copy.
#[actix_web::test]
async fn an_installation_is_moved_whatever_fails() {
    let House { world, store, .. } = House::open().await;
    world.tokens().await;
    world.app.app.leave().await;
    let parts = world.app.parts();
    let (mut calls, mut faults, mut marked) = (0, 0, 0);
    for way in WAYS {
        for at in 1.. {
            store.fail(at, way);
            let moved = copy_for(&parts, Purpose::Move).await;
            let struck = store.heal();
            let here = format!("call {at}, {way:?}: {:?}", moved.as_ref().map(drop));
            assert_eq!(moved.is_err(), struck, "{here}");
            let stands = backup::refuse_unfinished(store.as_ref()).await;
            assert!(matches!(stands, Ok(()) | Err(BackupError::Moved)), "{here}: {stands:?}");
            if struck && stands.is_ok() {
                assert!(world.app.is_active(&world.app.demo_token().await).await, "{here}");
            }
            marked += usize::from(struck && stands.is_err());
            let (file, contents) = match moved {
                Ok(moved) => moved,
                Err(_) => {
                    copy_for(&parts, Purpose::Move).await.unwrap_or_else(|error| panic!("{here}: {error}"))
                }
            };
            let stands = backup::refuse_unfinished(store.as_ref()).await;
            assert!(
                matches!(stands, Err(BackupError::Moved)),
                "a copy by which it can go on elsewhere: {here}"
            );
            let (target, _dir) = empty(&parts);
            let done = backup::import(&target, ISSUER, Cursor::new(&file), Assurances::default()).await;
            assert_eq!(done.unwrap(), contents, "{here}");
            forget_mark(&store).await;
            if !struck {
                calls = at - 1;
                break;
            }
            faults += 1;
        }
    }
    assert!(calls > 20 && marked > 0, "{calls}");
    println!(
        "{:<38} {calls:>3} calls, {faults:>3} faults, {marked:>3} of them after it was marked",
        "move an installation"
    );
}

/// `signet restore --in-place`: nothing is served from what is half done, and the same command finishes it.
#[actix_web::test]
async fn an_installation_is_restored_in_place_whatever_fails() {
    let world = world().await;
    let parts = world.app.parts();
    let (file, _) = copy(&parts).await;
    let (mut calls, mut faults, mut half) = (0, 0, 0);
    for way in WAYS {
        for at in 1.. {
            let store = FaultyStore::new(Arc::new(ManualClock::at(START)));
            let (other, _dir) = empty(&parts);
            let target = KeyRingParts { store: store.clone(), ..other };
            backup::import(&target, ISSUER, Cursor::new(&file), Assurances::default()).await.unwrap();
            let former = backup_of(&target).await;
            store.fail(at, way);
            let restored = backup::restore_in_place(&target, Assurances::default()).await;
            let struck = store.heal();
            let here = format!("call {at}, {way:?}: {:?}", restored.as_ref().map(drop));
            assert_eq!(restored.is_err(), struck, "{here}");
            if !struck {
                backup::refuse_unfinished(store.as_ref()).await.unwrap();
                calls = at - 1;
                break;
            }
            faults += 1;
            match backup::refuse_unfinished(store.as_ref()).await {
                Err(error) if error.is_unfinished() => half += 1,
                Err(error) => panic!("{here}: {error}"),
                // Not begun, or all is done and only the answer to the very last call was lost.
                Ok(()) => {
                    let is_former = backup_of(&target).await.sha256 == former.sha256;
                    assert!(is_former || way.0 == Fault::AnswerLost, "{here}");
                }
            }
            backup::restore_in_place(&target, Assurances::default())
                .await
                .unwrap_or_else(|error| panic!("{here}: {error}"));
            backup::refuse_unfinished(store.as_ref()).await.unwrap();
        }
    }
    assert!(calls > 10 && half > 0, "{calls}");
    println!("{:<38} {calls:>3} calls, {faults:>3} faults, {half:>3} of them half-way", "restore in place");
}

async fn backup_of(parts: &KeyRingParts) -> Contents {
    copy_for(parts, Purpose::Backup).await.unwrap().1
}
