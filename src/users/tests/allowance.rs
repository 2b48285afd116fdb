use super::*;

const MOST: usize = 3;

fn allowance(ground: &Ground) -> Allowance {
    Allowance::new(MOST, ground.store.clone(), ground.clock())
}

#[tokio::test]
async fn so_many_things_are_made_in_any_day_and_no_more() {
    let ground = Ground::new();
    let (alice, bob) = (user("alice"), user("bob"));
    for _ in 0..MOST {
        allowance(&ground).spend(&alice).await.unwrap();
        ground.pass(3600);
    }
    // Each by an allowance of its own: it is the store that counts.
    let refused = allowance(&ground).spend(&alice).await.unwrap_err();
    let AllowanceError::TooMany { most, retry_after } = refused else { panic!("{refused}") };
    assert_eq!((most, retry_after.as_secs()), (MOST, 21 * 3600));
    allowance(&ground).spend(&bob).await.unwrap();
    ground.pass(21 * 3600 - 1);
    assert!(allowance(&ground).spend(&alice).await.is_err());
    ground.pass(1);
    allowance(&ground).spend(&alice).await.unwrap();
    assert!(allowance(&ground).spend(&alice).await.is_err(), "only the first one has left the day");
    let lowered = Allowance::new(1, ground.store.clone(), ground.clock());
    ground.pass(2 * 3600);
    assert!(lowered.spend(&alice).await.is_err(), "one of the last 24 hours is left");
}

#[tokio::test]
async fn what_was_made_by_a_clock_that_was_ahead_keeps_nobody_from_making_more() {
    let ground = Ground::new();
    let alice = user("alice");
    let now = ground.clock.numeric_date();
    ground.clock.jump_to(now + 365 * 24 * 3600);
    for _ in 0..MOST {
        allowance(&ground).spend(&alice).await.unwrap();
    }
    ground.clock.jump_to(now + 365 * 24 * 3600 - 60);
    assert!(allowance(&ground).spend(&alice).await.is_err(), "so far the clocks of nodes may differ");
    ground.clock.jump_to(now);
    for _ in 0..MOST {
        allowance(&ground).spend(&alice).await.unwrap();
    }
    assert!(allowance(&ground).spend(&alice).await.is_err());
}

#[tokio::test]
async fn however_many_are_made_at_once_there_are_no_more() {
    let ground = Ground::new();
    let allowance = Arc::new(allowance(&ground));
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let allowance = allowance.clone();
        tries.spawn(async move { allowance.spend(&user("alice")).await.is_ok() });
    }
    assert_eq!(tries.join_all().await.into_iter().filter(|done| *done).count(), MOST);
}
