use std::io::Write as _;
use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::{Compression, write::ZlibEncoder};
use serde_json::{Value, json};
use signet::oauth::{
    AccessTokenClaims, Algorithm, Audience, ClientId, Jwk, JwkSet, PublicKey, Resource, RevokedBefore, Scope,
    StatusClaim, StatusList, StatusListClaims, StatusReference, Subject, TokenId,
};
use signet::verify::{KeySet, VerificationKey};

pub const ISSUER: &str = "https://auth.example";
pub const AUDIENCE: &str = "https://api.example";
pub const NOW: i64 = 1_700_000_000;

/// Signs anything with keys of every algorithm; two issuers of one number have the same keys.
#[derive(Clone, Copy)]
pub struct Issuer(usize);

impl Issuer {
    /// The genuine one.
    pub fn new() -> Self {
        Self(0)
    }

    /// Somebody else, with keys of his own.
    pub fn attacker() -> Self {
        Self(1)
    }

    pub fn jwk(self, alg: Algorithm) -> Jwk {
        Jwk::signature(self.key(alg).public(), alg)
    }

    pub fn jwks(self, algs: &[Algorithm]) -> Vec<u8> {
        let keys = algs.iter().map(|alg| self.jwk(*alg)).collect();
        serde_json::to_vec(&JwkSet { keys }).unwrap()
    }

    pub fn key_set(self, algs: &[Algorithm]) -> KeySet {
        algs.iter().map(|alg| VerificationKey::from_jwk(&self.jwk(*alg)).unwrap()).collect()
    }

    /// The header of a genuine access token.
    pub fn header(self, alg: Algorithm) -> Value {
        json!({ "alg": alg.as_str(), "kid": self.jwk(alg).kid, "typ": "at+jwt" })
    }

    /// The claims of a genuine access token.
    pub fn claims() -> AccessTokenClaims {
        AccessTokenClaims {
            iss: ISSUER.into(),
            sub: Subject::parse("user-1").unwrap(),
            aud: Audience::One(Resource::parse(AUDIENCE).unwrap()),
            client_id: ClientId::parse("shop").unwrap(),
            scope: Scope::parse("read write").unwrap(),
            iat: NOW - 10,
            exp: NOW + 300,
            nbf: None,
            jti: TokenId::parse("token-1").unwrap(),
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            sid: None,
            status: Some(StatusClaim { status_list: StatusReference { idx: 3, uri: list_uri("1") } }),
        }
    }

    /// A genuine access token with these claims.
    pub fn token(self, alg: Algorithm, claims: &AccessTokenClaims) -> String {
        self.sign(alg, &self.header(alg).to_string(), serde_json::to_string(claims).unwrap())
    }

    /// A JWS over any header and payload, signed by `alg`'s key, whatever the header says.
    pub fn sign(self, alg: Algorithm, header: &str, payload: impl AsRef<[u8]>) -> String {
        let input = signing_input(header, payload);
        let signature = self.signature(alg, input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub fn signature(self, alg: Algorithm, message: &[u8]) -> Vec<u8> {
        self.key(alg).sign(alg, message)
    }

    /// The claims of the list `id`, in which the tokens at `revoked` are revoked.
    pub fn list_claims(id: &str, revoked: &[u64]) -> StatusListClaims {
        let mut bytes = vec![0_u8; 64];
        for index in revoked {
            bytes[usize::try_from(index / 8).unwrap()] |= 1 << (index % 8);
        }
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&bytes).unwrap();
        StatusListClaims {
            iss: ISSUER.into(),
            sub: list_uri(id),
            iat: NOW,
            exp: NOW + 3600,
            ttl: 60,
            status_list: StatusList { bits: 1, lst: URL_SAFE_NO_PAD.encode(encoder.finish().unwrap()) },
            revoked_before: RevokedBefore::default(),
        }
    }

    /// A genuine status list token with these claims.
    pub fn list(self, alg: Algorithm, claims: &StatusListClaims) -> Vec<u8> {
        let header = json!({ "alg": alg.as_str(), "kid": self.jwk(alg).kid, "typ": "statuslist+jwt" });
        self.sign(alg, &header.to_string(), serde_json::to_string(claims).unwrap()).into_bytes()
    }

    fn key(self, alg: Algorithm) -> &'static SigningKey {
        static KEYS: [[OnceLock<SigningKey>; 5]; 2] = [const { [const { OnceLock::new() }; 5] }; 2];
        let index = Algorithm::ALL.iter().position(|each| *each == alg).unwrap();
        KEYS[self.0][index].get_or_init(|| SigningKey::generate(alg))
    }
}

/// The URI of the list `id`.
pub fn list_uri(id: &str) -> String {
    format!("{ISSUER}/status/{id}")
}

/// What is signed of a JWS.
pub fn signing_input(header: &str, payload: impl AsRef<[u8]>) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

enum SigningKey {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl SigningKey {
    fn generate(alg: Algorithm) -> Self {
        match alg {
            Algorithm::ES256 => Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            Algorithm::ES384 => Self::Ec(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()),
            Algorithm::EdDSA => Self::Ed(Ed25519KeyPair::generate().unwrap()),
            Algorithm::RS256 | Algorithm::PS256 => {
                Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
            }
        }
    }

    fn sign(&self, alg: Algorithm, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ec(key) => key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                let padding: &dyn aws_lc_rs::signature::RsaEncoding =
                    if alg == Algorithm::PS256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                key.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
        }
    }

    fn public(&self) -> PublicKey {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ec(key) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let crv = if x.len() == 32 { "P-256" } else { "P-384" };
                PublicKey::EC { crv: crv.into(), x: encode(x), y: encode(y) }
            }
            Self::Ed(key) => PublicKey::OKP { crv: "Ed25519".into(), x: encode(key.public_key().as_ref()) },
            Self::Rsa(key) => {
                let parts = PublicKeyComponents::<Vec<u8>>::from(key.public_key());
                PublicKey::RSA { n: encode(&parts.n), e: encode(&parts.e) }
            }
        }
    }
}
