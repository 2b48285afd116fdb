use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::oauth::{Algorithm, ClientId, Origin, RedirectUri, Resource, Scope, SecretHash, UserId, WebUri};

/// What a client may present at the token endpoint (RFC 7591, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// RFC 6749, section 4.4.
    ClientCredentials,
    /// RFC 6749, section 4.1.
    AuthorizationCode,
    /// RFC 6749, section 6.
    RefreshToken,
}

impl GrantType {
    /// Every grant that works today.
    pub const ALL: [Self; 3] = [Self::ClientCredentials, Self::AuthorizationCode, Self::RefreshToken];

    /// The registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
        }
    }
}

/// The word is none of those that are known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not one of {}", .0.join(", "))]
pub struct UnknownWord(Vec<&'static str>);

impl FromStr for GrantType {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = || Self::ALL.map(Self::as_str).to_vec();
        Self::ALL.into_iter().find(|each| each.as_str() == word).ok_or_else(|| UnknownWord(known()))
    }
}

/// How a client proves who it is (RFC 7591, section 2).
///
/// A client that has a secret may send it either way, whichever of the two is registered: the older documents'
/// clients send it in the body, and libraries in the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// By HTTP Basic.
    #[default]
    ClientSecretBasic,
    /// Among the parameters.
    ClientSecretPost,
    /// Not at all: a public client (RFC 6749, section 2.1), which has no secret.
    None,
}

impl AuthMethod {
    /// Every method that works today.
    pub const ALL: [Self; 3] = [Self::ClientSecretBasic, Self::ClientSecretPost, Self::None];

    /// The registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::None => "none",
        }
    }
}

impl FromStr for AuthMethod {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = || Self::ALL.map(Self::as_str).to_vec();
        Self::ALL.into_iter().find(|each| each.as_str() == word).ok_or_else(|| UnknownWord(known()))
    }
}

/// Whether a person is asked before a client gets what it asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentRule {
    /// Asked, unless they allowed it before.
    #[default]
    Required,
    /// Not asked: the client is the operator's own, as an administrator says who registered it.
    Implied,
}

/// Who registered a client, and so who answers for what it asks people for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registrant {
    /// An administrator, or the service itself at its first start.
    #[default]
    Administrator,
    /// The person whose it is, in the portal.
    Person(UserId),
    /// Anybody, unasked who they are (`dialects.apps`).
    Anybody,
}

impl Registrant {
    /// How it is called where clients are shown.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Person(_) => "person",
            Self::Anybody => "anybody",
        }
    }
}

/// A registered client (RFC 6749, section 2). Members with a name in RFC 7591 or OpenID Connect bear it.
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
    /// How it proves who it is.
    #[serde(default)]
    pub token_endpoint_auth_method: AuthMethod,
    /// Where people may come back to from the authorization endpoint.
    #[serde(default)]
    pub redirect_uris: Vec<RedirectUri>,
    /// Whether it must bind its codes by PKCE (RFC 7636); only clients written for an old document need not.
    #[serde(default = "yes")]
    pub require_pkce: bool,
    /// Whether people are asked.
    #[serde(default)]
    pub consent: ConsentRule,
    /// Its home page.
    #[serde(default)]
    pub client_uri: Option<WebUri>,
    /// Its picture.
    #[serde(default)]
    pub logo_uri: Option<WebUri>,
    /// What it does with people's data.
    #[serde(default)]
    pub policy_uri: Option<WebUri>,
    /// Its terms.
    #[serde(default)]
    pub tos_uri: Option<WebUri>,
    /// Where people may come back to when they were signed out (OpenID Connect RP-Initiated Logout 1.0, section 3.1).
    #[serde(default)]
    pub post_logout_redirect_uris: Vec<RedirectUri>,
    /// Where it is told that a session has ended (OpenID Connect Back-Channel Logout 1.0, section 2.2).
    #[serde(default)]
    pub backchannel_logout_uri: Option<WebUri>,
    /// Whether it can't do without the `sid` claim there (section 2.2); every logout token has it anyway.
    #[serde(default)]
    pub backchannel_logout_session_required: bool,
    /// With which algorithm its ID tokens are signed (OpenID Connect Registration, section 2); absent is RS256, or
    /// the first algorithm in use where RS256 is not.
    #[serde(default)]
    pub id_token_signed_response_alg: Option<Algorithm>,
    /// The origins whose scripts may call the token endpoint and the others that are open to them.
    #[serde(default)]
    pub allowed_origins: Vec<Origin>,
    /// Who registered it; where that was not written down, nobody vouches for it.
    #[serde(default = "anybody")]
    pub registrant: Registrant,
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

fn yes() -> bool {
    true
}

fn anybody() -> Registrant {
    Registrant::Anybody
}

impl Client {
    /// Whether it has no secret (RFC 6749, section 2.1).
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.token_endpoint_auth_method == AuthMethod::None
    }

    /// The signature algorithms that it is registered for, each with the member that names it.
    pub fn algorithms(&self) -> impl Iterator<Item = (&'static str, Algorithm)> {
        let members = [
            ("access_token_signing_alg", self.access_token_signing_alg),
            ("id_token_signed_response_alg", self.id_token_signed_response_alg),
        ];
        members.into_iter().filter_map(|(member, algorithm)| Some((member, algorithm?)))
    }

    /// Whether it may present `grant_type`.
    #[must_use]
    pub fn may(&self, grant_type: GrantType) -> bool {
        self.grant_types.contains(&grant_type)
    }

    /// The person whose it is, if a person registered it.
    #[must_use]
    pub fn owner(&self) -> Option<&UserId> {
        match &self.registrant {
            Registrant::Person(owner) => Some(owner),
            Registrant::Administrator | Registrant::Anybody => None,
        }
    }

    /// Whether an administrator vouches for it. What nobody vouches for may be made to deceive people.
    #[must_use]
    pub fn is_vouched_for(&self) -> bool {
        self.registrant == Registrant::Administrator
    }

    /// As what a client that nobody vouches for shows itself to people: a digest of its name and of where they come back to.
    /// Whoever keeps it may change both at any time, and what was allowed to the one is not allowed to the other.
    #[must_use]
    pub fn shown_as(&self) -> Option<String> {
        let uris = self.redirect_uris.iter().map(RedirectUri::as_str);
        // Neither names nor URIs hold line breaks.
        let shown = std::iter::once(self.client_name.as_str()).chain(uris).collect::<Vec<_>>().join("\n");
        (!self.is_vouched_for()).then(|| URL_SAFE_NO_PAD.encode(digest(&SHA256, shown.as_bytes())))
    }

    /// Whether `secret` is one of the live ones. Compares with each, in constant time.
    pub(crate) fn accepts(&self, secret: &str, clock: &dyn Clock) -> bool {
        self.secrets.iter().fold(false, |accepted, each| {
            let live = each.expires_at.is_none_or(|end| clock.now() < end);
            accepted | (each.hash.matches(secret) & live)
        })
    }
}

/// A client that has proved who it is, or a public one that has said so: ask [`Client::is_public`] before it is
/// given what only the client itself may have. Only [`super::ClientRegistry`] makes one.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_vouches_for_a_client_whose_registrant_is_not_known() {
        let record = serde_json::json!({
            "client_id": "shop", "client_name": "Shop", "secrets": [], "grant_types": [], "scope": "",
            "default_scope": "", "resources": [], "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z",
        });
        let client: Client = serde_json::from_value(record).unwrap();
        assert_eq!(client.registrant, Registrant::Anybody);
        assert!(!client.is_vouched_for());
    }
}
