use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;

use crate::oauth::{Algorithm, Jwk, KeyId, PublicKey};

/// A public key, decoded once, with the one algorithm that it may be used with.
///
/// ```
/// use signet::oauth::{Algorithm, Jwk, PublicKey};
/// use signet::verify::VerificationKey;
///
/// let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"; // RFC 8037, appendix A.2
/// let public = PublicKey::OKP { crv: "Ed25519".into(), x: x.into() };
/// let key = VerificationKey::from_jwk(&Jwk::signature(public.clone(), Algorithm::EdDSA))?;
/// assert_eq!(key.kid().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
/// assert!(VerificationKey::from_jwk(&Jwk::signature(public, Algorithm::ES256)).is_err());
/// # Ok::<(), signet::verify::UnusableKey>(())
/// ```
#[derive(Clone, Debug)]
pub struct VerificationKey {
    kid: KeyId,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The JWK can't be used to verify signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key can't be used: {0}")]
pub struct UnusableKey(&'static str);

impl VerificationKey {
    /// Takes a published key.
    ///
    /// Does not check that an EC point is on its curve: a signature under one that is not never verifies.
    ///
    /// # Errors
    /// When `use` is not `sig`, key type or curve don't fit the algorithm, a member is not base64url or
    /// of the wrong length, an RSA modulus is outside 2048 to 8192 bits (RFC 7518, section 3.3), or an
    /// Ed25519 key is of small order.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, UnusableKey> {
        if jwk.use_ != "sig" {
            return Err(UnusableKey("it is not for signatures"));
        }
        let key = match (&jwk.key, jwk.alg) {
            (PublicKey::EC { crv, x, y }, Algorithm::ES256) if crv == "P-256" => ec_key(x, y, 32)?,
            (PublicKey::EC { crv, x, y }, Algorithm::ES384) if crv == "P-384" => ec_key(x, y, 48)?,
            (PublicKey::OKP { crv, x }, Algorithm::EdDSA) if crv == "Ed25519" => ed25519_key(x)?,
            (PublicKey::RSA { n, e }, Algorithm::RS256 | Algorithm::PS256) => rsa_key(n, e)?,
            _ => return Err(UnusableKey("key type and algorithm don't fit")),
        };
        Ok(Self { kid: jwk.kid.clone(), algorithm: jwk.alg, key })
    }

    /// Its identifier.
    #[must_use]
    pub fn kid(&self) -> &KeyId {
        &self.kid
    }

    /// The one algorithm that it may be used with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature`, in the form of JWS (RFC 7518, section 3), is this key's over `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &Vec<u8>) -> bool {
        // The provider is named, not looked up: the process-wide default is for the program around us
        // to choose, and there is none when two backends are compiled in.
        (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm.into(), &self.key)
            .is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
    }
}

/// Verification keys by `kid`.
///
/// ```
/// use signet::oauth::Jwk;
/// use signet::verify::{KeySet, VerificationKey};
///
/// /// The usable ones among the published.
/// fn key_set(published: &[Jwk]) -> KeySet {
///     published.iter().filter_map(|jwk| VerificationKey::from_jwk(jwk).ok()).collect()
/// }
/// assert!(key_set(&[]).is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeySet(HashMap<KeyId, VerificationKey>);

impl KeySet {
    /// The key that `kid` names. There is no other way to choose one.
    #[must_use]
    pub fn find(&self, kid: &KeyId) -> Option<&VerificationKey> {
        self.0.get(kid)
    }

    /// Whether there is no key in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many keys are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<VerificationKey> for KeySet {
    fn from_iter<I: IntoIterator<Item = VerificationKey>>(keys: I) -> Self {
        Self(keys.into_iter().map(|key| (key.kid.clone(), key)).collect())
    }
}

fn decode(member: &str) -> Result<Vec<u8>, UnusableKey> {
    URL_SAFE_NO_PAD.decode(member).map_err(|_| UnusableKey("a member is not base64url"))
}

fn ec_key(x: &str, y: &str, length: usize) -> Result<DecodingKey, UnusableKey> {
    let (x, y) = (decode(x)?, decode(y)?);
    if x.len() != length || y.len() != length {
        return Err(UnusableKey("a coordinate has the wrong length"));
    }
    // An uncompressed point (SEC 1, section 2.3.3).
    Ok(DecodingKey::from_ec_der(&[&[4], x.as_slice(), y.as_slice()].concat()))
}

fn rsa_key(n: &str, e: &str) -> Result<DecodingKey, UnusableKey> {
    let (n, e) = (decode(n)?, decode(e)?);
    // Without leading zero octets: RFC 7518, sections 2 and 6.3.1.1.
    let first = |number: &[u8]| number.first().copied().filter(|octet| *octet != 0);
    let Some(octet) = first(&n) else {
        return Err(UnusableKey("the RSA modulus is empty or starts with a zero"));
    };
    if first(&e).is_none() {
        return Err(UnusableKey("the RSA exponent is empty or starts with a zero"));
    }
    let bits = n.len() * 8 - octet.leading_zeros() as usize;
    if !(2048..=8192).contains(&bits) {
        return Err(UnusableKey("the RSA modulus is not of 2048 to 8192 bits"));
    }
    Ok(DecodingKey::from_rsa_raw_components(&n, &e))
}

