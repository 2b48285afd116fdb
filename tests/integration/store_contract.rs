//! What every backend of [`Store`] promises, checked on every backend.
//!
//! In PostgreSQL time is brought along too, for a test can't move the server's clock; `postgres.rs` has what only the
//! server's own clock can show.
#![expect(clippy::unwrap_used, reason = "a test's helper may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use signet::clock::{Clock, ManualClock};
use signet::store::memory::MemoryStore;
use signet::store::sled_store::{SledOptions, SledStore};
use signet::store::{
    Batch, Changes, Committed, Condition, Cursor, LONGEST_KEY, LONGEST_VALUE, Put, Row, Store, StoreError,
    Table,
};

const CODES: Table = Table::plain("codes");
const CODES_OLD: Table = Table::plain("codes_old");
const CLIENTS: Table = Table::mirrored("clients");

/// How many changes the stores under test keep.
const CHANGES_KEPT: u64 = 2_500;

/// A fresh store and its clock.
struct Bench {
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    _dir: Option<tempfile::TempDir>,
}

async fn memory() -> Option<Bench> {
    let clock = Arc::new(ManualClock::at(1_700_000_000));
    let store = MemoryStore::keeping_changes(clock.clone(), usize::try_from(CHANGES_KEPT).unwrap());
    Some(Bench { store, clock, _dir: None })
}

/// As a service sees it: with its calls timed.
async fn timed() -> Option<Bench> {
    let bench = memory().await?;
    let metrics = Arc::new(signet::telemetry::Metrics::new(&[], "n"));
    let store = signet::app::TimedStore::new(bench.store, bench.clock.clone(), metrics);
    Some(Bench { store, ..bench })
}

async fn sled() -> Option<Bench> {
    let clock = Arc::new(ManualClock::at(1_700_000_000));
    let dir = tempfile::tempdir().unwrap();
    let options = SledOptions { changes_kept: CHANGES_KEPT, ..SledOptions::default() };
    let store = SledStore::open_with(dir.path(), clock.clone(), options).unwrap();
    Some(Bench { store, clock, _dir: Some(dir) })
}

async fn postgres() -> Option<Bench> {
    use signet::store::postgres::{PostgresOptions, TimeSource};

    let clock = Arc::new(ManualClock::at(1_700_000_000));
    let database = crate::postgres_fixture::Database::fresh().await?;
    let options = database.options(TimeSource::Injected(clock.clone()));
    let options = PostgresOptions { changes_kept: CHANGES_KEPT, ..options };
    let store = signet::store::PostgresStore::open(options).await.unwrap();
    Some(Bench { store, clock, _dir: None })
}

/// By a role that may do no more than the nodes' role of docs/operations.md.
async fn postgres_granted() -> Option<Bench> {
    use signet::store::postgres::{PostgresOptions, TimeSource};

    let clock = Arc::new(ManualClock::at(1_700_000_000));
    let database = crate::postgres_fixture::Database::fresh().await?;
    let options = database.options_of_node(TimeSource::Injected(clock.clone())).await;
    let options = PostgresOptions { changes_kept: CHANGES_KEPT, ..options };
    let store = signet::store::PostgresStore::open(options).await.unwrap();
    Some(Bench { store, clock, _dir: None })
}

