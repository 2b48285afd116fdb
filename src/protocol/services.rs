use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use super::{LogoutDeliveries, Silence};
use crate::audit::AuditLog;
use crate::clients::{ClientRegistry, Resources};
use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::keys::{Digests, Fitness, KeyRing, SealingKeys};
use crate::limits::Limits;
use crate::oauth::Secret;
use crate::store::{Nodes, Store};
use crate::tokens::{
    AccessTokens, Codes, Families, IdTokens, LogoutTokens, RefreshTokens, Revocations, Sealer,
};
use crate::tokens::{StatusIndexes, StatusLists, StatusPublisher};
use crate::users::{
    Accounts, Allowance, ApiKeyLimit, ApiKeys, Consents, LoginThrottle, LogoutQueue, SecondFactors, Sessions,
};

/// Everything the protocol works with.
pub struct Services {
    /// The issuer's identifier.
    pub issuer: String,
    /// The time.
    pub clock: SharedClock,
    /// Chance.
    pub entropy: SharedEntropy,
    /// What must be remembered.
    pub store: Arc<dyn Store>,
    /// The signing keys.
    pub keys: Arc<KeyRing>,
    /// The registered clients.
    pub clients: ClientRegistry,
    /// The resource servers.
    pub resources: Resources,
    /// The people's accounts.
    pub accounts: Accounts,
    /// Who is signed in.
    pub sessions: Sessions,
    /// Who is still to be told that a session has ended.
    pub logouts: Arc<LogoutQueue>,
    /// How people sign in besides their passwords.
    pub second_factors: SecondFactors,
    /// What people let clients do.
    pub consents: Consents,
    /// Who may try a password.
    pub login_throttle: LoginThrottle,
    /// How much a person may make.
    pub allowance: Allowance,
    /// The API keys.
    pub api_keys: ApiKeys,
    /// How many requests an API key may make.
    pub api_key_limit: ApiKeyLimit,
    /// The nodes of this installation.
    pub nodes: Arc<Nodes>,
    /// How many requests are let through.
    pub limits: Arc<Limits>,
    /// Issues access tokens.
    pub access_tokens: AccessTokens,
    /// Authorization codes.
    pub codes: Codes,
    /// Refresh tokens.
    pub refresh_tokens: RefreshTokens,
    /// What was issued for one code.
    pub families: Arc<Families>,
    /// Issues ID tokens.
    pub id_tokens: IdTokens,
    /// Issues logout tokens.
    pub logout_tokens: LogoutTokens,
    /// Sends them.
    pub logout_deliveries: LogoutDeliveries,
    /// Revokes tokens.
    pub revocations: Arc<Revocations>,
    /// Where tokens take their place for revocation.
    pub status_indexes: Arc<StatusIndexes>,
    /// The status lists.
    pub status_lists: Arc<StatusLists>,
    /// Publishes them.
    pub status: StatusPublisher,
    /// Seals what this service reads back itself.
    pub sealer: Sealer,
    /// What it seals with.
    pub sealing_keys: Arc<SealingKeys>,
    /// Whether this node may issue anything.
    pub fitness: Arc<Fitness>,
    /// What stands for personal data where that itself must not stand.
    pub digests: Digests,
    /// Remembers security-relevant acts.
    pub audit: Arc<AuditLog>,
    /// Who takes a copy has it.
    pub copying: Arc<Semaphore>,
    /// For how long the store has not answered.
    pub store_silence: Silence,
    /// Whether the service is on its way out.
    pub stopping: AtomicBool,
}

impl Services {
    /// From now on this node is not ready: whoever balances load sends requests elsewhere.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// A new value for the cookie that ties forms to a browser: 256 random bits.
    #[must_use]
    pub fn new_holder(&self) -> Secret {
        Secret::new(self.entropy.token::<32>())
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
