//! Views of the database as it stood between two commits: a transaction of its own that only reads, on a connection of
//! its own, so that a copy takes none from those who serve.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio_postgres::Statement;

use super::fault::describe;
use super::pool::{Pool, another_server, within};
use super::reach;
use super::session::{self, About, Link};
use super::statements::{NOW, SCAN, changes};
use super::work::{column, read_rows};
use crate::store::{Frozen, Row, SharedFrozen, StoreError, Table};

/// The database keeps what is overwritten for as long as the transaction lasts: nobody may forget it.
const IDLE: Duration = Duration::from_mins(1);

/// What the clock is called where it can't be read.
const CLOCK: Table = Table::plain("the clock");

struct View {
    link: Link,
    scan: Statement,
    /// When the view was opened, in milliseconds since the epoch.
    at: i64,
    timeout: Duration,
    /// Which reads from the connection.
    runtime: Handle,
}

/// Opens a view on a connection that nobody else uses, of the server that the others talk to: a copy of another would be one of
/// an older state. Must be called in the runtime that reads from it.
pub(super) async fn open(pool: &Pool) -> Result<SharedFrozen, StoreError> {
    let (options, generation) = (&pool.options, pool.generation());
    let link = reach(options, pool.preferred()).await?;
    let server = async {
        let announces = About::ask(&link.client).await?.announces();
        session::newest(&link.client, changes(announces)).await
    };
    let met = pool.met(within(options.timeout, server).await?.epoch, generation);
    met.ok_or_else(another_server)?;
    let (idle, timeout) = (IDLE.as_millis(), options.timeout);
    let begin = format!(
        "SET idle_in_transaction_session_timeout = {idle}; SET statement_timeout = {}; \
         BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        timeout.as_millis()
    );
    let opened = async {
        link.client.batch_execute(&begin).await?;
        // The first statement is what fixes the moment.
        let clock = link.client.query_one(NOW, &[]).await?;
        Ok((clock, link.client.prepare(SCAN).await?))
    };
    let (clock, scan) = within(timeout, async { opened.await.map_err(|error| describe(&error)) }).await?;
    let at = match options.time.parameter() {
        Some(injected) => injected,
        None => column(CLOCK, &clock, 0)?,
    };
    Ok(Arc::new(Shared(Arc::new(View { link, scan, at, timeout, runtime: Handle::current() }))))
}

struct Shared(Arc<View>);

#[async_trait]
impl Frozen for Shared {
    async fn scan(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
        let (view, after) = (self.0.clone(), after.unwrap_or_default().to_vec());
        let scanned = self.0.runtime.spawn(async move {
            let (name, after) = (table.name.as_bytes(), after.as_slice());
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = async {
                let found =
                    view.link.client.query(&view.scan, &[&name, &after, &limit, &Some(view.at)]).await;
                found.map_err(|error| describe(&error))
            };
            read_rows(table, &within(view.timeout, rows).await?)
        });
        scanned.await.map_err(|_| StoreError::Unavailable("the store is closed".to_owned()))?
    }
}
