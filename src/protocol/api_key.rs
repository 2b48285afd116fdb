//! API keys where they are used: who stands behind one, and what it permits there.

use super::users::Keeper;
use super::welcome::is_welcome;
use super::{ProtocolError, Services};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::clients::ResourceServer;
use crate::limits::Standing;
use crate::oauth::ErrorCode;
use crate::users::{ApiKey, ApiKeyOwner, ApiKeys};

/// How every API key begins.
pub const API_KEY_PREFIX: &str = ApiKeys::PREFIX;

/// An API key that is good, and whose request is counted.
#[derive(Debug)]
pub struct PresentedKey {
    /// The key.
    pub key: ApiKey,
    /// How its limit stands, unless that is switched off. Every answer says so.
    pub standing: Option<Standing>,
}

/// Looks up the key with this secret, and counts the request. Does not ask what the key permits.
///
/// # Errors
/// `invalid_token`, which spends nothing of any key's quota; too many requests; or the store's.
pub async fn present_api_key(services: &Services, secret: &str) -> Result<PresentedKey, ProtocolError> {
    let key = services.api_keys.authenticate(secret).await?.ok_or_else(invalid)?;
    if !owner_is_welcome(services, &key).await? {
        return Err(invalid());
    }
    let quota = services.api_key_limit.spend(&key.id).await?;
    let standing = quota.map(|quota| services.limits.api_key.standing(quota));
    Ok(PresentedKey { key, standing })
}

/// Asks again of a key that was presented whether it counts: for whoever gave something for it meanwhile.
///
/// # Errors
/// As [`present_api_key`], except that no request is counted.
pub(super) async fn still_counts(services: &Services, key: &ApiKey) -> Result<(), ProtocolError> {
    let counts = services.api_keys.stands(key).await? && owner_is_welcome(services, key).await?;
    if counts { Ok(()) } else { Err(invalid()) }
}

fn invalid() -> ProtocolError {
    ProtocolError::new(ErrorCode::InvalidToken, "the API key is not valid here")
}

async fn owner_is_welcome(services: &Services, key: &ApiKey) -> Result<bool, ProtocolError> {
    match &key.owner {
        ApiKeyOwner::User(user) => {
            Ok(services.accounts.find(user).await?.is_some_and(|account| !account.disabled))
        }
        ApiKeyOwner::Client(client_id) => match services.clients.find(client_id.as_str()) {
            Some(client) => is_welcome(services, &client).await,
            None => Ok(false),
        },
    }
}

/// Whether the key permits `scope` at `server` now: a client's key permits nothing that the client may no longer ask for, a
/// person's nothing that people may not open.
pub(super) fn permits(services: &Services, key: &ApiKey, server: &ResourceServer, scope: &str) -> bool {
    let owner_may = match &key.owner {
        ApiKeyOwner::User(_) => people_may_open(services, server, scope),
        ApiKeyOwner::Client(client_id) => services.clients.find(client_id.as_str()).is_some_and(|client| {
            services.clients.may_have(&client, scope) && client.resources.contains(&server.uri)
        }),
    };
    owner_may
        && server.scope.contains(scope)
        && key.scope.contains(scope)
        && key.resources.contains(&server.uri)
}

/// Whether a person's key may permit `scope` at `server`. At the users API it is
/// [`admit_api_key`] that asks what the person may do.
pub(super) fn people_may_open(services: &Services, server: &ResourceServer, scope: &str) -> bool {
    server.people_scope.contains(scope)
        || (server.uri == services.resources.users().uri && server.scope.contains(scope))
}

/// Who may do what needs `scope` with the users API: as [`super::users::admit`], for whoever brings an API key instead of
/// an access token. A person's key counts only while that person is an administrator. A refusal is put on record if
/// `record` says so.
///
/// # Errors
/// `insufficient_scope`, or what the store or the audit log fail with.
pub async fn admit_api_key(
    services: &Services,
    key: &ApiKey,
    scope: &str,
    record: bool,
) -> Result<Keeper, ProtocolError> {
    let administers = match &key.owner {
        ApiKeyOwner::Client(_) => true,
        ApiKeyOwner::User(user) => {
            let account = services.accounts.find(user).await?;
            account.is_some_and(|account| account.administrator && !account.disabled)
        }
    };
    let actor = Actor::ApiKey(key.id.clone());
    if administers && permits(services, key, services.resources.users(), scope) {
        return Ok(Keeper { actor, of_administrators: false });
    }
    if record {
        let event = Event::new(EventKind::UsersRefused, actor).outcome(Outcome::Refused);
        services.audit.record(event.detail("scope", scope)).await?;
    }
    let reason = format!("this needs an API key with the scope {scope}");
    Err(ProtocolError::new(ErrorCode::InsufficientScope, reason))
}
