//! The composition root: picks store, vault, clock and entropy, and puts the rooms together.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::audit::{Actor, AuditError, AuditLog, Event, EventKind, Outcome};
use crate::clients::{ADMIN_SCOPE, Client, ClientError, ClientRegistry, Registered, Registration, Resources};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::entropy::SharedEntropy;
use crate::http::{self, State};
use crate::keys::{
    DataKey, DataKeyError, DirectoryVault, Health, Kek, KekError, KeyEvent, KeyRing, KeyRingError,
    KeyRingParts, Policy, SealingEvent, SealingKeys, SealingParts, UnsafePolicy, VaultError,
};
use crate::limits::Limits;
use crate::oauth::{Algorithm, InvalidId, Resource, Scope, Secret};
use crate::protocol::{self, Services};
use crate::store::{Batch, Condition, Put, Store, StoreError, Table};
use crate::telemetry::Metrics;
use crate::tokens::{
    AccessTokens, Codes, Families, IdTokens, ListDates, Publication, RefreshTokens, Revocations, Sealer,
    StatusIndexes, StatusLists, StatusPublisher,
};
use crate::users::{Accounts, ApiKeys, Consents, LoginThrottle, PasswordHasher, SecondFactors, Sessions};

/// For how long a status list takes tokens.
const LIST_WINDOW: Duration = Duration::from_hours(1);

/// The longest that a published status list may be used without a fresh one.
const LONGEST_STATUS_LIFETIME: Duration = Duration::from_hours(1);

/// How many expired rows are removed in one pass.
const SWEEP: usize = 10_000;

/// What the service stands on; everything else follows from the settings.
#[derive(Clone)]
pub struct Ground {
    /// What must be remembered.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: SharedClock,
    /// Chance.
    pub entropy: SharedEntropy,
}

/// A service put together, not yet listening.
pub struct App {
    /// What the handlers work with.
    pub state: Arc<State>,
    first_resource: Option<(Resource, Scope)>,
    unrecorded: tokio::sync::Mutex<Unrecorded>,
}

/// What happened to keys and does not stand in the audit log yet.
#[derive(Default)]
struct Unrecorded {
    signing: Vec<KeyEvent>,
    sealing: Vec<SealingEvent>,
}

/// What an installation remembers of itself.
const INSTALLATION: Table = Table::plain("installation");

/// The row that says that the first clients were asked for. Its value says nothing.
const FIRST_CLIENTS: &[u8] = b"first_clients";

/// The clients of a fresh installation.
#[derive(Debug)]
pub struct FirstClients {
    /// May administer everything.
    pub admin: FirstClient,
    /// May ask tokens for the first resource of the settings.
    pub demo: FirstClient,
}

/// A client of a fresh installation, and its secret.
#[derive(Debug)]
pub struct FirstClient {
    /// The client.
    pub client: Arc<Client>,
    /// Its secret: the only time it can be seen.
    pub client_secret: Secret,
}

impl From<Registered> for FirstClient {
    #[expect(clippy::expect_used, reason = "neither of the first clients is registered as a public one")]
    fn from(registered: Registered) -> Self {
        let client_secret = registered.client_secret.expect("a client with a secret");
        Self { client: registered.client, client_secret }
    }
}

