//! Copies that go wrong: a vault that is somebody else's, a restore that is cut off, an installation that was moved and runs on,
//! a store that was put back and nobody said so.

use std::io::Cursor;
use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use signet::app::{self, App, Ground, StartError, Witness};
use signet::audit::{Actor, AuditLog, Event, EventKind, Outcome};
use signet::backup::{self, Assurances, BackupError, Contents, Evidence, Purpose};
use signet::clock::{Clock as _, ManualClock};
use signet::config::Config;
use signet::entropy::SeededEntropy;
use signet::keys::{KeyRingParts, StoredKey, StoredState};
use signet::oauth::Algorithm;
use signet::store::{Batch, Committed, Condition, MemoryStore, Put, Store as _, Table};
use signet::users::Factor;

use crate::backup::{copy, copy_for, empty, world};
use crate::faulty_store::{Fault, FaultyStore, WAYS, Written};
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
        backup::import(&target, ISSUER, Cursor::new(&file), Assurances::default()).await.map(drop),
        backup::restore(&target, ISSUER, Cursor::new(&file), Assurances::default()).await.map(drop),
    ] {
        assert!(matches!(refused, Err(BackupError::VaultNotEmpty { keys: 2 })), "{refused:?}");
    }
    assert_eq!(listed(&parts), before);
    // Nor are they when an import that was cut off elsewhere is begun anew over them.
    let (elsewhere, _dir) = empty(&parts);
    backup::restore(&elsewhere, ISSUER, Cursor::new(&file), Assurances::default()).await.unwrap();
    mark(&elsewhere, "import").await;
    let there = KeyRingParts { vault: parts.vault.clone(), ..elsewhere };
    let refused = backup::restore(&there, ISSUER, Cursor::new(&file), Assurances::default()).await.map(drop);
    assert!(matches!(refused, Err(BackupError::VaultNotEmpty { .. })), "{refused:?}");
    assert_eq!(listed(&parts), before);
    assert!(world.app.is_active(&world.app.demo_token().await).await);
}

/// A store that takes rows and does not keep them as they are: whatever happens to one before the import has read all of them again is
/// noticed, and nothing is served.
#[actix_web::test]
async fn what_the_target_has_lost_since_it_was_written_is_noticed() {
    let world = world().await;
    let parts = world.app.parts();
    let (file, contents) = copy(&parts).await;
    let clients = Table::mirrored("clients");
    let (key, row) = parts.store.scan(clients, None, 1).await.unwrap().remove(0);
    let put =
        |key: &[u8], value: Vec<u8>| Batch::new().put(clients, key, Condition::Always, Put::lasting(value));
    let harms = [
        (Batch::new().delete(clients, key.clone(), Condition::Always), "a row is missing"),
        (put(&key, [row.value.as_slice(), b" "].concat()), "the checksum is another"),
        (put(b"~", row.value), "there is a row that the copy does not have"),
    ];
    for (harm, told) in harms {
        let mut noticed = 0;
        for at in 1.. {
            let (target, _dir) = empty(&parts);
            let store = FaultyStore::new(world.app.clock.clone());
            let target = KeyRingParts { store: store.clone(), ..target };
            let (harmed, batch) = (store.clone(), harm.clone());
            store.after(at, async move { _ = harmed.commit(batch).await.unwrap() });
            let done = backup::import(&target, ISSUER, Cursor::new(&file), Assurances::default()).await;
            if !store.happened() {
                assert_eq!(done.unwrap(), contents, "what it says is what was read");
                break;
            }
            if let Err(BackupError::NotAsCopied { place, what }) = done {
                assert_eq!((place.contains("clients") || place == "all", what.as_str()), (true, told));
                assert!(backup::refuse_unfinished(store.as_ref()).await.unwrap_err().is_unfinished());
                noticed += 1;
                // The same command begins anew.
                backup::import(&target, ISSUER, Cursor::new(&file), Assurances::default()).await.unwrap();
            }
        }
        assert!(noticed > 0, "{told}");
    }
}

