use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::chain::{Head, read_line};
use super::file::End;
use super::{AuditError, chain};

/// Where the next entry is linked to.
pub(super) struct Tail {
    pub(super) head: Head,
    pub(super) torn: Option<Torn>,
}

/// What the last write left when the power went in it, which was cut off: a last line without an end, or lines with holes.
pub(super) struct Torn {
    pub(super) bytes: u64,
    /// How many whole entries are among them, which nobody was told of.
    pub(super) entries: u64,
    pub(super) sha256: String,
}

/// The window that is read first; it doubles until two whole lines are in it. What one write appended is nearly always less.
const WINDOW: u64 = 1024 * 1024;

/// Reads the end of the log, cuts off what a power cut left of the last write, and checks the last two lines before it.
///
/// What is left of the last write is written once more before anything follows it. If it was never flushed, for the disk failed
/// then, the system has it in memory and counts it as written; and entries behind it would say that it was on disk when they were
/// written, of which a power cut would make damage.
pub(super) fn read(file: &mut dyn End) -> Result<Tail, AuditError> {
    let unavailable = |error: io::Error| AuditError::Unavailable(error.to_string());
    let length = file.len();
    let mut window = WINDOW.min(length);
    let mut bytes = file.read_from(length - window).map_err(unavailable)?;
    while window < length && !holds_last_write(sound(&bytes)) {
        window = (window * 2).min(length);
        bytes = file.read_from(length - window).map_err(unavailable)?;
    }
    let end = sound(&bytes).iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let (sound, torn) = bytes.split_at(end);
    // Both looks come before the cut: evidence is left as it was.
    let head = last_entry(sound).map_err(|reason| file.damaged(reason))?;
    let entries = entries_of_one_write(torn, head.seq + 1).ok_or_else(|| file.damaged(LATER_ENTRIES))?;
    let torn = cut_torn(file, torn, entries).map_err(unavailable)?;
    let again = &sound[start_of_last_write(sound)..];
    file.write_again(file.len() - again.len() as u64, again).map_err(unavailable)?;
    Ok(Tail { head, torn })
}

/// What stands before the first hole. A file that has become longer reads as zeros where the disk had not yet written what was
/// appended, and what lies behind is of the same write: nobody was told that any of it is there. Entries are printable ASCII, so
/// whoever changes one leaves no zero; who writes zeros over the last ones could as well cut them off, which would show less.
fn sound(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
}

/// Whether all of the last write is in `bytes`, and the line before its last.
fn holds_last_write(bytes: &[u8]) -> bool {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    // Of the first in the window there may be half.
    let whole = lines.clone().count().saturating_sub(1);
    let Some(last) = lines.next_back() else { return false };
    // What is no entry is told of by whoever reads it.
    whole >= 2 && read_line(last).is_none_or(|link| whole as u64 > link.head.seq.saturating_sub(link.first))
}

/// Where the last write begins in `sound`, which ends with a whole line.
fn start_of_last_write(sound: &[u8]) -> usize {
    let lines = || sound.split_inclusive(|byte| *byte == b'\n').rev();
    let Some(last) = lines().next().and_then(read_line) else { return sound.len() };
    let entries =
        usize::try_from(last.head.seq.saturating_sub(last.first)).unwrap_or(usize::MAX).saturating_add(1);
    sound.len() - lines().take(entries).map(<[u8]>::len).sum::<usize>()
}

const LATER_ENTRIES: &str = "zeros stand in it before entries that were written when all before them was on disk, which no power cut does";

/// How many whole entries are in what follows the last sound line, where entry `next` stood. `None` if one of them was written
/// after that entry was on disk: no power cut takes away what was, so something else has damaged it.
fn entries_of_one_write(torn: &[u8], next: u64) -> Option<u64> {
    let mut entries = 0;
    // A hole may reach up to an entry, and have taken the end of the line before with it.
    let between_holes = torn.split(|byte| *byte == 0);
    let lines = between_holes.flat_map(|part| part.split_inclusive(|byte| *byte == b'\n'));
    for link in lines.filter_map(read_line) {
        if link.first > next {
            return None;
        }
        entries += 1;
    }
    Some(entries)
}

fn cut_torn(file: &mut dyn End, torn: &[u8], entries: u64) -> io::Result<Option<Torn>> {
    if torn.is_empty() {
        return Ok(None);
    }
    let (bytes, sha256) = (torn.len() as u64, chain::digest(torn));
    keep(file.path(), &sha256, torn)?;
    file.cut(file.len() - bytes)?;
    Ok(Some(Torn { bytes, entries, sha256 }))
}

/// Keeps what is cut off in a file of its own beside the log: whoever put zeros there to have it forgotten has not got rid of it.
fn keep(log: &Path, sha256: &str, torn: &[u8]) -> io::Result<()> {
    let mut path = log.as_os_str().to_owned();
    path.push(format!(".torn-{}", sha256.get(..16).unwrap_or(sha256)));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(torn)?;
    file.sync_all()
}

/// The last entry of `bytes`, which ends with a whole line and begins anywhere.
fn last_entry(bytes: &[u8]) -> Result<Head, &'static str> {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').rev();
    let Some(last) = lines.next() else { return Ok(Head::NONE) };
    let last = read_line(last).ok_or("its last line does not agree with its hash")?;
    let before = match lines.next() {
        None => Head::NONE,
        Some(line) => read_line(line).ok_or("its last line but one does not agree with its hash")?.head,
    };
    let linked = last.head.seq == before.seq + 1 && last.previous == before.hash;
    if linked { Ok(last.head) } else { Err("its last line is not linked to the line before it") }
}
