//! The key ring while its vault can't be written, or not even listed: a directory that became read-only, a full disk.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::SeqCst;

use signet::keys::{Health, KeyRing, KeyRingError, KeyRingParts, Phase};
use signet::oauth::{Algorithm, KeyId};

use crate::key_ring_fixture::{DyingVault, World, published, signing};

/// A node after its first tick, with the vault that can be taken from it.
async fn node(world: &World) -> (Arc<KeyRing>, Arc<DyingVault>) {
    let vault = Arc::new(DyingVault { inner: world.vault(), calls_left: AtomicI64::new(i64::MAX) });
    let parts = KeyRingParts { vault: vault.clone(), ..world.parts() };
    let ring = KeyRing::open(parts).await.unwrap();
    ring.tick().await.unwrap();
    (ring, vault)
}

/// Lets the vault do so many things more.
fn leave(vault: &DyingVault, calls: i64) {
    vault.calls_left.store(calls, SeqCst);
}

async fn fail(world: &World, ring: &Arc<KeyRing>, seconds: u64) {
    for _ in 0..seconds {
        world.clock.advance(std::time::Duration::from_secs(1));
        assert!(matches!(ring.tick().await, Err(KeyRingError::Vault(_))));
    }
}

fn phase(ring: &KeyRing, kid: &KeyId) -> Option<Phase> {
    ring.list().keys.iter().find(|key| key.kid == *kid).map(|key| key.phase)
}

#[tokio::test]
async fn a_compromised_key_goes_whatever_becomes_of_the_vault() {
    // What the vault still does is one thing more each time: to be listed, to make a key, to keep it, and so on.
    for calls in 0..8 {
        let world = World::new();
        let (ring, vault) = node(&world).await;
        let other = world.try_open().await.unwrap();
        let first = signing(&ring);
        leave(&vault, calls);
        let answer = ring.compromise(&first).await.unwrap();
        let second = signing(&ring);
        assert_ne!(second, first, "{calls}");
        assert_eq!(answer.signs_now.as_ref(), Some(&second), "{calls}");
        assert!(!published(&ring).contains(&first.to_string()), "{calls}");
        assert_eq!(phase(&ring, &first), Some(Phase::Compromised));
        other.tick().await.unwrap();
        assert_eq!((signing(&other), published(&other).contains(&first.to_string())), (second, false));

        leave(&vault, i64::MAX);
        ring.tick().await.unwrap();
        assert_eq!(ring.health(), Health::Green);
        assert!(ring.list().keys.iter().any(|key| key.phase == Phase::Published), "a next key is made");
        assert!(!world.file(&first).exists(), "{calls}");
    }
}

#[tokio::test]
async fn a_node_that_can_not_reach_its_vault_signs_with_what_it_has_and_follows_the_others() {
    let world = World::new();
    let (ring, vault) = node(&world).await;
    let other = world.try_open().await.unwrap();
    let first = signing(&ring);
    leave(&vault, 0);
    fail(&world, &ring, 10).await;
    assert_eq!(signing(&ring), first, "longer than P");
    assert_eq!(ring.health(), Health::Amber { failures: 10 }, "a next key waits");
    let second = other.rotate(None, true).await.unwrap().rotations[0].kid.clone();
    // What the other has made since can't be opened here; what waited can sign here too.
    fail(&world, &ring, 1).await;
    assert_eq!((signing(&ring), published(&ring)), (second.clone(), published(&other)));
    leave(&vault, i64::MAX);
    ring.tick().await.unwrap();
    assert_eq!((signing(&ring), ring.health()), (second, Health::Green));
}

#[tokio::test]
async fn what_another_node_has_dropped_goes_here_too_while_the_vault_is_away() {
    let world = World::new();
    let (ring, vault) = node(&world).await;
    let other = world.try_open().await.unwrap();
    let first = signing(&ring);
    // With it goes a new key that can't be opened here.
    other.compromise(&first).await.unwrap();
    leave(&vault, 0);
    assert!(matches!(ring.follow().await, Err(KeyRingError::Vault(_))));
    assert_eq!((signing(&ring), published(&ring)), (signing(&other), published(&other)));
    let second = signing(&ring);
    other.rotate(None, true).await.unwrap();
    other.compromise(&second).await.unwrap();
    assert!(matches!(ring.tick().await, Err(KeyRingError::Vault(_))));
    assert_eq!(published(&ring), published(&other));
    assert_eq!(ring.health(), Health::Red { failures: 2, signs: false }, "no key is left that it could open");

    // What is asked of this node is done too: nobody has to find out which one is whole.
    let third = signing(&other);
    ring.compromise(&third).await.unwrap();
    assert!(!published(&ring).contains(&third.to_string()));
    leave(&vault, i64::MAX);
    ring.tick().await.unwrap();
    signing(&ring);
}

#[tokio::test]
async fn a_next_key_that_is_missing_for_long_is_red_and_stops_no_one() {
    let world = World::new();
    let (ring, vault) = node(&world).await;
    world.run(&ring, 59).await;
    leave(&vault, 0);
    let first = signing(&ring);
    fail(&world, &ring, 1).await;
    let second = signing(&ring);
    assert_ne!(first, second, "the key that waited signs by its date");
    assert_eq!(ring.health(), Health::Amber { failures: 1 });
    fail(&world, &ring, 3).await;
    assert_eq!(ring.health(), Health::Red { failures: 4, signs: true });
    assert!(ring.signing_key(Some(Algorithm::ES256)).is_ok());
    assert!(
        matches!(ring.rotate(None, true).await, Err(KeyRingError::Vault(_))),
        "there is nothing to rotate to"
    );
    assert_eq!(signing(&ring), second);

    leave(&vault, i64::MAX);
    ring.tick().await.unwrap();
    assert_eq!((ring.health(), signing(&ring)), (Health::Green, second));
}
