//! The status lists of many live tokens, by the service's own rooms with a store in memory:
//! `status_lists LIVE_TOKENS REVOKED_PER_MILLE [CUT_OFFS [KEPT]]` takes that many places, revokes a random share of them, cuts
//! that many subjects off, then builds every list, and prints sizes, times and memory. Then it takes in so many cut-offs more, set
//! evenly over the 32 days for which each is kept, and prints what one costs in memory, and what one more takes without and beside them.

mod filler;

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use signet::app::{App, Ground};
use signet::clock::SystemClock;
use signet::config::Config;
use signet::entropy::{Entropy, SeededEntropy, SystemEntropy};
use signet::oauth::{ClientId, StatusReference, Subject};
use signet::protocol::Services;
use signet::store::typed::TypedTable;
use signet::store::{Batch, Condition, MemoryStore, Store, Table};
use signet::tokens::{Revocations, RevocationsReading, Whole};

const CUTOFFS: TypedTable<Value> = TypedTable::new(Table::mirrored(Revocations::CUTOFFS_TABLE));

/// For how many seconds a cut-off is kept by default: until the last grant from before it has ended, and two days more.
const GRANTS: u64 = 30 * 86_400;
const KEPT_FOR: u64 = GRANTS + 2 * 86_400;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark measures time and prints figures"
)]
async fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let mut next =
        || args.next().ok_or("usage: status_lists LIVE_TOKENS REVOKED_PER_MILLE [CUT_OFFS [KEPT]]");
    let (live, per_mille) = (next()??, next()??);
    let cut_offs = next().ok().transpose()?.unwrap_or(0);
    let kept = next().ok().transpose()?.unwrap_or(0);

    let dir = std::env::temp_dir().join(format!("signet-status-lists-{}", std::process::id()));
    let config = Config::for_tests(&dir);
    let clock = SystemClock::shared();
    let store = MemoryStore::new(clock.clone());
    let ground = Ground { store: store.clone(), clock, entropy: SystemEntropy::shared() };
    let app = App::open(&config, ground).await?;
    let services = &app.state.services;
    let (empty, begun) = (resident()? / 1024, Instant::now());
    let uris = hand_out(services, live, per_mille).await?;
    cut_off(services, "user", cut_offs).await?;
    println!(
        "{live} tokens, {} revoked, {cut_offs} subjects cut off, in {:.1} s",
        services.status_lists.revoked(),
        begun.elapsed().as_secs_f64()
    );
    let filled = resident()? / 1024;
    // Handing out took longer than a ring may go unread.
    app.rotate().await?;

    let (mut plain, mut packed, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for uri in &uris {
        let id = uri.rsplit('/').next().ok_or("a list without a name")?;
        let begun = Instant::now();
        let document = services.status.document(id)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        plain.push(document.body.len());
        packed.push(document.gzip.len());
    }
    println!(
        "{} lists; built in {:.1} s on one core, each in {} ms",
        uris.len(),
        times.iter().sum::<f64>() / 1e3,
        spread(&mut times)
    );
    let kib = |sizes: &[usize]| {
        sizes
            .iter()
            .map(|&size| f64::from(u32::try_from(size).unwrap_or(u32::MAX)) / 1024.0)
            .collect::<Vec<_>>()
    };
    let (mut plain, mut packed) = (kib(&plain), kib(&packed));
    println!(
        "each {} KiB, {} KiB by gzip; {:.0} KiB together, {:.0} KiB by gzip",
        spread(&mut plain),
        spread(&mut packed),
        plain.iter().sum::<f64>(),
        packed.iter().sum::<f64>()
    );
    println!(
        "resident: {empty} MiB empty, {filled} MiB with bits and rows in memory, {} MiB with the documents",
        resident()? / 1024
    );
    if kept > 0 {
        println!("one more cut-off: {}", one_more(services, "without").await?);
        let each = keep(services, store.as_ref(), kept).await?;
        println!("beside {kept} that are kept, {each} bytes each: {}", one_more(services, "beside").await?);
    }
    Ok(std::fs::remove_dir_all(&dir)?)
}

