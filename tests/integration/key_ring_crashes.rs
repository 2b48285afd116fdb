//! The key ring when things break half-way: whatever dies when, the ring stays readable and signs.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use signet::entropy::SeededEntropy;
use signet::keys::schedule::Step;
use signet::keys::{
    DataKey, DataKeyError, DirectoryVault, Health, Imported, KeyRing, KeyRingError, KeyRingParts, Origin,
    Phase, Rekey, RekeyError, RingUnreadable, SealingEvent, SealingKeys, SealingParts, rekey,
};
use signet::oauth::{Algorithm, KeyId, Secret};
use signet::store::{Committed, Store as _};

use crate::key_ring_fixture::{DyingVault, Fault, World, kek, published, signing};
use crate::store_faults::new_key;

/// The ring opens, signs, has one key that waits, and each key has its file and no other.
async fn assert_whole(world: &World) -> Arc<KeyRing> {
    let ring = world.open().await;
    signing(&ring);
    let list = ring.list();
    assert_eq!(list.keys.iter().filter(|key| key.phase == Phase::Published).count(), 1);
    for key in list.keys.iter().filter(|key| matches!(key.phase, Phase::Published | Phase::Signing)) {
        assert!(world.file(&key.kid).exists(), "{key:?}");
    }
    ring
}

fn dying(world: &World, calls: i64) -> KeyRingParts {
    let vault = DyingVault { inner: world.vault(), calls_left: calls.into() };
    KeyRingParts { vault: Arc::new(vault), ..world.parts() }
}

#[tokio::test]
async fn dying_at_any_step_of_the_first_start_is_survived() {
    for calls in 0..12 {
        let world = World::new();
        let died = KeyRing::open(dying(&world, calls)).await.is_err();
        assert_eq!(died, calls < 4, "the test covers every step");
        assert_whole(&world).await;
    }
}

