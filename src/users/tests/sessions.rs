use super::*;

fn authentication(auth_time: i64) -> Authentication {
    Authentication { auth_time, amr: vec!["pwd".into()] }
}

fn new_session(user: UserId) -> NewSession {
    let user_agent = Some("x".repeat(1000));
    NewSession { user, authentication: authentication(1_800_000_000), user_agent, address: None }
}

/// What becomes of the session whose person proves anew who they are.
async fn renew(ground: &Ground, cookie: &Secret, auth_time: i64) -> Option<StartedSession> {
    loop {
        let renewing = ground.sessions().renewing(Batch::new(), cookie, authentication(auth_time)).await;
        let (renewed, batch) = renewing.unwrap()?;
        if ground.store.commit(batch).await.unwrap() == Committed::Applied {
            return Some(renewed);
        }
    }
}

#[tokio::test]
async fn a_session_is_found_by_its_cookie_alone_and_stored_as_a_hash() {
    let ground = Ground::new();
    let sessions = ground.sessions();
    let started = sessions.start(new_session(user("alice"))).await.unwrap();
    assert_eq!(sessions.find(&started.cookie).await.unwrap(), Some(started.session.clone()));
    assert_eq!(started.session.user_agent.as_ref().unwrap().len(), 256);
    for wrong in ["", started.session.sid.as_str(), &started.cookie.expose()[1..]] {
        assert_eq!(sessions.find(&secret(wrong)).await.unwrap(), None);
    }
    let other = sessions.start(new_session(user("alice"))).await.unwrap();
    assert_ne!(other.session.sid, started.session.sid);
    for table in ["sessions", "user_sessions"] {
        for (key, row) in ground.store.scan(crate::store::Table::plain(table), None, 10).await.unwrap() {
            let row = [key, row.value].concat();
            let cookie = started.cookie.expose().as_bytes();
            assert!(!row.windows(cookie.len()).any(|part| part == cookie));
        }
    }
}

