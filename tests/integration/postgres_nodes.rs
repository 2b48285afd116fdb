//! What several nodes of one database do together.

use std::path::Path;
use std::pin::pin;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{Either, join_all, select};
use serde_json::{Value, json};
use signet::app::{App, Ground};
use signet::clock::{Clock as _, ManualClock, SystemClock};
use signet::config::{Config, KekSource, VaultPlace};
use signet::entropy::SystemEntropy;
use signet::oauth::Secret;
use signet::store::postgres::{PostgresOptions, TimeSource};
use signet::store::{Batch, Committed, Condition, Nodes, PostgresStore, Put, Store as _, Table};

use crate::api_keys::{users, users_key};
use crate::postgres_fixture::Database;
use crate::process::{Process, free_port};
use crate::test_app::{ISSUER, TestApp};

/// A key-encryption key in the settings.
const KEK: &str = "abababababababababababababababababababababababababababababababab";

/// Two nodes that share nothing but the database and the key-encryption key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_together_for_the_first_time_have_one_ring_and_one_administrator() {
    let Some(database) = Database::fresh().await else { return };
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut opening = Vec::new();
    for dir in &dirs {
        let mut config = Config::for_tests(dir.path());
        config.keys.vault = VaultPlace::Store;
        config.keys.kek = KekSource::Value(Secret::new("ab".repeat(32)));
        let store = database.store(TimeSource::Database).await;
        let ground = Ground { store, clock: SystemClock::shared(), entropy: SystemEntropy::shared() };
        opening.push(async move { App::open(&config, ground).await.unwrap() });
    }
    let nodes = join_all(opening).await;
    // Nobody writes until both have seen that there are no clients yet.
    let (operator, mut holder) = (database.client().await, database.client().await);
    let held = holder.transaction().await.unwrap();
    held.batch_execute("LOCK TABLE signet_kv IN EXCLUSIVE MODE").await.unwrap();
    let waiting = "SELECT count(*) FROM pg_locks WHERE relation = to_regclass('signet_kv') AND NOT granted";
    let both_wait = async { while operator.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) < 2 {} };
    let first = match select(join_all(nodes.iter().map(App::first_clients)), pin!(both_wait)).await {
        Either::Left(_) => panic!("one of them wrote nothing, or could not"),
        Either::Right(((), first)) => {
            held.rollback().await.unwrap();
            first.await
        }
    };
    assert_eq!(first.into_iter().filter(|first| first.as_ref().unwrap().is_some()).count(), 1);
    for node in &nodes {
        node.rotate().await.unwrap();
    }
    let rings: Vec<_> = nodes.iter().map(|app| app.state.services.keys.version()).collect();
    assert_eq!(rings[0], rings[1]);
    // Keys live in the database alone.
    assert!(dirs.iter().all(|dir| !dir.path().join("keys").exists()));
}

/// Nodes compare their clocks with it, so it must be the server's, wherever it runs.
#[tokio::test]
async fn the_stores_time_is_the_servers_and_a_test_may_bring_its_own() {
    let Some(database) = Database::fresh().await else { return };
    let store = database.store(TimeSource::Database).await;
    let operator = database.client().await;
    // Whole milliseconds, as the store has them.
    let shown = "SELECT floor(extract(epoch from clock_timestamp()) * 1000)::bigint";
    let shown = async || -> DateTime<Utc> {
        let millis = operator.query_one(shown, &[]).await.unwrap().get(0);
        DateTime::from_timestamp_millis(millis).unwrap()
    };
    let before = shown().await;
    let now = store.now().await.unwrap().unwrap();
    assert!(before <= now && now <= shown().await, "{before} {now}");

    let clock = Arc::new(ManualClock::at(1_000_000_000));
    let store = database.store(TimeSource::Injected(clock.clone())).await;
    clock.advance(Duration::from_secs(5));
    assert_eq!(store.now().await.unwrap(), Some(clock.now()));
}

