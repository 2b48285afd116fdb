use std::sync::Arc;

use async_trait::async_trait;

use super::{Row, StoreError, Table};

/// A store as it stood between two commits, whatever is committed while it is read. Dropping it ends the view.
#[async_trait]
pub trait Frozen: Send + Sync {
    /// As [`super::Store::scan`], of that moment: rows that were live then, also if they have expired since.
    ///
    /// # Errors
    /// As [`super::Store::scan`]; also when so much was written meanwhile that the view can't be kept.
    async fn scan(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError>;
}

/// A shared view.
pub type SharedFrozen = Arc<dyn Frozen>;
