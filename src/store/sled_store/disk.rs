//! The files under sled: who may open them, and what makes them survive a power cut.
//!
//! sled's own `flush` ends with `sync_file_range`, which leaves the file's length and the drive's cache
//! alone: it survives a kill, not a power cut. So every acknowledged group is followed by `fdatasync` on
//! our own handle. Blobs, the files into which sled moves very large pages, it never syncs at all; the
//! layout avoids them, and those that appear nevertheless are synced here. Snapshots sled syncs itself,
//! and it can do without them.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, fsync, open, unlink};
use rustix::io::{Errno, retry_on_intr};

use crate::store::{Room, StoreError, sync_names_above};

/// How much the data file is reserved beyond its end, in bytes, so that whoever else fills the disk does not make a write
/// of sled's fail; renewed when less than [`RESERVE_LEAST`] of it is left, which is more than a group of commits takes.
const RESERVE: u64 = 8 * 1024 * 1024;
const RESERVE_LEAST: u64 = 6 * 1024 * 1024;

/// What the writer asks of the disk.
pub(super) trait Disk: Send {
    /// Whether there is room for another group of commits.
    fn has_room(&mut self) -> io::Result<bool>;

    /// Returns once all that sled has flushed would survive a power cut.
    fn sync(&mut self) -> io::Result<()>;
}

/// The data file and the blobs of an open sled database.
pub(super) struct DataFiles {
    db: File,
    blobs: PathBuf,
    /// What is written to see whether the file system still takes files; not there otherwise.
    probe: PathBuf,
    synced_blobs: HashSet<OsString>,
    /// How long the data file was, and how long it can become with what is reserved.
    reserved: (u64, u64),
}

impl DataFiles {
    /// Opens own handles on the files in `dir`, and makes the files' existence durable.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        for path in [&dir.join("conf"), &dir.join("blobs"), dir] {
            File::open(path)?.sync_all()?;
        }
        sync_names_above(dir)?;
        let db = File::options().read(true).write(true).open(dir.join("db"))?;
        let (blobs, probe) = (dir.join("blobs"), dir.join("probe"));
        Ok(Self { db, blobs, probe, synced_blobs: HashSet::new(), reserved: (0, 0) })
    }

    /// Whether the data file can grow by as much as a group of commits takes, whatever else is written to the disk, and the file
    /// system can still write what it keeps about files. The data file's length stays as it is. A file system that can't reserve
    /// anything has to do without.
    fn reserve(&mut self) -> io::Result<bool> {
        let length = self.db.metadata()?.len();
        let (was, until) = self.reserved;
        // sled cuts the file when its end is free, and what was reserved goes with it.
        if length >= was && length + RESERVE_LEAST <= until {
            return Ok(true);
        }
        let allocate = || match fallocate(&self.db, FallocateFlags::KEEP_SIZE, length, RESERVE) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            answer => answer,
        };
        // The blocks of metadata come last: those that the reserve itself needs are taken by then.
        let has_room = takes(allocate)? && takes(|| write_probe(&self.probe))?;
        if has_room {
            self.reserved = (length, length + RESERVE);
        }
        Ok(has_room)
    }
}

