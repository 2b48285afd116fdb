//! Private keys that an operator brings in: PEM or JWK, turned into a signer or refused.

use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pkcs8::SecretDocument;
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::software::{Pair, SoftwareSigner, UnusableKey, curve, padding, rejected};
use crate::oauth::{Algorithm, Secret};

/// More than any key that is accepted.
const LONGEST_INPUT: usize = 16 * 1024;

/// What was brought in is no key that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableKey {
    /// Neither a PEM block of a known kind nor a private JWK.
    #[error(
        "give one PEM block (PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY, not encrypted) or one private JWK \
         (kty EC, OKP or RSA with p, q, dp, dq and qi)"
    )]
    Format,
    /// A key that was made for something else: one pair for two purposes lends each the weaknesses of the other.
    #[error(
        "the JWK says by use or key_ops that this key is not for signing (RFC 7517, sections 4.2 and 4.3)"
    )]
    NotForSigning,
    /// A key, but not one that can be used.
    #[error(transparent)]
    Unusable(#[from] UnusableKey),
}

/// Reads a private key from PEM (PKCS#8, SEC 1, PKCS#1) or a JWK (RFC 7517). A `kid` in the JWK is ignored:
/// a key's kid is its thumbprint.
///
/// # Errors
/// When it can't be read, is not for `algorithm`, is weak, or its halves don't match.
pub fn read_private_key(algorithm: Algorithm, text: &Secret) -> Result<SoftwareSigner, UnreadableKey> {
    let text = text.expose().trim();
    if text.len() > LONGEST_INPUT {
        return Err(UnreadableKey::Format);
    }
    if text.starts_with('{') { from_jwk(algorithm, text) } else { from_pem(algorithm, text) }
}

fn from_pem(algorithm: Algorithm, text: &str) -> Result<SoftwareSigner, UnreadableKey> {
    let (label, document) = SecretDocument::from_pem(text).map_err(|_| UnreadableKey::Format)?;
    let der = document.as_bytes();
    let wrong = |why| rejected(algorithm, &why);
    match (label, algorithm) {
        ("PRIVATE KEY", _) => Ok(SoftwareSigner::from_pkcs8(algorithm, der)?),
        ("EC PRIVATE KEY", Algorithm::ES256 | Algorithm::ES384) => {
            let pair = EcdsaKeyPair::from_private_key_der(curve(algorithm), der).map_err(wrong)?;
            Ok(SoftwareSigner::new(Pair::Ecdsa(pair), algorithm)?)
        }
        ("RSA PRIVATE KEY", Algorithm::RS256 | Algorithm::PS256) => {
            let pair = RsaKeyPair::from_der(der).map_err(wrong)?;
            Ok(SoftwareSigner::new(Pair::Rsa(pair, padding(algorithm)), algorithm)?)
        }
        ("EC PRIVATE KEY" | "RSA PRIVATE KEY", _) => Err(UnusableKey::NotAKeyFor(algorithm).into()),
        _ => Err(UnreadableKey::Format),
    }
}

/// The private members of a JWK (RFC 7518, section 6; RFC 8037, section 2).
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
struct PrivateJwk {
    kty: String,
    crv: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    use_: Option<String>,
    key_ops: Option<Vec<String>>,
    x: Option<String>,
    y: Option<String>,
    d: String,
    n: Option<String>,
    e: Option<String>,
    p: Option<String>,
    q: Option<String>,
    dp: Option<String>,
    dq: Option<String>,
    qi: Option<String>,
}

type Bytes = Zeroizing<Vec<u8>>;

