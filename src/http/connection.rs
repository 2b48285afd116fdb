//! One connection of the public listener: how many requests a client may send before those that it sent are answered.
//!
//! actix-http turns all that has arrived into requests at once, up to 128 KiB, each of them 2 KiB in memory, and looks at its
//! own limit of 16 only before it begins. A client that sends thousands of short requests and reads nothing would have it
//! keep megabytes. So no more than [`MOST_HEADS`] are handed on until nothing is left to be answered.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use actix_web::web::{Bytes, BytesMut};
use memchr::memchr_iter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many heads of requests are handed on before they are answered. They are known by the blank line at their end, which a
/// body may have too: whoever reads one asks for more of it.
const MOST_HEADS: usize = 64;

/// The requests of a connection that have come to the service.
#[derive(Default)]
pub(super) struct Requests {
    begun: Cell<u64>,
    ended: Cell<u64>,
    /// Whether one of them needs more of its body.
    is_short: Cell<bool>,
    /// Whoever wants to be handed more than may be handed on.
    waiting: Cell<Option<Waker>>,
}

impl Requests {
    /// Has more of a body handed on, up to its next blank line.
    pub(super) fn ask_for_more(&self) {
        self.is_short.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    /// One begins; it ends when what is returned is dropped.
    pub(super) fn begin(self: &Rc<Self>) -> Begun {
        self.begun.set(self.begun.get() + 1);
        Begun(self.clone())
    }
}

/// A request under way.
pub(super) struct Begun(Rc<Requests>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.ended.set(self.0.ended.get() + 1);
    }
}

/// A stream that hands on what arrives head by head.
pub(super) struct Connection<S> {
    stream: S,
    requests: Rc<Requests>,
    line: Line,
    /// How many blank lines were handed on since all was answered that had come before.
    heads: usize,
    /// How many requests had begun then.
    since: u64,
    /// What has arrived and has to wait.
    held: Bytes,
    /// Whether the client takes no more of what it is answered.
    is_blocked: bool,
}

/// What the line that is arriving consists of so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Nothing,
    CarriageReturn,
    Text,
}

