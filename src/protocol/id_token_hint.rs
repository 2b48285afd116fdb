use serde::Deserialize;

use super::Services;
use crate::oauth::{ClientId, SessionId, Subject};
use crate::verify::{KeySet, id_token_claims};

/// What counts of an ID token that comes back as a hint. It says whom the client means; it proves nothing about who
/// sends it.
#[derive(Clone, Debug, Deserialize)]
pub struct IdTokenHint {
    iss: String,
    /// Whom it was issued about.
    pub sub: Subject,
    aud: Audience,
    /// In which session.
    #[serde(default)]
    pub sid: Option<SessionId>,
}

/// The client or clients it was issued to.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(ClientId),
    Many(Vec<ClientId>),
}

impl IdTokenHint {
    /// Whether it was issued to that client.
    #[must_use]
    pub fn is_for(&self, client_id: &ClientId) -> bool {
        match &self.aud {
            Audience::One(client) => client == client_id,
            Audience::Many(clients) => clients.contains(client_id),
        }
    }

    /// Whom it was issued to, if that is one client.
    #[must_use]
    pub fn client(&self) -> Option<&ClientId> {
        match &self.aud {
            Audience::One(client) => Some(client),
            Audience::Many(clients) => {
                if let [client] = clients.as_slice() {
                    Some(client)
                } else {
                    None
                }
            }
        }
    }
}

impl Services {
    /// The hint, if it is an ID token that this issuer signed with a key it remembers: one that is published, or was, for
    /// as long as somebody may be signed in who was then. It may have ended: a hint is most often given when it has (OpenID
    /// Connect Core 1.0, section 3.1.2.1). What a compromised key signed is none.
    #[must_use]
    pub fn id_token_hint(&self, token: &str) -> Option<IdTokenHint> {
        let (published, past) = (self.keys.key_set(), self.keys.past_keys());
        let read = |keys: &KeySet| id_token_claims::<IdTokenHint>(token, keys).ok();
        read(&published).or_else(|| read(&past)).filter(|hint| hint.iss == self.issuer)
    }
}
