//! Connections from which little is read at a time.
//!
//! actix-http reads up to 128 KiB before it looks at anything, and takes all of it apart at once: with the shortest requests thousands, of
//! 2 KiB each, for which everybody else waits. Here it is given a little each time that the worker has looked at its sockets, of heads one
//! after another, and nothing while a request stands in line or is being answered, or answers find no room (decision 0030).

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::dev::Extensions;
use actix_web::web::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};
use tokio::time::{Sleep, sleep, sleep_until};

use super::connection::{Connection, LINGER};
use super::socket::Socket;
use super::turns;
use crate::telemetry::Metrics;

/// How much is read of a connection before the others are looked at, in bytes; most requests are shorter.
const AT_ONCE: usize = 2 * 1024;

/// How much of what is answered the system keeps for a connection, in bytes; it takes twice this. Left to itself it keeps
/// megabytes for each client that does not read.
pub(super) const SEND_BUFFER: usize = 64 * 1024;

/// The same for whoever asks on and on without waiting for answers: what is not read need not be answered.
pub(super) const NARROW_SEND_BUFFER: usize = 4 * 1024;

/// For how long answers may find no room at least with whoever asks on and on; then the connection is cut off. Of others the system knows
/// whether they read on, however slowly: a socket says so only when a third of its buffer is free.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that is read by turns.
pub(super) struct Paced<T> {
    io: Take<T>,
    /// What was read and not taken apart yet: a head that came behind another.
    rest: Bytes,
    connection: Rc<Connection>,
    /// Nothing was left to read when it was last looked at.
    idle: bool,
    /// The system keeps little of its answers.
    narrow: bool,
    /// Over when the worker has looked at its sockets.
    others: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Over when it is time to look whether a request has begun as it must.
    patience: Option<Pin<Box<Sleep>>>,
    /// Over when answers have found no room for too long.
    stuck: Option<Pin<Box<dyn Future<Output = ()>>>>,
    ending: Ending,
}

/// How far a connection has come that ends.
enum Ending {
    NotYet,
    /// Over when it is its turn.
    Waits(Pin<Box<dyn Future<Output = ()>>>),
    /// Over when the end takes too long, if it is not done at once.
    Called(Option<Pin<Box<Sleep>>>),
}

impl<T: Socket> Paced<T> {
    pub(super) fn new(io: T, metrics: Arc<Metrics>) -> Self {
        Self {
            io: io.take(AT_ONCE as u64),
            rest: Bytes::new(),
            connection: Rc::new(Connection::new(metrics)),
            idle: true,
            narrow: false,
            others: None,
            patience: None,
            stuck: None,
            ending: Ending::NotYet,
        }
    }

    /// Lets its requests know it.
    pub(super) fn introduce(&self, extensions: &mut Extensions) {
        extensions.insert(self.connection.clone());
    }
}

impl<T: Socket> AsyncRead for Paced<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.connection.go_on()?;
        if this.connection.has_enough(context) {
            return Poll::Pending;
        }
        if this.io.limit() == 0 {
            ready!(this.poll_look(context));
        }
        if this.rest.is_empty() {
            return this.poll_io(context, buffer);
        }
        this.read_rest(buffer);
        Poll::Ready(Ok(()))
    }
}

impl<T: Socket> Paced<T> {
    /// Until the worker has looked at its sockets.
    fn poll_look(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let others = self.others.get_or_insert_with(|| Box::pin(tokio::task::yield_now()));
        ready!(others.as_mut().poll(context));
        self.others = None;
        self.io.set_limit(AT_ONCE as u64);
        Poll::Ready(())
    }