fn from_jwk(algorithm: Algorithm, text: &str) -> Result<SoftwareSigner, UnreadableKey> {
    let jwk: PrivateJwk = serde_json::from_str(text).map_err(|_| UnreadableKey::Format)?;
    let is_for_else = jwk.use_.as_ref().is_some_and(|use_| use_ != "sig");
    if is_for_else || jwk.key_ops.as_ref().is_some_and(|ops| ops.iter().all(|op| op != "sign")) {
        return Err(UnreadableKey::NotForSigning);
    }
    let wrong = UnusableKey::NotAKeyFor(algorithm);
    if jwk.alg.as_ref().is_some_and(|alg| alg != algorithm.as_str()) {
        return Err(wrong.into());
    }
    let pair = match (jwk.kty.as_str(), jwk.crv.as_deref(), algorithm) {
        ("EC", Some("P-256"), Algorithm::ES256) => ec(&jwk, algorithm, 32)?,
        ("EC", Some("P-384"), Algorithm::ES384) => ec(&jwk, algorithm, 48)?,
        ("OKP", Some("Ed25519"), Algorithm::EdDSA) => {
            let pair =
                Ed25519KeyPair::from_seed_and_public_key(&bytes(Some(&jwk.d))?, &bytes(jwk.x.as_ref())?);
            Pair::Ed25519(pair.map_err(|_| wrong)?)
        }
        ("RSA", None, Algorithm::RS256 | Algorithm::PS256) => rsa(&jwk, algorithm)?,
        _ => return Err(wrong.into()),
    };
    Ok(SoftwareSigner::new(pair, algorithm)?)
}

fn ec(jwk: &PrivateJwk, algorithm: Algorithm, length: usize) -> Result<Pair, UnreadableKey> {
    let (d, x, y) = (bytes(Some(&jwk.d))?, bytes(jwk.x.as_ref())?, bytes(jwk.y.as_ref())?);
    // RFC 7518, section 6.2: full length, leading zeros included.
    if [&d, &x, &y].iter().any(|part| part.len() != length) {
        return Err(UnusableKey::NotAKeyFor(algorithm).into());
    }
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(curve(algorithm), &d, &point);
    Ok(Pair::Ecdsa(pair.map_err(|_| UnusableKey::NotAKeyFor(algorithm))?))
}

fn rsa(jwk: &PrivateJwk, algorithm: Algorithm) -> Result<Pair, UnreadableKey> {
    let n = bytes(jwk.n.as_ref())?;
    if n.len() < 256 {
        return Err(UnusableKey::TooWeak.into());
    }
    let components = KeyPairComponents {
        public_key: PublicKeyComponents { n, e: bytes(jwk.e.as_ref())? },
        d: bytes(Some(&jwk.d))?,
        p: bytes(jwk.p.as_ref())?,
        q: bytes(jwk.q.as_ref())?,
        dP: bytes(jwk.dp.as_ref())?,
        dQ: bytes(jwk.dq.as_ref())?,
        qInv: bytes(jwk.qi.as_ref())?,
    };
    let pair = RsaKeyPair::from_components(&components);
    Ok(Pair::Rsa(pair.map_err(|_| UnusableKey::NotAKeyFor(algorithm))?, padding(algorithm)))
}

