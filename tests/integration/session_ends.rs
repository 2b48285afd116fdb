//! What was issued in a session ends with it, whoever ends it and by whatever way; but not what may outlive it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::test::TestRequest;
use futures_util::FutureExt as _;
use serde_json::Value;
use signet::audit::Actor;
use signet::clients::Registered;
use signet::clock::ManualClock;
use signet::oauth::{Secret, SessionId, UserId};
use signet::protocol::users::{Entry, Keeper, change as change_account, end_session, sign_in};
use signet::tokens::Grant;
use signet::users::{Account, AccountChange, Authentication, NewSession, StartedSession};

use crate::browser::{Browser, PASSWORD, ada, parameter, redeem, register, request, shop, state, text};
use crate::grants_fixture::{VERIFIER, World, code_body, pair};
use crate::resource_server_fixture::ResourceServer;
use crate::shared_store::SharedStore;
use crate::shell::{account, act, hidden};
use crate::test_app::{Answer, START, TestApp, basic, bearer, form, part};

const SESSIONS: &str = "/account/sessions";

/// A service with Ada, Bob and the shop.
async fn service(app: &TestApp) -> Registered {
    ada(app).await;
    account(app, ("Bob", "bob@example.com"), false).await;
    register(app, shop()).await
}

/// What the shop gets that is let in by this browser.
async fn tokens(app: &TestApp, shop: &Registered, browser: &mut Browser, scope: &str) -> Value {
    // Whoever was asked about `offline_access` once has allowed it, without `prompt=consent` too.
    let asked = request(&[("scope", scope)]);
    redeem(app, shop, &parameter(&browser.allow(app, &asked).await, "code").expect("a code")).await
}

fn text_of<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().expect(name)
}

/// Whether the access token counts, as userinfo, introspection and the status list have it, which must agree.
async fn counts(app: &TestApp, shop: &Registered, tokens: &Value) -> bool {
    let token = text_of(tokens, "access_token");
    let answer = app.send(TestRequest::get().uri("/oauth2/userinfo").insert_header(bearer(token))).await;
    let secret = shop.client_secret.as_ref().expect("a secret").expose();
    let active = app.is_active_for((shop.client.client_id.as_str(), secret), token).await;
    assert_eq!(answer.status, if active { 200 } else { 401 });
    active
}

/// What the shop is answered that presents its refresh token.
async fn refresh(app: &TestApp, shop: &Registered, tokens: &Value) -> u16 {
    let body = format!("grant_type=refresh_token&refresh_token={}", text_of(tokens, "refresh_token"));
    let secret = shop.client_secret.as_ref().expect("a secret").expose();
    let request = form("/oauth2/token", &body).insert_header(basic((shop.client.client_id.as_str(), secret)));
    app.send(request).await.status
}

#[derive(Clone, Copy, Debug)]
enum Way {
    /// RP-initiated logout with the hint of an ID token.
    Hint,
    /// The same without, by the form.
    Form,
    /// "Sign out there", in the portal of another browser.
    There,
    /// "Sign out everywhere else".
    Others,
    /// Somebody else signs in by the same browser.
    SomebodyElse,
    /// The person signs in anew, and that can't be recorded.
    Unrecorded,
}

#[actix_web::test]
async fn whatever_way_a_session_ends_its_access_tokens_end_with_it() {
    for way in [Way::Hint, Way::Form, Way::There, Way::Others, Way::SomebodyElse, Way::Unrecorded] {
        let app = TestApp::start().await;
        let shop = service(&app).await;
        let (mut here, mut elsewhere) = (Browser::default(), Browser::default());
        let ended = tokens(&app, &shop, &mut here, "openid email read").await;
        let second = tokens(&app, &shop, &mut here, "openid").await;
        let offline = tokens(&app, &shop, &mut here, "openid read offline_access").await;
        let other = tokens(&app, &shop, &mut elsewhere, "openid email read").await;
        for each in [&ended, &second, &offline, &other] {
            assert!(counts(&app, &shop, each).await, "{way:?}");
        }
        // Their own session's name is not what others find.
        let api = ResourceServer::beside(&app);
        assert_eq!(api.products(text_of(&ended, "access_token")).await.status, 200);
        match way {
            Way::Hint => {
                let hint = text_of(&ended, "id_token");
                here.get(&app, &format!("/oauth2/logout?id_token_hint={hint}")).await;
            }
            Way::Form => {
                let page = here.get(&app, "/oauth2/logout").await;
                let members = [("state", &*state(&page)), ("decision", "sign-out")];
                assert_eq!(here.post(&app, "/oauth2/sign-out", &members).await.status, 200);
            }
            Way::There => {
                let page = elsewhere.get(&app, SESSIONS).await;
                let sid = hidden(&page, "sid");
                assert_eq!(part(text_of(&ended, "id_token"), 1)["sid"], sid.as_str());
                act(&mut elsewhere, &app, SESSIONS, &[("act", "end"), ("sid", &sid)]).await;
            }
            Way::Others => {
                act(&mut elsewhere, &app, SESSIONS, &[("act", "end_others")]).await;
            }
            Way::Unrecorded => {
                let page = here.get(&app, &request(&[("scope", "openid"), ("prompt", "login")])).await;
                app.audit_disk.fill(true);
                let refused = here.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
                assert_eq!(refused.status, 503);
                app.audit_disk.fill(false);
            }
            Way::SomebodyElse => {
                let page = here.get(&app, &request(&[("prompt", "login")])).await;
                here.sign_in(&app, &page, ("bob@example.com", PASSWORD)).await;
            }
        }
        for (each, counts_on) in [(&ended, false), (&second, false), (&offline, true), (&other, true)] {
            assert_eq!(counts(&app, &shop, each).await, counts_on, "{way:?}");
        }
        let refreshed = [refresh(&app, &shop, &ended).await, refresh(&app, &shop, &offline).await];
        assert_eq!(refreshed, [400, 200], "{way:?}");
        // Those who verify by themselves see it when their copy of the status list is over.
        app.clock.advance(Duration::from_secs(11));
        assert_eq!(api.products(text_of(&ended, "access_token")).await.status, 401, "{way:?}");
        assert_eq!(api.products(text_of(&offline, "access_token")).await.status, 200, "{way:?}");
    }
}

