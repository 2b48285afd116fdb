//! Copies of an installation: what they hold, that nobody can forge one, and that what was spent or revoked after one
//! was taken stays so when it is put back.

use std::io::Cursor;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::http::Method;
use async_trait::async_trait;
use serde_json::json;
use signet::backup::{self, Assurances, BackupError, Contents, NewFile, Purpose, Restored, Sink};
use signet::clock::{Clock as _, ManualClock};
use signet::config::{Config, KekSource};
use signet::entropy::SeededEntropy;
use signet::keys::{DirectoryVault, Kek, KeyRingParts, StoreVault, StoredKey};
use signet::oauth::{Algorithm, Resource, Scope, Secret};
use signet::protocol::users::end_session;
use signet::store::postgres::TimeSource;
use signet::store::{Batch, Committed, Condition, MemoryStore, Put, Store};
use signet::tokens::Grant;
use signet::users::{ApiKeyOwner, Asker, Authentication, NewApiKey, NewSession, StartedSession};
use signet::verify::{
    Fetch, FetchError, FetchRequest, Fetched, HttpFetch, HttpFetchSettings, Refusal, Verifier,
};
use url::Url;

use crate::grants_fixture::{World, pair};
use crate::postgres_fixture::Database;
use crate::resource_server_fixture::listen;
use crate::test_app::{ISSUER, RESOURCE, START, TestApp, basic, bearer, form};

const HOUR: Duration = Duration::from_hours(1);

/// Keeps a copy in memory.
#[derive(Default)]
struct Buffer(Vec<u8>);

#[async_trait]
impl Sink for Buffer {
    async fn take(&mut self, bytes: Vec<u8>) -> Result<(), BackupError> {
        self.0.extend(bytes);
        Ok(())
    }
}

/// Everything that is issued would live for longer than what is lost.
pub(crate) fn settings(config: &mut Config) {
    config.keys.kek = KekSource::Value(Secret::new("5e".repeat(32)));
    config.codes.lifetime = 3 * HOUR;
    config.tokens.lifetime = 3 * HOUR;
    config.tokens.longest_lifetime = 3 * HOUR;
}

pub(crate) async fn world() -> World {
    World::start_with(json!({}), settings).await
}

/// A copy that can be moved; the installation goes on all the same, against the rule.
pub(crate) async fn copy(parts: &KeyRingParts) -> (Vec<u8>, Contents) {
    let copied = copy_for(parts, Purpose::Move).await.unwrap();
    let batch = Batch::new().delete(backup::INSTALLATION, "unfinished", Condition::Always);
    assert_eq!(parts.store.commit(batch).await.unwrap(), Committed::Applied);
    copied
}

pub(crate) async fn copy_for(
    parts: &KeyRingParts,
    purpose: Purpose,
) -> Result<(Vec<u8>, Contents), BackupError> {
    let mut buffer = Buffer::default();
    let contents =
        backup::export(parts, &SeededEntropy::new(3), ISSUER, (purpose, Assurances::default()), &mut buffer)
            .await?;
    Ok((buffer.0, contents))
}

/// The parts of an empty installation in memory, with a vault of its own.
pub(crate) fn empty(like: &KeyRingParts) -> (KeyRingParts, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = MemoryStore::new(like.clock.clone());
    let vault = DirectoryVault::open(dir.path(), like.kek.clone(), Arc::new(SeededEntropy::new(5))).unwrap();
    (KeyRingParts { store, vault: Arc::new(vault), ..like.clone() }, dir)
}

/// What somebody holds of a service.
#[derive(Default)]
struct Held {
    codes: Vec<String>,
    access: Vec<String>,
    refresh: Vec<String>,
    sessions: Vec<StartedSession>,
    api_keys: Vec<(String, Secret)>,
}

impl Held {
    async fn take_tokens(&mut self, world: &World) {
        let (access, refresh) = world.tokens().await;
        self.access.push(access);
        self.refresh.push(refresh);
    }

    async fn take_session(&mut self, world: &World) {
        let authentication = Authentication { auth_time: world.app.now(), amr: vec![] };
        let user = world.account.id.clone();
        let new = NewSession { user, authentication, user_agent: None, address: None };
        let started = world.services().sessions.start(new).await.unwrap();
        self.sessions.push(started);
    }

