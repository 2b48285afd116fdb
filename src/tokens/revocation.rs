use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use super::StatusLists;
use super::cutoffs::{Cutoffs, NewCutoff};
use super::cutting_off::GrantLifetimes;
use super::revocation_rows::{CutoffRecord, cutoff_key, damaged, key, parse_key, whole};
use super::status_list::date;
use crate::clock::SharedClock;
use crate::keys::{ClockOff, DATED_AHEAD, Fitness};
use crate::oauth::{AccessTokenClaims, ClientId, ListId, RevokedBefore, StatusReference, Subject};
use crate::store::typed::TypedTable;
use crate::store::{Batch, Committed, Condition, Line, Put, Reading, Store, StoreError, Table, scan_page};

pub(super) const REVOCATIONS: Table = Table::mirrored(Revocations::TABLE).even_late();
pub(super) const CUTOFFS_TABLE: Table = Table::mirrored(Revocations::CUTOFFS_TABLE).even_late();
pub(super) const CUTOFFS: TypedTable<CutoffRecord> = TypedTable::new(CUTOFFS_TABLE);

/// How far ahead of this node's clock anything is dated at most, in seconds, to get behind a cut-off: room for one that a node
/// with the slowest clock has to get behind, and for a few more of the same second. Verifiers let clocks differ by more.
pub(super) const FURTHEST: i64 = 2 * DATED_AHEAD;

/// By how many seconds a clock may run ahead, until it is set right, without reviving what was revoked as a whole or with its family. So
/// much longer that is kept, in the store and in memory, than any token or grant lives which it ends.
pub(super) const LONGEST_LEAD: i64 = 2 * 86_400;

/// How many cut-offs are added at a time where all are read: each time may be a copy of all.
const CUTOFFS_AT_ONCE: usize = 1 << 18;

/// Revokes tokens, one by one or as a whole. A revocation is durable before it is acknowledged, counts on
/// this node from then on, and is kept until the last token it concerns has ended.
pub struct Revocations {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: SharedClock,
    pub(super) lists: Arc<StatusLists>,
    /// A node whose clock is off knows no date for a cut-off.
    pub(super) fitness: Arc<Fitness>,
    pub(super) cutoffs: Cutoffs,
    /// A cut-off ends the grants before it, too; nothing where none are given.
    pub(super) grants: Option<GrantLifetimes>,
    /// The latest time, by this node's clock, at which anything was dated. Where the clock stands before it, it was set back.
    pub(super) dated: AtomicI64,
    /// The same of where the installation was moved from, whose clock may have been ahead of all here.
    pub(super) dated_elsewhere: AtomicI64,
    /// One change of the cut-offs at a time: each is built on the one before.
    pub(super) changing: Line,
}

/// Whose tokens are revoked as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whole {
    /// All that were issued to a client.
    Client(ClientId),
    /// All that speak for a subject.
    Subject(Subject),
    /// All that a client holds for a subject: what it was granted is taken back.
    Granted(ClientId, Subject),
}

/// The token could not be revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// It refers to no status list of ours.
    #[error("the token refers to no status list of this issuer")]
    NoStatus,
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This node's clock is off: ask another node.
    #[error(transparent)]
    ClockOff(#[from] ClockOff),
}

/// A token that is remembered so that it can be revoked with the family that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LiveToken {
    /// In which status list its revocation would stand.
    pub list: ListId,
    /// At which place.
    pub idx: u64,
    /// When it ends, in seconds since the epoch.
    pub exp: i64,
}

/// How far the revocations have been read; the default is their beginning.
#[derive(Debug, Default)]
pub struct RevocationsReading {
    single: Reading,
    cutoffs: Reading,
    /// The cut-offs of the pages before that do not count yet.
    found: Vec<NewCutoff>,
}

impl RevocationsReading {
    /// Whether there is nothing more to read.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.single.has_ended() && self.cutoffs.has_ended()
    }
}

