//! What an import has written is read again and held against the copy: a store may say that it has taken a row, and lose it.

use std::io::{Read, Seek};
use std::vec;

use chrono::{DateTime, Utc};

use super::export::in_vault;
use super::frames::{Contents, Frame, Next, Purpose, Tally};
use super::import::{rewound, table};
use super::{BackupError, INSTALLATION, seen, tables};
use crate::keys::{KeyRingParts, KeyVault, SealedKey};
use crate::store::{Row, Table};

/// How many rows are read at once.
const PAGE: usize = 500;

/// Counts what the target holds now and computes its digest anew. A row that has ended since it was copied counts as it was; it is
/// not there any more.
///
/// # Errors
/// [`BackupError::NotAsCopied`], and when the store, the vault or the copy can't be read.
pub(super) async fn read_back(
    parts: &KeyRingParts,
    file: &mut (impl Read + Seek),
    purpose: Purpose,
) -> Result<Contents, BackupError> {
    let mut frames = rewound(file, &parts.kek)?;
    let (mut tally, mut target, mut empty) = (Tally::new(), None::<Target>, tables());
    // Of a backup no key is put back.
    let keys = if purpose == Purpose::Move { Some(in_vault(parts, KeyVault::sealed).await?) } else { None };
    loop {
        let frame = match frames.next()? {
            Next::Frame(frame) => frame,
            Next::End(copied) => {
                end(target.take()).await?;
                for table in empty {
                    end(Some(Target::new(parts, table))).await?;
                }
                let found = Contents::new(frames.header, tally.trailer());
                return if found == copied {
                    Ok(found)
                } else {
                    Err(differs("all", "the checksum is another"))
                };
            }
        };
        let found = match &frame {
            Frame::Table(name) => {
                end(target.take()).await?;
                empty.retain(|table| table.name != name);
                target = table(name).map(|table| Target::new(parts, table));
                frame
            }
            Frame::Row { key, expires_at, .. } => {
                let target = target.as_mut().ok_or_else(|| differs("all", "a row is in no table"))?;
                target.take(key, *expires_at).await?.unwrap_or(frame)
            }
            Frame::Key(copied) => match keys.as_ref().map(|keys| find(keys, copied)) {
                Some(None) => {
                    return Err(differs("the vault", &format!("the key {} is missing", copied.kid)));
                }
                Some(Some(found)) => Frame::Key(Box::new(found.clone())),
                None => frame,
            },
            Frame::Header(_) | Frame::Trailer(_) => frame,
        };
        tally.add(&found, &found.encode()?)?;
    }
}

fn find<'k>(keys: &'k [SealedKey], copied: &SealedKey) -> Option<&'k SealedKey> {
    keys.iter().find(|key| key.kid == copied.kid)
}

fn differs(place: &str, what: &str) -> BackupError {
    BackupError::NotAsCopied { place: place.to_owned(), what: what.to_owned() }
}

/// Nothing may be left of a table when the copy has no more of it.
async fn end(target: Option<Target<'_>>) -> Result<(), BackupError> {
    let Some(mut target) = target else { return Ok(()) };
    match target.next().await? {
        None => Ok(()),
        Some(_) => Err(differs(target.table.name, "there is a row that the copy does not have")),
    }
}

/// The rows of a table of the target, in the order in which a copy has them.
struct Target<'a> {
    parts: &'a KeyRingParts,
    table: Table,
    after: Option<Vec<u8>>,
    page: vec::IntoIter<(Vec<u8>, Row)>,
    is_last: bool,
    /// What was read and not asked for yet.
    waiting: Option<(Vec<u8>, Row)>,
}

impl<'a> Target<'a> {
    fn new(parts: &'a KeyRingParts, table: Table) -> Self {
        Self { parts, table, after: None, page: Vec::new().into_iter(), is_last: false, waiting: None }
    }

    /// The row of this key; none where it has ended.
    async fn take(
        &mut self,
        key: &[u8],
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<Option<Frame>, BackupError> {
        match self.next().await? {
            Some((found, row)) if found == key => Ok(Some(Frame::row(found, row))),
            Some((found, _)) if found.as_slice() < key => {
                Err(differs(self.table.name, "there is a row that the copy does not have"))
            }
            other => {
                self.waiting = other;
                // By whose clock the store lets rows end.
                let now = self.parts.store.now().await?.unwrap_or_else(|| self.parts.clock.now());
                let has_ended = expires_at.is_some_and(|at| at <= now);
                if has_ended { Ok(None) } else { Err(differs(self.table.name, "a row is missing")) }
            }
        }
    }

    async fn next(&mut self) -> Result<Option<(Vec<u8>, Row)>, BackupError> {
        if let Some(waiting) = self.waiting.take() {
            return Ok(Some(waiting));
        }
        loop {
            for (key, row) in self.page.by_ref() {
                // It is of this store, and in no copy.
                if self.table != INSTALLATION || !seen::is_of_store(&key) {
                    return Ok(Some((key, row)));
                }
            }
            if self.is_last {
                return Ok(None);
            }
            let page = self.parts.store.scan(self.table, self.after.as_deref(), PAGE).await?;
            self.is_last = page.len() < PAGE;
            self.after = page.last().map(|(key, _)| key.clone()).or(self.after.take());
            self.page = page.into_iter();
        }
    }
}
