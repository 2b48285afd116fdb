//! Applications that register themselves, as one older document's clients do.

use std::net::SocketAddr;

use actix_web::test::TestRequest;
use serde_json::json;
use signet::limits::Policy;

use crate::test_app::{TestApp, bearer, form};

const OOB: &str = "urn:ietf:wg:oauth:2.0:oob";

async fn open() -> TestApp {
    TestApp::start_with(|config| config.dialects.apps = true).await
}

fn registration(more: &str) -> TestRequest {
    form("/api/v1/apps", &format!("client_name=Test+Application{more}"))
}

#[actix_web::test]
async fn nobody_registers_anything_unless_the_operator_wants_it() {
    let app = TestApp::start().await;
    app.send(registration(&format!("&redirect_uris={OOB}"))).await.refused(404, "not_found");
    let request = TestRequest::get().uri("/api/v1/apps/verify_credentials");
    app.send(request.insert_header(bearer(&app.demo_token().await))).await.refused(404, "not_found");
}

#[actix_web::test]
async fn an_application_registers_and_says_who_it_is() {
    let app = open().await;
    let two = format!(
        "&redirect_uris={OOB}%0Ahttps%3A%2F%2Fapp.example%2Fback&scopes=read+write&website=https%3A%2F%2Fapp.example%2F"
    );
    let answer = app.send(registration(&two)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let registered = answer.json();
    assert_eq!(registered["name"], "Test Application");
    assert_eq!(registered["redirect_uri"], format!("{OOB}\nhttps://app.example/back"));
    assert_eq!(registered["website"], "https://app.example/");
    let text = |name: &str| registered[name].as_str().unwrap().to_owned();
    let client = (text("client_id"), text("client_secret"));
    let found = app.app.state.services.clients.find(&client.0).unwrap();
    assert!(!found.require_pkce);
    assert_eq!(found.consent, signet::clients::ConsentRule::Required);
    let token = app.token((&client.0, &client.1), "scope=read").await.access_token();
    let request = TestRequest::get().uri("/api/v1/apps/verify_credentials").insert_header(bearer(&token));
    let expected = json!({ "name": "Test Application", "website": "https://app.example/" });
    assert_eq!(app.send(request).await.json(), expected);
    assert!(app.audit_log().contains(r#""actor":{"type":"anonymous"}"#));
}

#[actix_web::test]
async fn json_and_parts_are_taken_too_and_read_is_the_default() {
    let app = open().await;
    let body = json!({ "client_name": "J", "redirect_uris": OOB });
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let parts = format!("{}{}--b--\r\n", part("client_name", "J"), part("redirect_uris", OOB));
    let post = || TestRequest::post().uri("/api/v1/apps");
    let in_parts =
        post().insert_header(("Content-Type", "multipart/form-data; boundary=b")).set_payload(parts);
    for request in [post().set_json(body), in_parts] {
        let answer = app.send(request).await.json();
        let found = app.app.state.services.clients.find(answer["client_id"].as_str().unwrap()).unwrap();
        assert_eq!((found.scope.as_str(), &answer["website"]), ("read", &json!(null)));
    }
}

#[actix_web::test]
async fn an_application_gets_nothing_beyond_the_first_resource() {
    let app = open().await;
    for more in [
        "",
        "&redirect_uris=javascript:alert(1)",
        "&redirect_uris=http://app.example/back",
        &format!("&redirect_uris={OOB}&scopes=signet:keys"),
        &format!("&redirect_uris={OOB}&scopes=users:read"),
        &format!("&redirect_uris={OOB}&scopes=unheard-of"),
        &format!("&redirect_uris={OOB}&website=javascript:alert(1)"),
    ] {
        app.send(registration(more)).await.refused(400, "invalid_request");
    }
    app.send(form("/api/v1/apps", &format!("redirect_uris={OOB}"))).await.refused(400, "invalid_request");
    assert!(
        !app.audit_log().contains(r#""actor":{"type":"anonymous"}"#),
        "nobody could fill the log with what came to nothing"
    );
    for request in [
        TestRequest::get().uri("/api/v1/apps/verify_credentials"),
        TestRequest::get().uri("/api/v1/apps/verify_credentials").insert_header(bearer("x")),
    ] {
        app.send(request).await.refused(401, "invalid_token");
    }
}

#[actix_web::test]
async fn an_address_registers_so_many_and_no_more() {
    let app = open().await;
    let peer = |text: &str| text.parse::<SocketAddr>().unwrap();
    let register = |from: &str| registration(&format!("&redirect_uris={OOB}")).peer_addr(peer(from));
    for _ in 0..10 {
        assert_eq!(app.send(register("198.51.100.9:1")).await.status, 200);
    }
    let answer = app.send(register("198.51.100.9:2")).await;
    answer.refused(429, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), Some("60"));
    assert_eq!(app.send(register("192.0.2.1:1")).await.status, 200);
    let refused = app.app.state.services.limits.refused();
    assert!(refused.contains(&(Policy::RegistrationPerAddress, 1)), "{refused:?}");
}

#[actix_web::test]
async fn a_good_token_asks_whose_it_is_so_often_and_whatever_its_neighbours_do() {
    let app = TestApp::start_with(|config| {
        config.dialects.apps = true;
        config.limits.refused_per_address = 20;
    })
    .await;
    let ask = |token: Option<&str>, from: &str| {
        let request = TestRequest::get().uri("/api/v1/apps/verify_credentials");
        let request = request.peer_addr(from.parse::<SocketAddr>().unwrap());
        app.send(match token {
            Some(token) => request.insert_header(bearer(token)),
            None => request,
        })
    };
    let (here, there) = ("192.0.2.1:1", "198.51.100.9:1");
    let (token, another) = (app.demo_token().await, app.demo_token().await);
    for bad in [None, Some("x")].repeat(10) {
        ask(bad, here).await.refused(401, "invalid_token");
    }
    for bad in [None, Some("x")] {
        let answer = ask(bad, here).await;
        answer.refused(429, "temporarily_unavailable");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"refused_per_address\";q=20;w=60"));
    }
    for _ in 0..5 {
        assert_eq!(ask(Some(&token), here).await.status, 200);
        assert_eq!(ask(Some(&token), there).await.status, 200);
    }
    for from in [here, there] {
        let answer = ask(Some(&token), from).await;
        answer.refused(429, "temporarily_unavailable");
        assert_eq!(
            (answer.header("retry-after"), answer.header("x-ratelimit-limit")),
            (Some("60"), Some("10"))
        );
    }
    // Nobody else has used up anything by that, be it to register.
    assert_eq!(ask(Some(&another), here).await.status, 200);
    let register = registration(&format!("&redirect_uris={OOB}")).peer_addr(here.parse().unwrap());
    assert_eq!(app.send(register).await.status, 200);
    let refused = app.app.state.services.limits.refused();
    assert!(refused.contains(&(Policy::RegistrationPerAddress, 2)), "{refused:?}");
}
