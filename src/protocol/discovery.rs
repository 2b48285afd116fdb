use super::{Services, TOKEN_EXCHANGE};
use crate::clients::GrantType;
use crate::oauth::ServerMetadata;

/// What this server can do today (RFC 8414, section 2).
#[must_use]
pub fn metadata(services: &Services) -> ServerMetadata {
    let issuer = &services.issuer;
    let auth_methods = || vec!["client_secret_basic".to_owned(), "client_secret_post".to_owned()];
    ServerMetadata {
        issuer: issuer.clone(),
        token_endpoint: format!("{issuer}/oauth2/token"),
        jwks_uri: format!("{issuer}/.well-known/jwks.json"),
        scopes_supported: ServerMetadata::scope_names(
            services.resources.all().iter().map(|each| &each.scope),
        ),
        response_types_supported: Vec::new(),
        grant_types_supported: GrantType::ALL
            .iter()
            .map(|grant| grant.as_str())
            .chain([TOKEN_EXCHANGE])
            .map(str::to_owned)
            .collect(),
        token_endpoint_auth_methods_supported: auth_methods(),
        revocation_endpoint: Some(format!("{issuer}/oauth2/revoke")),
        revocation_endpoint_auth_methods_supported: auth_methods(),
        introspection_endpoint: Some(format!("{issuer}/oauth2/introspect")),
        introspection_endpoint_auth_methods_supported: auth_methods(),
        status_list_aggregation_endpoint: Some(format!("{issuer}/status")),
    }
}