#[actix_web::test]
async fn a_session_that_ends_on_one_node_ends_its_tokens_on_the_other() {
    let clock = Arc::new(ManualClock::at(START));
    let store = SharedStore::new(clock.clone());
    let a = TestApp::start_on(store.clone(), clock, |_| {}).await;
    let b = a.another_node(store, 2).await;
    let shop = service(&a).await;
    b.app.follow().await.expect("the store's changes");
    // Of either node's status lists.
    let mut browser = Browser::default();
    let of_a = tokens(&a, &shop, &mut browser, "openid email read").await;
    let of_b = tokens(&b, &shop, &mut browser, "openid email read").await;
    for node in [&a, &b] {
        node.app.follow().await.expect("the store's changes");
        assert!(counts(node, &shop, &of_a).await && counts(node, &shop, &of_b).await);
    }
    let hint = text_of(&of_a, "id_token");
    browser.get(&b, &format!("/oauth2/logout?id_token_hint={hint}")).await;
    for node in [&b, &a] {
        node.app.follow().await.expect("the store's changes");
        assert!(!counts(node, &shop, &of_a).await && !counts(node, &shop, &of_b).await);
    }
}

/// A service on a store that can hold up a commit.
async fn held_up() -> (World, Arc<SharedStore>) {
    let clock = Arc::new(ManualClock::at(START));
    let store = SharedStore::new(clock.clone());
    let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
    (World::on(app, Value::Object(serde_json::Map::default())).await, store)
}

async fn end(world: &World, (user, sid): (&UserId, &SessionId)) {
    assert!(end_session(world.services(), user, sid).await.expect("the store").is_some());
}

