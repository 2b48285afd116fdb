//! One call: a connection, the work, and what follows from its failure, all within one time limit.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Sleep;

use super::fault::{Fault, describe};
use super::lane::Access;
use super::pool::{Pool, Purpose, late};
use super::work::Work;
use crate::store::StoreError;

/// How often a call is made again that the database has undone, or whose connection was of no use.
const TRIES: u32 = 8;

/// Does `work` on a connection for `purpose`, and does it again where nothing was done. Ends within the pool's time limit.
pub(super) async fn attempts<W: Work>(
    pool: &Arc<Pool>,
    work: &W,
    purpose: Purpose,
) -> Result<W::Answer, StoreError> {
    let limit = pool.options.timeout;
    let mut end = pin!(tokio::time::sleep(limit));
    let mut tries = 0;
    loop {
        tries += 1;
        let Some(lease) = until(end.as_mut(), pool.session(purpose, W::ACCESS)).await else {
            return Err(late(limit));
        };
        let lease = lease?;
        let work = work.run(lease.session(), pool.options.time.parameter());
        let fault = match until(end.as_mut(), work).await {
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

/// What `work` gives, unless `end` comes before.
async fn until<T>(end: Pin<&mut Sleep>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = end => None,
    }
}
