//! Whose turn it is on a worker.
//!
//! A worker does one thing at a time, and a connection on which much was sent at once has it do much at once while all others wait.
//! So what follows upon the first request that is found on a connection stands in line: one of all those that wait goes on each
//! time that the worker has looked at its sockets. Who has one thing to ask waits for one such at most, however many wait.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use actix_web::rt;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::telemetry::Metrics;

/// How long a request stands in line at most; then its connection is closed. Meanwhile it can't be seen whether the client is
/// still there, and it need not read anything.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// Tells one that waits that it is its turn.
type Call = oneshot::Sender<()>;

thread_local! {
    /// Those who wait on this worker, which is a thread. At first nobody calls them.
    static LINE: RefCell<UnboundedSender<Call>> = RefCell::new(mpsc::unbounded_channel().0);
}

/// Waits until those who wait already have been called, and the worker has looked at its sockets since. Who was called and does
/// not go on holds up nobody.
async fn turn() {
    let (call, called) = oneshot::channel();
    LINE.with_borrow_mut(|line| {
        let Err(unheard) = line.send(call) else { return };
        let (new, waiting) = mpsc::unbounded_channel();
        rt::spawn(call_in_turn(waiting));
        *line = new;
        line.send(unheard.0).ok();
    });
    // An error: the worker ends.
    called.await.ok();
}

async fn call_in_turn(mut waiting: UnboundedReceiver<Call>) {
    while let Some(next) = waiting.recv().await {
        // One that is gone takes no turn.
        if next.send(()).is_ok() {
            // Comes back when the worker has looked at its sockets, unlike who wakes itself.
            tokio::task::yield_now().await;
        }
    }
}

/// What a connection and its requests know of each other.
#[derive(Default)]
pub(super) struct Connection {
    /// Something was read that the worker had to wait for, and no request has begun since.
    fresh: Cell<bool>,
    /// A request of it stands in line.
    waits: Cell<bool>,
    /// What it was answered does not get away.
    unread: Cell<bool>,
    /// How many bytes may still belong to the request that is being answered, if one is.
    under_way: Cell<Option<u64>>,
    /// A request stood in line for too long.
    over: Cell<bool>,
    /// Who would read on.
    reader: Cell<Option<Waker>>,
}

impl Connection {
    /// `length` bytes have come; `awaited` where the worker had to wait for them.
    pub(super) fn arrived(&self, length: usize, awaited: bool) {
        if awaited {
            self.fresh.set(true);
        }
        let length = length.try_into().unwrap_or(u64::MAX);
        self.under_way.set(self.under_way.get().map(|left| left.saturating_sub(length)));
    }

    /// Whether answers find no room.
    pub(super) fn unread(&self, unread: bool) {
        self.unread.set(unread);
        self.read_on();
    }

    /// Whether nothing more is to be read for now; whoever would is woken when it is.
    pub(super) fn has_enough(&self, context: &Context<'_>) -> bool {
        let enough = self.is_held();
        if enough {
            self.reader.set(Some(context.waker().clone()));
        }
        enough
    }

    /// What comes would wait anyway: behind a request, or behind its answer.
    fn is_held(&self) -> bool {
        self.waits.get() || self.unread.get() || self.under_way.get() == Some(0)
    }

    /// A request is being answered until what is returned is dropped; `length` bytes of its body may be on their way, and nothing
    /// more is read meanwhile.
    pub(super) fn answers(self: Rc<Self>, length: u64) -> UnderWay {
        self.under_way.set(Some(length));
        UnderWay(self)
    }

    /// The body of the request that is being answered has been read to its end.
    pub(super) fn has_body(&self) {
        self.under_way.set(self.under_way.get().map(|_| 0));
    }

    /// Whether the request that begins now is the first of what came together.
    pub(super) fn begins(&self) -> bool {
        self.fresh.take()
    }

    /// Has a request stand in line, and reads nothing meanwhile.
    ///
    /// # Errors
    /// When it would wait for too long: then the connection is over, which is counted.
    pub(super) async fn stand_in_line(&self, metrics: &Metrics) -> io::Result<()> {
        self.wait_for(turn(), metrics).await
    }

    async fn wait_for(&self, turn: impl Future<Output = ()>, metrics: &Metrics) -> io::Result<()> {
        self.go_on()?;
        self.waits.set(true);
        let called = timeout(LONGEST_WAIT, turn).await;
        self.waits.set(false);
        if called.is_err() {
            self.over.set(true);
            metrics.http_line_timeouts.increment(1);
        }
        self.read_on();
        self.go_on()
    }

    /// Fails once the connection is over.
    pub(super) fn go_on(&self) -> io::Result<()> {
        if self.over.get() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    fn read_on(&self) {
        if self.is_held() {
            return;
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// A request that is being answered.
pub(super) struct UnderWay(Rc<Connection>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.set(None);
        self.0.read_on();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_request_is_never_called_is_over() {
        let (connection, metrics) = (Connection::default(), Metrics::new(&[], "n"));
        let closed = || metrics.render().lines().any(|line| line == "signet_http_line_timeouts_total 1");
        connection.wait_for(async {}, &metrics).await.unwrap();
        connection.go_on().unwrap();
        let begun = tokio::time::Instant::now();
        assert!(!closed());
        connection.wait_for(pending(), &metrics).await.unwrap_err();
        assert_eq!(begun.elapsed().as_secs(), LONGEST_WAIT.as_secs());
        assert!(closed());
        connection.go_on().unwrap_err();
        // What waits behind it does not wait again, nor is its connection counted twice.
        connection.wait_for(pending(), &metrics).await.unwrap_err();
        assert_eq!(begun.elapsed().as_secs(), LONGEST_WAIT.as_secs());
        assert!(closed());
    }
}
