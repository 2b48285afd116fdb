use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// Answers one request with `answer`; its handle gives the request's head.
fn serve(answer: Vec<u8>) -> (Url, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/doc", listener.local_addr().unwrap())).unwrap();
    let handle = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
        // The client may hang up before all of it is sent.
        let _ = stream.write_all(&answer);
        head.to_ascii_lowercase()
    });
    (url, handle)
}

fn http(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut answer =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n")
            .into_bytes();
    answer.extend_from_slice(body);
    answer
}

async fn fetch(url: &Url, etag: Option<&str>) -> Result<Fetched, FetchError> {
    let fetcher = HttpFetch::new(HttpFetchSettings::default()).unwrap();
    fetcher.fetch(FetchRequest { url, etag, accept: "application/json", limit: 1000 }).await
}

#[tokio::test]
async fn a_document_comes_with_its_tag_and_age() {
    let (url, server) = serve(http(
        "200 OK",
        "ETag: \"v1\"\r\nCache-Control: public\r\nCache-Control: max-age=7\r\n",
        b"hello",
    ));
    let expected = Fetched::Body {
        bytes: b"hello".to_vec(),
        etag: Some("\"v1\"".into()),
        max_age: Some(Duration::from_secs(7)),
    };
    assert_eq!(fetch(&url, None).await.unwrap(), expected);
    let head = server.join().unwrap();
    assert!(head.contains("accept: application/json\r\n") && !head.contains("if-none-match"), "{head}");
}

#[tokio::test]
async fn a_known_document_is_asked_for_by_its_tag() {
    let (url, server) = serve(http("304 Not Modified", "Cache-Control: max-age=9\r\n", b""));
    let expected = Fetched::NotModified { max_age: Some(Duration::from_secs(9)) };
    assert_eq!(fetch(&url, Some("\"v1\"")).await.unwrap(), expected);
    assert!(server.join().unwrap().contains("if-none-match: \"v1\"\r\n"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_not_taken() {
    let (url, _) = serve(http("200 OK", "", &[b'x'; 1000]));
    assert!(fetch(&url, None).await.is_ok());
    let (url, _) = serve(http("200 OK", "", &[b'x'; 1001]));
    assert_eq!(fetch(&url, None).await, Err(FetchError::TooLarge(1000)));
}

#[tokio::test]
async fn a_body_that_decodes_to_more_than_the_limit_is_not_taken() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; 200_000]).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 1000);
    let (url, _) = serve(http("200 OK", "Content-Encoding: gzip\r\n", &bomb));
    assert_eq!(fetch(&url, None).await, Err(FetchError::TooLarge(1000)));
}

#[tokio::test]
async fn redirections_and_errors_are_not_followed() {
    for status in [204, 301, 302, 307, 308, 404, 500, 503] {
        let answer = http(&format!("{status} X"), "Location: http://127.0.0.1:9/\r\n", b"");
        let (url, _) = serve(answer);
        assert_eq!(fetch(&url, None).await, Err(FetchError::Status(status)), "{status}");
    }
}

#[tokio::test]
async fn what_is_neither_https_nor_loopback_is_never_fetched() {
    for url in [
        "http://auth.example/jwks",
        "http://10.0.0.1/jwks",
        "http://169.254.169.254/",
        "http://localhost.evil.example/",
        "https://user@auth.example/",
        "https://:pw@auth.example/",
        "ftp://auth.example/",
        "file:///etc/passwd",
        "data:text/plain,x",
    ] {
        let refused = fetch(&Url::parse(url).unwrap(), None).await;
        assert!(matches!(refused, Err(FetchError::Refused { .. })), "{url}: {refused:?}");
    }
}

#[test]
fn plain_http_is_permitted_by_name() {
    let settings = HttpFetchSettings { plain_http_hosts: vec!["auth.internal".into()], ..Default::default() };
    let fetcher = HttpFetch::new(settings).unwrap();
    let permit = |url: &str| fetcher.permit(&Url::parse(url).unwrap()).is_ok();
    assert!(permit("http://auth.internal/jwks"));
    assert!(!permit("http://x.auth.internal/jwks"));
    for loopback in ["http://127.0.0.1:8080/", "http://127.9.9.9/", "http://[::1]/", "http://localhost/"] {
        assert!(permit(loopback), "{loopback}");
    }
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    assert!(matches!(fetch(&url, None).await, Err(FetchError::Unreachable(_))));
}

#[test]
fn a_ca_bundle_must_hold_certificates() {
    let with =
        |path: PathBuf| HttpFetch::new(HttpFetchSettings { ca_bundle: Some(path), ..Default::default() });
    let dir = tempfile::tempdir().unwrap();
    assert!(with(dir.path().join("absent.pem")).is_err());
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "no certificate here").unwrap();
    assert!(with(empty).is_err());
}
