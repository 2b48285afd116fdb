use std::collections::BTreeMap;

use serde::Serialize;

use super::export::in_vault;
use super::unfinished::{Unfinished, applied};
use super::{BackupError, note_seen};
use crate::keys::{Condemned, KeyEvent, KeyRing, KeyRingParts, forget_sealing_keys, keys_needed, ring_row};
use crate::store::{Batch, Condition, Store, Table};
use crate::{keys, tokens, users};

/// How many rows are removed at once.
const PAGE: usize = 500;

/// How many rows of which table a cut-off has removed.
pub type Ended = BTreeMap<&'static str, usize>;

/// What a cut-off has done.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    /// What was removed.
    pub ended: Ended,
    /// The keys that count no more.
    pub condemned: Condemned,
    /// What happened to keys, for the audit log.
    #[serde(skip)]
    pub events: Vec<KeyEvent>,
}

/// Sets a cut-off in a store that is a copy of an earlier state, such as a directory that was copied or the snapshot of a
/// machine: nothing that was issued until now counts any more.
///
/// Every signing key is condemned and every sealing key dropped, which ends the access tokens, refresh tokens and
/// cookies of all, whether the store knows them or not. Codes, families, sessions, consents, and API keys unless
/// `keep_api_keys`, are removed: of each the store may hold one that was spent or taken back later. Accounts, clients
/// and second factors stay as they were. Until all of that is done, the store is not served from; calling again
/// finishes it.
///
/// # Errors
/// When there is no installation, when half of an import is there, and when store or vault fail.
pub async fn restore_in_place(parts: &KeyRingParts, keep_api_keys: bool) -> Result<Restored, BackupError> {
    let store = parts.store.as_ref();
    if Unfinished::find(store).await? == Some(Unfinished::Import) {
        super::refuse_unfinished(store).await?;
    }
    // Before anything is removed: whether the keys can be replaced.
    let [ring, _] = keys::TABLES;
    let row = store.get(ring, ring_row()).await?.ok_or(BackupError::NoInstallation)?;
    keys_needed(&row.value, &parts.kek, parts.clock.numeric_date())?;
    applied(store, Unfinished::CutOff.begin(Batch::new(), Condition::Always)).await?;
    let restored = cut_off(parts, keep_api_keys).await?;
    Unfinished::end(store).await?;
    Ok(restored)
}

/// Sets the cut-off; whoever calls has noted that it is under way.
pub(super) async fn cut_off(parts: &KeyRingParts, keep_api_keys: bool) -> Result<Restored, BackupError> {
    let store = parts.store.as_ref();
    let mut ended = Ended::new();
    let api_keys = if keep_api_keys { &[] as &[Table] } else { &users::API_KEY_TABLES };
    for table in tokens::ENDED_BY_RESTORE.iter().chain(&users::ENDED_BY_RESTORE).chain(api_keys) {
        ended.insert(table.name, empty(store, *table).await?);
    }
    applied(store, forget_sealing_keys(Batch::new())).await?;
    let condemned = KeyRing::condemn_all(parts.clone()).await?;
    destroy_strangers(parts).await?;
    note_seen(store, parts.clock.now()).await?;
    Ok(Restored { ended, condemned: condemned.answer, events: condemned.events })
}

/// Destroys the private keys that the ring does not need: those of the time that is lost are not in it at all.
async fn destroy_strangers(parts: &KeyRingParts) -> Result<(), BackupError> {
    let [ring, _] = keys::TABLES;
    let row = parts.store.get(ring, ring_row()).await?.ok_or(BackupError::NoInstallation)?;
    let needed = keys_needed(&row.value, &parts.kek, parts.clock.numeric_date())?;
    in_vault(parts, move |vault| {
        let mut strangers = vault.list()?.into_iter().filter(|key| !needed.contains(&key.kid));
        strangers.try_for_each(|key| vault.destroy(&key.kid))
    })
    .await
}

/// Removes every live row of a table; says how many there were.
pub(super) async fn empty(store: &dyn Store, table: Table) -> Result<usize, BackupError> {
    let mut removed = 0;
    loop {
        let rows = store.scan(table, None, PAGE).await?;
        let count = rows.len();
        let batch = rows
            .into_iter()
            .fold(Batch::new(), |batch, (key, _)| batch.delete(table, key, Condition::Always));
        applied(store, batch).await?;
        removed += count;
        if count < PAGE {
            return Ok(removed);
        }
    }
}