async fn cut_off(services: &Services, name: &str, count: u64) -> Outcome<()> {
    for number in 0..count {
        let whole = Whole::Subject(Subject::parse(&format!("{name}_{number}"))?);
        services.revocations.revoke_before_now(&whole).await?;
    }
    Ok(())
}

/// Takes in `kept` cut-offs as a node does that starts beside them; says how many bytes of memory each takes.
async fn keep(services: &Services, store: &dyn Store, kept: u64) -> Outcome<u64> {
    let now = services.clock.numeric_date();
    for first in (0..kept).step_by(1000) {
        let mut batch = Batch::new();
        for number in first..kept.min(first + 1000) {
            let before = now - i64::try_from(KEPT_FOR * number / kept)?;
            let (forget_at, grants_until) = (before + 3700, before + i64::try_from(GRANTS)?);
            let record = json!({ "before": before, "forget_at": forget_at, "grants_until": grants_until });
            batch = CUTOFFS.put(batch, format!("subject:kept_{number}"), Condition::Always, &record)?;
        }
        let _applied = store.commit(batch).await?;
    }
    let (mut reading, rows_only) = (RevocationsReading::default(), resident()?);
    while !reading.has_ended() {
        services.revocations.read_on(&mut reading).await?;
    }
    services.revocations.drop_ended();
    Ok(resident()?.saturating_sub(rows_only) * 1024 / kept)
}

/// What it takes, and what a look-up and a round of housekeeping take; in the mean.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
async fn one_more(services: &Services, name: &str) -> Outcome<String> {
    let begun = Instant::now();
    cut_off(services, name, 1000).await?;
    let (cutting_off, begun) = (begun.elapsed(), Instant::now());
    let client_id = ClientId::parse("filler")?;
    let subjects = (0..1000).map(|number| Subject::parse(&format!("{name}_{number}")));
    let subjects = subjects.collect::<Result<Vec<_>, _>>()?;
    for _ in 0..100 {
        let found = subjects.iter().filter_map(|each| services.revocations.cutoff(&client_id, each)).count();
        if found != subjects.len() {
            return Err("a cut-off does not count".into());
        }
    }
    let (looking_up, begun) = (begun.elapsed(), Instant::now());
    services.revocations.drop_ended();
    Ok(format!(
        "{:.1} µs, commit in memory included; a look-up {} ns; a round {:.2} ms",
        cutting_off.as_secs_f64() * 1e3,
        looking_up.as_nanos() / 100_000,
        begun.elapsed().as_secs_f64() * 1e3
    ))
}

/// Gives the URIs of the lists that were used.
async fn hand_out(services: &Arc<Services>, live: u64, per_mille: u64) -> Outcome<Vec<String>> {
    let chance: &dyn Entropy = &SeededEntropy::new(1);
    let now = services.clock.numeric_date();
    let (mut uris, mut last) = (Vec::<String>::new(), String::new());
    for number in 0..live {
        let place = if let Some(place) = services.status_indexes.take(now) {
            place
        } else {
            services.status_indexes.replenish().await?;
            services.status_indexes.take(now).ok_or("no list is open")?
        };
        if place.idx == 0 || last != place.uri() {
            last = place.uri().to_owned();
            uris.push(last.clone());
            services.status_indexes.replenish().await?;
        }
        if u64::from(u16::from_le_bytes(chance.bytes())) * 1000 < per_mille * (1 << 16) {
            let status = StatusReference { idx: place.idx, uri: last.clone() };
            services.revocations.revoke(&filler::claims(number, status, now)?).await?;
        }
    }
    Ok(uris)
}

fn spread(values: &mut [f64]) -> String {
    values.sort_unstable_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    format!("{:.1} ({:.1} to {:.1})", at(values.len() / 2), at(0), at(values.len().saturating_sub(1)))
}

/// In KiB.
fn resident() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse::<u64>()?)
}
