//! A person who lets a client do something, without the pages: codes are issued as the authorization endpoint does.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::{Value, json};
use signet::config::Config;
use signet::oauth::{Acr, ClientId, CodeChallenge, Resource, Scope, SessionId, Subject, UserId};
use signet::protocol::Services;
use signet::tokens::{Grant, NewCode};
use signet::users::{Account, Authentication, Email, NewAccount, NewSession};

use crate::test_app::{Answer, RESOURCE, TestApp, basic, form};

/// Where the client's people come back to.
pub(crate) const CALLBACK: &str = "https://shop.example/callback";
/// The verifier and challenge of RFC 7636, appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A service with a person and a client.
pub(crate) struct World {
    pub(crate) app: TestApp,
    pub(crate) client: (String, String),
    pub(crate) account: Account,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(json!({}), |_| {}).await
    }

    /// With these members of the client's registration changed, and other settings.
    pub(crate) async fn start_with(registration: Value, settings: impl FnOnce(&mut Config)) -> Self {
        Self::on(TestApp::start_with(settings).await, registration).await
    }

    /// On a service that has been started.
    pub(crate) async fn on(app: TestApp, registration: Value) -> Self {
        let client = register(&app, registration).await;
        let email = Email::parse("ada@example.com").expect("an address");
        let account = app.app.state.services.accounts.register(NewAccount::new("Ada Lovelace", email));
        let account = account.await.expect("an account");
        Self { app, client, account }
    }

    pub(crate) fn services(&self) -> &Services {
        &self.app.app.state.services
    }

    pub(crate) fn client(&self) -> (&str, &str) {
        (&self.client.0, &self.client.1)
    }

    /// What the person lets the client do: everything it may ask for, outliving the session.
    pub(crate) fn grant(&self) -> Grant {
        Grant {
            client_id: ClientId::parse(&self.client.0).expect("a client_id"),
            subject: Subject::from(&self.account.id),
            scope: Scope::parse("openid offline_access read write").expect("a scope"),
            resources: vec![Resource::parse(RESOURCE).expect("a resource")],
            sid: None,
            auth_time: self.app.now() - 5,
            acr: Some(Acr::Password.as_str().into()),
            amr: vec!["pwd".into()],
            nonce: Some("n-0S6_WzA2Mj".into()),
            claims: None,
            granted_at: self.app.now(),
        }
    }

    /// The same within a session, and ending with it.
    pub(crate) async fn session_grant(&self) -> (Grant, UserId, SessionId) {
        let authentication = Authentication { auth_time: self.app.now(), amr: vec![] };
        let user = self.account.id.clone();
        let new = NewSession { user: user.clone(), authentication, user_agent: None, address: None };
        let sid = self.services().sessions.start(new).await.expect("a session").session.sid;
        let scope = Scope::parse("openid read").expect("a scope");
        (Grant { sid: Some(sid.clone()), scope, ..self.grant() }, user, sid)
    }

    /// A code for [`World::grant`], bound by PKCE.
    pub(crate) async fn code(&self) -> String {
        self.code_for(self.grant()).await
    }

    pub(crate) async fn code_for(&self, grant: Grant) -> String {
        let code_challenge = Some(CodeChallenge::parse(CHALLENGE).expect("a challenge"));
        self.issue(NewCode { grant, redirect_uri: Some(CALLBACK.into()), code_challenge }).await
    }

    pub(crate) async fn issue(&self, new: NewCode) -> String {
        self.services().codes.issue(new).await.expect("a code").expose().to_owned()
    }

    /// Redeems a code as its client does.
    pub(crate) async fn redeem(&self, code: &str) -> Answer {
        self.present(&format!("{}&code_verifier={VERIFIER}", code_body(code))).await
    }

    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        self.present(&format!("grant_type=refresh_token&refresh_token={token}")).await
    }

    /// Sends a token request as the client.
    pub(crate) async fn present(&self, body: &str) -> Answer {
        self.app.send(self.as_client(form("/oauth2/token", body))).await
    }

    pub(crate) fn as_client(&self, request: TestRequest) -> TestRequest {
        request.insert_header(basic(self.client()))
    }

    /// What introspection says to the client.
    pub(crate) async fn introspect(&self, token: &str) -> Value {
        let request = self.as_client(form("/oauth2/introspect", &format!("token={token}")));
        let answer = self.app.send(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    pub(crate) async fn is_active(&self, token: &str) -> bool {
        self.introspect(token).await["active"] == true
    }

    /// A redeemed code: its access token and its refresh token.
    pub(crate) async fn tokens(&self) -> (String, String) {
        pair(&self.redeem(&self.code().await).await)
    }
}

/// A token request for a code, without its verifier.
pub(crate) fn code_body(code: &str) -> String {
    format!("grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}")
}

/// Registers a client for codes; gives its identifier and secret.
pub(crate) async fn register(app: &TestApp, change: Value) -> (String, String) {
    let mut registration = json!({
        "client_name": "Shop",
        "scope": "openid profile email offline_access read write",
        "resources": [RESOURCE],
        "redirect_uris": [CALLBACK],
    });
    for (name, value) in change.as_object().expect("members") {
        registration[name] = value.clone();
    }
    let answer = app.administer(Method::POST, "/admin/clients", Some(registration)).await;
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    let answer = answer.json();
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    (text("client_id"), text("client_secret"))
}

/// The access token and the refresh token of an answer.
pub(crate) fn pair(answer: &Answer) -> (String, String) {
    let access_token = answer.access_token();
    (access_token, answer.json()["refresh_token"].as_str().expect("a refresh token").to_owned())
}

/// For how many codes or tokens a race is run: a thousand with `SIGNET_FAULTS=full`, else so few.
pub(crate) fn races(short: usize) -> usize {
    if std::env::var("SIGNET_FAULTS").is_ok_and(|size| size == "full") { 1000 } else { short }
}
