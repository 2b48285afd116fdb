use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::clock::{Clock as _, ManualClock};
use crate::config::Config;
use crate::entropy::SeededEntropy;
use crate::keys::{Fitness, Policy, SealingParts, SilentModule};
use crate::oauth::{ClientId, Subject};
use crate::store::MemoryStore;
use crate::tokens::{ListDates, StatusLists};

const DAY: i64 = 24 * 3600;

/// More than any node here promises of what it seals.
const LONGEST: i64 = 730 * DAY;

struct World {
    clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
    module: Arc<SilentModule>,
}

impl World {
    async fn sealing_keys(&self, promised: Duration) -> Arc<SealingKeys> {
        let parts = SealingParts {
            store: self.store.clone(),
            kek: Arc::new(self.module.kek()),
            clock: self.clock.clone(),
            entropy: Arc::new(SeededEntropy::new(promised.as_secs())),
            fitness: self.fitness(),
        };
        let config = Config::for_tests(Path::new("t"));
        let policy = Policy::new(&config.keys, config.tokens.longest_lifetime).unwrap();
        let period = Duration::from_hours(24 * 60);
        SealingKeys::open(parts, &policy, (period, promised)).await.unwrap()
    }

    fn fitness(&self) -> Arc<Fitness> {
        Arc::new(Fitness::new(self.clock.clone(), Duration::MAX))
    }

    async fn revocations(&self, sealing_keys: Arc<SealingKeys>) -> Revocations {
        let dates = ListDates { window: 3600, longest_lifetime: 3600, clock_skew: 60 };
        let entropy = Arc::new(SeededEntropy::new(9));
        let uri = "https://issuer.example/status".to_owned();
        let lists = StatusLists::open(uri, dates, self.store.clone(), self.clock.clone(), entropy);
        let grants = GrantLifetimes { sealing_keys, longest: LONGEST, code: 600 };
        let here = (self.clock.clone() as _, self.fitness());
        let lists = Arc::new(lists.await.unwrap());
        Revocations::open(self.store.clone(), here, lists, Some(grants)).await.unwrap()
    }

    /// For how many seconds each that is cut off stays so, by its name.
    async fn kept(&self, revocations: &Revocations) -> Vec<(String, i64)> {
        let standing = revocations.standing(None, 9).await.unwrap();
        standing.into_iter().map(|each| (each.name, each.grants_until.timestamp() - each.before)).collect()
    }
}

/// Nobody waits for a module in order to revoke something, be it one whose calls do not even fail; and what was granted by a node that promises
/// more than this one knows of stays revoked.
#[tokio::test(start_paused = true)]
async fn a_module_that_never_answers_keeps_nobody_from_revoking() {
    let clock = Arc::new(ManualClock::at(1_800_000_000));
    let world = World { store: MemoryStore::new(clock.clone()), clock, module: Arc::default() };
    let revocations = world.revocations(world.sealing_keys(Duration::from_hours(24)).await).await;
    // Another node, of whose row the first has opened nothing yet.
    world.sealing_keys(Duration::from_hours(24 * 30)).await;
    let (before, silence) = (world.module.calls.load(SeqCst), world.module.fall_silent());
    for subject in ["ada", "bob"] {
        let whole = Whole::Subject(Subject::parse(subject).unwrap());
        let patience = async {
            if subject == "ada" {
                world.module.called.notified().await;
            }
            for _ in 0..100 {
                tokio::time::advance(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            cut_off = revocations.revoke_before_now(&whole) => assert!(cut_off.unwrap() >= world.clock.numeric_date()),
            () = patience => panic!("{subject} can't be cut off"),
        }
        assert!(
            revocations.cutoff(&ClientId::parse("c").unwrap(), &Subject::parse(subject).unwrap()).is_some()
        );
    }
    for (name, kept) in world.kept(&revocations).await {
        assert_eq!(kept, LONGEST + 600 + 60, "{name}");
    }
    drop(silence);
    let whole = Whole::Subject(Subject::parse("eve").unwrap());
    revocations.revoke_before_now(&whole).await.unwrap();
    let calls = world.module.calls.load(SeqCst) - before;
    assert_eq!(
        calls, 2,
        "Ada's and Eve's: one thread waits, and who has given the module up leaves none behind"
    );
    let kept = world.kept(&revocations).await;
    assert_eq!((kept.len(), kept.iter().map(|(_, kept)| *kept).min()), (3, Some(30 * DAY + 600 + 60)));
}
