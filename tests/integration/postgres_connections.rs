//! What becomes of a call, and of the others, when one connection fails.

use std::time::Duration;

use signet::store::postgres::{PostgresOptions, TimeSource};
use signet::store::{
    Batch, Changes, Committed, Condition, Cursor, PostgresStore, Put, Store, StoreError, Table,
};

use crate::postgres_fixture::{Database, hurried};
use crate::postgres_proxy::{Fate, Proxy};

const CODES: Table = Table::plain("codes");

/// How a database is reached through a proxy.
async fn through_proxy(database: &Database) -> (PostgresOptions, Proxy) {
    let mut options = database.options(TimeSource::Database);
    let server = options.hosts.remove(0);
    let proxy = Proxy::before(server.host.clone(), server.port).await;
    let options = PostgresOptions {
        hosts: vec![signet::store::postgres::PostgresHost { port: proxy.port, ..server }],
        connections: 2,
        ..options
    };
    (options, proxy)
}

fn two(first: &str, second: &str) -> Batch {
    let put = |batch: Batch, key: &str| batch.put(CODES, key, Condition::Absent, Put::lasting(vec![]));
    put(put(Batch::new(), first), second)
}

/// Until there are so many rows: whoever lost the answer does not know when.
async fn until_there(database: &Database, rows: i64) {
    let operator = database.client().await;
    for _ in 0..100_000 {
        let there = operator.query_one("SELECT count(*) FROM signet_kv", &[]).await.unwrap();
        if there.get::<_, i64>(0) == rows {
            return;
        }
    }
    panic!("it was never committed");
}

/// Outside of a transaction each statement would commit by itself.
#[tokio::test]
async fn nothing_of_a_batch_is_written_where_the_transaction_did_not_begin() {
    let Some(database) = Database::fresh().await else { return };
    let (options, proxy) = through_proxy(&database).await;
    let store = PostgresStore::open(options).await.unwrap();
    proxy.trap("BEGIN", Fate::Refused);
    let refused = store.commit(two("a", "b")).await;
    assert!(
        matches!(&refused, Err(StoreError::Unavailable(reason)) if reason.contains("57014")),
        "{refused:?}"
    );
    assert_eq!(store.scan(CODES, None, 9).await.unwrap(), []);
    assert_eq!(store.commit(two("a", "b")).await.unwrap(), Committed::Applied);
}

/// A single statement commits by itself: it may have been done.
#[tokio::test]
async fn a_single_write_whose_answer_was_lost_is_not_made_again() {
    let Some(database) = Database::fresh().await else { return };
    let (options, proxy) = through_proxy(&database).await;
    let store = PostgresStore::open(options).await.unwrap();
    let put = |key: &str, condition| Batch::new().put(CODES, key, condition, Put::lasting(vec![]));
    _ = store.commit(put("the code", Condition::Always)).await.unwrap();
    let version = store.get(CODES, b"the code").await.unwrap().unwrap().version;
    let spend = Batch::new().delete(CODES, "the code", Condition::VersionIs(version));
    for (batch, key) in [(put("a name", Condition::Absent), "a name"), (spend, "the code")] {
        proxy.trap(key, Fate::AnswerLost);
        // Made again it would conflict with itself, and whoever asked would think that others were first.
        let lost = store.commit(batch).await;
        assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    }
    until_there(&database, 1).await;
    assert!(store.get(CODES, b"a name").await.unwrap().is_some());
    assert!(store.get(CODES, b"the code").await.unwrap().is_none());
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_not_made_again() {
    let Some(database) = Database::fresh().await else { return };
    let (options, proxy) = through_proxy(&database).await;
    let store = PostgresStore::open(options).await.unwrap();
    proxy.trap("COMMIT\0", Fate::AnswerLost);
    let lost = store.commit(two("a", "b")).await;
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    // Had it been, the second would have conflicted with the first, and whoever asked would think that others were first.
    until_there(&database, 2).await;
}

/// All that may work for others is taken and hangs; whoever follows has a connection apart, and keeps it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_hangs_takes_no_other_along_and_nobody_waits_to_follow() {
    let Some(database) = Database::fresh().await else { return };
    let (options, proxy) = through_proxy(&database).await;
    // One call is to take all of it, and those beside it what they take on a busy machine.
    let store = hurried(options, Duration::from_secs(3)).await;
    _ = store.commit(two("a", "b")).await.unwrap();
    proxy.trap("this one hangs", Fate::Stuck);
    let hangs = tokio::spawn({
        let store = store.clone();
        async move { store.get(CODES, b"this one hangs").await }
    });
    proxy.sprung().await;
    // The first time it has to be made.
    assert!(store.now().await.unwrap().is_some());
    let connections = proxy.connections();
    while !hangs.is_finished() {
        assert!(store.now().await.unwrap().is_some());
        assert!(matches!(store.changes(Cursor::default()).await.unwrap(), Changes::Rows { .. }));
    }
    let late = hangs.await.unwrap();
    assert!(
        matches!(&late, Err(StoreError::Unavailable(reason)) if reason.contains("did not answer")),
        "{late:?}"
    );
    // What answered meanwhile is used again, by whoever comes.
    assert!(store.now().await.unwrap().is_some());
    assert!(store.get(CODES, b"a").await.unwrap().is_some());
    assert_eq!(proxy.connections(), connections);
}
