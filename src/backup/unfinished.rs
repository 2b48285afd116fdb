//! A row that stands in the store while only half of an installation does, or one that has gone elsewhere: nothing may be
//! served from it.

use super::{BackupError, INSTALLATION};
use crate::store::{Batch, Committed, Condition, Nodes, Put, Store, StoreError};

pub(super) const ROW: &[u8] = b"unfinished";

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// Rows are being put into an empty store: it may be emptied again.
    Import,
    /// A cut-off is being set: the rows are those of an installation.
    CutOff,
    /// It goes on elsewhere, and no more here.
    Moved,
}

/// What was found: it is going on, or was cut off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) what: Unfinished,
    pub(super) version: u64,
}

impl Unfinished {
    fn word(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::CutOff => "cut-off",
            Self::Moved => "moved",
        }
    }

    pub(super) fn error(self) -> BackupError {
        match self {
            Self::Import => BackupError::Unfinished("an import"),
            Self::CutOff => BackupError::Unfinished("a restored installation"),
            Self::Moved => BackupError::Moved,
        }
    }

    pub(super) async fn find(store: &dyn Store) -> Result<Option<Mark>, BackupError> {
        let Some(row) = store.get(INSTALLATION, ROW).await? else { return Ok(None) };
        let known = [Self::Import, Self::CutOff, Self::Moved]
            .into_iter()
            .find(|each| each.word().as_bytes() == row.value);
        let damaged = || StoreError::Damaged {
            table: INSTALLATION.name.into(),
            reason: "a record can't be read".into(),
        };
        Ok(Some(Mark { what: known.ok_or_else(damaged)?, version: row.version }))
    }

    /// Adds that this is going on from now on.
    pub(super) fn begin(self, batch: Batch, condition: Condition) -> Batch {
        batch.put(INSTALLATION, ROW, condition, Put::lasting(self.word().into()))
    }
}

/// Commits what can conflict only if somebody else writes.
pub(super) async fn applied(store: &dyn Store, batch: Batch) -> Result<(), BackupError> {
    match store.commit(batch).await? {
        Committed::Applied => Ok(()),
        Committed::Conflict => Err(BackupError::Contended),
    }
}

/// Refuses a store that holds half of something, or an installation that was moved: it must neither be served nor copied.
///
/// # Errors
/// [`BackupError::Unfinished`], [`BackupError::Moved`], and when the store can't be read.
pub async fn refuse_unfinished(store: &dyn Store) -> Result<(), BackupError> {
    match Unfinished::find(store).await? {
        Some(unfinished) => Err(unfinished.what.error()),
        None => Ok(()),
    }
}

/// Refuses a store that nodes use: they would go on signing with keys that are condemned, and write what they hold in
/// memory. Whoever imports, restores or moves asks this first, and again when what is unfinished is written down: a node that
/// announces itself later finds that, for it asks after it has announced itself.
///
/// # Errors
/// [`BackupError::NodesRun`], and when the store can't be read.
pub async fn refuse_running_nodes(store: &dyn Store) -> Result<(), BackupError> {
    let names: Vec<_> = Nodes::running(store).await?.into_iter().map(|node| node.name).collect();
    if names.is_empty() { Ok(()) } else { Err(BackupError::NodesRun(names.join(", "))) }
}