impl<S> Connection<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            requests: Rc::default(),
            line: Line::Nothing,
            heads: 0,
            since: 0,
            held: Bytes::new(),
            is_blocked: false,
        }
    }

    /// What the service tells of this connection's requests.
    pub(super) fn requests(&self) -> &Rc<Requests> {
        &self.requests
    }

    /// Counts from nothing again if all that was handed on is answered. That requests have begun says that what was handed on
    /// before has been looked at; while a client doesn't read, some may be left that have not.
    fn renew(&mut self) {
        let (begun, ended) = (self.requests.begun.get(), self.requests.ended.get());
        if begun > self.since && begun == ended && !self.is_blocked {
            (self.heads, self.since) = (0, begun);
        }
    }

    /// Counts the heads that end in `bytes`; says how many bytes may be handed on.
    fn count(&mut self, bytes: &[u8]) -> usize {
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes) {
            let is_blank = match &bytes[start..end] {
                [] => self.line != Line::Text,
                [b'\r'] => self.line == Line::Nothing,
                _ => false,
            };
            (start, self.line) = (end + 1, Line::Nothing);
            self.heads += usize::from(is_blank);
            if self.heads == MOST_HEADS {
                return start;
            }
        }
        self.line = match (&bytes[start..], self.line) {
            ([], line) => line,
            ([b'\r'], Line::Nothing) => Line::CarriageReturn,
            _ => Line::Text,
        };
        bytes.len()
    }

    /// The client has taken something: whoever waits may ask again.
    fn written<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.is_blocked = written.is_pending();
        if !self.is_blocked {
            self.requests.wake();
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.renew();
        let is_short = this.requests.is_short.take();
        if this.heads == MOST_HEADS && !is_short {
            this.requests.waiting.set(Some(context.waker().clone()));
            return Poll::Pending;
        }
        this.heads = this.heads.min(MOST_HEADS - 1);
        let before = buffer.filled().len();
        if this.held.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        } else {
            let fits = this.held.len().min(buffer.remaining());
            buffer.put_slice(&this.held.split_to(fits));
        }
        let arrived = &buffer.filled()[before..];
        let handed = this.count(arrived);
        if handed < arrived.len() {
            let mut held = BytesMut::from(&arrived[handed..]);
            held.extend_from_slice(&this.held);
            this.held = held.freeze();
            buffer.set_filled(before + handed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.written(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

    fn pair() -> (DuplexStream, Connection<DuplexStream>) {
        let (client, server) = duplex(1 << 20);
        (client, Connection::new(server))
    }

    /// What is handed on now, without waiting.
    async fn handed(connection: &mut Connection<DuplexStream>) -> String {
        let mut all = Vec::new();
        loop {
            let mut some = [0; 100];
            let read = connection.read(&mut some);
            tokio::select! {
                biased;
                read = read => all.extend_from_slice(&some[..read.unwrap()]),
                () = std::future::ready(()) => return String::from_utf8(all).unwrap(),
            }
        }
    }

    #[tokio::test]
    async fn no_more_than_so_many_heads_are_handed_on_before_they_are_answered() {
        let (mut client, mut connection) = pair();
        client.write_all(REQUEST.repeat(200).as_bytes()).await.unwrap();
        let requests = connection.requests().clone();
        let mut all = String::new();
        for expected in [64, 64, 64, 8] {
            let some = handed(&mut connection).await;
            assert_eq!(some.matches("GET").count(), expected);
            all += &some;
            // Under way: nothing more. All but one ended: nothing more.
            let mut begun: Vec<Begun> = (0..expected).map(|_| requests.begin()).collect();
            begun.truncate(1);
            connection.write_all(b"answer").await.unwrap();
            assert_eq!(handed(&mut connection).await, "");
            drop(begun);
        }
        assert_eq!(all, REQUEST.repeat(200), "nothing is lost or changes its place");
    }

    #[tokio::test]
    async fn requests_that_nobody_has_looked_at_count_as_unanswered() {
        let (mut client, mut connection) = pair();
        client.write_all(REQUEST.repeat(100).as_bytes()).await.unwrap();
        assert_eq!(handed(&mut connection).await.matches("GET").count(), 64);
        // Nothing has begun, and nothing is under way.
        assert_eq!(handed(&mut connection).await, "");
    }

    #[tokio::test]
    async fn a_body_that_is_waited_for_is_handed_on_a_blank_line_at_a_time() {
        let (mut client, mut connection) = pair();
        client.write_all(format!("{}A\n\nB\r\n\r\nC\n\nD", REQUEST.repeat(64)).as_bytes()).await.unwrap();
        let requests = connection.requests().clone();
        assert_eq!(handed(&mut connection).await, REQUEST.repeat(64));
        let _under_way = requests.begin();
        for more in ["A\n\n", "B\r\n\r\n", "C\n\n", "D"] {
            assert_eq!(handed(&mut connection).await, "");
            requests.ask_for_more();
            assert_eq!(handed(&mut connection).await, more);
        }
    }

    #[tokio::test]
    async fn while_a_client_does_not_read_what_it_is_answered_nothing_counts_as_answered() {
        let (mut client, server) = duplex(4096);
        let mut connection = Connection::new(server);
        let requests = connection.requests().clone();
        client.write_all(REQUEST.repeat(100).as_bytes()).await.unwrap();
        assert_eq!(handed(&mut connection).await.matches("GET").count(), 64);
        drop(requests.begin());
        let answer = connection.write_all(&[b'a'; 5000]);
        tokio::select! { biased; _ = answer => panic!("it does not fit"), () = std::future::ready(()) => () }
        assert_eq!(handed(&mut connection).await, "");
        client.read_exact(&mut [0; 4096]).await.unwrap();
        connection.write_all(b"the rest").await.unwrap();
        assert_eq!(handed(&mut connection).await.matches("GET").count(), 36);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_an_answer_that_is_taken() {
        let (mut client, mut connection) = pair();
        client.write_all(REQUEST.repeat(65).as_bytes()).await.unwrap();
        handed(&mut connection).await;
        let waiting = Waiting::default();
        let mut buffer = [0; 10];
        let poll = |connection: &mut Connection<DuplexStream>, waiting: &Waiting, buffer: &mut [u8]| {
            let waker = waiting.waker();
            Pin::new(connection).poll_read(&mut Context::from_waker(&waker), &mut ReadBuf::new(buffer))
        };
        assert!(poll(&mut connection, &waiting, &mut buffer).is_pending() && !waiting.is_woken());
        drop(connection.requests().clone().begin());
        connection.write_all(b"answer").await.unwrap();
        assert!(waiting.is_woken());
        assert!(poll(&mut connection, &waiting, &mut buffer).is_ready());
        client.write_all(REQUEST.repeat(100).as_bytes()).await.unwrap();
        handed(&mut connection).await;
        let waiting = Waiting::default();
        assert!(poll(&mut connection, &waiting, &mut buffer).is_pending() && !waiting.is_woken());
        connection.requests().ask_for_more();
        assert!(waiting.is_woken());
    }

    #[test]
    fn a_head_ends_with_a_blank_line_however_it_arrives() {
        let heads = "A\r\nB\r\n\r\nC\nD\n\nE\r\n\nF\n\r\nG\r\r\n\r \n";
        for size in 1..=heads.len() {
            let mut connection = Connection::new(());
            for part in heads.as_bytes().chunks(size) {
                assert_eq!(connection.count(part), part.len());
            }
            assert_eq!(connection.heads, 4, "in parts of {size}");
        }
    }

    /// Notices that it was woken.
    #[derive(Default)]
    struct Waiting(std::sync::Arc<Woken>);

    #[derive(Default)]
    struct Woken(std::sync::atomic::AtomicBool);

    impl std::task::Wake for Woken {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }

    impl Waiting {
        fn waker(&self) -> Waker {
            self.0.clone().into()
        }

        fn is_woken(&self) -> bool {
            self.0.0.load(std::sync::atomic::Ordering::SeqCst)
        }
    }
}
