//! What every signer promises, whatever holds its key.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Value, json};
use signet::keys::{Signer, SoftwareSigner, self_test};
use signet::oauth::Algorithm;

/// The suite: `make` gives a fresh key for an algorithm.
fn signer_contract(make: impl Fn(Algorithm) -> Arc<dyn Signer>) {
    for algorithm in Algorithm::ALL {
        let signer = make(algorithm);
        assert_eq!(signer.algorithm(), algorithm);
        assert_eq!(signer.public_jwk().alg, algorithm);
        assert_eq!(*signer.kid(), signer.public_jwk().key.thumbprint());
        assert_eq!(self_test(signer.as_ref()), Ok(()));
        what_it_signs_verifies_through_the_published_jwk(signer.as_ref());
        a_changed_message_or_signature_does_not_verify(signer.as_ref());
        assert_ne!(make(algorithm).kid(), signer.kid(), "two keys are never the same");
    }
}

fn token(signer: &dyn Signer) -> String {
    let header = json!({ "alg": signer.algorithm(), "kid": signer.kid() });
    let input = format!("{}.{}", encode(header.to_string()), encode(r#"{"sub":"x"}"#));
    let signature = signer.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", encode(signature))
}

fn verify(signer: &dyn Signer, token: &str) -> Result<Value, jsonwebtoken::errors::Error> {
    let published = json!({ "keys": [signer.public_jwk()] }).to_string();
    let set: JwkSet = serde_json::from_str(&published).unwrap();
    let key = DecodingKey::from_jwk(set.find(signer.kid().as_str()).unwrap()).unwrap();
    let mut validation = Validation::new(signer.algorithm().into());
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    jsonwebtoken::decode::<Value>(token, &key, &validation).map(|data| data.claims)
}

fn what_it_signs_verifies_through_the_published_jwk(signer: &dyn Signer) {
    assert_eq!(verify(signer, &token(signer)).unwrap(), json!({ "sub": "x" }));
}

fn a_changed_message_or_signature_does_not_verify(signer: &dyn Signer) {
    let token = token(signer);
    let other_claims = token.replace(&encode(r#"{"sub":"x"}"#), &encode(r#"{"sub":"y"}"#));
    assert_ne!(other_claims, token);
    assert!(verify(signer, &other_claims).is_err());
    let (input, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    signature[7] ^= 1;
    assert!(verify(signer, &format!("{input}.{}", encode(signature))).is_err());
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[test]
fn software() {
    signer_contract(|algorithm| Arc::new(SoftwareSigner::generate(algorithm).unwrap()));
}

#[test]
fn software_read_from_pkcs8() {
    signer_contract(|algorithm| {
        let made = SoftwareSigner::generate(algorithm).unwrap();
        let read = SoftwareSigner::from_pkcs8(algorithm, &made.to_pkcs8().unwrap()).unwrap();
        assert_eq!(read.public_jwk(), made.public_jwk());
        Arc::new(read)
    });
}

#[test]
fn a_signer_does_not_print_its_key() {
    let signer = SoftwareSigner::generate(Algorithm::ES256).unwrap();
    let printed = format!("{signer:?}");
    assert!(printed.contains(signer.kid().as_str()));
    let der = signer.to_pkcs8().unwrap();
    assert!(!printed.contains(&encode(&der[36..68])) && printed.len() < 120, "{printed}");
}
