//! Access tokens before the verifier.

use std::collections::HashSet;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use signet::oauth::{Algorithm, Resource};
use signet::verify::{Refusal, check};

use super::{first_line, text};
use crate::differential::expectations;
use crate::issuer::{ALGORITHMS, AUDIENCE, ISSUER, KEYS, NOW, header, jwk, signed};
use crate::second;
use crate::support::Issuer;

/// What the issuer has signed, in all its life: the inputs of the signatures.
static SIGNED: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let payload = serde_json::to_string(&Issuer::claims()).expect("JSON");
    let input = |alg| {
        let token = signed(alg, header(alg, "at+jwt").as_bytes(), payload.as_bytes());
        token.rsplit_once('.').expect("a signature").0.to_owned()
    };
    ALGORITHMS.into_iter().map(input).collect()
});

/// A token as it comes. What passes is one that the issuer signed.
pub(crate) fn raw(data: &[u8]) {
    let Some(token) = text(data) else { return };
    let audience = [Resource::parse(AUDIENCE).expect("a resource")];
    let Ok(verified) = check(token, &expectations(&audience), &KEYS) else { return };
    // Not the whole token: of an ECDSA signature everybody can make a second one.
    let (input, _) = token.rsplit_once('.').expect("a signature");
    assert!(SIGNED.contains(input), "{token} was never signed");
    assert_eq!(verified.claims, Issuer::claims());
}

/// A header and a payload, on a line each, which the issuer signs whatever they say. What passes says what it must, and
/// passes before another library too; what that takes and we do not, we refuse for its form alone.
pub(crate) fn signed_claims(data: &[u8]) {
    let (header, payload) = first_line(data);
    let alg = Algorithm::EdDSA;
    let token = signed(alg, header, payload);
    let audience = [Resource::parse(AUDIENCE).expect("a resource")];
    let ours = check(&token, &expectations(&audience), &KEYS);
    let theirs = second::accepts(&token, jwk(alg));
    match ours {
        Ok(verified) => {
            assert!(theirs, "the other library refuses {token}");
            let claims = verified.claims;
            assert_eq!((claims.iss.as_str(), &verified.kid), (ISSUER, &jwk(alg).kid));
            assert!(claims.aud.contains(AUDIENCE) && claims.exp + 60 > NOW && claims.iat <= NOW + 60);
            assert!(claims.nbf.is_none_or(|nbf| nbf <= NOW + 60));
            // CVE-2026-25537: a date of another type is not an absent one.
            let said: Value = serde_json::from_slice(payload).expect("JSON");
            for (name, value) in [("exp", Some(claims.exp)), ("iat", Some(claims.iat)), ("nbf", claims.nbf)] {
                let said = said.get(name).and_then(Value::as_f64);
                assert_eq!(value.is_some(), said.is_some(), "{name}");
            }
        }
        Err(refusal) => {
            let form =
                matches!(refusal, Refusal::Malformed | Refusal::InvalidClaims | Refusal::ForbiddenHeader);
            assert!(!theirs || form, "the other library takes what is refused as {refusal:?}: {token}");
        }
    }
    if URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap_or_default()).is_ok_and(|bytes| bytes != header)
    {
        panic!("the token has another header");
    }
}
