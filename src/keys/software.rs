use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pkcs8::der::asn1::UintRef;
use pkcs8::der::{Decode as _, Reader as _, SliceReader};
use zeroize::Zeroizing;

use super::signer::{SelfTestFailed, SignError, Signer, self_test};
use crate::oauth::{Algorithm, Jwk, KeyId, PublicKey};

/// A private key in this process's memory, parsed once, on aws-lc-rs.
pub struct SoftwareSigner {
    jwk: Jwk,
    pair: Pair,
}

pub(super) enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

/// A private key that can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableKey {
    /// It can't be read as a key for the algorithm.
    #[error("this is not a private key for {0}: wrong kind, wrong curve, or damaged")]
    NotAKeyFor(Algorithm),
    /// Its modulus is too short.
    #[error("the RSA modulus has fewer than 2048 bits; make a longer key")]
    TooWeak,
    /// Its modulus is too long: signing would take too much time.
    #[error("the RSA modulus has more than 4096 bits; make a shorter key")]
    TooLong,
    /// Its public exponent is unusual.
    #[error("the RSA public exponent is not 65537; make a new key")]
    Exponent,
    /// Its halves don't match.
    #[error(transparent)]
    SelfTest(#[from] SelfTestFailed),
}

impl SoftwareSigner {
    /// Makes a key; RSA keys have 2048 bits and take a second or so.
    ///
    /// # Errors
    /// When the library can't make the key, or the key fails its self-test.
    pub fn generate(algorithm: Algorithm) -> Result<Self, UnusableKey> {
        let failed = |_| UnusableKey::NotAKeyFor(algorithm);
        let pair = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => {
                Pair::Ecdsa(EcdsaKeyPair::generate(curve(algorithm)).map_err(failed)?)
            }
            Algorithm::EdDSA => Pair::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
            Algorithm::RS256 | Algorithm::PS256 => {
                Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?, padding(algorithm))
            }
        };
        Self::new(pair, algorithm)
    }

    /// Reads a key in PKCS#8 DER (RFC 5958).
    ///
    /// # Errors
    /// When it is not a key for `algorithm`, is weak, or fails its self-test.
    pub fn from_pkcs8(algorithm: Algorithm, der: &[u8]) -> Result<Self, UnusableKey> {
        let pair = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => {
                EcdsaKeyPair::from_pkcs8(curve(algorithm), der).map(Pair::Ecdsa)
            }
            Algorithm::EdDSA => Ed25519KeyPair::from_pkcs8(der).map(Pair::Ed25519),
            Algorithm::RS256 | Algorithm::PS256 => {
                RsaKeyPair::from_pkcs8(der).map(|pair| Pair::Rsa(pair, padding(algorithm)))
            }
        };
        Self::new(pair.map_err(|why| rejected(algorithm, &why))?, algorithm)
    }

    pub(super) fn new(pair: Pair, algorithm: Algorithm) -> Result<Self, UnusableKey> {
        let public = public_half(&pair, algorithm)?;
        let signer = Self { jwk: Jwk::signature(public, algorithm), pair };
        self_test(&signer)?;
        Ok(signer)
    }

    /// The private key in PKCS#8 DER: for sealing, nothing else.
    ///
    /// # Errors
    /// When the library can't write it.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, UnusableKey> {
        let failed = |_| UnusableKey::NotAKeyFor(self.jwk.alg);
        // The library's own copy is wiped by it when dropped.
        Ok(Zeroizing::new(match &self.pair {
            Pair::Ecdsa(pair) => pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            Pair::Rsa(pair, _) => {
                let der: Pkcs8V1Der<'static> = pair.as_der().map_err(failed)?;
                der.as_ref().to_vec()
            }
        }))
    }
}

impl Signer for SoftwareSigner {
    fn algorithm(&self) -> Algorithm {
        self.jwk.alg
    }

    fn kid(&self) -> &KeyId {
        &self.jwk.kid
    }

    fn public_jwk(&self) -> &Jwk {
        &self.jwk
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        match &self.pair {
            // By reference: the library's signatures have room for the longest one, and are not to be moved about.
            Pair::Ecdsa(pair) => match &pair.sign(&random, message) {
                Ok(signature) => Ok(signature.as_ref().to_vec()),
                Err(_) => Err(SignError),
            },
            Pair::Ed25519(pair) => match &pair.try_sign(message) {
                Ok(signature) => Ok(signature.as_ref().to_vec()),
                Err(_) => Err(SignError),
            },
            Pair::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*padding, &random, message, &mut signature).map_err(|_| SignError)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for SoftwareSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftwareSigner")
            .field("kid", &self.jwk.kid)
            .field("alg", &self.jwk.alg)
            .finish_non_exhaustive()
    }
}

pub(super) fn rejected(algorithm: Algorithm, why: &KeyRejected) -> UnusableKey {
    // The library names its reasons only so.
    match why.to_string().as_str() {
        "TooSmall" => UnusableKey::TooWeak,
        "TooLarge" => UnusableKey::TooLong,
        _ => UnusableKey::NotAKeyFor(algorithm),
    }
}

pub(super) fn curve(algorithm: Algorithm) -> &'static EcdsaSigningAlgorithm {
    match algorithm {
        Algorithm::ES384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        _ => &ECDSA_P256_SHA256_FIXED_SIGNING,
    }
}

pub(super) fn padding(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    match algorithm {
        Algorithm::PS256 => &RSA_PSS_SHA256,
        _ => &RSA_PKCS1_SHA256,
    }
}

fn public_half(pair: &Pair, algorithm: Algorithm) -> Result<PublicKey, UnusableKey> {
    match pair {
        Pair::Ecdsa(pair) => {
            // An uncompressed point (SEC 1, section 2.3.3): 4, x, y.
            let coordinates = pair.public_key().as_ref().get(1..).unwrap_or_default();
            let (x, y) = coordinates.split_at(coordinates.len() / 2);
            let crv = if algorithm == Algorithm::ES384 { "P-384" } else { "P-256" };
            Ok(PublicKey::EC { crv: crv.into(), x: encode(x), y: encode(y) })
        }
        Pair::Ed25519(pair) => {
            Ok(PublicKey::OKP { crv: "Ed25519".into(), x: encode(pair.public_key().as_ref()) })
        }
        Pair::Rsa(pair, _) => {
            let PublicKeyComponents { n, e } =
                rsa_components(pair.public_key().as_ref()).ok_or(UnusableKey::NotAKeyFor(algorithm))?;
            match n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize) {
                ..2048 => return Err(UnusableKey::TooWeak),
                4097.. => return Err(UnusableKey::TooLong),
                _ => {}
            }
            if e != [1, 0, 1] {
                return Err(UnusableKey::Exponent);
            }
            Ok(PublicKey::RSA { n: encode(&n), e: encode(&e) })
        }
    }
}

/// Reads an `RSAPublicKey` (RFC 8017, appendix A.1.1).
fn rsa_components(der: &[u8]) -> Option<PublicKeyComponents<Vec<u8>>> {
    let mut reader = SliceReader::new(der).ok()?;
    let (n, e) =
        reader.sequence(|sequence| Ok((UintRef::decode(sequence)?, UintRef::decode(sequence)?))).ok()?;
    Some(PublicKeyComponents { n: n.as_bytes().to_vec(), e: e.as_bytes().to_vec() })
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
