use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::index;
use crate::clock::SharedClock;
use crate::oauth::{ClientId, Resource, Scope, UserId};
use crate::store::typed::TypedTable;
use crate::store::{Batch, Committed, Condition, Put, Store, StoreError, Table};

pub(super) const TABLE: Table = Table::plain("consents");
const CONSENTS: TypedTable<Consent> = TypedTable::new(TABLE);

/// The consent forms that were answered with yes, until they would be too old anyway.
pub(super) const ANSWERED: Table = Table::plain("answered_consent_forms");

/// How often a write is tried again when another one came first.
const ATTEMPTS: usize = 5;

/// What a person let a client do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Which client.
    pub client_id: ClientId,
    /// What for, at each resource. What of a scope concerns the person alone, such as `email`, stands at all of those that it was
    /// allowed with.
    #[serde(default)]
    pub resources: BTreeMap<Resource, Scope>,
    /// When it was allowed first.
    pub allowed_at: DateTime<Utc>,
    /// When it was last asked for and allowed.
    pub last_allowed_at: DateTime<Utc>,
}

impl Consent {
    /// Whether the scope token was allowed at every one of `resources`.
    #[must_use]
    pub fn allows(&self, resources: &[Resource], token: &str) -> bool {
        resources.iter().all(|uri| self.resources.get(uri).is_some_and(|scope| scope.contains(token)))
    }

    /// Whether all of the scope was allowed at every one of `resources`.
    #[must_use]
    pub fn covers(&self, resources: &[Resource], scope: &Scope) -> bool {
        resources.iter().all(|uri| self.resources.get(uri).is_some_and(|known| scope.is_subset(known)))
    }
}

/// What people let clients do, remembered until they withdraw it.
pub struct Consents {
    store: Arc<dyn Store>,
    clock: SharedClock,
}

impl Consents {
    /// The consents in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: SharedClock) -> Self {
        Self { store, clock }
    }

    /// What `user` let the client do. A consent that is older than the client, `registered_at`, was given to another
    /// one of the same name and does not count.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn granted(
        &self,
        user: &UserId,
        client_id: &ClientId,
        registered_at: DateTime<Utc>,
    ) -> Result<Option<Consent>, StoreError> {
        let consent = CONSENTS.get(self.store.as_ref(), &index::key(user, client_id.as_str())).await?;
        Ok(consent.map(|record| record.value).filter(|consent| registered_at <= consent.allowed_at))
    }

    /// Remembers that `user` let the client do `scope` at `resources`, besides what was allowed before. `registered_at` as
    /// in [`Self::granted`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn allow(
        &self,
        user: &UserId,
        (client_id, registered_at): (&ClientId, DateTime<Utc>),
        (resources, scope): (&[Resource], &Scope),
    ) -> Result<Consent, StoreError> {
        let (key, now) = (index::key(user, client_id.as_str()), self.clock.now());
        for _ in 0..ATTEMPTS {
            let known = CONSENTS.get(self.store.as_ref(), &key).await?;
            let condition =
                known.as_ref().map_or(Condition::Absent, |known| Condition::VersionIs(known.version));
            let earlier = known.map(|known| known.value).filter(|known| registered_at <= known.allowed_at);
            let mut allowed = earlier.as_ref().map(|earlier| earlier.resources.clone()).unwrap_or_default();
            for uri in resources {
                let known = allowed.entry(uri.clone()).or_default();
                // Where both together are too much for a scope, what was allowed last counts.
                *known = known.union(scope).unwrap_or_else(|_| scope.clone());
            }
            let consent = Consent {
                client_id: client_id.clone(),
                resources: allowed,
                allowed_at: earlier.map_or(now, |earlier| earlier.allowed_at),
                last_allowed_at: now,
            };
            let batch = CONSENTS.put(Batch::new(), key.clone(), condition, &consent)?;
            if self.store.commit(batch).await? == Committed::Applied {
                return Ok(consent);
            }
        }
        Err(StoreError::Unavailable("a consent is changed by too many at once".into()))
    }

    /// Whether the form called `form` had not been answered with yes before. It has from now on; that is remembered until
    /// `ends_at`, when nobody takes it any more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn answer_once(&self, form: &str, ends_at: DateTime<Utc>) -> Result<bool, StoreError> {
        let batch = Batch::new().put(ANSWERED, form, Condition::Absent, Put::until(ends_at, Vec::new()));
        Ok(self.store.commit(batch).await? == Committed::Applied)
    }

    /// Adds to `batch` that what `user` let the client do is forgotten. Tokens it holds are not revoked by this.
    #[must_use]
    pub fn withdrawing(batch: Batch, user: &UserId, client_id: &ClientId) -> Batch {
        batch.delete(CONSENTS.table(), index::key(user, client_id.as_str()), Condition::Always)
    }

    /// Forgets all that `user` let clients do.
    ///
    /// # Errors
    /// When the store fails: then some may be forgotten.
    pub async fn withdraw_all(&self, user: &UserId) -> Result<(), StoreError> {
        for (key, _) in index::of_user(self.store.as_ref(), CONSENTS.table(), user).await? {
            let batch = Batch::new().delete(CONSENTS.table(), key, Condition::Always);
            let _unconditional = self.store.commit(batch).await?;
        }
        Ok(())
    }

    /// All that `user` let clients do, in the order of the clients' identifiers.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn of_user(&self, user: &UserId) -> Result<Vec<Consent>, StoreError> {
        let rows = index::of_user(self.store.as_ref(), CONSENTS.table(), user).await?;
        rows.iter().map(|(_, row)| Ok(CONSENTS.decode(row)?.value)).collect()
    }
}
