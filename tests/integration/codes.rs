//! Authorization codes: spent once, bound to all that they are bound to, and what a replay ends.

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use signet::oauth::{CodeChallenge, Resource};
use signet::protocol::users::end_session;
use signet::store::{Changes, Cursor};
use signet::tokens::{Grant, NewCode};

use crate::browser::text;
use crate::grants_fixture::{CHALLENGE, VERIFIER, World, code_body, pair, races, register};
use crate::resource_server_fixture::ResourceServer;
use crate::revocation::revoke;
use crate::test_app::{ISSUER, basic, form, part};

#[actix_web::test]
async fn a_code_is_exchanged_for_tokens_that_speak_for_the_person() {
    let world = World::start().await;
    let answer = world.redeem(&world.code().await).await;
    let (access_token, _) = pair(&answer);
    assert_eq!(answer.json()["scope"], "openid offline_access read write");
    let claims = part(&access_token, 1);
    assert_eq!(claims["sub"], world.account.id.as_str());
    assert_eq!(claims["client_id"], world.client().0);
    assert_eq!(
        (&claims["auth_time"], &claims["acr"]),
        (&json!(world.app.now() - 5), &json!("urn:signet:acr:password"))
    );
    assert_eq!(claims["amr"], json!(["pwd"]));
    let id_token = answer.json()["id_token"].as_str().expect("an ID token").to_owned();
    let (header, claims) = (part(&id_token, 0), part(&id_token, 1));
    assert_eq!((header["typ"].as_str(), header["alg"].as_str()), (Some("JWT"), Some("ES256")));
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(ISSUER), &json!(world.client().0)));
    assert_eq!(claims["sub"], world.account.id.as_str());
    assert_eq!(claims["nonce"], "n-0S6_WzA2Mj");
    assert_eq!((&claims["iat"], &claims["exp"]), (&json!(world.app.now()), &json!(world.app.now() + 3600)));
    assert!(claims["at_hash"].is_string() && claims.get("azp").is_none() && claims.get("email").is_none());
    // An ID token is no access token.
    assert!(world.services().live_token(&id_token).expect("a node that is fit").is_none());
    assert!(!world.is_active(&id_token).await);
}

#[actix_web::test]
async fn a_claim_that_is_asked_for_stands_in_the_id_token_if_the_scope_covers_it() {
    let world = World::start().await;
    let claims = Some(json!({ "id_token": { "email": null, "name": null } }));
    let scope = signet::oauth::Scope::parse("openid email").unwrap();
    let code = world.code_for(Grant { claims, scope, ..world.grant() }).await;
    let answer = world.redeem(&code).await.json();
    let claims = part(answer["id_token"].as_str().unwrap(), 1);
    assert_eq!(claims["email"], "ada@example.com");
    assert_eq!(claims.get("name"), None);
}

#[actix_web::test]
async fn a_replay_ends_what_the_code_produced() {
    let world = World::start().await;
    let code = world.code().await;
    let (access_token, refresh_token) = pair(&world.redeem(&code).await);
    let (later, newest) = pair(&world.refresh(&refresh_token).await);
    world.redeem(&code).await.refused(400, "invalid_grant");
    for token in [&access_token, &later, &newest] {
        assert!(!world.is_active(token).await);
    }
    world.refresh(&newest).await.refused(400, "invalid_grant");
    assert!(world.app.audit_log().contains("code.replayed"));
    let metrics = text(&world.app.manage("/metrics").await);
    assert!(metrics.contains("signet_replays_total{what=\"code\"} 1"), "{metrics}");
    assert!(metrics.contains("signet_replays_total{what=\"refresh_token\"} 0"), "{metrics}");
}

