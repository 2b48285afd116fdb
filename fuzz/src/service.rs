//! A whole service in this process: real routes, a store in memory, a clock that stands still. Every answer is held
//! against what must be true of any answer.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::body::to_bytes;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, Uri};
use actix_web::rt::{System, SystemRunner};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App as ActixApp, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use signet::app::{App, Ground};
use signet::clients::{ConsentRule, Registration};
use signet::clock::ManualClock;
use signet::config::Config;
use signet::entropy::SeededEntropy;
use signet::oauth::{ClientId, RedirectUri, Resource, Scope};
use signet::store::MemoryStore;
use signet::users::{ApiKeyOwner, NewApiKey};

use crate::people;

/// The resource of the settings.
pub(crate) const RESOURCE: &str = "http://127.0.0.1:9000";
/// Where the client lets people come back to.
pub(crate) const CALLBACK: &str = "https://shop.example/callback";
/// The rest of an authorization request that is granted without a question: the challenge is that of RFC 7636, appendix B.
pub(crate) const GRANTED: &str = "client_id=shop&redirect_uri=https%3A%2F%2Fshop.example%2Fcallback&response_type=code&scope=openid\
    &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";
const CODE_VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// The same on the person's own machine: the port is free.
pub(crate) const LOOPBACK: &str = "http://127.0.0.1/callback";
/// Where the client lets people come back to when they were signed out.
pub(crate) const SIGNED_OUT: &str = "https://shop.example/signed-out";
/// Who has signed in: only a page for her bears her name.
pub(crate) const PERSON: &str = "Ada Lovelace";
/// What only a request could have brought into a page.
const MARKUP: &str = "<zz";
/// What applications may have that register themselves, where they may.
pub(crate) const OPEN_SCOPE: &str = "read write follow";
/// After so many requests the service is made anew: what they left behind fills memory.
const LIFE: u32 = 4096;

/// When it is.
pub(crate) const NOW: i64 = 1_800_000_000;

/// A proxy that is trusted, by which every request comes.
const PEER: &str = "192.0.2.1:4711";
const PEER_NETWORK: &str = "192.0.2.1/32";

/// What the service knows and an input can only name.
pub(crate) struct Secrets {
    /// The client `shop`'s.
    pub(crate) client: String,
    /// An access token of the client, for its resource.
    pub(crate) token: String,
    /// An access token for the admin API.
    pub(crate) admin: String,
    /// An API key that may read and write accounts.
    pub(crate) api_key: String,
    /// What Ada's session cookie holds.
    pub(crate) session: String,
    /// Her account.
    pub(crate) ada: String,
    /// Her session's public identifier.
    pub(crate) sid: String,
    /// An ID token of hers for the client, of that session.
    pub(crate) hint: String,
    /// What Grace's second factor shows.
    pub(crate) code: String,
    /// One of her recovery codes.
    pub(crate) recovery: String,
    /// What an administrator's session cookie holds.
    pub(crate) root_session: String,
    /// The key that signs.
    pub(crate) kid: String,
}

/// A running service.
pub(crate) struct Service {
    pub(crate) secrets: Secrets,
    open_scope: Option<&'static str>,
    // Dropped in this order: what uses the directory before the directory.
    app: App,
    system: SystemRunner,
    _dir: tempfile::TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as JSON; `null` if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A request as the network may bring it; what HTTP itself forbids does not come so far.
#[derive(Default)]
pub(crate) struct Request<'a> {
    pub(crate) method: Option<Method>,
    pub(crate) target: &'a [u8],
    pub(crate) headers: Vec<(&'a str, Vec<u8>)>,
    pub(crate) body: &'a [u8],
}

impl<'a> Request<'a> {
    pub(crate) fn get(target: &'a [u8]) -> Self {
        Self { target, ..Self::default() }
    }

    pub(crate) fn post(target: &'a str, content_type: &'a str, body: &'a [u8]) -> Self {
        let headers = vec![("content-type", content_type.as_bytes().to_vec())];
        Self { method: Some(Method::POST), target: target.as_bytes(), headers, body }
    }

    pub(crate) fn with(mut self, name: &'a str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn build(self) -> Option<TestRequest> {
        let uri = Uri::try_from(self.target).ok().filter(|uri| uri.path().starts_with('/'))?;
        let mut request = TestRequest::with_uri(&uri.to_string())
            .method(self.method.unwrap_or(Method::GET))
            .peer_addr(PEER.parse().expect("an address"))
            .set_payload(self.body.to_vec());
        for (name, value) in self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            request = request.append_header((name, HeaderValue::from_bytes(&value).ok()?));
        }
        Some(request)
    }
}

thread_local! {
    static SERVICE: RefCell<Option<(Service, u32)>> = const { RefCell::new(None) };
}

