//! The store in PostgreSQL, for more than one node.
//!
//! - **A batch is a transaction** in which every row that it names is locked in one order before a condition is looked
//!   at (`commit`). What the server is known to have undone (serialization failure, deadlock, a connection lost before
//!   the commit was asked for) is done again; a commit whose answer was lost is not: nothing is known of it.
//! - **The database's clock** decides what has expired, for it is the one that all nodes share.
//! - **Versions** come from a sequence, which gives none twice. They grow with every write of a row, with one exception
//!   that needs three others at once: an insert that waits for another of the same key, which is then deleted before
//!   the first goes on, keeps the number that it drew before it began to wait.
//! - **Changes** are numbered in the transaction that makes them, by whoever has locked the one row of
//!   `signet_turn`, until it ends: so commits to mirrored tables take turns, and no number becomes visible before a smaller
//!   one. Those of one node that wait share a turn (`together`).
//! - **One server at a time**: a new connection that leads to another server than the others makes those worthless (`pool`).
//! - **Every call ends in time**: waiting, connecting and all round trips share one limit, and so many may wait, no more.
//!   To follow what others commit there is a connection apart, which writers can't take.
//! - **So many connections, for ever**: what the server does not let go of keeps its place, also when nobody waits for it any
//!   more; to read there are connections that no such commit can take (`lane`).
//! - **A thread of its own** reads from the connections and finishes what was begun, also when whoever asked has gone:
//!   people who hang up in the middle do not cost a connection.

mod attempts;
mod commit;
mod fault;
mod frozen;
mod lane;
mod listener;
mod options;
mod pool;
mod pooler;
mod schema;
mod session;
mod statements;
mod tls;
mod together;
mod work;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use self::attempts::{Limits, attempts};
use self::lane::Access;
use self::pool::{Pool, Purpose, within};
use self::session::{About, Link};
use self::together::Waiting;
use self::work::{ChangesBehind, Commit, Get, GetEach, Now, Prune, Scan, Sweep, SweepMirrored, Work};
use super::following::is_following;
use super::patience::is_asked_for;
use super::{Batch, Changes, Committed, Cursor, Row, SharedFrozen, Store, StoreError, StoreLoad, Table};

pub use options::{PostgresHost, PostgresOptions, PostgresPassword, PostgresTls, TimeSource};

/// So many rows a transaction of a sweep removes: the locks are held for a moment only.
const SWEPT_AT_ONCE: usize = 1000;
/// So many changes one statement forgets: however many have come together, it ends within the server's limit.
const PRUNED_AT_ONCE: u32 = 1000;
/// How long making or changing the tables may take.
const MIGRATION: Duration = Duration::from_mins(1);

/// A [`Store`] in a PostgreSQL database, which other nodes use too.
pub struct PostgresStore {
    pool: Arc<Pool>,
    runtime: Handle,
    newest: watch::Receiver<u64>,
    /// To whoever commits what the mirrors hear of.
    together: mpsc::UnboundedSender<Waiting>,
    // The thread ends, and with it all connections, when this is dropped.
    _stop: oneshot::Sender<()>,
}

/// What `signet store check` says of a database.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PostgresReport {
    /// The server's `version()`.
    pub server: String,
    /// The version of the tables; 0 if there are none.
    pub schema: i32,
    /// The version of the tables that this release works on.
    pub expected_schema: i32,
    /// What makes an acknowledged commit less than durable.
    pub warnings: Vec<String>,
}