    fn poll_io(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if read.is_pending() {
            self.idle = true;
            self.io.set_limit(AT_ONCE as u64);
            ready!(self.poll_patience(context));
            // What comes meanwhile is answered.
            ready!(self.poll_turn_to_end(context));
            // As if the client had ended it.
            return Poll::Ready(Ok(()));
        }
        let awaited = std::mem::take(&mut self.idle);
        let come = &buffer.filled()[before..];
        if come.is_empty() {
            return read;
        }
        if awaited {
            self.connection.was_awaited();
        }
        if self.connection.has_head() {
            // Its request begins first.
            self.rest = Bytes::copy_from_slice(come);
            buffer.set_filled(before);
            self.io.set_limit(0);
            ready!(self.poll_look(context));
            self.read_rest(buffer);
            return Poll::Ready(Ok(()));
        }
        let taken = self.connection.take(come);
        if taken < come.len() {
            self.rest = Bytes::copy_from_slice(&come[taken..]);
            buffer.set_filled(before + taken);
            self.io.set_limit(0);
        }
        read
    }

    fn read_rest(&mut self, buffer: &mut ReadBuf<'_>) {
        let room = self.rest.len().min(buffer.remaining());
        let taken = self.connection.take(&self.rest[..room]);
        buffer.put_slice(&self.rest.split_to(taken));
        self.io.set_limit(0);
    }

