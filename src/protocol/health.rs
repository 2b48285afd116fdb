use serde::Serialize;

use super::Services;
use crate::keys;
use crate::store::Table;

/// A table that nothing is ever written to: reading it shows that the store answers.
const PROBE: Table = Table::plain("probe");

/// Whether this node can do its work.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Health {
    /// Whether requests should be sent here.
    pub ready: bool,
    /// The signing keys: `ok`, `amber` after a failed rotation, `failing` when none may sign.
    pub keys: &'static str,
    /// The store: `ok` or `failing`.
    pub store: &'static str,
    /// What is kept in memory of the store: `ok`, or `failing` when it is older than P.
    pub mirror: &'static str,
    /// The clock: `ok`, or `failing` when it is more than 30 seconds off the store's.
    pub clock: &'static str,
    /// The audit log: `ok` or `failing`.
    pub audit: &'static str,
}

/// Asks keys, store, mirror, clock and audit log how they are.
pub async fn health(services: &Services) -> Health {
    let keys = services.keys.health();
    let store = services.store.failure().is_none() && services.store.get(PROBE, b"probe").await.is_ok();
    let audit = services.audit.is_writable();
    let (mirror, clock) = (!services.fitness.is_stale(), !services.fitness.is_clock_off());
    let word = |good: bool| if good { "ok" } else { "failing" };
    Health {
        ready: !matches!(keys, keys::Health::Red { .. })
            && store
            && mirror
            && clock
            && audit
            && !services.is_stopping(),
        keys: match keys {
            keys::Health::Green => "ok",
            keys::Health::Amber { .. } => "amber",
            keys::Health::Red { .. } => "failing",
        },
        store: word(store),
        mirror: word(mirror),
        clock: word(clock),
        audit: word(audit),
    }
}
