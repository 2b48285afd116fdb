//! What a store in a database does when its server freezes, dies, or hands over to its standby.
//!
//! Each test starts servers of its own with `tests/support/postgres.sh`, so these are passed over too where
//! `SIGNET_TEST_POSTGRES` is not set. Nothing is measured but that an answer comes in time: a test that waited for
//! ever would be ended by whoever runs it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use signet::clock::{Clock as _, SystemClock};
use signet::store::{
    Batch, Changes, Committed, Condition, Cursor, PostgresStore, Put, Store, StoreError, Table,
};

use crate::postgres_fixture::{at, hurried};
use crate::postgres_proxy::{Fate, Proxy};
use crate::postgres_server::Server;

const CODES: Table = Table::plain("codes");
const CLIENTS: Table = Table::mirrored("clients");
/// What a call may take that is to run into its limit: nothing else is asked of whoever has that.
const LIMIT: Duration = Duration::from_millis(1500);
/// What a call may take at most, however busy the machine is: the question is whether it ends.
const IN_TIME: Duration = Duration::from_secs(30);

fn put(key: &str) -> Batch {
    Batch::new().put(CODES, key, Condition::Absent, Put::lasting(vec![]))
}

fn client(key: &str) -> Batch {
    Batch::new().put(CLIENTS, key, Condition::Absent, Put::lasting(vec![]))
}

/// The answer, and that it came in time.
async fn in_time<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let clock = SystemClock::new();
    let answer = call.await;
    let took = clock.monotonic();
    assert!(took < IN_TIME, "an answer took {took:?}");
    answer
}

/// Calls until one succeeds; there are so many tries, each of which ends in time.
async fn until_it_works(store: &Arc<PostgresStore>, key: &str) -> usize {
    for tries in 0..1000 {
        // Not the same key: of a call that failed nothing is known.
        if let Ok(Committed::Applied) = in_time(store.commit(put(&format!("{key} {tries}")))).await {
            return tries;
        }
    }
    panic!("it never worked again")
}

#[expect(clippy::needless_pass_by_value, reason = "an answer is looked at once")]
fn unavailable<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
}

#[tokio::test]
async fn a_frozen_server_costs_no_call_more_than_its_time() {
    let Some(server) = Server::start("frozen") else { return };
    let store = PostgresStore::open(server.options(&[])).await.unwrap();
    _ = store.commit(put("before")).await.unwrap();
    let hurried = hurried(server.options(&[]), LIMIT).await;
    server.run("freeze", &[]);
    for round in 0..2 {
        // With connections that were made before, and with none.
        unavailable(in_time(hurried.get(CODES, b"before")).await);
        unavailable(in_time(hurried.commit(put(&format!("during {round}")))).await);
    }
    let calls = (0..40).map(|_| in_time(hurried.get(CODES, b"before")));
    futures_util::future::join_all(calls).await.into_iter().for_each(unavailable);
    server.run("thaw", &[]);
    until_it_works(&hurried, "after").await;
    assert!(store.get(CODES, b"before").await.unwrap().is_some());
}

