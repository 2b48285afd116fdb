//! Commits of one node that share a transaction: each has its own answer, and none is passed over.

use std::sync::Arc;
use std::time::Duration;

use signet::store::postgres::{PostgresHost, PostgresOptions, TimeSource};
use signet::store::{
    Batch, Changes, Committed, Condition, Cursor, Patience, PostgresStore, Put, Store, StoreError, Table,
};
use tokio::task::JoinHandle;

use crate::postgres::{pid, until_blocked};
use crate::postgres_fixture::{Database, hurried};
use crate::postgres_proxy::{Fate, Proxy};

const CLIENTS: Table = Table::mirrored("clients");
const CODES: Table = Table::plain("codes");
const ORDERS: Table = Table::mirrored("orders").even_late();

fn put(batch: Batch, table: Table, key: &str, condition: Condition) -> Batch {
    batch.put(table, key, condition, Put::lasting(vec![]))
}

fn one(key: &str) -> Batch {
    put(Batch::new(), CLIENTS, key, Condition::Absent)
}

/// A store through a proxy, whose first commit holds up those after it.
struct Turn {
    store: Arc<PostgresStore>,
    proxy: Proxy,
    database: Database,
}

impl Turn {
    async fn start() -> Option<Self> {
        Self::with_timeout(None).await
    }

    async fn with_timeout(timeout: Option<Duration>) -> Option<Self> {
        let database = Database::fresh().await?;
        let mut options = database.options(TimeSource::Database);
        options.timeout = timeout.unwrap_or(options.timeout);
        let PostgresHost { host, port } = options.hosts.remove(0);
        let proxy = Proxy::before(host.clone(), port).await;
        let hosts = vec![PostgresHost { host, port: proxy.port }];
        let store = PostgresStore::open(PostgresOptions { hosts, ..options }).await.unwrap();
        Some(Self { store, proxy, database })
    }

    /// The answers to these, which are committed in one turn after another commit, of `first`; `before` is done while they
    /// wait for it.
    async fn share(
        &self,
        batches: impl IntoIterator<Item = Batch>,
        before: impl FnOnce(),
    ) -> Vec<Result<Committed, StoreError>> {
        let spawn = |batch: Batch| -> JoinHandle<_> {
            let store = self.store.clone();
            tokio::spawn(async move { store.commit(batch).await })
        };
        let mut operator = self.database.client().await;
        let held = operator.transaction().await.unwrap();
        held.batch_execute("SELECT id FROM signet_turn WHERE id = 1 FOR UPDATE").await.unwrap();
        let first = spawn(one("first"));
        until_blocked(&self.database, pid(&held).await, &first).await;
        let batches: Vec<_> = batches.into_iter().map(spawn).collect();
        while self.store.load().waiting < batches.len() as u64 {
            tokio::task::yield_now().await;
        }
        before();
        held.rollback().await.unwrap();
        assert_eq!(first.await.unwrap().unwrap(), Committed::Applied);
        let mut answers = Vec::new();
        for batch in batches {
            answers.push(batch.await.unwrap());
        }
        answers
    }

    /// How many transactions wrote the rows of these keys, and how many rows there are.
    async fn transactions(&self, keys: &[&str]) -> (i64, i64) {
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let counted = "SELECT count(DISTINCT xmin::text), count(*) FROM signet_kv WHERE k = ANY($1)";
        let row = self.database.client().await.query_one(counted, &[&keys]).await.unwrap();
        (row.get(0), row.get(1))
    }

