//! Slow hashes of passwords: Argon2id (RFC 9106), off the async threads, a few at a time.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::{Output, PasswordHash as Phc, Salt};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tokio::sync::{Semaphore, oneshot};

use super::coming_back::ComingBack;
use super::hashing_threads::HashingThreads;
use crate::clock::SharedClock;
use crate::config::HashingCost;
use crate::entropy::SharedEntropy;
use crate::oauth::Secret;

/// Salts have 128 bits, hashes 256 (RFC 9106, section 4).
const SALT: usize = 16;
const HASH: usize = 32;

/// For each permit so many may wait: at 20 ms a hash, somewhat over a second.
const QUEUE_PER_PERMIT: usize = 64;

/// Too many passwords wait to be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait to be hashed")]
pub struct Busy {
    /// In how many seconds another try may succeed.
    pub retry_after: u64,
}

/// A password at rest, in the PHC string format. Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct PasswordHash(Phc);

impl TryFrom<String> for PasswordHash {
    type Error = argon2::password_hash::phc::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Phc::new(&text).map(Self)
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.0.to_string()
    }
}

/// Hashes and checks passwords. No more of them at once than there are permits, so that neither memory nor the
/// cores can be used up by signing in; who would have to wait too long is sent away.
pub struct PasswordHasher {
    params: Params,
    clock: SharedClock,
    entropy: SharedEntropy,
    permits: Arc<Semaphore>,
    /// How many passwords are hashed at once where cores are free.
    at_once: usize,
    waiting: Arc<AtomicUsize>,
    coming_back: ComingBack,
    /// How long a hash has taken lately, in microseconds; 0 before the first.
    lately: Arc<AtomicU64>,
    threads: HashingThreads,
    /// Compared with where there is no account or no password: the same work, and never a match.
    nobody: PasswordHash,
}

impl PasswordHasher {
    /// A hasher that does `permits` passwords at once, each at `cost`; `clock` tells how long one takes.
    ///
    /// # Panics
    /// When Argon2 can't work at that cost, or the system has no thread to give.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the cost is no setting, and without threads nothing starts")]
    pub fn new(cost: HashingCost, permits: usize, (clock, entropy): (SharedClock, SharedEntropy)) -> Self {
        let params =
            Params::new(cost.memory_kib, cost.passes, 1, Some(HASH)).expect("a cost that Argon2 takes");
        let nobody = phc(&params, &entropy.bytes::<SALT>(), &entropy.bytes::<HASH>())
            .expect("salt and hash have their usual lengths");
        Self {
            params,
            clock,
            entropy,
            permits: Arc::new(Semaphore::new(permits)),
            at_once: permits,
            waiting: Arc::default(),
            coming_back: ComingBack::default(),
            lately: Arc::default(),
            threads: HashingThreads::start(permits).expect("threads"),
            nobody,
        }
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// [`Busy`].
    pub(super) async fn hash(&self, password: &Secret) -> Result<PasswordHash, Busy> {
        let salt = self.entropy.bytes::<SALT>();
        let params = self.params.clone();
        let hashed = self.work(self.turn()?, password, params.clone(), salt.to_vec()).await?;
        phc(&params, &salt, &hashed).ok_or_else(|| self.busy())
    }

    /// Whether `password` is the one that was hashed, when it is its `turn`. Without a hash the work is the same, and the answer no.
    ///
    /// # Errors
    /// [`Busy`], if it was not looked at after all.
    pub(super) async fn verify(
        &self,
        turn: Turn,
        password: &Secret,
        hash: Option<&PasswordHash>,
    ) -> Result<bool, Busy> {
        let PasswordHash(phc) = hash.unwrap_or(&self.nobody);
        let (Ok(params), Some(salt), Some(expected)) = (Params::try_from(phc), phc.salt, phc.hash) else {
            return Ok(false);
        };
        let hashed = self.work(turn, password, params, salt.as_ref().to_vec()).await?;
        Ok(hashed.as_slice().ct_eq(expected.as_bytes()).into())
    }

    /// A place among those who wait.
    ///
    /// # Errors
    /// [`Busy`].
    pub(super) fn turn(&self) -> Result<Turn, Busy> {
        let (place, before) = Place::take(&self.waiting);
        let at_once = self.at_once();
        if before >= at_once * QUEUE_PER_PERMIT {
            drop(place);
            return Err(self.busy());
        }
        let lately = Duration::from_micros(self.lately.load(Ordering::Relaxed));
        Ok(Turn { patience: if before < at_once { Duration::ZERO } else { lately }, _place: place })
    }

    /// How many passwords are hashed at once now.
    fn at_once(&self) -> usize {
        if self.threads.are_starving() { 1 } else { self.at_once }
    }

    /// Whether it was hashed at another cost than new passwords are.
    pub(super) fn is_outdated(&self, PasswordHash(phc): &PasswordHash) -> bool {
        Params::try_from(phc).as_ref() != Ok(&self.params)
    }

    async fn work(
        &self,
        turn: Turn,
        password: &Secret,
        params: Params,
        salt: Vec<u8>,
    ) -> Result<Vec<u8>, Busy> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| self.busy())?;
        drop(turn);
        let (done, hashed) = oneshot::channel();
        let (password, clock, lately) = (password.clone(), self.clock.clone(), self.lately.clone());
        // The permit is held until the work is done, even if nobody waits for it any more.
        let outcome = Mutex::new(Some((done, permit)));
        self.threads.submit(move |memory| {
            let begun = clock.monotonic();
            let mut out = vec![0; params.output_len().unwrap_or(HASH)];
            let blocks = memory.blocks(params.block_count());
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
            let hashed =
                argon2.hash_password_into_with_memory(password.expose().as_bytes(), &salt, &mut out, blocks);
            let took = clock.monotonic().saturating_sub(begun);
            let first = outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some((done, _permit)) = first else { return };
            // Two at once may lose one of them: it is an estimate.
            lately.store(smoothed(lately.load(Ordering::Relaxed), took), Ordering::Relaxed);
            done.send(hashed.map(|()| out)).ok();
        });
        // Neither a panic nor a malformed record in there: what is hashed was made by this very code.
        hashed.await.ok().and_then(Result::ok).ok_or_else(|| self.busy())
    }

    fn busy(&self) -> Busy {
        let waiting = self.waiting.load(Ordering::Acquire).min(self.at_once * QUEUE_PER_PERMIT);
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let at_once = u32::try_from(self.at_once()).unwrap_or(u32::MAX).max(1);
        let each = Duration::from_micros(self.lately.load(Ordering::Relaxed)) / at_once;
        let queue = each.saturating_mul(waiting);
        Busy { retry_after: self.coming_back.after(self.clock.monotonic(), queue, each) }
    }
}

