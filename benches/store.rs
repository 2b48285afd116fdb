//! How fast the store reads, and how fast it acknowledges; on the disk that holds the temporary directory.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use divan::Bencher;
use divan::counter::ItemsCount;
use signet::clock::SystemClock;
use signet::store::sled_store::SledStore;
use signet::store::{Batch, Condition, Put, Store, Table};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const CODES: Table = Table::plain("codes");
const CLIENTS: Table = Table::mirrored("clients");
const ROWS: u32 = 10_000;
/// How many commits each writer makes, one after the other, per measured round.
const COMMITS_EACH: u64 = 20;

fn main() {
    divan::main();
}

struct Fixture {
    runtime: Runtime,
    store: Arc<SledStore>,
    next: Arc<AtomicU64>,
    _dir: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), SystemClock::shared()).unwrap();
    let mut batch = Batch::new();
    for number in 0..ROWS {
        batch = batch.put(CODES, number.to_be_bytes(), Condition::Absent, Put::lasting(vec![7; 100]));
    }
    _ = runtime.block_on(store.commit(batch)).unwrap();
    Fixture { runtime, store, next: Arc::default(), _dir: dir }
}

#[divan::bench]
fn get(bencher: Bencher) {
    let fixture = fixture();
    bencher.bench(|| {
        let key = fixture.next.fetch_add(7919, Ordering::Relaxed) % u64::from(ROWS);
        let key = u32::try_from(key).unwrap().to_be_bytes();
        fixture.runtime.block_on(fixture.store.get(CODES, &key)).unwrap()
    });
}

#[divan::bench]
fn scan_100(bencher: Bencher) {
    let fixture = fixture();
    bencher.bench(|| fixture.runtime.block_on(fixture.store.scan(CODES, None, 100)).unwrap());
}

/// Each commit puts two rows, one of them mirrored and one that expires.
#[divan::bench(args = [1, 32, 256], sample_count = 10, sample_size = 1)]
fn commits_by_writers(bencher: Bencher, writers: u64) {
    let fixture = fixture();
    bencher.counter(ItemsCount::new(writers * COMMITS_EACH)).bench(|| {
        let mut tasks = JoinSet::new();
        for _ in 0..writers {
            let (store, next) = (fixture.store.clone(), fixture.next.clone());
            tasks.spawn_on(
                async move {
                    for _ in 0..COMMITS_EACH {
                        let key = next.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                        let until = chrono::DateTime::from_timestamp_secs(4_000_000_000).unwrap();
                        let batch = Batch::new()
                            .put(CODES, key.to_be_bytes(), Condition::Absent, Put::until(until, vec![7; 100]))
                            .put(CLIENTS, key.to_be_bytes(), Condition::Absent, Put::lasting(vec![7; 100]));
                        _ = store.commit(batch).await.unwrap();
                    }
                },
                fixture.runtime.handle(),
            );
        }
        fixture.runtime.block_on(tasks.join_all())
    });
}