fn bytes(member: Option<&String>) -> Result<Bytes, UnreadableKey> {
    let member = member.ok_or(UnreadableKey::Format)?;
    URL_SAFE_NO_PAD.decode(member).map(Zeroizing::new).map_err(|_| UnreadableKey::Format)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Signer as _;

    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!("../../tests/fixtures/keys/", $name))
        };
    }

    fn read(algorithm: Algorithm, text: &str) -> Result<SoftwareSigner, UnreadableKey> {
        read_private_key(algorithm, &Secret::new(text.to_owned()))
    }

    /// RFC 7515, appendix A.3.1.
    const EC_JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
    /// RFC 8037, appendix A.1.
    const ED_JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    #[test]
    fn every_form_of_a_good_key_is_read() {
        use Algorithm::{ES256, ES384, EdDSA, PS256, RS256};
        let good = [
            (ES256, fixture!("p256.pem")),
            (ES256, fixture!("p256.sec1.pem")),
            (ES384, fixture!("p384.sec1.pem")),
            (EdDSA, fixture!("ed.pem")),
            (RS256, fixture!("rsa2048.pem")),
            (PS256, fixture!("rsa2048.pkcs1.pem")),
            (ES256, EC_JWK),
            (EdDSA, ED_JWK),
        ];
        for (algorithm, text) in good {
            let signer = read(algorithm, text).unwrap();
            let again = SoftwareSigner::from_pkcs8(algorithm, &signer.to_pkcs8().unwrap()).unwrap();
            assert_eq!(again.public_jwk(), signer.public_jwk());
        }
        // RFC 8037, appendix A.3.
        let ed = read(EdDSA, ED_JWK).unwrap();
        assert_eq!(ed.kid().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn an_rsa_jwk_is_read_as_the_same_key_as_its_pem() {
        let pem = read(Algorithm::RS256, fixture!("rsa2048.pem")).unwrap();
        let jwk = read(Algorithm::RS256, fixture!("rsa2048.jwk.json")).unwrap();
        assert_eq!(pem.kid(), jwk.kid());
    }

    #[test]
    fn weak_and_wrong_keys_are_refused() {
        use Algorithm::{ES256, ES384, EdDSA, RS256};
        let weak = Err(UnreadableKey::Unusable(UnusableKey::TooWeak));
        assert_eq!(read(RS256, fixture!("rsa1024.pem")).map(drop), weak);
        for (algorithm, text) in [
            (ES384, fixture!("p256.pem")),
            (ES256, fixture!("p384.sec1.pem")),
            (ES256, fixture!("rsa2048.pem")),
            (RS256, fixture!("ed.pem")),
            (EdDSA, EC_JWK),
            (ES384, EC_JWK),
        ] {
            let wrong = Err(UnreadableKey::Unusable(UnusableKey::NotAKeyFor(algorithm)));
            assert_eq!(read(algorithm, text).map(drop), wrong, "{algorithm}");
        }
    }

    #[test]
    fn a_jwk_that_is_not_for_signing_is_refused() {
        let with = |members: &str| {
            let text = EC_JWK.replacen('{', &format!("{{{members},"), 1);
            read(Algorithm::ES256, &text).map(drop)
        };
        for good in [r#""use":"sig""#, r#""key_ops":["sign"]"#, r#""use":"sig","key_ops":["verify","sign"]"#]
        {
            assert_eq!(with(good), Ok(()), "{good}");
        }
        for bad in [
            r#""use":"enc""#,
            r#""use":"SIG""#,
            r#""key_ops":["decrypt"]"#,
            r#""key_ops":["verify"]"#,
            r#""key_ops":[]"#,
            r#""use":"sig","key_ops":["deriveKey"]"#,
            r#""use":"enc","key_ops":["sign"]"#,
        ] {
            assert_eq!(with(bad), Err(UnreadableKey::NotForSigning), "{bad}");
        }
        assert_eq!(with(r#""key_ops":"sign""#), Err(UnreadableKey::Format));
    }

    #[test]
    fn halves_that_do_not_match_are_refused() {
        let swapped_x = EC_JWK.replace("f83OJ3D2", "f83OJ3D3");
        assert!(read(Algorithm::ES256, &swapped_x).is_err());
        let swapped_d = EC_JWK.replace("jpsQnnGQ", "jpsQnnGR");
        assert!(read(Algorithm::ES256, &swapped_d).is_err());
        let swapped_x = ED_JWK.replace("11qYAYKx", "11qYAYKy");
        assert!(read(Algorithm::EdDSA, &swapped_x).is_err());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let public = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
        for text in
            ["", "{", "{}", "[]", public, encrypted, "-----BEGIN PRIVATE KEY-----", &"a".repeat(20_000)]
        {
            assert_eq!(read(Algorithm::ES256, text).map(drop), Err(UnreadableKey::Format), "{text:.60}");
        }
    }
}
