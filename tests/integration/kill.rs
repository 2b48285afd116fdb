//! What was acknowledged survives `kill -9`: a writing process is killed at a random moment, again and
//! again on the same directory, and what it told about is compared with what the directory holds.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helper may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use signet::clock::SystemClock;
use signet::entropy::{Entropy, SeededEntropy};
use signet::store::sled_store::SledStore;
use signet::store::{Batch, Committed, Condition, Put, Store, Table};

const ROWS: Table = Table::plain("rows");
const TWINS: Table = Table::mirrored("twins");
const PRIZES: Table = Table::plain("prizes");

const ROUNDS: u32 = 50;
const WRITERS: u32 = 8;
/// The directory, and by its presence that this process is the one to be killed.
const DIR: &str = "SIGNET_TEST_KILL_DIR";
const ROUND: &str = "SIGNET_TEST_KILL_ROUND";

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(9));
    let mut told = Told::default();
    for round in 0..ROUNDS {
        // In every fifth round it is killed while it opens the store.
        let kill_after = if round % 5 == 4 { 1 } else { 2 + u32::from_be_bytes(entropy.bytes()) % 500 };
        told.listen_to_one_that_is_killed(dir.path(), round, kill_after);
        told.compare_with(dir.path());
    }
    println!("{} rows and {} prizes told in {ROUNDS} rounds", told.rows.len(), told.prizes.len());
    assert!(told.rows.len() > 1000 && told.prizes.len() > 100);
}

/// Everything that was acknowledged so far.
#[derive(Default)]
struct Told {
    rows: BTreeSet<String>,
    prizes: BTreeMap<String, String>,
}

impl Told {
    fn listen_to_one_that_is_killed(&mut self, dir: &Path, round: u32, kill_after: u32) {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["kill::write_until_killed", "--exact", "--nocapture", "--test-threads=1"])
            .env(DIR, dir)
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut heard = 0;
        for line in BufReader::new(writer.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["opening"] => {}
                ["row", key] => _ = self.rows.insert(key.to_owned()),
                ["prize", key, winner] => {
                    let other = self.prizes.insert(key.to_owned(), winner.to_owned());
                    assert_eq!(other, None, "prize {key} was won twice");
                }
                _ => continue,
            }
            heard += 1;
            if heard == kill_after {
                // SIGKILL; what it still told before that is heard all the same.
                writer.kill().unwrap();
            }
        }
        assert!(heard >= kill_after, "the writer stopped by itself");
        writer.wait().unwrap();
    }

    fn compare_with(&self, dir: &Path) {
        let store = SledStore::open(dir, SystemClock::shared()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let keys = |table| {
            let rows = runtime.block_on(store.scan(table, None, usize::MAX)).unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            rows.into_iter().map(|(key, row)| (text(key), row.value)).collect::<BTreeMap<_, _>>()
        };
        let (rows, twins, prizes) = (keys(ROWS), keys(TWINS), keys(PRIZES));
        for key in &self.rows {
            assert!(rows.contains_key(key), "row {key} is lost");
        }
        for (key, value) in &rows {
            assert!(*value == content(key), "row {key} is not complete");
        }
        assert!(rows.keys().eq(twins.keys()), "a batch was applied by half");
        for (key, winner) in &self.prizes {
            assert_eq!(prizes.get(key).map(Vec::as_slice), Some(winner.as_bytes()), "prize {key}");
        }
    }
}

/// A value that depends on the key; every seventh is long enough to lie in pieces.
fn content(key: &str) -> Vec<u8> {
    let length = if key.len() % 7 == key.bytes().map(usize::from).sum::<usize>() % 7 { 10_000 } else { 100 };
    key.bytes().cycle().take(length).collect()
}

/// Not a test: the process that is killed. As a test, without a directory, it does nothing.
#[test]
fn write_until_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let round = std::env::var(ROUND).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    tell("opening");
    let store = SledStore::open(dir, SystemClock::shared()).unwrap();
    runtime.block_on(async {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let (store, round) = (store.clone(), round.clone());
            writers.spawn(async move {
                for number in 0.. {
                    write(&store, &format!("{round}-{writer}-{number}")).await;
                    race(&store, &format!("{round}-{number}"), writer).await;
                }
            });
        }
        writers.join_all().await;
    });
}

async fn write(store: &SledStore, key: &str) {
    let batch = Batch::new().put(ROWS, key, Condition::Absent, Put::lasting(content(key))).put(
        TWINS,
        key,
        Condition::Absent,
        Put::lasting(vec![]),
    );
    assert_eq!(store.commit(batch).await.unwrap(), Committed::Applied);
    tell(&format!("row {key}"));
}

async fn race(store: &SledStore, key: &str, writer: u32) {
    let put = Put::lasting(writer.to_string().into_bytes());
    let batch = Batch::new().put(PRIZES, key, Condition::Absent, put);
    if store.commit(batch).await.unwrap() == Committed::Applied {
        tell(&format!("prize {key} {writer}"));
    }
}

/// One line, in one write, so that a kill leaves whole lines.
fn tell(line: &str) {
    let line = format!("{line}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).expect("the parent listens");
}
