//! What verifying a token costs, next to what its signature alone costs.
//!
//! `cargo bench --bench verify`. Compare the groups of one run with each other: the machine's noise is
//! larger than what separates two runs.
#![expect(clippy::unwrap_used, reason = "a bench that can't be set up has to stop")]

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use divan::{Bencher, black_box};
use signet::clock::ManualClock;
use signet::oauth::{Algorithm, Jwk, PublicKey, Resource, Scope};
use signet::verify::{Expectations, ExpectedAudience, VerificationKey, Verifier, check};

use support::{AUDIENCE, FakeFetch, ISSUER, Issuer, NOW};

#[path = "../tests/support/mod.rs"]
mod support;

fn main() {
    divan::main();
}

const ALGORITHMS: [Algorithm; 3] = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256];

fn token(alg: Algorithm) -> String {
    Issuer::new().token(alg, &Issuer::claims())
}

fn parts(token: &str) -> (&[u8], Vec<u8>) {
    let (input, signature) = token.rsplit_once('.').unwrap();
    (input.as_bytes(), URL_SAFE_NO_PAD.decode(signature).unwrap())
}

/// The limit: the signature alone, by the library underneath, with a key parsed once.
#[divan::bench(args = ALGORITHMS)]
fn signature_by_aws_lc(bencher: Bencher<'_, '_>, alg: Algorithm) {
    let token = token(alg);
    let (message, signature) = parts(&token);
    let key = parsed(&Issuer::new().jwk(alg));
    bencher.bench(|| key.verify_sig(black_box(message), &signature).unwrap());
}

/// The signature alone, by our key.
#[divan::bench(args = ALGORITHMS)]
fn signature_by_key(bencher: Bencher<'_, '_>, alg: Algorithm) {
    let token = token(alg);
    let (message, signature) = parts(&token);
    let key = VerificationKey::from_jwk(&Issuer::new().jwk(alg)).unwrap();
    bencher.bench(|| assert!(key.verifies(black_box(message), &signature)));
}

/// The pure check: signature and claims.
#[divan::bench(args = ALGORITHMS)]
fn checked(bencher: Bencher<'_, '_>, alg: Algorithm) {
    let token = token(alg);
    let keys = Issuer::new().key_set(&ALGORITHMS);
    let audience = [Resource::parse(AUDIENCE).unwrap()];
    let expected = Expectations {
        issuer: ISSUER,
        audience: ExpectedAudience::AnyOf(&audience),
        leeway: Duration::from_mins(1),
        now: NOW,
    };
    bencher.bench(|| check(black_box(&token), &expected, &keys).unwrap());
}

/// Everything, revocation included, with keys and list at hand.
#[divan::bench(args = ALGORITHMS)]
fn verified(bencher: Bencher<'_, '_>, alg: Algorithm) {
    let token = token(alg);
    let (verifier, runtime) = warm(alg);
    bencher.bench(|| runtime.block_on(verifier.verify(black_box(&token))).unwrap());
}

/// A token that is turned away by its signature.
#[divan::bench(args = ALGORITHMS)]
fn forged(bencher: Bencher<'_, '_>, alg: Algorithm) {
    let mut claims = Issuer::claims();
    claims.scope = Scope::parse("admin").unwrap();
    let (genuine, other) = (token(alg), Issuer::attacker().token(alg, &claims));
    let header = genuine.split_once('.').unwrap().0;
    let forged = format!("{header}.{}", other.split_once('.').unwrap().1);
    let (verifier, runtime) = warm(alg);
    bencher.bench(|| runtime.block_on(verifier.verify(black_box(&forged))).unwrap_err());
}

fn warm(alg: Algorithm) -> (Verifier, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let verifier = Verifier::builder(ISSUER)
        .audience(AUDIENCE)
        .clock(Arc::new(ManualClock::at(NOW)))
        .fetch(FakeFetch::of(Issuer::new(), &ALGORITHMS))
        .build()
        .unwrap();
    runtime.block_on(verifier.verify(&token(alg))).unwrap();
    (verifier, runtime)
}

fn parsed(jwk: &Jwk) -> ParsedPublicKey {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    match &jwk.key {
        PublicKey::OKP { x, .. } => ParsedPublicKey::new(&ED25519, decode(x)).unwrap(),
        PublicKey::EC { x, y, .. } => {
            let point = [vec![4], decode(x), decode(y)].concat();
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).unwrap()
        }
        PublicKey::RSA { n, e } => {
            let key = RsaPublicKeyComponents { n: decode(n), e: decode(e) };
            ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.as_der().unwrap().as_ref()).unwrap()
        }
    }
}
