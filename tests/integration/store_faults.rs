//! Tokens and keys while the store fails at any call: what is said to be done is done, what is not is refused with 503, no
//! code is spent twice, and what was asked for can be asked for again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use signet::app::{App, Ground};
use signet::clock::ManualClock;
use signet::config::Config;
use signet::entropy::SeededEntropy;
use signet::keys::{Origin, Signer as _, SoftwareSigner};
use signet::oauth::{Algorithm, ClientId, CodeVerifier, KeyId};
use signet::store::Room;
use signet::tokens::{FoundCode, Presented, PresentedRedirectUri};

use crate::faulty_store::{Fault, FaultyStore, House};
use crate::grants_fixture::{CALLBACK, VERIFIER, World, pair};
use crate::test_app::{Answer, RESOURCE, START, bearer, form, part};

/// A request of the admin API with a token that was issued before.
pub(crate) async fn admin(
    world: &World,
    token: &str,
    (method, path): (Method, &str),
    body: Option<serde_json::Value>,
) -> Answer {
    let mut request = TestRequest::with_uri(path).method(method).insert_header(bearer(token));
    if let Some(body) = body {
        request = request.set_json(body);
    }
    world.app.send(request).await
}

/// Whether the code was redeemed.
async fn is_spent(world: &World, code: &str) -> bool {
    let client_id = ClientId::parse(&world.client.0).unwrap();
    let presented = Presented {
        client_id: &client_id,
        redirect_uri: PresentedRedirectUri::Named(CALLBACK),
        code_verifier: Some(CodeVerifier::parse(VERIFIER).unwrap()),
    };
    let found = world.services().codes.find(code, &presented).await.unwrap().expect("the code");
    matches!(found, FoundCode::Spent { .. })
}

#[actix_web::test]
async fn a_code_is_spent_once_whatever_fails() {
    let house = House::open().await;
    house
        .hold(
            "redeem a code",
            async |world: &World, _| world.code().await,
            async |world: &World, code: &String| world.redeem(code).await,
            (
                async |world: &World, code: &String, told: Option<&Answer>| {
                    if let Some(told) = told {
                        let (access, refresh) = pair(told);
                        assert!(world.is_active(&access).await && world.is_active(&refresh).await);
                    }
                    is_spent(world, code).await
                },
                async |world: &World, code: &String, spent| {
                    if !spent {
                        let (access, _) = pair(&world.redeem(code).await);
                        assert!(world.is_active(&access).await);
                    }
                    // It was, or is now.
                    world.redeem(code).await.refused(400, "invalid_grant");
                },
            ),
        )
        .await
        .hold(
            "refresh",
            async |world: &World, _| world.tokens().await.1,
            async |world: &World, token: &String| world.refresh(token).await,
            (
                async |world: &World, token: &String, told: Option<&Answer>| {
                    if let Some(told) = told {
                        let (access, refresh) = pair(told);
                        assert!(world.is_active(&access).await && world.is_active(&refresh).await);
                        assert_eq!(
                            pair(&world.refresh(token).await).1,
                            refresh,
                            "one token has one successor"
                        );
                    }
                    !world.is_active(token).await
                },
                async |world: &World, token: &String, _| {
                    let (_, next) = pair(&world.refresh(token).await);
                    assert!(world.is_active(&next).await && !world.is_active(token).await);
                },
            ),
        )
        .await;
}

