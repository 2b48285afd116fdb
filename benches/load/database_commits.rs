//! How many commits a second a PostgreSQL database acknowledges: to a table that nobody mirrors, and to one whose changes
//! every node follows, such as revocations. The database counts, not this program: a debug build will do.
//!
//! `cargo run --example database_commits -- HOST PORT WRITERS`, on a server that `tests/support/postgres.sh` started.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "it measures, and says what")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use signet::entropy::SystemEntropy;
use signet::store::postgres::{PostgresHost, PostgresOptions, PostgresTls, TimeSource};
use signet::store::{Batch, Condition, PostgresStore, Put, Store, StoreError, Table};
use tokio::task::JoinSet;

const TABLES: [Table; 2] = [Table::plain("bench_plain"), Table::mirrored("bench_mirrored")];
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |name: &str| arguments.next().ok_or(format!("{name} is missing"));
    let (host, port, writers) = (next("HOST")?, next("PORT")?.parse()?, next("WRITERS")?.parse()?);
    let store = PostgresStore::open(options(host, port)).await?;
    let number = Arc::new(AtomicU64::new(0));
    for table in TABLES {
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            rates.push(round(&store, &number, (table, writers)).await?);
        }
        rates.sort_unstable();
        let (least, median, most) = (rates[0], rates[ROUNDS / 2], rates[ROUNDS - 1]);
        println!("{}: {median} commits a second ({least}..{most}), {writers} writers", table.name);
    }
    Ok(())
}

/// Commits one new row after the other, by so many writers; says how many a second.
async fn round(
    store: &Arc<PostgresStore>,
    number: &Arc<AtomicU64>,
    (table, writers): (Table, usize),
) -> Result<u64, Box<dyn std::error::Error>> {
    let (began, mut tasks) = (Instant::now(), JoinSet::new());
    for _ in 0..writers {
        let (store, number) = (store.clone(), number.clone());
        tasks.spawn(async move {
            let mut made = 0;
            while began.elapsed() < ROUND {
                let key = format!("{}-{}", std::process::id(), number.fetch_add(1, Ordering::Relaxed));
                let put = Put::lasting(vec![7; 100]);
                let _applied = store.commit(Batch::new().put(table, key, Condition::Always, put)).await?;
                made += 1;
            }
            Ok::<u64, StoreError>(made)
        });
    }
    let mut made = 0;
    for writer in tasks.join_all().await {
        made += writer?;
    }
    let millis = u64::try_from(began.elapsed().as_millis())?;
    Ok(made * 1000 / millis.max(1))
}

fn options(host: String, port: u16) -> PostgresOptions {
    PostgresOptions {
        hosts: vec![PostgresHost { host, port }],
        user: "signet".to_owned(),
        database: "signet".to_owned(),
        password: None,
        tls: PostgresTls::Plaintext,
        session_options: None,
        timeout: Duration::from_secs(10),
        connections: 16,
        waiting: 1024,
        changes_kept: 100_000,
        time: TimeSource::Database,
        entropy: SystemEntropy::shared(),
    }
}
