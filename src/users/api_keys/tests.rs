use std::time::Duration;

use super::*;
use crate::clock::{Clock as _, ManualClock};
use crate::entropy::SeededEntropy;
use crate::oauth::{ClientId, Resource, Scope, UserId};
use crate::store::MemoryStore;

fn keys() -> (ApiKeys, Arc<ManualClock>, Arc<dyn Store>) {
    let clock = Arc::new(ManualClock::at(1_800_000_000));
    let store: Arc<dyn Store> = MemoryStore::new(clock.clone());
    (ApiKeys::new(store.clone(), clock.clone(), Arc::new(SeededEntropy::new(1))), clock, store)
}

fn alice() -> ApiKeyOwner {
    ApiKeyOwner::User(UserId::parse("user_alice").unwrap())
}

fn new(owner: ApiKeyOwner) -> NewApiKey {
    NewApiKey {
        name: "ci".into(),
        owner,
        scope: Scope::parse("read").unwrap(),
        resources: vec![Resource::parse("https://api.example.com").unwrap()],
        expires_at: None,
    }
}

#[tokio::test]
async fn a_key_is_known_by_its_secret_and_only_the_hash_is_kept() {
    let (keys, _, store) = keys();
    let created = keys.create(new(alice())).await.unwrap();
    let secret = created.secret.expose();
    assert!(secret.starts_with("sk_") && secret.len() == 46);
    let found = keys.authenticate(secret).await.unwrap().unwrap();
    assert_eq!((found.id, found.owner), (created.key.id, alice()));
    for wrong in ["", "sk_", "sk_x", &secret[3..], &format!("{}A", &secret[..45]), &format!("{secret}A")] {
        if *wrong != *secret {
            assert!(keys.authenticate(wrong).await.unwrap().is_none(), "{wrong}");
        }
    }
    for table in [KEYS.table(), BY_SECRET, BY_OWNER] {
        for (key, row) in store.scan(table, None, 10).await.unwrap() {
            for bytes in [key, row.value] {
                assert!(!String::from_utf8_lossy(&bytes).contains(&secret[3..]), "{}", table.name);
            }
        }
    }
    assert!(!format!("{:?}", keys.create(new(alice())).await.unwrap()).contains("sk_"));
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_and_leaves_nothing() {
    let (keys, _, store) = keys();
    for used in [false, true] {
        let created = keys.create(new(alice())).await.unwrap();
        let id = created.key.id.as_str();
        if used {
            keys.authenticate(created.secret.expose()).await.unwrap().unwrap();
        }
        assert!(keys.stands(&created.key).await.unwrap());
        let revoked = keys.revoke(id).await.unwrap();
        assert!(keys.authenticate(created.secret.expose()).await.unwrap().is_none());
        assert!(!keys.stands(&created.key).await.unwrap());
        if used {
            assert_eq!((revoked, keys.revoke(id).await.unwrap()), (Revoked::Used, Revoked::Used));
            keys.forget(&created.key).await.unwrap();
        }
        assert!(matches!(keys.revoke(id).await, Err(ApiKeyError::Unknown)));
        for table in [KEYS.table(), BY_SECRET, BY_OWNER] {
            assert!(store.scan(table, None, 10).await.unwrap().is_empty(), "{}", table.name);
        }
    }
}

#[tokio::test]
async fn a_key_ends_when_it_was_to_end() {
    let (keys, clock, _) = keys();
    let end = clock.now() + TimeDelta::hours(1);
    let created = keys.create(NewApiKey { expires_at: Some(end), ..new(alice()) }).await.unwrap();
    clock.advance(Duration::from_millis(3_599_999));
    assert!(keys.authenticate(created.secret.expose()).await.unwrap().is_some(), "its use is noted too");
    clock.advance(Duration::from_millis(1));
    assert!(keys.authenticate(created.secret.expose()).await.unwrap().is_none());
    assert!(keys.list(None, 10).await.unwrap().is_empty());
    let past = NewApiKey { expires_at: Some(end), ..new(alice()) };
    assert!(matches!(keys.create(past).await, Err(ApiKeyError::Expiry)));
}

#[tokio::test]
async fn the_last_use_is_noted_at_most_once_a_minute() {
    let (keys, clock, store) = keys();
    let created = keys.create(new(alice())).await.unwrap();
    let id = created.key.id.as_str();
    let version = async || store.get(KEYS.table(), id.as_bytes()).await.unwrap().unwrap().version;
    let begun = clock.now();
    let mut versions = Vec::new();
    for _ in 0..7 {
        keys.authenticate(created.secret.expose()).await.unwrap().unwrap();
        versions.push(version().await);
        clock.advance(Duration::from_secs(10));
    }
    versions.dedup();
    assert_eq!(versions.len(), 2);
    let used = keys.find(id).await.unwrap().unwrap().last_used_at;
    assert_eq!(used, Some(begun + TimeDelta::minutes(1)));
}

#[tokio::test]
async fn an_owner_sees_their_own_keys_and_has_not_too_many() {
    let (keys, _, _) = keys();
    // One whose name begins like the other's.
    let other = ApiKeyOwner::Client(ClientId::parse("user_alic").unwrap());
    keys.create(new(other.clone())).await.unwrap();
    for _ in 0..ApiKeys::MOST {
        keys.create(new(alice())).await.unwrap();
    }
    assert!(matches!(keys.create(new(alice())).await, Err(ApiKeyError::TooMany(_))));
    assert_eq!(keys.of_owner(&alice()).await.unwrap().len(), ApiKeys::MOST);
    assert_eq!(keys.of_owner(&other).await.unwrap().len(), 1);
    let first = keys.list(None, 40).await.unwrap();
    let second = keys.list(Some(first[39].id.as_str()), 100).await.unwrap();
    assert_eq!(first.len() + second.len(), ApiKeys::MOST + 1);
}

#[tokio::test]
async fn a_name_says_something() {
    let (keys, _, _) = keys();
    for name in ["", " ", "a\nb", &"a".repeat(121)] {
        let unnamed = NewApiKey { name: name.to_owned(), ..new(alice()) };
        assert!(matches!(keys.create(unnamed).await, Err(ApiKeyError::Name)), "{name:?}");
    }
}
