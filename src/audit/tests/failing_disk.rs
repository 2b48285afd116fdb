use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::FutureExt as _;

use super::*;
use crate::audit::writer::LONGEST_QUEUE;

/// A disk that fails on demand.
#[derive(Clone, Default)]
struct Disk {
    state: Arc<DiskState>,
}

#[derive(Default)]
struct DiskState {
    full: AtomicBool,
    dying: AtomicBool,
    stuck: AtomicBool,
    synced: AtomicU64,
    bytes: std::sync::Mutex<Vec<u8>>,
    durable: AtomicU64,
}

impl Sink for Disk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let full = self.state.full.load(Ordering::SeqCst);
        let written = if full { &bytes[..bytes.len() / 2] } else { bytes };
        self.state.bytes.lock().unwrap().extend_from_slice(written);
        if full { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.state.dying.load(Ordering::SeqCst) {
            return Err(io::Error::other("input/output error"));
        }
        self.state.synced.fetch_add(1, Ordering::SeqCst);
        let length = self.state.bytes.lock().unwrap().len() as u64;
        self.state.durable.store(length, Ordering::SeqCst);
        Ok(())
    }

    fn take_back(&mut self) -> io::Result<()> {
        if self.state.stuck.load(Ordering::SeqCst) {
            return Err(io::Error::other("read-only"));
        }
        let length = usize::try_from(self.state.durable.load(Ordering::SeqCst)).unwrap();
        self.state.bytes.lock().unwrap().truncate(length);
        Ok(())
    }
}

/// A disk that, at every sync, waits until it may go on.
struct Gated {
    disk: Disk,
    may_go_on: std::sync::mpsc::Receiver<()>,
}

impl Sink for Gated {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        // Nobody holds it up any more when the sender is gone.
        self.may_go_on.recv().ok();
        self.disk.sync()
    }

    fn take_back(&mut self) -> io::Result<()> {
        self.disk.take_back()
    }
}

#[tokio::test]
async fn no_more_events_wait_for_the_disk_than_there_is_room_for() {
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    let sink = Gated { disk: Disk::default(), may_go_on };
    let state = State::new(Box::new(sink), Head::NONE, (clock(), None));
    let writer = Writer::start(state).unwrap();
    // Whoever waits may go away: what was queued is written all the same.
    let write = async || writer.write(event(0), &mut Pending::default()).await;
    let mut waiting: Vec<_> = (0..LONGEST_QUEUE).map(|_| Box::pin(write())).collect();
    for each in &mut waiting {
        assert!(each.as_mut().now_or_never().is_none());
    }
    waiting.truncate(3);
    let refused = write().now_or_never();
    assert!(matches!(refused, Some(Err(AuditError::Unavailable(_)))));
    assert_eq!(writer.failures(), 1);
    drop(go_on);
    for each in waiting {
        each.await.unwrap();
    }
    while writer.head().map(|head| head.seq()) != Some(LONGEST_QUEUE as u64) {
        tokio::task::yield_now().await;
    }
    write().await.unwrap();
}

#[tokio::test]
async fn what_is_tried_again_with_what_is_pending_is_written_once() {
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    let sink = Gated { disk: Disk::default(), may_go_on };
    let writer = Writer::start(State::new(Box::new(sink), Head::NONE, (clock(), None))).unwrap();
    let mut pending = Pending::default();
    for _ in 0..3 {
        assert!(writer.write(event(0), &mut pending).now_or_never().is_none());
    }
    drop(go_on);
    writer.write(event(0), &mut pending).await.unwrap();
    // Then it is over: what comes next is another one.
    writer.write(event(1), &mut pending).await.unwrap();
    assert_eq!(writer.head().map(|head| head.seq()), Some(2));
}

