//! What only a store in a database can be asked: other nodes, other transactions, the server's own clock.

use std::sync::Arc;
use std::time::Duration;

use signet::clock::ManualClock;
use signet::store::postgres::{PostgresOptions, TimeSource};
use signet::store::{
    Batch, Changes, Committed, Condition, Cursor, PostgresStore, Put, Store, StoreError, StoreLoad, Table,
};
use tokio_postgres::GenericClient;

use crate::postgres_fixture::{Database, at, hurried};

const CODES: Table = Table::plain("codes");
const CLIENTS: Table = Table::mirrored("clients");

fn put(table: Table, key: &str) -> Batch {
    Batch::new().put(table, key, Condition::Always, Put::lasting(vec![]))
}

async fn behind(store: &PostgresStore, after: Cursor) -> (Vec<String>, Cursor) {
    match store.changes(after).await.unwrap() {
        Changes::Rows { rows, next } => {
            (rows.into_iter().map(|(_, key)| String::from_utf8(key).unwrap()).collect(), next)
        }
        Changes::Reset { .. } => panic!("nothing was pruned"),
    }
}

pub(crate) async fn pid(client: &impl GenericClient) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

/// Until `task` waits for the server process `pid`, or is over.
pub(crate) async fn until_blocked<T>(database: &Database, pid: i32, task: &tokio::task::JoinHandle<T>) {
    let operator = database.client().await;
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))";
    while !task.is_finished() {
        if operator.query_one(blocked, &[&pid]).await.unwrap().get::<_, i64>(0) > 0 {
            return;
        }
    }
}

/// With numbers from a sequence the second commit would become visible first, and whoever had read it would never ask
/// for the first again.
#[tokio::test]
async fn a_change_that_commits_late_is_never_hidden_by_a_later_one() {
    let Some(database) = Database::fresh().await else { return };
    let store = database.store(TimeSource::Database).await;
    let mut late = database.client().await;
    let late_pid = pid(&late).await;
    let late = late.transaction().await.unwrap();
    // As a node does that has numbered its change, and whose commit takes its time.
    late.batch_execute("SELECT id FROM signet_turn WHERE id = 1 FOR UPDATE").await.unwrap();
    let row =
        late.query_one("INSERT INTO signet_place SELECT max(n) + 1 FROM signet_place RETURNING n", &[]).await;
    let number: i64 = row.unwrap().get(0);
    let change: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
        [&number, &b"clients".as_slice(), &b"late".as_slice()];
    late.execute("INSERT INTO signet_event (n, tbl, k) VALUES ($1, $2, $3)", &change).await.unwrap();
    let soon = tokio::spawn({
        let store = store.clone();
        async move { store.commit(put(CLIENTS, "soon")).await }
    });
    until_blocked(&database, late_pid, &soon).await;
    let (seen, at) = behind(&store, Cursor::default()).await;
    assert_eq!((seen, at.place), (vec![], 0));
    late.commit().await.unwrap();
    assert_eq!(soon.await.unwrap().unwrap(), Committed::Applied);
    assert_eq!(behind(&store, Cursor::default()).await.0, ["late", "soon"]);
}

/// A turn lasts as long as a commit. Where that is long, who is told so by the server and comes again comes behind all others each time.
#[tokio::test]
async fn whoever_waits_for_a_turn_keeps_the_place_for_as_long_as_a_commit_may_take() {
    let Some(database) = Database::fresh().await else { return };
    let call = Duration::from_secs(1);
    let store = hurried(database.options(TimeSource::Database), call).await;
    let mut slow = database.client().await;
    let slow_pid = pid(&slow).await;
    let slow = slow.transaction().await.unwrap();
    slow.batch_execute("SELECT id FROM signet_turn WHERE id = 1 FOR UPDATE").await.unwrap();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.commit(put(CLIENTS, "waiting")).await }
    });
    until_blocked(&database, slow_pid, &waiting).await;
    let operator = database.client().await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid)) \
                 AND clock_timestamp() - query_start < interval '1 second'";
    // Longer than any other statement may take.
    while !waiting.is_finished()
        && operator.query_one(waits, &[&slow_pid]).await.unwrap().get::<_, i64>(0) > 0
    {}
    assert!(!waiting.is_finished());
    slow.commit().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), Committed::Applied);
}