/// Its code is to be spent when nobody is signed in any more: it is not, and no token counts.
#[actix_web::test]
async fn a_code_that_is_redeemed_while_the_session_ends_gives_nothing() {
    let (world, store) = held_up().await;
    let (grant, user, sid) = world.session_grant().await;
    let code = world.code_for(grant).await;
    let release = store.hold_next_commit();
    let mut redeemed = pin!(world.redeem(&code));
    while store.holds_next_commit() {
        assert!(redeemed.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    end(&world, (&user, &sid)).await;
    release.send(()).expect("it waits");
    redeemed.await.refused(400, "invalid_grant");
    assert_eq!(world.services().status_lists.revoked(), 0, "there was none");
}

#[actix_web::test]
async fn a_token_that_is_refreshed_while_the_session_ends_gives_nothing() {
    let (world, store) = held_up().await;
    let (grant, user, sid) = world.session_grant().await;
    let (access_token, refresh_token) = pair(&world.redeem(&world.code_for(grant).await).await);
    let release = store.hold_next_commit();
    let mut refreshed = pin!(world.refresh(&refresh_token));
    while store.holds_next_commit() {
        assert!(refreshed.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    end(&world, (&user, &sid)).await;
    release.send(()).expect("it waits");
    refreshed.await.refused(400, "invalid_grant");
    assert!(!world.is_active(&access_token).await);
    assert_eq!(world.services().status_lists.revoked(), 1, "the only one that there was");
}

/// The other way round: who signs out has looked for tokens already, and then there is one more.
#[actix_web::test]
async fn a_token_that_comes_before_the_session_has_ended_ends_with_it() {
    let (world, store) = held_up().await;
    let (grant, user, sid) = world.session_grant().await;
    let code = world.code_for(grant).await;
    let release = store.hold_next_commit();
    let mut ended = pin!(end(&world, (&user, &sid)));
    while store.holds_next_commit() {
        assert!(ended.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    let access_token = world.redeem(&code).await.access_token();
    assert!(world.is_active(&access_token).await);
    release.send(()).expect("it waits");
    ended.await;
    assert!(!world.is_active(&access_token).await);
}

/// All that is known when it ends is one commit: a crash leaves either a session with its tokens or neither.
#[actix_web::test]
async fn a_session_and_its_tokens_end_in_one_commit() {
    let (world, store) = held_up().await;
    let (grant, user, sid) = world.session_grant().await;
    let mut issued = Vec::new();
    for _ in 0..5 {
        issued.push(world.redeem(&world.code_for(grant.clone()).await).await.access_token());
    }
    store.make_read_only(true);
    assert!(end_session(world.services(), &user, &sid).await.is_err());
    for token in &issued {
        assert!(world.is_active(token).await, "nothing has happened");
    }
    store.make_read_only(false);
    let before = store.commits.load(std::sync::atomic::Ordering::SeqCst);
    end(&world, (&user, &sid)).await;
    assert_eq!(store.commits.load(std::sync::atomic::Ordering::SeqCst) - before, 1);
    for token in &issued {
        assert!(!world.is_active(token).await);
    }
}

/// More than one batch should hold: all of them end, those of other sessions do not.
#[actix_web::test]
async fn however_many_there_are_all_end() {
    let world = World::start_with(Value::Object(serde_json::Map::default()), |config| {
        config.limits.token_per_client = 0;
    })
    .await;
    let (grant, user, sid) = world.session_grant().await;
    let (other, ..) = world.session_grant().await;
    let kept = world.redeem(&world.code_for(other).await).await.access_token();
    let mut issued = Vec::new();
    let body = |code: &str| format!("{}&code_verifier={VERIFIER}", code_body(code));
    for _ in 0..300 {
        let answer = world.present(&body(&world.code_for(grant.clone()).await)).await;
        issued.push(answer.access_token());
    }
    end(&world, (&user, &sid)).await;
    for token in &issued {
        assert!(!world.is_active(token).await);
    }
    assert!(world.is_active(&kept).await);
    assert!(text(&world.redeem("x").await).contains("invalid_grant"));
}

/// Somebody who knows the former password: at each commit of those who change it, signs in as often as that goes, redeems what was
/// granted before, and asks for what outlives the session.
#[derive(Default)]
struct Intruder {
    codes: Vec<String>,
    answers: Vec<Answer>,
}

impl Intruder {
    async fn act(&mut self, world: &World, former: &Account) {
        if let Some(code) = self.codes.pop() {
            self.answers.push(world.redeem(&code).await);
        }
        for _ in 0..3 {
            let authentication = Authentication { auth_time: world.app.now(), amr: vec!["pwd".into()] };
            let user = former.id.clone();
            let new = NewSession { user, authentication, user_agent: None, address: None };
            let started = sign_in(world.services(), former, Entry::New(new)).await.expect("the store");
            let Some(StartedSession { session, .. }) = started else { return };
            let grant = Grant { sid: Some(session.sid), ..world.grant() };
            self.codes.push(world.code_for(grant).await);
        }
    }
}

#[actix_web::test]
async fn what_a_former_password_lets_in_does_not_outlive_it() {
    let (world, store) = held_up().await;
    let former = world.account.clone();
    let keeper = Keeper { actor: Actor::Service, of_administrators: true };
    let password = Some(Secret::new("another horse battery staple".to_owned()));
    let change = AccountChange { password, ..AccountChange::default() };
    let mut changed = pin!(change_account(world.services(), &keeper, former.id.as_str(), change));
    let (mut intruder, mut release) = (Intruder::default(), store.hold_next_commit());
    loop {
        let mut done = None;
        while store.holds_next_commit() && done.is_none() {
            done = changed.as_mut().now_or_never();
            tokio::task::yield_now().await;
        }
        if let Some(done) = done {
            done.expect("it is changed");
            break;
        }
        intruder.act(&world, &former).await;
        let next = store.hold_next_commit();
        release.send(()).expect("it waits");
        release = next;
    }
    drop(release);
    for code in std::mem::take(&mut intruder.codes) {
        world.redeem(&code).await.refused(400, "invalid_grant");
    }
    let let_in: Vec<_> = intruder.answers.iter().filter(|answer| answer.status == 200).map(pair).collect();
    assert!(let_in.len() > 2, "while the password was changed, {} times", let_in.len());
    for (access_token, refresh_token) in let_in {
        world.refresh(&refresh_token).await.refused(400, "invalid_grant");
        assert!(!world.is_active(&access_token).await);
    }
}