#[actix_web::test]
async fn a_private_key_that_the_target_has_lost_is_noticed() {
    let world = world().await;
    let parts = world.app.parts();
    let (file, _) = copy(&parts).await;
    let mut noticed = false;
    for at in 1.. {
        let (target, dir) = empty(&parts);
        let store = FaultyStore::new(world.app.clock.clone());
        let target = KeyRingParts { store: store.clone(), ..target };
        let keys = dir.path().to_owned();
        store.after(at, async move {
            for file in std::fs::read_dir(keys).unwrap() {
                std::fs::remove_file(file.unwrap().path()).unwrap();
            }
        });
        let done = backup::import(&target, ISSUER, Cursor::new(&file), Assurances::default()).await;
        noticed |= matches!(done, Err(BackupError::NotAsCopied { place, .. }) if place == "the vault");
        if !store.happened() {
            break;
        }
    }
    assert!(noticed);
}

#[actix_web::test]
async fn a_restore_in_place_destroys_no_key_of_a_wrong_directory_unless_told_so() {
    let world = world().await;
    let parts = world.app.parts();
    let (file, _) = copy(&parts).await;
    let (target, dir) = empty(&parts);
    backup::import(&target, ISSUER, Cursor::new(&file), Assurances::default()).await.unwrap();
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
    way: (Fault, bool),
    command: C,
) {
    let clock = Arc::new(ManualClock::at(START));
    for at in 1.. {
        let store = FaultyStore::new(clock.clone());
        let (other, _dir) = empty(parts);
        let target = KeyRingParts { store: store.clone(), ..other };
        let contents = command(&target).await.unwrap();
        mark(&target, "import").await;
        store.fail(at, way);
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
            assert_eq!(way.0, Fault::AnswerLost);
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
    for way in WAYS {
        cut_off_anywhere(&parts, way, async |target: &KeyRingParts| {
            let imported = backup::import(target, ISSUER, Cursor::new(&file), Assurances::default()).await?;
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
    for way in WAYS {
        cut_off_anywhere(&parts, way, async |target: &KeyRingParts| {
            Ok(backup::restore(target, ISSUER, Cursor::new(&file), Assurances::default()).await?.0)
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
    let refused = backup::import(&target, ISSUER, Cursor::new(&backup_file), Assurances::default()).await;
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
    backup::import(&target, ISSUER, Cursor::new(&file), Assurances::default()).await.unwrap();
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
async fn a_node_that_runs_while_its_store_is_restored_or_moved_issues_nothing() {
    for word in ["cut-off", "import", "moved"] {
        let clock = Arc::new(ManualClock::at(START));
        let store = SharedStore::new(clock.clone());
        let app = TestApp::start_on(store.clone(), clock.clone(), |_| {}).await;
        app.demo_token().await;
        mark(&app.parts(), word).await;
        assert!(app.app.follow().await.is_err() && app.app.tidy().await.is_err(), "{word}");
        app.token(app.demo(), "").await.refused(503, "temporarily_unavailable");
        // Nor does it touch the keys, or come back while that lasts.
        let ring = store.get(Table::mirrored("keys"), b"ring").await.unwrap();
        clock.advance(Duration::from_hours(24 * 365));
        app.app.rotate().await.unwrap_err();
        app.token(app.demo(), "").await.refused(503, "temporarily_unavailable");
        assert_eq!(store.get(Table::mirrored("keys"), b"ring").await.unwrap(), ring, "{word}");
        let commits = store.commits.load(SeqCst);
        app.app.replenish().await.unwrap_err();
        assert_eq!(store.commits.load(SeqCst), commits, "{word}: no status list is put there");
    }
}

/// What whoever moves or restores an installation does, less the copy.
async fn leave_or_restore(parts: &KeyRingParts, moves: bool) -> Result<(), BackupError> {
    parts.fitness.compare_with(parts.store.as_ref()).await.unwrap();
    if moves {
        copy_for(parts, Purpose::Move).await.map(drop)
    } else {
        backup::restore_in_place(parts, Assurances::default()).await.map(drop)
    }
}

#[actix_web::test]
async fn a_node_that_starts_while_its_store_is_restored_or_moved_is_seen() {
    for moves in [true, false] {
        let clock = Arc::new(ManualClock::at(START));
        let store = SharedStore::new(clock.clone());
        let app = TestApp::start_on(store.clone(), clock.clone(), |_| {}).await;
        // As if it had not announced itself yet: whoever restores or moves looks, and sees nobody.
        app.app.state.services.nodes.leave().await.unwrap();
        backup::refuse_running_nodes(store.as_ref()).await.unwrap();
        let ring = store.get(Table::mirrored("keys"), b"ring").await.unwrap();
        let (release, parts) = (store.hold_next_commit(), app.parts());
        let meanwhile = async {
            while store.holds_next_commit() {
                tokio::task::yield_now().await;
            }
            app.app.announce().await.unwrap();
            drop(release);
        };
        let (done, ()) = futures_util::future::join(leave_or_restore(&parts, moves), meanwhile).await;
        assert!(matches!(done, Err(BackupError::NodesRun(_))), "{done:?}");
        // Nothing was done, and the node goes on.
        backup::refuse_unfinished(store.as_ref()).await.unwrap();
        assert_eq!(store.get(Table::mirrored("keys"), b"ring").await.unwrap(), ring);
        app.app.follow().await.unwrap();
        app.demo_token().await;
        // The operator may know better.
        let assurances = Assurances { nodes_stopped: true, ..Assurances::default() };
        backup::restore_in_place(&parts, assurances).await.unwrap();
    }
}

#[actix_web::test]
async fn a_node_that_starts_while_its_store_is_restored_or_moved_sees_that() {
    for moves in [true, false] {
        let clock = Arc::new(ManualClock::at(START));
        let store = SharedStore::new(clock.clone());
        let app = TestApp::start_on(store.clone(), clock.clone(), |_| {}).await;
        let old = app.demo_token().await;
        app.app.state.services.nodes.leave().await.unwrap();
        // It is about to announce itself: nobody sees it yet.
        let (release, parts) = (store.hold_next_commit(), app.parts());
        let announcing = async { if moves { app.app.announce().await } else { app.app.join().await } };
        let (announced, done) = futures_util::future::join(announcing, async {
            while store.holds_next_commit() {
                tokio::task::yield_now().await;
            }
            let done = leave_or_restore(&parts, moves).await;
            drop(release);
            done
        })
        .await;
        done.unwrap();
        if moves {
            let message = announced.unwrap_err().to_string();
            assert!(message.contains("was moved elsewhere"), "{message}");
            app.token(app.demo(), "").await.refused(503, "temporarily_unavailable");
            // Nor does it serve at all, and takes leave: nobody has to wait for it.
            assert!(backup::refuse_running_nodes(store.as_ref()).await.is_err());
            app.app.join().await.unwrap_err();
            backup::refuse_running_nodes(store.as_ref()).await.unwrap();
        } else {
            // It is over already; but what the node has in memory is of before.
            assert!(
                matches!(announced, Err(StartError::Backup(BackupError::RestoredSince))),
                "{announced:?}"
            );
            let app = app.restart(|_| {}).await;
            assert!(!app.is_active(&old).await);
            assert!(app.is_active(&app.demo_token().await).await);
        }
    }
}

#[actix_web::test]
async fn a_move_that_was_refused_before_stays_one() {
    let clock = Arc::new(ManualClock::at(START));
    let store = SharedStore::new(clock.clone());
    let app = TestApp::start_on(store.clone(), clock.clone(), |_| {}).await;
    let parts = app.parts();
    mark(&parts, "moved").await;
    // The node still runs: neither is a second copy taken, nor is what was written taken back.
    for moves in [true, false] {
        let refused = leave_or_restore(&parts, moves).await;
        assert!(matches!(refused, Err(BackupError::NodesRun(_))), "{refused:?}");
        let still = backup::refuse_unfinished(store.as_ref()).await;
        assert!(matches!(still, Err(BackupError::Moved)), "{still:?}");
    }
}

/// What the service is called.
fn node(app: &TestApp) -> String {
    Config::for_tests(app.dir()).node
}

/// The store was put back to what it was `ago`.
async fn put_back(app: &TestApp, ago: i64) {
    let at = app.clock.now() - chrono::Duration::minutes(ago);
    let store = app.app.state.services.store.as_ref();
    backup::note_seen(store, &node(app), (at, 0), None).await.unwrap();
}

#[actix_web::test]
async fn that_a_store_was_put_back_is_known_until_somebody_sets_a_cut_off() {
    let app = TestApp::start().await;
    assert_eq!(app.app.evidence, []);
    put_back(&app, 10).await;
    let mut app = app.restart(|_| {}).await;
    let [evidence] = <[Evidence; 1]>::try_from(app.app.evidence.clone()).expect("it is noticed");
    assert!(evidence.what.contains("the audit log beside it goes on"), "{evidence:?}");
    // What was noticed once is not forgotten by running on.
    for _ in 0..2 {
        app.pass(Duration::from_mins(10)).await;
        app = app.restart(|_| {}).await;
        assert_eq!(app.app.evidence, from_ref(&evidence));
    }
    // A copy of it is one of a store that was put back.
    let parts = app.parts();
    let (file, _) = copy(&parts).await;
    let (moved, _dir) = empty(&parts);
    backup::import(&moved, ISSUER, Cursor::new(&file), Assurances::default()).await.unwrap();
    assert_eq!(backup::read_evidence(moved.store.as_ref()).await.unwrap(), from_ref(&evidence));
    backup::restore_in_place(&moved, Assurances::default()).await.unwrap();
    assert_eq!(backup::read_evidence(moved.store.as_ref()).await.unwrap(), []);
    // It is put back again: that is something else, and dismissing the one does not dismiss the other.
    app.clock.advance(Duration::from_hours(1));
    let done = Event::new(EventKind::ClientDeleted, Actor::Operator("ada".into()));
    app.app.state.services.audit.record(done).await.unwrap();
    put_back(&app, 30).await;
    drop(parts);
    let app = app.restart(|_| {}).await;
    let [first, second] = <[Evidence; 2]>::try_from(app.app.evidence.clone()).unwrap();
    assert_eq!(first, evidence);
    let dismiss = async |at| {
        let store = app.app.state.services.store.as_ref();
        backup::dismiss_evidence(store, at).await.unwrap();
        backup::read_evidence(store).await.unwrap()
    };
    let another = first.noticed_at + chrono::Duration::milliseconds(1);
    assert_eq!(dismiss(another).await, [first.clone(), second.clone()]);
    assert_eq!(dismiss(first.noticed_at).await, from_ref(&second));
    assert_eq!(dismiss(second.noticed_at).await, []);
    let app = app.restart(|_| {}).await;
    assert_eq!(app.app.evidence, []);
}

/// The audit logs of nodes over one store.
struct Logs {
    clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
    dir: tempfile::TempDir,
}

impl Logs {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(START));
        Self { store: MemoryStore::new(clock.clone()), clock, dir: tempfile::tempdir().unwrap() }
    }

    fn open(&self, node: &str) -> Arc<AuditLog> {
        AuditLog::open_of_node(&self.dir.path().join(node), self.clock.clone(), node).unwrap()
    }

    async fn look(&self, node: &str, audit: &AuditLog) -> Vec<Evidence> {
        let witness = Witness { node, audit, clock: self.clock.as_ref() };
        witness.look(self.store.as_ref()).await.unwrap()
    }

    async fn note(&self, node: &str) {
        backup::note_seen(self.store.as_ref(), node, (self.clock.now(), 0), None).await.unwrap();
    }
}

fn deleted(client: &str) -> Event {
    let client = signet::oauth::ClientId::parse(client).unwrap();
    Event::new(EventKind::ClientDeleted, Actor::Operator("ada".into())).client(&client)
}

#[tokio::test]
async fn a_node_that_did_nothing_wipes_out_no_trace_that_another_has() {
    let logs = Logs::new();
    let (busy, idle) = (logs.open("busy"), logs.open("idle"));
    idle.record(deleted("a")).await.unwrap();
    // The store is what it was then.
    logs.note("busy").await;
    logs.note("idle").await;
    logs.clock.advance(Duration::from_hours(1));
    busy.record(deleted("b")).await.unwrap();
    assert_eq!(logs.look("idle", &idle).await, []);
    let noticed = logs.look("busy", &busy).await;
    assert_eq!(noticed.iter().map(|each| each.node.as_str()).collect::<Vec<_>>(), ["busy"]);
    assert_eq!(logs.look("idle", &idle).await, noticed, "every node says so");
    // A cut-off counts for all nodes, also for those that have not looked yet.
    logs.note("idle").await;
    logs.clock.advance(Duration::from_hours(1));
    idle.record(deleted("c")).await.unwrap();
    backup::forget_evidence(logs.store.as_ref(), logs.clock.now()).await.unwrap();
    assert_eq!(logs.look("idle", &idle).await, []);
}

#[tokio::test]
async fn a_store_that_is_put_back_after_years_is_noticed() {
    let logs = Logs::new();
    let audit = logs.open("n");
    logs.note("n").await;
    logs.clock.advance(Duration::from_hours(24 * 365 * 3));
    audit.record(deleted("a")).await.unwrap();
    assert_eq!(logs.look("n", &audit).await.len(), 1);
}

#[tokio::test]
async fn however_many_nodes_there_were_no_commit_changes_many_rows() {
    let clock = Arc::new(ManualClock::at(START));
    let store = FaultyStore::new(clock.clone());
    for number in 0..300 {
        backup::note_seen(store.as_ref(), &format!("pod-{number}"), (clock.now(), 0), None).await.unwrap();
        let what = (&*format!("pod-{number}"), "it was put back".to_owned());
        backup::note_evidence(store.as_ref(), what, clock.now()).await.unwrap();
    }
    clock.advance(Duration::from_hours(1));
    let written = || std::mem::take(&mut *store.written.lock().unwrap());
    written();
    backup::forget_evidence(store.as_ref(), clock.now()).await.unwrap();
    let Written { commits, rows, .. } = written();
    // With that of where it was moved from.
    assert_eq!((commits, rows), (5, 601));
    assert_eq!(backup::last_seen(store.as_ref(), "pod-299").await.unwrap().unwrap().at, clock.now());
}

#[tokio::test]
async fn what_was_refused_or_failed_is_no_trace_and_hides_none() {
    let logs = Logs::new();
    let audit = logs.open("n");
    let refused = async || {
        for _ in 0..150 {
            let event = Event::new(EventKind::SignInFailed, Actor::Anonymous);
            audit.record(event.outcome(Outcome::Refused)).await.unwrap();
        }
    };
    audit.record(deleted("a")).await.unwrap();
    logs.note("n").await;
    // An hour during which the store is away.
    logs.clock.advance(Duration::from_hours(1));
    refused().await;
    for client in ["b", "c"] {
        audit.record(deleted(client)).await.unwrap();
        audit.record(deleted(client).outcome(Outcome::Failed)).await.unwrap();
    }
    audit.record(Event::new(EventKind::ServiceStopped, Actor::Service)).await.unwrap();
    assert_eq!(logs.look("n", &audit).await, []);
    // One that was done, below many that were not.
    logs.note("n").await;
    logs.clock.advance(Duration::from_hours(1));
    audit.record(deleted("b")).await.unwrap();
    audit.record(deleted("c").outcome(Outcome::Failed)).await.unwrap();
    refused().await;
    assert_eq!(logs.look("n", &audit).await.len(), 1);
}

#[tokio::test]
async fn an_audit_log_that_was_moved_away_is_told_of_in_the_next() {
    let logs = Logs::new();
    let audit = logs.open("n");
    logs.note("n").await;
    for client in ["a", "b", "c"] {
        audit.record(deleted(client)).await.unwrap();
    }
    // As the service does once a minute.
    assert_eq!(logs.look("n", &audit).await, []);
    drop(audit);
    let path = logs.dir.path().join("n");
    assert!(!std::fs::read_to_string(&path).unwrap().contains("audit.begun_anew"));
    std::fs::rename(&path, logs.dir.path().join("moved")).unwrap();
    let audit = logs.open("n");
    for _ in 0..2 {
        assert_eq!(logs.look("n", &audit).await, []);
        let log = std::fs::read_to_string(&path).unwrap();
        assert_eq!(log.matches("audit.begun_anew").count(), 1, "{log}");
        assert!(log.contains(r#""entries":0,"entries_before":3"#), "{log}");
    }
}

/// However many are cut off, and whatever the opening itself records because of it: half a line is taken for what a power cut
/// left, and an altered one for what the disk did, each with an entry that would stand for one that is gone.
#[tokio::test]
async fn as_many_entries_as_the_opening_records_are_missed_all_the_same() {
    const ENTRIES: usize = 6;
    for (torn, altered) in [(false, false), (true, false), (false, true), (true, true)] {
        for cut in 1..=3 {
            let logs = Logs::new();
            let (audit, path) = (logs.open("n"), logs.dir.path().join("n"));
            logs.note("n").await;
            for number in 0..ENTRIES {
                audit.record(deleted(&format!("c{number}"))).await.unwrap();
            }
            assert_eq!(logs.look("n", &audit).await, []);
            drop(audit);
            let whole = std::fs::read_to_string(&path).unwrap();
            let mut lines: Vec<_> = whole.split_inclusive('\n').map(str::to_owned).collect();
            let first_cut = lines[ENTRIES - cut].clone();
            lines.truncate(ENTRIES - cut);
            if altered {
                lines[0] = lines[0].replace("c0", "cX");
            }
            if torn {
                lines.push(first_cut[..first_cut.len() / 2].to_owned());
            }
            std::fs::write(&path, lines.concat()).unwrap();
            let audit = logs.open("n");
            for _ in 0..2 {
                logs.look("n", &audit).await;
                let log = std::fs::read_to_string(&path).unwrap();
                let case = format!("cut {cut}, torn {torn}, altered {altered}: {log}");
                assert_eq!(log.matches("audit.begun_anew").count(), 1, "{case}");
                let told = format!(r#""entries":{},"entries_before":{ENTRIES}"#, ENTRIES - cut);
                assert!(log.contains(&told), "{case}");
                let recorded = ["audit.tail_cut", "audit.damaged"].map(|kind| log.contains(kind));
                assert_eq!(recorded, [torn, altered], "{case}");
            }
        }
    }
}

#[actix_web::test]
async fn private_keys_that_the_ring_does_not_know_are_remembered_too() {
    let app = TestApp::start().await;
    let vault = app.parts().vault;
    let stray = vault.generate(Algorithm::ES256).unwrap().kid().clone();
    vault.keep(&stray).unwrap();
    let app = app.restart(|_| {}).await;
    assert!(app.app.evidence[0].what.contains("private keys"));
    vault.destroy(&stray).unwrap();
    let app = app.restart(|_| {}).await;
    assert_eq!(app.app.evidence.len(), 1);
}

#[actix_web::test]
async fn offline_commands_and_a_mended_audit_log_are_no_evidence() {
    let app = TestApp::start().await;
    app.clock.advance(Duration::from_hours(1));
    let services = &app.app.state.services;
    let (store, audit, clock) = (services.store.clone(), services.audit.clone(), services.clock.clone());
    // As an offline command does, an hour after the service was stopped.
    let witness = Witness { node: &node(&app), audit: &audit, clock: clock.as_ref() };
    assert_eq!(witness.look(store.as_ref()).await.unwrap(), []);
    audit.record(Event::new(EventKind::KeysRekeyed, Actor::Operator("ada".into()))).await.unwrap();
    drop((store, audit));
    let app = app.restart(|_| {}).await;
    assert_eq!(app.app.evidence, []);
    // An hour after a crash in the middle of a line.
    app.clock.advance(Duration::from_hours(1));
    let path = app.dir().join("data/audit.jsonl");
    let log = app.audit_log();
    std::fs::write(&path, format!("{log}{{\"seq\":")).unwrap();
    let app = app.restart(|_| {}).await;
    assert!(app.audit_log().contains("audit.tail_cut"));
    assert_eq!(app.app.evidence, []);
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
            let (_, restored) =
                backup::restore(parts, ISSUER, Cursor::new(&file), Assurances::default()).await.unwrap();
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
