//! A batch as one transaction.
//!
//! Every row that the batch names is locked, in one order for all, before anything is decided: rows that are there by
//! the write or by `FOR UPDATE`, rows that are not by inserting them, which whoever inserts the same key waits for.
//! A condition is looked at with the lock held. So batches take effect as if one came after the other, although the
//! isolation level is only READ COMMITTED; no batch has to be repeated but for a deadlock, which the order rules out
//! among Signet's own, and under engines that know no such level.
//!
//! All locks are asked for without waiting for the answers in between: a transaction takes three round trips, however
//! much is in it, and a single write of a table that nobody mirrors is one statement, which takes one. Nothing is sent
//! before the transaction is known to have begun: outside of one, each lock would be a commit of its own.
//!
//! A transaction may hold several batches ([`group`]), none of which writes what another one names: then each one's conditions hold
//! or fail whatever becomes of the others, and one that fails, or whose rows others hold for too long, is left out.

use std::task::Poll;

use futures_util::future::{BoxFuture, FutureExt as _, MaybeDone, maybe_done};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement};

use super::fault::{Fault, describe, is_held_up};
use super::session::Session;
use crate::store::batch::whole_millis;
use crate::store::{Action, Batch, Committed, Condition, StoreError, Write};

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Commits `batch`, which is well-formed; `now` is the time if the database's own is not to be used.
pub(super) async fn commit(session: &Session, batch: &Batch, now: Option<i64>) -> Result<Committed, Fault> {
    let writes: Vec<&Write> = batch.writes.iter().filter(|write| !is_idle(write)).collect();
    match writes.as_slice() {
        [] => Ok(Committed::Applied),
        [single] if is_one_statement(single) => {
            session.begin();
            let holds = take(session, single, now, Reach::Alone).await;
            if !holds.map_err(|error| Fault::at_commit(&error))? {
                return Ok(Committed::Conflict);
            }
            acknowledged(session)?;
            Ok(Committed::Applied)
        }
        _ => Ok(group(session, std::slice::from_ref(batch), now).await?.swap_remove(0)?),
    }
}

/// What became of a batch among others.
pub(super) type Outcome = Result<Committed, StoreError>;

/// Commits several batches in one transaction; what one of them writes no other one names. Each applies, conflicts or is held up by others'
/// locks by itself, but any other failure is one of all: then either all that did neither were applied, or none was.
pub(super) async fn group(
    session: &Session,
    batches: &[Batch],
    now: Option<i64>,
) -> Result<Vec<Outcome>, Fault> {
    let (client, mut outcomes) = (session.client(), vec![Ok(Committed::Applied); batches.len()]);
    loop {
        let standing: Vec<usize> =
            (0..batches.len()).filter(|at| outcomes[*at] == Ok(Committed::Applied)).collect();
        if standing.is_empty() {
            return Ok(outcomes);
        }
        session.begin();
        client.batch_execute(BEGIN).await.map_err(|error| Fault::before_commit(&error))?;
        let writes = ordered(batches, &standing);
        let locks = writes.iter().map(|(_, write)| take(session, write, now, Reach::Within).boxed());
        let mut all_hold = true;
        for (taken, (at, _)) in pipelined(locks).await.into_iter().zip(&writes) {
            outcomes[*at] = match taken {
                Ok(true) => continue,
                Ok(false) => Ok(Committed::Conflict),
                Err(error) if is_held_up(&error) => Err(describe(&error)),
                Err(error) => return Err(Fault::before_commit(&error)),
            };
            all_hold = false;
            if outcomes[*at].is_err() {
                // It is the reason of all failures after it.
                break;
            }
        }
        if all_hold {
            let changes = changed(standing.iter().map(|at| &batches[*at]));
            finish(session, &writes, changes).await?;
            return Ok(outcomes);
        }
        // That is for good; the others are begun anew without it.
        client.batch_execute("ROLLBACK").await.map_err(|error| Fault::before_commit(&error))?;
    }
}

/// The writes of those batches that still stand, each with the place of its batch, in the order of locks.
fn ordered<'a>(batches: &'a [Batch], standing: &[usize]) -> Vec<(usize, &'a Write)> {
    let writes = standing.iter().flat_map(|at| batches[*at].writes.iter().map(move |write| (*at, write)));
    let mut writes: Vec<_> = writes.filter(|(_, write)| !is_idle(write)).collect();
    writes.sort_by_key(|(_, write)| (write.table.name, &write.key));
    writes
}

/// Removes what was only locked, writes down what changed, and commits.
async fn finish(session: &Session, writes: &[(usize, &Write)], changes: Keys<'_>) -> Result<(), Fault> {
    let commit = session.client().batch_execute("COMMIT").map(|ended| ended.map(|()| true)).boxed();
    let removals = writes.iter().filter_map(|(_, write)| release(session, write));
    let mut steps = pipelined(removals.chain(log(session, changes)).chain([commit])).await;
    let ended = steps.pop();
    // After a failure the server answers COMMIT by rolling back, and calls that a success.
    for step in steps {
        step.map_err(|error| match error.code() {
            Some(_) => Fault::before_commit(&error),
            None => Fault::at_commit(&error),
        })?;
    }
    ended.transpose().map_err(|error| Fault::at_commit(&error))?;
    acknowledged(session)
}

/// Whether the answer to a commit is one.
fn acknowledged(session: &Session) -> Result<(), Fault> {
    if session.was_warned() {
        return Err(Fault::Failed(StoreError::Unavailable(
            "PostgreSQL warned while it committed: whether the commit survives is not known".to_owned(),
        )));
    }
    Ok(())
}

