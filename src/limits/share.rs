use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Limit;

/// What one node lets through of a limit that all of them keep together: as large a part as every other's. So they keep it
/// without asking one another, and without a commit for each request.
#[derive(Clone, Debug)]
pub(super) struct Share {
    nodes: Arc<AtomicU32>,
}

impl Share {
    /// All of it, until there are more nodes.
    pub(super) fn whole() -> Self {
        Self { nodes: Arc::new(AtomicU32::new(1)) }
    }

    /// There are so many nodes now, this one included.
    pub(super) fn divide(&self, nodes: usize) {
        self.nodes.store(u32::try_from(nodes).unwrap_or(u32::MAX).max(1), Ordering::Relaxed);
    }

    /// How many requests that is, rounded down; but no node lets nobody through.
    pub(super) fn of(&self, limit: Limit) -> NonZeroU32 {
        let requests = limit.requests.get() / self.nodes.load(Ordering::Relaxed).max(1);
        NonZeroU32::new(requests).unwrap_or(NonZeroU32::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shares_together_are_no_more_than_the_limit() {
        let share = Share::whole();
        for requests in 1..200 {
            let limit = Limit::per_minute(requests).unwrap();
            for nodes in 0..60 {
                share.divide(nodes);
                let (each, nodes) = (share.of(limit).get(), u32::try_from(nodes).unwrap().max(1));
                assert!(each * nodes <= requests.max(nodes), "{requests} {nodes}");
                assert!((each + 1) * nodes > requests, "{requests} {nodes}");
            }
        }
    }
}
