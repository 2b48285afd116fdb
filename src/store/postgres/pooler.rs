//! Whether what is between Signet and the server hands out sessions by the transaction, as `PgBouncer` can: nothing that a session
//! is told once holds there (docs/decisions/0017).

use tokio_postgres::{Client, SimpleQueryMessage};

use super::fault::describe;
use super::options::PostgresOptions;
use super::pool::within;
use super::reach;
use super::session::Link;
use crate::store::StoreError;

/// Who else uses the pool may get in between: so often it is tried.
const ROUNDS: usize = 3;

const REFUSED: &str = "between Signet and PostgreSQL there is a connection pooler that hands out sessions by transaction or \
                       statement: what Signet acknowledges could be lost. Connect to the server itself, or have the pooler \
                       do it by session (docs/operations.md, \"No pooler in between\")";

/// Refuses to go on where one connection leads to several sessions of the server, or two connections lead to the same one of it. What is no
/// pooler is never taken for one; one that others keep busy may be missed.
///
/// # Errors
/// As said, and when the server can't be reached or does not answer.
pub(super) async fn refuse_pooler(options: &PostgresOptions, link: &Link) -> Result<(), StoreError> {
    let other = reach(options, 0).await?;
    let seen = async {
        for _ in 0..ROUNDS {
            if is_pooled(&link.client, &other.client).await.map_err(|error| describe(&error))? {
                return Err(StoreError::Unavailable(REFUSED.to_owned()));
            }
        }
        Ok(())
    };
    within(options.timeout, seen).await
}

/// A pooler lends the session that was given back last, which another connection is told next, or the one that was given back first, which
/// is another one at the second time.
async fn is_pooled(one: &Client, other: &Client) -> Result<bool, tokio_postgres::Error> {
    let (first, second, of_other) = (session(one).await?, session(one).await?, session(other).await?);
    if first.is_none() {
        // A database that only speaks like PostgreSQL may have no processes to name.
        return Ok(false);
    }
    if first != second {
        return Ok(true);
    }
    // Of two servers behind one name each counts its own processes.
    Ok(second == of_other && started(one).await? == started(other).await?)
}

/// Which process of the server answers.
async fn session(client: &Client) -> Result<Option<u32>, tokio_postgres::Error> {
    let pid = answer(client, "SELECT pg_backend_pid()").await?;
    Ok(pid.and_then(|pid| pid.parse().ok()).filter(|pid| *pid > 0))
}

/// When the server that answers was started, whatever the session's time zone; nothing where it does not say.
async fn started(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    match answer(client, "SELECT extract(epoch FROM pg_postmaster_start_time())").await {
        Err(error) if error.code().is_some() => Ok(None),
        answered => answered,
    }
}

/// In the simple protocol: a pooler may lose what was prepared.
async fn answer(client: &Client, question: &str) -> Result<Option<String>, tokio_postgres::Error> {
    let answer = client.simple_query(question).await?;
    Ok(answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
