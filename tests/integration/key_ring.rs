//! The key ring in service: starting, rotating, refusing, and being asked by an operator.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use signet::keys::intervene::Refusal;
use signet::keys::{
    Health, KeyRing, KeyRingError, NoKey, Phase, RingUnreadable, UnreadableKey, VaultError, Waiting,
};
use signet::oauth::{Algorithm, KeyId, Secret, TokenType};

use crate::key_ring_fixture::{Fault, START, World, kek, published, signing};

fn waiting(ring: &KeyRing) -> KeyId {
    let keys = ring.list().keys;
    let mut waiting = keys.iter().filter(|key| key.phase == Phase::Published);
    let kid = waiting.next().expect("a key waits").kid.clone();
    assert_eq!(waiting.count(), 0, "one key waits");
    kid
}

#[tokio::test]
async fn the_first_start_makes_a_key_that_signs_and_the_first_tick_publishes_it_with_all_others() {
    let mut world = World::new();
    world.settings.algorithms = vec![Algorithm::ES256, Algorithm::EdDSA];
    let ring = world.try_open().await.unwrap();
    assert_eq!(world.files().len(), 1);
    assert!(world.has_only_kept_keys());
    assert_eq!(ring.jwks(None), Err(NoKey::Unpublished));
    let first = signing(&ring);
    assert_eq!(ring.signing_key(Some(Algorithm::EdDSA)).map(drop), Err(NoKey::Unpublished));
    assert!(ring.signing_key(None).is_ok() && ring.waiting().is_empty());

    ring.tick().await.unwrap();
    assert_eq!((published(&ring).len(), ring.jwks(None).unwrap().max_age), (4, 5));
    assert_eq!(world.files().len(), 4);
    assert!(world.has_only_kept_keys());
    assert_eq!((ring.health(), signing(&ring)), (Health::Green, first));
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        let key = ring.signing_key(Some(algorithm)).unwrap();
        let header = URL_SAFE_NO_PAD.decode(key.header(TokenType::AccessToken)).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header["typ"], "at+jwt");
        assert_eq!(header["alg"], algorithm.as_str());
        assert_eq!(header["kid"], key.kid().as_str());
        assert_eq!(key.latest_exp(world.now()), START + 10);
        assert!(ring.key_set().find(key.kid()).is_some());
    }
    assert_eq!(ring.signing_key(Some(Algorithm::RS256)).unwrap().algorithm(), Algorithm::ES256);
    ring.unrecorded().take();
    ring.tick().await.unwrap();
    assert_eq!(ring.unrecorded().take(), []);
}

#[tokio::test]
async fn keys_that_can_not_be_made_behind_the_first_are_told_and_made_later() {
    let world = World::new();
    let ring = world.try_open().await.unwrap();
    world.store.fail(Some(Fault::CommitLost));
    ring.tick().await.unwrap_err();
    assert_eq!(ring.health(), Health::Red { failures: 1, signs: false });
    assert_eq!(ring.jwks(None), Err(NoKey::Unpublished), "nobody may hold a copy without the key that waits");
    assert!(ring.signing_key(Some(Algorithm::ES256)).is_ok());
    world.store.fail(None);
    ring.tick().await.unwrap();
    assert_eq!((ring.health(), ring.jwks(None).unwrap().max_age), (Health::Green, 5));
    waiting(&ring);
}

#[tokio::test]
async fn who_asks_for_the_first_keys_before_they_are_published_waits_for_the_tick_that_does_it() {
    let world = World::new();
    let ring = world.try_open().await.unwrap();
    let (asked, ticked) = tokio::join!(biased; ring.jwks_when_published(None), ring.tick());
    ticked.unwrap();
    assert_eq!(asked, ring.jwks(None));
    assert!(asked.is_ok());

    let world = World::new();
    let ring = world.try_open().await.unwrap();
    world.store.fail(Some(Fault::CommitLost));
    let (asked, ticked) = tokio::join!(biased; ring.jwks_when_published(None), ring.tick());
    ticked.unwrap_err();
    assert_eq!(asked, Err(NoKey::Unpublished));
}

