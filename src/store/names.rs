//! That what was made has a name after a power cut.

use std::fs::File;
use std::io;
use std::path::Path;

/// Syncs every directory above `dir`, so that `dir`, and whichever of those above it were made for it, have a name after a power
/// cut: what is synced within a directory is lost with its name (fsync(2)). What is in `dir` is the caller's.
///
/// # Errors
/// When a directory can't be synced. One that may not be read, or is on a file system that is read only or knows no syncing of
/// directories, is passed over: nobody made a name in it just now, or nothing more can be done for it.
pub(crate) fn sync_names_above(dir: &Path) -> io::Result<()> {
    for above in dir.canonicalize()?.ancestors().skip(1) {
        match File::open(above).and_then(|above| above.sync_all()) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied
                        | io::ErrorKind::ReadOnlyFilesystem
                        | io::ErrorKind::InvalidInput
                        | io::ErrorKind::Unsupported
                ) => {}
            synced => synced?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_has_no_name_to_sync() {
        let dir = tempfile::tempdir().unwrap();
        sync_names_above(dir.path()).unwrap();
        assert!(sync_names_above(&dir.path().join("none")).is_err());
    }
}
