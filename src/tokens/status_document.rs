use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use super::status_list::List;
use super::{Revocations, StatusLists};
use crate::clock::SharedClock;
use crate::keys::{KeyRing, NoKey, SignError};
use crate::oauth::{KeyId, ListId, StatusList, StatusListClaims, TokenType};

/// Publishes status lists as signed tokens (draft-ietf-oauth-status-list, section 5.1), from memory: a
/// document is built again when a revocation, a cut-off or a key made the last one untrue, or when an eighth of
/// its own time is over: whoever fetched one just before the issuer went away may use it for nearly as long as any token
/// that was issued by then. Every node publishes the lists of all.
pub struct StatusPublisher {
    issuer: String,
    ttl: u64,
    lifetime: i64,
    clock: SharedClock,
    keys: Arc<KeyRing>,
    lists: Arc<StatusLists>,
    revocations: Arc<Revocations>,
    documents: Mutex<HashMap<ListId, Arc<Slot>>>,
}

/// How lists are published.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The issuer's identifier.
    pub issuer: String,
    /// For how many seconds a copy may be used.
    pub ttl: u64,
    /// After how many seconds a document must not be used any more; `ttl` says when to ask for a fresh one.
    pub lifetime: i64,
}

/// A signed status list, ready to send.
#[derive(Debug)]
pub struct StatusDocument {
    /// The token.
    pub body: String,
    /// The token, compressed by gzip.
    pub gzip: Vec<u8>,
    /// A strong validator (RFC 9110, section 8.8.3), with its quotes.
    pub etag: String,
    /// For how many seconds a copy may be used.
    pub max_age: u64,
    built: Built,
}

/// The list can't be had.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// There is none of that name, or its last token has ended.
    #[error("no such status list")]
    Unknown,
    /// No key may sign now.
    #[error(transparent)]
    NoKey(#[from] NoKey),
    /// The key failed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The list could not be compressed.
    #[error("the status list could not be compressed")]
    Compression(#[from] std::io::Error),
}

type Slot = Mutex<Option<Arc<StatusDocument>>>;

/// What a document was built from: while this holds, it is true.
#[derive(Debug, PartialEq, Eq)]
struct Built {
    bits: u64,
    cutoffs: u64,
    compromised: Vec<KeyId>,
    kid: KeyId,
    iat: i64,
    fresh_until: i64,
    exp: i64,
}

impl StatusPublisher {
    /// A publisher of `lists`.
    #[must_use]
    pub fn new(
        publication: Publication,
        clock: SharedClock,
        keys: Arc<KeyRing>,
        lists: Arc<StatusLists>,
        revocations: Arc<Revocations>,
    ) -> Self {
        let Publication { issuer, ttl, lifetime } = publication;
        let documents = Mutex::default();
        Self { issuer, ttl, lifetime, clock, keys, lists, revocations, documents }
    }

    /// The signed list named `id`. Takes milliseconds of CPU when it has to be built: call it off the async
    /// threads unless [`Self::cached`] has it.
    ///
    /// # Errors
    /// When there is no such list, or no key may sign.
    pub fn document(&self, id: &str) -> Result<Arc<StatusDocument>, StatusError> {
        let list = self.lists.find(id).ok_or(StatusError::Unknown)?;
        let slot = self.slot(&list);
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(document) = slot.as_ref().filter(|document| self.may_be_served(document, &list)) {
            return Ok(document.clone());
        }
        let document = Arc::new(self.build(&list)?);
        *slot = Some(document.clone());
        Ok(document)
    }

    /// For how many seconds a copy of a list may be used: how soon every verifier sees a revocation.
    #[must_use]
    pub fn ttl(&self) -> u64 {
        self.ttl
    }

    /// The signed list named `id`, if it is at hand and true.
    #[must_use]
    pub fn cached(&self, id: &str) -> Option<Arc<StatusDocument>> {
        let list = self.lists.find(id)?;
        let slot = self.slot(&list);
        let slot = slot.try_lock().ok()?;
        slot.as_ref().filter(|document| self.may_be_served(document, &list)).cloned()
    }

    /// The lists whose documents are missing or no longer true.
    #[must_use]
    pub fn due(&self) -> Vec<ListId> {
        self.lists.ids().into_iter().filter(|id| self.cached(id.as_str()).is_none()).collect()
    }

    /// Drops the documents of lists that are no longer kept.
    pub fn drop_ended(&self) {
        let mut documents = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        documents.retain(|id, _| self.lists.find(id.as_str()).is_some());
    }

    fn slot(&self, list: &List) -> Arc<Slot> {
        let mut documents = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        documents.entry(list.id.clone()).or_default().clone()
    }

    /// Whether nothing was revoked since it was built, and a key that signs now has signed it. While none may sign, say
    /// because the store is out of reach, it is served until it ends: better an answer of a date that it names than none.
    fn may_be_served(&self, document: &StatusDocument, list: &List) -> bool {
        let (built, now) = (&document.built, self.clock.numeric_date());
        built.bits == list.generation()
            && built.cutoffs == self.revocations.generation()
            && built.compromised == self.keys.compromised()
            && match self.keys.signing_key(None) {
                // Nobody takes one of the future, as it is where the clock was set back.
                Ok(key) => (built.iat..built.fresh_until).contains(&now) && *key.kid() == built.kid,
                Err(_) => now < built.exp,
            }
    }

    fn build(&self, list: &List) -> Result<StatusDocument, StatusError> {
        let key = self.keys.signing_key(None)?;
        let iat = self.clock.numeric_date();
        let exp = (iat + self.lifetime).min(key.latest_exp(iat));
        // A copy that is fetched at the end of a document's use must not outlive the document.
        let ttl = self.ttl.min(u64::try_from((exp - iat) / 2).unwrap_or(0).max(1));
        // Not for every request where documents end within seconds.
        let fresh_for = ((exp - iat) / 8).max(i64::try_from(ttl).unwrap_or(i64::MAX));
        // Read before the bits: what is revoked meanwhile makes the document untrue, never the other way round.
        let bits = list.generation();
        let (cutoffs, mut revoked_before) = self.revocations.published();
        revoked_before.keys = self.keys.compromised();
        let built = Built {
            bits,
            cutoffs,
            compromised: revoked_before.keys.clone(),
            kid: key.kid().clone(),
            iat,
            fresh_until: iat.saturating_add(fresh_for),
            exp,
        };
        let claims = StatusListClaims {
            iss: self.issuer.clone(),
            sub: list.uri.clone(),
            iat,
            exp,
            ttl,
            status_list: StatusList { bits: 1, lst: compressed(&list.bits())? },
            revoked_before,
        };
        let body = super::jws::sign(&key, TokenType::StatusList, &claims)?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(body.as_bytes())?;
        let digest = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]));
        Ok(StatusDocument { gzip: gzip.finish()?, body, etag, max_age: ttl, built })
    }
}

fn compressed(bits: &[u8]) -> std::io::Result<String> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(bits)?;
    Ok(URL_SAFE_NO_PAD.encode(zlib.finish()?))
}
