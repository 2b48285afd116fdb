//! A store that fails at the Nth call, and the loop that lets every call of a flow fail once: first the first, then the
//! second, and so on until the flow gets through without having met the fault (as the I/O error tests of `SQLite` do).

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::http::header::{self, HeaderValue};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;
use signet::clock::{Clock as _, ManualClock};
use signet::config::Config;
use signet::store::{
    Action, Batch, Changes, Committed, Cursor, Frozen, MemoryStore, Room, Row, SharedFrozen, Store,
    StoreError, Table,
};

use crate::grants_fixture::World;
use crate::store_faults_routes::asks_what_it_holds;
use crate::test_app::{Answer, START, TestApp, Wrote, note_write};

/// More calls than any flow makes.
const MOST_CALLS: usize = 200;

/// What a call says that goes wrong.
pub(crate) const FAULT: &str = "a fault of the test";

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails, and nothing is done.
    Refused,
    /// It is done, and the answer is lost.
    AnswerLost,
}

/// How, and whether every call after it fails too.
pub(crate) const WAYS: [(Fault, bool); 4] =
    [(Fault::Refused, false), (Fault::Refused, true), (Fault::AnswerLost, false), (Fault::AnswerLost, true)];

/// What was committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) commits: usize,
    /// Rows that were written or deleted; what a commit only looks at does not count.
    pub(crate) rows: usize,
    /// Their keys and values.
    pub(crate) bytes: usize,
}

/// What is to happen, and what has happened of it.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Calls until then, the one that fails included.
    left: usize,
    fault: Fault,
    /// Whether every call after it fails too.
    lasting: bool,
    struck: bool,
}

/// A store in memory whose calls fail when they are told to, and so do those of the views of it.
pub(crate) struct FaultyStore {
    inner: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    calls: Arc<Calls>,
    /// Why it takes no more writes, if it is to say so.
    pub(crate) failure: Mutex<Option<String>>,
    /// Whether it is to say that it takes no writes for now.
    pub(crate) unwritable: AtomicBool,
    /// The room that it is to say it has.
    pub(crate) room: Mutex<Option<Room>>,
    /// Whether it says that other nodes write to it too.
    pub(crate) shared: AtomicBool,
    /// What was committed since somebody asked last.
    pub(crate) written: Mutex<Written>,
}

type Meanwhile = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is to come of the next calls.
#[derive(Default)]
struct Calls {
    plan: Mutex<Option<Plan>>,
    /// What is to happen after so many.
    meanwhile: Mutex<Option<(usize, Meanwhile)>>,
}

impl Calls {
    fn due(&self) -> Option<Meanwhile> {
        let mut waiting = self.meanwhile.lock().unwrap();
        let (left, _) = waiting.as_mut()?;
        *left = left.saturating_sub(1);
        if *left == 0 { waiting.take().map(|(_, meanwhile)| meanwhile) } else { None }
    }

    fn fault(&self) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap();
        let plan = plan.as_mut()?;
        plan.left = plan.left.saturating_sub(1);
        match (plan.left, plan.struck) {
            (0, false) => {
                plan.struck = true;
                Some(plan.fault)
            }
            (0, true) if plan.lasting => Some(Fault::Refused),
            _ => None,
        }
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let down = || StoreError::Unavailable(FAULT.into());
        let answer = match self.fault() {
            None => call.await,
            Some(Fault::Refused) => Err(down()),
            Some(Fault::AnswerLost) => call.await.and_then(|_lost| Err(down())),
        };
        if let Some(meanwhile) = self.due() {
            meanwhile.await;
        }
        answer
    }
}

/// A view whose pages fail as the store's calls do.
struct FaultyView {
    inner: SharedFrozen,
    calls: Arc<Calls>,
}

#[async_trait]
impl Frozen for FaultyView {
    async fn scan(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
        self.calls.call(self.inner.scan(table, after, limit)).await
    }
}