/// It numbers changes too: of what the mirrors are told has expired.
#[tokio::test]
async fn a_sweep_waits_for_its_turn_as_a_commit_does() {
    let Some(database) = Database::fresh().await else { return };
    let store = database.store(TimeSource::Database).await;
    let now = store.now().await.unwrap().unwrap();
    let ended = Batch::new().put(CLIENTS, "ended", Condition::Always, Put::until(now, vec![]));
    let code = Batch::new().put(CODES, "ended code", Condition::Always, Put::until(now, vec![]));
    for batch in [ended, code] {
        assert_eq!(store.commit(batch).await.unwrap(), Committed::Applied);
    }
    let mut late = database.client().await;
    let late_pid = pid(&late).await;
    let late = late.transaction().await.unwrap();
    let numbered = "SELECT id FROM signet_turn WHERE id = 1 FOR UPDATE; INSERT INTO signet_place VALUES (2); \
                    INSERT INTO signet_event VALUES (2, 'clients', 'late')";
    late.batch_execute(numbered).await.unwrap();
    let sweep = tokio::spawn({
        let store = store.clone();
        async move { store.sweep(now, 100).await }
    });
    until_blocked(&database, late_pid, &sweep).await;
    // It holds no row meanwhile, and what it needs no turn for it has done.
    let rows = "SELECT k FROM signet_kv FOR UPDATE NOWAIT";
    let left = database.client().await.query(rows, &[]).await.unwrap();
    assert_eq!(left.iter().map(|row| row.get(0)).collect::<Vec<&[u8]>>(), [b"ended"]);
    late.commit().await.unwrap();
    assert_eq!(sweep.await.unwrap().unwrap(), 2);
    assert_eq!(behind(&store, at(1)).await.0, ["late", "ended"]);
}

/// Whatever the server takes for the best way: by a join that asks anew for each row that it looks at, all would go.
#[tokio::test]
async fn a_sweep_removes_no_more_than_it_was_asked_to_however_it_is_planned() {
    let Some(database) = Database::fresh().await else { return };
    let mut options = database.options(TimeSource::Database);
    let ways = ["hashagg", "hashjoin", "mergejoin", "sort", "material", "memoize"];
    let without = ways.map(|way| format!(" -cenable_{way}=off")).concat();
    options.session_options = options.session_options.map(|given| given + &without);
    let store = PostgresStore::open(options).await.unwrap();
    let now = store.now().await.unwrap().unwrap();
    let ended = (0..300).fold(Batch::new(), |batch, number: i32| {
        batch.put(CODES, number.to_be_bytes(), Condition::Always, Put::until(now, vec![]))
    });
    assert_eq!(store.commit(ended).await.unwrap(), Committed::Applied);
    assert_eq!(store.sweep(now, 10).await.unwrap(), 10);
}

/// Each of the two may only write if the other has not: whatever runs beside whatever, one conflicts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_on_rows_that_are_not_there_hold_until_the_commit() {
    let Some(database) = Database::fresh().await else { return };
    let nodes = [database.store(TimeSource::Database).await, database.store(TimeSource::Database).await];
    for round in 0..100 {
        let (one, other) = (format!("a{round}"), format!("b{round}"));
        let only_if = |absent: &str, put: &str| {
            let batch = Batch::new().check(CODES, absent, Condition::Absent);
            batch.put(CODES, put, Condition::Absent, Put::lasting(vec![]))
        };
        let tasks = [only_if(&one, &other), only_if(&other, &one)].into_iter().zip(nodes.clone());
        let tasks: Vec<_> =
            tasks.map(|(batch, node)| tokio::spawn(async move { node.commit(batch).await })).collect();
        let mut applied = 0;
        for task in tasks {
            applied += usize::from(task.await.unwrap().unwrap() == Committed::Applied);
        }
        assert_eq!(applied, 1, "round {round}");
    }
    // Nothing stays behind of what was only locked.
    assert_eq!(nodes[0].scan(CODES, None, 1000).await.unwrap().len(), 100);
    let rows = database.client().await.query_one("SELECT count(*) FROM signet_kv", &[]).await.unwrap();
    assert_eq!(rows.get::<_, i64>(0), 100);
}

