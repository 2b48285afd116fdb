//! A browser as far as the pages need one: it keeps cookies, fills in forms and follows redirects of this service.

use std::collections::BTreeMap;

use actix_web::http::header;
use actix_web::test::TestRequest;
use signet::clients::{ConsentRule, Registered, Registration};
use signet::oauth::{RedirectUri, Resource, Scope, Secret};
use signet::users::{Account, Email, NewAccount, Profile};
use url::form_urlencoded;

use crate::test_app::{Answer, ISSUER, RESOURCE, TestApp, basic, form};

/// Where the tests' client lets people come back to.
pub(crate) const CALLBACK: &str = "https://shop.example.com/callback";
/// The tests' person's password.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// RFC 7636, appendix B.
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A browser with its cookies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Browser {
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) async fn get(&mut self, app: &TestApp, url: &str) -> Answer {
        self.send(app, TestRequest::get().uri(url.strip_prefix(ISSUER).unwrap_or(url))).await
    }

    pub(crate) async fn post(&mut self, app: &TestApp, path: &str, members: &[(&str, &str)]) -> Answer {
        self.send(app, form(path, &encoded(members))).await
    }

    pub(crate) async fn send(&mut self, app: &TestApp, request: TestRequest) -> Answer {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if cookies.is_empty() {
            request
        } else {
            request.insert_header((header::COOKIE, cookies.join("; ")))
        };
        let answer = app.send(request.peer_addr("192.0.2.1:4711".parse().expect("an address"))).await;
        for cookie in answer.headers.get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().expect("text");
            let (name, rest) = cookie.split_once('=').expect("a cookie");
            let value = rest.split(';').next().unwrap_or_default();
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Fills in the form of a sign-in page.
    pub(crate) async fn sign_in(&mut self, app: &TestApp, page: &Answer, who: (&str, &str)) -> Answer {
        let members = [("state", &*state(page)), ("username", who.0), ("password", who.1)];
        self.post(app, "/oauth2/sign-in", &members).await
    }

    /// Goes where the answer sends it, unless that is back to the client.
    pub(crate) async fn go_on(&mut self, app: &TestApp, answer: Answer) -> Answer {
        let next = location(&answer);
        if next.starts_with(ISSUER) { self.get(app, &next).await } else { answer }
    }

    /// Answers the question of a consent page.
    pub(crate) async fn decide(&mut self, app: &TestApp, page: &Answer, decision: &str) -> Answer {
        self.post(app, "/oauth2/consent", &[("state", &*state(page)), ("decision", decision)]).await
    }

    /// Goes the whole way: signs in, allows everything, and comes back to the client.
    pub(crate) async fn allow(&mut self, app: &TestApp, request: &str) -> Answer {
        let mut answer = self.get(app, request).await;
        if text(&answer).contains("name=\"password\"") {
            answer = self.sign_in(app, &answer, ("ada@example.com", PASSWORD)).await;
            assert_eq!(answer.status, 303, "{}", text(&answer));
            answer = self.go_on(app, answer).await;
        }
        if text(&answer).contains("name=\"decision\"") {
            answer = self.decide(app, &answer, "allow").await;
        }
        answer
    }
}

/// The page's text.
pub(crate) fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).expect("UTF-8")
}

/// The sealed state of the page's last form.
#[track_caller]
pub(crate) fn state(page: &Answer) -> String {
    let text = text(page);
    let (_, rest) =
        text.rsplit_once("name=\"state\" value=\"").unwrap_or_else(|| panic!("no form: {page:?} {text}"));
    rest.split('"').next().expect("a value").to_owned()
}

/// Where the answer sends the browser.
#[track_caller]
pub(crate) fn location(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{answer:?} {}", text(answer));
    answer.header("location").expect("a location").to_owned()
}

/// A parameter of the URL to which the answer sends the browser.
#[track_caller]
pub(crate) fn parameter(answer: &Answer, name: &str) -> Option<String> {
    let url = url::Url::parse(&location(answer)).expect("a URL");
    url.query_pairs().find(|(each, _)| each == name).map(|(_, value)| value.into_owned())
}

pub(crate) fn encoded(members: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(members).finish()
}

/// Ada's account.
pub(crate) async fn ada(app: &TestApp) -> Account {
    let email = Email::parse("ada@example.com").expect("an address");
    let new = NewAccount {
        password: Some(Secret::new(PASSWORD.to_owned())),
        email_verified: true,
        profile: Profile { given_name: Some("Ada".into()), ..Profile::default() },
        ..NewAccount::new("Ada Lovelace", email)
    };
    app.app.state.services.accounts.register(new).await.expect("an account")
}

/// A client that people can come back to.
pub(crate) fn shop() -> Registration {
    Registration {
        client_id: Some(signet::oauth::ClientId::parse("shop").expect("an identifier")),
        client_name: "The Shop".into(),
        scope: Scope::parse("openid profile email offline_access read write").expect("a scope"),
        default_scope: Some(Scope::parse("read").expect("a scope")),
        resources: vec![Resource::parse(RESOURCE).expect("a resource")],
        redirect_uris: vec![RedirectUri::parse(CALLBACK).expect("a redirect URI")],
        consent: ConsentRule::Required,
        ..Registration::default()
    }
}

pub(crate) async fn register(app: &TestApp, registration: Registration) -> Registered {
    app.app.state.services.clients.register(registration).await.expect("a client")
}

/// An authorization request of the shop; members with the same name replace those that it has anyway, and an empty
/// value leaves one out.
pub(crate) fn request(more: &[(&str, &str)]) -> String {
    let usual = [
        ("client_id", "shop"),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("scope", "openid email read"),
        ("state", "af0ifjsldkj"),
        ("nonce", "n-0S6_WzA2Mj"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let replaced = |name: &str| more.iter().any(|(each, _)| *each == name);
    let members: Vec<(&str, &str)> = usual.into_iter().filter(|(name, _)| !replaced(name)).collect();
    let more: Vec<(&str, &str)> = more.iter().copied().filter(|(_, value)| !value.is_empty()).collect();
    format!("/oauth2/authorize?{}", encoded(&[members, more].concat()))
}

/// What the client gets for its code.
pub(crate) async fn redeem(app: &TestApp, client: &Registered, code: &str) -> serde_json::Value {
    let secret = client.client_secret.as_ref().expect("a secret").expose();
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let body = encoded(&[
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", verifier),
    ]);
    let request =
        form("/oauth2/token", &body).insert_header(basic((client.client.client_id.as_str(), secret)));
    let answer = app.send(request).await;
    assert_eq!(answer.status, 200, "{answer:?} {}", text(&answer));
    answer.json()
}