#[tokio::test]
async fn who_rotates_before_the_first_tick_is_not_told_that_no_key_waits() {
    let mut world = World::new();
    world.settings.algorithms = vec![Algorithm::ES256, Algorithm::EdDSA];
    let ring = world.try_open().await.unwrap();
    let before = signing(&ring);
    let rotations = ring.rotate(None, false).await.unwrap().rotations;
    assert_eq!(rotations.iter().map(|rotation| rotation.wait).collect::<Vec<_>>(), [0, 0]);
    assert_ne!(signing(&ring), before);
    // Of each algorithm the key that signed, the one that signs, and the one that waits.
    assert_eq!((published(&ring).len(), world.files().len()), (6, 6));
    assert!(world.has_only_kept_keys());
}

#[tokio::test]
async fn a_node_that_joins_before_the_first_tick_publishes_the_first_keys() {
    let world = World::new();
    let first = world.try_open().await.unwrap();
    first.unrecorded().take();
    let second = world.try_open().await.unwrap();
    assert!(!second.unrecorded().take().is_empty());
    let next = waiting(&second);
    // The first knows one key only, but it shows that to nobody.
    let rotations = second.rotate(None, false).await.unwrap().rotations;
    assert_eq!((&rotations[0].kid, rotations[0].wait), (&next, 0));
    assert_eq!(first.jwks(None), Err(NoKey::Unpublished));
    assert!(published(&second).contains(&signing(&first).to_string()));
    first.tick().await.unwrap();
    assert_eq!(first.unrecorded().take(), []);
    assert_eq!(first.jwks(None), second.jwks(None));
}

#[tokio::test]
async fn a_node_that_another_was_faster_than_throws_away_what_it_made_and_plans_anew() {
    let world = World::new();
    let ring = world.try_open().await.unwrap();
    world.store.fail(Some(Fault::Overtaken));
    ring.tick().await.unwrap();
    assert_eq!((world.files().len(), published(&ring).len()), (2, 2));
    assert!(world.has_only_kept_keys());
    waiting(&ring);
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let world = World::new();
    let before = world.open().await;
    let after = world.try_open().await.unwrap();
    assert_eq!(before.jwks(None), after.jwks(None));
    assert_eq!(signing(&before), signing(&after));
    assert_eq!(after.unrecorded().take(), []);
}

#[tokio::test]
async fn the_first_rotation_is_immediate_and_the_next_waits_for_the_lead() {
    let world = World::new();
    let ring = world.open().await;
    let next = waiting(&ring);
    let first = ring.rotate(None, false).await.unwrap().rotations;
    assert_eq!((&first[0].kid, first[0].wait, first[0].breaks.len()), (&next, 0, 0));
    assert_eq!(signing(&ring), next);
    assert_eq!(published(&ring).len(), 3);

    let next = waiting(&ring);
    let second = ring.rotate(Some(Algorithm::ES256), false).await.unwrap().rotations;
    assert_eq!((&second[0].kid, second[0].wait, second[0].breaks.len()), (&next, 10, 0));
    world.run(&ring, 9).await;
    assert_ne!(signing(&ring), next);
    world.run(&ring, 1).await;
    assert_eq!(signing(&ring), next);
}

#[tokio::test]
async fn a_forced_rotation_says_what_breaks() {
    let world = World::new();
    let ring = world.open().await;
    ring.rotate(None, false).await.unwrap();
    let next = waiting(&ring);
    let forced = ring.rotate(None, true).await.unwrap().rotations;
    assert_eq!((&forced[0].kid, forced[0].wait), (&next, 0));
    assert_eq!(forced[0].breaks[0].until, START + 10);
    assert_eq!(signing(&ring), next);
    let unused = ring.rotate(Some(Algorithm::RS256), true).await;
    assert!(matches!(unused, Err(KeyRingError::Refused(Refusal::AlgorithmNotInUse(Algorithm::RS256)))));
}