impl FaultyStore {
    pub(crate) fn new(clock: Arc<ManualClock>) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(clock.clone()),
            clock,
            calls: Arc::default(),
            failure: Mutex::default(),
            unwritable: AtomicBool::default(),
            room: Mutex::default(),
            shared: AtomicBool::default(),
            written: Mutex::default(),
        })
    }

    /// Lets something else happen once, after the call number `at` from now and before its caller sees the answer.
    pub(crate) fn after(&self, at: usize, meanwhile: impl Future<Output = ()> + Send + 'static) {
        *self.calls.meanwhile.lock().unwrap() = Some((at, Box::pin(meanwhile)));
    }

    /// Whether it has happened; if not, it will not.
    pub(crate) fn happened(&self) -> bool {
        self.calls.meanwhile.lock().unwrap().take().is_none()
    }

    /// Lets the call number `at` from now fail, the next one being number 1; and if it is `lasting`, all after it.
    pub(crate) fn fail(&self, at: usize, (fault, lasting): (Fault, bool)) {
        *self.calls.plan.lock().unwrap() = Some(Plan { left: at, fault, lasting, struck: false });
    }

    /// Is well again; says whether any call has failed.
    pub(crate) fn heal(&self) -> bool {
        self.calls.plan.lock().unwrap().take().is_some_and(|plan| plan.struck)
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>, StoreError> {
        self.calls.call(self.inner.get(table, key)).await
    }

    async fn get_each(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Option<Row>>, StoreError> {
        self.calls.call(self.inner.get_each(table, keys)).await
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
        self.calls.call(self.inner.scan(table, after, limit)).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        let puts = batch.writes.iter().filter_map(|write| match &write.action {
            Action::Put { value, .. } => Some(write.key.len() + value.len()),
            Action::Delete => Some(write.key.len()),
            Action::Check => None,
        });
        let touched = batch.writes.iter().filter_map(|write| match &write.action {
            Action::Put { .. } => Some((write.table.name, Wrote::Put)),
            Action::Delete => Some((write.table.name, Wrote::Deleted)),
            Action::Check => None,
        });
        let touched: Vec<_> = touched.collect();
        let (rows, bytes) = puts.fold((0, 0), |(rows, bytes), size| (rows + 1, bytes + size));
        self.calls
            .call(async {
                let committed = self.inner.commit(batch).await?;
                if committed == Committed::Applied {
                    let mut written = self.written.lock().unwrap();
                    written.commits += 1;
                    written.rows += rows;
                    written.bytes += bytes;
                    for (table, wrote) in touched {
                        note_write(table, wrote);
                    }
                }
                Ok(committed)
            })
            .await
    }

    async fn changes(&self, after: Cursor) -> Result<Changes, StoreError> {
        self.calls.call(self.inner.changes(after)).await
    }

    async fn freeze(&self) -> Result<SharedFrozen, StoreError> {
        let inner = self.calls.call(self.inner.freeze()).await?;
        Ok(Arc::new(FaultyView { inner, calls: self.calls.clone() }))
    }

    async fn sweep(&self, now: DateTime<Utc>, limit: usize) -> Result<usize, StoreError> {
        self.calls.call(self.inner.sweep(now, limit)).await
    }

    /// One that is not shared has no clock of its own, so that there is nothing to fail.
    async fn now(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        if !self.is_shared() {
            return Ok(None);
        }
        self.calls.call(async { Ok(Some(self.clock.now())) }).await
    }

    fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap().clone()
    }

    fn is_unwritable(&self) -> bool {
        self.unwritable.load(Ordering::SeqCst)
    }

    fn is_shared(&self) -> bool {
        self.shared.load(Ordering::SeqCst)
    }

    fn room(&self) -> Option<Room> {
        *self.room.lock().unwrap()
    }
}

