//! A whole service in this process: real routes, real store, a clock that stands still until it is told to
//! move, and repeatable entropy. Every answer is held against `openapi.yaml`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::time::Duration;

use actix_web::body::{MessageBody, to_bytes};
use actix_web::dev::{Payload, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App as ActixApp, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use signet::app::{self, App, Expired, FirstClient, FirstClients, Ground, StartError};
use signet::audit::{AuditLog, Origin, Sink};
use signet::clock::{Clock as _, ManualClock, SharedClock};
use signet::config::Config;
use signet::entropy::SeededEntropy;
use signet::http::{Listeners, Served, Tls};
use signet::keys::KeyRingParts;
use signet::oauth::{AccessTokenClaims, Secret};
use signet::store::{SledStore, Store};
use tokio::sync::oneshot;

use crate::contract::Contract;
use crate::store_faults_routes::reading_writes_as_listed;

/// The issuer of every test.
pub(crate) const ISSUER: &str = "http://127.0.0.1:8080";
/// The resource that the demo client may ask tokens for.
pub(crate) const RESOURCE: &str = "http://127.0.0.1:9000";

/// What the clock of a service begins with, in seconds since the epoch.
pub(crate) const START: i64 = 1_800_000_000;

static CONTRACT: LazyLock<Contract> = LazyLock::new(Contract::load);

type Written = BTreeSet<(&'static str, Wrote)>;

/// What requests have put into tables or deleted from them, as far as their stores tell, by the requests' identifiers.
static WRITTEN: Mutex<BTreeMap<String, Written>> = Mutex::new(BTreeMap::new());

/// What was done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrote {
    Put,
    Deleted,
}

/// Told by a store: the request that is being answered, if one is, has written to `table`.
pub(crate) fn note_write(table: &'static str, wrote: Wrote) {
    // What is done for nobody's request has none; an act that goes on if the client hangs up has its request's.
    if let Some(origin) = Origin::current() {
        let mut written = WRITTEN.lock().expect("a lock");
        written.entry(origin.request_id.to_string()).or_default().insert((table, wrote));
    }
}

/// A running service.
pub(crate) struct TestApp {
    pub(crate) app: App,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) clients: FirstClients,
    /// What the audit log is written to.
    pub(crate) audit_disk: AuditDisk,
    config: Config,
    /// Where it is not in the directory.
    store: Option<Arc<dyn Store>>,
    /// Removed with everything in it when the test is over.
    dir: tempfile::TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) async fn read(response: ServiceResponse<impl MessageBody>) -> Self {
        Self::of(response.into_parts().1).await
    }

    pub(crate) async fn of(response: HttpResponse<impl MessageBody>) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body()).await.unwrap_or_else(|_| panic!("no body"));
        Self { status, headers, body: body.to_vec() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Asserts status and `error`; a refusal is never stored.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, error: &str) {
        assert_eq!((self.status, self.json()["error"].as_str()), (status, Some(error)), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
    }

    #[track_caller]
    pub(crate) fn access_token(&self) -> String {
        assert_eq!(self.status, 200, "{self:?} {}", String::from_utf8_lossy(&self.body));
        self.json()["access_token"].as_str().expect("an access token").to_owned()
    }
}

