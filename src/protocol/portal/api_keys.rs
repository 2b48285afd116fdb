//! People's own API keys, for the resources of the settings: nothing of the built-in ones.

use chrono::{DateTime, Utc};

use super::{actor, own_resources};
use crate::oauth::{ErrorCode, Scope};
use crate::protocol::admin::Administrator;
use crate::protocol::admin::api_keys::{self, ApiKeyRequest, ApiKeyWithSecret};
use crate::protocol::authorize::Present;
use crate::protocol::{ProtocolError, Services};
use crate::users::{ApiKey, ApiKeyOwner};

/// The person's API keys that have not ended.
///
/// # Errors
/// The store's.
pub async fn own_api_keys(services: &Services, present: &Present) -> Result<Vec<ApiKey>, ProtocolError> {
    Ok(services.api_keys.of_owner(&ApiKeyOwner::User(present.account.id.clone())).await?)
}

/// Makes an API key of the person's; the answer holds its secret.
///
/// # Errors
/// `invalid_request` with the reason, `conflict` when there are too many.
pub async fn create_api_key(
    services: &Services,
    present: &Present,
    (name, scope, expires_at): (String, Scope, Option<DateTime<Utc>>),
) -> Result<ApiKeyWithSecret, ProtocolError> {
    let meant =
        |each: &&crate::clients::ResourceServer| each.people_scope.iter().any(|token| scope.contains(token));
    let resources = own_resources(services).filter(meant).map(|server| server.uri.clone()).collect();
    let request = ApiKeyRequest {
        name,
        user_id: Some(present.account.id.clone()),
        client_id: None,
        scope,
        resources,
        expires_at,
    };
    api_keys::create(services, &owner(present), request).await
}

/// Revokes one of the person's API keys, and all tokens that it was exchanged for.
///
/// # Errors
/// `not_found`, for somebody else's too.
pub async fn revoke_api_key(services: &Services, present: &Present, id: &str) -> Result<(), ProtocolError> {
    let own = services.api_keys.find(id).await?;
    let own = own.filter(|key| key.owner == ApiKeyOwner::User(present.account.id.clone()));
    own.ok_or_else(|| ProtocolError::new(ErrorCode::NotFound, "there is no such API key"))?;
    api_keys::revoke(services, &owner(present), id).await
}

fn owner(present: &Present) -> Administrator {
    Administrator { actor: actor(present), scope: Scope::default() }
}
