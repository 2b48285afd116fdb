use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, BufRead, BufReader, Seek as _, SeekFrom};
use std::path::Path;

use serde::Serialize;

use super::chain::{Head, Link, read_line};
use super::file::open_to_read;

/// What [`verify`] found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many lines agree with their own hash.
    pub entries: u64,
    /// The last entry: note it elsewhere, for the next time.
    pub head: Option<Head>,
    /// What is wrong, in the order of the file.
    pub damage: Vec<Damage>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.damage.is_empty()
    }
}

/// One thing that is wrong with a log. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "damage", rename_all = "snake_case")]
pub enum Damage {
    /// The line is no entry, or does not agree with its hash.
    Altered {
        /// Which line.
        line: u64,
    },
    /// Entries that were there are not.
    Missing {
        /// The line before which they are missing.
        line: u64,
        /// The first missing entry.
        first: u64,
        /// The last missing entry.
        last: u64,
    },
    /// The entry is not in its place, or there twice.
    Misplaced {
        /// Which line.
        line: u64,
        /// The entry's number.
        seq: u64,
    },
    /// The entry agrees with its hash, but is not linked to the one before it: one of the two was written anew.
    Unlinked {
        /// Which line.
        line: u64,
        /// The entry's number.
        seq: u64,
    },
    /// The last line has no end: a crash, or a cut.
    Torn {
        /// Which line.
        line: u64,
    },
    /// The log ends before the head that was noted.
    Truncated {
        /// The last entry there is; 0 for none.
        last: u64,
        /// The entry that was noted.
        expected: u64,
    },
    /// The entry that was noted has another hash: the log was written anew.
    Rewritten {
        /// The entry's number.
        seq: u64,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered { line } => write!(f, "line {line} was altered"),
            Self::Missing { line, first, last } if first == last => {
                write!(f, "entry {first} is missing before line {line}")
            }
            Self::Missing { line, first, last } => {
                write!(f, "entries {first} to {last} are missing before line {line}")
            }
            Self::Misplaced { line, seq } => {
                write!(f, "line {line}: entry {seq} is out of place or repeated")
            }
            Self::Unlinked { line, seq } => {
                write!(
                    f,
                    "line {line}: entry {seq} is not linked to the entry before it; one was written anew"
                )
            }
            Self::Torn { line } => write!(f, "line {line} has no end: a crash, or a cut"),
            Self::Truncated { last, expected } => {
                write!(f, "the log ends with entry {last}, before the noted entry {expected}")
            }
            Self::Rewritten { seq } => {
                write!(f, "entry {seq} has another hash than noted: the log was written anew")
            }
        }
    }
}

/// Recomputes the whole log at `path`; the service may be running. Without a `head` noted elsewhere,
/// nothing can be said about a cut end or a log written anew from its beginning.
///
/// # Errors
/// When the file can't be read.
pub fn verify(path: &Path, head: Option<&Head>) -> io::Result<Report> {
    walk(BufReader::new(open_to_read(path)?), Walk::new(head.copied()))
}

/// As [`verify`], of what is whole in the last `length` bytes of the log: a bounded work, however long it is. Lines count from where
/// that begins.
///
/// # Errors
/// When the file can't be read.
pub(super) fn verify_end(path: &Path, length: u64) -> io::Result<Report> {
    let mut reader = BufReader::new(open_to_read(path)?);
    let start = reader.get_ref().metadata()?.len().saturating_sub(length);
    if start == 0 {
        return walk(reader, Walk::new(None));
    }
    // The byte before tells whether a line begins there.
    reader.seek(SeekFrom::Start(start - 1))?;
    reader.skip_until(b'\n')?;
    walk(reader, Walk { highest: None, ..Walk::new(None) })
}

fn walk(mut log: impl BufRead, mut walk: Walk) -> io::Result<Report> {
    let mut line = Vec::new();
    while log.read_until(b'\n', &mut line)? > 0 {
        walk.line(&line);
        line.clear();
    }
    Ok(walk.finish())
}

struct Walk {
    expected: Option<Head>,
    line: u64,
    entries: u64,
    /// The entry with the highest number so far; none where it is not known what comes before, and any may be the first.
    highest: Option<Head>,
    /// Altered lines since then, each of which may have been an entry.
    altered: u64,
    gaps: Vec<Gap>,
    late: BTreeSet<u64>,
    damage: Vec<(u64, Damage)>,
}

struct Gap {
    line: u64,
    first: u64,
    last: u64,
}

impl Walk {
    fn new(expected: Option<Head>) -> Self {
        Self {
            expected,
            line: 0,
            entries: 0,
            highest: Some(Head::NONE),
            altered: 0,
            gaps: Vec::new(),
            late: BTreeSet::new(),
            damage: Vec::new(),
        }
    }

    fn line(&mut self, line: &[u8]) {
        self.line += 1;
        let number = self.line;
        match read_line(line) {
            Some(entry) => self.entry(&entry),
            None if line.last() == Some(&b'\n') => {
                self.damage.push((number, Damage::Altered { line: number }));
                self.altered += 1;
            }
            None => self.damage.push((number, Damage::Torn { line: number })),
        }
    }

    fn entry(&mut self, entry: &Link) {
        self.entries += 1;
        let (line, seq) = (self.line, entry.head.seq);
        let Some(highest) = self.highest else {
            self.highest = Some(entry.head);
            self.altered = 0;
            return;
        };
        if seq <= highest.seq {
            self.late.insert(seq);
            self.damage.push((line, Damage::Misplaced { line, seq }));
            return;
        }
        if self.expected.is_some_and(|head| head.seq == seq && head.hash != entry.head.hash) {
            self.damage.push((line, Damage::Rewritten { seq }));
        }
        let next = highest.seq + 1;
        if seq == next && entry.previous != highest.hash {
            self.damage.push((line, Damage::Unlinked { line, seq }));
        } else if seq > next + self.altered {
            self.gaps.push(Gap { line, first: next + self.altered, last: seq - 1 });
        }
        self.highest = Some(entry.head);
        self.altered = 0;
    }

    fn finish(mut self) -> Report {
        for gap in std::mem::take(&mut self.gaps) {
            // What turned up later was moved, not removed.
            let (mut first, mut last) = (gap.first, gap.last);
            while first <= last && self.late.contains(&first) {
                first += 1;
            }
            while first <= last && self.late.contains(&last) {
                last -= 1;
            }
            if first <= last {
                self.damage.push((gap.line, Damage::Missing { line: gap.line, first, last }));
            }
        }
        self.damage.sort_by_key(|(line, _)| *line);
        let highest = self.highest.unwrap_or(Head::NONE);
        if let Some(head) = self.expected.filter(|head| head.seq > highest.seq) {
            let damage = Damage::Truncated { last: highest.seq, expected: head.seq };
            self.damage.push((self.line, damage));
        }
        Report {
            entries: self.entries,
            head: (highest != Head::NONE).then_some(highest),
            damage: self.damage.into_iter().map(|(_, damage)| damage).collect(),
        }
    }
}