#[tokio::test]
async fn dying_at_any_step_of_a_rotation_or_a_compromise_is_survived() {
    let mut opened = 0;
    for calls in 0..24 {
        let world = World::new();
        drop(world.open().await);
        // With the first key's retirement and erasure due, too.
        world.clock.advance(Duration::from_secs(65));
        let mut condemned = None;
        if let Ok(ring) = KeyRing::open(dying(&world, calls)).await {
            let kid = signing(&ring);
            ring.compromise(&kid).await.unwrap();
            condemned = Some(kid);
        }
        opened += usize::from(condemned.is_some());
        let ring = assert_whole(&world).await;
        assert!(published(&ring).len() <= 4);
        let condemned = condemned.map(|kid| kid.to_string());
        assert!(condemned.is_none_or(|kid| !published(&ring).contains(&kid)), "{calls}");
    }
    assert!((12..24).contains(&opened), "some died before: {opened}");
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_and_finished() {
    for fault in [Fault::AnswerLost, Fault::CommitLost] {
        let world = World::new();
        let ring = world.open().await;
        world.clock.advance(Duration::from_mins(1));
        world.store.fail(Some(fault));
        assert!(matches!(ring.tick().await, Err(KeyRingError::Store(_))));
        assert_eq!(world.pending(), 1);
        world.store.fail(None);
        ring.tick().await.unwrap();
        assert_whole(&world).await;
        assert_eq!(world.pending(), usize::from(fault == Fault::CommitLost));
        // What no ring names is swept when it is certainly nobody's.
        world.clock.jump_to(4_000_000_000);
        world.open().await;
        assert_eq!(world.pending(), 0);
    }
}

/// Whoever reads the ring next finds everything done, and has nothing to tell of.
#[tokio::test]
async fn what_was_committed_is_told_of_once_whatever_fails_afterwards() {
    for fault in [Fault::LastCommit, Fault::AnswerLost, Fault::CommitLost] {
        let world = World::new();
        let ring = world.open().await;
        ring.unrecorded().take();
        world.clock.advance(Duration::from_mins(1));
        world.store.fail(Some(fault));
        assert!(matches!(ring.tick().await, Err(KeyRingError::Store(_))));
        world.store.fail(None);
        ring.tick().await.unwrap();
        let events = ring.unrecorded().take();
        let made: Vec<_> =
            events.iter().filter(|event| matches!(event.change, Step::Create { .. })).collect();
        assert_eq!(made.len(), 1, "{fault:?}: {events:?}");
        assert!(ring.list().keys.iter().any(|key| Some(&key.kid) == made[0].kid.as_ref()), "{fault:?}");
        ring.tick().await.unwrap();
        assert_eq!(ring.unrecorded().take(), [], "{fault:?}");
    }
}

/// Whoever asked has given up, and asks again while the first commit is still under way; it lands after that one has read.
#[tokio::test]
async fn a_commit_that_lands_after_the_next_one_has_begun_is_told_of_once() {
    for given_up in [1, 2, 15] {
        for lands in [Lands::BeforeTheNext, Lands::BetweenTheTwo] {
            let world = World::new();
            let ring = world.open().await;
            ring.unrecorded().take();
            world.clock.advance(Duration::from_mins(1));
            world.store.fail(Some(Fault::Late));
            for _ in 0..given_up {
                assert!(matches!(ring.tick().await, Err(KeyRingError::Store(_))));
            }
            world.store.fail(None);
            if lands == Lands::BetweenTheTwo {
                world.store.land();
            }
            ring.tick().await.unwrap();
            let events = ring.unrecorded().take();
            let made: Vec<_> =
                events.iter().filter(|event| matches!(event.change, Step::Create { .. })).collect();
            assert_eq!(made.len(), 1, "{lands:?} {given_up}: {events:?}");
            let kid = made[0].kid.as_ref();
            assert!(ring.list().keys.iter().any(|key| Some(&key.kid) == kid), "{lands:?} {given_up}");
            ring.tick().await.unwrap();
            assert_eq!(ring.unrecorded().take(), [], "{lands:?} {given_up}");
        }
    }
}

/// Its standby is away for longer than a key that no ring names is kept; every tick meanwhile is given up, too.
#[tokio::test]
async fn a_commit_that_lands_after_longer_than_a_pending_key_is_kept_names_one_that_is_there() {
    let world = World::new();
    let ring = world.open().await;
    world.clock.advance(Duration::from_mins(1));
    world.store.fail(Some(Fault::Late));
    assert!(matches!(ring.tick().await, Err(KeyRingError::Store(_))));
    world.date_pending(world.now());
    for _ in 0..7 {
        world.clock.advance(Duration::from_secs(100));
        assert!(matches!(ring.tick().await, Err(KeyRingError::Store(_))));
    }
    world.store.fail(None);
    world.store.land();
    ring.tick().await.unwrap();
    let ring = assert_whole(&world).await;
    // What the others would have named goes.
    world.date_pending(world.now() - 601);
    ring.tick().await.unwrap();
    assert!(world.has_only_kept_keys());
}

/// Brings in a key that nobody has seen.
async fn import(ring: &KeyRing) -> Result<Imported, KeyRingError> {
    ring.import(&Secret::new(new_key().1), Algorithm::ES256).await
}

/// A node stood still between vault and ring, and nothing was due for the others: they see to it that it comes too late, and only then
/// destroy the key.
#[tokio::test]
async fn a_pending_key_is_destroyed_only_when_no_commit_can_name_it_any_more() {
    for lands in [Lands::BeforeTheNext, Lands::BetweenTheTwo, Lands::Afterwards] {
        let mut world = World::new();
        world.settings.rotation_period = Duration::from_hours(1);
        let (paused, other) = (world.open().await, world.open().await);
        world.store.fail(Some(Fault::Late));
        assert!(matches!(import(&paused).await, Err(KeyRingError::Store(_))));
        assert_eq!(world.pending(), 1);
        world.date_pending(world.now());
        world.clock.advance(Duration::from_mins(10));
        world.store.fail(None);
        let late = if lands == Lands::Afterwards { world.store.take_late() } else { Vec::new() };
        let commits = world.store.commits.load(SeqCst);
        other.tick().await.unwrap();
        assert_eq!(
            (world.pending(), world.store.commits.load(SeqCst)),
            (1, commits),
            "{lands:?}: it is not old yet"
        );
        world.clock.advance(Duration::from_secs(1));
        if lands == Lands::BetweenTheTwo {
            world.store.land();
        }
        other.tick().await.unwrap();
        for batch in late {
            assert_eq!(world.store.commit(batch).await.unwrap(), Committed::Conflict);
        }
        assert_eq!(world.pending(), usize::from(lands == Lands::BeforeTheNext), "{lands:?}");
        for node in [&other, &paused] {
            node.tick().await.unwrap();
            assert_eq!(node.missing().await.unwrap(), [], "{lands:?}");
        }
        world.try_open().await.unwrap();
        let imported = other.list().keys.iter().filter(|key| key.origin == Origin::Imported).count();
        assert_eq!(imported, usize::from(lands != Lands::Afterwards), "{lands:?}");
        assert!(world.has_only_kept_keys(), "{lands:?}");
        assert!(import(&paused).await.is_ok(), "{lands:?}");
    }
}

/// The store takes no commits: then nothing is known of those that others may have begun, and what needs none goes on.
#[tokio::test]
async fn no_key_is_destroyed_nor_a_tick_spoilt_where_the_store_takes_no_commits() {
    for fault in [Fault::CommitLost, Fault::AnswerLost, Fault::Overtaken] {
        let mut world = World::new();
        world.settings.rotation_period = Duration::from_hours(1);
        let (paused, other) = (world.open().await, world.open().await);
        world.store.fail(Some(Fault::CommitLost));
        assert!(matches!(import(&paused).await, Err(KeyRingError::Store(_))));
        world.date_pending(world.now() - 601);
        world.store.fail(Some(fault));
        other.tick().await.unwrap();
        assert_eq!((world.pending(), other.health()), (1, Health::Green), "{fault:?}");
        world.store.fail(None);
        other.tick().await.unwrap();
        assert_eq!(world.pending(), 0, "{fault:?}");
    }
}

/// Nobody heard of it before it landed, so nobody could publish it: its lead counts from then, whoever read it first.
#[tokio::test]
async fn a_key_whose_commit_was_given_up_has_its_lead_from_when_it_landed() {
    for fault in [Fault::Late, Fault::AnswerLost] {
        for followed in [false, true] {
            let world = World::new();
            let ring = world.open().await;
            world.clock.advance(Duration::from_mins(1));
            world.store.fail(Some(fault));
            assert!(matches!(ring.tick().await, Err(KeyRingError::Store(_))));
            world.clock.advance(Duration::from_secs(30));
            world.store.fail(None);
            world.store.land();
            let landed_at = world.now();
            if followed {
                // It plans nothing, and forgets nothing.
                ring.follow().await.unwrap();
                world.store.fail(Some(Fault::CommitLost));
                assert!(ring.tick().await.is_err());
                world.store.fail(None);
                world.clock.advance(Duration::from_secs(5));
            }
            ring.tick().await.unwrap();
            let list = ring.list();
            let next = list.keys.iter().find(|key| key.phase == Phase::Published).unwrap();
            assert_eq!((next.publish_at, next.created_at), (landed_at, landed_at - 30), "{fault:?}");
            let commits = world.store.commits.load(SeqCst);
            ring.tick().await.unwrap();
            assert_eq!(world.store.commits.load(SeqCst), commits, "once is enough");
            let wait = ring.rotate(None, false).await.unwrap().rotations[0].wait;
            assert_eq!(wait, landed_at + 10 - world.now());
        }
    }
}

/// When a commit that was given up lands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lands {
    /// When the next one has read, which is refused.
    BeforeTheNext,
    /// When the last one was given up, too.
    BetweenTheTwo,
    /// When the next one has been committed.
    Afterwards,
}