macro_rules! store_contract {
    ($backend:ident: $($check:ident)*) => {
        mod $backend {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $check() {
                    let Some(bench) = super::super::$backend().await else { return };
                    super::$check(bench).await;
                }
            )*
        }
    };
    ($($backend:ident),*) => {
        mod on {
            use super::*;
            $(store_contract! { $backend:
                what_was_put_is_read_until_it_is_deleted
                several_rows_are_read_in_the_order_of_their_keys
                a_batch_applies_as_a_whole_or_not_at_all
                each_condition_holds_exactly_when_it_says
                a_malformed_batch_is_refused
                versions_grow_and_are_never_given_twice
                a_row_is_gone_at_the_very_instant_it_expires
                an_expired_row_counts_as_absent
                an_expiry_is_cut_to_milliseconds
                a_sweep_removes_what_expired_and_nothing_else
                a_sweep_begins_with_what_expired_first
                a_scan_goes_page_by_page_in_key_order
                tables_do_not_leak_into_each_other
                changes_come_in_commit_order_page_by_page
                a_cursor_out_of_reach_is_reset
                a_cursor_of_another_epoch_is_reset
                whoever_waits_for_a_change_is_woken_by_it
                big_values_and_long_keys_are_kept
                a_frozen_store_stays_as_it_was
                a_frozen_store_keeps_big_values_that_are_rewritten
                of_racing_creators_one_wins
                of_racing_takers_one_wins
                racing_increments_are_all_counted
            })*
        }
    };
}

store_contract!(memory, sled, postgres, postgres_granted, timed);

impl Bench {
    async fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Committed {
        self.commit(Batch::new().put(table, key, Condition::Always, Put::lasting(value.to_vec()))).await
    }

    async fn put_until(&self, table: Table, key: &[u8], expires_at: DateTime<Utc>) -> Committed {
        let put = Put::until(expires_at, b"v".to_vec());
        self.commit(Batch::new().put(table, key, Condition::Always, put)).await
    }

    async fn commit(&self, batch: Batch) -> Committed {
        self.store.commit(batch).await.unwrap()
    }

    async fn get(&self, table: Table, key: &[u8]) -> Option<Row> {
        self.store.get(table, key).await.unwrap()
    }

    async fn value(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.get(table, key).await.map(|row| row.value)
    }

    async fn keys(&self, table: Table) -> Vec<Vec<u8>> {
        let rows = self.store.scan(table, None, usize::MAX).await.unwrap();
        rows.into_iter().map(|(key, _)| key).collect()
    }

    async fn changed(&self, after: Cursor) -> (Vec<(String, Vec<u8>)>, Cursor) {
        match self.store.changes(after).await.unwrap() {
            Changes::Rows { rows, next } => (rows, next),
            Changes::Reset { .. } => panic!("the cursor is within reach"),
        }
    }

    fn in_seconds(&self, seconds: i64) -> DateTime<Utc> {
        self.clock.now() + chrono::Duration::seconds(seconds)
    }
}

async fn what_was_put_is_read_until_it_is_deleted(bench: Bench) {
    assert_eq!(bench.get(CODES, b"k").await, None);
    assert_eq!(bench.put(CODES, b"k", b"one").await, Committed::Applied);
    let row = bench.get(CODES, b"k").await.unwrap();
    assert_eq!((row.value.as_slice(), row.expires_at), (b"one".as_slice(), None));
    assert_eq!(bench.put(CODES, b"k", b"").await, Committed::Applied);
    assert_eq!(bench.value(CODES, b"k").await.unwrap(), b"");
    assert_eq!(bench.commit(Batch::new().delete(CODES, b"k", Condition::Always)).await, Committed::Applied);
    assert_eq!(bench.get(CODES, b"k").await, None);
    assert_eq!(bench.commit(Batch::new().delete(CODES, b"k", Condition::Always)).await, Committed::Applied);
    assert_eq!(bench.commit(Batch::new()).await, Committed::Applied);
    assert_eq!(bench.get(CODES, b"").await, None);
}

async fn several_rows_are_read_in_the_order_of_their_keys(bench: Bench) {
    for key in [b"a", b"b", b"c"] {
        _ = bench.put(CODES, key, key).await;
    }
    _ = bench.put(CODES_OLD, b"d", b"of another table").await;
    _ = bench.put_until(CODES, b"e", bench.in_seconds(0)).await;
    let keys = [b"c", b"d", b"a", b"e", b"c"].map(|key| key.to_vec());
    let rows = bench.store.get_each(CODES, &keys).await.unwrap();
    for (key, row) in keys.iter().zip(&rows) {
        assert_eq!(*row, bench.get(CODES, key).await);
    }
    assert_eq!(rows.iter().flatten().map(|row| &*row.value).collect::<Vec<_>>(), [b"c", b"a", b"c"]);
    assert!(bench.store.get_each(CODES, &[]).await.unwrap().is_empty());
}