/// How long a hash takes lately, in microseconds, when one more took `took`: that one is an eighth of it.
fn smoothed(lately: u64, took: Duration) -> u64 {
    let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    if lately == 0 { took } else { lately - lately / 8 + took / 8 }
}

/// A place for a password among those that wait to be looked at. Given back when dropped, also by a caller who went away.
#[derive(Debug)]
pub struct Turn {
    patience: Duration,
    _place: Place,
}

impl Turn {
    /// For how long it is going to wait, or longer: the time of one hash if others waited for every permit when it came, and none
    /// otherwise. Sooner where one of those others is not looked at.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }
}

/// One of those that wait.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Place {
    /// One more, and how many there were before.
    fn take(waiting: &Arc<AtomicUsize>) -> (Self, usize) {
        let before = waiting.fetch_add(1, Ordering::AcqRel);
        (Self(Arc::clone(waiting)), before)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn phc(params: &Params, salt: &[u8], hash: &[u8]) -> Option<PasswordHash> {
    Some(PasswordHash(Phc {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: params.try_into().ok()?,
        salt: Some(Salt::new(salt).ok()?),
        hash: Some(Output::new(hash).ok()?),
    }))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;
    use crate::clock::ManualClock;
    use crate::entropy::SeededEntropy;

    fn sources() -> (SharedClock, SharedEntropy) {
        (Arc::new(ManualClock::at(0)), Arc::new(SeededEntropy::new(1)))
    }

    fn hasher() -> Arc<PasswordHasher> {
        Arc::new(PasswordHasher::new(HashingCost::LEAST, 1, sources()))
    }

    #[tokio::test]
    async fn who_would_wait_too_long_is_sent_away_and_the_others_are_served() {
        let (hasher, password) = (hasher(), Secret::new("correct horse battery".into()));
        let hash = hasher.hash(&password).await.unwrap();
        let working = hasher.permits.clone().acquire_owned().await.unwrap();
        let tries = (0..300).map(|_| {
            let (hasher, password, hash) = (hasher.clone(), password.clone(), hash.clone());
            tokio::spawn(async move { hasher.verify(hasher.turn()?, &password, Some(&hash)).await })
        });
        let tries: Vec<_> = tries.collect();
        // On this runtime, which has one thread, all of them run before this goes on.
        tokio::task::yield_now().await;
        drop(working);
        let (mut served, mut sent_away) = (0, 0);
        for each in tries {
            match each.await.unwrap() {
                Ok(true) => served += 1,
                Err(Busy { retry_after: 1 }) => sent_away += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((served, sent_away), (QUEUE_PER_PERMIT, 300 - QUEUE_PER_PERMIT));
        assert_eq!(hasher.verify(hasher.turn().unwrap(), &password, Some(&hash)).await, Ok(true));
    }

    #[tokio::test]
    async fn a_password_that_two_threads_hash_at_once_is_hashed_and_checked_once() {
        let threads = HashingThreads::with_patience(Duration::ZERO, 2).unwrap();
        let hasher = PasswordHasher { threads, ..PasswordHasher::new(HashingCost::LEAST, 2, sources()) };
        let (password, wrong) = (Secret::new("correct horse battery".into()), Secret::new("wrong".into()));
        let hash = hasher.hash(&password).await.unwrap();
        for _ in 0..200 {
            assert_eq!(hasher.verify(hasher.turn().unwrap(), &password, Some(&hash)).await, Ok(true));
            assert_eq!(hasher.verify(hasher.turn().unwrap(), &wrong, Some(&hash)).await, Ok(false));
        }
        // Both come back.
        drop(hasher.permits.acquire_many(2).await.unwrap());
    }

    #[test]
    fn where_nothing_is_left_of_the_cores_no_more_wait_than_one_thread_can_do() {
        let hasher = PasswordHasher::new(HashingCost::LEAST, 2, sources());
        hasher.lately.store(200_000, Ordering::Relaxed);
        hasher.waiting.store(QUEUE_PER_PERMIT, Ordering::Release);
        assert!(hasher.turn().is_ok());
        hasher.threads.starve(0);
        assert_eq!(hasher.turn().unwrap_err(), Busy { retry_after: 12 });
        hasher.waiting.store(1, Ordering::Release);
        assert_eq!(hasher.turn().unwrap().patience(), Duration::from_millis(200));
    }

    #[test]
    fn how_long_a_hash_takes_follows_the_last_ones() {
        let first = smoothed(0, Duration::from_millis(20));
        assert_eq!(first, 20_000);
        assert_eq!(smoothed(first, Duration::from_millis(20)), first);
        assert_eq!(smoothed(first, Duration::from_millis(180)), 40_000);
        let later = (0..40).fold(first, |lately, _| smoothed(lately, Duration::from_millis(200)));
        assert!((190_000..=200_000).contains(&later), "{later}");
    }

    #[test]
    fn a_full_queue_says_when_it_and_those_sent_away_before_will_have_been_served() {
        for (at_once, told) in [(1, [12, 13, 13]), (2, [12, 12, 13])] {
            let hasher = PasswordHasher::new(HashingCost::LEAST, at_once, sources());
            hasher
                .lately
                .store(Duration::from_millis(200).as_micros().try_into().unwrap(), Ordering::Relaxed);
            hasher.waiting.store(at_once * QUEUE_PER_PERMIT, Ordering::Release);
            for retry_after in told {
                assert_eq!(hasher.turn().unwrap_err(), Busy { retry_after });
            }
        }
    }

    #[test]
    fn who_comes_when_others_wait_for_every_permit_waits_for_one_hash_at_least() {
        let hasher = PasswordHasher::new(HashingCost::LEAST, 2, sources());
        hasher.lately.store(20_000, Ordering::Relaxed);
        for (waiting, least) in [(0, 0), (1, 0), (2, 20), (100, 20)] {
            hasher.waiting.store(waiting, Ordering::Release);
            assert_eq!(hasher.turn().unwrap().patience(), Duration::from_millis(least), "{waiting}");
        }
    }

    #[tokio::test]
    async fn who_goes_away_gives_the_place_back() {
        let (hasher, password) = (hasher(), Secret::new("correct horse battery".into()));
        let working = hasher.permits.clone().acquire_owned().await.unwrap();
        for _ in 0..3 * QUEUE_PER_PERMIT {
            let mut waiting = Box::pin(hasher.verify(hasher.turn().unwrap(), &password, None));
            let polled = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await;
            assert!(polled.is_pending(), "{polled:?}");
        }
        drop(working);
        assert_eq!(hasher.verify(hasher.turn().unwrap(), &password, None).await, Ok(false));
    }

    #[test]
    fn nobodys_password_costs_what_everybodys_does() {
        let cost = HashingCost { memory_kib: 64, passes: 3 };
        let hasher = PasswordHasher::new(cost, 1, sources());
        assert!(!hasher.is_outdated(&hasher.nobody));
        let dearer = HashingCost { passes: 4, ..cost };
        let dearer = PasswordHasher::new(dearer, 1, sources());
        assert!(dearer.is_outdated(&hasher.nobody));
    }
}
