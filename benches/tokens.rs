//! What issuing an access token takes: time and allocations, of all that is Signet's own in a token request, from its
//! parameters to the signed token, and of the signature alone.
//!
//! `cargo bench --bench tokens`. Without HTTP, whose share `benches/load/run` and `benches/load/instructions` show.
#![expect(clippy::unwrap_used, reason = "a bench that can't be set up has to stop")]

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, black_box};
use signet::app::{App, Ground};
use signet::clock::SystemClock;
use signet::config::Config;
use signet::entropy::SystemEntropy;
use signet::oauth::Algorithm;
use signet::protocol::{Asked, Credentials, Defaults, Params, Services, asked_for_token};
use signet::store::MemoryStore;

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler<mimalloc::MiMalloc> = divan::AllocProfiler::new(mimalloc::MiMalloc);

fn main() {
    divan::main();
}

/// A service with its demo client, which signs with one algorithm.
struct Service {
    _dir: tempfile::TempDir,
    services: Arc<Services>,
    credentials: Credentials,
}

fn service(algorithm: Algorithm) -> Service {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::for_tests(dir.path());
    config.keys.algorithms = vec![algorithm];
    // Nobody follows the store here.
    config.keys.propagation = Duration::from_hours(1);
    let clock = SystemClock::shared();
    let store = MemoryStore::new(clock.clone());
    let ground = Ground { store, clock, entropy: SystemEntropy::shared() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (services, demo) = runtime.block_on(async {
        let app = App::open(&config, ground).await.unwrap();
        let demo = app.first_clients().await.unwrap().unwrap().demo.unwrap();
        (app.state.services.clone(), demo)
    });
    let credentials = Credentials::Basic {
        client_id: demo.client.client_id.to_string(),
        client_secret: demo.client_secret,
    };
    Service { _dir: dir, services, credentials }
}

/// As the token endpoint does it for a client that authenticates by HTTP Basic; see `benches/load/post.lua`.
#[divan::bench(args = [Algorithm::ES256, Algorithm::EdDSA])]
fn a_token(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let Service { _dir, services, credentials } = service(algorithm);
    bencher.bench(|| {
        let pairs = [("grant_type", "client_credentials"), ("scope", "read")];
        let params =
            Params::new(pairs.map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)))).unwrap();
        let asked = asked_for_token(&services, black_box(&credentials), &params, &Defaults::NONE).unwrap();
        assert!(matches!(asked, Asked::Answered(_)));
        asked
    });
}

/// The signature of as many bytes, alone.
#[divan::bench(args = [Algorithm::ES256, Algorithm::EdDSA])]
fn its_signature(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let Service { _dir, services, .. } = service(algorithm);
    let key = services.keys.signing_key(Some(algorithm)).unwrap();
    let signed = vec![b'x'; 600];
    bencher.bench(|| key.sign(black_box(&signed)).unwrap());
}
