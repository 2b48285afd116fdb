use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use tokio::sync::Mutex;

use super::limits::Limits;
use super::mirror::Mirror;
use super::{AuthMethod, AuthenticatedClient, Client, ClientSecret};
use super::{Registrant, Registration, RegistrationError, Resources};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::entropy::SharedEntropy;
use crate::oauth::{ClientId, Secret, SecretHash, UserId};
use crate::outgoing::Reach;
use crate::store::typed::TypedTable;
use crate::store::{Batch, Committed, Condition, Line, Store, StoreError, Table};

pub(super) const TABLE: Table = Table::mirrored(ClientRegistry::TABLE);
pub(super) const CLIENTS: TypedTable<Client> = TypedTable::new(TABLE);

/// How many clients are named where only their number matters.
const FIRST_STRANDED: usize = 5;

/// The registered clients: kept in the store, answered from memory.
pub struct ClientRegistry {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: SharedClock,
    entropy: SharedEntropy,
    pub(super) limits: Limits,
    pub(super) clients: RwLock<Mirror>,
    /// One change at a time: each begins with what the one before has left.
    pub(super) changing: Line,
    /// One reading at a time, so that memory never shows an older state after a newer one. Not held while something is committed:
    /// whoever follows the other nodes waits for it, and must not wait for those who write.
    pub(super) mirroring: Mutex<()>,
    /// Compared with when there is no such client, so that an unknown name takes as long as a known one.
    nobody: SecretHash,
}

/// A client and the secret that was just made for it: the only time it can be seen.
#[derive(Debug)]
pub struct Registered {
    /// The client.
    pub client: Arc<Client>,
    /// Its new secret; a public client has none.
    pub client_secret: Option<Secret>,
}

/// Clients that are registered for an algorithm that the settings don't have any more. Their access tokens are signed as any
/// other's; ID tokens that were to be signed with it are refused once no key signs with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stranded {
    /// How many there are.
    pub count: usize,
    /// The first few, in the order of their identifiers.
    pub first: Vec<ClientId>,
}

