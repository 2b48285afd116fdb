use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use url::Url;

use super::cache::{Cached, Copy, Load, LoadError, Loaded};
use super::cutoffs::Cutoffs;
use super::key_source::KeySource;
use super::status_list::Statuses;
use super::token::{Compact, MAX_STATUS_LIST_LENGTH};
use super::{Expectations, ExpectedAudience, Fetch, FetchRequest, Fetched, Refusal, Verified};
use crate::clock::SharedClock;
use crate::oauth::StatusReference;

/// What to do about tokens whose revocation can't be looked up.
///
/// ```
/// use signet::verify::StatusPolicy;
///
/// assert_eq!(StatusPolicy::default(), StatusPolicy::Required);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatusPolicy {
    /// Every token must refer to a status list, and a copy of it that has not expired must be at hand. A list may be used
    /// for as long as the issuer's longest token lives, so an issuer that is away makes few tokens fail that would be good.
    #[default]
    Required,
    /// A token without a reference is accepted, and one whose list can't be had or has expired. What a list at hand shows
    /// as revoked is refused, however old that list is.
    BestEffort,
    /// No list is fetched: revoked tokens are accepted until they expire.
    Off,
}

/// How many lists are kept; the ones not used for longest go first.
const MOST_LISTS: usize = 1024;

/// The issuer's status lists, fetched when a token first refers to them, and kept.
pub(super) struct StatusSource {
    context: Arc<Context>,
    policy: StatusPolicy,
    lists: ArcSwap<HashMap<String, Arc<Entry>>>,
    adding: Mutex<()>,
}

/// What loading a list needs.
pub(super) struct Context {
    pub issuer: String,
    /// The issuer's own URL: lists are fetched from its origin only, or a token could send us anywhere.
    pub issuer_url: Url,
    pub leeway: Duration,
    pub clock: SharedClock,
    pub fetch: Arc<dyn Fetch>,
    pub keys: Arc<KeySource>,
    pub cutoffs: Cutoffs,
}

struct Entry {
    list: Arc<Cached<ListLoader>>,
    /// In monotonic milliseconds.
    last_used: AtomicU64,
}

impl StatusSource {
    pub(super) fn new(context: Context, policy: StatusPolicy) -> Self {
        Self { context: Arc::new(context), policy, lists: ArcSwap::default(), adding: Mutex::default() }
    }

    /// Checks that a verified token was not revoked.
    ///
    /// # Errors
    /// [`Refusal::Revoked`], [`Refusal::InvalidStatus`] or [`Refusal::StatusUnavailable`].
    pub(super) async fn check(&self, token: &Verified) -> Result<(), Refusal> {
        if self.policy == StatusPolicy::Off {
            return Ok(());
        }
        let listed = match &token.claims.status {
            Some(claim) => self.look_up(&claim.status_list).await,
            None => Err(Refusal::InvalidStatus),
        };
        match listed {
            Ok(()) => {}
            Err(Refusal::StatusUnavailable) if self.policy == StatusPolicy::BestEffort => {}
            Err(Refusal::InvalidStatus)
                if self.policy == StatusPolicy::BestEffort && token.claims.status.is_none() => {}
            Err(refusal) => return Err(refusal),
        }
        // After the look-up: it may have brought newer cut-offs.
        if self.context.cutoffs.cover(token) { Err(Refusal::Revoked) } else { Ok(()) }
    }

    async fn look_up(&self, reference: &StatusReference) -> Result<(), Refusal> {
        let entry = match self.lists.load().get(&reference.uri) {
            Some(entry) => entry.clone(),
            None => self.add(&reference.uri)?,
        };
        entry.last_used.store(self.now_millis(), Relaxed);
        let copy = entry.list.read().await.ok_or(Refusal::StatusUnavailable)?;
        let leeway = i64::try_from(self.context.leeway.as_secs()).unwrap_or(i64::MAX);
        let has_expired = self.context.clock.numeric_date() >= copy.value.exp.saturating_add(leeway);
        // The bit before the date: a token does not become good again because the list that shows it as revoked is old.
        match copy.value.statuses.at(reference.idx) {
            // Where it shows nothing, it may have grown since.
            Some(0) | None if has_expired => Err(Refusal::StatusUnavailable),
            Some(0) => Ok(()),
            // INVALID, SUSPENDED, or what the issuer alone knows: none of them is VALID (section 7.1).
            Some(_) => Err(Refusal::Revoked),
            None => Err(Refusal::InvalidStatus),
        }
    }

