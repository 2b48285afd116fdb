use serde::{Deserialize, Deserializer};

use super::{Client, GrantType, Resources};
use crate::oauth::{Algorithm, ClientId, Resource, Scope};

/// What is asked for when a client is registered; what is absent gets the documented default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Chosen by Signet if absent.
    #[serde(default)]
    pub client_id: Option<ClientId>,
    /// What people call it.
    pub client_name: String,
    /// Every grant that works if absent.
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
}

impl ClientChange {
    /// The members that it changes, by name.
    #[must_use]
    pub fn members(&self) -> Vec<&'static str> {
        let members = [
            ("client_name", self.client_name.is_some()),
            ("grant_types", self.grant_types.is_some()),
            ("scope", self.scope.is_some()),
            ("default_scope", self.default_scope.is_some()),
            ("resources", self.resources.is_some()),
            ("audience_of", self.audience_of.is_some()),
            ("access_token_lifetime", self.access_token_lifetime.is_some()),
            ("access_token_signing_alg", self.access_token_signing_alg.is_some()),
        ];
        members.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }
}

/// Tells `null` from absence.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The registration can't be honoured.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// The name says nothing or too much.
    #[error("client_name must be 1 to 120 characters without control characters")]
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
    #[error("resources must name at least one and at most 32 resources, each once")]
    Resources,
    /// A resource that is not in the settings.
    #[error("unknown resource {0}: add it to the settings first")]
    UnknownResource(Resource),
    /// Tokens would outlive what the keys promise.
    #[error("access_token_lifetime must be 1 to {0} seconds (tokens.longest_lifetime)")]
    Lifetime(u64),
    /// An algorithm that no key is kept for.
    #[error("access_token_signing_alg {0} is not in use: add it to keys.algorithms first")]
    Algorithm(Algorithm),
}

/// What registrations are held against.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) resources: Resources,
    pub(super) longest_lifetime: u64,
    pub(super) algorithms: Vec<Algorithm>,
}

impl Limits {
    pub(super) fn check(&self, client: &Client) -> Result<(), RegistrationError> {
        let name = &client.client_name;
        if name.trim().is_empty() || name.chars().count() > 120 || name.chars().any(char::is_control) {
            return Err(RegistrationError::Name);
        }
        if client.grant_types.is_empty() || repeats(&client.grant_types) {
            return Err(RegistrationError::GrantTypes);
        }
        if client.resources.is_empty() || client.resources.len() > 32 || repeats(&client.resources) {
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
        match client.access_token_signing_alg {
            Some(algorithm) if !self.algorithms.contains(&algorithm) => {
                Err(RegistrationError::Algorithm(algorithm))
            }
            _ => Ok(()),
        }
    }
}

fn repeats<T: PartialEq>(values: &[T]) -> bool {
    values.iter().enumerate().any(|(at, value)| values[..at].contains(value))
}