async fn a_batch_applies_as_a_whole_or_not_at_all(bench: Bench) {
    _ = bench.put(CODES, b"there", b"old").await;
    let batch = || {
        Batch::new()
            .put(CODES, b"new", Condition::Absent, Put::lasting(b"x".to_vec()))
            .delete(CODES, b"there", Condition::Always)
            .put(CLIENTS, b"c", Condition::Always, Put::until(bench.in_seconds(9), b"x".to_vec()))
    };
    // The condition that fails stands first, last, and in a check.
    let lasting = || Put::lasting(vec![]);
    let first = Batch {
        writes: [Batch::new().check(CODES, b"z", Condition::VersionIs(1)), batch()]
            .into_iter()
            .flat_map(|batch| batch.writes)
            .collect(),
        ..Batch::new()
    };
    for failing in [first, batch().put(CODES_OLD, b"z", Condition::VersionIs(1), lasting())] {
        assert_eq!(bench.commit(failing).await, Committed::Conflict);
        assert_eq!(bench.keys(CODES).await, [b"there"]);
        assert_eq!(bench.value(CODES, b"there").await.unwrap(), b"old");
        assert!(bench.keys(CLIENTS).await.is_empty());
        assert_eq!(bench.changed(Cursor::default()).await.0, []);
    }
    bench.clock.advance(Duration::from_mins(1));
    assert_eq!(bench.store.sweep(bench.clock.now(), 10).await.unwrap(), 0);
    assert_eq!(bench.commit(batch().check(CODES_OLD, b"z", Condition::Absent)).await, Committed::Applied);
    assert_eq!(bench.keys(CODES).await, [b"new"]);
    assert_eq!(bench.keys(CODES_OLD).await.len(), 0);
}

async fn each_condition_holds_exactly_when_it_says(bench: Bench) {
    _ = bench.put(CODES, b"there", b"v").await;
    let version = bench.get(CODES, b"there").await.unwrap().version;
    for (key, condition, holds) in [
        (b"there".as_slice(), Condition::Always, true),
        (b"there", Condition::Absent, false),
        (b"there", Condition::VersionIs(version), true),
        (b"there", Condition::VersionIs(version + 1), false),
        (b"there", Condition::VersionIs(0), false),
        (b"gone", Condition::Always, true),
        (b"gone", Condition::Absent, true),
        (b"gone", Condition::VersionIs(version), false),
        (b"gone", Condition::VersionIs(0), false),
    ] {
        let expected = if holds { Committed::Applied } else { Committed::Conflict };
        let outcome = bench.commit(Batch::new().check(CODES, key, condition)).await;
        assert_eq!(outcome, expected, "{key:?} {condition:?}");
    }
    // A check changes nothing.
    assert_eq!(bench.get(CODES, b"there").await.unwrap().version, version);
}

async fn a_malformed_batch_is_refused(bench: Bench) {
    let put = |key: &[u8]| Batch::new().put(CODES, key, Condition::Always, Put::lasting(b"v".to_vec()));
    let too_long = Put::lasting(vec![0; LONGEST_VALUE + 1]);
    for malformed in [
        put(b""),
        put(&[b'k'; LONGEST_KEY + 1]),
        put(b"k").delete(CODES, b"k", Condition::Always),
        put(b"k").check(CODES, b"k", Condition::Always),
        Batch::new().put(CODES, b"k", Condition::Always, too_long),
    ] {
        let outcome = bench.store.commit(malformed).await;
        assert!(matches!(outcome, Err(StoreError::Invalid(_))), "{outcome:?}");
    }
    assert!(bench.keys(CODES).await.is_empty());
    let same_key_elsewhere = put(b"k").delete(CODES_OLD, b"k", Condition::Always);
    assert_eq!(bench.commit(same_key_elsewhere).await, Committed::Applied);
}

