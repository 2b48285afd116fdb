use std::sync::Arc;

use serde::Serialize;

use super::data_key::{self, DataKeyError};
use super::kek::Kek;
use super::sealed_ring::{self, KEY, RingUnreadable, TABLE};
use super::sealing;
use super::vault::{SealedVault, VaultError};
use crate::entropy::{Entropy, SharedEntropy};
use crate::store::{Batch, Committed, Condition, Put, Store, StoreError};

/// The key-encryption keys of a change.
#[derive(Clone)]
pub struct Rekey {
    /// What everything is sealed under.
    pub old: Arc<Kek>,
    /// What it shall be sealed under.
    pub new: Arc<Kek>,
}

/// A key-encryption key that was replaced; nothing is left under the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rekeyed {
    /// How many keys were sealed anew by this call.
    pub resealed: usize,
    /// How many keys there are; each was read again and opens under the new key-encryption key.
    pub verified: usize,
    /// Whether the ring was written anew by this call.
    pub ring: bool,
}

/// The key-encryption key was not replaced everywhere. Call again with the same two to go on.
#[derive(Debug, thiserror::Error)]
pub enum RekeyError {
    /// Both are the same.
    #[error("the old and the new key-encryption key are the same")]
    Same,
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A sealed key can't be read or replaced.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The ring opens under neither.
    #[error(transparent)]
    Unreadable(#[from] RingUnreadable),
    /// The data key opens under neither, or was changed meanwhile.
    #[error(transparent)]
    DataKey(#[from] DataKeyError),
    /// The ring was changed meanwhile.
    #[error("the key ring was changed meanwhile: stop every node, then call again")]
    Changed,
}

/// Replaces the key-encryption key: seals every key in `vault`, which has the new one, anew, writes the ring, the sealing keys and the data key anew, then
/// reads all of it again and checks that nothing is left under the old one. Stop every node before: one that still has
/// the old key-encryption key can't read the ring any more.
///
/// A crash leaves some keys under the old one and some under the new one; calling again finishes it.
///
/// # Errors
/// When something can't be read under either, and when store or file system fail.
pub async fn rekey(
    store: &dyn Store,
    vault: Arc<dyn SealedVault>,
    rekey: &Rekey,
    entropy: SharedEntropy,
) -> Result<Rekeyed, RekeyError> {
    let Rekey { old, new } = rekey.clone();
    if old.is_same_as(&new) {
        return Err(RekeyError::Same);
    }
    let row = store.get(TABLE, KEY).await?;
    let under_old = row.as_ref().is_some_and(|row| sealed_ring::written_under(&row.value) == Some(old.id()));
    // Before anything is touched.
    let ring = row.as_ref().map(|row| sealed_ring::decode(&row.value, if under_old { &old } else { &new }));
    let ring = ring.transpose()?;
    let before = Arc::clone(&old);
    let files = tokio::task::spawn_blocking(move || {
        let resealed = vault.reseal(&before)?;
        Ok::<_, VaultError>((resealed, vault.verify()?))
    });
    let (resealed, verified) = files.await.map_err(|_| RekeyError::Changed)??;
    if let (true, Some(row), Some(ring)) = (under_old, &row, &ring) {
        let put = Put::lasting(sealed_ring::encode(ring, &new));
        let batch = Batch::new().put(TABLE, KEY, Condition::VersionIs(row.version), put);
        if store.commit(batch).await? == Committed::Conflict {
            return Err(RekeyError::Changed);
        }
    }
    if let Some(row) = store.get(TABLE, KEY).await? {
        sealed_ring::decode(&row.value, &new)?;
    }
    reseal_sealing_keys(store, (&old, &new), entropy.as_ref()).await?;
    data_key::rewrap(store, (&old, &new), entropy.as_ref()).await?;
    Ok(Rekeyed { resealed, verified, ring: under_old })
}

/// Writes the sealing keys anew, and reads them again.
async fn reseal_sealing_keys(
    store: &dyn Store,
    (old, new): (&Kek, &Kek),
    entropy: &dyn Entropy,
) -> Result<(), RekeyError> {
    let Some(row) = store.get(TABLE, sealing::TABLE_KEY).await? else { return Ok(()) };
    if let Some(resealed) = sealing::reseal(&row.value, (old, new), entropy).await? {
        let condition = Condition::VersionIs(row.version);
        let batch = Batch::new().put(TABLE, sealing::TABLE_KEY, condition, Put::lasting(resealed));
        if store.commit(batch).await? == Committed::Conflict {
            return Err(RekeyError::Changed);
        }
        if let Some(row) = store.get(TABLE, sealing::TABLE_KEY).await? {
            sealing::reseal(&row.value, (new, new), entropy).await?;
        }
    }
    Ok(())
}
