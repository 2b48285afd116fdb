use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
    keys: HashMap<K, Window>,
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
        let shards = std::iter::repeat_with(Shard::empty).map(Mutex::new).take(SHARDS).collect();
        Self { limit, clock, hasher: RandomState::new(), shards, room }
    }

    /// Takes a request's share of the key's quota, if any is left.
    pub fn spend(&self, key: &K) -> Quota {
        let now = self.clock.monotonic();
        // The request counts from the end of its millisecond, and leaves at the beginning of one.
        let leaves = now.as_micros().div_ceil(1000) + self.limit.span.as_millis();
        let leaves = u64::try_from(leaves).unwrap_or(u64::MAX);
        let now = millis(now);
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash);
        let window = shard.window(key, hash, now, self.room);
        window.forget(now);
        let admitted = window.count < self.limit.requests.get();
        if admitted {
            window.push(leaves);
        }
        window.quota(self.limit, admitted, now)
    }

    /// What [`Self::spend`] would say, without taking anything.
    #[must_use]
    pub fn look(&self, key: &K) -> Quota {
        let now = millis(self.clock.monotonic());
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash);
        let window = match shard.keys.get_mut(key) {
            Some(window) => window,
            None => &mut shard.shared[slot(hash)],
        };
        window.forget(now);
        let admitted = window.count < self.limit.requests.get();
        let mut quota = window.quota(self.limit, admitted, now);
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
    fn empty() -> Self {
        Self { keys: HashMap::new(), shared: vec![Window::default(); SHARED], swept_until: 0 }
    }

    /// The window that counts `key`: its own, or where there is no room for one, one that it shares. It stays there
    /// until that one is empty, so that nothing it did is forgotten.
    fn window(&mut self, key: &K, hash: u64, now: u64, room: usize) -> &mut Window {
        if !self.keys.contains_key(key) {
            let shared = &mut self.shared[slot(hash)];
            shared.forget(now);
            let busy = shared.count > 0;
            if !busy && self.keys.len() >= room && now >= self.swept_until {
                self.sweep(now);
            }
            if busy || self.keys.len() >= room {
                return &mut self.shared[slot(hash)];
            }
        }
        self.keys.entry(key.clone()).or_default()
    }

    fn sweep(&mut self, now: u64) {
        self.keys.retain(|_, window| {
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

    fn push(&mut self, leaves: u64) {
        self.count += 1;
        match self.entries.back_mut() {
            Some(newest) if newest.leaves == leaves => newest.count += 1,
            _ => self.entries.push_back(Entry { leaves, count: 1 }),
        }
    }

    fn quota(&self, limit: Limit, admitted: bool, now: u64) -> Quota {
        let oldest = self.entries.front().map_or(0, |entry| entry.leaves.saturating_sub(now));
        Quota {
            admitted,
            limit,
            remaining: limit.requests.get().saturating_sub(self.count),
            resets_after: Duration::from_millis(oldest),
        }
    }
}