#[actix_web::test]
async fn tokens_are_revoked_and_looked_at_whatever_fails() {
    let house = House::open().await;
    house
        .hold(
            "revoke a family",
            async |world: &World, _| world.tokens().await,
            async |world: &World, (_, refresh): &(String, String)| {
                let request = world.as_client(form("/oauth2/revoke", &format!("token={refresh}")));
                world.app.send(request).await
            },
            (
                async |world: &World, (access, refresh): &(String, String), _: Option<&Answer>| {
                    !world.is_active(refresh).await && !world.is_active(access).await
                },
                async |world: &World, (access, refresh): &(String, String), _| {
                    let request = world.as_client(form("/oauth2/revoke", &format!("token={refresh}")));
                    assert_eq!(world.app.send(request).await.status, 200);
                    assert!(!world.is_active(refresh).await && !world.is_active(access).await);
                },
            ),
        )
        .await
        .hold(
            "revoke an access token",
            async |world: &World, _| world.tokens().await.0,
            async |world: &World, token: &String| {
                let request = world.as_client(form("/oauth2/revoke", &format!("token={token}")));
                world.app.send(request).await
            },
            (
                async |world: &World, token: &String, _: Option<&Answer>| !world.is_active(token).await,
                async |world: &World, token: &String, _| {
                    let request = world.as_client(form("/oauth2/revoke", &format!("token={token}")));
                    assert_eq!(world.app.send(request).await.status, 200);
                    assert!(!world.is_active(token).await);
                },
            ),
        )
        .await
        .hold(
            "introspect a refresh token",
            async |world: &World, _| world.tokens().await.1,
            async |world: &World, token: &String| {
                let request = world.as_client(form("/oauth2/introspect", &format!("token={token}")));
                world.app.send(request).await
            },
            (
                async |_: &World, _: &String, told: Option<&Answer>| {
                    told.is_some_and(|answer| answer.json()["active"] == true)
                },
                async |world: &World, token: &String, _| assert!(world.is_active(token).await),
            ),
        )
        .await
        .hold(
            "userinfo",
            async |world: &World, _| world.tokens().await.0,
            async |world: &World, token: &String| {
                world.app.send(TestRequest::get().uri("/oauth2/userinfo").insert_header(bearer(token))).await
            },
            (
                async |_: &World, _: &String, told: Option<&Answer>| {
                    told.is_some_and(|answer| answer.json()["sub"].is_string())
                },
                async |world: &World, token: &String, _| assert!(world.is_active(token).await),
            ),
        )
        .await;
}

#[actix_web::test]
async fn an_administrator_revokes_whatever_fails() {
    let cases = [(false, "token"), (false, "sub"), (false, "client_id"), (true, "sub"), (true, "client_id")];
    for (shared, what) in cases {
        // A cut-off reaches to what any node may have issued by then, whose clock may be ahead of the store's.
        let (house, of, past) = if shared {
            (House::open_shared().await, " at one of the nodes", Duration::from_secs(8))
        } else {
            (House::open().await, "", Duration::from_secs(1))
        };
        house
            .hold(
                &format!("revoke by {what}{of}"),
                async |world: &World, _| {
                    // What is issued up to a cut-off, as that of the trial before, is dated behind it.
                    world.app.pass(past).await;
                    let (access, _) = world.tokens().await;
                    let value = match what {
                        "token" => access.clone(),
                        "sub" => world.account.id.to_string(),
                        _ => world.client.0.clone(),
                    };
                    world.app.clock.advance(past);
                    (world.app.admin_token().await, access, value)
                },
                async |world: &World, (token, _, value): &(String, String, String)| {
                    admin(world, token, (Method::POST, "/admin/revocations"), Some(json!({ what: value })))
                        .await
                },
                (
                    async |world: &World, (_, access, _): &(String, String, String), _: Option<&Answer>| {
                        !world.is_active(access).await
                    },
                    async |world: &World, (token, access, value): &(String, String, String), happened| {
                        let body = Some(json!({ what: value }));
                        let answer = admin(world, token, (Method::POST, "/admin/revocations"), body).await;
                        let refused = what == "token" && happened && answer.status == 400;
                        assert!(answer.status == 200 || refused, "{answer:?}");
                        assert!(!world.is_active(access).await);
                        world.app.clock.advance(past);
                        let (access, refresh) = world.tokens().await;
                        assert!(
                            world.is_active(&access).await && world.is_active(&refresh).await,
                            "new ones count"
                        );
                    },
                ),
            )
            .await;
    }
}

/// The kid that signs now.
pub(crate) async fn signs(world: &World) -> String {
    kid(&world.app.demo_token().await)
}

