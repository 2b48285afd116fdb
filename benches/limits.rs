//! What counting a request costs: it is on the path of every token.
//!
//! `cargo bench --bench limits`. A token takes some 30 µs; its limit should not take 0.3.
#![expect(clippy::unwrap_used, reason = "a bench that can't be set up has to stop")]

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use divan::{Bencher, black_box};
use signet::clock::{SharedClock, SystemClock};
use signet::config::Config;
use signet::limits::{ClientAddress, Limit, Limits, SlidingWindow, TrustedProxies};
use signet::oauth::ClientId;

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler<mimalloc::MiMalloc> = divan::AllocProfiler::new(mimalloc::MiMalloc);

fn main() {
    divan::main();
}

fn clients(count: usize) -> Vec<ClientId> {
    (0..count).map(|n| ClientId::parse(&format!("7f137f53-033f-4324-8e04-{n:012}")).unwrap()).collect()
}

/// As the token endpoint does it, with as many clients taking turns.
#[divan::bench(args = [1, 1000, 100_000], threads = [1, 2])]
fn a_token_request(bencher: Bencher<'_, '_>, count: usize) {
    let clock: SharedClock = SystemClock::shared();
    let config = Config::for_tests(std::path::Path::new("unused"));
    let limits = Limits::new(&config.limits, &clock);
    let clients = clients(count);
    let turn = AtomicUsize::new(0);
    for client in &clients {
        limits.token_per_client.spend(client).unwrap();
    }
    bencher.bench(|| {
        let client = &clients[turn.fetch_add(1, Ordering::Relaxed) % count];
        black_box(limits.token_per_client.spend(client).ok())
    });
}

/// A refusal costs the same.
#[divan::bench]
fn a_refused_request(bencher: Bencher<'_, '_>) {
    let limit = Limit { requests: 100.try_into().unwrap(), span: Duration::from_hours(1) };
    let windows = SlidingWindow::new(limit, SystemClock::shared());
    let client = &clients(1)[0];
    for _ in 0..100 {
        windows.spend(client);
    }
    bencher.bench(|| assert!(!windows.spend(black_box(client)).admitted));
}

/// Whom a request through two proxies counts for.
#[divan::bench]
fn an_address_behind_two_proxies(bencher: Bencher<'_, '_>) {
    let networks = vec!["10.0.0.0/8".parse().unwrap()];
    let proxies = Arc::new(TrustedProxies { networks, ..TrustedProxies::default() });
    let peer: IpAddr = "10.0.0.1".parse().unwrap();
    let line: &[u8] = b"192.0.2.1, 198.51.100.9, 10.0.0.2";
    bencher.bench(|| -> ClientAddress { proxies.client(black_box(peer), std::iter::once(line)) });
}
