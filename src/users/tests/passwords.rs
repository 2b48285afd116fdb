use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;

use super::super::hasher::PasswordHash;
use super::super::record::USERS;
use super::*;

async fn stored(ground: &Ground, id: &UserId) -> String {
    let record = USERS.get(ground.store.as_ref(), id.as_str().as_bytes()).await.unwrap().unwrap();
    String::from(record.value.password.unwrap())
}

#[tokio::test]
async fn a_password_is_stored_as_argon2id_at_the_advised_cost_and_salted() {
    let ground = Ground::new();
    let accounts = ground.accounts_at(HashingCost::ADVISED);
    let alice = accounts.register(new_account("alice")).await.unwrap();
    let bob = accounts.register(new_account("bob")).await.unwrap();
    let (a, b) = (stored(&ground, &alice.id).await, stored(&ground, &bob.id).await);
    assert!(a.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{a}");
    assert_ne!(a, b);
}

#[tokio::test]
async fn a_hash_of_the_reference_implementation_is_understood() {
    // By argon2-cffi 25, over the C library: m = 64 KiB, t = 2, p = 1, salt "somesalt12345678".
    let text =
        "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHQxMjM0NTY3OA$8u4GHYdi77qnKvdgq27SV+dAQ7Zg3RLLBwKBWYDkxuI";
    let hash = PasswordHash::try_from(text.to_owned()).unwrap();
    let hasher = PasswordHasher::new(HashingCost::LEAST, 1, Ground::new().sources());
    for (password, matches) in
        [("correct horse battery", true), ("correct horse batterz", false), ("", false)]
    {
        assert_eq!(
            hasher.verify(hasher.turn().unwrap(), &secret(password), Some(&hash)).await,
            Ok(matches),
            "{password}"
        );
    }
    assert_eq!(
        hasher.verify(hasher.turn().unwrap(), &secret("correct horse battery"), None).await,
        Ok(false)
    );
}

#[tokio::test]
async fn every_way_of_not_signing_in_goes_through_the_hasher() {
    let ground = Ground::new();
    let accounts = ground.accounts();
    let disabled = accounts.register(new_account("disabled")).await.unwrap();
    let change = AccountChange { disabled: Some(true), ..AccountChange::default() };
    accounts.update(&disabled.id, &change).await.unwrap();
    accounts.register(new_account("alice")).await.unwrap();
    accounts.register(NewAccount { password: None, ..new_account("none") }).await.unwrap();
    // Without a permit whoever comes to the hasher waits for ever.
    let hasher = PasswordHasher::new(HashingCost::LEAST, 0, ground.sources());
    let full = Accounts::new(ground.store.clone(), ground.clock(), ground.entropy.clone(), hasher);
    for name in
        ["alice@example.com", "disabled@example.com", "none@example.com", "nobody@example.com", "nobody", ""]
    {
        for password in ["correct horse battery", ""] {
            let password = secret(password);
            let mut waiting = pin!(full.authenticate(accounts.turn().unwrap(), name, &password));
            let polled = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await;
            assert!(polled.is_pending(), "{name}: {polled:?}");
        }
    }
}

#[tokio::test]
async fn a_hash_of_another_cost_is_replaced_at_the_next_sign_in() {
    let ground = Ground::new();
    let alice = ground.accounts().register(new_account("alice")).await.unwrap();
    let old = stored(&ground, &alice.id).await;
    let dearer = ground.accounts_at(HashingCost { memory_kib: 16, passes: 2 });
    let wrong =
        dearer.authenticate(dearer.turn().unwrap(), "alice@example.com", &secret("wrong")).await.unwrap();
    assert!(wrong.is_none() && stored(&ground, &alice.id).await == old);
    for _ in 0..2 {
        let password = secret("correct horse battery");
        assert!(
            dearer
                .authenticate(dearer.turn().unwrap(), "alice@example.com", &password)
                .await
                .unwrap()
                .is_some()
        );
        assert!(stored(&ground, &alice.id).await.starts_with("$argon2id$v=19$m=16,t=2,p=1$"));
    }
}

#[test]
fn an_account_or_hash_prints_no_password() {
    let new = new_account("alice");
    assert!(!format!("{new:?}").contains("horse"));
    let change = AccountChange::password(secret("hunter2hunter2"));
    assert!(!format!("{change:?}").contains("hunter2"));
    assert!(PasswordHash::try_from("no hash".to_owned()).is_err());
}

/// Not from the list that is built in: the commonest of at least 8 characters as the yearly lists of the press have them, and what
/// an audit tried.
const COMMONEST: &str = "123456789 12345678 1234567890 password 123123123 987654321 password1 qwerty123 qwertyuiop iloveyou \
    11111111 1q2w3e4r 1qaz2wsx 88888888 00000000 87654321 0123456789 12341234 aaaaaaaa abcdefgh 19841984 adminadmin \
    administrator Password! Pass@123 Aa123456 Aa@123456 P@ssw0rd Password123 Admin123 Admin@123 asdfghjkl abcd1234 \
    1q2w3e4r5t 123456789a princess sunshine football baseball superman trustno1 starwars michelle computer whatever \
    jennifer passw0rd letmein1 welcome1 Welcome123 Qwerty123! zaq12wsx qazwsxedc password1! 1234qwer asdf1234 \
    abc12345 11223344 147258369 123654789 123qweasd 66666666 12345678910 changeme1 test1234 hello123 monkey123";

#[tokio::test]
async fn what_is_guessed_first_is_refused_in_any_letter_case() {
    let ground = Ground::new();
    let accounts = ground.accounts();
    let blank = [" ".repeat(8), "\u{a0}\t".repeat(6), "\u{3000}".repeat(8)];
    let common =
        COMMONEST.split_whitespace().flat_map(|it| [it.to_owned(), it.to_uppercase(), it.to_lowercase()]);
    for (number, password) in common.chain(blank).enumerate() {
        let new = new_account(&format!("p{number}"));
        let refused = accounts.register(NewAccount { password: Some(secret(&password)), ..new }).await;
        assert!(
            matches!(refused, Err(AccountError::Password(PasswordRefusal::Common | PasswordRefusal::Simple))),
            "{password:?}"
        );
    }
}

#[tokio::test]
async fn what_is_hard_to_guess_is_taken_whatever_it_is_made_of() {
    let ground = Ground::new();
    let accounts = ground.accounts();
    let good = [
        "correct horse battery staple",
        "securepassword123",
        "Tr0ub4dor&3",
        "my cat eats 12345 mice",
        "of-the-tests-alone",
        "山川異域風月同天",
        "x7#Qm!2vRt",
        "gehe heim, 1984 nochmal",
        "71940263858120",
        "kvqzjxwm",
        " correct horse ",
        "a sentence nobody guesses, a sentence nobody guesses, ",
        "Administrators prefer tea",
        "qwerty is not how I type",
    ];
    for (number, password) in good.into_iter().enumerate() {
        let new = new_account(&format!("g{number}"));
        let taken = accounts.register(NewAccount { password: Some(secret(password)), ..new }).await;
        assert!(taken.is_ok(), "{password:?} {:?}", taken.err());
    }
}
