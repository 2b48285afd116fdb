//! The data key: seals what lies in the store and must be readable again as long as the installation lives, such as
//! the secrets of second factors. Unlike the keys of the ring it has no dates. It lies in the store itself, sealed under
//! the key-encryption key: replacing that one seals the data key anew, and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::kek::{Kek, KekId, KekUnavailable};
use crate::entropy::{Entropy, SharedEntropy};
use crate::store::typed::{Record, TypedTable};
use crate::store::{Batch, Committed, Condition, Store, StoreError, Table};

pub(super) const TABLE: Table = Table::plain("data_keys");
const DATA_KEYS: TypedTable<SealedDataKey> = TypedTable::new(TABLE);
const ROW: &[u8] = b"current";

/// What the data key's own seal is bound to.
const OWN_CONTEXT: &str = "signet data key";

/// The data key, ready to use. Random nonces are good for 2^32 seals; it seals a few for each person.
pub struct DataKey {
    key: LessSafeKey,
    digests: Digests,
    entropy: SharedEntropy,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedDataKey {
    kek: KekId,
    sealed: String,
}

/// Digests that nobody can make who has not the data key: the same text has the same one as long as the installation
/// lives, and no list of likely texts leads back to it.
#[derive(Clone)]
pub struct Digests(hmac::Key);

impl Digests {
    /// A key of its own: what seals must not digest too.
    fn of_key(data_key: &[u8]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, data_key), b"signet digests");
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// The digest of `text`, which is a `purpose`: 128 bits as base64url.
    #[must_use]
    pub fn of(&self, purpose: &str, text: &str) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [purpose.as_bytes(), &[0], text.as_bytes()] {
            context.update(part);
        }
        URL_SAFE_NO_PAD.encode(&context.sign().as_ref()[..16])
    }
}

/// The data key can't be had. It is never silently made anew.
#[derive(Debug, thiserror::Error)]
pub enum DataKeyError {
    /// It was sealed under another key-encryption key.
    #[error(
        "the data key was sealed under the key-encryption key {sealed_under}, the settings give {given}: set keys.kek_file, \
         or keys.pkcs11.*, to the former, or finish `signet keys rekey`"
    )]
    WrongKek {
        /// What sealed it.
        sealed_under: KekId,
        /// What the settings give.
        given: KekId,
    },
    /// It is not what was written.
    #[error("the data key in the store is damaged or was changed: restore the store from a backup")]
    Damaged,
    /// It was changed meanwhile.
    #[error("the data key was changed meanwhile: stop every node, then call again")]
    Changed,
    /// What it is sealed under can't be asked now.
    #[error(transparent)]
    Kek(#[from] KekUnavailable),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DataKey {
    /// Reads the data key of the installation in `store`, or makes it if there was none yet.
    ///
    /// # Errors
    /// When it does not open under `kek`, or the store fails.
    pub async fn open(store: &dyn Store, kek: &Kek, entropy: SharedEntropy) -> Result<Self, DataKeyError> {
        if let Some(bytes) = Self::read(store, kek).await? {
            return Ok(Self::of(bytes.as_slice(), entropy));
        }
        let bytes = Zeroizing::new(entropy.bytes::<32>());
        let sealed = SealedDataKey::seal(kek, entropy.as_ref(), bytes.as_slice()).await?;
        let batch = DATA_KEYS.put(Batch::new(), ROW, Condition::Absent, &sealed)?;
        match store.commit(batch).await? {
            Committed::Applied => Ok(Self::of(bytes.as_slice(), entropy)),
            // Another node that started at the same time has made it.
            Committed::Conflict => {
                let bytes = Self::read(store, kek).await?.ok_or(DataKeyError::Changed)?;
                Ok(Self::of(bytes.as_slice(), entropy))
            }
        }
    }

    async fn read(store: &dyn Store, kek: &Kek) -> Result<Option<Zeroizing<Vec<u8>>>, DataKeyError> {
        match DATA_KEYS.get(store, ROW).await? {
            Some(record) => record.value.open(kek).await.map(Some),
            None => Ok(None),
        }
    }

    fn of(bytes: &[u8], entropy: SharedEntropy) -> Self {
        Self { key: aead(bytes), digests: Digests::of_key(bytes), entropy }
    }

    /// What tells texts apart without showing them.
    #[must_use]
    pub fn digests(&self) -> Digests {
        self.digests.clone()
    }

    /// Seals `plaintext`; it opens in the same `context` only.
    #[must_use]
    pub fn seal(&self, context: &str, plaintext: &[u8]) -> String {
        encrypt(&self.key, self.entropy.as_ref(), context, plaintext)
    }

    /// Opens what was sealed in `context`; `None` if it is anything else.
    #[must_use]
    pub fn unseal(&self, context: &str, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        decrypt(&self.key, context, sealed)
    }
}

