use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::record::{Material, SealingKey, SealingPolicy, SealingRecord, SealingStep};
use super::*;
use crate::clock::ManualClock;
use crate::config::Config;
use crate::entropy::SeededEntropy;
use crate::keys::{Fitness, Kek, Policy};
use crate::oauth::KeyId;
use crate::store::MemoryStore;

const DAY: u64 = 24 * 3600;

struct World {
    clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(1_800_000_000));
        Self { store: MemoryStore::new(clock.clone()), clock }
    }

    /// One node of the service; each draws other random bytes.
    async fn node(&self, seed: u64) -> Arc<SealingKeys> {
        let fitness = Fitness::new(self.clock.clone(), Duration::MAX);
        self.node_with(seed, Duration::from_secs(30 * DAY), Arc::new(fitness)).await
    }

    /// The same with keys that seal and open for `period`.
    async fn node_with(&self, seed: u64, period: Duration, fitness: Arc<Fitness>) -> Arc<SealingKeys> {
        let parts = SealingParts {
            store: self.store.clone(),
            kek: Arc::new(Kek::new(Zeroizing::new([1; 32]))),
            clock: self.clock.clone(),
            entropy: Arc::new(SeededEntropy::new(seed)),
            fitness,
        };
        let config = Config::for_tests(std::path::Path::new("t"));
        let policy = Policy::new(&config.keys, config.tokens.longest_lifetime).unwrap();
        SealingKeys::open(parts, &policy, (period, period)).await.unwrap()
    }

    async fn pass(&self, days: u64, nodes: &[&Arc<SealingKeys>]) {
        for _ in 0..days {
            self.clock.advance(Duration::from_secs(DAY));
            for node in nodes {
                node.tick().await.unwrap();
            }
        }
    }
}

fn opened(keys: &SealingKeys, purpose: &str, text: &str) -> Option<String> {
    let plain = keys.open_sealed(purpose, text).expect("keys that were read within P");
    plain.map(|plain| String::from_utf8(plain.to_vec()).unwrap())
}

#[tokio::test]
async fn a_text_opens_for_its_purpose_alone_and_unchanged() {
    let keys = World::new().node(1).await;
    let text = keys.seal("form", b"hello").unwrap();
    assert_eq!(opened(&keys, "form", &text).as_deref(), Some("hello"));
    assert_ne!(keys.seal("form", b"hello").unwrap(), text, "two texts tell nothing of each other");
    for purpose in ["", "for", "form2", "cookie"] {
        assert_eq!(opened(&keys, purpose, &text), None, "{purpose}");
    }
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(opened(&keys, "form", std::str::from_utf8(&changed).unwrap()), None, "at {at}");
    }
    for at in 0..text.len() {
        assert_eq!(opened(&keys, "form", &text[..at]), None, "cut at {at}");
    }
}

#[tokio::test]
async fn a_repeatable_text_is_the_same_for_the_same_and_no_other() {
    let keys = World::new().node(1).await;
    let text = keys.seal_repeatably("token", b"one").unwrap();
    assert_eq!(keys.seal_repeatably("token", b"one").unwrap(), text);
    let others = [("token", "two"), ("other", "one"), ("toke", "none")];
    // The nonce is behind version and key id: it is never used for two texts.
    let nonce = |text: &str| text[10..25].to_owned();
    for (purpose, plain) in others {
        let other = keys.seal_repeatably(
            match purpose {
                "token" => "token",
                "other" => "other",
                _ => "toke",
            },
            plain.as_bytes(),
        );
        assert_ne!(nonce(&other.unwrap()), nonce(&text), "{purpose} {plain}");
    }
    assert_eq!(opened(&keys, "token", &text).as_deref(), Some("one"));
}

#[tokio::test]
async fn nodes_open_each_others_texts_through_every_rotation() {
    let world = World::new();
    let period = Duration::from_mins(10);
    let fitness = Arc::new(Fitness::new(world.clock.clone(), Duration::MAX));
    let one = world.node_with(1, period, fitness.clone()).await;
    let two = world.node_with(2, period, fitness).await;
    assert_eq!(one.list(), two.list());
    let (mut seen, mut apart) = (std::collections::BTreeSet::new(), 0);
    for step in 0..400 {
        // Each reads the keys every 30 seconds, as late as it may, and the other one half of that later.
        world.clock.advance(Duration::from_secs(15));
        let turn = if step % 2 == 0 { &one } else { &two };
        turn.tick().await.unwrap();
        apart += usize::from(one.list() != two.list());
        for (a, b) in [(&one, &two), (&two, &one)] {
            let text = a.seal("form", b"hello").unwrap();
            assert!(opened(b, "form", &text).is_some());
        }
        seen.extend(one.list().into_iter().filter(|key| key.seals).map(|key| key.id));
    }
    assert!((8..=10).contains(&seen.len()), "{} keys in 100 minutes", seen.len());
    assert!(apart >= seen.len() - 1, "{apart}");
    assert!(one.list().len() <= 4);
}