    async fn take_api_key(&mut self, world: &World) {
        let new = NewApiKey {
            name: "ci".into(),
            owner: ApiKeyOwner::User(world.account.id.clone()),
            scope: Scope::parse("read").unwrap(),
            resources: vec![Resource::parse(RESOURCE).unwrap()],
            expires_at: None,
        };
        let created = world.services().api_keys.create(new).await.unwrap();
        self.api_keys.push((created.key.id.as_str().to_owned(), created.secret));
    }

    async fn take_one_of_each(&mut self, world: &World) {
        self.codes.push(world.code().await);
        self.take_tokens(world).await;
        self.take_session(world).await;
        self.take_api_key(world).await;
    }

    /// What of it the service accepts.
    async fn accepted(&self, world: &World) -> Vec<String> {
        let mut accepted = Vec::new();
        for token in &self.access {
            if world.is_active(token).await {
                accepted.push(format!("access token {token}"));
            }
        }
        for started in &self.sessions {
            if world.services().sessions.find(&started.cookie).await.unwrap().is_some() {
                accepted.push("a session".to_owned());
            }
        }
        for (id, secret) in &self.api_keys {
            if world.services().api_keys.authenticate(secret.expose()).await.unwrap().is_some() {
                accepted.push(format!("API key {id}"));
            }
        }
        // Last: what is spent twice ends others.
        for code in &self.codes {
            let answer = world.redeem(code).await;
            if answer.status != 400 || answer.json()["error"] != "invalid_grant" {
                accepted.push(format!("code {code}: {answer:?}"));
            }
        }
        for token in &self.refresh {
            let answer = world.refresh(token).await;
            if answer.status != 400 || answer.json()["error"] != "invalid_grant" {
                accepted.push(format!("refresh token {token}: {answer:?}"));
            }
        }
        accepted
    }
}

/// Lets an hour go by in which things are issued, spent, refreshed, revoked, signed out of and rotated, in an order that
/// `seed` decides.
async fn lost_hour(world: &World, held: &mut Held, seed: u64) {
    let chance = SeededEntropy::new(seed);
    let draw = |below: usize| {
        let chance: &dyn signet::entropy::Entropy = &chance;
        usize::from(u16::from_be_bytes(chance.bytes())) % below
    };
    for _ in 0..30 {
        match draw(10) {
            0 => held.codes.push(world.code().await),
            1 => held.take_tokens(world).await,
            2 => held.take_session(world).await,
            3 => held.take_api_key(world).await,
            4 => {
                let code = held.codes[draw(held.codes.len())].clone();
                let answer = world.redeem(&code).await;
                if answer.status == 200 {
                    let (access, refresh) = pair(&answer);
                    held.access.push(access);
                    held.refresh.push(refresh);
                }
            }
            5 => {
                let token = held.refresh[draw(held.refresh.len())].clone();
                let answer = world.refresh(&token).await;
                if answer.status == 200 {
                    let (access, refresh) = pair(&answer);
                    held.access.push(access);
                    held.refresh.push(refresh);
                }
            }
            6 => {
                let token = &held.access[draw(held.access.len())];
                let request = world.as_client(form("/oauth2/revoke", &format!("token={token}")));
                assert_eq!(world.app.send(request).await.status, 200);
            }
            7 => {
                let session = &held.sessions[draw(held.sessions.len())].session;
                end_session(world.services(), &session.user, &session.sid).await.unwrap();
            }
            8 => {
                let (id, _) = &held.api_keys[draw(held.api_keys.len())];
                world.services().api_keys.revoke(id).await.ok();
            }
            _ => {
                world.services().keys.rotate(None, true).await.unwrap();
            }
        }
        world.app.pass(HOUR / 30).await;
    }
}

/// The service as it was when `copy` was taken, put back in one of two ways.
async fn put_back(world: World, copy: &[u8], in_place: bool) -> (World, Restored) {
    put_back_on(None, world, copy, in_place).await
}

/// The same on another store, which is empty, than one below its directory.
async fn put_back_on(
    store: Option<Arc<dyn Store>>,
    world: World,
    copy: &[u8],
    in_place: bool,
) -> (World, Restored) {
    let World { app, client, account } = world;
    let restored = Mutex::new(None);
    let elsewhere = app.elsewhere_on(store, async |parts| {
        let done = if in_place {
            // As if the directory had been copied.
            backup::import(parts, ISSUER, Cursor::new(copy), Assurances::default()).await.unwrap();
            backup::restore_in_place(parts, Assurances::default()).await.unwrap()
        } else {
            backup::restore(parts, ISSUER, Cursor::new(copy), Assurances::default()).await.unwrap().1
        };
        *restored.lock().unwrap() = Some(done);
    });
    let app = Box::pin(elsewhere).await;
    (World { app, client, account }, restored.into_inner().unwrap().unwrap())
}

