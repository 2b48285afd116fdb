//! A few connections, and a bound on who waits for them.
//!
//! Not one of the usual pools: what counts here is that a call which can't be served soon fails at once, that
//! nothing waits for a connection whose server stands still, that a failover throws all of them away, and that a commit which
//! the server does not let go of keeps its place (`lane`).

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::lane::{Access, Kept, Lane, Place};
use super::options::PostgresOptions;
use super::session::Session;
use crate::store::{StoreError, StoreLoad};

/// The connections of one node.
pub(super) struct Pool {
    pub(super) options: PostgresOptions,
    working: Lane,
    following: Lane,
    idle: Mutex<Vec<Session>>,
    /// Which server the newest connection leads to, as [`Session::server`] says; nothing before the first.
    server: watch::Sender<Option<u64>>,
    /// How many leases were taken.
    leases: AtomicU64,
    /// Which of the hosts was the one that writes when it was last looked.
    preferred: AtomicUsize,
    /// Grows with every failover that is noticed.
    generation: AtomicU64,
    failures: AtomicU64,
    /// Whether the server has refused a write for a reason of its own, and has taken none since.
    unwritable: AtomicBool,
}

/// For what a connection is wanted. Each has connections of its own, so that a node which has much to write goes on
/// hearing of what the others write: one that does not must stop issuing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Whatever is asked of the store.
    Work,
    /// To follow what others commit: one connection, besides the others.
    Follow,
}

/// Counts a call for as long as it lasts.
pub(super) struct Admitted(Arc<Pool>, Purpose, Access);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.lane(self.1).leave(self.2);
    }
}

/// A session for the time of a call. It is cut off unless it is given back.
pub(super) struct Lease {
    pool: Arc<Pool>,
    purpose: Purpose,
    session: Session,
    /// Which lease of the pool it is.
    number: u64,
    place: Place,
}

impl Pool {
    pub(super) fn new(options: PostgresOptions) -> Self {
        Self {
            working: Lane::new(options.connections),
            // One to read what they commit, one to write that this node is there.
            following: Lane::new(2),
            idle: Mutex::default(),
            server: watch::Sender::default(),
            leases: AtomicU64::new(0),
            preferred: AtomicUsize::new(0),
            generation: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            unwritable: AtomicBool::new(false),
            options,
        }
    }

    pub(super) fn lane(&self, purpose: Purpose) -> &Lane {
        match purpose {
            Purpose::Work => &self.working,
            Purpose::Follow => &self.following,
        }
    }

    /// Lets a call in, unless so many wait already that it would only wait in vain.
    pub(super) fn admit(self: &Arc<Self>, purpose: Purpose, access: Access) -> Result<Admitted, StoreError> {
        let waiting = self.options.waiting;
        let is_in = self.lane(purpose).enter(access, waiting);
        let admitted = Admitted(self.clone(), purpose, access);
        if !is_in {
            return Err(StoreError::Unavailable(format!(
                "{waiting} calls wait for PostgreSQL already (postgres.waiting)"
            )));
        }
        Ok(admitted)
    }

    /// What is asked of it, following apart; commits without an answer are counted there too.
    pub(super) fn load(&self) -> StoreLoad {
        let (connections, waiting) = self.working.load();
        let unanswered = self.working.kept() + self.following.kept();
        let failures = self.failures.load(Ordering::Relaxed);
        StoreLoad {
            connections: connections as u64,
            waiting: waiting as u64,
            unanswered: unanswered as u64,
            failures,
        }
    }

    /// The server has refused a write for a reason of its own, or has taken one.
    pub(super) fn note_unwritable(&self, unwritable: bool) {
        self.unwritable.store(unwritable, Ordering::Relaxed);
    }

    /// Whether it refused one, and has taken none since.
    pub(super) fn is_unwritable(&self) -> bool {
        self.unwritable.load(Ordering::Relaxed)
    }

    /// Counts a call that failed.
    pub(super) fn note_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// A session that was alive when it was last used, or a new one. Whoever calls sets the time limit.
    pub(super) async fn session(
        self: &Arc<Self>,
        purpose: Purpose,
        access: Access,
    ) -> Result<Lease, StoreError> {
        let place = self.lane(purpose).place(access).await?;
        let session = match self.reuse() {
            Some(session) => session,
            // Large and rare: not to be carried about by every call.
            None => Box::pin(self.connect()).await?,
        };
        let number = self.leases.fetch_add(1, Ordering::AcqRel) + 1;
        Ok(Lease { pool: self.clone(), purpose, session, number, place })
    }