impl Revocations {
    /// The table of the single tokens that are revoked.
    pub const TABLE: &str = "revocations";

    /// The table of those that are revoked as a whole.
    pub const CUTOFFS_TABLE: &str = "cutoffs";

    /// Loads every revocation whose tokens may be alive. A cut-off counts for as long as a grant from before it can be refreshed, if any
    /// are given; `fitness` is this node's.
    ///
    /// # Errors
    /// When the store can't be read or a record can't be understood.
    pub async fn open(
        store: Arc<dyn Store>,
        (clock, fitness): (SharedClock, Arc<Fitness>),
        lists: Arc<StatusLists>,
        grants: Option<GrantLifetimes>,
    ) -> Result<Self, StoreError> {
        let (cutoffs, changing) = (Cutoffs::none_at(clock.numeric_date()), Line::default());
        let (dated, dated_elsewhere) = (i64::MIN.into(), i64::MIN.into());
        let revocations =
            Self { store, clock, lists, fitness, cutoffs, grants, dated, dated_elsewhere, changing };
        let mut reading = RevocationsReading::default();
        while !reading.has_ended() {
            revocations.read_on(&mut reading).await?;
        }
        Ok(revocations)
    }

    /// Takes in the revocation with this key, because its row has changed. Nothing is read: a row is written once, and
    /// goes when its token has ended. The lists must know those lists that were committed before it.
    ///
    /// # Errors
    /// When it is no such key.
    pub fn refresh(&self, key: &[u8]) -> Result<(), StoreError> {
        let (list, idx) = parse_key(key).ok_or_else(|| damaged(REVOCATIONS, key))?;
        // A list that is gone holds no live token.
        if let Some(list) = self.lists.kept(list) {
            list.revoke(idx);
        }
        Ok(())
    }

    /// Takes in the cut-off with this key, because its row has changed.
    ///
    /// # Errors
    /// When the store can't be read or the record can't be understood.
    pub async fn refresh_cutoff(&self, key: &[u8]) -> Result<(), StoreError> {
        let whole = whole(key).ok_or_else(|| damaged(CUTOFFS_TABLE, key))?;
        // One that has ended is dropped by its own date.
        if let Some(record) = CUTOFFS.get(self.store.as_ref(), key).await? {
            self.take_in(vec![NewCutoff::new(&whole, record.value.into())]);
        }
        Ok(())
    }

    /// Takes in what the store has cut off of the client, of the subject, and of what one granted to the other, for whoever can't wait until
    /// this node hears of it.
    ///
    /// # Errors
    /// As [`Self::refresh_cutoff`].
    pub async fn refresh_cutoffs_of(
        &self,
        client_id: &ClientId,
        subject: &Subject,
    ) -> Result<(), StoreError> {
        let granted = Whole::Granted(client_id.clone(), subject.clone());
        let wholes = [Whole::Client(client_id.clone()), Whole::Subject(subject.clone()), granted];
        let keys = wholes.each_ref().map(|whole| cutoff_key(whole).into_bytes());
        let rows = self.store.get_each(CUTOFFS_TABLE, &keys).await?;
        let mut found = Vec::new();
        for (whole, row) in wholes.into_iter().zip(rows) {
            if let Some(row) = row {
                found.push(NewCutoff::new(&whole, CUTOFFS.decode(&row)?.value.into()));
            }
        }
        self.take_in(found);
        Ok(())
    }