#[tokio::test]
async fn keys_come_and_go_by_themselves() {
    let world = World::new();
    let ring = world.open().await;
    let (first, second) = (signing(&ring), waiting(&ring));
    world.run(&ring, 59).await;
    assert_eq!(signing(&ring), first);
    world.run(&ring, 1).await;
    assert_eq!(signing(&ring), second);
    assert!(world.file(&first).exists(), "a lagging node may still need it");
    // P + S later it retires: the private half is gone, the public half stays for its tokens.
    world.run(&ring, 5).await;
    assert!(!world.file(&first).exists());
    assert!(ring.key_set().find(&first).is_some());
    world.run(&ring, 14).await;
    assert!(published(&ring).contains(&first.to_string()));
    world.run(&ring, 1).await;
    assert!(!published(&ring).contains(&first.to_string()));
    assert!(ring.key_set().find(&first).is_none());
}

#[tokio::test]
async fn the_jwks_is_served_from_memory_and_changes_its_tag_with_its_content() {
    let world = World::new();
    let ring = world.open().await;
    let reads = world.store.reads.load(SeqCst);
    let before = ring.jwks(None).unwrap();
    assert_eq!(before.max_age, 5);
    world.clock.advance(Duration::from_secs(58));
    assert_eq!(ring.jwks(None).unwrap().max_age, 2);
    assert_eq!(ring.jwks(None).unwrap().document.etag, before.document.etag);
    assert_eq!(world.store.reads.load(SeqCst), reads);
    world.run(&ring, 2).await;
    assert_ne!(ring.jwks(None).unwrap().document.etag, before.document.etag);
}

#[tokio::test]
async fn a_ring_that_was_not_read_for_p_does_not_sign() {
    let world = World::new();
    let ring = world.open().await;
    world.store.fail(Some(Fault::Down));
    assert_eq!(ring.health(), Health::Green);
    world.clock.advance(Duration::from_secs(3));
    ring.tick().await.unwrap_err();
    assert_eq!(ring.health(), Health::Amber { failures: 1 });
    assert!(ring.signing_key(Some(Algorithm::ES256)).is_ok());
    world.clock.advance(Duration::from_secs(1));
    ring.tick().await.unwrap_err();
    assert_eq!(ring.health(), Health::Red { failures: 2, signs: false });
    let refused = ring.signing_key(Some(Algorithm::ES256)).map(drop);
    assert_eq!(refused, Err(NoKey::Stale { retry_after: 3 }));
    assert_eq!(refused.unwrap_err().retry_after(), 3);
    assert_eq!(published(&ring).len(), 2, "the JWKS stays up");
    world.store.fail(None);
    ring.tick().await.unwrap();
    assert_eq!(ring.health(), Health::Green);
    assert!(ring.signing_key(Some(Algorithm::ES256)).is_ok());
}

#[tokio::test]
async fn setting_the_clock_back_does_not_make_an_old_ring_fresh() {
    let world = World::new();
    let ring = world.open().await;
    world.clock.advance(Duration::from_secs(4));
    world.clock.jump_to(START);
    assert!(matches!(ring.signing_key(Some(Algorithm::ES256)).map(drop), Err(NoKey::Stale { .. })));
}

#[tokio::test]
async fn a_lost_ring_is_not_made_anew() {
    let world = World::new();
    drop(world.open().await);
    let files = world.files();
    world.store.edit(std::collections::BTreeMap::clear);
    let lost = world.try_open().await;
    assert!(matches!(lost, Err(KeyRingError::RingLost { keys: 2 })), "{lost:?}");
    assert_eq!(world.files(), files);
    assert_eq!(world.store.ring_row(), None);
}

#[tokio::test]
async fn a_changed_ring_stops_the_start() {
    let world = World::new();
    drop(world.open().await);
    let row = world.store.ring_row().unwrap();
    let text = String::from_utf8(row.value).unwrap().replace("ES256", "RS256");
    world.store.edit(|rows| rows.values_mut().for_each(|row| row.value = text.clone().into_bytes()));
    let damaged = world.try_open().await.map(drop);
    assert!(matches!(damaged, Err(KeyRingError::Unreadable(RingUnreadable::Damaged))));
}

#[tokio::test]
async fn a_wrong_kek_stops_the_start_and_is_named() {
    let mut world = World::new();
    drop(world.open().await);
    world.kek = kek(2);
    let wrong = world.try_open().await.map(drop).unwrap_err();
    assert!(matches!(wrong, KeyRingError::Unreadable(RingUnreadable::WrongKek { .. })));
    assert!(wrong.to_string().contains("signet keys rekey"), "{wrong}");
}