async fn versions_grow_and_are_never_given_twice(bench: Bench) {
    let mut versions = vec![0];
    for _ in 0..3 {
        _ = bench.put(CODES, b"k", b"v").await;
        versions.push(bench.get(CODES, b"k").await.unwrap().version);
        _ = bench.put(CODES, b"other", b"v").await;
        versions.push(bench.get(CODES, b"other").await.unwrap().version);
        _ = bench.commit(Batch::new().delete(CODES, b"k", Condition::Always)).await;
    }
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
}

async fn a_row_is_gone_at_the_very_instant_it_expires(bench: Bench) {
    _ = bench.put_until(CODES, b"k", bench.in_seconds(60)).await;
    bench.clock.advance(Duration::from_millis(59_999));
    assert!(bench.get(CODES, b"k").await.is_some());
    assert_eq!(bench.keys(CODES).await.len(), 1);
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(bench.get(CODES, b"k").await, None);
    assert!(bench.keys(CODES).await.is_empty());
}

async fn an_expired_row_counts_as_absent(bench: Bench) {
    let until = |seconds| Put::until(bench.in_seconds(seconds), b"v".to_vec());
    _ = bench.commit(Batch::new().put(CODES, b"k", Condition::Absent, until(60))).await;
    let version = bench.get(CODES, b"k").await.unwrap().version;
    let again = || Batch::new().put(CODES, b"k", Condition::Absent, until(60));
    assert_eq!(bench.commit(again()).await, Committed::Conflict);
    bench.clock.advance(Duration::from_mins(1));
    let taken = Batch::new().delete(CODES, b"k", Condition::VersionIs(version));
    assert_eq!(bench.commit(taken).await, Committed::Conflict);
    assert_eq!(bench.commit(again()).await, Committed::Applied);
    // Its earlier expiry doesn't take the new row along.
    assert_eq!(bench.store.sweep(bench.clock.now(), 10).await.unwrap(), 0);
    assert!(bench.get(CODES, b"k").await.unwrap().version > version);
}

async fn an_expiry_is_cut_to_milliseconds(bench: Bench) {
    let expires_at = bench.in_seconds(5);
    _ = bench.put_until(CODES, b"k", expires_at + chrono::Duration::nanoseconds(999_999)).await;
    assert_eq!(bench.get(CODES, b"k").await.unwrap().expires_at, Some(expires_at));
    // Before the epoch, and at the ends of time.
    for expired in [DateTime::UNIX_EPOCH - chrono::Duration::milliseconds(1), DateTime::<Utc>::MIN_UTC] {
        _ = bench.put_until(CODES, b"k", expired).await;
        assert_eq!(bench.get(CODES, b"k").await, None);
    }
    _ = bench.put_until(CODES, b"k", DateTime::<Utc>::MAX_UTC).await;
    assert!(bench.get(CODES, b"k").await.is_some());
    assert_eq!(bench.store.sweep(bench.clock.now(), 10).await.unwrap(), 0);
}