    /// Takes in the next page of what the store holds, where all is read anew: first the single revocations, whose lists must
    /// all be known by then, next the cut-offs, which all count with their last page. Nothing that is known is forgotten.
    ///
    /// # Errors
    /// As [`Self::open`]; then the page is the next one again.
    pub async fn read_on(&self, reading: &mut RevocationsReading) -> Result<(), StoreError> {
        let store = self.store.as_ref();
        if !reading.single.has_ended() {
            return scan_page(store, REVOCATIONS, &mut reading.single, |key, _| self.refresh(&key)).await;
        }
        let mut page = Vec::new();
        CUTOFFS
            .scan_page(store, &mut reading.cutoffs, |key, record| {
                let whole = whole(&key).ok_or_else(|| damaged(CUTOFFS_TABLE, &key))?;
                page.push(NewCutoff::new(&whole, record.value.into()));
                Ok(())
            })
            .await?;
        reading.found.append(&mut page);
        if reading.has_ended() || reading.found.len() >= CUTOFFS_AT_ONCE {
            self.take_in(std::mem::take(&mut reading.found));
        }
        Ok(())
    }

    /// Adds to the cut-offs in use. Whoever follows the other nodes does so without the turn: those who have it may be waiting for a
    /// commit.
    pub(super) fn take_in(&self, new: Vec<NewCutoff>) {
        if !new.is_empty() {
            // By a clock that is off it is not known what has left the lists.
            let now = (!self.fitness.is_clock_off()).then(|| self.clock.numeric_date());
            self.cutoffs.add(new, now);
        }
    }

    /// Revokes one token, also of a list that this node has not heard of yet. Revoking it again changes nothing.
    ///
    /// # Errors
    /// When the token names no status list of ours, or the store fails: then it may or may not be revoked.
    pub async fn revoke(&self, claims: &AccessTokenClaims) -> Result<(), RevocationError> {
        let token = self.place_of(claims)?;
        let batch = self.revoking(Batch::new(), &token, claims.jti.as_str().as_bytes().to_vec());
        self.store.commit(batch).await.and_then(applied)?;
        self.note_revoked(&token);
        Ok(())
    }

    /// Whether the token was revoked by itself, and the store still knows: who revokes it again has nothing to record. With its family it may
    /// have been where that could not be recorded.
    ///
    /// # Errors
    /// As [`Self::revoke`].
    pub async fn is_on_record(&self, claims: &AccessTokenClaims) -> Result<bool, RevocationError> {
        let row = self.stored(&self.place_of(claims)?).await?;
        Ok(row.is_some_and(|jti| jti == claims.jti.as_str().as_bytes()))
    }

    fn place_of(&self, claims: &AccessTokenClaims) -> Result<LiveToken, RevocationError> {
        let reference = claims.status.as_ref().map(|status| &status.status_list);
        let Some(StatusReference { idx, uri }) = reference else { return Err(RevocationError::NoStatus) };
        let list = self.lists.id_of(uri).ok_or(RevocationError::NoStatus)?;
        Ok(LiveToken { list, idx: *idx, exp: claims.exp })
    }

    /// What the store has of the token's revocation. That this node knows of it is no record, for the store may have lost it in a failover.
    /// Of what it knows not to be revoked the store is not asked: that costs whoever revokes a token for the first time nothing.
    async fn stored(&self, token: &LiveToken) -> Result<Option<Vec<u8>>, StoreError> {
        if self.lists.kept(token.list.as_str()).is_some_and(|list| !list.is_revoked(token.idx)) {
            return Ok(None);
        }
        let row = self.store.get(REVOCATIONS, &key(token.list.as_str(), token.idx)).await?;
        Ok(row.map(|row| row.value))
    }

    /// Revokes tokens of which only their places are known, all or none of them.
    ///
    /// # Errors
    /// When the store fails: then they may or may not be revoked.
    pub(super) async fn revoke_live(&self, tokens: &[LiveToken]) -> Result<(), StoreError> {
        // What is on record is not written again: a replay can come as often as somebody likes.
        let mut new = Vec::new();
        for token in tokens {
            if self.stored(token).await?.is_none() {
                new.push(token);
            }
        }
        let batch = new.iter().fold(Batch::new(), |batch, token| self.revoking(batch, token, Vec::new()));
        if !batch.writes.is_empty() {
            self.store.commit(batch).await.and_then(applied)?;
        }
        for token in new {
            self.note_revoked(token);
        }
        Ok(())
    }