impl SealedDataKey {
    async fn seal(kek: &Kek, entropy: &dyn Entropy, bytes: &[u8]) -> Result<Self, KekUnavailable> {
        let key = wrapping_key(kek).await?;
        Ok(Self { kek: kek.id(), sealed: encrypt(&key, entropy, OWN_CONTEXT, bytes) })
    }

    async fn open(&self, kek: &Kek) -> Result<Zeroizing<Vec<u8>>, DataKeyError> {
        if self.kek != kek.id() {
            return Err(DataKeyError::WrongKek { sealed_under: self.kek.clone(), given: kek.id() });
        }
        let bytes = decrypt(&wrapping_key(kek).await?, OWN_CONTEXT, &self.sealed);
        bytes.filter(|bytes| bytes.len() == AES_256_GCM.key_len()).ok_or(DataKeyError::Damaged)
    }
}

/// Seals the data key under `new` if it is still under `old`, and checks that it opens under `new`.
///
/// # Errors
/// When it opens under neither, was changed meanwhile, or the store fails.
pub(super) async fn rewrap(
    store: &dyn Store,
    (old, new): (&Kek, &Kek),
    entropy: &dyn Entropy,
) -> Result<(), DataKeyError> {
    let Some(Record { version, value, .. }) = DATA_KEYS.get(store, ROW).await? else { return Ok(()) };
    if value.kek == old.id() {
        let sealed = SealedDataKey::seal(new, entropy, &value.open(old).await?).await?;
        let batch = DATA_KEYS.put(Batch::new(), ROW, Condition::VersionIs(version), &sealed)?;
        if store.commit(batch).await? == Committed::Conflict {
            return Err(DataKeyError::Changed);
        }
    }
    let Some(record) = DATA_KEYS.get(store, ROW).await? else { return Err(DataKeyError::Changed) };
    record.value.open(new).await.map(drop)
}

async fn wrapping_key(kek: &Kek) -> Result<LessSafeKey, KekUnavailable> {
    Ok(aead(kek.derive_aside(&[], b"signet data key").await?.as_slice()))
}

fn aead(key: &[u8]) -> LessSafeKey {
    #[expect(clippy::expect_used, reason = "whoever calls has checked the length")]
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes"))
}

/// Nonce, ciphertext and tag as base64url.
fn encrypt(key: &LessSafeKey, entropy: &dyn Entropy, context: &str, plaintext: &[u8]) -> String {
    let nonce = entropy.bytes::<NONCE_LEN>();
    // Encrypted in place: no plain copy is left behind.
    let mut buffer = Zeroizing::new(Vec::with_capacity(plaintext.len() + AES_256_GCM.tag_len()));
    buffer.extend_from_slice(plaintext);
    #[expect(clippy::expect_used, reason = "AES-GCM seals 64 GiB; a row of the store is far smaller")]
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut *buffer)
        .expect("a row is short enough");
    URL_SAFE_NO_PAD.encode([&nonce, buffer.as_slice()].concat())
}

