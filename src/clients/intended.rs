//! A change in two steps, so that what it comes to can be put on record before it is done.

use std::sync::Arc;

use tokio::sync::MutexGuard;

use super::registry::ClientError;
use super::{Client, ClientChange, ClientRegistry};
use crate::store::Condition;

/// A change that can be honoured, not yet written. While it lives no other change is begun.
pub struct IntendedChange<'a> {
    registry: &'a ClientRegistry,
    _turn: MutexGuard<'a, ()>,
    version: u64,
    /// The client as it is.
    pub before: Client,
    /// The client as it will be, but for the date of the change.
    pub after: Client,
}

impl ClientRegistry {
    /// What `change` makes of the client. Nothing is changed before [`IntendedChange::write`].
    ///
    /// # Errors
    /// When there is no such client, it is not as the change expects it, or the change can't be honoured.
    pub async fn intend(
        &self,
        client_id: &str,
        change: ClientChange,
    ) -> Result<IntendedChange<'_>, ClientError> {
        let turn = self.changing.lock().await;
        let (before, version) = self.current(client_id)?;
        if change.of_version.is_some_and(|version| version != before.updated_at) {
            return Err(ClientError::Changed);
        }
        let mut after = before.clone();
        let asks_anew = change.scope.is_some();
        change.apply(&mut after);
        // What was registered under wider settings stays, though it is worth less: other members can be changed.
        if asks_anew {
            self.limits.check_open(&after)?;
        } else {
            self.limits.check(&after)?;
        }
        Ok(IntendedChange { registry: self, _turn: turn, version, before, after })
    }
}

impl IntendedChange<'_> {
    /// Carries it out.
    ///
    /// # Errors
    /// When the client was changed meanwhile, by another node, or the store fails.
    pub async fn write(self) -> Result<Arc<Client>, ClientError> {
        self.registry.write(self.after, Condition::VersionIs(self.version)).await
    }
}
