//! Which devices know an account: so many at most. Whoever signs in again and again without a cookie, as a script does, would leave a row
//! for 180 days each time, millions of them.

use chrono::{DateTime, Utc};

use super::device::{Device, DeviceId};
use super::{AccountKey, DEVICES};
use crate::store::{Batch, Condition, Put, Store, StoreError, Table};

/// Account and device are the key, and there is no value. A row ends with that of the device.
pub(super) const TABLE: Table = Table::plain("login_account_devices");

/// So many devices know one account; the one with which nobody signed in for longest makes room for the next.
pub(super) const MOST: usize = 64;

/// So many more may have come of sign-ins that did not see one another: they go with the next one.
const AT_ONCE: usize = 64;

fn key(account: &AccountKey, device: &[u8]) -> Vec<u8> {
    [account, device].concat()
}

/// Adds that the device knows its accounts.
pub(super) fn note(
    batch: Batch,
    (id, device): (&DeviceId, &Device),
    expires_at: Option<DateTime<Utc>>,
) -> Batch {
    device.accounts().fold(batch, |batch, account| {
        let put = Put { value: Vec::new(), expires_at };
        batch.put(TABLE, key(account, id.key()), Condition::Always, put)
    })
}

/// Adds that it does not.
pub(super) fn strike(batch: Batch, (id, device): (&DeviceId, &Device)) -> Batch {
    device
        .accounts()
        .fold(batch, |batch, account| batch.delete(TABLE, key(account, id.key()), Condition::Always))
}

/// Adds that there is room for one more device that knows `account`. One that knows others too goes on knowing those.
pub(super) async fn make_room(
    mut batch: Batch,
    store: &dyn Store,
    account: &AccountKey,
) -> Result<Batch, StoreError> {
    let mut rows = store.scan(TABLE, Some(account), MOST + AT_ONCE).await?;
    rows.retain(|(key, _)| key.starts_with(account));
    rows.sort_by_key(|(_, row)| row.expires_at);
    let surplus = (rows.len() + 1).saturating_sub(MOST);
    for (place, _) in rows.into_iter().take(surplus) {
        let device = place.get(account.len()..).unwrap_or_default().to_vec();
        batch = match DEVICES.get(store, &device).await {
            Err(StoreError::Damaged { .. }) => batch.delete(DEVICES.table(), device, Condition::Always),
            row => match row? {
                Some(mut record) if record.value.knows(account) => {
                    record.value.forget(account);
                    let condition = Condition::VersionIs(record.version);
                    if record.value.accounts().next().is_none() {
                        batch.delete(DEVICES.table(), device, condition)
                    } else {
                        let put = DEVICES.encode(&record.value, record.expires_at)?;
                        batch.put(DEVICES.table(), device, condition, put)
                    }
                }
                _ => batch,
            },
        };
        batch = batch.delete(TABLE, place, Condition::Always);
    }
    Ok(batch)
}
