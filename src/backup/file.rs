use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{BackupError, Contents, Sink};
use crate::keys::Kek;

/// A file that appears under its name only when it is whole and on disk; for the owner alone (0600).
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    /// Beside it, until it is whole; removed if it never is.
    temporary: PathBuf,
    file: File,
    kept: bool,
}

impl NewFile {
    /// Begins the file `path`, which must not exist yet.
    ///
    /// # Errors
    /// When it exists, or can't be written.
    pub fn create(path: &Path) -> Result<Self, BackupError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| BackupError::File { path, source }
        };
        if path.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(path.to_owned()));
        }
        let mut temporary = OsString::from(path);
        temporary.push(".partial");
        let temporary = PathBuf::from(temporary);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&temporary);
        // A directory that is missing is missing for the file that was asked for.
        let file = file.map_err(|error| {
            let at = if error.kind() == io::ErrorKind::NotFound { path } else { &temporary };
            failed(at)(error)
        })?;
        Ok(Self { path: path.to_owned(), temporary, file, kept: false })
    }

    /// Takes bytes as [`Sink`] does, from whoever does not wait.
    pub fn writer(&mut self) -> &mut dyn Write {
        &mut self.file
    }

    /// Reads what was written, as [`super::inspect`] does.
    ///
    /// # Errors
    /// As [`super::inspect`].
    pub fn inspect(&mut self, kek: &Kek) -> Result<Contents, BackupError> {
        super::inspect(&mut self.file, kek)
    }

    /// Gives the file its name, once it is on disk.
    ///
    /// # Errors
    /// When that fails, or a file of that name was made meanwhile.
    pub fn keep(mut self) -> Result<(), BackupError> {
        self.settle().map_err(|source| BackupError::File { path: self.path.clone(), source })?;
        self.kept = true;
        Ok(())
    }

    fn settle(&self) -> io::Result<()> {
        self.file.sync_all()?;
        // Unlike a rename, a link replaces nothing.
        fs::hard_link(&self.temporary, &self.path)?;
        fs::remove_file(&self.temporary)?;
        let directory = self.path.parent().filter(|parent| *parent != Path::new(""));
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // What is left is of no use, and can't be mistaken for a copy.
            fs::remove_file(&self.temporary).ok();
        }
    }
}

#[async_trait]
impl Sink for NewFile {
    async fn take(&mut self, bytes: Vec<u8>) -> Result<(), BackupError> {
        let written = self.file.write_all(&bytes);
        written.map_err(|source| BackupError::File { path: self.temporary.clone(), source })
    }
}
