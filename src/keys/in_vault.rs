//! What a change of the ring asks of the vault.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::spawn_blocking;

use super::change::{Signers, Spare};
use super::error::KeyRingError;
use super::record::{KeyRingRecord, PrivateHalf};
use super::ring::KeyRing;
use super::sealed_ring::{KEY, TABLE};
use super::vault::{KeyVault, StoredState, VaultError};
use crate::oauth::KeyId;
use crate::store::{Batch, Committed, Condition, Put, carried};

/// A pending key that no ring names is some other node's that is about to be committed, until it is older
/// than this, in seconds.
const PENDING_FOR: i64 = 600;

fn is_pending_for_long(state: StoredState, now: i64) -> bool {
    matches!(state, StoredState::Pending { since } if since + PENDING_FOR < now)
}

impl KeyRing {
    /// How many keys the vault holds that some ring names.
    pub(super) async fn kept(&self) -> Result<usize, KeyRingError> {
        let stored = self.in_vault(<dyn KeyVault>::list).await?;
        Ok(stored.iter().filter(|key| key.state == StoredState::Kept).count())
    }

    /// Brings the vault in line with the ring: what is named and pending becomes kept, what is erased is
    /// destroyed, what is pending for long and not named is for [`Self::destroy_strays`]. A kept key that the ring does not
    /// name is left alone: the ring may be an old one.
    pub(super) async fn settle(&self, ring: &KeyRingRecord) -> Result<(), KeyRingError> {
        let halves: HashMap<KeyId, PrivateHalf> =
            ring.records.iter().map(|record| (record.kid.clone(), record.private_half)).collect();
        let now = self.parts.clock.numeric_date();
        let settled = self.in_vault(move |vault| {
            let mut has_strays = false;
            for key in vault.list()? {
                match (halves.get(&key.kid), key.state) {
                    (Some(PrivateHalf::Erased), _) => vault.destroy(&key.kid)?,
                    (Some(PrivateHalf::Sealed), StoredState::Pending { .. }) => vault.keep(&key.kid)?,
                    (None, state) => has_strays |= is_pending_for_long(state, now),
                    _ => {}
                }
            }
            Ok(has_strays)
        });
        self.strays.store(settled.await?, Ordering::Relaxed);
        Ok(())
    }

    /// Destroys what is pending for long and not named, if [`Self::settle`] has seen any. Nothing bounds how long a commit that would
    /// name it may take: it was given up and waits for its standby, or its node was paused. So the ring is written as it is, under
    /// another version: what stands on this one or an older one is refused from then on.
    pub(super) async fn destroy_strays(&self) -> Result<(), KeyRingError> {
        if !self.strays.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let (row, ring) = self.read().await?;
        let fence = Batch::new().put(TABLE, KEY, Condition::VersionIs(row.version), Put::lasting(row.value));
        if self.parts.store.commit(fence).await? == Committed::Conflict {
            // Whatever came before it may have named them: the next tick looks.
            return Ok(());
        }
        let named: HashSet<KeyId> = ring.records.into_iter().map(|record| record.kid).collect();
        let now = self.parts.clock.numeric_date();
        self.in_vault(move |vault| {
            let strays = vault.list()?.into_iter();
            for key in strays.filter(|key| is_pending_for_long(key.state, now) && !named.contains(&key.kid)) {
                vault.destroy(&key.kid)?;
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
