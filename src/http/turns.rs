//! Whose turn it is on a worker.
//!
//! A worker does one thing at a time, and a connection on which much was sent at once has it do much at once while all others wait.
//! So what follows upon the first request that is found on a connection stands in line: one of all those that wait goes on each
//! time that the worker has looked at its sockets. Who has one thing to ask waits for one such at most, however many wait. New
//! connections have a line of their own, for each is a handshake, or a first reading.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::thread::LocalKey;
use std::time::Duration;

use actix_web::rt;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::heads::Heads;
use crate::telemetry::Metrics;

/// How long a request stands in line at most; then its connection is closed. Meanwhile it can't be seen whether the client is
/// still there, and it need not read anything.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// How many new connections are begun each time that the worker has looked at its sockets, and what part of those that wait if that is
/// more: a worker that has much to do looks seldom.
const NEW_AT_ONCE: usize = 8;
const NEW_PART: usize = 256;

/// Tells one that waits that it is its turn.
type Call = oneshot::Sender<()>;

/// Those who wait on a worker, which is a thread. At first nobody calls them.
type Waiting = RefCell<UnboundedSender<Call>>;

thread_local! {
    static REQUESTS: Waiting = nobody();
    static NEW: Waiting = nobody();
}

fn nobody() -> Waiting {
    RefCell::new(mpsc::unbounded_channel().0)
}

/// Waits until it is the turn of a connection that is new.
///
/// # Errors
/// When it would wait for too long: then it is over.
pub(super) async fn new_connection() -> io::Result<()> {
    Ok(timeout(LONGEST_WAIT, turn(&NEW, |waiting| NEW_AT_ONCE.max(waiting / NEW_PART))).await?)
}

/// Waits until those who wait in `line` already have been called; each time that the worker has looked at its sockets `at_once` of so many as
/// wait are. Who was called and does not go on holds up nobody.
async fn turn(line: &'static LocalKey<Waiting>, at_once: fn(usize) -> usize) {
    let (call, called) = oneshot::channel();
    line.with_borrow_mut(|line| {
        let Err(unheard) = line.send(call) else { return };
        let (new, waiting) = mpsc::unbounded_channel();
        rt::spawn(call_in_turn(waiting, at_once));
        *line = new;
        line.send(unheard.0).ok();
    });
    // An error: the worker ends.
    called.await.ok();
}

async fn call_in_turn(mut waiting: UnboundedReceiver<Call>, at_once: fn(usize) -> usize) {
    let mut left = at_once(0);
    while let Some(next) = waiting.recv().await {
        // One that is gone takes no turn.
        left -= usize::from(next.send(()).is_ok());
        if left == 0 {
            // Comes back when the worker has looked at its sockets, unlike who wakes itself.
            tokio::task::yield_now().await;
            left = at_once(waiting.len());
        }
    }
}

/// What may still come of a body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes.
    Left(u64),
    /// It says itself where it ends.
    Unknown,
}

impl Default for Body {
    fn default() -> Self {
        Self::Left(0)
    }
}

impl Body {
    fn without(self, length: usize) -> Self {
        match self {
            Self::Left(left) => Self::Left(left.saturating_sub(length.try_into().unwrap_or(u64::MAX))),
            Self::Unknown => Self::Unknown,
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
    /// A request of it is being answered.
    answering: Cell<bool>,
    /// What may still come of the body of the request that began last.
    body: Cell<Body>,
    /// How many bytes came behind the head that was taken last.
    along: Cell<usize>,
    /// What was read of the head that is under way.
    heads: Cell<Heads>,
    /// A head was taken, and its request has not begun.
    has_head: Cell<bool>,
    /// A request stood in line for too long.
    over: Cell<bool>,
    /// Who would read on.
    reader: Cell<Option<Waker>>,
}

impl Connection {
    /// Some `bytes` have come; `awaited` where the worker had to wait for them. How many of them are to be taken apart now: what belongs
    /// to a body whose length is known, or else one head and what has come of its body. Taken apart a head is many times as large, and
    /// all that have come would be.
    pub(super) fn take(&self, bytes: &[u8], awaited: bool) -> usize {
        if awaited {
            self.fresh.set(true);
        }
        if let Body::Left(left @ 1..) = self.body.get() {
            let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.body.set(Body::Left(left - taken as u64));
            return taken;
        }
        let mut heads = self.heads.get();
        let end = heads.end_in(bytes);
        let taken = match end {
            Some(end) if { heads }.end_in(&bytes[end..]).is_some() => end,
            Some(end) => {
                heads.end_in(&bytes[end..]);
                bytes.len()
            }
            None => bytes.len(),
        };
        self.heads.set(heads);
        if end.is_some() {
            self.has_head.set(true);
        }
        self.along.set(end.map_or_else(|| self.along.get() + taken, |end| taken - end));
        taken
    }

    /// Whether a head was taken whose request has not begun: it is not known yet what of that which follows is its body.
    pub(super) fn has_head(&self) -> bool {
        self.has_head.get()
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
        self.waits.get() || self.unread.get() || (self.answering.get() && self.body.get() == Body::Left(0))
    }

    /// A request is being answered until what is returned is dropped. Of its `body`, what did not come with its head may be on its way,
    /// and nothing more is read meanwhile.
    pub(super) fn answers(self: Rc<Self>, body: Body) -> UnderWay {
        self.answering.set(true);
        let left = body.without(self.along.take());
        self.body.set(left);
        self.has_head.set(false);
        if let Body::Left(1..) = left {
            // What has come is of this body. Else it may be of the next head.
            self.heads.take();
        }
        UnderWay(self)
    }

    /// The body of the request that began last has been read to its end.
    pub(super) fn has_body(&self) {
        self.body.set(Body::Left(0));
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
        self.wait_for(turn(&REQUESTS, |_| 1), metrics).await
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
        self.0.answering.set(false);
        // Of what is left of a body nothing more is wanted: the connection ends with the answer.
        self.0.body.set(Body::Left(0));
        self.0.read_on();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::rc::Rc;

    use super::*;

    #[actix_web::test]
    async fn new_connections_are_begun_a_few_at_a_time_in_the_order_in_which_they_came() {
        let begun = Rc::new(RefCell::new(Vec::new()));
        for number in 0..100 {
            let begun = begun.clone();
            rt::spawn(async move {
                new_connection().await.unwrap();
                begun.borrow_mut().push(number);
            });
        }
        // Each of these is over when the worker has looked at its sockets.
        let mut before = 0;
        while begun.borrow().len() < 100 {
            tokio::task::yield_now().await;
            let now = begun.borrow().len();
            assert!(now - before <= NEW_AT_ONCE, "{before} and then {now}");
            before = now;
        }
        assert!(begun.borrow().is_sorted());
        // Of many more, so that they do not wait for as many turns.
        for _ in 0..10_000 {
            rt::spawn(new_connection());
        }
        let last = rt::spawn(new_connection());
        let mut turns = 0;
        while !last.is_finished() {
            tokio::task::yield_now().await;
            turns += 1;
        }
        assert!(turns < 900, "{turns}");
        // A request that stands in line meanwhile waits for none of them.
        let called = Rc::new(Cell::new(false));
        for _ in 0..100 {
            rt::spawn(new_connection());
        }
        let told = called.clone();
        rt::spawn(async move {
            turn(&REQUESTS, |_| 1).await;
            told.set(true);
        });
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        assert!(called.get());
    }

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