#[tokio::test]
async fn whoever_goes_on_is_not_signed_out_however_short_the_idle_lifetime_is() {
    let ground = Ground::new();
    let sessions = ground.sessions_that_idle_for(Duration::from_mins(1));
    let started = sessions.start(new_session(user("alice"))).await.unwrap();
    for second in 0..60 {
        ground.pass(5);
        assert!(sessions.find(&started.cookie).await.unwrap().is_some(), "{second}");
    }
    ground.pass(60);
    assert_eq!(sessions.find(&started.cookie).await.unwrap(), None);
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_and_when_it_is_old() {
    let ground = Ground::new();
    let sessions = ground.sessions();
    let (hour, alice) = (3600, user("alice"));
    let idle = sessions.start(new_session(alice.clone())).await.unwrap();
    let used = sessions.start(new_session(alice.clone())).await.unwrap();
    ground.pass(5 * hour);
    assert!(sessions.find(&used.cookie).await.unwrap().is_some());
    ground.pass(3 * hour);
    assert!(sessions.find(&used.cookie).await.unwrap().is_some());
    assert_eq!(sessions.find(&idle.cookie).await.unwrap(), None);
    assert_eq!(sessions.find_by_sid(&alice, &idle.session.sid).await.unwrap(), None);
    assert_eq!(sessions.of_user(&alice).await.unwrap().len(), 1);
    for _ in 0..22 {
        ground.pass(7 * hour);
        assert!(sessions.find(&used.cookie).await.unwrap().is_some());
    }
    // 162 hours have passed.
    ground.pass(6 * hour - 1);
    assert!(sessions.find(&used.cookie).await.unwrap().is_some());
    ground.pass(1);
    assert_eq!(sessions.find(&used.cookie).await.unwrap(), None);
    assert_eq!(ground.store.sweep(ground.clock.now(), 100).await.unwrap(), 4);
}

#[tokio::test]
async fn a_session_that_began_by_a_clock_that_was_ahead_ends_by_the_right_one() {
    let ground = Ground::new();
    let sessions = ground.sessions();
    let (hour, right) = (3600, ground.clock.now().timestamp());
    ground.clock.jump_to(right + 48 * 3600);
    let idle = sessions.start(new_session(user("alice"))).await.unwrap();
    let used = sessions.start(new_session(user("alice"))).await.unwrap();
    ground.clock.jump_to(right);
    for started in [&idle, &used] {
        assert!(sessions.find(&started.cookie).await.unwrap().is_some());
    }
    for pause in [4, 4] {
        ground.pass(pause * hour);
        assert!(sessions.find(&used.cookie).await.unwrap().is_some());
    }
    assert_eq!(sessions.find(&idle.cookie).await.unwrap(), None);
    for _ in 0..22 {
        ground.pass(7 * hour);
        assert!(sessions.find(&used.cookie).await.unwrap().is_some());
    }
    // A week has passed.
    ground.pass(6 * hour);
    assert_eq!(sessions.find(&used.cookie).await.unwrap(), None);
}

#[tokio::test]
async fn that_it_was_used_is_written_once_a_minute() {
    let ground = Ground::new();
    let sessions = ground.sessions();
    let started = sessions.start(new_session(user("alice"))).await.unwrap();
    let rows = || ground.store.scan(crate::store::Table::plain("sessions"), None, 10);
    let before = rows().await.unwrap();
    ground.pass(59);
    sessions.find(&started.cookie).await.unwrap().unwrap();
    assert_eq!(rows().await.unwrap(), before);
    ground.pass(1);
    let found = sessions.find(&started.cookie).await.unwrap().unwrap();
    assert_eq!(found.last_seen, ground.clock.now());
    assert_ne!(rows().await.unwrap(), before);
}

#[tokio::test]
async fn proving_it_anew_changes_the_cookie_and_not_the_session() {
    let ground = Ground::new();
    let sessions = ground.sessions();
    let started = sessions.start(new_session(user("alice"))).await.unwrap();
    ground.pass(100);
    let renewed = renew(&ground, &started.cookie, 1_800_000_100).await.unwrap();
    assert_eq!(renewed.session.sid, started.session.sid);
    assert_eq!(renewed.session.created_at, started.session.created_at);
    assert_eq!(sessions.find(&started.cookie).await.unwrap(), None);
    assert!(renew(&ground, &started.cookie, 0).await.is_none());
    let found = sessions.find(&renewed.cookie).await.unwrap().unwrap();
    assert_eq!(found.authentication.auth_time, 1_800_000_100);
    // Ending it by its name ends the new cookie's session.
    assert!(sessions.end(&found.user, &found.sid).await.unwrap().is_some());
    assert_eq!(sessions.find(&renewed.cookie).await.unwrap(), None);
}

#[tokio::test]
async fn ending_all_ends_those_of_one_person_only() {
    let ground = Ground::new();
    let sessions = ground.sessions();
    // More than a page of them, and a name that begins like another.
    let (ali, alice) = (user("ali"), user("alice"));
    let mut cookies = Vec::new();
    for _ in 0..150 {
        cookies.push(sessions.start(new_session(ali.clone())).await.unwrap().cookie);
    }
    let other = sessions.start(new_session(alice.clone())).await.unwrap();
    assert!(sessions.end(&ali, &other.session.sid).await.unwrap().is_none(), "not hers");
    assert_eq!(sessions.of_user(&ali).await.unwrap().len(), 150);
    assert_eq!(sessions.end_all(&ali).await.unwrap().len(), 150);
    for cookie in &cookies {
        assert_eq!(sessions.find(cookie).await.unwrap(), None);
    }
    assert_eq!(sessions.of_user(&ali).await.unwrap(), []);
    assert!(sessions.find(&other.cookie).await.unwrap().is_some());
}

#[tokio::test]
async fn what_is_ended_stays_so_though_it_is_used_or_renewed_at_the_same_time() {
    for renews in [false, true] {
        for head_start in 0..6 {
            let ground = Ground::new();
            let sessions = ground.sessions();
            let started = sessions.start(new_session(user("alice"))).await.unwrap();
            ground.pass(60);
            let mut cookies = vec![started.cookie.clone()];
            let using = async {
                for _ in 0..head_start {
                    tokio::task::yield_now().await;
                }
                if renews {
                    renew(&ground, &started.cookie, 1).await.map(|renewed| renewed.cookie)
                } else {
                    sessions.find(&started.cookie).await.unwrap();
                    None
                }
            };
            let alice = user("alice");
            let (renewed, ended) = tokio::join!(using, sessions.end_all(&alice));
            assert_eq!(ended.unwrap().len(), 1);
            cookies.extend(renewed);
            for cookie in cookies {
                assert_eq!(sessions.find(&cookie).await.unwrap(), None, "{renews} {head_start}");
            }
            assert_eq!(sessions.of_user(&alice).await.unwrap(), []);
        }
    }
}

#[tokio::test]
async fn no_session_begins_after_the_account_was_changed_however_close() {
    for head_start in 0..12 {
        let ground = Ground::new();
        let (accounts, sessions) = (ground.accounts(), ground.sessions());
        let alice = accounts.register(new_account("alice")).await.unwrap();
        let entering = async {
            for _ in 0..head_start {
                tokio::task::yield_now().await;
            }
            let batch = accounts.unchanged(Batch::new(), &alice).await.unwrap()?;
            let (_, batch) = sessions.starting(batch, new_session(alice.id.clone())).unwrap();
            Some(ground.store.commit(batch).await.unwrap())
        };
        let changing = async {
            let change = AccountChange { disabled: Some(true), ..AccountChange::default() };
            accounts.update(&alice.id, &change).await.unwrap();
            sessions.end_all(&alice.id).await.unwrap()
        };
        let (entered, ended) = tokio::join!(entering, changing);
        assert_eq!(sessions.of_user(&alice.id).await.unwrap(), [], "{head_start}: {entered:?} {ended:?}");
    }
}

#[tokio::test]
async fn a_sign_in_depends_on_the_account_as_it_was_when_the_password_was_right() {
    let ground = Ground::new();
    let accounts = ground.accounts();
    let alice = accounts.register(new_account("alice")).await.unwrap();
    let drafted = async || accounts.unchanged(Batch::new(), &alice).await.unwrap();
    let before = drafted().await.unwrap();
    let renamed = AccountChange { name: Some("Al".to_owned()), ..AccountChange::default() };
    accounts.update(&alice.id, &renamed).await.unwrap();
    assert_eq!(ground.store.commit(before).await.unwrap(), Committed::Conflict);
    let before = drafted().await.expect("a new name ends nothing");
    assert_eq!(ground.store.commit(before.clone()).await.unwrap(), Committed::Applied);
    accounts.set_password(&alice.id, &secret("another long password")).await.unwrap();
    assert_eq!(ground.store.commit(before).await.unwrap(), Committed::Conflict);
    assert!(drafted().await.is_none());
    accounts.delete(&alice).await.unwrap();
    assert!(drafted().await.is_none());
}