/// What is left of a lost hour after a restore of the copy before it, into `store`.
async fn nothing_counts_after(seed: u64, world: World, store: Option<Arc<dyn Store>>) {
    let mut held = Held::default();
    held.take_one_of_each(&world).await;
    held.take_one_of_each(&world).await;
    // A copy that can be moved is refused while nodes run. This one goes on all the same.
    world.app.app.leave().await;
    let (copy, _) = copy(&world.app.parts()).await;
    world.app.pass(Duration::ZERO).await;
    lost_hour(&world, &mut held, seed).await;
    let (world, restored) = put_back_on(store, world, &copy, seed.is_multiple_of(2)).await;
    assert!(!restored.condemned.kids.is_empty());
    let accepted = held.accepted(&world).await;
    assert!(accepted.is_empty(), "seed {seed}: {accepted:#?}");
    // Whoever signs in anew is served at once.
    let (access, refresh) = world.tokens().await;
    assert!(world.is_active(&access).await);
    assert_eq!(world.refresh(&refresh).await.status, 200);
    assert!(world.app.is_active(&world.app.demo_token().await).await);
}

#[actix_web::test]
async fn nothing_of_the_lost_hour_counts_after_a_restore() {
    for seed in 0..20 {
        nothing_counts_after(seed, world().await, None).await;
    }
    println!("20 restores of a copy that was an hour old: 0 of what was spent or revoked since accepted");
}

/// Four times, unless `SIGNET_TEST_RESTORES` says.
#[actix_web::test]
async fn nothing_of_the_lost_hour_counts_after_a_restore_in_postgres() {
    let restores = std::env::var("SIGNET_TEST_RESTORES").map_or(4, |text| text.parse().unwrap());
    for seed in 0..restores {
        let clock = Arc::new(ManualClock::at(START));
        let time = || TimeSource::Injected(clock.clone());
        let Some(database) = Database::fresh().await else { return };
        let Some(another) = Database::fresh().await else { return };
        let app = TestApp::start_on(database.store(time()).await, clock.clone(), settings).await;
        let world = World::on(app, json!({})).await;
        nothing_counts_after(seed, world, Some(another.store(time()).await)).await;
    }
    println!(
        "{restores} restores in PostgreSQL of a copy that was an hour old: 0 of what was spent or revoked since accepted"
    );
}

#[actix_web::test]
async fn without_a_cut_off_the_lost_hour_would_count() {
    let world = world().await;
    let mut held = Held::default();
    held.take_one_of_each(&world).await;
    let (copy, _) = copy(&world.app.parts()).await;
    assert_eq!(world.redeem(&held.codes[0]).await.status, 200);
    let request = world.as_client(form("/oauth2/revoke", &format!("token={}", held.access[0])));
    assert_eq!(world.app.send(request).await.status, 200);
    assert_eq!(world.refresh(&held.refresh[0]).await.status, 200);
    let session = &held.sessions[0].session;
    end_session(world.services(), &session.user, &session.sid).await.unwrap();
    world.services().api_keys.revoke(&held.api_keys[0].0).await.unwrap();
    assert!(!world.is_active(&held.access[0]).await);
    let World { app, client, account } = world;
    let app = app
        .elsewhere(async |parts| {
            _ = backup::import(parts, ISSUER, Cursor::new(&copy), Assurances::default()).await.unwrap();
        })
        .await;
    let world = World { app, client, account };
    assert_eq!(held.accepted(&world).await.len(), 5, "each of the five lives again");
}

#[actix_web::test]
async fn api_keys_are_kept_only_on_request() {
    let world = world().await;
    let mut held = Held::default();
    held.take_api_key(&world).await;
    let (copy, _) = copy(&world.app.parts()).await;
    let World { app, client, account } = world;
    let app = app
        .elsewhere(async |parts| {
            _ = backup::restore(
                parts,
                ISSUER,
                Cursor::new(&copy),
                Assurances { keep_api_keys: true, ..Assurances::default() },
            )
            .await
            .unwrap();
        })
        .await;
    let world = World { app, client, account };
    assert_eq!(held.accepted(&world).await.len(), 1);
}

