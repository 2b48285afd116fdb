//! Secrets leave no trace in what a process of its own prints when it is told to log everything, of the crates beneath it too: they go
//! over the wire, where they belong and in heads that nobody can read.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use serde_json::json;
use signet::store::postgres::{PostgresStore, TimeSource};

use crate::api_keys::{API_KEY, EXCHANGE};
use crate::browser::encoded;
use crate::canaries::text_of;
use crate::canary_forms::Canary;
use crate::grants_fixture::VERIFIER;
use crate::postgres_fixture::Database;
use crate::process::{PATIENCE, Process, free_port};
use crate::signed_in::{PASSWORD, SignedIn};
use crate::test_app::{basic, bearer};

const KEK: &str = "5a13c7420b9ef1685a13c7420b9ef16805d1a87c3be94f2605d1a87c3be94f26";

#[test]
fn secrets_leave_no_trace_in_what_a_process_prints() {
    leave_no_trace(&[("SIGNET_KEYS_KEK", KEK)]);
}

#[actix_web::test]
async fn secrets_leave_no_trace_in_what_a_process_over_postgres_prints() {
    let Some(database) = Database::fresh().await else { return };
    PostgresStore::migrate(&database.options(TimeSource::Database)).await.unwrap();
    let url = database.url();
    let act = move || {
        leave_no_trace(&[("SIGNET_STORE", &url), ("SIGNET_KEYS__VAULT", "store"), ("SIGNET_KEYS_KEK", KEK)]);
    };
    tokio::task::spawn_blocking(act).await.unwrap();
}

#[expect(clippy::print_stdout, reason = "the figure is what it is run for")]
fn leave_no_trace(settings: &[(&str, &str)]) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let settings = [settings, &[("SIGNET_LOG__FILTER", "trace,actix_http::h1::decoder=trace")]].concat();
    let printed = File::create(&log).unwrap();
    let service = Process::start_to(dir.path(), free_port(), &settings, printed.into());
    let secrets = flows(&service);
    for (_, secret) in &secrets {
        wrong_places(&service, secret);
    }
    let (code, said) = service.terminate_and_hear();
    assert_eq!(code, Some(0));

    let log = std::fs::read(&log).unwrap();
    let text = String::from_utf8_lossy(&log);
    assert!(text.contains("TRACE actix_http::h1::dispatcher"), "it logs everything: {text}");
    // They log by `log`, which nobody listens to: parameters of statements are among what they would tell.
    for silent in [" sled", " tokio_postgres", " rustls", " ureq"] {
        let heard = text.lines().find(|line| line.contains(&format!("{silent}::")));
        assert_eq!(heard, None, "{silent} is heard");
    }
    let canaries: Vec<_> = secrets.iter().map(|(name, secret)| Canary::of(name, secret)).collect();
    for canary in &canaries {
        canary.is_absent("what it prints", said.as_bytes());
    }
    let told = canaries.iter().filter(|canary| canary.is_in(&log));
    let told: Vec<_> = told
        .map(|canary| {
            let lines = text.lines().filter(|line| canary.is_in(line.as_bytes()));
            (&canary.name, lines.collect::<Vec<_>>())
        })
        .collect();
    assert!(told.is_empty(), "{told:#?}");
    println!("{} secrets: none in {} bytes of the log", canaries.len(), log.len());
}

