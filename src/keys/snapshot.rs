use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use ring::digest::{SHA256, digest};
use serde_json::json;

use super::policy::Policy;
use super::record::{KeyRecord, KeyRingRecord, Phase};
use super::schedule::{self, ExpBound};
use super::signer::{SignError, Signer};
use crate::oauth::{Algorithm, JwkSet, KeyId, TokenType};
use crate::verify::{KeySet, VerificationKey};

/// A key that may sign now, with all that issuing needs of it computed beforehand.
pub struct SigningKey {
    signer: Arc<dyn Signer>,
    access_token_header: String,
    id_token_header: String,
    status_list_header: String,
    logout_token_header: String,
    bound: ExpBound,
}

impl SigningKey {
    fn new(record: &KeyRecord, policy: &Policy, signer: Arc<dyn Signer>) -> Self {
        Self {
            signer,
            access_token_header: header(record, TokenType::AccessToken),
            id_token_header: header(record, TokenType::IdToken),
            status_list_header: header(record, TokenType::StatusList),
            logout_token_header: header(record, TokenType::LogoutToken),
            bound: ExpBound::of(record, policy),
        }
    }

    /// The key's identifier.
    #[must_use]
    pub fn kid(&self) -> &KeyId {
        self.signer.kid()
    }

    /// The algorithm that it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.signer.algorithm()
    }

    /// The JOSE header `{"typ", "alg", "kid"}` of a token signed with the key, as base64url.
    #[must_use]
    pub fn header(&self, token_type: TokenType) -> &str {
        match token_type {
            TokenType::AccessToken => &self.access_token_header,
            TokenType::IdToken => &self.id_token_header,
            TokenType::StatusList => &self.status_list_header,
            TokenType::LogoutToken => &self.logout_token_header,
        }
    }

    /// The latest `exp` that a token signed at `now` may have: T from now, and S before the key leaves the
    /// JWKS. A later one would outlive its key; whoever issues must cap it.
    #[must_use]
    pub fn latest_exp(&self, now: i64) -> i64 {
        self.bound.latest_exp(now)
    }

    /// Signs a JWS signing input (RFC 7515, section 5.1). Does not look at what it signs.
    ///
    /// # Errors
    /// When the key or the device that holds it fails.
    pub fn sign(&self, signing_input: &[u8]) -> Result<Vec<u8>, SignError> {
        self.signer.sign(signing_input)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("kid", self.kid()).finish_non_exhaustive()
    }
}

fn header(record: &KeyRecord, token_type: TokenType) -> String {
    let header = json!({ "typ": token_type.as_str(), "alg": record.algorithm, "kid": record.kid });
    URL_SAFE_NO_PAD.encode(header.to_string())
}

/// The JWKS, ready to serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JwksDocument {
    /// The JSON (RFC 7517, section 5).
    pub body: Bytes,
    /// A strong entity tag, quotes included (RFC 9110, section 8.8.3).
    pub etag: String,
}

/// The JWKS as it is served now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedJwks {
    /// The document.
    pub document: Arc<JwksDocument>,
    /// For how many seconds it may be cached.
    pub max_age: u64,
}

/// No key signs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// The ring, or what else of the store is kept in memory, was not read for P: another node may have replaced the key.
    #[error("what other nodes have done is not known for too long to sign anything")]
    Stale {
        /// When to try again, in seconds.
        retry_after: u64,
    },
    /// This node's clock is too far off the store's to date anything.
    #[error("this node's clock is too far off the store's")]
    ClockOff {
        /// When to try again, in seconds.
        retry_after: u64,
    },
    /// None that is left is known to every verifier yet.
    #[error("no key signs now; the first does in {retry_after} s, when every verifier knows it")]
    NotYet {
        /// When to try again, in seconds.
        retry_after: u64,
    },
    /// The keys that wait behind the first ones are not made yet, so nothing is published.
    #[error("the first keys are not published yet")]
    Unpublished,
}

impl NoKey {
    /// When to try again, in seconds: for `Retry-After`.
    #[must_use]
    pub fn retry_after(&self) -> u64 {
        match self {
            Self::Stale { retry_after } | Self::ClockOff { retry_after } | Self::NotYet { retry_after } => {
                *retry_after
            }
            Self::Unpublished => 1,
        }
    }
}

/// The moment from which the ring was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReadFrom {
    /// Monotonic time.
    pub(super) at: Duration,
    /// What was begun later has a higher one, and has found nothing older.
    pub(super) number: u64,
}

/// The ring as this node last read it, with everything computed that serving needs.
pub(super) struct Snapshot {
    pub(super) ring: KeyRingRecord,
    /// The row's version.
    pub(super) version: u64,
    /// When reading it began.
    read: ReadFrom,
    /// By algorithm, the newest first.
    slots: [Vec<Slot>; Algorithm::ALL.len()],
    /// From when which document is served, the latest first.
    documents: Vec<(i64, Arc<JwksDocument>)>,
    /// When the JWKS changes, in order.
    pub(super) changes: Vec<i64>,
    /// The keys that were published when the ring was read, ready to verify with.
    pub(super) key_set: Arc<KeySet>,
    /// Those that had left the JWKS by then, and were never compromised: all that they signed has ended.
    pub(super) past_keys: Arc<KeySet>,
    /// Those that are compromised: nothing that they signed counts, and anybody may have signed it.
    pub(super) compromised_keys: Arc<KeySet>,
}

