//! Nodes that start, announce themselves, follow the others and agree with them while the store that they share fails at any
//! call. Nobody asks for that by a request: what a node issues and says afterwards tells what it came to.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::http::Method;
use serde_json::json;
use signet::app::StartError;
use signet::clock::ManualClock;
use signet::config::Config;
use signet::oauth::Algorithm;

use crate::faulty_store::{FAULT, Fault, FaultyStore, WAYS, without_limits};
use crate::test_app::{RESOURCE, START, TestApp, basic, form, part};

/// For so long a node counts that was announced and not heard of since.
const GONE: Duration = Duration::from_secs(61);

/// For so long a node issues after the store last acknowledged something: `keys.propagation`, unless set.
const P: Duration = Duration::from_secs(30);

/// A node of a store that is shared.
async fn first() -> (Arc<FaultyStore>, TestApp) {
    let clock = Arc::new(ManualClock::at(START));
    let store = FaultyStore::new(clock.clone());
    store.shared.store(true, Ordering::SeqCst);
    let app = TestApp::start_on(store.clone(), clock, |config| {
        without_limits(config);
        // Nodes are started as often as the store fails: one key is opened faster than two.
        config.keys.algorithms = vec![Algorithm::ES256];
    });
    (store, app.await)
}

/// The call that fails, and how.
struct Trial<'a> {
    store: &'a Arc<FaultyStore>,
    at: usize,
    way: (Fault, bool),
    number: u64,
}

impl Trial<'_> {
    /// What comes of `act`, and whether it met the call that fails.
    async fn meets<T>(
        &self,
        act: impl Future<Output = Result<T, StartError>>,
    ) -> (Result<T, StartError>, bool) {
        self.store.fail(self.at, self.way);
        let came = act.await;
        let struck = self.store.heal();
        if let Err(error) = &came {
            assert!(struck && format!("{error:?}").contains(FAULT), "{error:?}");
        }
        (came, struck)
    }

    /// Another node, started with other settings.
    async fn start(&self, beside: &TestApp, change: impl FnOnce(&mut Config)) -> Result<TestApp, StartError> {
        Box::pin(beside.try_another_node(self.store.clone(), 1000 + self.number, change)).await
    }
}

/// Lets every call of an act fail in each of four ways. `trial` says whether it was done, and whether it met its call.
#[expect(clippy::print_stdout, reason = "a test prints what it counted")]
async fn hold(name: &str, store: &Arc<FaultyStore>, trial: impl AsyncFn(&Trial<'_>) -> (bool, bool)) {
    let (mut calls, mut struck, mut done, mut number) = (0, 0, 0, 0);
    for way in WAYS {
        for at in 1.. {
            assert!(at < 200, "{name} never gets through");
            number += 1;
            let (is_done, met) = Box::pin(trial(&Trial { store, at, way, number })).await;
            if !met {
                assert!(is_done, "{name}, call {at}, {way:?}");
                calls = at - 1;
                break;
            }
            struck += 1;
            done += usize::from(is_done);
        }
    }
    println!(
        "{name:<38} {calls:>3} calls, {struck:>3} faults: {done:>2} done all the same, {:>3} refused",
        struck - done
    );
}

/// Whether it issues tokens. What does not is the 503 that says so.
async fn issues(node: &TestApp) -> bool {
    let answer = node.token(node.demo(), "").await;
    if answer.status != 200 {
        answer.refused(503, "temporarily_unavailable");
    }
    answer.status == 200
}

async fn kid(node: &TestApp) -> String {
    part(&node.demo_token().await, 0)["kid"].as_str().unwrap().to_owned()
}

/// What a node does now and then, while nothing fails.
async fn go_on(nodes: &[&TestApp]) {
    for node in nodes {
        node.app.rotate().await.unwrap();
        node.app.follow().await.unwrap();
        node.app.tidy().await.unwrap();
        node.app.replenish().await.unwrap();
        assert!(issues(node).await);
    }
}

#[actix_web::test]
async fn a_node_joins_others_whatever_fails() {
    let (store, running) = first().await;
    hold("a node: start and join", &store, async |trial: &Trial<'_>| {
        running.clock.advance(GONE);
        go_on(&[&running]).await;
        let joins = async {
            let node = trial.start(&running, |_| {}).await?;
            node.app.join().await?;
            Ok(node)
        };
        let (joined, struck) = trial.meets(Box::pin(joins)).await;
        let done = joined.is_ok();
        let node = match joined {
            Ok(node) => node,
            Err(_) => trial.start(&running, |_| {}).await.unwrap(),
        };
        assert!(issues(&node).await);
        assert_eq!(kid(&node).await, kid(&running).await, "they share their keys");
        go_on(&[&running, &node]).await;
        node.app.leave().await;
        (done, struck)
    })
    .await;
}

