//! Telling relying parties that a session was ended: to whom, what, how often, and what survives.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use jsonwebtoken::jwk::JwkSet;
use serde_json::{Value, json};
use signet::clients::{ClientError, Registered, Registrant, Registration, RegistrationError};
use signet::clock::ManualClock;
use signet::config::Config;
use signet::oauth::{Algorithm, ClientId, Scope, Subject, WebUri};
use signet::users::Account;

use crate::browser::{Browser, PASSWORD, ada, location, parameter, redeem, register, request, shop};
use crate::relying_party::{Answers, RelyingParty, Request, verify};
use crate::shared_store::SharedStore;
use crate::shell::{act, hidden};
use crate::test_app::{ISSUER, START, TestApp, basic, form, part};

/// Loopback is open to outgoing requests.
fn open_loopback(config: &mut Config) {
    config.outgoing.allowed_networks = vec!["127.0.0.1/32".parse().unwrap()];
    config.keys.algorithms = vec![Algorithm::ES256, Algorithm::EdDSA];
}

async fn service() -> (TestApp, Account) {
    let app = TestApp::start_with(open_loopback).await;
    let account = ada(&app).await;
    (app, account)
}

/// A client called `name` that is told at `uri`.
async fn client(app: &TestApp, name: &str, uri: Option<&str>) -> Registered {
    let registration = Registration {
        client_id: Some(ClientId::parse(name).unwrap()),
        backchannel_logout_uri: uri.map(|uri| WebUri::parse(uri).unwrap()),
        ..shop()
    };
    register(app, registration).await
}

/// Ada signs in to the client by this browser; gives its tokens.
async fn enter(app: &TestApp, browser: &mut Browser, client: &Registered, scope: &str) -> Value {
    let client_id = client.client.client_id.as_str();
    let answer = browser.allow(app, &request(&[("client_id", client_id), ("scope", scope)])).await;
    redeem(app, client, &parameter(&answer, "code").unwrap()).await
}

fn sid(tokens: &Value) -> String {
    part(tokens["id_token"].as_str().unwrap(), 1)["sid"].as_str().unwrap().to_owned()
}

/// Lets the service send what is due, and waits until that is done.
async fn send(app: &TestApp) -> usize {
    let tasks = app.app.send_logouts().await.unwrap();
    let count = tasks.len();
    for task in tasks {
        task.await.unwrap();
    }
    count
}

async fn jwks(app: &TestApp) -> JwkSet {
    let answer = app.send(TestRequest::get().uri("/.well-known/jwks.json")).await;
    serde_json::from_slice(&answer.body).unwrap()
}

/// The claims of what was sent, after a relying party has looked at them.
async fn believed(app: &TestApp, requests: &[Request], client_id: &str) -> Vec<Value> {
    let jwks = jwks(app).await;
    let claims = |request: &Request| verify(&request.logout_token(), &jwks, (ISSUER, client_id), app.now());
    requests.iter().map(claims).collect()
}

async fn metric(app: &TestApp, line: &str) -> bool {
    String::from_utf8(app.manage("/metrics").await.body).unwrap().lines().any(|each| each == line)
}

