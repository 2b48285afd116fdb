use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::chain::{self, Head};
use super::file::Sink;
use super::{AuditError, Event};
use crate::clock::SharedClock;
use crate::stall::{HeldUp, Stall, Watch};

/// No more events share one flush.
const LARGEST_BATCH: usize = 1024;

/// No more wait, those included for which nobody waits any more: a disk that stalls again and again is given so many at most.
pub(super) const LONGEST_QUEUE: usize = 16 * LARGEST_BATCH;

type Answer = oneshot::Sender<Result<(), AuditError>>;

/// An event that was handed over, and of which nobody has heard yet whether it was written; or none.
#[derive(Debug, Default)]
pub struct Pending(Option<oneshot::Receiver<Result<(), AuditError>>>);

/// The one thread that writes; events that arrive while it waits for the disk share the next flush.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` only while it is dropped.
    queue: Option<Sender<(Event, Answer)>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    _watch: Watch,
}

#[derive(Debug)]
struct Shared {
    head: Mutex<Head>,
    failures: AtomicU64,
    failing: AtomicBool,
    stall: Stall,
    /// How many are queued or being written.
    queued: AtomicUsize,
    flushes: AtomicU64,
}

impl Writer {
    /// Starts the thread that goes on from `state`.
    pub(super) fn start(state: State) -> Result<Self, AuditError> {
        let (queue, events) = channel();
        let shared = Arc::clone(&state.shared);
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || state.run(&events))
            .map_err(|error| AuditError::Unavailable(error.to_string()))?;
        let watched = Arc::clone(&shared);
        let watch = Watch::start("audit-watch", move || watched.stall.look())
            .map_err(|error| AuditError::Unavailable(error.to_string()))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), shared, _watch: watch })
    }

    /// Writes `event`, with those that come at the same time; while the disk is held up it is refused. One that is `pending` is waited for,
    /// and not written again.
    pub(super) async fn write(&self, event: Event, pending: &mut Pending) -> Result<(), AuditError> {
        let answer = match &mut pending.0 {
            Some(answer) => answer,
            none => none.insert(self.submit(event)?),
        };
        // What is under way is counted when it fails.
        let written = self.shared.stall.outlasted_by(answer).await.map_err(unavailable)?;
        pending.0 = None;
        written.unwrap_or_else(|_| Err(AuditError::stopped()))
    }

    /// Queues `event`, if nothing holds it up.
    fn submit(&self, event: Event) -> Result<oneshot::Receiver<Result<(), AuditError>>, AuditError> {
        let refused = if self.shared.queued.load(Ordering::Relaxed) >= LONGEST_QUEUE {
            Some(AuditError::Unavailable("too many events wait for the disk".into()))
        } else {
            self.shared.stall.lasts().then(|| unavailable(HeldUp))
        };
        if let Some(refused) = refused {
            self.shared.failures.fetch_add(1, Ordering::Relaxed);
            return Err(refused);
        }
        let (answer, pending) = oneshot::channel();
        self.shared.queued.fetch_add(1, Ordering::Relaxed);
        // A queue without a reader drops the answer, which the receiver sees.
        if let Some(queue) = &self.queue {
            queue.send((event, answer)).ok();
        }
        Ok(pending)
    }

    pub(super) fn head(&self) -> Option<Head> {
        let head = *self.shared.head.lock().unwrap_or_else(PoisonError::into_inner);
        (head != Head::NONE).then_some(head)
    }

    pub(super) fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    pub(super) fn is_failing(&self) -> bool {
        self.shared.failing.load(Ordering::Relaxed) || self.shared.stall.lasts()
    }

    pub(super) fn flushes(&self) -> u64 {
        self.shared.flushes.load(Ordering::Relaxed)
    }
}

fn unavailable(held_up: HeldUp) -> AuditError {
    AuditError::Unavailable(held_up.to_string())
}

impl Drop for Writer {
    /// Writes what is queued; the file is unlocked when this returns.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// What is written to, and where it stands.
pub(super) struct State {
    sink: Box<dyn Sink>,
    head: Head,
    clock: SharedClock,
    /// Which node writes, where there are several.
    node: Option<String>,
    /// Why nothing can be written any more.
    broken: Option<String>,
    shared: Arc<Shared>,
}

impl State {
    /// Appends to `sink` behind `head`.
    pub(super) fn new(sink: Box<dyn Sink>, head: Head, (clock, node): (SharedClock, Option<String>)) -> Self {
        let shared = Shared {
            head: Mutex::new(head),
            failures: 0.into(),
            failing: false.into(),
            stall: Stall::new(clock.clone()),
            queued: 0.into(),
            flushes: 0.into(),
        };
        Self { sink, head, clock, node, broken: None, shared: Arc::new(shared) }
    }

    fn run(mut self, events: &Receiver<(Event, Answer)>) {
        let shared = Arc::clone(&self.shared);
        while let Ok(first) = events.recv() {
            let batch: Vec<_> =
                std::iter::once(first).chain(events.try_iter().take(LARGEST_BATCH - 1)).collect();
            let under_way = shared.stall.begin();
            let written = self.write(batch.iter().map(|(event, _)| event));
            self.shared.failing.store(written.is_err(), Ordering::Relaxed);
            if written.is_err() {
                self.shared.failures.fetch_add(batch.len() as u64, Ordering::Relaxed);
            }
            drop(under_way);
            shared.queued.fetch_sub(batch.len(), Ordering::Relaxed);
            for (_, answer) in batch {
                answer.send(written.clone().map_err(AuditError::Unavailable)).ok();
            }
        }
    }

    /// Writes all of `events`, durably, or none.
    pub(super) fn write<'a>(&mut self, events: impl Iterator<Item = &'a Event>) -> Result<(), String> {
        if let Some(reason) = &self.broken {
            return Err(reason.clone());
        }
        let mut lines = Vec::new();
        let mut head = self.head;
        let first = head.seq + 1;
        for event in events {
            head = chain::append(&mut lines, &head, first, (self.clock.now(), self.node.as_deref()), event)
                .map_err(|e| e.to_string())?;
        }
        if lines.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.sink.append(&lines) {
            // Part of a line may be there. A full disk can get space again, so only a failure to take that
            // part back is final.
            if let Err(error) = self.sink.take_back() {
                self.broken = Some(format!("an incomplete line can't be taken back: {error}"));
            }
            return Err(error.to_string());
        }
        self.shared.flushes.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.sink.sync() {
            // The system may have dropped what it could not write: a later flush that succeeds proves nothing.
            let reason = format!("a flush to disk failed: {error}; start the service anew");
            self.broken = Some(reason.clone());
            return Err(reason);
        }
        self.head = head;
        *self.shared.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
        Ok(())
    }
}
