//! What stands in the file once it is decrypted: frames, each with a byte that says what it is. Numbers are
//! big-endian.
//!
//! | byte | then | meaning |
//! | --- | --- | --- |
//! | `h` | length u32, JSON | what the copy is of: the first frame |
//! | `t` | length u32, name | the rows that follow are of this table |
//! | `r` | key length u16, key, expiry i64 (milliseconds, or the largest number), length u32, value | a row |
//! | `k` | length u32, JSON | a private key as it is sealed |
//! | `e` | length u32, JSON | counts and digest: the last frame |
//!
//! The digest is SHA-256 over the frames `t`, `r` and `k`: two copies of the same rows and keys have the same one.

use std::collections::BTreeMap;
use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use ring::digest::{Context, SHA256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::BackupError;
use crate::keys::{ArchiveReader, SealedKey};
use crate::store::{LONGEST_VALUE, Row};

/// The version of the frames.
const FORMAT: u32 = 1;

/// Rows have this expiry if they have none.
const NEVER: i64 = i64::MAX;

/// What a copy is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// To be put back after a loss. The installation goes on.
    #[default]
    Backup,
    /// To go on elsewhere. The installation that was copied never runs again.
    Move,
}

/// The first frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: u32,
    /// The release that wrote it.
    pub(super) release: String,
    pub(super) issuer: String,
    pub(super) taken_at: DateTime<Utc>,
    /// Up to when anything may have been dated that is in it, by a clock that may have been ahead; an earlier release does not say.
    #[serde(default)]
    pub(super) dated_until: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(super) purpose: Purpose,
}

impl Header {
    pub(super) fn new(
        issuer: &str,
        (taken_at, dated_until): (DateTime<Utc>, DateTime<Utc>),
        purpose: Purpose,
    ) -> Self {
        let (release, dated_until) = (env!("CARGO_PKG_VERSION").to_owned(), Some(dated_until));
        Self { format: FORMAT, release, issuer: issuer.to_owned(), taken_at, dated_until, purpose }
    }
}

/// The last frame: how many rows and keys there were, and their digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trailer {
    pub(super) rows: BTreeMap<String, u64>,
    pub(super) keys: u64,
    pub(super) sha256: String,
}

/// What a copy holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// Whose it is.
    pub issuer: String,
    /// When it was taken: what happened later is not in it.
    pub taken_at: DateTime<Utc>,
    /// Up to when anything in it may have been dated.
    #[serde(skip)]
    pub dated_until: DateTime<Utc>,
    /// What it is for.
    pub purpose: Purpose,
    /// By which release of Signet.
    pub release: String,
    /// How many rows of which table.
    pub rows: BTreeMap<String, u64>,
    /// How many private keys, sealed.
    pub keys: u64,
    /// SHA-256 over the rows and keys, as base64url: the same for two copies of the same.
    pub sha256: String,
}

impl Contents {
    pub(super) fn new(header: Header, trailer: Trailer) -> Self {
        let Header { issuer, taken_at, dated_until, purpose, release, .. } = header;
        let Trailer { rows, keys, sha256 } = trailer;
        let dated_until = dated_until.unwrap_or(taken_at);
        Self { issuer, taken_at, dated_until, purpose, release, rows, keys, sha256 }
    }
}

/// A piece of a copy.
#[derive(Debug)]
pub(super) enum Frame {
    Header(Header),
    Table(String),
    Row { key: Vec<u8>, expires_at: Option<DateTime<Utc>>, value: Vec<u8> },
    Key(Box<SealedKey>),
    Trailer(Trailer),
}

