use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, SHA384, SHA512, digest};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Grant, IssueError};
use crate::keys::SigningKey;
use crate::oauth::{Algorithm, SessionId, SignedToken, TokenType};

/// Issues ID tokens (OpenID Connect Core, section 2).
pub struct IdTokens {
    issuer: String,
    lifetime: i64,
}

/// What an ID token says.
#[derive(Clone, Debug)]
pub struct NewIdToken<'a> {
    /// What the person let the client do, and how they proved who they are.
    pub grant: &'a Grant,
    /// What the client wants to find in it: its own in answer to a code, none in answer to a refresh token
    /// (OpenID Connect Core, section 12.2).
    pub nonce: Option<&'a str>,
    /// The access token that is issued beside it.
    pub access_token: Option<&'a SignedToken>,
    /// Signed with.
    pub key: &'a SigningKey,
    /// When it is issued, in seconds since the epoch.
    pub issued_at: i64,
    /// What else it says of the person; the claims that the token itself has are left out.
    pub claims: Map<String, Value>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: i64,
    iat: i64,
    auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    amr: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_hash: Option<String>,
    #[serde(flatten)]
    person: Map<String, Value>,
}

/// The claims that an ID token has by itself: nothing that is known of a person may stand in their place.
const OWN: [&str; 14] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "auth_time",
    "nonce",
    "acr",
    "amr",
    "azp",
    "sid",
    "at_hash",
];

impl IdTokens {
    /// An issuer of ID tokens that name `issuer` and live for `lifetime` seconds.
    #[must_use]
    pub fn new(issuer: String, lifetime: i64) -> Self {
        Self { issuer, lifetime }
    }

    /// Issues an ID token for the grant's client alone, so without `azp`.
    ///
    /// # Errors
    /// When the key fails, or is about to be forgotten.
    pub fn issue(&self, new: NewIdToken<'_>) -> Result<SignedToken, IssueError> {
        let key = new.key;
        let exp = (new.issued_at + self.lifetime).min(key.latest_exp(new.issued_at));
        if exp <= new.issued_at {
            return Err(IssueError::KeyEnds);
        }
        let mut person = new.claims;
        person.retain(|name, _| !OWN.contains(&name.as_str()));
        let claims = Claims {
            iss: &self.issuer,
            sub: new.grant.subject.as_str(),
            aud: new.grant.client_id.as_str(),
            exp,
            iat: new.issued_at,
            auth_time: new.grant.auth_time,
            nonce: new.nonce,
            acr: new.grant.acr.as_deref(),
            amr: &new.grant.amr,
            sid: new.grant.sid.as_ref(),
            at_hash: new.access_token.map(|token| left_half(key.algorithm(), token.expose())),
            person,
        };
        Ok(SignedToken::new(super::jws::sign(key, TokenType::IdToken, &claims)?))
    }
}

/// The left half of the digest that the signature algorithm uses (OpenID Connect Core, section 3.1.3.6); Ed25519
/// uses SHA-512.
fn left_half(algorithm: Algorithm, text: &str) -> String {
    let digested = match algorithm {
        Algorithm::ES256 | Algorithm::RS256 | Algorithm::PS256 => digest(&SHA256, text.as_bytes()),
        Algorithm::ES384 => digest(&SHA384, text.as_bytes()),
        Algorithm::EdDSA => digest(&SHA512, text.as_bytes()),
    };
    let bytes = digested.as_ref();
    URL_SAFE_NO_PAD.encode(&bytes[..bytes.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_hash_is_the_left_half_of_the_digest() {
        // The example of OpenID Connect Core, appendix A.4.
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(left_half(Algorithm::RS256, token), "77QmUPtjPfzWtF2AnpK9RQ");
        assert_eq!(left_half(Algorithm::ES384, token).len(), 32);
        assert_eq!(left_half(Algorithm::EdDSA, token).len(), 43);
    }
}
