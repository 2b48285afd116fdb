//! The flows that `canaries` sends secrets through besides a client's own: what is made in the portal, what opens the users API, a
//! second factor, an ending, and where each secret does not belong.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::json;
use signet::keys::{ArchiveReader, Kek};

use crate::api_keys::users_key;
use crate::browser::{Browser, CALLBACK, PASSWORD, parameter, request, state};
use crate::canaries::{Refusals, text_of};
use crate::faulty_store::{FaultyStore, is_done};
use crate::grants_fixture::{VERIFIER, pair};
use crate::portal::totp_code;
use crate::shell::{done, form_token, shown_secrets};
use crate::test_app::{Answer, TestApp, basic, bearer, form};

/// The password of an account that is made by the users API.
const OTHER_PASSWORD: &str = "nobody guesses this phrase";

/// Secrets by what they are.
pub(crate) type Secrets = BTreeMap<&'static str, String>;

/// Who goes through the flows: a service, and its store if that fails meanwhile; and what is refused on the way.
pub(crate) struct Way<'a> {
    pub(crate) app: &'a TestApp,
    pub(crate) failing: Option<(&'a TestApp, &'a FaultyStore)>,
    pub(crate) refusals: &'a mut Refusals,
}

impl Way<'_> {
    async fn until(&mut self, ask: impl AsyncFnMut() -> Answer) -> Answer {
        self.refusals.at_last(self.failing, ask).await
    }

    /// An API key and a password at the users API, and a client's secret in a query.
    pub(crate) async fn services(&mut self) -> Secrets {
        let app = self.app;
        let (_, key) = users_key(app, "users:read users:write").await;
        let list = |header: (&'static str, String)| TestRequest::get().uri("/users").insert_header(header);
        for header in [("X-API-Key", key.clone()), ("Authorization", format!("ApiKey {key}"))] {
            let listed = self.until(async || app.send(list(header.clone())).await).await;
            assert_eq!(listed.status, 200, "{listed:?}");
        }
        let queried = format!("/v1/users?api_key={key}");
        let listed = self.until(async || app.send(TestRequest::get().uri(&queried)).await).await;
        assert_eq!(listed.status, 200, "{listed:?}");
        let new = json!({ "name": "Eve", "email": "eve@example.com", "password": OTHER_PASSWORD });
        let register = async || {
            let asked = TestRequest::post().uri("/users").insert_header(("X-API-Key", key.as_str()));
            app.send(asked.set_json(&new)).await
        };
        let made = self.until(&register).await;
        // It may have been done before something failed.
        assert!(made.status == 201 || self.failing.is_some(), "{made:?}");
        self.refusals.take(register().await);
        // One that is not good, and one sent twice.
        self.refusals.take(app.send(list(("X-API-Key", format!("{key}x")))).await);
        self.refusals.take(app.send(TestRequest::get().uri(&format!("{queried}x"))).await);
        self.refusals.take(
            app.send(TestRequest::get().uri(&queried).insert_header(("X-API-Key", key.as_str()))).await,
        );

        let (id, secret) = app.demo();
        let by_get =
            format!("/oauth/token?grant_type=client_credentials&client_id={id}&client_secret={secret}");
        self.until(async || app.send(TestRequest::get().uri(&by_get)).await).await.access_token();
        self.refusals.take(app.send(TestRequest::get().uri(&format!("{by_get}x"))).await);
        self.refusals.take(app.send(TestRequest::get().uri(&format!("{by_get}&scope=nothing"))).await);
        Secrets::from([
            ("key for the users API", key),
            ("password at the users API", OTHER_PASSWORD.to_owned()),
            ("secret in a query", secret.to_owned()),
        ])
    }

    /// Ada signs in with her second factor, whose secret is `totp`, and makes things in the portal.
    pub(crate) async fn person(&mut self, totp: &str) -> (Browser, Secrets) {
        let (app, services, fails) = (self.app, &self.app.app.state.services, self.failing.is_some());
        let id = services.accounts.named("ada@example.com").await.unwrap().unwrap();
        let ada = ("ada@example.com", PASSWORD);
        let mut browser = Browser::default();
        let sign_in = async || {
            // A code counts once, and who has failed often need not wait here.
            let until_the_next = Duration::from_secs(31);
            if fails {
                app.clock.advance(until_the_next);
            } else {
                app.pass(until_the_next).await;
            }
            services.login_throttle.recovered(&id).await.ok();
            let page = browser.get(app, "/account").await;
            let page = if is_done(&page) { browser.sign_in(app, &page, ada).await } else { page };
            if !is_done(&page) {
                return page;
            }
            let code = totp_code(app, totp);
            browser.post(app, "/oauth2/second-factor", &[("state", &*state(&page)), ("code", &*code)]).await
        };
        assert_eq!(self.until(sign_in).await.status, 303);
        let mut secrets = Secrets::new();
        let token = form_token(&browser.get(app, "/account").await);
        let made: [(_, _, &[(&str, &str)]); 4] = [
            ("recovery code", "/account/second-factor", &[("act", "new_recovery_codes")]),
            (
                "key of the portal",
                "/account/api-keys",
                &[("name", "mine"), ("scope:read", "yes"), ("days", "9")],
            ),
            (
                "secret of the portal",
                "/account/applications",
                &[
                    ("client_name", "Notes"),
                    ("redirect_uris", "https://notes.example/cb"),
                    ("scope:read", "yes"),
                ],
            ),
            ("new secret of the portal", "", &[("act", "rotate_secret")]),
        ];
        let mut application = String::new();
        for (name, path, members) in made {
            let members = [&[("form_token", &*token)], members].concat();
            let path = if path.is_empty() { application.clone() } else { path.to_owned() };
            let answer = self.until(async || browser.post(app, &path, &members).await).await;
            assert_eq!(answer.status, 303, "{name}: {answer:?}");
            application = answer.header("location").unwrap().replace(&app.app.state.services.issuer, "");
            secrets
                .extend(browser.cookies.get("signet-notice").map(|sealed| ("sealed notice", sealed.clone())));
            secrets.insert(name, shown_secrets(&done(&mut browser, app, &answer).await).remove(0));
        }
        // A recovery code counts once.
        for is_first in [true, false] {
            let mut other = Browser::default();
            let page = other.get(app, "/account").await;
            let page = other.sign_in(app, &page, ada).await;
            let members = [("state", &*state(&page)), ("code", &*secrets["recovery code"])];
            let answer = other.post(app, "/oauth2/second-factor", &members).await;
            if is_first {
                assert_eq!(answer.status, 303, "{answer:?}");
            } else {
                self.refusals.take(answer);
            }
        }
        for (name, cookie) in [("device cookie", "signet-device"), ("new session cookie", "signet-session")] {
            secrets.insert(name, browser.cookies[cookie].clone());
        }
        (browser, secrets)
    }

    /// What the shop gets for Ada is revoked, and she signs out by what it knows of her.
    pub(crate) async fn endings(&mut self, mut browser: Browser, shop: (&str, &str)) -> Secrets {
        let app = self.app;
        let allowed = browser.get(app, &request(&[("scope", "openid offline_access read")])).await;
        let code = parameter(&allowed, "code").expect("she was asked before");
        let redemption = format!(
            "grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}&code_verifier={VERIFIER}"
        );
        let tokens = app.send(form("/oauth2/token", &redemption).insert_header(basic(shop))).await;
        let (access, refresh) = pair(&tokens);
        let hint = text_of(&tokens.json(), "id_token");
        let revoke = |client, token: &str| {
            app.send(form("/oauth2/revoke", &format!("token={token}")).insert_header(basic(client)))
        };
        self.refusals.take(revoke(app.demo(), &access).await);
        for token in [&access, &refresh] {
            assert_eq!(self.until(async || revoke(shop, token).await).await.status, 200);
        }
        self.refusals
            .keep(app.administer(Method::POST, "/admin/revocations", Some(json!({ "token": access }))).await);
        let hinted = format!("/oauth2/logout?id_token_hint={hint}");
        self.refusals
            .take(app.send(TestRequest::get().uri(&format!("{hinted}&post_logout_redirect_uri=x"))).await);
        assert_eq!(self.until(async || browser.get(app, &hinted).await).await.status, 200);
        Secrets::from([
            ("code of the portal's session", code),
            ("revoked access token", access),
            ("revoked refresh token", refresh),
            ("ID token", hint),
        ])
    }

    /// Every way of saying who one is that is not for what is sent.
    pub(crate) async fn in_wrong_places(&mut self, value: &str) {
        let app = self.app;
        let cookie = |name: &str| ("Cookie", format!("{name}={value}"));
        for request in [
            TestRequest::get().uri("/users").insert_header(("X-API-Key", value)),
            TestRequest::get().uri(&format!("/users?api_key={value}x")),
            TestRequest::get().uri("/users").insert_header(bearer(value)),
            TestRequest::get().uri("/oauth2/userinfo").insert_header(bearer(value)),
            TestRequest::get().uri(&format!(
                "/oauth/token?grant_type=client_credentials&client_id={value}&client_secret={value}"
            )),
            form("/oauth2/revoke", &format!("token={value}&client_id=shop&client_secret={value}")),
            form("/oauth2/second-factor", &format!("state={value}&code={value}")),
            form("/oauth2/consent", &format!("state={value}&decision={value}")),
            form("/oauth2/sign-out", &format!("state={value}&decision={value}")),
            TestRequest::get()
                .uri(&format!("/oauth2/logout?id_token_hint={value}&post_logout_redirect_uri={value}")),
            TestRequest::get().uri("/account").insert_header(cookie("signet-session")),
            form("/account", &format!("form_token={value}")).insert_header(cookie("signet-device")),
            TestRequest::delete().uri(&format!("/admin/api-keys/{value}")),
        ] {
            self.refusals.keep(app.send(request.peer_addr("192.0.2.7:4711".parse().unwrap())).await);
        }
    }

    /// A copy of all of it: as it is given away, and what is in it for whoever has the key-encryption key.
    pub(crate) async fn copy(&mut self) -> [(String, Vec<u8>); 2] {
        let copied = self.app.administer(Method::POST, "/admin/backup", None).await;
        assert_eq!(copied.status, 200);
        let opened = opened(&copied.body, &self.app.parts().kek);
        [("a copy".to_owned(), copied.body), ("an opened copy".to_owned(), opened)]
    }
}

fn opened(sealed: &[u8], kek: &Kek) -> Vec<u8> {
    let mut reader = ArchiveReader::new(sealed, kek).unwrap();
    let mut plain = Vec::new();
    while !reader.is_at_end().unwrap() {
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        plain.extend(byte);
    }
    plain
}
