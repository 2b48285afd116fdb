use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::oauth::{Algorithm, ClientId, Resource, Scope, SecretHash};

/// What a client may present at the token endpoint (RFC 7591, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// RFC 6749, section 4.4.
    ClientCredentials,
}

impl GrantType {
    /// Every grant that works today.
    pub const ALL: [Self; 1] = [Self::ClientCredentials];

    /// The registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
        }
    }
}

/// A registered confidential client (RFC 6749, section 2). Members with a name in RFC 7591 bear it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Client {
    /// Its identifier; never given to another client.
    pub client_id: ClientId,
    /// What people call it.
    pub client_name: String,
    /// Hashes of its live secrets: one, or two while an old one is still honoured.
    pub secrets: Vec<ClientSecret>,
    /// What it may present at the token endpoint.
    pub grant_types: Vec<GrantType>,
    /// What it may ask for.
    pub scope: Scope,
    /// What it gets when it names no scope.
    pub default_scope: Scope,
    /// The resources it may ask tokens for; the first when it names none.
    pub resources: Vec<Resource>,
    /// The resources it speaks for: it may introspect tokens that are meant for one of them.
    #[serde(default)]
    pub audience_of: Vec<Resource>,
    /// How many seconds its access tokens live, if shorter than the resource's own lifetime.
    #[serde(default)]
    pub access_token_lifetime: Option<u64>,
    /// With which algorithm its access tokens are signed, instead of the resource's.
    #[serde(default)]
    pub access_token_signing_alg: Option<Algorithm>,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// A client secret at rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientSecret {
    /// Of 256 random bits, so that no slow hash is needed.
    pub hash: SecretHash,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Until when it is honoured; for good if absent.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
}

impl Client {
    /// Whether `secret` is one of the live ones. Compares with each, in constant time.
    pub(crate) fn accepts(&self, secret: &str, now: DateTime<Utc>) -> bool {
        self.secrets.iter().fold(false, |accepted, each| {
            let live = each.expires_at.is_none_or(|end| now < end);
            accepted | (each.hash.matches(secret) & live)
        })
    }
}

/// A client that has proved who it is. Only [`super::ClientRegistry::authenticate`] makes one.
#[derive(Clone, Debug)]
pub struct AuthenticatedClient(Arc<Client>);

impl AuthenticatedClient {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self(client)
    }
}

impl std::ops::Deref for AuthenticatedClient {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}
