//! How a text is sealed: version ‖ key id ‖ nonce ‖ ciphertext and tag, as base64url.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac::{self, HMAC_SHA256};
use zeroize::Zeroizing;

use super::record::{ID_BYTES, SealingKey};

/// The version of the format, the first byte.
const VERSION: u8 = 1;

const HEADER: usize = 1 + ID_BYTES + NONCE_LEN;

/// Nothing can be sealed or opened now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The keys were not read for P: another node may have condemned the one that seals, or sealed.
    #[error("the sealing keys were last read too long ago to seal or open by them")]
    Stale {
        /// When to try again, in seconds.
        retry_after: u64,
    },
    /// No key seals yet, or the text is longer than AES-GCM can take.
    #[error("no sealing key can seal this")]
    Unusable,
}

/// A key ready for use: what seals, and what makes nonces that repeat for equal texts.
pub(super) struct OpenKey {
    id: [u8; ID_BYTES],
    aead: LessSafeKey,
    nonces: hmac::Key,
}

impl OpenKey {
    pub(super) fn new(key: &SealingKey) -> Option<Self> {
        let mut id = [0; ID_BYTES];
        let decoded = URL_SAFE_NO_PAD.decode_slice(key.id.as_str(), &mut id);
        // Two uses of one key's bytes never share a key.
        let root = hmac::Key::new(HMAC_SHA256, &key.material.0);
        let derive = |info: &[u8]| hmac::sign(&root, info);
        let aead = UnboundKey::new(&AES_256_GCM, derive(b"signet seal").as_ref()).ok()?;
        let nonces = hmac::Key::new(HMAC_SHA256, derive(b"signet nonce").as_ref());
        (decoded == Ok(ID_BYTES)).then(|| Self { id, aead: LessSafeKey::new(aead), nonces })
    }

    /// The nonce that is the same for equal texts and purposes, and for no others.
    pub(super) fn synthetic_nonce(&self, purpose: &str, plaintext: &[u8]) -> [u8; NONCE_LEN] {
        let mut context = hmac::Context::with_key(&self.nonces);
        context.update(&(purpose.len() as u64).to_be_bytes());
        context.update(purpose.as_bytes());
        context.update(plaintext);
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&context.sign().as_ref()[..NONCE_LEN]);
        nonce
    }

    pub(super) fn seal(
        &self,
        purpose: &str,
        nonce: [u8; NONCE_LEN],
        plaintext: &[u8],
    ) -> Result<String, SealError> {
        let mut text = Vec::with_capacity(HEADER + plaintext.len() + AES_256_GCM.tag_len());
        text.push(VERSION);
        text.extend_from_slice(&self.id);
        text.extend_from_slice(&nonce);
        let mut body = Zeroizing::new(plaintext.to_vec());
        let tag = self
            .aead
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                aad(&self.id, purpose),
                &mut body,
            )
            .map_err(|_| SealError::Unusable)?;
        text.extend_from_slice(&body);
        text.extend_from_slice(tag.as_ref());
        Ok(URL_SAFE_NO_PAD.encode(text))
    }

    fn open(&self, purpose: &str, nonce: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let length = self.aead.open_in_place(nonce, aad(&self.id, purpose), &mut buffer).ok()?.len();
        buffer.truncate(length);
        Some(buffer)
    }
}

/// The name of the key that a text says it was sealed with; none for what is no sealed text.
pub(super) fn key_of(text: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (version, header) = bytes.split_at_checked(HEADER)?.0.split_first()?;
    (*version == VERSION).then(|| URL_SAFE_NO_PAD.encode(&header[..ID_BYTES]))
}

/// Opens a text with the key that it names, if `find` has it.
pub(super) fn open<'k>(
    purpose: &str,
    text: &str,
    find: impl FnOnce(&str) -> Option<&'k OpenKey>,
) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (header, sealed) = bytes.split_at_checked(HEADER)?;
    let (version, header) = header.split_first()?;
    let (id, nonce) = header.split_at_checked(ID_BYTES)?;
    if *version != VERSION {
        return None;
    }
    find(&URL_SAFE_NO_PAD.encode(id))?.open(purpose, nonce, sealed)
}

fn aad(id: &[u8], purpose: &str) -> Aad<Vec<u8>> {
    let mut aad = b"signet sealed text\0".to_vec();
    aad.push(VERSION);
    aad.extend_from_slice(id);
    aad.extend_from_slice(purpose.as_bytes());
    Aad::from(aad)
}
