//! Notices that the store was put back from a copy, where something beside it was not: then what was revoked and
//! spent since counts again, until somebody sets a cut-off. And that the audit log is not the one that the store knows of.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SecondsFormat, Utc};

use super::{App, StartError};
use crate::audit::{Actor, AuditLog, Entry, Event, EventKind, Search};
use crate::backup::{self, Evidence, Seen};
use crate::clock::Clock;
use crate::keys::{KeyRing, KeyVault, StoredState};
use crate::oauth::KeyId;
use crate::store::{Store, StoreError};

/// How often it is noted that the store is in use, in seconds.
const INTERVAL: i64 = 60;

/// Who looks: a node, its audit log and its clock.
#[derive(Clone, Copy)]
pub struct Witness<'a> {
    /// What the node is called.
    pub node: &'a str,
    /// Its audit log.
    pub audit: &'a AuditLog,
    /// Its clock.
    pub clock: &'a dyn Clock,
}

/// What was last noted, in seconds since the epoch.
pub(super) struct Noted {
    /// When the store was in use.
    at: AtomicI64,
    /// Up to when things may have been dated by a clock that was set back since.
    dated: AtomicI64,
}

impl Noted {
    /// Notes that the store is in use now.
    pub(super) async fn now(store: &dyn Store, witness: Witness<'_>) -> Result<Self, StoreError> {
        witness.note(store, None).await?;
        Ok(Self { at: witness.clock.numeric_date().into(), dated: i64::MIN.into() })
    }

    /// The store knows that things may have been dated up to `dated`.
    pub(super) fn knowing(self, dated: i64) -> Self {
        Self { dated: dated.into(), ..self }
    }

    /// Notes it again, once a minute; and at once where things were dated up to `dated` by a clock that was ahead and was set right
    /// before that was noted.
    pub(super) async fn again(
        &self,
        store: &dyn Store,
        witness: Witness<'_>,
        dated: i64,
    ) -> Result<(), StoreError> {
        let now = witness.clock.numeric_date();
        let ahead = self.unnoted(witness, dated);
        if ahead.is_none() && (now - self.at.load(Ordering::Relaxed)).abs() < INTERVAL {
            return Ok(());
        }
        witness.note(store, ahead).await?;
        self.at.store(now, Ordering::Relaxed);
        if ahead.is_some() {
            self.dated.store(dated, Ordering::Relaxed);
        }
        Ok(())
    }

    /// `dated`, if the clock stands before it and the store does not know of it.
    fn unnoted(&self, witness: Witness<'_>, dated: i64) -> Option<DateTime<Utc>> {
        let is_new = dated > self.dated.load(Ordering::Relaxed).max(witness.clock.numeric_date());
        DateTime::from_timestamp(dated, 0).filter(|_| is_new)
    }
}

impl App {
    /// Notes up to where the audit log goes, once its last entry is written: whatever is cut off after that shows at the next start. And
    /// up to when things were dated, if the clock was set back since.
    pub async fn note_last_entry(&self) {
        let services = &self.state.services;
        let witness = Witness { node: &self.node, audit: &services.audit, clock: services.clock.as_ref() };
        let dated = self.noted.unnoted(witness, services.revocations.latest_dated());
        if let Err(error) = witness.note(services.store.as_ref(), dated).await {
            tracing::info!(%error, "the store does not know of the audit log's last entries");
        }
    }
}

/// Entries that come into being while nothing is written to the store, when it is away or when the log itself was mended.
const NO_EVIDENCE: [EventKind; 5] = [
    EventKind::AuditTailCut,
    EventKind::AuditDamaged,
    EventKind::AuditResumed,
    EventKind::AuditBegunAnew,
    EventKind::ServiceStopped,
];

/// How many entries are read at once.
const ENTRIES: usize = 64;