async fn sign_out(app: &TestApp, browser: &mut Browser, tokens: &Value) {
    let hint = tokens["id_token"].as_str().unwrap();
    let answer = browser.get(app, &format!("/oauth2/logout?id_token_hint={hint}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[actix_web::test]
async fn each_client_that_took_part_is_told_once_and_nobody_else() {
    let (app, account) = service().await;
    let party = RelyingParty::start();
    let shop = client(&app, "shop", Some(&party.uri("/shop?tenant=1"))).await;
    let blog = client(&app, "blog", Some(&party.uri("/blog"))).await;
    let quiet = client(&app, "quiet", None).await;
    // Allowed by the person in another session, registered only, and never given an ID token.
    let elsewhere = client(&app, "elsewhere", Some(&party.uri("/elsewhere"))).await;
    client(&app, "absent", Some(&party.uri("/absent"))).await;
    let bare = client(&app, "bare", Some(&party.uri("/bare"))).await;
    let (mut browser, mut other) = (Browser::default(), Browser::default());
    let tokens = enter(&app, &mut browser, &shop, "openid read").await;
    enter(&app, &mut browser, &shop, "openid read").await;
    enter(&app, &mut browser, &blog, "openid").await;
    enter(&app, &mut browser, &quiet, "openid").await;
    enter(&app, &mut browser, &bare, "read").await;
    enter(&app, &mut other, &elsewhere, "openid").await;
    assert_eq!(send(&app).await, 0);

    sign_out(&app, &mut browser, &tokens).await;
    app.app.tidy().await.unwrap();
    assert!(metric(&app, "signet_backchannel_logouts_waiting 2").await);
    assert_eq!(send(&app).await, 2);
    assert_eq!(send(&app).await, 0);
    let mut seen = party.take();
    seen.sort_by_key(|request| request.head.clone());
    let heads: Vec<&str> = seen.iter().map(|request| request.head.lines().next().unwrap()).collect();
    assert_eq!(heads, ["POST /blog HTTP/1.1", "POST /shop?tenant=1 HTTP/1.1"]);
    for (request, client_id) in seen.iter().zip(["blog", "shop"]) {
        let claims = believed(&app, std::slice::from_ref(request), client_id).await.remove(0);
        assert_eq!(claims["sid"], sid(&tokens));
        assert_eq!(claims["sub"], Subject::from(&account.id).as_str());
    }
    app.pass(Duration::from_hours(2)).await;
    assert_eq!((send(&app).await, party.take().len()), (0, 0));
    assert!(metric(&app, "signet_backchannel_logouts_total{outcome=\"delivered\"} 2").await);
    assert!(metric(&app, "signet_backchannel_logouts_waiting 0").await);
    assert!(!app.audit_log().contains("logout.undelivered"));
}

#[actix_web::test]
async fn a_logout_token_is_signed_as_the_clients_id_tokens_are_and_is_nothing_else() {
    let (app, _) = service().await;
    let party = RelyingParty::start();
    let registration = Registration {
        backchannel_logout_uri: Some(WebUri::parse(&party.uri("/")).unwrap()),
        id_token_signed_response_alg: Some(Algorithm::EdDSA),
        ..shop()
    };
    let shop = register(&app, registration).await;
    let (mut browser, mut other) = (Browser::default(), Browser::default());
    let tokens = enter(&app, &mut browser, &shop, "openid").await;
    let others = enter(&app, &mut other, &shop, "openid").await;
    for (browser, tokens) in [(&mut browser, &tokens), (&mut other, &others)] {
        sign_out(&app, browser, tokens).await;
    }
    assert_eq!(send(&app).await, 2);
    let seen = party.take();
    let claims = believed(&app, &seen, "shop").await;
    assert_ne!(claims[0]["jti"], claims[1]["jti"]);
    let token = seen[0].logout_token();
    assert_eq!(part(&token, 0)["alg"], "EdDSA");
    // It opens nothing: not userinfo, and it is no hint of whom to sign out.
    let userinfo = TestRequest::get().uri("/oauth2/userinfo");
    let userinfo = app.send(userinfo.insert_header(crate::test_app::bearer(&token))).await;
    assert_eq!(userinfo.status, 401);
    assert!(app.app.state.services.id_token_hint(&token).is_none());
    let id_token = tokens["id_token"].as_str().unwrap();
    assert!(app.app.state.services.id_token_hint(id_token).is_some());
}

#[actix_web::test]
async fn whoever_ends_a_session_the_client_is_told() {
    let new = "an entirely new pass phrase";
    for way in ["portal", "portal, others", "own password", "password", "disable", "delete", "another person"]
    {
        let (app, account) = service().await;
        let party = RelyingParty::start();
        let shop = client(&app, "shop", Some(&party.uri("/"))).await;
        let (mut browser, mut other) = (Browser::default(), Browser::default());
        let tokens = enter(&app, &mut browser, &shop, "openid").await;
        other.allow(&app, &request(&[("scope", "read")])).await;
        let path = format!("/admin/users/{}", account.id);
        let change = |body| app.administer(Method::PATCH, &path, Some(body));
        let sessions = "/account/sessions";
        let answer = match way {
            "portal" => {
                let named = hidden(&other.get(&app, sessions).await, "sid");
                assert_eq!(named, sid(&tokens));
                act(&mut other, &app, sessions, &[("act", "end"), ("sid", &named)]).await
            }
            "portal, others" => act(&mut other, &app, sessions, &[("act", "end_others")]).await,
            "own password" => {
                let members =
                    [("current_password", PASSWORD), ("new_password", new), ("repeated_password", new)];
                act(&mut other, &app, "/account/password", &members).await
            }
            "password" => change(json!({ "password": new })).await,
            "disable" => change(json!({ "disabled": true })).await,
            "delete" => app.administer(Method::DELETE, &path, None).await,
            _ => {
                let bob = crate::shell::account(&app, ("Bob", "bob@example.com"), false).await;
                let page = browser.get(&app, &request(&[("prompt", "login")])).await;
                browser.sign_in(&app, &page, (bob.email.as_str(), PASSWORD)).await
            }
        };
        assert!(matches!(answer.status, 200 | 204 | 303), "{way}: {answer:?}");
        send(&app).await;
        let claims = believed(&app, &party.take(), "shop").await;
        assert_eq!(claims.len(), 1, "{way}");
        assert_eq!(claims[0]["sid"], sid(&tokens), "{way}");
    }
}

#[actix_web::test]
async fn a_session_that_expires_ends_without_a_word() {
    let (app, _) = service().await;
    let party = RelyingParty::start();
    let shop = client(&app, "shop", Some(&party.uri("/"))).await;
    enter(&app, &mut Browser::default(), &shop, "openid").await;
    app.pass(Duration::from_hours(24)).await;
    assert_eq!((send(&app).await, party.take().len()), (0, 0));
}

#[actix_web::test]
async fn what_is_not_taken_is_sent_again_by_a_new_token_until_it_is() {
    let (app, _) = service().await;
    let party = RelyingParty::start();
    let shop = client(&app, "shop", Some(&party.uri("/"))).await;
    let mut browser = Browser::default();
    let tokens = enter(&app, &mut browser, &shop, "openid").await;
    sign_out(&app, &mut browser, &tokens).await;
    let elsewhere = RelyingParty::start();
    let redirection = format!("Location: {}\r\n", elsewhere.uri("/"));
    let mut failures = 0;
    for answers in [
        Answers::with(500),
        Answers::with(503),
        Answers::with(404),
        Answers::with(401),
        Answers::with(429),
        Answers::HangUp,
        Answers::With(302, redirection.clone()),
        Answers::With(307, redirection),
    ] {
        party.answer(answers);
        assert_eq!(send(&app).await, 1);
        failures += 1;
        let line = format!("signet_backchannel_logouts_total{{outcome=\"postponed\"}} {failures}");
        assert!(metric(&app, &line).await, "{line}");
        assert_eq!(send(&app).await, 0, "it is sent again at once");
        app.pass(Duration::from_hours(1)).await;
    }
    party.answer(Answers::with(204));
    assert_eq!((send(&app).await, send(&app).await), (1, 0));
    let seen = party.take();
    assert_eq!(seen.len(), 9);
    let mut tokens: Vec<_> = seen.iter().map(Request::logout_token).collect();
    tokens.dedup();
    assert_eq!(tokens.len(), 9, "each is a token of its own");
    believed(&app, &seen[8..], "shop").await;
    assert_eq!(elsewhere.take().len(), 0, "a redirection was followed");
}

#[actix_web::test]
async fn a_refusal_is_final_and_giving_up_too_and_both_are_recorded() {
    for (status, tries, outcome) in [(400, 1, "refused"), (501, 1, "refused"), (500, 16, "given_up")] {
        let (app, account) = service().await;
        let party = RelyingParty::start();
        party.answer(Answers::with(status));
        let shop = client(&app, "shop", Some(&party.uri("/"))).await;
        let mut browser = Browser::default();
        let tokens = enter(&app, &mut browser, &shop, "openid").await;
        sign_out(&app, &mut browser, &tokens).await;
        for _ in 0..tries + 2 {
            send(&app).await;
            app.pass(Duration::from_hours(1)).await;
        }
        assert_eq!(party.take().len(), tries, "{status}");
        let line = format!("signet_backchannel_logouts_total{{outcome=\"{outcome}\"}} 1");
        assert!(metric(&app, &line).await, "{line}");
        let log = app.audit_log();
        let entry = log.lines().find(|line| line.contains("\"logout.undelivered\"")).expect("an entry");
        let entry: Value = serde_json::from_str(entry).unwrap();
        assert_eq!((&entry["outcome"], &entry["client_id"]), (&json!("failed"), &json!("shop")));
        assert_eq!(entry["subject"], Subject::from(&account.id).as_str());
        assert_eq!(entry["detail"]["sid"], sid(&tokens));
        assert_eq!(entry["detail"]["reason"], format!("the answer was {status}"));
    }
}

#[actix_web::test]
async fn a_restart_in_the_middle_loses_nothing() {
    let (app, _) = service().await;
    let party = RelyingParty::start();
    let shop = client(&app, "shop", Some(&party.uri("/"))).await;
    let mut browser = Browser::default();
    let tokens = enter(&app, &mut browser, &shop, "openid").await;
    // The session's parties survive, and so does who is to be told.
    let app = app.restart(|_| {}).await;
    sign_out(&app, &mut browser, &tokens).await;
    let app = app.restart(|_| {}).await;
    // And what was claimed by a process that is gone: here the task is not let run.
    for task in app.app.send_logouts().await.unwrap() {
        task.abort();
        assert!(task.await.is_err());
    }
    let app = app.restart(|_| {}).await;
    assert_eq!((send(&app).await, party.take().len()), (0, 0), "the lease is not over");
    app.pass(Duration::from_mins(2)).await;
    assert_eq!(send(&app).await, 1);
    let claims = believed(&app, &party.take(), "shop").await;
    assert_eq!(claims[0]["sid"], sid(&tokens));
}

#[actix_web::test]
async fn no_request_goes_inside_unless_the_operator_lists_it() {
    let (app, _) = service().await;
    let party = RelyingParty::start();
    let shop = client(&app, "shop", Some(&party.uri("/"))).await;
    let by_name = format!("https://localhost:{}/", party.address.port());
    let blog = client(&app, "blog", Some(&by_name)).await;
    let mut browser = Browser::default();
    let tokens = enter(&app, &mut browser, &shop, "openid").await;
    enter(&app, &mut browser, &blog, "openid").await;
    // Both were registered when it was listed.
    let app = app.restart(|config| config.outgoing.allowed_networks = Vec::new()).await;
    sign_out(&app, &mut browser, &tokens).await;
    assert_eq!(send(&app).await, 2);
    assert_eq!(party.take().len(), 0);
    assert!(metric(&app, "signet_backchannel_logouts_total{outcome=\"postponed\"} 2").await);
}

#[actix_web::test]
async fn what_may_be_registered_is_https_or_listed() {
    let (app, _) = service().await;
    let register = |uri: &str| {
        let body = json!({
            "client_name": "Shop", "scope": "openid", "resources": [crate::test_app::RESOURCE],
            "redirect_uris": ["https://shop.example/"], "backchannel_logout_uri": uri,
        });
        app.administer(Method::POST, "/admin/clients", Some(body))
    };
    for (uri, why) in [
        ("http://shop.example/logout", "must be https"),
        ("http://127.0.0.2/logout", "127.0.0.2, which is not public"),
        ("https://10.0.0.1/logout", "10.0.0.1, which is not public"),
        ("https://2130706434/logout", "127.0.0.2, which is not public"),
        ("https://[::ffff:10.0.0.1]/logout", "which is not public"),
        ("https://shop.example/logout#x", "no fragment"),
        ("https://shop.example/logout#", "no fragment"),
        ("https://me@shop.example/logout", "wrong type or value"),
        ("logout", "wrong type or value"),
    ] {
        let answer = register(uri).await;
        answer.refused(400, "invalid_request");
        let reason = answer.json()["error_description"].as_str().unwrap().to_owned();
        assert!(reason.contains(why), "{uri}: {reason}");
    }
    for uri in ["https://shop.example:8443/logout?x=1", "http://127.0.0.1:9/logout", "http://localhost/"] {
        let answer = register(uri).await;
        assert_eq!(answer.status, 201, "{uri}: {}", answer.json());
        let path = format!("/admin/clients/{}", answer.json()["client_id"].as_str().unwrap());
        let change = json!({ "backchannel_logout_session_required": true, "backchannel_logout_uri": uri });
        let changed = app.administer(Method::PATCH, &path, Some(change)).await.json();
        assert_eq!(changed["backchannel_logout_session_required"], true);
        let change = json!({ "backchannel_logout_uri": "https://192.168.1.1/" });
        app.administer(Method::PATCH, &path, Some(change)).await.refused(400, "invalid_request");
    }
}

#[actix_web::test]
async fn what_people_register_for_themselves_is_not_called() {
    let (app, account) = service().await;
    let services = &app.app.state.services;
    let uri = WebUri::parse("https://shop.example/logout").unwrap();
    let unvouched =
        |registrant| Registration { backchannel_logout_uri: Some(uri.clone()), registrant, ..shop() };
    let own = unvouched(Registrant::Person(account.id.clone()));
    let anybodys = Registration { scope: Scope::parse("read").unwrap(), ..unvouched(Registrant::Anybody) };
    for registration in [own.clone(), anybodys] {
        let refused = services.clients.register(registration).await.unwrap_err();
        assert_eq!(refused.to_string(), ClientError::from(RegistrationError::OwnedLogoutUri).to_string());
    }
    services.clients.register(Registration { backchannel_logout_uri: None, ..own }).await.unwrap();
    let change = json!({ "backchannel_logout_uri": "https://shop.example/logout" });
    app.administer(Method::PATCH, "/admin/clients/shop", Some(change)).await.refused(400, "invalid_request");
}

#[actix_web::test]
async fn a_client_that_is_gone_or_another_one_now_is_not_told() {
    for change in ["deleted", "registered anew", "no longer told"] {
        let (app, _) = service().await;
        let party = RelyingParty::start();
        let shop = client(&app, "shop", Some(&party.uri("/"))).await;
        let mut browser = Browser::default();
        let tokens = enter(&app, &mut browser, &shop, "openid").await;
        app.clock.advance(Duration::from_secs(1));
        if change == "no longer told" {
            let body = json!({ "backchannel_logout_uri": null });
            let answer = app.administer(Method::PATCH, "/admin/clients/shop", Some(body)).await;
            assert_eq!(answer.status, 200);
        } else {
            app.administer(Method::DELETE, "/admin/clients/shop", None).await;
        }
        if change == "registered anew" {
            client(&app, "shop", Some(&party.uri("/"))).await;
        }
        sign_out(&app, &mut browser, &tokens).await;
        assert_eq!((send(&app).await, party.take().len()), (1, 0), "{change}");
        assert!(metric(&app, "signet_backchannel_logouts_total{outcome=\"dropped\"} 1").await, "{change}");
        app.pass(Duration::from_hours(2)).await;
        assert_eq!(send(&app).await, 0, "{change}");
    }
}

#[actix_web::test]
async fn no_client_learns_of_a_session_that_it_would_not_be_told_the_end_of() {
    let (app, _) = service().await;
    let party = RelyingParty::start();
    let shop = client(&app, "shop", Some(&party.uri("/"))).await;
    let quiet = client(&app, "quiet", None).await;
    // Neither of them: also a code of a client that nobody tells is worth nothing when its session has ended.
    for client in [&shop, &quiet] {
        let mut browser = Browser::default();
        let client_id = client.client.client_id.as_str();
        // The grant outlives the session; the code is redeemed after the session was ended.
        let scope = ("scope", "openid offline_access");
        let answer =
            browser.allow(&app, &request(&[("client_id", client_id), scope, ("prompt", "consent")])).await;
        let code = parameter(&answer, "code").unwrap_or_else(|| panic!("{}", location(&answer)));
        let page = browser.get(&app, "/oauth2/logout").await;
        let members = [("state", &*crate::browser::state(&page)), ("decision", "sign-out")];
        browser.post(&app, "/oauth2/sign-out", &members).await;
        let body = crate::browser::encoded(&[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", crate::browser::CALLBACK),
            ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        ]);
        let secret = client.client_secret.as_ref().unwrap().expose();
        let answer = app.send(form("/oauth2/token", &body).insert_header(basic((client_id, secret)))).await;
        assert_eq!(answer.status, 400, "{client_id}: {}", answer.json());
    }
    assert_eq!((send(&app).await, party.take().len()), (0, 0));
}

#[actix_web::test]
async fn a_client_that_does_not_answer_keeps_nobody_waiting() {
    let app = TestApp::start_with(|config| {
        open_loopback(config);
        config.outgoing.timeout = Duration::from_mins(1);
    })
    .await;
    ada(&app).await;
    let (party, silent) = (RelyingParty::start(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let mute = client(&app, "a-mute-one", Some(&format!("http://{}/", silent.local_addr().unwrap()))).await;
    let shop = client(&app, "shop", Some(&party.uri("/"))).await;
    for _ in 0..6 {
        let mut browser = Browser::default();
        enter(&app, &mut browser, &mute, "openid").await;
        let tokens = enter(&app, &mut browser, &shop, "openid").await;
        // Nobody waits for the answer here.
        sign_out(&app, &mut browser, &tokens).await;
    }
    let mut waiting = app.app.send_logouts().await.unwrap();
    assert_eq!(waiting.len(), 8, "four of each");
    // The mute one's places are taken, the other's come free.
    let mut told = 0;
    while told < 6 {
        tokio::task::yield_now().await;
        told += party.take().len();
        waiting.extend(app.app.send_logouts().await.unwrap());
    }
    assert!(metric(&app, "signet_backchannel_logouts_total{outcome=\"postponed\"} 0").await);
    // Now they are hung up on.
    drop(silent);
    for task in waiting {
        task.await.unwrap();
    }
}

#[actix_web::test]
async fn a_private_authority_vouches_for_a_client_only_where_the_settings_name_it() {
    for named in [true, false] {
        let app = TestApp::start_with(|config| {
            open_loopback(config);
            let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls/ca.pem");
            config.outgoing.ca_bundle = named.then(|| authority.into());
        })
        .await;
        ada(&app).await;
        let party = RelyingParty::start_private();
        let shop = client(&app, "shop", Some(&party.uri("/shop"))).await;
        let mut browser = Browser::default();
        let tokens = enter(&app, &mut browser, &shop, "openid").await;
        sign_out(&app, &mut browser, &tokens).await;
        assert_eq!(send(&app).await, 1);
        app.app.tidy().await.unwrap();
        let waiting = format!("signet_backchannel_logouts_waiting {}", u8::from(!named));
        assert!(metric(&app, &waiting).await, "{waiting}");
        let mut told = party.take();
        told.retain(|request| !request.head.is_empty());
        assert_eq!(told.len(), usize::from(named), "without the setting it learns nothing");
        if named {
            let claims = believed(&app, &told, "shop").await.remove(0);
            assert_eq!(claims["sid"], sid(&tokens));
        }
    }
}

/// A session ends whatever the settings are: who takes no other algorithm refuses the token, any other learns of it.
#[actix_web::test]
async fn a_client_whose_algorithm_signs_no_more_is_told_by_another() {
    let short = |config: &mut Config| {
        open_loopback(config);
        config.keys.lead = Duration::from_mins(7);
    };
    let app = TestApp::start_with(short).await;
    ada(&app).await;
    let party = RelyingParty::start();
    let registration = Registration {
        client_id: Some(ClientId::parse("shop").unwrap()),
        backchannel_logout_uri: Some(WebUri::parse(&party.uri("/shop")).unwrap()),
        id_token_signed_response_alg: Some(Algorithm::EdDSA),
        ..shop()
    };
    let shop = register(&app, registration).await;
    let mut browser = Browser::default();
    let tokens = enter(&app, &mut browser, &shop, "openid").await;
    assert_eq!(part(tokens["id_token"].as_str().unwrap(), 0)["alg"], "EdDSA");
    let app = app.restart(|config| config.keys.algorithms = vec![Algorithm::ES256]).await;
    app.pass(Duration::from_mins(7)).await;
    sign_out(&app, &mut browser, &tokens).await;
    assert_eq!(send(&app).await, 1);
    let seen = party.take();
    assert_eq!(part(&seen[0].logout_token(), 0)["alg"], "ES256");
    assert_eq!(believed(&app, &seen, "shop").await[0]["sid"], sid(&tokens));
}

/// What a node does not know it may not have heard of yet: another has registered it, or given it an address, a moment ago.
#[actix_web::test]
async fn a_client_is_told_by_a_node_that_has_not_heard_of_it() {
    for knows_the_client in [false, true] {
        let clock = Arc::new(ManualClock::at(START));
        let store = SharedStore::new(clock.clone());
        let app = TestApp::start_on(store.clone(), clock, open_loopback).await;
        ada(&app).await;
        let party = RelyingParty::start();
        let quiet = app.another_node(store.clone(), 2).await;
        let uri = party.uri("/");
        let shop = client(&app, "shop", Some(&uri).filter(|_| !knows_the_client).map(|uri| &**uri)).await;
        if knows_the_client {
            quiet.app.follow().await.unwrap();
            let body = json!({ "backchannel_logout_uri": uri });
            let answer = app.administer(Method::PATCH, "/admin/clients/shop", Some(body)).await;
            assert_eq!(answer.status, 200);
        }
        let mut browser = Browser::default();
        let tokens = enter(&app, &mut browser, &shop, "openid").await;
        sign_out(&app, &mut browser, &tokens).await;
        let known = quiet.app.state.services.clients.find("shop");
        assert!(known.is_none_or(|client| client.backchannel_logout_uri.is_none()));
        assert_eq!((send(&quiet).await, party.take().len()), (1, 1), "{knows_the_client}");
        app.pass(Duration::from_hours(2)).await;
        assert_eq!(send(&app).await, 0, "it was told");
    }
}
