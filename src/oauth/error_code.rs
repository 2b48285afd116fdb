use serde::{Serialize, Serializer};

/// The error codes that Signet answers with, spelt as the registry spells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// RFC 6749, section 5.2.
    InvalidRequest,
    /// RFC 6749, section 5.2.
    InvalidClient,
    /// RFC 6749, section 5.2.
    InvalidGrant,
    /// RFC 6749, section 5.2.
    UnauthorizedClient,
    /// RFC 6749, section 5.2.
    UnsupportedGrantType,
    /// RFC 6749, section 5.2.
    InvalidScope,
    /// RFC 8707, section 2.
    InvalidTarget,
    /// RFC 6750, section 3.1.
    InvalidToken,
    /// RFC 6750, section 3.1.
    InsufficientScope,
    /// RFC 6749, section 4.1.2.1.
    UnsupportedResponseType,
    /// RFC 6749, section 4.1.2.1.
    AccessDenied,
    /// OpenID Connect Core 1.0, section 3.1.2.6.
    LoginRequired,
    /// OpenID Connect Core 1.0, section 3.1.2.6.
    ConsentRequired,
    /// OpenID Connect Core Error Code `unmet_authentication_requirements` 1.0, section 2.
    UnmetAuthenticationRequirements,
    /// OpenID Connect Core 1.0, section 3.1.2.6.
    RequestNotSupported,
    /// OpenID Connect Core 1.0, section 3.1.2.6.
    RequestUriNotSupported,
    /// OpenID Connect Core 1.0, section 3.1.2.6.
    RegistrationNotSupported,
    /// RFC 6749, section 4.1.2.1.
    ServerError,
    /// RFC 6749, section 4.1.2.1.
    TemporarilyUnavailable,
    /// Signet's own, answered with 429: there were too many requests. On the wire it is what RFC 6749 has for a request
    /// that may succeed later.
    TooManyRequests,
    /// The admin API's own: what was named is not there.
    NotFound,
    /// The admin API's own: it is there already, or changed meanwhile.
    Conflict,
}

impl ErrorCode {
    /// The code as it stands in `error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::AccessDenied => "access_denied",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::UnmetAuthenticationRequirements => "unmet_authentication_requirements",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable | Self::TooManyRequests => "temporarily_unavailable",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
        }
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
