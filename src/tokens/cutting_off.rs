//! Revoking everything of a client, of a subject, or of what one granted to the other, by a date.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::cutoffs::{Cutoff, NewCutoff};
use super::revocation::{CUTOFFS, FURTHEST, RevocationError, Revocations, Whole};
use super::revocation_rows::{CutoffRecord, cutoff_key};
use super::status_list::date;
use crate::keys::{DATED_AHEAD, SealingKeys};
use crate::store::{Batch, Committed, Condition, StoreError};

/// A cut-off lies so much further ahead than any node dates: what was issued while it was committed lies behind it only if that
/// took longer.
const UNNOTICED: Duration = Duration::from_secs(1);

/// How often a cut-off is tried anew when another node set one for the same whole, or for a part of it.
const RETRIES: usize = 16;

/// How many rows one revocation makes needless at most: further ones stay until they have ended.
const MOST_AT_ONCE: usize = 1000;

/// For how long grants can be refreshed, whatever settings they were given by: a refresh token bears its own dates.
pub struct GrantLifetimes {
    /// They know what every node has promised of what it sealed, refresh tokens before all.
    pub sealing_keys: Arc<SealingKeys>,
    /// For how many seconds, where that can't be known: the longest that may be set.
    pub longest: i64,
    /// How many seconds after the grant its code is redeemed at most: the longest that may be set.
    pub code: i64,
}

impl GrantLifetimes {
    /// For how many seconds at most; and the same batch, which applies only while no node allows more.
    async fn longest(&self, batch: Batch) -> Result<(i64, Batch), StoreError> {
        let (promised, batch) = self.sealing_keys.promised(batch).await?;
        Ok((self.code + promised.unwrap_or(self.longest), batch))
    }
}

impl Revocations {
    /// Revokes everything that was issued to or for `whole` up to and including this second; says up to
    /// which `iat`. Tokens issued afterwards are dated later. What was taken back before from the client, or by the subject, is
    /// part of that: it needs no place in the status lists any more.
    ///
    /// Where other nodes issue too, it covers what they may have dated by clocks that are ahead, as far as they may be.
    ///
    /// # Errors
    /// When this node's clock is off; when the store fails: then the tokens may or may not be revoked.
    pub async fn revoke_before_now(&self, whole: &Whole) -> Result<i64, RevocationError> {
        self.revoke_with(whole, &Batch::new()).await
    }

    /// The same, in one commit with `also`, by which nothing more is granted that `whole` is. What was being granted meanwhile
    /// is revoked too, if it was dated before it was looked whether it may be granted.
    ///
    /// # Errors
    /// As [`Self::revoke_before_now`]; also when a condition of `also` does not hold.
    pub async fn revoke_and(&self, whole: &Whole, also: &Batch) -> Result<i64, RevocationError> {
        let began = self.clock.monotonic();
        let before = self.revoke_with(whole, also).await?;
        // The date was chosen before the commit, which took its time.
        let passed = if self.store.is_shared() {
            self.clock.monotonic().saturating_sub(began) > UNNOTICED
        } else {
            self.clock.numeric_date() > before
        };
        if passed { self.revoke_before_now(whole).await } else { Ok(before) }
    }

    /// Whether the store has a cut-off of just that, whichever node has set it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn has_cut_off(&self, whole: &Whole) -> Result<bool, StoreError> {
        Ok(CUTOFFS.get(self.store.as_ref(), cutoff_key(whole).as_bytes()).await?.is_some())
    }

    async fn revoke_with(&self, whole: &Whole, also: &Batch) -> Result<i64, RevocationError> {
        let _turn = self.changing.turn(self.store.as_ref()).await?;
        for _ in 0..RETRIES {
            // From the store: another node, perhaps with a clock ahead of this one's, may have set one.
            let stored = CUTOFFS.get(self.store.as_ref(), cutoff_key(whole).as_bytes()).await?;
            let condition =
                stored.as_ref().map_or(Condition::Absent, |row| Condition::VersionIs(row.version));
            let known = stored.map(|record| NewCutoff::new(whole, record.value.into()));
            self.take_in(known.into_iter().collect());
            let (longest_grant, batch) = match &self.grants {
                Some(grants) => grants.longest(also.clone()).await?,
                None => (0, also.clone()),
            };
            // So are lists of another node, whose tokens may live longer than this one's.
            let lists_end = if self.store.is_shared() { self.lists.stored_end().await? } else { 0 };
            let record = self.cutoff_now(whole, self.latest_date().await?, (longest_grant, lists_end));
            let put = CUTOFFS.encode(&record, Some(date(Cutoff::from(record).kept_until())))?;
            let batch = batch.put(CUTOFFS.table(), cutoff_key(whole), condition, put);
            if self.store.commit(batch).await? == Committed::Applied {
                self.take_in(vec![NewCutoff::new(whole, record.into())]);
                // It counts already: rows that stay say nothing more, and end by their own dates.
                if let Err(error) = self.remove_covered(whole, &record.into()).await {
                    tracing::warn!(%error, "cut-offs that another one covers stay until they have ended");
                }
                return Ok(record.before);
            }
        }
        Err(StoreError::Unavailable("the cut-off is changed all the time".into()).into())
    }

    /// Removes what stands in the lists and says nothing which `new`, of `whole`, does not say.
    async fn remove_covered(&self, whole: &Whole, new: &Cutoff) -> Result<(), StoreError> {
        let covered = self.cutoffs.covered(whole, new, (self.clock.numeric_date(), MOST_AT_ONCE));
        self.cutoffs.forget(&covered, new);
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

    /// The latest date that any node may have given to anything until now, unless to get behind a cut-off. Where the store goes by this
    /// node's clock that may have been set back since; and what was moved here may have been dated by one that was ahead.
    async fn latest_date(&self) -> Result<i64, RevocationError> {
        self.fitness.check_clock()?;
        let shared = self.store.now().await?;
        let alone = || self.clock.numeric_date().max(self.latest_dated());
        let here = shared.map_or_else(alone, |now| now.timestamp() + DATED_AHEAD);
        Ok(here.max(self.dated_elsewhere.load(Relaxed)))
    }

    /// The cut-off that revokes up to `latest`, behind the one that is known, where a grant can be refreshed for `longest_grant` seconds
    /// and other nodes' lists end at `lists_end`.
    fn cutoff_now(&self, whole: &Whole, latest: i64, (longest_grant, lists_end): (i64, i64)) -> CutoffRecord {
        let known = self.cutoffs.known(whole);
        // Tokens are dated one second behind an earlier cut-off of theirs, be it of the client or of the subject. Behind one that
        // is further ahead nothing is dated by now, on any node: it needs not be got behind.
        let bound = latest + FURTHEST;
        let own = known.map(|known| known.before);
        let behind = own.filter(|own| *own < bound).max(self.cutoffs.latest_beside(whole, &(latest..bound)));
        let before = latest.max(behind.map_or(0, |before| before + 1)).max(own.unwrap_or(0));
        let forget_at = self.last_end(before).max(lists_end).max(known.map_or(0, |known| known.forget_at));
        let skew = self.lists.dates().clock_skew;
        let grants_until = (before + longest_grant + skew).max(known.map_or(0, |known| known.grants_until));
        CutoffRecord { before, forget_at, grants_until }
    }
}

#[cfg(test)]
mod tests;
