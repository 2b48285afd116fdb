use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{ClientId, Resource, Scope, SessionId, StatusClaim, Subject, TokenId};

/// The media type in a token's `typ` header, without `application/` (RFC 7515, section 4.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// `at+jwt`: an access token (RFC 9068, section 2.1).
    AccessToken,
    /// `JWT`: an ID token (OpenID Connect Core, section 2).
    IdToken,
    /// `statuslist+jwt`: a status list (draft-ietf-oauth-status-list, section 5.1).
    StatusList,
    /// `logout+jwt`: a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.4).
    LogoutToken,
}

impl TokenType {
    /// The value of `typ`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "at+jwt",
            Self::IdToken => "JWT",
            Self::StatusList => "statuslist+jwt",
            Self::LogoutToken => "logout+jwt",
        }
    }

    /// Whether a `typ` header names this type: in any letter case, with or without `application/`
    /// (RFC 7515, section 4.1.9).
    #[must_use]
    pub fn is_named_by(self, typ: &str) -> bool {
        let prefix = "application/";
        let bare = match typ.get(..prefix.len()) {
            Some(start) if start.eq_ignore_ascii_case(prefix) => &typ[prefix.len()..],
            _ => typ,
        };
        bare.eq_ignore_ascii_case(self.as_str())
    }
}

/// The claims of an access token (RFC 9068, section 2.2): what the server issues is the very type
/// that the verifier returns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// The issuer's identifier, compared as text.
    pub iss: String,
    /// The resource owner, or the client itself where there is none.
    pub sub: Subject,
    /// The resource servers that the token is for.
    pub aud: Audience,
    /// The client that the token was issued to (RFC 8693, section 4.3).
    pub client_id: ClientId,
    /// What the token permits (RFC 8693, section 4.2); absent reads as nothing.
    #[serde(default, skip_serializing_if = "Scope::is_empty")]
    pub scope: Scope,
    /// When it was issued, in seconds since the epoch.
    #[serde(deserialize_with = "numeric_date")]
    pub iat: i64,
    /// When it ends, in seconds since the epoch.
    #[serde(deserialize_with = "numeric_date")]
    pub exp: i64,
    /// When it begins to count, in seconds since the epoch. Signet issues none.
    #[serde(default, deserialize_with = "optional_numeric_date", skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// The token's own identifier.
    pub jti: TokenId,
    /// When the person proved who they are, in seconds since the epoch; absent where the client acts for itself
    /// (RFC 9068, section 2.2.1).
    #[serde(default, deserialize_with = "optional_numeric_date", skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// How well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// By what (RFC 8176).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// In which session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<SessionId>,
    /// Where its revocation would stand (draft-ietf-oauth-status-list, section 6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusClaim>,
}

impl AccessTokenClaims {
    /// Whether the token permits `scope_token`.
    #[must_use]
    pub fn permits(&self, scope_token: &str) -> bool {
        self.scope.contains(scope_token)
    }
}

/// The `aud` claim: one resource or several (RFC 7519, section 4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// A single resource, as a string.
    One(Resource),
    /// Several, as an array.
    Many(Vec<Resource>),
}

impl Audience {
    /// The resources named.
    #[must_use]
    pub fn as_slice(&self) -> &[Resource] {
        match self {
            Self::One(resource) => std::slice::from_ref(resource),
            Self::Many(resources) => resources,
        }
    }

    /// Whether `resource` is among them, compared as text.
    #[must_use]
    pub fn contains(&self, resource: &str) -> bool {
        self.as_slice().iter().any(|each| each.as_str() == resource)
    }
}

impl From<Vec<Resource>> for Audience {
    fn from(mut resources: Vec<Resource>) -> Self {
        match resources.len() {
            1 => Self::One(resources.remove(0)),
            _ => Self::Many(resources),
        }
    }
}

/// The last second of the year 9999: a later date is a mistake or an attack on arithmetic.
const LATEST: i64 = 253_402_300_799;

/// Reads a `NumericDate` (RFC 7519, section 2): a JSON number, fractions cut off; nothing else.
pub(super) fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let seconds = match &value {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float-to-int cast saturates; the range is checked below"
        )]
        Value::Number(number) => {
            number.as_i64().or_else(|| number.as_f64().map(|float| float.floor() as i64))
        }
        _ => None,
    };
    seconds
        .filter(|seconds| (0..=LATEST).contains(seconds))
        .ok_or_else(|| serde::de::Error::custom("a NumericDate must be a number of seconds since the epoch"))
}

fn optional_numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    numeric_date(deserializer).map(Some)
}
