use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use ring::digest::{SHA256, digest};

use super::{ApiKey, ApiKeyOwner, CreatedApiKey, NewApiKey};
use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::oauth::{ApiKeyId, Secret, is_name};
use crate::store::typed::{Record, TypedTable};
use crate::store::{Batch, Committed, Condition, Put, Store, StoreError, Table};

pub(super) const TABLE: Table = Table::plain("api_keys");
/// Every key, by its identifier.
const KEYS: TypedTable<ApiKey> = TypedTable::new(TABLE);

/// The identifier of the key with a secret, by the secret's SHA-256 digest.
pub(super) const BY_SECRET: Table = Table::plain("api_key_secrets");

/// The identifiers of an owner's keys: the key is `{owner}/{id}`, the value the identifier.
pub(super) const BY_OWNER: Table = Table::plain("api_keys_of");

/// How often a use is written down at most.
const USE_INTERVAL: TimeDelta = TimeDelta::minutes(1);

/// How often a revocation looks at the key: it is used for the first time only once.
const ATTEMPTS: usize = 2;

/// The API keys: read from the store when they are used, so that a revoked one is refused at once on every node.
pub struct ApiKeys {
    store: Arc<dyn Store>,
    clock: SharedClock,
    entropy: SharedEntropy,
}

/// What a revocation leaves to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// Nothing: the key was never used and is gone.
    Unused,
    /// It was used: the tokens that it was exchanged for are still to be cut off, and then it is to be forgotten
    /// ([`ApiKeys::forget`]).
    Used,
}

