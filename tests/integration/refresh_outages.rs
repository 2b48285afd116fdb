//! A refresh token that was spent, and whose owner does not hear so for as long as the store is away.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use signet::clock::{Clock as _, ManualClock};
use signet::config::Config;

use crate::grants_fixture::{World, pair, register};
use crate::shared_store::SharedStore;
use crate::test_app::{Answer, START, TestApp, basic, form};

/// Nodes hear of each other within P, and open no refresh token after it.
fn within_five_seconds(config: &mut Config) {
    config.keys.propagation = Duration::from_secs(5);
}

struct Outage {
    store: Arc<SharedStore>,
    world: World,
    /// A token that was spent just before, and its successor.
    spent: String,
    successor: String,
}

impl Outage {
    async fn begin() -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let store = SharedStore::new(clock.clone());
        let world =
            World::on(TestApp::start_on(store.clone(), clock, within_five_seconds).await, json!({})).await;
        let (_, spent) = world.tokens().await;
        let (_, successor) = pair(&world.refresh(&spent).await);
        store.take_out_of_reach(true);
        Self { store, world, spent, successor }
    }

    fn pass(&self, seconds: u64) {
        self.world.app.clock.advance(Duration::from_secs(seconds));
    }

    /// Presents the spent one after each of so many seconds.
    async fn ask(&self, seconds: &[u64]) {
        for &seconds in seconds {
            self.pass(seconds);
            self.world.refresh(&self.spent).await.refused(503, "temporarily_unavailable");
        }
    }

    fn end(&self) {
        self.store.take_out_of_reach(false);
    }

    /// Presents the spent one again, to a node that has heard of everything.
    async fn ask_again(&self) -> Answer {
        self.world.app.app.announce().await.expect("the store");
        self.world.app.pass(Duration::ZERO).await;
        self.world.refresh(&self.spent).await
    }

    async fn is_repeated(&self) {
        assert_eq!(pair(&self.ask_again().await).1, self.successor);
    }

    async fn is_reuse(&self) {
        self.ask_again().await.refused(400, "invalid_grant");
        self.world.refresh(&self.successor).await.refused(400, "invalid_grant");
        assert!(self.world.app.audit_log().contains("refresh_token.reused"));
    }
}

#[actix_web::test]
async fn whoever_asks_all_through_an_outage_gets_the_successor_of_then() {
    let outage = Outage::begin().await;
    outage.ask(&[0, 9, 9, 9, 9]).await;
    outage.end();
    outage.pass(9);
    outage.is_repeated().await;
    // The store knows of it now, and so does every node.
    outage.pass(9);
    let other = outage.world.app.another_node(outage.store.clone(), 2).await;
    let body = format!("grant_type=refresh_token&refresh_token={}", outage.spent);
    let request = outage.world.as_client(form("/oauth2/token", &body));
    assert_eq!(pair(&other.send(request).await).1, outage.successor);
}

#[actix_web::test]
async fn whoever_comes_back_after_ten_seconds_is_found_out_about_also_after_an_outage() {
    for asked in [&[0, 9, 11][..], &[11, 5], &[5, 5]] {
        let outage = Outage::begin().await;
        outage.ask(asked).await;
        outage.end();
        outage.pass(5);
        if asked == [5, 5] {
            outage.is_repeated().await;
            outage.pass(11);
        }
        outage.is_reuse().await;
    }
}

#[actix_web::test]
async fn nobody_asks_for_longer_than_a_minute_also_in_an_outage() {
    let outage = Outage::begin().await;
    outage.ask(&[10, 10, 10, 10, 10, 10]).await;
    outage.end();
    outage.pass(1);
    outage.is_reuse().await;
}

#[actix_web::test]
async fn what_is_older_than_the_last_one_ends_the_family_though_it_was_asked_for_in_an_outage() {
    let outage = Outage::begin().await;
    outage.ask(&[1, 1]).await;
    outage.end();
    let (_, third) = pair(&outage.world.refresh(&outage.successor).await);
    outage.is_reuse().await;
    outage.world.refresh(&third).await.refused(400, "invalid_grant");
}

/// Whoever else has it proves nothing by presenting it.
#[actix_web::test]
async fn what_another_client_asks_for_in_an_outage_counts_for_nobody() {
    let outage = Outage::begin().await;
    outage.store.take_out_of_reach(false);
    let other = register(&outage.world.app, json!({})).await;
    outage.store.take_out_of_reach(true);
    outage.pass(6);
    let body = format!("grant_type=refresh_token&refresh_token={}", outage.spent);
    let request = form("/oauth2/token", &body).insert_header(basic((&other.0, &other.1)));
    // It knows no more which keys seal, and says so to everybody.
    outage.world.app.send(request).await.refused(503, "temporarily_unavailable");
    outage.end();
    outage.pass(6);
    outage.is_reuse().await;
}

/// A database may be waited for for longer than ten seconds.
#[actix_web::test]
async fn what_counts_is_when_it_was_presented_and_not_when_it_was_answered() {
    let outage = Outage::begin().await;
    outage.end();
    outage.pass(9);
    outage.world.app.pass(Duration::ZERO).await;
    let clock = &outage.world.app.clock;
    let late = clock.numeric_date() + 4;
    *outage.store.steps.lock().expect("no test panics with it") = Some((clock.clone(), late));
    let answer = outage.world.refresh(&outage.spent).await;
    assert_eq!(clock.numeric_date(), late);
    assert_eq!(pair(&answer).1, outage.successor);
}
