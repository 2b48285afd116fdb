//! No forged token is accepted, whatever the algorithm of the key.

use std::sync::Arc;
use std::time::Duration;

use signet::clock::ManualClock;
use signet::oauth::{Algorithm, Resource};
use signet::verify::{Expectations, ExpectedAudience, KeySet, Verifier, check};

use crate::forgeries::{Forgery, Target, bit_flips, for_others, forgeries};
use crate::support::{AUDIENCE, FakeFetch, ISSUER, Issuer, NOW};

/// Runs `test` against a key of every algorithm.
fn for_every_algorithm(test: impl Fn(&Target<'_>, Algorithm)) {
    let issuer = Issuer::new();
    for alg in Algorithm::ALL {
        let sign = |message: &[u8]| issuer.signature(alg, message);
        test(&Target { jwk: issuer.jwk(alg), claims: Issuer::claims(), sign: &sign }, alg);
    }
}

fn keys() -> KeySet {
    Issuer::new().key_set(&Algorithm::ALL)
}

fn is_accepted(token: &str, keys: &KeySet) -> bool {
    let audience = [Resource::parse(AUDIENCE).unwrap()];
    let expected = Expectations {
        issuer: ISSUER,
        audience: ExpectedAudience::AnyOf(&audience),
        leeway: Duration::from_mins(1),
        now: NOW,
    };
    check(token, &expected, keys).is_ok()
}

fn assert_none_accepted(alg: Algorithm, list: &[Forgery], keys: &KeySet) {
    let accepted: Vec<&str> =
        list.iter().filter(|(_, token)| is_accepted(token, keys)).map(|(name, _)| name.as_str()).collect();
    assert!(accepted.is_empty(), "{alg}: accepted {accepted:#?}");
}

#[test]
fn the_genuine_token_is_accepted() {
    let keys = keys();
    for_every_algorithm(|target, alg| assert!(is_accepted(&target.genuine(), &keys), "{alg}"));
}

#[test]
fn no_forgery_is_accepted() {
    let keys = keys();
    for_every_algorithm(|target, alg| {
        let mut list = forgeries(target);
        list.extend(for_others(target));
        assert!(list.len() >= 400, "{alg}: only {} forgeries", list.len());
        let genuine = target.genuine();
        assert!(list.iter().all(|(_, token)| *token != genuine), "{alg}: a forgery is the genuine token");
        assert_none_accepted(alg, &list, &keys);
    });
}

#[test]
fn no_token_with_a_bit_changed_is_accepted() {
    let keys = keys();
    for_every_algorithm(|target, alg| assert_none_accepted(alg, &bit_flips(target), &keys));
}

#[test]
fn no_prefix_of_a_token_is_accepted() {
    let keys = keys();
    for_every_algorithm(|target, alg| {
        let genuine = target.genuine();
        for end in 0..genuine.len() {
            assert!(!is_accepted(&genuine[..end], &keys), "{alg}: the first {end} letters");
        }
    });
}

#[tokio::test]
async fn the_verifier_accepts_none_either_and_asks_nobody_about_them() {
    let issuer = Issuer::new();
    for alg in Algorithm::ALL {
        let network = FakeFetch::of(issuer, &Algorithm::ALL);
        let verifier = Verifier::builder(ISSUER)
            .audience(AUDIENCE)
            .clock(Arc::new(ManualClock::at(NOW)))
            .fetch(network.clone())
            .build()
            .unwrap();
        let sign = |message: &[u8]| issuer.signature(alg, message);
        let target = Target { jwk: issuer.jwk(alg), claims: Issuer::claims(), sign: &sign };
        assert!(verifier.verify(&target.genuine()).await.is_ok(), "{alg}");
        let calls = network.all_calls();
        for (name, token) in forgeries(&target).into_iter().chain(for_others(&target)) {
            assert!(verifier.verify(&token).await.is_err(), "{alg}: {name}");
        }
        assert_eq!(network.all_calls(), calls, "{alg}: time stands still, so nothing is due");
    }
}
