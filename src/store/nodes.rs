//! Which nodes use a shared store now.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;

use super::{Batch, Condition, Put, Store, StoreError, Table, scan_each};
use crate::clock::SharedClock;

/// One row a running node; the value is its name.
const NODES: Table = Table::plain("nodes");

/// A node that was not heard of for so long is gone.
const LEASE: TimeDelta = TimeDelta::seconds(60);

/// The nodes of an installation: each announces itself from time to time, and counts the others. A store that is not
/// shared has one, and nothing is written.
pub struct Nodes {
    store: Arc<dyn Store>,
    clock: SharedClock,
    name: String,
    /// Two nodes may have been given one name.
    key: String,
    live: AtomicUsize,
    names: AtomicUsize,
}

impl Nodes {
    /// This node alone, until it has announced itself. `start` tells two starts of one name apart.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: SharedClock, (name, start): (&str, &str)) -> Self {
        let key = format!("{name}/{start}");
        Self {
            store,
            clock,
            name: name.to_owned(),
            key,
            live: AtomicUsize::new(1),
            names: AtomicUsize::new(1),
        }
    }

    /// Announces this node for the next minute, and counts those that are there.
    ///
    /// # Errors
    /// When the store fails; the last count stands.
    pub async fn announce(&self) -> Result<(), StoreError> {
        if !self.store.is_shared() {
            return Ok(());
        }
        let put = Put::until(self.clock.now() + LEASE, self.name.clone().into_bytes());
        let batch = Batch::new().put(NODES, self.key.as_str(), Condition::Always, put);
        let _unconditional = self.store.commit(batch).await?;
        let mut running = Self::running(self.store.as_ref()).await?;
        self.live.store(running.len(), Ordering::Relaxed);
        running.sort_unstable();
        running.dedup();
        self.names.store(running.len(), Ordering::Relaxed);
        Ok(())
    }

    /// Takes leave: this node stops, and must not be waited for.
    ///
    /// # Errors
    /// When the store fails; the others count this node for a minute more.
    pub async fn leave(&self) -> Result<(), StoreError> {
        if self.store.is_shared() {
            let batch = Batch::new().delete(NODES, self.key.as_str(), Condition::Always);
            let _unconditional = self.store.commit(batch).await?;
        }
        Ok(())
    }

    /// The names of the nodes that use the store now: those that have announced themselves within the last minute, and have
    /// not taken leave since. None for a store that is not shared.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn running(store: &dyn Store) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        scan_each(store, NODES, |_, row| {
            names.push(String::from_utf8_lossy(&row.value).into_owned());
            Ok(())
        })
        .await?;
        Ok(names)
    }

    /// How many names they have, as last counted: one that starts again and again counts once.
    #[must_use]
    pub fn names(&self) -> usize {
        self.names.load(Ordering::Relaxed).max(1)
    }

    /// How many there are, this one included, as last counted.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed).max(1)
    }
}
