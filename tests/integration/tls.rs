//! The public listener with TLS of its own, over real sockets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use signet::config::TlsConfig;
use signet::http::{Reloaded, Tls};
use tokio::sync::oneshot;

use crate::certificates::{Pair, year};
use crate::test_app::TestApp;
use crate::unread_bodies::client;

/// A service that is served by TLS; it ends when the test does.
struct Site {
    address: SocketAddr,
    tls: Arc<Tls>,
    app: TestApp,
    _until: oneshot::Sender<()>,
}

impl Site {
    async fn start(pair: &Pair) -> Self {
        Self::start_with(pair, |_| {}).await
    }

    async fn start_with(pair: &Pair, change: impl FnOnce(&mut TlsConfig)) -> Self {
        let app = TestApp::start().await;
        let mut files = pair.write(app.dir());
        change(&mut files);
        let tls = Arc::new(Tls::open(&files, year(2026)).unwrap());
        let (address, until) = app.listen(Some(tls.clone()));
        Self { address, tls, app, _until: until }
    }

    /// Does what a client does, aside: it waits for answers.
    async fn client<T: Send + 'static>(&self, act: impl FnOnce(SocketAddr) -> T + Send + 'static) -> T {
        let address = self.address;
        tokio::task::spawn_blocking(move || act(address)).await.unwrap()
    }
}

type Connection = StreamOwned<ClientConnection, TcpStream>;

/// Whoever waits longer for an answer will not get one.
const PATIENCE: Duration = Duration::from_secs(30);

