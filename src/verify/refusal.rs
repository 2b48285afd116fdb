use crate::oauth::ErrorCode;

/// Why a token was not accepted. Log it; what a caller may be told is [`Refusal::description`].
///
/// ```
/// use signet::verify::Refusal;
///
/// assert_eq!(Refusal::Expired.as_str(), "expired");
/// assert_eq!(Refusal::Expired.error_code().as_str(), "invalid_token");
/// assert!(Refusal::KeysUnavailable.is_temporary());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not a compact JWS with a well-formed header, or too long.
    #[error("the token is not a well-formed compact JWS")]
    Malformed,
    /// The header asks for what is never done: a key of the token's own, `crit`, `zip`, `b64`, encryption.
    #[error("the token's header holds a parameter that is never honoured")]
    ForbiddenHeader,
    /// `typ` is missing or names another kind of token.
    #[error("the token is of another type")]
    WrongType,
    /// `kid` names no published key.
    #[error("the token names a key that is not published")]
    UnknownKey,
    /// `alg` is not the one algorithm of the key.
    #[error("the token names an algorithm that its key is not for")]
    AlgorithmMismatch,
    /// The signature is not the key's.
    #[error("the signature is wrong")]
    BadSignature,
    /// Properly signed, but a claim is missing, of the wrong JSON type, or stands there twice.
    #[error("the claims are not those of such a token")]
    InvalidClaims,
    /// `iss` is not the expected issuer, letter for letter.
    #[error("the token is from another issuer")]
    WrongIssuer,
    /// `aud` does not name this resource.
    #[error("the token is for another resource")]
    WrongAudience,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` is still to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The token, its client, its subject or its key was revoked.
    #[error("the token was revoked")]
    Revoked,
    /// The token says nowhere where its revocation would stand, or names a place that can't be its own.
    #[error("the token's status reference is missing or can't be used")]
    InvalidStatus,
    /// No status list can be had that is still good. Temporary.
    #[error("the token's status can't be had at the moment")]
    StatusUnavailable,
    /// No verification keys can be had. Temporary.
    #[error("the issuer's keys can't be had at the moment")]
    KeysUnavailable,
}

impl Refusal {
    /// A stable name, for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::ForbiddenHeader => "forbidden_header",
            Self::WrongType => "wrong_type",
            Self::UnknownKey => "unknown_key",
            Self::AlgorithmMismatch => "algorithm_mismatch",
            Self::BadSignature => "bad_signature",
            Self::InvalidClaims => "invalid_claims",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
            Self::InvalidStatus => "invalid_status",
            Self::StatusUnavailable => "status_unavailable",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }

    /// Whether the same token may be accepted later: the fault is not the token's.
    #[must_use]
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::StatusUnavailable | Self::KeysUnavailable)
    }

    /// The code to answer with: `invalid_token` (RFC 6750, section 3.1), or
    /// `temporarily_unavailable` where the fault is not the token's.
    #[must_use]
    pub fn error_code(self) -> ErrorCode {
        if self.is_temporary() { ErrorCode::TemporarilyUnavailable } else { ErrorCode::InvalidToken }
    }

    /// What the sender of the token may be told. Which check a token failed before its signature was
    /// found good is nobody's business; the holder of a genuine one is told what to do about it.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Expired => "the access token has expired",
            Self::NotYetValid => "the access token is not valid yet",
            Self::Revoked => "the access token was revoked",
            Self::WrongAudience => "the access token is for another resource",
            Self::StatusUnavailable | Self::KeysUnavailable => {
                "the access token can't be verified at the moment; try again later"
            }
            _ => "the access token is invalid",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_before_the_signature_is_not_told() {
        let unsigned = [
            Refusal::Malformed,
            Refusal::ForbiddenHeader,
            Refusal::WrongType,
            Refusal::UnknownKey,
            Refusal::AlgorithmMismatch,
            Refusal::BadSignature,
        ];
        for refusal in unsigned {
            assert_eq!(refusal.description(), "the access token is invalid");
            assert_eq!(refusal.error_code(), ErrorCode::InvalidToken);
        }
    }
}
