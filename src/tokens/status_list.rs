use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::oauth::ListId;
use crate::store::typed::{Record, TypedTable};
use crate::store::{Batch, Committed, Condition, Reading, Store, StoreError, Table};

pub(super) const TABLE: Table = Table::mirrored(StatusLists::TABLE);
const STATUS_LISTS: TypedTable<ListRecord> = TypedTable::new(TABLE);

/// How many tokens share a list: 128 KiB of bits.
const CAPACITY: u64 = 1 << 20;

/// The status lists that tokens refer to, their bits in memory. A list's row is committed before it takes
/// its first token, and ends when its last token has ended.
pub struct StatusLists {
    uri: String,
    dates: ListDates,
    store: Arc<dyn Store>,
    clock: SharedClock,
    entropy: SharedEntropy,
    lists: RwLock<HashMap<ListId, Arc<List>>>,
}

/// For how long lists take tokens and are kept, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct ListDates {
    /// How long a list takes tokens.
    pub window: i64,
    /// The longest lifetime of a token.
    pub longest_lifetime: i64,
    /// Clock skew between this service and whoever verifies.
    pub clock_skew: i64,
}

/// What the store remembers of a list.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct ListRecord {
    /// Until when it takes tokens, in seconds since the epoch.
    issue_until: i64,
    /// How many tokens it can hold.
    capacity: u64,
    /// When its last token has ended, in seconds since the epoch.
    forget_at: i64,
    /// None of its tokens counts any more, whichever key has signed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ended: bool,
}

/// One list: who it is, what it holds.
#[derive(Debug)]
pub(super) struct List {
    pub(super) id: ListId,
    pub(super) uri: String,
    record: ListRecord,
    bits: Mutex<Vec<u8>>,
    generation: AtomicU64,
    revoked: AtomicU64,
}

impl List {
    /// Until when it takes tokens, in seconds since the epoch.
    pub(super) fn issue_until(&self) -> i64 {
        self.record.issue_until
    }

    /// How many tokens it can hold.
    pub(super) fn capacity(&self) -> u64 {
        self.record.capacity
    }

    /// When its last token has ended, in seconds since the epoch.
    pub(super) fn forget_at(&self) -> i64 {
        self.record.forget_at
    }

    /// Grows with every revocation.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The bits, one a token, the least significant bit of each byte first
    /// (draft-ietf-oauth-status-list, section 4.1).
    pub(super) fn bits(&self) -> Vec<u8> {
        if self.record.ended {
            return vec![u8::MAX; self.byte_len()];
        }
        let mut bits = self.lock().clone();
        bits.resize(self.byte_len(), 0);
        bits
    }

    pub(super) fn is_revoked(&self, idx: u64) -> bool {
        let byte = usize::try_from(idx / 8).ok().and_then(|byte| self.lock().get(byte).copied());
        self.record.ended || byte.unwrap_or(0) & mask(idx) != 0
    }