/// Whether there was room for what `call` does. Only what says that the disk is full, or the quota used up, is a no.
fn takes(mut call: impl FnMut() -> rustix::io::Result<()>) -> io::Result<bool> {
    match retry_on_intr(&mut call) {
        Ok(()) => Ok(true),
        Err(Errno::NOSPC | Errno::DQUOT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes a file, writes to it and removes it: a file system may have room for data and none for the names, the inodes or the
/// tree that sled's files need besides, and says so only when asked for them.
fn write_probe(path: &Path) -> rustix::io::Result<()> {
    let written = write_block(path);
    match unlink(path) {
        // It could not even be made.
        Ok(()) | Err(Errno::NOENT) => written,
        Err(error) => written.and(Err(error)),
    }
}

fn write_block(path: &Path) -> rustix::io::Result<()> {
    let probe = open(path, OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
    rustix::io::write(&probe, &[0; 4096])?;
    fsync(&probe)
}

impl Disk for DataFiles {
    fn has_room(&mut self) -> io::Result<bool> {
        let file_system = rustix::fs::fstatvfs(&self.db)?;
        // Some have no fixed number of files, and say 0 of 0.
        let files_left = file_system.f_files == 0 || file_system.f_favail > 0;
        Ok(files_left && !Room::of(&file_system).is_full() && self.reserve()?)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.db.sync_data()?;
        let mut blobs = HashSet::new();
        for entry in fs::read_dir(&self.blobs)? {
            blobs.insert(entry?.file_name());
        }
        let mut fresh = blobs.difference(&self.synced_blobs).peekable();
        if fresh.peek().is_some() {
            for name in fresh {
                match File::open(self.blobs.join(name)) {
                    Ok(blob) => blob.sync_all()?,
                    // sled has replaced it meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            File::open(&self.blobs)?.sync_all()?;
        }
        self.synced_blobs = blobs;
        Ok(())
    }
}

/// Creates `dir`, and what is missing above it, for this user only.
pub(super) fn create_private(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Signet's claim on a data directory, held until it is dropped; it also notes that data was once there.
pub(super) struct Claim(File);

const MARK: &[u8] = b"signet store 1\n";

impl Claim {
    /// Claims `dir`, which exists.
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("claim");
        let failed = |error: io::Error| unavailable(&path, &error);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(StoreError::Unavailable(format!(
                "another Signet process has the data directory {} open; stop it, or give this one its own",
                dir.display()
            ))),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Whether a store was once completely set up here.
    pub(super) fn is_marked(&mut self) -> io::Result<bool> {
        let mut mark = Vec::new();
        self.0.rewind()?;
        self.0.read_to_end(&mut mark)?;
        Ok(mark.starts_with(MARK))
    }

    /// Notes durably that the store is completely set up.
    pub(super) fn mark(&mut self) -> io::Result<()> {
        self.0.rewind()?;
        self.0.write_all(MARK)?;
        self.0.sync_all()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Closing is not enough: a process that is being started, and isn't itself yet, holds a copy of the file, and with it
        // the lock (flock(2)).
        self.0.unlock().ok();
    }
}

/// Removes what a crash during start-up left of an unfinished snapshot: sled 0.34 would take it for the
/// newest one and refuse to open. Only under the [`Claim`]; the snapshot before it is still there.
pub(super) fn remove_unfinished_snapshots(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Syncs what is there of a database in `dir`. Only under the [`Claim`], before sled opens it: sled reads what a killed process
/// wrote and never synced, and notes it in a snapshot that it does sync. After a power cut that snapshot would speak of what is
/// gone, and nothing could be read any more.
pub(super) fn sync_what_is_there(dir: &Path) -> io::Result<()> {
    if_there(File::open(dir.join("db")))?.map_or(Ok(()), |db| db.sync_all())?;
    let blobs = dir.join("blobs");
    for blob in if_there(fs::read_dir(&blobs))?.into_iter().flatten() {
        File::open(blob?.path())?.sync_all()?;
    }
    if_there(File::open(blobs))?.map_or(Ok(()), |blobs| blobs.sync_all())
}

fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// A file system error, naming the file.
pub(super) fn unavailable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_file_holds_no_claim() {
        let dir = tempfile::tempdir().unwrap();
        let claim = Claim::take(dir.path()).unwrap();
        // As fork(2) makes one.
        let _copy = claim.0.try_clone().unwrap();
        assert!(Claim::take(dir.path()).is_err());
        drop(claim);
        Claim::take(dir.path()).unwrap();
    }

    #[test]
    fn only_a_full_disk_is_full_and_an_interrupted_call_is_made_again() {
        let mut answers = vec![Err(Errno::NOSPC), Err(Errno::INTR), Err(Errno::INTR)];
        assert!(!takes(|| answers.pop().unwrap()).unwrap());
        assert!(!takes(|| Err(Errno::DQUOT)).unwrap());
        let mut answers = vec![Ok(()), Err(Errno::INTR)];
        assert!(takes(|| answers.pop().unwrap()).unwrap());
        for other in [Errno::IO, Errno::ROFS, Errno::PERM, Errno::FBIG] {
            assert_eq!(takes(|| Err(other)).unwrap_err().raw_os_error(), Some(other.raw_os_error()));
        }
    }

    #[test]
    fn a_file_system_that_has_room_but_takes_no_files_is_full() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["conf", "blobs", "db"] {
            File::create(dir.path().join(name)).unwrap();
        }
        let mut files = DataFiles::open(dir.path()).unwrap();
        // Whatever is written here finds the device full.
        std::os::unix::fs::symlink("/dev/full", dir.path().join("probe")).unwrap();
        assert!(!files.has_room().unwrap());
        assert!(files.has_room().unwrap(), "what is in the way is gone, and there is room again");
        assert!(!dir.path().join("probe").exists());
        // Looked at when the reserve is renewed, not with every commit.
        std::os::unix::fs::symlink("/dev/full", dir.path().join("probe")).unwrap();
        assert!(files.has_room().unwrap());
        files.db.set_len(RESERVE).unwrap();
        assert!(!files.has_room().unwrap());
    }
}
