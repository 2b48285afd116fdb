//! How memory comes to know what the store has of clients.

use std::sync::{Arc, PoisonError};

use super::mirror::Mirrored;
use super::registry::CLIENTS;
use super::{Client, ClientRegistry};
use crate::oauth::ClientId;
use crate::store::{Patience, Reading, StoreError, turn};

/// How far the clients have been read; the default is their beginning.
#[derive(Debug, Default)]
pub struct ClientsReading {
    rows: Reading,
    /// Which reading of all of them it is, from the first page on.
    number: Option<u64>,
}

impl ClientsReading {
    /// Whether there is nothing more to read.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.rows.has_ended()
    }
}

impl ClientRegistry {
    /// Brings memory in line with the store, whoever wrote it.
    pub(super) async fn mirror(&self, client_id: &ClientId) -> Result<Option<Arc<Client>>, StoreError> {
        let _alone = turn(&self.mirroring, self.store.as_ref()).await?;
        // Requests wait for its end.
        let record =
            Patience::of_a_request(CLIENTS.get(self.store.as_ref(), client_id.as_str().as_bytes())).await?;
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        let Some(record) = record else {
            clients.remove(client_id);
            return Ok(None);
        };
        let mirrored = Mirrored::from(record);
        let client = mirrored.client.clone();
        clients.insert(mirrored);
        Ok(Some(client))
    }

    /// Brings the client with this key in line with the store, because its row has changed. Doing so again, or late, makes
    /// no difference: what is read is never older than what is known, for only one reads at a time.
    ///
    /// # Errors
    /// When the store can't be read or the record can't be understood.
    pub async fn refresh(&self, key: &[u8]) -> Result<(), StoreError> {
        let Some(client_id) = std::str::from_utf8(key).ok().and_then(|id| ClientId::parse(id).ok()) else {
            return Err(StoreError::damaged(CLIENTS.table(), key, "a key is no client_id"));
        };
        self.mirror(&client_id).await?;
        Ok(())
    }

    /// Loads every client anew.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn reload(&self) -> Result<(), StoreError> {
        let mut reading = ClientsReading::default();
        while !reading.has_ended() {
            self.read_on(&mut reading).await?;
        }
        Ok(())
    }

    /// Takes in the next page of clients, where all are read anew; with the last one, those that are gone are forgotten. Whoever
    /// changes a client meanwhile waits for the page at most: what they have changed is as new as a page that comes later, and newer
    /// than one that came before.
    ///
    /// # Errors
    /// As [`Self::open`]; then the page is the next one again.
    pub async fn read_on(&self, reading: &mut ClientsReading) -> Result<(), StoreError> {
        let _alone = turn(&self.mirroring, self.store.as_ref()).await?;
        let mut page = Vec::new();
        let read = CLIENTS.scan_page(self.store.as_ref(), &mut reading.rows, |_, record| {
            page.push(Mirrored::from(record));
            Ok(())
        });
        Patience::of_a_request(read).await?;
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        let number = *reading.number.get_or_insert_with(|| clients.begin_anew());
        for mirrored in page {
            clients.insert(mirrored);
        }
        if reading.has_ended() {
            clients.end_anew(number);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::Resources;
    use crate::clock::ManualClock;
    use crate::config::Config;
    use crate::entropy::SeededEntropy;
    use crate::store::{Batch, Committed, Condition, GatedStore, Put, Store as _};

    #[tokio::test]
    async fn who_asks_for_a_client_does_not_wait_behind_one_that_is_on_its_way_to_a_disk_which_stalls() {
        let (clock, dir) = (Arc::new(ManualClock::at(1_800_000_000)), tempfile::tempdir().unwrap());
        let disk = GatedStore::open(dir.path(), &clock);
        let (config, entropy) = (Config::for_tests(dir.path()), Arc::new(SeededEntropy::new(1)));
        let resources = Resources::new(&config).unwrap();
        let clients = ClientRegistry::open(&config, resources, disk.store.clone(), clock.clone(), entropy);
        let clients = Arc::new(clients.await.unwrap());
        disk.close();
        let commit = {
            let store = disk.store.clone();
            let batch = Batch::new().put(CLIENTS.table(), "a", Condition::Absent, Put::lasting(vec![]));
            tokio::spawn(async move { store.commit(batch).await })
        };
        disk.begun().await;
        let follower = {
            let clients = clients.clone();
            tokio::spawn(async move { clients.refresh(b"a").await })
        };
        tokio::task::yield_now().await;
        assert!(!follower.is_finished());
        disk.stall();
        let other = {
            let clients = clients.clone();
            tokio::spawn(Patience::of_a_request(async move { clients.find_or_follow("b").await }))
        };
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(other.is_finished());
        assert!(other.await.unwrap().unwrap().is_none());
        assert!(matches!(follower.await.unwrap(), Err(StoreError::Unavailable(_))));
        disk.go_on().await;
        assert_eq!(commit.await.unwrap().unwrap(), Committed::Applied);
    }
}
