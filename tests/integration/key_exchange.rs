//! The example resource server's way with API keys, against the service over HTTP.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, init_service, read_body, try_call_service};
use actix_web::{App, HttpRequest, web};
use serde_json::json;

use crate::exchange::{KeyExchange, NoToken, exchange_api_key};
use crate::resource_server_fixture::{ResourceServer, listen};
use crate::test_app::{RESOURCE, TestApp, part};

async fn make_key(app: &TestApp) -> (String, String) {
    let request = json!({ "name": "k", "client_id": app.demo().0, "scope": "read", "resources": [RESOURCE] });
    let answer = app.administer(Method::POST, "/admin/api-keys", Some(request)).await.json();
    (answer["id"].as_str().unwrap().to_owned(), answer["api_key"].as_str().unwrap().to_owned())
}

async fn token(exchange: &Arc<KeyExchange>, key: &str) -> Result<String, NoToken> {
    let (exchange, key) = (exchange.clone(), key.to_owned());
    web::block(move || exchange.token(&key)).await.unwrap().token
}

#[actix_web::test]
async fn a_key_is_exchanged_once_and_again_shortly_before_its_token_ends() {
    let app = TestApp::start().await;
    let (id, key) = make_key(&app).await;
    let exchange = Arc::new(KeyExchange::new(&listen(&app), RESOURCE, app.clock.clone()));
    let first = token(&exchange, &key).await.unwrap();
    assert_eq!((&part(&first, 1)["client_id"], &part(&first, 1)["aud"]), (&json!(id), &json!(RESOURCE)));
    for _ in 0..300 {
        app.clock.advance(Duration::from_secs(1));
        assert_eq!(token(&exchange, &key).await.unwrap(), first, "nobody is asked");
    }
    app.pass(Duration::from_secs(15 * 60 - 30 - 300)).await;
    let second = token(&exchange, &key).await.unwrap();
    assert_ne!(second, first);

    assert_eq!(token(&exchange, "sk_wrong").await, Err(NoToken::Refused));
    app.administer(Method::DELETE, &format!("/admin/api-keys/{id}"), None).await;
    assert!(!app.is_active(&second).await, "the status list tells the resource server");
    app.pass(Duration::from_mins(15)).await;
    assert_eq!(token(&exchange, &key).await, Err(NoToken::Refused));
    let nobody = Arc::new(KeyExchange::new("http://127.0.0.1:1", RESOURCE, app.clock.clone()));
    assert_eq!(token(&nobody, &key).await, Err(NoToken::Unavailable));
}

#[actix_web::test]
async fn the_api_says_who_it_is_where_it_is_told_to_and_asks_nothing_about_what_is_no_key() {
    let app = TestApp::start().await;
    let (_, key) = make_key(&app).await;
    let issuer = listen(&app);
    let exchange = || KeyExchange::new(&issuer, RESOURCE, app.clock.clone());
    let (client_id, secret) = app.demo();
    token(&Arc::new(exchange().authenticated(client_id, secret)), &key).await.unwrap();
    let wrong = Arc::new(exchange().authenticated(client_id, "wrong"));
    assert_eq!(token(&wrong, &key).await, Err(NoToken::Unavailable), "the key is not to blame");
    let nobody = Arc::new(KeyExchange::new("http://127.0.0.1:1", RESOURCE, app.clock.clone()));
    for no_key in ["", "sk_", "sk_wrong", &format!("{key}A"), &key.replace("sk_", "kk_")] {
        assert_eq!(token(&nobody, no_key).await, Err(NoToken::Refused), "{no_key}");
    }
}

async fn authorization(request: HttpRequest) -> String {
    request.headers().get("authorization").map_or("", |value| value.to_str().unwrap()).to_owned()
}