async fn a_sweep_removes_what_expired_and_nothing_else(bench: Bench) {
    for number in 0..10_u8 {
        _ = bench.put_until(CODES, &[number, 1], bench.in_seconds(10)).await;
        _ = bench.put_until(CLIENTS, &[number, 1], bench.in_seconds(20)).await;
    }
    _ = bench.put(CODES, b"lasting", b"v").await;
    _ = bench.put_until(CODES, &[3, 1], bench.in_seconds(40)).await;
    _ = bench.put(CODES, &[4, 1], b"v").await;
    _ = bench.commit(Batch::new().delete(CODES, [5, 1], Condition::Always)).await;
    let cursor = bench.changed(Cursor::default()).await.1;

    bench.clock.advance(Duration::from_millis(9_999));
    assert_eq!(bench.store.sweep(bench.clock.now(), 100).await.unwrap(), 0);
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(bench.store.sweep(bench.clock.now(), 0).await.unwrap(), 0);
    assert_eq!(bench.store.sweep(bench.clock.now(), 5).await.unwrap(), 5);
    assert_eq!(bench.store.sweep(bench.clock.now(), 5).await.unwrap(), 2);
    assert_eq!(bench.store.sweep(bench.clock.now(), 5).await.unwrap(), 0);
    assert_eq!(bench.keys(CODES).await, [&[3, 1], &[4, 1], b"lasting".as_slice()]);
    assert_eq!(bench.changed(cursor).await.0.len(), 0);

    bench.clock.advance(Duration::from_secs(10));
    assert_eq!(bench.store.sweep(bench.clock.now(), 100).await.unwrap(), 10);
    assert_eq!(bench.changed(cursor).await.0.len(), 10, "the mirrors hear of it");
    bench.clock.advance(Duration::from_secs(20));
    assert_eq!(bench.store.sweep(bench.clock.now(), 100).await.unwrap(), 1);
    assert_eq!(bench.keys(CODES).await, [&[4, 1], b"lasting".as_slice()]);
}

async fn a_sweep_begins_with_what_expired_first(bench: Bench) {
    let lists = Table::mirrored("a_table_before_the_clients");
    // Neither in the order of tables and keys, nor in that in which they are written.
    let rows = [
        (lists, "b", 4),
        (CLIENTS, "c", 2),
        (CLIENTS, "a", 5),
        (lists, "a", 6),
        (lists, "d", 1),
        (CLIENTS, "b", 3),
    ];
    for (table, key, seconds) in rows {
        _ = bench.put_until(table, key.as_bytes(), bench.in_seconds(seconds)).await;
    }
    let mut cursor = bench.changed(Cursor::default()).await.1;
    bench.clock.advance(Duration::from_mins(1));
    let mut swept = Vec::new();
    for _ in rows {
        assert_eq!(bench.store.sweep(bench.clock.now(), 1).await.unwrap(), 1);
        let (changed, next) = bench.changed(cursor).await;
        swept.extend(changed.into_iter().map(|(table, key)| (table, String::from_utf8(key).unwrap())));
        cursor = next;
    }
    let mut expected = rows;
    expected.sort_by_key(|(_, _, seconds)| *seconds);
    assert_eq!(swept, expected.map(|(table, key, _)| (table.name.to_owned(), key.to_owned())));
}

async fn a_scan_goes_page_by_page_in_key_order(bench: Bench) {
    let mut keys: Vec<Vec<u8>> = vec![vec![0], vec![0, 0], vec![0, 255], vec![1], vec![255], vec![255, 0]];
    for key in keys.iter().rev() {
        _ = bench.put(CODES, key, b"v").await;
    }
    _ = bench.put_until(CODES, &[0, 7], bench.in_seconds(1)).await;
    _ = bench.put_until(CODES, &[1, 7], bench.in_seconds(1)).await;
    bench.clock.advance(Duration::from_secs(1));

    let mut scanned: Vec<Vec<u8>> = Vec::new();
    loop {
        let after = scanned.last().map(Vec::as_slice);
        let page = bench.store.scan(CODES, after, 4).await.unwrap();
        // An expired row takes no live row's place on a page.
        assert!(page.len() == 4 || scanned.len() + page.len() == keys.len());
        if page.is_empty() {
            break;
        }
        scanned.extend(page.into_iter().map(|(key, _)| key));
    }
    assert_eq!(scanned, keys);
    // The key behind which it begins need not be there.
    let behind = bench.store.scan(CODES, Some(&[0, 8]), 9).await.unwrap();
    assert_eq!(behind.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), keys.split_off(2));
    assert!(bench.store.scan(CODES, None, 0).await.unwrap().is_empty());
}

