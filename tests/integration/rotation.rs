//! Rotation under load, against a resource server that refetches the keys only when they may no longer be
//! cached: nothing valid is ever refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::json;
use signet::config::Config;
use signet::oauth::{AccessTokenClaims, Algorithm, JwkSet, Resource};
use signet::verify::{Expectations, ExpectedAudience, KeySet, Refusal, VerificationKey, check};

use crate::test_app::{ISSUER, RESOURCE, TestApp, part};

/// M 2, P 1, S 1, T 5: the shortest lead and hold that are safe, a rotation every five seconds.
fn hurried(config: &mut Config) {
    config.keys.algorithms = vec![Algorithm::ES256, Algorithm::EdDSA];
    config.keys.jwks_max_age = Duration::from_secs(2);
    config.keys.propagation = Duration::from_secs(1);
    config.keys.clock_skew = Duration::from_secs(1);
    config.keys.lead = Duration::from_secs(4);
    config.keys.hold = Duration::from_secs(7);
    config.keys.rotation_period = Duration::from_secs(5);
    config.tokens.lifetime = Duration::from_secs(5);
    config.tokens.longest_lifetime = Duration::from_secs(5);
    config.tokens.status_list_ttl = Duration::from_secs(1);
}

/// A resource server at its laziest: it keeps what it fetched for as long as it was told that it may.
#[derive(Default)]
pub(crate) struct LazyVerifier {
    keys: KeySet,
    fetch_again_at: i64,
    fetches: usize,
}

impl LazyVerifier {
    pub(crate) async fn check(&mut self, app: &TestApp, token: &str) -> Result<(), Refusal> {
        if self.fetch_again_at <= app.now() {
            let answer = app.send(TestRequest::get().uri("/.well-known/jwks.json")).await;
            let cache = answer.header("cache-control").unwrap();
            let max_age: i64 = cache.strip_prefix("public, max-age=").unwrap().parse().unwrap();
            let set: JwkSet = serde_json::from_slice(&answer.body).unwrap();
            self.keys = set.keys.iter().map(|jwk| VerificationKey::from_jwk(jwk).unwrap()).collect();
            self.fetch_again_at = app.now() + max_age;
            self.fetches += 1;
        }
        let audience = [Resource::parse(RESOURCE).unwrap()];
        let expected = Expectations {
            issuer: ISSUER,
            audience: ExpectedAudience::AnyOf(&audience),
            leeway: Duration::ZERO,
            now: app.now(),
        };
        check(token, &expected, &self.keys).map(drop)
    }
}

#[actix_web::test]
async fn rotating_every_few_seconds_refuses_no_valid_token() {
    let app = TestApp::start_with(hurried).await;
    let path = format!("/admin/clients/{}", app.demo().0);
    let mut verifiers: Vec<LazyVerifier> = (0..4).map(|_| LazyVerifier::default()).collect();
    let mut alive: Vec<(i64, String)> = Vec::new();
    let mut signed_by: HashMap<String, usize> = HashMap::new();
    let mut checked = 0;
    for second in 0..120 {
        for (client_alg, tokens) in [("ES256", 3), ("EdDSA", 3)] {
            let change = json!({ "access_token_signing_alg": client_alg });
            assert_eq!(app.administer(Method::PATCH, &path, Some(change)).await.status, 200);
            for _ in 0..tokens {
                let token = app.demo_token().await;
                *signed_by.entry(part(&token, 0)["kid"].to_string()).or_default() += 1;
                alive.push((part(&token, 1)["exp"].as_i64().unwrap(), token));
            }
        }
        // Half of the time an impatient operator asks for more rotations than the schedule has.
        if second > 60 && second % 2 == 0 {
            assert_eq!(app.administer(Method::POST, "/admin/keys/rotate", None).await.status, 200);
        }
        alive.retain(|(exp, _)| app.now() < *exp);
        for (at, (_, token)) in alive.iter().enumerate() {
            // Verifiers wake at different times, so their copies are of different ages.
            let verifier = &mut verifiers[(at + second) % 4];
            let checked_token = verifier.check(&app, token).await;
            assert_eq!(checked_token, Ok(()), "in second {second}");
            checked += 1;
        }
        app.pass(Duration::from_secs(1)).await;
    }
    assert!(signed_by.len() >= 40, "only {} keys signed", signed_by.len());
    assert!(checked > 2000, "only {checked} checks");
    assert!(verifiers.iter().all(|verifier| verifier.fetches <= 120), "nobody asks more than once a second");
}

/// Many threads issue while an administrator condemns the signing key: from the answer on, the dead key signs
/// nothing.
#[actix_web::test]
async fn from_the_answer_on_a_compromised_key_signs_nothing() {
    let app = TestApp::start().await;
    let services = app.app.state.services.clone();
    let answered = Arc::new(Mutex::new(None::<String>));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let client_id = signet::oauth::ClientId::parse(app.demo().0).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (services, answered, stop) = (services.clone(), answered.clone(), stop.clone());
            let client_id = client_id.clone();
            std::thread::spawn(move || {
                let subject = signet::oauth::Subject::parse("load").unwrap();
                let (resource, scope) = (Resource::parse(RESOURCE).unwrap(), signet::oauth::Scope::default());
                let (mut issued, mut dead_after_answer) = (0, 0);
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    // Read before the token is asked for: what is dead here was answered before.
                    let dead = answered.lock().unwrap().clone();
                    let token = services.access_tokens.issue(&signet::tokens::Authorized {
                        subject: &subject,
                        client_id: &client_id,
                        audience: &[&resource],
                        scope: &scope,
                        lifetime: 60,
                        algorithms: [Some(Algorithm::ES256), None],
                        grant: None,
                    });
                    let kid =
                        part(token.unwrap().access_token.expose(), 0)["kid"].as_str().unwrap().to_owned();
                    issued += 1;
                    dead_after_answer += usize::from(dead == Some(kid));
                }
                (issued, dead_after_answer)
            })
        })
        .collect();
    let mut before = Vec::new();
    for _ in 0..10 {
        let token = app.demo_token().await;
        let kid = part(&token, 0)["kid"].as_str().unwrap().to_owned();
        let answer = app.administer(Method::POST, &format!("/admin/keys/{kid}/compromise"), None).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        *answered.lock().unwrap() = Some(kid.clone());
        let jwks = app.send(TestRequest::get().uri("/.well-known/jwks.json")).await;
        assert!(!String::from_utf8_lossy(&jwks.body).contains(&kid), "the key is still published");
        before.push(token);
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    for thread in threads {
        let (issued, dead) = thread.join().unwrap();
        assert!(issued > 0);
        assert_eq!(dead, 0, "of {issued} tokens");
    }
    for token in before {
        assert!(!app.is_active(&token).await);
        let claims: AccessTokenClaims = serde_json::from_value(part(&token, 1)).unwrap();
        assert!(!services.revocations.is_revoked(&claims), "it is the key that is gone, not the token");
    }
}