/// Of nodes that want the very same at the very same time one has done it.
#[tokio::test]
async fn what_another_node_has_written_alike_is_not_told_of_twice() {
    let world = World::new();
    let (one, other) = (world.open().await, world.open().await);
    // Nothing but a key that begins to sign: no two make that of different keys.
    for node in [&one, &other] {
        node.unrecorded().take();
    }
    let mut told = 0;
    for _ in 0..200 {
        world.clock.advance(Duration::from_secs(1));
        let (a, b) = tokio::join!(one.tick(), other.tick());
        a.unwrap();
        b.unwrap();
        let events: Vec<_> = [&one, &other].iter().flat_map(|node| node.unrecorded().take()).collect();
        let mut seen: Vec<String> = Vec::new();
        for event in events {
            let event = format!("{event:?}");
            assert!(!seen.contains(&event), "{event}");
            seen.push(event);
            told += 1;
        }
    }
    assert!(told > 6, "{told}");
}

/// Stopped before a key retires, and started when even its name is not needed any more: were both written down at once, nothing
/// would tell the vault to destroy what it holds.
#[tokio::test]
async fn no_private_half_is_left_behind_by_a_long_stop() {
    let world = World::new();
    let ring = world.open().await;
    let (first, remembered) = (signing(&ring), ring.policy().remembered());
    ring.rotate(None, false).await.unwrap();
    drop(ring);
    world.clock.advance(Duration::from_secs(200 + u64::try_from(remembered).unwrap()));
    let ring = world.open().await;
    assert!(ring.list().keys.iter().all(|key| key.kid != first), "it is forgotten");
    assert!(!world.file(&first).exists());
    assert!(world.has_only_kept_keys());
    let named: Vec<_> = ring.list().keys.iter().map(|key| world.file(&key.kid)).collect();
    assert!(world.files().iter().all(|name| named.contains(&world.dir.path().join(name))));
}

