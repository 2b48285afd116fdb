//! Connections from which little is read at a time.
//!
//! actix-http reads up to 128 KiB before it looks at anything, and takes all of it apart at once: with the shortest requests thousands, of
//! 2 KiB each, for which everybody else waits. Here it is given a little each time that the worker has looked at its sockets, and nothing
//! while a request stands in line or is being answered, or answers find no room (decision 0030).

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::Error;
use actix_web::dev::{Extensions, ServiceRequest};
use actix_web::http::Method;
use actix_web::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};

use super::turns::Connection;
use crate::telemetry::Metrics;

/// How much is read of a connection before the others are looked at, in bytes; most requests are shorter.
const AT_ONCE: u64 = 2 * 1024;

/// A connection that is read by turns.
pub(super) struct Paced<T> {
    io: Take<T>,
    connection: Rc<Connection>,
    /// Nothing was left to read when it was last looked at.
    idle: bool,
    /// Over when the worker has looked at its sockets.
    others: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl<T: AsyncRead> Paced<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io: io.take(AT_ONCE), connection: Rc::default(), idle: true, others: None }
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
            let others = this.others.get_or_insert_with(|| Box::pin(tokio::task::yield_now()));
            ready!(others.as_mut().poll(context));
            this.others = None;
            this.io.set_limit(AT_ONCE);
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.io).poll_read(context, buffer);
        if read.is_pending() {
            this.idle = true;
            this.io.set_limit(AT_ONCE);
        } else {
            let awaited = std::mem::take(&mut this.idle);
            this.connection.arrived(buffer.filled().len() - before, awaited);
        }
        read
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
    length: u64,
}

/// Where the request stands that begins now.
pub(super) fn place(request: &ServiceRequest, metrics: &Arc<Metrics>) -> Place {
    let connection = request.conn_data::<Rc<Connection>>().cloned();
    let is_behind = connection.as_ref().is_some_and(|connection| !connection.begins());
    Place { connection, behind: is_behind.then(|| metrics.clone()), length: body_length(request) }
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
    let Place { connection, behind, length } = place;
    let _until_answered = match connection {
        Some(connection) => {
            if let Some(metrics) = behind {
                connection.stand_in_line(&metrics).await?;
            }
            Some(connection.answers(length))
        }
        None => None,
    };
    answer.await
}

/// How many bytes of the body of a request may be on their way; where that is not said, as many as there are
/// ([`Connection::has_body`]), if its method is one with a body (RFC 9110, section 9.3).
fn body_length(request: &ServiceRequest) -> u64 {
    let headers = request.headers();
    if headers.contains_key(TRANSFER_ENCODING) {
        return if [Method::POST, Method::PUT, Method::PATCH].contains(request.method()) {
            u64::MAX
        } else {
            0
        };
    }
    // What is no number is refused before it comes here.
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    length.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
}