#[tokio::test]
async fn a_missing_or_exchanged_private_key_stops_the_start() {
    let world = World::new();
    let ring = world.open().await;
    for kid in [signing(&ring), waiting(&ring)] {
        let sealed = std::fs::read(world.file(&kid)).unwrap();
        std::fs::remove_file(world.file(&kid)).unwrap();
        let missing = world.try_open().await.map(drop);
        assert!(
            matches!(&missing, Err(KeyRingError::Vault(VaultError::Missing { kid: named, .. })) if *named == kid)
        );
        std::fs::write(world.file(&kid), sealed).unwrap();
    }
    std::fs::copy(world.file(&signing(&ring)), world.file(&waiting(&ring))).unwrap();
    assert!(matches!(world.try_open().await.map(drop), Err(KeyRingError::Vault(VaultError::Unseal { .. }))));
}

#[tokio::test]
async fn a_key_that_no_backup_has_can_be_declared_compromised() {
    let world = World::new();
    let ring = world.open().await;
    let (lost, next) = (signing(&ring), waiting(&ring));
    std::fs::remove_file(world.file(&lost)).unwrap();
    KeyRing::unopened(world.parts()).compromise(&lost).await.unwrap();
    assert_eq!(signing(&*world.open().await), next);
}

#[tokio::test]
async fn a_compromised_signing_key_is_gone_at_once() {
    let world = World::new();
    let ring = world.open().await;
    let (bad, next) = (signing(&ring), waiting(&ring));
    let commits = world.store.commits.load(SeqCst);
    let answer = ring.compromise(&bad).await.unwrap();
    assert_eq!(world.store.commits.load(SeqCst), commits + 1, "one commit");
    assert_eq!(answer.signs_now, Some(next.clone()));
    assert_eq!(answer.breaks.len(), 2, "its tokens, and caches for a while: {answer:?}");
    assert_eq!(signing(&ring), next);
    assert!(!published(&ring).contains(&bad.to_string()));
    assert!(ring.key_set().find(&bad).is_none());
    assert!(ring.compromised().contains(&bad));
    assert_eq!(ring.compromised(), std::slice::from_ref(&bad));
    assert!(!world.file(&bad).exists());
    assert_ne!(waiting(&ring), next, "a new next key waits");
    let again = ring.compromise(&bad).await.map(drop);
    assert!(matches!(again, Err(KeyRingError::Refused(Refusal::AlreadyCompromised(_)))));
    // Named for as long as a token or a cache may know it, then forgotten.
    let named_until = answer.named_until.unwrap();
    assert!(named_until >= world.now() + 10 + 5);
    world.run(&ring, u64::try_from(named_until - world.now()).unwrap()).await;
    assert_eq!(ring.compromised(), []);
}

#[tokio::test]
async fn compromising_the_waiting_key_does_not_touch_the_signing_key() {
    let world = World::new();
    let ring = world.open().await;
    let (signs, bad) = (signing(&ring), waiting(&ring));
    let answer = ring.compromise(&bad).await.unwrap();
    assert_eq!(answer.signs_now, Some(signs.clone()));
    assert_eq!(signing(&ring), signs);
    assert_ne!(waiting(&ring), bad);
}

#[tokio::test]
async fn compromising_a_retired_key_drops_it() {
    let world = World::new();
    let ring = world.open().await;
    let retired = signing(&ring);
    world.run(&ring, 66).await;
    assert!(published(&ring).contains(&retired.to_string()));
    ring.compromise(&retired).await.unwrap();
    assert!(!published(&ring).contains(&retired.to_string()));
    assert!(ring.compromised().contains(&retired));
}

#[tokio::test]
async fn compromise_upon_compromise_always_leaves_a_key_that_signs() {
    let world = World::new();
    let ring = world.open().await;
    for _ in 0..5 {
        let bad = signing(&ring);
        let answer = ring.compromise(&bad).await.unwrap();
        assert_eq!(answer.signs_now, Some(signing(&ring)));
        waiting(&ring);
    }
    let unknown = KeyId::parse("unknown").unwrap();
    assert!(matches!(
        ring.compromise(&unknown).await.map(drop),
        Err(KeyRingError::Refused(Refusal::UnknownKey(_)))
    ));
}

