use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// The text can't be this kind of identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} must be 1 to {max} characters of {allowed}")]
pub struct InvalidId {
    kind: &'static str,
    max: usize,
    allowed: &'static str,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $kind:literal, max $max:literal, $allowed:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes `text` if it can be such an identifier.
            ///
            /// # Errors
            /// When it is empty, too long, or holds a character that is not allowed.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if text.is_empty() || text.len() > $max || !check(text) {
                    return Err(InvalidId { kind: $kind, max: $max, allowed: $allowed });
                }
                Ok(Self(text.into()))
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().into()
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

fn is_url_safe(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~'))
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|b| (0x21..=0x7e).contains(&b) && b != b'"' && b != b'\\')
}

fn is_sha256(text: &str) -> bool {
    let mut digest = [0; 32];
    URL_SAFE_NO_PAD.decode_slice(text, &mut digest) == Ok(digest.len())
}

/// The serialization of an origin (RFC 6454, section 6.1) that a browser would send.
fn is_origin(text: &str) -> bool {
    is_visible(text) && url::Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == text)
}

fn is_web_uri(text: &str) -> bool {
    // A host stands in a page's Content-Security-Policy, where `;` and `,` would end more than the host.
    let is_host = |host: &str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    let is_web = |url: &url::Url| {
        matches!(url.scheme(), "https" | "http")
            && url.username().is_empty()
            && url.password().is_none()
            && url.host_str().is_some_and(is_host)
    };
    is_visible(text) && url::Url::parse(text).as_ref().is_ok_and(is_web)
}

fn is_absolute_uri(text: &str) -> bool {
    is_visible(text) && !text.contains('#') && url::Url::parse(text).is_ok()
}

identifier!(
    /// A client's identifier (RFC 6749, section 2.2).
    ClientId, "client_id", max 128, "letters, digits, '-', '_', '.' and '~'", is_url_safe
);
identifier!(
    /// Whom a token speaks for: the `sub` claim (RFC 7519, section 4.1.2).
    Subject, "sub", max 255, "visible ASCII without quote and backslash", is_visible
);
impl From<&ClientId> for Subject {
    /// The client as its own subject (RFC 9068, section 2.2): whatever a client may be called, a subject may.
    fn from(client_id: &ClientId) -> Self {
        Self(Arc::clone(&client_id.0))
    }
}

identifier!(
    /// A key's identifier: the RFC 7638 thumbprint of its public half.
    KeyId, "kid", max 128, "letters, digits, '-', '_', '.' and '~'", is_url_safe
);
identifier!(
    /// A status list's identifier, the last segment of its URI.
    ListId, "status list id", max 64, "letters, digits, '-', '_', '.' and '~'", is_url_safe
);
identifier!(
    /// A token's identifier: the `jti` claim (RFC 7519, section 4.1.7).
    TokenId, "jti", max 64, "letters, digits, '-', '_', '.' and '~'", is_url_safe
);
identifier!(
    /// A sign-in session's public identifier: the `sid` claim (OpenID Connect Front-Channel Logout 1.0, section 3).
    /// Whoever knows it is not signed in by it.
    SessionId, "sid", max 64, "letters, digits, '-', '_', '.' and '~'", is_url_safe
);
identifier!(
    /// Everything that was issued for one code: its access tokens, and its refresh tokens one after another.
    FamilyId, "family", max 64, "letters, digits, '-', '_', '.' and '~'", is_url_safe
);
identifier!(
    /// The S256 challenge to which a code is bound (RFC 7636, section 4.2): a SHA-256 digest as base64url.
    CodeChallenge, "code_challenge", max 43, "base64url, 43 of them (method S256)", is_sha256
);
identifier!(
    /// Where a script comes from: scheme, host and port, as a browser puts it into `Origin` (RFC 6454, section 6.1).
    Origin, "an origin", max 255, "scheme://host, with a port unless it is the usual one, and nothing behind", is_origin
);
identifier!(
    /// A page on the web: `https` or `http`, without a user name. Safe to be the target of a link.
    WebUri, "a web address", max 2048, "an absolute https or http URI without user name", is_web_uri
);
identifier!(
    /// A resource server, named by an absolute URI without fragment: the value of `resource`
    /// (RFC 8707, section 2) and of `aud`.
    Resource, "resource", max 255, "an absolute URI without fragment", is_absolute_uri
);
identifier!(
    /// An account's identifier: `user_` and 26 random letters and digits. As a subject it can't be mistaken for a
    /// client, whose identifier may not begin so.
    UserId, "user id", max 64, "'user_' and then letters and digits", is_user_id
);

fn is_user_id(text: &str) -> bool {
    let rest = text.strip_prefix(UserId::PREFIX).unwrap_or_default();
    !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric())
}

impl UserId {
    /// How every account's identifier begins, and no client's.
    pub const PREFIX: &str = "user_";
}

impl From<&UserId> for Subject {
    /// The person as a subject: the `sub` claim is the account's identifier.
    fn from(user: &UserId) -> Self {
        Self(Arc::clone(&user.0))
    }
}
identifier!(
    /// An API key's identifier, which is no secret: `key_` and random letters, digits, hyphens and underscores. It
    /// stands for the key in lists, and as the `client_id` of tokens that the key was exchanged for.
    ApiKeyId, "API key id", max 64, "'key_' and then letters, digits, '-' and '_'", is_api_key_id
);

fn is_api_key_id(text: &str) -> bool {
    let rest = text.strip_prefix(ApiKeyId::PREFIX).unwrap_or_default();
    !rest.is_empty() && is_url_safe(rest)
}

impl ApiKeyId {
    /// How every API key's identifier begins, and no client's.
    pub const PREFIX: &str = "key_";
}

impl From<&ApiKeyId> for ClientId {
    /// The key as the client that a token was issued to.
    fn from(key: &ApiKeyId) -> Self {
        Self(Arc::clone(&key.0))
    }
}