#[actix_web::test]
async fn a_consent_that_may_have_been_taken_back_is_asked_for_again() {
    let world = world().await;
    let Grant { client_id, scope, resources, .. } = world.grant();
    let user = world.account.id.clone();
    let client = Asker { client_id: &client_id, registered_at: world.app.clock.now(), shown_as: None };
    world.services().consents.allow(&user, client, (&resources, &scope)).await.unwrap();
    let (copy, contents) = copy(&world.app.parts()).await;
    assert_eq!(contents.rows["consents"], 1);
    let (world, restored) = put_back(world, &copy, true).await;
    assert_eq!(restored.ended["consents"], 1);
    assert!(world.services().consents.of_user(&user).await.unwrap().is_empty());
}

#[actix_web::test]
async fn a_move_keeps_everything() {
    let world = world().await;
    let mut held = Held::default();
    held.take_one_of_each(&world).await;
    let (copy, before) = copy(&world.app.parts()).await;
    let World { app, client, account } = world;
    let app = app
        .elsewhere(async |parts| {
            assert_eq!(
                backup::import(parts, ISSUER, Cursor::new(&copy), Assurances::default()).await.unwrap(),
                before
            );
        })
        .await;
    let world = World { app, client, account };
    assert_eq!(held.accepted(&world).await.len(), 5);
}

#[actix_web::test]
async fn a_copy_of_a_copy_is_the_same() {
    let world = world().await;
    Held::default().take_one_of_each(&world).await;
    // Over several pages, and longer than a piece of the file.
    for number in 0..1_200_u32 {
        let put = Put::lasting(vec![b'{'; usize::try_from(number % 97 * 13).unwrap()]);
        let [table, ..] = signet::users::API_KEY_TABLES;
        let batch = Batch::new().put(table, number.to_be_bytes(), Condition::Absent, put);
        assert_eq!(world.services().store.commit(batch).await.unwrap(), Committed::Applied);
    }
    let parts = world.app.parts();
    let (first, contents) = copy(&parts).await;
    let (memory, _dir) = empty(&parts);
    assert_eq!(
        backup::import(&memory, ISSUER, Cursor::new(&first), Assurances::default()).await.unwrap(),
        contents
    );
    let (second, of_memory) = copy(&memory).await;
    assert_eq!((&of_memory.sha256, &of_memory.rows), (&contents.sha256, &contents.rows));
    let dir = tempfile::tempdir().unwrap();
    let store = signet::store::SledStore::open(dir.path(), parts.clock.clone()).unwrap();
    let (other, _dir) = empty(&parts);
    let sled = KeyRingParts { store, ..other };
    backup::import(&sled, ISSUER, Cursor::new(&second), Assurances::default()).await.unwrap();
    let (_, of_sled) = copy(&sled).await;
    assert_eq!((of_sled.sha256, of_sled.keys), (contents.sha256, contents.keys));
    assert!(contents.rows["api_keys"] >= 1_200 && contents.keys >= 2);
}

async fn keys_of(parts: &KeyRingParts) -> Vec<StoredKey> {
    let vault = parts.vault.clone();
    tokio::task::spawn_blocking(move || vault.list()).await.unwrap().unwrap()
}

#[actix_web::test]
async fn keys_move_into_memory_and_postgres_and_out_and_a_restore_destroys_them_there() {
    let world = world().await;
    Held::default().take_one_of_each(&world).await;
    let parts = world.app.parts();
    let (file, contents) = copy(&parts).await;
    let clock = parts.clock.clone();
    let mut stores: Vec<Arc<dyn Store>> = vec![MemoryStore::new(clock.clone())];
    if let Some(database) = Database::fresh().await {
        stores.push(database.store(TimeSource::Injected(clock.clone())).await);
    }
    for store in stores {
        let by = (clock.clone(), Arc::new(SeededEntropy::new(6)) as Arc<_>);
        let vault = Arc::new(StoreVault::new(store.clone(), parts.kek.clone(), by));
        let moved = KeyRingParts { store, vault, ..parts.clone() };
        assert_eq!(
            backup::import(&moved, ISSUER, Cursor::new(&file), Assurances::default()).await.unwrap(),
            contents
        );
        let (again, of_store) = copy(&moved).await;
        assert_eq!((&of_store.sha256, &of_store.rows), (&contents.sha256, &contents.rows));
        let (memory, _dir) = empty(&parts);
        backup::import(&memory, ISSUER, Cursor::new(&again), Assurances::default()).await.unwrap();
        let before = keys_of(&moved).await;
        assert_eq!(before, keys_of(&memory).await);
        backup::restore_in_place(&moved, Assurances::default()).await.unwrap();
        let after = keys_of(&moved).await;
        assert!(!after.is_empty() && after.iter().all(|key| !before.contains(key)), "{after:?}");
        // A store with nothing but private keys in it is not empty.
        for table in backup::tables() {
            for (key, _) in moved.store.scan(table, None, usize::MAX).await.unwrap() {
                let batch = Batch::new().delete(table, key, Condition::Always);
                assert_eq!(moved.store.commit(batch).await.unwrap(), Committed::Applied);
            }
        }
        let refused = backup::import(&moved, ISSUER, Cursor::new(&file), Assurances::default()).await;
        assert!(matches!(refused, Err(BackupError::NotEmpty(tables)) if tables == "sealed_keys"));
    }
}