fn pem(name: &str) -> Secret {
    let path = format!("{}/tests/fixtures/keys/{name}", env!("CARGO_MANIFEST_DIR"));
    Secret::new(std::fs::read_to_string(path).unwrap())
}

#[tokio::test]
async fn an_imported_key_waits_its_lead_and_never_comes_back_once_compromised() {
    let world = World::new();
    let ring = world.open().await;
    let imported = ring.import(&pem("p256.pem"), Algorithm::ES256).await.unwrap();
    assert!(imported.sign_from >= world.now() + 10);
    assert!(published(&ring).contains(&imported.kid.to_string()));
    let twice = ring.import(&pem("p256.pem"), Algorithm::ES256).await.map(drop);
    assert!(matches!(twice, Err(KeyRingError::Refused(Refusal::Barred(_)))), "{twice:?}");
    ring.compromise(&imported.kid).await.unwrap();
    world.run(&ring, 100).await;
    let back = ring.import(&pem("p256.pem"), Algorithm::ES256).await.map(drop);
    assert!(matches!(back, Err(KeyRingError::Refused(Refusal::Barred(_)))), "{back:?}");
}

#[tokio::test]
async fn what_may_not_come_in_leaves_no_trace() {
    let world = World::new();
    let ring = world.open().await;
    let files = world.files();
    let weak = ring.import(&pem("rsa1024.pem"), Algorithm::RS256).await.map(drop);
    assert!(matches!(weak, Err(KeyRingError::UnreadableKey(UnreadableKey::Unusable(_)))));
    let unused = ring.import(&pem("rsa2048.pem"), Algorithm::RS256).await.map(drop);
    assert!(matches!(unused, Err(KeyRingError::Refused(Refusal::AlgorithmNotInUse(_)))));
    assert_eq!(world.files(), files);
}

#[tokio::test]
async fn fifty_nodes_make_one_new_key_between_them() {
    let world = World::new();
    let mut nodes = Vec::new();
    for _ in 0..50 {
        nodes.push(world.open().await);
    }
    for node in &nodes {
        node.unrecorded().take();
    }
    for round in 1..=4 {
        world.clock.advance(Duration::from_mins(1));
        let ticks: Vec<_> = nodes
            .iter()
            .map(|node| {
                let node = Arc::clone(node);
                tokio::spawn(async move { node.tick().await })
            })
            .collect();
        for tick in ticks {
            tick.await.unwrap().unwrap();
        }
        let events = nodes.iter().flat_map(|node| node.unrecorded().take());
        let created = events.filter(|event| format!("{:?}", event.change).starts_with("Create")).count();
        assert_eq!(created, 1, "round {round}");
        let signs = signing(&nodes[0]);
        for node in &nodes {
            assert_eq!(signing(node), signs);
            assert_eq!(node.jwks(None).unwrap().document.body, nodes[0].jwks(None).unwrap().document.body);
        }
        assert!(world.has_only_kept_keys(), "losers discard their keys");
    }
}

#[tokio::test]
async fn a_node_sees_what_another_did_at_its_next_tick() {
    let world = World::new();
    let (one, other) = (world.open().await, world.open().await);
    let bad = signing(&one);
    one.compromise(&bad).await.unwrap();
    assert_eq!(signing(&other), bad);
    other.tick().await.unwrap();
    assert_ne!(signing(&other), bad);
    assert!(other.compromised().contains(&bad));
}

#[tokio::test]
async fn a_slow_commit_does_not_shorten_the_lead() {
    let world = World::new();
    let ring = world.open().await;
    world.store.slowness.store(3, SeqCst);
    world.clock.advance(Duration::from_mins(1));
    ring.tick().await.unwrap();
    let list = ring.list();
    let next = list.keys.iter().find(|key| key.phase == Phase::Published).unwrap();
    // It was durable three seconds after it was planned: its lead counts from then.
    assert!(next.publish_at >= START + 63, "{next:?}");
    world.store.slowness.store(0, SeqCst);
    let wait = ring.rotate(None, false).await.unwrap().rotations[0].wait;
    assert_eq!(wait, next.publish_at + 10 - world.now());
}

