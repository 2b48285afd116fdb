use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use super::StatusLists;
use super::cutoffs::{Cutoff, Cutoffs};
use super::revocation_rows::{CutoffRecord, cutoff_key, damaged, key, parse_key, whole};
use super::status_list::date;
use crate::clock::SharedClock;
use crate::keys::{ClockOff, DATED_AHEAD, Fitness};
use crate::oauth::{AccessTokenClaims, ClientId, ListId, RevokedBefore, StatusReference, Subject};
use crate::store::typed::TypedTable;
use crate::store::{Batch, Committed, Condition, Put, Store, StoreError, Table, scan_each};

pub(super) const REVOCATIONS: Table = Table::mirrored(Revocations::TABLE);
pub(super) const CUTOFFS_TABLE: Table = Table::mirrored(Revocations::CUTOFFS_TABLE);
pub(super) const CUTOFFS: TypedTable<CutoffRecord> = TypedTable::new(CUTOFFS_TABLE);

/// How often a cut-off is tried anew when another node set one for the same whole, or for a part of it.
const RETRIES: usize = 16;

/// How many rows one revocation makes needless at most: further ones stay until they have ended.
const MOST_AT_ONCE: usize = 1000;

/// How far the date of a token may lie ahead, in seconds: what verifiers let clocks differ by.
const LEEWAY: u32 = 60;

/// Revokes tokens, one by one or as a whole. A revocation is durable before it is acknowledged, counts on
/// this node from then on, and is kept until the last token it concerns has ended.
pub struct Revocations {
    pub(super) store: Arc<dyn Store>,
    clock: SharedClock,
    lists: Arc<StatusLists>,
    /// A node whose clock is off knows no date for a cut-off.
    fitness: Arc<Fitness>,
    cutoffs: ArcSwap<Cutoffs>,
    /// For how many seconds a grant can be refreshed: a cut-off ends the grants before it, too.
    longest_grant: i64,
    /// One change of the cut-offs at a time: each is built on the one before.
    changing: Mutex<()>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveToken {
    /// In which status list its revocation would stand.
    pub list: ListId,
    /// At which place.
    pub idx: u64,
    /// When it ends, in seconds since the epoch.
    pub exp: i64,
}

impl Revocations {
    /// The table of the single tokens that are revoked.
    pub const TABLE: &str = "revocations";

    /// The table of those that are revoked as a whole.
    pub const CUTOFFS_TABLE: &str = "cutoffs";

    /// Loads every revocation whose tokens may be alive. A grant can be refreshed for `longest_grant` seconds; `fitness` is this
    /// node's.
    ///
    /// # Errors
    /// When the store can't be read or a record can't be understood.
    pub async fn open(
        store: Arc<dyn Store>,
        (clock, fitness): (SharedClock, Arc<Fitness>),
        lists: Arc<StatusLists>,
        longest_grant: i64,
    ) -> Result<Self, StoreError> {
        let (cutoffs, changing) = (ArcSwap::default(), Mutex::default());
        let revocations = Self { store, clock, lists, fitness, cutoffs, longest_grant, changing };
        revocations.reload().await?;
        Ok(revocations)
    }

    /// Takes in the revocation with this key, because its row has changed. Nothing is read: a row is written once, and
    /// goes when its token has ended. The lists must know those lists that were committed before it.
    ///
    /// # Errors
    /// When it is no such key.
    pub fn refresh(&self, key: &[u8]) -> Result<(), StoreError> {
        let (list, idx) = parse_key(key).ok_or_else(|| damaged(REVOCATIONS))?;
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
        let whole = whole(key).ok_or_else(|| damaged(CUTOFFS.table()))?;
        let _turn = self.changing.lock().await;
        // One that has ended is dropped by its own date.
        if let Some(record) = CUTOFFS.get(self.store.as_ref(), key).await? {
            self.take_in([(whole, record.value.into())]);
        }
        Ok(())
    }

    /// Takes in everything that the store holds. Nothing that is known is forgotten.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn reload(&self) -> Result<(), StoreError> {
        scan_each(self.store.as_ref(), REVOCATIONS, |key, _| self.refresh(&key)).await?;
        let _turn = self.changing.lock().await;
        let mut found = Vec::new();
        CUTOFFS
            .scan_each(self.store.as_ref(), |key, record| {
                found.push((whole(&key).ok_or_else(|| damaged(CUTOFFS.table()))?, record.value.into()));
                Ok(())
            })
            .await?;
        self.take_in(found);
        Ok(())
    }

    /// Adds to the cut-offs in use; called by one at a time.
    fn take_in(&self, new: impl IntoIterator<Item = (Whole, Cutoff)>) {
        let known = self.cutoffs.load();
        let mut cutoffs = Cutoffs::clone(&known);
        for (whole, cutoff) in new {
            cutoffs.add(&whole, cutoff);
        }
        // What says nothing new makes no published list untrue.
        if cutoffs.generation != known.generation {
            self.cutoffs.store(Arc::new(cutoffs));
        }
    }

