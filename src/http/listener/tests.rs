//! Each test stops its time, which then passes only while nothing is left to do, or by `advance`: however busy the machine is, no limit is
//! over before the worker has had its turns.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::{App, FromRequest as _, HttpRequest, HttpResponse, web};
use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::http::body::Body;
use crate::http::connection::{HEAD_TIMEOUT, KEEP_ALIVE, LINGER, SPREAD};
use crate::http::paced::NARROW_SEND_BUFFER;
use crate::http::server::connection_matters;
use crate::http::socket::KEPT;
use crate::telemetry::Metrics;

/// What was answered, in this order.
type Answered = Rc<RefCell<Vec<String>>>;

/// How much a connection holds on its way, in bytes, as a system's buffers do.
const ON_ITS_WAY: usize = 64 * 1024;

/// How many looks at its sockets are more than a worker needs for anything here.
const TURNS: usize = 1_000_000;

/// Connects to a worker that notes the paths of which it is asked, and answers with `length` bytes.
async fn worker(length: usize) -> (Answered, impl AsyncFn(usize) -> DuplexStream) {
    counted_worker(length, Arc::new(Metrics::new(&[], "n"))).await
}

async fn counted_worker(
    length: usize,
    metrics: Arc<Metrics>,
) -> (Answered, impl AsyncFn(usize) -> DuplexStream) {
    let answered = Answered::default();
    let note = answered.clone();
    let counted = metrics.clone();
    let app = App::new()
        .default_service(web::to(move |request: HttpRequest, body: web::Payload| {
            let path = request.path().to_owned();
            let note = note.clone();
            async move {
                let body = match &path[..] {
                    "/unread" | "/unread-while" => web::Bytes::new(),
                    "/timed" => {
                        let Ok(body) = Body::from_request(&request, &mut body.into_inner()).await;
                        body.bytes().cloned().unwrap_or_default()
                    }
                    _ => body.to_bytes().await.unwrap(),
                };
                note.borrow_mut().push(format!("{path}{}", String::from_utf8_lossy(&body)));
                settle(if path == "/long" {
                    5000
                } else if path.ends_with("while") {
                    50
                } else {
                    0
                })
                .await;
                HttpResponse::Ok().body("a".repeat(length))
            }
        }))
        .wrap_fn(connection_matters);
    let plain = fn_service(move |io: DuplexStream| {
        ready(Ok((Paced::new(io, counted.clone()), Protocol::Http1, None)))
    });
    let http = http(plain, app, actix_server::Server::build().graceful_shutdown_signal(), metrics);
    let service = Rc::new(http.new_service(()).await.unwrap());
    let connect = async move |on_its_way: usize| {
        let (client, server) = duplex(on_its_way);
        let answering = service.call(server);
        drop(actix_web::rt::spawn(answering));
        client
    };
    (answered, connect)
}

