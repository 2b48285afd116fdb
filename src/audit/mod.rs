//! The hash-chained log of security-relevant acts.
//!
//! One JSON object a line, ASCII only. Each line ends with `"hash"`, the SHA-256 digest of the digest
//! before it and of the line up to there; so no line can be changed, removed or moved without
//! [`verify`] seeing it. A chain alone can't show that its end was cut off, or that all of it was written
//! anew: compare with a [`Head`] that was noted elsewhere.
//!
//! [`AuditLog::record`] returns once the entry is on disk, and fails if it can't be written: whoever does
//! something that must not go unrecorded records it first, and refuses if that fails.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! use signet::audit::{Actor, AuditLog, Event, EventKind, verify};
//! use signet::clock::SystemClock;
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("audit.jsonl");
//! let log = AuditLog::open(&path, SystemClock::shared())?;
//! log.record(Event::new(EventKind::ServiceStarted, Actor::Service).detail("version", "1.0")).await?;
//! assert!(verify(&path, log.head().as_ref())?.is_intact());
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chain;
mod difference;
mod event;
mod file;
mod origin;
mod search;
mod tail;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use chain::{Head, InvalidHead};
pub use difference::{Change, Difference, Told};
pub use event::{Actor, Event, EventKind, Outcome};
pub use file::Sink;
pub use origin::{Origin, RequestId};
pub use search::{Entry, EntryActor, Found, Search, search};
pub use verify::{Damage, Report, verify};

use crate::clock::SharedClock;
use file::LogFile;
pub use writer::Pending;
use writer::{State, Writer};

/// An audit log, open for writing. One process can have it open.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    writer: Writer,
    /// How many things were found to be wrong with it when it was opened.
    findings: usize,
    /// The number of its last entry when it was opened, for who asks first.
    found: Mutex<Option<u64>>,
}

/// So much of a log's end is recomputed when it is opened, in bytes: some 40,000 entries, in less than a tenth of a second. More would
/// make a start wait that has a long log.
const LOOKED_AT: u64 = 16 * 1024 * 1024;

impl AuditLog {
    /// Opens the log at `path`, or begins it, and recomputes the end of the chain, 16 MiB of it; the rest is
    /// for [`verify`]. What is wrong there is told and recorded as `audit.damaged`, and the log goes on: its last two lines, to which
    /// the next is linked, must be sound. A last line without an end, or lines with holes (zeros), left by a crash or a power cut in the middle of
    /// a write that nobody was told of, are cut off and recorded as `audit.tail_cut`. Where whole entries follow that were written
    /// after all before them was on disk, it was no power cut: nothing is cut off then.
    ///
    /// # Errors
    /// When the file can't be read or written, when another process has it open, and when its end is
    /// damaged in any other way.
    pub fn open(path: &Path, clock: SharedClock) -> Result<Arc<Self>, AuditError> {
        Self::open_through(path, (clock, None), |file| file)
    }