#[actix_web::test]
async fn a_copy_that_was_changed_cut_off_or_forged_is_refused_and_nothing_is_written() {
    let world = world().await;
    let parts = world.app.parts();
    let (whole, _) = copy(&parts).await;
    let (target, _dir) = empty(&parts);
    let refused = async |file: &[u8]| {
        let error =
            backup::import(&target, ISSUER, Cursor::new(file), Assurances::default()).await.unwrap_err();
        for table in backup::tables() {
            assert!(target.store.scan(table, None, 1).await.unwrap().is_empty(), "{}", table.name);
        }
        error.to_string()
    };
    // Magic, version, name of the key, salt, the first frame, somewhere in the rows, the last tag.
    let length = whole.len();
    for at in [0, 14, 15, 16, 31, 32, 63, 64, 65, 100, length / 3, length / 2, length - 17, length - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        let message = refused(&changed).await;
        assert!(message.starts_with("the file can't be used: it"), "byte {at}: {message}");
    }
    for cut in [0, 10, 16, 40, 63, 64, 70, length / 2, length - 16, length - 1] {
        let message = refused(&whole[..cut]).await;
        assert!(message.starts_with("the file can't be used: it"), "{cut}: {message}");
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(refused(&longer).await.contains("damaged, was changed, or was cut off"));
    // Somebody who knows the format, but not the key-encryption key.
    let forger = Arc::new(Kek::parse(&"66".repeat(32), "a test").unwrap());
    let mut forged = Buffer::default();
    let (source, _dir) = empty(&parts);
    let source = KeyRingParts { kek: forger.clone(), ..source };
    let none = backup::export(
        &source,
        &SeededEntropy::new(9),
        ISSUER,
        (Purpose::Backup, Assurances::default()),
        &mut forged,
    )
    .await;
    assert!(matches!(none, Err(BackupError::NoInstallation)), "there is nothing to copy");
    let mut archive = signet::keys::ArchiveWriter::new(&forger, [9; 32]).unwrap();
    archive.write(b"h");
    let mut forged = archive.finish();
    assert!(refused(&forged).await.contains("was sealed under the key-encryption key"));
    forged[16..32].copy_from_slice(&whole[16..32]);
    assert!(refused(&forged).await.contains("damaged, was changed, or was cut off"));
    let other =
        backup::import(&target, "https://other.example", Cursor::new(&whole), Assurances::default()).await;
    assert!(matches!(other, Err(BackupError::Issuer { .. })));
    // And the file itself is good.
    backup::import(&target, ISSUER, Cursor::new(&whole), Assurances::default()).await.unwrap();
}

#[actix_web::test]
async fn only_an_empty_store_is_filled() {
    let world = world().await;
    let parts = world.app.parts();
    let (whole, _) = copy(&parts).await;
    for error in [
        backup::import(&parts, ISSUER, Cursor::new(&whole), Assurances::default())
            .await
            .map(drop)
            .unwrap_err(),
        backup::restore(&parts, ISSUER, Cursor::new(&whole), Assurances::default())
            .await
            .map(drop)
            .unwrap_err(),
    ] {
        assert!(matches!(&error, BackupError::NotEmpty(tables) if tables.contains("clients")), "{error}");
    }
    assert!(world.app.is_active(&world.app.demo_token().await).await);
}

#[actix_web::test]
async fn half_an_import_is_neither_served_nor_copied_and_can_be_begun_anew() {
    let world = world().await;
    let parts = world.app.parts();
    let (whole, contents) = copy(&parts).await;
    let (target, _dir) = empty(&parts);
    // As a crash leaves it: the note, and some rows.
    for (key, value) in [("unfinished", "import"), ("first_clients", "1")] {
        let put = Put::lasting(value.into());
        let batch = Batch::new().put(backup::INSTALLATION, key, Condition::Absent, put);
        assert_eq!(target.store.commit(batch).await.unwrap(), Committed::Applied);
    }
    let refused = backup::refuse_unfinished(target.store.as_ref()).await.unwrap_err().to_string();
    assert!(refused.contains("half of an import"), "{refused}");
    let started = world.app.start_over(target.store.clone()).await;
    assert_eq!(started.err().map(|error| error.to_string()), Some(refused));
    let copied = copy_for(&target, Purpose::Backup).await;
    assert!(matches!(copied, Err(BackupError::Unfinished(_))));
    assert!(matches!(
        backup::restore_in_place(&target, Assurances::default()).await,
        Err(BackupError::Unfinished(_))
    ));
    assert_eq!(
        backup::import(&target, ISSUER, Cursor::new(&whole), Assurances::default()).await.unwrap(),
        contents
    );
    backup::refuse_unfinished(target.store.as_ref()).await.unwrap();
    assert_eq!(copy(&target).await.1.sha256, contents.sha256);
}

#[actix_web::test]
async fn a_cut_off_that_was_cut_off_is_not_served_until_it_is_finished() {
    let world = world().await;
    let parts = world.app.parts();
    let note = Put::lasting(b"cut-off".to_vec());
    let batch = Batch::new().put(backup::INSTALLATION, "unfinished", Condition::Absent, note);
    assert_eq!(parts.store.commit(batch).await.unwrap(), Committed::Applied);
    let message = world.app.start_over(parts.store.clone()).await.err().unwrap().to_string();
    assert!(message.contains("half of a restored installation"), "{message}");
    backup::restore_in_place(&parts, Assurances::default()).await.unwrap();
    backup::refuse_unfinished(parts.store.as_ref()).await.unwrap();
}

#[actix_web::test]
async fn a_copy_of_a_running_service_is_that_of_one_moment() {
    let world = world().await;
    let parts = world.app.parts();
    let (table, pairs) = (signet::users::API_KEY_TABLES[0], 2_000_u32);
    let put = move |batch: Batch, number: u32, value: &[u8]| {
        batch.put(table, number.to_be_bytes(), Condition::Always, Put::lasting(value.to_vec()))
    };
    for number in 0..2 * pairs {
        _ = parts.store.commit(put(Batch::new(), number, b"0")).await.unwrap();
    }
    // Somebody always writes two rows together, one at the beginning and one at the end.
    let (store, done) = (parts.store.clone(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let stop = done.clone();
    let writer = actix_web::rt::spawn(async move {
        let mut round = 0_u32;
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            round += 1;
            let (number, value) = (round * 7 % pairs, round.to_be_bytes());
            let both = put(put(Batch::new(), number, &value), 2 * pairs - 1 - number, &value);
            _ = store.commit(both).await.unwrap();
        }
        round
    });
    let mut copies = Vec::new();
    while copies.len() < 5 {
        copies.push(copy(&parts).await.0);
        tokio::task::yield_now().await;
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(writer.await.unwrap() > 10, "it did write");
    for copy in copies {
        let (target, _dir) = empty(&parts);
        backup::import(&target, ISSUER, Cursor::new(&copy), Assurances::default()).await.unwrap();
        let rows = target.store.scan(table, None, usize::MAX).await.unwrap();
        let values: Vec<_> =
            rows.into_iter().filter(|(key, _)| key.len() == 4).map(|(_, row)| row.value).collect();
        assert_eq!(values.len(), usize::try_from(2 * pairs).unwrap());
        for (one, other) in values.iter().zip(values.iter().rev()) {
            assert_eq!(one, other, "of what was written together, half was copied");
        }
    }
}

#[actix_web::test]
async fn a_file_appears_whole_and_replaces_none() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy");
    let files = || std::fs::read_dir(dir.path()).unwrap().count();
    let mut abandoned = NewFile::create(&path).unwrap();
    abandoned.take(b"half".to_vec()).await.unwrap();
    assert!(!path.exists());
    drop(abandoned);
    assert_eq!(files(), 0);
    let mut file = NewFile::create(&path).unwrap();
    file.take(b"whole".to_vec()).await.unwrap();
    file.keep().unwrap();
    assert_eq!((std::fs::read(&path).unwrap(), files()), (b"whole".to_vec(), 1));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(NewFile::create(&path).unwrap_err().to_string().contains("exists"));
    // One that was made meanwhile stays, too.
    let other = dir.path().join("other");
    let late = NewFile::create(&other).unwrap();
    std::fs::write(&other, "theirs").unwrap();
    assert!(late.keep().is_err());
    assert_eq!((std::fs::read(&other).unwrap(), files()), (b"theirs".to_vec(), 2));
}

#[actix_web::test]
async fn a_copy_shows_nothing_of_what_it_holds() {
    let world = world().await;
    let (copy, _) = copy(&world.app.parts()).await;
    for secret in ["ada@example.com", "Ada Lovelace", world.client().0, "installation", "users", ISSUER] {
        let found = copy.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret}");
    }
}

#[test]
fn every_table_of_the_sources_is_copied() {
    /// Nothing is ever written to the first; which nodes run or left, and what was done to it as a whole, belongs to the store; sealed keys
    /// are copied as the vault's; the others are names for errors.
    const LEFT_OUT: [&str; 7] =
        ["probe", "nodes", "nodes_left", "runs", "sealed_keys", "the change log", "the clock"];
    let copied: Vec<&str> = backup::tables().iter().map(|table| table.name).collect();
    let mut named = Vec::new();
    let mut directories = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            if path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
                || path.ends_with("sled_store/reader.rs")
            {
                continue;
            }
            for start in ["Table::plain(\"", "Table::mirrored(\"", "TABLE: &str = \""] {
                let found = code.split(start).skip(1).filter_map(|rest| rest.split('"').next());
                named.extend(found.map(str::to_owned));
            }
        }
    }
    assert!(named.len() > 20);
    for name in named {
        assert!(
            LEFT_OUT.contains(&name.as_str()) || copied.contains(&name.as_str()),
            "the table {name} is in no copy"
        );
    }
}

