//! Secrets leave no trace: two dozen of them go through all flows and through faults, of the store too, and are looked for afterwards
//! in the service's own log at its most talkative, in the audit log, in metrics, in refusals, in every file, and in a copy of the installation.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use signet::clock::ManualClock;
use signet::config::{Config, KekSource, VaultPlace};
use signet::oauth::Secret;
use signet::store::postgres::TimeSource;

use crate::api_keys::EXCHANGE;
use crate::browser::{Browser, CALLBACK, PASSWORD, ada, parameter, register, request, shop, text};
use crate::canary_flows::Way;
use crate::canary_forms::Canary;
use crate::faulty_store::{FAULT, Fault, FaultyStore, is_done, without_limits};
use crate::grants_fixture::{VERIFIER, pair};
use crate::portal::totp_code;
use crate::postgres_fixture::Database;
use crate::service_log::Log;
use crate::shell::{act, form_token, hidden};
use crate::test_app::{Answer, RESOURCE, START, TestApp, basic, bearer, form};

fn files(dir: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

pub(crate) fn text_of(answer: &Value, member: &str) -> String {
    answer[member].as_str().unwrap_or_else(|| panic!("no {member}: {answer}")).to_owned()
}

/// Keeps what is refused, to be looked at later.
#[derive(Default)]
pub(crate) struct Refusals(Vec<Answer>);

impl Refusals {
    #[track_caller]
    pub(crate) fn take(&mut self, answer: Answer) {
        assert!(answer.status >= 400, "{answer:?}");
        self.0.push(answer);
    }

    /// One that need be none, as a page that asks who one is.
    pub(crate) fn keep(&mut self, answer: Answer) {
        self.0.push(answer);
    }

    /// What is answered at last, where each call of the store that it takes has failed once; without such a store, at once.
    pub(crate) async fn at_last(
        &mut self,
        failing: Option<(&TestApp, &FaultyStore)>,
        mut ask: impl AsyncFnMut() -> Answer,
    ) -> Answer {
        let Some((app, store)) = failing else { return ask().await };
        for call in 1.. {
            store.fail(call, (Fault::Refused, false));
            let answer = ask().await;
            if !store.heal() || is_done(&answer) {
                return answer;
            }
            self.0.push(answer);
            // What was done before something failed, the service has heard of by the next try.
            app.app.follow().await.unwrap();
        }
        unreachable!("it takes so many calls, and no more")
    }
}

/// What this process logs from the first test on that asks for it.
fn log() -> Log {
    static LOG: LazyLock<Log> = LazyLock::new(|| {
        let log = Log::default();
        let subscriber =
            tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        tracing::trace!("all of it");
        log
    });
    LOG.clone()
}

const KEK: [u8; 4] = [0x5a, 0x13, 0xc7, 0x42];

fn settings(config: &mut Config) {
    config.keys.kek = KekSource::Value(Secret::new(STANDARD.encode(KEK.repeat(8))));
    // What is sent a thousand times is looked at each time.
    without_limits(config);
    config.api_keys.in_query = true;
    config.dialects.oauth_token_get = true;
}

#[actix_web::test]
async fn secrets_leave_no_trace() {
    let log = log();
    let app = TestApp::start_with(settings).await;
    leave_no_trace(&log, &app, None, async || Vec::new()).await;
}

/// Every call of the store fails once while it has to do with one of them: what is told of that tells nothing of them.
#[actix_web::test]
async fn secrets_leave_no_trace_while_the_store_fails() {
    let log = log();
    let clock = Arc::new(ManualClock::at(START));
    let store = FaultyStore::new(clock.clone());
    let app = TestApp::start_on(store.clone(), clock, |config| {
        settings(config);
        // Nobody does meanwhile what a service does by itself.
        config.keys.propagation = Duration::from_hours(2);
    })
    .await;
    leave_no_trace(&log, &app, Some(&store), async || Vec::new()).await;
    let told = String::from_utf8_lossy(&log.bytes()).matches(FAULT).count();
    assert!(told > 30, "{told} faults were told of");
}

/// The keys are in the database too.
#[actix_web::test]
async fn secrets_leave_no_trace_in_postgres() {
    let Some(database) = Database::fresh().await else { return };
    let log = log();
    let clock = Arc::new(ManualClock::at(START));
    let store = database.store(TimeSource::Injected(clock.clone())).await;
    let app = TestApp::start_on(store, clock, |config| {
        settings(config);
        config.keys.vault = VaultPlace::Store;
    })
    .await;
    leave_no_trace(&log, &app, None, async || database.contents().await).await;
}

/// Sends them through `app`, whose store fails on their way if it is a `faulty` one, and looks for them everywhere; `elsewhere`
/// is where else it writes.
#[expect(clippy::too_many_lines, reason = "one way through the service, in order")]
#[expect(clippy::print_stdout, reason = "the figure is what it is run for")]
async fn leave_no_trace(
    log: &Log,
    app: &TestApp,
    faulty: Option<&FaultyStore>,
    elsewhere: impl AsyncFnOnce() -> Vec<(String, Vec<u8>)>,
) {
    let failing = faulty.map(|store| (app, store));
    let kek = KEK.repeat(8);
    let kek_text = STANDARD.encode(&kek);
    ada(app).await;
    let client = register(app, shop()).await;
    let client_secret = client.client_secret.unwrap().expose().to_owned();
    let as_shop =
        |body: &str| app.send(form("/oauth2/token", body).insert_header(basic(("shop", &client_secret))));
    let mut refusals = Refusals::default();

    // The password: wrong places first.
    let mut browser = Browser::default();
    let asked = request(&[("scope", "openid offline_access read")]);
    let page = browser.get(app, &asked).await;
    refusals.take(browser.sign_in(app, &page, (PASSWORD, PASSWORD)).await);
    let sign_in = async || {
        if faulty.is_some() {
            // Whoever fails so often has to wait, for longer than a page is good.
            app.clock.advance(Duration::from_mins(5));
        }
        let page = browser.get(app, &asked).await;
        let ada = ("ada@example.com", PASSWORD);
        if is_done(&page) { browser.sign_in(app, &page, ada).await } else { page }
    };
    assert_eq!(refusals.at_last(failing, sign_in).await.status, 303);
    // That took about an hour: the status lists of its beginning are full by their dates.
    app.pass(Duration::ZERO).await;
    let allow = async || {
        let question = browser.get(app, &asked).await;
        let is_asked = text(&question).contains("name=\"decision\"");
        if is_asked { browser.decide(app, &question, "allow").await } else { question }
    };
    let allowed = refusals.at_last(failing, allow).await;
    let code = parameter(&allowed, "code").unwrap();
    let redemption =
        format!("grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}&code_verifier={VERIFIER}");
    let tokens = refusals.at_last(failing, async || as_shop(&redemption).await).await;
    let (access_token, refresh_token) = pair(&tokens);
    let refresh = format!("grant_type=refresh_token&refresh_token={refresh_token}");
    let (_, later) = pair(&refusals.at_last(failing, async || as_shop(&refresh).await).await);
    let introspect = async || {
        let about = form("/oauth2/introspect", &format!("token={later}"));
        app.send(about.insert_header(basic(("shop", &client_secret)))).await
    };
    assert_eq!(refusals.at_last(failing, introspect).await.json()["active"], true);

    // A second factor, and its secret; then a new password.
    let path = "/account/second-factor";
    let page = act(&mut browser, app, path, &[("act", "enroll")]).await;
    let totp =
        text(&page).split("<code class=\"secret\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let (enrollment, right) = (hidden(&page, "enrollment"), totp_code(app, &totp));
    let token = form_token(&browser.get(app, "/account").await);
    let confirm =
        [("act", "confirm"), ("code", &*right), ("enrollment", &*enrollment), ("form_token", &*token)];
    let confirmed = refusals.at_last(failing, async || browser.post(app, path, &confirm).await).await;
    assert!(confirmed.status < 400);

    // The administration's secrets.
    let pem = include_str!("../fixtures/keys/p256.pem");
    let import = json!({ "key": pem, "algorithm": "ES256" });
    let admin = async |path: &str, body: &Value| {
        let token = app.admin_token().await;
        app.send(TestRequest::post().uri(path).insert_header(bearer(&token)).set_json(body)).await
    };
    let imported = refusals.at_last(failing, async || admin("/admin/keys/import", &import).await).await;
    // It may have been done before something failed.
    assert!(imported.status == 201 || faulty.is_some(), "{imported:?}");
    refusals.take(app.administer(Method::POST, "/admin/keys/import", Some(import)).await);
    let key = json!({ "name": "k", "client_id": app.demo().0, "scope": "read", "resources": [RESOURCE] });
    let made = refusals.at_last(failing, async || admin("/admin/api-keys", &key).await).await.json();
    let api_key = text_of(&made, "api_key");
    let exchange = format!(
        "grant_type={EXCHANGE}&subject_token={api_key}&subject_token_type=urn:signet:params:oauth:token-type:api_key"
    );
    let exchange = async || app.send(form("/oauth2/token", &exchange).insert_header(basic(app.demo()))).await;
    refusals.at_last(failing, exchange).await.access_token();

    // The other flows.
    let mut way = Way { app, failing, refusals: &mut refusals };
    let mut more = way.services().await;
    let (signed_in, made) = way.person(&totp).await;
    more.extend(made);
    more.extend(way.endings(signed_in, ("shop", &client_secret)).await);

    let overlap = json!({ "overlap_seconds": 60 });
    let rotated = refusals.at_last(failing, async || admin("/admin/clients/shop/secret", &overlap).await);
    let new_secret = text_of(&rotated.await.json(), "client_secret");
    let cookie = browser.cookies.values().max_by_key(|value| value.len()).unwrap().clone();

    // Faults: every secret where it does not belong, and again while the store is away, and while nothing can be recorded.
    for (away, full) in [(faulty, false), (None, false), (None, true)] {
        if let Some(store) = faulty {
            store.heal();
        }
        if let Some(store) = away {
            store.fail(1, (Fault::Refused, true));
        }
        app.audit_disk.fill(full);
        let more = more.iter().map(|(name, value)| (*name, &**value));
        for (name, value) in more.chain([
            ("password", PASSWORD),
            ("code", &*code),
            ("verifier", VERIFIER),
            ("access token", &*access_token),
            ("refresh token", &*later),
            ("API key", &*api_key),
            ("client secret", &*client_secret),
            ("cookie", &*cookie),
            ("KEK", &*kek_text),
        ]) {
            let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
            refusals
                .take(app.send(form("/oauth2/token", &format!("grant_type={value}&{value}={value}"))).await);
            refusals.take(app.send(TestRequest::get().uri(&format!("/{value}"))).await);
            refusals.take(
                app.send(TestRequest::get().uri(&format!("/admin/{value}")).insert_header(bearer(&value)))
                    .await,
            );
            let odd = format!("/oauth2/authorize?client_id={value}&redirect_uri={value}&scope={value}");
            refusals.take(app.send(TestRequest::get().uri(&odd)).await);
            refusals.take(
                app.send(
                    form("/oauth2/token", "grant_type=client_credentials")
                        .insert_header(basic((name, &value))),
                )
                .await,
            );
            let body = format!("{{\"client_id\":\"{value}\",\"grant_type\":\"{value}\",");
            let json =
                TestRequest::post().uri("/oauth/token").insert_header(("Content-Type", "application/json"));
            refusals.take(app.send(json.set_payload(body)).await);
            Way { app, failing, refusals: &mut refusals }.in_wrong_places(&value).await;
        }
        let client = json!({ "client_name": PASSWORD, "scope": client_secret, "resources": [api_key] });
        refusals.take(app.administer(Method::POST, "/admin/clients", Some(client)).await);
    }
    let page = Browser::default().get(app, &request(&[])).await;
    refusals.take(
        Browser { cookies: browser.cookies.clone() }.sign_in(app, &page, ("ada@example.com", PASSWORD)).await,
    );
    refusals.take(as_shop(&redemption).await);
    app.audit_disk.fill(false);
    // Spent: a replay revokes what there was.
    refusals.take(as_shop(&redemption).await);
    refusals.take(as_shop(&format!("grant_type=refresh_token&refresh_token={later}")).await);
    let account = browser.get(app, "/account").await;
    let token = form_token(&account);
    let asked = [
        ("form_token", &*token),
        ("current_password", "wrong one, sorry"),
        ("new_password", PASSWORD),
        ("repeated_password", PASSWORD),
    ];
    refusals.take(browser.post(app, "/account/password", &asked).await);

    let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let mut canaries = vec![
        Canary::of("password", PASSWORD),
        Canary::of("code", &code),
        Canary::of("verifier", VERIFIER),
        Canary::of("access token", &access_token),
        Canary::of("refresh token", &refresh_token),
        Canary::of("rotated refresh token", &later),
        Canary::of("API key", &api_key),
        Canary::of("client secret", &client_secret),
        Canary::of("new client secret", &new_secret),
        Canary::of("session cookie", &cookie),
        Canary::of("second factor's secret", &totp),
    ];
    canaries.extend(more.iter().map(|(name, value)| Canary::of(name, value)));
    // The end of its first line in the PEM file, which no line end interrupts.
    canaries.push(Canary::of("private key", &STANDARD.decode(&der).unwrap()[36..48]));
    canaries.push(Canary::of("key-encryption key", kek));
    canaries.push(Canary::of("key-encryption key as it is given", kek_text));
    assert!(canaries.len() > 24 && refusals.0.len() > 1000, "{} refusals", refusals.0.len());

    let metrics = app.manage("/metrics").await.body;
    let mut places = vec![("the metrics".to_owned(), metrics), ("the log".to_owned(), log.bytes())];
    files(app.dir(), &mut places);
    places.extend(elsewhere().await);
    places.extend(Way { app, failing, refusals: &mut refusals }.copy().await);
    let is_read = |(name, bytes): &(String, Vec<u8>)| name.contains("store") && bytes.len() > 10_000;
    assert!(faulty.is_some() || places.iter().any(is_read), "the store is read, unless it is in memory");
    assert!(places[1].1.ends_with(b"\n"), "the log is read");
    for canary in &canaries {
        for (name, bytes) in &places {
            canary.is_absent(name, bytes);
        }
        for refusal in &refusals.0 {
            let headers = format!("{:?}", refusal.headers);
            // A form shows what was typed into it to whoever typed it; what is not a name, it does not.
            if canary.name != "password" || refusal.header("content-type") != Some("text/html; charset=utf-8")
            {
                canary.is_absent("a refusal", &refusal.body);
            }
            canary.is_absent("a refusal's headers", headers.as_bytes());
        }
    }
    let (secrets, places, refusals) = (canaries.len(), places.len(), refusals.0.len());
    println!("{secrets} secrets: none in {places} files, logs and metrics, nor in {refusals} refusals");
}