#[tokio::test]
async fn what_was_sealed_opens_for_thirty_days_and_after_a_restart() {
    let world = World::new();
    let keys = world.node(1).await;
    world.pass(29, &[&keys]).await;
    let text = keys.seal("form", b"hello").unwrap();
    drop(keys);
    let keys = world.node(3).await;
    world.pass(30, &[&keys]).await;
    assert!(opened(&keys, "form", &text).is_some());
    world.pass(5, &[&keys]).await;
    assert!(opened(&keys, "form", &text).is_none(), "its key is gone");
}

#[tokio::test]
async fn a_condemned_key_opens_nothing_and_another_seals() {
    let world = World::new();
    let (one, two) = (world.node(1).await, world.node(2).await);
    let text = one.seal("form", b"hello").unwrap();
    let id = one.list()[0].id.clone();
    assert!(one.compromise(&id).await.unwrap());
    assert!(!one.compromise(&id).await.unwrap());
    assert!(opened(&one, "form", &text).is_none());
    let text = one.seal("form", b"hello").unwrap();
    two.tick().await.unwrap();
    assert!(opened(&two, "form", &text).is_some());
    assert!(!two.contains(id.as_str()));
}

#[tokio::test]
async fn keys_that_were_not_read_for_p_neither_seal_nor_open() {
    let world = World::new();
    let keys = world.node(1).await;
    let text = keys.seal("form", b"hello").unwrap();
    world.clock.advance(Duration::from_secs(30));
    assert!(opened(&keys, "form", &text).is_some());
    world.clock.advance(Duration::from_secs(1));
    let stale = SealError::Stale { retry_after: 30 };
    assert_eq!(keys.seal("form", b"hello"), Err(stale));
    // Nor does it say that something else is none of ours: it can't know.
    assert_eq!(keys.open_sealed("form", &text), Err(stale));
    assert_eq!(keys.open_sealed("form", "nonsense"), Err(stale));
    keys.tick().await.unwrap();
    assert!(keys.seal("form", b"hello").is_ok());
    assert!(opened(&keys, "form", &text).is_some());
}

fn key(number: usize, now: i64, seal_from: i64, longest_lifetime: i64) -> SealingKey {
    let id = KeyId::parse(&format!("key-{number}")).unwrap();
    SealingKey { id, material: Material([0; 32]), created_at: now, seal_from, longest_lifetime }
}

proptest! {
    /// Whatever the settings, and however late and irregular the rounds are: a key seals at every time, a lagging node
    /// knows it, and what any node sealed opens for as long as it may count.
    #[test]
    fn something_seals_and_everything_opens(
        period in 100i64..5_000,
        propagation in 1i64..60,
        skew in 0i64..60,
        lifetime in 1i64..5_000,
        pauses in prop::collection::vec(1i64..400, 50..300),
    ) {
        let mut policy = SealingPolicy { period, propagation, skew, longest_lifetime: lifetime };
        let mut record = SealingRecord::default();
        let (mut now, mut made) = (1_000_000i64, 0);
        let mut sealed: Vec<(i64, i64, KeyId)> = Vec::new();
        for (round, pause) in pauses.iter().enumerate() {
            // What the settings allow may grow.
            if round == 40 { policy.longest_lifetime *= 2; }
            let before = record.clone();
            for step in record.plan(&policy, now) {
                let new = match &step {
                    SealingStep::Create { seal_from } => {
                        made += 1;
                        Some(key(made, now, *seal_from, policy.longest_lifetime))
                    }
                    _ => None,
                };
                record.apply(&step, new);
            }
            prop_assert_eq!(record.plan(&policy, now), vec![]);
            let current = record.current(now).expect("a key seals");
            sealed.push((now, now + policy.longest_lifetime, current.id.clone()));
            // A node that has read the row a moment too early.
            if let Some(lagging) = before.current(now) {
                sealed.push((now, now + lagging.longest_lifetime.min(policy.longest_lifetime), lagging.id.clone()));
                prop_assert!(record.find(lagging.id.as_str()).is_some());
            }
            // A node whose clock is behind.
            if let Some(behind) = record.current(now - skew) {
                sealed.push((now, now + behind.longest_lifetime.min(policy.longest_lifetime), behind.id.clone()));
            }
            for (at, until, id) in &sealed {
                prop_assert!(now >= *until || record.find(id.as_str()).is_some(), "sealed at {at}, gone at {now}");
            }
            let most = 4 + (2 * lifetime + propagation + skew) / period * 2;
            prop_assert!(i64::try_from(record.keys.len()).unwrap() <= most);
            now += pause;
        }
    }
}
