use serde::{Deserialize, Serialize};

use super::Scope;

/// Authorization server metadata (RFC 8414, section 2): what works today, nothing else.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the members are the standards'")]
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
    /// What the authorization endpoint answers with.
    pub response_types_supported: Vec<String>,
    /// Where people are asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_endpoint: Option<String>,
    /// Where a client asks who somebody is (OpenID Connect Discovery 1.0, section 3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userinfo_endpoint: Option<String>,
    /// Where a client has somebody signed out (OpenID Connect RP-Initiated Logout 1.0, section 2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_session_endpoint: Option<String>,
    /// Whether clients are told that a session has ended (OpenID Connect Back-Channel Logout 1.0, section 2.1).
    #[serde(default)]
    pub backchannel_logout_supported: bool,
    /// Whether they are told which session, by `sid`.
    #[serde(default)]
    pub backchannel_logout_session_supported: bool,
    /// How the authorization endpoint answers.
    #[serde(default)]
    pub response_modes_supported: Vec<String>,
    /// How codes are bound (RFC 7636).
    #[serde(default)]
    pub code_challenge_methods_supported: Vec<String>,
    /// Whether people have one `sub` for all clients.
    #[serde(default)]
    pub subject_types_supported: Vec<String>,
    /// With what ID tokens may be signed.
    #[serde(default)]
    pub id_token_signing_alg_values_supported: Vec<String>,
    /// What people can be asked (Initiating User Registration via OpenID Connect 1.0, section 4).
    #[serde(default)]
    pub prompt_values_supported: Vec<String>,
    /// The claims that may be known of a person.
    #[serde(default)]
    pub claims_supported: Vec<String>,
    /// Whether claims can be asked for one by one.
    #[serde(default)]
    pub claims_parameter_supported: bool,
    /// Whether a request can be passed as a JWT.
    #[serde(default)]
    pub request_parameter_supported: bool,
    /// Whether it can be passed by reference; absent would mean yes.
    #[serde(default)]
    pub request_uri_parameter_supported: bool,
    /// How well people can prove who they are.
    #[serde(default)]
    pub acr_values_supported: Vec<String>,
    /// The languages of the pages.
    #[serde(default)]
    pub ui_locales_supported: Vec<String>,
    /// Whether answers of the authorization endpoint say who answers (RFC 9207, section 3).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
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