#[actix_web::test]
async fn nodes_of_one_database_know_of_each_other_and_count_an_api_keys_requests_together() {
    let Some(database) = Database::fresh().await else { return };
    let clock = Arc::new(ManualClock::at(1_800_000_000));
    let store = async || database.store(TimeSource::Injected(clock.clone())).await;
    let a = TestApp::start_on(store().await, clock.clone(), |_| {}).await;
    let b = a.another_node(store().await, 2).await;
    let (_, key) = users_key(&a, "users:read").await;
    for node in [&a, &b, &a] {
        node.pass(Duration::from_secs(1)).await;
    }
    assert_eq!([&a, &b].map(|node| node.app.state.services.nodes.live()), [2, 2]);
    let nodes = [&a, &b];
    let asked = (0..130).map(|number| users(nodes[number % 2], ("X-API-Key", key.clone())));
    let admitted = join_all(asked).await.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(admitted, 100, "the limit is the installation's, not each node's");
}

/// Runs `signet` over the database, with the key-encryption key and the data directory in `dir`.
fn signet(dir: &Path, store: &str, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_signet"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .envs([("SIGNET_STORE", store), ("SIGNET_KEYS__VAULT", "store"), ("SIGNET_KEYS_KEK", KEK)])
        .output()
        .unwrap()
}

/// What the server says while its disk is full, or where it fails by itself; and what it says of a row that it will never take.
#[actix_web::test]
async fn a_server_that_refuses_writes_is_named_by_readiness_until_it_takes_one_again() {
    const CODES: Table = Table::plain("codes");
    const CLIENTS: Table = Table::mirrored("clients");
    let Some(database) = Database::fresh().await else { return };
    let clock = Arc::new(ManualClock::at(1_800_000_000));
    let store = database.store(TimeSource::Injected(clock.clone())).await;
    let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
    app.pass(Duration::from_secs(1)).await;
    let operator = database.client().await;
    let says = async || {
        let answer = app.manage("/health/ready").await;
        assert_eq!((answer.status, &answer.json()["ready"]), (200, &json!(true)));
        answer.json()["store"].clone()
    };
    let put = |table| Batch::new().put(table, "k", Condition::Always, Put::lasting(vec![]));
    for (code, named) in
        [("53100", true), ("58030", true), ("XX001", true), ("42501", true), ("23514", false)]
    {
        for table in [CODES, CLIENTS] {
            let refusing = format!(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$;
                 CREATE TRIGGER refuse BEFORE INSERT ON signet_kv FOR EACH ROW EXECUTE FUNCTION refuse()"
            );
            operator.batch_execute(&refusing).await.unwrap();
            assert!(store.commit(put(table)).await.unwrap_err().to_string().contains(code));
            assert_eq!(says().await, if named { "unwritable" } else { "ok" }, "{code}");
            // A batch of which nothing is written says nothing, nor do a sweep and a read; what needs no write goes on.
            let conflicting = Batch::new().check(CODES, "nothing", Condition::VersionIs(1));
            assert_eq!(store.commit(conflicting).await.unwrap(), Committed::Conflict);
            assert_eq!(store.sweep(app.clock.now(), 10).await.unwrap(), 0);
            assert!(app.is_active(&app.demo_token().await).await);
            assert_eq!(says().await, if named { "unwritable" } else { "ok" }, "{code}");
            operator.batch_execute("DROP TRIGGER refuse ON signet_kv; DROP FUNCTION refuse").await.unwrap();
            app.app.announce().await.unwrap();
            assert_eq!(says().await, "ok");
        }
    }
}

