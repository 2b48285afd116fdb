//! Making and revoking API keys.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};

use super::{Administrator, audited};
use crate::audit::EventKind;
use crate::oauth::{ApiKeyId, ClientId, ErrorCode, Resource, Scope, Secret, UserId};
use crate::protocol::api_key::people_may_open;
use crate::protocol::users::{optional_rfc3339, rfc3339};
use crate::protocol::{ProtocolError, Services};
use crate::tokens::Whole;
use crate::users::{ApiKey, ApiKeyError, ApiKeyOwner, CreatedApiKey, NewApiKey, Revoked};

/// An API key as the admin API shows it: everything but its secret.
#[derive(Debug, Serialize)]
pub struct ApiKeyView {
    id: ApiKeyId,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<ClientId>,
    scope: Scope,
    resources: Vec<Resource>,
    #[serde(serialize_with = "rfc3339")]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "optional_rfc3339")]
    expires_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "optional_rfc3339")]
    last_used_at: Option<DateTime<Utc>>,
}

/// An API key with its secret: shown this once.
#[derive(Debug, Serialize)]
pub struct ApiKeyWithSecret {
    #[serde(serialize_with = "exposed")]
    api_key: Secret,
    #[serde(flatten)]
    key: ApiKeyView,
}

impl ApiKeyWithSecret {
    /// The key itself.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.api_key
    }
}

/// A page of API keys.
#[derive(Debug, Serialize)]
pub struct ApiKeyPage {
    api_keys: Vec<ApiKeyView>,
    /// What to give as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<ApiKeyId>,
}

/// An API key to make, for a person or for a client.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyRequest {
    /// What it is called.
    pub(in crate::protocol) name: String,
    /// Whose it is to be, if a person's.
    #[serde(default)]
    pub(in crate::protocol) user_id: Option<UserId>,
    /// Whose, if a client's.
    #[serde(default)]
    pub(in crate::protocol) client_id: Option<ClientId>,
    /// What it permits.
    pub(in crate::protocol) scope: Scope,
    /// Where.
    pub(in crate::protocol) resources: Vec<Resource>,
    /// When it ends; never if absent.
    #[serde(default)]
    pub(in crate::protocol) expires_at: Option<DateTime<Utc>>,
}

impl From<ApiKey> for ApiKeyView {
    fn from(key: ApiKey) -> Self {
        let (user_id, client_id) = match key.owner {
            ApiKeyOwner::User(user) => (Some(user), None),
            ApiKeyOwner::Client(client) => (None, Some(client)),
        };
        Self {
            id: key.id,
            name: key.name,
            user_id,
            client_id,
            scope: key.scope,
            resources: key.resources,
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
        }
    }
}

impl From<CreatedApiKey> for ApiKeyWithSecret {
    fn from(created: CreatedApiKey) -> Self {
        Self { api_key: created.secret, key: created.key.into() }
    }
}

impl From<ApiKeyError> for ProtocolError {
    fn from(error: ApiKeyError) -> Self {
        match error {
            ApiKeyError::Unknown => Self::new(ErrorCode::NotFound, "there is no such API key"),
            ApiKeyError::Store(error) => error.into(),
            ApiKeyError::TooMany(_) => Self::new(ErrorCode::Conflict, error.to_string()),
            ApiKeyError::Name | ApiKeyError::Expiry => Self::invalid_request(error.to_string()),
        }
    }
}

/// A page of the API keys, in the order of their identifiers.
///
/// # Errors
/// The store's.
pub async fn list(
    services: &Services,
    after: Option<&str>,
    limit: Option<usize>,
) -> Result<ApiKeyPage, ProtocolError> {
    let limit = limit.unwrap_or(100).clamp(1, 1000);
    let mut keys = services.api_keys.list(after, limit + 1).await?;
    let more = keys.len() > limit;
    keys.truncate(limit);
    let next = keys.last().filter(|_| more).map(|key| key.id.clone());
    Ok(ApiKeyPage { api_keys: keys.into_iter().map(Into::into).collect(), next })
}