pub(crate) fn kid(token: &str) -> String {
    part(token, 0)["kid"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn keys_rotate_and_are_condemned_whatever_fails() {
    let house = House::open().await;
    let rotate = (Method::POST, "/admin/keys/rotate");
    let force = || Some(json!({ "force": true }));
    let house = house
        .hold(
            "rotate the keys",
            async |world: &World, _| (world.app.admin_token().await, world.app.demo_token().await),
            async |world: &World, (token, _): &(String, String)| {
                admin(world, token, rotate.clone(), force()).await
            },
            (
                async |world: &World, (_, old): &(String, String), _: Option<&Answer>| {
                    assert!(world.app.is_active(old).await, "its key goes on being published");
                    signs(world).await != kid(old)
                },
                async |world: &World, (token, old): &(String, String), _| {
                    world.app.app.rotate().await.unwrap();
                    assert_eq!(admin(world, token, rotate.clone(), force()).await.status, 200);
                    assert!(signs(world).await != kid(old) && world.app.is_active(old).await);
                },
            ),
        )
        .await
        .hold(
            "declare a key compromised",
            async |world: &World, _| (world.app.admin_token().await, signs(world).await),
            async |world: &World, (token, kid): &(String, String)| {
                let path = format!("/admin/keys/{kid}/compromise");
                admin(world, token, (Method::POST, &*path), Some(json!({}))).await
            },
            (
                async |world: &World, (_, kid): &(String, String), _: Option<&Answer>| {
                    let kid = KeyId::parse(kid).unwrap();
                    let compromised = world.services().keys.compromised().contains(&kid);
                    assert!(!compromised || signs(world).await != kid.as_str());
                    compromised
                },
                async |world: &World, (_, kid): &(String, String), happened| {
                    let token = world.app.admin_token().await;
                    let path = format!("/admin/keys/{kid}/compromise");
                    let answer = admin(world, &token, (Method::POST, &*path), Some(json!({}))).await;
                    assert_eq!(answer.status, if happened { 409 } else { 200 }, "{answer:?}");
                    assert_ne!(signs(world).await, *kid);
                    let jwks = world.app.send(TestRequest::get().uri("/.well-known/jwks.json")).await;
                    assert!(!String::from_utf8_lossy(&jwks.body).contains(kid.as_str()));
                },
            ),
        )
        .await;
    house
        .hold(
            "declare a sealing key compromised",
            async |world: &World, _| {
                let (token, sealing) = (world.app.admin_token().await, &world.services().sealing_keys);
                let text = sealing.seal("form", b"hello").unwrap();
                let seals = sealing.list().into_iter().find(|key| key.seals).unwrap();
                (token, seals.id.to_string(), text)
            },
            async |world: &World, (token, id, _): &(String, String, String)| {
                let path = format!("/admin/keys/{id}/compromise");
                admin(world, token, (Method::POST, &*path), Some(json!({}))).await
            },
            (
                async |world: &World, (_, id, text): &(String, String, String), _: Option<&Answer>| {
                    let sealing = &world.services().sealing_keys;
                    let is_dropped = !sealing.contains(id);
                    assert_eq!(sealing.open_sealed("form", text).unwrap().is_none(), is_dropped);
                    is_dropped
                },
                async |world: &World, (_, id, text): &(String, String, String), happened| {
                    let token = world.app.admin_token().await;
                    let path = format!("/admin/keys/{id}/compromise");
                    let answer = admin(world, &token, (Method::POST, &*path), Some(json!({}))).await;
                    assert_eq!(answer.status, if happened { 404 } else { 200 }, "{answer:?}");
                    let sealing = &world.services().sealing_keys;
                    assert!(!sealing.contains(id) && sealing.open_sealed("form", text).unwrap().is_none());
                    // Another one seals, and what it seals opens.
                    let text = sealing.seal("form", b"hello").unwrap();
                    assert!(sealing.open_sealed("form", &text).unwrap().is_some());
                },
            ),
        )
        .await
        .hold(
            "import a key",
            async |world: &World, _| {
                // So that not more and more wait.
                let keys = &world.services().keys;
                for key in keys.list().keys {
                    if key.origin == Origin::Imported && key.compromised_at.is_none() {
                        keys.compromise(&key.kid).await.unwrap();
                    }
                }
                (world.app.admin_token().await, new_key())
            },
            import,
            (
                async |world: &World, (_, (kid, _)): &(String, (KeyId, String)), _: Option<&Answer>| {
                    is_known(world, kid)
                },
                async |world: &World, case: &(String, (KeyId, String)), happened| {
                    let answer = import(world, case).await;
                    assert_eq!(answer.status, if happened { 409 } else { 201 }, "{answer:?}");
                    assert!(is_known(world, &case.1.0));
                },
            ),
        )
        .await;
}

async fn import(world: &World, (token, (_, key)): &(String, (KeyId, String))) -> Answer {
    let body = json!({ "key": key, "algorithm": "ES256" });
    admin(world, token, (Method::POST, "/admin/keys/import"), Some(body)).await
}

/// A private key that nobody has seen: its kid, and itself as PEM.
pub(crate) fn new_key() -> (KeyId, String) {
    let key = SoftwareSigner::generate(Algorithm::ES256).unwrap();
    let base64 = STANDARD.encode(key.to_pkcs8().unwrap());
    let lines: Vec<&str> =
        base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    (key.kid().clone(), pem)
}

fn is_known(world: &World, kid: &KeyId) -> bool {
    world.services().keys.list().keys.iter().any(|key| key.kid == *kid)
}

#[actix_web::test]
async fn a_first_start_that_fails_anywhere_is_followed_by_one_that_does_not() {
    let mut calls = 0;
    for way in [
        (Fault::Refused, false),
        (Fault::Refused, true),
        (Fault::AnswerLost, false),
        (Fault::AnswerLost, true),
    ] {
        for at in 1.. {
            let dir = tempfile::tempdir().unwrap();
            let config = Config::for_tests(dir.path());
            let clock = Arc::new(ManualClock::at(START));
            let store = FaultyStore::new(clock.clone());
            let start = async |seed| {
                let entropy = Arc::new(SeededEntropy::new(seed));
                let ground = Ground { store: store.clone(), clock: clock.clone(), entropy };
                let app = App::open(&config, ground).await?;
                let clients = app.first_clients().await?;
                Ok::<_, signet::app::StartError>((app, clients))
            };
            store.fail(at, way);
            let first = start(1).await;
            let struck = store.heal();
            if !struck {
                assert!(first.unwrap().1.is_some());
                calls = at - 1;
                break;
            }
            let had = matches!(&first, Ok((_, Some(_))));
            drop(first);
            let (app, clients) = start(2).await.unwrap_or_else(|error| panic!("call {at}, {way:?}: {error}"));
            let services = &app.state.services;
            assert!(!(had && clients.is_some()), "they are shown once");
            if !way.1 {
                // What failed was taken back at once: there is none whose secret nobody has seen.
                let unseen = !had && clients.is_none() && services.clients.count() > 0;
                assert!(!unseen, "call {at}, {way:?}");
            }
            services.keys.signing_key(Some(Algorithm::ES256)).unwrap();
            if clients.is_none() {
                // Whoever may write its data makes an administrator, as `signet clients register --offline` does.
                let registration = serde_json::from_value(json!({
                    "client_name": "Ops", "scope": "signet:clients", "resources": [format!("{}/admin", services.issuer)],
                }));
                services.clients.register(registration.unwrap()).await.unwrap();
            }
            let resource = RESOURCE.parse::<url::Url>().unwrap();
            assert!(services.resources.find(resource.as_str().trim_end_matches('/')).is_some());
        }
    }
    println!("{:<42} {calls:>3} calls", "first start");
}

#[actix_web::test]
async fn readiness_says_what_the_operator_has_to_do() {
    const MIB: u64 = 1024 * 1024;
    let House { world, store, .. } = House::open().await;
    let ready = async || {
        let answer = world.app.manage("/health/ready").await;
        let said = answer.json();
        (answer.status, said["store"].as_str().unwrap().to_owned(), said["disk"].as_str().unwrap().to_owned())
    };
    let said = |status, store: &str, disk: &str| (status, store.to_owned(), disk.to_owned());
    assert_eq!(ready().await, said(200, "ok", "ok"));
    for (free, status, disk) in [
        (1000, 200, "ok"),
        (160, 200, "ok"),
        (150, 200, "low"),
        (40, 200, "low"),
        (32, 200, "low"),
        (31, 503, "full"),
        (500, 200, "ok"),
    ] {
        *store.room.lock().unwrap() = Some(Room { free: free * MIB, size: 1000 * MIB, kept_free: 32 * MIB });
        assert_eq!(ready().await, said(status, "ok", disk), "{free} MiB");
        let metrics = world.app.manage("/metrics").await;
        let line = format!("signet_disk_free_bytes {}", free * MIB);
        assert!(String::from_utf8_lossy(&metrics.body).contains(&line), "{free} MiB");
    }
    *store.failure.lock().unwrap() = Some("syncing to disk failed".into());
    assert_eq!(ready().await, said(503, "restart", "ok"));
    *store.failure.lock().unwrap() = None;
    // A disk of this node's own, and a database that another node finds no better.
    store.unwritable.store(true, Ordering::SeqCst);
    assert_eq!(ready().await, said(503, "unwritable", "ok"));
    store.shared.store(true, Ordering::SeqCst);
    assert_eq!(ready().await, said(200, "unwritable", "ok"));
    store.shared.store(false, Ordering::SeqCst);
    store.unwritable.store(false, Ordering::SeqCst);
    store.fail(1, (Fault::Refused, true));
    assert_eq!(ready().await, said(200, "failing", "ok"), "it may be away for a moment");
    world.app.clock.advance(Duration::from_secs(11));
    assert_eq!(ready().await, said(503, "failing", "ok"));
}