/// `count` requests of `path`, one as the other.
fn requests(path: &str, count: usize) -> Vec<u8> {
    format!("GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(count).into_bytes()
}

/// Lets the worker look at its sockets so many times.
async fn settle(times: usize) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

#[actix_web::test]
async fn one_request_waits_for_few_of_those_who_send_many() {
    tokio::time::pause();
    let (answered, connect) = worker(10).await;
    let mut crowd = Vec::new();
    for _ in 0..20 {
        let mut one = connect(ON_ITS_WAY).await;
        one.write_all(&requests("many", 1500)).await.unwrap();
        crowd.push(one);
    }
    // Each has what is answered at once, and the rest stands in line.
    settle(40).await;
    assert!((20..=65).contains(&answered.borrow().len()), "{}", answered.borrow().len());
    // Some go away meanwhile: nobody waits for them.
    crowd.truncate(15);
    let mut one = connect(ON_ITS_WAY).await;
    let before = answered.borrow().len();
    one.write_all(&requests("one", 1)).await.unwrap();
    one.read_u8().await.unwrap();
    let place = answered.borrow().iter().position(|path| path == "/one").unwrap() - before;
    assert!(place <= 3, "{place} of others were answered first");
}

/// Before anything is done for them, as TLS is.
#[actix_web::test]
async fn new_connections_are_begun_a_few_at_a_time() {
    tokio::time::pause();
    let begun = Rc::new(Cell::new(0));
    let count = begun.clone();
    let front = fn_service(move |io: DuplexStream| {
        count.set(count.get() + 1);
        async move { Ok((Paced::new(io, Arc::new(Metrics::new(&[], "n"))), Protocol::Http1, None)) }
    });
    let signal = actix_server::Server::build().graceful_shutdown_signal();
    let http = http(front, App::new(), signal, Arc::new(Metrics::new(&[], "n")));
    let service = http.new_service(()).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..100 {
        let (client, server) = duplex(ON_ITS_WAY);
        clients.push(client);
        drop(actix_web::rt::spawn(service.call(server)));
    }
    let mut before = 0;
    for _ in 0..TURNS {
        settle(1).await;
        let now = begun.get();
        assert!(now - before <= 2, "{} at once", now - before);
        before = now;
        if now == 100 {
            return;
        }
    }
    panic!("{before} were begun");
}

/// Also of those who have waited with all of them, and of those who begin anew in the middle of one.
#[actix_web::test]
async fn handshakes_go_on_one_at_a_time() {
    /// Counts who wants to be shown a certificate, and has none.
    #[derive(Debug, Default)]
    struct Asked(AtomicUsize);

    impl rustls::server::ResolvesServerCert for Asked {
        fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            None
        }
    }

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let asked = Arc::new(Asked::default());
    let tls = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let tls = tls.unwrap().with_no_client_auth().with_cert_resolver(asked.clone());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.unwrap().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let client = rustls::ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap());
    let mut hello = Vec::new();
    client.unwrap().write_tls(&mut hello).unwrap();

    let handshakes = handshakes(tls, Arc::new(Metrics::new(&[], "n"))).new_service(()).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut pairs = Vec::new();
    for _ in 0..50 {
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        pairs.push((client, listener.accept().await.unwrap().0));
    }
    // Not before: it would run on while the system connects them.
    tokio::time::pause();
    let mut clients = Vec::new();
    for (client, server) in pairs {
        drop(actix_web::rt::spawn(handshakes.call(server)));
        clients.push(client);
    }
    settle(200).await;
    assert_eq!(asked.0.load(Ordering::Relaxed), 0);
    for client in &mut clients {
        client.write_all(&hello).await.unwrap();
    }
    let mut before = 0;
    for _ in 0..TURNS {
        settle(1).await;
        let now = asked.0.load(Ordering::Relaxed);
        assert!(now - before <= 1, "{} at once", now - before);
        before = now;
        if now == 50 {
            return;
        }
    }
    panic!("{before} went on");
}

#[actix_web::test]
async fn who_sends_many_has_each_answered_in_order() {
    tokio::time::pause();
    let (answered, connect) = worker(10).await;
    let mut client = connect(ON_ITS_WAY).await;
    let mut expected = Vec::new();
    for number in 0..300 {
        // Some have a body, which may be longer than what is read at once.
        let body = if number % 10 == 0 { "b".repeat(number * 20) } else { String::new() };
        let length = body.len();
        let request =
            format!("POST /{number}: HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
        expected.push(format!("/{number}:{body}"));
        client.write_all(request.as_bytes()).await.unwrap();
    }
    client.write_all(b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    expected.push("/last".to_owned());
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), expected.len());
    assert_eq!(*answered.borrow(), expected);
}

