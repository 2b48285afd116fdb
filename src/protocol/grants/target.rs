//! For whom an access token is, and what of the scope means something there.

use crate::clients::{Client, ResourceServer, lend};
use crate::keys::NoKey;
use crate::oauth::{Algorithm, ErrorCode, Resource, Scope};
use crate::protocol::{ProtocolError, Services};

/// More audiences than any token has reason to name.
const MAX_RESOURCES: usize = 8;

/// The resource servers of one access token: at least one, and one signature for all.
#[derive(Debug)]
pub(super) struct Target<'s> {
    servers: Vec<&'s ResourceServer>,
    algorithms: [Option<Algorithm>; 2],
}

impl<'s> Target<'s> {
    /// The resources asked for, each of which must be among `allowed` and the client's own; the first of `allowed`
    /// if none is asked for (RFC 8707, section 2.2).
    pub(super) fn new<'a>(
        services: &'s Services,
        client: &Client,
        allowed: &[Resource],
        asked: impl Iterator<Item = &'a str>,
    ) -> Result<Self, ProtocolError> {
        let refused = |reason: &'static str| ProtocolError::new(ErrorCode::InvalidTarget, reason);
        let unknown = || refused("the client may not ask for this resource");
        let find = |uri: &str| {
            let may = |resources: &[Resource]| resources.iter().any(|each| each.as_str() == uri);
            // What authorization found to be for the userinfo endpoint only; no client is registered for that.
            let userinfo = Some(services.resources.userinfo()).filter(|own| own.uri.as_str() == uri);
            let registered = || services.resources.find(uri).filter(|_| may(&client.resources));
            userinfo.or_else(registered).filter(|_| may(allowed)).ok_or_else(unknown)
        };
        let mut servers: Vec<&ResourceServer> = Vec::with_capacity(1);
        for uri in asked {
            let server = find(uri)?;
            if servers.iter().any(|each| each.uri == server.uri) {
                continue;
            }
            if servers.len() == MAX_RESOURCES {
                return Err(refused("too many resources are named"));
            }
            servers.push(server);
        }
        if servers.is_empty() {
            servers.push(find(allowed.first().ok_or_else(unknown)?.as_str())?);
        }
        // Whoever else reads the token could administer with it.
        let admin = &services.resources.admin().uri;
        if servers.len() > 1 && servers.iter().any(|server| server.uri == *admin) {
            return Err(refused("the admin API shares no token with other resources"));
        }
        if agreeing(services, client, &servers)?.len() < servers.len() {
            return Err(refused("the resources want different signature algorithms"));
        }
        let theirs = servers.first().and_then(|server| server.algorithm);
        Ok(Self { servers, algorithms: [client.access_token_signing_alg, theirs] })
    }

    /// The resources that one token of the client's own is for where its dialect knows no `resource` and one host serves them all:
    /// every one of the client's that agrees with the first about the signature, up to as many as a token can name. The
    /// admin API shares no token, so it is left out; where there is nothing else the token is for that.
    pub(super) fn every(services: &'s Services, client: &Client) -> Result<Vec<&'s str>, ProtocolError> {
        let resources = &services.resources;
        let found = client.resources.iter().filter_map(|uri| resources.find(uri.as_str()));
        let shared: Vec<_> = found.filter(|server| server.uri != resources.admin().uri).collect();
        let agreeing = agreeing(services, client, &shared)?;
        Ok(agreeing.into_iter().map(|server| server.uri.as_str()).take(MAX_RESOURCES).collect())
    }

    /// This target, but with those servers only that a token of that scope is meant for.
    pub(super) fn with_scope(self, services: &'s Services, client: &Client, scope: &Scope) -> Self {
        Self { servers: services.resources.meant(self.servers, client, scope), ..self }
    }

    /// With which algorithms the token should be signed: the client's, then the resources'.
    pub(super) fn algorithms(&self) -> [Option<Algorithm>; 2] {
        self.algorithms
    }

    /// The value of `aud`.
    pub(super) fn audience(&self) -> Vec<&'s Resource> {
        self.servers.iter().map(|server| &server.uri).collect()
    }

    /// Whether the client can have the scope token, in a token for all of them: any that means something to one of them if an
    /// administrator vouches for it, else what people can let it have.
    pub(super) fn lends(&self, client: &Client, token: &str) -> bool {
        lend(&self.servers, client, token)
    }

    /// For how many seconds a token may live: the shortest of theirs and the client's.
    pub(super) fn lifetime(&self, client: &Client) -> i64 {
        let theirs = self.servers.iter().map(|server| server.lifetime).min().unwrap_or_default();
        let shorter = client.access_token_lifetime.and_then(|seconds| i64::try_from(seconds).ok());
        shorter.map_or(theirs, |seconds| seconds.min(theirs))
    }
}

/// The scope tokens of `scope` that `grantable` lets pass.
pub(super) fn cut_down(scope: &Scope, grantable: impl Fn(&str) -> bool) -> Result<Scope, ProtocolError> {
    if scope.iter().all(&grantable) {
        return Ok(scope.clone());
    }
    let kept: Vec<&str> = scope.iter().filter(|token| grantable(token)).collect();
    Scope::parse(&kept.join(" ")).map_err(ProtocolError::server_error)
}

/// The scope that was asked for by name: granted whole or refused.
pub(super) fn asked_for(asked: &str, grantable: impl Fn(&str) -> bool) -> Result<Scope, ProtocolError> {
    let asked = Scope::parse(asked).map_err(|_| ProtocolError::invalid_scope("the scope is malformed"))?;
    if asked.iter().all(grantable) {
        return Ok(asked);
    }
    Err(ProtocolError::invalid_scope("the scope exceeds what the client may ask for at this resource"))
}

/// Those of `servers` for which one signature does, as keys sign now: the first, and all that would get the same.
fn agreeing<'s>(
    services: &Services,
    client: &Client,
    servers: &[&'s ResourceServer],
) -> Result<Vec<&'s ResourceServer>, NoKey> {
    // The usual one needs no look at the keys.
    if servers.len() < 2 {
        return Ok(servers.to_vec());
    }
    let signed = |server: &ResourceServer| {
        let wanted = [client.access_token_signing_alg, server.algorithm];
        Ok::<_, NoKey>(services.keys.signing_key(wanted.into_iter().flatten())?.algorithm())
    };
    let first = signed(servers[0])?;
    let mut agreeing = Vec::with_capacity(servers.len());
    for server in servers {
        if signed(server)? == first {
            agreeing.push(*server);
        }
    }
    Ok(agreeing)
}