async fn tables_do_not_leak_into_each_other(bench: Bench) {
    _ = bench.put(CODES, b"_old", b"codes").await;
    _ = bench.put(CODES_OLD, b"k", b"codes_old").await;
    _ = bench.put(CODES_OLD, b"_old", b"codes_old").await;
    assert_eq!(bench.keys(CODES).await, [b"_old"]);
    assert_eq!(bench.keys(CODES_OLD).await, [b"_old".as_slice(), b"k"]);
    assert_eq!(bench.value(CODES, b"_old").await.unwrap(), b"codes");
    assert_eq!(bench.keys(Table::plain("code")).await.len(), 0);
}

async fn changes_come_in_commit_order_page_by_page(bench: Bench) {
    let (rows, start) = bench.changed(Cursor::default()).await;
    assert_eq!((rows, start.place), (vec![], 0));
    let mut expected: Vec<Vec<u8>> = Vec::new();
    for start in (0..2_000_u32).step_by(100) {
        let mut batch = Batch::new().put(CODES, start.to_be_bytes(), Condition::Always, Put::lasting(vec![]));
        for number in (start..start + 100).rev() {
            batch = batch.put(CLIENTS, number.to_be_bytes(), Condition::Absent, Put::lasting(vec![]));
            expected.push(number.to_be_bytes().to_vec());
        }
        _ = bench.commit(batch).await;
    }
    let delete = Batch::new().delete(CLIENTS, 7_u32.to_be_bytes(), Condition::Always);
    _ = bench.commit(delete.check(CLIENTS, 8_u32.to_be_bytes(), Condition::Always)).await;
    expected.push(7_u32.to_be_bytes().to_vec());
    _ = bench.commit(Batch::new().put(CLIENTS, [0; 4], Condition::Absent, Put::lasting(vec![]))).await;

    let mut changed = Vec::new();
    let mut cursor = start;
    loop {
        let (rows, next) = bench.changed(cursor).await;
        assert!(rows.len() <= 1000);
        if rows.is_empty() {
            assert_eq!(next, cursor);
            break;
        }
        assert!(next.place > cursor.place);
        cursor = next;
        assert!(rows.iter().all(|(table, _)| table == "clients"));
        changed.extend(rows.into_iter().map(|(_, key)| key));
    }
    assert!(changed == expected);
}

async fn a_cursor_out_of_reach_is_reset(bench: Bench) {
    let write = async |range: std::ops::Range<u64>| {
        let mut batch = Batch::new();
        for number in range {
            batch = batch.put(CLIENTS, number.to_be_bytes(), Condition::Always, Put::lasting(vec![]));
        }
        _ = bench.commit(batch).await;
    };
    write(0..CHANGES_KEPT).await;
    assert_eq!(bench.changed(Cursor::default()).await.0.len(), 1000);
    write(0..1).await;
    let reset = bench.store.changes(Cursor::default()).await.unwrap();
    let Changes::Reset { next } = reset else { panic!("{reset:?}") };
    assert_eq!(bench.changed(next).await, (vec![], next));
    write(5..6).await;
    assert_eq!(bench.changed(next).await.0, [("clients".to_owned(), 5_u64.to_be_bytes().to_vec())]);
    // From a store that was ahead of this one.
    let ahead = bench.store.changes(Cursor::AHEAD).await.unwrap();
    let Changes::Reset { next } = ahead else { panic!("{ahead:?}") };
    assert_eq!(bench.changed(next).await, (vec![], next), "it is the place of the newest commit");
}

async fn a_cursor_of_another_epoch_is_reset(bench: Bench) {
    _ = bench.put(CLIENTS, b"a", b"").await;
    let (_, seen) = bench.changed(Cursor::default()).await;
    assert_ne!(seen.epoch, 0, "a store's own epoch is never none");
    _ = bench.put(CLIENTS, b"b", b"").await;
    let (rows, newest) = bench.changed(seen).await;
    assert_eq!((rows.len(), newest.epoch), (1, seen.epoch));
    // The same place in the history of another server: what came before it here was never seen.
    let elsewhere = Cursor { epoch: seen.epoch ^ 2, ..seen };
    assert_eq!(bench.store.changes(elsewhere).await.unwrap(), Changes::Reset { next: newest });
}

