//! What a resource server fetches from its issuer: metadata, keys, status lists. Whoever is in between may send anything.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde_json::Value;
use signet::clock::ManualClock;
use signet::oauth::{AccessTokenClaims, Algorithm, JwkSet, StatusClaim, StatusReference};
use signet::verify::{Refusal, VerificationKey, Verifier};
use tokio::runtime::Runtime;

use crate::issuer::{ALGORITHMS, AUDIENCE, ISSUER, NOW, header, jwk, signed};
use crate::support::{FakeFetch, Issuer};

pub(super) static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));

const LIST: &str = "https://auth.example/status/1";

/// Bytes that unpack to more than this are no list that a verifier keeps.
const LARGEST_LIST: u64 = 16 * 1024 * 1024;

pub(super) fn verifier(network: FakeFetch) -> Verifier {
    let clock = Arc::new(ManualClock::at(NOW));
    Verifier::builder(ISSUER).audience(AUDIENCE).clock(clock).fetch(network).build().expect("a verifier")
}

/// The issuer's network, with its own keys and an empty list.
pub(super) fn network() -> FakeFetch {
    let network = FakeFetch::default();
    let metadata = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{}"}}"#, FakeFetch::jwks_uri());
    network.put(&FakeFetch::metadata_uri(), metadata.into_bytes(), 300);
    let keys = ALGORITHMS.map(|alg| jwk(alg).clone()).into();
    network.put(&FakeFetch::jwks_uri(), serde_json::to_vec(&JwkSet { keys }).expect("JSON"), 300);
    let list = serde_json::to_vec(&Issuer::list_claims("1", &[])).expect("JSON");
    network.put(LIST, list_token(&list), 300);
    network
}

fn list_token(claims: &[u8]) -> Vec<u8> {
    let alg = Algorithm::EdDSA;
    signed(alg, header(alg, "statuslist+jwt").as_bytes(), claims).into_bytes()
}

pub(super) fn token(claims: &AccessTokenClaims) -> String {
    let alg = Algorithm::EdDSA;
    signed(alg, header(alg, "at+jwt").as_bytes(), &serde_json::to_vec(claims).expect("JSON"))
}

fn token_at(idx: u64) -> String {
    let status = Some(StatusClaim { status_list: StatusReference { idx, uri: LIST.to_owned() } });
    token(&AccessTokenClaims { status, ..Issuer::claims() })
}

/// A JWKS. A key that is taken is of the kind that its algorithm wants and is published again as the same; and the
/// issuer's token passes only where the set holds the issuer's key.
pub(crate) fn jwks(data: &[u8]) {
    let genuine = jwk(Algorithm::EdDSA);
    let value = serde_json::from_slice::<Value>(data).unwrap_or_default();
    let listed = value.get("keys").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut is_listed = false;
    for each in listed {
        let Ok(key) = serde_json::from_value::<signet::oauth::Jwk>(each) else { continue };
        assert_eq!(key.key.thumbprint().as_str().len(), 43);
        let again = serde_json::to_value(&key).expect("JSON");
        assert_eq!(serde_json::from_value::<signet::oauth::Jwk>(again).expect("a JWK"), key);
        let Ok(usable) = VerificationKey::from_jwk(&key) else { continue };
        assert_eq!((usable.kid(), usable.algorithm(), key.use_.as_str()), (&key.kid, key.alg, "sig"));
        is_listed |= key.kid == genuine.kid && key.key == genuine.key;
    }
    let network = network();
    network.put(&FakeFetch::jwks_uri(), data.to_vec(), 300);
    let verified = RUNTIME.block_on(verifier(network).verify(&token_at(0)));
    assert!(verified.is_err() || is_listed, "verified by a key that is not the issuer's");
}

/// The issuer's metadata. Keys come from where they say, if they are this issuer's at all.
pub(crate) fn metadata(data: &[u8]) {
    let network = network();
    network.put(&FakeFetch::metadata_uri(), data.to_vec(), 300);
    let verified = RUNTIME.block_on(verifier(network).verify(&token_at(0)));
    let value = serde_json::from_slice::<Value>(data).unwrap_or_default();
    let is_issuers = value.get("issuer").and_then(Value::as_str) == Some(ISSUER);
    assert!(verified.is_err() || is_issuers, "the metadata of another issuer were believed");
}

/// The claims of a status list token, which the issuer signs whatever they say. A token passes only where the list is
/// about that URI, in time, and its place says that it is valid.
pub(crate) fn status_list(data: &[u8]) {
    let network = network();
    network.put(LIST, list_token(data), 300);
    if RUNTIME.block_on(verifier(network).verify(&token_at(3))).is_err() {
        return;
    }
    let value: Value = serde_json::from_slice(data).expect("JSON");
    assert_eq!((value["iss"].as_str(), value["sub"].as_str()), (Some(ISSUER), Some(LIST)));
    assert!(value["exp"].as_f64().expect("a date") + 60.0 > NOW as f64);
    let packed =
        URL_SAFE_NO_PAD.decode(value["status_list"]["lst"].as_str().expect("text")).expect("base64url");
    let bits = value["status_list"]["bits"].as_u64().expect("a number");
    assert_eq!(status_at(&packed, bits, 3), Some(0));
}

/// The first byte says how many bits a status has, the second which place is asked for; the rest is the list, packed.
/// Every place is read as by counting bits, and nothing beyond the end, or beyond the largest list, counts.
pub(crate) fn status_bits(data: &[u8]) {
    let [bits, idx, packed @ ..] = data else { return };
    // What is no ZLIB stream is packed first, so that both the decompression and the bits are reached.
    let packed = if packed.first() == Some(&0x78) { packed.to_vec() } else { pack(packed) };
    let mut claims = Issuer::list_claims("1", &[]);
    claims.status_list.bits = *bits;
    claims.status_list.lst = URL_SAFE_NO_PAD.encode(&packed);
    let network = network();
    network.put(LIST, list_token(&serde_json::to_vec(&claims).expect("JSON")), 300);
    let verified = RUNTIME.block_on(verifier(network).verify(&token_at((*idx).into())));
    match (verified, status_at(&packed, (*bits).into(), (*idx).into())) {
        (Ok(_), status) => assert_eq!(status, Some(0)),
        (Err(Refusal::Revoked), status) => assert!(status.is_some_and(|status| status != 0)),
        (Err(_), status) => assert_eq!(status, None),
    }
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// The status at a place, bit by bit (draft-ietf-oauth-status-list, section 4.1); nothing where there is none.
fn status_at(packed: &[u8], bits: u64, idx: u64) -> Option<u64> {
    if ![1, 2, 4, 8].contains(&bits) {
        return None;
    }
    let mut bytes = Vec::new();
    ZlibDecoder::new(packed).take(LARGEST_LIST + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > LARGEST_LIST {
        return None;
    }
    let bit = |at: u64| {
        let byte = bytes.get(usize::try_from(at / 8).ok()?)?;
        Some(u64::from(byte >> (at % 8) & 1))
    };
    (0..bits).try_fold(0, |status, each| Some(status | bit(idx * bits + each)? << each))
}
