//! What a change of the ring asks of the vault.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::change::{Signers, Spare};
use super::error::KeyRingError;
use super::record::{KeyRingRecord, PrivateHalf};
use super::ring::KeyRing;
use super::vault::{KeyVault, StoredState, VaultError};
use crate::oauth::KeyId;
use crate::store::carried;

/// A pending key that no ring names is some other node's that is about to be committed, until it is older
/// than this, in seconds.
const PENDING_FOR: i64 = 600;

impl KeyRing {
    /// How many keys the vault holds that some ring names.
    pub(super) async fn kept(&self) -> Result<usize, KeyRingError> {
        let stored = self.in_vault(<dyn KeyVault>::list).await?;
        Ok(stored.iter().filter(|key| key.state == StoredState::Kept).count())
    }

    /// Brings the vault in line with the ring: what is named and pending becomes kept, what is erased is
    /// destroyed, what is pending for long and not named is destroyed. A kept key that the ring does not
    /// name is left alone: the ring may be an old one.
    pub(super) async fn settle(&self, ring: &KeyRingRecord) -> Result<(), KeyRingError> {
        let halves: HashMap<KeyId, PrivateHalf> =
            ring.records.iter().map(|record| (record.kid.clone(), record.private_half)).collect();
        let now = self.parts.clock.numeric_date();
        self.in_vault(move |vault| {
            for key in vault.list()? {
                match (halves.get(&key.kid), key.state) {
                    (Some(PrivateHalf::Erased), _) => vault.destroy(&key.kid)?,
                    (Some(PrivateHalf::Sealed), StoredState::Pending { .. }) => vault.keep(&key.kid)?,
                    (None, StoredState::Pending { since }) if since + PENDING_FOR < now => {
                        vault.destroy(&key.kid)?;
                    }
                    _ => {}
                }
            }
            Ok(())
        })
        .await
    }

    /// Opens what signs or waits and is not open yet: all that can be, whatever fails with one of them.
    pub(super) async fn open_signers(
        &self,
        ring: &KeyRingRecord,
        signers: &mut Signers,
        spare: Spare<'_>,
    ) -> Result<(), KeyRingError> {
        let now = self.parts.clock.numeric_date();
        let (current, mut failed) = (self.snapshot.load_full(), None);
        for record in ring.records.iter().filter(|record| record.is_alive(now)) {
            if signers.contains_key(&record.kid) {
                continue;
            }
            let (kid, algorithm) = (record.kid.clone(), record.algorithm);
            let opened = match current.signer(&kid) {
                Some(signer) => Ok(signer),
                None if spare.spares(&kid) => continue,
                None => self.in_vault(move |vault| vault.open(&kid, algorithm)).await,
            };
            match opened {
                Ok(signer) => {
                    signers.insert(record.kid.clone(), signer);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Destroys keys that were made for a commit that did not happen.
    pub(super) async fn discard(&self, created: &Signers) {
        for kid in created.keys() {
            let kid = kid.clone();
            if let Err(error) = self.in_vault(move |vault| vault.destroy(&kid)).await {
                tracing::warn!(%error, "a key that is not needed stays in the vault as pending");
            }
        }
    }

    pub(super) async fn in_vault<R: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn KeyVault) -> Result<R, VaultError> + Send + 'static,
    ) -> Result<R, KeyRingError> {
        let vault = Arc::clone(&self.parts.vault);
        let outcome = spawn_blocking(carried(move || call(vault.as_ref()))).await;
        Ok(outcome.map_err(|_| KeyRingError::Stopping)??)
    }
}
