//! The composition root: picks store, vault, clock and entropy, and puts the rooms together.

mod agreement;
mod algorithms;
mod first_clients;
mod follow;
mod ground;
mod issuing;
mod membership;
mod people;
mod rotation;
mod start_error;
mod timed_store;
mod upkeep;
mod witness;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::audit::AuditLog;
use crate::backup::{self, Evidence, Incarnation};
use crate::clients::{ClientRegistry, Resources};
use crate::config::Config;
use crate::http::{self, State};
use crate::keys::{
    DataKey, Fitness, Kek, KeyRing, KeyRingParts, KeyVault, Policy, SealingKeys, SealingParts,
};
use crate::oauth::{Resource, Scope};
use crate::outgoing::Outgoing;
use crate::protocol::{self, LogoutDeliveries, ProtocolError, Services, Silence};
use crate::telemetry::Metrics;

pub use agreement::{
    Agreement, Difference, Disagreement, change_issuer, compare_settings, refuse_other_issuer,
};
pub use first_clients::{FirstClient, FirstClients};
pub use ground::Ground;
pub(crate) use ground::database;
pub use start_error::StartError;
pub use timed_store::TimedStore;
pub use upkeep::Expired;
pub(crate) use upkeep::{LONGEST_PAUSE, Outage, interval};
pub use witness::{Witness, warning};

use follow::Followed;
use people::People;
use rotation::Rotation;
use witness::Noted;

/// A service put together, not yet listening.
pub struct App {
    /// What the handlers work with.
    pub state: Arc<State>,
    demo_resource: Option<(Resource, Scope)>,
    rotation: Rotation,
    /// What of the store is taken in.
    followed: tokio::sync::Mutex<Followed>,
    /// Whether it was told that the disk is getting full.
    told_low: AtomicBool,
    /// Whether the last step of following failed.
    store_was_away: AtomicBool,
    node: String,
    agreement: Agreement,
    /// Which restore the store had seen last when this node was started.
    incarnation: Incarnation,
    /// Whether it was told that newer nodes have other settings.
    told_differences: AtomicBool,
    /// When it was last noted that this node uses the store.
    noted: Noted,
    /// What shows that the store was put back to an earlier state without a cut-off.
    pub evidence: Vec<Evidence>,
}

impl App {
    /// Puts the service together: loads keys, clients and revocations, opens a status list.
    ///
    /// # Errors
    /// When any part of it can't be used; nothing is repaired by making it anew.
    pub async fn open(config: &Config, ground: Ground) -> Result<Self, StartError> {
        std::fs::create_dir_all(&config.data_dir)?;
        let path = config.audit_path();
        let audit = AuditLog::open_of_node(&path, ground.clock.clone(), &config.node)?;
        let app = Self::open_recording(config, ground, audit).await?;
        algorithms::tell(&app.state.services);
        Ok(app)
    }

