//! The forged tokens that no verifier accepts, at the issuer itself: introspection and the admin API.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::json;
use signet::oauth::{AccessTokenClaims, Algorithm, Jwk};

use crate::forgeries::{Target, for_others, forgeries};
use crate::test_app::{Answer, RESOURCE, TestApp, basic, bearer, form, part};

#[actix_web::test]
async fn no_forgery_is_active_or_administers() {
    let app = TestApp::start_with(|config| {
        config.limits.refused_per_address = 0;
        config.keys.algorithms = Algorithm::ALL.to_vec();
    })
    .await;
    let claims_of = |token: &str| -> AccessTokenClaims { serde_json::from_value(part(token, 1)).unwrap() };
    let administers = claims_of(&app.admin_token().await);
    let demo = claims_of(&app.demo_token().await);
    let server = resource_server(&app).await;
    let jwks = app.send(TestRequest::get().uri("/.well-known/jwks.json")).await.json();
    let published = jwks["keys"].as_array().unwrap().iter();
    let published: Vec<Jwk> = published.map(|jwk| serde_json::from_value(jwk.clone()).unwrap()).collect();
    for algorithm in Algorithm::ALL {
        let key = app.app.state.services.keys.signing_key(Some(algorithm)).unwrap();
        let jwk = published.iter().find(|jwk| jwk.kid == *key.kid()).unwrap().clone();
        assert_eq!(jwk.alg, algorithm);
        let sign = |message: &[u8]| key.sign(message).unwrap();
        none_is_active(&app, &Target::access_token(jwk.clone(), &administers, &sign)).await;
        none_is_shown_to_another(&app, &server, &Target::access_token(jwk, &demo, &sign)).await;
    }
}

/// A client that holds none of the tokens, and is told of those for its resource.
async fn resource_server(app: &TestApp) -> (String, String) {
    let body =
        json!({ "client_name": "API", "scope": "", "resources": [RESOURCE], "audience_of": [RESOURCE] });
    let client = app.administer(Method::POST, "/admin/clients", Some(body)).await;
    assert_eq!(client.status, 201, "{client:?}");
    let member = |name: &str| client.json()[name].as_str().expect(name).to_owned();
    (member("client_id"), member("client_secret"))
}

async fn introspect(app: &TestApp, client: (&str, &str), token: &str) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).append_pair("token", token).finish();
    app.send(form("/oauth2/introspect", &body).insert_header(basic(client))).await
}

/// Genuine tokens, but for others than the resource server that asks.
async fn none_is_shown_to_another(app: &TestApp, server: &(String, String), target: &Target<'_>) {
    let alg = target.jwk.alg;
    let introspect = async |token: String| introspect(app, (&server.0, &server.1), &token).await;
    assert_eq!(introspect(target.genuine()).await.json()["active"], true, "{alg}: the control");
    let others = for_others(target);
    assert!(others.len() >= 9, "only {}", others.len());
    for (name, token) in others.into_iter().chain(forgeries(target)) {
        let answer = introspect(token).await;
        // No token at all, or one too long to be looked at, is refused as a request.
        let inactive = answer.status == 200 && answer.json() == json!({ "active": false });
        assert!(inactive || matches!(answer.status, 400 | 413), "{alg} {name}: {answer:?}");
    }
}

async fn none_is_active(app: &TestApp, target: &Target<'_>) {
    let alg = target.jwk.alg;
    let introspect = async |token: String| introspect(app, app.admin(), &token).await;
    assert_eq!(introspect(target.genuine()).await.json()["active"], true, "{alg}: the control");
    let forged = forgeries(target);
    assert!(forged.len() >= 200, "only {}", forged.len());
    for (name, token) in forged {
        let answer = introspect(token.clone()).await;
        // No token at all, or one too long to be looked at, is refused as a request.
        if matches!(answer.status, 400 | 413) {
            continue;
        }
        assert_eq!((answer.status, answer.json()["active"].as_bool()), (200, Some(false)), "{alg} {name}");
        let (header, value) = bearer(&token);
        if let Ok(value) = actix_web::http::header::HeaderValue::from_str(&value) {
            let request = TestRequest::get().uri("/admin/clients").insert_header((header, value));
            assert_eq!(app.send(request).await.status, 401, "{alg} {name}");
        }
    }
}
