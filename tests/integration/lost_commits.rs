//! A failover that lost what was acknowledged: whoever revokes again has revoked, and no token is issued into a list that is lost.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use serde_json::json;
use signet::clock::ManualClock;
use signet::store::{Batch, Condition, Store as _, Table};

use crate::grants_fixture::{World, pair};
use crate::revocation::{revoke, status};
use crate::shared_store::SharedStore;
use crate::test_app::{START, TestApp, part};

struct Installation {
    store: Arc<SharedStore>,
    /// A node that knew what the store has lost.
    knows: World,
}

impl Installation {
    async fn start() -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let store = SharedStore::new(clock.clone());
        let knows = World::on(TestApp::start_on(store.clone(), clock, |_| {}).await, json!({})).await;
        Self { store, knows }
    }

    /// A standby takes over that has none of the single revocations; and a node that is started after that.
    async fn fail_over(&self, seed: u64) -> TestApp {
        let revocations = Table::mirrored("revocations");
        let rows = self.store.scan(revocations, None, 100).await.expect("rows");
        assert!(!rows.is_empty());
        let lost = rows
            .into_iter()
            .fold(Batch::new(), |batch, (key, _)| batch.delete(revocations, key, Condition::Always));
        let _unconditional = self.store.commit(lost).await.expect("a commit");
        self.store.fail_over();
        self.knows.app.app.follow().await.expect("the store's changes");
        self.knows.app.another_node(self.store.clone(), seed).await
    }
}

#[actix_web::test]
async fn a_token_can_be_revoked_again_when_its_revocation_was_lost() {
    let installation = Installation::start().await;
    let app = &installation.knows.app;
    let token = app.demo_token().await;
    assert_eq!(revoke(app, app.demo(), &token).await.status, 200);
    let later = installation.fail_over(2).await;
    assert!(!app.is_active(&token).await, "who knows of it does not forget it");
    assert!(later.is_active(&token).await, "and it is lost all the same");
    assert_eq!(revoke(app, app.demo(), &token).await.status, 200);
    later.app.follow().await.expect("the store's changes");
    assert!(!later.is_active(&token).await && status(&later, &token).await.1);
    // Also where everything of the client is cut off besides: that may be lost as well.
    let (token, commits) = (app.demo_token().await, &installation.store.commits);
    let whole =
        signet::tokens::Whole::Client(signet::oauth::ClientId::parse(app.demo().0).expect("a client"));
    app.app.state.services.revocations.revoke_before_now(&whole).await.expect("a cut-off");
    let before = commits.load(SeqCst);
    assert_eq!(revoke(app, app.demo(), &token).await.status, 200);
    assert_eq!(commits.load(SeqCst), before + 1);
}

#[actix_web::test]
async fn a_family_can_be_revoked_again_when_the_revocations_of_its_tokens_were_lost() {
    let installation = Installation::start().await;
    let (world, commits) = (&installation.knows, &installation.store.commits);
    let code = world.code().await;
    let (access, refresh) = pair(&world.redeem(&code).await);
    world.redeem(&code).await.refused(400, "invalid_grant");
    assert!(!world.is_active(&access).await);
    // A replay can come as often as somebody likes, and writes nothing more.
    let before = commits.load(SeqCst);
    world.redeem(&code).await.refused(400, "invalid_grant");
    assert_eq!(commits.load(SeqCst), before);
    for (seed, replayed) in [(2, true), (3, false)] {
        let later = installation.fail_over(seed).await;
        assert!(later.is_active_for(world.client(), &access).await, "it is lost");
        if replayed {
            world.redeem(&code).await.refused(400, "invalid_grant");
        } else {
            assert_eq!(revoke(&world.app, world.client(), &refresh).await.status, 200);
        }
        later.app.follow().await.expect("the store's changes");
        assert!(!later.is_active_for(world.client(), &access).await);
    }
}

const LISTS: Table = Table::mirrored("status_lists");

/// The key of the list that a token refers to, and its place there.
fn place(token: &str) -> (Vec<u8>, u64) {
    let reference = &part(token, 1)["status"]["status_list"];
    let uri = reference["uri"].as_str().expect("a list");
    (uri.rsplit('/').next().expect("an id").into(), reference["idx"].as_u64().expect("a place"))
}

/// A standby takes over that has only those lists that pass.
async fn lose_lists(store: &SharedStore, kept: impl Fn(&[u8]) -> bool) {
    let rows = store.scan(LISTS, None, 100).await.expect("rows");
    let lost = rows
        .into_iter()
        .filter(|(key, _)| !kept(key))
        .fold(Batch::new(), |batch, (key, _)| batch.delete(LISTS, key, Condition::Always));
    let _unconditional = store.commit(lost).await.expect("a commit");
    store.fail_over();
}

/// No other node knows of such a list, nor does this one when it is started again.
#[actix_web::test]
async fn a_list_that_was_lost_takes_no_more_tokens() {
    let Installation { store, knows: World { app, .. } } = &Installation::start().await;
    let before = app.demo_token().await;
    let (open, at) = place(&before);
    // That nothing of the node's own is lost changes nothing.
    store.fail_over();
    let commits = store.commits.load(SeqCst);
    app.app.follow().await.expect("all of it");
    assert_eq!(place(&app.demo_token().await), (open.clone(), at + 1));
    assert_eq!(store.commits.load(SeqCst), commits);
    lose_lists(store, |key| key != open).await;
    app.app.follow().await.expect("all of it");
    let token = app.demo_token().await;
    assert_ne!(place(&token).0, open, "what is lost is not issued from");
    let later = app.another_node(store.clone(), 2).await;
    assert!(later.is_active(&token).await && !status(&later, &token).await.1);
    assert!(!later.is_active(&before).await, "nobody knows what was revoked in a list that is lost");
    // Both.
    app.app.replenish().await.expect("a spare list");
    lose_lists(store, |_| false).await;
    app.app.follow().await.expect("all of it");
    app.token(app.demo(), "").await.refused(503, "temporarily_unavailable");
    app.app.replenish().await.expect("a spare list");
    let token = app.demo_token().await;
    later.app.follow().await.expect("the store's changes");
    assert!(later.is_active(&token).await);
}

/// Not an hour later, when it is wanted.
#[actix_web::test]
async fn a_spare_list_that_was_lost_is_replaced_at_once() {
    let Installation { store, knows: World { app, .. } } = &Installation::start().await;
    let indexes = &app.app.state.services.status_indexes;
    let (open, _) = place(&app.demo_token().await);
    assert!(indexes.has_spare());
    lose_lists(store, |key| key == open).await;
    assert!(indexes.has_spare(), "nobody has heard of it yet");
    app.app.follow().await.expect("all of it");
    assert!(!indexes.has_spare());
    assert!(
        futures_util::FutureExt::now_or_never(indexes.wanted()).is_some(),
        "whoever supplies it is woken"
    );
    app.app.replenish().await.expect("a spare list");
    assert_eq!(store.scan(LISTS, None, 100).await.expect("rows").len(), 2);
}
