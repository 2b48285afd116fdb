//! The end of a session, with which the access tokens end that were issued in it.

use super::LiveToken;
use super::family::{Families, PAGE, Page, session_prefix};
use super::revocation::{FURTHEST, applied};
use super::revocation_rows::damaged;
use super::status_list::date;
use crate::oauth::SessionId;
use crate::store::{Batch, Condition, Put, StoreError, Table};

/// The sessions that have ended while a token of theirs may be left: under the `sid` the second in which they ended.
pub(super) const ENDED: Table = Table::plain("ended_sessions");

/// For so many seconds the request that ended a session may be revoking the tokens itself.
const OWN_PASS: i64 = 10;

/// With so many sessions at most a round of housekeeping is done: it has other things to do.
const A_ROUND: usize = 1024;

impl Families {
    /// Adds to the batch with which the session ends that the access tokens are revoked which end with it; answers with those.
    /// Where there are more than one batch should hold, it is the first of them, and none is revoked of a session that does not
    /// end after all. That there may be others stands in the batch too: [`Self::ended`] revokes them, and where that fails
    /// [`Self::finish`]. What can't be read of them keeps nobody from signing out.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn ending(&self, batch: Batch, sid: &SessionId) -> Result<(Batch, Vec<LiveToken>), StoreError> {
        let prefix = session_prefix(sid).into_bytes();
        let Page { tokens, unreadable, .. } = self.page(&prefix, &prefix).await?;
        if unreadable > 0 {
            tracing::error!(unreadable, "access tokens of a session that ends can't be read");
        }
        let now = self.now();
        // By then no token of the session lives, whichever node has dated it.
        let end = self.revocations.last_end(now + FURTHEST);
        let put = Put::until(date(end), now.to_be_bytes().to_vec());
        let batch = batch.put(ENDED, sid.as_str(), Condition::Always, put);
        let revoke = |batch, token| self.revocations.revoking(batch, token, Vec::new());
        Ok((tokens.iter().fold(batch, revoke), tokens))
    }

    /// The session has ended, and `tokens` with it. Revokes the others, those too that have come in between: whoever redeems a
    /// code or refreshes does so on the condition that the session lives, so that none comes from now on.
    ///
    /// # Errors
    /// When the store fails, or one of them can't be read: then such may be left, until [`Self::finish`].
    pub async fn ended(&self, sid: &SessionId, tokens: &[LiveToken]) -> Result<(), StoreError> {
        for token in tokens {
            self.revocations.note_revoked(token);
        }
        self.revoke_all(session_prefix(sid), tokens).await
    }

    /// Revokes what is left of sessions that have ended; says with how many it is done, which are so many at most as one round
    /// of housekeeping takes on. As no token of theirs can come any more, one whole pass is enough, whenever it is and on
    /// whichever node. One that can't be read holds up no other, and neither does a token.
    ///
    /// # Errors
    /// When the store fails: then the next call goes on.
    pub async fn finish(&self) -> Result<usize, StoreError> {
        let (mut finished, mut after) = (0, None);
        loop {
            let rows = self.store().scan(ENDED, after.as_deref(), PAGE).await?;
            let mut batch = Batch::new();
            for (key, row) in &rows {
                if self.is_under_way(&row.value) {
                    continue;
                }
                if finished + batch.writes.len() == A_ROUND {
                    break;
                }
                match self.finish_one(key).await {
                    Ok(()) => batch = batch.delete(ENDED, key.clone(), Condition::Always),
                    Err(error @ StoreError::Damaged { .. }) => {
                        tracing::error!(%error, "the access tokens of an ended session can't be revoked");
                    }
                    Err(error) => return Err(error),
                }
            }
            if !batch.writes.is_empty() {
                finished += batch.writes.len();
                self.store().commit(batch).await.and_then(applied)?;
            }
            after = match rows.into_iter().nth(PAGE - 1) {
                Some((key, _)) if finished < A_ROUND => Some(key),
                _ => return Ok(finished),
            };
        }
    }

    async fn finish_one(&self, key: &[u8]) -> Result<(), StoreError> {
        let sid = str::from_utf8(key).ok().and_then(|sid| SessionId::parse(sid).ok());
        let sid = sid.ok_or_else(|| damaged(ENDED, key))?;
        self.revoke_all(session_prefix(&sid), &[]).await
    }

    /// Never for long: a date ahead of this node's clock says nothing.
    fn is_under_way(&self, ended_at: &[u8]) -> bool {
        let Ok(ended_at) = ended_at.try_into().map(i64::from_be_bytes) else { return false };
        (0..OWN_PASS).contains(&self.now().saturating_sub(ended_at))
    }
}
