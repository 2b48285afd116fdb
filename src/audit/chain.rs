use std::fmt;
use std::io;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, SecondsFormat, Utc};
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::ser::{CompactFormatter, Formatter};

use super::Event;

/// A digest in the chain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Hash([u8; 32]);

impl Hash {
    /// What stands before the first entry.
    pub(super) const ZERO: Self = Self([0; 32]);

    fn of(previous: &Self, body: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&previous.0);
        context.update(body);
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The SHA-256 digest of `bytes` as base64url, for telling what was cut off.
pub(super) fn digest(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&SHA256, bytes))
}

/// An entry's place and digest, written `seq:hash`: noted elsewhere, it shows later whether the log still
/// leads up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub(super) seq: u64,
    pub(super) hash: Hash,
}

impl Head {
    /// Before the first entry.
    pub(super) const NONE: Self = Self { seq: 0, hash: Hash::ZERO };

    /// The number of the entry; the first is 1.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl Serialize for Head {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is not `seq:hash`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a head is written seq:hash, as `signet audit verify` prints it")]
pub struct InvalidHead;

impl FromStr for Head {
    type Err = InvalidHead;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (seq, hash) = text.trim().split_once(':').ok_or(InvalidHead)?;
        let seq = seq.parse().ok().filter(|seq| *seq > 0).ok_or(InvalidHead)?;
        Ok(Self { seq, hash: Hash::parse(hash).ok_or(InvalidHead)? })
    }
}

#[derive(Serialize)]
struct Body<'a> {
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    written_with: Option<u64>,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(flatten)]
    event: &'a Event,
    prev_hash: String,
}

/// Appends the line of the entry behind `head` to `out`, which is to be written together with all since the entry `first`;
/// answers with the new head.
pub(super) fn append(
    out: &mut Vec<u8>,
    head: &Head,
    first: u64,
    (time, node): (DateTime<Utc>, Option<&str>),
    event: &Event,
) -> Result<Head, serde_json::Error> {
    let seq = head.seq + 1;
    let time = time.to_rfc3339_opts(SecondsFormat::Millis, true);
    let written_with = (first < seq).then_some(first);
    let body = Body { seq, written_with, time, node, event, prev_hash: head.hash.to_string() };
    let start = out.len();
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, AsciiFormatter);
    if let Err(error) = body.serialize(&mut serializer) {
        out.truncate(start);
        return Err(error);
    }
    let hash = Hash::of(&head.hash, &out[start..]);
    out.pop();
    out.extend_from_slice(format!("{HASH_MEMBER}{hash}{LINE_END}").as_bytes());
    Ok(Head { seq, hash })
}

/// `,"hash":"…"}` closes a line. What is hashed is the line without this member.
const HASH_MEMBER: &str = ",\"hash\":\"";
const LINE_END: &str = "\"}\n";
const HASH_LENGTH: usize = 43;

/// A line that agrees with its own hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) head: Head,
    /// The hash of the line before it, as it says.
    pub(super) previous: Hash,
    /// The first entry that was written together with it: all before that one were on disk by then.
    pub(super) first: u64,
}

/// Reads a line with its newline; `None` if it is not an entry whose hash is that of its content.
pub(super) fn read_line(line: &[u8]) -> Option<Link> {
    #[derive(Deserialize)]
    struct Linked {
        seq: u64,
        written_with: Option<u64>,
        prev_hash: String,
    }

    let line = line.strip_suffix(LINE_END.as_bytes())?;
    let (body, hash) = line.split_at_checked(line.len().checked_sub(HASH_LENGTH)?)?;
    let hash = Hash::parse(std::str::from_utf8(hash).ok()?)?;
    let mut body = body.strip_suffix(HASH_MEMBER.as_bytes())?.to_vec();
    body.push(b'}');
    let linked: Linked = serde_json::from_slice(&body).ok()?;
    let previous = Hash::parse(&linked.prev_hash)?;
    let agrees = Hash::of(&previous, &body) == hash;
    let first = linked.written_with.unwrap_or(linked.seq);
    agrees.then_some(Link { head: Head { seq: linked.seq, hash }, previous, first })
}

/// Compact JSON in printable ASCII: nothing in a log line can move a terminal's cursor, reverse a text or
/// end the line for some reader.
struct AsciiFormatter;

impl Formatter for AsciiFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for character in fragment.chars() {
            if matches!(character, ' '..='~') {
                writer.write_all(&[character as u8])?;
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        char_escape: serde_json::ser::CharEscape,
    ) -> io::Result<()> {
        CompactFormatter.write_char_escape(writer, char_escape)
    }
}
