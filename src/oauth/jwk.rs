use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::{Algorithm, KeyId};

/// The public half of a key, as the members of a JWK (RFC 7518, section 6; RFC 8037, section 2).
/// Coordinates and moduli are base64url without padding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty")]
pub enum PublicKey {
    /// An elliptic-curve key.
    EC {
        /// `P-256` or `P-384`.
        crv: String,
        /// The x coordinate.
        x: String,
        /// The y coordinate.
        y: String,
    },
    /// An Edwards-curve key.
    OKP {
        /// `Ed25519`.
        crv: String,
        /// The public key.
        x: String,
    },
    /// An RSA key.
    RSA {
        /// The modulus.
        n: String,
        /// The exponent.
        e: String,
    },
}

impl PublicKey {
    /// The RFC 7638 thumbprint by SHA-256: the `kid` of every Signet key.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a base64url digest is a valid kid")]
    pub fn thumbprint(&self) -> KeyId {
        // Members in lexicographic order, no white space: RFC 7638, section 3.
        let canonical = match self {
            Self::EC { crv, x, y } => format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#),
            Self::OKP { crv, x } => format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#),
            Self::RSA { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        };
        let digest = digest(&SHA256, canonical.as_bytes());
        KeyId::parse(&URL_SAFE_NO_PAD.encode(digest)).expect("base64url is a valid kid")
    }
}

/// A published key (RFC 7517, section 4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// The key itself.
    #[serde(flatten)]
    pub key: PublicKey,
    /// Its identifier.
    pub kid: KeyId,
    /// The only algorithm it may be used with.
    pub alg: Algorithm,
    /// Always `sig`.
    #[serde(rename = "use")]
    pub use_: String,
}

impl Jwk {
    /// A signature key under its own thumbprint.
    #[must_use]
    pub fn signature(key: PublicKey, alg: Algorithm) -> Self {
        Self { kid: key.thumbprint(), key, alg, use_: "sig".into() }
    }
}

/// The published keys (RFC 7517, section 5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwkSet {
    /// In order of publication, the oldest first.
    pub keys: Vec<Jwk>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638_section_3_1() {
        let key = PublicKey::RSA {
            n: "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw".into(),
            e: "AQAB".into(),
        };
        assert_eq!(key.thumbprint().as_str(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn a_jwk_is_written_flat() {
        let jwk = Jwk::signature(PublicKey::OKP { crv: "Ed25519".into(), x: "AA".into() }, Algorithm::EdDSA);
        let json = serde_json::to_value(&jwk).unwrap();
        assert_eq!(json["kty"], "OKP");
        assert_eq!(json["use"], "sig");
        assert_eq!(serde_json::from_value::<Jwk>(json).unwrap(), jwk);
    }
}
