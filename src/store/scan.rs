use super::{Row, Store, StoreError, Table};

/// How many rows are read at once.
pub(super) const PAGE: usize = 1000;

/// Hands every live row of `table` to `each`, in key order, a page at a time.
///
/// # Errors
/// When the store fails, or with the first error of `each`.
pub async fn scan_each(
    store: &dyn Store,
    table: Table,
    mut each: impl FnMut(Vec<u8>, Row) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(table, after.as_deref(), PAGE).await?;
        let last = page.len() < PAGE;
        after = page.last().map(|(key, _)| key.clone());
        for (key, row) in page {
            each(key, row)?;
        }
        if last {
            return Ok(());
        }
    }
}