    /// Revokes one token, also of a list that this node has not heard of yet. Revoking it again changes nothing.
    ///
    /// # Errors
    /// When the token names no status list of ours, or the store fails: then it may or may not be revoked.
    pub async fn revoke(&self, claims: &AccessTokenClaims) -> Result<(), RevocationError> {
        let reference = claims.status.as_ref().map(|status| &status.status_list);
        let Some(StatusReference { idx, uri }) = reference else { return Err(RevocationError::NoStatus) };
        let list = self.lists.id_of(uri).ok_or(RevocationError::NoStatus)?;
        let token = LiveToken { list, idx: *idx, exp: claims.exp };
        let batch = self.revoking(Batch::new(), &token, claims.jti.as_str().as_bytes().to_vec());
        self.store.commit(batch).await.and_then(applied)?;
        self.note_revoked(&token);
        Ok(())
    }

    /// Revokes tokens of which only their places are known, all or none of them.
    ///
    /// # Errors
    /// When the store fails: then they may or may not be revoked.
    pub(super) async fn revoke_live(&self, tokens: &[LiveToken]) -> Result<(), StoreError> {
        // What is known to be revoked is not written again: a replay can come as often as somebody likes.
        let is_known = |token: &&LiveToken| {
            self.lists.kept(token.list.as_str()).is_some_and(|list| list.is_revoked(token.idx))
        };
        let new: Vec<_> = tokens.iter().filter(|token| !is_known(token)).collect();
        let batch = new.iter().fold(Batch::new(), |batch, token| self.revoking(batch, token, Vec::new()));
        if !batch.writes.is_empty() {
            self.store.commit(batch).await.and_then(applied)?;
        }
        for token in new {
            self.note_revoked(token);
        }
        Ok(())
    }

    fn revoking(&self, batch: Batch, token: &LiveToken, value: Vec<u8>) -> Batch {
        let put = Put::until(date(self.kept_until(token.exp)), value);
        batch.put(REVOCATIONS, key(token.list.as_str(), token.idx), Condition::Always, put)
    }

    /// Of a list that is not known yet the follower hears first, and then of what is revoked in it.
    fn note_revoked(&self, token: &LiveToken) {
        if let Some(list) = self.lists.kept(token.list.as_str()) {
            list.revoke(token.idx);
        }
    }

    fn kept_until(&self, exp: i64) -> i64 {
        exp.saturating_add(self.lists.dates().clock_skew)
    }

    /// Whether no verifier takes the token any more, be its clock behind this one by as much as is allowed: then there is
    /// nothing to revoke. Never while this node's clock is off.
    #[must_use]
    pub fn has_ended(&self, claims: &AccessTokenClaims) -> bool {
        self.fitness.check_clock().is_ok() && self.kept_until(claims.exp) <= self.clock.numeric_date()
    }

    /// Whether it is on record that the token is revoked. That its list is not known here is no record.
    #[must_use]
    pub fn is_recorded(&self, claims: &AccessTokenClaims) -> bool {
        let listed = claims.status.as_ref().map(|status| &status.status_list);
        let list = listed.and_then(|listed| Some((self.lists.find_by_uri(&listed.uri)?, listed.idx)));
        self.is_cut_off(claims) || list.is_some_and(|(list, idx)| list.is_revoked(idx))
    }

    /// The date that something which is issued now bears, in seconds since the epoch: now, but behind every cut-off that
    /// would end it. `Err` says in how many seconds there is one: the clock was set back by more than the leeway that
    /// verifiers have, and whatever is dated behind the cut-off would be of the future for them.
    ///
    /// # Errors
    /// As said.
    pub fn date_of_new(&self, client_id: &ClientId, subject: &Subject) -> Result<i64, u64> {
        let behind = self.cutoff(client_id, subject).map_or(0, |before| before + 1);
        let now = self.clock.numeric_date();
        match u64::try_from(behind - now) {
            Ok(ahead) if ahead > LEEWAY.into() => Err(ahead - u64::from(LEEWAY)),
            _ => Ok(now.max(behind)),
        }
    }

