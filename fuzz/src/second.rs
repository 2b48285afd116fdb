//! Access tokens as another library takes them, with the strict rules of RFC 9068 and RFC 8725 around it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_compact::alg::{Ed25519, Es256, VerifyingKey};
use jwt_compact::{AlgorithmExt as _, UntrustedToken};
use serde_json::{Map, Value};
use signet::oauth::{Jwk, PublicKey};

use crate::issuer::{AUDIENCE, ISSUER, NOW};

type Object = Map<String, Value>;

/// By how much clocks may differ, in seconds.
const LEEWAY: f64 = 60.0;

/// Whether the token passes under `key`, the only one that is known.
pub(crate) fn accepts(token: &str, key: &Jwk) -> bool {
    claims(token, key).is_some_and(|claims| are_in_order(&claims))
}

/// What a token says that is signed by `key` and of the type of an access token.
fn claims(token: &str, key: &Jwk) -> Option<Object> {
    let untrusted = UntrustedToken::<Object>::try_from(token).ok()?;
    let header = header(token)?;
    let is = |name: &str, value: &str| header.get(name).and_then(Value::as_str) == Some(value);
    let typ = header.get("typ")?.as_str()?.to_ascii_lowercase();
    let forbidden = ["crit", "jwk", "jku", "x5u", "x5c", "b64", "zip", "enc"];
    let in_order = is("kid", key.kid.as_str())
        && is("alg", key.alg.as_str())
        && matches!(typ.as_str(), "at+jwt" | "application/at+jwt")
        && !forbidden.iter().any(|name| header.contains_key(*name));
    if !in_order {
        return None;
    }
    let decode = |member: &str| URL_SAFE_NO_PAD.decode(member).expect("base64url");
    let claims = match &key.key {
        PublicKey::EC { x, y, .. } => {
            let point = [&[4], decode(x).as_slice(), &decode(y)].concat();
            let key = VerifyingKey::<Es256>::from_slice(&point).expect("a point");
            Es256.validator::<Object>(&key).validate(&untrusted).ok()?
        }
        PublicKey::OKP { x, .. } => {
            let key = VerifyingKey::<Ed25519>::from_slice(&decode(x)).expect("a point");
            Ed25519.validator::<Object>(&key).validate(&untrusted).ok()?
        }
        PublicKey::RSA { .. } => return None,
    };
    // The library keeps the registered dates apart, cut to seconds: read as they stand.
    drop(claims);
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

fn header(token: &str) -> Option<Object> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?).ok()
}

fn are_in_order(claims: &Object) -> bool {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    let date = |name: &str| claims.get(name).and_then(Value::as_f64);
    let now = NOW as f64;
    let for_us = match claims.get("aud") {
        Some(Value::String(one)) => one == AUDIENCE,
        Some(Value::Array(many)) => many.iter().any(|each| each == AUDIENCE),
        _ => false,
    };
    let began = |name: &str| date(name).is_some_and(|date| date <= now + LEEWAY);
    claims.get("iss").and_then(Value::as_str) == Some(ISSUER)
        && for_us
        && ["sub", "client_id", "jti"].into_iter().all(text)
        && date("exp").is_some_and(|date| now < date + LEEWAY)
        && began("iat")
        && (!claims.contains_key("nbf") || began("nbf"))
}