impl TestApp {
    /// A service with the default settings.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A service with other settings.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_from(42, change).await
    }

    /// Another installation with the default settings: nothing that it makes is the same.
    pub(crate) async fn start_elsewhere() -> Self {
        Self::start_from(7, |_| {}).await
    }

    /// A service on a store that outlives it, with other settings.
    pub(crate) async fn start_on(
        store: Arc<dyn Store>,
        clock: Arc<ManualClock>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        Self::start_at((42, Some(store)), clock, change).await
    }

    /// Another node of the same installation, on `store`: the same settings, the same keys, an audit log of its own.
    pub(crate) async fn another_node(&self, store: Arc<dyn Store>, seed: u64) -> Self {
        self.another_node_by((store, self.clock.clone()), seed).await
    }

    /// The same, by a clock of its own.
    pub(crate) async fn another_node_by(
        &self,
        (store, clock): (Arc<dyn Store>, Arc<ManualClock>),
        seed: u64,
    ) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = self.config.clone();
        config.data_dir = dir.path().join("data");
        config.node = format!("node-{seed}");
        let (store, audit_disk) = (Some(store), AuditDisk::default());
        let app = open(&config, store.clone(), &clock, (seed, &audit_disk)).await;
        assert!(app.first_clients().await.expect("clients").is_none(), "clients are made once");
        let clients = copy(&self.clients);
        Self { app, clock, clients, audit_disk, config, store, dir }
    }

    /// What becomes of another node of the same installation that was given other settings.
    pub(crate) async fn try_another_node(
        &self,
        store: Arc<dyn Store>,
        seed: u64,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self, StartError> {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = self.config.clone();
        config.data_dir = dir.path().join("data");
        config.node = format!("node-{seed}");
        change(&mut config);
        let (clock, store, audit_disk) = (self.clock.clone(), Some(store), AuditDisk::default());
        let app = try_open(&config, store.clone(), &clock, (seed_of_a_start(), &audit_disk)).await?;
        let clients = copy(&self.clients);
        Ok(Self { app, clock, clients, audit_disk, config, store, dir })
    }

    async fn start_from(seed: u64, change: impl FnOnce(&mut Config)) -> Self {
        Self::start_at((seed, None), Arc::new(ManualClock::at(START)), change).await
    }

    async fn start_at(
        (seed, store): (u64, Option<Arc<dyn Store>>),
        clock: Arc<ManualClock>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = Config::for_tests(dir.path());
        change(&mut config);
        let audit_disk = AuditDisk::default();
        let app = open(&config, store.clone(), &clock, (seed, &audit_disk)).await;
        let clients = app.first_clients().await.expect("clients").expect("a first start");
        Self { app, clock, clients, audit_disk, config, store, dir }
    }

    /// Stops the service and starts it again on the same data, with other settings.
    pub(crate) async fn restart(self, change: impl FnOnce(&mut Config)) -> Self {
        let Self { app, clock, clients, audit_disk, mut config, store, dir } = self;
        drop(app);
        change(&mut config);
        let app = open(&config, store.clone(), &clock, (seed_of_a_start(), &audit_disk)).await;
        assert!(app.first_clients().await.expect("clients").is_none(), "clients are made once");
        Self { app, clock, clients, audit_disk, config, store, dir }
    }

    /// What becomes of the service when it is stopped and started with other settings.
    pub(crate) async fn try_restart(self, change: impl FnOnce(&mut Config)) -> Result<(), StartError> {
        let Self { app, clock, clients: _, audit_disk, mut config, store, dir: _kept } = self;
        drop(app);
        change(&mut config);
        try_open(&config, store, &clock, (43, &audit_disk)).await.map(drop)
    }

    /// Where everything of the service lies.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the installation is copied from.
    pub(crate) fn parts(&self) -> KeyRingParts {
        parts(&self.config, self.app.state.services.store.clone(), &self.clock)
    }

    /// Stops the service and starts one on another directory, into whose store `fill` puts an installation.
    pub(crate) async fn elsewhere(self, fill: impl AsyncFnOnce(&KeyRingParts)) -> Self {
        self.elsewhere_on(None, fill).await
    }

    /// The same on a store that outlives it, if it is not to be one below that directory.
    pub(crate) async fn elsewhere_on(
        self,
        store: Option<Arc<dyn Store>>,
        fill: impl AsyncFnOnce(&KeyRingParts),
    ) -> Self {
        let Self { app, clock, clients, audit_disk, mut config, store: _, dir: _stopped } = self;
        drop(app);
        let dir = tempfile::tempdir().expect("a directory");
        config.data_dir = dir.path().join("data");
        config.keys.dir = dir.path().join("keys");
        let filled = store
            .clone()
            .unwrap_or_else(|| SledStore::open(config.store_path(), clock.clone()).expect("a store"));
        let parts = parts(&config, filled, &clock);
        parts.fitness.compare_with(parts.store.as_ref()).await.expect("the store's time");
        fill(&parts).await;
        drop(parts);
        let app = open(&config, store.clone(), &clock, (44, &audit_disk)).await;
        assert!(app.first_clients().await.expect("clients").is_none(), "there are clients");
        Self { app, clock, clients, audit_disk, config, store, dir }
    }

    /// What a service says that is started on another store, with an audit log and keys of its own.
    pub(crate) async fn start_over(&self, store: Arc<dyn Store>) -> Result<(), StartError> {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = self.config.clone();
        config.data_dir = dir.path().join("data");
        config.keys.dir = dir.path().join("keys");
        let ground = Ground { store, clock: self.clock.clone(), entropy: Arc::new(SeededEntropy::new(45)) };
        App::open(&config, ground).await.map(drop)
    }

    /// The audit log as it stands.
    pub(crate) fn audit_log(&self) -> String {
        std::fs::read_to_string(self.config.audit_path()).expect("an audit log")
    }

    /// Lets time pass, with the housekeeping that the service does meanwhile.
    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.app.follow().await.expect("the store's changes");
        self.app.rotate().await.expect("rotation");
        self.app.replenish().await.expect("a spare status list");
        while self.app.tidy().await.expect("housekeeping") == Expired::Left {}
        // Not while nothing may be signed.
        self.app.build_status_lists().await.ok();
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.numeric_date()
    }

    /// Sends a request through the real routes and holds the answer against the document.
    pub(crate) async fn send(&self, request: TestRequest) -> Answer {
        self.send_when(request, None).await
    }

    /// The same; the body comes when the sender of `held` is used or dropped, if there is one.
    pub(crate) async fn send_when(
        &self,
        request: TestRequest,
        held: Option<oneshot::Receiver<()>>,
    ) -> Answer {
        let mut request = request.to_request();
        if let Some(held) = held {
            let body = request.take_payload();
            let nothing = async move {
                held.await.ok();
                Ok(web::Bytes::new())
            };
            *request.payload() = Payload::Stream { payload: Box::pin(stream::once(nothing).chain(body)) };
        }
        let (method, path) = (request.method().clone(), request.path().to_owned());
        let state = web::Data::from(self.app.state.clone());
        let service = init_service(ActixApp::new().configure(signet::http::configure(state))).await;
        let answer = Answer::read(call_service(&service, request).await).await;
        let id = answer.header("x-request-id").unwrap_or_default();
        let written = WRITTEN.lock().expect("a lock").remove(id).unwrap_or_default();
        // The document's paths are those below the issuer.
        let issuer = url::Url::parse(&self.config.issuer).expect("a URL");
        let below = match path.strip_prefix(issuer.path()) {
            Some("") => "/",
            Some(below) if below.starts_with('/') => below,
            _ => &path,
        };
        check(&method, below, &answer);
        if matches!(method, Method::GET | Method::HEAD) {
            let route = signet::http::served()
                .iter()
                .find(|route| route.method == Method::GET && matches(route.path, below));
            reading_writes_as_listed(route.map_or(below, |route| route.path), &written);
        }
        answer
    }

    /// Listens on loopback, by TLS if it is given some, until what is returned beside the address is dropped.
    pub(crate) fn listen(&self, tls: Option<Arc<Tls>>) -> (SocketAddr, oneshot::Sender<()>) {
        let [public, management] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let address = public.local_addr().expect("an address");
        let (until, end) = oneshot::channel();
        let end = async { drop(end.await) };
        let listeners = Listeners { public, tls, management };
        actix_web::rt::spawn(signet::http::run(self.app.state.clone(), listeners, 1, end));
        (address, until)
    }

    /// Asks the management listener's routes for a path.
    pub(crate) async fn manage(&self, path: &str) -> Answer {
        self.send_to_management(TestRequest::get().uri(path)).await
    }

    /// Sends a request to the management listener's routes and holds the answer against the document.
    pub(crate) async fn send_to_management(&self, request: TestRequest) -> Answer {
        let request = request.to_request();
        let (method, path) = (request.method().clone(), request.path().to_owned());
        let state = web::Data::from(self.app.state.clone());
        let service =
            init_service(ActixApp::new().configure(signet::http::configure_management(state))).await;
        let answer = Answer::read(call_service(&service, request).await).await;
        hold(&method, &path, &answer, &path);
        answer
    }

    /// A token request in the standard form, by HTTP Basic.
    pub(crate) async fn token(&self, client: (&str, &str), parameters: &str) -> Answer {
        let body = format!("grant_type=client_credentials&{parameters}");
        self.send(form("/oauth2/token", &body).insert_header(basic(client))).await
    }

    /// A token of the demo client.
    pub(crate) async fn demo_token(&self) -> String {
        self.token(self.demo(), "").await.access_token()
    }

    /// A token for the admin API.
    pub(crate) async fn admin_token(&self) -> String {
        self.token(self.admin(), "").await.access_token()
    }

    pub(crate) fn demo(&self) -> (&str, &str) {
        let demo = self.clients.demo.as_ref().expect("a resource");
        (demo.client.client_id.as_str(), demo.client_secret.expose())
    }

    pub(crate) fn admin(&self) -> (&str, &str) {
        (self.clients.admin.client.client_id.as_str(), self.clients.admin.client_secret.expose())
    }

    /// A request of the admin API, as the first administrator.
    pub(crate) async fn administer(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let token = self.admin_token().await;
        let mut request = TestRequest::with_uri(path).method(method).insert_header(bearer(&token));
        if let Some(body) = body {
            request = request.set_json(body);
        }
        self.send(request).await
    }

    /// Whether introspection says that the token is active, asked by its own client.
    pub(crate) async fn is_active(&self, token: &str) -> bool {
        self.is_active_for(self.demo(), token).await
    }

    /// The same, asked by another client.
    pub(crate) async fn is_active_for(&self, client: (&str, &str), token: &str) -> bool {
        let request = form("/oauth2/introspect", &format!("token={token}")).insert_header(basic(client));
        let answer = self.send(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["active"].as_bool().expect("active")
    }
}