impl PostgresStore {
    /// Connects, and makes the tables if there are none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no server that takes writes can be reached, or only by way of a pooler that hands out
    /// sessions by transaction, when the tables have another version than this release works on, and when they can't be made.
    pub async fn open(options: PostgresOptions) -> Result<Arc<Self>, StoreError> {
        let (pool, (stop, stopped)) = (Arc::new(Pool::new(options)), oneshot::channel());
        let runtime = start_thread(stopped)?;
        let (tell, newest) = watch::channel(0);
        // What waits is bounded where calls are let in.
        let (together, incoming) = mpsc::unbounded_channel();
        runtime.spawn(together::commit_together(pool.clone(), incoming));
        let store = Arc::new(Self { pool, runtime, newest, together, _stop: stop });
        let pool = store.pool.clone();
        let prepared = store.runtime.spawn(async move {
            let link = reach(&pool.options, 0).await?;
            pooler::refuse_pooler(&pool.options, &link).await?;
            let about = within(pool.options.timeout, About::ask(&link.client)).await?;
            for warning in about.warnings(pool.options.hosts.len()) {
                tracing::warn!("PostgreSQL: {warning}");
            }
            within(MIGRATION, async {
                match schema::version(&link.client).await? {
                    0 => schema::migrate(&link.client).await.map(drop),
                    found => schema::expect_current(found),
                }
            })
            .await
        });
        prepared.await.map_err(|error| StoreError::Unavailable(error.to_string()))??;
        store.runtime.spawn(listener::listen(Arc::downgrade(&store.pool), tell));
        Ok(store)
    }

    /// Brings the tables to the version that this release works on; gives the version that they had, 0 for none.
    ///
    /// # Errors
    /// As [`PostgresStore::open`].
    pub async fn migrate(options: &PostgresOptions) -> Result<i32, StoreError> {
        let link = reach(options, 0).await?;
        within(MIGRATION, schema::migrate(&link.client)).await
    }

    /// Looks at the database, and changes nothing.
    ///
    /// # Errors
    /// When no server that takes writes can be reached, or only as [`PostgresStore::open`] refuses it.
    pub async fn report(options: &PostgresOptions) -> Result<PostgresReport, StoreError> {
        let link = reach(options, 0).await?;
        pooler::refuse_pooler(options, &link).await?;
        let about = within(options.timeout, About::ask(&link.client)).await?;
        let schema = within(options.timeout, schema::version(&link.client)).await?;
        let (server, warnings) = (about.version.clone(), about.warnings(options.hosts.len()));
        Ok(PostgresReport { server, schema, expected_schema: schema::VERSION, warnings })
    }

    async fn call<W: Work>(&self, work: W) -> Result<W::Answer, StoreError> {
        self.call_within(self.limits(), work).await
    }

    async fn call_within<W: Work>(&self, limits: Limits, work: W) -> Result<W::Answer, StoreError> {
        let purpose = if is_following() { Purpose::Follow } else { W::PURPOSE };
        let call = |pool| async move { attempts(&pool, &work, (purpose, limits)).await };
        self.admitted((purpose, W::ACCESS), call).await
    }

    /// Commits a batch of which the mirrors must hear, with others that wait.
    async fn commit_together(&self, batch: Batch) -> Result<Committed, StoreError> {
        let (together, limits) = (self.together.clone(), self.limits());
        self.admitted((Purpose::Work, Access::Write), |_| async move {
            let (answer, answered) = oneshot::channel();
            let commit = async {
                together.send(Waiting { batch, answer }).map_err(|_| closed())?;
                answered.await.map_err(|_| closed())?
            };
            within(limits.commit, commit).await
        })
        .await
    }

    /// A request is sent away in time. What is done for none waits for its commits as long as anybody may.
    fn limits(&self) -> Limits {
        let limits = self.pool.options.limits();
        if is_asked_for() { Limits { commit: limits.call, ..limits } } else { limits }
    }

    /// Has the store's own thread do what `work` says, unless too many wait already.
    async fn admitted<T, F>(
        &self,
        (purpose, access): (Purpose, Access),
        work: impl FnOnce(Arc<Pool>) -> F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        // Before anything waits anywhere.
        let admitted = self.pool.admit(purpose, access).inspect_err(|_| self.pool.note_failure())?;
        let working = work(self.pool.clone());
        let pool = self.pool.clone();
        let answered = self.runtime.spawn(async move {
            let answer = working.await;
            drop(admitted);
            // Here, for whoever called may wait no longer.
            if answer.is_err() {
                pool.note_failure();
            }
            answer
        });
        answered.await.map_err(|_| closed())?
    }
}