/// Finds the issuer wherever it listens now.
struct Moving {
    url: Arc<Mutex<String>>,
    http: HttpFetch,
}

#[async_trait]
impl Fetch for Moving {
    async fn fetch(&self, request: FetchRequest<'_>) -> Result<Fetched, FetchError> {
        let at = self.url.lock().unwrap().clone();
        let url = Url::parse(&request.url.as_str().replace(ISSUER, &at)).unwrap();
        self.http.fetch(FetchRequest { url: &url, ..request }).await
    }
}

#[actix_web::test]
async fn a_resource_server_learns_of_it_by_the_next_status_list_and_accepts_new_tokens_at_once() {
    let world = world().await;
    let url = Arc::new(Mutex::new(listen(&world.app)));
    let verifier = || {
        let fetch = Moving { url: url.clone(), http: HttpFetch::new(HttpFetchSettings::default()).unwrap() };
        let verifier = Verifier::builder(ISSUER).audience(RESOURCE).clock(world.app.clock.clone());
        verifier.fetch(fetch).build().unwrap()
    };
    // One for each token: what one of them learns of the keys must not help the other.
    let (with_caches, another, clock) = (verifier(), verifier(), world.app.clock.clone());
    let (copy, _) = copy(&world.app.parts()).await;
    let before = world.app.demo_token().await;
    with_caches.verify(&before).await.unwrap();
    // The second one is of a key that was made after the copy: whoever restores it never hears of that.
    for _ in 0..2 {
        world.services().keys.rotate(None, true).await.unwrap();
    }
    let of_a_lost_key = world.app.demo_token().await;
    clock.advance(Duration::from_mins(1));
    world.app.app.follow().await.unwrap();
    another.verify(&of_a_lost_key).await.unwrap();
    let (world, _) = put_back(world, &copy, false).await;
    *url.lock().unwrap() = listen(&world.app);
    // The list's `ttl`.
    clock.advance(Duration::from_secs(10));
    world.app.app.rotate().await.unwrap();
    for (verifier, token) in [(&with_caches, &before), (&another, &of_a_lost_key)] {
        let refused = verifier.verify(token).await;
        assert!(matches!(refused, Err(Refusal::Revoked)), "{refused:?}");
    }
    let new = world.app.demo_token().await;
    with_caches.verify(&new).await.unwrap();
}

