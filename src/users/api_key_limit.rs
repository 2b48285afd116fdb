//! How many requests an API key may make, counted by all nodes together.
//!
//! One node counts in memory. Where the store is shared, each request that is let through is one conditional commit to
//! the key's row, which holds the times of the last minute: the limit is then as exact as the nodes' clocks. A refused
//! request writes nothing, so a key costs at most as many commits a minute as its limit lets through; until when it is
//! refused is remembered, so that a key which is used up asks the store for nothing. Claiming several at once was left:
//! what one node has claimed and not used, a client of another node would miss.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::clock::{FURTHEST_AHEAD, SharedClock};
use crate::keys::Fitness;
use crate::limits::{Exceeded, Limit, Limits, Quota};
use crate::oauth::ApiKeyId;
use crate::store::typed::TypedTable;
use crate::store::{Batch, Committed, Condition, Nodes, Store, StoreError, Table, turn};

pub(super) const TABLE: Table = Table::plain("api_key_requests");
const REQUESTS: TypedTable<Requests> = TypedTable::new(TABLE);

/// Among how many maps the keys whose requests are being counted are divided.
const SHARDS: usize = 64;

/// A row has no more entries than this, and about as many requests of other nodes may come in between.
const ENTRIES: u32 = 1000;

/// How often it is said that they are not counted by all nodes together.
const WARNED_EVERY: Duration = Duration::from_mins(1);

/// Counts the requests of API keys.
pub struct ApiKeyLimit {
    store: Arc<dyn Store>,
    clock: SharedClock,
    limits: Arc<Limits>,
    nodes: Arc<Nodes>,
    /// A node whose clock is off counts for itself: by its dates it would lock out the key on all others.
    fitness: Arc<Fitness>,
    hasher: RandomState,
    shards: Vec<Shard>,
    warnings: std::sync::Mutex<Warnings>,
}

/// A database that is away would have a warning for each request: there is one a minute, with how many it is about.
#[derive(Default)]
struct Warnings {
    last: Option<Duration>,
    requests: u64,
}

impl Warnings {
    /// Counts a request that is to be warned of; if it is time to, says how many there were since the last warning.
    fn due(&mut self, monotonic: Duration) -> Option<u64> {
        self.requests += 1;
        if self.last.is_some_and(|last| monotonic.saturating_sub(last) < WARNED_EVERY) {
            return None;
        }
        self.last = Some(monotonic);
        Some(std::mem::take(&mut self.requests))
    }
}

/// The keys whose requests wait, and those that are used up.
type Shard = std::sync::Mutex<HashMap<ApiKeyId, Arc<Line>>>;

/// Requests of one key come one after another: only other nodes can come in between. No other key waits for them.
#[derive(Default)]
struct Line {
    turn: Mutex<()>,
    refused: std::sync::Mutex<Option<Refused>>,
}

/// A place in the line of a key, which is forgotten with the last one unless the key is used up.
struct Place<'a> {
    shard: &'a Shard,
    key: &'a ApiKeyId,
    line: Arc<Line>,
}

/// A key that is used up, and until when, in monotonic time: nobody can give anything back.
#[derive(Clone, Copy)]
struct Refused {
    quota: Quota,
    until: Duration,
}

impl Line {
    fn refused(&self) -> MutexGuard<'_, Option<Refused>> {
        lock(&self.refused)
    }

    /// What was answered when the key was refused, if it still is.
    fn refusal(&self, monotonic: Duration) -> Option<Quota> {
        let refused = (*self.refused())?;
        let resets_after = refused.until.checked_sub(monotonic).filter(|left| !left.is_zero())?;
        Some(Quota { resets_after, ..refused.quota })
    }
}

impl<'a> Place<'a> {
    fn new(shard: &'a Shard, key: &'a ApiKeyId) -> Self {
        let line = lines(shard).entry(key.clone()).or_default().clone();
        Self { shard, key, line }
    }

    fn remember(&self, quota: Quota, monotonic: Duration) {
        let until = monotonic.saturating_add(quota.resets_after);
        *self.line.refused() = Some(Refused { quota, until });
        // Those that nobody has asked with since they were let through again.
        lines(self.shard).retain(|_, line| Arc::strong_count(line) > 1 || line.refusal(monotonic).is_some());
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = lines(self.shard);
        // That of the map and this one; nobody joins meanwhile.
        if Arc::strong_count(&self.line) == 2 && self.line.refused().is_none() {
            lines.remove(self.key);
        }
    }
}