fn decrypt(key: &LessSafeKey, context: &str, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
    let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE_LEN>()?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let length = key.open_in_place(nonce, Aad::from(context), &mut buffer).ok()?.len();
    buffer.truncate(length);
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;
    use crate::entropy::SeededEntropy;
    use crate::store::MemoryStore;

    fn kek(byte: u8) -> Kek {
        Kek::new(Zeroizing::new([byte; 32]))
    }

    fn ground() -> (Arc<MemoryStore>, SharedEntropy) {
        (MemoryStore::new(Arc::new(ManualClock::at(0))), Arc::new(SeededEntropy::new(1)))
    }

    #[tokio::test]
    async fn what_was_sealed_opens_in_its_context_only() {
        let (store, entropy) = ground();
        let key = DataKey::open(store.as_ref(), &kek(1), entropy.clone()).await.unwrap();
        let sealed = key.seal("alice", b"hush");
        assert_ne!(sealed, key.seal("alice", b"hush"));
        let again = DataKey::open(store.as_ref(), &kek(1), entropy).await.unwrap();
        assert_eq!(again.unseal("alice", &sealed).unwrap().as_slice(), b"hush");
        assert!(again.unseal("bob", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut forged = sealed.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert!(again.unseal("alice", &String::from_utf8(forged).unwrap()).is_none(), "{at}");
        }
        assert!(again.unseal("alice", "").is_none());
    }

    #[tokio::test]
    async fn a_digest_is_the_same_in_one_installation_only() {
        let (store, entropy) = ground();
        let open = async |store: &MemoryStore, entropy| DataKey::open(store, &kek(1), entropy).await.unwrap();
        let digest = open(&store, entropy.clone()).await.digests().of("name", "ada");
        let again = open(&store, entropy).await.digests();
        assert_eq!(again.of("name", "ada"), digest);
        assert_ne!(again.of("name", "adb"), digest);
        assert_ne!(again.of("names", "ada"), digest);
        let elsewhere = MemoryStore::new(Arc::new(ManualClock::at(0)));
        let other = open(&elsewhere, Arc::new(SeededEntropy::new(2))).await.digests();
        assert_ne!(other.of("name", "ada"), digest);
    }

    #[tokio::test]
    async fn it_is_sealed_anew_under_another_key_encryption_key_and_stays_the_same() {
        let (store, entropy) = ground();
        let key = DataKey::open(store.as_ref(), &kek(1), entropy.clone()).await.unwrap();
        let sealed = key.seal("alice", b"hush");
        let wrong = DataKey::open(store.as_ref(), &kek(2), entropy.clone()).await;
        assert!(matches!(wrong, Err(DataKeyError::WrongKek { .. })));
        for _ in 0..2 {
            rewrap(store.as_ref(), (&kek(1), &kek(2)), entropy.as_ref()).await.unwrap();
        }
        let moved = DataKey::open(store.as_ref(), &kek(2), entropy.clone()).await.unwrap();
        assert_eq!(moved.unseal("alice", &sealed).unwrap().as_slice(), b"hush");
        assert!(DataKey::open(store.as_ref(), &kek(1), entropy.clone()).await.is_err());
        assert!(rewrap(store.as_ref(), (&kek(1), &kek(3)), entropy.as_ref()).await.is_err());
    }

    #[tokio::test]
    async fn a_damaged_one_is_not_made_anew() {
        let (store, entropy) = ground();
        DataKey::open(store.as_ref(), &kek(1), entropy.clone()).await.unwrap();
        let other = SealedDataKey { kek: kek(1).id(), sealed: "AAAA".into() };
        let batch = DATA_KEYS.put(Batch::new(), ROW, Condition::Always, &other).unwrap();
        assert_eq!(store.commit(batch).await.unwrap(), Committed::Applied);
        assert!(matches!(DataKey::open(store.as_ref(), &kek(1), entropy).await, Err(DataKeyError::Damaged)));
    }
}