    /// As [`Self::open`], with an audit log that is open already.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_recording(
        config: &Config,
        ground: Ground,
        audit: Arc<AuditLog>,
    ) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new(&http::PATHS, &config.node));
        let store = TimedStore::new(ground.store, ground.clock.clone(), metrics.clone());
        let ground = Ground { store, ..ground };
        let Ground { store, clock, entropy } = ground.clone();
        // Before anything is read that is kept.
        let incarnation = Incarnation::of(store.as_ref()).await?;
        backup::refuse_unfinished(store.as_ref()).await?;
        // Before anything is written.
        agreement::refuse_other_issuer(store.as_ref(), &config.issuer).await?;
        let witness = Witness { node: &config.node, audit: &audit, clock: clock.as_ref() };
        let evidence = witness.look(store.as_ref()).await?;
        let followed = Followed::from(follow::begin(store.as_ref()).await?).into();
        let parts = key_ring_parts(config, &ground)?;
        // Before anything is dated, or judged by its date.
        parts.fitness.compare_with(store.as_ref()).await?;
        parts.fitness.check_clock()?;
        // Before anything is planned, by settings that may not be those of the others.
        let agreement = Agreement::enter(config, store.as_ref()).await?;
        // Before the ring is read: what another node makes meanwhile is in neither.
        let vault: Arc<dyn KeyVault> = parts.vault.clone();
        let kept = witness::kept_keys(vault.clone()).await;
        let sealing_keys = SealingKeys::open(
            SealingParts {
                store: store.clone(),
                kek: parts.kek.clone(),
                clock: clock.clone(),
                entropy: entropy.clone(),
                fitness: parts.fitness.clone(),
            },
            &parts.policy,
            (config.keys.sealing_period, config.refresh_tokens.lifetime),
        )
        .await?;
        let fitness = parts.fitness.clone();
        let data_key = DataKey::open(store.as_ref(), &parts.kek, entropy.clone()).await?;
        let keys = KeyRing::open(parts).await?;
        let in_vault = witness::ask_vault((&kept, vault), &keys, (store.as_ref(), witness)).await?;
        let evidence = witness::told(evidence, in_vault);
        let noted = Noted::now(store.as_ref(), witness).await?;
        let resources = Resources::new(config)?;
        let clients =
            ClientRegistry::open(config, resources.clone(), store.clone(), clock.clone(), entropy.clone())
                .await?;
        let digests = data_key.digests();
        let people = People::new(config, &ground, data_key, fitness.clone());
        let issuing = Box::pin(issuing::open(config, &ground, (&keys, &sealing_keys))).await?;
        let services = Services {
            issuer: config.issuer.clone(),
            clock,
            entropy,
            store,
            keys,
            clients,
            resources,
            accounts: people.accounts,
            sessions: people.sessions,
            logouts: people.logouts,
            second_factors: people.second_factors,
            consents: people.consents,
            login_throttle: people.login_throttle,
            allowance: people.allowance,
            api_keys: people.api_keys,
            api_key_limit: people.api_key_limit,
            nodes: people.nodes,
            limits: people.limits,
            access_tokens: issuing.access_tokens,
            codes: issuing.codes,
            refresh_tokens: issuing.refresh_tokens,
            families: issuing.families,
            id_tokens: issuing.id_tokens,
            logout_tokens: issuing.logout_tokens,
            logout_deliveries: LogoutDeliveries::new(Outgoing::new(&config.outgoing)?),
            revocations: issuing.revocations,
            status_indexes: issuing.status_indexes,
            status_lists: issuing.status_lists,
            status: issuing.status,
            sealer: issuing.sealer,
            sealing_keys,
            fitness,
            digests,
            audit,
            copying: Arc::new(Semaphore::new(1)),
            store_silence: Silence::default(),
            stopping: AtomicBool::new(false),
        };
        protocol::admin::keys::record(&services.audit, services.keys.unrecorded()).await?;
        protocol::admin::keys::record_sealing(&services.audit, services.sealing_keys.unrecorded()).await?;
        let state = State::new(Arc::new(services), metrics, config);
        let demo_resource = config.demo_resource().map(|each| (each.uri.clone(), each.scope.clone()));
        Ok(Self {
            noted: noted.knowing(state.services.revocations.latest_dated()),
            state: Arc::new(state),
            demo_resource,
            rotation: Rotation::default(),
            followed,
            told_low: false.into(),
            store_was_away: false.into(),
            node: config.node.clone(),
            agreement,
            incarnation,
            told_differences: false.into(),
            evidence,
        })
    }

    /// Tells clients that sessions have ended, as far as that is due; see [`protocol::send_logouts`].
    ///
    /// # Errors
    /// When the store fails; what is due stays so.
    pub async fn send_logouts(&self) -> Result<Vec<JoinHandle<()>>, ProtocolError> {
        protocol::send_logouts(&self.state.services).await
    }
}

/// What the settings make the key ring of.
///
/// # Errors
/// When the key-encryption key or the directory of the keys can't be used, or the policy is unsafe.
pub fn key_ring_parts(config: &Config, ground: &Ground) -> Result<KeyRingParts, StartError> {
    let kek = Arc::new(Kek::load(&config.keys.kek, &config.keys.dir, ground.entropy.as_ref())?);
    let vault = ground.vault(config, kek.clone())?;
    let (store, clock) = (ground.store.clone(), ground.clock.clone());
    let policy =
        Policy::new(&config.keys, config.tokens.longest_lifetime)?.remembering(config.sessions.absolute);
    let fitness = Arc::new(Fitness::of_node(store.as_ref(), clock.clone(), config.keys.propagation));
    Ok(KeyRingParts { store, vault, kek, policy, clock, entropy: ground.entropy.clone(), fitness })
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
