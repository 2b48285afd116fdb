use super::{Row, Store, StoreError, Table};

/// How many rows are read at once.
pub(super) const PAGE: usize = 1000;

/// How far a table has been read, page by page; the default is its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The last key of the page before.
    after: Option<Vec<u8>>,
    ended: bool,
}

impl Reading {
    /// Whether there is nothing more to read.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }
}

/// Hands the live rows of the next page of `table` to `each`, in key order. A page that fails is the next one again.
///
/// # Errors
/// When the store fails, or with the first error of `each`.
pub async fn scan_page(
    store: &dyn Store,
    table: Table,
    reading: &mut Reading,
    mut each: impl FnMut(Vec<u8>, Row) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let page = store.scan(table, reading.after.as_deref(), PAGE).await?;
    let ended = page.len() < PAGE;
    let after = page.last().map(|(key, _)| key.clone());
    for (key, row) in page {
        each(key, row)?;
    }
    *reading = Reading { after, ended };
    Ok(())
}

/// Hands every live row of `table` to `each`, in key order, a page at a time.
///
/// # Errors
/// When the store fails, or with the first error of `each`.
pub async fn scan_each(
    store: &dyn Store,
    table: Table,
    mut each: impl FnMut(Vec<u8>, Row) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut reading = Reading::default();
    while !reading.has_ended() {
        scan_page(store, table, &mut reading, &mut each).await?;
    }
    Ok(())
}
