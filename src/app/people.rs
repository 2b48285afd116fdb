use std::sync::Arc;

use super::Ground;
use super::agreement::Agreement;
use crate::config::Config;
use crate::keys::{DataKey, Fitness};
use crate::limits::Limits;
use crate::store::Nodes;
use crate::users::{
    Accounts, Allowance, ApiKeyLimit, ApiKeys, Consents, LoginThrottle, LogoutQueue, PasswordHasher,
    SecondFactors, Sessions,
};

/// What keeps the people, and how often anybody may do what.
pub(super) struct People {
    pub(super) accounts: Accounts,
    pub(super) sessions: Sessions,
    pub(super) logouts: Arc<LogoutQueue>,
    pub(super) second_factors: SecondFactors,
    pub(super) consents: Consents,
    pub(super) allowance: Allowance,
    pub(super) api_keys: ApiKeys,
    pub(super) api_key_limit: ApiKeyLimit,
    pub(super) nodes: Arc<Nodes>,
    pub(super) login_throttle: LoginThrottle,
    pub(super) limits: Arc<Limits>,
}

impl People {
    /// What the settings make it of. The data key seals their second factors.
    pub(super) fn new(config: &Config, ground: &Ground, data_key: DataKey, fitness: Arc<Fitness>) -> Self {
        let Ground { store, clock, entropy } = ground.clone();
        let chance = (clock.clone(), entropy.clone());
        let passwords = &config.passwords;
        let hasher = PasswordHasher::new(passwords.cost, passwords.hashing_permits, chance.clone());
        let limits = Arc::new(Limits::new(&config.limits, &clock));
        let start = entropy.token::<9>();
        let nodes = Nodes::new(store.clone(), clock.clone(), (&config.node, &start));
        let nodes = Arc::new(nodes.with_settings(Agreement::of(config).must_agree()));
        let logouts = Arc::new(LogoutQueue::new(store.clone(), clock.clone(), entropy.clone()));
        Self {
            accounts: Accounts::new(store.clone(), clock.clone(), entropy.clone(), hasher),
            sessions: Sessions::new(&config.sessions, store.clone(), chance, logouts.clone()),
            logouts,
            second_factors: SecondFactors::new(
                config.issuer_host(),
                store.clone(),
                data_key,
                clock.clone(),
                entropy.clone(),
            ),
            consents: Consents::new(store.clone(), clock.clone()),
            allowance: Allowance::new(config.people.made_per_day, store.clone(), clock.clone()),
            api_keys: ApiKeys::new(store.clone(), clock.clone(), entropy.clone()),
            api_key_limit: ApiKeyLimit::new(
                store.clone(),
                clock.clone(),
                limits.clone(),
                (nodes.clone(), fitness),
            ),
            nodes,
            login_throttle: LoginThrottle::new(store, clock, entropy, limits.clone()),
            limits,
        }
    }
}