impl Witness<'_> {
    /// What shows that the store was put back: what any node noticed before, or that this node's audit log knows of something that
    /// was done well after the store last knew of this node. It is kept, and noted that this node uses the store,
    /// unless it never did: whoever is about to write to the audit log must do that first. Where the log is shorter than the
    /// store knows it to have been, that is told, and recorded in it.
    ///
    /// # Errors
    /// When store or audit log fail.
    pub async fn look(self, store: &dyn Store) -> Result<Vec<Evidence>, StartError> {
        if let Some(seen) = backup::last_seen(store, self.node).await? {
            if let Some(last_known) = self.last_act(seen.at + backup::LAG).await? {
                let at = seen.at;
                let what =
                    format!("it was last in use at {at}, the audit log beside it goes on until {last_known}");
                backup::note_evidence(store, (self.node, what), self.clock.now()).await?;
            }
            self.compare_log(seen).await?;
            self.note(store, None).await?;
        }
        Ok(backup::read_evidence(store).await?)
    }

    async fn note(self, store: &dyn Store, dated: Option<DateTime<Utc>>) -> Result<(), StoreError> {
        let entries = self.audit.head().map_or(0, |head| head.seq());
        backup::note_seen(store, self.node, (self.clock.now(), entries), dated).await
    }

    /// When something was last done that went with a write to the store, if that was after `since`. What was refused or failed
    /// wrote nothing, whatever became of the store.
    async fn last_act(self, since: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StartError> {
        let (mut before, mut failed) = (None, Vec::new());
        loop {
            let page = self.audit.search(Search { limit: ENTRIES, before, ..Search::default() }).await?;
            for entry in page.entries {
                let Ok(time) = DateTime::parse_from_rfc3339(&entry.time) else { continue };
                if time <= since {
                    return Ok(None);
                }
                if is_act(entry, &mut failed) {
                    return Ok(Some(time.with_timezone(&Utc)));
                }
            }
            before = page.before;
            if before.is_none() {
                return Ok(None);
            }
        }
    }

    /// Tells of an audit log that ended, when it was opened, before the entry that the store knows of: it is another one, or its end
    /// was cut off.
    async fn compare_log(self, Seen { at, entries, .. }: Seen) -> Result<(), StartError> {
        let Some(found) = self.audit.take_found().filter(|found| *found < entries) else { return Ok(()) };
        tracing::warn!(
            "the audit log has {found} entries, at {at} it had {entries}: it was moved away or its end was cut off; keep the one that \
             was there"
        );
        let event = Event::new(EventKind::AuditBegunAnew, Actor::Service);
        Ok(self.audit.record(event.detail("entries_before", entries).detail("entries", found)).await?)
    }
}

/// Whether it was done, and went with a write. An act of administration is recorded before it is done, and again if that
/// `failed`: those that came later than `entry` are there already.
fn is_act(entry: Entry, failed: &mut Vec<Entry>) -> bool {
    if NO_EVIDENCE.iter().any(|kind| kind.as_str() == entry.event) {
        return false;
    }
    match entry.outcome.as_str() {
        "success" => {
            let same = |other: &Entry| {
                (&entry.event, &entry.actor) == (&other.event, &other.actor)
                    && entry.targets().eq(other.targets())
            };
            let undone = failed.iter().position(same);
            undone.map(|at| failed.swap_remove(at)).is_none()
        }
        "failed" => {
            failed.push(entry);
            false
        }
        _ => false,
    }
}

/// The private keys that some ring named.
pub(super) async fn kept_keys(vault: Arc<dyn KeyVault>) -> Vec<KeyId> {
    // A vault that does not answer is told of by others.
    let Ok(Ok(stored)) = tokio::task::spawn_blocking(move || vault.list()).await else { return Vec::new() };
    let kept = stored.into_iter().filter(|key| key.state == StoredState::Kept);
    kept.map(|key| key.kid).collect()
}

/// Evidence of another kind: there are private keys that the ring does not know, so it is older than they are. `kept` were there
/// before the ring was read.
pub(super) async fn ask_vault(
    (kept, vault): (&[KeyId], Arc<dyn KeyVault>),
    keys: &KeyRing,
    (store, witness): (&dyn Store, Witness<'_>),
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
    Ok(Some(backup::note_evidence(store, (witness.node, what), witness.clock.now()).await?))
}

/// All that was noticed, of which people are told.
pub(super) fn told(mut evidence: Vec<Evidence>, another: Option<Evidence>) -> Vec<Evidence> {
    evidence.extend(another.filter(|each| !evidence.contains(each)));
    for each in &evidence {
        tracing::warn!("{}", warning(each));
    }
    evidence
}

/// Tells people what it means.
#[must_use]
pub fn warning(evidence: &Evidence) -> String {
    let Evidence { node, noticed_at, what } = evidence;
    let noticed_at = noticed_at.to_rfc3339_opts(SecondsFormat::Millis, true);
    format!(
        "the store seems to have been put back to an earlier state (node {node} noticed at {noticed_at}: {what}); stop the service \
         and run `signet restore --in-place`: until then what was revoked or spent meanwhile counts again; if nothing was \
         restored, run `signet restore --false-alarm {noticed_at}` (docs/backup.md)"
    )
}
