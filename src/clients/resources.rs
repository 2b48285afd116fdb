use std::time::Duration;

use super::Client;
use crate::config::Config;
use crate::oauth::{Algorithm, InvalidId, Resource, Scope};

/// The scope tokens of the admin API.
pub const ADMIN_SCOPE: &str =
    "signet:keys signet:clients signet:users signet:api-keys signet:revocations signet:audit";

/// The scope tokens of the users API.
const USERS_SCOPE: &str = "users:read users:write";

/// A resource server, as tokens name it in `aud`.
#[derive(Clone, Debug)]
pub struct ResourceServer {
    /// Its identifier.
    pub uri: Resource,
    /// The scope tokens that mean something to it.
    pub scope: Scope,
    /// The part of it that people may open to what nobody vouches for: their own API keys and applications.
    pub people_scope: Scope,
    /// How many seconds tokens for it live.
    pub lifetime: i64,
    /// With which algorithm tokens for it should be signed; with the first of the settings unless set.
    pub algorithm: Option<Algorithm>,
}

impl ResourceServer {
    /// What of its scope people can let `client` have, as far as the client may ask for it at all.
    #[must_use]
    pub fn scope_for(&self, client: &Client) -> &Scope {
        if client.is_vouched_for() { &self.scope } else { &self.people_scope }
    }
}

/// Whether people can let `client` have the scope token in an access token for all of `servers`: one of them lends it, and none
/// to which it means something too keeps it back, for each reads the same token.
#[must_use]
pub fn lend(servers: &[&ResourceServer], client: &Client, token: &str) -> bool {
    let lends = |server: &ResourceServer| server.scope_for(client).contains(token);
    servers.iter().any(|server| lends(server))
        && servers.iter().all(|server| lends(server) || !server.scope.contains(token))
}

/// The resource servers that tokens may be asked for; everything else is `invalid_target`.
#[derive(Clone, Debug)]
pub struct Resources {
    servers: Vec<ResourceServer>,
    userinfo: ResourceServer,
}

impl Resources {
    /// Those of the settings, then the built-in ones: the users API and, as the last, the admin API.
    ///
    /// # Errors
    /// When the issuer can't be the stem of the built-in ones' identifiers.
    pub fn new(config: &Config) -> Result<Self, InvalidId> {
        let mut servers: Vec<ResourceServer> = config
            .resources
            .iter()
            .map(|resource| ResourceServer {
                uri: resource.uri.clone(),
                scope: resource.scope.clone(),
                people_scope: resource.people_scope.clone(),
                lifetime: whole_seconds(resource.lifetime.unwrap_or(config.tokens.lifetime)),
                algorithm: resource.algorithm,
            })
            .collect();
        for (uri, scope) in [(config.users_resource(), USERS_SCOPE), (config.admin_resource(), ADMIN_SCOPE)] {
            servers.push(ResourceServer {
                uri: Resource::parse(&uri)?,
                scope: Scope::parse(scope).unwrap_or_default(),
                people_scope: Scope::default(),
                lifetime: whole_seconds(config.tokens.lifetime),
                algorithm: None,
            });
        }
        let userinfo = ResourceServer {
            uri: Resource::parse(&format!("{}/oauth2/userinfo", config.issuer))?,
            scope: Scope::default(),
            people_scope: Scope::default(),
            lifetime: whole_seconds(config.tokens.lifetime),
            algorithm: None,
        };
        Ok(Self { servers, userinfo })
    }

    /// The resource server named `uri`, compared as text.
    #[must_use]
    pub fn find(&self, uri: &str) -> Option<&ResourceServer> {
        self.servers.iter().find(|server| server.uri.as_str() == uri)
    }

    /// Those of `servers` for which an access token of that scope is meant: of a client that nobody vouches for, none that lends
    /// nothing of it, lest it takes its place in the audience for permission. The userinfo endpoint if none is left.
    #[must_use]
    pub fn meant<'s>(
        &'s self,
        mut servers: Vec<&'s ResourceServer>,
        client: &Client,
        scope: &Scope,
    ) -> Vec<&'s ResourceServer> {
        let lends =
            |server: &ResourceServer| scope.iter().any(|token| server.scope_for(client).contains(token));
        servers.retain(|server| client.is_vouched_for() || lends(server));
        if servers.is_empty() {
            servers.push(&self.userinfo);
        }
        servers
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[ResourceServer] {
        &self.servers
    }

    /// The userinfo endpoint, for tokens that open nothing else: [`find`](Self::find) does not know it.
    #[must_use]
    pub fn userinfo(&self) -> &ResourceServer {
        &self.userinfo
    }

    /// The users API.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the constructor puts it there")]
    pub fn users(&self) -> &ResourceServer {
        self.servers.iter().nth_back(1).expect("the users API is always registered")
    }

    /// The admin API.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the constructor puts it there")]
    pub fn admin(&self) -> &ResourceServer {
        self.servers.last().expect("the admin API is always registered")
    }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