/// Asks the service of this thread, where nobody registers an application but administrators.
pub(crate) fn with_service<T>(ask: impl FnOnce(&Service) -> T) -> T {
    with_service_of(None, ask)
}

/// Asks the service of this thread, where anybody may register applications for [`OPEN_SCOPE`].
pub(crate) fn with_open_service<T>(ask: impl FnOnce(&Service) -> T) -> T {
    with_service_of(Some(OPEN_SCOPE), ask)
}

fn with_service_of<T>(open_scope: Option<&'static str>, ask: impl FnOnce(&Service) -> T) -> T {
    SERVICE.with_borrow_mut(|slot| {
        let fits = |(service, asked): &(Service, u32)| *asked < LIFE && service.open_scope == open_scope;
        // Whoever panics does not give it back: what he did may be what others would fail for. One that does not fit is gone before the
        // next one starts: a thread has one system.
        let (service, asked) = slot.take().filter(fits).unwrap_or_else(|| (Service::start(open_scope), 0));
        let came = ask(&service);
        *slot = Some((service, asked + 1));
        came
    })
}

/// The service of this thread is not what it was: the next question is for a new one.
pub(crate) fn renew() {
    SERVICE.with_borrow_mut(|slot| drop(slot.take()));
}

impl Service {
    fn start(open_scope: Option<&'static str>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = Config::for_tests(dir.path());
        let limits = &mut config.limits;
        for limit in [
            &mut limits.token_per_client,
            &mut limits.token_per_address,
            &mut limits.revocation_per_client,
            &mut limits.refused_per_address,
            &mut limits.authorize_per_address,
            &mut limits.login_per_address,
            &mut limits.login_per_account,
            &mut limits.registration_per_address,
            &mut limits.acts_per_person,
            &mut limits.api_key,
        ] {
            *limit = 0;
        }
        config.api_keys.in_query = true;
        config.dialects.oauth_token_get = true;
        config.trusted_proxies = vec![PEER_NETWORK.parse().expect("a network")];
        config.believe_request_id = true;
        if let Some(scope) = open_scope {
            config.dialects.apps = true;
            config.dialects.apps_scope = Scope::parse(scope).expect("a scope");
        }
        let system = System::new();
        let (app, secrets) = system.block_on(open(config));
        Self { secrets, open_scope, app, system, _dir: dir }
    }

    /// Puts secrets into an input where it names them.
    pub(crate) fn fill(&self, data: &[u8]) -> Vec<u8> {
        let secrets = &self.secrets;
        let named = [
            ("{SECRET}", &secrets.client),
            ("{TOKEN}", &secrets.token),
            ("{ADMIN}", &secrets.admin),
            ("{API_KEY}", &secrets.api_key),
            ("{SESSION}", &secrets.session),
            ("{ADA}", &secrets.ada),
            ("{SID}", &secrets.sid),
            ("{HINT}", &secrets.hint),
            ("{CODE}", &secrets.code),
            ("{RECOVERY}", &secrets.recovery),
            ("{ISSUER}", &self.state().services.issuer),
            ("{KID}", &secrets.kid),
        ];
        let Ok(text) = std::str::from_utf8(data) else { return data.to_vec() };
        named.iter().fold(text.to_owned(), |text, (name, secret)| text.replace(name, secret)).into_bytes()
    }

