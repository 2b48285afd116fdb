//! Bodies that nobody reads to their end: the connection is closed, whatever still comes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::test_app::TestApp;

/// Whoever waits longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// Does what a client does to a service that listens.
pub(crate) async fn client<T: Send + 'static>(act: impl FnOnce(SocketAddr) -> T + Send + 'static) -> T {
    let app = TestApp::start().await;
    let (address, _until) = app.listen(None);
    tokio::task::spawn_blocking(move || act(address)).await.unwrap()
}

/// Sends all of it at once: what follows later than a second upon an answer is met by a reset, which takes the answer along.
fn connect(address: SocketAddr, head: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let request = format!("{head}\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// What is answered until the connection is closed.
fn until_the_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("it stays open: {error}, after {:?}", String::from_utf8_lossy(&answer)),
    }
    String::from_utf8(answer).unwrap()
}

#[actix_web::test]
async fn a_connection_is_closed_after_an_answer_to_half_a_chunked_body() {
    for (head, status) in [
        ("GET /.well-known/jwks.json HTTP/1.1", "200 OK"),
        ("GET /nowhere HTTP/1.1", "404 Not Found"),
        ("PUT /oauth2/token HTTP/1.1", "405 Method Not Allowed"),
    ] {
        let answer = client(move |address| until_the_end(&mut connect(address, head, "1\r\na\r\n")));
        let answer = answer.await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{head}: {answer}");
    }
}

#[actix_web::test]
async fn a_connection_is_closed_after_a_chunked_body_that_is_too_long() {
    let head = "POST /oauth2/token HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded";
    let answer = client(move |address| {
        let chunk = format!("8000\r\n{}\r\n", "a".repeat(0x8000));
        // More than is read of it, and no end.
        until_the_end(&mut connect(address, head, &chunk.repeat(3)))
    });
    assert!(answer.await.starts_with("HTTP/1.1 413 "));
}

#[actix_web::test]
async fn a_whole_chunked_body_is_read_and_the_connection_goes_on() {
    let head = "POST /oauth2/token HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded";
    client(move |address| {
        let body = "15\r\ngrant_type=no_such_th\r\n3\r\ning\r\n0\r\n\r\n";
        let mut stream = connect(address, head, "");
        for _ in 0..2 {
            stream.write_all(body.as_bytes()).unwrap();
            let mut start = [0; 12];
            stream.read_exact(&mut start).unwrap();
            assert_eq!(&start, b"HTTP/1.1 401");
            let mut rest = [0; 4096];
            let mut answer = String::new();
            while !answer.contains('}') {
                let length = stream.read(&mut rest).unwrap();
                assert_ne!(length, 0, "it was closed after {answer}");
                answer.push_str(std::str::from_utf8(&rest[..length]).unwrap());
            }
            assert!(answer.contains("invalid_client"), "{answer}");
            write!(stream, "{head}\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        }
    })
    .await;
}
