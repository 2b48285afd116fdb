//! What a connection and its requests know of each other.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::pieces::{Body, Pieces};
use super::turns::{self, LONGEST_WAIT};
use crate::telemetry::Metrics;

/// How long a client may take at least to send the head of a request, and how long a connection is kept at least on which nothing is
/// under way.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How much longer a client may take than it is given at least, and into how many steps that is divided, which connections are given in
/// turn: thousands that were opened in the same moment do not end in the same moment.
pub(super) const SPREAD: Duration = Duration::from_secs(2);
const STEPS: u32 = 64;

thread_local! {
    /// How many connections this worker has begun.
    static BEGUN: Cell<u32> = const { Cell::new(0) };
}

/// For how long what a client still sends is passed over, so that it gets to see an answer that did not wait for it (RFC 9112,
/// section 9.6).
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// What a request that came behind another counts, where one that did not counts for one; from how much on a connection runs ahead of its
/// answers, and how much is remembered. A request that came while the answer before it left may count as behind it.
const BEHIND: u8 = 4;
const AHEAD: u8 = 3 * BEHIND;
const REMEMBERED: u8 = 16 * BEHIND;

/// What a connection waits for on which nothing is being answered, and since when.
#[derive(Clone, Copy)]
enum Awaited {
    /// The first of a request.
    Request(Instant),
    /// The rest of its head; of the first request, all of it.
    Head(Instant),
    /// Nothing: its last answer was given, and what still comes of that request's body is passed over.
    Nothing(Instant),
}

impl Awaited {
    /// The same from now on.
    fn anew(self) -> Self {
        let now = Instant::now();
        match self {
            Self::Request(_) => Self::Request(now),
            Self::Head(_) => Self::Head(now),
            Self::Nothing(_) => Self::Nothing(now),
        }
    }
}

/// What a connection and its requests know of each other.
pub(super) struct Connection {
    metrics: Arc<Metrics>,
    /// How much longer its client may take for anything than it is given at least.
    spare: Duration,
    /// Something came for which the worker had to wait, and no request has begun since.
    fresh: Cell<bool>,
    /// How far its requests run ahead of its answers.
    ahead: Cell<u8>,
    /// A request of it stands in line.
    waits: Cell<bool>,
    /// What it was answered does not get away.
    unread: Cell<bool>,
    /// A request of it is being answered.
    answering: Cell<bool>,
    /// What was taken apart of what came.
    pieces: Cell<Pieces>,
    awaited: Cell<Awaited>,
    /// A request stood in line for too long.
    over: Cell<bool>,
    /// Who would read on.
    reader: Cell<Option<Waker>>,
}

impl Connection {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        let begun = BEGUN.get().wrapping_add(1);
        BEGUN.set(begun);
        Self {
            metrics,
            spare: SPREAD / STEPS * (begun % STEPS),
            fresh: Cell::default(),
            ahead: Cell::default(),
            waits: Cell::default(),
            unread: Cell::default(),
            answering: Cell::default(),
            pieces: Cell::default(),
            awaited: Cell::new(Awaited::Head(Instant::now())),
            over: Cell::default(),
            reader: Cell::default(),
        }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How long its client may take for what it is given so long for at least.
    pub(super) fn patience(&self, least: Duration) -> Duration {
        least + self.spare
    }

    /// Something came for which the worker had to wait.
    pub(super) fn was_awaited(&self) {
        self.fresh.set(true);
    }

    /// Some `bytes` have come. How many of them are to be taken apart now.
    pub(super) fn take(&self, bytes: &[u8]) -> usize {
        if let (false, Awaited::Request(_)) = (self.has_body_to_come(), self.awaited.get()) {
            self.awaited.set(Awaited::Head(Instant::now()));
        }
        self.change(|pieces| pieces.take(bytes))
    }

    fn change<R>(&self, change: impl FnOnce(&mut Pieces) -> R) -> R {
        let mut pieces = self.pieces.get();
        let changed = change(&mut pieces);
        self.pieces.set(pieces);
        changed
    }

    fn body(&self) -> Body {
        self.pieces.get().body
    }

    /// Whether a head was taken whose request has not begun: it is not known yet what of that which follows is its body.
    pub(super) fn has_head(&self) -> bool {
        self.pieces.get().has_head
    }

    /// Whether what comes next belongs to a body.
    pub(super) fn has_body_to_come(&self) -> bool {
        self.body() != Body::Left(0)
    }

