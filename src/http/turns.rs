//! Whose turn it is on a worker.
//!
//! A worker does one thing at a time, and a connection on which much was sent at once has it do much at once while all others wait.
//! So what follows upon the first request that is found on a connection stands in line: one of all those that wait goes on each
//! time that the worker has looked at its sockets. Who has one thing to ask waits for one such at most, however many wait. New
//! connections have a line of their own, for each is a first reading; and so have the steps of TLS handshakes, and connections that end,
//! for thousands may at the same moment.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::thread::LocalKey;
use std::time::Duration;

use actix_web::rt;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::telemetry::Metrics;

/// How long a request, or a new connection, stands in line at most; then its connection is closed. Meanwhile it can't be seen whether
/// the client is still there, and it need not read anything.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// How many new connections are begun each time that the worker has looked at its sockets, and what part of those that wait if that is
/// more: a worker that has much to do looks seldom.
const NEW_AT_ONCE: usize = 2;
const NEW_PART: usize = 2048;

/// The same for the steps of handshakes, of which one at least goes on: each may be a signature.
const HANDSHAKES_PART: usize = 1024;

/// How long a client may take for the TLS handshake, before the time for the head begins.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// Tells one that waits that it is its turn.
type Call = oneshot::Sender<()>;

/// Those who wait on a worker, which is a thread. At first nobody calls them.
type Waiting = RefCell<UnboundedSender<Call>>;

thread_local! {
    static REQUESTS: Waiting = nobody();
    static NEW: Waiting = nobody();
    static HANDSHAKES: Waiting = nobody();
    static HANDSHAKES_BEGUN: Waiting = nobody();
    static ENDING: Waiting = nobody();
}

fn nobody() -> Waiting {
    RefCell::new(mpsc::unbounded_channel().0)
}

/// Waits until it is the turn of a connection that is new.
///
/// # Errors
/// When it would wait for too long: then it is over, which is counted.
pub(super) async fn new_connection(metrics: &Metrics) -> io::Result<()> {
    let called = timeout(LONGEST_WAIT, turn(&NEW, |waiting| NEW_AT_ONCE.max(waiting / NEW_PART))).await;
    called.inspect_err(|_| metrics.connection_cut_off("new"))?;
    Ok(())
}

/// Has a TLS handshake take each of its steps in turn: the first, which may be all of the work, and then one each time that there is something
/// to go on with. Those have a line of their own: what was begun is not lost behind others that begin.
///
/// # Errors
/// When it takes longer than [`HANDSHAKE_TIMEOUT`], its turns included: then it is over, which is counted.
pub(super) async fn handshake<T>(handshake: impl Future<Output = T>, metrics: &Metrics) -> io::Result<T> {
    let done = timeout(HANDSHAKE_TIMEOUT, by_steps(handshake)).await;
    Ok(done.inspect_err(|_| metrics.connection_cut_off("handshake"))?)
}

async fn by_steps<T>(handshake: impl Future<Output = T>) -> T {
    let mut handshake = pin!(handshake);
    turn(&HANDSHAKES, |waiting| 1.max(waiting / HANDSHAKES_PART)).await;
    loop {
        let mut taken = false;
        let step = poll_fn(|context| {
            // Woken for the next one.
            if std::mem::replace(&mut taken, true) {
                return Poll::Ready(None);
            }
            handshake.as_mut().poll(context).map(Some)
        });
        if let Some(done) = step.await {
            return done;
        }
        turn(&HANDSHAKES_BEGUN, |waiting| 1.max(waiting / HANDSHAKES_PART)).await;
    }
}

/// Waits until it is the turn of a request that came behind another.
pub(super) async fn request() {
    turn(&REQUESTS, |_| 1).await;
}

/// Waits until it is the turn of a connection to end.
pub(super) async fn ending() {
    turn(&ENDING, |_| 1).await;
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// How many turns are more than anything here needs.
    const TURNS: usize = 7000;

    async fn new() {
        thread_local!(static METRICS: Rc<Metrics> = Rc::new(Metrics::new(&[], "n")));
        new_connection(&METRICS.with(Rc::clone)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_takes_too_long_is_over() {
        let metrics = Metrics::new(&[], "n");
        let counted = || {
            let counted = "signet_http_connections_cut_off_total{reason=\"handshake\"} 1";
            metrics.render().lines().any(|line| line == counted)
        };
        let alone = tokio::task::LocalSet::new();
        alone
            .run_until(async {
                assert_eq!(handshake(async { 7 }, &metrics).await.unwrap(), 7);
                assert!(!counted());
                let begun = tokio::time::Instant::now();
                handshake(std::future::pending::<()>(), &metrics).await.unwrap_err();
                assert_eq!(begun.elapsed().as_secs(), HANDSHAKE_TIMEOUT.as_secs());
                assert!(counted());
            })
            .await;
    }

    #[actix_web::test]
    async fn new_connections_are_begun_a_few_at_a_time_in_the_order_in_which_they_came() {
        // Whoever yields lets no time pass: nobody's is over, however long the machine takes.
        tokio::time::pause();
        let begun = Rc::new(RefCell::new(Vec::new()));
        for number in 0..100 {
            let begun = begun.clone();
            rt::spawn(async move {
                new().await;
                begun.borrow_mut().push(number);
            });
        }
        // Each of these is over when the worker has looked at its sockets.
        let (mut before, mut turns) = (0, 0);
        while before < 100 && turns < TURNS {
            turns += 1;
            tokio::task::yield_now().await;
            let now = begun.borrow().len();
            assert!(now - before <= NEW_AT_ONCE, "{before} and then {now}");
            before = now;
        }
        assert!(begun.borrow().len() == 100 && begun.borrow().is_sorted());
        // Of many more, so that they do not wait for as many turns.
        for _ in 0..20_000 {
            rt::spawn(new());
        }
        let last = rt::spawn(new());
        let mut turns = 0;
        while !last.is_finished() {
            tokio::task::yield_now().await;
            turns += 1;
            assert!(turns < TURNS);
        }
        last.await.unwrap();
        // A request that stands in line meanwhile waits for none of them.
        let called = Rc::new(Cell::new(false));
        for _ in 0..100 {
            rt::spawn(new());
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
}
