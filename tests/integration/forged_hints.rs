//! The forged tokens where the issuer's own ID tokens come back: whatever counts as a hint signs somebody out without a question,
//! and says whose answer a request wants that nobody is asked about.

use actix_web::test::TestRequest;
use signet::oauth::{Algorithm, Jwk, TokenType};

use crate::browser::{Browser, encoded, parameter, request, text};
use crate::forgeries::{Forgery, Target, bit_flips, forgeries};
use crate::sign_out::service_with;
use crate::test_app::{TestApp, part};

/// By whose key the tests' service signs, unless it is told otherwise: the one for which the whole way by HTTP is gone.
const USUAL: Algorithm = Algorithm::ES256;

/// The longest that is sent in a URL here, in bytes: some are three times as long when they are escaped.
const LONGEST: usize = 2_500;

#[actix_web::test]
async fn no_forgery_is_a_hint() {
    let (app, mut browser, tokens) = service_with(|config| {
        config.limits.authorize_per_address = 0;
        config.limits.refused_per_address = 0;
        config.keys.algorithms = Algorithm::ALL.to_vec();
    })
    .await;
    let claims = part(tokens["id_token"].as_str().unwrap(), 1);
    let services = &app.app.state.services;
    for algorithm in Algorithm::ALL {
        let key = services.keys.signing_key(Some(algorithm)).unwrap();
        let jwk = published(&app, key.kid().as_str()).await;
        let sign = |message: &[u8]| key.sign(message).unwrap();
        let target = Target { jwk, kind: TokenType::IdToken, claims: claims.clone(), sign: &sign };
        let genuine = target.genuine();
        assert!(services.id_token_hint(&genuine).is_some(), "{algorithm}: the control");
        let mut forged = forgeries(&target);
        assert!(forged.len() >= 300, "{algorithm}: only {} forgeries", forged.len());
        let flipped = bit_flips(&target);
        let all = forged.iter().chain(&flipped);
        let is_taken = |forgery: &&Forgery| services.id_token_hint(&forgery.1).is_some();
        let taken: Vec<&str> = all.filter(is_taken).map(|(name, _)| name.as_str()).collect();
        assert!(taken.is_empty(), "{algorithm}: {taken:#?}");
        for end in 0..genuine.len() {
            assert!(
                services.id_token_hint(&genuine[..end]).is_none(),
                "{algorithm}: the first {end} letters"
            );
        }
        if algorithm != USUAL {
            continue;
        }
        // What is as good as no hint at all, and what no URL has room for.
        forged.retain(|(_, token)| !token.is_empty() && token.len() <= LONGEST);
        assert!(forged.len() >= 300, "{algorithm}: only {} to send", forged.len());
        none_speaks_for_somebody(&app, &mut browser, &forged).await;
        assert!(is_answered(&app, &mut browser, &genuine).await, "{algorithm}: the control");
    }
    let genuine = tokens["id_token"].as_str().unwrap();
    let answer = browser.get(&app, &log_out(genuine)).await;
    assert!(text(&answer).contains("You are signed out"), "the control");
    assert!(!is_answered(&app, &mut browser, genuine).await);
}

async fn published(app: &TestApp, kid: &str) -> Jwk {
    let jwks = app.send(TestRequest::get().uri("/.well-known/jwks.json")).await.json();
    let jwk = jwks["keys"].as_array().unwrap().iter().find(|jwk| jwk["kid"] == kid).unwrap();
    serde_json::from_value(jwk.clone()).unwrap()
}

/// Whoever is signed in is asked whether to sign out, and nobody is the answer to a request that forbids to ask.
async fn none_speaks_for_somebody(app: &TestApp, browser: &mut Browser, forged: &[Forgery]) {
    for (name, token) in forged {
        let answer = browser.get(app, &log_out(token)).await;
        assert!(text(&answer).contains("Do you want to sign out"), "{name}: {answer:?}");
        let answer = browser.get(app, &silent(token)).await;
        assert_eq!(parameter(&answer, "error").as_deref(), Some("login_required"), "{name}");
    }
}

async fn is_answered(app: &TestApp, browser: &mut Browser, hint: &str) -> bool {
    parameter(&browser.get(app, &silent(hint)).await, "code").is_some()
}

fn log_out(hint: &str) -> String {
    format!("/oauth2/logout?{}", encoded(&[("id_token_hint", hint)]))
}

fn silent(hint: &str) -> String {
    request(&[("id_token_hint", hint), ("prompt", "none")])
}
