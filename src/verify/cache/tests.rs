use std::sync::Mutex as StdMutex;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::clock::{Clock as _, ManualClock};

/// Answers with what it was last told, and counts.
#[derive(Default)]
struct Source {
    answer: StdMutex<Option<u32>>,
    calls: AtomicUsize,
    held: Arc<tokio::sync::RwLock<()>>,
    /// By which clock an answer takes how many seconds.
    slowness: StdMutex<Option<(Arc<ManualClock>, u64)>>,
}

#[async_trait]
impl Load for Arc<Source> {
    type Value = u32;

    fn name(&self) -> &'static str {
        "test"
    }

    async fn load(&self, previous: Option<&Copy<u32>>) -> Result<Loaded<u32>, LoadError> {
        self.calls.fetch_add(1, SeqCst);
        drop(self.held.read().await);
        if let Some((clock, seconds)) = &*self.slowness.lock().unwrap() {
            clock.advance(Duration::from_secs(*seconds));
        }
        let answer = self.answer.lock().unwrap().ok_or("away")?;
        let lifetime = Some(Duration::from_secs(100));
        if previous.is_some_and(|copy| *copy.value == answer) {
            return Ok(Loaded::Unchanged { lifetime });
        }
        Ok(Loaded::New { value: answer, etag: None, lifetime })
    }
}

struct Fixture {
    source: Arc<Source>,
    clock: Arc<ManualClock>,
    cached: Arc<Cached<Arc<Source>>>,
}

impl Fixture {
    fn new(answer: Option<u32>) -> Self {
        let source = Arc::new(Source { answer: StdMutex::new(answer), ..Source::default() });
        let clock = Arc::new(ManualClock::at(0));
        let cached = Cached::new(source.clone(), clock.clone());
        Self { source, clock, cached }
    }

    fn answer(&self, answer: Option<u32>) {
        *self.source.answer.lock().unwrap() = answer;
    }

    fn calls(&self) -> usize {
        self.source.calls.load(SeqCst)
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    async fn read(&self) -> Option<u32> {
        self.cached.read().await.map(|copy| *copy.value)
    }

    async fn read_out_of_turn(&self) -> Option<u32> {
        self.cached.read_out_of_turn(Duration::from_secs(10)).await.map(|copy| *copy.value)
    }
}

/// Lets the background get on with it.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_first_use_waits_and_then_nobody_fetches() {
    let f = Fixture::new(Some(1));
    for _ in 0..1000 {
        assert_eq!(f.read().await, Some(1));
    }
    assert_eq!(f.calls(), 1);
}

/// RFC 9111, section 4.2.3: the time that an answer was under way is part of its age.
#[tokio::test]
async fn a_copy_ages_from_when_it_was_asked_for_and_a_failure_counts_from_its_end() {
    let f = Fixture::new(Some(1));
    *f.source.slowness.lock().unwrap() = Some((f.clock.clone(), 5));
    let copy = f.cached.read().await.unwrap();
    assert_eq!(f.clock.monotonic(), Duration::from_secs(5));
    f.advance(94);
    assert!(copy.is_fresh(f.clock.monotonic()));
    f.advance(1);
    assert!(!copy.is_fresh(f.clock.monotonic()), "it was good for 100 seconds");
    f.advance(2);
    assert_eq!(copy.stale_for(f.clock.monotonic()), Duration::from_secs(2));
    f.answer(None);
    assert_eq!((f.read().await, f.calls()), (Some(1), 2));
    // That took five seconds, and the pause after it has just begun.
    f.read().await;
    settle().await;
    assert_eq!(f.calls(), 2);
    f.advance(1);
    f.read().await;
    settle().await;
    assert_eq!(f.calls(), 3);
}

#[tokio::test]
async fn a_hundred_first_uses_share_one_fetch() {
    let f = Fixture::new(Some(1));
    let hold = f.source.held.clone().write_owned().await;
    let reads: Vec<_> = (0..100)
        .map(|_| {
            let cached = f.cached.clone();
            tokio::spawn(async move { cached.read().await.map(|copy| *copy.value) })
        })
        .collect();
    settle().await;
    drop(hold);
    for read in reads {
        assert_eq!(read.await.unwrap(), Some(1));
    }
    assert_eq!(f.calls(), 1);
}

#[tokio::test]
async fn an_ageing_copy_is_renewed_behind_the_back_of_requests() {
    let f = Fixture::new(Some(1));
    f.read().await;
    f.advance(76);
    f.answer(Some(2));
    let hold = f.source.held.clone().write_owned().await;
    for _ in 0..100 {
        // The fetch hangs; nobody waits for it.
        assert_eq!(f.read().await, Some(1));
        settle().await;
    }
    assert_eq!(f.calls(), 2);
    drop(hold);
    settle().await;
    assert_eq!(f.read().await, Some(2));
}