#[tokio::test]
async fn a_kept_key_that_the_ring_does_not_name_is_left_alone() {
    let world = World::new();
    let ring = world.open().await;
    let stranger = world.dir.path().join("stranger.key");
    std::fs::copy(world.file(&signing(&ring)), &stranger).unwrap();
    world.run(&ring, 70).await;
    assert!(stranger.exists());
}

async fn rekeyed(world: &World) -> Result<signet::keys::Rekeyed, RekeyError> {
    let keks = Rekey { old: kek(1), new: kek(2) };
    let entropy = Arc::new(SeededEntropy::new(99));
    let vault = DirectoryVault::open(world.dir.path(), kek(2), entropy.clone()).unwrap();
    rekey(world.store.as_ref(), Arc::new(vault), &keks, entropy).await
}

async fn data_key(world: &World, byte: u8) -> Result<DataKey, DataKeyError> {
    DataKey::open(world.store.as_ref(), &kek(byte), Arc::new(SeededEntropy::new(5))).await
}

#[tokio::test]
async fn rekeying_leaves_nothing_under_the_old_kek() {
    let mut world = World::new();
    let before = published(&*world.open().await);
    let sealed = data_key(&world, 1).await.unwrap().seal("a context", b"hush");
    let done = rekeyed(&world).await.unwrap();
    assert_eq!((done.resealed, done.verified, done.ring), (2, 2, true));
    assert!(matches!(data_key(&world, 1).await, Err(DataKeyError::WrongKek { .. })));
    let opened = data_key(&world, 2).await.unwrap().unseal("a context", &sealed);
    assert_eq!(opened.as_deref().map(Vec::as_slice), Some(b"hush".as_slice()));
    let old = world.try_open().await.map(drop);
    assert!(matches!(old, Err(KeyRingError::Unreadable(RingUnreadable::WrongKek { .. }))));
    for name in world.files() {
        let text = std::fs::read_to_string(world.dir.path().join(name)).unwrap();
        assert!(text.contains(&kek(2).id()) && !text.contains(&kek(1).id()));
    }
    let again = rekeyed(&world).await.unwrap();
    assert_eq!((again.resealed, again.verified, again.ring), (0, 2, false));
    world.kek = kek(2);
    assert_eq!(published(&*assert_whole(&world).await), before);
}

