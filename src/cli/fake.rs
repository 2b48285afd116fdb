//! A service for tests: answers with what it was given, and keeps what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: String,
    pub(super) body: &'static str,
}

impl Reply {
    pub(super) fn json(status: u16, body: &'static str) -> Self {
        Self { status, headers: "Content-Type: application/json\r\n".into(), body }
    }
}

pub(super) struct Service {
    pub(super) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Service {
    /// Gives `replies` in order, one a request, then closes every connection.
    pub(super) fn start(replies: Vec<Reply>) -> Self {
        let mut replies = replies.into_iter();
        Self::answering(move |_| replies.next())
    }

    /// Gives what `reply` says to the first line of each request.
    pub(super) fn answering(mut reply: impl FnMut(&str) -> Option<Reply> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = read(&mut stream) else { continue };
                let line = request.lines().next().unwrap_or_default().to_owned();
                kept.lock().unwrap().push(request);
                let Some(Reply { status, headers, body }) = reply(&line) else { continue };
                let length =
                    if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
                let head = format!("HTTP/1.1 {status} X\r\n{headers}{length}Connection: close\r\n\r\n");
                stream.write_all(format!("{head}{body}").as_bytes()).ok();
            }
        });
        Self { url, requests }
    }

    /// What was asked, headers and body, in order.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn read(stream: &mut TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    let mut length = 0;
    loop {
        let start = request.len();
        if reader.read_line(&mut request).ok()? == 0 {
            return None;
        }
        let line = request[start..].to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.push_str(&String::from_utf8(body).ok()?);
    Some(request)
}
