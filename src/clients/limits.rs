use url::Url;

use super::{Client, GrantType, Registrant, Resources};
use crate::oauth::{Algorithm, ApiKeyId, Resource, Scope, UserId, WebUri, is_name};
use crate::outgoing::{Reach, Unreachable};

/// The registration can't be honoured.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// The name says nothing or too much.
    #[error("client_name must be 1 to 120 characters, all of which can be seen")]
    Name,
    /// Nothing could be asked for.
    #[error("grant_types must name at least one grant, each once")]
    GrantTypes,
    /// The default exceeds what is allowed.
    #[error("default_scope must be part of scope")]
    DefaultScope,
    /// A scope token that no resource of the client knows.
    #[error("scope token {0:?} means nothing to any of the client's resources")]
    UnknownScope(String),
    /// Tokens must be for somebody.
    #[error(
        "resources must name at most 32 resources, each once, and at least one unless the scope is all of OpenID Connect"
    )]
    Resources,
    /// A resource that is not in the settings.
    #[error("unknown resource {0}: add it to the settings first")]
    UnknownResource(Resource),
    /// Tokens would outlive what the keys promise.
    #[error("access_token_lifetime must be 1 to {0} seconds (tokens.longest_lifetime)")]
    Lifetime(u64),
    /// An algorithm that no key is kept for.
    #[error("{0} {1} is not in use: add it to keys.algorithms first")]
    Algorithm(&'static str, Algorithm),
    /// It looks like a person.
    #[error("client_id must not begin with user_ or key_, as the identifiers of people and API keys do")]
    ClientId,
    /// More than any client has, or one twice.
    #[error("{0} must name at most 32, each once")]
    Repeated(&'static str),
    /// A grant that could not be used.
    #[error("grant_types: {0}")]
    UnusableGrant(&'static str),
    /// A place that this service will not call.
    #[error("backchannel_logout_uri {0}")]
    LogoutUri(#[from] Unreachable),
    /// Whoever no administrator vouches for does not make this service call anybody.
    #[error("backchannel_logout_uri is not for applications that people registered for themselves")]
    OwnedLogoutUri,
    /// More than nobody answers for.
    #[error("scope token {0:?} is not one that an application may register itself for (dialects.apps_scope)")]
    NotOpen(String),
    /// Whoever keeps the client could let it pass for another one that nobody is asked about.
    #[error("consent can't be implied for a client that no administrator registered")]
    Unvouched,
    /// What only a client with a secret may do.
    #[error("a client with token_endpoint_auth_method none {0}")]
    Public(&'static str),
}

/// More resources, URIs or origins than any client has reason to name.
const MOST: usize = 32;

/// How many applications a person may have.
const MOST_OF_A_PERSON: usize = 20;

/// How the identifiers of people and of API keys begin; a token's `sub` must tell a person from a client (RFC 9068,
/// section 5), and its `client_id` a client from an API key.
const NOT_CLIENTS: [&str; 2] = [UserId::PREFIX, ApiKeyId::PREFIX];

/// What registrations are held against.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) resources: Resources,
    pub(super) longest_lifetime: u64,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) reach: Reach,
    /// What may be registered for by anybody.
    pub(super) apps_scope: Scope,
    /// How many clients may be registered by anybody.
    pub(super) most_apps: usize,
}

impl Limits {
    /// How many clients there may be that were registered by the same; without end for administrators.
    pub(super) fn most(&self, registrant: &Registrant) -> usize {
        match registrant {
            Registrant::Administrator => usize::MAX,
            Registrant::Person(_) => MOST_OF_A_PERSON,
            Registrant::Anybody => self.most_apps,
        }
    }

    /// [`Self::check`], and that a client which registered itself asks for nothing but what is open to those. Nobody can give
    /// it more: an administrator who wants to registers another one.
    pub(super) fn check_open(&self, client: &Client) -> Result<(), RegistrationError> {
        let too_much = client.scope.iter().find(|token| !self.apps_scope.contains(token));
        match too_much.filter(|_| client.registrant == Registrant::Anybody) {
            Some(token) => Err(RegistrationError::NotOpen(token.to_owned())),
            None => self.check(client),
        }
    }

    pub(super) fn check(&self, client: &Client) -> Result<(), RegistrationError> {
        if NOT_CLIENTS.iter().any(|prefix| client.client_id.as_str().starts_with(prefix)) {
            return Err(RegistrationError::ClientId);
        }
        if !is_name(&client.client_name, 120) {
            return Err(RegistrationError::Name);
        }
        if client.grant_types.is_empty() || repeats(&client.grant_types) {
            return Err(RegistrationError::GrantTypes);
        }
        let needs_none =
            !client.may(GrantType::ClientCredentials) && client.scope.iter().all(Scope::is_of_openid);
        if client.resources.is_empty() && !needs_none {
            return Err(RegistrationError::Resources);
        }
        if client.resources.len() > MOST || repeats(&client.resources) {
            return Err(RegistrationError::Resources);
        }
        for uri in client.resources.iter().chain(&client.audience_of) {
            if self.resources.find(uri.as_str()).is_none() {
                return Err(RegistrationError::UnknownResource(uri.clone()));
            }
        }
        if !client.default_scope.is_subset(&client.scope) {
            return Err(RegistrationError::DefaultScope);
        }
        let known = |token: &str| {
            if Scope::is_of_openid(token) {
                return true;
            }
            let mut servers = client.resources.iter().filter_map(|uri| self.resources.find(uri.as_str()));
            servers.any(|server| server.scope.contains(token))
        };
        if let Some(token) = client.scope.iter().find(|token| !known(token)) {
            return Err(RegistrationError::UnknownScope(token.to_owned()));
        }
        if client.access_token_lifetime.is_some_and(|seconds| !(1..=self.longest_lifetime).contains(&seconds))
        {
            return Err(RegistrationError::Lifetime(self.longest_lifetime));
        }
        let is_unknown = |(_, algorithm): &(_, Algorithm)| !self.algorithms.contains(algorithm);
        if let Some((member, algorithm)) = client.algorithms().find(is_unknown) {
            return Err(RegistrationError::Algorithm(member, algorithm));
        }
        check_grants(client)?;
        check_lists(client)?;
        self.check_logout_uri(client)
    }

    /// What a name leads to is checked when it is called.
    fn check_logout_uri(&self, client: &Client) -> Result<(), RegistrationError> {
        let uri = client.backchannel_logout_uri.as_ref().map(WebUri::as_str).map(Url::parse);
        let Some(Ok(url)) = uri else { return Ok(()) };
        if client.registrant != Registrant::Administrator {
            return Err(RegistrationError::OwnedLogoutUri);
        }
        Ok(self.reach.check_url(&url)?)
    }
}

/// Whether what it may present can ever be presented, and by whom.
fn check_grants(client: &Client) -> Result<(), RegistrationError> {
    let code = client.may(GrantType::AuthorizationCode);
    if code && client.redirect_uris.is_empty() {
        let why = "authorization_code needs redirect_uris";
        return Err(RegistrationError::UnusableGrant(why));
    }
    if client.may(GrantType::RefreshToken) && !code {
        let why = "refresh_token needs authorization_code";
        return Err(RegistrationError::UnusableGrant(why));
    }
    if client.is_public() && client.may(GrantType::ClientCredentials) {
        // RFC 6749, section 4.4.
        return Err(RegistrationError::Public("may not use client_credentials"));
    }
    if client.is_public() && !client.require_pkce {
        // RFC 9700, section 2.1.1.
        return Err(RegistrationError::Public("must use PKCE"));
    }
    if client.is_public() && !client.audience_of.is_empty() {
        // RFC 7662, section 2.1.
        return Err(RegistrationError::Public("may not introspect: audience_of must be empty"));
    }
    Ok(())
}

fn check_lists(client: &Client) -> Result<(), RegistrationError> {
    let lists = [
        ("redirect_uris", is_too_much(&client.redirect_uris)),
        ("post_logout_redirect_uris", is_too_much(&client.post_logout_redirect_uris)),
        ("allowed_origins", is_too_much(&client.allowed_origins)),
    ];
    match lists.into_iter().find(|(_, too_much)| *too_much) {
        Some((member, _)) => Err(RegistrationError::Repeated(member)),
        None => Ok(()),
    }
}

fn is_too_much<T: PartialEq>(values: &[T]) -> bool {
    values.len() > MOST || repeats(values)
}

fn repeats<T: PartialEq>(values: &[T]) -> bool {
    values.iter().enumerate().any(|(at, value)| values[..at].contains(value))
}
