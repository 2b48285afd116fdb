use std::collections::BTreeMap;

use serde::Serialize;

use super::export::in_vault;
use super::run::Run;
use super::unfinished::{Mark, Unfinished, applied};
use super::{BackupError, forget_evidence};
use crate::keys::{
    Condemned, KeyEvent, KeyRing, KeyRingParts, KeyVault, forget_sealing_keys, keys_named, keys_needed,
    ring_row,
};
use crate::store::{Batch, Condition, Store, Table};
use crate::{keys, tokens, users};

/// How many rows are removed at once.
const PAGE: usize = 500;

/// How many rows of which table a cut-off has removed, and how many recovery codes and status lists it has ended.
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

/// What only the operator can know of a store that was put back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Assurances {
    /// No API key was revoked since: they need not end.
    pub keep_api_keys: bool,
    /// The private keys of the ring are lost: that none is there does not mean that those that are belong to others.
    pub keys_lost: bool,
    /// No node runs, although the store has heard of one within the last minute.
    pub nodes_stopped: bool,
}

/// Refuses what [`restore_in_place`] would refuse; changes nothing.
///
/// # Errors
/// When there is no installation or half of an import, when its ring can't be read, and when none of its private keys is
/// in the vault, unless they are said to be lost: a restore destroys the keys that it does not know.
pub async fn check_in_place(parts: &KeyRingParts, assurances: Assurances) -> Result<(), BackupError> {
    let store = parts.store.as_ref();
    refuse_import(Unfinished::find(store).await?)?;
    let named = keys_named(&ring(store).await?, &parts.kek)?;
    let stored = in_vault(parts, <dyn KeyVault>::list).await?;
    if assurances.keys_lost || stored.iter().any(|key| named.contains(&key.kid)) {
        return Ok(());
    }
    Err(BackupError::NoneOfItsKeys)
}

/// Sets a cut-off in a store that is a copy of an earlier state, such as a directory that was copied or the snapshot of a
/// machine: nothing that was issued until now counts any more.
///
/// Every signing key is condemned and every sealing key dropped, which ends the access tokens, refresh tokens and
/// cookies of all, whether the store knows them or not. Private keys that the ring does not know are destroyed. Codes,
/// families, sessions, consents, recovery codes, known browsers, and API keys unless they are said to be sound, end: of each
/// the store may hold one that was spent or taken back later. Accounts, clients and second factors stay as they were. Until all
/// of that is done, the store is not served from; calling again finishes it. An installation that was moved away may run
/// again.
///
/// # Errors
/// As [`check_in_place`], where nodes use the store, and when store or vault fail.
pub async fn restore_in_place(parts: &KeyRingParts, assurances: Assurances) -> Result<Restored, BackupError> {
    // Before anything is removed: whether the keys can be replaced.
    check_in_place(parts, assurances).await?;
    let found = Run::find(parts.store.as_ref()).await?;
    refuse_import(found.mark)?;
    let run = Run::begin_alone(Unfinished::CutOff, (parts, assurances), found).await?;
    let restored = cut_off(run.parts(), assurances.keep_api_keys).await?;
    destroy_strangers(run.parts()).await?;
    run.end().await?;
    Ok(restored)
}

fn refuse_import(found: Option<Mark>) -> Result<(), BackupError> {
    match found {
        Some(Mark { what: what @ Unfinished::Import, .. }) => Err(what.error()),
        _ => Ok(()),
    }
}

/// Sets the cut-off; whoever calls has noted that it is under way.
pub(super) async fn cut_off(parts: &KeyRingParts, keep_api_keys: bool) -> Result<Restored, BackupError> {
    let store = parts.store.as_ref();
    // The keys first: a node that runs on although it must not issues nothing more that counts.
    applied(store, forget_sealing_keys(Batch::new())).await?;
    let (condemned, events) = KeyRing::condemn_all(parts.clone()).await?;
    let mut ended = Ended::new();
    let api_keys = if keep_api_keys { &[] as &[Table] } else { &users::API_KEY_TABLES };
    for table in tokens::ENDED_BY_RESTORE.iter().chain(&users::ENDED_BY_RESTORE).chain(api_keys) {
        ended.insert(table.name, empty(store, *table, None).await?);
    }
    ended.insert("recovery_codes", users::end_recovery_codes(store).await?);
    ended.insert("status_lists", tokens::StatusLists::end_all(store).await?);
    forget_evidence(store, parts.clock.now()).await?;
    Ok(Restored { ended, condemned, events })
}

/// Destroys the private keys that the ring does not need: those of the time that is lost are not in it at all.
async fn destroy_strangers(parts: &KeyRingParts) -> Result<(), BackupError> {
    let mut strangers = in_vault(parts, <dyn KeyVault>::list).await?;
    let ring = ring(parts.store.as_ref()).await?;
    let needed = keys_needed(&ring, &parts.kek, parts.clock.numeric_date())?;
    strangers.retain(|key| !needed.contains(&key.kid));
    // Of another run that has begun in place of this one no key is among them: they were there before that could.
    applied(parts.store.as_ref(), Batch::new()).await?;
    in_vault(parts, move |vault| strangers.iter().try_for_each(|key| vault.destroy(&key.kid))).await
}

/// The ring as the store holds it.
async fn ring(store: &dyn Store) -> Result<Vec<u8>, BackupError> {
    let [ring, _] = keys::TABLES;
    Ok(store.get(ring, ring_row()).await?.ok_or(BackupError::NoInstallation)?.value)
}

/// Removes every live row of a table but the one named `kept`; says how many there were.
pub(super) async fn empty(
    store: &dyn Store,
    table: Table,
    kept: Option<&[u8]>,
) -> Result<usize, BackupError> {
    let mut removed = 0;
    loop {
        let rows = store.scan(table, None, PAGE).await?;
        let last = rows.len() < PAGE;
        let rows = rows.into_iter().filter(|(key, _)| Some(key.as_slice()) != kept);
        let batch = rows.fold(Batch::new(), |batch, (key, _)| batch.delete(table, key, Condition::Always));
        removed += batch.writes.len();
        applied(store, batch).await?;
        if last {
            return Ok(removed);
        }
    }
}