    /// Opens the log of one node of several: every entry says which. Each has a log of its own.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_of_node(path: &Path, clock: SharedClock, node: &str) -> Result<Arc<Self>, AuditError> {
        Self::open_through(path, (clock, Some(node.to_owned())), |file| file)
    }

    /// As [`Self::open_of_node`] or [`Self::open`], with what `wrap` makes of the file to write to: a test can put
    /// something in between that fails.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_through(
        path: &Path,
        (clock, node): (SharedClock, Option<String>),
        wrap: impl FnOnce(Box<dyn Sink>) -> Box<dyn Sink>,
    ) -> Result<Arc<Self>, AuditError> {
        let mut file = LogFile::open(path)?;
        let tail = tail::read(&mut file)?;
        let torn = tail.torn.as_ref().map(|torn| {
            Event::new(EventKind::AuditTailCut, Actor::Service)
                .detail("bytes", torn.bytes)
                .detail("entries", torn.entries)
                .detail("sha256", torn.sha256.as_str())
        });
        let found = Mutex::new(Some(tail.head.seq()));
        let mut state = State::new(wrap(Box::new(file)), tail.head, (clock, node));
        let findings = look(path)?;
        let damaged = (findings > 0)
            .then(|| Event::new(EventKind::AuditDamaged, Actor::Service).detail("findings", findings));
        state.write(torn.iter().chain(&damaged)).map_err(AuditError::Unavailable)?;
        Ok(Arc::new(Self { path: path.to_owned(), writer: Writer::start(state)?, findings, found }))
    }

    /// Records `event`, with the request that is being answered and where that came from ([`Origin`]); it is on disk when this returns. An entry is written even if the caller stops
    /// waiting.
    ///
    /// # Errors
    /// When it could not be written: then the act must not happen. After a failed flush to disk nothing
    /// can be recorded until the service is started anew, because what the disk holds is unknown. When the disk has held up a write for
    /// 5 seconds: of those who wait for it then the entries may be written later; whoever comes while that lasts is refused at once.
    pub async fn record(&self, event: Event) -> Result<(), AuditError> {
        self.writer.write(caused(event, Origin::current()), &mut Pending::default()).await
    }

    /// The same for the request that it was done for, where that is not the one that is being answered now; sooner or later, and once: who
    /// was told that it could not be recorded, or stopped waiting, tries again with the same event and the same `pending`, which knows
    /// whether it may be written yet.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn record_once(
        &self,
        (origin, event): (Option<Origin>, Event),
        pending: &mut Pending,
    ) -> impl Future<Output = Result<(), AuditError>> + Send {
        self.writer.write(caused(event, origin), pending)
    }

    /// Looks for entries, from the newest on. Reads a bounded part of the file, off the async threads.
    ///
    /// # Errors
    /// When the file can't be read.
    pub async fn search(&self, search: Search) -> Result<Found, AuditError> {
        let path = self.path.clone();
        let found = tokio::task::spawn_blocking(move || search::search(&path, &search)).await;
        found.unwrap_or_else(|_| Err(AuditError::stopped()))
    }

    /// The last entry on disk: note it elsewhere, and [`verify`] can tell whether the end was cut off.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        self.writer.head()
    }

    /// The number of the last entry as it was found, 0 if there was none: what was recorded since, by the opening itself too, would
    /// stand for as many entries that were cut off. For who asks first; later the log is the one that this process has written.
    #[must_use]
    pub fn take_found(&self) -> Option<u64> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether the last event could be recorded, and none is held up. Nothing is tried: a full disk shows at the next event.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        !self.writer.is_failing()
    }

    /// Whether its end was found to agree with itself when it was opened.
    #[must_use]
    pub fn was_intact(&self) -> bool {
        self.findings == 0
    }

    /// How many events could not be recorded since the log was opened.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.writer.failures()
    }

    /// How many times the disk was made to flush; many events share one.
    #[must_use]
    pub fn flushes(&self) -> u64 {
        self.writer.flushes()
    }
}

fn caused(event: Event, origin: Option<Origin>) -> Event {
    match origin {
        Some(origin) => event.caused_by(&origin),
        None => event,
    }
}

/// How many things are wrong with the end of the log at `path`, which is told.
fn look(path: &Path) -> Result<usize, AuditError> {
    let found = verify::verify_end(path, LOOKED_AT);
    let findings = found.map_err(|error| AuditError::Unavailable(error.to_string()))?.damage.len();
    if findings > 0 {
        tracing::error!(
            path = %path.display(),
            findings,
            "the audit log was altered, or the disk has damaged it: entries are missing or are not what was written. `signet audit verify` \
             says which; keep a copy as evidence, find out who could write the file, then stop the service and move the log away, so \
             that the next start begins a new one"
        );
    }
    Ok(findings)
}

/// The log can't be opened, or an event not recorded.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file can't be read or written.
    #[error("the audit log can't be written: {0}")]
    Unavailable(String),
    /// What is there can't be appended to, cut and read again.
    #[error("{} is no regular file; move away what is there, so that a log can begin", .0.display())]
    NotAFile(PathBuf),
    /// The file is open elsewhere.
    #[error("{} is open in another Signet process; stop that one first", .0.display())]
    InUse(PathBuf),
    /// The end of the file is not what was written.
    #[error(
        "{}: {reason}; keep the file as evidence, see what `signet audit verify` says, then move it away so that a new log begins", .path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with its end.
        reason: String,
    },
}

impl AuditError {
    fn stopped() -> Self {
        Self::Unavailable("its writer has stopped".into())
    }
}