async fn whoever_waits_for_a_change_is_woken_by_it(bench: Bench) {
    _ = bench.put(CLIENTS, b"a", b"").await;
    bench.store.changed(Cursor::default()).await;
    let (_, newest) = bench.changed(Cursor::default()).await;
    let waiting = tokio::spawn({
        let store = bench.store.clone();
        async move { store.changed(newest).await }
    });
    tokio::task::yield_now().await;
    _ = bench.put(CLIENTS, b"b", b"").await;
    tokio::time::timeout(Duration::from_mins(1), waiting).await.expect("it is woken").unwrap();
    assert_eq!(bench.changed(newest).await.0, [("clients".to_owned(), b"b".to_vec())]);
}

async fn big_values_and_long_keys_are_kept(bench: Bench) {
    let big: Vec<u8> = (0..1 << 20).map(|n: u32| n.to_be_bytes()[2] ^ n.to_be_bytes()[3]).collect();
    for length in [1, 2047, 2048, 2049, 4096, 4097, 1 << 20] {
        _ = bench.put(CODES, b"k", &big[..length]).await;
        assert!(bench.value(CODES, b"k").await.unwrap() == big[..length], "{length}");
    }
    _ = bench.put(CODES, &[7; LONGEST_KEY], &big[..3000]).await;
    let rows = bench.store.scan(CODES, None, 9).await.unwrap();
    assert_eq!(rows.iter().map(|(_, row)| row.value.len()).collect::<Vec<_>>(), [3000, 1 << 20]);
    _ = bench.put(CODES, b"k", b"small").await;
    assert_eq!(bench.value(CODES, b"k").await.unwrap(), b"small");
    _ = bench.put_until(CODES, &[7; LONGEST_KEY], bench.in_seconds(-1)).await;
    assert_eq!(bench.store.sweep(bench.clock.now(), 9).await.unwrap(), 1);
    assert_eq!(bench.keys(CODES).await, [b"k"]);
}

/// Runs `task` for every number below `count` at once; the sum of what they answer.
async fn race<F: Future<Output = usize> + Send + 'static>(count: usize, task: impl Fn(usize) -> F) -> usize {
    let barrier = Arc::new(tokio::sync::Barrier::new(count));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..count {
        let (barrier, task) = (barrier.clone(), task(number));
        tasks.spawn(async move {
            barrier.wait().await;
            task.await
        });
    }
    tasks.join_all().await.into_iter().sum()
}

async fn of_racing_creators_one_wins(bench: Bench) {
    for round in 0..10_u8 {
        let winner = Arc::new(AtomicUsize::new(usize::MAX));
        let wins = race(64, |number| {
            let (store, winner) = (bench.store.clone(), winner.clone());
            async move {
                let put = Put::lasting(number.to_string().into_bytes());
                let batch = Batch::new().put(CODES, [round], Condition::Absent, put);
                let won = store.commit(batch).await.unwrap() == Committed::Applied;
                if won {
                    winner.store(number, Ordering::SeqCst);
                }
                usize::from(won)
            }
        });
        assert_eq!(wins.await, 1);
        let value = bench.value(CODES, &[round]).await.unwrap();
        assert_eq!(value, winner.load(Ordering::SeqCst).to_string().into_bytes());
    }
}

