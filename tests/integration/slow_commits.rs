//! Each commit takes long, but is answered: what needs none goes on, whatever waits for one.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use futures_util::FutureExt as _;
use signet::clients::Registration;
use signet::clock::ManualClock;
use signet::oauth::{KeyId, Scope, Subject};
use signet::store::postgres::{PostgresOptions, TimeSource};
use signet::store::{Batch, Condition, Patience, Put, Store as _, Table};
use signet::tokens::Whole;
use tokio::sync::oneshot;

use crate::faulty_store::FaultyStore;
use crate::postgres_fixture::hurried;
use crate::postgres_server::Server;
use crate::revocation::revoke;
use crate::shared_store::SharedStore;
use crate::test_app::{START, TestApp, part};

/// What `work` gives, which nothing may hold up.
async fn at_once<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    // Far more than it takes: the vault has threads of its own.
    for _ in 0..10_000_000 {
        if let Some(done) = work.as_mut().now_or_never() {
            return done;
        }
        tokio::task::yield_now().await;
    }
    panic!("it waits");
}

/// Polls `work` until its commit is held up.
fn begin<T>(store: &SharedStore, mut work: Pin<&mut impl Future<Output = T>>) {
    while store.holds_next_commit() {
        assert!(work.as_mut().now_or_never().is_none());
    }
}

/// Two nodes of one store.
async fn nodes() -> (Arc<SharedStore>, TestApp, TestApp) {
    let clock = Arc::new(ManualClock::at(START));
    let store = SharedStore::new(clock.clone());
    let here = TestApp::start_on(store.clone(), clock, |_| {}).await;
    let there = here.another_node(store.clone(), 2).await;
    here.app.follow().await.unwrap();
    (store, here, there)
}

/// Those of one node stand in a line: were the follower to stand in it too, a burst of them would end what the node issues, and it would
/// honour until then what others have revoked.
#[actix_web::test]
async fn what_others_cut_off_is_honoured_while_a_cut_off_of_ones_own_is_committed() {
    let (store, here, there) = nodes().await;
    let token = here.demo_token().await;
    let client = here.app.state.services.clients.find(here.demo().0).unwrap();
    let (mine, theirs) =
        (Whole::Subject(Subject::parse("somebody").unwrap()), Whole::Client(client.client_id.clone()));
    let release = store.hold_next_commit();
    let mut own = pin!(here.app.state.services.revocations.revoke_before_now(&mine));
    begin(&store, own.as_mut());
    there.app.state.services.revocations.revoke_before_now(&theirs).await.unwrap();
    at_once(here.app.follow()).await.unwrap();
    assert!(!here.is_active(&token).await);
    release.send(()).unwrap();
    own.await.unwrap();
    let cutoff = |whole: &Subject| here.app.state.services.revocations.cutoff(&client.client_id, whole);
    assert!(cutoff(&Subject::parse("somebody").unwrap()).is_some());
}

/// Likewise.
#[actix_web::test]
async fn a_client_that_others_changed_is_known_while_a_change_of_ones_own_is_committed() {
    let (store, here, there) = nodes().await;
    let demo = here.app.state.services.clients.find(here.demo().0).unwrap();
    let new = |name: &str| Registration {
        client_name: name.to_owned(),
        scope: Scope::parse("read").unwrap(),
        resources: demo.resources.clone(),
        ..Registration::default()
    };
    let clients = &here.app.state.services.clients;
    let release = store.hold_next_commit();
    let mut own = pin!(clients.register(new("own")));
    begin(&store, own.as_mut());
    let other = there.app.state.services.clients.register(new("other")).await.unwrap();
    there.app.state.services.clients.delete(&demo).await.unwrap();
    at_once(here.app.follow()).await.unwrap();
    assert!(clients.find(other.client.client_id.as_str()).is_some());
    here.token(here.demo(), "").await.refused(401, "invalid_client");
    release.send(()).unwrap();
    let own = own.await.unwrap();
    assert!(clients.find(own.client.client_id.as_str()).is_some());
}

/// Likewise.
#[actix_web::test]
async fn a_key_that_others_condemned_is_gone_while_a_rotation_of_ones_own_is_committed() {
    for read_anew in [false, true] {
        Box::pin(goes_during_a_rotation(read_anew)).await;
    }
}

