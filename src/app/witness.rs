//! Notices that the store was put back from a copy, where something beside it was not: then what was revoked and
//! spent since counts again, until somebody sets a cut-off.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

use super::StartError;
use crate::audit::{AuditLog, Search};
use crate::backup;
use crate::clock::Clock;
use crate::keys::{KeyRing, KeyVault, StoredState};
use crate::oauth::KeyId;
use crate::store::{Store, StoreError};

/// How often it is noted that the store is in use, in seconds.
const INTERVAL: i64 = 60;

const REMEDY: &str = "if it was restored, stop the service and run `signet restore --in-place`: until then what was revoked \
                      or spent meanwhile counts again (docs/backup.md)";

/// When it was last noted that the store is in use.
pub(super) struct Seen(AtomicI64);

impl Seen {
    /// Notes it now.
    pub(super) async fn now(store: &dyn Store, clock: &dyn Clock) -> Result<Self, StoreError> {
        backup::note_seen(store, clock.now()).await?;
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

/// Warns if the audit log knows of something that happened well after the store was last in use.
pub(super) async fn ask_audit_log(store: &dyn Store, audit: &AuditLog) -> Result<(), StartError> {
    let newest = audit.search(Search { limit: 1, ..Search::default() }).await?;
    let time = newest.entries.first().and_then(|entry| DateTime::parse_from_rfc3339(&entry.time).ok());
    let Some(last_known) = time.map(|time| time.with_timezone(&Utc)) else { return Ok(()) };
    if let Some(seen) = backup::went_back(store, last_known).await? {
        tracing::warn!(
            store_last_used = %seen, audit_log_until = %last_known,
            "the store is older than the audit log beside it: {REMEDY}"
        );
    }
    Ok(())
}

/// The private keys that some ring named.
pub(super) async fn kept_keys(vault: Arc<dyn KeyVault>) -> Vec<KeyId> {
    // A vault that does not answer is told of by others.
    let Ok(Ok(stored)) = tokio::task::spawn_blocking(move || vault.list()).await else { return Vec::new() };
    let kept = stored.into_iter().filter(|key| key.state == StoredState::Kept);
    kept.map(|key| key.kid).collect()
}

/// Warns if there are private keys that the ring does not know: it is older than they are.
pub(super) fn ask_vault(kept: &[KeyId], keys: &KeyRing) {
    let known: Vec<_> = keys.list().keys.into_iter().map(|key| key.kid).collect();
    let unknown = kept.iter().filter(|kid| !known.contains(kid)).count();
    if unknown > 0 {
        tracing::warn!(
            unknown,
            "there are private keys that the key ring does not know: it may be an old one; {REMEDY}"
        );
    }
}
