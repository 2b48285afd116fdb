//! What each act of people's clients writes: how many commits, rows and bytes. The model in `docs/scale.md` rests on it.

use std::sync::Arc;

use serde_json::json;
use signet::clock::ManualClock;

use crate::faulty_store::{FaultyStore, Written};
use crate::grants_fixture::{World, pair};
use crate::test_app::{START, TestApp, form};

#[actix_web::test]
async fn what_is_written_for_each_act_of_a_client() {
    let clock = Arc::new(ManualClock::at(START));
    let store = FaultyStore::new(clock.clone());
    let world = World::on(TestApp::start_on(store.clone(), clock, |_| {}).await, json!({})).await;
    let take = || std::mem::take(&mut *store.written.lock().unwrap());
    let told = |act: &str, commits: usize| {
        let Written { commits: made, rows, bytes } = take();
        println!("{act}: {made} commits, {rows} rows, {bytes} bytes of keys and values");
        assert_eq!(made, commits, "{act}");
        assert!(bytes < 2048, "{act}: {bytes}");
    };
    take();
    world.app.demo_token().await;
    told("access token by client credentials", 0);
    let code = world.code().await;
    told("code issued", 1);
    let (access, refresh) = pair(&world.redeem(&code).await);
    told("code exchanged", 1);
    let (_, refresh) = pair(&world.refresh(&refresh).await);
    told("first refresh", 1);
    pair(&world.refresh(&refresh).await);
    told("refresh", 1);
    let revoke = world.as_client(form("/oauth2/revoke", &format!("token={access}")));
    assert_eq!(world.app.send(revoke).await.status, 200);
    told("revocation of one token", 1);
}