#[actix_web::test]
async fn a_replay_that_comes_again_writes_nothing() {
    let world = World::start().await;
    let code = world.code().await;
    let (access_token, _) = pair(&world.redeem(&code).await);
    world.redeem(&code).await.refused(400, "invalid_grant");
    let store = &world.services().store;
    let (Changes::Rows { next: before, .. } | Changes::Reset { next: before }) =
        store.changes(Cursor::AHEAD).await.unwrap();
    world.redeem(&code).await.refused(400, "invalid_grant");
    assert!(!world.is_active(&access_token).await);
    let (Changes::Rows { next: after, .. } | Changes::Reset { next: after }) =
        store.changes(Cursor::AHEAD).await.unwrap();
    assert_eq!(before, after, "no revocation was written again");
}

/// Or whoever has one spent code fills the disk with what is recorded of it.
#[actix_web::test]
async fn a_replay_that_comes_again_is_counted_but_recorded_once() {
    let world = World::start().await;
    let code = world.code().await;
    let (_, refresh_token) = pair(&world.redeem(&code).await);
    for _ in 0..5 {
        world.redeem(&code).await.refused(400, "invalid_grant");
        world.refresh(&refresh_token).await.refused(400, "invalid_grant");
    }
    assert_eq!(world.app.audit_log().matches("code.replayed").count(), 1);
    assert_eq!(world.app.audit_log().matches("refresh_token.reused").count(), 0, "it is merely dead");
    let metrics = text(&world.app.manage("/metrics").await);
    assert!(metrics.contains("signet_replays_total{what=\"code\"} 5"), "{metrics}");
}

/// It is over all the same: who has a full disk, or has filled it, gains nothing by that. And it stands in the log afterwards.
#[actix_web::test]
async fn a_replay_that_can_not_be_recorded_ends_all_and_is_recorded_when_it_comes_again() {
    let world = World::start().await;
    for what in ["code.replayed", "refresh_token.reused"] {
        let code = world.code().await;
        let (access_token, first) = pair(&world.redeem(&code).await);
        let (_, second) = pair(&world.refresh(&first).await);
        let (_, newest) = pair(&world.refresh(&second).await);
        let again = async || match what {
            "code.replayed" => world.redeem(&code).await,
            _ => world.refresh(&first).await,
        };
        world.app.audit_disk.fill(true);
        for _ in 0..2 {
            again().await.refused(503, "temporarily_unavailable");
        }
        assert!(!world.is_active(&access_token).await && !world.is_active(&newest).await, "{what}");
        assert_eq!(world.app.audit_log().matches(what).count(), 0);
        world.app.audit_disk.fill(false);
        // Whoever revokes a token that has ended unrecorded is on record.
        let recorded = world.app.audit_log().matches("token.revoked").count();
        assert_eq!(revoke(&world.app, world.client(), &access_token).await.status, 200);
        assert_eq!(world.app.audit_log().matches("token.revoked").count(), recorded + 1);
        for _ in 0..3 {
            again().await.refused(400, "invalid_grant");
        }
        assert_eq!(world.app.audit_log().matches(what).count(), 1, "{what}");
        assert!(!world.is_active(&newest).await);
    }
}

#[actix_web::test]
async fn a_replay_after_a_restart_ends_it_too() {
    let world = World::start().await;
    let code = world.code().await;
    let (access_token, refresh_token) = pair(&world.redeem(&code).await);
    let World { app, client, account } = world;
    let world = World { app: app.restart(|_| {}).await, client, account };
    assert!(world.is_active(&access_token).await);
    world.redeem(&code).await.refused(400, "invalid_grant");
    assert!(!world.is_active(&access_token).await);
    assert!(!world.is_active(&refresh_token).await);
}

#[actix_web::test]
async fn whoever_lacks_what_a_code_is_bound_to_neither_spends_nor_ends_it() {
    let world = World::start().await;
    let other = register(&world.app, json!({})).await;
    let code = world.code().await;
    let right = format!("{}&code_verifier={VERIFIER}", code_body(&code));
    let wrong = [
        code_body(&code),
        format!("{}&code_verifier={}", code_body(&code), "a".repeat(43)),
        right.replace("callback", "callback/"),
        format!("grant_type=authorization_code&code={code}&code_verifier={VERIFIER}"),
        right.replace(&code, &"A".repeat(43)),
    ];
    for round in 0..2 {
        for body in &wrong {
            world.present(body).await.refused(400, "invalid_grant");
        }
        let request = form("/oauth2/token", &right).insert_header(basic((&other.0, &other.1)));
        world.app.send(request).await.refused(400, "invalid_grant");
        let malformed = format!("{}&code_verifier=short", code_body(&code));
        world.present(&malformed).await.refused(400, "invalid_request");
        if round == 0 {
            let (access_token, _) = pair(&world.present(&right).await);
            assert!(world.is_active(&access_token).await);
        }
    }
    // Spent by now, and still none of them has ended anything.
    assert!(!world.app.audit_log().contains("code.replayed"));
}