/// Sends all of it, in this order, before it waits for any answer.
async fn pipelined<'a>(
    steps: impl Iterator<Item = BoxFuture<'a, Result<bool, Error>>>,
) -> Vec<Result<bool, Error>> {
    let mut steps: Vec<MaybeDone<_>> = steps.map(maybe_done).collect();
    std::future::poll_fn(|context| {
        for step in &mut steps {
            // Whatever is not done is polled again below.
            _ = step.poll_unpin(context);
        }
        Poll::Ready(())
    })
    .await;
    let mut answers = Vec::with_capacity(steps.len());
    for step in steps {
        answers.extend(match step {
            MaybeDone::Future(step) => Some(step.await),
            MaybeDone::Done(answer) => Some(answer),
            MaybeDone::Gone => None,
        });
    }
    answers
}

/// Writes down what the mirrors must hear of, if there is anything: last, for others wait for the turn that it takes.
fn log<'a>(
    session: &'a Session,
    (tables, keys): Keys<'a>,
) -> impl Iterator<Item = BoxFuture<'a, Result<bool, Error>>> {
    let (client, all) = (session.client(), &session.statements);
    let count = i64::try_from(tables.len()).unwrap_or(i64::MAX);
    let patience = async move { client.batch_execute(&session.waits_for_turn).await.map(|()| true) };
    let turn = async move { client.execute(&all.turn, &[]).await.map(|_| true) };
    let log = async move { client.execute(&all.log, &[&tables, &keys, &count]).await.map(|_| true) };
    (count > 0).then(|| [patience.boxed(), turn.boxed(), log.boxed()]).into_iter().flatten()
}

/// Whether it neither does nor asks anything.
fn is_idle(write: &Write) -> bool {
    write.action == Action::Check && write.condition == Condition::Always
}

/// Whether a single statement is all there is to it.
fn is_one_statement(write: &Write) -> bool {
    let is_placeholder = write.condition == Condition::Absent && !matches!(write.action, Action::Put { .. });
    !is_placeholder && (!write.table.mirrored || write.action == Action::Check)
}

/// Whether other rows are locked in the same transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Alone,
    Within,
}

/// Locks the row, and writes it where that needs nothing more; says whether its condition holds.
async fn take(session: &Session, write: &Write, now: Option<i64>, reach: Reach) -> Result<bool, Error> {
    let Write { table, key, condition, action } = write;
    let (table, key, all) = (table.name.as_bytes(), key.as_slice(), &session.statements);
    let run = async |statement: &Statement, parameters: &[&(dyn ToSql + Sync)]| {
        session.client().execute(statement, parameters).await
    };
    let rows = match (action, *condition) {
        (Action::Put { value, expires_at }, condition) => {
            let expires_at = whole_millis(*expires_at).map(|instant| instant.timestamp_millis());
            let mirrored = write.table.mirrored;
            match condition {
                Condition::Always => run(&all.put, &[&table, &key, &expires_at, &mirrored, value]).await?,
                Condition::Absent => {
                    run(&all.put_absent, &[&table, &key, &expires_at, &mirrored, value, &now]).await?
                }
                Condition::VersionIs(version) => {
                    let Ok(version) = i64::try_from(version) else { return Ok(false) };
                    let row: [&(dyn ToSql + Sync); 7] =
                        [&table, &key, &expires_at, &mirrored, value, &version, &now];
                    run(&all.put_version, &row).await?
                }
            }
        }
        (Action::Delete, Condition::Always) => {
            match reach {
                Reach::Alone => run(&all.delete, &[&table, &key]).await?,
                // Also where there is no row: another batch that is about to insert it comes after this one.
                Reach::Within => run(&all.lock, &[&table, &key]).await?,
            };
            1
        }
        (Action::Delete, Condition::VersionIs(version)) => {
            let Ok(version) = i64::try_from(version) else { return Ok(false) };
            run(&all.delete_version, &[&table, &key, &version, &now]).await?
        }
        (Action::Check, Condition::VersionIs(version)) => {
            let Ok(version) = i64::try_from(version) else { return Ok(false) };
            run(&all.check_version, &[&table, &key, &version, &now]).await?
        }
        (Action::Delete | Action::Check, Condition::Absent) => {
            run(&all.lock_absent, &[&table, &key, &now]).await?
        }
        (Action::Check, Condition::Always) => 1,
    };
    Ok(rows == 1)
}

/// Removes what [`take`] only locked.
fn release<'a>(session: &'a Session, write: &'a Write) -> Option<BoxFuture<'a, Result<bool, Error>>> {
    let all = &session.statements;
    let statement = match (&write.action, write.condition) {
        (Action::Delete, Condition::Always | Condition::Absent) => &all.delete,
        (Action::Check, Condition::Absent) => &all.unlock,
        _ => return None,
    };
    let release = async move {
        let (table, key) = (write.table.name.as_bytes(), write.key.as_slice());
        session.client().execute(statement, &[&table, &key]).await.map(|_| true)
    };
    Some(release.boxed())
}

/// Tables and keys, side by side.
type Keys<'a> = (Vec<&'a [u8]>, Vec<&'a [u8]>);

/// Tables and keys of what the mirrors must hear of, in the order of the batches.
fn changed<'a>(batches: impl Iterator<Item = &'a Batch>) -> Keys<'a> {
    let changed = batches.flat_map(|batch| &batch.writes).filter(|write| is_heard_of(write));
    changed.map(|write| (write.table.name.as_bytes(), write.key.as_slice())).unzip()
}

/// Whether the mirrors must hear of it.
pub(super) fn is_heard_of(write: &Write) -> bool {
    write.table.mirrored && write.action != Action::Check
}
