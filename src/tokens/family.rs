use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use super::revocation::LONGEST_LEAD;
use super::status_list::date;
use super::{LiveToken, Revocations};
use crate::clock::SharedClock;
use crate::oauth::{FamilyId, ListId, SessionId};
use crate::store::typed::{Record, TypedTable};
use crate::store::{Batch, Committed, Condition, Put, Store, StoreError, Table};

pub(super) const TABLE: Table = Table::plain("families");
const FAMILIES: TypedTable<Family> = TypedTable::new(TABLE);

/// The access tokens of families: family, list and place are the key, and the value is when it ends. Those that end with one
/// session stand together.
pub(super) const LIVE_TOKENS: Table = Table::plain("family_tokens");

/// How many rows are read, or revoked, at once.
pub(super) const PAGE: usize = 256;

/// How often a write is tried again when another one came first.
const ATTEMPTS: usize = 1000;

/// What is remembered of a family once a refresh token of it was used, or it was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum Family {
    /// Its newest refresh token counts.
    Live {
        /// Which one that is; the one that came with the code is number 0.
        generation: u64,
        /// When it was issued, in milliseconds since the epoch.
        rotated_at: i64,
        /// When the one before it was presented again, likewise, where that was later than in the first half of its grace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repeated_at: Option<i64>,
    },
    /// Nothing of it counts.
    Revoked {
        /// Whether the audit log has yet to be told why: it could not be written.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unrecorded: bool,
    },
}

/// What was presented again after it was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// A code (RFC 6749, section 4.1.2).
    Code,
    /// A refresh token (RFC 9700, section 4.14.2).
    RefreshToken,
}

impl Replayed {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Code, Self::RefreshToken];

    /// Its name among the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::RefreshToken => "refresh_token",
        }
    }
}

/// The families of tokens: what was issued for one code, to be revoked together.
pub struct Families {
    store: Arc<dyn Store>,
    clock: SharedClock,
    pub(super) revocations: Arc<Revocations>,
    skew: i64,
    replays: [AtomicU64; Replayed::ALL.len()],
}

impl Families {
    /// The families in `store`; clocks differ by `skew` seconds at most.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: SharedClock, revocations: Arc<Revocations>, skew: i64) -> Self {
        Self { store, clock, revocations, skew, replays: Default::default() }
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// In seconds since the epoch.
    pub(super) fn now(&self) -> i64 {
        self.clock.numeric_date()
    }

    pub(super) async fn find(&self, family: &FamilyId) -> Result<Option<Record<Family>>, StoreError> {
        FAMILIES.get(self.store(), family.as_str().as_bytes()).await
    }

    /// Adds the family's new state, on the condition that it is as `known`. Its last refresh token lives until `end`; without its row
    /// the first one would count.
    pub(super) fn put(
        &self,
        batch: Batch,
        (family, known): (&FamilyId, Option<&Record<Family>>),
        new: &Family,
        end: i64,
    ) -> Result<Batch, StoreError> {
        let put = FAMILIES.encode(new, Some(date(end.saturating_add(self.skew + LONGEST_LEAD))))?;
        Ok(batch.put(FAMILIES.table(), family.as_str(), as_known(known), put))
    }

    /// Adds the condition that the family is as `known`.
    pub(super) fn check(batch: Batch, family: &FamilyId, known: Option<&Record<Family>>) -> Batch {
        batch.check(FAMILIES.table(), family.as_str(), as_known(known))
    }

    /// Adds an access token that is to be revoked with the family.
    pub(super) fn remember(&self, batch: Batch, family: &FamilyId, token: &LiveToken) -> Batch {
        let put = Put::until(date(self.revocations.kept_until(token)), token.exp.to_be_bytes().to_vec());
        batch.put(LIVE_TOKENS, key(family, token), Condition::Always, put)
    }

