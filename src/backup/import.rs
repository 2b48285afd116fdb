use std::io::{BufReader, Read, Seek};

use super::cutoff::{Restored, cut_off, empty};
use super::export::in_vault;
use super::frames::{Contents, Frame, Frames, Next, contents};
use super::unfinished::{Unfinished, applied};
use super::{BackupError, note_seen, tables};
use crate::keys::{self, ArchiveReader, Kek, KeyRingParts};
use crate::store::{Batch, Condition, Put, Store, Table};

/// How much is committed at once: so many rows, or so many bytes.
const MOST_ROWS: usize = 500;
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Reads a copy from its beginning to its end and says what it holds. Nothing is written.
///
/// # Errors
/// When it is not, byte for byte, what an export under `kek` wrote.
pub fn inspect(mut file: impl Read + Seek, kek: &Kek) -> Result<Contents, BackupError> {
    let mut frames = rewound(&mut file, kek)?;
    loop {
        match frames.next()? {
            Next::Frame(_) => {}
            Next::End(contents) => return Ok(contents),
        }
    }
}

/// Makes of an empty store the installation that was copied, all of it: for a move, where the one that was copied is
/// stopped for good and nothing has happened since. The whole copy is read and checked before anything is written, and
/// until the last row is in, the store is not served from; calling again begins anew.
///
/// # Errors
/// When the copy can't be used or is of another issuer, when the store is not empty, and when store or vault fail.
pub async fn import(
    parts: &KeyRingParts,
    issuer: &str,
    mut file: impl Read + Seek,
) -> Result<Contents, BackupError> {
    let contents = load(parts, issuer, &mut file, true).await?;
    note_seen(parts.store.as_ref(), parts.clock.now()).await?;
    Unfinished::end(parts.store.as_ref()).await?;
    Ok(contents)
}

/// Makes of an empty store the installation as it was when it was copied, less everything that was issued until now:
/// see [`super::restore_in_place`].
///
/// # Errors
/// As [`import`]. API keys end unless `keep_api_keys`.
pub async fn restore(
    parts: &KeyRingParts,
    issuer: &str,
    mut file: impl Read + Seek,
    keep_api_keys: bool,
) -> Result<(Contents, Restored), BackupError> {
    // The private keys would be destroyed a moment later.
    let contents = load(parts, issuer, &mut file, false).await?;
    let restored = cut_off(parts, keep_api_keys).await?;
    Unfinished::end(parts.store.as_ref()).await?;
    Ok((contents, restored))
}

async fn load(
    parts: &KeyRingParts,
    issuer: &str,
    file: &mut (impl Read + Seek),
    with_keys: bool,
) -> Result<Contents, BackupError> {
    let store = parts.store.as_ref();
    let checked = inspect(&mut *file, &parts.kek)?;
    if checked.issuer != issuer {
        return Err(BackupError::Issuer { of: checked.issuer, given: issuer.to_owned() });
    }
    if let Some(unknown) = checked.rows.keys().find(|name| table(name).is_none()) {
        return Err(contents(&format!("it has rows of {unknown}, which this release does not know")));
    }
    make_room(store).await?;
    let mut loading = Loading { store, table: None, batch: Batch::new(), bytes: 0 };
    let mut frames = rewound(file, &parts.kek)?;
    loop {
        let frame = match frames.next()? {
            Next::Frame(frame) => frame,
            Next::End(loaded) if loaded == checked => break,
            Next::End(_) => return Err(contents("it was changed while it was read")),
        };
        match frame {
            Frame::Key(key) if with_keys => in_vault(parts, move |vault| vault.put_back(&key)).await?,
            frame => loading.take(frame).await?,
        }
    }
    loading.flush().await?;
    Ok(checked)
}

/// Notes that an import begins, in a store that has no rows or only those of one that was cut off.
async fn make_room(store: &dyn Store) -> Result<(), BackupError> {
    match Unfinished::find(store).await? {
        Some(Unfinished::CutOff) => return super::refuse_unfinished(store).await,
        Some(Unfinished::Import) => {
            for table in to_be_filled() {
                empty(store, table).await?;
            }
        }
        None => {
            let mut filled = Vec::new();
            for table in to_be_filled() {
                if !store.scan(table, None, 1).await?.is_empty() {
                    filled.push(table.name);
                }
            }
            if !filled.is_empty() {
                return Err(BackupError::NotEmpty(filled.join(", ")));
            }
        }
    }
    applied(store, Unfinished::Import.begin(Batch::new(), Condition::Absent)).await
}

/// The tables that an import writes to, through the vault too.
fn to_be_filled() -> impl Iterator<Item = Table> {
    tables().into_iter().chain([keys::VAULT_TABLE])
}

/// Rows on their way into the store.
struct Loading<'a> {
    store: &'a dyn Store,
    table: Option<Table>,
    batch: Batch,
    bytes: usize,
}

impl Loading<'_> {
    async fn take(&mut self, frame: Frame) -> Result<(), BackupError> {
        match frame {
            Frame::Table(name) => self.table = table(&name),
            Frame::Row { key, expires_at, value } => {
                let table = self.table.ok_or_else(|| contents("a row is in no table"))?;
                self.bytes += key.len() + value.len();
                let batch = std::mem::take(&mut self.batch);
                self.batch = batch.put(table, key, Condition::Absent, Put { value, expires_at });
                if self.batch.writes.len() >= MOST_ROWS || self.bytes >= MOST_BYTES {
                    self.flush().await?;
                }
            }
            Frame::Header(_) | Frame::Key(_) | Frame::Trailer(_) => {}
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), BackupError> {
        self.bytes = 0;
        applied(self.store, std::mem::take(&mut self.batch)).await
    }
}

fn rewound<'f, R: Read + Seek>(
    file: &'f mut R,
    kek: &Kek,
) -> Result<Frames<BufReader<&'f mut R>>, BackupError> {
    file.rewind().map_err(crate::keys::ArchiveError::Io)?;
    Frames::open(ArchiveReader::new(BufReader::new(file), kek)?)
}

fn table(name: &str) -> Option<Table> {
    tables().into_iter().find(|table| table.name == name)
}