fn ed25519_key(x: &str) -> Result<DecodingKey, UnusableKey> {
    let x: [u8; 32] = decode(x)?.try_into().map_err(|_| UnusableKey("the key has the wrong length"))?;
    if is_of_small_order(x) {
        return Err(UnusableKey("the key is of small order"));
    }
    Ok(DecodingKey::from_ed_der(&x))
}

/// The y coordinates of the points of small order, canonical or not, little-endian: under such a key a
/// signature can be made without a private key.
fn is_of_small_order(mut y: [u8; 32]) -> bool {
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    y[31] &= 0x7f; // the sign of x
    let rest_is = |byte: u8| y[1..31].iter().all(|each| *each == byte);
    let zero_or_one = y[0] <= 1 && rest_is(0) && y[31] == 0;
    let around_p = (0xec..=0xee).contains(&y[0]) && rest_is(0xff) && y[31] == 0x7f;
    zero_or_one || around_p || ORDER_8.contains(&y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::testing::Issuer;

    fn refused(key: PublicKey, alg: Algorithm) -> &'static str {
        VerificationKey::from_jwk(&Jwk::signature(key, alg)).unwrap_err().0
    }

    #[test]
    fn a_key_serves_only_its_own_algorithm() {
        let issuer = Issuer::new();
        for alg in Algorithm::ALL {
            let jwk = issuer.jwk(alg);
            assert_eq!(VerificationKey::from_jwk(&jwk).unwrap().algorithm(), alg);
            for other in Algorithm::ALL {
                let both_rsa = matches!(alg, Algorithm::RS256 | Algorithm::PS256)
                    && matches!(other, Algorithm::RS256 | Algorithm::PS256);
                if other != alg && !both_rsa {
                    assert_eq!(refused(jwk.key.clone(), other), "key type and algorithm don't fit");
                }
            }
        }
    }

    #[test]
    fn a_key_for_encryption_is_refused() {
        let jwk = Jwk { use_: "enc".into(), ..Issuer::new().jwk(Algorithm::ES256) };
        assert!(VerificationKey::from_jwk(&jwk).is_err());
    }

    #[test]
    fn rsa_below_2048_bits_is_refused() {
        let modulus = |bits: usize| {
            let mut n = vec![0xff; bits.div_ceil(8)];
            n[0] = 0xff_u8 >> (n.len() * 8 - bits);
            URL_SAFE_NO_PAD.encode(n)
        };
        let rsa = |n: String| PublicKey::RSA { n, e: "AQAB".into() };
        let reason = "the RSA modulus is not of 2048 to 8192 bits";
        for bits in [1, 512, 1024, 2047, 8193] {
            assert_eq!(refused(rsa(modulus(bits)), Algorithm::RS256), reason, "{bits}");
        }
        let zeros = "the RSA modulus is empty or starts with a zero";
        let padded = [vec![0; 256], vec![0xff; 128]].concat();
        assert_eq!(refused(rsa(URL_SAFE_NO_PAD.encode(padded)), Algorithm::PS256), zeros);
        assert_eq!(refused(rsa(String::new()), Algorithm::RS256), zeros);
        assert!(VerificationKey::from_jwk(&Jwk::signature(rsa(modulus(2048)), Algorithm::RS256)).is_ok());
    }

    #[test]
    fn coordinates_of_the_wrong_length_are_refused() {
        let short = URL_SAFE_NO_PAD.encode([7; 31]);
        let key = |x: &str| PublicKey::EC { crv: "P-256".into(), x: x.into(), y: short.clone() };
        assert_eq!(refused(key(&short), Algorithm::ES256), "a coordinate has the wrong length");
        assert_eq!(refused(key("A=="), Algorithm::ES256), "a member is not base64url");
    }

    #[test]
    fn ed25519_keys_of_small_order_are_refused() {
        let ends = |first: u8, rest: u8, last: u8| {
            let mut y = [rest; 32];
            (y[0], y[31]) = (first, last);
            y
        };
        let weak = [
            ends(0, 0, 0),
            ends(0, 0, 0x80),
            ends(1, 0, 0),
            ends(0xec, 0xff, 0x7f),
            ends(0xed, 0xff, 0xff),
            ends(0xee, 0xff, 0x7f),
        ];
        for y in weak {
            let key = PublicKey::OKP { crv: "Ed25519".into(), x: URL_SAFE_NO_PAD.encode(y) };
            assert_eq!(refused(key, Algorithm::EdDSA), "the key is of small order", "{y:?}");
        }
    }
}
