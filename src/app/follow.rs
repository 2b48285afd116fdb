//! What this node keeps in memory follows what all nodes commit: clients, revocations, status lists and keys.

use std::sync::atomic::Ordering;

use super::{App, StartError};
use crate::backup::BackupError;
use crate::clients::{ClientRegistry, ClientsReading};
use crate::keys::{KeyRing, KeyRingError};
use crate::protocol::Services;
use crate::store::{Changes, Cursor, Reading, Store, StoreError, Table, following};
use crate::tokens::{Revocations, RevocationsReading, StatusLists};

/// So many pages are read between two looks at what has changed meanwhile: the changes must not be forgotten before.
const PAGES: usize = 16;

/// What of the store this node has taken in: all, but for changes behind a place, and what is still to be read anew.
pub(super) struct Followed {
    cursor: Cursor,
    /// Rarely there.
    unread: Option<Box<Unread>>,
}

/// Tables that are read anew, page by page, in this order; a page that fails is the next one again. The changes are followed
/// meanwhile, from a place taken before the first page: so whatever is committed behind a page that was read comes by all the same.
#[derive(Default)]
struct Unread {
    keys_are_read: bool,
    clients: ClientsReading,
    /// The lists before what is revoked in them.
    lists: Reading,
    revocations: RevocationsReading,
}

impl From<Cursor> for Followed {
    fn from(cursor: Cursor) -> Self {
        Self { cursor, unread: None }
    }
}

impl Followed {
    /// Everything is to be read anew, and the changes from `cursor` on.
    fn begin_anew(&mut self, cursor: Cursor) {
        tracing::info!(
            "what is kept in memory is read anew: the store is another one than it was, or its changes don't reach back far \
             enough"
        );
        *self = Self { cursor, unread: Some(Box::default()) };
    }
}

/// Where the store's newest commit is now: from there on its changes are followed. Taken before anything is loaded, so
/// that nothing is missed in between.
pub(super) async fn begin(store: &dyn Store) -> Result<Cursor, StoreError> {
    match store.changes(Cursor::AHEAD).await? {
        Changes::Rows { next, .. } | Changes::Reset { next } => Ok(next),
    }
}

impl App {
    /// Takes in everything that any node had committed when this was called. Says how many rows that were; this node's own
    /// are among them. Then this node is known to be up to date, which it must be at least every P to issue anything.
    ///
    /// # Errors
    /// When the store fails, or something in it can't be understood; the next call goes on where this one stopped.
    pub async fn follow(&self) -> Result<usize, StartError> {
        let step = following(self.take_a_step()).await;
        self.tell_of_damage(&step);
        let was_away = self.store_was_away.swap(step.is_err(), Ordering::Relaxed);
        if step.is_ok() && was_away && self.state.services.fitness.is_stale() {
            // It is there again, and for longer than P nothing was acknowledged and no key read: not to wait for the next round.
            unless_known(self.rotate().await)?;
        }
        step
    }

    /// Says once which row it is that can't be understood: this node stops after P, and no other can go on either. To pass it over
    /// could mean to honour what was revoked.
    fn tell_of_damage(&self, step: &Result<usize, StartError>) {
        let fitness = &self.state.services.fitness;
        match step {
            Ok(_) => _ = fitness.note_damaged(None),
            Err(StartError::Store(error @ StoreError::Damaged { .. })) => {
                if fitness.note_damaged(Some(error.to_string())) {
                    tracing::error!(%error, "every node stops until this row is mended or removed (docs/operations.md)");
                }
            }
            // The store is away: what was damaged may still be.
            Err(_) => {}
        }
    }

    async fn take_a_step(&self) -> Result<usize, StartError> {
        let services = &self.state.services;
        let mut followed = self.followed.lock().await;
        self.refuse_unfinished().await?;
        if services.fitness.is_stopped() {
            // What was unfinished is over.
            self.announce().await?;
        }
        let compared = services.fitness.compare_with(services.store.as_ref()).await?;
        self.make_up().await?;
        let mut taken_in = 0;
        loop {
            let read_at = services.clock.monotonic();
            taken_in += self.take_in_changes(&mut followed).await?;
            let Some(unread) = &mut followed.unread else {
                // Where the store takes too long to tell its time, this node does not know its own: it stops after P.
                if compared {
                    services.fitness.mirrored(read_at);
                }
                return Ok(taken_in);
            };
            // Large and rare: not to be carried about by every step.
            if Box::pin(self.read_on(unread)).await? {
                followed.unread = None;
            }
        }
    }

