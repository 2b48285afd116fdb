//! The sealing keys: AES-256-GCM, never published, for refresh tokens, cookies and the state of forms.
//!
//! A key is dates, as a signing key is; who seals is computed. All of them are one row of the store, sealed as a
//! whole under the key-encryption key and changed by a conditional commit.

mod record;
mod row;
mod sealer;
mod sealing_keys;
#[cfg(test)]
mod tests;

pub use record::{SealingKeyId, SealingKeyView};
pub use sealer::SealError;
pub use sealing_keys::{SealingEvent, SealingKeys, SealingParts};

pub(super) use row::{TABLE_KEY, reseal};