/// What the store did not acknowledge keeps no node issuing for longer than P.
#[actix_web::test]
async fn a_node_announces_itself_whatever_fails() {
    let (store, node) = first().await;
    let other = node.another_node(store.clone(), 2).await;
    hold("a node: announce itself", &store, async |trial: &Trial<'_>| {
        go_on(&[&node, &other]).await;
        node.clock.advance(P.saturating_sub(Duration::from_secs(1)));
        let (announced, struck) = trial.meets(node.app.announce()).await;
        node.clock.advance(Duration::from_secs(2));
        // All else that it must know of the others.
        node.app.follow().await.unwrap();
        node.app.state.services.keys.follow().await.unwrap();
        assert_eq!(issues(&node).await, announced.is_ok(), "{announced:?}");
        // A minute is not over yet.
        other.app.announce().await.unwrap();
        assert_eq!(other.app.state.services.nodes.names(), 2);
        (announced.is_ok(), struck)
    })
    .await;
}

/// Nothing is passed over that another node did, and nothing judged for longer than P by what is not known.
#[actix_web::test]
async fn a_node_follows_another_whatever_fails() {
    let (store, node) = first().await;
    let other = node.another_node(store.clone(), 2).await;
    let register = async |at: &TestApp, id: &str| {
        let body =
            json!({ "client_id": id, "client_name": "Shop", "scope": "read", "resources": [RESOURCE] });
        let answer = at.administer(Method::POST, "/admin/clients", Some(body)).await;
        (id.to_owned(), answer.json()["client_secret"].as_str().unwrap().to_owned())
    };
    hold("a node: follow another", &store, async |trial: &Trial<'_>| {
        go_on(&[&node, &other]).await;
        let token = node.demo_token().await;
        let deleted = register(&node, &format!("deleted-{}", trial.number)).await;
        go_on(&[&other]).await;
        // What counts, what does not, and what signs.
        let new = register(&other, &format!("new-{}", trial.number)).await;
        for (method, path, body) in [
            (Method::DELETE, format!("/admin/clients/{}", deleted.0), None),
            (Method::POST, "/admin/revocations".into(), Some(json!({ "token": token }))),
            (Method::POST, "/admin/keys/rotate".into(), Some(json!({ "force": true }))),
        ] {
            let answer = other.administer(method, &path, body).await;
            assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
        }
        let (followed, struck) = trial.meets(node.app.follow()).await;
        if followed.is_err() {
            node.clock.advance(P + Duration::from_secs(1));
            node.app.announce().await.unwrap();
            let request =
                form("/oauth2/introspect", &format!("token={token}")).insert_header(basic(node.demo()));
            node.send(request).await.refused(503, "temporarily_unavailable");
            assert!(!issues(&node).await);
            node.app.follow().await.unwrap();
        }
        let opens = async |client: &(String, String)| node.token((&client.0, &client.1), "").await.status;
        assert!(!node.is_active(&token).await, "a revocation was passed over");
        assert_eq!((opens(&new).await, opens(&deleted).await), (200, 401));
        go_on(&[&other]).await;
        assert_eq!(kid(&node).await, kid(&other).await, "a rotation was passed over");
        (followed.is_ok(), struck)
    })
    .await;
}

fn longer_p(config: &mut Config) {
    config.keys.propagation += Duration::from_secs(30);
    config.keys.lead += Duration::from_secs(30);
    config.keys.hold += Duration::from_secs(30);
}

/// Never do two nodes issue that differ in what they must have in common, and none stays out for longer than a minute.
#[actix_web::test]
async fn nodes_agree_whatever_fails() {
    let (store, former) = first().await;
    hold("a node: start with another P", &store, async |trial: &Trial<'_>| {
        go_on(&[&former]).await;
        former.app.leave().await;
        let (started, struck) = trial.meets(trial.start(&former, longer_p)).await;
        // It was gone, and comes back. One that did not get through may count as started until it is forgotten.
        let back = former.app.rotate().await;
        if let Ok(new) = &started {
            assert!(matches!(back, Err(StartError::Disagreement(_))), "{back:?}");
            assert!(issues(new).await && !issues(&former).await);
            new.app.leave().await;
        }
        assert_eq!(issues(&former).await, back.is_ok(), "{back:?}");
        former.clock.advance(GONE);
        go_on(&[&former]).await;
        (started.is_ok(), struck)
    })
    .await;
    hold("a node: start with another hold", &store, async |trial: &Trial<'_>| {
        go_on(&[&former]).await;
        let hold = Duration::from_secs(60 * trial.number);
        let (started, struck) = trial.meets(trial.start(&former, |config| config.keys.hold += hold)).await;
        // It differs in nothing that keeps others out.
        go_on(&[&former]).await;
        if let Ok(new) = &started {
            assert!(issues(new).await);
            new.app.leave().await;
        }
        former.clock.advance(GONE);
        (started.is_ok(), struck)
    })
    .await;
}