/// Sweeps so many rows at most, a few at a time; says how many there were.
async fn in_pieces<F>(limit: usize, sweep: impl Fn(i64) -> F) -> Result<usize, StoreError>
where
    F: Future<Output = Result<usize, StoreError>>,
{
    let mut swept = 0;
    while swept < limit {
        let most = (limit - swept).min(SWEPT_AT_ONCE);
        let more = sweep(i64::try_from(most).unwrap_or(i64::MAX)).await?;
        swept += more;
        if more < most {
            break;
        }
    }
    Ok(swept)
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}

/// A connection to the first host that takes writes, beginning with the one at `first`.
async fn reach(options: &PostgresOptions, first: usize) -> Result<Link, StoreError> {
    let (hosts, mut reasons) = (&options.hosts, Vec::new());
    for host in (0..hosts.len()).map(|turn| &hosts[(first + turn) % hosts.len()]) {
        match within(options.timeout, Link::open(options, host)).await {
            Ok(link) => return Ok(link),
            Err(StoreError::Unavailable(reason)) => reasons.push(reason),
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Unavailable(reasons.join("; ")))
}

/// The thread that reads from all connections, until it is told to stop.
fn start_thread(stopped: oneshot::Receiver<()>) -> Result<Handle, StoreError> {
    let failed = |error: std::io::Error| StoreError::Unavailable(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let handle = runtime.handle().clone();
    let thread = std::thread::Builder::new().name("signet-store".to_owned());
    thread.spawn(move || _ = runtime.block_on(stopped)).map_err(failed)?;
    Ok(handle)
}

#[async_trait]
impl Store for PostgresStore {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>, StoreError> {
        self.call(Get(table, key.to_vec())).await
    }

    async fn get_each(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Option<Row>>, StoreError> {
        self.call(GetEach(table, keys.to_vec())).await
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
        // No key is empty, so all of them are behind an empty one.
        self.call(Scan(table, after.unwrap_or_default().to_vec(), limit)).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        batch.validate()?;
        if batch.writes.iter().any(commit::is_heard_of) {
            self.commit_together(batch).await
        } else {
            self.call(Commit(batch)).await
        }
    }

    async fn changes(&self, after: Cursor) -> Result<Changes, StoreError> {
        self.call(ChangesBehind(after, self.pool.options.changes_kept)).await
    }

    async fn changed(&self, after: Cursor) {
        let heard = self.newest.clone().wait_for(|newest| *newest > after.place).await.is_ok();
        if !heard {
            // Nobody listens.
            std::future::pending::<()>().await;
        }
    }

    async fn now(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        match &self.pool.options.time {
            TimeSource::Database => self.call(Now).await.map(Some),
            TimeSource::Injected(clock) => Ok(Some(clock.now())),
        }
    }

    async fn freeze(&self) -> Result<SharedFrozen, StoreError> {
        let pool = self.pool.clone();
        let opened = self.runtime.spawn(async move { frozen::open(&pool).await });
        opened.await.map_err(|_| closed())?
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn patience(&self) -> Option<Duration> {
        Some(self.pool.options.timeout)
    }

    fn load(&self) -> StoreLoad {
        self.pool.load()
    }

    fn is_unwritable(&self) -> bool {
        self.pool.is_unwritable()
    }

    async fn sweep(&self, now: DateTime<Utc>, limit: usize) -> Result<usize, StoreError> {
        let by = now.timestamp_millis();
        let plain = in_pieces(limit, |limit| self.call(Sweep { by, limit })).await?;
        let limits = self.pool.options.turn_limits();
        let mirrored = |limit| self.call_within(limits, SweepMirrored(Sweep { by, limit }));
        let swept = plain + in_pieces(limit - plain, mirrored).await?;
        let kept = self.pool.options.changes_kept;
        while self.call(Prune(kept, PRUNED_AT_ONCE.into())).await? == u64::from(PRUNED_AT_ONCE) {}
        Ok(swept)
    }
}
