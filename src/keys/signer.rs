use crate::oauth::{Algorithm, Jwk, KeyId, PublicKey};

/// Uses one private key, which it parsed once. Never shows it.
pub trait Signer: Send + Sync + 'static {
    /// The algorithm that it signs with.
    fn algorithm(&self) -> Algorithm;

    /// Its key's identifier.
    fn kid(&self) -> &KeyId;

    /// Its key's public half, as it is published.
    fn public_jwk(&self) -> &Jwk;

    /// Signs `message`, and gives the signature in the form of JOSE (RFC 7518, section 3; RFC 8037,
    /// section 3.1).
    ///
    /// # Errors
    /// When the key or the device that holds it fails.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// A signature could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key could not sign")]
pub struct SignError;

/// A key whose halves don't belong together, or that can't do what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key failed its self-test: what it signs, its public half does not verify")]
pub struct SelfTestFailed;

/// Signs a text and verifies it with the public half as it is published: the pairwise consistency test
/// that every key passes before it is used.
///
/// # Errors
/// When the signature can't be made, or does not verify.
pub fn self_test(signer: &dyn Signer) -> Result<(), SelfTestFailed> {
    const MESSAGE: &[u8] = b"signet pairwise consistency test";
    let jwk = signer.public_jwk();
    if jwk.kid != jwk.key.thumbprint() || jwk.kid != *signer.kid() || jwk.alg != signer.algorithm() {
        return Err(SelfTestFailed);
    }
    let signature = signer.sign(MESSAGE).map_err(|_| SelfTestFailed)?;
    if verifies(&jwk.key, jwk.alg, MESSAGE, &signature) { Ok(()) } else { Err(SelfTestFailed) }
}

fn verifies(key: &PublicKey, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::DecodingKey;

    let key = match key {
        PublicKey::EC { x, y, .. } => DecodingKey::from_ec_components(x, y),
        PublicKey::OKP { x, .. } => DecodingKey::from_ed_components(x),
        PublicKey::RSA { n, e } => DecodingKey::from_rsa_components(n, e),
    };
    let signature = URL_SAFE_NO_PAD.encode(signature);
    key.and_then(|key| jsonwebtoken::crypto::verify(&signature, message, &key, algorithm.into()))
        .unwrap_or(false)
}