/// A client could not be registered, changed or found.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is none of that name.
    #[error("no such client")]
    Unknown,
    /// The identifier belongs to another client.
    #[error("the client_id is taken")]
    Taken,
    /// Whoever registers it has as many as they may.
    #[error("there are {0} such applications already, and there may be no more")]
    TooMany(usize),
    /// It was changed meanwhile; read it again.
    #[error("the client was changed meanwhile")]
    Changed,
    /// What was asked for is not possible.
    #[error(transparent)]
    Refused(#[from] RegistrationError),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ClientRegistry {
    /// The table that is kept in memory.
    pub const TABLE: &str = "clients";

    /// Loads every client into memory.
    ///
    /// # Errors
    /// When the store can't be read or a record can't be understood.
    pub async fn open(
        config: &Config,
        resources: Resources,
        store: Arc<dyn Store>,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Result<Self, StoreError> {
        let limits = Limits {
            resources,
            longest_lifetime: config.tokens.longest_lifetime.as_secs(),
            algorithms: config.keys.algorithms.clone(),
            reach: Reach::new(&config.outgoing),
            apps_scope: config.dialects.apps_scope.clone(),
            most_apps: config.dialects.most_apps,
        };
        let nobody = SecretHash::of(&entropy.token::<32>());
        let clients = RwLock::new(Mirror::new(&limits.algorithms));
        let (changing, mirroring) = (Line::default(), Mutex::default());
        let registry = Self { store, clock, entropy, limits, clients, changing, mirroring, nobody };
        // Large and rare: not to be carried about by whoever opens it.
        Box::pin(registry.reload()).await?;
        Ok(registry)
    }

    /// The client, if `secret` is one of its live secrets. An unknown name takes as long as a wrong secret.
    #[must_use]
    pub fn authenticate(&self, client_id: &str, secret: &str) -> Option<AuthenticatedClient> {
        if let Some(client) = self.find(client_id) {
            client.accepts(secret, self.clock.as_ref()).then(|| AuthenticatedClient::new(client))
        } else {
            let _same_work = self.nobody.matches(secret);
            None
        }
    }

    /// The public client of that name: it has nothing to prove itself by (RFC 6749, section 2.1).
    #[must_use]
    pub fn identify(&self, client_id: &str) -> Option<AuthenticatedClient> {
        self.find(client_id).filter(|client| client.is_public()).map(AuthenticatedClient::new)
    }

    /// The client of that name.
    #[must_use]
    pub fn find(&self, client_id: &str) -> Option<Arc<Client>> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        clients.get(client_id).map(|mirrored| mirrored.client.clone())
    }

    /// The client of that name; asked of the store where memory knows none, for another node may have registered it a moment ago.
    ///
    /// # Errors
    /// As [`Self::refresh`].
    pub async fn find_or_follow(&self, client_id: &str) -> Result<Option<Arc<Client>>, StoreError> {
        if self.find(client_id).is_none() && ClientId::parse(client_id).is_ok() {
            self.refresh(client_id.as_bytes()).await?;
        }
        Ok(self.find(client_id))
    }

    /// Whether some client's scripts come from `origin` (RFC 6454, section 6.1), compared as text.
    #[must_use]
    pub fn admit(&self, origin: &str) -> bool {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        clients.admits(origin)
    }

    /// Up to `limit` clients in the order of their identifiers, beginning behind `after`.
    #[must_use]
    pub fn list(&self, after: Option<&str>, limit: usize) -> Vec<Arc<Client>> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = clients
            .values()
            .map(|mirrored| &mirrored.client)
            .filter(|client| after.is_none_or(|after| client.client_id.as_str() > after))
            .collect();
        found.sort_by(|a, b| a.client_id.cmp(&b.client_id));
        found.into_iter().take(limit).cloned().collect()
    }

    /// The clients of one person, in the order of their identifiers.
    #[must_use]
    pub fn of_owner(&self, owner: &UserId) -> Vec<Arc<Client>> {
        let mut clients = self.list(None, usize::MAX);
        clients.retain(|client| client.owner() == Some(owner));
        clients
    }

    /// Whether `client` may have the scope token at all: it is registered for it, and, if it registered itself, the settings still
    /// open it to applications that do (`dialects.apps_scope`).
    #[must_use]
    pub fn may_have(&self, client: &Client, token: &str) -> bool {
        let is_open = client.registrant != Registrant::Anybody || self.limits.apps_scope.contains(token);
        is_open && client.scope.contains(token)
    }

    /// Those that are registered for an algorithm that is not in use.
    #[must_use]
    pub fn stranded(&self) -> Stranded {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        let stranded = clients.stranded();
        Stranded { count: stranded.len(), first: stranded.iter().take(FIRST_STRANDED).cloned().collect() }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.clients.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn count_of(&self, registrant: &Registrant) -> usize {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        clients.values().filter(|mirrored| mirrored.client.registrant == *registrant).count()
    }

    /// Registers a client and makes its first secret.
    ///
    /// # Errors
    /// When the registration can't be honoured, whoever registers it has as many as they may, the identifier is taken, or
    /// the store fails.
    pub async fn register(&self, registration: Registration) -> Result<Registered, ClientError> {
        let is_public = registration.token_endpoint_auth_method == AuthMethod::None;
        let client_secret = (!is_public).then(|| self.new_secret());
        let client = self.draft(registration, client_secret.as_ref());
        self.limits.check_open(&client)?;
        let _turn = self.changing.turn(self.store.as_ref()).await?;
        self.leaves_room(&client.registrant)?;
        match self.write(client, Condition::Absent).await {
            Ok(client) => Ok(Registered { client, client_secret }),
            Err(ClientError::Changed) => Err(ClientError::Taken),
            Err(error) => Err(error),
        }
    }

    /// Whether [`Self::register`] would do it as things stand. Registers nothing.
    ///
    /// # Errors
    /// As [`Self::register`], without the store's.
    pub fn may_register(&self, registration: &Registration) -> Result<(), ClientError> {
        let client = self.draft(registration.clone(), None);
        self.limits.check_open(&client)?;
        if self.find(client.client_id.as_str()).is_some() {
            return Err(ClientError::Taken);
        }
        self.leaves_room(&client.registrant)
    }

    fn leaves_room(&self, registrant: &Registrant) -> Result<(), ClientError> {
        let most = self.limits.most(registrant);
        let is_full = most < usize::MAX && self.count_of(registrant) >= most;
        if is_full { Err(ClientError::TooMany(most)) } else { Ok(()) }
    }

    fn draft(&self, registration: Registration, client_secret: Option<&Secret>) -> Client {
        let now = self.clock.now();
        let grant_types = registration.grant_types.clone().unwrap_or_else(|| registration.usual_grants());
        let at_rest =
            |secret: &Secret| ClientSecret { hash: secret.hash(), created_at: now, expires_at: None };
        Client {
            client_id: registration.client_id.unwrap_or_else(|| self.new_id()),
            client_name: registration.client_name.trim().to_owned(),
            secrets: client_secret.into_iter().map(at_rest).collect(),
            grant_types,
            default_scope: registration.default_scope.unwrap_or_else(|| registration.scope.clone()),
            scope: registration.scope,
            resources: registration.resources,
            audience_of: registration.audience_of,
            access_token_lifetime: registration.access_token_lifetime,
            access_token_signing_alg: registration.access_token_signing_alg,
            token_endpoint_auth_method: registration.token_endpoint_auth_method,
            redirect_uris: registration.redirect_uris,
            require_pkce: registration.require_pkce.unwrap_or(true),
            consent: registration.consent,
            client_uri: registration.client_uri,
            logo_uri: registration.logo_uri,
            policy_uri: registration.policy_uri,
            tos_uri: registration.tos_uri,
            post_logout_redirect_uris: registration.post_logout_redirect_uris,
            backchannel_logout_uri: registration.backchannel_logout_uri,
            backchannel_logout_session_required: registration.backchannel_logout_session_required,
            id_token_signed_response_alg: registration.id_token_signed_response_alg,
            allowed_origins: registration.allowed_origins,
            registrant: registration.registrant,
            created_at: now,
            updated_at: now,
        }
    }

    /// Deletes the client. Tokens it holds stay valid until they are revoked or end. One that turns out to be gone
    /// already, as after a deletion whose answer was lost, is deleted.
    ///
    /// # Errors
    /// When there is no such client, it is not any more as it was `seen`, or the store fails.
    pub async fn delete(&self, seen: &Client) -> Result<(), ClientError> {
        let _turn = self.changing.turn(self.store.as_ref()).await?;
        let (client, version) = self.current(seen.client_id.as_str())?;
        if client.updated_at != seen.updated_at {
            return Err(ClientError::Changed);
        }
        let key = client.client_id.as_str();
        let batch = Batch::new().delete(CLIENTS.table(), key, Condition::VersionIs(version));
        let committed = self.store.commit(batch).await?;
        match (committed, self.mirror(&client.client_id).await?) {
            (Committed::Applied, _) | (Committed::Conflict, None) => Ok(()),
            (Committed::Conflict, Some(_)) => Err(ClientError::Changed),
        }
    }

    pub(super) fn current(&self, client_id: &str) -> Result<(Client, u64), ClientError> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        let mirrored = clients.get(client_id).ok_or(ClientError::Unknown)?;
        Ok((Client::clone(&mirrored.client), mirrored.version))
    }

    pub(super) async fn write(
        &self,
        mut client: Client,
        condition: Condition,
    ) -> Result<Arc<Client>, ClientError> {
        client.updated_at = self.clock.now();
        let key = client.client_id.as_str().as_bytes().to_vec();
        let batch = CLIENTS.put(Batch::new(), key, condition, &client)?;
        let committed = self.store.commit(batch).await?;
        let mirrored = self.mirror(&client.client_id).await?;
        match (committed, mirrored) {
            (Committed::Applied, Some(client)) => Ok(client),
            _ => Err(ClientError::Changed),
        }
    }

    /// An identifier that no client has.
    #[must_use]
    pub fn new_id(&self) -> ClientId {
        let id = uuid::Builder::from_random_bytes(self.entropy.bytes()).into_uuid();
        #[expect(clippy::expect_used, reason = "a UUID is hexadecimal digits and hyphens")]
        ClientId::parse(&id.to_string()).expect("a UUID is a valid client_id")
    }

    pub(super) fn new_secret(&self) -> Secret {
        Secret::new(self.entropy.token::<32>())
    }
}
