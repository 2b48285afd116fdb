use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::keys::{SignError, SigningKey};
use crate::oauth::TokenType;

/// Signs `claims` as a JWS in compact serialization (RFC 7515, section 3.1).
///
/// The header holds `typ`, `alg` and `kid` only; it was encoded when the key was loaded.
pub(super) fn sign<C: Serialize>(key: &SigningKey, typ: TokenType, claims: &C) -> Result<String, SignError> {
    sign_written(key, typ, &serde_json::to_vec(claims).map_err(|_| SignError)?)
}

/// As [`sign`]; the claims are JSON already.
pub(super) fn sign_written(key: &SigningKey, typ: TokenType, claims: &[u8]) -> Result<String, SignError> {
    let header = key.header(typ);
    // Room for the longest signature that is common here (RSA 2048), so that the text grows only once.
    let mut jws = String::with_capacity(header.len() + claims.len() * 4 / 3 + 400);
    jws.push_str(header);
    jws.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut jws);
    let signature = key.sign(jws.as_bytes())?;
    jws.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut jws);
    Ok(jws)
}