fn plain(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A connection of a client that trusts `trusted` and speaks one version, after the handshake.
fn connect(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> Result<Connection, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = plain(address);
    connection.complete_io(&mut stream)?;
    Ok(StreamOwned::new(connection, stream))
}

/// Asks for the keys; the connection stays open. Gives the status line.
fn ask(connection: &mut Connection) -> String {
    let (head, body) = exchange(connection, "GET /.well-known/jwks.json");
    assert!(body.starts_with(b"{\"keys\":["), "{head}");
    head.lines().next().unwrap().to_owned()
}

/// Head and body of the answer to a request without a body; the connection stays open.
fn exchange(connection: &mut Connection, line: &str) -> (String, Vec<u8>) {
    connection.write_all(format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
    let mut read = Vec::new();
    let head = loop {
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        read.push(byte[0]);
        if read.ends_with(b"\r\n\r\n") {
            break String::from_utf8(read).unwrap();
        }
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    connection.read_exact(&mut body).unwrap();
    (head, body)
}

/// Sends `bytes` and reads to the end of the connection.
fn rest_after(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = plain(address);
    stream.write_all(bytes).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    rest
}

/// A `ClientHello` (RFC 5246, section 7.4.1.2) whose version is 3.`minor`: good but for that.
fn hello(minor: u8) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]); // random
    body.push(0); // no session
    body.extend([0, 4, 0xc0, 0x2b, 0xc0, 0x2f]); // ECDHE with AES-128-GCM
    body.extend([1, 0]); // no compression
    let extensions: [&[u8]; 3] = [
        &[0, 10, 0, 4, 0, 2, 0, 29],      // groups: x25519
        &[0, 11, 0, 2, 1, 0],             // points: uncompressed
        &[0, 13, 0, 6, 0, 4, 4, 3, 8, 4], // signatures: ECDSA and RSA-PSS with SHA-256
    ];
    let extensions = extensions.concat();
    body.extend([0, u8::try_from(extensions.len()).unwrap()]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const FATAL: u8 = 2;
const PROTOCOL_VERSION: u8 = 70;

#[actix_web::test]
async fn versions_1_2_and_1_3_are_spoken_and_none_before() {
    let pair = Pair::new();
    let site = Site::start(&pair).await;
    for version in [&TLS12, &TLS13] {
        let trusted = pair.certificate.clone();
        let asked = site.client(move |address| {
            let mut connection = connect(address, &trusted, version).unwrap();
            assert_eq!(connection.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
            ask(&mut connection)
        });
        assert_eq!(asked.await, "HTTP/1.1 200 OK", "{version:?}");
    }
    let mut first = [0];
    let answered = site.client(move |address| {
        let mut stream = plain(address);
        stream.write_all(&hello(3)).unwrap();
        stream.read_exact(&mut first).unwrap();
        first
    });
    assert_eq!(answered.await, [HANDSHAKE], "what is sent below is refused for its version alone");
    for minor in [0, 1, 2] {
        let refused = site.client(move |address| rest_after(address, &hello(minor))).await;
        let [kind, _, _, _, 2, FATAL, description] = refused[..] else { panic!("{minor}: {refused:?}") };
        assert_eq!((kind, description), (ALERT, PROTOCOL_VERSION), "3.{minor}");
    }
}

/// What each of these answers tells browsers about later visits.
async fn told(site: &Site, pair: &Pair) -> Vec<Option<String>> {
    let trusted = pair.certificate.clone();
    site.client(move |address| {
        let mut connection = connect(address, &trusted, &TLS13).unwrap();
        let requests = [
            ("GET /.well-known/jwks.json", "200"),
            ("GET /account", "200"),
            ("GET /nothing/here", "404"),
            ("DELETE /oauth2/token", "405"),
            ("GET /admin/keys", "401"),
        ];
        let mut told = Vec::new();
        for (line, status) in requests {
            let (head, _) = exchange(&mut connection, line);
            assert_eq!(head.split(' ').nth(1), Some(status), "{line}");
            let value = head.lines().find_map(|line| line.strip_prefix("strict-transport-security: "));
            told.push(value.map(str::to_owned));
        }
        told
    })
    .await
}

#[actix_web::test]
async fn browsers_are_told_to_stay_with_https_unless_it_is_off() {
    let pair = Pair::new();
    let told_usually = told(&Site::start(&pair).await, &pair).await;
    assert_eq!(told_usually, vec![Some("max-age=31536000".to_owned()); 5]);
    let site = Site::start_with(&pair, |files| files.strict_transport_security = None).await;
    assert_eq!(told(&site, &pair).await, vec![None; 5]);
}

/// Over plain http they would have to ignore it (RFC 6797, section 7.2), and a proxy may be in front.
#[actix_web::test]
async fn over_plain_http_browsers_are_told_nothing() {
    let request = b"GET /account HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = client(move |address| rest_after(address, request)).await;
    let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 200") && !answer.contains("strict-transport-security"), "{answer}");
}

#[actix_web::test]
async fn a_renewed_certificate_is_shown_to_new_connections_and_the_old_go_on() {
    let (before, after) = (Pair::ending(2090), Pair::ending(2091));
    let site = Site::start(&before).await;
    let trusted = before.certificate.clone();
    let mut old = site
        .client(move |address| {
            let mut connection = connect(address, &trusted, &TLS13).unwrap();
            assert_eq!(ask(&mut connection), "HTTP/1.1 200 OK");
            connection
        })
        .await;
    after.write(site.app.dir());
    assert!(matches!(site.tls.reload(year(2026)), Reloaded::Taken));
    let (trusted, no_more) = (after.certificate.clone(), before.certificate.clone());
    let shown = site
        .client(move |address| {
            assert_eq!(ask(&mut old), "HTTP/1.1 200 OK");
            assert!(connect(address, &no_more, &TLS13).is_err());
            let connection = connect(address, &trusted, &TLS13).unwrap();
            connection.conn.peer_certificates().unwrap().to_vec()
        })
        .await;
    assert_eq!(shown, [after.certificate]);
}

#[actix_web::test]
async fn a_pair_that_can_not_be_used_changes_nothing_for_clients() {
    let pair = Pair::new();
    let site = Site::start(&pair).await;
    std::fs::write(site.app.dir().join("tls.crt"), Pair::new().certificate_pem()).unwrap();
    assert!(matches!(site.tls.reload(year(2026)), Reloaded::Kept(_)));
    let asked =
        site.client(move |address| ask(&mut connect(address, &pair.certificate, &TLS12).unwrap())).await;
    assert_eq!(asked, "HTTP/1.1 200 OK");
}

#[actix_web::test]
async fn who_speaks_no_tls_is_told_so_in_tls_and_cut_off() {
    let pair = Pair::new();
    let site = Site::start(&pair).await;
    for said in ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "\0\0\0\0\0\0\0\0", "SSH-2.0-x\r\n"] {
        let rest = site.client(move |address| rest_after(address, said.as_bytes())).await;
        let [kind, _, _, _, 2, FATAL, _] = rest[..] else { panic!("{said:?}: {rest:?}") };
        assert_eq!(kind, ALERT, "{said:?}");
    }
    let asked =
        site.client(move |address| ask(&mut connect(address, &pair.certificate, &TLS13).unwrap())).await;
    assert_eq!(asked, "HTTP/1.1 200 OK");
}

#[actix_web::test]
async fn many_who_never_finish_the_handshake_keep_nobody_waiting_and_are_cut_off() {
    let pair = Pair::new();
    let site = Site::start(&pair).await;
    site.client(move |address| {
        // More than actix-web lets shake hands at a time unless it is told, and than the management listener takes connections.
        let mut silent: Vec<TcpStream> = (0..1100).map(|_| plain(address)).collect();
        silent[7].write_all(&hello(3)[..20]).unwrap();
        let mut good = connect(address, &pair.certificate, &TLS13).unwrap();
        assert_eq!(ask(&mut good), "HTTP/1.1 200 OK");
        for stream in &silent {
            stream.set_nonblocking(true).unwrap();
            let waits = stream.peek(&mut [0]).unwrap_err();
            assert_eq!(
                waits.kind(),
                std::io::ErrorKind::WouldBlock,
                "it was answered before they were cut off"
            );
        }
        for stream in &mut silent {
            stream.set_nonblocking(false).unwrap();
            match stream.read(&mut [0]) {
                Ok(0) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
                other => panic!("it was not cut off: {other:?}"),
            }
        }
    })
    .await;
}
