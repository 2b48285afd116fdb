use super::*;

const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn the_right_password_signs_in_by_any_spelling_of_the_name() {
    let ground = Ground::new();
    let accounts = ground.accounts();
    let username = Some(Username::parse("Alice.W").unwrap());
    let alice = NewAccount { preferred_username: username, ..new_account("alice") };
    let alice = accounts.register(alice).await.unwrap();
    for name in ["alice@example.com", "ALICE@Example.Com", "Alice.W", "alice.w"] {
        let found = accounts.authenticate(accounts.turn().unwrap(), name, &secret(PASSWORD)).await.unwrap();
        assert_eq!(found.as_ref(), Some(&alice), "{name}");
    }
    for (name, password) in [
        ("alice@example.com", "Correct horse battery"),
        ("alice@example.com", ""),
        ("alice@example.org", PASSWORD),
        ("alice", PASSWORD),
        ("", PASSWORD),
        (alice.id.as_str(), PASSWORD),
    ] {
        assert_eq!(
            accounts.authenticate(accounts.turn().unwrap(), name, &secret(password)).await.unwrap(),
            None,
            "{name}"
        );
    }
}

#[tokio::test]
async fn nobody_signs_in_to_an_account_that_is_disabled_or_has_no_password() {
    let ground = Ground::new();
    let accounts = ground.accounts();
    let alice = accounts.register(new_account("alice")).await.unwrap();
    let disabled = AccountChange { disabled: Some(true), ..AccountChange::default() };
    let changed = accounts.update(&alice.id, &disabled).await.unwrap();
    assert!(changed.disabled && changed.sign_in_generation > alice.sign_in_generation);
    assert_eq!(
        accounts
            .authenticate(accounts.turn().unwrap(), "alice@example.com", &secret(PASSWORD))
            .await
            .unwrap(),
        None
    );
    let enabled = AccountChange { disabled: Some(false), ..AccountChange::default() };
    accounts.update(&alice.id, &enabled).await.unwrap();
    assert!(
        accounts
            .authenticate(accounts.turn().unwrap(), "alice@example.com", &secret(PASSWORD))
            .await
            .unwrap()
            .is_some()
    );
    accounts.register(NewAccount { password: None, ..new_account("bob") }).await.unwrap();
    for password in ["", PASSWORD] {
        assert_eq!(
            accounts
                .authenticate(accounts.turn().unwrap(), "bob@example.com", &secret(password))
                .await
                .unwrap(),
            None
        );
    }
}

#[tokio::test]
async fn of_many_registrations_of_one_address_exactly_one_is_made() {
    let ground = Ground::new();
    let accounts = Arc::new(ground.accounts());
    let tries = (0..64_u32).map(|number| {
        // Every letter of `race` in either case.
        let local: String = "race"
            .char_indices()
            .map(|(at, letter)| if number >> at & 1 == 1 { letter.to_ascii_uppercase() } else { letter })
            .collect();
        let accounts = accounts.clone();
        let new = NewAccount { password: None, ..new_account(&local) };
        tokio::spawn(async move { accounts.register(new).await })
    });
    let tries: Vec<_> = tries.collect();
    let mut made = Vec::new();
    for each in tries {
        match each.await.unwrap() {
            Ok(account) => made.push(account),
            Err(error) => assert!(matches!(error, AccountError::EmailTaken), "{error}"),
        }
    }
    assert_eq!(made.len(), 1);
    let page = Page { limit: 100, offset: 0 };
    assert_eq!(accounts.list(page).await.unwrap(), made);
}

#[tokio::test]
async fn a_new_address_and_username_move_and_the_old_ones_are_free() {
    let ground = Ground::new();
    let accounts = ground.accounts();
    let name = |text| Some(Username::parse(text).unwrap());
    let verified =
        NewAccount { email_verified: true, preferred_username: name("ali"), ..new_account("alice") };
    let alice = accounts.register(verified).await.unwrap();
    let bob = NewAccount { preferred_username: name("bob"), ..new_account("bob") };
    accounts.register(bob).await.unwrap();

    let taken = AccountChange { preferred_username: Some(name("BOB")), ..AccountChange::default() };
    assert!(matches!(accounts.update(&alice.id, &taken).await, Err(AccountError::UsernameTaken)));
    let email = Some(Email::parse("BOB@example.com").unwrap());
    let taken = AccountChange { email, ..AccountChange::default() };
    assert!(matches!(accounts.update(&alice.id, &taken).await, Err(AccountError::EmailTaken)));
    assert_eq!(accounts.find(&alice.id).await.unwrap(), Some(alice.clone()));

    ground.pass(60);
    let email = Some(Email::parse("al@example.com").unwrap());
    let change = AccountChange { email, preferred_username: Some(None), ..AccountChange::default() };
    let changed = accounts.update(&alice.id, &change).await.unwrap();
    assert_eq!(changed.updated_at, Some(ground.clock.now()));
    assert!(!changed.email_verified, "a new address is not verified");
    assert_eq!(accounts.find_by_email(&alice.email).await.unwrap(), None);
    assert_eq!(accounts.find_by_email(&changed.email).await.unwrap(), Some(changed));
    let successor = NewAccount { preferred_username: name("Ali"), ..new_account("ALICE") };
    accounts.register(successor).await.unwrap();
}

