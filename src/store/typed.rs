//! Tables of one type: JSON under a schema version, so that a data directory of every release keeps opening.

use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Batch, Condition, Put, Reading, Row, Store, StoreError, Table};

/// Turns a record of the schema version given into one of the version after it; or says why it can't.
pub type Upgrade = fn(u8, Value) -> Result<Value, String>;

/// A [`Table`] whose values are `T`. A value is stored as its schema version, one byte, and JSON.
///
/// Adding an optional field, or one with a serde default, needs nothing, unless the record refuses fields that it does not know.
/// But while nodes of the former release run, one that writes the record drops what it does not know: nothing may rest on
/// such a field being there. For any other change raise the version, and give the step that upgrades the version before. A node of
/// the former release takes such a record for damaged, so the version of PostgreSQL's tables is raised with it: then all
/// nodes are stopped for that release (docs/operations.md, upgrading). A test holds the two against each other.
///
/// ```
/// use signet::store::{Table, typed::TypedTable};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Client {
///     display_name: String,
/// }
///
/// const CLIENTS: TypedTable<Client> =
///     TypedTable::new(Table::mirrored("clients")).upgraded(2, |from, mut record| match from {
///         1 => {
///             record["display_name"] = record["name"].take();
///             Ok(record)
///         }
///         _ => Err("there was no such version".to_owned()),
///     });
/// ```
#[derive(Debug)]
pub struct TypedTable<T> {
    table: Table,
    schema: u8,
    upgrade: Upgrade,
    of: PhantomData<fn() -> T>,
}

/// A stored record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<T> {
    /// For [`Condition::VersionIs`].
    pub version: u64,
    /// When the record ceases to exist.
    pub expires_at: Option<DateTime<Utc>>,
    /// The record itself.
    pub value: T,
}

impl<T> TypedTable<T> {
    /// The records of `table`, in schema version 1.
    #[must_use]
    pub const fn new(table: Table) -> Self {
        Self { table, schema: 1, upgrade: |_, _| Err("there is no upgrade".to_owned()), of: PhantomData }
    }

    /// The same in the version `schema`; `upgrade` leads there from every earlier one, step by step.
    #[must_use]
    pub const fn upgraded(self, schema: u8, upgrade: Upgrade) -> Self {
        Self { schema, upgrade, ..self }
    }

    /// The table itself, for deletes and checks.
    #[must_use]
    pub const fn table(&self) -> Table {
        self.table
    }
}

impl<T: Serialize + DeserializeOwned> TypedTable<T> {
    /// The record under `key`, unless there is none or it has expired.
    ///
    /// # Errors
    /// As [`Store::get`], and [`StoreError::Damaged`] if the row is no such record.
    pub async fn get(&self, store: &dyn Store, key: &[u8]) -> Result<Option<Record<T>>, StoreError> {
        store.get(self.table, key).await?.map(|row| self.decode_at(key, &row)).transpose()
    }