#[tokio::test]
async fn a_copy_whose_time_is_over_is_renewed_before_use() {
    let f = Fixture::new(Some(1));
    f.read().await;
    f.advance(100);
    f.answer(Some(2));
    assert_eq!(f.read().await, Some(2));
}

#[tokio::test]
async fn an_unchanged_copy_is_fresh_again() {
    let f = Fixture::new(Some(1));
    f.read().await;
    f.advance(100);
    assert_eq!(f.read().await, Some(1));
    f.advance(70);
    assert_eq!(f.read().await, Some(1));
    assert_eq!(f.calls(), 2);
}

#[tokio::test]
async fn while_the_publisher_is_away_the_stale_copy_serves_and_attempts_are_spaced() {
    let f = Fixture::new(Some(1));
    f.read().await;
    f.answer(None);
    f.advance(100);
    let before = f.calls();
    for _ in 0..3600 {
        f.advance(1);
        for _ in 0..3 {
            assert_eq!(f.read().await, Some(1));
        }
        settle().await;
    }
    // 1 + 2 + 4 + ... + 64, then every 64 s.
    assert!((50..=65).contains(&(f.calls() - before)), "{}", f.calls() - before);
    let stale = f.cached.read().await.unwrap().stale_for(f.clock.monotonic());
    assert_eq!(stale, Duration::from_hours(1));
    f.answer(Some(2));
    f.advance(64);
    f.read().await;
    settle().await;
    assert_eq!(f.read().await, Some(2));
}

#[tokio::test]
async fn nobody_waits_for_a_publisher_who_is_known_to_be_away() {
    let f = Fixture::new(Some(1));
    f.read().await;
    f.answer(None);
    f.advance(100);
    assert_eq!(f.read().await, Some(1));
    let _hold = f.source.held.clone().write_owned().await;
    f.advance(1);
    // The second attempt hangs; were it awaited, this test would not end.
    for _ in 0..10 {
        assert_eq!(f.read().await, Some(1));
        settle().await;
    }
    assert_eq!(f.calls(), 3);
}

#[tokio::test]
async fn nobody_waits_for_a_renewal_that_began_long_ago() {
    let f = Fixture::new(Some(1));
    f.read().await;
    f.advance(80);
    let _hold = f.source.held.clone().write_owned().await;
    f.read().await;
    settle().await;
    assert_eq!(f.calls(), 2);
    f.advance(30);
    assert_eq!(f.read().await, Some(1));
    assert_eq!(f.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_a_second_for_the_renewal_of_a_stale_copy() {
    let f = Fixture::new(Some(1));
    f.read().await;
    f.advance(100);
    let _hold = f.source.held.clone().write_owned().await;
    let before = tokio::time::Instant::now();
    assert_eq!(f.read().await, Some(1));
    assert_eq!(before.elapsed(), PATIENCE);
}

#[tokio::test]
async fn while_there_never_was_a_copy_attempts_are_spaced_too() {
    let f = Fixture::new(None);
    for _ in 0..1000 {
        assert_eq!(f.read().await, None);
    }
    assert_eq!(f.calls(), 1);
    f.advance(1);
    assert_eq!(f.read().await, None);
    assert_eq!(f.read().await, None);
    assert_eq!(f.calls(), 2);
    f.advance(1);
    assert_eq!(f.read().await, None);
    assert_eq!(f.calls(), 2);
    f.advance(1);
    f.answer(Some(1));
    assert_eq!(f.read().await, Some(1));
}

#[tokio::test]
async fn out_of_turn_fetches_are_rationed_and_shared() {
    let f = Fixture::new(Some(1));
    f.read().await;
    f.advance(1);
    f.answer(Some(2));
    let hold = f.source.held.clone().write_owned().await;
    let reads: Vec<_> = (0..100)
        .map(|_| {
            let cached = f.cached.clone();
            tokio::spawn(async move {
                cached.read_out_of_turn(Duration::from_secs(10)).await.map(|copy| *copy.value)
            })
        })
        .collect();
    settle().await;
    drop(hold);
    for read in reads {
        assert_eq!(read.await.unwrap(), Some(2));
    }
    assert_eq!(f.calls(), 2);
    f.advance(9);
    f.answer(Some(3));
    assert_eq!(f.read_out_of_turn().await, Some(2));
    f.advance(1);
    assert_eq!(f.read_out_of_turn().await, Some(3));
    assert_eq!(f.calls(), 3);
}

#[tokio::test]
async fn a_caller_who_goes_away_does_not_undo_the_fetch() {
    let f = Fixture::new(Some(1));
    let hold = f.source.held.clone().write_owned().await;
    for _ in 0..50 {
        let cached = f.cached.clone();
        let caller = tokio::spawn(async move { cached.read().await.is_some() });
        settle().await;
        caller.abort();
    }
    drop(hold);
    settle().await;
    assert_eq!(f.read().await, Some(1));
    assert_eq!(f.calls(), 1);
}
