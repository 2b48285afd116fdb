use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::Services;
use crate::clients::Stranded;
use crate::keys::{self, Waiting};
use crate::oauth::Algorithm;
use crate::store::Table;

/// A table that nothing is ever written to: reading it shows that the store answers.
const PROBE: Table = Table::plain("probe");

/// For so long a store that does not answer leaves the node ready. It is away for all nodes more often than for one: none of them
/// could do more, and each publishes and issues on, and says what else to try again when.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

/// It answered whoever asked last.
const ANSWERS: u64 = 0;

/// Since when the store has not answered who asked whether this node is ready: one more than milliseconds of monotonic time.
#[derive(Debug, Default)]
pub struct Silence(AtomicU64);

impl Silence {
    /// For how long it has not answered, where it `answers` or not now, at `monotonic`.
    fn noted(&self, answers: bool, monotonic: Duration) -> Duration {
        if answers {
            self.0.store(ANSWERS, Ordering::Relaxed);
            return Duration::ZERO;
        }
        let now = u64::try_from(monotonic.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let before = self.0.compare_exchange(ANSWERS, now, Ordering::Relaxed, Ordering::Relaxed);
        Duration::from_millis(now.saturating_sub(before.err().unwrap_or(now)))
    }
}

/// Whether this node can do its work.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    /// Whether requests should be sent here.
    pub ready: bool,
    /// The signing keys: `ok`, `amber` after a failed rotation, `failing` when none may sign, or for P no next
    /// key could be made.
    pub keys: &'static str,
    /// What the next rotation takes: `ok`, or `missing` when an algorithm has no published key that waits, or none may sign.
    pub next_key: &'static str,
    /// The algorithms in use that no key signs with yet; what asks for them is signed by others meanwhile.
    pub waiting: Vec<Waiting>,
    /// The clients that are registered for an algorithm that is not in use.
    pub stranded_clients: Stranded,
    /// Where the private keys lie: `ok`; `failing` when that of a key that signs or waits is gone: the service goes on with
    /// what it has read, and would not start again; `unknown` while nobody can be asked.
    pub key_files: &'static str,
    /// The store: `ok`; `failing` while it can't be read, for the first 10 seconds of which the node stays ready; `unacknowledged`
    /// while it can, but lets commits wait for longer than their callers do, as a database does whose synchronous standby is away: what needs none goes on here for P, and no
    /// other node could do more; `unwritable` while it refuses writes for a reason of its own, as a database does whose disk is full:
    /// likewise; or while the disk of an embedded store has held up a write for 5 seconds: then the node is not ready; `restart` when a write to disk failed, and it takes no more until the service is started
    /// anew, which alone tells what the disk holds.
    pub store: &'static str,
    /// The store's disk: `ok`; `low` when it is 85 % taken; `full` when nothing is written until somebody makes room.
    pub disk: &'static str,
    /// What is kept in memory of the store: `ok`, or `failing` when it is older than P, or when the store has acknowledged
    /// nothing of this node for so long; `restored` when the installation was restored after this node was started, which ends it;
    /// `damaged` when a row of it can't be understood, for which this node stops after P: it may be one
    /// that refuses something.
    pub mirror: &'static str,
    /// The clock: `ok`, or `failing` when it is more than 5 seconds off the store's.
    pub clock: &'static str,
    /// The audit log: `ok`; `failing` while it can't be written, or its disk has held up a write for 5 seconds; `damaged` when its end did not agree with itself at the start: it is
    /// written on.
    pub audit: &'static str,
}

/// Whether of every algorithm in use a key is published that waits to sign next.
pub(super) fn next_key_waits(services: &Services) -> bool {
    let keys = services.keys.list().keys;
    let waits = |algorithm: &Algorithm| {
        keys.iter().any(|key| key.algorithm == *algorithm && key.phase == keys::Phase::Published)
    };
    !matches!(services.keys.health(), keys::Health::Red { .. })
        && services.keys.policy().algorithms().iter().all(waits)
}

/// Asks keys, vault, store, mirror, clock and audit log how they are.
pub async fn health(services: &Services) -> Health {
    let keys = services.keys.health();
    // Together: each may wait for the store, and who asks won't wait for long.
    let (probed, missing) = tokio::join!(services.store.get(PROBE, b"probe"), services.keys.missing());
    let silence = services.store_silence.noted(probed.is_ok(), services.clock.monotonic());
    let store = match services.store.failure() {
        Some(_) => "restart",
        None if probed.is_err() => "failing",
        None if services.store.load().unanswered > 0 => "unacknowledged",
        None if services.store.is_unwritable() => "unwritable",
        None => "ok",
    };
    // No other node has that disk.
    let held_up = store == "unwritable" && !services.store.is_shared();
    let disk = match services.store.room() {
        Some(room) if room.is_full() => "full",
        Some(room) if room.is_low() => "low",
        Some(_) | None => "ok",
    };
    let audit = match (services.audit.is_writable(), services.audit.was_intact()) {
        (false, _) => "failing",
        (true, false) => "damaged",
        (true, true) => "ok",
    };
    let (mirror, clock) = (!services.fitness.is_stale(), !services.fitness.is_clock_off());
    let key_files = match missing {
        Ok(missing) if missing.is_empty() => "ok",
        Ok(_) => "failing",
        Err(_) => "unknown",
    };
    let word = |good: bool| if good { "ok" } else { "failing" };
    let signs = !matches!(keys, keys::Health::Red { signs: false, .. });
    Health {
        ready: signs
            && store != "restart"
            && !held_up
            && silence <= LONGEST_SILENCE
            && disk != "full"
            && mirror
            && clock
            && audit != "failing"
            && !services.is_stopping(),
        keys: match keys {
            keys::Health::Green => "ok",
            keys::Health::Amber { .. } => "amber",
            keys::Health::Red { .. } => "failing",
        },
        next_key: if next_key_waits(services) { "ok" } else { "missing" },
        waiting: services.keys.waiting(),
        stranded_clients: services.clients.stranded(),
        key_files,
        store,
        disk,
        mirror: match (services.fitness.is_outlived(), services.fitness.is_damaged()) {
            (true, _) => "restored",
            (false, true) => "damaged",
            (false, false) => word(mirror),
        },
        clock: word(clock),
        audit,
    }
}
