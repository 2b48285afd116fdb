use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::oauth::ClientId;
use crate::outgoing::Outgoing;

/// How many requests to one client are under way at once.
pub(super) const OF_ONE_CLIENT: usize = 4;

/// How many in all: each takes a thread while it lasts.
const IN_ALL: usize = 64;

/// What became of a logout token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogoutOutcome {
    /// The client has taken it.
    Delivered,
    /// It is sent again later.
    Postponed,
    /// The client has refused it for good.
    Refused,
    /// It was sent often enough.
    GivenUp,
    /// The client was gone, or wanted to know no more.
    Dropped,
}

impl LogoutOutcome {
    /// Every outcome.
    pub const ALL: [Self; 5] =
        [Self::Delivered, Self::Postponed, Self::Refused, Self::GivenUp, Self::Dropped];

    /// Its name among the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Postponed => "postponed",
            Self::Refused => "refused",
            Self::GivenUp => "given_up",
            Self::Dropped => "dropped",
        }
    }
}

/// The logout tokens that are under way, and what became of those before.
#[derive(Debug)]
pub struct LogoutDeliveries {
    pub(super) outgoing: Outgoing,
    under_way: Arc<Mutex<HashMap<ClientId, usize>>>,
    outcomes: [AtomicU64; LogoutOutcome::ALL.len()],
    waiting: AtomicU64,
}

/// A request that may be under way, until this is dropped.
pub(super) struct Slot {
    client_id: ClientId,
    under_way: Arc<Mutex<HashMap<ClientId, usize>>>,
}

impl LogoutDeliveries {
    /// None yet; they are sent by `outgoing`.
    #[must_use]
    pub fn new(outgoing: Outgoing) -> Self {
        let (under_way, outcomes) = (Arc::default(), Default::default());
        Self { outgoing, under_way, outcomes, waiting: AtomicU64::new(0) }
    }

    /// A place for one more request to this client, if there is one.
    pub(super) fn slot(&self, client_id: &ClientId) -> Option<Slot> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let in_all: usize = under_way.values().sum();
        let of_client = under_way.get(client_id).copied().unwrap_or(0);
        if in_all >= IN_ALL || of_client >= OF_ONE_CLIENT {
            return None;
        }
        under_way.insert(client_id.clone(), of_client + 1);
        Some(Slot { client_id: client_id.clone(), under_way: self.under_way.clone() })
    }

    pub(super) fn count(&self, outcome: LogoutOutcome) {
        for (counter, each) in self.outcomes.iter().zip(LogoutOutcome::ALL) {
            if each == outcome {
                counter.fetch_add(1, Relaxed);
            }
        }
    }

    /// How often each outcome was, on this node since it started.
    pub fn outcomes(&self) -> impl Iterator<Item = (LogoutOutcome, u64)> {
        LogoutOutcome::ALL.into_iter().zip(self.outcomes.iter().map(|counter| counter.load(Relaxed)))
    }

    /// Notes how many are in the queue.
    pub fn note_waiting(&self, count: u64) {
        self.waiting.store(count, Relaxed);
    }

    /// How many were in the queue when it was last noted.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        match under_way.get_mut(&self.client_id) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(under_way.remove(&self.client_id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::OutgoingConfig;

    #[test]
    fn so_many_are_under_way_to_one_client_and_in_all() {
        let config =
            OutgoingConfig { allowed_networks: Vec::new(), ca_bundle: None, timeout: Duration::from_secs(1) };
        let deliveries = LogoutDeliveries::new(Outgoing::new(&config).unwrap());
        let slot = |number: usize| deliveries.slot(&ClientId::parse(&format!("c{number}")).unwrap());
        let mut taken: Vec<_> = (0..OF_ONE_CLIENT).map(|_| slot(0).unwrap()).collect();
        assert!(slot(0).is_none());
        taken.extend((OF_ONE_CLIENT..IN_ALL).map(|number| slot(number).unwrap()));
        assert!(slot(IN_ALL).is_none());
        taken.pop();
        assert!(slot(0).is_none() && slot(IN_ALL).is_some());
        taken.clear();
        assert!(deliveries.under_way.lock().unwrap().is_empty());
    }
}