#[actix_web::test]
async fn a_verifier_counts_where_there_was_a_challenge_and_only_there() {
    let exempt = json!({ "require_pkce": false });
    let challenge = || Some(CodeChallenge::parse(CHALLENGE).unwrap());
    let plain = || Some(CodeChallenge::parse(&format!("{}Y", &VERIFIER[..42])).unwrap());
    let other = "b".repeat(43);
    // Whether the client must use PKCE, the challenge, the verifier.
    for must in [true, false] {
        let world = World::start_with(if must { json!({}) } else { exempt.clone() }, |_| {}).await;
        for (bound, verifier, passes) in [
            (challenge(), Some(VERIFIER), true),
            (challenge(), Some(other.as_str()), false),
            (challenge(), None, false),
            (None, Some(VERIFIER), false),
            (None, None, !must),
            // By the method plain it would be the challenge itself.
            (plain(), Some(VERIFIER), false),
        ] {
            let new = NewCode { grant: world.grant(), redirect_uri: None, code_challenge: bound };
            let code = world.issue(new).await;
            let verifier = verifier.map(|verifier| format!("&code_verifier={verifier}")).unwrap_or_default();
            let body = format!("grant_type=authorization_code&code={code}{verifier}");
            let answer = world.present(&body).await;
            assert_eq!(answer.status == 200, passes, "must: {must}, {verifier}: {answer:?}");
        }
    }
}

#[actix_web::test]
async fn a_code_ends_to_the_second() {
    let world = World::start().await;
    let (early, late) = (world.code().await, world.code().await);
    world.app.pass(Duration::from_millis(59_999)).await;
    pair(&world.redeem(&early).await);
    world.app.clock.advance(Duration::from_millis(1));
    world.redeem(&late).await.refused(400, "invalid_grant");
}

/// Two codes, or with `SIGNET_FAULTS=full` a thousand, on sled; `tests/cluster/run` does the same over two nodes.
#[actix_web::test]
async fn of_two_hundred_at_once_one_wins() {
    let world = Rc::new(World::start().await);
    let api = ResourceServer::beside(&world.app);
    let codes = races(2);
    for _ in 0..codes {
        let code = world.code().await;
        let racers: Vec<_> = (0..200)
            .map(|_| {
                let (world, code) = (Rc::clone(&world), code.clone());
                actix_web::rt::spawn(async move { world.redeem(&code).await })
            })
            .collect();
        let mut winners = Vec::new();
        for racer in racers {
            let answer = racer.await.unwrap();
            if answer.status == 200 {
                winners.push(pair(&answer));
            } else {
                answer.refused(400, "invalid_grant");
            }
        }
        assert_eq!(winners.len(), 1);
        // The others were second requests: the winner's tokens are over, for whoever asks and for whoever does not.
        let (access_token, refresh_token) = &winners[0];
        assert!(!world.is_active(access_token).await && !world.is_active(refresh_token).await);
        world.refresh(refresh_token).await.refused(400, "invalid_grant");
        assert_eq!(api.products(access_token).await.json()["message"], "the access token was revoked");
        // Whoever is asked so often would be told to wait.
        world.app.pass(Duration::from_mins(2)).await;
    }
    println!(
        "{codes} codes, 200 exchanges of each at once: 1 winner each, 199 invalid_grant, and the winner's tokens over"
    );
}