#[tokio::test]
async fn an_added_algorithm_waits_for_verifiers_and_a_dropped_one_signs_on_for_a_lead() {
    let mut world = World::new();
    drop(world.open().await);
    world.settings.algorithms = vec![Algorithm::EdDSA];
    let ring = world.open().await;
    let signs = |wanted: Option<Algorithm>| ring.signing_key(wanted).unwrap().algorithm();
    // The only one that signs is not in use any more, and can't go before the new one has begun.
    assert_eq!((signs(None), signs(Some(Algorithm::EdDSA))), (Algorithm::ES256, Algorithm::ES256));
    let waiting = Waiting { algorithm: Algorithm::EdDSA, sign_from: Some(START + 10) };
    assert_eq!((ring.waiting(), ring.algorithms(0)), (vec![waiting], vec![Algorithm::ES256]));
    world.run(&ring, 10).await;
    assert_eq!((signs(None), signs(Some(Algorithm::ES256))), (Algorithm::EdDSA, Algorithm::ES256));
    assert_eq!((ring.waiting(), ring.algorithms(0)), (vec![], vec![Algorithm::EdDSA, Algorithm::ES256]));
    world.run(&ring, 10).await;
    assert_eq!(signs(Some(Algorithm::ES256)), Algorithm::EdDSA);
    assert_eq!(
        (published(&ring).len(), ring.algorithms(0)),
        (4, vec![Algorithm::EdDSA]),
        "its tokens still verify"
    );
    world.run(&ring, 15).await;
    assert_eq!(published(&ring).len(), 2);
}

#[tokio::test]
async fn where_only_a_dropped_algorithm_signs_and_its_key_is_compromised_one_in_use_signs_at_once() {
    let mut world = World::new();
    drop(world.open().await);
    world.settings.algorithms = vec![Algorithm::EdDSA];
    let ring = world.open().await;
    let kid = ring.signing_key(None).unwrap().kid().clone();
    let compromised = ring.compromise(&kid).await.unwrap();
    assert_eq!(ring.signing_key(None).unwrap().algorithm(), Algorithm::EdDSA);
    let told = compromised.breaks.iter().find(|breakage| breakage.what.contains("before its lead is over"));
    assert_eq!(told.unwrap().until, START + 10);
}

#[tokio::test]
async fn a_longer_lifetime_is_recorded_before_it_is_given() {
    let mut world = World::new();
    let old = world.open().await;
    world.settings.hold = Duration::from_secs(100);
    world.lifetime = Duration::from_mins(1);
    let new = world.open().await;
    assert_eq!(new.signing_key(Some(Algorithm::ES256)).unwrap().latest_exp(START), START + 60);
    assert_eq!(old.signing_key(Some(Algorithm::ES256)).unwrap().latest_exp(START), START + 10);
    world.run(&new, 60).await;
    let list = new.list();
    let first = list.keys.iter().find(|key| key.retire_at.is_some()).unwrap();
    assert_eq!((first.longest_lifetime, first.forget_at.unwrap() - first.retire_at.unwrap()), (60, 100));
}

#[tokio::test]
async fn no_token_outlives_its_key() {
    let world = World::new();
    let ring = world.open().await;
    for _ in 0..150 {
        let key = ring.signing_key(Some(Algorithm::ES256)).unwrap();
        let exp = key.latest_exp(world.now());
        let list = ring.list();
        let view = list.keys.iter().find(|view| view.kid == *key.kid()).unwrap();
        assert!(view.forget_at.is_none_or(|forget_at| exp + 2 <= forget_at));
        assert!(exp <= world.now() + 10);
        world.run(&ring, 1).await;
    }
}

