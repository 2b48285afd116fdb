//! Opens sled's database, or says clearly why not; repairs nothing and begins nothing anew.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use sled::Tree;

use super::{disk, layout, unavailable};
use crate::priority::stand_back;
use crate::store::StoreError;

/// How far sled's own threads stand back, and the one that writes: while they work on a commit whoever only reads or signs is answered
/// (docs/decisions/0016).
pub(super) const NICENESS: i32 = 5;

/// sled's own opening, of files that are synced first. Panics in it are answered, not passed on: it panics on some damaged files.
pub(super) fn open_database(dir: &Path, cache_capacity: u64) -> Result<sled::Db, StoreError> {
    // A thread has the priority of the one that started it, and sled starts its own when it is opened.
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| {
            stand_back(NICENESS);
            open_here(dir, cache_capacity)
        });
        opening
            .join()
            .unwrap_or_else(|_| Err(StoreError::Unavailable("opening the store panicked".to_owned())))
    })
}

fn open_here(dir: &Path, cache_capacity: u64) -> Result<sled::Db, StoreError> {
    disk::sync_what_is_there(dir).map_err(|error| disk::unavailable(dir, &error))?;
    let config = sled::Config::new().path(dir).cache_capacity(cache_capacity).flush_every_ms(Some(500));
    let open = || {
        std::panic::catch_unwind(AssertUnwindSafe(|| config.open()))
            .unwrap_or_else(|_| Err(sled::Error::ReportableBug("opening it panicked".to_owned())))
    };
    let mut opened = open();
    // The claim is ours, so if sled finds its file locked, that is by this process's earlier store, whose
    // last background write is about to end.
    for _ in 0..40 {
        match &opened {
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                std::thread::sleep(Duration::from_millis(25));
                opened = open();
            }
            _ => break,
        }
    }
    opened.map_err(|error| match unavailable(error) {
        StoreError::Unavailable(reason) => StoreError::Unavailable(format!("{}: {reason}", dir.display())),
        error => error,
    })
}

/// Checks the layout's version, or notes it in a new store and calls `make_durable`.
pub(super) fn set_up(
    dir: &Path,
    tree: &Tree,
    marked: bool,
    make_durable: &mut dyn FnMut() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    match tree.get(layout::FORMAT_KEY).map_err(unavailable)? {
        Some(format) if *format == [layout::FORMAT] => Ok(()),
        Some(format) => Err(layout::damaged(
            "the whole store",
            &format!("its format is {format:?}, this Signet reads [{}]", layout::FORMAT),
        )),
        None if marked => Err(layout::damaged(
            "the whole store",
            &format!(
                "{} once held a store and now holds none; restore it from a backup, or empty the directory \
                 to begin anew",
                dir.display()
            ),
        )),
        None => {
            tree.insert(layout::FORMAT_KEY, &[layout::FORMAT]).map_err(unavailable)?;
            make_durable()
        }
    }
}