fn copy(clients: &FirstClients) -> FirstClients {
    let copy = |first: &FirstClient| FirstClient {
        client: first.client.clone(),
        client_secret: Secret::new(first.client_secret.expose().to_owned()),
    };
    FirstClients { admin: copy(&clients.admin), demo: clients.demo.as_ref().map(copy) }
}

/// No two starts of a node draw the same: by that the others tell them apart.
fn seed_of_a_start() -> u64 {
    static STARTS: AtomicU64 = AtomicU64::new(1 << 33);
    STARTS.fetch_add(1, Ordering::Relaxed)
}

fn parts(config: &Config, store: Arc<dyn Store>, clock: &Arc<ManualClock>) -> KeyRingParts {
    // No two draw the same: a restore is known by what it draws.
    static PARTS: AtomicU64 = AtomicU64::new(1 << 32);
    let entropy = Arc::new(SeededEntropy::new(PARTS.fetch_add(1, Ordering::Relaxed)));
    let ground = Ground { store, clock: clock.clone(), entropy };
    app::key_ring_parts(config, &ground).expect("keys")
}

/// Puts the service together; the one before must be gone, for a store has one owner.
async fn open(
    config: &Config,
    store: Option<Arc<dyn Store>>,
    clock: &Arc<ManualClock>,
    entropy_and_disk: (u64, &AuditDisk),
) -> App {
    try_open(config, store, clock, entropy_and_disk).await.expect("the service starts")
}

