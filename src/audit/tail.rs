use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::chain::{Head, read_line};
use super::file::LogFile;
use super::{AuditError, chain};

/// Where the next entry is linked to.
pub(super) struct Tail {
    pub(super) head: Head,
    pub(super) torn: Option<Torn>,
}

/// What the last write left when the power went in it, which was cut off: a last line without an end, or lines with holes.
pub(super) struct Torn {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// The window that is read first; it doubles until two whole lines are in it. What one write appended is nearly always less.
const WINDOW: u64 = 1024 * 1024;

/// Reads the end of the log, cuts off what a power cut left of the last write, and checks the last two lines before it.
pub(super) fn read(file: &mut LogFile) -> Result<Tail, AuditError> {
    let unavailable = |error: io::Error| AuditError::Unavailable(error.to_string());
    let length = file.len();
    let mut window = WINDOW.min(length);
    let mut bytes = file.read_from(length - window).map_err(unavailable)?;
    while window < length && newlines(sound(&bytes)) < 3 {
        window = (window * 2).min(length);
        bytes = file.read_from(length - window).map_err(unavailable)?;
    }
    let end = sound(&bytes).iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let torn = cut_torn(file, &bytes[end..]).map_err(unavailable)?;
    let head = last_entry(&bytes[..end])
        .map_err(|reason| AuditError::Damaged { path: file.path.clone(), reason: reason.to_owned() })?;
    Ok(Tail { head, torn })
}

/// What stands before the first hole. A file that has become longer reads as zeros where the disk had not yet written what was
/// appended, and what lies behind is of the same write or a later one: nobody was told that any of it is there. Entries are
/// printable ASCII, so whoever changes one leaves no zero; who writes zeros could as well cut the end off, which would show less.
fn sound(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count() - 1
}

fn cut_torn(file: &mut LogFile, torn: &[u8]) -> io::Result<Option<Torn>> {
    if torn.is_empty() {
        return Ok(None);
    }
    let (bytes, sha256) = (torn.len() as u64, chain::digest(torn));
    keep(&file.path, &sha256, torn)?;
    file.cut(file.len() - bytes)?;
    Ok(Some(Torn { bytes, sha256 }))
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
