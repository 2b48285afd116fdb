use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

use super::{AuthMethod, Client, ConsentRule, GrantType, Registrant};
use crate::oauth::{Algorithm, ClientId, Origin, RedirectUri, Resource, Scope, WebUri};

/// What is asked for when a client is registered; what is absent gets the documented default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Chosen by Signet if absent.
    #[serde(default)]
    pub client_id: Option<ClientId>,
    /// What people call it.
    pub client_name: String,
    /// If absent, what its other members allow: see [`Registration::usual_grants`].
    #[serde(default)]
    pub grant_types: Option<Vec<GrantType>>,
    /// What it may ask for.
    pub scope: Scope,
    /// All of `scope` if absent.
    #[serde(default)]
    pub default_scope: Option<Scope>,
    /// The resources it may ask tokens for; the first when it names none.
    pub resources: Vec<Resource>,
    /// The resources it speaks for.
    #[serde(default)]
    pub audience_of: Vec<Resource>,
    /// In seconds.
    #[serde(default)]
    pub access_token_lifetime: Option<u64>,
    /// One of the algorithms in use.
    #[serde(default)]
    pub access_token_signing_alg: Option<Algorithm>,
    /// By HTTP Basic if absent.
    #[serde(default)]
    pub token_endpoint_auth_method: AuthMethod,
    /// Where people may come back to.
    #[serde(default)]
    pub redirect_uris: Vec<RedirectUri>,
    /// Required if absent.
    #[serde(default)]
    pub require_pkce: Option<bool>,
    /// Required if absent.
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
    /// Where people may come back to when they were signed out.
    #[serde(default)]
    pub post_logout_redirect_uris: Vec<RedirectUri>,
    /// Where it is told that a session has ended.
    #[serde(default)]
    pub backchannel_logout_uri: Option<WebUri>,
    /// Whether it can't do without the `sid` claim there.
    #[serde(default)]
    pub backchannel_logout_session_required: bool,
    /// One of the algorithms in use.
    #[serde(default)]
    pub id_token_signed_response_alg: Option<Algorithm>,
    /// Whose scripts may call.
    #[serde(default)]
    pub allowed_origins: Vec<Origin>,
    /// Who registers it; never read from a request.
    #[serde(skip)]
    pub registrant: Registrant,
}

impl Registration {
    /// The grants of a client that names none: `client_credentials` if it has a secret, `authorization_code` and
    /// `refresh_token` if people can come back to it.
    #[must_use]
    pub fn usual_grants(&self) -> Vec<GrantType> {
        let mut grants = Vec::new();
        if self.token_endpoint_auth_method != AuthMethod::None {
            grants.push(GrantType::ClientCredentials);
        }
        if !self.redirect_uris.is_empty() {
            grants.extend([GrantType::AuthorizationCode, GrantType::RefreshToken]);
        }
        grants
    }
}

/// What is to change of a client; what is absent stays, `null` goes back to the default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientChange {
    /// A new name.
    #[serde(default)]
    pub client_name: Option<String>,
    /// New grants.
    #[serde(default)]
    pub grant_types: Option<Vec<GrantType>>,
    /// A new allowed scope.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// A new default scope.
    #[serde(default)]
    pub default_scope: Option<Scope>,
    /// New resources.
    #[serde(default)]
    pub resources: Option<Vec<Resource>>,
    /// New resources that it speaks for.
    #[serde(default)]
    pub audience_of: Option<Vec<Resource>>,
    /// A new lifetime in seconds.
    #[serde(default, deserialize_with = "present")]
    pub access_token_lifetime: Option<Option<u64>>,
    /// A new algorithm.
    #[serde(default, deserialize_with = "present")]
    pub access_token_signing_alg: Option<Option<Algorithm>>,
    /// Another method; a client that becomes public loses its secrets.
    #[serde(default)]
    pub token_endpoint_auth_method: Option<AuthMethod>,
    /// New redirect URIs.
    #[serde(default)]
    pub redirect_uris: Option<Vec<RedirectUri>>,
    /// Whether PKCE is required.
    #[serde(default)]
    pub require_pkce: Option<bool>,
    /// Whether people are asked.
    #[serde(default)]
    pub consent: Option<ConsentRule>,
    /// A new home page.
    #[serde(default, deserialize_with = "present")]
    pub client_uri: Option<Option<WebUri>>,
    /// A new picture.
    #[serde(default, deserialize_with = "present")]
    pub logo_uri: Option<Option<WebUri>>,
    /// A new policy.
    #[serde(default, deserialize_with = "present")]
    pub policy_uri: Option<Option<WebUri>>,
    /// New terms.
    #[serde(default, deserialize_with = "present")]
    pub tos_uri: Option<Option<WebUri>>,
    /// New places to come back to when signed out.
    #[serde(default)]
    pub post_logout_redirect_uris: Option<Vec<RedirectUri>>,
    /// A new place for logout tokens.
    #[serde(default, deserialize_with = "present")]
    pub backchannel_logout_uri: Option<Option<WebUri>>,
    /// Whether it can't do without the `sid` claim there.
    #[serde(default)]
    pub backchannel_logout_session_required: Option<bool>,
    /// A new algorithm for ID tokens.
    #[serde(default, deserialize_with = "present")]
    pub id_token_signed_response_alg: Option<Option<Algorithm>>,
    /// New origins.
    #[serde(default)]
    pub allowed_origins: Option<Vec<Origin>>,
    /// Only of the client as it is since then ([`Client::updated_at`]); nothing that a request can say.
    #[serde(skip)]
    pub of_version: Option<DateTime<Utc>>,
}

impl ClientChange {
    /// Carries it out on `client`.
    pub(super) fn apply(self, client: &mut Client) {
        replace(&mut client.client_name, self.client_name.map(|name| name.trim().to_owned()));
        replace(&mut client.grant_types, self.grant_types);
        replace(&mut client.scope, self.scope);
        replace(&mut client.default_scope, self.default_scope);
        replace(&mut client.resources, self.resources);
        replace(&mut client.audience_of, self.audience_of);
        replace(&mut client.access_token_lifetime, self.access_token_lifetime);
        replace(&mut client.access_token_signing_alg, self.access_token_signing_alg);
        replace(&mut client.token_endpoint_auth_method, self.token_endpoint_auth_method);
        replace(&mut client.redirect_uris, self.redirect_uris);
        replace(&mut client.require_pkce, self.require_pkce);
        replace(&mut client.consent, self.consent);
        replace(&mut client.client_uri, self.client_uri);
        replace(&mut client.logo_uri, self.logo_uri);
        replace(&mut client.policy_uri, self.policy_uri);
        replace(&mut client.tos_uri, self.tos_uri);
        replace(&mut client.post_logout_redirect_uris, self.post_logout_redirect_uris);
        replace(&mut client.backchannel_logout_uri, self.backchannel_logout_uri);
        replace(&mut client.backchannel_logout_session_required, self.backchannel_logout_session_required);
        replace(&mut client.id_token_signed_response_alg, self.id_token_signed_response_alg);
        replace(&mut client.allowed_origins, self.allowed_origins);
        if client.is_public() {
            client.secrets.clear();
        }
    }
}

fn replace<T>(member: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *member = new;
    }
}

/// Tells `null` from absence.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