/// A service whose store fails when it is told to, with a client and a person.
pub(crate) struct House {
    pub(crate) world: World,
    pub(crate) store: Arc<FaultyStore>,
    trials: usize,
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    /// The same with other settings.
    pub(crate) async fn open_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::open_on(false, change).await
    }

    /// One of the nodes of a store that is shared, and has a clock of its own.
    pub(crate) async fn open_shared() -> Self {
        Self::open_on(true, |_| {}).await
    }

    async fn open_on(shared: bool, change: impl FnOnce(&mut Config)) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let store = FaultyStore::new(clock.clone());
        store.shared.store(shared, Ordering::SeqCst);
        let settings = |config: &mut Config| {
            without_limits(config);
            change(config);
        };
        let app = TestApp::start_on(store.clone(), clock, settings).await;
        Self { world: World::on(app, json!({})).await, store, trials: 0 }
    }

    /// Lets every call of a flow fail, in each of four ways, on a case of its own.
    ///
    /// `act` is what meets the fault. An answer that says it is done must be true, of the running service and of one that is
    /// started anew on what is stored, which `happened` tells of (given the answer, if that said it was done); any other
    /// answer must be 503 with a `Retry-After`. Nothing is true in memory that is not stored. In the end `again` looks
    /// whether the store's state is a legal one: given whether it happened, what is asked for again has to succeed, or to
    /// be refused because it is done.
    #[expect(clippy::print_stdout, reason = "a test prints what it counted")]
    pub(crate) async fn hold<T>(
        self,
        name: &str,
        prepare: impl AsyncFn(&World, usize) -> T,
        act: impl AsyncFn(&World, &T) -> Answer,
        (happened, again): (
            impl AsyncFn(&World, &T, Option<&Answer>) -> bool,
            impl AsyncFn(&World, &T, bool),
        ),
    ) -> Self {
        let Self { mut world, store, mut trials } = self;
        let (mut calls, mut struck, mut told, mut unheard) = (0, 0, 0, 0);
        for way in WAYS {
            for at in 1.. {
                assert!(at < MOST_CALLS, "{name} never gets through");
                trials += 1;
                world.app.clock.advance(Duration::from_secs(1));
                let case = prepare(&world, trials).await;
                store.fail(at, way);
                let answer = act(&world, &case).await;
                let here = format!("{name}, call {at}, {way:?}: {answer:?}");
                if !store.heal() {
                    assert!(is_done(&answer), "{here} {}", String::from_utf8_lossy(&answer.body));
                    assert!(happened(&world, &case, Some(&answer)).await, "{here}");
                    calls = at - 1;
                    break;
                }
                struck += 1;
                let done = is_done(&answer).then_some(&answer);
                match done {
                    Some(_) => told += 1,
                    None => refused(&answer, &here),
                }
                let before = happened(&world, &case, done).await;
                assert!(before || done.is_none(), "it was said to be done and is not: {here}");
                // What the running service believes is what is stored.
                let app = world.app.restart(|_| {}).await;
                world = World { app, ..world };
                world.app.clock.advance(Duration::from_secs(1));
                let after = happened(&world, &case, done).await;
                assert!(after || !before, "it was true in memory alone: {here}");
                unheard += usize::from(after && done.is_none());
                again(&world, &case, after).await;
            }
        }
        let case = prepare(&world, trials + 1).await;
        asks_what_it_holds(name, &world, act(&world, &case)).await;
        trials += 1;
        println!(
            "{name:<38} {calls:>3} calls, {struck:>3} faults: {told:>2} done all the same, {:>3} refused, {unheard:>2} of these stored",
            struck - told
        );
        Self { world, store, trials }
    }
}

/// What came of something that no request asks for, as a request would be told.
pub(crate) fn as_answer<T, E>(done: &Result<T, E>) -> Answer {
    let (status, retry_after) = if done.is_ok() { (204, None) } else { (503, Some("5")) };
    let headers = retry_after.map(|seconds| (header::RETRY_AFTER, HeaderValue::from_static(seconds)));
    Answer { status, headers: headers.into_iter().collect(), body: Vec::new() }
}

/// Whether the answer says that what was asked for is done.
pub(crate) fn is_done(answer: &Answer) -> bool {
    let to_error = answer.header("location").is_some_and(|location| location.contains("error="));
    (200..400).contains(&answer.status) && !to_error
}

/// It says that it is the service that can't, and that it is worth another try.
fn refused(answer: &Answer, here: &str) {
    if answer.header("location").is_some_and(|location| location.contains("error=temporarily_unavailable")) {
        return;
    }
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 503, "{here} {text}");
    assert!(answer.header("retry-after").is_some(), "{here} {text}");
}

pub(crate) fn without_limits(config: &mut Config) {
    let limits = &mut config.limits;
    for limit in [
        &mut limits.token_per_client,
        &mut limits.token_per_address,
        &mut limits.revocation_per_client,
        &mut limits.refused_per_address,
        &mut limits.authorize_per_address,
        &mut limits.login_per_address,
        &mut limits.login_per_account,
        &mut limits.registration_per_address,
        &mut limits.acts_per_person,
        &mut limits.api_key,
    ] {
        *limit = 0;
    }
    config.people.change_email = true;
    config.dialects.apps = true;
}