/// A key could not be made, found or revoked.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// There is none of that name.
    #[error("no such API key")]
    Unknown,
    /// The name says nothing or too much.
    #[error("name must be 1 to 120 characters, all of which can be seen")]
    Name,
    /// It would end before it begins.
    #[error("expires_at must be in the future")]
    Expiry,
    /// The owner has as many as anybody may.
    #[error("the owner has {0} API keys, and may not have more")]
    TooMany(usize),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ApiKeys {
    /// How every key's secret begins.
    pub const PREFIX: &str = "sk_";

    /// How many keys an owner may have.
    pub const MOST: usize = 100;

    /// The keys of the store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: SharedClock, entropy: SharedEntropy) -> Self {
        Self { store, clock, entropy }
    }

    /// The live key with this secret. Does not count the request ([`crate::limits::Limits::api_key`]), and asks
    /// neither whether the owner is still welcome nor what the key permits. Its first use is written down before it counts: see
    /// [`Self::revoke`].
    ///
    /// # Errors
    /// The store's; a key is not used for the first time where that can't be written down.
    pub async fn authenticate(&self, secret: &str) -> Result<Option<ApiKey>, StoreError> {
        if !Self::may_be_secret(secret) {
            return Ok(None);
        }
        let Some(found) = self.store.get(BY_SECRET, &hash(secret)).await? else { return Ok(None) };
        let Some(record) = KEYS.get(self.store.as_ref(), &found.value).await? else { return Ok(None) };
        let now = self.clock.now();
        let live = record.value.expires_at.is_none_or(|end| now < end);
        if !live || !record.value.hash.matches(secret) {
            return Ok(None);
        }
        match record.value.last_used_at {
            None => return self.first_use(record, now).await,
            Some(last) if now - last < USE_INTERVAL => {}
            // A later use that can't be written down is a use all the same.
            Some(_) => {
                if let Err(error) = self.note_use(&record, now).await {
                    let key = &record.value.id;
                    tracing::warn!(%key, %error, "the use of an API key could not be written down");
                }
            }
        }
        Ok(Some(record.value))
    }

    /// Whether `text` has the form of a key's secret.
    #[must_use]
    pub fn may_be_secret(text: &str) -> bool {
        let rest = text.strip_prefix(Self::PREFIX).unwrap_or_default();
        rest.len() == 43 && URL_SAFE_NO_PAD.decode(rest).is_ok()
    }

    /// Writes the first use down. Where somebody else has changed the row meanwhile, they used the key first or revoked it.
    async fn first_use(
        &self,
        record: Record<ApiKey>,
        now: DateTime<Utc>,
    ) -> Result<Option<ApiKey>, StoreError> {
        match self.note_use(&record, now).await? {
            Committed::Applied => Ok(Some(record.value)),
            Committed::Conflict => {
                let used = self.find(record.value.id.as_str()).await?;
                Ok(used.filter(|used| used.last_used_at.is_some()))
            }
        }
    }

    async fn note_use(&self, record: &Record<ApiKey>, now: DateTime<Utc>) -> Result<Committed, StoreError> {
        let used = ApiKey { last_used_at: Some(now), ..record.value.clone() };
        let put = KEYS.encode(&used, record.expires_at)?;
        let condition = Condition::VersionIs(record.version);
        self.store.commit(Batch::new().put(KEYS.table(), key(&used.id), condition, put)).await
    }

    /// The key of that identifier.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        Ok(self.record(id).await?.map(|record| record.value))
    }

    async fn record(&self, id: &str) -> Result<Option<Record<ApiKey>>, StoreError> {
        if id.is_empty() || id.len() > 64 {
            return Ok(None);
        }
        KEYS.get(self.store.as_ref(), id.as_bytes()).await
    }

    /// Up to `limit` keys in the order of their identifiers, beginning behind `after`.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<ApiKey>, StoreError> {
        let rows = self.store.scan(KEYS.table(), after.map(str::as_bytes), limit).await?;
        rows.iter().map(|(_, row)| Ok(KEYS.decode(row)?.value)).collect()
    }

    /// All keys of an owner.
    ///
    /// # Errors
    /// The store's.
    pub async fn of_owner(&self, owner: &ApiKeyOwner) -> Result<Vec<ApiKey>, StoreError> {
        let start = format!("{}/", owner.as_str()).into_bytes();
        let rows = self.store.scan(BY_OWNER, Some(&start), Self::MOST).await?;
        let mut keys = Vec::new();
        for (_, row) in rows.iter().filter(|(key, _)| key.starts_with(&start)) {
            keys.extend(KEYS.get(self.store.as_ref(), &row.value).await?.map(|record| record.value));
        }
        Ok(keys)
    }

    /// Makes a key.
    ///
    /// # Errors
    /// When the name or the expiry can't be, the owner has too many keys already, or the store fails.
    pub async fn create(&self, new: NewApiKey) -> Result<CreatedApiKey, ApiKeyError> {
        let now = self.clock.now();
        let name = new.name.trim();
        if !is_name(name, 120) {
            return Err(ApiKeyError::Name);
        }
        if new.expires_at.is_some_and(|end| end <= now) {
            return Err(ApiKeyError::Expiry);
        }
        if self.of_owner(&new.owner).await?.len() >= Self::MOST {
            return Err(ApiKeyError::TooMany(Self::MOST));
        }
        let secret = Secret::new(format!("{}{}", Self::PREFIX, self.entropy.token::<32>()));
        let api_key = ApiKey {
            id: self.new_id(),
            name: name.to_owned(),
            owner: new.owner,
            scope: new.scope,
            resources: new.resources,
            hash: secret.hash(),
            created_at: now,
            expires_at: new.expires_at,
            last_used_at: None,
        };
        let id = || Put { value: key(&api_key.id), expires_at: api_key.expires_at };
        let batch = Batch::new()
            .put(
                KEYS.table(),
                key(&api_key.id),
                Condition::Absent,
                KEYS.encode(&api_key, api_key.expires_at)?,
            )
            .put(BY_SECRET, hash(secret.expose()), Condition::Absent, id())
            .put(BY_OWNER, owned(&api_key), Condition::Absent, id());
        match self.store.commit(batch).await? {
            Committed::Applied => Ok(CreatedApiKey { key: api_key, secret }),
            Committed::Conflict => {
                Err(StoreError::Unavailable("an identifier was drawn twice".into()).into())
            }
        }
    }

    /// Whether a key that was looked up before has been neither revoked nor ended since.
    ///
    /// # Errors
    /// The store's.
    pub async fn stands(&self, api_key: &ApiKey) -> Result<bool, StoreError> {
        Ok(self.store.get(BY_SECRET, &digest_of(api_key)).await?.is_some())
    }

    /// Ends a key: it is refused from the next request on. Tokens that it was exchanged for are not touched. If it was never
    /// used there are none, on whichever node: its first use would have come before or come too late. One that was used
    /// stays known, so that a revocation that fails half-way can be asked for again.
    ///
    /// # Errors
    /// When there is no such key or the store fails.
    pub async fn revoke(&self, id: &str) -> Result<Revoked, ApiKeyError> {
        for _ in 0..ATTEMPTS {
            let record = self.record(id).await?.ok_or(ApiKeyError::Unknown)?;
            let api_key = record.value;
            let mut batch = Batch::new().delete(BY_SECRET, digest_of(&api_key), Condition::Always);
            let mut revoked = Revoked::Used;
            if api_key.last_used_at.is_none() {
                batch = batch
                    .delete(KEYS.table(), key(&api_key.id), Condition::VersionIs(record.version))
                    .delete(BY_OWNER, owned(&api_key), Condition::Always);
                revoked = Revoked::Unused;
            }
            if self.store.commit(batch).await? == Committed::Applied {
                return Ok(revoked);
            }
        }
        Err(StoreError::Unavailable("an API key is changed by too many at once".into()).into())
    }

    /// Forgets a key that was revoked.
    ///
    /// # Errors
    /// The store's.
    pub async fn forget(&self, api_key: &ApiKey) -> Result<(), StoreError> {
        let batch = Batch::new().delete(KEYS.table(), key(&api_key.id), Condition::Always).delete(
            BY_OWNER,
            owned(api_key),
            Condition::Always,
        );
        let _unconditional = self.store.commit(batch).await?;
        Ok(())
    }

    #[expect(clippy::expect_used, reason = "base64url is what the identifier may hold")]
    fn new_id(&self) -> ApiKeyId {
        let id = format!("{}{}", ApiKeyId::PREFIX, self.entropy.token::<16>());
        ApiKeyId::parse(&id).expect("a valid identifier")
    }
}

fn key(id: &ApiKeyId) -> Vec<u8> {
    id.as_str().into()
}

fn owned(api_key: &ApiKey) -> Vec<u8> {
    format!("{}/{}", api_key.owner.as_str(), api_key.id).into_bytes()
}

fn hash(secret: &str) -> Vec<u8> {
    digest(&SHA256, secret.as_bytes()).as_ref().into()
}

fn digest_of(api_key: &ApiKey) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(String::from(api_key.hash.clone())).unwrap_or_default()
}

#[cfg(test)]
mod tests;