/// One has put something there and written its name, and is about to commit; the other removes whatever is there and
/// writes its own. It comes second, so its name stands and nothing is there.
#[tokio::test]
async fn a_delete_of_what_is_not_there_yet_keeps_its_place_in_the_order() {
    let Some(database) = Database::fresh().await else { return };
    let store = database.store(TimeSource::Database).await;
    let mut first = database.client().await;
    let first_pid = pid(&first).await;
    let first = first.transaction().await.unwrap();
    let puts = "INSERT INTO signet_kv (tbl, k, version, mirrored, v) VALUES ('codes', 'a', nextval('signet_version'), false, ''), \
                ('codes', 'b', nextval('signet_version'), false, 'first')";
    first.batch_execute(puts).await.unwrap();
    let second = tokio::spawn({
        let store = store.clone();
        let batch = Batch::new().delete(CODES, "a", Condition::Always);
        let batch = batch.put(CODES, "b", Condition::Always, Put::lasting(b"second".to_vec()));
        async move { store.commit(batch).await }
    });
    until_blocked(&database, first_pid, &second).await;
    first.commit().await.unwrap();
    assert_eq!(second.await.unwrap().unwrap(), Committed::Applied);
    assert_eq!(store.get(CODES, b"b").await.unwrap().unwrap().value, b"second");
    assert!(store.get(CODES, b"a").await.unwrap().is_none());
}

/// An `UPDATE` that waits for a lock looks at the row again only where it was changed meanwhile.
#[tokio::test]
async fn a_row_that_expires_while_its_lock_is_waited_for_has_expired() {
    let Some(database) = Database::fresh().await else { return };
    let store = database.store(TimeSource::Database).await;
    let condition = |version| Condition::VersionIs(version);
    let three: [fn(Batch, Condition) -> Batch; 3] = [
        |batch, condition| batch.put(CODES, "k", condition, Put::lasting(vec![])),
        |batch, condition| batch.delete(CODES, "k", condition),
        |batch, condition| batch.check(CODES, "k", condition),
    ];
    for (taking, alone) in three.into_iter().flat_map(|taking| [(taking, true), (taking, false)]) {
        // Longer where the machine is so busy that it has expired before its lock is waited for.
        let mut waited = false;
        for life in [400, 1600, 6400] {
            let end = store.now().await.unwrap().unwrap() + chrono::Duration::milliseconds(life);
            let until = Put::until(end, vec![]);
            _ = store.commit(Batch::new().put(CODES, "k", Condition::Always, until)).await.unwrap();
            let Some(row) = store.get(CODES, b"k").await.unwrap() else { continue };
            let version = row.version;
            let mut holder = database.client().await;
            let holder_pid = pid(&holder).await;
            let held = holder.transaction().await.unwrap();
            held.batch_execute("SELECT 1 FROM signet_kv FOR UPDATE").await.unwrap();
            let batch = taking(Batch::new(), condition(version));
            let batch = if alone { batch } else { batch.check(CODES, "other", Condition::Absent) };
            let commit = tokio::spawn({
                let store = store.clone();
                async move { store.commit(batch).await }
            });
            until_blocked(&database, holder_pid, &commit).await;
            waited = store.now().await.unwrap().unwrap() < end;
            while store.now().await.unwrap().unwrap() <= end {}
            held.rollback().await.unwrap();
            assert_eq!(commit.await.unwrap().unwrap(), Committed::Conflict, "alone: {alone}");
            if waited {
                break;
            }
        }
        assert!(waited, "it is never waited for");
    }
}

