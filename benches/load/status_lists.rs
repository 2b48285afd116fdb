//! The status lists of many live tokens, by the service's own rooms with a store in memory:
//! `status_lists LIVE_TOKENS REVOKED_PER_MILLE [CUT_OFFS]` takes that many places, revokes a random share of them, cuts
//! that many subjects off, then builds every list, and prints sizes, times and memory.

mod filler;

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use signet::app::{App, Ground};
use signet::clock::SystemClock;
use signet::config::Config;
use signet::entropy::{Entropy, SeededEntropy, SystemEntropy};
use signet::oauth::{StatusReference, Subject};
use signet::protocol::Services;
use signet::store::MemoryStore;
use signet::tokens::Whole;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark measures time and prints figures"
)]
async fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let mut next = || args.next().ok_or("usage: status_lists LIVE_TOKENS REVOKED_PER_MILLE [CUT_OFFS]");
    let (live, per_mille) = (next()??, next()??);
    let cut_offs = next().ok().transpose()?.unwrap_or(0);

    let dir = std::env::temp_dir().join(format!("signet-status-lists-{}", std::process::id()));
    let config = Config::for_tests(&dir);
    let clock = SystemClock::shared();
    let ground = Ground { store: MemoryStore::new(clock.clone()), clock, entropy: SystemEntropy::shared() };
    let app = App::open(&config, ground).await?;
    let services = &app.state.services;
    let (empty, begun) = (resident()?, Instant::now());
    let uris = hand_out(services, live, per_mille).await?;
    for number in 0..cut_offs {
        services
            .revocations
            .revoke_before_now(&Whole::Subject(Subject::parse(&format!("user_{number}"))?))
            .await?;
    }
    println!(
        "{live} tokens, {} revoked, {cut_offs} subjects cut off, in {:.1} s",
        services.status_lists.revoked(),
        begun.elapsed().as_secs_f64()
    );
    let filled = resident()?;
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
        resident()?
    );
    Ok(std::fs::remove_dir_all(&dir)?)
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

/// In MiB.
fn resident() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse::<u64>()? / 1024)
}
