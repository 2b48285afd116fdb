//! Of whom a request wants an answer, and how well they must have proved who they are.

use std::time::Duration;

use serde_json::{Value, json};
use signet::clients::{Registered, Registration};
use signet::oauth::ClientId;
use signet::users::Account;

use crate::browser::{
    Browser, CALLBACK, PASSWORD, ada, location, parameter, redeem, register, request, shop, state, text,
};
use crate::shell::account;
use crate::sign_in::{enrolled, totp};
use crate::test_app::{ISSUER, TestApp, part};

const PASSWORD_CLASS: &str = "urn:signet:acr:password";
const MFA_CLASS: &str = "urn:signet:acr:mfa";

/// Ada and Bob, each of whom has let the shop in with a browser of their own.
struct Two {
    app: TestApp,
    shop: Registered,
    ada: (Account, Browser),
    bob: (Account, Browser),
}

impl Two {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let ada = ada(&app).await;
        let bob = account(&app, ("Bob", "bob@example.com"), false).await;
        let shop = register(&app, shop()).await;
        let mut browser = Browser::default();
        assert!(parameter(&browser.allow(&app, &request(&[])).await, "code").is_some());
        let mut bobs = Browser::default();
        let page = bobs.get(&app, &request(&[])).await;
        let answer = bobs.sign_in(&app, &page, ("bob@example.com", PASSWORD)).await;
        let page = bobs.go_on(&app, answer).await;
        assert!(parameter(&bobs.decide(&app, &page, "allow").await, "code").is_some());
        Self { app, shop, ada: (ada, browser), bob: (bob, bobs) }
    }

    /// The request is answered for Ada, and by nothing that Bob does.
    async fn is_for_ada_only(&mut self, asked: (&'static str, &str)) {
        let Self { app, ada: (_, ada), bob: (_, bob), .. } = self;
        let silent = request(&[asked, ("prompt", "none")]);
        for url in [&request(&[asked]), &silent] {
            assert!(parameter(&ada.get(app, url).await, "code").is_some(), "{asked:?}");
        }
        for browser in [&mut *bob, &mut Browser::default()] {
            let answer = browser.get(app, &silent).await;
            assert_eq!(parameter(&answer, "error").as_deref(), Some("login_required"), "{asked:?}");
        }
        let page = bob.get(app, &request(&[asked])).await;
        assert!(text(&page).contains("name=\"password\""), "{asked:?}");
        // Bob once more: the client is not told of him.
        let answer = bob.sign_in(app, &page, ("bob@example.com", PASSWORD)).await;
        assert!(location(&answer).starts_with(ISSUER), "{asked:?} {}", location(&answer));
        assert!(text(&bob.go_on(app, answer).await).contains("name=\"password\""), "{asked:?}");
    }

    async fn refuses(&mut self, asked: &[(&str, &str)], error: &str) {
        let answer = self.ada.1.get(&self.app, &request(asked)).await;
        assert_eq!(parameter(&answer, "error").as_deref(), Some(error), "{asked:?}");
        assert_eq!(parameter(&answer, "code"), None, "{asked:?}");
    }

    async fn id_token_of_ada(&mut self, asked: &[(&str, &str)]) -> String {
        let answer = self.ada.1.get(&self.app, &request(asked)).await;
        id_token(&self.app, &self.shop, &parameter(&answer, "code").expect("a code")).await
    }
}

async fn id_token(app: &TestApp, client: &Registered, code: &str) -> String {
    redeem(app, client, code).await["id_token"].as_str().expect("an ID token").to_owned()
}

fn of_id_token(claims: &Value) -> String {
    json!({ "id_token": claims }).to_string()
}

#[actix_web::test]
async fn an_id_token_hint_is_for_its_person_or_nobody() {
    let mut two = Two::start().await;
    let hint = two.id_token_of_ada(&[]).await;
    two.is_for_ada_only(("id_token_hint", &hint)).await;
    let other = ClientId::parse("other").unwrap();
    let other = register(&two.app, Registration { client_id: Some(other), ..shop() }).await;
    let answer = two.ada.1.allow(&two.app, &request(&[("client_id", "other")])).await;
    let foreign = id_token(&two.app, &other, &parameter(&answer, "code").unwrap()).await;
    two.refuses(&[("id_token_hint", &foreign)], "invalid_request").await;
    // It names its person also when it has expired.
    let exp = part(&hint, 1)["exp"].as_i64().unwrap();
    while two.app.now() <= exp + 60 {
        two.app.pass(Duration::from_mins(15)).await;
        for (_, browser) in [&mut two.ada, &mut two.bob] {
            browser.get(&two.app, &request(&[])).await;
        }
    }
    two.is_for_ada_only(("id_token_hint", &hint)).await;
}

#[actix_web::test]
async fn a_sub_that_is_asked_for_is_who_answers_or_nobody() {
    let mut two = Two::start().await;
    let (ada, bob) = (two.ada.0.id.to_string(), two.bob.0.id.to_string());
    for sub in [json!({ "value": ada }), json!({ "essential": true, "values": [ada] })] {
        two.is_for_ada_only(("claims", &of_id_token(&json!({ "sub": sub })))).await;
    }
    for anybody in [Value::Null, json!({}), json!({ "essential": true })] {
        let claims = of_id_token(&json!({ "sub": anybody }));
        let token = two.id_token_of_ada(&[("claims", &claims)]).await;
        assert_eq!(part(&token, 1)["sub"], json!(ada), "{claims}");
    }
    for malformed in [
        json!(ada),
        json!({ "value": 5 }),
        json!({ "value": "" }),
        json!({ "values": [] }),
        json!({ "values": [ada, bob] }),
        json!({ "value": ada, "values": [ada] }),
    ] {
        let claims = of_id_token(&json!({ "sub": malformed }));
        two.refuses(&[("claims", &claims)], "invalid_request").await;
    }
    let hint = two.id_token_of_ada(&[]).await;
    let both = |sub: &str| of_id_token(&json!({ "sub": { "value": sub } }));
    two.is_for_ada_only(("id_token_hint", &hint)).await;
    two.refuses(&[("id_token_hint", &hint), ("claims", &both(&bob))], "invalid_request").await;
    two.id_token_of_ada(&[("id_token_hint", &hint), ("claims", &both(&ada))]).await;
}