/// Makes an API key; the answer holds its secret.
///
/// # Errors
/// `invalid_request` with the reason, `insufficient_scope` when it would do more than the administrator may, `conflict`
/// when its owner has too many, `too_many_requests` when a person has made as much for themselves as one may.
pub async fn create(
    services: &Services,
    administrator: &Administrator,
    request: ApiKeyRequest,
) -> Result<ApiKeyWithSecret, ProtocolError> {
    let owner = match (request.user_id, request.client_id) {
        (Some(user), None) => ApiKeyOwner::User(user),
        (None, Some(client)) => ApiKeyOwner::Client(client),
        _ => return Err(ProtocolError::invalid_request("name one of user_id and client_id")),
    };
    administrator.may_touch(&request.scope)?;
    if let ApiKeyOwner::User(user) = &owner {
        administrator.may_speak_for(user)?;
    }
    let ApiKeyRequest { name, scope, resources, expires_at, .. } = request;
    let new = NewApiKey { name, owner, scope, resources, expires_at };
    check(services, &new).await?;
    if let ApiKeyOwner::User(user) = &new.owner
        && administrator.is(user)
    {
        services.allowance.spend(user).await?;
    }
    let event = administrator
        .event(EventKind::ApiKeyCreated)
        .subject(&new.owner.subject())
        .detail("name", new.name.as_str())
        .detail("scope", new.scope.as_str());
    audited(services, event, async { Ok(services.api_keys.create(new).await?.into()) }).await
}

/// A key permits nothing that means nothing, nothing of the admin API, and nothing that its owner may not do.
async fn check(services: &Services, new: &NewApiKey) -> Result<(), ProtocolError> {
    let invalid = ProtocolError::invalid_request;
    if new.resources.is_empty() || new.resources.len() > 32 {
        return Err(invalid("resources must name 1 to 32 resources"));
    }
    let admin = &services.resources.admin().uri;
    let mut servers = Vec::new();
    for uri in &new.resources {
        match services.resources.find(uri.as_str()) {
            Some(server) if server.uri != *admin => servers.push(server),
            _ => return Err(invalid("resources names one that is unknown, or the admin API")),
        }
    }
    if new.scope.is_empty()
        || !new.scope.iter().all(|token| servers.iter().any(|each| each.scope.contains(token)))
    {
        return Err(invalid("scope must name scope tokens that the resources know"));
    }
    match &new.owner {
        ApiKeyOwner::User(user) => {
            services.accounts.find(user).await?.ok_or_else(|| invalid("there is no such user"))?;
            let may = |token| servers.iter().any(|server| people_may_open(services, server, token));
            if !new.scope.iter().all(may) {
                return Err(invalid("scope names what people may not open: see resources[].people_scope"));
            }
        }
        ApiKeyOwner::Client(client_id) => {
            let client = services.clients.find(client_id.as_str());
            let client = client.ok_or_else(|| invalid("there is no such client"))?;
            let may = new.scope.is_subset(&client.scope)
                && new.resources.iter().all(|uri| client.resources.contains(uri));
            if !may {
                return Err(invalid("the API key exceeds what the client itself may ask for"));
            }
        }
    }
    Ok(())
}

/// Revokes an API key, and all tokens that it was exchanged for.
///
/// # Errors
/// `not_found`, or what the store or the audit log fail with.
pub async fn revoke(
    services: &Services,
    administrator: &Administrator,
    id: &str,
) -> Result<(), ProtocolError> {
    let key = services.api_keys.find(id).await?.ok_or(ApiKeyError::Unknown)?;
    let event = administrator
        .event(EventKind::ApiKeyRevoked)
        .subject(&key.owner.subject())
        .detail("key", key.id.as_str());
    audited(services, event, end(services, &key)).await
}

/// Revokes every API key of an owner, and all tokens that they were exchanged for. Not audited: it is part of an act
/// that is.
pub(in crate::protocol) async fn revoke_of(
    services: &Services,
    owner: &ApiKeyOwner,
) -> Result<(), ProtocolError> {
    for key in services.api_keys.of_owner(owner).await? {
        end(services, &key).await?;
    }
    Ok(())
}

/// It opens nothing before its tokens are cut off, and is known until they are: a failure in between leaves no key that works,
/// and can be asked for again. Whoever looked it up before asks once more when the token is made ([`crate::users::ApiKeys::stands`]). One that
/// was never used has no tokens, and leaves nothing in the status lists.
async fn end(services: &Services, key: &ApiKey) -> Result<(), ProtocolError> {
    match services.api_keys.revoke(key.id.as_str()).await {
        Ok(Revoked::Used) => {}
        // Somebody else was as far meanwhile.
        Ok(Revoked::Unused) | Err(ApiKeyError::Unknown) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    services.revocations.revoke_before_now(&Whole::Client(ClientId::from(&key.id))).await?;
    Ok(services.api_keys.forget(key).await?)
}

/// The one place where an API key's secret is shown.
fn exposed<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}
