//! Every combination of challenge, method and verifier, by every path that takes them: a code that was bound is redeemed
//! by its verifier alone, and one that was not by no verifier (RFC 7636; RFC 9700, section 2.1.1).

use actix_web::test::TestRequest;
use serde_json::{Map, Value};
use signet::clients::{ConsentRule, Registered, Registration};

use crate::browser::{Browser, CALLBACK, CHALLENGE, ada, encoded, parameter, register, request, shop};
use crate::grants_fixture::VERIFIER;
use crate::test_app::{Answer, TestApp, form};

const DOORS: [&str; 3] = ["/oauth2/authorize", "/oauth/authorize", "/api/authorize.php"];

/// A way to redeem a code.
#[derive(Clone, Copy, Debug)]
enum Redeem {
    Form(&'static str),
    Json,
}

const WAYS: [Redeem; 5] = [
    Redeem::Form("/oauth2/token"),
    Redeem::Form("/oauth/token"),
    Redeem::Form("/auth/token"),
    Redeem::Form("/api/token.php"),
    Redeem::Json,
];

/// A service with a client that must use PKCE, or need not, and a browser that is asked nothing any more.
struct World {
    app: TestApp,
    client: Registered,
    browser: Browser,
}

impl World {
    async fn start(require_pkce: bool) -> Self {
        let app = TestApp::start_with(|config| {
            config.limits.authorize_per_address = 0;
            config.limits.token_per_client = 0;
        })
        .await;
        ada(&app).await;
        let registration =
            Registration { require_pkce: Some(require_pkce), consent: ConsentRule::Implied, ..shop() };
        let client = register(&app, registration).await;
        let mut browser = Browser::default();
        browser.allow(&app, &request(&[])).await;
        Self { app, client, browser }
    }

    /// Asks for a code; gives it, or the error.
    async fn ask(&mut self, door: &str, pkce: &[(&str, &str)]) -> Result<String, String> {
        let members = [("client_id", "shop"), ("redirect_uri", CALLBACK), ("response_type", "code")];
        let url = format!("{door}?{}", encoded(&[&members, pkce].concat()));
        let answer = self.browser.get(&self.app, &url).await;
        parameter(&answer, "code").ok_or_else(|| parameter(&answer, "error").expect("a code or an error"))
    }

    async fn redeem(&self, way: Redeem, (code, verifier): (&str, Option<&str>)) -> Answer {
        let mut members = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("client_id", "shop"),
            ("client_secret", self.client.client_secret.as_ref().unwrap().expose()),
        ];
        members.extend(verifier.map(|verifier| ("code_verifier", verifier)));
        self.app
            .send(match way {
                Redeem::Form(path) => form(path, &encoded(&members)),
                Redeem::Json => {
                    let object: Map<String, Value> =
                        members.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
                    TestRequest::post().uri("/oauth/token").set_json(object)
                }
            })
            .await
    }
}

#[actix_web::test]
async fn no_challenge_is_taken_but_one_of_method_s256() {
    let with = |character: &str| format!("{character}{}", &CHALLENGE[1..]);
    let malformed = [
        CHALLENGE[..42].to_owned(),
        format!("{CHALLENGE}A"),
        format!("{CHALLENGE}="),
        VERIFIER.repeat(2),
        with("+"),
        with("/"),
        with("."),
        with("~"),
        with(" "),
        with("%"),
        with("\u{e9}"),
        with("\0"),
    ];
    let methods = [None, Some(""), Some("plain"), Some("s256"), Some("S256 "), Some("S512"), Some("none")];
    let mut refused = 0;
    for must in [true, false] {
        let mut world = World::start(must).await;
        for door in DOORS {
            // No challenge: only for a client that need not, and then without a method too.
            for method in methods.into_iter().chain([Some("S256")]) {
                for challenge in [None, Some("")] {
                    let members = [("code_challenge", challenge), ("code_challenge_method", method)];
                    let sent: Vec<_> =
                        members.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
                    let named = method.is_some_and(|method| !method.is_empty());
                    let asked = world.ask(door, &sent).await;
                    let expected = if must || named { Err("invalid_request".to_owned()) } else { Ok(()) };
                    assert_eq!(asked.map(|_| ()), expected, "{door} must: {must} {sent:?}");
                }
            }
            // A challenge: with the one method, and well-formed.
            for method in methods {
                let mut sent = vec![("code_challenge", CHALLENGE)];
                sent.extend(method.map(|method| ("code_challenge_method", method)));
                assert_eq!(world.ask(door, &sent).await, Err("invalid_request".into()), "{door} {sent:?}");
                refused += 1;
            }
            for challenge in &malformed {
                let sent = [("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")];
                assert_eq!(world.ask(door, &sent).await, Err("invalid_request".into()), "{door} {sent:?}");
                refused += 1;
            }
            let good = [("code_challenge", CHALLENGE), ("code_challenge_method", "S256")];
            assert!(world.ask(door, &good).await.is_ok());
        }
    }
    assert_eq!(refused, 2 * DOORS.len() * (methods.len() + malformed.len()));
}

#[actix_web::test]
async fn a_bound_code_is_redeemed_by_its_verifier_alone() {
    let with = |character: &str| format!("{character}{}", &VERIFIER[1..]);
    let wrong = [
        None,
        Some(String::new()),
        // By the method `plain` it would be the challenge itself.
        Some(CHALLENGE.to_owned()),
        Some(VERIFIER.to_lowercase()),
        Some(with("e")),
        Some(VERIFIER[..42].to_owned()),
        Some(format!("{VERIFIER}A")),
        Some("a".repeat(129)),
        Some(with("+")),
        Some(with("\0")),
        Some(format!(" {VERIFIER}")),
    ];
    let good = [("code_challenge", CHALLENGE), ("code_challenge_method", "S256")];
    for must in [true, false] {
        let mut world = World::start(must).await;
        for way in WAYS {
            let code = world.ask("/oauth2/authorize", &good).await.unwrap();
            for verifier in &wrong {
                let answer = world.redeem(way, (&code, verifier.as_deref())).await;
                assert_eq!(answer.status, 400, "{way:?} {verifier:?}");
                let error = answer.json()["error"].as_str().unwrap().to_owned();
                assert!(["invalid_grant", "invalid_code", "invalid_request"].contains(&&*error), "{error}");
            }
            // None of them has spent it.
            world.redeem(way, (&code, Some(VERIFIER))).await.access_token();
        }
    }
}

#[actix_web::test]
async fn a_code_that_was_not_bound_is_redeemed_by_no_verifier() {
    let mut world = World::start(false).await;
    for way in WAYS {
        for door in DOORS {
            let code = world.ask(door, &[]).await.unwrap();
            for verifier in [VERIFIER.to_owned(), CHALLENGE.to_owned(), "a".repeat(43)] {
                let answer = world.redeem(way, (&code, Some(&verifier))).await;
                assert_eq!(answer.status, 400, "{way:?} {verifier}");
            }
            world.redeem(way, (&code, None)).await.access_token();
        }
    }
    // A client that must use PKCE from now on can't redeem what it got before without.
    let code = world.ask("/oauth2/authorize", &[]).await.unwrap();
    let change = serde_json::json!({ "require_pkce": true });
    let changed =
        world.app.administer(actix_web::http::Method::PATCH, "/admin/clients/shop", Some(change)).await;
    assert_eq!(changed.status, 200);
    for way in WAYS {
        assert_eq!(world.redeem(way, (&code, None)).await.status, 400, "{way:?}");
    }
}
