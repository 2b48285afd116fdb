//! A proxy before PostgreSQL that does to one message what a network and a server do when they fail.
#![expect(clippy::unwrap_used, reason = "a test's helper may panic")]

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What becomes of a message from the client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// The server does not get it, and refuses it: the client is told that the statement was cancelled.
    Refused,
    /// The server gets it, its answer is lost, and the connection with it.
    AnswerLost,
    /// Neither it nor anything after it arrives; the connection stays open.
    Stuck,
    /// The server gets it, and what comes after it, when [`Proxy::release`] is called.
    Held,
}

/// A proxy before one server.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// What a message must hold to meet which fate; the first one does.
    trap: Mutex<Option<(Vec<u8>, Fate)>>,
    sprung: Notify,
    released: Notify,
    connections: AtomicUsize,
    /// To which server new connections lead.
    server: AtomicU16,
}

impl Proxy {
    /// One before the server at this address.
    pub(crate) async fn before(host: String, port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), shared: Arc::default() };
        proxy.lead_to(port);
        let shared = proxy.shared.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let port = shared.server.load(Ordering::SeqCst);
                let server = TcpStream::connect((host.as_str(), port)).await.unwrap();
                // A message must not wait for the next one.
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                let losing = Arc::new(AtomicBool::new(false));
                let (to_client, shared) = (Arc::new(tokio::sync::Mutex::new(to_client)), shared.clone());
                tokio::spawn(answers(from_server, to_client.clone(), losing.clone()));
                tokio::spawn(async move {
                    let ended = questions((from_client, to_server), to_client, losing, &shared).await;
                    // The client has gone.
                    drop(ended);
                });
            }
        });
        proxy
    }

    /// From now on new connections lead to the server at this port; those that there are stay where they are.
    pub(crate) fn lead_to(&self, port: u16) {
        self.shared.server.store(port, Ordering::SeqCst);
    }

    /// The next message that holds `needle` meets this fate.
    pub(crate) fn trap(&self, needle: &str, fate: Fate) {
        *self.shared.trap.lock().unwrap() = Some((needle.as_bytes().to_vec(), fate));
    }

    /// Returns when a message has met its fate.
    pub(crate) async fn sprung(&self) {
        self.shared.sprung.notified().await;
    }

    /// Lets go of what is held.
    pub(crate) fn release(&self) {
        self.shared.released.notify_one();
    }

    /// How many connections were made through it.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

/// From the server to the client.
async fn answers(
    mut server: OwnedReadHalf,
    client: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    losing: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = server.read(&mut buffer).await {
        let mut client = client.lock().await;
        if losing.load(Ordering::SeqCst) || client.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    client.lock().await.shutdown().await.ok();
    // To the end: a connection that is closed with answers unread is reset, and the server may lose what it was sent before.
    while let Ok(1..) = server.read(&mut buffer).await {}
}

/// From the client to the server, message by message.
async fn questions(
    (mut client, mut server): (OwnedReadHalf, OwnedWriteHalf),
    to_client: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    losing: Arc<AtomicBool>,
    shared: &Shared,
) -> std::io::Result<()> {
    // The first message has no type.
    let mut head = 4;
    loop {
        let mut message = vec![0; head];
        client.read_exact(&mut message).await?;
        let length = u32::from_be_bytes(message[head - 4..].try_into().unwrap()) as usize;
        message.resize(head - 4 + length, 0);
        client.read_exact(&mut message[head..]).await?;
        head = 5;
        let fate = {
            let mut trap = shared.trap.lock().unwrap();
            let holds = |needle: &[u8]| message.windows(needle.len()).any(|part| part == needle);
            trap.take_if(|(needle, _)| holds(needle)).map(|(_, fate)| fate)
        };
        if fate.is_some() {
            shared.sprung.notify_one();
        }
        match fate {
            None => server.write_all(&message).await?,
            Some(Fate::Held) => {
                shared.released.notified().await;
                server.write_all(&message).await?;
            }
            Some(Fate::Refused) => {
                // An ErrorResponse and ReadyForQuery, outside of a transaction.
                let fields = b"SERROR\0VERROR\0C57014\0Mcanceling statement\0\0";
                let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
                let refusal = [b"E", length.as_slice(), fields, b"Z\0\0\0\x05I"].concat();
                to_client.lock().await.write_all(&refusal).await?;
            }
            Some(Fate::AnswerLost) => {
                losing.store(true, Ordering::SeqCst);
                server.write_all(&message).await?;
            }
            Some(Fate::Stuck) => {
                // Until the client gives up.
                let mut rest = vec![0; 4096];
                while client.read(&mut rest).await? > 0 {}
                return Ok(());
            }
        }
    }
}