#[tokio::test]
async fn what_was_acknowledged_survives_the_servers_death_and_the_store_its_absence() {
    let Some(server) = Server::start("killed") else { return };
    let store = PostgresStore::open(server.options(&[])).await.unwrap();
    for round in 0..3 {
        for number in 0..50 {
            assert_eq!(store.commit(put(&format!("{round} {number}"))).await.unwrap(), Committed::Applied);
        }
        server.run("kill", &[]);
        unavailable(in_time(store.get(CODES, b"0 0")).await);
        unavailable(in_time(store.commit(put("nowhere"))).await);
        server.run("restart", &[]);
        until_it_works(&store, &format!("after {round}")).await;
        for number in 0..50 {
            assert!(store.get(CODES, format!("{round} {number}").as_bytes()).await.unwrap().is_some());
        }
        assert!(store.get(CODES, b"nowhere").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_standby_that_takes_over_is_found_and_has_everything_that_was_acknowledged() {
    let Some(primary) = Server::start("primary") else { return };
    let standby = primary.standby();
    let store = PostgresStore::open(primary.options(&[&standby])).await.unwrap();
    for number in 0..50 {
        assert_eq!(store.commit(put(&number.to_string())).await.unwrap(), Committed::Applied);
    }
    let client = Batch::new().put(CLIENTS, "c", Condition::Absent, Put::lasting(vec![]));
    assert_eq!(store.commit(client).await.unwrap(), Committed::Applied);
    let newest = store.changes(Cursor::AHEAD).await.unwrap();
    let Changes::Reset { next: seen } = newest else { panic!("{newest:?}") };
    let connected_again = PostgresStore::open(primary.options(&[])).await.unwrap();
    assert_eq!(connected_again.changes(seen).await.unwrap(), Changes::Rows { rows: vec![], next: seen });
    // It neither answers nor refuses: only the time limit tells.
    let hurried = hurried(primary.options(&[&standby]), LIMIT).await;
    primary.run("freeze", &[]);
    unavailable(in_time(hurried.get(CODES, b"0")).await);
    standby.run("promote", &[]);
    until_it_works(&hurried, "after").await;
    let store = PostgresStore::open(standby.options(&[&primary])).await.unwrap();
    for number in 0..50 {
        assert!(store.get(CODES, number.to_string().as_bytes()).await.unwrap().is_some());
        assert_eq!(store.commit(put(&number.to_string())).await.unwrap(), Committed::Conflict);
    }
    // Its numbers go on where they were, but nobody knows whether they stand for the same commits.
    let promoted = store.changes(seen).await.unwrap();
    let Changes::Reset { next } = promoted else { panic!("{promoted:?}") };
    assert_eq!(next.place, seen.place);
    assert_ne!(next.epoch, seen.epoch);
}

/// As after a failover behind one address: the old server still answers whoever talks to it. What it says is old.
#[tokio::test]
async fn no_connection_goes_on_with_the_old_server_once_one_leads_to_the_new() {
    let (Some(old), Some(new)) = (Server::start("old"), Server::start("new")) else { return };
    let proxy = Proxy::before("127.0.0.1".to_owned(), old.port).await;
    let row = |which: &str| Put::lasting(which.as_bytes().to_vec());
    for (server, which) in [(&old, "the old one"), (&new, "the new one")] {
        let store = PostgresStore::open(server.options(&[])).await.unwrap();
        let batch = Batch::new().put(CODES, "server", Condition::Absent, row(which));
        _ = store.commit(batch.put(CLIENTS, "c", Condition::Absent, row(which))).await.unwrap();
        if which == "the old one" {
            _ = store.commit(client("d")).await.unwrap();
        }
    }
    let mut options = old.options(&[]);
    options.hosts[0].port = proxy.port;
    let store = PostgresStore::open(options).await.unwrap();
    let says = async || {
        let row = store.get(CODES, b"server").await.unwrap().unwrap();
        String::from_utf8(row.value).unwrap()
    };
    assert_eq!(says().await, "the old one");
    // The listener hears of the old one's two changes.
    store.changed(at(1)).await;
    proxy.lead_to(new.port);
    assert_eq!(says().await, "the old one", "nobody can know better yet");
    // One is in use, and so another one is made.
    let before = proxy.connections();
    while proxy.connections() == before {
        futures_util::future::join(says(), says()).await;
    }
    for _ in 0..20 {
        let answers = futures_util::future::join_all((0..4).map(|_| says())).await;
        assert_eq!(answers, ["the new one"; 4]);
    }
    // The one that listens comes along too: it hears of the new one's changes.
    let all = store.changes(Cursor::AHEAD).await.unwrap();
    let Changes::Reset { next } = all else { panic!("{all:?}") };
    assert_eq!(next.place, 1);
    let mut tries = 0;
    while store.changed(at(1)).now_or_never().is_some() {
        tries += 1;
        assert!(tries < 100_000, "it goes on saying what the old one said");
        says().await;
    }
    // And whoever copies it copies the new one.
    let copied = store.freeze().await.unwrap().scan(CODES, None, 9).await.unwrap();
    assert_eq!(copied[0].1.value, b"the new one");
}

/// As where a primary is made a standby under its connections: it answers, takes nothing more, and says that it did nothing.
#[tokio::test]
async fn a_server_that_takes_no_writes_any_more_is_left_without_a_call_that_fails() {
    let both = |key: &str| put(key).put(CODES, format!("{key} too"), Condition::Absent, Put::lasting(vec![]));
    for (name, batch) in [("one", put as fn(&str) -> Batch), ("more", both)] {
        let (Some(old), Some(new)) =
            (Server::start(&format!("ro-old-{name}")), Server::start(&format!("ro-new-{name}")))
        else {
            return;
        };
        drop(PostgresStore::open(new.options(&[])).await.unwrap());
        let store = PostgresStore::open(old.options(&[&new])).await.unwrap();
        assert_eq!(store.commit(batch("before")).await.unwrap(), Committed::Applied);
        let (at_old, at_new) = (old.operator().await, new.operator().await);
        at_old.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
        at_old.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let there = "SELECT count(*) FROM signet_kv";
        let mut tries = 0;
        while at_new.query_one(there, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            tries += 1;
            assert!(tries < 10_000, "nothing is written to the other");
            assert_eq!(store.commit(batch(&tries.to_string())).await.unwrap(), Committed::Applied);
        }
    }
}

/// The first connections are begun to the old server and to the new one, and the old one's answer comes last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_long_on_its_way_to_the_old_server_leads_nobody_back_there() {
    let (Some(old), Some(new)) = (Server::start("late-old"), Server::start("late-new")) else { return };
    let proxy = Proxy::before("127.0.0.1".to_owned(), old.port).await;
    for (server, which) in [(&old, "the old one"), (&new, "the new one")] {
        let store = PostgresStore::open(server.options(&[])).await.unwrap();
        let row = Put::lasting(which.as_bytes().to_vec());
        let batch = Batch::new().put(CODES, "server", Condition::Absent, row.clone());
        _ = store.commit(batch.put(CLIENTS, "c", Condition::Absent, row)).await.unwrap();
    }
    let mut options = old.options(&[]);
    options.hosts[0].port = proxy.port;
    let store = PostgresStore::open(options).await.unwrap();
    let says = async |store: &PostgresStore| {
        let row = store.get(CODES, b"server").await.unwrap().unwrap();
        String::from_utf8(row.value).unwrap()
    };
    // The listener is connected, so the next who asks which server it is, is the one that is held.
    store.changed(at(0)).await;
    proxy.trap("FROM signet_place ORDER BY n DESC LIMIT 1) UNION ALL", Fate::Held);
    let late = tokio::spawn({
        let store = store.clone();
        async move { store.get(CODES, b"server").await }
    });
    proxy.sprung().await;
    proxy.lead_to(new.port);
    assert_eq!(says(&store).await, "the new one");
    proxy.release();
    assert_eq!(late.await.unwrap().unwrap().unwrap().value, b"the new one");
    for _ in 0..20 {
        let answers = futures_util::future::join_all((0..4).map(|_| says(&store))).await;
        assert_eq!(answers, ["the new one"; 4]);
    }
}

/// As after a failover, or where an older state was put back: whoever waits for changes must not be told of those that
/// are gone, or it asks without a pause.
#[tokio::test]
async fn a_counter_that_has_fallen_is_believed_when_the_listener_comes_back() {
    let Some(server) = Server::start("fallen") else { return };
    let store = PostgresStore::open(server.options(&[])).await.unwrap();
    for number in 0..5 {
        _ = store.commit(client(&number.to_string())).await.unwrap();
    }
    store.changed(at(4)).await;
    let operator = server.operator().await;
    let older = "DELETE FROM signet_event WHERE n > 2; DELETE FROM signet_place WHERE n > 2";
    operator.batch_execute(older).await.unwrap();
    let says_so = || store.changed(at(2)).now_or_never().is_some();
    assert!(says_so(), "it has not noticed yet");
    let ended = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity \
                 WHERE application_name = 'signet' AND query LIKE '%FROM signet_place ORDER BY n DESC LIMIT 1) UNION ALL%'";
    assert!(operator.query_one(ended, &[]).await.unwrap().get::<_, i64>(0) > 0);
    let mut tries = 0;
    while says_so() {
        tries += 1;
        assert!(tries < 100_000, "it goes on saying that there is something new");
        operator.query_one("SELECT 1", &[]).await.unwrap();
    }
    let answer = store.changes(at(5)).await.unwrap();
    assert!(matches!(answer, Changes::Reset { next } if next.place == 2), "{answer:?}");
    _ = store.commit(client("next")).await.unwrap();
    store.changed(at(2)).await;
}

/// Several hosts say that one is to take over from another.
#[tokio::test]
async fn a_server_that_waits_for_no_standby_is_warned_of_where_another_is_to_take_over() {
    let Some(server) = Server::start("single") else { return };
    let warned = async |options| {
        let warnings = PostgresStore::report(&options).await.unwrap().warnings;
        warnings.iter().any(|warning| warning.starts_with("synchronous_standby_names is empty"))
    };
    assert!(!warned(server.options(&[])).await, "nothing takes over from a single server");
    assert!(warned(server.options(&[&server])).await);
}

/// A commit that waits for its standby can be cancelled by an operator; the server then says that it is done.
#[tokio::test]
async fn a_commit_that_did_not_reach_its_standby_is_not_acknowledged() {
    let Some(server) = Server::start("alone") else { return };
    let store = PostgresStore::open(server.options(&[])).await.unwrap();
    _ = store.commit(put("before")).await.unwrap();
    let operator = server.operator().await;
    server.wait_for_standby("nobody").await;
    let both = |key: &str| put(key).put(CODES, format!("{key} too"), Condition::Absent, Put::lasting(vec![]));
    for (number, batch) in [put("one statement"), both("a transaction")].into_iter().enumerate() {
        // Until the server has read its settings anew.
        let mut ended = false;
        for tries in 0..10_000 {
            let key = format!("wait {number} {tries}");
            let batch = if tries == 0 { batch.clone() } else { put(&key) };
            let commit = tokio::spawn({
                let store = store.clone();
                async move { store.commit(batch).await }
            });
            let cancelled =
                "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
            while !commit.is_finished() {
                operator.query_one(cancelled, &[]).await.unwrap();
            }
            if let Err(error) = commit.await.unwrap() {
                assert!(error.to_string().contains("whether the commit survives is not known"), "{error}");
                ended = true;
                break;
            }
        }
        assert!(ended, "no commit waited for the standby");
    }
    server.wait_for_standby("").await;
    until_it_works(&store, "after").await;
}