/// Whose end is all that is seen of it at first, behind another request.
#[actix_web::test]
async fn a_head_that_comes_in_pieces_has_its_body() {
    tokio::time::pause();
    let (first, second) = (
        "GET /first HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /second HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
    );
    for cut in 1..second.len() {
        let (answered, connect) = worker(10).await;
        let mut client = connect(ON_ITS_WAY).await;
        for piece in [format!("{first}{}", &second[..cut]), second[cut..].to_owned(), "b".repeat(100)] {
            client.write_all(piece.as_bytes()).await.unwrap();
            settle(20).await;
        }
        assert_eq!(*answered.borrow(), ["/first".to_owned(), format!("/second{}", "b".repeat(100))], "{cut}");
    }
}

#[actix_web::test]
async fn who_reads_nothing_is_read_no_further_and_goes_on_when_it_reads() {
    tokio::time::pause();
    let (answered, connect) = worker(1000).await;
    let (mut reading, mut writing) = tokio::io::split(connect(4096).await);
    let sent = Rc::new(RefCell::new(0));
    let count = sent.clone();
    let sender = actix_web::rt::spawn(async move {
        for request in requests("many", 5000).chunks(31) {
            writing.write_all(request).await.unwrap();
            *count.borrow_mut() += 1;
        }
        writing
    });
    settle(10_000).await;
    // What its buffers hold of answers, 4 KiB on the way and 32 KiB in actix-http's, and of requests 4 KiB and what is read at once.
    let (sent_unread, answered_unread) = (*sent.borrow(), answered.borrow().len());
    assert!(answered_unread <= 45, "{answered_unread}");
    assert!((answered_unread..answered_unread + 300).contains(&sent_unread), "{sent_unread}");
    let mut buffer = vec![0; 64 * 1024];
    while answered.borrow().len() < 5000 {
        assert_ne!(reading.read(&mut buffer).await.unwrap(), 0);
    }
    drop(sender.await.unwrap());
}

