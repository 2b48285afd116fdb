//! Whatever is thrown at a verifier, its issuer is asked seldom.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use signet::clock::ManualClock;
use signet::oauth::Algorithm::{self, ES256, EdDSA};
use signet::verify::{Refusal, Verifier};

use crate::support::{AUDIENCE, FakeFetch, ISSUER, Issuer, NOW};

fn verifier(network: &FakeFetch) -> (Verifier, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(NOW));
    let verifier = Verifier::builder(ISSUER)
        .audience(AUDIENCE)
        .clock(clock.clone())
        .fetch(network.clone())
        .build()
        .unwrap();
    (verifier, clock)
}

/// A token under a `kid` that nobody published.
fn unknown(number: usize) -> String {
    let header = json!({ "alg": "ES256", "kid": format!("unknown-{number}"), "typ": "at+jwt" });
    Issuer::attacker().sign(ES256, &header.to_string(), serde_json::to_string(&Issuer::claims()).unwrap())
}

fn genuine(alg: Algorithm) -> String {
    let mut claims = Issuer::claims();
    claims.exp = NOW + 100_000;
    Issuer::new().token(alg, &claims)
}

#[tokio::test]
async fn a_thousand_unknown_keys_while_the_issuer_is_down() {
    let network = FakeFetch::of(Issuer::new(), &[ES256]);
    let (verifier, clock) = verifier(&network);
    verifier.verify(&genuine(ES256)).await.unwrap();
    network.go_down();
    let before = network.all_calls();
    for number in 0..1000 {
        // One every 100 ms: 100 seconds in all.
        clock.advance(Duration::from_millis(100));
        let refusal = verifier.verify(&unknown(number)).await.unwrap_err();
        assert!(matches!(refusal, Refusal::UnknownKey | Refusal::KeysUnavailable));
    }
    let calls = network.all_calls() - before;
    assert!((1..=10).contains(&calls), "{calls} fetches");
    // Good tokens go on being accepted meanwhile: their status list has not expired.
    verifier.verify(&genuine(ES256)).await.unwrap();
}

#[tokio::test]
async fn a_thousand_unknown_keys_while_the_issuer_is_up() {
    let network = FakeFetch::of(Issuer::new(), &[ES256]);
    let (verifier, clock) = verifier(&network);
    verifier.verify(&genuine(ES256)).await.unwrap();
    let before = network.all_calls();
    for number in 0..1000 {
        clock.advance(Duration::from_millis(100));
        assert_eq!(verifier.verify(&unknown(number)).await, Err(Refusal::UnknownKey));
    }
    let calls = network.all_calls() - before;
    assert!((1..=11).contains(&calls), "{calls} fetches");
}

#[tokio::test]
async fn a_thousand_tokens_before_the_issuer_was_ever_up() {
    let network = FakeFetch::default();
    let (verifier, clock) = verifier(&network);
    let token = genuine(ES256);
    for _ in 0..1000 {
        clock.advance(Duration::from_millis(100));
        assert_eq!(verifier.verify(&token).await, Err(Refusal::KeysUnavailable));
    }
    assert!(network.all_calls() <= 10, "{} fetches", network.all_calls());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_tokens_of_a_new_key_at_once_share_one_fetch() {
    let network = FakeFetch::of(Issuer::new(), &[ES256]);
    let (verifier, clock) = verifier(&network);
    verifier.verify(&genuine(ES256)).await.unwrap();
    clock.advance(Duration::from_secs(1));
    network.put(&FakeFetch::jwks_uri(), Issuer::new().jwks(&[ES256, EdDSA]), 300);
    let hold = network.hold().await;
    let token = genuine(EdDSA);
    let verifications: Vec<_> = (0..100)
        .map(|_| {
            let (verifier, token) = (verifier.clone(), token.clone());
            tokio::spawn(async move { verifier.verify(&token).await })
        })
        .collect();
    drop(hold);
    for verification in verifications {
        verification.await.unwrap().unwrap();
    }
    assert_eq!(network.calls(&FakeFetch::jwks_uri()), 2);
}

#[tokio::test]
async fn a_rotation_with_its_lead_never_costs_a_token() {
    // The next key is published one lifetime of the JWKS before it signs: nobody meets an unknown key.
    let network = FakeFetch::of(Issuer::new(), &[ES256]);
    let (verifier, clock) = verifier(&network);
    verifier.verify(&genuine(ES256)).await.unwrap();
    network.put(&FakeFetch::jwks_uri(), Issuer::new().jwks(&[ES256, EdDSA]), 300);
    for second in 0..900 {
        clock.advance(Duration::from_secs(1));
        let alg = if second < 300 { ES256 } else { EdDSA };
        verifier.verify(&genuine(alg)).await.unwrap();
        tokio::task::yield_now().await;
    }
    // By its age alone, 4 times in 15 minutes at most: every 225 s.
    assert!(network.calls(&FakeFetch::jwks_uri()) <= 5, "{}", network.calls(&FakeFetch::jwks_uri()));
}
