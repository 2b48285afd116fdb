//! What each act of people and of their clients writes: how many commits, rows and bytes. The model in `docs/scale.md` rests on it,
//! and what its table says is held against what happens.

use std::fs;
use std::sync::Arc;

use serde_json::json;
use signet::clients::{ConsentRule, Registration};
use signet::clock::ManualClock;
use signet::oauth::WebUri;

use crate::browser::{Browser, PASSWORD, ada, parameter, redeem, register, request, shop};
use crate::faulty_store::{FaultyStore, Written};
use crate::grants_fixture::{World, pair};
use crate::test_app::{START, TestApp, form};

fn page() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scale.md")).expect("the page")
}

/// What the table of the page says that an act writes: commits, and bytes where it names them.
fn said(act: &str) -> (usize, Option<usize>) {
    let page = page();
    let mut rows = page.lines().map(|line| line.split(" | ").collect::<Vec<_>>());
    let row = rows.find(|cells| cells[0] == format!("| {act}")).unwrap_or_else(|| panic!("no row {act}"));
    let words: Vec<&str> = row[3].split([' ', ',', ';']).filter(|word| !word.is_empty()).collect();
    let number = |unit: &str| {
        let at = words.iter().position(|word| word.trim_end_matches('s') == unit)?;
        words[at - 1].parse().ok()
    };
    assert!(number("commit").is_some() || words == ["none"], "{act}: {}", row[3]);
    (number("commit").unwrap_or(0), number("byte"))
}

/// A store that counts, and the service on it.
struct Counted {
    store: Arc<FaultyStore>,
    total: Written,
}

impl Counted {
    async fn start() -> (Self, TestApp) {
        let clock = Arc::new(ManualClock::at(START));
        let store = FaultyStore::new(clock.clone());
        let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
        (Self { store, total: Written::default() }, app)
    }

    /// What was written since the last look.
    fn take(&mut self) -> Written {
        let written = std::mem::take(&mut *self.store.written.lock().unwrap());
        self.total.commits += written.commits;
        self.total.bytes += written.bytes;
        written
    }

    /// Asserts that as much was written since the last look as the page says of `row`.
    #[expect(clippy::print_stdout, reason = "a test prints what it counted")]
    #[track_caller]
    fn holds(&mut self, row: &str, act: &str) {
        let Written { commits, rows, bytes } = self.take();
        println!("{act}: {commits} commits, {rows} rows, {bytes} bytes of keys and values");
        let (made, about) = said(row);
        assert_eq!(commits, made, "{act}");
        let about = about.unwrap_or(bytes);
        assert!(bytes.abs_diff(about) * 10 <= about, "{act}: {bytes} bytes, and docs/scale.md says {about}");
    }
}

#[actix_web::test]
async fn what_is_written_for_each_act_of_a_client() {
    let (mut counted, app) = Counted::start().await;
    let world = World::on(app, json!({})).await;
    counted.take();
    world.app.demo_token().await;
    counted.holds("token by client credentials, ES256", "access token by client credentials");
    let code = world.code().await;
    counted.holds("code issued", "code issued");
    let (access, refresh) = pair(&world.redeem(&code).await);
    counted.holds("code exchanged, access and refresh token", "code exchanged");
    let (_, refresh) = pair(&world.refresh(&refresh).await);
    counted.holds("refresh token rotated", "first refresh");
    pair(&world.refresh(&refresh).await);
    counted.holds("refresh token rotated", "refresh");
    world.introspect(&access).await;
    counted.holds("introspection", "introspection");
    let revoke = world.as_client(form("/oauth2/revoke", &format!("token={access}")));
    assert_eq!(world.app.send(revoke).await.status, 200);
    counted.holds("revocation of one token", "revocation of one token");
}

/// A person signs in on the way to a client: of our own or of others', of whom the person is asked first; told of sessions' ends or not.
#[actix_web::test]
async fn what_is_written_for_a_sign_in_that_begins_a_grant() {
    let told = || WebUri::parse("https://shop.example.com/logout").ok();
    let own = || Registration { consent: ConsentRule::Implied, ..shop() };
    for (client, sign_in, of_all) in [
        (own(), None, 3),
        (Registration { backchannel_logout_uri: told(), ..own() }, None, 4),
        (shop(), Some("sign-in"), 6),
        (Registration { backchannel_logout_uri: told(), ..shop() }, Some("sign-in"), 7),
    ] {
        let (mut counted, app) = Counted::start().await;
        ada(&app).await;
        let client = register(&app, client).await;
        let mut browser = Browser::default();
        counted.take();
        counted.total = Written::default();
        let page = browser.get(&app, &request(&[])).await;
        let mut back = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
        if let Some(row) = sign_in {
            counted.holds(row, "sign-in");
            let page = browser.go_on(&app, back).await;
            back = browser.decide(&app, &page, "allow").await;
        }
        redeem(&app, &client, &parameter(&back, "code").expect("a code")).await;
        counted.take();
        println!("sign-in and a grant: {} commits, {} bytes", counted.total.commits, counted.total.bytes);
        assert_eq!(counted.total.commits, of_all);
    }
    let said = "makes three commits, six where the person is asked first, and one more where the client is told of sessions' ends";
    assert!(page().contains(said), "docs/scale.md computes with other commits");
}
