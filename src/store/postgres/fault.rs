//! What a failure says about whether anything was done.

use std::error::Error as _;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// How a call to the database failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server undid the transaction because of others that ran beside it: doing it again may succeed.
    Contended(StoreError),
    /// The connection is of no use any more, and nothing was done.
    Disconnected(StoreError),
    /// The server can't write, for a reason that is its own: its disk is full, say. Nothing was done.
    Unwritable(StoreError),
    /// Anything else. Of a commit nothing is known, unless whoever calls knows that it was not asked for yet.
    Failed(StoreError),
}

impl Fault {
    /// What `error` means for a transaction that was not asked to commit, and for whatever only reads.
    pub(super) fn before_commit(error: &Error) -> Self {
        let told = describe(error);
        match error.code() {
            Some(code) if is_contention(code) => Self::Contended(told),
            Some(code) if is_of_the_server(code) => Self::Unwritable(told),
            Some(code) if !is_of_the_connection(code) => Self::Failed(told),
            // Without a code: the connection broke.
            _ => Self::Disconnected(told),
        }
    }

    /// What `error` means for a commit, or a statement that commits itself, that may have reached the server.
    pub(super) fn at_commit(error: &Error) -> Self {
        let told = describe(error);
        match error.code() {
            Some(code) if is_contention(code) => Self::Contended(told),
            Some(code) if is_of_the_server(code) => Self::Unwritable(told),
            // Refused before anything was done: another server writes now.
            Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => Self::Disconnected(told),
            _ => Self::Failed(told),
        }
    }

    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Contended(error)
            | Self::Disconnected(error)
            | Self::Unwritable(error)
            | Self::Failed(error) => error,
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// A lock that somebody else holds was waited for as long as a statement may take.
pub(super) fn is_held_up(error: &Error) -> bool {
    error.code().is_some_and(|code| [SqlState::LOCK_NOT_AVAILABLE, SqlState::QUERY_CANCELED].contains(code))
}

/// The server says that it has undone everything: a serialization failure or a deadlock.
fn is_contention(code: &SqlState) -> bool {
    [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code)
}

/// The server wants for something (class 53: a full disk), fails by itself (58 and XX), or was told not to let this role write. The caller
/// could not have asked for anything that it would take.
fn is_of_the_server(code: &SqlState) -> bool {
    *code == SqlState::INSUFFICIENT_PRIVILEGE
        || ["53", "58", "XX"].iter().any(|class| code.code().starts_with(class))
}

/// The server goes down, is not the one that writes any more, or the connection fails (class 08).
fn is_of_the_connection(code: &SqlState) -> bool {
    let gone = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    gone.contains(code) || code.code().starts_with("08")
}

/// The server's message and code; never its details, in which keys and values of rows stand.
pub(super) fn describe(error: &Error) -> StoreError {
    let reason = match (error.as_db_error(), error.source()) {
        (Some(server), _) => format!("{} (SQLSTATE {})", server.message(), server.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    };
    StoreError::Unavailable(format!("PostgreSQL: {reason}"))
}