    /// Hands every live record to `each`, in key order. They are read page by page: what is committed
    /// meanwhile may be missing.
    ///
    /// # Errors
    /// As [`Store::scan`], [`StoreError::Damaged`] if a row is no such record, or the first error of `each`.
    pub async fn scan_each(
        &self,
        store: &dyn Store,
        mut each: impl FnMut(Vec<u8>, Record<T>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut each = |key: Vec<u8>, row: Row| {
            let record = self.decode_at(&key, &row)?;
            each(key, record)
        };
        super::scan_each(store, self.table, &mut each).await
    }

    /// As [`super::scan_page`], of live records.
    ///
    /// # Errors
    /// As [`Self::scan_each`].
    pub async fn scan_page(
        &self,
        store: &dyn Store,
        reading: &mut Reading,
        mut each: impl FnMut(Vec<u8>, Record<T>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut each = |key: Vec<u8>, row: Row| {
            let record = self.decode_at(&key, &row)?;
            each(key, record)
        };
        super::scan_page(store, self.table, reading, &mut each).await
    }

    /// All live records in key order.
    ///
    /// # Errors
    /// As [`Self::scan_each`].
    pub async fn scan_all(&self, store: &dyn Store) -> Result<Vec<(Vec<u8>, Record<T>)>, StoreError> {
        let mut records = Vec::new();
        self.scan_each(store, |key, record| {
            records.push((key, record));
            Ok(())
        })
        .await?;
        Ok(records)
    }

    /// The value to put for a record that stays, or that ceases to exist at `expires_at`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if `record` has no form in JSON.
    pub fn encode(&self, record: &T, expires_at: Option<DateTime<Utc>>) -> Result<Put, StoreError> {
        let mut value = vec![self.schema];
        serde_json::to_writer(&mut value, record)
            .map_err(|_| StoreError::Invalid("a record has no form in JSON"))?;
        Ok(Put { value, expires_at })
    }

    /// Adds a lasting record to `batch`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if `record` has no form in JSON.
    pub fn put(
        &self,
        batch: Batch,
        key: impl Into<Vec<u8>>,
        condition: Condition,
        record: &T,
    ) -> Result<Batch, StoreError> {
        Ok(batch.put(self.table, key, condition, self.encode(record, None)?))
    }

    /// As [`Self::decode`], of the row under `key`.
    fn decode_at(&self, key: &[u8], row: &Row) -> Result<Record<T>, StoreError> {
        self.decode(row).map_err(|error| match error {
            StoreError::Damaged { reason, .. } => StoreError::damaged(self.table, key, &reason),
            error => error,
        })
    }

    /// Reads a row of this table.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it is no such record, or one of a later schema version.
    pub fn decode(&self, row: &Row) -> Result<Record<T>, StoreError> {
        let damaged = |reason: String| StoreError::Damaged { table: self.table.name.to_owned(), reason };
        let Some((&schema, json)) = row.value.split_first() else {
            return Err(damaged("a record is empty".to_owned()));
        };
        // serde's messages may quote the value, which may be secret: only the place goes into the error.
        let unreadable = |error: &serde_json::Error| {
            damaged(format!("a record is no such JSON, at column {}", error.column()))
        };
        if schema > self.schema {
            return Err(damaged(format!("a record has version {schema}: it was written by a later Signet")));
        }
        let value = if schema == self.schema {
            serde_json::from_slice(json)
        } else {
            let mut record = serde_json::from_slice(json).map_err(|error| unreadable(&error))?;
            for from in schema..self.schema {
                record = (self.upgrade)(from, record).map_err(|reason| {
                    damaged(format!("a record of version {from} can't be upgraded: {reason}"))
                })?;
            }
            serde_json::from_value(record)
        };
        let value = value.map_err(|error| unreadable(&error))?;
        Ok(Record { version: row.version, expires_at: row.expires_at, value })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde::Deserialize;

    use super::super::scan::PAGE;
    use super::*;
    use crate::clock::ManualClock;
    use crate::store::memory::MemoryStore;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Old {
        name: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        display_name: String,
        notes: Vec<String>,
    }

    const TABLE: Table = Table::plain("clients");
    const OLD: TypedTable<Old> = TypedTable::new(TABLE);
    const NEW: TypedTable<New> = TypedTable::new(TABLE).upgraded(3, |from, mut record| match from {
        1 => {
            record["display_name"] = record["name"].take();
            Ok(record)
        }
        2 => {
            record["notes"] = serde_json::json!([]);
            Ok(record)
        }
        _ => Err("there was no such version".to_owned()),
    });

    fn row(value: &[u8]) -> Row {
        Row { version: 4, expires_at: None, value: value.to_vec() }
    }

    #[tokio::test]
    async fn records_of_an_earlier_release_are_upgraded_step_by_step() {
        let store = MemoryStore::new(Arc::new(ManualClock::at(0)));
        for number in 0..=2 * PAGE {
            let key = number.to_string();
            let old = Old { name: key.clone() };
            _ = store.commit(OLD.put(Batch::new(), key, Condition::Absent, &old).unwrap()).await.unwrap();
        }
        let record = NEW.get(&*store, b"7").await.unwrap().unwrap();
        assert_eq!(record.value, New { display_name: "7".to_owned(), notes: vec![] });
        assert_eq!(NEW.scan_all(&*store).await.unwrap().len(), 2 * PAGE + 1);
    }

    #[test]
    fn a_record_of_a_later_release_is_refused_not_misread() {
        let put = NEW.encode(&New { display_name: "n".to_owned(), notes: vec![] }, None).unwrap();
        let message = OLD.decode(&row(&put.value)).unwrap_err().to_string();
        assert!(message.contains("later Signet"), "{message}");
    }

    #[test]
    fn a_damaged_record_is_an_error_that_does_not_quote_it() {
        for value in [b"".as_slice(), b"\x01", b"\x01{\"name\":\"hush", b"\x03[\"hush\"]", b"\x00{}"] {
            let message = NEW.decode(&row(value)).unwrap_err().to_string();
            assert!(message.contains("damaged") && !message.contains("hush"), "{message}");
        }
    }
}
