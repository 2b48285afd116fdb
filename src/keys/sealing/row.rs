//! The sealing keys as the store holds them: sealed as a whole under the key-encryption key, so that nobody who
//! reads or writes the store learns or replaces one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::record::SealingRecord;
use crate::entropy::Entropy;
use crate::keys::kek::{Kek, KekId, KekUnavailable};
use crate::keys::sealed_ring::RingUnreadable;

/// The row, in the table of the key ring.
pub(in crate::keys) const TABLE_KEY: &[u8] = b"sealing";

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedRecord {
    version: u32,
    kek: KekId,
    salt: String,
    nonce: String,
    sealed: String,
}

/// Writes the keys.
///
/// # Errors
/// When the module that keeps the key-encryption key fails.
#[expect(clippy::expect_used, reason = "plain data always becomes JSON, and AES-GCM seals 64 GiB")]
pub(super) async fn encode(
    record: &SealingRecord,
    kek: &Kek,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, KekUnavailable> {
    let (salt, nonce): ([u8; 32], [u8; NONCE_LEN]) = (entropy.bytes(), entropy.bytes());
    let mut buffer = Zeroizing::new(serde_json::to_vec(record).expect("keys become JSON"));
    row_key(kek, &salt)
        .await?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(VERSION, &kek.id()), &mut *buffer)
        .expect("the keys are short enough");
    let row = SealedRecord {
        version: VERSION,
        kek: kek.id(),
        salt: URL_SAFE_NO_PAD.encode(salt),
        nonce: URL_SAFE_NO_PAD.encode(nonce),
        sealed: URL_SAFE_NO_PAD.encode(&*buffer),
    };
    Ok(serde_json::to_vec(&row).expect("a row becomes JSON"))
}

/// Reads the keys.
///
/// # Errors
/// When they were written under another key-encryption key, by a later release, or are not what was written, and when the
/// module that keeps the key-encryption key fails.
pub(super) async fn decode(value: &[u8], kek: &Kek) -> Result<SealingRecord, RingUnreadable> {
    let row: SealedRecord = serde_json::from_slice(value).map_err(|_| RingUnreadable::Damaged)?;
    if row.version != VERSION {
        return Err(RingUnreadable::UnknownSchema(row.version));
    }
    if row.kek != kek.id() {
        return Err(RingUnreadable::WrongKek { written_under: row.kek, given: kek.id() });
    }
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| RingUnreadable::Damaged);
    let (salt, nonce) = (bytes(&row.salt)?, bytes(&row.nonce)?);
    let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| RingUnreadable::Damaged)?;
    let mut buffer = Zeroizing::new(bytes(&row.sealed)?);
    let plain = row_key(kek, &salt)
        .await?
        .open_in_place(nonce, aad(row.version, &row.kek), &mut buffer)
        .map_err(|_| RingUnreadable::Damaged)?;
    serde_json::from_slice(plain).map_err(|_| RingUnreadable::Damaged)
}

/// The same keys under another key-encryption key; `None` if they are under `new` already.
///
/// # Errors
/// When they open under neither, and when a module that keeps one of the two fails.
pub(in crate::keys) async fn reseal(
    value: &[u8],
    (old, new): (&Kek, &Kek),
    entropy: &dyn Entropy,
) -> Result<Option<Vec<u8>>, RingUnreadable> {
    match decode(value, old).await {
        Ok(record) => Ok(Some(encode(&record, new, entropy).await?)),
        Err(RingUnreadable::Kek(error)) => Err(error.into()),
        Err(_) => decode(value, new).await.map(|_| None),
    }
}

fn aad(version: u32, kek: &str) -> Aad<Vec<u8>> {
    Aad::from(format!("signet sealing keys\0{version}\0{kek}").into_bytes())
}

async fn row_key(kek: &Kek, salt: &[u8]) -> Result<LessSafeKey, KekUnavailable> {
    let key = kek.derive_aside(salt, b"signet sealing keys").await?;
    #[expect(clippy::expect_used, reason = "the key has the algorithm's length")]
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_slice()).expect("32 bytes")))
}

#[cfg(test)]
mod tests {
    use super::super::record::{Material, SealingKey};
    use super::*;
    use crate::entropy::SeededEntropy;
    use crate::oauth::KeyId;

    fn kek(byte: u8) -> Kek {
        Kek::new(Zeroizing::new([byte; 32]))
    }

    fn record() -> SealingRecord {
        let id = KeyId::parse("AAAAAAAA").unwrap();
        let material = Material([7; 32]);
        SealingRecord {
            keys: vec![SealingKey { id, material, created_at: 1, seal_from: 2, longest_lifetime: 3 }],
        }
    }

    #[tokio::test]
    async fn keys_are_read_as_they_were_written_and_stand_nowhere_in_the_row() {
        let row = encode(&record(), &kek(1), &SeededEntropy::new(1)).await.unwrap();
        let read = decode(&row, &kek(1)).await.unwrap();
        assert_eq!(read.keys[0].material.0, [7; 32]);
        assert!(!String::from_utf8(row).unwrap().contains("AAAAAAAA"));
    }

    #[tokio::test]
    async fn a_row_that_was_changed_or_is_under_another_key_is_refused() {
        let row = encode(&record(), &kek(1), &SeededEntropy::new(1)).await.unwrap();
        assert!(matches!(decode(&row, &kek(2)).await, Err(RingUnreadable::WrongKek { .. })));
        for at in 0..row.len() {
            let mut changed = row.clone();
            changed[at] ^= 1;
            assert!(decode(&changed, &kek(1)).await.is_err(), "byte {at}");
        }
    }

    #[tokio::test]
    async fn resealing_moves_the_keys_once() {
        let row = encode(&record(), &kek(1), &SeededEntropy::new(1)).await.unwrap();
        let entropy = SeededEntropy::new(2);
        let moved = reseal(&row, (&kek(1), &kek(2)), &entropy).await.unwrap().unwrap();
        assert!(decode(&moved, &kek(2)).await.is_ok());
        assert!(reseal(&moved, (&kek(1), &kek(2)), &entropy).await.unwrap().is_none());
        assert!(reseal(&moved, (&kek(1), &kek(3)), &entropy).await.is_err());
    }
}
