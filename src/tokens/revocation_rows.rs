//! How revocations lie in the store.

use serde::{Deserialize, Serialize};

use super::Whole;
use super::cutoffs::Cutoff;
use crate::oauth::{ClientId, Subject};
use crate::store::{StoreError, Table};

/// A cut-off, in seconds since the epoch.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct CutoffRecord {
    pub(super) before: i64,
    pub(super) forget_at: i64,
    #[serde(default)]
    pub(super) grants_until: i64,
}

impl From<CutoffRecord> for Cutoff {
    fn from(record: CutoffRecord) -> Self {
        let CutoffRecord { before, forget_at, grants_until } = record;
        Self { before, forget_at, grants_until }
    }
}

/// Under which key a single revocation stands.
pub(super) fn key(list: &str, idx: u64) -> Vec<u8> {
    let mut key = list.as_bytes().to_vec();
    key.push(b'/');
    key.extend_from_slice(&idx.to_be_bytes());
    key
}

/// What [`key`] made.
pub(super) fn parse_key(key: &[u8]) -> Option<(&str, u64)> {
    let (list, idx) = key.split_last_chunk::<8>()?;
    let list = std::str::from_utf8(list.strip_suffix(b"/")?).ok()?;
    Some((list, u64::from_be_bytes(*idx)))
}

/// Under which key the cut-off of a whole stands.
pub(super) fn cutoff_key(whole: &Whole) -> String {
    match whole {
        Whole::Client(id) => format!("client:{id}"),
        Whole::Subject(id) => format!("subject:{id}"),
        Whole::Granted(client_id, subject) => format!("granted:{client_id}/{subject}"),
    }
}

/// What [`cutoff_key`] made.
pub(super) fn whole(key: &[u8]) -> Option<Whole> {
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

/// A row that nobody here has written.
pub(super) fn damaged(table: Table, key: &[u8]) -> StoreError {
    StoreError::damaged(table, key, "a key is none of ours")
}