/// Else it would all be taken apart at once when the answer is there.
#[actix_web::test]
async fn what_comes_behind_a_request_that_takes_long_is_left_where_it_is() {
    tokio::time::pause();
    let heads = [
        "GET /long HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /long HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
        "POST /long HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "GET /unread HTTP/1.1\r\nHost: x\r\n\r\nGET /long HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    for head in heads {
        let (answered, connect) = worker(10).await;
        let (mut reading, mut writing) = tokio::io::split(connect(4096).await);
        let sent = Rc::new(RefCell::new(0));
        let count = sent.clone();
        let sender = actix_web::rt::spawn(async move {
            writing.write_all(head.as_bytes()).await.unwrap();
            for request in requests("behind", 5000).chunks(100) {
                writing.write_all(request).await.unwrap();
                *count.borrow_mut() += request.len();
            }
            writing
        });
        settle(2000).await;
        assert_eq!(answered.borrow().last().unwrap().get(..5), Some("/long"), "{head}");
        // What is on its way, and what is read at once.
        assert!(*sent.borrow() <= 4096 + 2 * 2048, "{head}: {}", sent.borrow());
        let mut buffer = vec![0; 64 * 1024];
        while answered.borrow().iter().filter(|path| *path == "/behind").count() < 5000 {
            assert_ne!(reading.read(&mut buffer).await.unwrap(), 0);
        }
        drop(sender.await.unwrap());
    }
}

/// RFC 9112, section 9.6: a client that goes on sending would else lose the answer.
#[actix_web::test]
async fn what_still_comes_of_a_body_that_nobody_reads_is_passed_over() {
    tokio::time::pause();
    let (answered, connect) = worker(10).await;
    let mut client = connect(4096).await;
    client.write_all(b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!((&answer, answered.borrow().len()), (b"HTTP/1.1 200", 1));
    // Ten times what is on its way: it is read, and what asks for more is not answered.
    client.write_all(&requests("more", 1000)).await.unwrap();
    assert_eq!(answered.borrow().len(), 1);
}

/// And no longer than that, whatever else is sent. Where it has all come before the answer, nothing does.
#[test]
fn what_still_comes_is_passed_over_for_a_second_and_the_connection_goes_on_where_nothing_does() {
    let sized = "POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n";
    let chunked = "POST /unread HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let whole = "POST /unread-while HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    for (request, rest, ends) in
        [(sized, "body-body", true), (chunked, "0\r\n\r\n", true), (whole, "", false)]
    {
        actix_web::rt::System::new().block_on(async {
            tokio::time::pause();
            let (answered, connect) = worker(10).await;
            let mut client = connect(ON_ITS_WAY).await;
            client.write_all(request.as_bytes()).await.unwrap();
            let mut answer = vec![0; 4096];
            assert_ne!(client.read(&mut answer).await.unwrap(), 0);
            let begun = tokio::time::Instant::now();
            client.write_all(rest.as_bytes()).await.unwrap();
            if ends {
                assert_eq!(client.read_to_end(&mut answer).await.unwrap(), 0);
                let took = begun.elapsed().as_secs_f64();
                assert!((LINGER.as_secs_f64() - 0.1..LINGER.as_secs_f64() + 0.1).contains(&took), "{took}");
                return;
            }
            tokio::time::advance(2 * LINGER).await;
            settle(20).await;
            client.write_all(&requests("one", 1)).await.unwrap();
            assert_ne!(client.read(&mut answer).await.unwrap(), 0);
            assert_eq!(answered.borrow().len(), 2);
        });
    }
}

/// actix-http has a time for the first head at most: whoever sent a byte of a second one would hold the connection for ever.
#[test]
fn a_request_that_does_not_come_is_waited_for_so_long_and_no_longer() {
    const ONE: &str = "GET /one HTTP/1.1\r\nHost: x\r\n\r\n";
    const CHUNKED: &str = "POST /one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    for (first, next, seconds) in [
        (String::new(), "", HEAD_TIMEOUT),
        (String::new(), "G", HEAD_TIMEOUT),
        (ONE.to_owned(), "", KEEP_ALIVE),
        (ONE.to_owned(), "G", HEAD_TIMEOUT),
        (ONE.to_owned(), "\r\n", HEAD_TIMEOUT),
        (ONE.to_owned(), "GET / HTTP/1.1\r\nHost: x\r\nX: ", HEAD_TIMEOUT),
        (format!("{ONE}G"), "", HEAD_TIMEOUT),
        (format!("{ONE}G"), "ET /", HEAD_TIMEOUT),
        (CHUNKED.to_owned(), "", KEEP_ALIVE),
        (CHUNKED.to_owned(), "\n", HEAD_TIMEOUT),
        (format!("{CHUNKED}\r\n"), "", KEEP_ALIVE),
        (format!("{CHUNKED}G"), "", KEEP_ALIVE),
    ] {
        // Each with a clock of its own.
        let took = actix_web::rt::System::new().block_on(async {
            tokio::time::pause();
            let (_, connect) = worker(10).await;
            let mut client = connect(ON_ITS_WAY).await;
            client.write_all(first.as_bytes()).await.unwrap();
            let mut answer = vec![0; 4096];
            if !first.is_empty() {
                assert_ne!(client.read(&mut answer).await.unwrap(), 0);
            }
            let begun = tokio::time::Instant::now();
            client.write_all(next.as_bytes()).await.unwrap();
            assert_eq!(client.read_to_end(&mut answer).await.unwrap(), 0, "{first:?} {next:?}");
            begun.elapsed().as_secs_f64()
        });
        let least = seconds.as_secs_f64() - 0.1;
        assert!((least..least + SPREAD.as_secs_f64()).contains(&took), "{first:?} {next:?} {took}");
    }
}

/// Whose end it is that the next head comes with: else the answer would be cut to that one's method.
#[actix_web::test]
async fn what_follows_upon_a_chunked_body_is_no_part_of_its_request() {
    const POST: &str = "POST /while HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    const HEAD: &str = "HEAD /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    tokio::time::pause();
    for body in ["0\r\n\r\n", "4\r\n\n\n\n\n\r\n0\r\n\r\n", "4\r\nbody\r\n0\r\nA: b\r\n\r\n"] {
        let all = format!("{POST}{body}{HEAD}");
        for cut in 0..all.len() {
            let (answered, connect) = worker(10).await;
            let mut client = connect(ON_ITS_WAY).await;
            client.write_all(&all.as_bytes()[..cut]).await.unwrap();
            settle(20).await;
            client.write_all(&all.as_bytes()[cut..]).await.unwrap();
            let mut answers = String::new();
            client.read_to_string(&mut answers).await.unwrap();
            assert_eq!(answered.borrow().len(), 2, "{body:?} {cut}");
            let (first, second) = answers.split_once("aaaaaaaaaa").unwrap();
            assert!(!first.contains("close") && second.contains("close"), "{body:?} {cut} {answers}");
        }
    }
}

/// Whatever was sent before: its body may be chunked, or longer than what is read at once.
#[actix_web::test]
async fn who_waits_for_each_answer_stands_in_no_line() {
    tokio::time::pause();
    let (answered, connect) = worker(10).await;
    let mut client = connect(ON_ITS_WAY).await;
    let chunked = "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let long = format!("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3000\r\n\r\n{}", "b".repeat(3000));
    let mut crowd = Vec::new();
    for _ in 0..20 {
        crowd.push(connect(4096).await);
    }
    let mut answer = vec![0; 4096];
    for request in [chunked, &long, chunked, &long, &long, "GET /c HTTP/1.1\r\nHost: x\r\n\r\n"] {
        // Whoever stood in line would stand behind them.
        for one in &mut crowd {
            let mut read = vec![0; 4096];
            while let Some(Ok(1..)) = one.read(&mut read).now_or_never() {}
            one.write_all(&requests("many", 20)).await.unwrap();
        }
        settle(30).await;
        let before = answered.borrow().len();
        client.write_all(request.as_bytes()).await.unwrap();
        assert_ne!(client.read(&mut answer).await.unwrap(), 0);
        let others = answered.borrow()[before..].iter().filter(|path| *path == "/many").count();
        assert!(others <= 6, "{request}: {others}");
    }
}

#[test]
fn who_asks_on_and_on_and_reads_nothing_has_less_room_and_is_cut_off() {
    for (count, length, cut_off) in [(120, 100, true), (1, 10_000, false)] {
        actix_web::rt::System::new().block_on(async {
            tokio::time::pause();
            KEPT.set(0);
            let metrics = Arc::new(Metrics::new(&[], "n"));
            let (answered, connect) = counted_worker(length, metrics.clone()).await;
            let mut client = connect(4096).await;
            client.write_all(&requests("many", count)).await.unwrap();
            settle(500).await;
            assert!(answered.borrow().len() < 60, "{}", answered.borrow().len());
            assert_eq!(KEPT.get(), if cut_off { NARROW_SEND_BUFFER } else { 0 });
            let closed = || {
                let counted = "signet_http_connections_cut_off_total{reason=\"unread\"} 1";
                metrics.render().lines().any(|line| line == counted)
            };
            tokio::time::advance(Duration::from_secs(4)).await;
            settle(20).await;
            assert!(!closed());
            tokio::time::advance(Duration::from_secs(2)).await;
            settle(20).await;
            assert_eq!(closed(), cut_off);
            // Of others the system knows whether they read on.
            tokio::time::advance(Duration::from_mins(1)).await;
            let mut answers = Vec::new();
            drop(client.shutdown().await);
            client.read_to_end(&mut answers).await.unwrap();
            assert_eq!(
                answers.ends_with(b"aaaaaaaaaa") && answers.len() > 10_000,
                !cut_off,
                "{}",
                answers.len()
            );
        });
    }
}

#[actix_web::test]
async fn a_chunked_body_is_waited_for_whatever_the_method() {
    tokio::time::pause();
    for method in ["DELETE", "GET", "POST"] {
        let (answered, connect) = worker(10).await;
        let mut client = connect(ON_ITS_WAY).await;
        let head = format!("{method} /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in [&head[..], "4\r\nbody\r\n", "0\r\n\r\n"] {
            client.write_all(piece.as_bytes()).await.unwrap();
            settle(20).await;
        }
        assert_eq!(*answered.borrow(), ["/abody"], "{method}");
    }
}

/// Each would be a look at a connection and a system call or two, for which all others wait.
#[test]
fn connections_that_came_together_do_not_end_together() {
    const POST: &[u8] = b"POST /timed HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n";
    for sent in [&b""[..], b"G", POST] {
        actix_web::rt::System::new().block_on(async {
            tokio::time::pause();
            let (_, connect) = worker(10).await;
            let mut clients = Vec::new();
            for _ in 0..640 {
                let mut client = connect(ON_ITS_WAY).await;
                client.write_all(sent).await.unwrap();
                clients.push(client);
            }
            settle(1000).await;
            // None is read any further: what has begun goes on until it is over.
            let mut most = 0;
            for _ in 0..1000 {
                tokio::time::advance(Duration::from_millis(10)).await;
                settle(30).await;
                let before = clients.len();
                clients.retain_mut(|client| client.read(&mut [0; 100]).now_or_never().is_none());
                most = most.max(before - clients.len());
            }
            assert!(clients.is_empty() && most <= 10, "{sent:?}: {} left, {most} at once", clients.len());
        });
    }
}

/// A client does not know that its time is over as long as it has not been told.
#[test]
fn what_is_asked_by_whoever_waits_for_its_end_is_answered() {
    actix_web::rt::System::new().block_on(async {
        tokio::time::pause();
        let (answered, connect) = worker(10).await;
        let mut clients = Vec::new();
        for _ in 0..100 {
            let mut client = connect(ON_ITS_WAY).await;
            client.write_all(&requests("one", 1)).await.unwrap();
            assert_ne!(client.read(&mut [0; 1000]).await.unwrap(), 0);
            clients.push(client);
        }
        tokio::time::advance(KEEP_ALIVE + SPREAD).await;
        settle(10).await;
        let mut last = clients.pop().unwrap();
        last.write_all(&requests("last", 1)).await.unwrap();
        assert_ne!(last.read(&mut [0; 1000]).await.unwrap(), 0);
        assert_eq!(answered.borrow().last().unwrap(), "/last");
        // And its time begins anew.
        settle(200).await;
        assert!(last.read(&mut [0; 1000]).now_or_never().is_none());
        for mut client in clients {
            assert_eq!(client.read(&mut [0; 1000]).await.unwrap(), 0);
        }
    });
}

/// As where all were given the same time for something.
#[actix_web::test]
async fn connections_end_one_after_another() {
    tokio::time::pause();
    let (_, connect) = worker(10).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = connect(ON_ITS_WAY).await;
        client.write_all(&requests("one", 1)).await.unwrap();
        clients.push(client);
    }
    settle(200).await;
    let mut left: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let mut answer = [0; 1000];
            assert!(matches!(client.read(&mut answer).now_or_never(), Some(Ok(1..))));
            client
        })
        .collect();
    for client in &mut left {
        client.shutdown().await.unwrap();
    }
    for _ in 0..TURNS {
        settle(1).await;
        let mut answer = [0; 10];
        let before = left.len();
        left.retain_mut(|client| client.read(&mut answer).now_or_never().is_none());
        assert!(before - left.len() <= 2, "{} at once", before - left.len());
        if left.is_empty() {
            return;
        }
    }
    panic!("{} are left", left.len());
}
