//! Limits: too much is answered with 429, and nobody can use up what is somebody else's.

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::json;

use crate::api_keys::{API_KEY, EXCHANGE, demo_key};
use crate::browser::text;
use crate::test_app::{Answer, TestApp, basic, bearer, form};

const ATTACKER: &str = "198.51.100.9:1234";
const OTHER: &str = "192.0.2.77:1234";

fn from(request: TestRequest, peer: &str) -> TestRequest {
    request.peer_addr(peer.parse::<SocketAddr>().unwrap())
}

/// 429 with everything that says when to come back.
#[track_caller]
fn too_many(answer: &Answer, policy: &str, app: &TestApp) {
    assert_eq!(answer.status, 429, "{answer:?}");
    let seconds: i64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
    let limit = answer.header("x-ratelimit-limit").unwrap();
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("0"));
    assert_eq!(answer.header("ratelimit-policy"), Some(format!("\"{policy}\";q={limit};w=60").as_str()));
    assert_eq!(answer.header("ratelimit"), Some(format!("\"{policy}\";r=0;t={seconds}").as_str()));
    let reset: i64 = answer.header("x-ratelimit-reset").unwrap().parse().unwrap();
    assert_eq!(reset, app.now() + seconds);
}

fn token_request(app: &TestApp, secret: &str, peer: &str) -> TestRequest {
    let body = "grant_type=client_credentials";
    from(form("/oauth2/token", body).insert_header(basic((app.demo().0, secret))), peer)
}

fn exchange_of(key: &str) -> String {
    format!("grant_type={EXCHANGE}&subject_token={key}&subject_token_type={API_KEY}")
}

fn exchange(key: &str, peer: &str) -> TestRequest {
    from(form("/oauth2/token", &exchange_of(key)), peer)
}

#[actix_web::test]
async fn wrong_secrets_use_up_the_address_and_never_the_client() {
    let app = TestApp::start_with(|config| {
        config.limits.refused_per_address = 5;
        config.limits.token_per_client = 3;
    })
    .await;
    for _ in 0..5 {
        app.send(token_request(&app, "wrong", ATTACKER)).await.refused(401, "invalid_client");
    }
    for path in ["/oauth2/token", "/oauth/token", "/auth/token", "/api/token.php"] {
        let body = format!("grant_type=client_credentials&client_id={}&client_secret=wrong", app.demo().0);
        let answer = app.send(from(form(path, &body), ATTACKER)).await;
        too_many(&answer, "refused_per_address", &app);
        answer.refused(429, "temporarily_unavailable");
    }
    app.send(token_request(&app, "wrong", OTHER)).await.refused(401, "invalid_client");
    // The client itself is let in, and even from the attacker's address.
    for peer in [OTHER, ATTACKER, OTHER] {
        app.send(token_request(&app, app.demo().1, peer)).await.access_token();
    }
    too_many(&app.send(token_request(&app, app.demo().1, OTHER)).await, "token_per_client", &app);
    app.pass(Duration::from_mins(1)).await;
    app.send(token_request(&app, app.demo().1, OTHER)).await.access_token();
    app.send(token_request(&app, "wrong", ATTACKER)).await.refused(401, "invalid_client");
}

#[actix_web::test]
async fn one_clients_quota_is_not_anothers() {
    let app = TestApp::start_with(|config| config.limits.token_per_client = 2).await;
    for _ in 0..2 {
        app.demo_token().await;
    }
    assert_eq!(app.token(app.demo(), "").await.status, 429);
    app.admin_token().await;
}

/// The right secret is known to nobody else: whoever has used up the client's quota with an exchange is the client.
#[actix_web::test]
async fn an_exchange_counts_for_the_client_that_authenticates() {
    let app = TestApp::start_with(|config| config.limits.token_per_client = 3).await;
    let (_, key) = demo_key(&app).await;
    let (client_id, secret) = app.demo();
    let by = |secret: &str, key: &str| exchange(key, OTHER).insert_header(basic((client_id, secret)));
    for _ in 0..5 {
        app.send(by("wrong", &key)).await.refused(401, "invalid_client");
    }
    app.send(by(secret, &key)).await.access_token();
    app.send(by(secret, "sk_wrong")).await.refused(400, "invalid_request");
    let body = format!("{}&client_id={client_id}&client_secret={secret}", exchange_of(&key));
    app.send(from(form("/oauth2/token", &body), OTHER)).await.access_token();
    too_many(&app.send(by(secret, &key)).await, "token_per_client", &app);
    too_many(&app.send(token_request(&app, secret, OTHER)).await, "token_per_client", &app);
    // Who only names the client spends nothing of it, and needs the key alone.
    let named = format!("{}&client_id={client_id}", exchange_of(&key));
    app.send(from(form("/oauth2/token", &named), OTHER)).await.access_token();
    app.send(by("wrong", &key)).await.refused(401, "invalid_client");
}

