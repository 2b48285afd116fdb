//! The composition root: picks store, vault, clock and entropy, and puts the rooms together.

mod first_clients;
mod follow;
mod ground;
mod issuing;
mod people;
mod start_error;
mod witness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::audit::{Actor, AuditLog, Event, EventKind, Outcome};
use crate::backup::{self, Evidence};
use crate::clients::{ClientRegistry, Resources};
use crate::config::Config;
use crate::http::{self, State};
use crate::keys::{
    DataKey, Fitness, Health, Kek, KeyEvent, KeyRing, KeyRingParts, KeyVault, Policy, SealingEvent,
    SealingKeys, SealingParts,
};
use crate::oauth::{Resource, Scope};
use crate::outgoing::Outgoing;
use crate::protocol::{self, LogoutDeliveries, ProtocolError, Services};
use crate::store::{Cursor, Room};
use crate::telemetry::Metrics;

pub use first_clients::{FirstClient, FirstClients};
pub use ground::Ground;
pub(crate) use ground::database;
pub use start_error::StartError;
pub use witness::{look, warning};

use people::People;
use witness::Seen;

/// How many expired rows are removed in one pass.
const SWEEP: usize = 10_000;

/// A service put together, not yet listening.
pub struct App {
    /// What the handlers work with.
    pub state: Arc<State>,
    first_resource: Option<(Resource, Scope)>,
    unrecorded: tokio::sync::Mutex<Unrecorded>,
    /// Up to where the changes of the store are taken in.
    cursor: tokio::sync::Mutex<Cursor>,
    /// Whether it was told that the disk is getting full.
    told_low: AtomicBool,
    seen: Seen,
    /// What shows that the store was put back to an earlier state without a cut-off.
    pub evidence: Option<Evidence>,
}

