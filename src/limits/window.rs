use std::collections::VecDeque;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashTable;

use super::{Limit, Quota};
use crate::clock::SharedClock;

/// Into how many parts the keys are divided, each behind its own lock.
const SHARDS: usize = 32;

/// How many keys a part counts one by one.
const KEYS: usize = 4096;

/// How many windows a part keeps for all keys beyond those.
const SHARED: usize = 64;

/// Lets through at most so many requests of a key in **any** span of the limit's length.
///
/// Exact to the millisecond, and never above the limit. In memory, and bounded: a key is forgotten when its span
/// is empty. When more keys than there is room for (131,072) are counted at once, further ones share windows: such
/// a key may be refused early, but it is never let through too often.
///
/// A request that is refused is not counted.
pub struct SlidingWindow<K> {
    limit: Limit,
    clock: SharedClock,
    hasher: RandomState,
    shards: Vec<Mutex<Shard<K>>>,
    room: usize,
}

struct Shard<K> {
    /// By the hash that chose the part: each key is hashed once.
    keys: HashTable<(K, Window)>,
    hasher: RandomState,
    shared: Vec<Window>,
    /// Before when, in milliseconds, it is not worth looking for forgotten keys again.
    swept_until: u64,
}

/// The requests in the span, oldest first. Those of one millisecond are one entry.
#[derive(Clone, Debug, Default)]
struct Window {
    entries: VecDeque<Entry>,
    count: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// When these requests leave the span, in milliseconds of monotonic time.
    leaves: u64,
    count: u32,
}

impl<K: Hash + Eq + Clone> SlidingWindow<K> {
    /// Windows of `limit`, all empty.
    #[must_use]
    pub fn new(limit: Limit, clock: SharedClock) -> Self {
        Self::with_room(limit, clock, KEYS)
    }

    fn with_room(limit: Limit, clock: SharedClock, room: usize) -> Self {
        let hasher = RandomState::new();
        let empty = || Mutex::new(Shard::empty(hasher.clone()));
        let shards = std::iter::repeat_with(empty).take(SHARDS).collect();
        Self { limit, clock, hasher, shards, room }
    }

    /// The limit.
    pub(super) fn limit(&self) -> Limit {
        self.limit
    }

    /// Takes a request's share of the key's quota, if any is left.
    pub fn spend(&self, key: &K) -> Quota {
        self.spend_within(key, self.limit.requests)
    }

