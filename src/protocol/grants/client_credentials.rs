use crate::clients::{AuthenticatedClient, ResourceServer};
use crate::oauth::{ErrorCode, Resource, Scope, Subject};
use crate::protocol::{Params, ProtocolError, Services};
use crate::tokens::{Authorized, Issued};

/// More audiences than any token has reason to name.
const MAX_RESOURCES: usize = 8;

/// The client acts on its own behalf (RFC 6749, section 4.4): the token's subject is the client itself
/// (RFC 9068, section 2.2).
pub(super) fn grant(
    services: &Services,
    client: &AuthenticatedClient,
    params: &Params<'_>,
    default_scope: Option<&str>,
) -> Result<Issued, ProtocolError> {
    let servers = resources(services, client, params)?;
    let scope = scope(client, &servers, params, default_scope)?;
    let algorithm = match client.access_token_signing_alg {
        Some(algorithm) => algorithm,
        None => agreed(&servers)?,
    };
    let lifetime = servers.iter().map(|server| server.lifetime).min().unwrap_or_default();
    let shorter = client.access_token_lifetime.and_then(|seconds| i64::try_from(seconds).ok());
    let subject = Subject::from(&client.client_id);
    let audience: Vec<&Resource> = servers.iter().map(|server| &server.uri).collect();
    let issued = services.access_tokens.issue(&Authorized {
        subject: &subject,
        client_id: &client.client_id,
        audience: &audience,
        scope: &scope,
        lifetime: shorter.map_or(lifetime, |seconds| seconds.min(lifetime)),
        algorithm,
        grant: None,
    })?;
    // Deleted meanwhile: its cut-off may be older than this token.
    services.clients.find(client.client_id.as_str()).ok_or_else(ProtocolError::invalid_client)?;
    Ok(issued)
}

/// The resources asked for, or the client's first (RFC 8707, section 2.2).
fn resources<'s>(
    services: &'s Services,
    client: &AuthenticatedClient,
    params: &Params<'_>,
) -> Result<Vec<&'s ResourceServer>, ProtocolError> {
    let unknown = || ProtocolError::new(ErrorCode::InvalidTarget, "the client may not ask for this resource");
    let mut servers: Vec<&ResourceServer> = Vec::with_capacity(1);
    for uri in params.all("resource") {
        let allowed = client.resources.iter().any(|each| each.as_str() == uri);
        let server = services.resources.find(uri).filter(|_| allowed).ok_or_else(unknown)?;
        if servers.iter().any(|each| each.uri == server.uri) {
            continue;
        }
        if servers.len() == MAX_RESOURCES {
            return Err(ProtocolError::new(ErrorCode::InvalidTarget, "too many resources are named"));
        }
        servers.push(server);
    }
    if servers.is_empty() {
        let first = client.resources.first().ok_or_else(unknown)?;
        servers.push(services.resources.find(first.as_str()).ok_or_else(unknown)?);
    }
    // Whoever else reads the token could administer with it.
    let admin = &services.resources.admin().uri;
    if servers.len() > 1 && servers.iter().any(|server| server.uri == *admin) {
        return Err(ProtocolError::new(
            ErrorCode::InvalidTarget,
            "the admin API shares no token with other resources",
        ));
    }
    Ok(servers)
}

/// The scope asked for, held against what the client is allowed and what the resources know. A default is cut
/// down to what they know; what was asked for by name is granted whole or refused.
fn scope(
    client: &AuthenticatedClient,
    servers: &[&ResourceServer],
    params: &Params<'_>,
    default_scope: Option<&str>,
) -> Result<Scope, ProtocolError> {
    let grantable = |token: &str| {
        client.scope.contains(token) && servers.iter().any(|server| server.scope.contains(token))
    };
    let invalid = ProtocolError::invalid_scope;
    if let Some(asked) = params.one("scope") {
        let asked = Scope::parse(asked).map_err(|_| invalid("the scope is malformed"))?;
        if !asked.iter().all(grantable) {
            return Err(invalid("the scope exceeds what the client may ask for at this resource"));
        }
        return Ok(asked);
    }
    if let Some(default) = default_scope.filter(|default| grantable(default)) {
        return Scope::parse(default).map_err(ProtocolError::server_error);
    }
    if client.default_scope.iter().all(grantable) {
        return Ok(client.default_scope.clone());
    }
    let known: Vec<&str> = client.default_scope.iter().filter(|token| grantable(token)).collect();
    Scope::parse(&known.join(" ")).map_err(ProtocolError::server_error)
}

/// The algorithm that all the resources want.
fn agreed(servers: &[&ResourceServer]) -> Result<crate::oauth::Algorithm, ProtocolError> {
    let unlike =
        || ProtocolError::new(ErrorCode::InvalidTarget, "the resources want different signature algorithms");
    let (first, others) = servers.split_first().ok_or_else(unlike)?;
    if others.iter().all(|server| server.algorithm == first.algorithm) {
        Ok(first.algorithm)
    } else {
        Err(unlike())
    }
}