#[actix_web::test]
async fn whoever_is_gone_or_revoked_gets_nothing_for_a_code() {
    use actix_web::http::Method;
    let world = World::start().await;
    // Revoked as a whole after the grant: the client's, then the person's.
    for body in [json!({ "client_id": world.client().0 }), json!({ "sub": world.account.id.as_str() })] {
        let code = world.code().await;
        assert_eq!(world.app.administer(Method::POST, "/admin/revocations", Some(body)).await.status, 200);
        world.redeem(&code).await.refused(400, "invalid_grant");
        world.app.clock.advance(Duration::from_secs(2));
        pair(&world.redeem(&world.code().await).await);
    }
    let code = world.code().await;
    world.services().accounts.delete(&world.account).await.unwrap();
    world.redeem(&code).await.refused(400, "invalid_grant");
}

#[actix_web::test]
async fn a_code_of_an_ended_session_is_worth_nothing() {
    let world = World::start().await;
    let (grant, user, sid) = world.session_grant().await;
    let code = world.code_for(grant).await;
    end_session(world.services(), &user, &sid).await.unwrap();
    world.redeem(&code).await.refused(400, "invalid_grant");
}

#[actix_web::test]
async fn a_code_gives_nothing_for_somebody_who_has_signed_out_however_long_it_would_last() {
    let world = World::start().await;
    let (grant, user, sid) = world.session_grant().await;
    let lasting = Grant { scope: world.grant().scope, ..grant };
    let (early, late) = (world.code_for(lasting.clone()).await, world.code_for(lasting).await);
    let (_, refresh_token) = pair(&world.redeem(&early).await);
    end_session(world.services(), &user, &sid).await.unwrap();
    world.redeem(&late).await.refused(400, "invalid_grant");
    pair(&world.refresh(&refresh_token).await);
}

#[actix_web::test]
async fn a_public_client_names_itself_and_proves_itself_by_pkce() {
    let world = World::start_with(json!({ "token_endpoint_auth_method": "none" }), |_| {}).await;
    let id = world.client().0.to_owned();
    let body = |code: &str| format!("{}&client_id={id}&code_verifier={VERIFIER}", code_body(code));
    let answer = world.app.send(form("/oauth2/token", &body(&world.code().await))).await;
    let (access_token, refresh_token) = pair(&answer);
    let refresh = format!("grant_type=refresh_token&refresh_token={refresh_token}&client_id={id}");
    pair(&world.app.send(form("/oauth2/token", &refresh)).await);
    // It may revoke what it holds, and learns nothing of tokens.
    let token = format!("token={access_token}&client_id={id}");
    world.app.send(form("/oauth2/introspect", &token)).await.refused(401, "invalid_client");
    assert_eq!(world.app.send(form("/oauth2/revoke", &token)).await.status, 200);
    // A secret is no way to be a client that has none, and a name none to be one that has.
    let with_secret = format!("{}&client_secret=x", body(&world.code().await));
    world.app.send(form("/oauth2/token", &with_secret)).await.refused(401, "invalid_client");
    let demo = format!("{}&client_id={}", code_body("x"), world.app.demo().0);
    world.app.send(form("/oauth2/token", &demo)).await.refused(401, "invalid_client");
    let own = format!("grant_type=client_credentials&client_id={id}");
    world.app.send(form("/oauth2/token", &own)).await.refused(400, "unauthorized_client");
}

#[actix_web::test]
async fn tokens_are_only_for_the_resources_of_the_grant() {
    let world = World::start().await;
    let code = world.code().await;
    let right = format!("{}&code_verifier={VERIFIER}", code_body(&code));
    let admin = format!("{ISSUER}/admin");
    world.present(&format!("{right}&resource={admin}")).await.refused(400, "invalid_target");
    // Nothing was spent for what could not be granted.
    pair(&world.present(&format!("{right}&resource=http://127.0.0.1:9000")).await);
    let foreign = vec![Resource::parse(&admin).unwrap()];
    let code = world.code_for(Grant { resources: foreign, ..world.grant() }).await;
    world.redeem(&code).await.refused(400, "invalid_target");
}
