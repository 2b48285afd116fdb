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

/// A client as it asks a person.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Which one.
    pub client_id: &'a ClientId,
    /// Since when it is there. A consent that is older was given to another one of the same name and does not count.
    pub registered_at: DateTime<Utc>,
    /// As what it shows itself, where that may change without anybody here having looked at it: a consent to anything else
    /// does not count.
    pub shown_as: Option<&'a str>,
}

/// What a person let a client do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Which client.
    pub client_id: ClientId,
    /// What for, at each resource. What of a scope concerns the person alone, such as `email`, stands at all of those that it was
    /// allowed with.
    #[serde(default)]
    pub resources: BTreeMap<Resource, Scope>,
    /// What the client showed itself as ([`Asker::shown_as`]).
    #[serde(default)]
    pub shown_as: Option<String>,
    /// When it was allowed first.
    pub allowed_at: DateTime<Utc>,
    /// When it was last asked for and allowed.
    pub last_allowed_at: DateTime<Utc>,
}

impl Consent {
    /// Whether it was given to just this one.
    fn is_to(&self, asker: Asker<'_>) -> bool {
        asker.registered_at <= self.allowed_at
            && asker.shown_as.is_none_or(|now| self.shown_as.as_deref() == Some(now))
    }

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

    /// What `user` let `asker` do, as far as it still counts.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn granted(&self, user: &UserId, asker: Asker<'_>) -> Result<Option<Consent>, StoreError> {
        let consent = CONSENTS.get(self.store.as_ref(), &index::key(user, asker.client_id.as_str())).await?;
        Ok(consent.map(|record| record.value).filter(|consent| consent.is_to(asker)))
    }

    /// Remembers that `user` let `asker` do `scope` at `resources`, besides what was allowed before and still counts.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn allow(
        &self,
        user: &UserId,
        asker: Asker<'_>,
        (resources, scope): (&[Resource], &Scope),
    ) -> Result<Consent, StoreError> {
        let (key, now) = (index::key(user, asker.client_id.as_str()), self.clock.now());
        for _ in 0..ATTEMPTS {
            let known = CONSENTS.get(self.store.as_ref(), &key).await?;
            let condition =
                known.as_ref().map_or(Condition::Absent, |known| Condition::VersionIs(known.version));
            let earlier = known.map(|known| known.value).filter(|known| known.is_to(asker));
            let mut allowed = earlier.as_ref().map(|earlier| earlier.resources.clone()).unwrap_or_default();
            for uri in resources {
                let known = allowed.entry(uri.clone()).or_default();
                // Where both together are too much for a scope, what was allowed last counts.
                *known = known.union(scope).unwrap_or_else(|_| scope.clone());
            }
            let consent = Consent {
                client_id: asker.client_id.clone(),
                resources: allowed,
                shown_as: asker.shown_as.map(str::to_owned),
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

    /// Whether the form called `form` had not been answered before. It has from now on; that is remembered until
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
