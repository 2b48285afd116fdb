//! Copies that go wrong: a vault that is somebody else's, a restore that is cut off, an installation that was moved and runs on,
//! a store that was put back and nobody said so.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use signet::app::{self, App, Ground};
use signet::audit::{Actor, Event, EventKind};
use signet::backup::{self, Assurances, BackupError, Contents, Purpose};
use signet::clock::{Clock as _, ManualClock};
use signet::config::Config;
use signet::entropy::SeededEntropy;
use signet::keys::{KeyRingParts, StoredKey, StoredState};
use signet::oauth::Algorithm;
use signet::store::{Batch, Committed, Condition, MemoryStore, Put};
use signet::users::Factor;

use crate::backup::{copy, copy_for, empty, world};
use crate::faulty_store::{Fault, FaultyStore};
use crate::grants_fixture::World;
use crate::shared_store::SharedStore;
use crate::test_app::{ISSUER, START, TestApp};

fn listed(parts: &KeyRingParts) -> Vec<StoredKey> {
    parts.vault.list().unwrap()
}

async fn mark(parts: &KeyRingParts, word: &str) {
    let put = Put::lasting(word.into());
    let batch = Batch::new().put(backup::INSTALLATION, "unfinished", Condition::Always, put);
    assert_eq!(parts.store.commit(batch).await.unwrap(), Committed::Applied);
}

#[actix_web::test]
async fn the_keys_of_another_installation_are_neither_destroyed_nor_shared() {
    let world = world().await;
    let parts = world.app.parts();
    let (file, _) = copy(&parts).await;
    let before = listed(&parts);
    // As if keys.dir were left at its default, in the directory of a live service.
    let (target, _dir) = empty(&parts);
    let target = KeyRingParts { vault: parts.vault.clone(), ..target };
    for refused in [
        backup::import(&target, ISSUER, Cursor::new(&file)).await.map(drop),
        backup::restore(&target, ISSUER, Cursor::new(&file), false).await.map(drop),
    ] {
        assert!(matches!(refused, Err(BackupError::VaultNotEmpty { keys: 2 })), "{refused:?}");
    }
    assert_eq!(listed(&parts), before);
    // Nor are they when an import that was cut off elsewhere is begun anew over them.
    let (elsewhere, _dir) = empty(&parts);
    backup::restore(&elsewhere, ISSUER, Cursor::new(&file), false).await.unwrap();
    mark(&elsewhere, "import").await;
    let there = KeyRingParts { vault: parts.vault.clone(), ..elsewhere };
    let refused = backup::restore(&there, ISSUER, Cursor::new(&file), false).await.map(drop);
    assert!(matches!(refused, Err(BackupError::VaultNotEmpty { .. })), "{refused:?}");
    assert_eq!(listed(&parts), before);
    assert!(world.app.is_active(&world.app.demo_token().await).await);
}

#[actix_web::test]
async fn a_restore_in_place_destroys_no_key_of_a_wrong_directory_unless_told_so() {
    let world = world().await;
    let parts = world.app.parts();
    let (file, _) = copy(&parts).await;
    let (target, dir) = empty(&parts);
    backup::import(&target, ISSUER, Cursor::new(&file)).await.unwrap();
    let (other, _other_dir) = empty(&parts);
    let theirs = other.vault.generate(Algorithm::ES256).unwrap().kid().clone();
    other.vault.keep(&theirs).unwrap();
    let wrong = KeyRingParts { vault: other.vault.clone(), ..target.clone() };
    let refused = backup::restore_in_place(&wrong, Assurances::default()).await.map(drop);
    assert!(matches!(refused, Err(BackupError::NoneOfItsKeys)), "{refused:?}");
    assert_eq!(listed(&other).len(), 1);
    // Nothing was begun.
    backup::refuse_unfinished(target.store.as_ref()).await.unwrap();
    let lost = Assurances { keys_lost: true, ..Assurances::default() };
    backup::restore_in_place(&wrong, lost).await.unwrap();
    assert!(listed(&other).iter().all(|key| key.kid != theirs));
    drop(dir);
}

