use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::claims::numeric_date;
use super::{ClientId, KeyId, Subject};

/// The `status` claim of a token (draft-ietf-oauth-status-list, section 6.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusClaim {
    /// Where in which list the token stands.
    pub status_list: StatusReference,
}

/// A token's place in a status list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReference {
    /// The index of the token's bit.
    pub idx: u64,
    /// The URI of the list.
    pub uri: String,
}

/// The claims of a status list token (draft-ietf-oauth-status-list, section 5.1), with one claim of
/// Signet's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusListClaims {
    /// The issuer's identifier.
    pub iss: String,
    /// The URI of the list: equal to `uri` in the tokens that refer to it.
    pub sub: String,
    /// When the list was signed, in seconds since the epoch.
    #[serde(deserialize_with = "numeric_date")]
    pub iat: i64,
    /// After this the list must not be used, in seconds since the epoch.
    #[serde(deserialize_with = "numeric_date")]
    pub exp: i64,
    /// For how many seconds a copy may be used before a new one is fetched.
    pub ttl: u64,
    /// The bits.
    pub status_list: StatusList,
    /// Whose tokens are revoked as a whole; not part of the draft, ignored by those who don't know it.
    #[serde(default, skip_serializing_if = "RevokedBefore::is_empty")]
    pub revoked_before: RevokedBefore,
}

/// The compressed bits of a list (draft-ietf-oauth-status-list, section 4.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusList {
    /// How many bits a token has; Signet uses 1: 0 is valid, 1 is revoked.
    pub bits: u8,
    /// The bits in DEFLATE with the ZLIB format, as base64url without padding.
    pub lst: String,
}

/// Revocations of everything that was issued before a time: to a client, for a subject, to a client for a subject, or by a key.
///
/// Clients, subjects and the two together are named by the first 128 bits of a SHA-256 digest, so that the public list
/// tells whom it concerns only to those who hold one of their tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedBefore {
    /// Digest of a `client_id` → tokens with this `iat` or an earlier one are revoked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clients: BTreeMap<String, i64>,
    /// Digest of a `sub` → tokens with this `iat` or an earlier one are revoked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub subjects: BTreeMap<String, i64>,
    /// Digest of a `client_id` and a `sub` → what the client was issued for the subject, with this `iat` or an earlier one, is
    /// revoked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grants: BTreeMap<String, i64>,
    /// Keys that were compromised: nothing signed with them counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyId>,
}

impl RevokedBefore {
    /// Whether nothing is revoked here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.subjects.is_empty() && self.grants.is_empty() && self.keys.is_empty()
    }

    /// The name under which a client stands in [`RevokedBefore::clients`].
    #[must_use]
    pub fn client_name(client_id: &ClientId) -> String {
        WholeName::client(client_id).to_string()
    }

    /// The name under which a subject stands in [`RevokedBefore::subjects`].
    #[must_use]
    pub fn subject_name(subject: &Subject) -> String {
        WholeName::subject(subject).to_string()
    }

    /// The name under which what a client holds for a subject stands in [`RevokedBefore::grants`].
    #[must_use]
    pub fn grant_name(client_id: &ClientId, subject: &Subject) -> String {
        WholeName::grant(client_id, subject).to_string()
    }

    /// Whether a token signed by `kid` is revoked as part of a whole.
    #[must_use]
    pub fn covers(&self, kid: &KeyId, client_id: &ClientId, subject: &Subject, iat: i64) -> bool {
        let before = |cutoff: Option<&i64>| cutoff.is_some_and(|cutoff| iat <= *cutoff);
        self.keys.contains(kid)
            || (!self.clients.is_empty() && before(self.clients.get(&Self::client_name(client_id))))
            || (!self.subjects.is_empty() && before(self.subjects.get(&Self::subject_name(subject))))
            || (!self.grants.is_empty() && before(self.grants.get(&Self::grant_name(client_id, subject))))
    }
}

/// The name of a client, of a subject, or of the two together in [`RevokedBefore`]: the first 128 bits of a SHA-256 digest.
/// As text it is base64url without padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WholeName([u8; 16]);

impl WholeName {
    /// That of a client.
    #[must_use]
    pub fn client(client_id: &ClientId) -> Self {
        Self::of(&["signet:client:", client_id.as_str()])
    }

    /// That of a subject.
    #[must_use]
    pub fn subject(subject: &Subject) -> Self {
        Self::of(&["signet:subject:", subject.as_str()])
    }

    /// That of what a client holds for a subject.
    #[must_use]
    pub fn grant(client_id: &ClientId, subject: &Subject) -> Self {
        // No identifier of a client has a slash.
        Self::of(&["signet:grant:", client_id.as_str(), "/", subject.as_str()])
    }

    /// The digest's bytes, each as likely as any other.
    #[must_use]
    pub fn bytes(&self) -> [u8; 16] {
        self.0
    }

    fn of(text: &[&str]) -> Self {
        let mut digest = Context::new(&SHA256);
        for part in text {
            digest.update(part.as_bytes());
        }
        let mut name = [0; 16];
        name.copy_from_slice(&digest.finish().as_ref()[..16]);
        Self(name)
    }
}

impl fmt::Display for WholeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}