    pub(super) fn revoke(&self, idx: u64) {
        if self.record.ended || idx >= self.record.capacity {
            return;
        }
        let mut bits = self.lock();
        // A list without revocations takes no memory for its bits.
        bits.resize(self.byte_len(), 0);
        let Some(byte) = usize::try_from(idx / 8).ok().and_then(|byte| bits.get_mut(byte)) else { return };
        if *byte & mask(idx) == 0 {
            *byte |= mask(idx);
            self.revoked.fetch_add(1, Ordering::Relaxed);
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    fn byte_len(&self) -> usize {
        usize::try_from(self.record.capacity.div_ceil(8)).unwrap_or(0)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.bits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn mask(idx: u64) -> u8 {
    1 << (idx % 8)
}

impl StatusLists {
    /// The table that is kept in memory.
    pub const TABLE: &str = "status_lists";

    /// Loads the lists whose tokens may still be alive. `uri` is the stem of every list's own.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn open(
        uri: String,
        dates: ListDates,
        store: Arc<dyn Store>,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Result<Self, StoreError> {
        let lists = Self { uri, dates, store, clock, entropy, lists: RwLock::default() };
        lists.reload().await?;
        Ok(lists)
    }

    /// Takes in the list with this key, because its row has changed: it is new, or it has ended, which
    /// [`Self::drop_ended`] sees by itself. A list never changes.
    ///
    /// # Errors
    /// When the store can't be read or the record can't be understood.
    pub async fn refresh(&self, key: &[u8]) -> Result<(), StoreError> {
        let id = list_id(key)?;
        if self.read().contains_key(&id) {
            return Ok(());
        }
        if let Some(record) = STATUS_LISTS.get(self.store.as_ref(), key).await? {
            self.register(&id, record.value);
        }
        Ok(())
    }

    /// Takes in every list that is not known yet.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn reload(&self) -> Result<(), StoreError> {
        let mut reading = Reading::default();
        while !reading.has_ended() {
            self.read_on(&mut reading).await?;
        }
        Ok(())
    }

    /// When the last token of any list in the store has ended, in seconds since the epoch. Takes none in: without what is revoked in it,
    /// of one that was hidden from this node by a clock that was ahead all would count.
    pub(super) async fn stored_end(&self) -> Result<i64, StoreError> {
        let lists = STATUS_LISTS.scan_all(self.store.as_ref()).await?;
        Ok(lists.iter().map(|(_, list)| list.value.forget_at).max().unwrap_or(0))
    }

    /// Takes in the next page of lists, where all are read anew.
    ///
    /// # Errors
    /// As [`Self::open`]; then the page is the next one again.
    pub async fn read_on(&self, reading: &mut Reading) -> Result<(), StoreError> {
        let register = |key: Vec<u8>, record: Record<ListRecord>| {
            self.register(&list_id(&key)?, record.value);
            Ok(())
        };
        STATUS_LISTS.scan_page(self.store.as_ref(), reading, register).await
    }

    /// Ends every list of `store`: all their tokens are revoked from now on, of keys that the ring has never heard of too. For a
    /// store that was put back from a copy, and that no node uses. Says how many there were.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end_all(store: &dyn Store) -> Result<usize, StoreError> {
        let lists = STATUS_LISTS.scan_all(store).await?;
        let count = lists.len();
        for (key, Record { value, expires_at, .. }) in lists {
            let put = STATUS_LISTS.encode(&ListRecord { ended: true, ..value }, expires_at)?;
            let batch = Batch::new().put(STATUS_LISTS.table(), key, Condition::Always, put);
            let _unconditional = store.commit(batch).await?;
        }
        Ok(count)
    }

    /// Commits a new list, which may take tokens from now on.
    pub(super) async fn reserve(&self) -> Result<Arc<List>, StoreError> {
        let dates = self.dates;
        loop {
            let issue_until = self.clock.numeric_date() + dates.window;
            let forget_at = issue_until + dates.longest_lifetime + dates.clock_skew;
            let record = ListRecord { issue_until, capacity: CAPACITY, forget_at, ended: false };
            #[expect(clippy::expect_used, reason = "base64url is a valid list id")]
            let id = ListId::parse(&self.entropy.token::<12>()).expect("base64url is a valid list id");
            let put = STATUS_LISTS.encode(&record, Some(date(forget_at)))?;
            let batch = Batch::new().put(STATUS_LISTS.table(), id.as_str(), Condition::Absent, put);
            if self.store.commit(batch).await? == Committed::Applied {
                return Ok(self.register(&id, record));
            }
        }
    }

    /// Whether the store has the row of this list.
    pub(super) async fn is_stored(&self, id: &ListId) -> Result<bool, StoreError> {
        Ok(self.store.get(TABLE, id.as_str().as_bytes()).await?.is_some())
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<List>> {
        let now = self.clock.numeric_date();
        self.read().get(id).filter(|list| now < list.forget_at()).cloned()
    }

    /// As [`StatusLists::find`], but also one whose last token has ended by this node's clock, which may be wrong: what is
    /// revoked in it must count when the clock is right again.
    pub(super) fn kept(&self, id: &str) -> Option<Arc<List>> {
        self.read().get(id).cloned()
    }

    /// The list that a token's `uri` names, if it is one of ours and known here.
    pub(super) fn find_by_uri(&self, uri: &str) -> Option<Arc<List>> {
        self.find(self.id_of(uri)?.as_str())
    }

    /// The identifier of the list that a token's `uri` names, if it is one of ours: also of one that another node has made
    /// and that is not known here yet.
    pub(super) fn id_of(&self, uri: &str) -> Option<ListId> {
        ListId::parse(uri.strip_prefix(&self.uri)?.strip_prefix('/')?).ok()
    }

    /// The URIs of all lists whose tokens may be alive, sorted (draft-ietf-oauth-status-list, section 9.3).
    #[must_use]
    pub fn uris(&self) -> Vec<String> {
        let now = self.clock.numeric_date();
        let mut uris: Vec<String> =
            self.read().values().filter(|list| now < list.forget_at()).map(|list| list.uri.clone()).collect();
        uris.sort();
        uris
    }

    /// Every list whose tokens may be alive.
    pub(super) fn ids(&self) -> Vec<ListId> {
        let now = self.clock.numeric_date();
        self.read().values().filter(|list| now < list.forget_at()).map(|list| list.id.clone()).collect()
    }

    /// When the last token of any list kept has ended, in seconds since the epoch.
    pub(super) fn last_forget_at(&self) -> i64 {
        self.read().values().map(|list| list.forget_at()).max().unwrap_or(0)
    }

    /// How many tokens are revoked in the lists kept.
    #[must_use]
    pub fn revoked(&self) -> u64 {
        self.read().values().map(|list| list.revoked.load(Ordering::Relaxed)).sum()
    }

    /// Drops the lists whose last token has ended.
    pub fn drop_ended(&self) {
        let now = self.clock.numeric_date();
        self.lists.write().unwrap_or_else(PoisonError::into_inner).retain(|_, list| now < list.forget_at());
    }

    pub(super) fn dates(&self) -> ListDates {
        self.dates
    }

    /// How long the longest token lives, in seconds.
    #[must_use]
    pub fn longest_lifetime(&self) -> i64 {
        self.dates.longest_lifetime
    }

    /// The list with this record. One that is known stays as it is, with what was revoked in it: a node hears of its own
    /// lists too, perhaps before it knows that it has made one.
    fn register(&self, id: &ListId, record: ListRecord) -> Arc<List> {
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        let entry = lists.entry(id.clone());
        let new = || {
            let uri = format!("{}/{id}", self.uri);
            let (bits, generation, revoked) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
            Arc::new(List { id: id.clone(), uri, record, bits, generation, revoked })
        };
        entry.or_insert_with(new).clone()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<ListId, Arc<List>>> {
        self.lists.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn list_id(key: &[u8]) -> Result<ListId, StoreError> {
    let id = std::str::from_utf8(key).ok().and_then(|id| ListId::parse(id).ok());
    id.ok_or_else(|| StoreError::damaged(TABLE, key, "a key is no list id"))
}

/// A `NumericDate` as the store takes it.
pub(super) fn date(seconds: i64) -> DateTime<Utc> {
    TimeDelta::try_seconds(seconds)
        .and_then(|since| DateTime::UNIX_EPOCH.checked_add_signed(since))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}
