//! What a session is asked to do, besides commits.

use chrono::DateTime;
use futures_util::future::try_join_all;
use tokio_postgres::Row as SqlRow;

use super::commit::{self, Outcome};
use super::fault::Fault;
use super::lane::Access;
use super::pool::Purpose;
use super::session::Session;
use crate::store::{Batch, Changes, Committed, Cursor, Row, StoreError, Table};

/// At most so many changes a page.
const CHANGES_PAGE: i64 = 1000;

/// A call to the database, which can be made again where nothing was done.
pub(super) trait Work: Send + Sync + 'static {
    /// What it gives.
    type Answer: Send + 'static;

    /// Which connections it may take, whoever asks.
    const PURPOSE: Purpose = Purpose::Work;

    /// Whether it may commit something.
    const ACCESS: Access;

    /// Whether this answer shows that the server takes what is written.
    fn has_written(answer: &Self::Answer) -> bool {
        let _ = answer;
        false
    }

    /// Does it; `now` is the time if the database's own is not to be used.
    fn run(
        &self,
        session: &Session,
        now: Option<i64>,
    ) -> impl Future<Output = Result<Self::Answer, Fault>> + Send;
}

/// [`crate::store::Store::get`].
pub(super) struct Get(pub(super) Table, pub(super) Vec<u8>);

/// [`crate::store::Store::get_each`].
pub(super) struct GetEach(pub(super) Table, pub(super) Vec<Vec<u8>>);

/// [`crate::store::Store::scan`].
pub(super) struct Scan(pub(super) Table, pub(super) Vec<u8>, pub(super) usize);

/// [`crate::store::Store::commit`].
pub(super) struct Commit(pub(super) Batch);

/// [`crate::store::Store::commit`], for several batches that [`commit::group`] takes.
pub(super) struct CommitTogether(pub(super) Vec<Batch>);

/// [`crate::store::Store::changes`], and how many are kept.
pub(super) struct ChangesBehind(pub(super) Cursor, pub(super) u64);

/// One transaction of [`crate::store::Store::sweep`], of what is not mirrored.
#[derive(Clone, Copy)]
pub(super) struct Sweep {
    /// What has expired by then, in milliseconds since the epoch.
    pub(super) by: i64,
    /// So many rows at most.
    pub(super) limit: i64,
}

/// The same of what is mirrored: that takes a turn.
pub(super) struct SweepMirrored(pub(super) Sweep);

/// One statement that forgets changes older than so many: at most as many as the second number says. And one that forgets
/// as many places at which turns ended.
pub(super) struct Prune(pub(super) u64, pub(super) i64);

/// [`crate::store::Store::now`].
pub(super) struct Now;

impl Work for Get {
    type Answer = Option<Row>;

    const ACCESS: Access = Access::Read;

    async fn run(&self, session: &Session, now: Option<i64>) -> Result<Self::Answer, Fault> {
        get(session, self.0, &self.1, now).await
    }
}

impl Work for GetEach {
    type Answer = Vec<Option<Row>>;

    const ACCESS: Access = Access::Read;

    async fn run(&self, session: &Session, now: Option<i64>) -> Result<Self::Answer, Fault> {
        let Self(table, keys) = self;
        // Sent one behind the other, before the first is answered.
        try_join_all(keys.iter().map(|key| get(session, *table, key, now))).await
    }
}

impl Work for Scan {
    type Answer = Vec<(Vec<u8>, Row)>;

    const ACCESS: Access = Access::Read;

    async fn run(&self, session: &Session, now: Option<i64>) -> Result<Self::Answer, Fault> {
        let Self(table, after, limit) = self;
        let (name, after) = (table.name.as_bytes(), after.as_slice());
        let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
        let found = session.client().query(&session.statements.scan, &[&name, &after, &limit, &now]).await;
        let rows = found.map_err(|error| Fault::before_commit(&error))?;
        Ok(read_rows(*table, &rows)?)
    }
}

impl Work for Commit {
    type Answer = Committed;

    const ACCESS: Access = Access::Write;