    /// A JWS over any header and payload, signed by the key that signs.
    pub(crate) fn signed(&self, header: &[u8], payload: &[u8]) -> String {
        let key = self.state().services.keys.signing_key(None).expect("a key");
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = key.sign(input.as_bytes()).expect("a signature");
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The answer to a request; nothing if HTTP has no such request.
    pub(crate) fn send(&self, request: Request<'_>) -> Option<Answer> {
        let request = request.build()?;
        let answering: Pin<Box<dyn Future<Output = Answer> + '_>> = Box::pin(ask(&self.app, request));
        let answer = self.system.block_on(answering);
        hold(&answer);
        Some(answer)
    }

    /// A part of the service, for what it has become of it.
    pub(crate) fn state(&self) -> &signet::http::State {
        &self.app.state
    }
}

/// What is true of every answer.
fn hold(answer: &Answer) {
    assert!(answer.status < 500, "{answer:?}");
    let is = |kind: &str| answer.header("content-type").is_some_and(|value| value.starts_with(kind));
    if is("text/html") {
        let text = String::from_utf8_lossy(&answer.body);
        assert!(!text.contains(MARKUP), "a page holds markup that a request brought: {text}");
        assert!(answer.header("content-security-policy").is_some(), "a page without a policy");
    }
    if is("application/json") && answer.status >= 400 {
        let json = answer.json();
        assert!(json["error"].is_string(), "{answer:?}");
        // RFC 6749, section 5.2.
        let allowed = |byte| matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let description = json["error_description"].as_str().unwrap_or_default();
        assert!(description.bytes().all(allowed), "{description:?}");
    }
}

async fn open(config: Config) -> (App, Secrets) {
    let clock = Arc::new(ManualClock::at(NOW));
    let store = MemoryStore::new(clock.clone());
    let ground = Ground { store, clock, entropy: Arc::new(SeededEntropy::new(42)) };
    let app = App::open(&config, ground).await.expect("the service starts");
    // Nobody else does, and whoever asks for the keys waits for it.
    app.rotate().await.expect("the first tick");
    let first = app.first_clients().await.expect("clients").expect("a first start");
    let services = app.state.services.clone();
    let scope = |text: &str| Scope::parse(text).expect("a scope");
    let uri = |text: &str| RedirectUri::parse(text).expect("a redirect URI");
    let shop = Registration {
        client_id: Some(ClientId::parse("shop").expect("an identifier")),
        client_name: "The Shop".into(),
        scope: scope("openid profile email offline_access read write"),
        default_scope: Some(scope("read")),
        resources: vec![Resource::parse(RESOURCE).expect("a resource")],
        redirect_uris: vec![uri(CALLBACK), uri(LOOPBACK)],
        post_logout_redirect_uris: vec![uri(SIGNED_OUT)],
        consent: ConsentRule::Implied,
        ..Registration::default()
    };
    let shop = services.clients.register(shop).await.expect("a client");
    let (ada, root) = (people::ada(&services).await, people::root(&services).await);
    let (code, recovery) = people::grace(&services).await;
    let users = vec![Resource::parse(&config.users_resource()).expect("a resource")];
    let keeper = Registration {
        client_name: "The keeper of accounts".into(),
        scope: scope("users:read users:write"),
        resources: users.clone(),
        ..Registration::default()
    };
    let keeper = services.clients.register(keeper).await.expect("a client");
    let key = NewApiKey {
        name: "fuzz".into(),
        owner: ApiKeyOwner::Client(keeper.client.client_id.clone()),
        scope: scope("users:read users:write"),
        resources: users,
        expires_at: None,
    };
    let key = services.api_keys.create(key).await.expect("a key");
    let client = shop.client_secret.expect("a secret").expose().to_owned();
    let token = access_token(&app, ("shop", &client)).await;
    let (id, secret) = (first.admin.client.client_id.as_str(), first.admin.client_secret.expose());
    let admin = access_token(&app, (id, secret)).await;
    let (api_key, sid, session) = (key.secret.expose().to_owned(), ada.sid, ada.cookie);
    let hint = id_token(&app, &session, &client).await;
    // Or nothing would be found out by what becomes of it.
    assert!(services.id_token_hint(&hint).is_some(), "{hint}");
    let (ada, root_session) = (ada.user.to_string(), root.cookie);
    let kid = services.keys.list().keys.iter().find(|key| key.signs).expect("a key").kid.to_string();
    let secrets =
        Secrets { client, token, admin, api_key, session, ada, sid, hint, code, recovery, root_session, kid };
    (app, secrets)
}

/// An access token of the client, for what it asks by default.
async fn access_token(app: &App, (id, secret): (&str, &str)) -> String {
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    issued(app, &form, "access_token").await
}

/// An ID token about whoever has signed in, which the client `shop` gets for a code.
async fn id_token(app: &App, session: &str, secret: &str) -> String {
    let request = TestRequest::with_uri(&format!("/oauth2/authorize?{GRANTED}"));
    let answer = ask(app, request.insert_header(("cookie", format!("signet-session={session}")))).await;
    let location = url::Url::parse(answer.header("location").expect("a location")).expect("a URL");
    let code = location.query_pairs().find(|(name, _)| name == "code").expect("a code").1;
    let form = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}&code_verifier={CODE_VERIFIER}\
         &client_id=shop&client_secret={secret}"
    );
    issued(app, &form, "id_token").await
}

/// A member of what the token endpoint answers.
async fn issued(app: &App, form: &str, member: &str) -> String {
    let request = TestRequest::post().uri("/oauth2/token").set_payload(form.to_owned());
    let content_type = ("content-type", "application/x-www-form-urlencoded");
    let answer = ask(app, request.insert_header(content_type)).await.json();
    answer[member].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

async fn ask(app: &App, request: TestRequest) -> Answer {
    let state = web::Data::from(app.state.clone());
    let service = init_service(ActixApp::new().configure(signet::http::configure(state))).await;
    let (_, response) = call_service(&service, request.to_request()).await.into_parts();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = to_bytes(response.into_body()).await.unwrap_or_else(|_| panic!("no body")).to_vec();
    Answer { status, headers, body }
}
