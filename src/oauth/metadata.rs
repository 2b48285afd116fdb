use serde::{Deserialize, Serialize};

use super::Scope;

/// Authorization server metadata (RFC 8414, section 2): what works today, nothing else.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerMetadata {
    /// The issuer's identifier.
    pub issuer: String,
    /// Where tokens are issued.
    pub token_endpoint: String,
    /// Where the keys are published.
    pub jwks_uri: String,
    /// Every scope token that a client may be allowed.
    #[serde(default)]
    pub scopes_supported: Vec<String>,
    /// Empty while there is no authorization endpoint; the member is required.
    pub response_types_supported: Vec<String>,
    /// Grants of the token endpoint.
    #[serde(default)]
    pub grant_types_supported: Vec<String>,
    /// How a client may authenticate at the token endpoint.
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Vec<String>,
    /// Where tokens are revoked (RFC 7009).
    #[serde(default)]
    pub revocation_endpoint: Option<String>,
    /// How a client may authenticate there.
    #[serde(default)]
    pub revocation_endpoint_auth_methods_supported: Vec<String>,
    /// Where tokens are introspected (RFC 7662).
    #[serde(default)]
    pub introspection_endpoint: Option<String>,
    /// How a client may authenticate there.
    #[serde(default)]
    pub introspection_endpoint_auth_methods_supported: Vec<String>,
    /// Where the status lists are named (draft-ietf-oauth-status-list, section 9).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_list_aggregation_endpoint: Option<String>,
}

impl ServerMetadata {
    /// The scope tokens of `scopes`, each once, sorted.
    #[must_use]
    pub fn scope_names<'a>(scopes: impl Iterator<Item = &'a Scope>) -> Vec<String> {
        let mut names: Vec<String> = scopes.flat_map(Scope::iter).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    }
}
