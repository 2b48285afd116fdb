//! What the service does by itself beside serving: none of it waits for another, and all of it comes in pieces.

use std::pin::pin;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake};
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::FutureExt as _;
use signet::app::Expired;
use signet::clock::{Clock as _, ManualClock};
use signet::store::{Batch, Committed, Condition, Put, Store as _, Table};
use signet::tokens::StatusIndexes;

use crate::shared_store::SharedStore;
use crate::test_app::{START, TestApp};

/// How many expired rows are removed in one round.
const ROUND: u64 = 10_000;

async fn start() -> (TestApp, Arc<SharedStore>) {
    let clock = Arc::new(ManualClock::at(START));
    let store = SharedStore::new(clock.clone());
    let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
    // Those of the start.
    store.sweeps.store(0, SeqCst);
    (app, store)
}

/// Does `act` while the service keeps house.
async fn meanwhile(app: &TestApp, act: impl Future<Output = ()>) {
    tokio::select! {
        () = app.app.keep_house() => panic!("it goes on for as long as the service runs"),
        () = act => {}
    }
}

/// Lets the service work until it has come so far.
async fn until(what: &str, came: impl Fn() -> bool) {
    for _ in 0..10_000_000 {
        if came() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came so far: {what}");
}

/// Lets the service do what it can do at once.
async fn rest() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Takes every place that is left in the open list.
fn use_up_a_list(app: &TestApp) {
    let indexes = &app.app.state.services.status_indexes;
    let uri = indexes.take(app.now()).expect("a place").uri().to_owned();
    while indexes.take(app.now()).is_some_and(|place| place.uri() == uri) {}
}

#[actix_web::test]
async fn tokens_are_issued_however_long_housekeeping_takes() {
    let (app, store) = start().await;
    store.never_swept.store(true, SeqCst);
    meanwhile(&app, async {
        until("housekeeping hangs", || store.sweeps.load(SeqCst) == 1).await;
        for _ in 0..3 {
            use_up_a_list(&app);
            // The next one is in use; another is reserved in no time.
            rest().await;
            app.demo_token().await;
        }
    })
    .await;
    assert_eq!(store.sweeps.load(SeqCst), 1, "it hung all the time");
}

#[actix_web::test]
async fn a_spare_list_that_could_not_be_had_is_asked_for_again_by_itself() {
    let (app, store) = start().await;
    store.make_read_only(true);
    let indexes = &app.app.state.services.status_indexes;
    tokio::time::pause();
    meanwhile(&app, async {
        use_up_a_list(&app);
        // No token asks for the next one, for this one has room; and the next look is ten seconds away.
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(1)).await;
            rest().await;
            assert!(!indexes.has_spare());
        }
        store.make_read_only(false);
        tokio::time::advance(Duration::from_secs(1)).await;
        until("there is a spare list", || indexes.has_spare()).await;
    })
    .await;
}

/// Says what it finds when it is woken.
struct Woken {
    indexes: Arc<StatusIndexes>,
    found_a_spare: Mutex<Option<bool>>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        *self.found_a_spare.lock().expect("no panic") = Some(self.indexes.has_spare());
    }
}

/// As the loop looks at once, on another thread: had the one that is taken still been there, it would have gone back to sleep.
#[actix_web::test]
async fn who_is_woken_for_a_spare_list_finds_none() {
    let (app, _) = start().await;
    let indexes = app.app.state.services.status_indexes.clone();
    let woken = Arc::new(Woken { indexes: indexes.clone(), found_a_spare: Mutex::default() });
    let mut wanted = pin!(indexes.wanted());
    assert!(wanted.as_mut().poll(&mut Context::from_waker(&woken.clone().into())).is_pending());
    assert!(indexes.has_spare());
    use_up_a_list(&app);
    assert_eq!(*woken.found_a_spare.lock().expect("no panic"), Some(false));
}

/// Rows that have expired: so many rounds of housekeeping and a few more.
async fn expire(app: &TestApp, store: &SharedStore, rounds: u64) {
    let table = Table::plain("of_a_test");
    let expires_at = app.clock.now() + TimeDelta::seconds(1);
    let batch = (0..rounds * ROUND + 5).fold(Batch::new(), |batch, number| {
        batch.put(table, number.to_be_bytes(), Condition::Always, Put::until(expires_at, Vec::new()))
    });
    assert_eq!(store.commit(batch).await.unwrap(), Committed::Applied);
    app.clock.advance(Duration::from_secs(1));
}

#[actix_web::test]
async fn a_round_of_housekeeping_removes_a_bounded_number_of_rows() {
    let (app, store) = start().await;
    expire(&app, &store, 2).await;
    for left in [Expired::Left, Expired::Left, Expired::Gone] {
        let before = store.sweeps.load(SeqCst);
        assert_eq!(app.app.tidy().await.unwrap(), left);
        assert_eq!(store.sweeps.load(SeqCst), before + 1);
    }
}

#[actix_web::test]
async fn what_a_round_has_left_is_removed_without_a_pause() {
    let (app, store) = start().await;
    expire(&app, &store, 2).await;
    meanwhile(&app, until("three rounds", || store.sweeps.load(SeqCst) == 3)).await;
    assert_eq!(store.sweep(app.clock.now(), 10).await.unwrap(), 0);
}

#[test]
fn the_end_of_the_service_waits_for_one_status_list_at_most() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let app = runtime.block_on(async {
        let app = TestApp::start().await;
        for _ in 0..4 {
            use_up_a_list(&app);
            app.app.replenish().await.unwrap();
        }
        // Lists are built until one takes a moment.
        assert!(app.app.build_status_lists().now_or_never().is_none());
        app
    });
    let status = &app.app.state.services.status;
    let lists = app.app.state.services.status_lists.uris().len();
    while status.due().len() == lists {
        std::thread::yield_now();
    }
    // Waits for what is under way, as the end of the process does.
    drop(runtime);
    assert_ne!(status.due().len(), 0, "of {lists} lists");
}