impl Frame {
    pub(super) fn row(key: Vec<u8>, row: Row) -> Self {
        Self::Row { key, expires_at: row.expires_at, value: row.value }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, BackupError> {
        let json = |kind: u8, json: serde_json::Result<Vec<u8>>| {
            json.map_err(|_| contents("something has no form in JSON"))
                .and_then(|json| with_length(kind, &json))
        };
        match self {
            Self::Header(header) => json(b'h', serde_json::to_vec(header)),
            Self::Table(name) => with_length(b't', name.as_bytes()),
            Self::Key(key) => json(b'k', serde_json::to_vec(key)),
            Self::Trailer(trailer) => json(b'e', serde_json::to_vec(trailer)),
            Self::Row { key, expires_at, value } => {
                let length = u16::try_from(key.len()).map_err(|_| contents("a key is too long"))?;
                let mut bytes = vec![b'r'];
                bytes.extend_from_slice(&length.to_be_bytes());
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(&expires_at.map_or(NEVER, |at| at.timestamp_millis()).to_be_bytes());
                bytes.extend_from_slice(&length_of(value)?.to_be_bytes());
                bytes.extend_from_slice(value);
                Ok(bytes)
            }
        }
    }

    fn read(from: &mut ArchiveReader<impl Read>) -> Result<Self, BackupError> {
        let [kind] = numbers(from)?;
        if kind == b'r' {
            let length = u16::from_be_bytes(numbers(from)?);
            let key = bytes(from, usize::from(length))?;
            let expires_at = match i64::from_be_bytes(numbers(from)?) {
                NEVER => None,
                millis => Some(
                    DateTime::from_timestamp_millis(millis)
                        .ok_or_else(|| contents("an expiry is no date"))?,
                ),
            };
            return Ok(Self::Row { key, expires_at, value: long_bytes(from)? });
        }
        let body = long_bytes(from)?;
        Ok(match kind {
            b'h' => Self::Header(parse(&body)?),
            b't' => Self::Table(String::from_utf8(body).map_err(|_| contents("a table has no name"))?),
            b'k' => Self::Key(Box::new(parse(&body)?)),
            b'e' => Self::Trailer(parse(&body)?),
            _ => return Err(contents("it holds something that this release does not know")),
        })
    }
}

/// What has gone by, to be compared at the end.
pub(super) struct Tally {
    rows: BTreeMap<String, u64>,
    table: Option<String>,
    keys: u64,
    digest: Context,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { rows: BTreeMap::new(), table: None, keys: 0, digest: Context::new(&SHA256) }
    }

    /// Counts a frame; `encoded` is what it is written as.
    pub(super) fn add(&mut self, frame: &Frame, encoded: &[u8]) -> Result<(), BackupError> {
        match frame {
            Frame::Header(_) | Frame::Trailer(_) => return Ok(()),
            Frame::Table(name) => self.table = Some(name.clone()),
            Frame::Row { .. } => {
                let table = self.table.clone().ok_or_else(|| contents("a row is in no table"))?;
                *self.rows.entry(table).or_default() += 1;
            }
            Frame::Key(_) => self.keys += 1,
        }
        self.digest.update(encoded);
        Ok(())
    }

    pub(super) fn trailer(&self) -> Trailer {
        let sha256 = URL_SAFE_NO_PAD.encode(self.digest.clone().finish());
        Trailer { rows: self.rows.clone(), keys: self.keys, sha256 }
    }
}

/// Reads the frames of a copy, and holds them against its end.
pub(super) struct Frames<R> {
    from: ArchiveReader<R>,
    pub(super) header: Header,
    tally: Tally,
}

impl<R: Read> Frames<R> {
    pub(super) fn open(mut from: ArchiveReader<R>) -> Result<Self, BackupError> {
        let Frame::Header(header) = Frame::read(&mut from)? else {
            return Err(contents("it does not begin as a copy does"));
        };
        if header.format != FORMAT {
            let format = header.format;
            return Err(BackupError::Contents(format!(
                "its rows have format {format}, this release reads {FORMAT}: use the release that wrote it"
            )));
        }
        Ok(Self { from, header, tally: Tally::new() })
    }

    /// The next table, row or key; the contents at the end, if counts and digest are right.
    pub(super) fn next(&mut self) -> Result<Next, BackupError> {
        let frame = Frame::read(&mut self.from)?;
        if let Frame::Trailer(trailer) = frame {
            if self.tally.trailer() != trailer || !self.from.is_at_end()? {
                return Err(contents("its counts or its checksum are wrong"));
            }
            return Ok(Next::End(Contents::new(self.header.clone(), trailer)));
        }
        self.tally.add(&frame, &frame.encode()?)?;
        Ok(Next::Frame(frame))
    }
}

/// What comes next in a copy.
pub(super) enum Next {
    Frame(Frame),
    End(Contents),
}

pub(super) fn contents(reason: &str) -> BackupError {
    BackupError::Contents(reason.to_owned())
}

fn with_length(kind: u8, body: &[u8]) -> Result<Vec<u8>, BackupError> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&length_of(body)?.to_be_bytes());
    bytes.extend_from_slice(body);
    Ok(bytes)
}