    /// Takes in what was committed behind the cursor when this was called, or begins to read everything anew.
    async fn take_in_changes(&self, followed: &mut Followed) -> Result<usize, StartError> {
        let services = &self.state.services;
        let newest = begin(services.store.as_ref()).await?;
        if !followed.cursor.is_known_to(newest) {
            // Not the store that it was: a standby took over, or a backup was restored under this node's feet.
            followed.begin_anew(newest);
        }
        let mut taken_in = 0;
        // Of another epoch it is when everything is to be read anew.
        while followed.cursor.epoch == newest.epoch && followed.cursor.place < newest.place {
            match services.store.changes(followed.cursor).await? {
                Changes::Rows { rows, next } => {
                    self.take_in(&rows).await?;
                    taken_in += rows.len();
                    services.fitness.took_in(rows.len());
                    followed.cursor = next;
                }
                Changes::Reset { next } => followed.begin_anew(next),
            }
        }
        Ok(taken_in)
    }

    /// Refuses to go on where the installation is restored or moved under this node's feet, or was while it slept: it issues nothing
    /// more. A store that is not shared has nobody else to do that.
    pub(super) async fn refuse_unfinished(&self) -> Result<(), StartError> {
        let services = &self.state.services;
        if !services.store.is_shared() {
            return Ok(());
        }
        let refused = self.incarnation.refuse_another(services.store.as_ref()).await;
        match &refused {
            Err(BackupError::RestoredSince) => services.fitness.outlive(),
            Err(error) if error.is_unfinished() => services.fitness.stop(),
            _ => {}
        }
        Ok(refused?)
    }

    /// Returns when there may be something to take in.
    pub async fn changed(&self) {
        let cursor = self.followed.lock().await.cursor;
        self.state.services.store.changed(cursor).await;
    }

    async fn take_in(&self, rows: &[(String, Vec<u8>)]) -> Result<(), StartError> {
        // What may not be signed with any more comes first. If it fails, the rest is not held up, but comes again.
        let keys = rows.iter().any(|(table, _)| table == KeyRing::TABLE);
        let rotated = if keys { unless_known(self.follow_keys().await) } else { Ok(()) };
        for (table, key) in rows {
            refresh(&self.state.services, table, key).await?;
        }
        rotated
    }

    /// Reads some pages more of what is to be read anew; says whether that was all.
    async fn read_on(&self, unread: &mut Unread) -> Result<bool, StartError> {
        let services = &self.state.services;
        // What may not be signed with any more comes first. If it fails, the rest is not held up, but it comes again. What is due, and to
        // announce this node, is the rotator's: just after a failover each of these commits may take long.
        let rotated = if unread.keys_are_read { Ok(()) } else { unless_known(self.follow_keys().await) };
        unread.keys_are_read = rotated.is_ok();
        let mut all = false;
        for _ in 0..PAGES {
            if !unread.clients.has_ended() {
                services.clients.read_on(&mut unread.clients).await?;
            } else if !unread.lists.has_ended() {
                services.status_lists.read_on(&mut unread.lists).await?;
            } else if !unread.revocations.has_ended() {
                services.revocations.read_on(&mut unread.revocations).await?;
            } else {
                services.status_indexes.close_lost().await?;
                all = true;
                break;
            }
        }
        rotated.map(|()| all)
    }
}

/// While this node's clock is off, bringing the keys up to date comes to taking over what the other nodes have made of them, which is
/// all that can be known. Nor is anything unknown where a private half does not open: such a node signs with those that it has open, and must
/// hear of revocations as any other. The rotator tells of it and tries again.
pub(super) fn unless_known(rotated: Result<(), StartError>) -> Result<(), StartError> {
    match rotated {
        Err(StartError::Keys(KeyRingError::ClockOff(_))) => Ok(()),
        Err(StartError::Keys(error)) if error.is_of_vault() => Ok(()),
        rotated => rotated,
    }
}

/// Brings memory in line with one row. A node's own rows come by too: taking in what is known already changes nothing.
async fn refresh(services: &Services, table: &str, key: &[u8]) -> Result<(), StoreError> {
    let mirrored =
        [ClientRegistry::TABLE, StatusLists::TABLE, Revocations::TABLE, Revocations::CUTOFFS_TABLE];
    // The keys were read as a whole; no other table is kept in memory.
    let Some(table) = mirrored.into_iter().find(|name| *name == table) else { return Ok(()) };
    let refresh = async || match table {
        ClientRegistry::TABLE => services.clients.refresh(key).await,
        StatusLists::TABLE => services.status_lists.refresh(key).await,
        Revocations::TABLE => services.revocations.refresh(key),
        _ => services.revocations.refresh_cutoff(key).await,
    };
    match refresh().await {
        // Somebody has removed what nobody understood: that it came by is no reason to stand still. What was known of it goes.
        Err(StoreError::Damaged { .. })
            if services.store.get(Table::mirrored(table), key).await?.is_none() =>
        {
            match refresh().await {
                Err(StoreError::Damaged { .. }) => Ok(()),
                refreshed => refreshed,
            }
        }
        refreshed => refreshed,
    }
}