async fn sealing(
    world: &World,
    kek: Arc<signet::keys::Kek>,
    seed: u64,
) -> Result<Arc<SealingKeys>, KeyRingError> {
    let parts = SealingParts {
        store: world.store.clone(),
        kek,
        clock: world.clock.clone(),
        entropy: Arc::new(SeededEntropy::new(seed)),
        fitness: world.fitness.clone(),
    };
    let day = Duration::from_hours(24);
    SealingKeys::open(parts, &world.parts().policy, (day, day)).await
}

#[tokio::test]
async fn a_sealing_key_that_is_made_is_told_of_once_whoever_asked_and_whatever_fails() {
    for fault in [None, Some(Fault::LastCommit), Some(Fault::AnswerLost), Some(Fault::CommitLost)] {
        let world = World::new();
        let keys = sealing(&world, kek(1), 5).await.unwrap();
        let made = keys.unrecorded().take();
        let [SealingEvent::Created(first)] = made.as_slice() else { panic!("the first one is made") };
        world.store.fail(fault);
        let condemned = keys.compromise(first).await;
        assert_eq!(condemned.is_ok(), fault.is_none_or(|fault| fault == Fault::LastCommit));
        world.store.fail(None);
        keys.compromise(first).await.unwrap();
        let made = keys.list().remove(0).id;
        assert_eq!(keys.unrecorded().take(), [SealingEvent::Created(made)], "{fault:?}");
    }
}

#[tokio::test]
async fn a_sealing_key_whose_commit_lands_after_the_next_one_has_begun_is_told_of_once() {
    for between in [false, true] {
        let world = World::new();
        let keys = sealing(&world, kek(1), 5).await.unwrap();
        let made = keys.unrecorded().take();
        let [SealingEvent::Created(first)] = made.as_slice() else { panic!("the first one is made") };
        world.store.fail(Some(Fault::Late));
        for _ in 0..2 {
            assert!(keys.compromise(first).await.is_err());
        }
        world.store.fail(None);
        if between {
            world.store.land();
        }
        keys.compromise(first).await.unwrap();
        let made = keys.list().remove(0).id;
        assert_eq!(keys.unrecorded().take(), [SealingEvent::Created(made)], "{between}");
    }
}

#[tokio::test]
async fn a_sealing_key_that_another_node_has_just_made_is_looked_for_and_a_made_up_one_once_for_all() {
    let world = World::new();
    let (one, other) = (sealing(&world, kek(1), 5).await.unwrap(), sealing(&world, kek(1), 6).await.unwrap());
    let text = one.seal("form", b"hello").unwrap();
    one.compromise(&one.list()[0].id).await.unwrap();
    let newer = one.seal("form", b"hello").unwrap();
    let reads = || world.store.reads.load(SeqCst);
    let before = reads();
    // What is known is opened as it is, and what is no sealed text is nobody's.
    for text in [text.as_str(), "nonsense", ""] {
        other.look_for_key_of(text).await.unwrap();
    }
    assert!(other.open_sealed("form", &text).unwrap().is_some(), "it has not heard of that yet");
    assert_eq!(reads(), before);
    assert!(other.open_sealed("form", &newer).unwrap().is_none());
    other.look_for_key_of(&newer).await.unwrap();
    assert_eq!(other.open_sealed("form", &newer).unwrap().unwrap().as_slice(), b"hello");
    assert!(other.open_sealed("form", &text).unwrap().is_none(), "what was dropped is dropped here too");
    assert_eq!(reads(), before + 1);
    // Anybody can make up a name: those who ask together share the reading that begins after all have asked.
    let asked = futures_util::future::join_all((0..50).map(|_| other.look_for_key_of(&text)));
    let passing = async { world.clock.advance(Duration::from_millis(1)) };
    for answer in tokio::join!(biased; asked, passing).0 {
        answer.unwrap();
    }
    assert_eq!(reads(), before + 3, "the one that was under way, and the one after it");
    assert!(other.open_sealed("form", &text).unwrap().is_none());
    // Nobody knows then.
    world.store.fail(Some(Fault::Down));
    assert!(matches!(other.look_for_key_of(&text).await, Err(KeyRingError::Store(_))));
}