    fn add(&self, uri: &str) -> Result<Arc<Entry>, Refusal> {
        let url = Url::parse(uri).map_err(|_| Refusal::InvalidStatus)?;
        if url.origin() != self.context.issuer_url.origin() || !url.origin().is_tuple() {
            return Err(Refusal::InvalidStatus);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::InvalidStatus);
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lists = HashMap::clone(&self.lists.load());
        if let Some(entry) = lists.get(uri) {
            return Ok(entry.clone());
        }
        while lists.len() >= MOST_LISTS {
            let Some(oldest) = lists.iter().min_by_key(|(_, entry)| entry.last_used.load(Relaxed)) else {
                break;
            };
            let oldest = oldest.0.clone();
            lists.remove(&oldest);
        }
        let loader = ListLoader { uri: uri.to_owned(), url, context: self.context.clone() };
        let list = Cached::new(loader, self.context.clock.clone());
        let entry = Arc::new(Entry { list, last_used: self.now_millis().into() });
        lists.insert(uri.to_owned(), entry.clone());
        self.lists.store(Arc::new(lists));
        Ok(entry)
    }

    fn now_millis(&self) -> u64 {
        u64::try_from(self.context.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.lists.load().len()
    }
}

/// A checked list.
pub(super) struct CheckedList {
    statuses: Statuses,
    iat: i64,
    exp: i64,
    ttl: Duration,
}

/// Fetches the list at one URI.
struct ListLoader {
    /// As it stands in the tokens, to be compared with `sub`.
    uri: String,
    url: Url,
    context: Arc<Context>,
}

impl ListLoader {
    async fn read(&self, bytes: Vec<u8>, previous_iat: Option<i64>) -> Result<CheckedList, LoadError> {
        let token = String::from_utf8(bytes)?;
        let compact = Compact::status_list(token.trim_ascii_end())?;
        let keys = self.context.keys.keys_for(compact.kid()).await?;
        let expected = Expectations {
            issuer: &self.context.issuer,
            audience: ExpectedAudience::Anyone,
            leeway: self.context.leeway,
            now: self.context.clock.numeric_date(),
        };
        let kid = compact.kid().clone();
        let claims = compact.check_status_list(&self.uri, &expected, &keys)?;
        // An old copy, properly signed and not yet expired, would hide what was revoked since. Nodes of
        // the issuer may differ by their clocks, so the leeway counts here too. A copy of the future says nothing: the clocks
        // were set back, and it is the older one.
        let (now, leeway) = (expected.now, i64::try_from(self.context.leeway.as_secs()).unwrap_or(i64::MAX));
        let previous_iat = previous_iat.filter(|previous| *previous <= now.saturating_add(leeway));
        if previous_iat.is_some_and(|previous| claims.iat.saturating_add(leeway) < previous) {
            return Err("the list is older than the one at hand".into());
        }
        if claims.revoked_before.keys.contains(&kid) || self.context.cutoffs.distrust(&kid) {
            return Err("the list is signed with a compromised key".into());
        }
        let statuses = Statuses::unpack(&claims.status_list)?;
        let (iat, exp, ttl) = (claims.iat, claims.exp, Duration::from_secs(claims.ttl));
        self.context.cutoffs.take(iat, claims.revoked_before, (now, leeway));
        Ok(CheckedList { statuses, iat, exp, ttl })
    }
}

#[async_trait]
impl Load for ListLoader {
    type Value = CheckedList;

    fn name(&self) -> &str {
        &self.uri
    }

    async fn load(&self, previous: Option<&Copy<CheckedList>>) -> Result<Loaded<CheckedList>, LoadError> {
        let request = FetchRequest {
            url: &self.url,
            etag: previous.and_then(|copy| copy.etag.as_deref()),
            accept: "application/statuslist+jwt",
            limit: MAX_STATUS_LIST_LENGTH,
        };
        // The signed `ttl` says for how long a copy may be used (section 13.7). What it spent in shared caches is
        // part of that: the headers can shorten the time, never prolong it.
        let lifetime = |ttl: Duration, max_age: Option<Duration>| Some(max_age.map_or(ttl, |m| m.min(ttl)));
        match (self.context.fetch.fetch(request).await?, previous) {
            (Fetched::Body { bytes, etag, max_age }, _) => {
                let list = self.read(bytes, previous.map(|copy| copy.value.iat)).await?;
                let lifetime = lifetime(list.ttl, max_age);
                Ok(Loaded::New { value: list, etag, lifetime })
            }
            (Fetched::NotModified { max_age }, Some(previous)) => {
                Ok(Loaded::Unchanged { lifetime: lifetime(previous.value.ttl, max_age) })
            }
            (Fetched::NotModified { .. }, None) => Err("not modified, but there is no copy yet".into()),
        }
    }
}

#[cfg(test)]
mod tests;
