use std::borrow::Cow;

use crate::audit::AuditError;
use crate::clients::ClientError;
use crate::keys::intervene::Refusal;
use crate::keys::{KeyRingError, NoKey, SealError, Unfit};
use crate::limits::Exceeded;
use crate::oauth::ErrorCode;
use crate::store::StoreError;
use crate::tokens::{IssueError, RefreshError, RevocationError};
use crate::users::AllowanceError;

/// A refusal: the RFC's code and a description for the client's developer. What lies behind it is logged,
/// never sent.
#[derive(Debug)]
pub struct ProtocolError {
    /// The code.
    pub code: ErrorCode,
    /// The description; ASCII without quotes and backslashes (RFC 6749, section 5.2).
    pub description: Cow<'static, str>,
    /// In how many seconds another try may succeed.
    pub retry_after: Option<u64>,
    /// The limit that it goes beyond.
    pub exceeded: Option<Box<Exceeded>>,
    /// What to log.
    pub cause: Option<Cause>,
}

/// What lies behind a refusal.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl ProtocolError {
    /// A refusal of `code`.
    #[must_use]
    pub fn new(code: ErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        Self { code, description: description.into(), retry_after: None, exceeded: None, cause: None }
    }

    /// `invalid_request`.
    #[must_use]
    pub fn invalid_request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, description)
    }

    /// `invalid_client`: one text for every reason, so that nothing is learnt of which clients exist.
    #[must_use]
    pub fn invalid_client() -> Self {
        Self::new(ErrorCode::InvalidClient, "client authentication failed")
    }

    /// `invalid_scope`.
    #[must_use]
    pub fn invalid_scope(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidScope, description)
    }

    /// `temporarily_unavailable`, worth another try in `seconds`.
    #[must_use]
    pub fn unavailable(seconds: u64, cause: impl Into<Cause>) -> Self {
        Self {
            code: ErrorCode::TemporarilyUnavailable,
            description: "the service can not do this right now".into(),
            retry_after: Some(seconds),
            exceeded: None,
            cause: Some(cause.into()),
        }
    }

    /// `server_error`.
    #[must_use]
    pub fn server_error(cause: impl Into<Cause>) -> Self {
        Self {
            code: ErrorCode::ServerError,
            description: "the service failed".into(),
            retry_after: None,
            exceeded: None,
            cause: Some(cause.into()),
        }
    }
}

impl From<Exceeded> for ProtocolError {
    fn from(exceeded: Exceeded) -> Self {
        Self {
            code: ErrorCode::TooManyRequests,
            description: "there are too many requests; try again later".into(),
            retry_after: Some(exceeded.standing().quota.reset_seconds()),
            exceeded: Some(Box::new(exceeded)),
            cause: None,
        }
    }
}

impl From<AllowanceError> for ProtocolError {
    fn from(error: AllowanceError) -> Self {
        match error {
            AllowanceError::TooMany { retry_after, .. } => Self {
                retry_after: Some(retry_after.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)),
                ..Self::new(ErrorCode::TooManyRequests, described(&error))
            },
            AllowanceError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for ProtocolError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::unavailable(5, error),
            StoreError::Damaged { .. } | StoreError::Invalid(_) => Self::server_error(error),
        }
    }
}

impl From<AuditError> for ProtocolError {
    /// What can't be audited does not happen.
    fn from(error: AuditError) -> Self {
        Self::unavailable(30, error)
    }
}

impl From<NoKey> for ProtocolError {
    fn from(error: NoKey) -> Self {
        Self::unavailable(error.retry_after().max(1), error)
    }
}

impl From<Unfit> for ProtocolError {
    fn from(error: Unfit) -> Self {
        let (Unfit::Stale { retry_after } | Unfit::ClockOff { retry_after, .. }) = error;
        Self::unavailable(retry_after, error)
    }
}

impl From<IssueError> for ProtocolError {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::NoKey(error) => error.into(),
            IssueError::NoStatusList | IssueError::KeyEnds => Self::unavailable(1, error),
            IssueError::ClockSetBack { retry_after } => Self::unavailable(retry_after, error),
            IssueError::Sign(_) => Self::server_error(error),
        }
    }
}

impl From<SealError> for ProtocolError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Stale { retry_after } => Self::unavailable(retry_after, error),
            SealError::Unusable => Self::server_error(error),
        }
    }
}

impl From<RefreshError> for ProtocolError {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Store(error) => error.into(),
            RefreshError::Seal(error) => error.into(),
            RefreshError::Keys(error) => error.into(),
        }
    }
}

impl From<RevocationError> for ProtocolError {
    fn from(error: RevocationError) -> Self {
        match error {
            RevocationError::NoStatus => Self::invalid_request("the token can not be revoked"),
            RevocationError::Store(error) => error.into(),
            RevocationError::ClockOff(_) => Self::unavailable(5, error),
        }
    }
}

impl From<ClientError> for ProtocolError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unknown => Self::new(ErrorCode::NotFound, "there is no such client"),
            ClientError::Taken => Self::new(ErrorCode::Conflict, "the client_id is taken"),
            ClientError::TooMany(_) => Self::new(ErrorCode::Conflict, described(&error)),
            ClientError::Changed => {
                Self::new(ErrorCode::Conflict, "the client was changed meanwhile; read it again")
            }
            ClientError::Refused(reason) => Self::invalid_request(described(&reason)),
            ClientError::Store(error) => error.into(),
        }
    }
}

impl From<KeyRingError> for ProtocolError {
    fn from(error: KeyRingError) -> Self {
        match error {
            KeyRingError::Refused(Refusal::UnknownKey(_)) => {
                Self::new(ErrorCode::NotFound, "there is no such key")
            }
            KeyRingError::Refused(Refusal::NoneWaits(_)) | KeyRingError::Contended => {
                Self::unavailable(1, error)
            }
            KeyRingError::Refused(reason) => Self::new(ErrorCode::Conflict, described(&reason)),
            KeyRingError::UnreadableKey(reason) => Self::invalid_request(described(&reason)),
            KeyRingError::Store(error) => error.into(),
            // The time, the directory or the module may be right again in a moment.
            KeyRingError::ClockOff(_) | KeyRingError::Vault(_) => Self::unavailable(5, error),
            error if error.is_of_kek() => Self::unavailable(5, error),
            other => Self::server_error(other),
        }
    }
}

/// An error's text as an `error_description` may hold it.
fn described(error: &impl std::fmt::Display) -> String {
    let plain = |c: char| if matches!(c, ' '..='~') && c != '"' && c != '\\' { c } else { '\'' };
    error.to_string().chars().map(plain).collect()
}
