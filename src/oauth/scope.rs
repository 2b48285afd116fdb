use std::fmt;

use serde::{Deserialize, Serialize};

/// A set of scope tokens, in the order in which they were named (RFC 6749, section 3.3).
///
/// ```
/// use signet::oauth::Scope;
///
/// let granted = Scope::parse("read write")?;
/// assert!(granted.contains("read"));
/// assert!(Scope::parse("read")?.is_subset(&granted));
/// assert!(Scope::parse("re\"ad").is_err());
/// # Ok::<(), signet::oauth::InvalidScope>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(String);

/// The text is not a list of scope tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "scope must be tokens of visible ASCII without quote and backslash, separated by single spaces, 2048 characters at most"
)]
pub struct InvalidScope;

impl Scope {
    const MAX_LENGTH: usize = 2048;

    /// Reads space-separated scope tokens; a token named twice counts once. The empty text is the
    /// empty scope.
    ///
    /// # Errors
    /// When a token holds a character outside RFC 6749's `scope-token`, tokens are not separated by
    /// one space each, or the text is over 2048 characters.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(InvalidScope);
        }
        let mut tokens: Vec<&str> = Vec::new();
        for token in text.split(' ') {
            let valid = |b: u8| b == 0x21 || (0x23..=0x5b).contains(&b) || (0x5d..=0x7e).contains(&b);
            if token.is_empty() || !token.bytes().all(valid) {
                return Err(InvalidScope);
            }
            if !tokens.contains(&token) {
                tokens.push(token);
            }
        }
        Ok(Self(tokens.join(" ")))
    }

    /// The scope as it stands in a token or an answer.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scope as it stands where it may be left out: RFC 6749, appendix A.4, wants at least one token.
    #[must_use]
    pub fn unless_empty(&self) -> Option<&str> {
        Some(self.as_str()).filter(|text| !text.is_empty())
    }

    /// The scope tokens, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ').filter(|token| !token.is_empty())
    }

    /// Whether `token` is in it.
    #[must_use]
    pub fn contains(&self, token: &str) -> bool {
        self.iter().any(|each| each == token)
    }

    /// Whether `token` belongs to the admin API: no other resource may use the prefix.
    #[must_use]
    pub fn is_admin(token: &str) -> bool {
        token.starts_with("signet:")
    }

    /// Asks for an ID token (OpenID Connect Core, section 3.1.2.1).
    pub const OPENID: &str = "openid";

    /// Asks for a refresh token that outlives the session (OpenID Connect Core, section 11).
    pub const OFFLINE_ACCESS: &str = "offline_access";

    /// The tokens that mean something to this service itself (OpenID Connect Core, sections 3.1.2.1, 5.4 and 11).
    pub const OF_OPENID: [&str; 6] =
        [Self::OPENID, Self::OFFLINE_ACCESS, "profile", "email", "address", "phone"];

    /// Whether `token` means something to this service itself (OpenID Connect Core, sections 3.1.2.1, 5.4 and 11).
    #[must_use]
    pub fn is_of_openid(token: &str) -> bool {
        Self::OF_OPENID.contains(&token)
    }

    /// Whether every token of `self` is in `other`.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.iter().all(|token| other.contains(token))
    }

    /// The tokens of `self`, then those that only `other` has.
    ///
    /// # Errors
    /// When that would be over 2048 characters.
    pub fn union(&self, other: &Self) -> Result<Self, InvalidScope> {
        let more = other.iter().filter(|token| !self.contains(token));
        Self::parse(&self.iter().chain(more).collect::<Vec<_>>().join(" "))
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.0
    }
}

impl std::str::FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_kept_in_order_and_once() {
        assert_eq!(Scope::parse("b a b").unwrap().as_str(), "b a");
        assert!(Scope::parse("").unwrap().is_empty());
    }

    #[test]
    fn what_is_not_a_scope_token_is_refused() {
        for text in [" ", "a  b", " a", "a ", "a\tb", "a\"", "a\\", "é", &"a".repeat(2049)] {
            assert_eq!(Scope::parse(text), Err(InvalidScope), "{text:?}");
        }
    }

    #[test]
    fn a_token_is_matched_whole() {
        let scope = Scope::parse("read:all").unwrap();
        assert!(!scope.contains("read"));
        assert!(!scope.contains(""));
        assert!(Scope::default().is_subset(&scope));
    }
}
