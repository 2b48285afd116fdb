//! Notices that the store was put back from a copy, where something beside it was not: then what was revoked and
//! spent since counts again, until somebody sets a cut-off.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

use super::StartError;
use crate::audit::{AuditLog, Entry, EventKind, Search};
use crate::backup::{self, Evidence};
use crate::clock::Clock;
use crate::keys::{KeyRing, KeyVault, StoredState};
use crate::oauth::KeyId;
use crate::store::{Store, StoreError};

/// How often it is noted that the store is in use, in seconds.
const INTERVAL: i64 = 60;

const REMEDY: &str = "stop the service and run `signet restore --in-place`: until then what was revoked or spent meanwhile \
                      counts again; if nothing was restored, run `signet restore --false-alarm` (docs/backup.md)";

/// When it was last noted that the store is in use.
pub(super) struct Seen(AtomicI64);

impl Seen {
    /// Notes it now, unless there is `evidence`, which stays.
    pub(super) async fn now(
        store: &dyn Store,
        clock: &dyn Clock,
        evidence: Option<&Evidence>,
    ) -> Result<Self, StoreError> {
        if evidence.is_none() {
            backup::note_seen(store, clock.now()).await?;
        }
        Ok(Self(AtomicI64::new(clock.numeric_date())))
    }

    /// Notes it again, once a minute.
    pub(super) async fn again(&self, store: &dyn Store, clock: &dyn Clock) -> Result<(), StoreError> {
        let now = clock.numeric_date();
        if (now - self.0.load(Ordering::Relaxed)).abs() < INTERVAL {
            return Ok(());
        }
        backup::note_seen(store, clock.now()).await?;
        self.0.store(now, Ordering::Relaxed);
        Ok(())
    }
}

/// Entries that come into being while nothing is written to the store, when it is away or when the log itself was mended.
const NO_EVIDENCE: [EventKind; 3] =
    [EventKind::AuditTailCut, EventKind::AuditResumed, EventKind::KeyRotationFailed];

/// How many of the newest entries are looked at.
const ENTRIES: usize = 64;

/// What shows that the store was put back: what was noticed before, or that the audit log knows of something that happened
/// well after the store was last in use. If nothing does, it is noted that the store is in use, unless it is a fresh one:
/// whoever is about to write to the audit log must do that first.
///
/// # Errors
/// When store or audit log fail.
pub async fn look(
    store: &dyn Store,
    audit: &AuditLog,
    clock: &dyn Clock,
) -> Result<Option<Evidence>, StartError> {
    if let Some(evidence) = backup::read_evidence(store).await? {
        return Ok(Some(evidence));
    }
    let newest = audit.search(Search { limit: ENTRIES, ..Search::default() }).await?;
    let kept = |entry: &&Entry| NO_EVIDENCE.iter().all(|kind| kind.as_str() != entry.event);
    let time =
        newest.entries.iter().find(kept).and_then(|entry| DateTime::parse_from_rfc3339(&entry.time).ok());
    if let Some(last_known) = time.map(|time| time.with_timezone(&Utc))
        && let Some(seen) = backup::went_back(store, last_known).await?
    {
        let what =
            format!("it was last in use at {seen}, the audit log beside it goes on until {last_known}");
        return Ok(Some(keep(store, clock, what).await?));
    }
    if backup::last_seen(store).await?.is_some() {
        backup::note_seen(store, clock.now()).await?;
    }
    Ok(None)
}

/// The private keys that some ring named.
pub(super) async fn kept_keys(vault: Arc<dyn KeyVault>) -> Vec<KeyId> {
    // A vault that does not answer is told of by others.
    let Ok(Ok(stored)) = tokio::task::spawn_blocking(move || vault.list()).await else { return Vec::new() };
    let kept = stored.into_iter().filter(|key| key.state == StoredState::Kept);
    kept.map(|key| key.kid).collect()
}

/// The same, if there are private keys that the ring does not know: it is older than they are. `kept` were there before the
/// ring was read.
pub(super) async fn ask_vault(
    kept: &[KeyId],
    vault: Arc<dyn KeyVault>,
    keys: &KeyRing,
    (store, clock): (&dyn Store, &dyn Clock),
) -> Result<Option<Evidence>, StoreError> {
    let known: Vec<_> = keys.list().keys.into_iter().map(|key| key.kid).collect();
    if kept.iter().all(|kid| known.contains(kid)) {
        return Ok(None);
    }
    // Another node may have destroyed and forgotten one in between.
    let still = kept_keys(vault).await;
    let unknown = kept.iter().filter(|kid| !known.contains(kid) && still.contains(kid)).count();
    if unknown == 0 {
        return Ok(None);
    }
    let what = format!("{unknown} private keys are not in its key ring: the ring may be an old one");
    Ok(Some(keep(store, clock, what).await?))
}

async fn keep(store: &dyn Store, clock: &dyn Clock, what: String) -> Result<Evidence, StoreError> {
    let evidence = Evidence { noticed_at: clock.now(), what };
    backup::note_evidence(store, &evidence).await?;
    Ok(evidence)
}

/// Tells people what it means.
#[must_use]
pub fn warning(evidence: &Evidence) -> String {
    let Evidence { noticed_at, what } = evidence;
    format!(
        "the store seems to have been put back to an earlier state (noticed at {noticed_at}: {what}); {REMEDY}"
    )
}
