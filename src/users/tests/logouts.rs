//! Who is to be told when a session is ended, and by whom.

use super::*;
use crate::oauth::{ClientId, SessionId};
use crate::store::Condition;

fn client(name: &str) -> ClientId {
    ClientId::parse(name).unwrap()
}

async fn started(sessions: &Sessions, user: UserId) -> Session {
    let authentication = Authentication { auth_time: 1_800_000_000, amr: vec!["pwd".into()] };
    let new = NewSession { user, authentication, user_agent: None, address: None };
    sessions.start(new).await.unwrap().session
}

/// A session of alice's in which these clients take part.
async fn session_of(ground: &Ground, clients: &[&str]) -> SessionId {
    let sessions = ground.sessions();
    let session = started(&sessions, user("alice")).await;
    for name in clients {
        let party = (&client(name), ground.clock.now());
        assert!(sessions.join(&session.user, &session.sid, party).await.unwrap());
    }
    session.sid
}

async fn end(ground: &Ground, sid: &SessionId) {
    assert!(ground.sessions().end(&user("alice"), sid).await.unwrap().is_some());
}

fn names(due: &[DueLogout]) -> Vec<String> {
    due.iter().map(|due| due.logout.client_id.to_string()).collect()
}

#[tokio::test]
async fn whoever_took_part_is_due_once_when_the_session_is_ended_and_nobody_when_it_expires() {
    let ground = Ground::new();
    let (sessions, queue) = (ground.sessions(), ground.logouts());
    let sid = session_of(&ground, &["shop", "blog", "shop"]).await;
    let alone = started(&sessions, user("alice")).await;
    assert!(queue.due(10).await.unwrap().is_empty());
    end(&ground, &sid).await;
    end(&ground, &alone.sid).await;
    assert!(sessions.end(&user("alice"), &sid).await.unwrap().is_none());
    let due = queue.due(10).await.unwrap();
    assert_eq!(names(&due), ["blog", "shop"]);
    assert!(due.iter().all(|due| due.logout.sid == sid && due.logout.user == user("alice")));
    assert_eq!(queue.count().await.unwrap(), 2);

    let expiring = session_of(&ground, &["shop"]).await;
    ground.pass(8 * 3600);
    assert!(sessions.find_by_sid(&user("alice"), &expiring).await.unwrap().is_none());
    assert!(sessions.end_all(&user("alice")).await.unwrap().is_empty());
    assert_eq!(queue.count().await.unwrap(), 2);
}

#[tokio::test]
async fn the_session_and_whom_to_tell_are_one_commit() {
    let ground = Ground::new();
    let sid = session_of(&ground, &["shop", "blog"]).await;
    let before = ground.store.flushes();
    end(&ground, &sid).await;
    assert_eq!(ground.store.flushes() - before, 1, "a crash in between would lose them");
    assert_eq!(ground.logouts().count().await.unwrap(), 2);
}

#[tokio::test]
async fn nobody_joins_a_session_that_has_ended_and_whoever_has_joined_is_told() {
    for head_start in 0..8 {
        let ground = Ground::new();
        let (sessions, queue) = (ground.sessions(), ground.logouts());
        let session = started(&sessions, user("alice")).await;
        let ending = async {
            for _ in 0..head_start {
                tokio::task::yield_now().await;
            }
            sessions.end(&session.user, &session.sid).await.unwrap()
        };
        let shop = client("shop");
        let joining = sessions.join(&session.user, &session.sid, (&shop, ground.clock.now()));
        let (ended, joined) = tokio::join!(ending, joining);
        assert!(ended.is_some());
        let told = names(&queue.due(10).await.unwrap()) == ["shop"];
        assert_eq!(joined.unwrap(), told, "after {head_start} steps");
    }
}

