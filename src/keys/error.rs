use super::fitness::ClockOff;
use super::import::UnreadableKey;
use super::intervene::Refusal;
use super::kek::KekUnavailable;
use super::seal::UnsealError;
use super::sealed_ring::RingUnreadable;
use super::vault::VaultError;
use crate::store::StoreError;

/// The ring can't be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault fails, or a key that signs or waits is missing from it.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The ring can't be read.
    #[error(transparent)]
    Unreadable(#[from] RingUnreadable),
    /// Nothing can be sealed now.
    #[error(transparent)]
    Kek(#[from] KekUnavailable),
    /// There are sealed keys, but no ring that names them.
    #[error(
        "the store has no key ring, but the vault holds {keys} sealed keys: restore the store from a backup; only if \
         every token may become invalid, move the keys away and start anew"
    )]
    RingLost {
        /// How many.
        keys: usize,
    },
    /// What was asked for is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What was brought in is no key that can be used.
    #[error(transparent)]
    UnreadableKey(#[from] UnreadableKey),
    /// This node's clock is off: by its dates it would make, retire and destroy keys at the wrong time.
    #[error(transparent)]
    ClockOff(#[from] ClockOff),
    /// Other nodes changed the ring at every attempt.
    #[error("other nodes keep changing the key ring; try again in a moment")]
    Contended,
    /// A task was stopped with the process.
    #[error("the process is stopping")]
    Stopping,
}

impl KeyRingError {
    /// Whether it is no more than that a private half, or the key-encryption key, is not to be had now. What other nodes have done is
    /// known all the same: the ring was read and is in use, and sealing keys that could not be opened grow old by themselves.
    #[must_use]
    pub fn is_of_vault(&self) -> bool {
        match self {
            // Whoever asks again in a moment may find it there.
            Self::Vault(VaultError::Store(_)) => false,
            Self::Vault(_) => true,
            _ => self.is_of_kek(),
        }
    }

    /// Whether it is the key-encryption key that is not to be had now: its module fails.
    #[must_use]
    pub fn is_of_kek(&self) -> bool {
        match self {
            Self::Kek(_) | Self::Unreadable(RingUnreadable::Kek(_)) => true,
            Self::Vault(error) => {
                matches!(error, VaultError::Kek(_) | VaultError::Unseal { reason: UnsealError::Kek(_), .. })
            }
            _ => false,
        }
    }
}