#[tokio::test]
async fn the_same_address_in_other_letters_stays_verified_and_found() {
    let ground = Ground::new();
    let accounts = ground.accounts();
    let alice = accounts.register(NewAccount { email_verified: true, ..new_account("alice") }).await.unwrap();
    let email = Some(Email::parse("Alice@Example.com").unwrap());
    let changed =
        accounts.update(&alice.id, &AccountChange { email, ..AccountChange::default() }).await.unwrap();
    assert!(changed.email_verified);
    assert_eq!(accounts.find_by_email(&alice.email).await.unwrap(), Some(changed));
}

#[tokio::test]
async fn a_deleted_account_leaves_nothing_and_its_identifier_is_not_given_again() {
    let ground = Ground::new();
    let accounts = ground.accounts();
    let username = Some(Username::parse("alice").unwrap());
    let alice = NewAccount { preferred_username: username.clone(), ..new_account("alice") };
    let alice = accounts.register(alice).await.unwrap();
    assert_eq!(accounts.delete(&alice).await.unwrap(), alice);
    assert!(matches!(accounts.delete(&alice).await, Err(AccountError::Unknown)));
    assert!(matches!(accounts.set_password(&alice.id, &secret(PASSWORD)).await, Err(AccountError::Unknown)));
    assert_eq!(accounts.find(&alice.id).await.unwrap(), None);
    assert_eq!(accounts.list(Page { limit: 10, offset: 0 }).await.unwrap(), []);
    let again = NewAccount { preferred_username: username, ..new_account("alice") };
    let again = accounts.register(again).await.unwrap();
    assert_ne!(again.id, alice.id);
    assert!(again.id.as_str().len() == 31);
}

#[tokio::test]
async fn concurrent_changes_of_one_account_are_all_kept() {
    let ground = Ground::new();
    let accounts = ground.accounts();
    let alice = accounts.register(new_account("alice")).await.unwrap();
    let name = AccountChange { name: Some("Alice W.".into()), ..AccountChange::default() };
    let verified = AccountChange { email_verified: Some(true), ..AccountChange::default() };
    let password = secret("another long password");
    let (a, b, c) = tokio::join!(
        accounts.update(&alice.id, &name),
        accounts.update(&alice.id, &verified),
        accounts.set_password(&alice.id, &password),
    );
    for done in [a, b, c] {
        done.unwrap();
    }
    let account = accounts
        .authenticate(accounts.turn().unwrap(), "alice@example.com", &password)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((account.name.as_str(), account.email_verified), ("Alice W.", true));
}

#[tokio::test]
async fn a_refused_change_changes_nothing() {
    let ground = Ground::new();
    let accounts = ground.accounts();
    let alice = accounts.register(new_account("alice")).await.unwrap();
    let change = AccountChange {
        name: Some("Mallory".into()),
        password: Some(secret("short")),
        ..AccountChange::default()
    };
    let refused = accounts.update(&alice.id, &change).await;
    assert!(matches!(refused, Err(AccountError::Password(PasswordRefusal::TooShort))));
    assert_eq!(accounts.find(&alice.id).await.unwrap(), Some(alice));
}

#[tokio::test]
async fn the_list_goes_on_where_the_offset_says_however_many_there_are() {
    let ground = Ground::new();
    let accounts = ground.accounts();
    for number in 0..1100 {
        ground.pass(1);
        let new = NewAccount { password: None, ..new_account(&format!("p{number}")) };
        accounts.register(new).await.unwrap();
    }
    for (offset, limit, expected) in
        [(0, 2, vec![0, 1]), (999, 3, vec![999, 1000, 1001]), (1099, 20, vec![1099])]
    {
        let found = accounts.list(Page { limit, offset }).await.unwrap();
        let names: Vec<usize> = found.iter().map(|account| account.name[1..].parse().unwrap()).collect();
        assert_eq!(names, expected);
    }
    assert_eq!(accounts.list(Page { limit: 20, offset: usize::MAX }).await.unwrap(), []);
}