struct Slot {
    sign_from: i64,
    retire_at: i64,
    key: Arc<SigningKey>,
}

impl Snapshot {
    pub(super) fn new(
        ring: KeyRingRecord,
        version: u64,
        policy: &Policy,
        signers: &HashMap<KeyId, Arc<dyn Signer>>,
        now: i64,
    ) -> Self {
        let slots = Algorithm::ALL.map(|algorithm| {
            let records = ring.records.iter().filter(|record| record.algorithm == algorithm);
            let mut records: Vec<_> =
                records.filter_map(|record| Some((record, signers.get(&record.kid)?))).collect();
            records.sort_by(|(a, _), (b, _)| (b.sign_from, &b.kid).cmp(&(a.sign_from, &a.kid)));
            let slot = |(record, signer): (&KeyRecord, &Arc<dyn Signer>)| Slot {
                // What has begun has begun, wherever the clock is set.
                sign_from: if record.begun { i64::MIN } else { record.sign_from },
                retire_at: record.retire_at().unwrap_or(i64::MAX),
                key: Arc::new(SigningKey::new(record, policy, Arc::clone(signer))),
            };
            records.into_iter().map(slot).collect()
        });
        let keys_where = |is_meant: fn(&KeyRecord, i64) -> bool| {
            let records = ring.records.iter().filter(|record| is_meant(record, now));
            Arc::new(records.filter_map(|record| VerificationKey::from_jwk(&record.jwk()).ok()).collect())
        };
        let key_set = keys_where(KeyRecord::is_published);
        let past_keys = keys_where(|record, now| record.phase(now) == Phase::Forgotten);
        let compromised_keys = keys_where(|record, now| record.phase(now) == Phase::Compromised);
        let documents = documents(&ring, now);
        let changes = schedule::changes(&ring.records);
        let read = ReadFrom::default();
        Self { ring, version, read, slots, documents, changes, key_set, past_keys, compromised_keys }
    }

    pub(super) fn read_from(self, read: ReadFrom) -> Self {
        Self { read, ..self }
    }

    /// Whether it was read from an earlier moment on than `other`: it may be older.
    pub(super) fn is_behind(&self, other: &Self) -> bool {
        self.read.number < other.read.number
    }

    /// How long ago the ring was read.
    pub(super) fn age(&self, monotonic: Duration) -> Duration {
        monotonic.saturating_sub(self.read.at)
    }

    /// The key that signs with `algorithm` at `now`.
    pub(super) fn signing_key(&self, algorithm: Algorithm, now: i64) -> Option<&Arc<SigningKey>> {
        let mut slots = self.slots[algorithm as usize].iter();
        slots.find(|slot| slot.sign_from <= now && now < slot.retire_at).map(|slot| &slot.key)
    }

    /// When the first of the keys that wait begins to sign.
    pub(super) fn first_signs_at(&self, now: i64) -> Option<i64> {
        self.slots.iter().flatten().map(|slot| slot.sign_from).filter(|date| now < *date).min()
    }

    pub(super) fn signer(&self, kid: &KeyId) -> Option<Arc<dyn Signer>> {
        let mut slots = self.slots.iter().flatten();
        slots.find(|slot| slot.key.kid() == kid).map(|slot| Arc::clone(&slot.key.signer))
    }

    pub(super) fn jwks(&self, policy: &Policy, now: i64) -> ServedJwks {
        let current = self.documents.iter().find(|(from, _)| *from <= now).or(self.documents.last());
        ServedJwks {
            document: current.map(|(_, document)| Arc::clone(document)).unwrap_or_default(),
            max_age: seconds(schedule::max_age(&self.ring, &self.changes, policy, now)),
        }
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("version", &self.version).finish_non_exhaustive()
    }
}

/// The JWKS from now on and from each date on at which a key leaves it.
fn documents(ring: &KeyRingRecord, now: i64) -> Vec<(i64, Arc<JwksDocument>)> {
    let dates = ring.records.iter().filter_map(KeyRecord::forget_at);
    let mut dates: Vec<i64> = dates.filter(|date| *date > now).collect();
    dates.sort_unstable_by(|a, b| b.cmp(a));
    dates.dedup();
    let mut documents: Vec<_> = dates.iter().map(|from| (*from, Arc::new(document(ring, *from)))).collect();
    documents.push((i64::MIN, Arc::new(document(ring, now))));
    documents
}

#[expect(clippy::expect_used, reason = "plain data always becomes JSON")]
fn document(ring: &KeyRingRecord, from: i64) -> JwksDocument {
    let mut published: Vec<&KeyRecord> =
        ring.records.iter().filter(|record| record.is_published(from)).collect();
    published.sort_by_key(|record| (record.publish_at, record.sign_from, &record.kid));
    let set = JwkSet { keys: published.into_iter().map(KeyRecord::jwk).collect() };
    let body: Bytes = serde_json::to_vec(&set).expect("keys become JSON").into();
    let tag = URL_SAFE_NO_PAD.encode(&digest(&SHA256, &body).as_ref()[..16]);
    JwksDocument { body, etag: format!("\"{tag}\"") }
}

fn seconds(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or_default()
}