#[tokio::test]
async fn many_join_at_once_and_the_cookie_may_be_renewed_meanwhile() {
    let ground = Ground::new();
    let sessions = Arc::new(ground.sessions());
    let session = started(&sessions, user("alice")).await;
    let mut joining = tokio::task::JoinSet::new();
    for number in 0..30 {
        let (sessions, session, now) = (sessions.clone(), session.clone(), ground.clock.now());
        joining.spawn(async move {
            let name = client(&format!("client-{number}"));
            sessions.join(&session.user, &session.sid, (&name, now)).await.unwrap()
        });
    }
    assert!(joining.join_all().await.into_iter().all(|joined| joined));
    assert_eq!(sessions.end(&session.user, &session.sid).await.unwrap().unwrap().parties.len(), 30);
    assert_eq!(ground.logouts().count().await.unwrap(), 30);
}

#[tokio::test]
async fn a_client_that_was_registered_anew_joins_anew() {
    let ground = Ground::new();
    let sessions = ground.sessions();
    let session = started(&sessions, user("alice")).await;
    let (shop, first) = (client("shop"), ground.clock.now());
    assert!(sessions.join(&session.user, &session.sid, (&shop, first)).await.unwrap());
    ground.pass(10);
    let second = ground.clock.now();
    for registered_at in [first, second] {
        assert!(sessions.join(&session.user, &session.sid, (&shop, registered_at)).await.unwrap());
    }
    let parties = sessions.find_by_sid(&session.user, &session.sid).await.unwrap().unwrap().parties;
    assert_eq!(parties, [Party { client_id: shop, joined_at: second }]);
}

#[tokio::test]
async fn a_client_that_was_registered_by_a_clock_ahead_is_the_one_that_joined() {
    let ground = Ground::new();
    let sessions = ground.sessions();
    let session = started(&sessions, user("alice")).await;
    let (shop, registered_at) = (client("shop"), ground.clock.now() + chrono::Duration::hours(1));
    for _ in 0..2 {
        assert!(sessions.join(&session.user, &session.sid, (&shop, registered_at)).await.unwrap());
    }
    // By which it is found again when it is to be told.
    let parties = sessions.find_by_sid(&session.user, &session.sid).await.unwrap().unwrap().parties;
    assert_eq!(parties, [Party { client_id: shop, joined_at: registered_at }]);
}