async fn a_frozen_store_stays_as_it_was(bench: Bench) {
    for number in 0..40_u8 {
        _ = bench.put(CODES, &[number], b"old").await;
    }
    _ = bench.put_until(CODES, &[40], bench.in_seconds(10)).await;
    _ = bench.put_until(CODES, &[41], bench.in_seconds(-1)).await;
    _ = bench.put(CODES_OLD, b"k", b"old").await;
    let frozen = bench.store.freeze().await.unwrap();
    let all = bench.store.scan(CODES, None, usize::MAX).await.unwrap();
    assert_eq!(all.len(), 41);
    for number in 0..10_u8 {
        _ = bench.put(CODES, &[number], b"new").await;
        _ = bench.commit(Batch::new().delete(CODES, [number + 10], Condition::Always)).await;
        _ = bench.put(CODES, &[number, 1], b"added").await;
    }
    _ = bench.put(CODES, &[0], b"newer").await;
    _ = bench.put(CODES, &[10], b"put again").await;
    // What has ended since was there.
    bench.clock.advance(Duration::from_mins(1));
    assert_eq!(bench.store.sweep(bench.clock.now(), 100).await.unwrap(), 2);
    assert_eq!(frozen.scan(CODES, None, usize::MAX).await.unwrap(), all);
    let mut pages: Vec<(Vec<u8>, Row)> = Vec::new();
    loop {
        let after = pages.last().map(|(key, _)| key.clone());
        let page = frozen.scan(CODES, after.as_deref(), 3).await.unwrap();
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        pages.extend(page);
    }
    assert_eq!(pages, all);
    let behind = frozen.scan(CODES, Some(&[14]), 2).await.unwrap();
    assert_eq!(behind.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), [[15], [16]]);
    assert!(frozen.scan(CODES, None, 0).await.unwrap().is_empty());
    assert_eq!(frozen.scan(CODES_OLD, None, 9).await.unwrap().len(), 1);
    // Another view is of its own moment.
    let later = bench.store.freeze().await.unwrap().scan(CODES, None, usize::MAX).await.unwrap();
    assert_eq!(later, bench.store.scan(CODES, None, usize::MAX).await.unwrap());
    assert_ne!(later, all);
}

async fn a_frozen_store_keeps_big_values_that_are_rewritten(bench: Bench) {
    let value = |byte| vec![byte; 100_000];
    _ = bench.put(CODES, b"big", &value(1)).await;
    _ = bench.put(CODES, b"gone", &value(2)).await;
    let frozen = bench.store.freeze().await.unwrap();
    _ = bench.put(CODES, b"big", &value(3)).await;
    _ = bench.put(CODES, b"big", b"small").await;
    _ = bench.commit(Batch::new().delete(CODES, b"gone", Condition::Always)).await;
    let rows = frozen.scan(CODES, None, 9).await.unwrap();
    let values: Vec<_> = rows.into_iter().map(|(_, row)| row.value).collect();
    assert_eq!(values, [value(1), value(2)]);
}

async fn of_racing_takers_one_wins(bench: Bench) {
    for round in 0..10_u8 {
        _ = bench.put(CODES, &[round], b"v").await;
        let version = bench.get(CODES, &[round]).await.unwrap().version;
        let wins = race(16, |_| {
            let store = bench.store.clone();
            async move {
                let take = Batch::new().delete(CODES, [round], Condition::VersionIs(version));
                usize::from(store.commit(take).await.unwrap() == Committed::Applied)
            }
        });
        assert_eq!(wins.await, 1);
    }
}

async fn racing_increments_are_all_counted(bench: Bench) {
    const EACH: u64 = 20;
    _ = bench.put(CODES, b"count", &0_u64.to_be_bytes()).await;
    race(16, |_| {
        let store = bench.store.clone();
        async move {
            let mut done = 0;
            while done < EACH {
                let row = store.get(CODES, b"count").await.unwrap().unwrap();
                let count = u64::from_be_bytes(row.value.try_into().unwrap()) + 1;
                let put = Put::lasting(count.to_be_bytes().to_vec());
                let batch = Batch::new().put(CODES, b"count", Condition::VersionIs(row.version), put);
                if store.commit(batch).await.unwrap() == Committed::Applied {
                    done += 1;
                }
            }
            0
        }
    })
    .await;
    let count = bench.value(CODES, b"count").await.unwrap();
    assert_eq!(count, (16 * EACH).to_be_bytes());
}
