//! What ID tokens and logout tokens are signed with.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};

use super::{ProtocolError, Services};
use crate::clients::Client;
use crate::keys::{NoKey, SigningKey, Waiting};
use crate::oauth::Algorithm;

impl Services {
    /// The key of the client's ID tokens: by the algorithm that it registered, else by RS256 (OpenID Connect Registration 1.0,
    /// section 2), else as everything is signed.
    ///
    /// There is none where the registered algorithm does not sign, be it that it is in use no more, be it that it has come back
    /// and waits: the client holds ID tokens to it (OpenID Connect Core 1.0, section 3.1.3.7), and only a person can register
    /// another.
    ///
    /// # Errors
    /// When no key may sign.
    pub(super) fn id_token_key(&self, client: &Client) -> Result<Option<Arc<SigningKey>>, NoKey> {
        let key = self.logout_token_key(client)?;
        let is_kept = |promised: Algorithm| key.algorithm() == promised;
        Ok(client.id_token_signed_response_alg.is_none_or(is_kept).then_some(key))
    }

    /// Refuses to promise a client ID tokens by an algorithm that nothing is signed with yet: from that moment on it would get
    /// none.
    pub(super) fn may_promise(&self, algorithm: Option<Algorithm>) -> Result<(), ProtocolError> {
        match self.wait_for(algorithm) {
            None => Ok(()),
            Some(wait) => Err(ProtocolError::invalid_request(format!(
                "id_token_signed_response_alg: {wait}; register it then"
            ))),
        }
    }

    /// What a client is told whose ID tokens have no key: for whoever administers it.
    pub(super) fn no_id_token(&self, client: &Client) -> ProtocolError {
        let algorithm = client.id_token_signed_response_alg;
        let reason = self.wait_for(algorithm).unwrap_or_else(|| {
            let algorithm = algorithm.map_or("none", Algorithm::as_str);
            format!("the client is registered for {algorithm}, which is not in use; register another id_token_signed_response_alg for it")
        });
        ProtocolError::invalid_scope(format!("no ID token can be issued: {reason}"))
    }

    /// Until when `algorithm` waits, in words, if it does.
    fn wait_for(&self, algorithm: Option<Algorithm>) -> Option<String> {
        let Waiting { algorithm, sign_from } =
            self.keys.waiting().into_iter().find(|waiting| Some(waiting.algorithm) == algorithm)?;
        let date = sign_from.and_then(|date| DateTime::from_timestamp(date, 0));
        Some(match date {
            Some(date) => format!(
                "{algorithm} waits until every verifier knows its key, until {}",
                date.to_rfc3339_opts(SecondsFormat::Secs, true)
            ),
            None => format!("{algorithm} waits until its first key is made and every verifier knows it"),
        })
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