    fn reuse(&self) -> Option<Session> {
        let generation = self.generation();
        let mut idle = self.idle();
        while let Some(session) = idle.pop() {
            if session.generation == generation && !session.is_closed() {
                return Some(session);
            }
        }
        None
    }

    /// Tries the hosts in turn, the last known primary first. One that stands still costs its share of the time, not
    /// all of it.
    async fn connect(&self) -> Result<Session, StoreError> {
        let hosts = &self.options.hosts;
        let share = self.options.timeout / u32::try_from(hosts.len() + 1).unwrap_or(u32::MAX);
        'anew: loop {
            let (generation, preferred) = (self.generation(), self.preferred());
            let mut reasons = Vec::new();
            for at in (0..hosts.len()).map(|turn| (preferred + turn) % hosts.len()) {
                match within(share, Session::open(&self.options, &hosts[at], generation)).await {
                    Ok(mut session) => {
                        // It may lead to whoever was the primary when it was begun.
                        let Some(generation) = self.met(session.server, generation) else { continue 'anew };
                        self.preferred.store(at, Ordering::Relaxed);
                        session.generation = generation;
                        return Ok(session);
                    }
                    Err(StoreError::Unavailable(reason)) => reasons.push(reason),
                    Err(error) => return Err(error),
                }
            }
            return Err(StoreError::Unavailable(reasons.join("; ")));
        }
    }

    /// Of which generation a connection is that is begun now.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// A connection that was begun in `generation` leads to this server; says of which generation it is. If it is another server
    /// than that of the others, those are not used again: after a failover some may still lead to the old one, which
    /// answers, and what it answers is old. If it was begun before the others were thrown away, it is the one that says nothing
    /// new, and is of no generation: it may have been on its way since before the failover.
    pub(super) fn met(&self, server: u64, generation: u64) -> Option<u64> {
        let mut met = Some(generation);
        self.server.send_if_modified(|known| {
            if *known == Some(server) {
                return false;
            }
            if generation < self.generation() {
                met = None;
                return false;
            }
            *known = Some(server);
            // While nobody else can say which server it is.
            met = Some(self.discard_all());
            true
        });
        met
    }

    /// Which server the newest connection leads to, and when that changes.
    pub(super) fn server(&self) -> watch::Receiver<Option<u64>> {
        self.server.subscribe()
    }

    /// Which hosts there are, the last known primary first.
    pub(super) fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    /// No connection made before now is used again; says of which generation those are that are made from now on.
    pub(super) fn discard_all(&self) -> u64 {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.idle().clear();
        generation
    }

    /// Nothing came on this connection until the call's time was up: its server may stand still, or the way to it be cut.
    /// Connections that answered since are as good as ever; of the others each would cost a call its time to find out.
    pub(super) fn distrust(&self, silent: &Lease) {
        self.idle().retain(|session| session.answered >= silent.number);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Lets others use the session: it is in no transaction, and nothing is on its way.
    pub(super) fn give_back(self) {
        let Self { pool, mut session, place, .. } = self;
        session.answered = pool.leases.load(Ordering::Acquire);
        if session.generation == pool.generation() && !session.is_closed() {
            pool.idle().push(session);
        }
        drop(place);
    }

    /// Leaves a write that was not answered in time. Nothing ends the wait of a commit for its standby, not even that nobody is there
    /// any more; so the connection and its place stay taken until the server has answered, or the connection is closed, or the
    /// others lead to another server. Otherwise the next call would take a new connection, and wait likewise, until the
    /// server let nobody in any more. It is not asked to end the wait either: what it then says is done, a failover would lose.
    pub(super) fn leave_behind(self) {
        self.pool.distrust(&self);
        let Self { pool, purpose, session, place, .. } = self;
        let kept = Kept::new(pool.clone(), purpose);
        tokio::spawn(async move {
            let (mut server, own) = (pool.server(), session.server);
            tokio::select! {
                // Answered after everything that was asked before.
                _ = session.client().batch_execute("") => {}
                _ = server.wait_for(|server| *server != Some(own)) => {}
            }
            // In this order: whoever gets the place may open a connection.
            drop(session);
            drop(place);
            drop(kept);
        });
    }
}

/// What is said where a server is not the one that the connections lead to.
pub(super) fn another_server() -> StoreError {
    StoreError::Unavailable("this server is not the one that the others talk to".to_owned())
}

/// What is said of a call that took too long.
pub(super) fn late(limit: Duration) -> StoreError {
    StoreError::Unavailable(format!("PostgreSQL did not answer within {} ms", limit.as_millis()))
}

/// `work`, or the news that it took too long.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late(limit)))
}
