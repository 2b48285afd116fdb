//! Refresh tokens: each is used once, and whoever uses one twice ends its family.

use std::rc::Rc;
use std::time::Duration;

use actix_web::http::Method;
use serde_json::{Value, json};
use signet::oauth::Scope;
use signet::protocol::users::end_session;
use signet::store::{Batch, Committed, Condition, Put, Table};
use signet::tokens::Grant;

use crate::browser::text;
use crate::grants_fixture::{World, pair, races, register};
use crate::resource_server_fixture::ResourceServer;
use crate::test_app::{basic, form, part};

#[actix_web::test]
async fn a_refresh_token_is_exchanged_for_its_successor() {
    let world = World::start().await;
    let (_, first) = world.tokens().await;
    let answer = world.refresh(&first).await;
    let (access_token, second) = pair(&answer);
    assert_ne!(first, second);
    assert_eq!(part(&access_token, 1)["sub"], world.account.id.as_str());
    let id_token = part(answer.json()["id_token"].as_str().unwrap(), 1);
    assert_eq!(id_token["auth_time"], world.app.now() - 5);
    assert_eq!(id_token.get("nonce"), None, "OpenID Connect Core, section 12.2");
    assert!(!world.is_active(&first).await && world.is_active(&second).await);
    let seen = world.introspect(&second).await;
    assert_eq!((&seen["client_id"], seen.get("token_type")), (&json!(world.client().0), None));
    assert_eq!(seen["exp"], world.app.now() + 14 * 86_400);
}

#[actix_web::test]
async fn a_dead_refresh_token_is_refused_as_such_though_an_access_token_of_its_family_cant_be_read() {
    let world = World::start().await;
    let (access_token, refresh) = world.tokens().await;
    let family = world.services().refresh_tokens.open(&refresh).await.expect("keys").expect("a token").family;
    let unreadable = Put::lasting(b"no date".to_vec());
    let rows = Table::plain("family_tokens");
    let row = Batch::new().put(rows, format!("{family}/list"), Condition::Always, unreadable);
    assert_eq!(world.services().store.commit(row).await.expect("the store"), Committed::Applied);
    // Whoever revokes it is told that not all of it may be revoked.
    let request = world.as_client(form("/oauth2/revoke", &format!("token={refresh}")));
    assert_eq!(world.app.send(request).await.status, 500);
    assert!(!world.is_active(&access_token).await);
    for _ in 0..2 {
        world.refresh(&refresh).await.refused(400, "invalid_grant");
    }
}

#[actix_web::test]
async fn a_retry_within_ten_seconds_gets_the_same_successor() {
    let world = World::start().await;
    let (_, first) = world.tokens().await;
    let (_, second) = pair(&world.refresh(&first).await);
    world.app.clock.advance(Duration::from_secs(10));
    let (access_token, again) = pair(&world.refresh(&first).await);
    assert_eq!(second, again);
    assert!(world.is_active(&access_token).await);
    pair(&world.refresh(&second).await);
}

/// As a client does whose requests are answered with 503 for as long as the store is slow, though each is done.
#[actix_web::test]
async fn whoever_goes_on_retrying_gets_the_same_successor_until_it_is_used() {
    let world = World::start().await;
    let (_, first) = world.tokens().await;
    let (_, second) = pair(&world.refresh(&first).await);
    for _ in 0..8 {
        world.app.pass(Duration::from_millis(6_500)).await;
        assert_eq!(pair(&world.refresh(&first).await).1, second);
    }
    // Retries that follow each other closely need not be noted, and what was noted last counts.
    world.app.clock.advance(Duration::from_secs(5));
    assert_eq!(pair(&world.refresh(&first).await).1, second);
    world.app.clock.advance(Duration::from_millis(5_001));
    let (access_token, third) = pair(&world.refresh(&second).await);
    world.refresh(&first).await.refused(400, "invalid_grant");
    assert!(!world.is_active(&access_token).await && !world.is_active(&third).await);
    // Nor does it begin anew by itself.
    let (_, first) = world.tokens().await;
    let (access_token, _) = pair(&world.refresh(&first).await);
    world.app.clock.advance(Duration::from_secs(9));
    pair(&world.refresh(&first).await);
    world.app.clock.advance(Duration::from_millis(10_001));
    world.refresh(&first).await.refused(400, "invalid_grant");
    assert!(!world.is_active(&access_token).await);
}