#[actix_web::test]
async fn a_store_knows_up_to_when_it_was_in_use_and_a_restore_destroys_the_keys_since() {
    let world = world().await;
    let store = world.services().store.clone();
    let now = world.app.clock.now();
    let node = Config::for_tests(world.app.dir()).node;
    let seen = async || backup::last_seen(store.as_ref(), &node).await.unwrap().unwrap();
    assert_eq!(seen().await.at, now);
    // A service that runs keeps up with its log.
    world.app.pass(Duration::from_mins(10)).await;
    assert_eq!(seen().await.at, world.app.clock.now());
    let entries = world.app.audit_log().lines().count() as u64;
    assert_eq!(seen().await.entries, entries);
    // A key of the time that is lost, which the ring does not know.
    let parts = world.app.parts();
    let stray = parts.vault.generate(Algorithm::ES256).unwrap().kid().clone();
    parts.vault.keep(&stray).unwrap();
    backup::restore_in_place(&parts, Assurances::default()).await.unwrap();
    let left = parts.vault.list().unwrap();
    assert!(left.len() >= 2 && left.iter().all(|key| key.kid != stray), "{left:?}");
}

#[actix_web::test]
async fn a_client_that_was_deleted_since_is_back_and_the_operator_is_told() {
    // What is only remembered is as it was: docs/backup.md says what to look at.
    let world = world().await;
    let (copy, _) = copy(&world.app.parts()).await;
    let path = format!("/admin/clients/{}", world.client().0);
    assert_eq!(world.app.administer(Method::DELETE, &path, None).await.status, 204);
    let (world, _) = put_back(world, &copy, false).await;
    let request = form("/oauth2/introspect", "token=x").insert_header(basic(world.client()));
    assert_eq!(world.app.send(request).await.status, 200);
}

