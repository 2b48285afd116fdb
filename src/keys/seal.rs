//! Private keys at rest: AES-256-GCM under a key derived for each file from the key-encryption key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::kek::{Kek, KekId, KekUnavailable};
use crate::entropy::Entropy;
use crate::oauth::{Algorithm, KeyId};

const VERSION: u32 = 1;

/// A sealed private key, as its file holds it. Everything but `sealed` is authenticated, not secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedKey {
    version: u32,
    /// Which key.
    pub kid: KeyId,
    /// For which algorithm.
    pub algorithm: Algorithm,
    /// Under which key-encryption key.
    pub kek: KekId,
    salt: String,
    nonce: String,
    sealed: String,
}

/// A sealed key does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// It was sealed under another key-encryption key.
    #[error(
        "it was sealed under the key-encryption key {sealed_under}, the settings give {given}: set keys.kek_file, or \
         keys.pkcs11.*, to the former, or finish `signet keys rekey`"
    )]
    WrongKek {
        /// What sealed it.
        sealed_under: KekId,
        /// What the settings give.
        given: KekId,
    },
    /// It is not what was written.
    #[error("it is damaged or was changed: restore it from a backup")]
    Damaged,
    /// A later release wrote it.
    #[error("its format is version {0}, this release reads version {VERSION}: use the release that wrote it")]
    UnknownVersion(u32),
    /// What it is sealed under can't be asked now.
    #[error(transparent)]
    Kek(#[from] KekUnavailable),
}

impl SealedKey {
    /// Seals a private key in PKCS#8 DER. May block, as [`SealedKey::open`] may: the key-encryption key may be in a module.
    ///
    /// # Errors
    /// When the module that keeps the key-encryption key fails.
    pub fn seal(
        kek: &Kek,
        entropy: &dyn Entropy,
        (kid, algorithm): (&KeyId, Algorithm),
        der: &[u8],
    ) -> Result<Self, KekUnavailable> {
        let (salt, nonce): ([u8; 32], [u8; NONCE_LEN]) = (fill(entropy), fill(entropy));
        let mut sealed = Self {
            version: VERSION,
            kid: kid.clone(),
            algorithm,
            kek: kek.id(),
            salt: URL_SAFE_NO_PAD.encode(salt),
            nonce: URL_SAFE_NO_PAD.encode(nonce),
            sealed: String::new(),
        };
        // Encrypted in place: no plain copy is left behind.
        let mut buffer = Zeroizing::new(Vec::with_capacity(der.len() + AES_256_GCM.tag_len()));
        buffer.extend_from_slice(der);
        #[expect(clippy::expect_used, reason = "AES-GCM seals 64 GiB; a key is a few kilobytes")]
        file_key(kek, &salt)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), sealed.aad(), &mut *buffer)
            .expect("a key is short enough");
        sealed.sealed = URL_SAFE_NO_PAD.encode(&*buffer);
        Ok(sealed)
    }

    /// Opens what was sealed.
    ///
    /// # Errors
    /// When it was sealed under another key-encryption key, or is not what was sealed, and when the module that keeps the
    /// key-encryption key fails.
    pub fn open(&self, kek: &Kek) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        if self.version != VERSION {
            return Err(UnsealError::UnknownVersion(self.version));
        }
        if self.kek != kek.id() {
            return Err(UnsealError::WrongKek { sealed_under: self.kek.clone(), given: kek.id() });
        }
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| UnsealError::Damaged);
        let (salt, nonce) = (decode(&self.salt)?, decode(&self.nonce)?);
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| UnsealError::Damaged)?;
        let mut buffer = Zeroizing::new(decode(&self.sealed)?);
        let length = file_key(kek, &salt)?
            .open_in_place(nonce, self.aad(), &mut buffer)
            .map_err(|_| UnsealError::Damaged)?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }

    fn aad(&self) -> Aad<Vec<u8>> {
        let Self { version, kid, algorithm, kek, .. } = self;
        Aad::from(format!("signet sealed key\0{version}\0{kid}\0{algorithm}\0{kek}").into_bytes())
    }
}

fn file_key(kek: &Kek, salt: &[u8]) -> Result<LessSafeKey, KekUnavailable> {
    let key = kek.derive(salt, b"signet sealed key")?;
    #[expect(clippy::expect_used, reason = "the key has the algorithm's length")]
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_slice()).expect("32 bytes")))
}

fn fill<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    entropy.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    fn kek(byte: u8) -> Kek {
        Kek::new(Zeroizing::new([byte; 32]))
    }

    fn sealed() -> SealedKey {
        let kid = KeyId::parse("some-kid").unwrap();
        SealedKey::seal(&kek(1), &SeededEntropy::new(1), (&kid, Algorithm::ES256), b"the private key")
            .unwrap()
    }

    #[test]
    fn what_was_sealed_opens() {
        let json = serde_json::to_string(&sealed()).unwrap();
        assert!(!json.contains("private"));
        let read: SealedKey = serde_json::from_str(&json).unwrap();
        assert_eq!(read.open(&kek(1)).unwrap().as_slice(), b"the private key");
    }

    #[test]
    fn a_wrong_kek_is_told_apart_from_damage() {
        assert!(matches!(sealed().open(&kek(2)), Err(UnsealError::WrongKek { .. })));
        let mut relabelled = sealed();
        relabelled.kek = kek(2).id();
        assert_eq!(relabelled.open(&kek(2)), Err(UnsealError::Damaged));
    }

    #[test]
    fn every_member_is_authenticated() {
        let original = sealed();
        let changes: [fn(&mut SealedKey); 5] = [
            |s| s.kid = KeyId::parse("other-kid").unwrap(),
            |s| s.algorithm = Algorithm::RS256,
            |s| s.salt = URL_SAFE_NO_PAD.encode([0; 32]),
            |s| s.nonce = URL_SAFE_NO_PAD.encode([0; 11]),
            |s| s.sealed = URL_SAFE_NO_PAD.encode([0; 31]),
        ];
        for change in changes {
            let mut forged = original.clone();
            change(&mut forged);
            assert_eq!(forged.open(&kek(1)), Err(UnsealError::Damaged));
        }
        let mut later = original;
        later.version = 2;
        assert_eq!(later.open(&kek(1)), Err(UnsealError::UnknownVersion(2)));
    }

    #[test]
    fn no_two_seals_share_salt_and_nonce() {
        let entropy = SeededEntropy::new(1);
        let kid = KeyId::parse("some-kid").unwrap();
        let seal =
            || SealedKey::seal(&kek(1), &entropy, (&kid, Algorithm::ES256), b"the private key").unwrap();
        let (one, other) = (seal(), seal());
        assert_ne!((one.salt, one.nonce, one.sealed), (other.salt, other.nonce, other.sealed));
    }
}
