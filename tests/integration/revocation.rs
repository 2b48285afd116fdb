//! Revocation, introspection and status lists, as clients and resource servers meet them.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use signet::clock::ManualClock;
use signet::oauth::{ClientId, Subject};
use signet::store::postgres::TimeSource;
use signet::store::{Batch, Committed, Condition, Table};
use signet::tokens::{Revocations, Whole};
use signet::verify::{Refusal, Verifier};

use crate::browser::{ada, parameter, redeem, register, request, shop};
use crate::grants_fixture::{World, pair};
use crate::postgres_fixture::Database;
use crate::shell::{account, act, signed_in};
use crate::support::FakeFetch;
use crate::test_app::{Answer, ISSUER, RESOURCE, START, TestApp, basic, form, part};

/// The path of the status list that a token refers to, and its index there.
fn place(token: &str) -> (String, usize) {
    let reference = &part(token, 1)["status"]["status_list"];
    let uri = reference["uri"].as_str().expect("a uri");
    let idx = reference["idx"].as_u64().and_then(|idx| usize::try_from(idx).ok()).expect("an index");
    (uri.strip_prefix(ISSUER).expect("our own list").to_owned(), idx)
}

/// The status list's claims and whether its bit at `idx` is set.
pub(crate) async fn status(app: &TestApp, token: &str) -> (Value, bool) {
    let (path, idx) = place(token);
    let answer = app.send(TestRequest::get().uri(&path)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = String::from_utf8(answer.body).expect("text");
    let claims = part(&token, 1);
    let lst = URL_SAFE_NO_PAD.decode(claims["status_list"]["lst"].as_str().expect("lst")).expect("base64url");
    let mut bits = Vec::new();
    flate2::read::ZlibDecoder::new(lst.as_slice()).read_to_end(&mut bits).expect("zlib");
    let set = bits[idx / 8] & (1 << (idx % 8)) != 0;
    (claims, set)
}

pub(crate) async fn revoke(app: &TestApp, client: (&str, &str), token: &str) -> Answer {
    app.send(form("/oauth2/revoke", &format!("token={token}")).insert_header(basic(client))).await
}

async fn introspect(app: &TestApp, client: (&str, &str), token: &str) -> Value {
    let answer =
        app.send(form("/oauth2/introspect", &format!("token={token}")).insert_header(basic(client))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[actix_web::test]
async fn a_revoked_token_is_inactive_and_its_bit_is_set() {
    let app = TestApp::start().await;
    let (token, other) = (app.demo_token().await, app.demo_token().await);
    assert!(app.is_active(&token).await);
    assert!(!status(&app, &token).await.1);
    for _ in 0..2 {
        let answer = revoke(&app, app.demo(), &token).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }
    assert!(!app.is_active(&token).await);
    assert!(status(&app, &token).await.1);
    assert!(app.is_active(&other).await);
    assert!(!status(&app, &other).await.1);
}

/// A client may ask as often as it likes; a public one is not even counted.
#[actix_web::test]
async fn what_is_revoked_again_is_recorded_once() {
    let world = World::start().await;
    let recorded = || world.app.audit_log().matches("token.revoked").count();
    let (first, refresh_token) = world.tokens().await;
    let (second, newest) = pair(&world.refresh(&refresh_token).await);
    world.app.audit_disk.fill(true);
    assert_eq!(revoke(&world.app, world.client(), &first).await.status, 503);
    assert!(world.is_active(&first).await, "nothing is revoked unrecorded");
    world.app.audit_disk.fill(false);
    // One that went with its family may have done so unrecorded.
    for (token, records) in [(&first, 1), (&refresh_token, 2), (&newest, 2), (&second, 3)] {
        for _ in 0..3 {
            assert_eq!(revoke(&world.app, world.client(), token).await.status, 200);
            assert!(!world.is_active(token).await);
        }
        assert_eq!(recorded(), records);
    }
    // What the store has lost, as in a failover, is written again, and that is on record.
    let store = &world.services().store;
    let (table, mut batch) = (Table::mirrored(Revocations::TABLE), Batch::new());
    for (key, _) in store.scan(table, None, 9).await.unwrap() {
        batch = batch.delete(table, key, Condition::Always);
    }
    assert_eq!(store.commit(batch).await.unwrap(), Committed::Applied);
    assert_eq!(revoke(&world.app, world.client(), &first).await.status, 200);
    assert_eq!((recorded(), store.scan(table, None, 9).await.unwrap().len()), (4, 1));
}

#[actix_web::test]
async fn only_its_own_client_revokes_a_token() {
    let app = TestApp::start().await;
    let token = app.demo_token().await;
    revoke(&app, app.admin(), &token).await.refused(400, "unauthorized_client");
    assert!(app.is_active(&token).await);
    revoke(&app, (app.demo().0, "wrong"), &token).await.refused(401, "invalid_client");
    assert!(app.is_active(&token).await);
    for nonsense in ["x", "a.b.c", "", "%00"] {
        let answer = revoke(&app, app.demo(), nonsense).await;
        assert_eq!(answer.status, if nonsense.is_empty() { 400 } else { 200 });
    }
}

#[actix_web::test]
async fn introspection_answers_the_holder_and_the_audience_only() {
    let app = TestApp::start().await;
    let token = app.demo_token().await;
    let answer = introspect(&app, app.demo(), &token).await;
    let mut claims = part(&token, 1);
    assert_eq!(answer["active"], true);
    assert_eq!(answer["token_type"], "Bearer");
    for (name, value) in claims.as_object_mut().expect("claims") {
        assert_eq!(&answer[name.as_str()], value, "{name}");
    }
    assert_eq!(introspect(&app, app.admin(), &token).await, json!({ "active": false }));
    assert_eq!(introspect(&app, app.demo(), "nonsense").await, json!({ "active": false }));
    app.send(form("/oauth2/introspect", &format!("token={token}"))).await.refused(401, "invalid_client");
    app.send(form("/oauth2/introspect", "x=y").insert_header(basic(app.demo())))
        .await
        .refused(400, "invalid_request");
    // A client that is registered as the audience may ask about others' tokens.
    let registration = json!({
        "client_name": "The API", "scope": "", "resources": ["http://127.0.0.1:9000"],
        "audience_of": ["http://127.0.0.1:9000"],
    });
    let api = app.administer(Method::POST, "/admin/clients", Some(registration)).await.json();
    let text = |name: &str| api[name].as_str().expect("text").to_owned();
    let (id, secret) = (text("client_id"), text("client_secret"));
    assert_eq!(introspect(&app, (&id, &secret), &token).await["active"], true);
    let admin_token = app.admin_token().await;
    assert_eq!(introspect(&app, (&id, &secret), &admin_token).await, json!({ "active": false }));
}

#[actix_web::test]
async fn a_token_ends_on_the_second() {
    let app = TestApp::start().await;
    let token = app.demo_token().await;
    app.pass(Duration::from_secs(3599)).await;
    assert!(app.is_active(&token).await);
    app.pass(Duration::from_secs(1)).await;
    assert!(!app.is_active(&token).await);
}

#[actix_web::test]
async fn everything_of_a_client_is_revoked_at_once_and_new_tokens_count() {
    let app = TestApp::start().await;
    let before = app.demo_token().await;
    let client_id = app.demo().0.to_owned();
    let body = json!({ "client_id": client_id });
    let answer = app.administer(Method::POST, "/admin/revocations", Some(body)).await.json();
    assert_eq!((&answer["revoked"], &answer["issued_up_to"]), (&json!(true), &json!(app.now())));
    // Who can't see it is told of, and until when: the token is of an hour.
    let accepted = answer["still_accepted"][0].clone();
    assert!(accepted["what"].as_str().expect("words").contains("revoked_before"), "{answer}");
    assert_eq!(accepted["until"], "2027-01-15T09:00:00Z");
    assert!(!app.is_active(&before).await);
    let (claims, idx) = status(&app, &before).await;
    assert!(!idx, "it has no bit of its own");
    let clients = claims["revoked_before"]["clients"].as_object().expect("cut-offs");
    assert_eq!(clients.values().collect::<Vec<_>>(), [&json!(app.now())]);
    assert!(!clients.contains_key(&client_id), "the public list does not name the client");
    // In the very same second a new token counts: it is dated behind the cut-off.
    let after = app.demo_token().await;
    assert_eq!(part(&after, 1)["iat"], app.now() + 1);
    assert!(app.is_active(&after).await);
    app.pass(Duration::from_secs(2)).await;
    assert_eq!(part(&app.demo_token().await, 1)["iat"], app.now());
}

#[actix_web::test]
async fn what_is_revoked_as_a_whole_is_listed_until_all_of_it_has_ended() {
    let app = TestApp::start().await;
    let list = async |query: &str| {
        app.administer(Method::GET, &format!("/admin/revocations{query}"), None).await.json()
    };
    assert_eq!(list("").await, json!({ "revocations": [] }));
    let revoke = async |body: Value| {
        let answer = app.administer(Method::POST, "/admin/revocations", Some(body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["issued_up_to"].clone()
    };
    let of_bob = revoke(json!({ "sub": "bob" })).await;
    app.pass(Duration::from_secs(5)).await;
    let of_shop = revoke(json!({ "client_id": "shop" })).await;
    let both = Whole::Granted(ClientId::parse("other").unwrap(), Subject::parse("bob").unwrap());
    let of_both = json!(app.app.state.services.revocations.revoke_before_now(&both).await.unwrap());
    revoke(json!({ "token": app.demo_token().await })).await;

    let all = list("").await["revocations"].as_array().unwrap().clone();
    let named =
        |row: &Value| (row.get("client_id").cloned(), row.get("sub").cloned(), row["issued_up_to"].clone());
    assert_eq!(
        all.iter().map(named).collect::<Vec<_>>(),
        [
            (Some(json!("shop")), None, of_shop),
            (Some(json!("other")), Some(json!("bob")), of_both),
            (None, Some(json!("bob")), of_bob),
        ]
    );
    // Page by page it is the same.
    let (mut paged, mut query) = (Vec::new(), "?limit=1".to_owned());
    loop {
        let page = list(&query).await;
        paged.extend(page["revocations"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit=1&after={next}");
    }
    assert_eq!(paged, all);
    app.administer(Method::GET, "/admin/revocations?limit=0", None).await.refused(400, "invalid_request");

    let until = |row: &Value, member: &str| {
        chrono::DateTime::parse_from_rfc3339(row[member].as_str().unwrap()).unwrap().timestamp()
    };
    assert!(until(&all[0], "tokens_until") > app.now() + 3600);
    let ends = until(&all[2], "tokens_until").max(until(&all[2], "grants_until"));
    app.pass(Duration::from_secs(u64::try_from(ends - app.now() - 1).unwrap())).await;
    assert_eq!(list("").await["revocations"].as_array().unwrap().len(), 3);
    app.pass(Duration::from_secs(1)).await;
    assert_eq!(*list("").await["revocations"].as_array().unwrap(), all[..2]);
}

#[actix_web::test]
async fn everything_of_a_subject_is_revoked_at_once() {
    let app = TestApp::start().await;
    let token = app.demo_token().await;
    let others = app.admin_token().await;
    let body = json!({ "sub": app.demo().0 });
    assert_eq!(app.administer(Method::POST, "/admin/revocations", Some(body)).await.status, 200);
    assert!(!app.is_active(&token).await);
    assert_eq!(introspect(&app, app.admin(), &others).await["active"], true);
}

#[actix_web::test]
async fn what_a_person_takes_back_from_an_application_is_refused_offline() {
    const ADA: &str = "ada@example.com";
    let app = TestApp::start().await;
    ada(&app).await;
    account(&app, ("Bob", "bob@example.com"), false).await;
    let client = register(&app, shop()).await;
    let mut tokens = Vec::new();
    for who in ["bob@example.com", ADA] {
        let mut browser = signed_in(&app, who, "/account").await;
        let code = parameter(&browser.allow(&app, &request(&[])).await, "code").expect("a code");
        tokens.push(redeem(&app, &client, &code).await["access_token"].as_str().unwrap().to_owned());
    }
    tokens.push(app.demo_token().await);
    let network = FakeFetch::default();
    let publish = async || {
        for path in
            ["/.well-known/oauth-authorization-server", "/.well-known/jwks.json", &place(&tokens[0]).0]
        {
            let document = app.send(TestRequest::get().uri(path)).await.body;
            network.put(&format!("{ISSUER}{path}"), document, 10);
        }
    };
    publish().await;
    let verifier =
        Verifier::builder(ISSUER).audience(RESOURCE).clock(app.clock.clone()).fetch(network.clone());
    let verifier = verifier.build().unwrap();
    for token in &tokens {
        verifier.verify(token).await.unwrap();
    }
    let mut browser = signed_in(&app, ADA, "/account").await;
    assert_eq!(act(&mut browser, &app, "/account/consents", &[("client_id", "shop")]).await.status, 303);
    app.pass(Duration::from_secs(10)).await;
    publish().await;
    let (claims, _) = status(&app, &tokens[1]).await;
    assert_eq!(claims["revoked_before"]["grants"].as_object().unwrap().len(), 1);
    assert_eq!(verifier.verify(&tokens[1]).await.unwrap_err(), Refusal::Revoked);
    for others in [&tokens[0], &tokens[2]] {
        verifier.verify(others).await.unwrap();
    }
    // It stands there as long as any token that it revokes lives, and no longer.
    app.pass(Duration::from_hours(3)).await;
    let (claims, _) = status(&app, &app.demo_token().await).await;
    assert_eq!(claims.get("revoked_before"), None);
}

#[actix_web::test]
async fn an_administrator_revokes_any_token() {
    let app = TestApp::start().await;
    let token = app.demo_token().await;
    let body = json!({ "token": token });
    let answer = app.administer(Method::POST, "/admin/revocations", Some(body)).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "revoked": true, "effective_within": 10 })));
    assert!(!app.is_active(&token).await);
    for body in [
        json!({}),
        json!({ "token": "nonsense" }),
        json!({ "client_id": "a", "sub": "b" }),
        json!({ "x": 1 }),
    ] {
        app.administer(Method::POST, "/admin/revocations", Some(body)).await.refused(400, "invalid_request");
    }
}

#[actix_web::test]
async fn a_status_list_is_compressed_for_those_who_take_gzip() {
    let app = TestApp::start().await;
    let (path, _) = place(&app.demo_token().await);
    for (accepted, gzip) in [
        ("gzip", true),
        ("GZIP;Q=0.1", true),
        ("x-gzip", true),
        ("*", true),
        ("*;q=0, gzip", true),
        ("gzip;q=1, *;q=0", true),
        ("br", false),
        ("gzip;q=0", false),
        ("gzip; Q=0.000", false),
        ("gzip;q=none", false),
        ("gzip;q=0, *", false),
        ("*, gzip;q=0", false),
        ("*;q=0", false),
        ("", false),
    ] {
        let request = TestRequest::get().uri(&path).insert_header(("Accept-Encoding", accepted));
        let encoding = app.send(request).await.header("content-encoding").map(str::to_owned);
        assert_eq!(encoding.is_some(), gzip, "{accepted}");
    }
}

#[actix_web::test]
async fn a_status_list_is_signed_cacheable_and_small() {
    let app = TestApp::start().await;
    let token = app.demo_token().await;
    let (path, _) = place(&token);
    let answer = app.send(TestRequest::get().uri(&path)).await;
    assert_eq!(answer.header("content-type"), Some("application/statuslist+jwt"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=10"));
    assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
    assert!(answer.body.len() < 1500, "{} bytes for a million valid tokens", answer.body.len());
    let etag = answer.header("etag").expect("an etag").to_owned();
    let text = String::from_utf8(answer.body.clone()).expect("text");
    assert_eq!(part(&text, 0)["typ"], "statuslist+jwt");
    let claims = part(&text, 1);
    assert_eq!((&claims["sub"], &claims["ttl"]), (&json!(format!("{ISSUER}{path}")), &json!(10)));
    assert_eq!(claims["status_list"]["bits"], 1);

    let again = app.send(TestRequest::get().uri(&path).insert_header(("If-None-Match", etag.clone()))).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let gzip =
        app.send(TestRequest::get().uri(&path).insert_header(("Accept-Encoding", "br, gzip;q=0.5"))).await;
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    let mut plain = String::new();
    flate2::read::GzDecoder::new(gzip.body.as_slice()).read_to_string(&mut plain).expect("gzip");
    assert_eq!(plain, text);
    let refused =
        app.send(TestRequest::get().uri(&path).insert_header(("Accept-Encoding", "gzip;q=0"))).await;
    assert_eq!(refused.header("content-encoding"), None);

    // Each encoding has a validator of its own, and whoever has either has the list.
    let gzip_etag = gzip.header("etag").expect("an etag").to_owned();
    assert_ne!(gzip_etag, etag);
    for known in [&etag, &gzip_etag] {
        for accepted in ["gzip", "identity"] {
            let request = TestRequest::get().uri(&path).insert_header(("If-None-Match", known.as_str()));
            let again = app.send(request.insert_header(("Accept-Encoding", accepted))).await;
            assert_eq!((again.status, again.header("etag")), (304, Some(known.as_str())), "{accepted}");
        }
    }

    revoke(&app, app.demo(), &token).await;
    let changed = app.send(TestRequest::get().uri(&path).insert_header(("If-None-Match", etag))).await;
    assert_eq!(changed.status, 200);
    app.send(TestRequest::get().uri("/status/unknown")).await.refused(404, "not_found");
    let all = app.send(TestRequest::get().uri("/status")).await.json();
    assert!(all["status_lists"].as_array().expect("lists").contains(&json!(format!("{ISSUER}{path}"))));
}

#[actix_web::test]
async fn a_list_is_kept_until_its_last_token_has_ended() {
    let app = TestApp::start().await;
    let token = app.demo_token().await;
    revoke(&app, app.demo(), &token).await;
    let (path, _) = place(&token);
    // A list takes tokens for an hour, tokens live for an hour, clocks differ by 90 seconds.
    app.pass(Duration::from_secs(2 * 3600 + 89)).await;
    assert!(status(&app, &token).await.1);
    app.pass(Duration::from_secs(1)).await;
    assert_eq!(app.send(TestRequest::get().uri(&path)).await.status, 404);
    let fresh = app.demo_token().await;
    assert_ne!(place(&fresh).0, path);
    assert!(app.is_active(&fresh).await);
}

/// Between its end and the end of the skew a verifier whose clock is behind still takes the token: so long the row is in the store, not
/// only in the memory of who wrote it.
async fn is_found_after_a_restart_until_no_verifier_takes_the_token(app: TestApp) {
    let rows = async |app: &TestApp| {
        let store = &app.app.state.services.store;
        store.scan(Table::mirrored("revocations"), None, 9).await.expect("rows").len()
    };
    let token = app.demo_token().await;
    let end = part(&token, 1)["exp"].as_i64().and_then(|exp| u64::try_from(exp - app.now()).ok());
    let end = Duration::from_secs(end.expect("a lifetime"));
    assert_eq!(revoke(&app, app.demo(), &token).await.status, 200);
    let mut passed = Duration::ZERO;
    let mut app = app;
    // Clocks differ by 90 seconds.
    for after in [0, 1, 89] {
        let now = end + Duration::from_secs(after);
        app.pass(now.saturating_sub(passed)).await;
        passed = now;
        app = app.restart(|_| {}).await;
        assert_eq!(rows(&app).await, 1, "{after} s after its end");
        assert!(status(&app, &token).await.1, "{after} s after its end");
    }
    // The list takes tokens for an hour, and by another clock than the one that let the revocation end it may count again.
    app.pass(Duration::from_mins(65)).await;
    assert_eq!(rows(&app).await, 1, "it outlives the list");
    app.pass(Duration::from_secs(1)).await;
    assert_eq!(rows(&app).await, 0, "and no longer");
}

#[actix_web::test]
async fn a_revocation_outlives_its_token_by_the_skew_over_a_restart() {
    is_found_after_a_restart_until_no_verifier_takes_the_token(TestApp::start().await).await;
}

#[actix_web::test]
async fn a_revocation_outlives_its_token_by_the_skew_over_a_restart_with_postgres() {
    let Some(database) = Database::fresh().await else { return };
    let clock = Arc::new(ManualClock::at(START));
    let store = database.store(TimeSource::Injected(clock.clone())).await;
    let app = TestApp::start_on(store, clock, |_| {}).await;
    is_found_after_a_restart_until_no_verifier_takes_the_token(app).await;
}

#[actix_web::test]
async fn two_revocations_in_one_second_leave_no_token_between_them() {
    let app = TestApp::start().await;
    let revoke_all = || {
        let body = json!({ "client_id": app.demo().0 });
        app.administer(Method::POST, "/admin/revocations", Some(body))
    };
    assert_eq!(revoke_all().await.json()["issued_up_to"], app.now());
    let between = app.demo_token().await;
    assert!(app.is_active(&between).await);
    assert_eq!(revoke_all().await.json()["issued_up_to"], app.now() + 1);
    assert!(!app.is_active(&between).await);
    assert!(app.is_active(&app.demo_token().await).await);
}

#[actix_web::test]
async fn a_cutoff_is_kept_as_long_as_a_token_it_revoked_whatever_lifetimes_are_now() {
    let long = |config: &mut signet::config::Config| {
        config.tokens.lifetime = Duration::from_hours(20);
        config.tokens.longest_lifetime = Duration::from_hours(20);
    };
    let app = TestApp::start_with(long).await;
    let token = app.demo_token().await;
    let id = app.demo().0.to_owned();
    // The operator shortens lifetimes, restarts, and revokes.
    let app = app
        .restart(|config| {
            config.tokens.lifetime = Duration::from_mins(5);
            config.tokens.longest_lifetime = Duration::from_mins(5);
        })
        .await;
    let body = json!({ "client_id": id });
    assert_eq!(app.administer(Method::POST, "/admin/revocations", Some(body)).await.status, 200);
    app.pass(Duration::from_hours(1)).await;
    assert!(!app.is_active(&token).await);
    let app = app.restart(|_| {}).await;
    assert!(!app.is_active(&token).await, "it is remembered across a restart, too");
}

#[actix_web::test]
async fn a_list_is_never_cacheable_beyond_its_own_end() {
    let app = TestApp::start_with(|config| config.tokens.status_list_ttl = Duration::from_hours(1)).await;
    let token = app.demo_token().await;
    let (path, _) = place(&token);
    for _ in 0..6 {
        let answer = app.send(TestRequest::get().uri(&path)).await;
        let claims = part(std::str::from_utf8(&answer.body).unwrap(), 1);
        let end = app.now() + i64::try_from(claims["ttl"].as_u64().unwrap()).unwrap();
        assert!(end <= claims["exp"].as_i64().unwrap(), "{claims}");
        app.pass(Duration::from_mins(9)).await;
    }
}

/// Nothing has changed, and still it must not be served until it ends: whoever keeps a copy would hold one that has.
#[actix_web::test]
async fn a_list_that_nobody_changes_is_signed_anew_after_an_eighth_of_its_life() {
    let app = TestApp::start().await;
    let token = app.demo_token().await;
    let first = status(&app, &token).await.0;
    let dates = |list: &Value| (list["iat"].as_i64().expect("iat"), list["exp"].as_i64().expect("exp"));
    let (iat, exp) = dates(&first);
    let eighth = u64::try_from((exp - iat) / 8).expect("later");
    app.pass(Duration::from_secs(eighth - 1)).await;
    assert_eq!(status(&app, &token).await.0, first);
    app.pass(Duration::from_secs(1)).await;
    let (iat, exp) = dates(&status(&app, &token).await.0);
    assert_eq!(iat, app.now());
    assert!(exp > first["exp"].as_i64().expect("exp"));
}

/// Whoever holds a list when the issuer goes away can go on with it for as long as with the keys, and nearly as long as with
/// any token.
#[actix_web::test]
async fn a_list_may_be_used_for_as_long_as_the_longest_token_lives() {
    let long =
        |config: &mut signet::config::Config| config.tokens.longest_lifetime = Duration::from_hours(20);
    let app = TestApp::start_with(long).await;
    let token = app.demo_token().await;
    let list = status(&app, &token).await.0;
    let dates = |list: &Value| (list["iat"].as_i64().expect("iat"), list["exp"].as_i64().expect("exp"));
    let (iat, exp) = dates(&list);
    assert_eq!((exp - iat, &list["ttl"]), (20 * 3600, &json!(10)));
    // However old the document is that is served, seven eighths are left of it.
    app.pass(Duration::from_mins(149)).await;
    let left = dates(&status(&app, &token).await.0).1 - app.now();
    assert!(left >= 20 * 3600 * 7 / 8, "{left} s");
}
