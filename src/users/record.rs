//! How accounts lie in the store: a row of its own for each, and one for everything by which it is found.

use serde::{Deserialize, Serialize};

use super::hasher::PasswordHash;
use super::{Account, AccountChange, Username};
use crate::oauth::UserId;
use crate::store::typed::TypedTable;
use crate::store::{Batch, Condition, StoreError, Table};

pub(super) const USERS: TypedTable<Stored> = TypedTable::new(Table::plain("users"));
/// For each e-mail address in lower case, and each user name, whose it is.
pub(super) const EMAILS: TypedTable<UserId> = TypedTable::new(Table::plain("user_emails"));
pub(super) const USERNAMES: TypedTable<UserId> = TypedTable::new(Table::plain("user_names"));
/// The accounts in the order in which they were made; the key says it all.
pub(super) const CREATED: Table = Table::plain("users_created");

/// An account with what proves that it is the person's.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    #[serde(flatten)]
    pub(super) account: Account,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<PasswordHash>,
}

/// The account as `change` makes it.
pub(super) fn changed(account: &Account, change: &AccountChange) -> Account {
    let (change, signs_out) = (change.clone(), change.signs_out());
    let new_address =
        change.email.as_ref().is_some_and(|email| email.normalized() != account.email.normalized());
    let asserted = match &change.email {
        Some(email) if *email != account.email => change.email_self_asserted,
        _ => account.email_self_asserted,
    };
    Account {
        name: change.name.map_or_else(|| account.name.clone(), |name| name.trim().to_owned()),
        email: change.email.unwrap_or_else(|| account.email.clone()),
        email_verified: change.email_verified.unwrap_or(account.email_verified && !new_address),
        email_self_asserted: asserted && change.email_verified != Some(true),
        preferred_username: change.preferred_username.unwrap_or_else(|| account.preferred_username.clone()),
        profile: change.profile.unwrap_or_else(|| account.profile.clone()),
        administrator: change.administrator.unwrap_or(account.administrator),
        disabled: change.disabled.unwrap_or(account.disabled),
        sign_in_generation: account.sign_in_generation + u64::from(signs_out),
        ..account.clone()
    }
}

/// The key by which the account stands in the list.
pub(super) fn created(account: &Account) -> Vec<u8> {
    // A clock that stood before 1970 would only disturb the order.
    let millis = u64::try_from(account.created_at.timestamp_millis()).unwrap_or_default();
    let mut key = millis.to_be_bytes().to_vec();
    key.extend_from_slice(account.id.as_str().as_bytes());
    key
}

/// The identifier in a key that [`created`] made.
pub(super) fn listed(key: &[u8]) -> Result<UserId, StoreError> {
    let id = key.get(size_of::<u64>()..).and_then(|id| std::str::from_utf8(id).ok());
    let id = id.and_then(|id| UserId::parse(id).ok());
    let reason = "a key can't be read".to_owned();
    id.ok_or_else(|| StoreError::Damaged { table: CREATED.name.to_owned(), reason })
}

/// Gives back the e-mail address and the user name of an account that has new ones, and takes those.
pub(super) fn moved((old, new): (&Account, &Account)) -> Result<Batch, StoreError> {
    let mut batch = Batch::new();
    let (from, to) = (old.email.normalized(), new.email.normalized());
    if from != to {
        batch = batch.delete(EMAILS.table(), from, Condition::Always);
        batch = EMAILS.put(batch, to, Condition::Absent, &new.id)?;
    }
    let name = |account: &Account| account.preferred_username.as_ref().map(Username::normalized);
    let (from, to) = (name(old), name(new));
    if from != to {
        if let Some(from) = from {
            batch = batch.delete(USERNAMES.table(), from, Condition::Always);
        }
        if let Some(to) = to {
            batch = USERNAMES.put(batch, to, Condition::Absent, &new.id)?;
        }
    }
    Ok(batch)
}
