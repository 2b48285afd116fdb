use std::sync::Arc;

use async_trait::async_trait;

use super::frames::{Contents, Frame, Header, Purpose, Tally, Trailer};
use super::run::Run;
use super::unfinished::{Mark, Unfinished};
use super::{Assurances, BackupError, INSTALLATION, refuse_unfinished, seen, tables};
use crate::entropy::Entropy;
use crate::keys::{
    ArchiveWriter, KeyRingError, KeyRingParts, KeyVault, SealedKey, VaultError, keys_needed, ring_row,
    was_published,
};
use crate::store::{SharedFrozen, Table, carried};

/// How many rows are read at once.
const PAGE: usize = 500;

/// How much of them, about: the next page has fewer rows where those of the last were long.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// The rows of a table's first page.
const FIRST_PAGE: usize = 16;

/// Takes the bytes of a copy, in order.
#[async_trait]
pub trait Sink: Send {
    /// Takes some.
    ///
    /// # Errors
    /// When they can't be kept, or nobody wants them any more: then the copy ends.
    async fn take(&mut self, bytes: Vec<u8>) -> Result<(), BackupError>;
}

/// Copies the installation of `issuer` as it stands between two commits, sealed under the key-encryption key; others
/// may go on writing. What was given out by then is a whole copy only if this returns a success: without its last
/// bytes no file is accepted. In memory at a time: a page of rows.
///
/// One that is to be moved is marked first: nothing is served from it any more, whether the copy succeeds or not. It can be
/// copied again.
///
/// # Errors
/// When there is no whole installation, when it is to be moved and nodes use the store, unless they are said to be stopped; when its
/// first keys are not published yet, when store or vault fail, and with the error of `sink`.
pub async fn export(
    parts: &KeyRingParts,
    entropy: &dyn Entropy,
    issuer: &str,
    (purpose, assurances): (Purpose, Assurances),
    sink: &mut dyn Sink,
) -> Result<Contents, BackupError> {
    // Before anything is marked: a module that keeps the key-encryption key may fail.
    let (kek, random) = (Arc::clone(&parts.kek), entropy.bytes());
    let archive = tokio::task::spawn_blocking(move || ArchiveWriter::new(&kek, random)).await;
    let archive = archive.map_err(|_| KeyRingError::Stopping)??;
    if purpose == Purpose::Move {
        mark_as_moved(parts, assurances).await?;
    } else {
        refuse_unfinished(parts.store.as_ref()).await?;
    }
    // Before the view is opened: what happened at that very moment counts as lost.
    let now = parts.clock.now();
    let header = Header::new(issuer, (now, seen::latest_date(parts.store.as_ref(), now).await?), purpose);
    let frozen = parts.store.freeze().await?;
    // Before anything is written: a copy that can't be used should not be begun.
    let keys = sealed_keys(parts, &frozen).await?;
    let mut copy = Copy { archive, tally: Tally::new(), sink };
    copy.add(&Frame::Header(header.clone()))?;
    for table in tables() {
        let mut after: Option<Vec<u8>> = None;
        let mut limit = FIRST_PAGE;
        loop {
            let page = frozen.scan(table, after.as_deref(), limit).await?;
            if after.is_none() && !page.is_empty() {
                copy.add(&Frame::Table(table.name.to_owned()))?;
            }
            let last = page.len() < limit;
            limit = next_limit(limit, page.iter().map(|(key, row)| key.len() + row.value.len()).sum());
            after = page.last().map(|(key, _)| key.clone());
            for (key, row) in page {
                // It is of this store, not of the installation.
                if table == INSTALLATION && seen::is_of_store(&key) {
                    continue;
                }
                copy.add(&Frame::row(key, row))?;
            }
            copy.flush().await?;
            if last {
                break;
            }
        }
    }
    for key in keys {
        copy.add(&Frame::Key(Box::new(key)))?;
    }
    let trailer = copy.finish().await?;
    Ok(Contents::new(header, trailer))
}

/// How many rows are read after `limit` of them had so many bytes.
fn next_limit(limit: usize, bytes: usize) -> usize {
    let fitting = limit.saturating_mul(PAGE_BYTES) / bytes.max(1);
    fitting.min(2 * limit).clamp(1, PAGE)
}

/// From now on nothing is served from it.
async fn mark_as_moved(parts: &KeyRingParts, assurances: Assurances) -> Result<(), BackupError> {
    let store = parts.store.as_ref();
    let found = Run::find(store).await?;
    match found.mark {
        Some(Mark { what: Unfinished::Moved, .. }) => {}
        Some(Mark { what, .. }) => return Err(what.error()),
        // What can't be copied should not be stopped for good.
        None => _ = sealed_keys(parts, &parts.store.freeze().await?).await?,
    }
    Run::begin_alone(Unfinished::Moved, (parts, assurances), found).await.map(drop)
}

struct Copy<'a> {
    archive: ArchiveWriter,
    tally: Tally,
    sink: &'a mut dyn Sink,
}

impl Copy<'_> {
    fn add(&mut self, frame: &Frame) -> Result<(), BackupError> {
        let encoded = frame.encode()?;
        self.tally.add(frame, &encoded)?;
        self.archive.write(&encoded);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), BackupError> {
        self.sink.take(self.archive.take()).await
    }

    async fn finish(mut self) -> Result<Trailer, BackupError> {
        let trailer = self.tally.trailer();
        self.archive.write(&Frame::Trailer(trailer.clone()).encode()?);
        self.sink.take(self.archive.finish()).await?;
        Ok(trailer)
    }
}

/// The private keys that the ring of this view needs, by their names. One that was made later is not among them.
async fn sealed_keys(parts: &KeyRingParts, frozen: &SharedFrozen) -> Result<Vec<SealedKey>, BackupError> {
    let [ring, _]: [Table; 2] = crate::keys::TABLES;
    let rows = frozen.scan(ring, None, PAGE).await?;
    let row = rows.iter().find(|(key, _)| key == ring_row()).ok_or(BackupError::NoInstallation)?;
    // A restore of it would give new keys the head start of an installation that no verifier knows.
    if !was_published(&row.1.value, &parts.kek)? {
        return Err(BackupError::NeverPublished);
    }
    let needed = keys_needed(&row.1.value, &parts.kek, parts.clock.numeric_date())?;
    let mut sealed = in_vault(parts, KeyVault::sealed).await?;
    sealed.retain(|key| needed.contains(&key.kid));
    sealed.sort_by(|a, b| a.kid.cmp(&b.kid));
    match needed.into_iter().find(|kid| sealed.iter().all(|key| key.kid != *kid)) {
        Some(missing) => Err(BackupError::KeyMissing(missing)),
        None => Ok(sealed),
    }
}

/// Calls the vault, which may block.
pub(super) async fn in_vault<T: Send + 'static>(
    parts: &KeyRingParts,
    call: impl FnOnce(&dyn KeyVault) -> Result<T, VaultError> + Send + 'static,
) -> Result<T, BackupError> {
    let vault = parts.vault.clone();
    let called = tokio::task::spawn_blocking(carried(move || call(vault.as_ref()))).await;
    Ok(called.map_err(|_| KeyRingError::Stopping)??)
}
