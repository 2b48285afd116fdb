//! An issuer whose keys are the tests' own: what it signs today is genuine tomorrow, so tokens can stand in a corpus.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use signet::keys::{Signer as _, SoftwareSigner, read_private_key};
use signet::oauth::{Algorithm, Jwk, Secret};
use signet::verify::{KeySet, VerificationKey};

pub(crate) use crate::support::{AUDIENCE, ISSUER, NOW};

macro_rules! key {
    ($file:literal) => {
        include_str!(concat!("../../tests/fixtures/keys/", $file))
    };
}

static SIGNERS: LazyLock<Vec<SoftwareSigner>> = LazyLock::new(|| {
    let keys = [
        (Algorithm::ES256, key!("p256.pem")),
        (Algorithm::ES384, key!("p384.sec1.pem")),
        (Algorithm::EdDSA, key!("ed.pem")),
        (Algorithm::RS256, key!("rsa2048.pem")),
    ];
    keys.map(|(alg, pem)| read_private_key(alg, &Secret::new(pem.to_owned())).expect("a key")).into()
});

/// Everything that the issuer's verifier knows.
pub(crate) static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    SIGNERS.iter().map(|signer| VerificationKey::from_jwk(signer.public_jwk()).expect("a key")).collect()
});

/// The algorithms that the issuer has a key for.
pub(crate) const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS256];

fn signer(alg: Algorithm) -> &'static SoftwareSigner {
    SIGNERS.iter().find(|signer| signer.algorithm() == alg).expect("a key for the algorithm")
}

pub(crate) fn jwk(alg: Algorithm) -> &'static Jwk {
    signer(alg).public_jwk()
}

pub(crate) fn sign(alg: Algorithm, message: &[u8]) -> Vec<u8> {
    signer(alg).sign(message).expect("a signature")
}

/// A JWS over any header and payload.
pub(crate) fn signed(alg: Algorithm, header: &[u8], payload: &[u8]) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = sign(alg, input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The header of a genuine token of a type.
pub(crate) fn header(alg: Algorithm, typ: &str) -> String {
    format!(r#"{{"alg":"{alg}","kid":"{}","typ":"{typ}"}}"#, jwk(alg).kid)
}
