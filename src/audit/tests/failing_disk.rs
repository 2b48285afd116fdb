use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

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

fn on(disk: &Disk) -> AuditLog {
    let state = State::new(Box::new(disk.clone()), Head::NONE, (clock(), None));
    AuditLog { path: PathBuf::new(), writer: Writer::start(state).unwrap() }
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

#[tokio::test]
async fn an_event_is_on_disk_before_the_caller_is_told() {
    let disk = Disk::default();
    let open = on(&disk);
    open.record(event(0)).await.unwrap();
    assert_eq!(disk.state.synced.load(Ordering::SeqCst), 1);
}
