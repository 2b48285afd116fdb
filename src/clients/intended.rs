//! A change in two steps, so that what it comes to can be put on record before it is done.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::registry::{ClientError, Registered};
use super::{Client, ClientChange, ClientRegistry, ClientSecret, ConsentRule, RegistrationError};
use crate::oauth::Secret;
use crate::store::{Condition, Turn};

/// No more secrets than this are honoured at once.
const MAX_SECRETS: usize = 2;

/// A change that can be honoured, not yet written. While it lives no other change is begun.
pub struct IntendedChange<'a> {
    registry: &'a ClientRegistry,
    _turn: Turn<'a>,
    version: u64,
    /// The client as it is.
    pub before: Client,
    /// The client as it will be, but for the date of the change.
    pub after: Client,
}

/// A new secret for a client, not yet its own.
pub struct IntendedSecret<'a> {
    /// The client with it.
    pub change: IntendedChange<'a>,
    client_secret: Secret,
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
        let turn = self.changing.turn(self.store.as_ref()).await?;
        let (before, version) = self.current(client_id)?;
        if change.of_version.is_some_and(|version| version != before.updated_at) {
            return Err(ClientError::Changed);
        }
        let mut after = before.clone();
        let asks_anew = change.scope.is_some();
        change.apply(&mut after);
        let is_implied = |client: &Client| client.consent == ConsentRule::Implied;
        if is_implied(&after) && !is_implied(&before) && !after.is_vouched_for() {
            return Err(RegistrationError::Unvouched.into());
        }
        // What was registered under wider settings stays, though it is worth less: other members can be changed.
        if asks_anew {
            self.limits.check_open(&after)?;
        } else {
            self.limits.check(&after)?;
        }
        Ok(IntendedChange { registry: self, _turn: turn, version, before, after })
    }

    /// A new secret for a client; the one before it is honoured for `overlap` longer, older ones no more. Nothing is changed
    /// before [`IntendedSecret::write`].
    ///
    /// # Errors
    /// When there is no such client, or it is public.
    pub async fn intend_secret(
        &self,
        client_id: &str,
        overlap: Duration,
    ) -> Result<IntendedSecret<'_>, ClientError> {
        let turn = self.changing.turn(self.store.as_ref()).await?;
        let (before, version) = self.current(client_id)?;
        if before.is_public() {
            return Err(RegistrationError::Public("has no secret").into());
        }
        let now = self.clock.now();
        let end = now.checked_add_signed(TimeDelta::from_std(overlap).unwrap_or_default());
        let mut after = before.clone();
        let mut kept: Vec<ClientSecret> = after.secrets.into_iter().filter(|s| is_live(s, now)).collect();
        kept.sort_by_key(|secret| std::cmp::Reverse(secret.created_at));
        kept.truncate(MAX_SECRETS - 1);
        for secret in &mut kept {
            secret.expires_at = [secret.expires_at, end].into_iter().flatten().min();
        }
        kept.retain(|secret| is_live(secret, now));
        let client_secret = self.new_secret();
        let newest = ClientSecret { hash: client_secret.hash(), created_at: now, expires_at: None };
        after.secrets = std::iter::once(newest).chain(kept).collect();
        let change = IntendedChange { registry: self, _turn: turn, version, before, after };
        Ok(IntendedSecret { change, client_secret })
    }
}

fn is_live(secret: &ClientSecret, now: DateTime<Utc>) -> bool {
    secret.expires_at.is_none_or(|end| now < end)
}

impl IntendedSecret<'_> {
    /// Carries it out.
    ///
    /// # Errors
    /// As [`IntendedChange::write`].
    pub async fn write(self) -> Result<Registered, ClientError> {
        let client = self.change.write().await?;
        Ok(Registered { client, client_secret: Some(self.client_secret) })
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
