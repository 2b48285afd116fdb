use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};

use super::{KeySet, Refusal};
use crate::oauth::{AccessTokenClaims, Algorithm, KeyId, Resource, StatusListClaims, TokenType};

/// The longest access token that is looked at, in bytes.
pub const MAX_ACCESS_TOKEN_LENGTH: usize = 8 * 1024;

/// The longest ID token that is looked at when it comes back as a hint, in bytes.
#[cfg(feature = "server")]
const MAX_ID_TOKEN_LENGTH: usize = 8 * 1024;

/// The longest status list token that is looked at, in bytes.
pub const MAX_STATUS_LIST_LENGTH: usize = 8 * 1024 * 1024;

/// What an access token is measured by.
#[derive(Clone, Copy, Debug)]
pub struct Expectations<'a> {
    /// The issuer's identifier; `iss` must equal it letter for letter.
    pub issuer: &'a str,
    /// Whom the token must be for.
    pub audience: ExpectedAudience<'a>,
    /// By how much the issuer's clock and ours may differ.
    pub leeway: Duration,
    /// The time, in seconds since the epoch.
    pub now: i64,
}

/// Whom a token must be for.
#[derive(Clone, Copy, Debug)]
pub enum ExpectedAudience<'a> {
    /// One of these, compared as text. None of them is nobody.
    AnyOf(&'a [Resource]),
    /// Anyone: for the issuer's own introspection, not for a resource server.
    Anyone,
}

/// An access token that passed [`check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it says.
    pub claims: AccessTokenClaims,
    /// The key that signed it.
    pub kid: KeyId,
}

/// Checks an access token: form, type, signature, issuer, audience and times (RFC 9068, section 4;
/// RFC 8725, section 3). Pure: no I/O, no clock.
///
/// Does not check revocation and does not check scope: ask the status list, and
/// [`AccessTokenClaims::permits`].
///
/// ```
/// use signet::verify::{Expectations, ExpectedAudience, KeySet, Refusal, check};
///
/// let expected = Expectations {
///     issuer: "https://auth.example",
///     audience: ExpectedAudience::Anyone,
///     leeway: std::time::Duration::from_secs(60),
///     now: 1_700_000_000,
/// };
/// assert_eq!(check("not a token", &expected, &KeySet::default()), Err(Refusal::Malformed));
/// ```
///
/// # Errors
/// The first thing found wrong; nothing that the claims say is believed before the signature is.
pub fn check(token: &str, expected: &Expectations<'_>, keys: &KeySet) -> Result<Verified, Refusal> {
    Compact::access_token(token)?.check(expected, keys)
}

/// The claims of an ID token that one of `keys` signed, read as strictly as an access token is. Checks neither issuer nor audience
/// nor times.
///
/// # Errors
/// The first thing found wrong.
#[cfg(feature = "server")]
pub(crate) fn id_token_claims<T: DeserializeOwned>(token: &str, keys: &KeySet) -> Result<T, Refusal> {
    Compact::parse(token, TokenType::IdToken, MAX_ID_TOKEN_LENGTH)?.verified_claims(keys)
}

/// A compact JWS (RFC 7515, section 7.1) whose form and header are in order. Nothing in it is proven.
#[derive(Debug)]
pub(super) struct Compact<'t> {
    signing_input: &'t str,
    payload: &'t str,
    signature: &'t str,
    algorithm: Algorithm,
    kid: KeyId,
}

impl<'t> Compact<'t> {
    /// Takes an access token apart.
    pub(super) fn access_token(token: &'t str) -> Result<Self, Refusal> {
        Self::parse(token, TokenType::AccessToken, MAX_ACCESS_TOKEN_LENGTH)
    }

    /// Takes a status list token apart.
    pub(super) fn status_list(token: &'t str) -> Result<Self, Refusal> {
        Self::parse(token, TokenType::StatusList, MAX_STATUS_LIST_LENGTH)
    }

    fn parse(token: &'t str, expected_type: TokenType, max_length: usize) -> Result<Self, Refusal> {
        if token.len() > max_length {
            return Err(Refusal::Malformed);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or(Refusal::Malformed)?;
        // A fourth segment would leave its dot in the payload, where base64url refuses it; before the
        // signature is checked, though, so say it here.
        if payload.contains('.') || payload.is_empty() || signature.is_empty() {
            return Err(Refusal::Malformed);
        }
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| Refusal::Malformed)?;
        let header: Header<'_> = json_object(&header).ok_or(Refusal::Malformed)?;
        if header.forbidden {
            return Err(Refusal::ForbiddenHeader);
        }
        if !expected_type.is_named_by(&header.typ) {
            return Err(Refusal::WrongType);
        }
        let algorithm = header.alg.parse().map_err(|_| Refusal::AlgorithmMismatch)?;
        let kid = KeyId::parse(&header.kid).map_err(|_| Refusal::Malformed)?;
        Ok(Self { signing_input, payload, signature, algorithm, kid })
    }