#[tokio::test]
async fn the_plan_is_told_in_advance() {
    let world = World::new();
    let ring = world.open().await;
    let (first, second) = (signing(&ring), waiting(&ring));
    let forecast = ring.forecast();
    let told: Vec<_> = forecast
        .events
        .iter()
        .map(|event| (event.at - START, event.kid.clone(), format!("{:?}", event.what)))
        .collect();
    let expected = [
        (60, Some(second.clone()), "Signs"),
        (60, None, "Created"),
        (65, Some(first.clone()), "Retires"),
        (80, Some(first), "LeavesJwks"),
    ];
    for event in expected {
        let event = (event.0, event.1, event.2.to_owned());
        assert!(told.contains(&event), "{event:?} is not in {told:?}");
    }
    assert!(forecast.events.iter().is_sorted_by_key(|event| event.at));
    // What was told comes true.
    world.run(&ring, 60).await;
    assert_eq!(signing(&ring), second);
    assert!(serde_json::to_string(&forecast).unwrap().contains("begins to sign"));
}

#[tokio::test]
async fn the_list_counts_who_has_fetched_each_key() {
    let world = World::new();
    let ring = world.open().await;
    for last in 1..=3 {
        let _jwks = ring.jwks(Some([10, 0, 0, last].into()));
        let _jwks = ring.jwks(Some([10, 0, 0, last].into()));
    }
    assert!(ring.list().keys.iter().all(|key| key.fetchers == 3));
    world.run(&ring, 60).await;
    let _jwks = ring.jwks(Some([10, 0, 0, 1].into()));
    let list = ring.list();
    let newest = list.keys.iter().max_by_key(|key| key.publish_at).unwrap();
    assert_eq!(newest.fetchers, 1);
    assert_eq!(list.keys.iter().filter(|key| key.signs).count(), 1);
    assert_eq!(list.next_change, Some(START + 80));
}

/// The last key of an algorithm that the settings have dropped: one of those that are in use takes over.
#[tokio::test]
async fn what_takes_over_from_a_compromised_key_is_named_whatever_its_algorithm() {
    let mut world = World::new();
    let bad = signing(&*world.open().await);
    world.settings.algorithms = vec![Algorithm::EdDSA];
    let ring = world.open().await;
    let signs = |ring: &KeyRing| ring.signing_key(None).unwrap().kid().clone();
    assert_eq!(signs(&ring), bad, "the new algorithm waits");
    let foreseen = ring.preview_compromise(&bad).unwrap();
    let answer = ring.compromise(&bad).await.unwrap();
    assert_ne!(signs(&ring), bad);
    assert_eq!(
        (answer.signs_now.as_ref(), foreseen.signs_now.as_ref()),
        (Some(&signs(&ring)), Some(&signs(&ring)))
    );
    // A key of an algorithm that others sign for leaves it to them.
    world.settings.algorithms = vec![Algorithm::EdDSA, Algorithm::ES256];
    let ring = world.open().await;
    let waits = ring
        .list()
        .keys
        .into_iter()
        .find(|key| key.algorithm == Algorithm::ES256 && key.phase == Phase::Published);
    let answer = ring.compromise(&waits.expect("a key waits").kid).await.unwrap();
    assert_eq!(answer.signs_now, Some(signs(&ring)));
}

#[tokio::test]
async fn a_look_does_nothing_that_is_due() {
    let world = World::new();
    let ring = world.open().await;
    let (version, kids, next) = (ring.version(), published(&ring), waiting(&ring));
    drop(ring);
    world.clock.advance(Duration::from_secs(100));
    let (commits, files) = (world.store.commits.load(SeqCst), world.files());
    for file in &files {
        std::fs::rename(world.dir.path().join(file), world.dir.path().join(format!("{file}.away"))).unwrap();
    }
    let look = KeyRing::look(world.parts()).await.unwrap();
    assert_eq!((look.version(), world.store.commits.load(SeqCst)), (version, commits));
    let shown = look.list().keys;
    assert_eq!(shown.len(), kids.len());
    assert!(shown.iter().any(|key| key.kid == next && key.signs), "its time has come: {shown:?}");
    assert!(!look.forecast().events.is_empty());
    // It has no private half, and nobody takes it for a service.
    assert!(look.signing_key(None).is_err());
    for file in files {
        std::fs::rename(world.dir.path().join(format!("{file}.away")), world.dir.path().join(file)).unwrap();
    }
    assert_ne!(world.open().await.version(), version, "that was due");
}