fn on(disk: &Disk) -> AuditLog {
    let state = State::new(Box::new(disk.clone()), Head::NONE, (clock(), None));
    AuditLog {
        path: PathBuf::new(),
        writer: Writer::start(state).unwrap(),
        findings: 0,
        found: Mutex::default(),
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_leaves_no_half_line() {
    let disk = Disk::default();
    let open = on(&disk);
    open.record(event(0)).await.unwrap();
    disk.state.full.store(true, Ordering::SeqCst);
    assert!(matches!(open.record(event(1)).await, Err(AuditError::Unavailable(_))));
    assert_eq!(open.failures(), 1);
    disk.state.full.store(false, Ordering::SeqCst);
    open.record(event(2)).await.unwrap();
    let bytes = disk.state.bytes.lock().unwrap().clone();
    let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(chain::read_line(lines[1]).unwrap().head, open.head().unwrap());
}

#[tokio::test]
async fn a_half_line_that_can_not_be_taken_back_is_final() {
    let disk = Disk::default();
    let open = on(&disk);
    disk.state.full.store(true, Ordering::SeqCst);
    disk.state.stuck.store(true, Ordering::SeqCst);
    open.record(event(0)).await.unwrap_err();
    disk.state.full.store(false, Ordering::SeqCst);
    let error = open.record(event(1)).await.unwrap_err();
    assert!(error.to_string().contains("taken back"), "{error}");
}

#[tokio::test]
async fn a_failed_flush_is_final() {
    let disk = Disk::default();
    let open = on(&disk);
    disk.state.dying.store(true, Ordering::SeqCst);
    open.record(event(0)).await.unwrap_err();
    disk.state.dying.store(false, Ordering::SeqCst);
    let error = open.record(event(1)).await.unwrap_err();
    assert!(error.to_string().contains("a flush to disk failed"), "{error}");
    assert_eq!((open.failures(), open.head()), (2, None));
}

/// A file as the system shows it, and what of it the disk has. After a flush that failed the system takes the pages for written, as
/// Linux does: only what is written anew is flushed again.
#[derive(Clone, Default)]
struct Paged(Arc<std::sync::Mutex<Pages>>);

#[derive(Default)]
struct Pages {
    shown: Vec<u8>,
    disk: Vec<u8>,
    /// From where to where the system has what the disk has not.
    dirty: Vec<std::ops::Range<usize>>,
    dying: bool,
}

impl Pages {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        self.shown.resize(self.shown.len().max(end), 0);
        self.shown[at..end].copy_from_slice(bytes);
        self.dirty.push(at..end);
    }

    fn flush(&mut self) -> io::Result<()> {
        let dirty = std::mem::take(&mut self.dirty);
        if self.dying {
            return Err(io::Error::other("input/output error"));
        }
        for range in dirty {
            self.disk.resize(self.disk.len().max(range.end), 0);
            self.disk[range.clone()].copy_from_slice(&self.shown[range]);
        }
        Ok(())
    }
}

impl Paged {
    fn pages(&self) -> std::sync::MutexGuard<'_, Pages> {
        self.0.lock().unwrap()
    }

    /// The process is gone, and another opens the log.
    fn open(&self) -> Result<State, AuditError> {
        let mut end = self.clone();
        end.pages().flush().unwrap();
        let head = tail::read(&mut end)?.head;
        Ok(State::new(Box::new(end), head, (clock(), None)))
    }

    /// The power goes: what the disk has is left.
    fn cut_power(&self) {
        let mut pages = self.pages();
        pages.shown = pages.disk.clone();
        pages.dirty.clear();
    }
}

impl Sink for Paged {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut pages = self.pages();
        let end = pages.shown.len();
        pages.put(end, bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.pages().flush()
    }

    fn take_back(&mut self) -> io::Result<()> {
        unreachable!("nothing fails to be appended")
    }
}

impl file::End for Paged {
    fn path(&self) -> &Path {
        Path::new("")
    }

    fn len(&self) -> u64 {
        self.pages().shown.len() as u64
    }

    fn read_from(&mut self, start: u64) -> io::Result<Vec<u8>> {
        Ok(self.pages().shown[usize::try_from(start).unwrap()..].to_vec())
    }

    fn write_again(&mut self, start: u64, bytes: &[u8]) -> io::Result<()> {
        let mut pages = self.pages();
        pages.put(usize::try_from(start).unwrap(), bytes);
        pages.flush()
    }

    fn cut(&mut self, _: u64) -> io::Result<()> {
        unreachable!("nothing is torn")
    }
}

#[test]
fn what_a_failed_flush_left_in_memory_is_on_disk_before_anything_follows_it() {
    let events = |count: usize| (0..count).map(event).collect::<Vec<_>>();
    // The last of them is longer than the window that is read first.
    for lost in [1, 3, 4000] {
        let disk = Paged::default();
        let mut state = disk.open().unwrap();
        state.write(events(2).iter()).unwrap();
        disk.pages().dying = true;
        state.write(events(lost).iter()).unwrap_err();
        disk.pages().dying = false;
        // The next process sees what the disk has not, and goes on behind it.
        let mut state = disk.open().unwrap();
        state.write(events(1).iter()).unwrap();
        disk.cut_power();
        let mut end = disk.clone();
        let tail = tail::read(&mut end).unwrap();
        assert_eq!((tail.head.seq(), tail.torn.is_some()), (2 + lost as u64 + 1, false), "{lost}");
    }
}

#[tokio::test]
async fn an_event_is_on_disk_before_the_caller_is_told() {
    let disk = Disk::default();
    let open = on(&disk);
    open.record(event(0)).await.unwrap();
    assert_eq!(disk.state.synced.load(Ordering::SeqCst), 1);
}
