use std::sync::Arc;

use zeroize::Zeroizing;

use super::RefreshError;
use crate::keys::{SealError, SealingKeys};

/// Seals what this service hands out and reads back itself. A text opens only for the purpose that it was sealed
/// for; whoever holds it can neither read nor change it. When it ends is the caller's to put inside.
#[derive(Clone, Debug)]
pub struct Sealer {
    keys: Arc<SealingKeys>,
}

impl Sealer {
    /// A sealer that works with `keys`.
    #[must_use]
    pub fn new(keys: Arc<SealingKeys>) -> Self {
        Self { keys }
    }

    /// Seals `plaintext` as a base64url text; two calls give two texts.
    ///
    /// # Errors
    /// When no key may seal now.
    pub fn seal(&self, purpose: &'static str, plaintext: &[u8]) -> Result<String, SealError> {
        self.keys.seal(purpose, plaintext)
    }

    /// Seals `plaintext` so that equal ones give equal texts, as long as one key seals.
    pub(super) fn seal_repeatably(
        &self,
        purpose: &'static str,
        plaintext: &[u8],
    ) -> Result<String, SealError> {
        self.keys.seal_repeatably(purpose, plaintext)
    }

    /// What was sealed for `purpose`, or nothing: another purpose, a changed text, a key that is gone.
    ///
    /// # Errors
    /// When this node does not know for too long which keys are gone.
    pub fn open(&self, purpose: &'static str, text: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SealError> {
        self.keys.open_sealed(purpose, text)
    }

    /// As [`SealingKeys::open_as_last_known`].
    pub(super) fn open_as_last_known(&self, purpose: &'static str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.keys.open_as_last_known(purpose, text)
    }

    /// The same as [`Self::open`], also where another node sealed it with a key of which this one has not heard yet: to call that nothing would end
    /// what is good, or leave what was to end.
    ///
    /// # Errors
    /// As [`Self::open`], and when it can't be found out whether there is such a key.
    pub(super) async fn open_of_any_node(
        &self,
        purpose: &'static str,
        text: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, RefreshError> {
        self.keys.look_for_key_of(text).await?;
        Ok(self.open(purpose, text)?)
    }
}
