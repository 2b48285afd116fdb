//! What a change of the ring asks of the vault.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::spawn_blocking;

use super::change::{Signers, Spare};
use super::error::KeyRingError;
use super::record::{KeyRingRecord, PrivateHalf};
use super::ring::KeyRing;
use super::sealed_ring::{KEY, TABLE};
use super::vault::{KeyVault, StoredState, VaultError};
use crate::oauth::KeyId;
use crate::store::{Batch, Committed, Condition, Put, carried};

/// A pending key that no ring names is some other node's that is about to be committed, until it is older
/// than this, in seconds.
const PENDING_FOR: i64 = 600;

fn is_pending_for_long(state: StoredState, now: i64) -> bool {
    matches!(state, StoredState::Pending { since } if since + PENDING_FOR < now)
}

impl KeyRing {
    /// How many keys the vault holds that some ring names.
    pub(super) async fn kept(&self) -> Result<usize, KeyRingError> {
        let stored = self.in_vault(<dyn KeyVault>::list).await?;
        Ok(stored.iter().filter(|key| key.state == StoredState::Kept).count())
    }

    /// Brings the vault in line with the ring: what is named and pending becomes kept, what is erased is
    /// destroyed, what is pending for long and not named is for [`Self::destroy_strays`]. A kept key that the ring does not
    /// name is left alone: the ring may be an old one.
    pub(super) async fn settle(&self, ring: &KeyRingRecord) -> Result<(), KeyRingError> {
        let halves: HashMap<KeyId, PrivateHalf> =
            ring.records.iter().map(|record| (record.kid.clone(), record.private_half)).collect();
        let now = self.parts.clock.numeric_date();
        let settled = self.in_vault(move |vault| {
            let mut has_strays = false;
            for key in vault.list()? {
                match (halves.get(&key.kid), key.state) {
                    (Some(PrivateHalf::Erased), _) => vault.destroy(&key.kid)?,
                    (Some(PrivateHalf::Sealed), StoredState::Pending { .. }) => vault.keep(&key.kid)?,
                    (None, state) => has_strays |= is_pending_for_long(state, now),
                    _ => {}
                }
            }
            Ok(has_strays)
        });
        self.strays.store(settled.await?, Ordering::Relaxed);
        Ok(())
    }

    /// Destroys what is pending for long and not named, if [`Self::settle`] has seen any. Nothing bounds how long a commit that would
    /// name it may take: it was given up and waits for its standby, or its node was paused. So the ring is written as it is, under
    /// another version: what stands on this one or an older one is refused from then on.
    pub(super) async fn destroy_strays(&self) -> Result<(), KeyRingError> {
        if !self.strays.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let (row, ring) = self.read().await?;
        let fence = Batch::new().put(TABLE, KEY, Condition::VersionIs(row.version), Put::lasting(row.value));
        if self.parts.store.commit(fence).await? == Committed::Conflict {
            // Whatever came before it may have named them: the next tick looks.
            return Ok(());
        }
        let named: HashSet<KeyId> = ring.records.into_iter().map(|record| record.kid).collect();
        let now = self.parts.clock.numeric_date();
        self.in_vault(move |vault| {
            let strays = vault.list()?.into_iter();
            for key in strays.filter(|key| is_pending_for_long(key.state, now) && !named.contains(&key.kid)) {
                vault.destroy(&key.kid)?;
            }
            Ok(())
        })
        .await
    }

