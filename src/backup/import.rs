use std::io::{BufReader, Read, Seek};

use super::cutoff::{Restored, cut_off, empty};
use super::export::in_vault;
use super::frames::{Contents, Frame, Frames, Next, Purpose, contents};
use super::read_back::read_back;
use super::run::Run;
use super::unfinished::{self, Mark, Unfinished, applied};
use super::{Assurances, BackupError, INSTALLATION, seen, tables};
use crate::keys::{self, ArchiveReader, Kek, KeyRingParts, KeyVault, StoredState, keys_needed, ring_row};
use crate::oauth::KeyId;
use crate::store::{Batch, Condition, Put, Store, Table};

/// How much is committed at once: so many rows, or so many bytes.
const MOST_ROWS: usize = 500;
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Reads a copy from its beginning to its end and says what it holds. Nothing is written.
///
/// # Errors
/// When it is not, byte for byte, what an export under `kek` wrote.
pub fn inspect(mut file: impl Read + Seek, kek: &Kek) -> Result<Contents, BackupError> {
    Ok(read_through(&mut file, kek)?.0)
}

/// What a copy holds, and the names of its private keys.
fn read_through(file: &mut (impl Read + Seek), kek: &Kek) -> Result<(Contents, Vec<KeyId>), BackupError> {
    let mut frames = rewound(file, kek)?;
    let mut keys = Vec::new();
    loop {
        match frames.next()? {
            Next::Frame(Frame::Key(key)) => keys.push(key.kid),
            Next::Frame(_) => {}
            Next::End(contents) => return Ok((contents, keys)),
        }
    }
}

/// Makes of an empty store the installation that was copied, all of it: for a move, where the one that was copied is
/// stopped for good and nothing has happened since. The whole copy is read and checked before anything is written, and
/// until the last row is in, the store is not served from; calling again begins anew. What it says of the contents is what the
/// target was found to hold afterwards.
///
/// # Errors
/// When the copy can't be used, is a backup or is of another issuer, when the store or the vault is not empty, where nodes use
/// the store, when one of them fails, and when the target does not hold what was put into it.
pub async fn import(
    parts: &KeyRingParts,
    issuer: &str,
    mut file: impl Read + Seek,
    assurances: Assurances,
) -> Result<Contents, BackupError> {
    let (contents, run) = load(parts, issuer, &mut file, (Purpose::Move, assurances)).await?;
    seen::note_dated_elsewhere(run.parts().store.as_ref(), contents.dated_until).await?;
    run.end().await?;
    Ok(contents)
}

/// Makes of an empty store the installation as it was when it was copied, less everything that was issued until now:
/// see [`super::restore_in_place`].
///
/// # Errors
/// As [`import`], but any copy will do. API keys end unless they are to be kept.
pub async fn restore(
    parts: &KeyRingParts,
    issuer: &str,
    mut file: impl Read + Seek,
    assurances: Assurances,
) -> Result<(Contents, Restored), BackupError> {
    let (contents, run) = load(parts, issuer, &mut file, (Purpose::Backup, assurances)).await?;
    let restored = cut_off(run.parts(), assurances.keep_api_keys).await?;
    run.end().await?;
    Ok((contents, restored))
}

async fn load(
    parts: &KeyRingParts,
    issuer: &str,
    file: &mut (impl Read + Seek),
    (purpose, assurances): (Purpose, Assurances),
) -> Result<(Contents, Run), BackupError> {
    let (checked, copied) = read_through(file, &parts.kek)?;
    if purpose == Purpose::Move && checked.purpose != Purpose::Move {
        return Err(BackupError::NotForMove);
    }
    if checked.issuer != issuer {
        return Err(BackupError::Issuer { of: checked.issuer, given: issuer.to_owned() });
    }
    if let Some(unknown) = checked.rows.keys().find(|name| table(name).is_none()) {
        return Err(contents(&format!("it has rows of {unknown}, which this release does not know")));
    }
    let run = make_room(parts, copied, (purpose, assurances)).await?;
    let parts = run.parts();
    let store = parts.store.as_ref();
    let mut loading = Loading { store, table: None, batch: Batch::new(), bytes: 0 };
    let mut frames = rewound(file, &parts.kek)?;
    loop {
        let frame = match frames.next()? {
            Next::Frame(frame) => frame,
            Next::End(loaded) if loaded == checked => break,
            Next::End(_) => return Err(contents("it was changed while it was read")),
        };
        match frame {
            Frame::Key(key) if purpose == Purpose::Move => {
                in_vault(parts, move |vault| vault.put_back(&key)).await?;
            }
            // Of a backup every key is condemned: none comes back.
            frame => loading.take(frame).await?,
        }
    }
    loading.flush().await?;
    Ok((read_back(parts, file, purpose).await?, run))
}

/// Notes that an import begins, in a store that has no rows or only those of one that was cut off. The note stays until the
/// end: of an import that is begun anew, too.
async fn make_room(
    parts: &KeyRingParts,
    copied: Vec<KeyId>,
    (purpose, assurances): (Purpose, Assurances),
) -> Result<Run, BackupError> {
    let store = parts.store.as_ref();
    let found = Run::find(store).await?;
    match found.mark {
        Some(Mark { what: what @ (Unfinished::CutOff | Unfinished::Moved), .. }) => Err(what.error()),
        Some(_) => {
            let run = Run::begin_alone(Unfinished::Import, (parts, assurances), found).await?;
            let parts = run.parts();
            let store = parts.store.as_ref();
            empty(store, keys::VAULT_TABLE, None).await?;
            take_back_keys(parts, copied, purpose).await?;
            for table in to_be_filled() {
                let kept = (table == INSTALLATION).then_some(unfinished::ROW);
                empty(store, table, kept).await?;
            }
            Ok(run)
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
            let keys = in_vault(parts, <dyn KeyVault>::list).await?.len();
            if keys > 0 {
                return Err(BackupError::VaultNotEmpty { keys });
            }
            Run::begin_alone(Unfinished::Import, (parts, assurances), found).await
        }
    }
}

/// Destroys the private keys that a restore which was cut off has made: those that its ring needs and the copy does not hold. Refuses a vault that has others, for they may be somebody else's.
async fn take_back_keys(
    parts: &KeyRingParts,
    copied: Vec<KeyId>,
    purpose: Purpose,
) -> Result<(), BackupError> {
    let [ring, _] = keys::TABLES;
    let row = parts.store.get(ring, ring_row()).await?;
    let now = parts.clock.numeric_date();
    let needed = row.map_or(Ok(Vec::new()), |row| keys_needed(&row.value, &parts.kek, now))?;
    let left = in_vault(parts, move |vault| {
        needed.iter().filter(|kid| !copied.contains(kid)).try_for_each(|kid| vault.destroy(kid))?;
        // One that is pending and that no ring names goes by itself. What was moved here stays.
        let mut left = vault.list()?;
        left.retain(|key| key.state == StoredState::Kept);
        left.retain(|key| purpose == Purpose::Backup || !copied.contains(&key.kid));
        Ok(left.len())
    })
    .await?;
    if left > 0 { Err(BackupError::VaultNotEmpty { keys: left }) } else { Ok(()) }
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

pub(super) fn rewound<'f, R: Read + Seek>(
    file: &'f mut R,
    kek: &Kek,
) -> Result<Frames<BufReader<&'f mut R>>, BackupError> {
    file.rewind().map_err(crate::keys::ArchiveError::Io)?;
    Frames::open(ArchiveReader::new(BufReader::new(file), kek)?)
}

pub(super) fn table(name: &str) -> Option<Table> {
    tables().into_iter().find(|table| table.name == name)
}
