use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use crate::oauth::UserId;
use crate::users::{Account, Email};

/// An account as the users API shows it.
#[derive(Debug, Serialize)]
pub struct UserView {
    id: UserId,
    name: String,
    email: Email,
    #[serde(serialize_with = "rfc3339")]
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_rfc3339")]
    updated_at: Option<DateTime<Utc>>,
}

impl UserView {
    /// As lists and single answers show it.
    #[must_use]
    pub fn of(account: &Account) -> Self {
        Self { updated_at: None, ..Self::changed(account) }
    }

    /// As the answer to a change shows it: with the time of the change.
    #[must_use]
    pub fn changed(account: &Account) -> Self {
        let Account { id, name, email, created_at, updated_at, .. } = account.clone();
        Self { id, name, email, created_at, updated_at }
    }
}

/// In whole seconds, with `Z`: `2023-10-27T10:00:00Z`.
///
/// # Errors
/// When the serializer fails.
pub fn rfc3339<S: Serializer>(date: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&date.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// The same for a date that may be absent.
///
/// # Errors
/// When the serializer fails.
pub fn optional_rfc3339<S: Serializer>(
    date: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match date {
        Some(date) => rfc3339(date, serializer),
        None => serializer.serialize_none(),
    }
}
