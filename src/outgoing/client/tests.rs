use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;

fn config(allowed: &[&str]) -> OutgoingConfig {
    OutgoingConfig {
        allowed_networks: allowed.iter().map(|network| network.parse().unwrap()).collect(),
        ca_bundle: None,
        timeout: Duration::from_secs(5),
    }
}

fn fields() -> Vec<(&'static str, String)> {
    vec![("logout_token", "a.b+c".to_owned())]
}

/// Answers each of `answers` on a connection of its own; its handle gives the requests.
fn serve(answers: Vec<String>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = std::thread::spawn(move || {
        let read = |answer: &String| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            // The client may hang up before all of it is sent.
            let _ = stream.write_all(answer.as_bytes());
            head + &String::from_utf8(body).unwrap()
        };
        answers.iter().map(read).collect()
    });
    (address, handle)
}

/// Gives one answer after the other, whatever is asked, and counts.
#[derive(Debug, Clone, Default)]
struct Rebinding(Arc<(Mutex<Vec<SocketAddr>>, AtomicUsize)>);

impl Rebinding {
    fn to(addresses: &[SocketAddr]) -> Self {
        Self(Arc::new((Mutex::new(addresses.iter().rev().copied().collect()), AtomicUsize::new(0))))
    }
}

impl Resolver for Rebinding {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.0.1.fetch_add(1, SeqCst);
        let mut addresses = self.empty();
        addresses.push(self.0.0.lock().unwrap().pop().expect("an address is left"));
        Ok(addresses)
    }
}

#[tokio::test]
async fn a_form_is_posted_to_a_listed_address() {
    let (address, server) = serve(vec!["HTTP/1.1 204 No Content\r\n\r\n".into()]);
    let outgoing = Outgoing::new(&config(&["127.0.0.0/8"])).unwrap();
    let url = Url::parse(&format!("http://{address}/logout?tenant=1")).unwrap();
    assert_eq!(outgoing.post_form(&url, fields()).await.unwrap(), 204);
    let request = server.join().unwrap().remove(0);
    assert!(request.starts_with("POST /logout?tenant=1 HTTP/1.1\r\n"), "{request}");
    assert!(
        request.to_ascii_lowercase().contains("content-type: application/x-www-form-urlencoded"),
        "{request}"
    );
    assert!(request.ends_with("\r\n\r\nlogout_token=a.b%2Bc"), "{request}");
}

#[tokio::test]
async fn nothing_is_sent_to_an_address_that_is_not_listed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for (allowed, url) in [
        (&[][..], format!("http://127.0.0.1:{port}/")),
        (&[], format!("https://127.0.0.1:{port}/")),
        // Only the lookup tells where these lead.
        (&[], format!("https://localhost:{port}/")),
        (&["127.0.0.2/32"], format!("http://localhost:{port}/")),
    ] {
        let outgoing = Outgoing::new(&config(allowed)).unwrap();
        let refused = outgoing.post_form(&Url::parse(&url).unwrap(), fields()).await;
        assert!(matches!(refused, Err(OutgoingError::Refused(_))), "{url}: {refused:?}");
    }
    assert!(listener.accept().is_err(), "somebody connected");
}

#[tokio::test]
async fn the_connection_goes_to_the_address_that_was_checked() {
    let (address, server) = serve(vec!["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into()]);
    let inside = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 443));
    // A name that leads to an open address first and inside then.
    let resolver = Rebinding::to(&[address, inside]);
    let outgoing = Outgoing::with_resolver(&config(&["127.0.0.1/32"]), resolver.clone()).unwrap();
    let url = Url::parse("http://localhost:1/").unwrap();
    assert_eq!(outgoing.post_form(&url, fields()).await.unwrap(), 200);
    assert_eq!(resolver.0.1.load(SeqCst), 1, "it was looked up between the check and the connection");
    server.join().unwrap();
    let refused = outgoing.post_form(&url, fields()).await;
    assert!(matches!(refused, Err(OutgoingError::Refused(Unreachable::Scheme))), "{refused:?}");

    let rebound = Rebinding::to(&[inside]);
    let outgoing = Outgoing::with_resolver(&config(&[]), rebound).unwrap();
    let refused = outgoing.post_form(&Url::parse("https://shop.example/").unwrap(), fields()).await;
    let expected = Unreachable::Address(inside.ip());
    assert!(matches!(&refused, Err(OutgoingError::Refused(reason)) if *reason == expected), "{refused:?}");
}

#[tokio::test]
async fn a_redirection_is_an_answer_and_not_followed() {
    let (target, _never_asked) = serve(vec![String::new()]);
    for status in [301, 302, 303, 307, 308] {
        let answer =
            format!("HTTP/1.1 {status} X\r\nLocation: http://{target}/\r\nContent-Length: 0\r\n\r\n");
        let (address, server) = serve(vec![answer]);
        let outgoing = Outgoing::new(&config(&["127.0.0.1/32"])).unwrap();
        let url = Url::parse(&format!("http://{address}/")).unwrap();
        assert_eq!(outgoing.post_form(&url, fields()).await.unwrap(), status);
        server.join().unwrap();
    }
}

#[tokio::test]
async fn time_and_size_of_an_answer_are_bounded() {
    // Accepts in the kernel, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = OutgoingConfig { timeout: Duration::from_millis(50), ..config(&["127.0.0.1/32"]) };
    let outgoing = Outgoing::new(&config).unwrap();
    let url = Url::parse(&format!("http://{}/", silent.local_addr().unwrap())).unwrap();
    let error = outgoing.post_form(&url, fields()).await.unwrap_err();
    assert!(error.to_string().contains("timeout"), "{error}");

    let (address, _server) =
        serve(vec![format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(LONGEST_HEAD))]);
    let outgoing = Outgoing::new(&OutgoingConfig { timeout: Duration::from_secs(5), ..config }).unwrap();
    let url = Url::parse(&format!("http://{address}/")).unwrap();
    let error = outgoing.post_form(&url, fields()).await.unwrap_err();
    assert!(matches!(error, OutgoingError::NoAnswer(_)), "{error}");
}

#[test]
fn a_ca_bundle_without_certificates_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    for content in [None, Some("not a certificate")] {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let config = OutgoingConfig { ca_bundle: Some(path.clone()), ..config(&[]) };
        let error = Outgoing::new(&config).unwrap_err().to_string();
        assert!(error.contains("outgoing.ca_bundle") && error.contains("ca.pem"), "{error}");
    }
}