    /// Until a request should have begun and has not.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Else the answer's end wakes who reads.
        let Some(due) = self.connection.due() else { return Poll::Pending };
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep_until(due)));
        // It is not set anew for each request, but when it is over.
        if patience.is_elapsed() || due < patience.deadline() {
            patience.as_mut().reset(due);
        }
        patience.as_mut().poll(context)
    }

    /// Until it is the turn of this connection to end: thousands may at the same moment.
    fn poll_turn_to_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Ending::NotYet = self.ending {
            self.ending = Ending::Waits(Box::pin(turns::ending()));
        }
        if let Ending::Waits(turn) = &mut self.ending {
            ready!(turn.as_mut().poll(context));
            self.ending = Ending::Called(None);
        }
        Poll::Ready(())
    }

    /// Sees what has come before an answer leaves. What comes after it, the client may have sent because of it: that need not stand in line.
    fn look_ahead(&mut self, context: &mut Context<'_>) {
        if self.idle || !self.rest.is_empty() || self.connection.has_body_to_come() {
            return;
        }
        let mut piece = [0; AT_ONCE];
        let mut piece = ReadBuf::new(&mut piece);
        match Pin::new(self.io.get_mut()).poll_read(context, &mut piece) {
            Poll::Pending => self.idle = true,
            // An end, or an error, is found again.
            Poll::Ready(_) => self.rest = Bytes::copy_from_slice(piece.filled()),
        }
    }

    /// Has the system keep as much of its answers as befits it.
    fn fit(&mut self) {
        let narrow = self.connection.runs_ahead();
        if narrow != self.narrow {
            self.narrow = narrow;
            // Refused, it stays as it was.
            self.io.get_ref().keep(if narrow { NARROW_SEND_BUFFER } else { SEND_BUFFER }).ok();
        }
    }

    /// What became of an answer on its way; where who runs ahead leaves no room for it for too long, the connection is over.
    fn sent<R>(&mut self, sent: Poll<io::Result<R>>, context: &mut Context<'_>) -> Poll<io::Result<R>> {
        self.connection.unread(sent.is_pending());
        if sent.is_ready() || !self.narrow {
            self.stuck = None;
            return sent;
        }
        let patience = self.connection.patience(UNREAD_TIMEOUT);
        let too_long = || {
            Box::pin(async move {
                sleep(patience).await;
                turns::ending().await;
            })
        };
        ready!(self.stuck.get_or_insert_with(|| too_long()).as_mut().poll(context));
        self.connection.metrics().connection_cut_off("unread");
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: Socket> AsyncWrite for Paced<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.connection.go_on()?;
        this.look_ahead(context);
        this.fit();
        let written = Pin::new(this.io.get_mut()).poll_write(context, bytes);
        if written.is_ready() {
            this.connection.answered_some();
        }
        this.sent(written, context)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // TLS takes more than the system does.
        let flushed = Pin::new(this.io.get_mut()).poll_flush(context);
        this.sent(flushed, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_turn_to_end(context));
        let ended = Pin::new(this.io.get_mut()).poll_shutdown(context);
        if let (Poll::Pending, Ending::Called(patience)) = (&ended, &mut this.ending) {
            // TLS has something to say last, for which there may be no room.
            let patience = patience.get_or_insert_with(|| Box::pin(sleep(LINGER)));
            ready!(patience.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::http::pieces::Body;

    fn paced(server: DuplexStream) -> Paced<DuplexStream> {
        Paced::new(server, Arc::new(Metrics::new(&[], "n")))
    }

    const GET: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

    /// The end of which finds no room.
    struct Full(DuplexStream);

    impl AsyncRead for Full {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(context, buffer)
        }
    }

    impl AsyncWrite for Full {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(context, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(context)
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl Socket for Full {
        fn keep(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
    }

    /// As that of TLS does with who reads nothing.
    #[test]
    fn an_end_that_finds_no_room_is_not_waited_for() {
        actix_web::rt::System::new().block_on(async {
            let (_client, server) = duplex(64);
            let mut paced = Paced::new(Full(server), Arc::new(Metrics::new(&[], "n")));
            tokio::time::pause();
            let begun = tokio::time::Instant::now();
            assert_eq!(paced.shutdown().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert_eq!(begun.elapsed().as_secs(), LINGER.as_secs());
        });
    }

    /// Whether nothing is taken apart for now.
    async fn pending(paced: &mut Paced<DuplexStream>) -> bool {
        let mut next = [0; 4096];
        let mut next = std::pin::pin!(paced.read(&mut next));
        std::future::poll_fn(|context| Poll::Ready(next.as_mut().poll(context).is_pending())).await
    }

    /// What is taken apart next.
    async fn portion(paced: &mut Paced<DuplexStream>) -> String {
        let mut portion = vec![0; 4096];
        let length = paced.read(&mut portion).await.unwrap();
        String::from_utf8_lossy(&portion[..length]).into_owned()
    }

    /// What is taken apart at once, one after the other, of what came together.
    async fn portions(
        paced: &mut Paced<DuplexStream>,
        client: &mut DuplexStream,
        bytes: &str,
    ) -> Vec<String> {
        client.write_all(bytes.as_bytes()).await.unwrap();
        let mut portions: Vec<String> = Vec::new();
        while portions.iter().map(String::len).sum::<usize>() < bytes.len() {
            portions.push(portion(paced).await);
        }
        portions
    }

    #[actix_web::test]
    async fn heads_that_come_together_are_taken_apart_one_by_one() {
        let (mut client, server) = duplex(64 * 1024);
        let mut paced = paced(server);
        assert_eq!(portions(&mut paced, &mut client, GET).await, [GET]);
        assert_eq!(portions(&mut paced, &mut client, &GET.repeat(3)).await, [GET; 3]);
        assert_eq!(portions(&mut paced, &mut client, "GET /a HT").await, ["GET /a HT"]);
        assert_eq!(portions(&mut paced, &mut client, "TP/1.1\n\n").await, ["TP/1.1\n\n"]);
        // Not in more parts than need be, for who sends one at a time.
        let post = "POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nfour";
        assert_eq!(portions(&mut paced, &mut client, post).await, [post]);
        // A body that is announced goes as it comes, and what follows upon it does not come with it.
        let under_way = paced.connection.clone().answers(Body::Left(9));
        let rest = format!("\n\n.\n\n{}", GET.repeat(3));
        assert_eq!(portions(&mut paced, &mut client, &rest[..5]).await, ["\n\n.\n\n"]);
        drop(under_way);
        assert_eq!(portions(&mut paced, &mut client, &rest[5..]).await, [GET; 3]);
        // Wherever a head was cut through: what came of the body is not waited for again.
        let (first, rest) = post.split_at(post.len() - 5);
        let (second, third) = rest.split_at(3);
        for piece in [first, second, third] {
            assert_eq!(portions(&mut paced, &mut client, piece).await, [piece]);
        }
        client.write_all(format!("-more{GET}{GET}").as_bytes()).await.unwrap();
        let under_way = paced.connection.clone().answers(Body::Left(9));
        assert_eq!(portion(&mut paced).await, "-more");
        drop(under_way);
        assert_eq!([portion(&mut paced).await, portion(&mut paced).await], [GET; 2]);
        // Neither with one of which only the end is seen.
        let under_way = paced.connection.clone().answers(Body::Unknown { wanted: true });
        let body = "1\r\na\r\n0\r\n\r\n";
        assert_eq!(portions(&mut paced, &mut client, body).await, [body]);
        // Whether it is the end, knows who reads the body, and asks for more or does not.
        client.write_all(format!("0\r\n\r\n{GET}{GET}").as_bytes()).await.unwrap();
        assert!(pending(&mut paced).await);
        paced.connection.wants_body();
        assert_eq!(portion(&mut paced).await, "0\r\n\r\n");
        assert!(pending(&mut paced).await);
        drop(under_way);
        assert_eq!([portion(&mut paced).await, portion(&mut paced).await], [GET; 2]);
        // No turn is taken for each of many empty lines.
        let lines = "\r\n\n".repeat(100);
        assert_eq!(portions(&mut paced, &mut client, &lines).await, [lines]);
        // As much as there is room for.
        client.write_all(GET.repeat(2).as_bytes()).await.unwrap();
        let mut all = Vec::new();
        while all.len() < GET.len() * 2 {
            let mut few = [0; 7];
            let read = paced.read(&mut few).await.unwrap();
            all.extend_from_slice(&few[..read]);
        }
        assert_eq!(all, GET.repeat(2).as_bytes());
        // What came before the end is not lost with it.
        client.write_all(GET.repeat(2).as_bytes()).await.unwrap();
        drop(client);
        for expected in [GET, GET, ""] {
            assert_eq!(portion(&mut paced).await, expected);
        }
    }

    #[actix_web::test]
    async fn the_next_head_is_taken_when_the_worker_has_looked_at_its_sockets() {
        let (mut client, server) = duplex(64 * 1024);
        let mut paced = paced(server);
        client.write_all(GET.repeat(3).as_bytes()).await.unwrap();
        for _ in 0..3 {
            assert_eq!(portion(&mut paced).await, GET);
            assert!(pending(&mut paced).await);
        }
    }

    /// Or it would not be known what of it is the body.
    #[actix_web::test]
    async fn what_follows_upon_a_head_is_taken_when_its_request_has_begun() {
        let (mut client, server) = duplex(64 * 1024);
        let mut paced = paced(server);
        client.write_all(b"POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\n").await.unwrap();
        portion(&mut paced).await;
        client.write_all(format!("four\n\nab.{GET}{GET}").as_bytes()).await.unwrap();
        assert!(pending(&mut paced).await);
        let _under_way = paced.connection.clone().answers(Body::Left(9));
        assert_eq!(portion(&mut paced).await, "four\n\nab.");
    }

    /// A body that is longer than what is read at once ends without the socket having been seen empty.
    #[actix_web::test]
    async fn what_comes_when_an_answer_has_left_was_waited_for_and_what_came_before_was_not() {
        let long = format!("POST /a HTTP/1.1\r\nContent-Length: 3000\r\n\r\n{}", "b".repeat(3000));
        for early in [false, true] {
            let (mut client, server) = duplex(64 * 1024);
            let mut paced = paced(server);
            client.write_all(long.as_bytes()).await.unwrap();
            let mut come = portion(&mut paced).await.len();
            assert!(paced.connection.begins());
            let under_way = paced.connection.clone().answers(Body::Left(3000));
            while come < long.len() {
                come += portion(&mut paced).await.len();
            }
            assert!(pending(&mut paced).await);
            drop(under_way);
            if early {
                client.write_all(GET.as_bytes()).await.unwrap();
            }
            paced.write_all(b"answer").await.unwrap();
            if !early {
                client.write_all(GET.as_bytes()).await.unwrap();
            }
            assert_eq!(portion(&mut paced).await, GET);
            assert_eq!(paced.connection.begins(), !early);
        }
    }
}