fn length_of(body: &[u8]) -> Result<u32, BackupError> {
    u32::try_from(body.len()).map_err(|_| contents("something is too long"))
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, BackupError> {
    serde_json::from_slice(json).map_err(|_| contents("something in it is not what was written"))
}

fn numbers<const N: usize>(from: &mut ArchiveReader<impl Read>) -> Result<[u8; N], BackupError> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn bytes(from: &mut ArchiveReader<impl Read>, length: usize) -> Result<Vec<u8>, BackupError> {
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn long_bytes(from: &mut ArchiveReader<impl Read>) -> Result<Vec<u8>, BackupError> {
    let length = usize::try_from(u32::from_be_bytes(numbers(from)?)).unwrap_or(usize::MAX);
    if length > LONGEST_VALUE {
        return Err(contents("something in it is too long"));
    }
    bytes(from, length)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::keys::{ArchiveWriter, Kek};

    fn header() -> Frame {
        Frame::Header(Header::new(
            "https://id.example.com",
            (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH),
            Purpose::Backup,
        ))
    }

    fn row(value: &[u8], expires_at: Option<DateTime<Utc>>) -> Frame {
        Frame::row(b"key".to_vec(), Row { version: 7, expires_at, value: value.to_vec() })
    }

    /// What is read of frames that were sealed as they are.
    fn read(frames: &[Frame]) -> Result<(Vec<Frame>, Contents), BackupError> {
        let kek = Kek::new(Zeroizing::new([1; 32]));
        let mut archive = ArchiveWriter::new(&kek, [1; 32])?;
        for frame in frames {
            archive.write(&frame.encode()?);
        }
        let sealed = archive.finish();
        let mut reading = Frames::open(ArchiveReader::new(sealed.as_slice(), &kek)?)?;
        let mut read = Vec::new();
        loop {
            match reading.next()? {
                Next::Frame(frame) => read.push(frame),
                Next::End(contents) => return Ok((read, contents)),
            }
        }
    }

    fn trailer(frames: &[Frame]) -> Trailer {
        let mut tally = Tally::new();
        for frame in frames {
            tally.add(frame, &frame.encode().unwrap()).unwrap();
        }
        tally.trailer()
    }

    #[test]
    fn what_was_written_is_read() {
        let expiry = DateTime::from_timestamp_millis(1_800_000_000_123);
        let mut frames = vec![header(), Frame::Table("users".into()), row(b"value", expiry), row(b"", None)];
        let end = trailer(&frames);
        frames.push(Frame::Trailer(end.clone()));
        let (read, contents) = read(&frames).unwrap();
        let encoded =
            |frames: &[Frame]| frames.iter().map(|frame| frame.encode().unwrap()).collect::<Vec<_>>();
        assert_eq!(encoded(&read), encoded(&frames[1..4]));
        assert_eq!((contents.rows["users"], contents.sha256), (2, end.sha256));
    }

    #[test]
    fn counts_and_checksum_must_be_right() {
        let frames = || vec![header(), Frame::Table("users".into()), row(b"value", None)];
        let right = trailer(&frames());
        let fewer = Trailer { rows: BTreeMap::new(), ..right.clone() };
        let more_keys = Trailer { keys: 1, ..right.clone() };
        let other = Trailer { sha256: URL_SAFE_NO_PAD.encode([0; 32]), ..right.clone() };
        for wrong in [fewer, more_keys, other] {
            let mut frames = frames();
            frames.push(Frame::Trailer(wrong));
            let message = read(&frames).unwrap_err().to_string();
            assert!(message.contains("its counts or its checksum are wrong"), "{message}");
        }
        // What follows the end, and an end that is missing.
        let mut longer = frames();
        longer.extend([Frame::Trailer(right), Frame::Table("more".into())]);
        assert!(read(&longer).is_err() && read(&frames()).is_err());
    }

    #[test]
    fn what_this_release_does_not_know_is_refused() {
        let message = |frames: &[Frame]| read(frames).unwrap_err().to_string();
        let Frame::Header(header) = header() else { unreachable!() };
        let later = Frame::Header(Header { format: 2, ..header });
        assert!(message(&[later]).contains("format 2"));
        assert!(message(&[Frame::Table("users".into())]).contains("does not begin as a copy"));
        assert!(message(&[self::header(), row(b"", None)]).contains("in no table"));
    }
}
