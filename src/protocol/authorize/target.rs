use serde_json::Value;

use crate::clients::{Client, ResourceServer, lend};
use crate::oauth::{ErrorCode, Resource, Scope};
use crate::protocol::{Params, ProtocolError, Services, claims};

/// More audiences than any token has reason to name.
const MAX_RESOURCES: usize = 8;

/// The scope with what a `claims` parameter asks for besides (OpenID Connect Core 1.0, section 5.5): each claim asks for
/// the scope token that stands for it, so that the person is asked about it, as far as the client may have that.
pub(super) fn with_claims(
    client: &Client,
    scope: &Scope,
    parameter: Option<&Value>,
) -> Result<Scope, ProtocolError> {
    let members =
        parameter.into_iter().flat_map(|claims| ["userinfo", "id_token"].map(|name| claims.get(name)));
    let named = members.flatten().filter_map(Value::as_object).flat_map(|member| member.keys());
    let asked =
        named.filter_map(|claim| claims::scope_of(claim)).filter(|token| client.scope.contains(token));
    let asked = Scope::parse(&asked.collect::<Vec<_>>().join(" ")).map_err(ProtocolError::server_error)?;
    scope.union(&asked).map_err(|_| ProtocolError::invalid_scope("the scope is too long"))
}

/// What a request asks for: the scope, and the resources where it counts. Each token of a scope that is named, and
/// [`understood`], must be the client's to ask for, and mean something to one of the resources or to this service itself; of a default
/// it is left out otherwise. For a client that no administrator vouches for, what people may open is all there is, at
/// every resource that knows the scope token; and no resource that lends it nothing is among the
/// answer's.
pub(super) fn asked(
    services: &Services,
    client: &Client,
    params: &Params<'_>,
    default_scope: &[&str],
) -> Result<(Scope, Vec<Resource>), ProtocolError> {
    let servers = servers(services, client, params)?;
    let grantable = |token: &str| {
        let known = || Scope::is_of_openid(token) || lend(&servers, client, token);
        services.clients.may_have(client, token) && known()
    };
    let meant = |scope: Scope| {
        let servers = services.resources.meant(servers.clone(), client, &scope);
        (scope, servers.iter().map(|server| server.uri.clone()).collect())
    };
    if let Some(asked) = params.one("scope") {
        let asked =
            Scope::parse(asked).map_err(|_| ProtocolError::invalid_scope("the scope is malformed"))?;
        let asked = understood(services, asked)?;
        if !asked.iter().all(grantable) {
            let reason = "the scope exceeds what the client may ask for at this resource";
            return Err(ProtocolError::invalid_scope(reason));
        }
        return Ok(meant(asked));
    }
    let default: Vec<&str> = default_scope.iter().copied().filter(|token| grantable(token)).collect();
    let scope = if default.is_empty() {
        client.default_scope.iter().filter(|token| grantable(token)).collect()
    } else {
        default
    };
    Ok(meant(Scope::parse(&scope.join(" ")).map_err(ProtocolError::server_error)?))
}

/// Of an OpenID Connect request, the scope tokens that mean anything here: others are ignored (OpenID Connect Core 1.0, section
/// 3.1.2.1), and the answer tells what was granted. Of any other request all of them: what can't be granted is refused
/// (RFC 6749, section 4.1.2.1).
fn understood(services: &Services, asked: Scope) -> Result<Scope, ProtocolError> {
    let known = |token: &&str| {
        let servers = services.resources.all();
        Scope::is_of_openid(token) || servers.iter().any(|server| server.scope.contains(token))
    };
    if !asked.contains(Scope::OPENID) || asked.iter().all(|token| known(&token)) {
        return Ok(asked);
    }
    let known: Vec<&str> = asked.iter().filter(known).collect();
    Scope::parse(&known.join(" ")).map_err(ProtocolError::server_error)
}

/// The resources asked for, or the client's first if it has one (RFC 8707, section 2.1).
fn servers<'s>(
    services: &'s Services,
    client: &Client,
    params: &Params<'_>,
) -> Result<Vec<&'s ResourceServer>, ProtocolError> {
    let unknown = || ProtocolError::new(ErrorCode::InvalidTarget, "the client may not ask for this resource");
    let personal = |uri: &str| {
        let allowed = client.resources.iter().any(|each| each.as_str() == uri);
        services.resources.find(uri).filter(|server| allowed && !is_about_everybody(services, server))
    };
    let mut servers: Vec<&ResourceServer> = Vec::new();
    for uri in params.all("resource") {
        let server = personal(uri).ok_or_else(unknown)?;
        if !servers.iter().any(|each| each.uri == server.uri) {
            servers.push(server);
        }
        if servers.len() > MAX_RESOURCES {
            return Err(ProtocolError::new(ErrorCode::InvalidTarget, "too many resources are named"));
        }
    }
    // One that needs none is for the userinfo endpoint.
    if servers.is_empty() && !client.resources.is_empty() {
        let mut registered = client.resources.iter().filter_map(|uri| personal(uri.as_str()));
        servers.push(registered.next().ok_or_else(unknown)?);
    }
    Ok(servers)
}

/// The resources that this service itself serves are not a person's to give.
fn is_about_everybody(services: &Services, server: &ResourceServer) -> bool {
    let resources = &services.resources;
    server.uri == resources.admin().uri || server.uri == resources.users().uri
}
