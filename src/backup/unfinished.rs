//! A row that stands in the store while only half of an installation does, or one that has gone elsewhere: nothing may be
//! served from it.

use super::{Assurances, BackupError, INSTALLATION};
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

impl Unfinished {
    fn word(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::CutOff => "cut-off",
            Self::Moved => "moved",
        }
    }

    fn error(self) -> BackupError {
        match self {
            Self::Import => BackupError::Unfinished("an import"),
            Self::CutOff => BackupError::Unfinished("a restored installation"),
            Self::Moved => BackupError::Moved,
        }
    }

    pub(super) async fn find(store: &dyn Store) -> Result<Option<Self>, BackupError> {
        let Some(row) = store.get(INSTALLATION, ROW).await? else { return Ok(None) };
        let known = [Self::Import, Self::CutOff, Self::Moved]
            .into_iter()
            .find(|each| each.word().as_bytes() == row.value);
        let damaged = || StoreError::Damaged {
            table: INSTALLATION.name.into(),
            reason: "a record can't be read".into(),
        };
        Ok(Some(known.ok_or_else(damaged)?))
    }

    /// Adds that this is going on from now on.
    pub(super) fn begin(self, batch: Batch, condition: Condition) -> Batch {
        batch.put(INSTALLATION, ROW, condition, Put::lasting(self.word().into()))
    }

    /// Writes down that this is going on from now on, in place of what is `found`, and refuses it where nodes use the store all
    /// the same: then what was written is taken back, and nothing was done. Either such a node is seen here, or it sees what was
    /// written and takes no part.
    pub(super) async fn begin_alone(
        self,
        store: &dyn Store,
        found: Option<Self>,
        assurances: Assurances,
    ) -> Result<(), BackupError> {
        if found != Some(self) {
            let condition = if found.is_none() { Condition::Absent } else { Condition::Always };
            applied(store, self.begin(Batch::new(), condition)).await?;
        }
        if assurances.nodes_stopped {
            return Ok(());
        }
        let refused = refuse_running_nodes(store).await;
        if refused.is_err() && found != Some(self) {
            match found {
                Some(before) => applied(store, before.begin(Batch::new(), Condition::Always)).await?,
                None => Self::end(store).await?,
            }
        }
        refused
    }

    /// Notes that it is over.
    pub(super) async fn end(store: &dyn Store) -> Result<(), BackupError> {
        applied(store, Batch::new().delete(INSTALLATION, ROW, Condition::Always)).await
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
        Some(unfinished) => Err(unfinished.error()),
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