/// Lets every call of a repeated `command` fail once, on a store and a vault as a cut-off at the very end leaves them.
async fn cut_off_anywhere<C: AsyncFn(&KeyRingParts) -> Result<Contents, BackupError>>(
    parts: &KeyRingParts,
    fault: Fault,
    command: C,
) {
    let clock = Arc::new(ManualClock::at(START));
    for at in 1.. {
        let store = FaultyStore::new(clock.clone());
        let (other, _dir) = empty(parts);
        let target = KeyRingParts { store: store.clone(), ..other };
        let contents = command(&target).await.unwrap();
        mark(&target, "import").await;
        store.fail(at, (fault, true));
        let repeated = command(&target).await;
        let struck = store.heal();
        let unfinished = backup::refuse_unfinished(target.store.as_ref()).await;
        if !struck {
            assert!(at > 50, "{at}");
            assert_eq!(repeated.unwrap(), contents);
            unfinished.unwrap();
            break;
        }
        repeated.unwrap_err();
        if unfinished.is_ok() {
            // Only the answer to the very last call was lost.
            assert_eq!(fault, Fault::AnswerLost);
        } else {
            assert_eq!(command(&target).await.unwrap(), contents, "call {at}");
        }
        backup::refuse_unfinished(target.store.as_ref()).await.unwrap();
        let copied = copy_for(&target, Purpose::Backup).await.unwrap().1;
        let kept = listed(&target).into_iter().filter(|key| key.state == StoredState::Kept);
        assert_eq!(kept.count() as u64, copied.keys, "call {at}: a key is left over");
    }
}

#[actix_web::test]
async fn an_import_that_is_cut_off_again_is_never_served_and_can_be_finished() {
    let world = world().await;
    let parts = world.app.parts();
    let (file, contents) = copy(&parts).await;
    for fault in [Fault::Refused, Fault::AnswerLost] {
        cut_off_anywhere(&parts, fault, async |target: &KeyRingParts| {
            let imported = backup::import(target, ISSUER, Cursor::new(&file)).await?;
            assert_eq!(imported.sha256, contents.sha256);
            Ok(imported)
        })
        .await;
    }
}

#[actix_web::test]
async fn a_restore_that_is_cut_off_again_is_never_served_and_can_be_finished() {
    let world = world().await;
    let parts = world.app.parts();
    let (file, _) = copy_for(&parts, Purpose::Backup).await.unwrap();
    for fault in [Fault::Refused, Fault::AnswerLost] {
        cut_off_anywhere(&parts, fault, async |target: &KeyRingParts| {
            Ok(backup::restore(target, ISSUER, Cursor::new(&file), false).await?.0)
        })
        .await;
    }
}

#[actix_web::test]
async fn an_installation_that_was_moved_runs_no_more_and_a_backup_moves_nothing() {
    let world = world().await;
    let parts = world.app.parts();
    let (backup_file, of_backup) = copy_for(&parts, Purpose::Backup).await.unwrap();
    let (target, _dir) = empty(&parts);
    let refused = backup::import(&target, ISSUER, Cursor::new(&backup_file)).await;
    assert!(matches!(refused, Err(BackupError::NotForMove)), "{refused:?}");
    for table in backup::tables() {
        assert!(target.store.scan(table, None, 1).await.unwrap().is_empty(), "{}", table.name);
    }
    let (_, moved) = copy_for(&parts, Purpose::Move).await.unwrap();
    assert_eq!((of_backup.purpose, moved.purpose), (Purpose::Backup, Purpose::Move));
    assert_eq!(moved.sha256, of_backup.sha256, "the word is not in the copy");
    let message = world.app.start_over(parts.store.clone()).await.err().unwrap().to_string();
    assert!(message.contains("was moved elsewhere"), "{message}");
    let again = copy_for(&parts, Purpose::Backup).await;
    assert!(matches!(again, Err(BackupError::Moved)), "{again:?}");
    // The file was lost.
    let (file, _) = copy_for(&parts, Purpose::Move).await.unwrap();
    backup::import(&target, ISSUER, Cursor::new(&file)).await.unwrap();
    backup::refuse_unfinished(target.store.as_ref()).await.unwrap();
    // It is wanted again: with other keys.
    backup::restore_in_place(&parts, Assurances::default()).await.unwrap();
    backup::refuse_unfinished(parts.store.as_ref()).await.unwrap();
}

#[actix_web::test]
async fn what_can_not_be_copied_is_not_stopped_for_good() {
    let world = world().await;
    let parts = world.app.parts();
    for key in listed(&parts) {
        parts.vault.destroy(&key.kid).unwrap();
    }
    let copied = copy_for(&parts, Purpose::Move).await;
    assert!(matches!(copied, Err(BackupError::KeyMissing(_))), "{copied:?}");
    backup::refuse_unfinished(parts.store.as_ref()).await.unwrap();
}

