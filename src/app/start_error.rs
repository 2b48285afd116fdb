use super::agreement::Disagreement;
use crate::audit::AuditError;
use crate::backup::BackupError;
use crate::clients::ClientError;
use crate::keys::{ClockOff, DataKeyError, KekError, KeyRingError, UnsafePolicy, VaultError};
use crate::oauth::InvalidId;
use crate::outgoing::OutgoingError;
use crate::store::StoreError;

/// The service can't be put together.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The keys' settings could make a valid token fail.
    #[error(transparent)]
    Policy(#[from] UnsafePolicy),
    /// The keys can't be used.
    #[error(transparent)]
    Keys(#[from] KeyRingError),
    /// This machine's clock is off: whatever it dated would count too long or too short.
    #[error(transparent)]
    ClockOff(#[from] ClockOff),
    /// The data key can't be used.
    #[error(transparent)]
    DataKey(#[from] DataKeyError),
    /// The key-encryption key can't be had.
    #[error(transparent)]
    Kek(#[from] KekError),
    /// The directory of the sealed keys can't be used.
    #[error("keys.dir: {0}")]
    KeysDir(#[source] VaultError),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store can't be opened.
    #[error("{place}: {source}")]
    StoreAt {
        /// The setting that names it.
        place: String,
        /// What went wrong.
        source: StoreError,
    },
    /// There is nothing to work on.
    #[error("{place} holds no installation; start the service once first")]
    NoInstallation {
        /// Where it was looked for.
        place: String,
    },
    /// The store holds half of an installation.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The store is another service's, or its nodes have other settings.
    #[error(transparent)]
    Disagreement(#[from] Disagreement),
    /// Outgoing requests can't be made.
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
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