async fn try_open(
    config: &Config,
    store: Option<Arc<dyn Store>>,
    clock: &Arc<ManualClock>,
    (seed, disk): (u64, &AuditDisk),
) -> Result<App, StartError> {
    let store =
        store.unwrap_or_else(|| SledStore::open(config.store_path(), clock.clone()).expect("a store"));
    let ground = Ground { store, clock: clock.clone(), entropy: Arc::new(SeededEntropy::new(seed)) };
    let path = config.audit_path();
    let by = (clock.clone() as SharedClock, Some(config.node.clone()));
    let audit = AuditLog::open_through(&path, by, |file| Box::new(disk.below(file)));
    let app = App::open_recording(config, ground, audit.expect("an audit log")).await?;
    // As the rotator does before the service answers.
    app.rotate().await?;
    Ok(app)
}

/// The disk below an audit log, which can be full, or stall.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditDisk {
    full: Arc<AtomicBool>,
    held: Arc<(Mutex<Holding>, Condvar)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Holding {
    #[default]
    Nothing,
    TheNext,
    One,
}

/// A disk that takes nothing and refuses nothing until this is dropped.
pub(crate) struct Stalled(AuditDisk);

impl Stalled {
    /// Whether a write waits for it.
    pub(crate) fn holds_one(&self) -> bool {
        *self.0.held.0.lock().unwrap() == Holding::One
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        self.0.now(Holding::Nothing);
    }
}

struct Fillable {
    disk: AuditDisk,
    file: Box<dyn Sink>,
}

