use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::AuditError;

/// Where lines are appended; a trait so that tests can let a disk fail.
pub trait Sink: Send + 'static {
    /// Appends `bytes`, all of them or an error.
    ///
    /// # Errors
    /// When some of them may be missing.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything appended survive a power cut.
    ///
    /// # Errors
    /// When it may not; what the disk holds is unknown then.
    fn sync(&mut self) -> io::Result<()>;

    /// Takes back what was appended behind the last successful [`Sink::sync`].
    ///
    /// # Errors
    /// When some of it may be left.
    fn take_back(&mut self) -> io::Result<()>;
}

/// A log whose end is looked at before it is appended to; a trait for the same reason.
pub(super) trait End {
    /// Where it is.
    fn path(&self) -> &Path;

    /// How long it is.
    fn len(&self) -> u64;

    /// The bytes from `start` to the end.
    fn read_from(&mut self, start: u64) -> io::Result<Vec<u8>>;

    /// Writes what stands at `start` once more, durably.
    fn write_again(&mut self, start: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the log to `length`, durably.
    fn cut(&mut self, length: u64) -> io::Result<()>;

    /// What is wrong with it.
    fn damaged(&self, reason: &str) -> AuditError {
        AuditError::Damaged { path: self.path().to_owned(), reason: reason.to_owned() }
    }
}

/// Opens a log for reading. Nothing but a file is read: a pipe would keep its reader waiting, a device has no end.
pub(super) fn open_to_read(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(not_waiting()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("is no regular file")) }
}

/// Opening must not wait either, for whoever may be at the other end of a pipe (open(2)).
fn not_waiting() -> i32 {
    (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed()
}

/// The log's file, locked for this process.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// How long the file is with all that was synced.
    durable: u64,
    /// fcntl(2), which a file that may only be appended to refuses; tests give another.
    set_flags: fn(&File, OFlags) -> rustix::io::Result<()>,
}

impl LogFile {
    /// Opens or creates the file with access for its owner only, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, AuditError> {
        let unavailable = |error: io::Error| AuditError::Unavailable(format!("{}: {error}", path.display()));
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(directory) = directory {
            std::fs::create_dir_all(directory).map_err(unavailable)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(not_waiting())
            .open(path)
            .map_err(unavailable)?;
        if !file.metadata().map_err(unavailable)?.is_file() {
            return Err(AuditError::NotAFile(path.to_owned()));
        }
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => AuditError::InUse(path.to_owned()),
            TryLockError::Error(error) => unavailable(error),
        })?;
        // The directory too, or a power cut could take the new file's name with it.
        File::open(directory.unwrap_or(Path::new(".")))
            .and_then(|dir| dir.sync_all())
            .map_err(unavailable)?;
        // What a killed process appended may be known to the system alone. Unless it is on disk before anything follows it, a power
        // cut could leave a hole in front of what was synced, which nobody could tell from tampering.
        file.sync_all().map_err(unavailable)?;
        let durable = file.metadata().map_err(unavailable)?.len();
        Ok(Self { path: path.to_owned(), file, durable, set_flags: |file, flags| fcntl_setfl(file, flags) })
    }
}

const APPEND_ONLY: &str = "the system lets nobody change the audit log but at its end (chattr +a): what a crash or a full disk left \
                           half written can't be put right; where that is said by an error, chattr -a, start, chattr +a";

impl End for LogFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> u64 {
        self.durable
    }

    fn read_from(&mut self, start: u64) -> io::Result<Vec<u8>> {
        self.file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write_again(&mut self, start: u64, bytes: &[u8]) -> io::Result<()> {
        // While it is opened for appending, Linux writes at its end whatever the place that is named (pwrite(2)).
        let flags = fcntl_getfl(&self.file)?;
        match (self.set_flags)(&self.file, flags - OFlags::APPEND) {
            // The system lets nobody write but at its end (`chattr +a`), which an operator may well want of this file.
            Err(Errno::PERM) => {
                tracing::warn!(path = %self.path.display(), "{APPEND_ONLY}");
                return self.file.sync_all();
            }
            changed => changed?,
        }
        let written = self.file.write_all_at(bytes, start);
        (self.set_flags)(&self.file, flags)?;
        written?;
        self.file.sync_all()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => io::Error::new(error.kind(), APPEND_ONLY),
            _ => error,
        })?;
        self.file.sync_all()?;
        self.durable = length;
        Ok(())
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        // Closing is not enough: a process that is being started, and isn't itself yet, holds a copy of the file, and with it
        // the lock (flock(2)).
        self.file.unlock().ok();
    }
}

impl Sink for LogFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.durable = self.file.metadata()?.len();
        Ok(())
    }

    fn take_back(&mut self) -> io::Result<()> {
        self.cut(self.durable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_file_holds_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let log = LogFile::open(&path).unwrap();
        // As fork(2) makes one.
        let _copy = log.file.try_clone().unwrap();
        assert!(matches!(LogFile::open(&path), Err(AuditError::InUse(_))));
        drop(log);
        LogFile::open(&path).unwrap();
    }

    #[test]
    fn what_is_written_again_stands_where_it_stood_and_more_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        std::fs::write(&path, "one two").unwrap();
        let mut log = LogFile::open(&path).unwrap();
        log.write_again(4, b"TWO").unwrap();
        assert_eq!(log.read_from(0).unwrap(), b"one TWO");
        log.append(b" three").unwrap();
        log.sync().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one TWO three");
    }

    /// On Linux a file that may only be appended to (`chattr +a`) is written at its end whatever the place that is named: what
    /// stands there would stand there twice, which looks like tampering.
    #[test]
    fn what_may_only_be_appended_to_is_flushed_and_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        std::fs::write(&path, "one two").unwrap();
        let mut log = LogFile::open(&path).unwrap();
        log.set_flags = |_, _| Err(Errno::PERM);
        log.write_again(4, b"two").unwrap();
        log.append(b" three").unwrap();
        log.sync().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one two three");
        // Whatever else it is, what is on the disk is not known.
        log.set_flags = |_, _| Err(Errno::IO);
        assert!(log.write_again(4, b"two").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"one two three");
    }

    /// Where this process may have a file be so, and the file system can.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_may_only_be_appended_to_is_opened_and_can_not_be_put_right() {
        use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        std::fs::write(&path, "one two").unwrap();
        let file = File::open(&path).unwrap();
        let Ok(usual) = ioctl_getflags(&file) else { return };
        if ioctl_setflags(&file, usual | IFlags::APPEND).is_err() {
            return;
        }
        let mut log = LogFile::open(&path).unwrap();
        let written = log.write_again(4, b"two");
        let cut = log.cut(3);
        let appended = log.append(b" three").and_then(|()| log.sync());
        let left = std::fs::read(&path).unwrap();
        ioctl_setflags(&file, usual).unwrap();
        assert!(written.is_ok() && appended.is_ok(), "{written:?} {appended:?}");
        assert!(cut.unwrap_err().to_string().contains("chattr -a"));
        assert_eq!(left, b"one two three");
    }

    #[test]
    fn nothing_but_a_file_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        for path in [pipe.as_path(), &link, Path::new("/dev/full"), Path::new("/dev/null")] {
            let error = LogFile::open(path).unwrap_err();
            assert!(matches!(error, AuditError::NotAFile(_)), "{error}");
            assert!(error.to_string().contains("regular file"), "{error}");
            assert!(open_to_read(path).is_err(), "{}", path.display());
        }
        let file = dir.path().join("audit.jsonl");
        std::fs::write(&file, "").unwrap();
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        LogFile::open(&link).unwrap();
    }
}
