use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::keys::{SignError, SigningKey};
use crate::oauth::TokenType;

/// Room for the claims of most tokens, so that they are written without growing.
const USUAL_CLAIMS: usize = 768;

/// Signs `claims` as a JWS in compact serialization (RFC 7515, section 3.1).
///
/// The header holds `typ`, `alg` and `kid` only; it was encoded when the key was loaded.
pub(super) fn sign<C: Serialize>(key: &SigningKey, typ: TokenType, claims: &C) -> Result<String, SignError> {
    let mut payload = Vec::with_capacity(USUAL_CLAIMS);
    serde_json::to_writer(&mut payload, claims).map_err(|_| SignError)?;
    let header = key.header(typ);
    // Room for the longest signature that is common here (RSA 2048), so that the text grows only once.
    let mut jws = String::with_capacity(header.len() + payload.len() * 4 / 3 + 400);
    jws.push_str(header);
    jws.push('.');
    URL_SAFE_NO_PAD.encode_string(&payload, &mut jws);
    let signature = key.sign(jws.as_bytes())?;
    jws.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut jws);
    Ok(jws)
}