/// Or whoever stole it, and spent it before its owner did, would not be found out about while they go on.
#[actix_web::test]
async fn nobody_goes_on_retrying_for_longer_than_a_minute() {
    let world = World::start().await;
    let (_, first) = world.tokens().await;
    let (_, second) = pair(&world.refresh(&first).await);
    for _ in 0..6 {
        world.app.pass(Duration::from_millis(9_999)).await;
        assert_eq!(pair(&world.refresh(&first).await).1, second);
    }
    world.app.clock.advance(Duration::from_millis(9));
    world.refresh(&first).await.refused(400, "invalid_grant");
    world.refresh(&second).await.refused(400, "invalid_grant");
    assert!(world.app.audit_log().contains("refresh_token.reused"));
}

#[actix_web::test]
async fn a_retry_after_that_ends_the_family() {
    let world = World::start().await;
    let (access_token, first) = world.tokens().await;
    let (second_access, second) = pair(&world.refresh(&first).await);
    world.app.clock.advance(Duration::from_millis(10_001));
    world.refresh(&first).await.refused(400, "invalid_grant");
    for token in [&access_token, &second_access, &second] {
        assert!(!world.is_active(token).await);
    }
    world.refresh(&second).await.refused(400, "invalid_grant");
    assert!(world.app.audit_log().contains("refresh_token.reused"));
    let metrics = text(&world.app.manage("/metrics").await);
    assert!(metrics.contains("signet_replays_total{what=\"code\"} 0"), "{metrics}");
    assert!(metrics.contains("signet_replays_total{what=\"refresh_token\"} 1"), "{metrics}");
}

#[actix_web::test]
async fn a_grandparent_ends_the_family_however_soon() {
    let world = World::start().await;
    let (_, first) = world.tokens().await;
    let (_, second) = pair(&world.refresh(&first).await);
    let (access_token, third) = pair(&world.refresh(&second).await);
    world.refresh(&first).await.refused(400, "invalid_grant");
    assert!(!world.is_active(&access_token).await && !world.is_active(&third).await);
    world.refresh(&third).await.refused(400, "invalid_grant");
}

/// Two tokens, or with `SIGNET_FAULTS=full` a thousand, on sled; `tests/cluster/run` does the same over two nodes.
#[actix_web::test]
async fn of_two_hundred_at_once_all_get_the_one_child() {
    let world = Rc::new(World::start().await);
    let api = ResourceServer::beside(&world.app);
    let tokens = races(2);
    for _ in 0..tokens {
        let (_, first) = world.tokens().await;
        let racers: Vec<_> = (0..200)
            .map(|_| {
                let (world, token) = (Rc::clone(&world), first.clone());
                actix_web::rt::spawn(async move { pair(&world.refresh(&token).await) })
            })
            .collect();
        let mut pairs = Vec::new();
        for racer in racers {
            pairs.push(racer.await.unwrap());
        }
        assert!(pairs.iter().all(|(_, child)| *child == pairs[0].1));
        // All their access tokens are known to the family, and end with it: for whoever asks, and for whoever reads the
        // status list instead.
        for (access_token, _) in &pairs {
            assert_eq!(api.products(access_token).await.status, 200);
        }
        // At once, within the grace: as soon as the child is used too, what all of them presented is a grandparent.
        let (access_token, grandchild) = pair(&world.refresh(&pairs[0].1).await);
        assert_eq!(api.products(&access_token).await.status, 200);
        world.refresh(&first).await.refused(400, "invalid_grant");
        world.refresh(&grandchild).await.refused(400, "invalid_grant");
        pairs.push((access_token, grandchild));
        // After which whoever keeps a status list asks for it anew.
        world.app.clock.advance(Duration::from_secs(11));
        for (access_token, refresh_token) in &pairs {
            assert!(!world.is_active(access_token).await && !world.is_active(refresh_token).await);
            assert_eq!(api.products(access_token).await.json()["message"], "the access token was revoked");
        }
        // Whoever is asked so often would be told to wait.
        world.app.pass(Duration::from_mins(2)).await;
    }
    println!(
        "{tokens} tokens, 200 refreshes of each at once: 1 child each; presented again once that was used, within the grace: the \
         family's end, {tokens} times, and 0 of its 201 access tokens accepted"
    );
}

