//! What ID tokens and logout tokens are signed with.

use std::sync::Arc;

use super::{ProtocolError, Services};
use crate::clients::Client;
use crate::keys::{NoKey, SigningKey};
use crate::oauth::Algorithm;

impl Services {
    /// The key of the client's ID tokens: by the algorithm that it registered, else by RS256 (OpenID Connect Registration 1.0,
    /// section 2), else as everything is signed.
    ///
    /// There is none where the registered algorithm is in use no more and signs no more: the client holds ID tokens to it
    /// (OpenID Connect Core 1.0, section 3.1.3.7), and only a person can register another. One that is in use and only waits
    /// can't be what the client has got so far, so until its key signs the client gets what it would without.
    ///
    /// # Errors
    /// When no key may sign.
    pub(super) fn id_token_key(&self, client: &Client) -> Result<Option<Arc<SigningKey>>, NoKey> {
        let key = self.logout_token_key(client)?;
        let in_use = self.keys.policy().algorithms();
        let is_kept = |promised: Algorithm| key.algorithm() == promised || in_use.contains(&promised);
        Ok(client.id_token_signed_response_alg.is_none_or(is_kept).then_some(key))
    }

    /// The key of logout tokens to the client: that of its ID tokens (OpenID Connect Back-Channel Logout 1.0, section 2.4), but
    /// never none. A client that takes no other algorithm is no worse off for one that it refuses, any other learns that the
    /// session has ended.
    ///
    /// # Errors
    /// When no key may sign.
    pub(super) fn logout_token_key(&self, client: &Client) -> Result<Arc<SigningKey>, NoKey> {
        let usual = Some(Algorithm::RS256);
        self.keys.signing_key([client.id_token_signed_response_alg, usual].into_iter().flatten())
    }
}

/// What a client is told whose ID tokens have no key: for whoever administers it.
pub(super) fn no_id_token(client: &Client) -> ProtocolError {
    let algorithm = client.id_token_signed_response_alg.map_or("none", Algorithm::as_str);
    ProtocolError::invalid_scope(format!(
        "no ID token can be issued: the client is registered for {algorithm}, which is not in use; \
         register another id_token_signed_response_alg for it"
    ))
}
