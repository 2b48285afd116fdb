//! Registering, changing and deleting clients.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};

use super::{Administrator, api_keys, audited, difference};
use crate::audit::{Event, EventKind};
use crate::clients::{
    AuthMethod, Client, ClientChange, ConsentRule, GrantType, Registered, Registrant, Registration,
};
use crate::oauth::{
    Algorithm, ClientId, ErrorCode, Origin, RedirectUri, Resource, Scope, Secret, UserId, WebUri,
};
use crate::protocol::{ProtocolError, Services};
use crate::tokens::Whole;
use crate::users::ApiKeyOwner;

/// No old secret is honoured for longer.
const LONGEST_OVERLAP: Duration = Duration::from_hours(2160);

/// A client as the admin API shows it: everything but its secrets.
#[derive(Debug, Serialize)]
pub struct ClientView {
    client_id: ClientId,
    client_name: String,
    grant_types: Vec<GrantType>,
    scope: Scope,
    default_scope: Scope,
    resources: Vec<Resource>,
    audience_of: Vec<Resource>,
    access_token_lifetime: Option<u64>,
    access_token_signing_alg: Option<Algorithm>,
    token_endpoint_auth_method: AuthMethod,
    redirect_uris: Vec<RedirectUri>,
    require_pkce: bool,
    consent: ConsentRule,
    client_uri: Option<WebUri>,
    logo_uri: Option<WebUri>,
    policy_uri: Option<WebUri>,
    tos_uri: Option<WebUri>,
    post_logout_redirect_uris: Vec<RedirectUri>,
    backchannel_logout_uri: Option<WebUri>,
    backchannel_logout_session_required: bool,
    id_token_signed_response_alg: Option<Algorithm>,
    allowed_origins: Vec<Origin>,
    registered_by: &'static str,
    owner: Option<UserId>,
    secrets: Vec<SecretView>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// When a secret was made and until when it is honoured.
#[derive(Debug, Serialize)]
struct SecretView {
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
}

/// A client with the secret that was just made, unless it is public: shown this once.
#[derive(Debug, Serialize)]
pub struct ClientWithSecret {
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<Exposed>,
    #[serde(flatten)]
    client: ClientView,
}

impl ClientWithSecret {
    /// Its identifier.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        &self.client.client_id
    }

    /// The secret that was just made; none for a public client.
    #[must_use]
    pub fn client_secret(&self) -> Option<&Secret> {
        self.client_secret.as_ref().map(|Exposed(secret)| secret)
    }
}

/// A page of clients.
#[derive(Debug, Serialize)]
pub struct ClientPage {
    clients: Vec<ClientView>,
    /// What to give as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<ClientId>,
}

/// Which page is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageRequest {
    /// The last client of the page before.
    pub after: Option<String>,
    /// How many, at most 1000; 100 if absent.
    pub limit: Option<usize>,
}

/// How a secret is rotated.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRotation {
    /// For how many seconds the old secret is honoured; not at all if absent.
    #[serde(default)]
    pub overlap_seconds: u64,
}

impl From<&Client> for ClientView {
    fn from(client: &Client) -> Self {
        let client = client.clone();
        let view = |secret: crate::clients::ClientSecret| SecretView {
            created_at: secret.created_at,
            expires_at: secret.expires_at,
        };
        Self {
            client_id: client.client_id,
            client_name: client.client_name,
            grant_types: client.grant_types,
            scope: client.scope,
            default_scope: client.default_scope,
            resources: client.resources,
            audience_of: client.audience_of,
            access_token_lifetime: client.access_token_lifetime,
            access_token_signing_alg: client.access_token_signing_alg,
            token_endpoint_auth_method: client.token_endpoint_auth_method,
            redirect_uris: client.redirect_uris,
            require_pkce: client.require_pkce,
            consent: client.consent,
            client_uri: client.client_uri,
            logo_uri: client.logo_uri,
            policy_uri: client.policy_uri,
            tos_uri: client.tos_uri,
            post_logout_redirect_uris: client.post_logout_redirect_uris,
            backchannel_logout_uri: client.backchannel_logout_uri,
            backchannel_logout_session_required: client.backchannel_logout_session_required,
            id_token_signed_response_alg: client.id_token_signed_response_alg,
            allowed_origins: client.allowed_origins,
            registered_by: client.registrant.as_str(),
            owner: match client.registrant {
                Registrant::Person(owner) => Some(owner),
                Registrant::Administrator | Registrant::Anybody => None,
            },
            secrets: client.secrets.into_iter().map(view).collect(),
            created_at: client.created_at,
            updated_at: client.updated_at,
        }
    }
}

impl From<Registered> for ClientWithSecret {
    fn from(registered: Registered) -> Self {
        let client_secret = registered.client_secret.map(Exposed);
        Self { client_secret, client: ClientView::from(registered.client.as_ref()) }
    }
}

/// A page of the registered clients, in the order of their identifiers.
#[must_use]
pub fn list(services: &Services, page: &PageRequest) -> ClientPage {
    let (clients, next) = self::page(services, page);
    ClientPage { clients: clients.iter().map(|client| ClientView::from(client.as_ref())).collect(), next }
}

/// The same, whole; and what to give as `after` for the next page.
#[must_use]
pub fn page(services: &Services, page: &PageRequest) -> (Vec<Arc<Client>>, Option<ClientId>) {
    let limit = page.limit.unwrap_or(100).clamp(1, 1000);
    let mut clients = services.clients.list(page.after.as_deref(), limit + 1);
    let more = clients.len() > limit;
    clients.truncate(limit);
    let next = clients.last().filter(|_| more).map(|client| client.client_id.clone());
    (clients, next)
}