/// What happened to keys and does not stand in the audit log yet.
#[derive(Default)]
struct Unrecorded {
    signing: Vec<KeyEvent>,
    sealing: Vec<SealingEvent>,
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
        Self::open_recording(config, ground, audit).await
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
        let Ground { store, clock, entropy } = ground.clone();
        backup::refuse_unfinished(store.as_ref()).await?;
        let evidence = look(store.as_ref(), &audit, clock.as_ref()).await?;
        let cursor = follow::begin(store.as_ref()).await?.into();
        let parts = key_ring_parts(config, &ground)?;
        // Before anything is dated, or judged by its date.
        parts.fitness.compare_with(store.as_ref()).await?;
        parts.fitness.check_clock()?;
        // Before the ring is read: what another node makes meanwhile is in neither.
        let vault: Arc<dyn KeyVault> = parts.vault.clone();
        let kept = witness::kept_keys(vault.clone()).await;
        let (sealing_keys, sealing_events) = SealingKeys::open(
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
        let (keys, events) = KeyRing::open(parts).await?;
        let in_vault = witness::ask_vault(&kept, vault, &keys, (store.as_ref(), clock.as_ref())).await?;
        let evidence = evidence.or(in_vault);
        if let Some(evidence) = &evidence {
            tracing::warn!("{}", warning(evidence));
        }
        let seen = Seen::now(store.as_ref(), clock.as_ref(), evidence.as_ref()).await?;
        let resources = Resources::new(config)?;
        let clients =
            ClientRegistry::open(config, resources.clone(), store.clone(), clock.clone(), entropy.clone())
                .await?;
        let digests = data_key.digests();
        let people = People::new(config, &ground, data_key, fitness.clone());
        let issuing = issuing::open(config, &ground, (&keys, &sealing_keys)).await?;
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
            stopping: AtomicBool::new(false),
        };
        protocol::admin::keys::record(&services, &events).await?;
        protocol::admin::keys::record_sealing(&services, &sealing_events).await?;
        let metrics = Arc::new(Metrics::new(&http::PATHS, &config.node));
        let state = State::new(Arc::new(services), metrics, config);
        let first_resource = config.resources.first().map(|each| (each.uri.clone(), each.scope.clone()));
        Ok(Self {
            state: Arc::new(state),
            first_resource,
            unrecorded: tokio::sync::Mutex::default(),
            cursor,
            told_low: false.into(),
            seen,
            evidence,
        })
    }

    /// Has a document of every status list at hand, for when nothing can be signed.
    async fn build_status_lists(&self) {
        let services = self.state.services.clone();
        let built = tokio::task::spawn_blocking(move || services.status.build_all()).await;
        if let Ok(Err(error)) = built {
            tracing::warn!(%error, "status lists could not be signed in advance");
        }
    }

    /// Reads the key ring anew and does what is due, and tells the other nodes that this one is there.
    ///
    /// # Errors
    /// When the store, the keys or the audit log fail, or this node's clock is off; the next round tries again.
    pub async fn rotate(&self) -> Result<(), StartError> {
        let rotated = self.rotate_keys().await;
        self.announce().await?;
        rotated
    }

    /// Tells the other nodes that this one is there. That the store acknowledges it is what lets this node issue for P.
    async fn announce(&self) -> Result<(), StartError> {
        let services = &self.state.services;
        let began = services.clock.monotonic();
        services.nodes.announce().await?;
        services.fitness.acknowledged(began);
        Ok(())
    }

    async fn rotate_keys(&self) -> Result<(), StartError> {
        let services = &self.state.services;
        // What could not be recorded is owed until it is.
        let mut owed = self.unrecorded.lock().await;
        match services.keys.tick().await {
            Ok(events) => owed.signing.extend(events),
            // The first in a row is told; the log and the metrics count the rest.
            Err(error)
                if !matches!(
                    services.keys.health(),
                    Health::Amber { failures: 1 } | Health::Red { failures: 1 }
                ) =>
            {
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

    /// Tells clients that sessions have ended, as far as that is due; see [`protocol::send_logouts`].
    ///
    /// # Errors
    /// When the store fails; what is due stays so.
    pub async fn send_logouts(&self) -> Result<Vec<JoinHandle<()>>, ProtocolError> {
        protocol::send_logouts(&self.state.services).await
    }

    /// Says once that the disk is getting full, and once that there is room again.
    fn watch_disk(&self) {
        let Some(room) = self.state.services.store.room() else { return };
        let low = room.is_low();
        if self.told_low.swap(low, Ordering::Relaxed) == low {
            return;
        }
        let Room { free, size, kept_free } = room;
        if low {
            tracing::warn!(
                free,
                size,
                "the disk is getting full; with less than {kept_free} bytes free nothing is written"
            );
        } else {
            tracing::info!(free, size, "there is room on the disk again");
        }
    }

    /// Finds out whether the audit log can be written again: a service that says it is not ready is asked for nothing else that
    /// would show it.
    async fn resume_audit(&self) {
        let audit = &self.state.services.audit;
        if audit.is_writable() {
            return;
        }
        let event =
            Event::new(EventKind::AuditResumed, Actor::Service).detail("unrecorded", audit.failures());
        if let Err(error) = audit.record(event).await {
            tracing::error!(%error, "the audit log still can't be written");
        }
    }

    /// One round of housekeeping: keeps a spare status list and a signed copy of each, removes what has ended. By a clock that is
    /// off nothing has.
    ///
    /// # Errors
    /// When the store fails; the next round tries again.
    pub async fn tidy(&self) -> Result<(), StartError> {
        let services = &self.state.services;
        self.watch_disk();
        self.resume_audit().await;
        self.refuse_unfinished().await?;
        services.status_indexes.replenish().await?;
        self.seen.again(services.store.as_ref(), services.clock.as_ref()).await?;
        if !services.fitness.is_clock_off() {
            services.status_lists.drop_ended();
            services.status.drop_ended();
            services.revocations.drop_ended().await;
        }
        self.build_status_lists().await;
        services.limits.sweep();
        services.logout_deliveries.note_waiting(services.logouts.count().await?);
        if services.fitness.is_clock_off() {
            return Ok(());
        }
        while services.store.sweep(services.clock.now(), SWEEP).await? == SWEEP {}
        Ok(())
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
    Ok(KeyRingParts { store, vault, kek, policy, clock, fitness })
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
