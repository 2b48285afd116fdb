//! The socket of a connection, with TLS on it or without.

use std::io;

use actix_tls::accept::rustls_0_23::TlsStream;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// What a connection comes by.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Has the system keep about so many bytes of what is answered.
    ///
    /// # Errors
    /// The system's.
    fn keep(&self, bytes: usize) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn keep(&self, bytes: usize) -> io::Result<()> {
        Ok(set_socket_send_buffer_size(self, bytes)?)
    }
}

impl Socket for TlsStream<TcpStream> {
    fn keep(&self, bytes: usize) -> io::Result<()> {
        self.get_ref().0.keep(bytes)
    }
}

#[cfg(test)]
thread_local! {
    /// What a socket of this thread was last told to keep.
    pub(super) static KEPT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
impl Socket for tokio::io::DuplexStream {
    fn keep(&self, bytes: usize) -> io::Result<()> {
        KEPT.set(bytes);
        Ok(())
    }
}
