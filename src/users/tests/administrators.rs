use super::*;

async fn administrator(accounts: &Accounts, name: &str) -> Account {
    accounts.register(NewAccount { administrator: true, password: None, ..new_account(name) }).await.unwrap()
}

fn demoted() -> AccountChange {
    AccountChange { administrator: Some(false), ..AccountChange::default() }
}

fn disabled() -> AccountChange {
    AccountChange { disabled: Some(true), ..AccountChange::default() }
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let ground = Ground::new();
    let accounts = ground.accounts();
    let (ada, bob) = (administrator(&accounts, "ada").await, administrator(&accounts, "bob").await);
    accounts.register(new_account("carol")).await.unwrap();
    // One who can't sign in does not count.
    accounts.update(&bob.id, &disabled()).await.unwrap();
    let last = |refused| matches!(refused, Err(AccountError::LastAdministrator));
    assert!(last(accounts.may_leave(&ada).await.map(|()| ada.clone())));
    assert!(last(accounts.update(&ada.id, &demoted()).await));
    assert!(last(accounts.update(&ada.id, &disabled()).await));
    assert!(last(accounts.delete(&ada).await));
    accounts.delete(&bob).await.unwrap();
    let eve = administrator(&accounts, "eve").await;
    accounts.delete(&ada).await.unwrap();
    assert!(last(accounts.delete(&eve).await));
}

#[tokio::test]
async fn of_two_administrators_who_leave_at_once_one_stays() {
    for (one, other) in [(demoted(), demoted()), (disabled(), demoted())] {
        let ground = Ground::new();
        let accounts = ground.accounts();
        let (ada, bob) = (administrator(&accounts, "ada").await, administrator(&accounts, "bob").await);
        let (first, second) = tokio::join!(accounts.update(&ada.id, &one), accounts.update(&bob.id, &other));
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    }
    let ground = Ground::new();
    let accounts = ground.accounts();
    let (ada, bob) = (administrator(&accounts, "ada").await, administrator(&accounts, "bob").await);
    let (first, second) = tokio::join!(accounts.delete(&ada), accounts.delete(&bob));
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
}

#[tokio::test]
async fn a_change_of_another_version_changes_nothing() {
    let ground = Ground::new();
    let accounts = ground.accounts();
    administrator(&accounts, "root").await;
    let ada = administrator(&accounts, "ada").await;
    ground.pass(1);
    let now = accounts.update(&ada.id, &demoted()).await.unwrap();
    ground.pass(1);
    let again = |of_version| AccountChange {
        administrator: Some(true),
        of_version: Some(of_version),
        ..AccountChange::default()
    };
    let refused = accounts.update(&ada.id, &again(ada.changed_at())).await;
    assert!(matches!(refused, Err(AccountError::Changed)), "{refused:?}");
    assert!(accounts.update(&ada.id, &again(now.changed_at())).await.unwrap().administrator);
}