/// All connections are in use and wait; a node must still hear of the others, and be heard of, or it would stop issuing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_follows_and_announces_itself_while_all_its_connections_are_in_use() {
    const CODES: Table = Table::plain("codes");
    let Some(database) = Database::fresh().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::for_tests(dir.path());
    config.keys.vault = VaultPlace::Store;
    config.keys.kek = KekSource::Value(Secret::new("ab".repeat(32)));
    let options = PostgresOptions { connections: 3, ..database.options(TimeSource::Database) };
    let store = PostgresStore::open(options).await.unwrap();
    let (clock, entropy) = (SystemClock::shared(), SystemEntropy::shared());
    let app = App::open(&config, Ground { store: store.clone(), clock, entropy }).await.unwrap();
    app.join().await.unwrap();
    while app.follow().await.unwrap() > 0 {}

    let put = || Batch::new().put(CODES, "held", Condition::Always, Put::lasting(vec![]));
    assert_eq!(store.commit(put()).await.unwrap(), Committed::Applied);
    let mut operator = database.client().await;
    let lock = operator.transaction().await.unwrap();
    lock.query_one("SELECT 1 FROM signet_kv WHERE k = 'held'::bytea FOR UPDATE", &[]).await.unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.commit(put()).await })
        })
        .collect();
    while store.load().connections < 2 {
        tokio::task::yield_now().await;
    }
    // What another node has done, which takes a read to be taken in.
    let other = database.store(TimeSource::Database).await;
    let (keys, clients) = (Table::mirrored("keys"), Table::mirrored("clients"));
    let ring = other.get(keys, b"ring").await.unwrap().unwrap();
    let changed = Batch::new().delete(clients, "a-client", Condition::Always);
    let changed = changed.put(keys, "ring", Condition::Always, Put::lasting(ring.value));
    assert_eq!(other.commit(changed).await.unwrap(), Committed::Applied);
    let working = pin!(store.commit(put()));
    let following = pin!(async {
        assert_eq!(app.follow().await.unwrap(), 2);
        app.announce().await.unwrap();
    });
    assert!(matches!(select(working, following).await, Either::Right(_)), "it was to wait");
    assert!(waiting.iter().all(|commit| !commit.is_finished()));
    lock.rollback().await.unwrap();
    for commit in waiting {
        assert_eq!(commit.await.unwrap().unwrap(), Committed::Applied);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_the_databases_password_must_be_closed_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(database) = Database::fresh().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "hunter2").unwrap();
    for (mode, is_closed) in [(0o600, true), (0o440, true), (0o644, false), (0o620, false)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        for verb in ["migrate", "check"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_signet"));
            command.args(["store", verb]).current_dir(dir.path()).env_clear();
            // Whoever keeps the tables holds no key-encryption key.
            command.env("SIGNET_STORE", database.url());
            let output = command.env("SIGNET_POSTGRES__PASSWORD_FILE", &file).output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.success(), is_closed, "{mode:04o}: {told}");
            assert!(is_closed || told.contains(&format!("(mode {mode:04o}): `chmod 600` it")), "{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_nodes_use_is_neither_restored_nor_filled() {
    let Some(database) = Database::fresh().await else { return };
    let (dir, url) = (tempfile::tempdir().unwrap(), database.url());
    let settings = [
        ("SIGNET_STORE", url.as_str()),
        ("SIGNET_KEYS__VAULT", "store"),
        ("SIGNET_KEYS_KEK", KEK),
        ("SIGNET_ISSUER", ISSUER),
    ];
    let named = [settings.as_slice(), &[("SIGNET_NODE", "the-node")]].concat();
    let node = Process::start(dir.path(), free_port(), &named);
    let operator = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| signet(operator.path(), &url, args);
    // Which waits for the first keys to be published: before that nothing is copied.
    assert_eq!(node.get("/.well-known/jwks.json", "").unwrap().status, 200);
    let exported = run(&["export", "copy", "--offline"]);
    assert!(exported.status.success(), "{exported:?}");
    // Housekeeping announces it, at the latest a moment after the start.
    let store = database.store(TimeSource::Database).await;
    let running = async || {
        let nodes = Nodes::running(store.as_ref()).await.unwrap();
        nodes.into_iter().map(|node| node.name).collect::<Vec<_>>()
    };
    while running().await != ["the-node"] {}

    let doctor = |propagation: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_signet"));
        command.args(["doctor", "--json"]).current_dir(operator.path()).env_clear().envs(settings);
        let found = command.env("SIGNET_KEYS_PROPAGATION", propagation).output().unwrap();
        let found: Value = serde_json::from_slice(&found.stdout).unwrap();
        let found = found.as_array().unwrap().iter().find(|each| each["name"] == "settings of the nodes");
        found.map(|each| (each["level"].clone(), each["what"].clone())).unwrap()
    };
    assert_eq!(doctor("30s"), (json!("ok"), json!("as here")));
    assert_eq!(doctor("60s"), (json!("fail"), json!("keys.propagation is 60 s here, but 30 s")));

    let version = ring_version(&store).await;
    std::fs::write(operator.path().join("new-kek"), "cd".repeat(32)).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(operator.path().join("new-kek"), mode).unwrap();
    let rekey = ["keys", "rekey", "--new-kek-file", "new-kek"];
    let acts =
        [["restore", "--in-place"].as_slice(), &["restore", "copy"], &["import", "copy", "--move"], &rekey];
    for args in acts {
        let refused = run(args);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{args:?}: {told}");
        assert!(told.contains("nodes use the store: the-node; stop every node"), "{args:?}: {told}");
        assert!(told.contains("--nodes-are-stopped"), "{args:?}: {told}");
    }
    assert_eq!(ring_version(&store).await, version, "nothing was done");

    // A node that stops in order takes leave, and nobody has to wait.
    assert_eq!(node.terminate(), Some(0));
    assert_eq!(running().await, [""; 0]);
    assert!(run(&["restore", "--in-place"]).status.success());
    assert_ne!(ring_version(&store).await, version);

    // One that was killed is counted, until an operator knows better.
    let node = Process::start(dir.path(), free_port(), &settings);
    while running().await.is_empty() {}
    node.kill_now();
    drop(node);
    assert_eq!(run(&["restore", "--in-place"]).status.code(), Some(1));
    assert_eq!(run(&rekey).status.code(), Some(1));
    let restored = run(&["restore", "--in-place", "--nodes-are-stopped"]);
    assert!(restored.status.success(), "{restored:?}");

    // One that runs all the same ends by itself: what it has in memory is of before.
    let node = Process::start(dir.path(), free_port(), &settings);
    let restored = run(&["restore", "--in-place", "--nodes-are-stopped"]);
    assert!(restored.status.success(), "{restored:?}");
    assert_eq!(node.ended(), Some(1));
    // Started again it is as good as any.
    let node = Process::start(dir.path(), free_port(), &settings);
    assert_eq!(node.get("/.well-known/jwks.json", "").unwrap().status, 200);
    node.kill_now();
    drop(node);
    assert_eq!(run(&rekey).status.code(), Some(1));
    let sealed = run(&[&rekey[..], &["--nodes-are-stopped"]].concat());
    assert!(sealed.status.success(), "{sealed:?}");
}

/// As where each of several containers runs it before its node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_made_once_by_however_many_commands_at_the_same_time() {
    let Some(database) = Database::fresh().await else { return };
    let (dir, url) = (tempfile::tempdir().unwrap(), database.url());
    for round in 0..3 {
        let commands: Vec<_> = (0..8)
            .map(|_| {
                let mut command = Command::new(env!("CARGO_BIN_EXE_signet"));
                command.args(["store", "migrate", "--json"]).current_dir(dir.path()).env_clear();
                command.env("SIGNET_STORE", &url).stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        let mut made = 0;
        for command in commands {
            let output = command.wait_with_output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{told}");
            let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(answer["schema"], 1, "{answer}");
            made += usize::from(answer["schema_before"] == 0);
        }
        assert_eq!(made, usize::from(round == 0), "one made them");
    }
    let store = database.store(TimeSource::Database).await;
    let put = Batch::new().put(Table::mirrored("clients"), "k", Condition::Always, Put::lasting(vec![]));
    assert_eq!(store.commit(put).await.unwrap(), Committed::Applied);
}

async fn ring_version(store: &PostgresStore) -> u64 {
    store.get(Table::mirrored("keys"), b"ring").await.unwrap().unwrap().version
}
