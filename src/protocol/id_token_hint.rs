use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Services;
use crate::oauth::{Algorithm, ClientId, KeyId, SessionId, Subject};

/// The longest hint that is looked at, in bytes.
const LONGEST: usize = 8 * 1024;

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

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: KeyId,
    typ: String,
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
        if token.len() > LONGEST {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Header = decode(header)?;
        let (published, past) = (self.keys.key_set(), self.keys.past_keys());
        let key = published.find(&header.kid).or_else(|| past.find(&header.kid))?;
        // The type tells it from the other tokens that these keys sign (RFC 8725, section 3.11).
        let fits = header.alg.parse::<Algorithm>().is_ok_and(|alg| alg == key.algorithm());
        if !fits || !header.typ.eq_ignore_ascii_case("JWT") {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if !key.verifies(signed.as_bytes(), &signature) {
            return None;
        }
        decode::<IdTokenHint>(payload).filter(|hint| hint.iss == self.issuer)
    }
}

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
