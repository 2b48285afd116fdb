//! Rows of one person: their keys begin with the account's identifier and a slash.

use crate::oauth::UserId;
use crate::store::{Row, Store, StoreError, Table};

/// How many rows are read at once.
const PAGE: usize = 100;

/// The key of the row called `name` among those of `user`.
pub(super) fn key(user: &UserId, name: &str) -> Vec<u8> {
    format!("{user}/{name}").into_bytes()
}

/// The name in a key that [`key`] made.
pub(super) fn name(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key).ok()?.split_once('/').map(|(_, name)| name)
}

/// Every live row of `user` in `table`, in the order of their names.
pub(super) async fn of_user(
    store: &dyn Store,
    table: Table,
    user: &UserId,
) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
    let prefix = key(user, "");
    let mut after = prefix.clone();
    let mut found = Vec::new();
    loop {
        let page = store.scan(table, Some(&after), PAGE).await?;
        let read = page.len();
        found.extend(page.into_iter().take_while(|(key, _)| key.starts_with(&prefix)));
        match found.last() {
            Some((last, _)) if read == PAGE && *last > after => after.clone_from(last),
            _ => return Ok(found),
        }
    }
}
