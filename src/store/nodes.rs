//! Which nodes use a shared store now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Batch, Committed, Condition, Put, Row, Store, StoreError, Table, scan_each};
use crate::clock::SharedClock;

/// One row a running node.
const NODES: Table = Table::plain("nodes");

/// One row for each of those that took leave, under the same key, as long as anything that it said before could count: an announcement
/// that was given up may land later than the leave, and must not bring the node back.
const LEFT: Table = Table::plain("nodes_left");

/// A node that was not heard of for so long is gone.
const LEASE: TimeDelta = TimeDelta::seconds(60);

/// The nodes of an installation: each announces itself from time to time, and counts the others. A store that is not
/// shared has one, and nothing is written.
pub struct Nodes {
    store: Arc<dyn Store>,
    clock: SharedClock,
    name: String,
    /// Tells two starts of one name apart.
    start: String,
    /// How often it has taken leave: it comes back as another row.
    leaves: AtomicU64,
    started_at: DateTime<Utc>,
    settings: BTreeMap<String, String>,
    live: AtomicUsize,
    names: AtomicUsize,
}

/// A node as it last announced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is called in its settings.
    pub name: String,
    /// What it said; nothing of a node of an earlier release.
    pub said: Option<Said>,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    name: String,
    /// Which release it is of.
    pub version: String,
    /// When it was started, by its own clock.
    pub started_at: DateTime<Utc>,
    /// When it said so, by the store's clock.
    pub seen_at: DateTime<Utc>,
    /// How its clock stood.
    pub clock: NodeClock,
    /// Its settings that all nodes must have; none of a node of an earlier release.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}

/// How a node's clock stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeClock {
    /// By how much it is ahead of the store's, in milliseconds; 0 where that is not known.
    pub offset_millis: i64,
    /// Whether it is too far off, or was not compared yet: such a node issues nothing.
    pub is_off: bool,
}

impl Nodes {
    /// This node alone, until it has announced itself. `start` tells two starts of one name apart.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: SharedClock, (name, start): (&str, &str)) -> Self {
        let started_at = clock.now();
        Self {
            store,
            clock,
            name: name.to_owned(),
            start: start.to_owned(),
            leaves: AtomicU64::new(0),
            started_at,
            settings: BTreeMap::new(),
            live: AtomicUsize::new(1),
            names: AtomicUsize::new(1),
        }
    }

    /// The same, with the settings that all nodes must have.
    #[must_use]
    pub fn with_settings(self, settings: BTreeMap<String, String>) -> Self {
        Self { settings, ..self }
    }

    /// Announces this node for the next minute, by the store's clock, and counts those that are there, which it gives. None where the
    /// store is not shared.
    ///
    /// # Errors
    /// When the store fails, and when this node takes leave meanwhile; the last count stands.
    pub async fn announce(&self, clock: NodeClock) -> Result<Vec<Node>, StoreError> {
        if !self.store.is_shared() {
            return Ok(Vec::new());
        }
        let key = self.key(self.leaves.load(Ordering::Relaxed));
        let said = self.said(clock, self.store.now().await?);
        let value = serde_json::to_vec(&said).map_err(|error| damaged(&error))?;
        let put = Put::until(said.seen_at + LEASE, value);
        let batch = Batch::new().check(LEFT, key.as_str(), Condition::Absent);
        let batch = batch.put(NODES, key, Condition::Always, put);
        if self.store.commit(batch).await? == Committed::Conflict {
            return Err(StoreError::Unavailable("this node has taken leave meanwhile".to_owned()));
        }
        // In the order of their names.
        let running = Self::running(self.store.as_ref()).await?;
        self.live.store(running.len(), Ordering::Relaxed);
        let names = running.chunk_by(|one, next| one.name == next.name).count();
        self.names.store(names, Ordering::Relaxed);
        Ok(running)
    }

    /// Two nodes may have been given one name.
    fn key(&self, leaves: u64) -> String {
        format!("{}/{}/{leaves}", self.name, self.start)
    }

    fn said(&self, clock: NodeClock, now: Option<DateTime<Utc>>) -> Said {
        let (version, seen_at) =
            (env!("CARGO_PKG_VERSION").to_owned(), now.unwrap_or_else(|| self.clock.now()));
        let (name, settings) = (self.name.clone(), self.settings.clone());
        Said { name, version, started_at: self.started_at, seen_at, clock, settings }
    }

    /// Takes leave: this node stops, and must not be waited for, whatever it said before and lands only now.
    ///
    /// # Errors
    /// When the store fails; the others count this node for a minute more.
    pub async fn leave(&self) -> Result<(), StoreError> {
        if self.store.is_shared() {
            let key = self.key(self.leaves.fetch_add(1, Ordering::Relaxed));
            // Later than whatever was said before.
            let now = self.store.now().await?.unwrap_or_else(|| self.clock.now());
            let left = Put::until(now + LEASE, Vec::new());
            let batch = Batch::new().delete(NODES, key.as_str(), Condition::Always);
            let _unconditional = self.store.commit(batch.put(LEFT, key, Condition::Always, left)).await?;
        }
        Ok(())
    }

    /// The nodes that use the store now: those that have announced themselves within the last minute, and have not taken leave
    /// since; in the order of their names. None for a store that is not shared.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn running(store: &dyn Store) -> Result<Vec<Node>, StoreError> {
        let mut nodes = Vec::new();
        scan_each(store, NODES, |_, row| {
            nodes.push(Node::read(&row));
            Ok(())
        })
        .await?;
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(nodes)
    }

    /// The nodes of this installation: as [`Self::running`], or this one alone, whose clock is `clock`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, clock: NodeClock) -> Result<Vec<Node>, StoreError> {
        if self.store.is_shared() {
            return Self::running(self.store.as_ref()).await;
        }
        let said = self.said(clock, None);
        Ok(vec![Node { name: said.name.clone(), said: Some(said) }])
    }

    /// Whether other nodes may be on the same store.
    #[must_use]
    pub fn may_be_many(&self) -> bool {
        self.store.is_shared()
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

impl Node {
    fn read(row: &Row) -> Self {
        match serde_json::from_slice::<Said>(&row.value) {
            Ok(said) => Self { name: said.name.clone(), said: Some(said) },
            // An earlier release wrote the name alone.
            Err(_) => Self { name: String::from_utf8_lossy(&row.value).into_owned(), said: None },
        }
    }
}

fn damaged(error: &serde_json::Error) -> StoreError {
    StoreError::Damaged { table: NODES.name.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_an_earlier_release_has_its_name() {
        let read = |value: &[u8]| Node::read(&Row { version: 1, expires_at: None, value: value.to_vec() });
        assert_eq!(read(b"a").name, "a");
        assert_eq!(read(b"a").said, None);
        let said = read(
            br#"{"name": "b", "version": "9.0.0", "started_at": "2026-01-01T00:00:00Z", "seen_at": "2026-01-01T00:01:00Z",
                "clock": {"offset_millis": -7000, "is_off": true}}"#,
        );
        assert_eq!((said.name.as_str(), said.said.unwrap().clock.offset_millis), ("b", -7000));
    }
}