/// The service can't be put together.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The keys' settings could make a valid token fail.
    #[error(transparent)]
    Policy(#[from] UnsafePolicy),
    /// The keys can't be used.
    #[error(transparent)]
    Keys(#[from] KeyRingError),
    /// The data key can't be used.
    #[error(transparent)]
    DataKey(#[from] DataKeyError),
    /// The key-encryption key can't be had.
    #[error(transparent)]
    Kek(#[from] KekError),
    /// The directory of the sealed keys can't be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit log can't be used.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A first client can't be registered.
    #[error("the first clients can't be registered: {0}")]
    Clients(#[from] ClientError),
    /// The issuer can't be the stem of an identifier.
    #[error("issuer: {0}")]
    Issuer(#[from] InvalidId),
    /// The data directory can't be made.
    #[error("data_dir: {0}")]
    DataDir(#[from] std::io::Error),
}

impl App {
    /// Puts the service together: loads keys, clients and revocations, opens a status list.
    ///
    /// # Errors
    /// When any part of it can't be used; nothing is repaired by making it anew.
    pub async fn open(config: &Config, ground: Ground) -> Result<Self, StartError> {
        let Ground { store, clock, entropy } = ground;
        std::fs::create_dir_all(&config.data_dir)?;
        let audit = AuditLog::open(&config.audit_path(), clock.clone())?;
        let parts = key_ring_parts(config, store.clone(), clock.clone(), entropy.clone())?;
        let (sealing_keys, sealing_events) = SealingKeys::open(
            SealingParts {
                store: store.clone(),
                kek: parts.kek.clone(),
                clock: clock.clone(),
                entropy: entropy.clone(),
            },
            &parts.policy,
            (config.keys.sealing_period, config.refresh_tokens.lifetime),
        )
        .await?;
        let data_key = DataKey::open(store.as_ref(), &parts.kek, entropy.clone()).await?;
        let (keys, events) = KeyRing::open(parts).await?;
        let resources = Resources::new(config)?;
        let clients =
            ClientRegistry::open(config, resources.clone(), store.clone(), clock.clone(), entropy.clone())
                .await?;
        let dates = ListDates {
            window: seconds(LIST_WINDOW),
            longest_lifetime: seconds(config.tokens.longest_lifetime),
            clock_skew: seconds(config.keys.clock_skew),
        };
        let lists_uri = format!("{}/status", config.issuer);
        let status_lists = Arc::new(
            StatusLists::open(lists_uri, dates, store.clone(), clock.clone(), entropy.clone()).await?,
        );
        // A code may be redeemed at the end of its own time.
        let longest_grant = seconds(config.codes.lifetime + config.refresh_tokens.lifetime);
        let revocations = Arc::new(
            Revocations::open(store.clone(), clock.clone(), status_lists.clone(), longest_grant).await?,
        );
        let status_indexes = Arc::new(StatusIndexes::open(status_lists.clone(), clock.clone()).await?);
        let publication = Publication {
            issuer: config.issuer.clone(),
            ttl: config.tokens.status_list_ttl.as_secs(),
            algorithm: config.keys.algorithms.first().copied().unwrap_or(Algorithm::ES256),
            lifetime: seconds(LONGEST_STATUS_LIFETIME.min(config.tokens.longest_lifetime)),
        };
        let status = StatusPublisher::new(
            publication,
            clock.clone(),
            keys.clone(),
            status_lists.clone(),
            revocations.clone(),
        );
        let hasher =
            PasswordHasher::new(config.passwords.cost, config.passwords.hashing_permits, entropy.clone());
        let accounts = Accounts::new(store.clone(), clock.clone(), entropy.clone(), hasher);
        let sessions = Sessions::new(&config.sessions, store.clone(), clock.clone(), entropy.clone());
        let second_factors =
            SecondFactors::new(config.issuer_host(), store.clone(), data_key, clock.clone(), entropy.clone());
        let consents = Consents::new(store.clone(), clock.clone());
        let limits = Arc::new(Limits::new(&config.limits, &clock));
        let login_throttle =
            LoginThrottle::new(store.clone(), clock.clone(), entropy.clone(), limits.clone());
        let api_keys = ApiKeys::new(store.clone(), clock.clone(), entropy.clone());
        let families = Arc::new(Families::new(
            store.clone(),
            clock.clone(),
            revocations.clone(),
            seconds(config.keys.clock_skew),
        ));
        let sealer = Sealer::new(sealing_keys.clone());
        let codes = Codes::new(
            store.clone(),
            (clock.clone(), entropy.clone()),
            families.clone(),
            seconds(config.codes.lifetime),
        );
        let refresh_tokens = RefreshTokens::new(
            sealer.clone(),
            families.clone(),
            clock.clone(),
            (seconds(config.refresh_tokens.lifetime), seconds(config.refresh_tokens.idle)),
        );
        let id_tokens = IdTokens::new(config.issuer.clone(), keys.clone(), seconds(config.tokens.lifetime));
        let access_tokens = AccessTokens::new(
            config.issuer.clone(),
            keys.clone(),
            (status_indexes.clone(), revocations.clone()),
            entropy.clone(),
        );
        let services = Services {
            issuer: config.issuer.clone(),
            clock,
            entropy,
            store,
            keys,
            clients,
            resources,
            accounts,
            sessions,
            second_factors,
            consents,
            login_throttle,
            api_keys,
            limits,
            access_tokens,
            codes,
            refresh_tokens,
            families,
            id_tokens,
            revocations,
            status_indexes,
            status_lists,
            status,
            sealer,
            sealing_keys,
            audit,
            stopping: AtomicBool::new(false),
        };
        protocol::admin::keys::record(&services, &events).await?;
        protocol::admin::keys::record_sealing(&services, &sealing_events).await?;
        let metrics = Arc::new(Metrics::new(&http::PATHS));
        let state = State::new(Arc::new(services), metrics, config);
        let first_resource = config.resources.first().map(|each| (each.uri.clone(), each.scope.clone()));
        Ok(Self { state: Arc::new(state), first_resource, unrecorded: tokio::sync::Mutex::default() })
    }

    /// Registers an administrator and a demo client, once in the life of an installation and only if there is
    /// no client; their secrets can be seen only now.
    ///
    /// An installation whose clients were all deleted gets no new administrator by being started again:
    /// whoever may write its data registers one offline.
    ///
    /// # Errors
    /// When they can't be recorded or stored.
    pub async fn first_clients(&self) -> Result<Option<FirstClients>, StartError> {
        let services = &self.state.services;
        if !self.is_fresh().await? {
            return Ok(None);
        }
        let administered = services.resources.admin().uri.clone();
        let (resource, scope) = match &self.first_resource {
            Some((resource, scope)) => (resource.clone(), scope.clone()),
            None => (administered.clone(), Scope::default()),
        };
        let admin = Registration {
            client_id: Some(services.clients.new_id()),
            client_name: "First administrator".into(),
            scope: Scope::parse(ADMIN_SCOPE).unwrap_or_default(),
            resources: vec![administered],
            ..Registration::default()
        };
        let demo = Registration {
            client_id: Some(services.clients.new_id()),
            client_name: "Demo".into(),
            scope,
            audience_of: vec![resource.clone()],
            resources: vec![resource],
            ..Registration::default()
        };
        for registration in [&admin, &demo] {
            let mut event = Event::new(EventKind::ClientRegistered, Actor::Service);
            if let Some(client_id) = &registration.client_id {
                event = event.client(client_id);
            }
            services.audit.record(event).await?;
        }
        self.mark_first_clients().await?;
        let admin = services.clients.register(admin).await?.into();
        let demo = services.clients.register(demo).await?.into();
        Ok(Some(FirstClients { admin, demo }))
    }

    /// Whether first clients are still to be made.
    async fn is_fresh(&self) -> Result<bool, StartError> {
        let services = &self.state.services;
        let marked = services.store.get(INSTALLATION, FIRST_CLIENTS).await?.is_some();
        match (marked, services.clients.count()) {
            (false, 0) => return Ok(true),
            (false, _) => self.mark_first_clients().await?,
            (true, 0) => {
                tracing::warn!("there is no client; `signet clients register --offline` registers one");
            }
            (true, _) if !self.has_administrator() => {
                let admin = &services.resources.admin().uri;
                tracing::warn!(
                    "no client may administer {admin}; if the issuer has changed, stop the service and run `signet clients \
                     change ADMIN_ID --offline --resource {admin}`"
                );
            }
            (true, _) => {}
        }
        Ok(false)
    }

    fn has_administrator(&self) -> bool {
        let services = &self.state.services;
        let admin = &services.resources.admin().uri;
        let all = services.clients.list(None, usize::MAX);
        all.iter().any(|client| client.resources.contains(admin) && client.scope.contains("signet:clients"))
    }

    async fn mark_first_clients(&self) -> Result<(), StartError> {
        let batch =
            Batch::new().put(INSTALLATION, FIRST_CLIENTS, Condition::Always, Put::lasting(b"1".to_vec()));
        let _applied = self.state.services.store.commit(batch).await?;
        Ok(())
    }

    /// Reads the key ring anew and does what is due.
    ///
    /// # Errors
    /// When the store, the keys or the audit log fail; the next round tries again.
    pub async fn rotate(&self) -> Result<(), StartError> {
        let services = &self.state.services;
        // What could not be recorded is owed until it is.
        let mut owed = self.unrecorded.lock().await;
        match services.keys.tick().await {
            Ok(events) => owed.signing.extend(events),
            // The first in a row is told; the log and the metrics count the rest.
            Err(error) if services.keys.health() != (Health::Amber { failures: 1 }) => {
                return Err(error.into());
            }
            Err(error) => {
                let failed = Event::new(EventKind::KeyRotationFailed, Actor::Service)
                    .outcome(Outcome::Failed)
                    .detail("error", error.to_string());
                services.audit.record(failed).await?;
                return Err(error.into());
            }
        }
        owed.sealing.extend(services.sealing_keys.tick().await?);
        protocol::admin::keys::record(services, &owed.signing).await?;
        owed.signing.clear();
        protocol::admin::keys::record_sealing(services, &owed.sealing).await?;
        owed.sealing.clear();
        Ok(())
    }

    /// One round of housekeeping: keeps a spare status list, removes what has ended.
    ///
    /// # Errors
    /// When the store fails; the next round tries again.
    pub async fn tidy(&self) -> Result<(), StartError> {
        let services = &self.state.services;
        services.status_indexes.replenish().await?;
        services.status_lists.drop_ended();
        services.status.drop_ended();
        services.revocations.drop_ended().await;
        services.limits.sweep();
        while services.store.sweep(services.clock.now(), SWEEP).await? == SWEEP {}
        Ok(())
    }
}

/// What the settings make the key ring of.
///
/// # Errors
/// When the key-encryption key or the directory of the keys can't be used, or the policy is unsafe.
pub fn key_ring_parts(
    config: &Config,
    store: Arc<dyn Store>,
    clock: SharedClock,
    entropy: SharedEntropy,
) -> Result<KeyRingParts, StartError> {
    let kek = Arc::new(Kek::load(&config.keys.kek, &config.keys.dir, entropy.as_ref())?);
    let vault = Arc::new(DirectoryVault::open(&config.keys.dir, kek.clone(), entropy)?);
    let policy = Policy::new(&config.keys, config.tokens.longest_lifetime)?;
    Ok(KeyRingParts { store, vault, kek, policy, clock })
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
