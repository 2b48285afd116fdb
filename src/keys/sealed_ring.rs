//! The ring as the store holds it: JSON, with a MAC under a key derived from the key-encryption key, so
//! that a flipped bit or an outsider's edit is noticed before anything is signed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac::{self, HMAC_SHA256};
use serde::{Deserialize, Serialize};

use super::kek::{Kek, KekId, KekUnavailable};
use super::record::KeyRingRecord;
use super::ring::KeyRing;
use crate::store::Table;

/// Where the ring lives.
pub(super) const TABLE: Table = Table::mirrored(KeyRing::TABLE).even_late();
/// Under which key.
pub(super) const KEY: &[u8] = b"ring";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthenticatedRing {
    kek: KekId,
    mac: String,
    /// The exact text that the MAC covers.
    ring: String,
}

/// The ring can't be read, and is never silently made anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingUnreadable {
    /// It was written under another key-encryption key.
    #[error(
        "the key ring was written under the key-encryption key {written_under}, the settings give {given}: \
         give the former by keys.kek_file, SIGNET_KEYS_KEK or keys.pkcs11.*, or correct keys.dir; to change it, run `signet keys rekey \
         --new-kek-file FILE` with the former in the settings; if that was cut off, run it again"
    )]
    WrongKek {
        /// What it was written under.
        written_under: KekId,
        /// What the settings give.
        given: KekId,
    },
    /// It is not what was written.
    #[error("the key ring in the store is damaged or was changed: restore the store from a backup")]
    Damaged,
    /// A later release wrote it.
    #[error(
        "the key ring's format is version {0}, this release reads version 1: use the release that wrote it"
    )]
    UnknownSchema(u32),
    /// What it is sealed under can't be asked now.
    #[error(transparent)]
    Kek(#[from] KekUnavailable),
}

/// Writes the ring.
#[must_use]
#[expect(clippy::expect_used, reason = "plain data always becomes JSON")]
pub(super) fn encode(ring: &KeyRingRecord, kek: &Kek) -> Vec<u8> {
    let ring = serde_json::to_string(ring).expect("a ring becomes JSON");
    let mac = URL_SAFE_NO_PAD.encode(hmac::sign(&mac_key(kek), ring.as_bytes()));
    serde_json::to_vec(&AuthenticatedRing { kek: kek.id(), mac, ring }).expect("a row becomes JSON")
}

/// Reads the ring.
///
/// # Errors
/// When it was written under another key-encryption key, by a later release, or is not what was written.
/// That an older ring was put back is not noticed.
pub(super) fn decode(value: &[u8], kek: &Kek) -> Result<KeyRingRecord, RingUnreadable> {
    #[derive(Deserialize)]
    struct Schema {
        schema: u32,
    }
    let row: AuthenticatedRing = serde_json::from_slice(value).map_err(|_| RingUnreadable::Damaged)?;
    if row.kek != kek.id() {
        return Err(RingUnreadable::WrongKek { written_under: row.kek, given: kek.id() });
    }
    let mac = URL_SAFE_NO_PAD.decode(&row.mac).map_err(|_| RingUnreadable::Damaged)?;
    hmac::verify(&mac_key(kek), row.ring.as_bytes(), &mac).map_err(|_| RingUnreadable::Damaged)?;
    let Schema { schema } = serde_json::from_str(&row.ring).map_err(|_| RingUnreadable::Damaged)?;
    if schema != KeyRingRecord::SCHEMA {
        return Err(RingUnreadable::UnknownSchema(schema));
    }
    let ring: KeyRingRecord = serde_json::from_str(&row.ring).map_err(|_| RingUnreadable::Damaged)?;
    if ring.is_consistent() { Ok(ring) } else { Err(RingUnreadable::Damaged) }
}

/// Under which key-encryption key a row was written, if it can be told.
#[must_use]
pub(super) fn written_under(value: &[u8]) -> Option<KekId> {
    serde_json::from_slice::<AuthenticatedRing>(value).ok().map(|row| row.kek)
}

fn mac_key(kek: &Kek) -> hmac::Key {
    hmac::Key::new(HMAC_SHA256, kek.ring_key().as_slice())
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn kek(byte: u8) -> Kek {
        Kek::new(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn what_was_written_is_read() {
        let ring = KeyRingRecord::empty();
        assert_eq!(decode(&encode(&ring, &kek(1)), &kek(1)), Ok(ring));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let row = encode(&KeyRingRecord::empty(), &kek(1));
        for position in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[position / 8] ^= 1 << (position % 8);
            assert!(decode(&flipped, &kek(1)).is_err(), "bit {position}");
        }
    }

    #[test]
    fn a_wrong_kek_and_a_later_schema_are_told_apart_from_damage() {
        let mut ring = KeyRingRecord::empty();
        assert!(matches!(decode(&encode(&ring, &kek(1)), &kek(2)), Err(RingUnreadable::WrongKek { .. })));
        ring.schema = 2;
        assert_eq!(decode(&encode(&ring, &kek(1)), &kek(1)), Err(RingUnreadable::UnknownSchema(2)));
    }
}