#[actix_web::test]
async fn a_store_whose_private_keys_are_gone_can_be_restored_in_place() {
    // A key was replaced and destroyed after the store was copied; its vault was not set back.
    let world = world().await;
    let mut held = Held::default();
    held.take_one_of_each(&world).await;
    let parts = world.app.parts();
    let (copy, _) = copy(&parts).await;
    let World { app, client, account } = world;
    let app = app
        .elsewhere(async |parts| {
            backup::import(parts, ISSUER, Cursor::new(&copy), Assurances::default()).await.unwrap();
            for key in parts.vault.list().unwrap() {
                parts.vault.destroy(&key.kid).unwrap();
            }
            let lost = Assurances { keys_lost: true, ..Assurances::default() };
            backup::restore_in_place(parts, lost).await.unwrap();
        })
        .await;
    let world = World { app, client, account };
    assert_eq!(held.accepted(&world).await, Vec::<String>::new());
    assert!(world.app.is_active(&world.app.demo_token().await).await);
}

#[actix_web::test]
async fn an_administrator_takes_a_copy_of_the_running_service() {
    let world = world().await;
    let mut held = Held::default();
    held.take_one_of_each(&world).await;
    world.app.send(form("/admin/backup", "")).await.refused(401, "invalid_token");
    let token = world.app.demo_token().await;
    let stranger = form("/admin/backup", "").insert_header(bearer(&token));
    assert_eq!(world.app.send(stranger).await.status, 401);
    // The file holds the private keys, however sealed.
    for scope in ["signet:clients", "signet:users", "signet:api-keys", "signet:revocations"] {
        let token = world.app.token(world.app.admin(), &format!("scope={scope}")).await.access_token();
        let other = form("/admin/backup", "").insert_header(bearer(&token));
        world.app.send(other).await.refused(403, "insufficient_scope");
    }
    let answer = world.app.administer(Method::POST, "/admin/backup", None).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/octet-stream")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(world.app.audit_log().contains("installation.exported"));
    let (_, contents) = copy(&world.app.parts()).await;
    let parts = world.app.parts();
    let (target, _dir) = empty(&parts);
    let moved = backup::import(&target, ISSUER, Cursor::new(&answer.body), Assurances::default()).await;
    assert!(matches!(moved, Err(BackupError::NotForMove)), "what was copied goes on");
    let (taken, _) =
        backup::restore(&target, ISSUER, Cursor::new(&answer.body), Assurances::default()).await.unwrap();
    assert_eq!((&taken.sha256, &taken.rows), (&contents.sha256, &contents.rows));
    let log = world.app.audit_log();
    let entries: Vec<&str> = log.lines().filter(|line| line.contains("installation.")).collect();
    assert!(entries[0].contains("installation.copy_begun"), "{entries:?}");
    assert!(entries[1].contains("installation.exported") && entries[1].contains(&taken.sha256));
    // While one is taken there is no other.
    let turn = world.services().copying.clone().try_acquire_owned().unwrap();
    let second = world.app.administer(Method::POST, "/admin/backup", None).await;
    second.refused(409, "conflict");
    drop(turn);
    assert_eq!(world.app.administer(Method::POST, "/admin/backup", None).await.status, 200);
}