    /// Opens what signs or waits and is not open yet: all that can be, whatever fails with one of them.
    pub(super) async fn open_signers(
        &self,
        ring: &KeyRingRecord,
        signers: &mut Signers,
        spare: Spare<'_>,
    ) -> Result<(), KeyRingError> {
        let now = self.parts.clock.numeric_date();
        let (current, mut failed) = (self.snapshot.load_full(), None);
        for record in ring.records.iter().filter(|record| record.is_alive(now)) {
            if signers.contains_key(&record.kid) {
                continue;
            }
            let (kid, algorithm) = (record.kid.clone(), record.algorithm);
            let opened = match current.signer(&kid) {
                Some(signer) => Ok(signer),
                None if spare.spares(&kid) => continue,
                None => self.in_vault(move |vault| vault.open(&kid, algorithm)).await,
            };
            match opened {
                Ok(signer) => {
                    signers.insert(record.kid.clone(), signer);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Destroys keys that were made for a commit that did not happen.
    pub(super) async fn discard(&self, created: &Signers) {
        for kid in created.keys() {
            let kid = kid.clone();
            if let Err(error) = self.in_vault(move |vault| vault.destroy(&kid)).await {
                tracing::warn!(%error, "a key that is not needed stays in the vault as pending");
            }
        }
    }

    pub(super) async fn in_vault<R: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn KeyVault) -> Result<R, VaultError> + Send + 'static,
    ) -> Result<R, KeyRingError> {
        let vault = Arc::clone(&self.parts.vault);
        let outcome = spawn_blocking(carried(move || call(vault.as_ref()))).await;
        Ok(outcome.map_err(|_| KeyRingError::Stopping)??)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::Duration;

    use super::super::change::KeyEvent;
    use super::super::schedule::Step;
    use super::*;
    use crate::clock::ManualClock;
    use crate::config::Config;
    use crate::entropy::SeededEntropy;
    use crate::keys::{
        DirectoryVault, Fitness, KeyRingParts, Policy, SealingKeys, SealingParts, SilentModule,
    };
    use crate::store::{GatedStore, MemoryStore, Patience, Store, Table};

    struct Node {
        ring: Arc<KeyRing>,
        sealing: Arc<SealingKeys>,
    }

    /// A node whose key-encryption key is in `module`.
    async fn node(
        module: &Arc<SilentModule>,
        (store, clock): (&Arc<dyn Store>, &Arc<ManualClock>),
        (dir, seed): (&std::path::Path, u64),
    ) -> Node {
        let (kek, entropy) = (Arc::new(module.kek()), Arc::new(SeededEntropy::new(seed)));
        let fitness = Arc::new(Fitness::new(clock.clone(), Duration::MAX));
        let mut config = Config::for_tests(dir);
        config.keys.algorithms = vec![crate::oauth::Algorithm::ES256];
        let policy = Policy::new(&config.keys, config.tokens.longest_lifetime).unwrap();
        let parts = SealingParts {
            store: store.clone(),
            kek: kek.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            fitness: fitness.clone(),
        };
        let times = (Duration::from_hours(24), Duration::from_hours(24));
        let sealing = SealingKeys::open(parts, &policy, times).await.unwrap();
        let vault = Arc::new(DirectoryVault::open(dir, kek.clone(), entropy.clone()).unwrap());
        let parts =
            KeyRingParts { store: store.clone(), vault, kek, policy, clock: clock.clone(), entropy, fitness };
        let ring = KeyRing::open(parts).await.unwrap();
        ring.tick().await.unwrap();
        Node { ring, sealing }
    }

    /// Whoever follows the other nodes waits for these: a node that hears of no revocation must stop.
    #[tokio::test]
    async fn a_module_that_never_answers_holds_nobody_up_who_takes_in_what_other_nodes_made() {
        let (clock, dir) = (Arc::new(ManualClock::at(1_800_000_000)), tempfile::tempdir().unwrap());
        let store: Arc<dyn Store> = MemoryStore::new(clock.clone());
        let (module, others): (Arc<SilentModule>, Arc<SilentModule>) = Default::default();
        module.is_given_up.store(true, SeqCst);
        let here = node(&module, (&store, &clock), (dir.path(), 1)).await;
        let other = node(&others, (&store, &clock), (dir.path(), 2)).await;
        let (before, silence) = (module.calls.load(SeqCst), module.fall_silent());

        other.ring.rotate(None, true).await.unwrap();
        other.ring.tick().await.unwrap();
        let sealing = other.sealing.list()[0].id.clone();
        other.sealing.compromise(&sealing).await.unwrap();
        for _ in 0..3 {
            // Both are of those with which a node goes on following; the rotator tells of them.
            let error = here.ring.follow().await.unwrap_err();
            assert!(error.is_of_vault() && error.to_string().contains("answer"), "{error}");
            let error = here.sealing.tick().await.unwrap_err();
            assert!(error.is_of_vault(), "{error}");
            assert!(here.ring.tick().await.unwrap_err().is_of_vault());
        }
        assert_eq!(here.ring.version(), other.ring.version());
        assert!(here.ring.signing_key(None).is_ok(), "it signs with what it has");
        module.called.notified().await;
        assert_eq!(module.calls.load(SeqCst) - before, 1, "one call is out, and no other is made");

        drop(silence);
        while here.ring.parts().kek.is_silent() {
            tokio::task::yield_now().await;
        }
        here.ring.follow().await.unwrap();
        here.sealing.tick().await.unwrap();
        let signer = |node: &Node| node.ring.signing_key(None).unwrap().kid().clone();
        assert_eq!(signer(&here), signer(&other));
    }

    async fn node_on_a_gate(dirs: &[tempfile::TempDir; 2], clock: &Arc<ManualClock>) -> (Node, GatedStore) {
        let disk = GatedStore::open(dirs[0].path(), clock);
        let store: Arc<dyn Store> = disk.store.clone();
        (node(&Arc::default(), (&store, clock), (dirs[1].path(), 1)).await, disk)
    }

    /// Anybody can present a refresh token that names a key which nobody knows.
    #[tokio::test]
    async fn who_looks_for_a_sealing_key_is_answered_while_the_disk_holds_up_the_next_one() {
        let (clock, dirs) =
            (Arc::new(ManualClock::at(1_800_000_000)), [(); 2].map(|()| tempfile::tempdir().unwrap()));
        let (node, disk) = node_on_a_gate(&dirs, &clock).await;
        clock.advance(Duration::from_hours(24).checked_sub(Duration::from_secs(1)).unwrap());
        node.sealing.tick().await.unwrap();
        let text = node.sealing.seal("test", b"").unwrap();
        let kid = node.sealing.list()[0].id.clone();
        let (nowhere, elsewhere) =
            (tempfile::tempdir().unwrap(), MemoryStore::new(clock.clone()) as Arc<dyn Store>);
        let other = self::node(&Arc::default(), (&elsewhere, &clock), (nowhere.path(), 2)).await;
        let made_up = other.sealing.seal("test", b"").unwrap();
        node.sealing.unrecorded().take();

        clock.advance(Duration::from_secs(1));
        disk.close();
        let tick = {
            let sealing = node.sealing.clone();
            tokio::spawn(async move { sealing.tick().await })
        };
        disk.begun().await;
        disk.stall();
        let looked = Patience::of_a_request(node.sealing.look_for_key_of(&made_up)).await;
        assert!(matches!(looked, Err(KeyRingError::Store(_))), "{looked:?}");
        assert!(matches!(tick.await.unwrap(), Err(KeyRingError::Store(_))));
        assert!(Patience::of_a_request(node.sealing.compromise(&kid)).await.is_err());
        assert_eq!(node.sealing.open_sealed("test", &text).unwrap().as_deref(), Some(&vec![]));
        assert!(node.sealing.unrecorded().take().is_empty());

        // What was given up is done late, and made up for.
        disk.go_on().await;
        node.sealing.tick().await.unwrap();
        assert_eq!(node.sealing.list().len(), 2);
        assert_eq!(node.sealing.unrecorded().take().len(), 1);
    }

    #[tokio::test]
    async fn an_order_to_condemn_a_key_is_answered_while_the_disk_holds_up_the_next_one() {
        let (clock, dirs) =
            (Arc::new(ManualClock::at(1_800_000_000)), [(); 2].map(|()| tempfile::tempdir().unwrap()));
        let (node, disk) = node_on_a_gate(&dirs, &clock).await;
        let ring = node.ring;
        ring.unrecorded().take();
        let before = ring.list().keys.len();
        clock.advance(Config::for_tests(dirs[1].path()).keys.rotation_period);
        disk.close();
        let tick = {
            let ring = ring.clone();
            tokio::spawn(async move { ring.tick().await })
        };
        disk.begun().await;
        disk.stall();
        let kid = ring.list().keys[0].kid.clone();
        let order = Patience::of_a_request(ring.compromise(&kid)).await;
        assert!(matches!(order, Err(KeyRingError::Store(_))), "{order:?}");
        assert!(matches!(tick.await.unwrap(), Err(KeyRingError::Store(_))));
        assert!(ring.unrecorded().take().is_empty());

        disk.go_on().await;
        ring.tick().await.unwrap();
        assert!(ring.list().keys.len() > before, "what was given up is done late, and made up for");
        let made = |event: &KeyEvent| matches!(event.change, Step::Create { .. });
        assert_eq!(ring.unrecorded().take().iter().filter(|event| made(event)).count(), 1);
    }

    /// What came before on the same disk holds it up, so that no reader sees that anything is on its way.
    #[tokio::test]
    async fn what_is_due_on_a_disk_that_stalls_is_begun_once_and_told_of_when_it_lands() {
        let (clock, dirs) =
            (Arc::new(ManualClock::at(1_800_000_000)), [(); 2].map(|()| tempfile::tempdir().unwrap()));
        let (node, disk) = node_on_a_gate(&dirs, &clock).await;
        node.ring.unrecorded().take();
        node.sealing.unrecorded().take();
        let before = node.ring.list().keys.len();
        clock.advance(Config::for_tests(dirs[1].path()).keys.rotation_period);
        disk.close();
        let other = {
            let store = disk.store.clone();
            let batch = Batch::new().put(Table::plain("t"), "k", Condition::Absent, Put::lasting(vec![]));
            tokio::spawn(async move { store.commit(batch).await })
        };
        disk.begun().await;
        let (ring, sealing) = (node.ring.clone(), node.sealing.clone());
        let ticks = tokio::spawn(async move { tokio::join!(ring.tick(), sealing.tick()) });
        while node.ring.unrecorded().begun() + node.sealing.unrecorded().begun() < 2 {
            tokio::task::yield_now().await;
        }
        disk.stall();
        assert!(matches!(ticks.await.unwrap(), (Err(KeyRingError::Store(_)), Err(KeyRingError::Store(_)))));
        let kept = || std::fs::read_dir(dirs[1].path()).unwrap().count();
        let made = kept();
        for _ in 0..20 {
            assert!(matches!(node.ring.tick().await, Err(KeyRingError::Store(_))));
            assert!(matches!(node.sealing.tick().await, Err(KeyRingError::Store(_))));
        }
        assert_eq!(kept(), made, "no key is made for nothing");

        disk.go_on().await;
        assert_eq!(other.await.unwrap().unwrap(), Committed::Applied);
        node.ring.tick().await.unwrap();
        node.sealing.tick().await.unwrap();
        assert!(node.ring.list().keys.len() > before);
        let created = |event: &KeyEvent| matches!(event.change, Step::Create { .. });
        assert_eq!(node.ring.unrecorded().take().iter().filter(|event| created(event)).count(), 1);
        assert!(!node.sealing.unrecorded().take().is_empty());
    }
}