    /// Whether it is revoked, and that is on record: who revokes it again has nothing to record.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_revoked_on_record(&self, family: &FamilyId) -> Result<bool, StoreError> {
        let known = self.find(family).await?.map(|record| record.value);
        Ok(matches!(known, Some(Family::Revoked { unrecorded: false })))
    }

    /// Revokes a family, which is on record: its refresh tokens from now on, then its access tokens. Revoking it again is harmless, and
    /// finishes what a crash cut off. No refresh token of it lives beyond `end`, in seconds since the epoch.
    ///
    /// # Errors
    /// When the store fails: then it may or may not be revoked.
    pub async fn revoke(&self, family: &FamilyId, end: i64) -> Result<(), StoreError> {
        self.end(family, end, false).await
    }

    async fn end(&self, family: &FamilyId, end: i64, unrecorded: bool) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS {
            let known = self.find(family).await?;
            let batch = match &known {
                // What was recorded once needs no record any more.
                Some(Record { value: Family::Revoked { unrecorded: still }, .. }) if !still || unrecorded => {
                    return self.revoke_tokens(family).await;
                }
                known => {
                    let revoked = Family::Revoked { unrecorded };
                    self.put(Batch::new(), (family, known.as_ref()), &revoked, end)?
                }
            };
            if self.store.commit(batch).await? == Committed::Applied {
                // Afterwards: no token is added to a revoked family.
                return self.revoke_tokens(family).await;
            }
        }
        Err(contended())
    }

    /// Revokes a family because `what` was presented again, and counts that. Where it is not `recorded` who comes next is to
    /// record it.
    ///
    /// # Errors
    /// As [`Self::revoke`]; then it is not counted.
    pub async fn revoke_replayed(
        &self,
        what: Replayed,
        (family, end): (&FamilyId, i64),
        recorded: bool,
    ) -> Result<(), StoreError> {
        self.end(family, end, !recorded).await?;
        for (counter, each) in self.replays.iter().zip(Replayed::ALL) {
            if each == what {
                counter.fetch_add(1, Relaxed);
            }
        }
        Ok(())
    }

    /// How often each was presented again, on this node since it started.
    pub fn replays(&self) -> impl Iterator<Item = (Replayed, u64)> {
        Replayed::ALL.into_iter().zip(self.replays.iter().map(|counter| counter.load(Relaxed)))
    }

    async fn revoke_tokens(&self, family: &FamilyId) -> Result<(), StoreError> {
        self.revoke_all(format!("{family}/"), &[]).await
    }

    /// Revokes the access tokens whose keys begin with `prefix`, but those of which it is known to be on record. One that can't be
    /// read keeps none of the others alive, and is an error in the end.
    pub(super) async fn revoke_all(&self, prefix: String, revoked: &[LiveToken]) -> Result<(), StoreError> {
        let (prefix, revoked) = (prefix.into_bytes(), HashSet::<_>::from_iter(revoked));
        let (mut after, mut skipped) = (prefix.clone(), 0);
        loop {
            let Page { mut tokens, unreadable, next } = self.page(&prefix, &after).await?;
            skipped += unreadable;
            tokens.retain(|token| !revoked.contains(token));
            self.revocations.revoke_live(&tokens).await?;
            let Some(next) = next else { break };
            after = next;
        }
        if skipped > 0 { Err(damaged()) } else { Ok(()) }
    }

    /// The access tokens whose keys begin with `prefix`, as many as are read at once.
    pub(super) async fn page(&self, prefix: &[u8], after: &[u8]) -> Result<Page, StoreError> {
        let mut rows = self.store.scan(LIVE_TOKENS, Some(after), PAGE).await?;
        rows.retain(|(key, _)| key.starts_with(prefix));
        let tokens: Vec<_> = rows.iter().filter_map(|(key, row)| live_token(key, &row.value)).collect();
        let (unreadable, is_full) = (rows.len() - tokens.len(), rows.len() == PAGE);
        let next = rows.pop().map(|(key, _)| key).filter(|_| is_full);
        Ok(Page { tokens, unreadable, next })
    }
}

/// Access tokens, as many as are read at once.
pub(super) struct Page {
    pub(super) tokens: Vec<LiveToken>,
    /// How many stand among them that can't be read.
    pub(super) unreadable: usize,
    /// The last key, if there may be more behind it.
    pub(super) next: Option<Vec<u8>>,
}

/// How the names of the families begin that end with the session.
pub(super) fn session_prefix(sid: &SessionId) -> String {
    format!("{sid}.")
}

/// How often a change of a family is tried again.
pub(super) const fn attempts() -> usize {
    ATTEMPTS
}

/// The store answered that a row had changed, again and again.
pub(super) fn contended() -> StoreError {
    StoreError::Unavailable("a family of tokens was changed at every attempt".to_owned())
}

fn as_known(known: Option<&Record<Family>>) -> Condition {
    known.map_or(Condition::Absent, |record| Condition::VersionIs(record.version))
}

fn key(family: &FamilyId, token: &LiveToken) -> Vec<u8> {
    let mut key = format!("{family}/{}/", token.list).into_bytes();
    key.extend_from_slice(&token.idx.to_be_bytes());
    key
}

fn live_token(key: &[u8], value: &[u8]) -> Option<LiveToken> {
    // No family has a slash in its name.
    let key = key.splitn(2, |&byte| byte == b'/').nth(1)?;
    let (list, idx) = key.split_last_chunk::<8>()?;
    let list = std::str::from_utf8(list.strip_suffix(b"/")?).ok()?;
    let exp = i64::from_be_bytes(value.try_into().ok()?);
    Some(LiveToken { list: ListId::parse(list).ok()?, idx: u64::from_be_bytes(*idx), exp })
}

fn damaged() -> StoreError {
    StoreError::Damaged { table: LIVE_TOKENS.name.into(), reason: "a record can't be read".into() }
}