/// Secrets by what they are, each of which went to where it belongs; the keys are tried there once with an end that is wrong.
fn flows(service: &Process) -> Vec<(&'static str, String)> {
    let administrator = service.credentials("administrator");
    let admin = service.token((&administrator.0, &administrator.1)).unwrap();
    let browser = SignedIn::new(service);
    let (id, secret) = &browser.client;
    let token = |secret: &str, members: &[(&str, &str)]| {
        post(service, "/oauth2/token", &[basic((id, secret))], &encoded(members))
    };
    let client_credentials = [("grant_type", "client_credentials")];
    assert!(token(&format!("{secret}x"), &client_credentials).starts_with("HTTP/1.1 401"));
    let by_form = [
        ("grant_type", "client_credentials"),
        ("client_id", &**id),
        ("client_secret", &**secret),
        ("scope", "read"),
    ];
    let access = text_of(&service.post("/oauth2/token", &by_form).unwrap().json(), "access_token");

    let code = browser.code(service).unwrap();
    let redemption = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("redirect_uri", SignedIn::REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    let issued = json_of(&token(secret, &redemption));
    let refresh = text_of(&issued, "refresh_token");
    let issued_later =
        json_of(&token(secret, &[("grant_type", "refresh_token"), ("refresh_token", &refresh)]));
    let later = text_of(&issued_later, "refresh_token");

    let key =
        json!({ "name": "k", "client_id": id, "scope": "read", "resources": ["http://127.0.0.1:9000"] });
    let key = text_of(&service.post_json("/admin/api-keys", &admin, &key).unwrap().json(), "api_key");
    let exchanged =
        token(secret, &[("grant_type", EXCHANGE), ("subject_token", &key), ("subject_token_type", API_KEY)]);
    let exchanged = text_of(&json_of(&exchanged), "access_token");
    for header in [bearer(&exchanged), bearer(&format!("{exchanged}x"))] {
        raw(
            service,
            &format!("GET /oauth2/userinfo HTTP/1.1\r\nHost: localhost\r\n{}: {}", header.0, header.1),
            "",
        );
    }
    let mut secrets = vec![
        ("key-encryption key", KEK.to_owned()),
        ("administrator's secret", administrator.1),
        ("administrator's token", admin),
        ("client secret", secret.clone()),
        ("password", PASSWORD.to_owned()),
        ("access token", access),
        ("code", code),
        ("verifier", VERIFIER.to_owned()),
        ("access token of a person", text_of(&issued, "access_token")),
        ("refresh token", refresh),
        ("rotated refresh token", later),
        ("API key", key),
        ("exchanged token", exchanged),
    ];
    secrets.extend(browser.cookie_values().map(|value| ("cookie", value.to_owned())));
    secrets
}

/// As everything that a request has, in heads that are refused for it or for something else.
fn wrong_places(service: &Process, secret: &str) {
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let (_, basic) = basic(("shop", secret));
    let cookie = format!("signet-session={encoded}");
    let post_it = |header, value: &str| {
        post(service, "/oauth2/token", &[(header, value.to_owned())], &format!("client_secret={encoded}"))
    };
    post_it("Cookie", &cookie);
    post_it("X-API-Key", secret);
    post_it("X-Request-Id", secret);
    post_it("Host", secret);
    post_it("Content-Length", secret);
    post_it("Transfer-Encoding", secret);
    post_it("Expect", secret);
    post_it("Upgrade", secret);
    let sign_in = format!("state={encoded}&username={encoded}&password={encoded}");
    post(service, "/oauth2/sign-in", &[("Cookie", cookie.clone())], &sign_in);
    let authorization = format!("Authorization: {basic}\r\nCookie: {cookie}");
    for line in [
        format!("GET /{encoded}?client_secret={encoded} HTTP/1.1"),
        format!("GET /{secret} | HTTP/1.1"),
        format!("GET /{encoded}%zz{{}}\u{1} HTTP/1.1"),
        format!("{secret} / HTTP/1.1"),
        format!("{encoded} / HTTP/1.1"),
        format!("GET / HTTP/{secret}"),
        format!("GET / HTTP/1.1\r\n{secret}"),
        format!("GET / HTTP/1.1\r\n{secret}: x"),
        format!("GET / HTTP/1.1\r\nX: {secret}\u{1}"),
        "GET / HTTP/1.1\r\nHost: other".to_owned(),
        "POST /oauth2/token HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked".to_owned(),
    ] {
        raw(service, &format!("{line}\r\nHost: localhost\r\n{authorization}"), "");
    }
    raw(service, &format!("GET / HTTP/1.1\r\n{authorization}"), "");
    let long = "x".repeat(200_000);
    raw(service, &format!("GET / HTTP/1.1\r\nHost: localhost\r\n{authorization}\r\nX: {long}"), "");
    let chunked = "POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-www-form-urlencoded";
    raw(service, chunked, &format!("{secret}\r\n{secret}\r\n0\r\n\r\n"));
    raw(service, chunked, &format!("5\r\n{secret}"));
}

fn post(service: &Process, path: &str, headers: &[(&str, String)], body: &str) -> String {
    let mut head = format!("POST {path} HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded");
    for (name, value) in headers {
        head.extend(["\r\n", name, ": ", value]);
    }
    for (name, value) in [("Host", "localhost"), ("Content-Length", &*body.len().to_string())] {
        if headers.iter().all(|(given, _)| *given != name) {
            head.extend(["\r\n", name, ": ", value]);
        }
    }
    raw(service, &head, body)
}

/// What is answered, if anything is, to a head without its last lines and what follows it; nothing else comes on that connection.
fn raw(service: &Process, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(service.issuer.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may have had enough before it has all.
    stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n{body}").as_bytes()).ok();
    stream.shutdown(Shutdown::Write).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[track_caller]
fn json_of(answer: &str) -> serde_json::Value {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).unwrap_or_else(|_| panic!("not JSON: {answer}"))
}