/// Where all is read anew, because a standby took over, the follower commits nothing either.
async fn goes_during_a_rotation(read_anew: bool) {
    let (store, here, there) = nodes().await;
    let token = here.demo_token().await;
    let kid = KeyId::parse(part(&token, 0)["kid"].as_str().unwrap()).unwrap();
    let release = store.hold_next_commit();
    let mut own = pin!(here.app.state.services.keys.rotate(None, true));
    let mut begun = false;
    for _ in 0..10_000_000 {
        assert!(own.as_mut().now_or_never().is_none());
        begun = !store.holds_next_commit();
        if begun {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(begun);
    there.app.state.services.keys.compromise(&kid).await.unwrap();
    if read_anew {
        store.fail_over();
    }
    let commits = store.commits.load(SeqCst);
    at_once(here.app.follow()).await.unwrap();
    assert_eq!(store.commits.load(SeqCst), commits);
    assert!(!here.is_active(&token).await);
    assert!(here.app.state.services.keys.list().keys.iter().all(|key| key.kid != kid || !key.signs));
    release.send(()).unwrap();
    // The other was faster: it is planned anew.
    own.await.unwrap();
    assert!(!here.is_active(&token).await);
    assert_ne!(part(&here.demo_token().await, 0)["kid"], kid.as_str());
}

/// A rotation is as long as its commits, which may take longer than the keys may be read no more.
#[actix_web::test]
async fn a_node_signs_for_as_long_as_a_change_of_its_keys_takes() {
    let (store, here, _) = nodes().await;
    let propagation =
        Duration::from_secs(here.app.state.services.keys.policy().propagation().try_into().unwrap());
    let release = store.hold_next_commit();
    let mut own = pin!(here.app.state.services.keys.rotate(None, true));
    while store.holds_next_commit() {
        assert!(own.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    for _ in 0..16 {
        here.clock.advance(propagation / 8);
        assert!(own.as_mut().now_or_never().is_none());
        at_once(here.app.rotate()).await.unwrap();
        at_once(here.app.follow()).await.unwrap();
        assert!(here.is_active(&here.demo_token().await).await);
    }
    release.send(()).unwrap();
    assert_eq!(own.await.unwrap().rotations.len(), 1);
}

/// One at a time: given up and begun anew, each try would leave a key that no ring names.
#[actix_web::test]
async fn a_key_that_is_due_is_made_once_however_long_that_takes() {
    let (store, here, _) = nodes().await;
    let keys = &here.app.state.services.keys;
    let policy = keys.policy();
    let period = Duration::from_secs(policy.period().try_into().unwrap());
    let before = keys.list().keys.len();
    store.patience.store(20, SeqCst);
    let release = store.hold_next_commit();
    for _ in 0..20 {
        if store.holds_next_commit() {
            here.clock.advance(period / 8);
            at_once(keys.tick()).await.unwrap();
        }
    }
    assert!(!store.holds_next_commit(), "nothing is due");
    let commits = store.commits.load(SeqCst);
    for _ in 0..3 {
        at_once(keys.tick()).await.unwrap();
    }
    assert_eq!((store.commits.load(SeqCst), keys.list().keys.len()), (commits, before));
    release.send(()).unwrap();
    at_once(async {
        while keys.list().keys.len() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(keys.list().keys.len(), before + 1);
}

/// Two read at the same time, and neither waits for the other.
#[actix_web::test]
async fn what_was_read_earlier_of_the_keys_does_not_replace_what_was_read_later() {
    let clock = Arc::new(ManualClock::at(START));
    let store = FaultyStore::new(clock.clone());
    let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
    let token = app.demo_token().await;
    let kid = KeyId::parse(part(&token, 0)["kid"].as_str().unwrap()).unwrap();
    let keys = &app.app.state.services.keys;
    let (release, held) = oneshot::channel();
    store.after(1, async move { held.await.unwrap() });
    let mut early = pin!(keys.follow());
    assert!(early.as_mut().now_or_never().is_none() && store.happened(), "it has read the ring");
    keys.compromise(&kid).await.unwrap();
    release.send(()).unwrap();
    // The private half that it looks for is gone.
    _ = early.await;
    assert!(!app.is_active(&token).await);
    assert!(keys.list().keys.iter().all(|key| key.kid != kid || !key.signs));
}

const CODES: Table = Table::plain("codes");
const LISTS: Table = Table::mirrored("status_lists");

fn put(key: &str) -> Batch {
    Batch::new().put(CODES, key, Condition::Absent, Put::lasting(vec![]))
}

/// Whoever asks is sent away in time; but a node that can't announce itself stops, and one that gives up what it reserves and begins
/// anew has never a list.
#[actix_web::test]
async fn a_node_goes_on_and_another_starts_while_postgres_takes_twice_as_long_to_commit_as_a_call_may() {
    let Some(server) = Server::start("slow") else { return };
    let standby = server.standby();
    let clock = Arc::new(ManualClock::at(START));
    let time = TimeSource::Injected(clock.clone());
    let options = PostgresOptions { connections: 8, time, ..server.options(&[]) };
    // Else than by its commits, no busy machine is to be as slow.
    let limit = Duration::from_millis(1500);
    let store = hurried(options.clone(), limit).await;
    let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
    let lists = async || store.scan(LISTS, None, 1000).await.unwrap().len();

    standby.run("set", &["recovery_min_apply_delay", "3000ms"]);
    server.run("set", &["synchronous_commit", "remote_apply"]);
    let mut tries = 0;
    while Patience::of_a_request(store.commit(put(&format!("until it is slow {tries}")))).await.is_ok() {
        tries += 1;
        assert!(tries < 100_000, "commits are as fast as ever");
    }
    for _ in 0..3 {
        app.clock.advance(Duration::from_secs(20));
        app.app.rotate().await.unwrap();
        app.app.follow().await.unwrap();
        assert!(app.is_active(&app.demo_token().await).await);
    }
    let refused = revoke(&app, app.demo(), &app.demo_token().await).await;
    refused.refused(503, "temporarily_unavailable");
    // Of a key two commits have to be made, one after the other.
    let rotated = Patience::of_a_request(app.app.state.services.keys.rotate(None, true)).await.unwrap();
    let signs = |kid: &KeyId| rotated.rotations.iter().any(|rotation| rotation.kid == *kid);
    assert!(signs(&KeyId::parse(part(&app.demo_token().await, 0)["kid"].as_str().unwrap()).unwrap()));
    let reserved = lists().await;
    app.clock.advance(Duration::from_mins(45));
    app.app.replenish().await.unwrap();
    assert_eq!(lists().await, reserved + 1);
    let another = app.another_node(hurried(options, limit).await, 2).await;
    assert!(another.is_active(&another.demo_token().await).await);

    standby.run("set", &["recovery_min_apply_delay"]);
    server.run("set", &["synchronous_commit"]);
    app.app.rotate().await.unwrap();
    app.app.follow().await.unwrap();
    assert_eq!(revoke(&app, app.demo(), &app.demo_token().await).await.status, 200);
}