/// One client.
///
/// # Errors
/// As [`find`].
pub async fn show(services: &Services, client_id: &str) -> Result<ClientView, ProtocolError> {
    find(services, client_id).await.map(|client| ClientView::from(client.as_ref()))
}

/// The same, whole. Another node may have registered it a moment ago.
///
/// # Errors
/// `not_found`, or the store fails.
pub async fn find(services: &Services, client_id: &str) -> Result<Arc<Client>, ProtocolError> {
    let unknown = || ProtocolError::new(ErrorCode::NotFound, "there is no such client");
    services.clients.find_or_follow(client_id).await?.ok_or_else(unknown)
}

/// Registers a client; the answer holds its secret.
///
/// # Errors
/// `invalid_request` with the reason, `insufficient_scope` when it would hold an admin scope that its
/// administrator does not, `conflict` when the identifier is taken, `too_many_requests` when a person has made as much as one may.
pub async fn register(
    services: &Services,
    administrator: &Administrator,
    mut registration: Registration,
) -> Result<ClientWithSecret, ProtocolError> {
    administrator.may_touch(&registration.scope)?;
    let client_id = registration.client_id.take().unwrap_or_else(|| services.clients.new_id());
    let event = administrator.event(EventKind::ClientRegistered).client(&client_id);
    registration.client_id = Some(client_id);
    services.clients.may_register(&registration)?;
    services.may_promise(registration.id_token_signed_response_alg)?;
    if let Registrant::Person(owner) = &registration.registrant {
        services.allowance.spend(owner).await?;
    }
    audited(services, event, async { Ok(services.clients.register(registration).await?.into()) }).await
}

/// Changes a client.
///
/// # Errors
/// `not_found`, `invalid_request` with the reason, `insufficient_scope` as in [`register`], `conflict` when it
/// was changed meanwhile.
pub async fn change(
    services: &Services,
    administrator: &Administrator,
    client_id: &str,
    change: ClientChange,
) -> Result<ClientView, ProtocolError> {
    find(services, client_id).await?;
    // Both of the client that is written: another administrator may have given it more a moment ago.
    let intended = services.clients.intend(client_id, change).await?;
    administrator.may_touch(&intended.before.scope)?;
    administrator.may_touch(&intended.after.scope)?;
    let promised = intended.after.id_token_signed_response_alg;
    if promised != intended.before.id_token_signed_response_alg {
        services.may_promise(promised)?;
    }
    let difference = difference::of_client(&services.digests, &intended.before, &intended.after)?;
    let event = administrator
        .event(EventKind::ClientChanged)
        .client(&intended.before.client_id)
        .difference(&difference);
    audited(services, event, async { Ok(ClientView::from(intended.write().await?.as_ref())) }).await
}

/// Makes a new secret; the old one is honoured for the overlap asked for. Tokens that were issued for the old
/// one stay valid: revoke them if it leaked.
///
/// # Errors
/// `not_found`, `insufficient_scope` as in [`register`], `conflict` when the client was changed meanwhile, or
/// `invalid_request` when the overlap is over 90 days.
pub async fn rotate_secret(
    services: &Services,
    administrator: &Administrator,
    client_id: &str,
    rotation: &SecretRotation,
) -> Result<ClientWithSecret, ProtocolError> {
    let overlap = Duration::from_secs(rotation.overlap_seconds);
    if overlap > LONGEST_OVERLAP {
        return Err(ProtocolError::invalid_request("overlap_seconds must be at most 7776000 (90 days)"));
    }
    find(services, client_id).await?;
    let intended = services.clients.intend_secret(client_id, overlap).await?;
    let client = &intended.change.before;
    administrator.may_touch(&client.scope)?;
    let event = administrator.event(EventKind::ClientSecretRotated).client(&client.client_id);
    audited(services, event, async { Ok(intended.write().await?.into()) }).await
}

/// Deletes a client and revokes every token it holds.
///
/// # Errors
/// `not_found`, `insufficient_scope` as in [`register`], or `conflict` when it was changed meanwhile.
pub async fn delete(
    services: &Services,
    administrator: &Administrator,
    client_id: &str,
) -> Result<(), ProtocolError> {
    let client = find(services, client_id).await?;
    administrator.may_touch(&client.scope)?;
    remove(services, administrator.event(EventKind::ClientDeleted), &client).await
}

/// Deletes a client, if it still is as it was seen, with all that it was given. Who may do so is not checked.
pub(in crate::protocol) async fn remove(
    services: &Services,
    event: Event,
    client: &Client,
) -> Result<(), ProtocolError> {
    audited(services, event.client(&client.client_id), async {
        // Before, so that a failure in between leaves nothing behind that another client of that name would inherit, and it
        // can be asked for again; after, for what was issued and made meanwhile.
        take_all(services, &client.client_id).await?;
        services.clients.delete(client).await?;
        take_all(services, &client.client_id).await
    })
    .await
}

/// Revokes what a client holds: its tokens, and its API keys with theirs.
async fn take_all(services: &Services, client_id: &ClientId) -> Result<(), ProtocolError> {
    services.revocations.revoke_before_now(&Whole::Client(client_id.clone())).await?;
    api_keys::revoke_of(services, &ApiKeyOwner::Client(client_id.clone())).await
}

/// The one place where a client's secret is shown.
#[derive(Debug)]
struct Exposed(Secret);

impl Serialize for Exposed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}