#[actix_web::test]
async fn rotation_goes_on_after_a_restart_and_a_spent_token_stays_spent() {
    let world = World::start().await;
    let (_, first) = world.tokens().await;
    let (_, second) = pair(&world.refresh(&first).await);
    let World { app, client, account } = world;
    let world = World { app: app.restart(|_| {}).await, client, account };
    let (_, third) = pair(&world.refresh(&second).await);
    world.refresh(&first).await.refused(400, "invalid_grant");
    world.refresh(&third).await.refused(400, "invalid_grant");
}

#[actix_web::test]
async fn a_scope_is_narrowed_for_one_access_token_and_never_widened() {
    let world = World::start().await;
    let scope = Scope::parse("openid offline_access read").unwrap();
    let code = world.code_for(Grant { scope, ..world.grant() }).await;
    let (_, first) = pair(&world.redeem(&code).await);
    let ask = |token: &str, scope: &str| {
        format!("grant_type=refresh_token&refresh_token={token}&scope={}", scope.replace(' ', "+"))
    };
    for wider in ["read write", "write", "profile", "signet:keys"] {
        world.present(&ask(&first, wider)).await.refused(400, "invalid_scope");
    }
    let answer = world.present(&ask(&first, "read")).await;
    let (access_token, second) = pair(&answer);
    assert_eq!(part(&access_token, 1)["scope"], "read");
    assert_eq!(answer.json().get("id_token"), None);
    let (access_token, _) = pair(&world.refresh(&second).await);
    assert_eq!(part(&access_token, 1)["scope"], "openid offline_access read");
}

#[actix_web::test]
async fn what_the_client_may_no_longer_have_it_does_not_get() {
    let world = World::start().await;
    let (_, first) = world.tokens().await;
    let path = format!("/admin/clients/{}", world.client().0);
    let change = json!({ "scope": "openid offline_access read", "default_scope": "read" });
    assert_eq!(world.app.administer(Method::PATCH, &path, Some(change)).await.status, 200);
    let (access_token, second) = pair(&world.refresh(&first).await);
    assert_eq!(part(&access_token, 1)["scope"], "openid offline_access read");
    let change = json!({ "grant_types": ["authorization_code"] });
    assert_eq!(world.app.administer(Method::PATCH, &path, Some(change)).await.status, 200);
    world.refresh(&second).await.refused(400, "unauthorized_client");
}

#[actix_web::test]
async fn it_ends_unused_after_a_time_and_used_after_a_longer_one() {
    let day = Duration::from_hours(24);
    let world = World::start().await;
    let (_, unused) = world.tokens().await;
    let (_, mut used) = world.tokens().await;
    world.app.pass(Duration::from_secs(14 * 86_400 - 1)).await;
    (_, used) = pair(&world.refresh(&used).await);
    world.app.pass(Duration::from_secs(1)).await;
    world.refresh(&unused).await.refused(400, "invalid_grant");
    assert!(!world.is_active(&unused).await);
    world.app.pass(13 * day).await;
    (_, used) = pair(&world.refresh(&used).await);
    assert_eq!(world.introspect(&used).await["exp"], world.app.now() + 3 * 86_400);
    world.app.pass(Duration::from_secs(3 * 86_400 - 1)).await;
    (_, used) = pair(&world.refresh(&used).await);
    world.app.pass(Duration::from_secs(1)).await;
    world.refresh(&used).await.refused(400, "invalid_grant");
}