#[tokio::test]
async fn of_two_who_would_send_one_does() {
    for head_start in 0..4 {
        let ground = Ground::new();
        let sid = session_of(&ground, &["shop"]).await;
        end(&ground, &sid).await;
        let claim = |wait: usize| {
            let queue = ground.logouts();
            async move {
                for _ in 0..wait {
                    tokio::task::yield_now().await;
                }
                match queue.due(10).await.unwrap().pop() {
                    Some(due) => queue.claim(due).await.unwrap(),
                    None => None,
                }
            }
        };
        let (a, b) = tokio::join!(claim(0), claim(head_start));
        assert!(a.is_some() ^ b.is_some(), "after {head_start} steps: {a:?} {b:?}");
        assert!(ground.logouts().due(10).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_was_claimed_and_lost_comes_due_again() {
    let ground = Ground::new();
    let queue = ground.logouts();
    let sid = session_of(&ground, &["shop"]).await;
    end(&ground, &sid).await;
    let lost = queue.claim(queue.due(10).await.unwrap().remove(0)).await.unwrap().unwrap();
    ground.pass(119);
    assert!(queue.due(10).await.unwrap().is_empty());
    ground.pass(1);
    let found = queue.claim(queue.due(10).await.unwrap().remove(0)).await.unwrap().unwrap();
    assert_eq!(found.logout, lost.logout);
    // The one who lost it comes back late: the row is the other's.
    assert!(queue.postpone(lost).await.unwrap().is_none());
    assert_eq!(queue.count().await.unwrap(), 1);
    queue.done(found).await.unwrap();
    assert_eq!(queue.count().await.unwrap(), 0);
}

/// It was tried in vain by that clock, or claimed by a process that has ended since.
#[tokio::test]
async fn what_a_clock_that_was_ahead_has_put_off_is_due_when_it_is_right() {
    let ground = Ground::new();
    let queue = ground.logouts();
    let (right, names_due) = (ground.clock.numeric_date(), async || names(&queue.due(1).await.unwrap()));
    let sid = session_of(&ground, &["blog", "shop", "shop0"]).await;
    end(&ground, &sid).await;
    ground.clock.jump_to(right + 3 * 3600);
    for due in queue.due(1).await.unwrap() {
        let is_tried = due.logout.client_id.as_str() == "blog";
        let claimed = queue.claim(due).await.unwrap().unwrap();
        if is_tried {
            assert!(queue.postpone(claimed).await.unwrap().is_none());
        }
    }
    assert!(names_due().await.is_empty());
    ground.clock.jump_to(right);
    let sid = session_of(&ground, &["shop"]).await;
    end(&ground, &sid).await;
    assert_eq!(names_due().await, ["blog", "shop", "shop", "shop0"]);
    for due in queue.due(1).await.unwrap() {
        queue.claim(due).await.unwrap().unwrap();
    }
    assert!(names_due().await.is_empty(), "as any that is claimed");
}

#[tokio::test]
async fn what_failed_waits_longer_each_time_until_it_is_given_up() {
    let ground = Ground::new();
    let queue = ground.logouts();
    let sid = session_of(&ground, &["shop"]).await;
    end(&ground, &sid).await;
    let mut tries = 0;
    loop {
        let claimed = queue.claim(queue.due(10).await.unwrap().remove(0)).await.unwrap().unwrap();
        tries += 1;
        if let Some(given_up) = queue.postpone(claimed).await.unwrap() {
            // It is there until it is said that it may go.
            assert_eq!(queue.count().await.unwrap(), 1);
            queue.done(given_up).await.unwrap();
            break;
        }
        assert!(queue.due(10).await.unwrap().is_empty(), "it is tried again at once");
        ground.pass(if tries == 1 { 5 } else { 3600 });
    }
    assert_eq!(tries, 16);
    assert_eq!(queue.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_client_with_many_hides_nobody() {
    let ground = Ground::new();
    let queue = ground.logouts();
    // Identifiers that begin alike sort around the slash in the keys.
    let all = ["sho", "shop", "shop-2", "shop.a", "shop0", "shop00", "shopz", "~"];
    for _ in 0..7 {
        let sid = session_of(&ground, &all).await;
        end(&ground, &sid).await;
    }
    let due = queue.due(3).await.unwrap();
    for name in all {
        assert_eq!(names(&due).iter().filter(|each| *each == name).count(), 3, "{name}");
    }
    assert_eq!(due.len(), 3 * all.len());
    // One client's are all put off: the others' are still found.
    for due in queue.due(10).await.unwrap() {
        if due.logout.client_id.as_str() == "shop" {
            queue.claim(due).await.unwrap().unwrap();
        }
    }
    assert_eq!(queue.due(10).await.unwrap().len(), 7 * (all.len() - 1));
}

#[tokio::test]
async fn a_row_that_cant_be_read_holds_up_no_other() {
    let ground = Ground::new();
    let sid = session_of(&ground, &["blog", "forum", "shop"]).await;
    end(&ground, &sid).await;
    let later = session_of(&ground, &["blog"]).await;
    ground.pass(1);
    end(&ground, &later).await;
    let store = ground.store.as_ref();
    let rows = crate::store::Store::scan(store, logout_queue::TABLE, None, 10).await.unwrap();
    assert_eq!(rows.len(), 4);
    // The first of a client that has another, and all of one.
    for (key, _) in [&rows[0], &rows[3]] {
        let put = crate::store::Put { value: b"no logout".to_vec(), expires_at: None };
        let batch = Batch::new().put(logout_queue::TABLE, key.clone(), Condition::Always, put);
        assert_eq!(store.commit(batch).await.unwrap(), Committed::Applied);
    }
    assert_eq!(names(&ground.logouts().due(10).await.unwrap()), ["blog", "forum"]);
    // As many as are looked at of one client at a time.
    assert_eq!(names(&ground.logouts().due(1).await.unwrap()), ["blog", "forum"]);
}
