//! The applications that people register for themselves. They get what people allow them, and nothing of their own unless
//! the operator wants that: nothing of the built-in resources, always a question.

use std::sync::Arc;

use super::{actor, offered_to_keys, own_resources};
use crate::clients::{AuthMethod, Client, ClientChange, GrantType, Registrant, Registration, ResourceServer};
use crate::oauth::{ErrorCode, Origin, RedirectUri, Resource, Scope};
use crate::protocol::admin::Administrator;
use crate::protocol::admin::clients::{self, ClientWithSecret, SecretRotation};
use crate::protocol::authorize::Present;
use crate::protocol::{ProtocolError, Services};

/// What every application may ask for, whatever the resources.
const OF_OPENID: &str = "openid profile email offline_access";

/// An application to register.
#[derive(Debug)]
pub struct NewApplication {
    /// What people call it.
    pub client_name: String,
    /// Whether it can't keep a secret.
    pub public: bool,
    /// Where people come back to.
    pub redirect_uris: Vec<RedirectUri>,
    /// What it may ask for; within [`offered_scope`].
    pub scope: Scope,
    /// Whether the operator lets it have tokens of its own too, if it keeps a secret and is for an API.
    pub client_credentials: bool,
}

/// What its owner may change of an application.
#[derive(Debug)]
pub struct ApplicationChange {
    /// What people call it.
    pub client_name: String,
    /// Where people come back to.
    pub redirect_uris: Vec<RedirectUri>,
}

/// What a person's application may ask for: what OpenID Connect has, and what the resources let people open.
///
/// # Errors
/// `server_error` when the settings name more than a scope can hold.
pub fn offered_scope(services: &Services) -> Result<Scope, ProtocolError> {
    let openid = Scope::parse(OF_OPENID).map_err(ProtocolError::server_error)?;
    openid.union(&offered_to_keys(services)?).map_err(ProtocolError::server_error)
}

/// The person's applications.
#[must_use]
pub fn applications(services: &Services, present: &Present) -> Vec<Arc<Client>> {
    services.clients.of_owner(&present.account.id)
}

/// One of the person's applications.
///
/// # Errors
/// `not_found`, for somebody else's too, or the store fails.
pub async fn find_application(
    services: &Services,
    present: &Present,
    client_id: &str,
) -> Result<Arc<Client>, ProtocolError> {
    let client = services.clients.find_or_follow(client_id).await?;
    let own = client.filter(|client| client.owner() == Some(&present.account.id));
    own.ok_or_else(|| ProtocolError::new(ErrorCode::NotFound, "there is no such application"))
}

/// Registers an application of the person's; the answer holds its secret.
///
/// # Errors
/// `invalid_request` with the reason, `invalid_scope` beyond [`offered_scope`], `conflict` when there are too many.
pub async fn register_application(
    services: &Services,
    present: &Present,
    new: NewApplication,
) -> Result<ClientWithSecret, ProtocolError> {
    if !new.scope.is_subset(&offered_scope(services)?) {
        return Err(ProtocolError::invalid_scope("scope names what an application may not have"));
    }
    let allowed_origins = if new.public { origins(&new.redirect_uris) } else { Vec::new() };
    let resources = resources(services, &new.scope);
    let mut grant_types = vec![GrantType::AuthorizationCode, GrantType::RefreshToken];
    if new.client_credentials && !new.public && !resources.is_empty() {
        grant_types.push(GrantType::ClientCredentials);
    }
    let registration = Registration {
        allowed_origins,
        client_name: new.client_name,
        grant_types: Some(grant_types),
        resources,
        scope: new.scope,
        redirect_uris: new.redirect_uris,
        token_endpoint_auth_method: if new.public { AuthMethod::None } else { AuthMethod::default() },
        registrant: Registrant::Person(present.account.id.clone()),
        ..Registration::default()
    };
    clients::register(services, &owner(present), registration).await
}

/// Those of the settings that the scope is for: none where it is all of OpenID Connect.
fn resources(services: &Services, scope: &Scope) -> Vec<Resource> {
    let is_meant = |server: &&ResourceServer| server.people_scope.iter().any(|token| scope.contains(token));
    own_resources(services).filter(is_meant).map(|server| server.uri.clone()).collect()
}

/// Changes one of the person's applications.
///
/// # Errors
/// `not_found`, or `invalid_request` with the reason.
pub async fn change_application(
    services: &Services,
    present: &Present,
    (client_id, change): (&str, ApplicationChange),
) -> Result<(), ProtocolError> {
    let client = find_application(services, present, client_id).await?;
    let change = ClientChange {
        client_name: Some(change.client_name),
        allowed_origins: client.is_public().then(|| origins_after(&client, &change.redirect_uris)),
        redirect_uris: Some(change.redirect_uris),
        of_version: Some(client.updated_at),
        ..ClientChange::default()
    };
    clients::change(services, &owner(present), client_id, change).await.map(drop)
}

/// Whose scripts may ask for the application's tokens: those of the pages that people come back to, for one that has no secret may be
/// a script in them. A secret is no script's to send.
fn origins(redirect_uris: &[RedirectUri]) -> Vec<Origin> {
    let mut origins: Vec<Origin> = Vec::new();
    for origin in redirect_uris.iter().filter_map(RedirectUri::origin) {
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    origins
}

/// The same when the URIs change; what an administrator allowed besides stays.
fn origins_after(client: &Client, redirect_uris: &[RedirectUri]) -> Vec<Origin> {
    let (before, mut after) = (origins(&client.redirect_uris), origins(redirect_uris));
    let besides = client.allowed_origins.iter().filter(|origin| !before.contains(origin));
    let besides: Vec<Origin> = besides.filter(|origin| !after.contains(origin)).cloned().collect();
    after.extend(besides);
    after
}

/// Makes a new secret for one of the person's applications; the old one counts no more.
///
/// # Errors
/// `not_found`, or `invalid_request` for one that has none.
pub async fn rotate_application_secret(
    services: &Services,
    present: &Present,
    client_id: &str,
) -> Result<ClientWithSecret, ProtocolError> {
    find_application(services, present, client_id).await?;
    clients::rotate_secret(services, &owner(present), client_id, &SecretRotation::default()).await
}

/// Deletes one of the person's applications, and revokes every token it holds.
///
/// # Errors
/// `not_found`.
pub async fn delete_application(
    services: &Services,
    present: &Present,
    client_id: &str,
) -> Result<(), ProtocolError> {
    find_application(services, present, client_id).await?;
    clients::delete(services, &owner(present), client_id).await
}

/// The person as whom the admin API's functions know: without any admin scope, so that no application can have one.
fn owner(present: &Present) -> Administrator {
    Administrator { actor: actor(present), scope: Scope::default() }
}