#[actix_web::test]
async fn it_is_the_clients_own() {
    let world = World::start().await;
    let other = register(&world.app, json!({})).await;
    let (access_token, first) = world.tokens().await;
    let body = format!("grant_type=refresh_token&refresh_token={first}");
    let request = form("/oauth2/token", &body).insert_header(basic((&other.0, &other.1)));
    world.app.send(request).await.refused(400, "invalid_grant");
    let token = format!("token={first}");
    let foreign = |path| form(path, &token).insert_header(basic((&other.0, &other.1)));
    assert_eq!(world.app.send(foreign("/oauth2/introspect")).await.json(), json!({ "active": false }));
    world.app.send(foreign("/oauth2/revoke")).await.refused(400, "unauthorized_client");
    world.app.send(foreign("/oauth/revoke")).await.refused(403, "unauthorized_client");
    // Nobody else has touched it.
    assert!(world.is_active(&access_token).await);
    pair(&world.refresh(&first).await);
    for text in ["x", &first[1..], &format!("{first}A"), &first.to_uppercase()] {
        world.refresh(text).await.refused(400, "invalid_grant");
    }
}

#[actix_web::test]
async fn revoking_one_ends_its_family() {
    let world = World::start().await;
    for by_the_newest in [true, false] {
        let (access_token, first) = world.tokens().await;
        let (later, second) = pair(&world.refresh(&first).await);
        let token = if by_the_newest { &second } else { &first };
        let body = format!("token={token}&token_type_hint=refresh_token");
        let request = world.as_client(form("/oauth2/revoke", &body));
        assert_eq!(world.app.send(request).await.status, 200);
        for token in [&access_token, &later, &second] {
            assert!(!world.is_active(token).await);
        }
        world.refresh(&second).await.refused(400, "invalid_grant");
    }
    // One that was never used has no row yet.
    let (access_token, first) = world.tokens().await;
    let (id, secret) = world.client();
    let body = format!("token={first}&client_id={id}&client_secret={secret}");
    assert_eq!(world.app.send(form("/oauth/revoke", &body)).await.json(), json!({}));
    assert!(!world.is_active(&access_token).await);
    world.refresh(&first).await.refused(400, "invalid_grant");
}

#[actix_web::test]
async fn revoking_one_that_has_ended_ends_its_family_too() {
    let day = Duration::from_hours(24);
    let world = World::start().await;
    let (_, first) = world.tokens().await;
    world.app.pass(13 * day).await;
    let (access_token, second) = pair(&world.refresh(&first).await);
    world.app.pass(day).await;
    let (later, third) = pair(&world.refresh(&second).await);
    let ask = |client: (&str, &str)| {
        let body = format!("token={first}&client_id={}&client_secret={}", client.0, client.1);
        form("/oauth/revoke", &body)
    };
    let other = register(&world.app, json!({})).await;
    world.app.send(ask((&other.0, &other.1))).await.refused(403, "unauthorized_client");
    assert!(world.is_active(&later).await && world.is_active(&third).await);
    for _ in 0..2 {
        let answer = world.app.send(ask(world.client())).await;
        assert_eq!((answer.status, answer.json()), (200, json!({})));
    }
    assert!(!world.is_active(&access_token).await && !world.is_active(&later).await);
    world.refresh(&third).await.refused(400, "invalid_grant");
}

