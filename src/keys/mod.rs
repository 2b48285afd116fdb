//! The signing keys: made, sealed, published, used, replaced and forgotten without breaking anyone.
//!
//! A key is a record of dates ([`KeyRecord`]); its phase is computed, never stored. What has to happen is
//! a pure function of records, policy and time ([`schedule`], [`intervene`]); [`KeyRing`] carries it out
//! by one conditional commit to the store, and serves signing and verification keys from memory. Private
//! halves are the vault's ([`KeyVault`]), sealed under a key-encryption key.
//!
//! What is promised: while clocks differ by no more than S and every node loads a change within P, no valid
//! token is refused by a verifier that keeps a JWKS for its `max-age`, save those of a compromised key. A
//! clock that is set back makes no key and drops none. A clock that is set *forward* by more than S breaks
//! the promise: dates come too early, and nobody can tell.

mod archive;
mod bootstrap;
mod change;
mod choice;
mod condemn;
mod data_key;
mod delayed;
mod directory;
mod draft;
mod error;
mod fetchers;
mod fitness;
pub mod forecast;
mod import;
mod in_vault;
pub mod intervene;
mod kek;
mod operations;
mod policy;
mod record;
mod rekey;
mod report;
mod rfc3339;
mod ring;
pub mod schedule;
mod seal;
mod sealed_ring;
mod sealing;
mod signer;
#[cfg(test)]
mod simulation;
mod snapshot;
mod software;
mod store_vault;
mod unrecorded;
mod vault;

pub use archive::{ArchiveError, ArchiveReader, ArchiveWriter};
pub use change::KeyEvent;
pub use choice::Waiting;
pub use condemn::{Condemned, forget_sealing_keys, keys_named, keys_needed, ring_row, was_published};
pub use data_key::{DataKey, DataKeyError, Digests};
pub use directory::DirectoryVault;
pub use error::KeyRingError;
pub use fitness::{Begun, ClockOff, DATED_AHEAD, Fitness, Unfit};
pub use import::{UnreadableKey, read_private_key};
#[cfg(test)]
pub(crate) use kek::silent::SilentModule;
pub use kek::{Kek, KekError, KekId, KekUnavailable, ModuleError, ModuleKeyInfo, make_module_key};
pub use policy::{Policy, UnsafePolicy};
pub use record::{End, KeyRecord, KeyRingRecord, LoweredMaxAge, Origin, Phase, PrivateHalf, PromisedMaxAge};
pub use rekey::{Rekey, RekeyError, Rekeyed, rekey};
pub use report::{Compromised, Imported, KeyList, KeyView, Rotated, Rotations};
pub use ring::{Health, KeyRing, KeyRingParts};
pub use seal::{SealedKey, UnsealError};
pub use sealed_ring::RingUnreadable;
pub use sealing::{SealError, SealingEvent, SealingKeyId, SealingKeyView, SealingKeys, SealingParts};
pub use signer::{SelfTestFailed, SignError, Signer, self_test};
pub use snapshot::{JwksDocument, NoKey, ServedJwks, SigningKey};
pub use software::{SoftwareSigner, UnusableKey};
pub use store_vault::StoreVault;
pub use unrecorded::{Owed, Recording, Unrecorded};
pub use vault::{KeyVault, SealedVault, StoredKey, StoredState, VaultError};

use crate::store::Table;

/// Every table of this room but [`VAULT_TABLE`].
pub const TABLES: [Table; 2] = [sealed_ring::TABLE, data_key::TABLE];

/// Where a [`StoreVault`] keeps its keys: they are the vault's, whatever kind of vault it is.
pub const VAULT_TABLE: Table = store_vault::TABLE;