    fn has_written(answer: &Self::Answer) -> bool {
        *answer == Committed::Applied
    }

    async fn run(&self, session: &Session, now: Option<i64>) -> Result<Self::Answer, Fault> {
        commit::commit(session, &self.0, now).await
    }
}

impl Work for CommitTogether {
    type Answer = Vec<Outcome>;

    const ACCESS: Access = Access::Write;

    fn has_written(answer: &Self::Answer) -> bool {
        answer.contains(&Ok(Committed::Applied))
    }

    async fn run(&self, session: &Session, now: Option<i64>) -> Result<Self::Answer, Fault> {
        commit::group(session, &self.0, now).await
    }
}

impl Work for ChangesBehind {
    type Answer = Changes;

    const PURPOSE: Purpose = Purpose::Follow;

    const ACCESS: Access = Access::Read;

    async fn run(&self, session: &Session, _: Option<i64>) -> Result<Self::Answer, Fault> {
        let Self(after, kept) = *self;
        // A place beyond what the database can number is one of another store.
        let place = i64::try_from(after.place).unwrap_or(i64::MAX);
        let answer = session.client().query(&session.statements.changes, &[&place, &CHANGES_PAGE]).await;
        let rows = answer.map_err(|error| Fault::before_commit(&error))?;
        let (mut newest, mut changes) = (None, Vec::with_capacity(rows.len()));
        for row in &rows {
            let number = column::<i64>(LOG, row, 0)?.cast_unsigned();
            match column::<Option<Vec<u8>>>(LOG, row, 1)? {
                None => {
                    let epoch = column::<i64>(LOG, row, 3)?.cast_unsigned();
                    newest = Some(Cursor { epoch, place: number });
                }
                Some(table) => changes.push((number, table, column::<Vec<u8>>(LOG, row, 2)?)),
            }
        }
        let newest = newest.ok_or_else(|| damaged(LOG, "signet_place is empty"))?;
        let reach = newest.place.saturating_sub(kept);
        if !after.is_known_to(newest) || after.place < reach {
            return Ok(Changes::Reset { next: newest });
        }
        changes.sort_by_key(|(number, ..)| *number);
        let page = (newest.place - after.place).min(CHANGES_PAGE.cast_unsigned());
        let next = Cursor { place: after.place + page, ..newest };
        if !changes.iter().map(|(number, ..)| *number).eq(after.place + 1..=next.place) {
            // Somebody has removed rows by hand, or a restore has: what they told of is not known any more.
            tracing::warn!(
                "changes are missing in signet_event behind {}: everything is read anew",
                after.place
            );
            return Ok(Changes::Reset { next: newest });
        }
        let mut named = Vec::with_capacity(changes.len());
        for (_, table, key) in changes {
            let table = String::from_utf8(table).map_err(|_| damaged(LOG, "a table has no name"))?;
            named.push((table, key));
        }
        Ok(Changes::Rows { rows: named, next })
    }
}

impl Work for Sweep {
    type Answer = usize;

    const ACCESS: Access = Access::Write;

    async fn run(&self, session: &Session, now: Option<i64>) -> Result<Self::Answer, Fault> {
        let Self { by, limit } = self;
        let swept = session.client().query(&session.statements.sweep, &[by, limit, &now]).await;
        // Asked for again it removes what it had not.
        Ok(swept.map_err(|error| Fault::before_commit(&error))?.len())
    }
}

impl Work for SweepMirrored {
    type Answer = usize;

    const ACCESS: Access = Access::Write;