    /// The key that the token says it was signed with.
    pub(super) fn kid(&self) -> &KeyId {
        &self.kid
    }

    /// Checks it as an access token.
    pub(super) fn check(self, expected: &Expectations<'_>, keys: &KeySet) -> Result<Verified, Refusal> {
        let claims: AccessTokenClaims = self.verified_claims(keys)?;
        let times = Times { exp: claims.exp, nbf: claims.nbf, iat: claims.iat };
        if claims.iss != expected.issuer {
            return Err(Refusal::WrongIssuer);
        }
        let meant = match expected.audience {
            ExpectedAudience::Anyone => true,
            ExpectedAudience::AnyOf(ours) => ours.iter().any(|each| claims.aud.contains(each.as_str())),
        };
        if !meant {
            return Err(Refusal::WrongAudience);
        }
        times.check(expected.now, expected.leeway)?;
        Ok(Verified { claims, kid: self.kid })
    }

    /// Checks it as the status list at `uri` (draft-ietf-oauth-status-list, section 8.3); the
    /// audience is not looked at.
    pub(super) fn check_status_list(
        self,
        uri: &str,
        expected: &Expectations<'_>,
        keys: &KeySet,
    ) -> Result<StatusListClaims, Refusal> {
        let claims: StatusListClaims = self.verified_claims(keys)?;
        if claims.iss != expected.issuer {
            return Err(Refusal::WrongIssuer);
        }
        if claims.sub != uri {
            return Err(Refusal::InvalidClaims);
        }
        Times { exp: claims.exp, nbf: None, iat: claims.iat }.check(expected.now, expected.leeway)?;
        Ok(claims)
    }

    /// The claims, once the signature is found good.
    fn verified_claims<T: DeserializeOwned>(&self, keys: &KeySet) -> Result<T, Refusal> {
        let key = keys.find(&self.kid).ok_or(Refusal::UnknownKey)?;
        if key.algorithm() != self.algorithm {
            return Err(Refusal::AlgorithmMismatch);
        }
        let signature = URL_SAFE_NO_PAD.decode(self.signature).map_err(|_| Refusal::Malformed)?;
        if !key.verifies(self.signing_input.as_bytes(), &signature) {
            return Err(Refusal::BadSignature);
        }
        let payload = URL_SAFE_NO_PAD.decode(self.payload).map_err(|_| Refusal::Malformed)?;
        json_object(&payload).ok_or(Refusal::InvalidClaims)
    }
}

/// The header parameters that count (RFC 7515, section 4.1); a second one of a name is refused.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default)]
    kid: Cow<'a, str>,
    #[serde(borrow, default)]
    typ: Cow<'a, str>,
    /// Whether there is one of the parameters that ask for a key of the token's own choice, another
    /// processing or an extension. To ignore the first kind would be safe, since only `kid` chooses the
    /// key; but no token of ours has one, so what bears one is an attack, and is best seen as such.
    #[serde(
        default,
        rename = "crit",
        alias = "jwk",
        alias = "jku",
        alias = "x5u",
        alias = "x5c",
        alias = "b64",
        alias = "zip",
        alias = "enc",
        deserialize_with = "present"
    )]
    forbidden: bool,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// Reads a JSON object, in UTF-8 throughout. Serde's derived structs would take an array too, and
/// strings that are skipped aren't looked at: hence the two checks.
fn json_object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    let text = std::str::from_utf8(json).ok()?;
    if !text.trim_ascii_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(text).ok()
}

struct Times {
    exp: i64,
    nbf: Option<i64>,
    iat: i64,
}

impl Times {
    fn check(&self, now: i64, leeway: Duration) -> Result<(), Refusal> {
        let leeway = i64::try_from(leeway.as_secs()).unwrap_or(i64::MAX);
        if now >= self.exp.saturating_add(leeway) {
            return Err(Refusal::Expired);
        }
        let latest_start = now.saturating_add(leeway);
        if self.iat > latest_start || self.nbf.is_some_and(|nbf| nbf > latest_start) {
            return Err(Refusal::NotYetValid);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