#[actix_web::test]
async fn a_node_that_runs_while_its_store_is_restored_or_moved_soon_issues_nothing() {
    for word in ["cut-off", "import", "moved"] {
        let clock = Arc::new(ManualClock::at(START));
        let store = SharedStore::new(clock.clone());
        let app = TestApp::start_on(store.clone(), clock.clone(), |_| {}).await;
        app.demo_token().await;
        mark(&app.parts(), word).await;
        assert!(app.app.follow().await.is_err() && app.app.tidy().await.is_err(), "{word}");
        clock.advance(Config::for_tests(app.dir()).keys.propagation + Duration::from_secs(1));
        assert!(app.app.follow().await.is_err());
        app.token(app.demo(), "").await.refused(503, "temporarily_unavailable");
    }
}

/// The store was put back to what it was `ago`.
async fn put_back(app: &TestApp, ago: i64) {
    let then = app.clock.now() - chrono::Duration::minutes(ago);
    backup::note_seen(app.app.state.services.store.as_ref(), then).await.unwrap();
}

#[actix_web::test]
async fn that_a_store_was_put_back_is_known_until_somebody_sets_a_cut_off() {
    let app = TestApp::start().await;
    assert_eq!(app.app.evidence, None);
    put_back(&app, 10).await;
    let mut app = app.restart(|_| {}).await;
    let evidence = app.app.evidence.clone().expect("it is noticed");
    assert!(evidence.what.contains("the audit log beside it goes on"), "{evidence:?}");
    // What was noticed once is not forgotten by running on.
    for _ in 0..2 {
        app.pass(Duration::from_mins(10)).await;
        app = app.restart(|_| {}).await;
        assert_eq!(app.app.evidence.as_ref(), Some(&evidence));
    }
    // A copy of it is one of a store that was put back.
    let parts = app.parts();
    let (file, _) = copy(&parts).await;
    let (moved, _dir) = empty(&parts);
    backup::import(&moved, ISSUER, Cursor::new(&file)).await.unwrap();
    assert_eq!(backup::read_evidence(moved.store.as_ref()).await.unwrap(), Some(evidence));
    backup::restore_in_place(&moved, Assurances::default()).await.unwrap();
    assert_eq!(backup::read_evidence(moved.store.as_ref()).await.unwrap(), None);
    // Or it was a false alarm.
    backup::forget_evidence(parts.store.as_ref(), app.clock.now()).await.unwrap();
    drop(parts);
    let app = app.restart(|_| {}).await;
    assert_eq!(app.app.evidence, None);
}

#[actix_web::test]
async fn private_keys_that_the_ring_does_not_know_are_remembered_too() {
    let app = TestApp::start().await;
    let vault = app.parts().vault;
    let stray = vault.generate(Algorithm::ES256).unwrap().kid().clone();
    vault.keep(&stray).unwrap();
    let app = app.restart(|_| {}).await;
    assert!(app.app.evidence.as_ref().is_some_and(|evidence| evidence.what.contains("private keys")));
    vault.destroy(&stray).unwrap();
    let app = app.restart(|_| {}).await;
    assert!(app.app.evidence.is_some());
}

#[actix_web::test]
async fn offline_commands_and_a_mended_audit_log_are_no_evidence() {
    let app = TestApp::start().await;
    app.clock.advance(Duration::from_hours(1));
    let services = &app.app.state.services;
    let (store, audit, clock) = (services.store.clone(), services.audit.clone(), services.clock.clone());
    // As an offline command does, an hour after the service was stopped.
    assert_eq!(app::look(store.as_ref(), &audit, clock.as_ref()).await.unwrap(), None);
    audit.record(Event::new(EventKind::KeysRekeyed, Actor::Operator("ada".into()))).await.unwrap();
    drop((store, audit));
    let app = app.restart(|_| {}).await;
    assert_eq!(app.app.evidence, None);
    // An hour after a crash in the middle of a line.
    app.clock.advance(Duration::from_hours(1));
    let path = app.dir().join("data/audit.jsonl");
    let log = app.audit_log();
    std::fs::write(&path, format!("{log}{{\"seq\":")).unwrap();
    let app = app.restart(|_| {}).await;
    assert!(app.audit_log().contains("audit.tail_cut"));
    assert_eq!(app.app.evidence, None);
}