    /// The same where only `most` of the limit are to be let through here. That may change from call to call.
    pub(super) fn spend_within(&self, key: &K, most: NonZeroU32) -> Quota {
        let limit = (self.limit, most);
        let now = self.clock.monotonic();
        // The request counts from the end of its millisecond, and leaves at the beginning of one.
        let leaves = now.as_micros().div_ceil(1000) + self.limit.span.as_millis();
        let leaves = u64::try_from(leaves).unwrap_or(u64::MAX);
        let now = millis(now);
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash);
        // Most keys are known: for them nothing else is looked up, and nothing is cloned.
        match shard.window_of_known(key, hash) {
            Some(window) => window.spend(limit, now, leaves),
            None => shard.window_of_unknown(key, hash, now, self.room).spend(limit, now, leaves),
        }
    }

    /// What [`Self::spend`] would say, without taking anything.
    #[must_use]
    pub fn look(&self, key: &K) -> Quota {
        self.look_within(key, self.limit.requests)
    }

    /// What [`Self::spend_within`] would say, without taking anything.
    pub(super) fn look_within(&self, key: &K, most: NonZeroU32) -> Quota {
        let now = millis(self.clock.monotonic());
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash);
        let window = match shard.window_of_known(key, hash) {
            Some(window) => window,
            None => &mut shard.shared[slot(hash)],
        };
        window.forget(now);
        let admitted = window.count < most.get();
        let mut quota = window.quota((self.limit, most), admitted, now);
        if admitted {
            quota.remaining = quota.remaining.saturating_sub(1);
        }
        quota
    }

    /// Forgets the keys whose span is empty.
    pub fn sweep(&self) {
        let now = millis(self.clock.monotonic());
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).sweep(now);
        }
    }

    /// How many keys are counted one by one.
    #[must_use]
    pub fn keys(&self) -> usize {
        let len = |shard: &Mutex<Shard<K>>| shard.lock().unwrap_or_else(PoisonError::into_inner).keys.len();
        self.shards.iter().map(len).sum()
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard<K>> {
        let at = usize::try_from(hash >> 32).unwrap_or_default() % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slot(hash: u64) -> usize {
    usize::try_from(hash & 0xffff_ffff).unwrap_or_default() % SHARED
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl<K: Hash + Eq + Clone> Shard<K> {
    fn empty(hasher: RandomState) -> Self {
        Self { keys: HashTable::new(), hasher, shared: vec![Window::default(); SHARED], swept_until: 0 }
    }

    fn window_of_known(&mut self, key: &K, hash: u64) -> Option<&mut Window> {
        self.keys.find_mut(hash, |(each, _)| each == key).map(|(_, window)| window)
    }

    /// The window that counts a key without one: a new one, or where there is no room for it, one that is shared. The
    /// key stays there until that one is empty, so that nothing it did is forgotten.
    fn window_of_unknown(&mut self, key: &K, hash: u64, now: u64, room: usize) -> &mut Window {
        let shared = &mut self.shared[slot(hash)];
        shared.forget(now);
        let busy = shared.count > 0;
        if !busy && self.keys.len() >= room && now >= self.swept_until {
            self.sweep(now);
        }
        if busy || self.keys.len() >= room {
            return &mut self.shared[slot(hash)];
        }
        let new = (key.clone(), Window::default());
        let hasher = &self.hasher;
        let entry = self.keys.insert_unique(hash, new, |(each, _)| hasher.hash_one(each));
        &mut entry.into_mut().1
    }

    fn sweep(&mut self, now: u64) {
        self.keys.retain(|(_, window)| {
            window.forget(now);
            window.count > 0
        });
        self.swept_until = now + 1000;
    }
}

impl Window {
    /// Drops what is no longer in the span.
    fn forget(&mut self, now: u64) {
        while let Some(oldest) = self.entries.front().filter(|entry| entry.leaves <= now) {
            self.count -= oldest.count;
            self.entries.pop_front();
        }
    }

    /// By a limit, of which only so many are let through.
    fn spend(&mut self, limit: (Limit, NonZeroU32), now: u64, leaves: u64) -> Quota {
        self.forget(now);
        let admitted = self.count < limit.1.get();
        if admitted {
            self.push(leaves);
        }
        self.quota(limit, admitted, now)
    }

    fn push(&mut self, leaves: u64) {
        self.count += 1;
        match self.entries.back_mut() {
            Some(newest) if newest.leaves == leaves => newest.count += 1,
            _ => self.entries.push_back(Entry { leaves, count: 1 }),
        }
    }

    fn quota(&self, (limit, most): (Limit, NonZeroU32), admitted: bool, now: u64) -> Quota {
        // One more is let through when the oldest has left; more of them must where more was let through before.
        let mut over = self.count.saturating_sub(most.get()).saturating_add(1);
        let last = self.entries.iter().find(|entry| {
            let is_last = over <= entry.count;
            over = over.saturating_sub(entry.count);
            is_last
        });
        let resets_after = last.map_or(0, |entry| entry.leaves.saturating_sub(now));
        Quota {
            admitted,
            limit,
            remaining: most.get().saturating_sub(self.count),
            resets_after: Duration::from_millis(resets_after),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::ManualClock;

    fn windows(requests: u32, millis: u64, room: usize) -> (SlidingWindow<u32>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(0));
        let limit =
            Limit { requests: NonZeroU32::new(requests).unwrap(), span: Duration::from_millis(millis) };
        (SlidingWindow::with_room(limit, clock.clone(), room), clock)
    }

    proptest! {
        /// The model remembers every request that was let through, and when.
        #[test]
        fn it_does_what_a_simple_model_does(
            requests in 1_u32..6,
            span in 1_u64..50,
            steps in proptest::collection::vec((0_u64..20, 0_u32..3), 1..200),
        ) {
            let (windows, clock) = windows(requests, span, KEYS);
            let mut admitted: Vec<(u64, u32)> = Vec::new();
            let mut now = 0;
            for (pass, key) in steps {
                clock.advance(Duration::from_millis(pass));
                now += pass;
                let inside: Vec<u64> =
                    admitted.iter().filter(|(at, each)| *each == key && at + span > now).map(|(at, _)| *at).collect();
                let count = u32::try_from(inside.len()).unwrap();
                let expected = count < requests;
                let looked = windows.look(&key);
                let quota = windows.spend(&key);
                prop_assert_eq!(quota.admitted, expected);
                prop_assert_eq!((looked.admitted, looked.remaining), (quota.admitted, quota.remaining));
                prop_assert_eq!(quota.remaining, requests - count - u32::from(expected));
                let oldest = inside.first().copied().or(expected.then_some(now)).unwrap();
                prop_assert_eq!(quota.resets_after, Duration::from_millis(oldest + span - now));
                if expected {
                    admitted.push((now, key));
                }
            }
        }

        /// However little room there is, no key gets through too often, nor does waiting as told fail.
        #[test]
        fn without_room_it_refuses_early_but_never_admits_too_often(
            steps in proptest::collection::vec((0_u64..10, 0_u32..500), 1..400),
        ) {
            let (windows, clock) = windows(2, 30, 1);
            let mut admitted: Vec<(u64, u32)> = Vec::new();
            let mut now = 0;
            for (pass, key) in steps {
                clock.advance(Duration::from_millis(pass));
                now += pass;
                if windows.spend(&key).admitted {
                    admitted.push((now, key));
                }
                let inside = admitted.iter().filter(|(at, each)| *each == key && at + 30 > now).count();
                prop_assert!(inside <= 2);
                prop_assert!(windows.keys() <= SHARDS);
            }
        }
    }

    #[test]
    fn the_101st_of_any_minute_is_refused() {
        let (windows, clock) = windows(100, 60_000, KEYS);
        for _ in 0..50 {
            assert!(windows.spend(&1).admitted);
        }
        clock.advance(Duration::from_secs(59));
        for _ in 0..50 {
            assert!(windows.spend(&1).admitted);
        }
        let refused = windows.spend(&1);
        assert_eq!((refused.admitted, refused.remaining, refused.reset_seconds()), (false, 0, 1));
        clock.advance(Duration::from_millis(999));
        assert!(!windows.spend(&1).admitted, "a bucket that leaks would let this through");
        clock.advance(Duration::from_millis(1));
        assert_eq!((0..100).filter(|_| windows.spend(&1).admitted).count(), 50);
        assert!(windows.spend(&2).admitted, "another key is not touched");
    }

    #[test]
    fn a_part_of_the_limit_may_shrink_and_who_waits_as_told_is_let_through() {
        let (windows, clock) = windows(6, 1000, KEYS);
        let within = |most: u32| NonZeroU32::new(most).unwrap();
        for _ in 0..6 {
            assert!(windows.spend_within(&1, within(6)).admitted);
            clock.advance(Duration::from_millis(10));
        }
        // 940 ms after the first, 990 after the fifth.
        let refused = windows.spend_within(&1, within(2));
        assert_eq!((refused.admitted, refused.remaining), (false, 0));
        assert_eq!(refused.resets_after, Duration::from_millis(980));
        assert_eq!(windows.look_within(&1, within(2)), refused);
        clock.advance(Duration::from_millis(979));
        assert!(!windows.spend_within(&1, within(2)).admitted);
        clock.advance(Duration::from_millis(1));
        let admitted = windows.spend_within(&1, within(2));
        assert_eq!((admitted.admitted, admitted.remaining, admitted.limit.requests.get()), (true, 0, 6));
        assert!(windows.spend_within(&1, within(3)).admitted);
    }

    #[test]
    fn at_once_is_no_more_than_one_after_another() {
        let (windows, _clock) = windows(100, 60_000, KEYS);
        let admitted: usize = std::thread::scope(|scope| {
            let ask = || (0..1000).filter(|_| windows.spend(&7).admitted).count();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 100);
    }

    #[test]
    fn what_a_key_did_without_room_is_not_forgotten_when_there_is_some() {
        let (windows, clock) = windows(2, 2000, 1);
        windows.spend(&0);
        // Another key of the same part: it adds no window of its own.
        let shares = |key: &u32| {
            let before = windows.keys();
            windows.spend(key);
            windows.keys() == before
        };
        let key = (1..10_000).find(shares).unwrap();
        clock.advance(Duration::from_millis(900));
        assert!(windows.spend(&key).admitted);
        clock.advance(Duration::from_millis(1200));
        assert!(windows.spend(&key).admitted);
        assert!(!windows.spend(&key).admitted, "a window of its own would let this through");
        clock.advance(Duration::from_millis(800));
        assert!(windows.spend(&key).admitted);
    }

    #[test]
    fn keys_are_forgotten_and_their_number_is_bounded() {
        let (windows, clock) = windows(3, 1000, 10);
        for key in 0..100_000 {
            windows.spend(&key);
        }
        assert_eq!(windows.keys(), 10 * SHARDS);
        clock.advance(Duration::from_secs(2));
        assert!(windows.spend(&200_000).admitted, "room is made when it is needed");
        windows.sweep();
        assert_eq!(windows.keys(), 1);
    }
}