#[tokio::test]
async fn rekeying_moves_the_sealing_keys_too() {
    let world = World::new();
    let open = async |kek: Arc<signet::keys::Kek>| sealing(&world, kek, 5).await;
    let keys = open(kek(1)).await.unwrap();
    let text = keys.seal("form", b"hello").unwrap();
    rekeyed(&world).await.unwrap();
    assert!(open(kek(1)).await.is_err(), "nothing is left under the old one");
    let keys = open(kek(2)).await.unwrap();
    assert_eq!(keys.unrecorded().take(), [], "none was made anew");
    assert_eq!(keys.open_sealed("form", &text).unwrap().unwrap().as_slice(), b"hello");
}

#[tokio::test]
async fn rekeying_goes_on_where_it_was_interrupted() {
    let mut world = World::new();
    let ring = world.open().await;
    let kid = signing(&ring);
    let untouched = std::fs::read(world.file(&kid)).unwrap();
    rekeyed(&world).await.unwrap();
    // As if it had died before the second file, with a temporary file left.
    std::fs::write(world.file(&kid), &untouched).unwrap();
    std::fs::write(world.file(&kid).with_extension("resealed"), "half").unwrap();
    let done = rekeyed(&world).await.unwrap();
    assert_eq!((done.resealed, done.verified, done.ring), (1, 2, false));
    world.kek = kek(2);
    assert_eq!(signing(&*assert_whole(&world).await), kid);
    assert!(world.has_only_kept_keys());
}

#[tokio::test]
async fn rekeying_touches_nothing_that_it_can_not_read() {
    let mut world = World::new();
    world.kek = kek(3);
    drop(world.open().await);
    let files: Vec<_> = world.files();
    assert!(matches!(rekeyed(&world).await, Err(RekeyError::Unreadable(RingUnreadable::WrongKek { .. }))));
    assert_eq!(world.files(), files);
    assert_whole(&world).await;
    let same = Rekey { old: kek(3), new: kek(3) };
    let entropy = Arc::new(SeededEntropy::new(1));
    let vault = Arc::new(DirectoryVault::open(world.dir.path(), kek(3), entropy.clone()).unwrap());
    let same = rekey(world.store.as_ref(), vault, &same, entropy).await;
    assert!(matches!(same, Err(RekeyError::Same)));
}

#[test]
fn key_files_are_for_the_owner_alone() {
    use signet::keys::KeyVault as _;
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    let vault = DirectoryVault::open(&keys, kek(1), Arc::new(SeededEntropy::new(1))).unwrap();
    let kid: KeyId = vault.generate(Algorithm::EdDSA).unwrap().kid().clone();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&keys), 0o700);
    assert_eq!(mode(&keys.join(format!("{kid}.pending"))), 0o600);
    vault.keep(&kid).unwrap();
    vault.keep(&kid).unwrap();
    assert_eq!(mode(&keys.join(format!("{kid}.key"))), 0o600);
    vault.destroy(&kid).unwrap();
    vault.destroy(&kid).unwrap();
    assert!(vault.keep(&kid).is_err() && vault.list().unwrap().is_empty());
}