/// What the sessions of a store have done to the tables of its order of changes: how many pages they touched, and how often they read
/// a table from end to end. A session says so when it ends, so this is asked once the store is closed and `turns` have been told of.
async fn touched(database: &Database, turns: i64) -> (i64, i64) {
    let operator = database.client().await;
    let told = "SELECT coalesce(sum(n_tup_ins), 0)::bigint FROM pg_stat_user_tables \
                WHERE schemaname = current_schema() AND relname = 'signet_event'";
    while operator.query_one(told, &[]).await.unwrap().get::<_, i64>(0) < turns {}
    let sums = "SELECT sum(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit)::bigint, \
                sum(seq_scan)::bigint FROM pg_statio_user_tables JOIN pg_stat_user_tables USING (relid) \
                WHERE pg_stat_user_tables.schemaname = current_schema() \
                AND pg_stat_user_tables.relname NOT IN ('signet_kv', 'signet_schema')";
    let row = operator.query_one(sums, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

/// As while a dump is taken: what is overwritten or removed meanwhile stays, and whoever numbers a change must not walk it.
#[tokio::test]
async fn a_snapshot_that_is_held_for_long_makes_no_turn_longer() {
    const FEW: i64 = 100;
    const MANY: i64 = 2500;
    let Some(database) = Database::fresh().await else { return };
    let mut turns = 0;
    let mut take_turns = async |more: i64| {
        let options = PostgresOptions { changes_kept: 10, ..database.options(TimeSource::Database) };
        let store = PostgresStore::open(options).await.unwrap();
        let before = touched(&database, turns).await;
        for number in 0..more {
            _ = store.commit(put(CLIENTS, &(turns + number).to_string())).await.unwrap();
        }
        turns += more;
        let now = store.now().await.unwrap().unwrap();
        assert_eq!(store.sweep(now, 1).await.unwrap(), 0);
        drop(store);
        let after = touched(&database, turns).await;
        (after.0 - before.0, after.1 - before.1)
    };
    // The plans are made for tables of a row or two, and kept.
    _ = take_turns(1).await;
    let mut operator = database.client().await;
    operator.batch_execute("ANALYZE").await.unwrap();
    let reader = operator.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead);
    let snapshot = reader.start().await.unwrap();
    snapshot.query_one("SELECT count(*) FROM signet_event", &[]).await.unwrap();
    // Until the indexes are of as many levels as they will be.
    _ = take_turns(500).await;
    let (few, _) = take_turns(FEW).await;
    let (_, scans) = take_turns(MANY).await;
    let (few_later, _) = take_turns(FEW).await;
    snapshot.commit().await.unwrap();
    assert!(scans < 20, "{scans} times a table was read from end to end");
    let each = |pages: i64| pages / FEW;
    assert!(
        each(few_later) <= each(few) + 3,
        "{} pages a turn at first, {} after {MANY} turns",
        each(few),
        each(few_later)
    );
}

/// Somebody has removed rows by hand: whoever follows must neither fail nor ask for ever.
#[tokio::test]
async fn changes_that_are_missing_are_a_reset() {
    let Some(database) = Database::fresh().await else { return };
    let store = database.store(TimeSource::Database).await;
    let operator = database.client().await;
    for round in 0..10_u64 {
        _ = store.commit(put(CLIENTS, &round.to_string())).await.unwrap();
    }
    // In the middle, at the beginning, at the end, and all.
    for (removed, intact_from) in [("n = 5", 5), ("n = 1", 5), ("n = 10", 10), ("true", 10)] {
        operator.batch_execute(&format!("DELETE FROM signet_event WHERE {removed}")).await.unwrap();
        for after in 0..=10 {
            let answer = store.changes(at(after)).await.unwrap();
            let reset = matches!(answer, Changes::Reset { next } if next.place == 10);
            assert_eq!(reset, after < intact_from, "{removed}, after {after}: {answer:?}");
        }
    }
    _ = store.commit(put(CLIENTS, "next")).await.unwrap();
    assert_eq!(behind(&store, at(10)).await.0, ["next"]);
}

/// As after an import. One statement for all of them would be ended by the server's limit, and tried again with more of them, for ever.
#[tokio::test]
async fn however_many_changes_are_to_be_forgotten_no_statement_takes_more_than_a_bounded_number() {
    let Some(database) = Database::fresh().await else { return };
    let options = PostgresOptions { changes_kept: 10, ..database.options(TimeSource::Database) };
    let store = PostgresStore::open(options).await.unwrap();
    let operator = database.client().await;
    let many =
        "INSERT INTO signet_event (n, tbl, k) SELECT n, 'clients', 'k' FROM generate_series(1, 4321) AS n;
        INSERT INTO signet_place (n) VALUES (4321);
        CREATE TABLE seen (pruned bigint);
        CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO seen SELECT count(*) FROM gone; RETURN NULL; END $$;
        CREATE TRIGGER see AFTER DELETE ON signet_event REFERENCING OLD TABLE AS gone
        FOR EACH STATEMENT EXECUTE FUNCTION see()";
    operator.batch_execute(many).await.unwrap();
    let number = async |query| operator.query_one(query, &[]).await.unwrap().get::<_, i64>(0);
    let now = store.now().await.unwrap().unwrap();
    // Another node is at some of them: they are left to it, and nobody waits.
    let mut other = database.client().await;
    let held = other.transaction().await.unwrap();
    held.batch_execute("SELECT 1 FROM signet_event WHERE n <= 5 FOR UPDATE").await.unwrap();
    assert_eq!(store.sweep(now, 10_000).await.unwrap(), 0);
    assert_eq!(number("SELECT max(pruned) FROM seen").await, 1000);
    assert_eq!(number("SELECT sum(pruned)::bigint FROM seen").await, 4321 - 10 - 5);
    held.rollback().await.unwrap();
    assert_eq!(store.sweep(now, 10_000).await.unwrap(), 0);
    assert_eq!(number("SELECT min(n) FROM signet_event").await, 4312);
    // What is kept has no gap, and whoever is behind it reads everything anew.
    assert_eq!(behind(&store, at(4311)).await.0.len(), 10);
    let out_of_reach = store.changes(at(4310)).await.unwrap();
    assert!(matches!(out_of_reach, Changes::Reset { next } if next.place == 4321), "{out_of_reach:?}");
}

#[tokio::test]
async fn the_servers_clock_decides_what_has_expired_whatever_a_nodes_clock_shows() {
    let Some(database) = Database::fresh().await else { return };
    let store = database.store(TimeSource::Database).await;
    let now = store.now().await.unwrap().unwrap();
    let put_until = |key: &str, minutes: i64| {
        let put = Put::until(now + chrono::Duration::minutes(minutes), vec![]);
        Batch::new().put(CODES, key, Condition::Absent, put)
    };
    for (key, minutes) in [("past", -1), ("future", 60)] {
        assert_eq!(store.commit(put_until(key, minutes)).await.unwrap(), Committed::Applied);
    }
    assert!(store.get(CODES, b"past").await.unwrap().is_none());
    assert!(store.get(CODES, b"future").await.unwrap().is_some());
    assert_eq!(store.commit(put_until("past", -1)).await.unwrap(), Committed::Applied);
    assert_eq!(store.commit(put_until("future", 60)).await.unwrap(), Committed::Conflict);
    // A node whose clock is a year ahead removes nothing that lives.
    let ahead = now + chrono::Duration::days(365);
    assert_eq!(store.sweep(ahead, 100).await.unwrap(), 1);
    assert!(store.get(CODES, b"future").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_together_make_the_tables_once() {
    let Some(database) = Database::fresh().await else { return };
    let opened = (0..8).map(|_| PostgresStore::open(database.options(TimeSource::Database)));
    for store in futures_util::future::join_all(opened).await {
        assert_eq!(store.unwrap().commit(put(CLIENTS, "k")).await.unwrap(), Committed::Applied);
    }
    let report = PostgresStore::report(&database.options(TimeSource::Database)).await.unwrap();
    assert_eq!((report.schema, report.warnings), (1, vec![]));
    assert_eq!(PostgresStore::migrate(&database.options(TimeSource::Database)).await.unwrap(), 1);
}

#[tokio::test]
async fn tables_of_another_release_are_refused_with_the_way_out() {
    let Some(database) = Database::fresh().await else { return };
    let options = || database.options(TimeSource::Database);
    drop(database.store(TimeSource::Database).await);
    let client = database.client().await;
    client.batch_execute("UPDATE signet_schema SET version = 2").await.unwrap();
    for refused in
        [PostgresStore::open(options()).await.err(), PostgresStore::migrate(&options()).await.err()]
    {
        let message = refused.unwrap().to_string();
        assert!(message.contains("version 2") && message.contains("the release that made them"), "{message}");
    }
}

/// What a trigger sees is what the session commits with.
#[tokio::test]
async fn commits_are_durable_whatever_the_role_is_set_to() {
    let Some(database) = Database::fresh().await else { return };
    drop(database.store(TimeSource::Database).await);
    let client = database.client().await;
    let trigger = "CREATE TABLE seen (setting text);
        CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$;
        CREATE TRIGGER see BEFORE INSERT ON signet_kv FOR EACH ROW EXECUTE FUNCTION see()";
    client.batch_execute(trigger).await.unwrap();
    for (set, committed_with) in [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")] {
        let mut options = database.options(TimeSource::Database);
        let given = options.session_options.take().unwrap();
        options.session_options = Some(format!("{given} -csynchronous_commit={set}"));
        let warnings = PostgresStore::report(&options).await.unwrap().warnings;
        assert_eq!(warnings.len(), usize::from(set != committed_with), "{warnings:?}");
        let store = PostgresStore::open(options).await.unwrap();
        _ = store.commit(put(CODES, set)).await.unwrap();
        let seen = client.query("DELETE FROM seen RETURNING setting", &[]).await.unwrap();
        assert_eq!(seen[0].get::<_, String>(0), committed_with, "{set}");
    }
}

#[tokio::test]
async fn who_can_not_be_served_soon_is_told_so_at_once() {
    let Some(database) = Database::fresh().await else { return };
    let options = database.options(TimeSource::Database);
    let options = PostgresOptions { connections: 2, waiting: 1, ..options };
    let store = PostgresStore::open(options).await.unwrap();
    let mut operator = database.client().await;
    let locked = operator.transaction().await.unwrap();
    locked.batch_execute("LOCK TABLE signet_kv IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let spawn = || {
        let store = store.clone();
        tokio::spawn(async move { store.get(CODES, b"k").await })
    };
    let calls = [spawn(), spawn(), spawn()];
    let all = StoreLoad { connections: 2, waiting: 1, ..StoreLoad::default() };
    while store.load() != all {
        tokio::task::yield_now().await;
    }
    let refused = store.get(CODES, b"k").await.unwrap_err().to_string();
    assert!(refused.contains("1 calls wait for PostgreSQL already"), "{refused}");
    locked.commit().await.unwrap();
    for waiting in calls {
        assert_eq!(waiting.await.unwrap().unwrap(), None);
    }
    assert_eq!(store.load(), StoreLoad { failures: 1, ..StoreLoad::default() });
}

#[tokio::test]
async fn a_lock_that_is_held_for_long_costs_the_call_and_nothing_else() {
    let Some(database) = Database::fresh().await else { return };
    let store = database.store(TimeSource::Database).await;
    _ = store.commit(put(CLIENTS, "k")).await.unwrap();
    let hurried = hurried(database.options(TimeSource::Database), Duration::from_millis(1500)).await;
    let mut operator = database.client().await;
    let locked = operator.transaction().await.unwrap();
    locked.batch_execute("SELECT k FROM signet_kv WHERE k = 'k' FOR UPDATE").await.unwrap();
    // The first row is written, the second can't be: all of it is undone.
    let both = put(CLIENTS, "a").put(CLIENTS, "k", Condition::Always, Put::lasting(b"lost".to_vec()));
    let refused = hurried.commit(both).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    locked.rollback().await.unwrap();
    assert!(store.get(CLIENTS, b"a").await.unwrap().is_none());
    assert_eq!(store.commit(put(CLIENTS, "after")).await.unwrap(), Committed::Applied);
    assert_eq!(behind(&store, Cursor::default()).await.0, ["k", "after"]);
}

#[tokio::test]
async fn connections_that_the_server_ends_are_made_anew_without_anybody_noticing() {
    let Some(database) = Database::fresh().await else { return };
    let store = database.store(TimeSource::Database).await;
    let operator = database.client().await;
    // Its connections are those that have used this test's tables: each tells its process by a trigger.
    let trigger = "CREATE TABLE seen (pid int);
        CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO seen VALUES (pg_backend_pid()); RETURN NEW; END $$;
        CREATE TRIGGER see BEFORE INSERT ON signet_kv FOR EACH ROW EXECUTE FUNCTION see()";
    operator.batch_execute(trigger).await.unwrap();
    for round in 0..5 {
        let key = round.to_string();
        _ = store.commit(put(CLIENTS, &key)).await.unwrap();
        let ended =
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM (SELECT DISTINCT pid FROM seen) AS mine";
        let ended = operator.query_one(ended, &[]).await.unwrap();
        assert!(ended.get::<_, i64>(0) > 0);
        operator.batch_execute("TRUNCATE seen").await.unwrap();
        // Nothing was asked of the connection yet, so it is safe to ask another.
        assert_eq!(store.commit(put(CLIENTS, &format!("{key} again"))).await.unwrap(), Committed::Applied);
        assert!(store.get(CLIENTS, key.as_bytes()).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_tests_clock_is_the_only_one_that_counts_where_one_is_brought() {
    let Some(database) = Database::fresh().await else { return };
    let clock = Arc::new(ManualClock::at(1_000_000_000));
    let store = database.store(TimeSource::Injected(clock.clone())).await;
    let soon = Put::until(signet::clock::Clock::now(clock.as_ref()) + chrono::Duration::seconds(1), vec![]);
    _ = store.commit(Batch::new().put(CODES, "k", Condition::Always, soon)).await.unwrap();
    assert!(store.get(CODES, b"k").await.unwrap().is_some());
    clock.advance(Duration::from_secs(1));
    assert!(store.get(CODES, b"k").await.unwrap().is_none());
}