#[actix_web::test]
async fn a_good_key_is_exchanged_whatever_its_neighbours_do() {
    let app = TestApp::start_with(|config| {
        config.limits.token_per_address = 3;
        config.limits.api_key = 4;
    })
    .await;
    let (_, key) = demo_key(&app).await;
    // Neither a good key nor what it is refused for counts for its address.
    app.send(exchange(&key, ATTACKER)).await.access_token();
    for more in ["&scope=none", "&resource=https://other.example"] {
        let refused = app.send(from(form("/oauth2/token", &(exchange_of(&key) + more)), ATTACKER)).await;
        assert_eq!((refused.status, refused.header("x-ratelimit-limit")), (400, Some("4")));
    }
    for body in [exchange_of("sk_wrong"), exchange_of(""), exchange_of("sk_wrong") + "&client_id=nobody"] {
        app.send(from(form("/oauth2/token", &body), ATTACKER)).await.refused(400, "invalid_request");
    }
    for body in [exchange_of("sk_wrong"), exchange_of(""), "grant_type=authorization_code".to_owned()] {
        let answer = app.send(from(form("/oauth2/token", &body), ATTACKER)).await;
        too_many(&answer, "token_per_address", &app);
    }
    let answer = app.send(exchange(&key, ATTACKER)).await;
    answer.access_token();
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("0"));
    too_many(&app.send(exchange(&key, ATTACKER)).await, "apikey", &app);
    // Nor does what is beyond the key's own limit.
    for _ in 0..4 {
        too_many(&app.send(exchange(&key, OTHER)).await, "apikey", &app);
    }
    app.send(exchange("sk_wrong", OTHER)).await.refused(400, "invalid_request");
}

#[actix_web::test]
async fn keys_are_not_guessed_at_the_exchange_either() {
    let app = TestApp::start_with(|config| config.limits.refused_per_address = 3).await;
    let (_, key) = demo_key(&app).await;
    for number in 0..3 {
        app.send(exchange(&format!("sk_{number}"), ATTACKER)).await.refused(400, "invalid_request");
    }
    too_many(&app.send(exchange("sk_wrong", ATTACKER)).await, "refused_per_address", &app);
    // Nor by a client that has authenticated.
    let by_client = exchange("sk_wrong", ATTACKER).insert_header(basic(app.demo()));
    too_many(&app.send(by_client).await, "refused_per_address", &app);
    app.send(exchange(&key, ATTACKER)).await.access_token();
    app.send(exchange("sk_wrong", OTHER)).await.refused(400, "invalid_request");
}

#[actix_web::test]
async fn a_limit_that_is_off_is_none() {
    let app = TestApp::start_with(|config| {
        config.limits.refused_per_address = 0;
        config.limits.token_per_client = 0;
    })
    .await;
    for _ in 0..400 {
        app.send(token_request(&app, "wrong", ATTACKER)).await.refused(401, "invalid_client");
    }
}

#[actix_web::test]
async fn headers_move_nobody_into_anothers_bucket_unless_a_trusted_proxy_wrote_them() {
    let app = TestApp::start_with(|config| config.limits.refused_per_address = 2).await;
    let spoofed = |number: u32| {
        token_request(&app, "wrong", ATTACKER)
            .insert_header(("X-Forwarded-For", format!("192.0.2.{number}")))
            .insert_header(("Forwarded", format!("for=192.0.2.{number}")))
            .insert_header(("X-Real-IP", format!("192.0.2.{number}")))
    };
    for number in 0..2 {
        app.send(spoofed(number)).await.refused(401, "invalid_client");
    }
    for number in 2..40 {
        too_many(&app.send(spoofed(number)).await, "refused_per_address", &app);
    }

    let app = TestApp::start_with(|config| {
        config.limits.refused_per_address = 2;
        config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    })
    .await;
    let proxied = |list: &str| {
        token_request(&app, "wrong", "10.0.0.1:1234").insert_header(("X-Forwarded-For", list.to_owned()))
    };
    for number in 0..2 {
        let list = format!("192.0.2.{number}, 198.51.100.9");
        app.send(proxied(&list)).await.refused(401, "invalid_client");
    }
    too_many(&app.send(proxied("192.0.2.3, 198.51.100.9")).await, "refused_per_address", &app);
    app.send(proxied("198.51.100.9, 192.0.2.3")).await.refused(401, "invalid_client");
}