    /// Revokes everything that was issued to or for `whole` up to and including this second; says up to
    /// which `iat`. Tokens issued afterwards are dated later. What was taken back before from the client, or by the subject, is
    /// part of that: it needs no place in the status lists any more.
    ///
    /// Where other nodes issue too, it covers what they may have dated by clocks that are ahead, as far as they may be.
    ///
    /// # Errors
    /// When this node's clock is off; when the store fails: then the tokens may or may not be revoked.
    pub async fn revoke_before_now(&self, whole: &Whole) -> Result<i64, RevocationError> {
        let _turn = self.changing.lock().await;
        for _ in 0..RETRIES {
            // From the store: another node, perhaps with a clock ahead of this one's, may have set one.
            let stored = CUTOFFS.get(self.store.as_ref(), cutoff_key(whole).as_bytes()).await?;
            let condition =
                stored.as_ref().map_or(Condition::Absent, |row| Condition::VersionIs(row.version));
            let known = stored.map(|record| record.value.into());
            self.take_in(known.map(|known| (whole.clone(), known)));
            let record = self.cutoff_now(whole, self.latest_date().await?);
            let put = CUTOFFS.encode(&record, Some(date(record.forget_at.max(record.grants_until))))?;
            let batch = Batch::new().put(CUTOFFS.table(), cutoff_key(whole), condition, put);
            if self.store.commit(batch).await? == Committed::Applied {
                self.take_in([(whole.clone(), record.into())]);
                // It counts already: rows that stay say nothing more, and end by their own dates.
                if let Err(error) = self.remove_covered(whole, record.into()).await {
                    tracing::warn!(%error, "cut-offs that another one covers stay until they have ended");
                }
                return Ok(record.before);
            }
        }
        Err(StoreError::Unavailable("the cut-off is changed all the time".into()).into())
    }

    /// Removes the rows that say nothing which `new`, of `whole`, does not say.
    async fn remove_covered(&self, whole: &Whole, new: Cutoff) -> Result<(), StoreError> {
        let covered = self.cutoffs.load().covered(whole, new, MOST_AT_ONCE);
        self.forget(&covered);
        let mut batch = Batch::new();
        for each in &covered {
            let key = cutoff_key(each);
            // From the store: another node may have set a later one.
            let Some(row) = CUTOFFS.get(self.store.as_ref(), key.as_bytes()).await? else { continue };
            if new.covers(&row.value.into()) {
                batch = batch.delete(CUTOFFS.table(), key, Condition::VersionIs(row.version));
            }
        }
        if !batch.writes.is_empty() {
            // If another node has set one of them anew just now, all stay.
            let _applied = self.store.commit(batch).await?;
        }
        Ok(())
    }

    /// Drops from the cut-offs in use what another one covers; called by one at a time.
    fn forget(&self, covered: &[Whole]) {
        if !covered.is_empty() {
            let mut cutoffs = Cutoffs::clone(&self.cutoffs.load());
            cutoffs.forget(covered);
            self.cutoffs.store(Arc::new(cutoffs));
        }
    }

    /// The latest date that any node may have given to anything until now, unless to get behind a cut-off.
    async fn latest_date(&self) -> Result<i64, RevocationError> {
        self.fitness.check_clock()?;
        let shared = self.store.now().await?;
        Ok(shared.map_or_else(|| self.clock.numeric_date(), |now| now.timestamp() + DATED_AHEAD))
    }

    /// The cut-off that revokes up to `latest`, behind the one that is known.
    fn cutoff_now(&self, whole: &Whole, latest: i64) -> CutoffRecord {
        let cutoffs = self.cutoffs.load();
        let known = cutoffs.known(whole);
        // Tokens are dated one second behind an earlier cut-off of theirs, be it of the client or of the subject, but not by
        // more than the leeway.
        let beside = cutoffs.latest_beside(whole, latest + i64::from(LEEWAY));
        let behind = known.map(|known| known.before).into_iter().chain(beside).max();
        let before = latest.max(behind.map_or(0, |before| before + 1));
        let dates = self.lists.dates();
        // Lists that were opened under longer lifetimes know how long their tokens last.
        let forget_at = (before + dates.longest_lifetime + dates.clock_skew)
            .max(self.lists.last_forget_at())
            .max(known.map_or(0, |known| known.forget_at));
        let grants_until =
            (before + self.longest_grant + dates.clock_skew).max(known.map_or(0, |known| known.grants_until));
        CutoffRecord { before, forget_at, grants_until }
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
        self.cutoffs.load().of(client_id, subject)
    }

    /// The cut-offs as status lists publish them, and their generation.
    pub(super) fn published(&self) -> (u64, RevokedBefore) {
        let cutoffs = self.cutoffs.load();
        (cutoffs.generation, cutoffs.published(self.clock.numeric_date()))
    }

    pub(super) fn generation(&self) -> u64 {
        self.cutoffs.load().generation
    }

    /// Forgets the cut-offs whose last revoked token has ended.
    pub async fn drop_ended(&self) {
        let _turn = self.changing.lock().await;
        if let Some(next) = self.cutoffs.load().without_ended(self.clock.numeric_date()) {
            self.cutoffs.store(Arc::new(next));
        }
    }
}

/// A batch without conditions can't conflict.
fn applied(committed: Committed) -> Result<(), StoreError> {
    match committed {
        Committed::Applied => Ok(()),
        Committed::Conflict => Err(StoreError::Invalid("a commit without conditions conflicted")),
    }
}
