//! No forged token is accepted, whatever the algorithm of the key.

use std::sync::Arc;
use std::time::Duration;

use signet::clock::ManualClock;
use signet::oauth::{Algorithm, Resource, TokenType};
use signet::verify::{Expectations, ExpectedAudience, KeySet, Refusal, Verifier, check};

use crate::forgeries::{Forgery, Target, bit_flips, for_others, forgeries};
use crate::support::{AUDIENCE, FakeFetch, ISSUER, Issuer, NOW};

/// Runs `test` against a key of every algorithm.
fn for_every_algorithm(test: impl Fn(&Target<'_>, Algorithm)) {
    let issuer = Issuer::new();
    for alg in Algorithm::ALL {
        let sign = |message: &[u8]| issuer.signature(alg, message);
        test(&Target::access_token(issuer.jwk(alg), &Issuer::claims(), &sign), alg);
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

fn verifier(network: &FakeFetch) -> Verifier {
    let clock = Arc::new(ManualClock::at(NOW));
    let builder = Verifier::builder(ISSUER).audience(AUDIENCE).clock(clock);
    builder.fetch(network.clone()).build().unwrap()
}

#[tokio::test]
async fn the_verifier_accepts_none_either_and_asks_nobody_about_them() {
    let issuer = Issuer::new();
    for alg in Algorithm::ALL {
        let network = FakeFetch::of(issuer, &Algorithm::ALL);
        let verifier = verifier(&network);
        let sign = |message: &[u8]| issuer.signature(alg, message);
        let target = Target::access_token(issuer.jwk(alg), &Issuer::claims(), &sign);
        assert!(verifier.verify(&target.genuine()).await.is_ok(), "{alg}");
        let calls = network.all_calls();
        let list: Vec<Forgery> = forgeries(&target).into_iter().chain(for_others(&target)).collect();
        assert!(list.len() >= 400, "{alg}: only {} forgeries", list.len());
        for (name, token) in list {
            assert!(verifier.verify(&token).await.is_err(), "{alg}: {name}");
        }
        assert_eq!(network.all_calls(), calls, "{alg}: time stands still, so nothing is due");
    }
}

/// What is no forgery of a list: it may be longer than a token, and a file may end with a line break.
const GOOD_LISTS: [&str; 3] = ["over the size limit, properly signed", "a space behind", "a newline behind"];

#[tokio::test]
async fn no_forged_status_list_says_that_a_token_is_good() {
    let issuer = Issuer::new();
    let claims = Issuer::list_claims("1", &[]);
    for alg in Algorithm::ALL {
        let sign = |message: &[u8]| issuer.signature(alg, message);
        let kind = TokenType::StatusList;
        let list = serde_json::to_value(&claims).unwrap();
        let target = Target { jwk: issuer.jwk(alg), kind, claims: list, sign: &sign };
        let token = issuer.token(alg, &Issuer::claims());
        let verified = async |list: String| {
            let network = FakeFetch::of(issuer, &Algorithm::ALL);
            network.put(&claims.sub, list.into_bytes(), 300);
            verifier(&network).verify(&token).await
        };
        assert!(verified(target.genuine()).await.is_ok(), "{alg}: the control");
        let mut list = forgeries(&target);
        list.retain(|(name, _)| !GOOD_LISTS.contains(&name.as_str()));
        assert!(list.len() >= 300, "{alg}: only {} forgeries", list.len());
        for (name, forged) in list {
            let outcome = verified(forged).await.map(|_| ());
            assert_eq!(outcome, Err(Refusal::StatusUnavailable), "{alg}: {name}");
        }
    }
}
