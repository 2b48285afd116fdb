use super::authorize::Prompt;
use super::{Services, TOKEN_EXCHANGE, claims};
use crate::clients::{AuthMethod, GrantType};
use crate::oauth::{Acr, Algorithm, Scope, ServerMetadata};

/// What this server can do today, where `algorithms` sign (RFC 8414, section 2; OpenID Connect Discovery 1.0, section 3).
#[must_use]
pub fn metadata(services: &Services, algorithms: &[Algorithm]) -> ServerMetadata {
    let at = |path: &str| format!("{}{path}", services.issuer);
    // Who revokes or introspects has a secret, or a token of its own to revoke.
    let auth_methods: Vec<String> = names(AuthMethod::ALL.map(AuthMethod::as_str));
    let with_secret: Vec<String> = names(
        AuthMethod::ALL.into_iter().filter(|method| *method != AuthMethod::None).map(AuthMethod::as_str),
    );
    ServerMetadata {
        issuer: services.issuer.clone(),
        token_endpoint: at("/oauth2/token"),
        jwks_uri: at("/.well-known/jwks.json"),
        scopes_supported: scopes(services),
        authorization_endpoint: Some(at("/oauth2/authorize")),
        userinfo_endpoint: Some(at("/oauth2/userinfo")),
        end_session_endpoint: Some(at("/oauth2/logout")),
        backchannel_logout_supported: true,
        backchannel_logout_session_supported: true,
        response_types_supported: names(["code"]),
        response_modes_supported: names(["query", "form_post"]),
        code_challenge_methods_supported: names(["S256"]),
        subject_types_supported: names(["public"]),
        id_token_signing_alg_values_supported: names(algorithms.iter().map(|algorithm| algorithm.as_str())),
        prompt_values_supported: names(Prompt::VALUES),
        claims_supported: names(claims::TOKEN.into_iter().chain(claims::names())),
        claims_parameter_supported: true,
        request_parameter_supported: false,
        request_uri_parameter_supported: false,
        acr_values_supported: names(Acr::ALL.map(Acr::as_str)),
        ui_locales_supported: names(["en"]),
        authorization_response_iss_parameter_supported: true,
        grant_types_supported: names(
            GrantType::ALL.map(GrantType::as_str).into_iter().chain([TOKEN_EXCHANGE]),
        ),
        token_endpoint_auth_methods_supported: auth_methods.clone(),
        revocation_endpoint: Some(at("/oauth2/revoke")),
        revocation_endpoint_auth_methods_supported: auth_methods,
        introspection_endpoint: Some(at("/oauth2/introspect")),
        introspection_endpoint_auth_methods_supported: with_secret,
        status_list_aggregation_endpoint: Some(at("/status")),
    }
}

fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// The scope tokens of the resources, and those that mean something to this service itself.
fn scopes(services: &Services) -> Vec<String> {
    let resources = services.resources.all().iter().map(|each| &each.scope);
    let mut scopes = ServerMetadata::scope_names(resources);
    scopes.extend(names(Scope::OF_OPENID));
    scopes.sort();
    scopes
}