#[actix_web::test]
async fn tokens_say_how_well_somebody_proved_who_they_are() {
    let mut two = Two::start().await;
    assert_eq!(part(&two.id_token_of_ada(&[]).await, 1)["acr"], PASSWORD_CLASS);
    let url = "/.well-known/openid-configuration";
    let metadata = Browser::default().get(&two.app, url).await.json();
    assert_eq!(metadata["acr_values_supported"], json!([PASSWORD_CLASS, MFA_CLASS]));
    // A wish that can't be met changes nothing.
    let wished = two.id_token_of_ada(&[("acr_values", &format!("phr {MFA_CLASS}"))]).await;
    assert_eq!(part(&wished, 1)["acr"], PASSWORD_CLASS);

    let (enrollment, _) = enrolled(&two.app, &two.ada.0).await;
    // Not as long as nobody may be asked; then the second factor is.
    let wish = [("acr_values", MFA_CLASS)];
    let silent = two.id_token_of_ada(&[wish[0], ("prompt", "none")]).await;
    assert_eq!(part(&silent, 1)["acr"], PASSWORD_CLASS);
    let (app, browser) = (&two.app, &mut two.ada.1);
    let page = browser.get(app, &request(&wish)).await;
    assert!(text(&page).contains("name=\"password\""), "who can do better is asked to");
    let halfway = browser.sign_in(app, &page, ("ada@example.com", PASSWORD)).await;
    let code = totp(app, &enrollment);
    let members = [("state", &*state(&halfway)), ("code", &*code)];
    let answer = browser.post(app, "/oauth2/second-factor", &members).await;
    assert!(location(&answer).starts_with(CALLBACK), "{}", location(&answer));
    let token = id_token(app, &two.shop, &parameter(&answer, "code").unwrap()).await;
    assert_eq!(
        (&part(&token, 1)["acr"], &part(&token, 1)["amr"]),
        (&json!(MFA_CLASS), &json!(["pwd", "otp", "mfa"]))
    );
    // The most welcome of those that are met.
    let both = format!("{PASSWORD_CLASS} {MFA_CLASS}");
    for (asked, told) in
        [("", MFA_CLASS), ("phr", MFA_CLASS), (&*both, PASSWORD_CLASS), (MFA_CLASS, MFA_CLASS)]
    {
        let token = two.id_token_of_ada(&[("acr_values", asked)]).await;
        assert_eq!(part(&token, 1)["acr"], told, "{asked}");
    }
}

#[actix_web::test]
async fn an_essential_acr_is_met_or_the_request_fails() {
    const UNMET: &str = "unmet_authentication_requirements";
    let mut two = Two::start().await;
    let asked = |acr: Value| of_id_token(&json!({ "acr": acr }));
    let mfa = asked(json!({ "essential": true, "value": MFA_CLASS }));
    two.refuses(&[("claims", &mfa)], UNMET).await;
    two.refuses(&[("claims", &mfa), ("prompt", "none")], UNMET).await;
    two.refuses(&[("claims", &asked(json!({ "essential": true, "values": ["phr"] })))], UNMET).await;
    for malformed in [json!(1), json!({ "value": 1 }), json!({ "values": [] }), json!({ "values": [1] })] {
        two.refuses(&[("claims", &asked(malformed))], "invalid_request").await;
    }
    for met in [
        Value::Null,
        json!({ "essential": true }),
        json!({ "essential": true, "values": [MFA_CLASS, PASSWORD_CLASS] }),
        json!({ "values": [MFA_CLASS] }),
    ] {
        let token = two.id_token_of_ada(&[("claims", &asked(met))]).await;
        assert_eq!(part(&token, 1)["acr"], PASSWORD_CLASS);
    }
    // Whoever signs in for it by a password alone is no answer either.
    let (app, browser) = (&two.app, &mut two.ada.1);
    let page = browser.get(app, &request(&[("claims", &mfa), ("prompt", "login")])).await;
    let answer = browser.sign_in(app, &page, ("ada@example.com", PASSWORD)).await;
    assert!(location(&answer).starts_with(ISSUER), "{}", location(&answer));
    let answer = browser.go_on(app, answer).await;
    assert_eq!(parameter(&answer, "error").as_deref(), Some(UNMET));

    let (enrollment, _) = enrolled(&two.app, &two.ada.0).await;
    two.refuses(&[("claims", &mfa), ("prompt", "none")], "login_required").await;
    let (app, browser) = (&two.app, &mut two.ada.1);
    let page = browser.get(app, &request(&[("claims", &mfa)])).await;
    let halfway = browser.sign_in(app, &page, ("ada@example.com", PASSWORD)).await;
    let code = totp(app, &enrollment);
    let members = [("state", &*state(&halfway)), ("code", &*code)];
    let answer = browser.post(app, "/oauth2/second-factor", &members).await;
    let token = id_token(app, &two.shop, &parameter(&answer, "code").expect("a code")).await;
    assert_eq!(part(&token, 1)["acr"], MFA_CLASS);
}
