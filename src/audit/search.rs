//! Reading the log from its end, for people who look for something.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::AuditError;
use super::file::open_to_read;

/// How much of the file is read at once.
const BLOCK: u64 = 64 * 1024;

/// How much of the file one search reads at most; the answer says where to go on.
const MOST: u64 = 8 * 1024 * 1024;

/// What is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Stands in the event's name, whatever the case of letters; everything if empty.
    pub event: String,
    /// Stands in what the actor is or is called.
    pub actor: String,
    /// Stands in what it was done to: a subject, client, key or token.
    pub subject: String,
    /// Only what stands in the file before this byte; from the end if absent.
    pub before: Option<u64>,
    /// How many entries at most.
    pub limit: usize,
}

/// What was found, the newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Where to go on; absent when the log's beginning was reached.
    pub before: Option<u64>,
}

/// An entry as it stands in the log, without what chains it to the one before. Whether the chain holds is not looked at: [`super::verify`] does that.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Entry {
    /// Its number; the first is 1.
    pub seq: u64,
    /// When, as RFC 3339.
    pub time: String,
    /// Which node wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What happened.
    pub event: String,
    /// How it ended.
    pub outcome: String,
    /// Who did it.
    pub actor: EntryActor,
    /// To which subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// To which client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// To which key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// To which token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Where the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    /// By which request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// More about it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub detail: Map<String, Value>,
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct EntryActor {
    /// `service`, `operator`, `client`, `user`, `anonymous`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Entry {
    /// What it was done to.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        [&self.subject, &self.client_id, &self.kid, &self.jti].into_iter().flatten().map(String::as_str)
    }
}

impl Search {
    fn admits(&self, entry: &Entry) -> bool {
        let event = contains(&entry.event, &self.event);
        let actor = contains(&entry.actor.kind, &self.actor)
            || entry.actor.id.as_deref().is_some_and(|id| contains(id, &self.actor));
        let subject =
            self.subject.is_empty() || entry.targets().any(|target| contains(target, &self.subject));
        event && actor && subject
    }
}

fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

/// Searches the log at `path`, from its end or from where an earlier search stopped.
///
/// # Errors
/// When it can't be read.
pub fn search(path: &Path, search: &Search) -> Result<Found, AuditError> {
    read_backwards(path, search).map_err(|error| AuditError::Unavailable(error.to_string()))
}

fn read_backwards(path: &Path, search: &Search) -> io::Result<Found> {
    let mut file = open_to_read(path)?;
    let length = file.metadata()?.len();
    let end = search.before.map_or(length, |before| before.min(length));
    let mut found = Found::default();
    // What was read and belongs to no whole line yet begins at `start`.
    let (mut start, mut rest) = (end, Vec::new());
    while start > 0 {
        if end - start >= MOST {
            found.before = Some(start + rest.len() as u64);
            return Ok(found);
        }
        let size = BLOCK.min(start);
        start -= size;
        let mut block = vec![0; usize::try_from(size).unwrap_or_default()];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        block.append(&mut rest);
        // The first piece may be the end of a line whose beginning was not read yet.
        let whole = if start == 0 {
            0
        } else {
            block.iter().position(|byte| *byte == b'\n').map_or(block.len(), |at| at + 1)
        };
        let mut at = block.len();
        for line in block[whole..].split_inclusive(|byte| *byte == b'\n').rev() {
            at -= line.len();
            let entry = serde_json::from_slice::<Entry>(line).ok();
            found.entries.extend(entry.filter(|entry| search.admits(entry)));
            if found.entries.len() == search.limit {
                let next = start + at as u64;
                found.before = Some(next).filter(|next| *next > 0);
                return Ok(found);
            }
        }
        block.truncate(whole);
        rest = block;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Actor, AuditLog, Event, EventKind};
    use crate::clock::ManualClock;
    use crate::oauth::ClientId;
    use std::sync::Arc;

    async fn log_of(number: usize) -> (tempfile::TempDir, Arc<AuditLog>) {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(1_800_000_000));
        let log = AuditLog::open(&dir.path().join("audit.jsonl"), clock).unwrap();
        for each in 1..=number {
            let client = ClientId::parse(&format!("client-{each}")).unwrap();
            let actor = if each % 2 == 0 { Actor::Operator("Ann".into()) } else { Actor::Service };
            let text = "x".repeat(500);
            log.record(Event::new(EventKind::ClientChanged, actor).client(&client).detail("text", text))
                .await
                .unwrap();
        }
        (dir, log)
    }

    fn numbers(found: &Found) -> Vec<u64> {
        found.entries.iter().map(|entry| entry.seq).collect()
    }

    #[tokio::test]
    async fn pages_join_without_gap_or_overlap() {
        let (_dir, log) = log_of(300).await;
        let (mut before, mut all) = (None, Vec::new());
        loop {
            let found = log.search(Search { before, limit: 7, ..Search::default() }).await.unwrap();
            all.extend(numbers(&found));
            before = found.before;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(all, (1..=300).rev().collect::<Vec<_>>(), "300 entries are more than two blocks");
    }

    #[tokio::test]
    async fn texts_are_found_in_their_own_members_only() {
        let (_dir, log) = log_of(20).await;
        let find = async |event: &str, actor: &str, subject: &str| {
            let (event, actor, subject) = (event.into(), actor.into(), subject.into());
            numbers(&log.search(Search { event, actor, subject, before: None, limit: 100 }).await.unwrap())
        };
        assert_eq!(find("", "", "client-20").await, [20]);
        assert_eq!(find("", "ann", "CLIENT-2").await, [20, 2]);
        assert_eq!(find("client.changed", "service", "client-1").await, [19, 17, 15, 13, 11, 1]);
        assert!(find("client-1", "", "").await.is_empty());
        assert!(find("", "", "xxx").await.is_empty(), "details are not searched");
    }

    #[tokio::test]
    async fn a_place_in_the_middle_of_a_line_does_no_harm() {
        let (_dir, log) = log_of(3).await;
        let whole = log.search(Search { limit: 1, ..Search::default() }).await.unwrap();
        let inside = whole.before.unwrap() + 10;
        let found = log.search(Search { before: Some(inside), limit: 9, ..Search::default() }).await.unwrap();
        assert_eq!(numbers(&found), [2, 1]);
        let beyond = Search { before: Some(u64::MAX), limit: 9, ..Search::default() };
        assert_eq!(numbers(&log.search(beyond).await.unwrap()), [3, 2, 1]);
    }
}
