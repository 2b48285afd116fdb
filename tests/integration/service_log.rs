//! What the service says in its own log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

/// What the service logs, all of it.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

/// What `act` comes to, and what it logs from level INFO on, on this thread.
pub(crate) async fn said<T>(act: impl Future<Output = T>) -> (T, String) {
    let log = Log::default();
    let to = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(to).finish();
    // Of this thread: what goes on when its caller is gone is a task of its own.
    let listening = tracing::subscriber::set_default(subscriber);
    let done = act.await;
    drop(listening);
    (done, String::from_utf8(log.bytes()).unwrap())
}