    /// Adds that the token is revoked. Once that is written, [`Self::note_revoked`] says so here.
    pub(super) fn revoking(&self, batch: Batch, token: &LiveToken, value: Vec<u8>) -> Batch {
        let put = Put::until(date(self.kept_until(token)), value);
        batch.put(REVOCATIONS, key(token.list.as_str(), token.idx), Condition::Always, put)
    }

    /// Of a list that is not known yet the follower hears first, and then of what is revoked in it.
    pub(super) fn note_revoked(&self, token: &LiveToken) {
        if let Some(list) = self.lists.kept(token.list.as_str()) {
            list.revoke(token.idx);
        }
    }

    /// The date that something which is issued now bears, in seconds since the epoch: now, but behind every cut-off that
    /// would end it. `Err` says in how many seconds there is one: the cut-off lies further ahead than anything is dated, for the
    /// clock was set back, or somebody cuts off again and again.
    ///
    /// # Errors
    /// As said.
    pub fn date_of_new(&self, client_id: &ClientId, subject: &Subject) -> Result<i64, u64> {
        let behind = self.cutoff(client_id, subject).map_or(0, |before| before + 1);
        let now = self.clock.numeric_date();
        if let Ok(wait @ 1..) = u64::try_from(behind - now - FURTHEST) {
            return Err(wait);
        }
        self.dated_until(now);
        Ok(now.max(behind))
    }

    /// Things were dated by this node's clock up to then.
    pub fn dated_until(&self, latest: i64) {
        // Mostly only read: every token comes by.
        if latest > self.dated.load(Relaxed) {
            self.dated.fetch_max(latest, Relaxed);
        }
    }

    /// The latest time by this node's clock at which anything was dated, in seconds since the epoch.
    #[must_use]
    pub fn latest_dated(&self) -> i64 {
        self.dated.load(Relaxed)
    }

    /// What was moved here may have been dated up to then.
    pub fn dated_elsewhere_until(&self, latest: i64) {
        self.dated_elsewhere.fetch_max(latest, Relaxed);
    }

    /// Whether the token is revoked, by itself or as part of a whole. Does not check whether its key is
    /// compromised, nor anything else of it.
    #[must_use]
    pub fn is_revoked(&self, claims: &AccessTokenClaims) -> bool {
        if self.is_cut_off(claims) {
            return true;
        }
        let Some(status) = &claims.status else { return false };
        // A list we no longer keep has no live token: whoever refers to it is not one of ours.
        let list = self.lists.find_by_uri(&status.status_list.uri);
        list.is_none_or(|list| list.is_revoked(status.status_list.idx))
    }

    fn is_cut_off(&self, claims: &AccessTokenClaims) -> bool {
        self.cutoff(&claims.client_id, &claims.sub).is_some_and(|before| claims.iat <= before)
    }

    /// The latest `iat`, in seconds since the epoch, whose tokens are revoked for this client or subject.
    #[must_use]
    pub fn cutoff(&self, client_id: &ClientId, subject: &Subject) -> Option<i64> {
        self.cutoffs.of(client_id, subject)
    }

    /// The cut-offs as status lists publish them, and their generation.
    pub(super) fn published(&self) -> (u64, RevokedBefore) {
        self.cutoffs.published(self.clock.numeric_date())
    }

    pub(super) fn generation(&self) -> u64 {
        self.cutoffs.generation()
    }

    /// Forgets the cut-offs whose last revoked token has ended.
    pub fn drop_ended(&self) {
        self.cutoffs.drop_ended(self.clock.numeric_date());
    }
}

/// A batch without conditions can't conflict.
pub(super) fn applied(committed: Committed) -> Result<(), StoreError> {
    match committed {
        Committed::Applied => Ok(()),
        Committed::Conflict => Err(StoreError::Invalid("a commit without conditions conflicted")),
    }
}