    async fn changes(&self) -> Vec<String> {
        match self.store.changes(Cursor::default()).await.unwrap() {
            Changes::Rows { rows, .. } => {
                rows.into_iter().map(|(_, key)| String::from_utf8(key).unwrap()).collect()
            }
            Changes::Reset { .. } => panic!("nothing was pruned"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_wait_for_their_turn_share_one_and_each_has_its_own_answer() {
    let Some(turn) = Turn::start().await else { return };
    _ = turn.store.commit(one("there")).await.unwrap();
    let version = turn.store.get(CLIENTS, b"there").await.unwrap().unwrap().version;
    let with_code = |key: &str, condition| put(one(key), CODES, &format!("code {key}"), condition);
    let batches = [
        with_code("a", Condition::Absent),
        // All or nothing: what comes before the condition that fails goes with it, whichever comes first in the order of locks.
        with_code("conflicts", Condition::VersionIs(7)),
        one("b").delete(CODES, "nothing", Condition::Absent).check(CODES, "none", Condition::Absent),
        put(Batch::new(), CLIENTS, "there", Condition::VersionIs(version + 1)),
        one("c").delete(CODES, "nothing either", Condition::Always),
    ];
    let answers = turn.share(batches, || {}).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let (applied, conflict) = (Committed::Applied, Committed::Conflict);
    assert_eq!(answers, [applied, conflict, applied, conflict, applied]);
    assert_eq!(turn.transactions(&["a", "code a", "b", "c"]).await, (1, 4));
    assert_eq!(
        turn.transactions(&["conflicts", "code conflicts", "nothing", "none", "nothing either"]).await,
        (0, 0)
    );
    assert_eq!(turn.store.get(CLIENTS, b"there").await.unwrap().unwrap().version, version);
    let changes = turn.changes().await;
    assert_eq!(changes[..2], ["there", "first"]);
    let mut shared = changes[2..].to_vec();
    shared.sort();
    assert_eq!(shared, ["a", "b", "c"], "of each once, and of what conflicted nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_commits_to_one_row_that_wait_for_the_same_turn_one_is_first() {
    let Some(turn) = Turn::start().await else { return };
    let batches = (0..5).map(|number| put(one("contested"), CODES, &number.to_string(), Condition::Absent));
    let answers = turn.share(batches, || {}).await;
    let applied = answers.iter().filter(|answer| matches!(answer, Ok(Committed::Applied))).count();
    let conflicts = answers.iter().filter(|answer| matches!(answer, Ok(Committed::Conflict))).count();
    assert_eq!((applied, conflicts), (1, 4));
    assert_eq!(turn.changes().await, ["first", "contested"]);
    assert_eq!(turn.store.scan(CODES, None, 9).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_is_unknown_to_all_who_shared_the_turn() {
    let Some(turn) = Turn::start().await else { return };
    let keys = ["a", "b", "c"];
    // The first one's is on its way already.
    let answers = turn.share(keys.map(one), || turn.proxy.trap("COMMIT\0", Fate::AnswerLost)).await;
    for answer in answers {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    // It was done, once, for all of them.
    let mut tries = 0;
    while turn.transactions(&keys).await != (1, 3) {
        tries += 1;
        assert!(tries < 100_000, "it was never committed");
    }
    assert_eq!(turn.changes().await.len(), 4);
    assert_eq!(turn.store.commit(one("d")).await.unwrap(), Committed::Applied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_breaks_before_it_commits_is_done_again_for_all() {
    let Some(turn) = Turn::start().await else { return };
    let keys = ["a", "b", "c"];
    // What is lost is the answer to the beginning.
    let answers = turn.share(keys.map(one), || turn.proxy.trap("BEGIN", Fate::AnswerLost)).await;
    for answer in answers {
        assert_eq!(answer.unwrap(), Committed::Applied);
    }
    assert_eq!(turn.transactions(&keys).await, (1, 3));
    assert_eq!(turn.changes().await.len(), 4);
}

/// Somebody has locked its row, and nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_held_up_fails_alone() {
    let Some(turn) = Turn::with_timeout(Some(Duration::from_secs(1))).await else { return };
    _ = turn.store.commit(one("held")).await.unwrap();
    let mut operator = turn.database.client().await;
    let held = operator.transaction().await.unwrap();
    held.batch_execute("SELECT k FROM signet_kv WHERE k = 'held' FOR UPDATE").await.unwrap();
    let with_held = put(one("with it"), CLIENTS, "held", Condition::Always);
    let conflicts = put(one("conflicts"), CODES, "none", Condition::VersionIs(7));
    let answers = turn.share([one("a"), with_held, conflicts, one("z")], || {}).await;
    assert!(matches!(&answers[1], Err(StoreError::Unavailable(_))), "{answers:?}");
    let (applied, conflict) = (Ok(Committed::Applied), Ok(Committed::Conflict));
    assert_eq!([&answers[0], &answers[2], &answers[3]], [&applied, &conflict, &applied]);
    held.rollback().await.unwrap();
    assert_eq!(turn.transactions(&["a", "z"]).await, (1, 2));
    assert_eq!(turn.transactions(&["with it", "conflicts"]).await, (0, 0));
    // Whichever of the two was sent first.
    let mut changes = turn.changes().await;
    changes[2..].sort_unstable();
    assert_eq!(changes, ["held", "first", "a", "z"]);
}

/// Commits wait long for their turn, and what they only looked at is not theirs alone meanwhile. What they write is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_turn_keeps_nobody_from_asking_the_same() {
    let Some(database) = Database::fresh().await else { return };
    let stores = [database.store(TimeSource::Database).await, database.store(TimeSource::Database).await];
    _ = stores[0].commit(one("asked")).await.unwrap();
    let version = stores[0].get(CLIENTS, b"asked").await.unwrap().unwrap().version;
    let ask = |batch: Batch| batch.check(CLIENTS, "asked", Condition::VersionIs(version));
    let mut operator = database.client().await;
    let held = operator.transaction().await.unwrap();
    held.batch_execute("SELECT id FROM signet_turn WHERE id = 1 FOR UPDATE").await.unwrap();
    let waiting = tokio::spawn({
        let (store, batch) = (stores[0].clone(), ask(one("a")));
        async move { store.commit(batch).await }
    });
    until_blocked(&database, pid(&held).await, &waiting).await;
    let code = ask(put(Batch::new(), CODES, "code", Condition::Absent));
    assert_eq!(stores[1].commit(code).await.unwrap(), Committed::Applied);
    assert!(!waiting.is_finished());
    let lock = "SELECT k FROM signet_kv WHERE k = 'asked' FOR UPDATE NOWAIT";
    assert!(
        database.client().await.batch_execute(lock).await.is_err(),
        "it can be changed before the commit"
    );
    held.rollback().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), Committed::Applied);
}

/// It was told that it could not be done in time, which is no reason not to revoke.
#[tokio::test]
async fn what_revokes_is_done_in_its_turn_although_nobody_waits_for_it_any_more_and_what_registers_is_not() {
    let Some(database) = Database::fresh().await else { return };
    let store = hurried(database.options(TimeSource::Database), Duration::from_secs(1)).await;
    let mut operator = database.client().await;
    let held = operator.transaction().await.unwrap();
    held.batch_execute("SELECT id FROM signet_turn WHERE id = 1 FOR UPDATE").await.unwrap();
    let first = tokio::spawn({
        let store = store.clone();
        async move { store.commit(one("first")).await }
    });
    until_blocked(&database, pid(&held).await, &first).await;
    let ask = |batch| Patience::of_a_request(store.commit(batch));
    let order = put(Batch::new(), ORDERS, "revoked", Condition::Always);
    let (revoked, registered) = tokio::join!(ask(order), ask(one("registered")));
    assert!(revoked.is_err() && registered.is_err());
    held.rollback().await.unwrap();
    // Behind them all in the line.
    assert_eq!(store.commit(one("last")).await.unwrap(), Committed::Applied);
    assert!(store.get(ORDERS, b"revoked").await.unwrap().is_some());
    assert!(store.get(CLIENTS, b"first").await.unwrap().is_some());
    assert!(store.get(CLIENTS, b"registered").await.unwrap().is_none());
}
