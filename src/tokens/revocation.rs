use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::StatusLists;
use super::cutoffs::{Cutoff, Cutoffs};
use super::status_list::date;
use crate::clock::SharedClock;
use crate::oauth::{AccessTokenClaims, ClientId, ListId, RevokedBefore, StatusReference, Subject};
use crate::store::typed::TypedTable;
use crate::store::{Batch, Committed, Condition, Put, Store, StoreError, Table, scan_each};

pub(super) const REVOCATIONS: Table = Table::mirrored("revocations");
pub(super) const CUTOFFS_TABLE: Table = Table::mirrored("cutoffs");
const CUTOFFS: TypedTable<CutoffRecord> = TypedTable::new(CUTOFFS_TABLE);

/// Revokes tokens, one by one or as a whole. A revocation is durable before it is acknowledged, counts on
/// this node from then on, and is kept until the last token it concerns has ended.
pub struct Revocations {
    store: Arc<dyn Store>,
    clock: SharedClock,
    lists: Arc<StatusLists>,
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
}

#[derive(Serialize, Deserialize)]
struct CutoffRecord {
    before: i64,
    forget_at: i64,
    #[serde(default)]
    grants_until: i64,
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
    /// Loads every revocation whose tokens may be alive. A grant can be refreshed for `longest_grant` seconds.
    ///
    /// # Errors
    /// When the store can't be read or a record can't be understood.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: SharedClock,
        lists: Arc<StatusLists>,
        longest_grant: i64,
    ) -> Result<Self, StoreError> {
        scan_each(store.as_ref(), REVOCATIONS, |key, _| {
            let (list, idx) = parse_key(&key).ok_or_else(|| damaged(REVOCATIONS))?;
            if let Some(list) = lists.find(list) {
                list.revoke(idx);
            }
            Ok(())
        })
        .await?;
        let mut cutoffs = Cutoffs::default();
        CUTOFFS
            .scan_each(store.as_ref(), |key, record| {
                let CutoffRecord { before, forget_at, grants_until } = record.value;
                let whole = whole(&key).ok_or_else(|| damaged(CUTOFFS.table()))?;
                cutoffs.add(&whole, Cutoff { before, forget_at, grants_until });
                Ok(())
            })
            .await?;
        let (cutoffs, changing) = (ArcSwap::from_pointee(cutoffs), Mutex::default());
        Ok(Self { store, clock, lists, cutoffs, longest_grant, changing })
    }

    /// Revokes one token. Revoking it again changes nothing.
    ///
    /// # Errors
    /// When the token names no status list of ours, or the store fails: then it may or may not be revoked.
    pub async fn revoke(&self, claims: &AccessTokenClaims) -> Result<(), RevocationError> {
        let reference = claims.status.as_ref().map(|status| &status.status_list);
        let Some(StatusReference { idx, uri }) = reference else { return Err(RevocationError::NoStatus) };
        let list = self.lists.find_by_uri(uri).ok_or(RevocationError::NoStatus)?;
        let end = date(claims.exp + self.lists.dates().clock_skew);
        let batch = Batch::new().put(
            REVOCATIONS,
            key(list.id.as_str(), *idx),
            Condition::Always,
            Put::until(end, claims.jti.as_str().as_bytes().to_vec()),
        );
        self.store.commit(batch).await.and_then(applied)?;
        list.revoke(*idx);
        Ok(())
    }

    /// Revokes tokens of which only their places are known, all or none of them. Those of lists that are gone have
    /// ended.
    ///
    /// # Errors
    /// When the store fails: then they may or may not be revoked.
    pub(super) async fn revoke_live(&self, tokens: &[LiveToken]) -> Result<(), StoreError> {
        let found: Vec<_> =
            tokens.iter().filter_map(|each| Some((each, self.lists.find(each.list.as_str())?))).collect();
        let batch = found.iter().fold(Batch::new(), |batch, (token, list)| {
            let end = date(token.exp + self.lists.dates().clock_skew);
            let row = key(list.id.as_str(), token.idx);
            batch.put(REVOCATIONS, row, Condition::Always, Put::until(end, Vec::new()))
        });
        if !batch.writes.is_empty() {
            self.store.commit(batch).await.and_then(applied)?;
        }
        for (token, list) in found {
            list.revoke(token.idx);
        }
        Ok(())
    }

    /// The date that something which is issued or allowed now bears, in seconds since the epoch: now, but behind
    /// every cut-off that would end it.
    #[must_use]
    pub fn date_of_new(&self, client_id: &ClientId, subject: &Subject) -> i64 {
        let behind = self.cutoff(client_id, subject).map_or(0, |before| before + 1);
        self.clock.numeric_date().max(behind)
    }

    /// Revokes everything that was issued to or for `whole` up to and including this second; says up to
    /// which `iat`. Tokens issued afterwards are dated later.
    ///
    /// # Errors
    /// When the store fails: then the tokens may or may not be revoked.
    pub async fn revoke_before_now(&self, whole: &Whole) -> Result<i64, RevocationError> {
        let _turn = self.changing.lock().await;
        let known = self.cutoffs.load().known(whole);
        // Tokens are dated one second behind an earlier cut-off of the same second, or of a clock set back.
        let before = self.clock.numeric_date().max(known.map_or(0, |known| known.before + 1));
        let dates = self.lists.dates();
        // Lists that were opened under longer lifetimes know how long their tokens last.
        let forget_at = (before + dates.longest_lifetime + dates.clock_skew)
            .max(self.lists.last_forget_at())
            .max(known.map_or(0, |known| known.forget_at));
        let grants_until =
            (before + self.longest_grant + dates.clock_skew).max(known.map_or(0, |known| known.grants_until));
        let record = CutoffRecord { before, forget_at, grants_until };
        let put = CUTOFFS.encode(&record, Some(date(forget_at.max(grants_until))))?;
        let batch = Batch::new().put(CUTOFFS.table(), cutoff_key(whole), Condition::Always, put);
        self.store.commit(batch).await.and_then(applied)?;
        let mut cutoffs = Cutoffs::clone(&self.cutoffs.load());
        cutoffs.add(whole, Cutoff { before, forget_at, grants_until });
        self.cutoffs.store(Arc::new(cutoffs));
        Ok(before)
    }

    /// Whether the token is revoked, by itself or as part of a whole. Does not check whether its key is
    /// compromised, nor anything else of it.
    #[must_use]
    pub fn is_revoked(&self, claims: &AccessTokenClaims) -> bool {
        if self.cutoff(&claims.client_id, &claims.sub).is_some_and(|before| claims.iat <= before) {
            return true;
        }
        let Some(status) = &claims.status else { return false };
        // A list we no longer keep has no live token: whoever refers to it is not one of ours.
        let list = self.lists.find_by_uri(&status.status_list.uri);
        list.is_none_or(|list| list.is_revoked(status.status_list.idx))
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

fn key(list: &str, idx: u64) -> Vec<u8> {
    let mut key = list.as_bytes().to_vec();
    key.push(b'/');
    key.extend_from_slice(&idx.to_be_bytes());
    key
}

fn parse_key(key: &[u8]) -> Option<(&str, u64)> {
    let (list, idx) = key.split_last_chunk::<8>()?;
    let list = std::str::from_utf8(list.strip_suffix(b"/")?).ok()?;
    Some((list, u64::from_be_bytes(*idx)))
}

fn cutoff_key(whole: &Whole) -> String {
    match whole {
        Whole::Client(id) => format!("client:{id}"),
        Whole::Subject(id) => format!("subject:{id}"),
        Whole::Granted(client_id, subject) => format!("granted:{client_id}/{subject}"),
    }
}

fn whole(key: &[u8]) -> Option<Whole> {
    let (kind, id) = std::str::from_utf8(key).ok()?.split_once(':')?;
    match kind {
        "client" => ClientId::parse(id).ok().map(Whole::Client),
        "subject" => Subject::parse(id).ok().map(Whole::Subject),
        "granted" => {
            let (client_id, subject) = id.split_once('/')?;
            Some(Whole::Granted(ClientId::parse(client_id).ok()?, Subject::parse(subject).ok()?))
        }
        _ => None,
    }
}

fn damaged(table: Table) -> StoreError {
    StoreError::Damaged { table: table.name.into(), reason: "a record can't be read".into() }
}