#[actix_web::test]
async fn handlers_see_a_token_wherever_a_key_was_sent() {
    let app = TestApp::start_with(|config| config.limits.api_key = 1).await;
    let (_, key) = make_key(&app).await;
    let exchange = web::Data::new(KeyExchange::new(&listen(&app), RESOURCE, app.clock.clone()));
    let service = init_service(
        App::new()
            .app_data(exchange)
            .wrap(from_fn(exchange_api_key))
            .route("/", web::get().to(authorization)),
    )
    .await;
    for (left, header) in [
        ("99", ("X-API-Key", key.clone())),
        ("98", ("Authorization", format!("ApiKey {key}"))),
        ("97", ("Authorization", format!("Bearer {key}"))),
    ] {
        let request = TestRequest::get().insert_header(header).to_request();
        let response = try_call_service(&service, request).await.unwrap();
        // The issuer, which was asked once, has nothing left.
        assert_eq!(response.headers().get("x-ratelimit-remaining").unwrap(), left);
        let seen = String::from_utf8(read_body(response).await.to_vec()).unwrap();
        assert!(seen.starts_with("Bearer eyJ"), "{seen}");
    }
    let other = TestRequest::get().insert_header(("Authorization", "Bearer eyJ")).to_request();
    let response = try_call_service(&service, other).await.unwrap();
    assert_eq!(read_body(response).await, "Bearer eyJ", "tokens are left alone");
    let wrong = TestRequest::get().insert_header(("X-API-Key", "sk_wrong")).to_request();
    let refused = try_call_service(&service, wrong).await.unwrap_err().error_response();
    assert_eq!(refused.status(), 401);
    // Its one exchange a minute is spent.
    app.pass(Duration::from_secs(59)).await;
    let fresh = web::Data::new(KeyExchange::new(&listen(&app), RESOURCE, app.clock.clone()));
    let service = init_service(
        App::new().app_data(fresh).wrap(from_fn(exchange_api_key)).route("/", web::get().to(authorization)),
    )
    .await;
    let request = TestRequest::get().insert_header(("X-API-Key", key)).to_request();
    let refused = try_call_service(&service, request).await.unwrap_err().error_response();
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers().get("retry-after").unwrap(), "1");
    for (name, value) in [
        ("x-ratelimit-limit", "1".to_owned()),
        ("x-ratelimit-remaining", "0".to_owned()),
        ("x-ratelimit-reset", (app.now() + 1).to_string()),
        ("ratelimit-policy", "\"apikey\";q=1;w=60".to_owned()),
        ("ratelimit", "\"apikey\";r=0;t=1".to_owned()),
    ] {
        assert_eq!(refused.headers().get(name).unwrap(), &*value, "{name}");
    }
}

/// What an older document promises (`X-RateLimit-…`, 100 in 60 seconds), although the issuer is asked once in a quarter of an hour.
#[actix_web::test]
async fn the_101st_request_of_a_key_in_a_minute_is_refused() {
    let app = TestApp::start().await;
    let api = ResourceServer::beside(&app);
    let (key, other) = (make_key(&app).await.1, make_key(&app).await.1);
    let ask = async |key: &str| {
        api.send(TestRequest::get().uri("/products").insert_header(("X-API-Key", key))).await
    };
    for left in (0..100).rev() {
        let answer = ask(&key).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("x-ratelimit-limit"), Some("100"));
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(&*left.to_string()));
        assert_eq!(answer.header("x-ratelimit-reset"), Some(&*(app.now() + 60).to_string()));
    }
    app.pass(Duration::from_secs(59)).await;
    let refused = ask(&key).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{refused:?}");
    assert_eq!(refused.header("ratelimit"), Some("\"apikey\";r=0;t=1"));
    assert_eq!(ask(&other).await.status, 200, "another key is not touched");
    app.pass(Duration::from_secs(1)).await;
    assert_eq!(ask(&key).await.status, 200);
    // A token that ends meanwhile begins no new minute.
    app.pass(Duration::from_secs(15 * 60 - 30 - 60 - 10)).await;
    for _ in 0..100 {
        assert_eq!(ask(&key).await.status, 200);
    }
    app.pass(Duration::from_secs(20)).await;
    assert_eq!(ask(&key).await.status, 429);
    app.pass(Duration::from_secs(40)).await;
    assert_eq!(ask(&key).await.status, 200);
}