impl AuditDisk {
    /// From now on nothing more fits on it, or again something.
    pub(crate) fn fill(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// From now on it stalls. To be let go before the log is closed, which waits for what is being written.
    pub(crate) fn stall(&self) -> Stalled {
        self.now(Holding::TheNext);
        Stalled(self.clone())
    }

    fn now(&self, holding: Holding) {
        *self.held.0.lock().unwrap() = holding;
        self.held.1.notify_all();
    }

    fn below(&self, file: Box<dyn Sink>) -> Fillable {
        Fillable { disk: self.clone(), file }
    }
}

impl Sink for Fillable {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (held, let_go) = &*self.disk.held;
        let mut held = held.lock().unwrap();
        while *held != Holding::Nothing {
            *held = Holding::One;
            held = let_go.wait(held).unwrap();
        }
        drop(held);
        if !self.disk.full.load(Ordering::SeqCst) {
            return self.file.append(bytes);
        }
        // As a disk does: a part of it still fits.
        self.file.append(&bytes[..bytes.len() / 2])?;
        Err(io::ErrorKind::StorageFull.into())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }

    fn take_back(&mut self) -> io::Result<()> {
        self.file.take_back()
    }
}

/// Holds an answer against the document.
fn check(method: &Method, path: &str, answer: &Answer) {
    let table = signet::http::served();
    let public_get = |route: &Served| route.method == Method::GET && route.scope.is_none();
    let serves = |route: &Served| route.method == *method || (*method == Method::HEAD && public_get(route));
    let Some(route) = table.iter().find(|each| serves(each) && matches(each.path, path)) else {
        let guarded = ["/admin", "/users", "/v1/users"].iter().any(|each| path.starts_with(each))
            && matches!(answer.status, 401 | 403);
        // A script's question whether it may ask (Fetch standard, section 3.2.2) belongs to every path that says yes.
        let preflight = *method == Method::OPTIONS && answer.header("access-control-allow-origin").is_some();
        if let Some(route) = table.iter().find(|each| preflight && matches(each.path, path)) {
            return hold(method, path, answer, route.path);
        }
        if ["/account/", "/console/"].iter().any(|root| path.starts_with(root)) {
            return hold(method, path, answer, path);
        }
        assert!(guarded || matches!(answer.status, 404 | 405), "{method} {path} is in no table: {answer:?}");
        // There such an answer has a shape of its own.
        if ["/users", "/v1/users", "/auth/token"].iter().any(|root| path.starts_with(root)) {
            hold(method, path, answer, path);
        }
        return;
    };
    hold(method, path, answer, route.path);
}

/// Holds an answer against the document's words about `pattern`.
fn hold(method: &Method, path: &str, answer: &Answer, pattern: &str) {
    let content_type = answer.header("content-type");
    let header = |name: &str| answer.header(name).map(str::to_owned);
    let checked = CONTRACT.check(method.as_str(), pattern, answer.status, content_type, header, &answer.body);
    if let Err(difference) = checked {
        panic!("{method} {path}: {difference}\n{}", String::from_utf8_lossy(&answer.body));
    }
}

/// Whether a path with parameters in braces names `path`.
fn matches(pattern: &str, path: &str) -> bool {
    // An issuer's path may have several segments.
    if let Some(start) = pattern.strip_suffix("{path}") {
        return path.len() > start.len() && path.starts_with(start);
    }
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    let same =
        |(part, segment): (&&str, &&str)| (part.starts_with('{') && !segment.is_empty()) || part == segment;
    pattern.len() == path.len() && pattern.iter().zip(&path).all(same)
}

/// A POST of a form.
pub(crate) fn form(path: &str, body: &str) -> TestRequest {
    TestRequest::post()
        .uri(path)
        .insert_header(("Content-Type", "application/x-www-form-urlencoded"))
        .set_payload(body.to_owned())
}

/// HTTP Basic credentials.
pub(crate) fn basic((client_id, secret): (&str, &str)) -> (&'static str, String) {
    ("Authorization", format!("Basic {}", STANDARD.encode(format!("{client_id}:{secret}"))))
}

/// A bearer token.
pub(crate) fn bearer(token: &str) -> (&'static str, String) {
    ("Authorization", format!("Bearer {token}"))
}

/// The claims of an access token, not verified, which are written as the type that reads them would write them.
pub(crate) fn claims(token: &str) -> AccessTokenClaims {
    let part = token.split('.').nth(1).expect("a part");
    let json = String::from_utf8(URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("UTF-8");
    let claims: AccessTokenClaims = serde_json::from_str(&json).expect("claims");
    assert_eq!(serde_json::to_string(&claims).expect("JSON"), json);
    claims
}

/// A part of a JWT, decoded but not verified: 0 is the header, 1 the claims.
pub(crate) fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).expect("a part");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}