    async fn run(&self, session: &Session, now: Option<i64>) -> Result<Self::Answer, Fault> {
        let Self(Sweep { by, limit }) = self;
        let (client, all) = (session.client(), &session.statements);
        let before = |error: tokio_postgres::Error| Fault::before_commit(&error);
        if client.query_opt(&all.is_mirrored_due, &[by, &now]).await.map_err(before)?.is_none() {
            return Ok(0);
        }
        client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await.map_err(before)?;
        // Before any row is locked: others would wait for those as long.
        client.batch_execute(&session.waits_for_turn).await.map_err(before)?;
        client.execute(&all.turn, &[]).await.map_err(before)?;
        let swept = client.query(&all.sweep_mirrored, &[by, limit, &now]).await.map_err(before)?;
        if !swept.is_empty() {
            let names = |at| swept.iter().map(move |row| column::<Vec<u8>>(LOG, row, at));
            let (tables, keys) =
                (names(0).collect::<Result<Vec<_>, _>>()?, names(1).collect::<Result<_, _>>()?);
            let (keys, count): (Vec<_>, _) = (keys, i64::try_from(tables.len()).unwrap_or(i64::MAX));
            client.execute(&all.log, &[&tables, &keys, &count]).await.map_err(before)?;
        }
        client.batch_execute("COMMIT").await.map_err(|error| Fault::at_commit(&error))?;
        Ok(swept.len())
    }
}

impl Work for Prune {
    type Answer = u64;

    const ACCESS: Access = Access::Write;

    async fn run(&self, session: &Session, _: Option<i64>) -> Result<Self::Answer, Fault> {
        let Self(kept, limit) = self;
        let kept = i64::try_from(*kept).unwrap_or(i64::MAX);
        let (client, all) = (session.client(), &session.statements);
        let pruned = async {
            let changes = client.execute(&all.prune, &[&kept, limit]).await?;
            Ok(changes.max(client.execute(&all.prune_places, &[limit]).await?))
        };
        // Asked for again it forgets no more than it may.
        pruned.await.map_err(|error| Fault::before_commit(&error))
    }
}

impl Work for Now {
    type Answer = DateTime<chrono::Utc>;

    const PURPOSE: Purpose = Purpose::Follow;

    const ACCESS: Access = Access::Read;

    async fn run(&self, session: &Session, _: Option<i64>) -> Result<Self::Answer, Fault> {
        let row = session.client().query_one(&session.statements.now, &[]).await;
        let row = row.map_err(|error| Fault::before_commit(&error))?;
        let now = DateTime::from_timestamp_millis(row.get(0));
        Ok(now.ok_or_else(|| damaged(LOG, "the database's clock shows no date"))?)
    }
}

/// For errors: no table of its own, but the list of changes and what belongs to it.
const LOG: Table = Table::plain("the change log");

async fn get(session: &Session, table: Table, key: &[u8], now: Option<i64>) -> Result<Option<Row>, Fault> {
    let name = table.name.as_bytes();
    let found = session.client().query_opt(&session.statements.get, &[&name, &key, &now]).await;
    let row = found.map_err(|error| Fault::before_commit(&error))?;
    Ok(row.map(|row| read_row(table, key, &row, 0)).transpose()?)
}

/// Keys and rows as a scan finds them.
pub(super) fn read_rows(table: Table, rows: &[SqlRow]) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
    let read = |row| {
        let key: Vec<u8> = column(table, row, 0)?;
        let row = read_row(table, &key, row, 1)?;
        Ok((key, row))
    };
    rows.iter().map(read).collect()
}

/// `version`, `expires_at` and `v`, from the column `first` on.
fn read_row(table: Table, key: &[u8], row: &SqlRow, first: usize) -> Result<Row, StoreError> {
    let damaged = |reason| StoreError::damaged(table, key, reason);
    let version =
        u64::try_from(column::<i64>(table, row, first)?).map_err(|_| damaged("its version is negative"))?;
    let expires_at = column::<Option<i64>>(table, row, first + 1)?
        .map(|millis| DateTime::from_timestamp_millis(millis).ok_or_else(|| damaged("its expiry is no date")))
        .transpose()?;
    Ok(Row { version, expires_at, value: column(table, row, first + 2)? })
}

pub(super) fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    table: Table,
    row: &'a SqlRow,
    at: usize,
) -> Result<T, StoreError> {
    row.try_get(at).map_err(|_| damaged(table, "a column has another type: was the schema changed by hand?"))
}

fn damaged(table: Table, reason: &str) -> StoreError {
    StoreError::Damaged { table: table.name.to_owned(), reason: reason.to_owned() }
}