fn lines(shard: &Shard) -> MutexGuard<'_, HashMap<ApiKeyId, Arc<Line>>> {
    lock(shard)
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The requests of the last span, oldest first: in which millisecond since the epoch, and how many.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Requests(Vec<(i64, u32)>);

impl ApiKeyLimit {
    /// Counts by [`Limits::api_key`].
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: SharedClock,
        limits: Arc<Limits>,
        (nodes, fitness): (Arc<Nodes>, Arc<Fitness>),
    ) -> Self {
        let shards = std::iter::repeat_with(Shard::default).take(SHARDS).collect();
        Self {
            store,
            clock,
            limits,
            nodes,
            fitness,
            hasher: RandomState::new(),
            shards,
            warnings: std::sync::Mutex::default(),
        }
    }

    /// Takes a request's share of the key's quota. Says how it stands, unless the limit is switched off. While the store
    /// takes no commits, or this node's clock is off, this node lets through its own share: the limit divided by the number
    /// of nodes.
    ///
    /// # Errors
    /// When nothing is left.
    pub async fn spend(&self, key: &ApiKeyId) -> Result<Option<Quota>, Exceeded> {
        let limited = &self.limits.api_key;
        let Some(limit) = limited.limit() else { return Ok(None) };
        if !self.store.is_shared() {
            return limited.spend(key);
        }
        let shard = &self.shards[usize::try_from(self.hasher.hash_one(key)).unwrap_or_default() % SHARDS];
        let place = Place::new(shard, key);
        if let Some(refused) = place.line.refusal(self.clock.monotonic()) {
            return limited.judge(refused);
        }
        match self.spend_in_turn(&place, limit).await {
            Ok(Some(quota)) => limited.judge(quota),
            Ok(None) => self.spend_own(key, limit),
            Err(error) => {
                if let Some(requests) = lock(&self.warnings).due(self.clock.monotonic()) {
                    tracing::warn!(%error, requests, "requests with an API key are counted by this node for itself");
                }
                self.spend_own(key, limit)
            }
        }
    }

    /// How the key stands on all nodes when its requests before this one are through; nothing while this node's clock is off.
    async fn spend_in_turn(&self, place: &Place<'_>, limit: Limit) -> Result<Option<Quota>, StoreError> {
        let _turn = turn(&place.line.turn, self.store.as_ref()).await?;
        let monotonic = self.clock.monotonic();
        if let Some(refused) = place.line.refusal(monotonic) {
            return Ok(Some(refused));
        }
        if self.fitness.is_clock_off() {
            return Ok(None);
        }
        let quota = self.spend_shared(place.key, limit).await?;
        if quota.admitted {
            // For the share of this node, should the store be out of reach next time.
            let _own = self.limits.api_key.spend(place.key);
        } else {
            place.remember(quota, monotonic);
        }
        Ok(Some(quota))
    }

    async fn spend_shared(&self, key: &ApiKeyId, limit: Limit) -> Result<Quota, StoreError> {
        // Whoever loses to another node has seen it let a request through: after so many the limit is reached.
        for _ in 0..=limit.requests.get().min(ENTRIES) {
            let record = REQUESTS.get(self.store.as_ref(), key.as_str().as_bytes()).await?;
            let condition =
                record.as_ref().map_or(Condition::Absent, |row| Condition::VersionIs(row.version));
            let mut requests = record.map(|record| record.value).unwrap_or_default();
            let now = self.clock.now();
            let quota = requests.spend(limit, now.timestamp_millis());
            if !quota.admitted {
                return Ok(quota);
            }
            let put = REQUESTS.encode(&requests, Some(end(now, limit)))?;
            let batch = Batch::new().put(REQUESTS.table(), key.as_str(), condition, put);
            if self.store.commit(batch).await? == Committed::Applied {
                return Ok(quota);
            }
        }
        Err(StoreError::Unavailable("the count is changed all the time".into()))
    }

    fn spend_own(&self, key: &ApiKeyId, limit: Limit) -> Result<Option<Quota>, Exceeded> {
        let limited = &self.limits.api_key;
        let nodes = u32::try_from(self.nodes.live()).unwrap_or(u32::MAX);
        let share = (limit.requests.get() / nodes).max(1);
        let Some(quota) = limited.look(key) else { return Ok(None) };
        let used = limit.requests.get() - quota.remaining;
        if quota.admitted && used > share {
            return limited.judge(Quota { admitted: false, remaining: 0, ..quota });
        }
        let quota = limited.spend(key)?;
        Ok(quota.map(|quota| Quota { remaining: share.saturating_sub(used), ..quota }))
    }
}