#[actix_web::test]
async fn refused_administrators_do_not_fill_the_audit_log() {
    let app = TestApp::start_with(|config| config.limits.refused_per_address = 10).await;
    // For the admin API, but not for clients.
    let token = app.token(app.admin(), "scope=signet:keys").await.access_token();
    let ask = |peer| from(TestRequest::get().uri("/admin/clients").insert_header(bearer(&token)), peer);
    for _ in 0..10 {
        app.send(ask(ATTACKER)).await.refused(403, "insufficient_scope");
    }
    let lines = |app: &TestApp| app.audit_log().matches("admin.refused").count();
    assert_eq!(lines(&app), 10);
    assert!(app.audit_log().contains(r#""source_ip":"198.51.100.9""#));
    for _ in 0..50 {
        too_many(&app.send(ask(ATTACKER)).await, "refused_per_address", &app);
    }
    assert_eq!(lines(&app), 10);
    app.send(ask(OTHER)).await.refused(403, "insufficient_scope");
    assert_eq!(lines(&app), 11);
    // What is permitted is permitted from there too.
    let permitted = from(TestRequest::get().uri("/admin/keys").insert_header(bearer(&token)), ATTACKER);
    assert_eq!(app.send(permitted).await.status, 200);
    let anonymous = from(TestRequest::get().uri("/admin/keys"), ATTACKER);
    too_many(&app.send(anonymous).await, "refused_per_address", &app);
}

#[actix_web::test]
async fn revocation_and_introspection_are_limited_too() {
    let app = TestApp::start_with(|config| {
        config.limits.refused_per_address = 3;
        config.limits.revocation_per_client = 2;
    })
    .await;
    for path in ["/oauth2/revoke", "/oauth/revoke", "/oauth2/introspect"] {
        let body = format!("token=x&client_id={}&client_secret=wrong", app.demo().0);
        app.send(from(form(path, &body), ATTACKER)).await.refused(401, "invalid_client");
    }
    let wrong = form("/oauth2/revoke", "token=x").insert_header(basic((app.demo().0, "wrong")));
    too_many(&app.send(from(wrong, ATTACKER)).await, "refused_per_address", &app);
    let revoke = || from(form("/oauth2/revoke", "token=x").insert_header(basic(app.demo())), ATTACKER);
    for _ in 0..2 {
        assert_eq!(app.send(revoke()).await.status, 200);
    }
    too_many(&app.send(revoke()).await, "revocation_per_client", &app);
}

#[actix_web::test]
async fn a_person_who_asks_too_often_is_told_so_on_a_page() {
    let app = TestApp::start_with(|config| config.limits.authorize_per_address = 1).await;
    let ask = |path: &str, method, peer| from(TestRequest::with_uri(path).method(method), peer);
    assert_eq!(app.send(ask("/oauth2/authorize", Method::GET, ATTACKER)).await.status, 400);
    for path in ["/oauth2/authorize", "/oauth/authorize", "/api/authorize.php"] {
        for method in [Method::GET, Method::POST] {
            let answer = app.send(ask(path, method, ATTACKER)).await;
            too_many(&answer, "authorize_per_address", &app);
            assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert!(
                answer.header("content-security-policy").is_some_and(|it| it.contains("default-src 'none'"))
            );
            assert!(text(&answer).contains("Please try again in a moment"), "{}", text(&answer));
        }
    }
    assert_eq!(app.send(ask("/oauth2/authorize", Method::GET, OTHER)).await.status, 400);
}

#[actix_web::test]
async fn what_is_refused_is_counted_by_its_policy() {
    let app = TestApp::start_with(|config| config.limits.refused_per_address = 1).await;
    for _ in 0..4 {
        app.send(token_request(&app, "wrong", ATTACKER)).await;
    }
    let metrics = String::from_utf8(app.manage("/metrics").await.body).unwrap();
    assert!(metrics.contains("signet_ratelimited_total{policy=\"refused_per_address\"} 3"), "{metrics}");
    assert!(metrics.contains("signet_ratelimited_total{policy=\"apikey\"} 0"));
}

#[actix_web::test]
async fn administrators_acts_say_from_where() {
    let app = TestApp::start_with(|config| {
        config.trusted_proxies = vec!["10.0.0.1".parse::<std::net::IpAddr>().unwrap().into()];
    })
    .await;
    let token = app.admin_token().await;
    let body = json!({ "sub": "bob" });
    let request = TestRequest::with_uri("/admin/revocations").method(Method::POST);
    let request =
        request.insert_header(bearer(&token)).insert_header(("X-Forwarded-For", "127.0.0.1, 192.0.2.5"));
    assert_eq!(app.send(from(request.set_json(body), "10.0.0.1:1")).await.status, 200);
    assert!(app.audit_log().contains(r#""source_ip":"192.0.2.5""#));
}
