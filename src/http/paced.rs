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

use actix_web::Error;
use actix_web::dev::{Extensions, ServiceRequest};
use actix_web::http::Method;
use actix_web::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_web::web::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};

use super::turns::{Body, Connection};
use crate::telemetry::Metrics;

/// How much is read of a connection before the others are looked at, in bytes; most requests are shorter.
const AT_ONCE: u64 = 2 * 1024;

/// A connection that is read by turns.
pub(super) struct Paced<T> {
    io: Take<T>,
    /// What was read and not taken apart yet: a head that came behind another.
    rest: Bytes,
    connection: Rc<Connection>,
    /// Nothing was left to read when it was last looked at.
    idle: bool,
    /// Over when the worker has looked at its sockets.
    others: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl<T: AsyncRead> Paced<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io: io.take(AT_ONCE), rest: Bytes::new(), connection: Rc::default(), idle: true, others: None }
    }

    /// Lets its requests know it.
    pub(super) fn introduce(&self, extensions: &mut Extensions) {
        extensions.insert(self.connection.clone());
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
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

impl<T: AsyncRead + Unpin> Paced<T> {
    /// Until the worker has looked at its sockets.
    fn poll_look(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let others = self.others.get_or_insert_with(|| Box::pin(tokio::task::yield_now()));
        ready!(others.as_mut().poll(context));
        self.others = None;
        self.io.set_limit(AT_ONCE);
        Poll::Ready(())
    }

    fn poll_io(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if read.is_pending() {
            self.idle = true;
            self.io.set_limit(AT_ONCE);
            return read;
        }
        let awaited = std::mem::take(&mut self.idle);
        let come = &buffer.filled()[before..];
        if self.connection.has_head() && !come.is_empty() {
            // Its request begins first.
            self.rest = Bytes::copy_from_slice(come);
            buffer.set_filled(before);
            self.io.set_limit(0);
            ready!(self.poll_look(context));
            self.read_rest(buffer);
            return Poll::Ready(Ok(()));
        }
        let taken = self.connection.take(come, awaited);
        if taken < come.len() {
            self.rest = Bytes::copy_from_slice(&come[taken..]);
            buffer.set_filled(before + taken);
            self.io.set_limit(0);
        }
        read
    }

    fn read_rest(&mut self, buffer: &mut ReadBuf<'_>) {
        let room = self.rest.len().min(buffer.remaining());
        let taken = self.connection.take(&self.rest[..room], false);
        buffer.put_slice(&self.rest.split_to(taken));
        self.io.set_limit(0);
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.connection.go_on()?;
        let written = Pin::new(this.io.get_mut()).poll_write(context, bytes);
        this.connection.unread(written.is_pending());
        written
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(this.io.get_mut()).poll_flush(context);
        // TLS takes more than the system does.
        this.connection.unread(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().io.get_mut()).poll_shutdown(context)
    }
}

/// Where a request stands among those of its connection.
pub(super) struct Place {
    connection: Option<Rc<Connection>>,
    /// Where it is counted if one that stands behind another waits for too long.
    behind: Option<Arc<Metrics>>,
    body: Body,
}

/// Where the request stands that begins now.
pub(super) fn place(request: &ServiceRequest, metrics: &Arc<Metrics>) -> Place {
    let connection = request.conn_data::<Rc<Connection>>().cloned();
    let is_behind = connection.as_ref().is_some_and(|connection| !connection.begins());
    Place { connection, behind: is_behind.then(|| metrics.clone()), body: body(request) }
}

/// Gives `answer` to the first request of what has come together at once, and to the others in turn. Meanwhile no more is read than
/// belongs to the request.
///
/// # Errors
/// Those of the answer, and when it was not its turn for too long.
pub(super) async fn in_turn<T>(
    place: Place,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let Place { connection, behind, body } = place;
    let _until_answered = match connection {
        Some(connection) => {
            if let Some(metrics) = behind {
                connection.stand_in_line(&metrics).await?;
            }
            Some(connection.answers(body))
        }
        None => None,
    };
    answer.await
}

/// What may come of the body of a request; where its length is not said, as much as there is ([`Connection::has_body`]), if its method
/// is one with a body (RFC 9110, section 9.3).
fn body(request: &ServiceRequest) -> Body {
    let headers = request.headers();
    if headers.contains_key(TRANSFER_ENCODING) {
        let may_have_one = [Method::POST, Method::PUT, Method::PATCH].contains(request.method());
        return if may_have_one { Body::Unknown } else { Body::Left(0) };
    }
    // What is no number is refused before it comes here.
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    Body::Left(length.and_then(|length| length.trim().parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const GET: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

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
        let mut paced = Paced::new(server);
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
        let under_way = paced.connection.clone().answers(Body::Unknown);
        let body = "1\r\na\r\n0\r\n\r\n";
        let rest = format!("{body}{GET}{GET}");
        assert_eq!(portions(&mut paced, &mut client, &rest).await, [&format!("{body}{GET}"), GET]);
        drop(under_way);
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
        let mut paced = Paced::new(server);
        client.write_all(GET.repeat(3).as_bytes()).await.unwrap();
        for _ in 0..3 {
            assert_eq!(portion(&mut paced).await, GET);
            let mut next = [0; 4096];
            let mut next = std::pin::pin!(paced.read(&mut next));
            let first = std::future::poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
            assert!(first.is_pending());
        }
    }

    /// Or it would not be known what of it is the body.
    #[actix_web::test]
    async fn what_follows_upon_a_head_is_taken_when_its_request_has_begun() {
        let (mut client, server) = duplex(64 * 1024);
        let mut paced = Paced::new(server);
        client.write_all(b"POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\n").await.unwrap();
        portion(&mut paced).await;
        client.write_all(format!("four\n\nab.{GET}{GET}").as_bytes()).await.unwrap();
        let mut next = [0; 4096];
        let read = {
            let mut next = std::pin::pin!(paced.read(&mut next));
            std::future::poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await
        };
        assert!(read.is_pending());
        let _under_way = paced.connection.clone().answers(Body::Left(9));
        assert_eq!(portion(&mut paced).await, "four\n\nab.");
    }
}
