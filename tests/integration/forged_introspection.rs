//! The forged tokens that no verifier accepts, at the issuer itself: introspection and the admin API.

use actix_web::test::TestRequest;
use signet::oauth::{AccessTokenClaims, Algorithm, Jwk};

use crate::forgeries::{Target, forgeries};
use crate::test_app::{TestApp, basic, bearer, part};

#[actix_web::test]
async fn no_forgery_is_active_or_administers() {
    let app = TestApp::start_with(|config| {
        config.limits.refused_per_address = 0;
        config.keys.algorithms = Algorithm::ALL.to_vec();
    })
    .await;
    let genuine = app.admin_token().await;
    let claims: AccessTokenClaims = serde_json::from_value(part(&genuine, 1)).unwrap();
    let jwks = app.send(TestRequest::get().uri("/.well-known/jwks.json")).await.json();
    let published = jwks["keys"].as_array().unwrap().iter();
    let published: Vec<Jwk> = published.map(|jwk| serde_json::from_value(jwk.clone()).unwrap()).collect();
    for algorithm in Algorithm::ALL {
        let key = app.app.state.services.keys.signing_key(algorithm).unwrap();
        let jwk = published.iter().find(|jwk| jwk.kid == *key.kid()).unwrap().clone();
        assert_eq!(jwk.alg, algorithm);
        let sign = |message: &[u8]| key.sign(message).unwrap();
        none_is_active(&app, &Target { jwk, claims: claims.clone(), sign: &sign }).await;
    }
}

async fn none_is_active(app: &TestApp, target: &Target<'_>) {
    let alg = target.jwk.alg;
    let introspect = |token: String| {
        let body = url::form_urlencoded::Serializer::new(String::new()).append_pair("token", &token).finish();
        let request = TestRequest::post()
            .uri("/oauth2/introspect")
            .insert_header(("Content-Type", "application/x-www-form-urlencoded"))
            .insert_header(basic(app.admin()))
            .set_payload(body);
        app.send(request)
    };
    assert_eq!(introspect(target.genuine()).await.json()["active"], true, "{alg}: the control");
    let forged = forgeries(target);
    assert!(forged.len() >= 100, "only {}", forged.len());
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