#[actix_web::test]
async fn what_counts_once_counts_no_more_after_a_restore() {
    let world = world().await;
    let user = world.account.id.clone();
    let factors = &world.services().second_factors;
    let secret = factors.enroll(&user, "ada@example.com").await.unwrap().secret;
    let totp = |at: i64| {
        let secret = totp_rs::Secret::try_from_base32(secret.expose()).unwrap();
        let totp = totp_rs::Builder::new().with_digits(6).with_secret(secret).build().unwrap();
        totp.generate(u64::try_from(at).unwrap()).to_string()
    };
    let codes = factors.confirm(&user, &totp(world.app.now())).await.unwrap().unwrap();
    assert_eq!(
        factors.check(&user, codes[1].expose()).await.unwrap(),
        Some(Factor::RecoveryCode { left: 9 })
    );
    let parts = world.app.parts();
    let (file, _) = copy_for(&parts, Purpose::Backup).await.unwrap();
    let World { app, client, account } = world;
    let app = app
        .elsewhere(async |parts| {
            let (_, restored) = backup::restore(parts, ISSUER, Cursor::new(&file), false).await.unwrap();
            assert_eq!(restored.ended["recovery_codes"], 1);
            assert!(restored.ended.contains_key("login_devices"));
        })
        .await;
    let world = World { app, client, account };
    let factors = &world.services().second_factors;
    assert_eq!(factors.find(&user).await.unwrap().unwrap().recovery_codes, 0);
    for code in &codes {
        assert_eq!(factors.check(&user, code.expose()).await.unwrap(), None);
    }
    // The factor itself stays, and new codes can be had.
    world.app.clock.advance(Duration::from_mins(2));
    let now = totp(world.app.now());
    assert_eq!(factors.check(&user, &now).await.unwrap(), Some(Factor::Totp));
    let new = factors.new_recovery_codes(&user).await.unwrap().unwrap();
    assert_eq!(factors.check(&user, new[0].expose()).await.unwrap(), Some(Factor::RecoveryCode { left: 9 }));
}

#[actix_web::test]
async fn nothing_is_copied_before_the_first_keys_are_published() {
    let clock = Arc::new(ManualClock::at(START));
    let dir = tempfile::tempdir().unwrap();
    let config = Config::for_tests(dir.path());
    let entropy = Arc::new(SeededEntropy::new(1));
    let ground = Ground { store: MemoryStore::new(clock.clone()), clock, entropy };
    let app = App::open(&config, ground.clone()).await.unwrap();
    let parts = app::key_ring_parts(&config, &ground).unwrap();
    for purpose in [Purpose::Backup, Purpose::Move] {
        let refused = copy_for(&parts, purpose).await;
        assert!(matches!(refused, Err(BackupError::NeverPublished)), "{refused:?}");
    }
    backup::refuse_unfinished(parts.store.as_ref()).await.unwrap();
    app.rotate().await.unwrap();
    copy_for(&parts, Purpose::Backup).await.unwrap();
    drop(app);
}

#[actix_web::test]
async fn who_takes_a_copy_has_an_hour() {
    use futures_util::StreamExt as _;
    let world = world().await;
    // More than what may wait to be taken.
    let [table, ..] = signet::users::API_KEY_TABLES;
    for number in 0..40_u32 {
        let put = Put::lasting(vec![b'{'; 1024 * 1024]);
        let batch = Batch::new().put(table, number.to_be_bytes(), Condition::Absent, put);
        assert_eq!(world.services().store.commit(batch).await.unwrap(), Committed::Applied);
    }
    let admin = signet::protocol::admin::Administrator::operator("ada".to_owned());
    let mut copy =
        signet::protocol::admin::copies::begin(&world.app.app.state.services, &admin).await.unwrap();
    assert!(copy.next().await.unwrap().is_ok());
    world.app.clock.advance(Duration::from_hours(1));
    let mut last = Ok(());
    while let Some(piece) = copy.next().await {
        last = piece.map(drop);
    }
    assert!(matches!(last, Err(BackupError::Abandoned)), "{last:?}");
    let log = world.app.audit_log();
    let ended = log.lines().find(|line| line.contains("installation.exported")).expect("it is recorded");
    assert!(ended.contains("\"failed\""), "{ended}");
}