/// When the last request of a row has left the span, whichever node's clock looks.
fn end(now: DateTime<Utc>, limit: Limit) -> DateTime<Utc> {
    now + TimeDelta::from_std(limit.span).unwrap_or_default() * 2
}

impl Requests {
    fn spend(&mut self, limit: Limit, now: i64) -> Quota {
        let span = i64::try_from(limit.span.as_millis()).unwrap_or(i64::MAX);
        let furthest = now.saturating_add(FURTHEST_AHEAD.num_milliseconds());
        self.0.retain(|(at, _)| now < at.saturating_add(span) && *at <= furthest);
        let count: u32 = self.0.iter().map(|(_, count)| count).sum();
        let admitted = count < limit.requests.get();
        if admitted {
            // In the order of the commits, also where a clock is behind another. A limit that would fill the row counts by
            // larger steps: a request then leaves the span a little late, never early.
            let step = if limit.requests.get() <= ENTRIES { 1 } else { (span / i64::from(ENTRIES)).max(1) };
            let at = now.saturating_add(step - 1).div_euclid(step) * step;
            let at = self.0.last().map_or(at, |(newest, _)| at.max(*newest));
            match self.0.last_mut() {
                Some((newest, count)) if *newest == at => *count += 1,
                _ => self.0.push((at, 1)),
            }
        }
        let oldest = self.0.first().map_or(0, |(at, _)| at.saturating_add(span) - now);
        Quota {
            admitted,
            limit,
            remaining: limit.requests.get().saturating_sub(count + u32::from(admitted)),
            resets_after: Duration::from_millis(u64::try_from(oldest).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn limit(requests: u32) -> Limit {
        Limit { requests: NonZeroU32::new(requests).unwrap(), span: Duration::from_mins(1) }
    }

    #[test]
    fn there_is_a_warning_a_minute_with_how_many_it_is_about() {
        let mut warnings = Warnings::default();
        let told = [0, 1, 59_999, 60_000, 60_001, 300_000].map(|at| warnings.due(Duration::from_millis(at)));
        assert_eq!(told, [Some(1), None, None, Some(3), None, Some(2)]);
    }

    #[test]
    fn a_request_leaves_the_span_when_it_has_passed_and_not_before() {
        let (mut requests, limit) = (Requests::default(), limit(2));
        assert_eq!((requests.spend(limit, 0).remaining, requests.spend(limit, 30_000).remaining), (1, 0));
        let refused = requests.spend(limit, 59_999);
        assert_eq!((refused.admitted, refused.resets_after), (false, Duration::from_millis(1)));
        assert!(requests.spend(limit, 60_000).admitted);
        assert!(!requests.spend(limit, 60_000).admitted);
    }

    #[test]
    fn a_clock_that_is_behind_lets_nothing_more_through() {
        let (mut requests, limit) = (Requests::default(), limit(2));
        assert!(requests.spend(limit, 20_000).admitted);
        assert!(requests.spend(limit, 0).admitted);
        for now in [0, 60_001, 79_999] {
            assert!(!requests.spend(limit, now).admitted, "{now}");
        }
        assert!(requests.spend(limit, 80_000).admitted);
    }

    #[test]
    fn what_a_clock_far_ahead_has_counted_locks_nobody_out() {
        let (mut requests, limit) = (Requests::default(), limit(2));
        for _ in 0..2 {
            assert!(requests.spend(limit, 3_600_000).admitted);
        }
        assert!(requests.spend(limit, 0).admitted);
        assert_eq!(requests.0, [(0, 1)]);
        // As far as clocks of nodes may differ, and further, it counts.
        assert!(requests.spend(limit, 60_000).admitted);
        assert!(requests.spend(limit, 60_000).admitted);
        assert!(!requests.spend(limit, 0).admitted);
    }

    #[test]
    fn a_large_limit_keeps_its_row_small_and_lets_through_no_more() {
        let (mut requests, limit) = (Requests::default(), limit(5_000));
        let mut admitted = Vec::new();
        for now in (0..180_000).step_by(5) {
            if requests.spend(limit, now).admitted {
                admitted.push(now);
            }
            assert!(requests.0.len() <= 1002, "{}", requests.0.len());
        }
        let crowded = admitted.windows(5_001).find(|span| span[5_000] - span[0] < 60_000);
        assert_eq!(crowded.map(|span| span[0]), None);
        assert!(admitted.len() >= 3 * 4_900, "{}", admitted.len());
    }
}
