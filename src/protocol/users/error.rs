use crate::oauth::ErrorCode;
use crate::protocol::ProtocolError;
use crate::users::{AccountError, AuthenticateError, Busy, SecondFactorError};

impl From<AccountError> for ProtocolError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Unknown => super::not_found(),
            AccountError::EmailTaken => Self::new(ErrorCode::Conflict, "the email is taken"),
            AccountError::UsernameTaken => Self::new(ErrorCode::Conflict, "the preferred_username is taken"),
            AccountError::Changed => {
                Self::new(ErrorCode::Conflict, "the account was changed meanwhile; read it again")
            }
            AccountError::LastAdministrator => Self::new(
                ErrorCode::Conflict,
                "this is the last account that can administer; let another one administer first",
            ),
            AccountError::Password(reason) => Self::invalid_request(reason.to_string()),
            AccountError::Profile(reason) => Self::invalid_request(reason.to_string()),
            AccountError::Busy(busy) => busy.into(),
            AccountError::Store(error) => error.into(),
        }
    }
}

impl From<Busy> for ProtocolError {
    fn from(busy: Busy) -> Self {
        Self::unavailable(busy.retry_after, busy)
    }
}

impl From<AuthenticateError> for ProtocolError {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::Busy { retry_after } => Self::unavailable(retry_after, error),
            AuthenticateError::Store(error) => error.into(),
        }
    }
}

impl From<SecondFactorError> for ProtocolError {
    fn from(error: SecondFactorError) -> Self {
        match error {
            SecondFactorError::Unreadable => Self::server_error(error),
            SecondFactorError::Store(error) => error.into(),
        }
    }
}