    /// By when a request must have begun, unless one is under way: a client may take so long for a head, and so long before it begins one;
    /// or by when the connection ends. actix-http has times for most of it too, by a clock that ticks twice a second, and none for the
    /// head of a second request.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.answering.get() || self.waits.get() || self.unread.get() {
            return None;
        }
        Some(match self.awaited.get() {
            Awaited::Request(since) => since + self.patience(KEEP_ALIVE),
            Awaited::Head(since) => since + self.patience(HEAD_TIMEOUT),
            Awaited::Nothing(since) => since + LINGER,
        })
    }

    /// Whether its requests come without waiting for its answers, again and again.
    pub(super) fn runs_ahead(&self) -> bool {
        self.ahead.get() >= AHEAD
    }

    /// Some of an answer has left: the time for the next request begins when all has.
    pub(super) fn answered_some(&self) {
        self.awaited.set(self.awaited.get().anew());
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

    /// What comes would wait anyway: behind a request, or behind its answer, or until more of a body is asked for.
    fn is_held(&self) -> bool {
        let has_body = !matches!(self.body(), Body::Left(0) | Body::Unknown { wanted: false });
        self.waits.get() || self.unread.get() || (self.answering.get() && !has_body)
    }

    /// A request is being answered until what is returned is dropped. Of its `body`, what did not come with its head may be on its way,
    /// and nothing more is read meanwhile.
    pub(super) fn answers(self: Rc<Self>, body: Body) -> UnderWay {
        self.answering.set(true);
        self.change(|pieces| pieces.begin(body));
        UnderWay(self)
    }

    /// More is asked for of a body whose length is not known.
    pub(super) fn wants_body(&self) {
        if let Body::Unknown { .. } = self.body() {
            self.change(|pieces| pieces.body = Body::Unknown { wanted: true });
            self.read_on();
        }
    }

    /// The body of the request that began last has been read to its end.
    pub(super) fn has_body(&self) {
        self.change(|pieces| pieces.body = Body::Left(0));
    }

    /// Whether the request that begins now is the first of what came together.
    pub(super) fn begins(&self) -> bool {
        let (fresh, ahead) = (self.fresh.take(), self.ahead.get());
        self.ahead.set(if fresh { ahead.saturating_sub(1) } else { (ahead + BEHIND).min(REMEMBERED) });
        fresh
    }

    /// Has a request stand in line, and reads nothing meanwhile.
    ///
    /// # Errors
    /// When it would wait for too long: then the connection is over, which is counted.
    pub(super) async fn stand_in_line(&self) -> io::Result<()> {
        self.wait_for(turns::request()).await
    }

    async fn wait_for(&self, turn: impl Future<Output = ()>) -> io::Result<()> {
        self.go_on()?;
        self.waits.set(true);
        let called = timeout(LONGEST_WAIT, turn).await;
        self.waits.set(false);
        if called.is_err() {
            self.over.set(true);
            self.metrics.connection_cut_off("line");
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
        let left = self.0.change(|pieces| std::mem::take(&mut pieces.body));
        let now = Instant::now();
        self.0.awaited.set(match left {
            Body::Left(0) if self.0.pieces.get().has_next => Awaited::Head(now),
            Body::Left(0) => Awaited::Request(now),
            _ => Awaited::Nothing(now),
        });
        self.0.read_on();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn connection() -> (Connection, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new(&[], "n"));
        (Connection::new(metrics.clone()), metrics)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_request_is_never_called_is_over() {
        let (connection, metrics) = connection();
        let closed = || {
            let counted = "signet_http_connections_cut_off_total{reason=\"line\"} 1";
            metrics.render().lines().any(|line| line == counted)
        };
        connection.wait_for(async {}).await.unwrap();
        connection.go_on().unwrap();
        let begun = Instant::now();
        assert!(!closed());
        connection.wait_for(pending()).await.unwrap_err();
        assert_eq!(begun.elapsed().as_secs(), LONGEST_WAIT.as_secs());
        assert!(closed());
        connection.go_on().unwrap_err();
        // What waits behind it does not wait again, nor is its connection counted twice.
        connection.wait_for(pending()).await.unwrap_err();
        assert_eq!(begun.elapsed().as_secs(), LONGEST_WAIT.as_secs());
        assert!(closed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_for_a_request_begins_when_the_answer_before_it_has_left() {
        let (connection, _) = connection();
        let connection = Rc::new(connection);
        let left = || connection.due().map(|due| (due - Instant::now()).as_secs());
        let under_way = connection.clone().answers(Body::Left(0));
        assert_eq!(left(), None);
        tokio::time::advance(Duration::from_mins(1)).await;
        drop(under_way);
        assert_eq!(left(), Some(KEEP_ALIVE.as_secs()));
        for _ in 0..3 {
            connection.unread(true);
            tokio::time::advance(Duration::from_mins(1)).await;
            assert_eq!(left(), None);
            connection.unread(false);
            connection.answered_some();
            assert_eq!(left(), Some(KEEP_ALIVE.as_secs()));
        }
        connection.take(b"G");
        assert_eq!(left(), Some(HEAD_TIMEOUT.as_secs()));
        // A byte more is no time more.
        tokio::time::advance(Duration::from_secs(2)).await;
        connection.take(b"E");
        assert_eq!(left(), Some(HEAD_TIMEOUT.as_secs() - 2));
    }

    #[test]
    fn who_sends_one_now_and_then_too_early_does_not_run_ahead_and_who_sends_many_does() {
        let (connection, _) = connection();
        let send = |fresh: bool| {
            if fresh {
                connection.was_awaited();
            }
            assert_eq!(connection.begins(), fresh);
            connection.runs_ahead()
        };
        // Each answer but the fifth is waited for.
        for number in 0..1000 {
            assert!(!send(number % 5 != 0), "{number}");
        }
        let ahead: Vec<bool> = (0..5).map(|_| send(false)).collect();
        assert_eq!(ahead, [false, false, true, true, true]);
        for _ in 0..1000 {
            send(false);
        }
        // It is forgotten when it has waited for its answers for a while.
        assert_eq!((0..100).take_while(|_| send(true)).count(), usize::from(REMEMBERED - AHEAD));
    }
}
