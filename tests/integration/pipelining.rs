//! Many requests on one connection, sent before any answer is read, over real sockets.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use signet::http::Listeners;
use tokio::sync::oneshot;

use crate::test_app::TestApp;

/// The request of that number, and the status of its answer: some with a body, which has blank lines of its own.
fn request(number: usize, client: (&str, &str)) -> (String, u16) {
    match number % 3 {
        0 => ("GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 200),
        1 => ("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 404),
        _ => {
            let (id, secret) = client;
            let body = format!(
                "grant_type=client_credentials&client_id={id}&client_secret={secret}&scope=nonsense&blank=\n\n\r\n\r\n"
            );
            let head =
                "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded";
            (format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()), 400)
        }
    }
}

/// Reads one answer; gives its status, or what came instead.
fn answer(reader: &mut BufReader<TcpStream>) -> Result<u16, String> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(head)
}

#[actix_web::test]
async fn requests_that_are_sent_in_advance_are_answered_in_their_order() {
    const MANY: usize = 300;
    let app = TestApp::start().await;
    let [public, management] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let address = public.local_addr().unwrap();
    let (_until, end) = oneshot::channel::<()>();
    let end = async { drop(end.await) };
    let listeners = Listeners { public, tls: None, management };
    actix_web::rt::spawn(signet::http::run(app.app.state.clone(), listeners, 1, end));
    let requests: Vec<(String, u16)> = (0..MANY).map(|number| request(number, app.demo())).collect();
    let expected: Vec<u16> = requests.iter().map(|(_, status)| *status).collect();
    let client = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let sending = std::thread::spawn(move || {
            let all: String = requests.into_iter().map(|(request, _)| request).collect();
            stream.write_all(all.as_bytes()).unwrap();
        });
        let answers: Vec<u16> = (0..MANY)
            .map(|number| {
                answer(&mut reader).unwrap_or_else(|head| panic!("{number} is not answered: {head:?}"))
            })
            .collect();
        sending.join().unwrap();
        answers
    };
    let answers = tokio::task::spawn_blocking(client).await.unwrap();
    assert_eq!(answers, expected);
}