#[actix_web::test]
async fn it_ends_with_its_session_unless_it_may_outlive_it() {
    let world = World::start().await;
    let (grant, user, sid) = world.session_grant().await;
    let (access_token, bound) = pair(&world.redeem(&world.code_for(grant.clone()).await).await);
    assert_eq!(part(&access_token, 1)["sid"], sid.as_str());
    let scope = Scope::parse("openid offline_access read").unwrap();
    let code = world.code_for(Grant { scope, ..grant }).await;
    let (_, offline) = pair(&world.redeem(&code).await);
    let (_, bound) = pair(&world.refresh(&bound).await);
    end_session(world.services(), &user, &sid).await.unwrap();
    assert!(!world.is_active(&bound).await);
    world.refresh(&bound).await.refused(400, "invalid_grant");
    pair(&world.refresh(&offline).await);
}

#[actix_web::test]
async fn without_a_session_and_offline_access_there_is_none() {
    let world = World::start().await;
    let scope = Scope::parse("openid read").unwrap();
    let answer = world.redeem(&world.code_for(Grant { scope, ..world.grant() }).await).await;
    answer.access_token();
    assert_eq!(answer.json().get("refresh_token"), None);
    let world = World::start_with(json!({ "grant_types": ["authorization_code"] }), |_| {}).await;
    let answer = world.redeem(&world.code().await).await;
    answer.access_token();
    assert_eq!(answer.json().get("refresh_token"), None, "the client is not registered for it");
}

#[actix_web::test]
async fn a_cutoff_ends_the_families_before_it_for_as_long_as_they_could_live() {
    let day = Duration::from_hours(24);
    let world = World::start().await;
    let (_, client_wide) = world.tokens().await;
    let revoke = |body| world.app.administer(Method::POST, "/admin/revocations", Some(body));
    assert_eq!(revoke(json!({ "client_id": world.client().0 })).await.status, 200);
    assert!(!world.is_active(&client_wide).await);
    world.refresh(&client_wide).await.refused(400, "invalid_grant");
    world.app.clock.advance(Duration::from_secs(1));
    let (_, person_wide) = world.tokens().await;
    assert_eq!(revoke(json!({ "sub": world.account.id.as_str() })).await.status, 200);
    // Its access tokens are long over by then, and what need not be remembered is swept away.
    world.app.pass(13 * day).await;
    let World { app, client, account } = world;
    let world = World { app: app.restart(|_| {}).await, client, account };
    world.refresh(&person_wide).await.refused(400, "invalid_grant");
    pair(&world.refresh(&world.tokens().await.1).await);
}

#[actix_web::test]
async fn disabling_deleting_and_a_new_password_end_every_family_for_good() {
    let world = World::start().await;
    let path = format!("/admin/users/{}", world.account.id);
    let change = async |change: Value| {
        assert_eq!(world.app.administer(Method::PATCH, &path, Some(change)).await.status, 200);
    };
    for (ends, mends) in [
        (json!({ "disabled": true }), Some(json!({ "disabled": false }))),
        (json!({ "password": "a sentence that nobody guesses" }), None),
    ] {
        let (_, unspent) = world.tokens().await;
        let (access_token, rotated) = pair(&world.refresh(&world.tokens().await.1).await);
        change(json!({ "name": "Ada" })).await;
        assert!(world.is_active(&rotated).await, "a new name ends nothing");
        change(ends).await;
        for round in 0..2 {
            for token in [&unspent, &rotated] {
                assert!(!world.is_active(token).await, "{round}");
                world.refresh(token).await.refused(400, "invalid_grant");
            }
            assert!(!world.is_active(&access_token).await, "{round}");
            // Whoever is let in again has to begin anew.
            if let Some(mends) = mends.clone() {
                change(mends).await;
            }
        }
        world.app.pass(Duration::from_secs(2)).await;
        pair(&world.refresh(&world.tokens().await.1).await);
    }
    let (_, last) = world.tokens().await;
    assert_eq!(world.app.administer(Method::DELETE, &path, None).await.status, 204);
    assert!(!world.is_active(&last).await);
    world.refresh(&last).await.refused(400, "invalid_grant");
}
