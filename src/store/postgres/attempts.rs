//! One call: a connection, the work, and what follows from its failure, all within one time limit.
//!
//! A commit that nobody's request waits for may be answered later than that: given up and made again, each would be as late as the
//! one before, and a node whose announcement is never acknowledged must stop issuing.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Sleep;

use super::fault::{Fault, describe};
use super::lane::{Access, Kept};
use super::pool::{Lease, Pool, Purpose, late};
use super::work::Work;
use crate::store::StoreError;

/// How often a call is made again that the database has undone, or whose connection was of no use.
const TRIES: u32 = 8;

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// All of it.
    pub(super) call: Duration,
    /// All of it where it may commit something, and has got a connection.
    pub(super) commit: Duration,
}

/// Does `work` on a connection for `purpose`, and does it again where nothing was done. Ends within these limits.
pub(super) async fn attempts<W: Work>(
    pool: &Arc<Pool>,
    work: &W,
    (purpose, limits): (Purpose, Limits),
) -> Result<W::Answer, StoreError> {
    let limit = limits.call;
    let mut end = pin!(tokio::time::sleep(limit));
    let mut last = pin!(tokio::time::sleep(limits.commit));
    let mut tries = 0;
    loop {
        tries += 1;
        let Some(lease) = until(end.as_mut(), pool.session(purpose, W::ACCESS)).await else {
            return Err(late(limit));
        };
        let lease = lease?;
        let outcome = {
            let mut work = pin!(work.run(lease.session(), pool.options.time.parameter()));
            match until(end.as_mut(), work.as_mut()).await {
                None if W::ACCESS == Access::Write && limits.commit > limit => {
                    let _kept = Kept::new(pool.clone(), purpose);
                    unless_replaced(pool, &lease, until(last.as_mut(), work)).await
                }
                outcome => outcome,
            }
        };
        let fault = match outcome {
            Some(Ok(answer)) => {
                lease.give_back();
                if W::has_written(&answer) {
                    pool.note_unwritable(false);
                }
                return Ok(answer);
            }
            Some(Err(fault)) => fault,
            None => {
                match W::ACCESS {
                    Access::Read => pool.distrust(&lease),
                    Access::Write => lease.leave_behind(),
                }
                return Err(late(limit));
            }
        };
        match fault {
            fault if tries == TRIES => return Err(fault.into_error()),
            Fault::Contended(_) => {
                let undone = until(end.as_mut(), lease.session().client().batch_execute("ROLLBACK")).await;
                undone.ok_or_else(|| late(limit))?.map_err(|error| describe(&error))?;
                lease.give_back();
                let pause = tokio::time::sleep(Duration::from_millis(1 << tries));
                until(end.as_mut(), pause).await.ok_or_else(|| late(limit))?;
            }
            Fault::Disconnected(_) => _ = pool.discard_all(),
            Fault::Unwritable(error) => {
                if W::ACCESS == Access::Write {
                    pool.note_unwritable(true);
                }
                return Err(error);
            }
            Fault::Failed(error) => return Err(error),
        }
    }
}

/// What `work` gives, unless the others lead to another server than this lease before.
async fn unless_replaced<T>(pool: &Pool, lease: &Lease, work: impl Future<Output = Option<T>>) -> Option<T> {
    let (mut server, own) = (pool.server(), lease.session().server);
    tokio::select! {
        done = work => done,
        _ = server.wait_for(|server| *server != Some(own)) => None,
    }
}

/// What `work` gives, unless `end` comes before.
async fn until<T>(end: Pin<&mut Sleep>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = end => None,
    }
}
