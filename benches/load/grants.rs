//! Load for the grants of people: codes exchanged and refresh tokens rotated a second, with their latencies, at
//! several numbers of clients at a time, each on a connection and a thread of its own.
//!
//! `grants ISSUER CLIENT_ID CLIENT_SECRET REDIRECT_URI SIGN_IN_NAME PASSWORD SECONDS`: the client's consent must be
//! implied, so that a signed-in browser gets a code without a page. See `benches/load/people`.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;
use ureq::http::Response;
use url::Url;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Of `code_verifier`, by S256 (RFC 7636, appendix B).
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

const CLIENTS_AT_A_TIME: [usize; 3] = [1, 32, 256];

struct Target {
    issuer: String,
    client_id: String,
    client_secret: String,
    redirect_uri: String,
    cookies: String,
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [issuer, client_id, client_secret, redirect_uri, name, password, seconds] = args.try_into().map_err(
        |_| "usage: grants ISSUER CLIENT_ID CLIENT_SECRET REDIRECT_URI SIGN_IN_NAME PASSWORD SECONDS",
    )?;
    let mut target = Target { issuer, client_id, client_secret, redirect_uri, cookies: String::new() };
    target.cookies = sign_in(&target, &name, &password)?;
    let (target, time) = (Arc::new(target), Duration::from_secs(seconds.parse()?));
    for clients in CLIENTS_AT_A_TIME {
        println!("code {clients} {}", figures(&target, clients, time, exchange_codes)?);
        println!("refresh {clients} {}", figures(&target, clients, time, rotate)?);
    }
    Ok(())
}

/// A rate, a median and a 99th percentile in milliseconds, of all that the clients measured.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn figures(
    target: &Arc<Target>,
    clients: usize,
    time: Duration,
    work: fn(&Target, Duration) -> Outcome<Vec<Duration>>,
) -> Outcome<String> {
    let running: Vec<_> = (0..clients)
        .map(|_| {
            let target = Arc::clone(target);
            thread::spawn(move || work(&target, time))
        })
        .collect();
    let mut latencies = Vec::new();
    for client in running {
        latencies.extend(client.join().map_err(|_| "a client gave up")??);
    }
    latencies.sort_unstable();
    let millis = |share: usize| latencies[(latencies.len() - 1) * share / 100].as_secs_f64() * 1e3;
    // A client also fetches the codes that it exchanges: what counts is the time it spent on exchanging them.
    let busy: f64 = latencies.iter().map(Duration::as_secs_f64).sum();
    let rate = latencies.len() as f64 / (busy / clients as f64);
    Ok(format!("{rate:.0} {:.2} {:.2}", millis(50), millis(99)))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn timed<T>(latencies: &mut Vec<Duration>, act: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let begun = Instant::now();
    let done = act()?;
    latencies.push(begun.elapsed());
    Ok(done)
}

/// Fetches a store of codes, then exchanges them as fast as it can, until the time is over.
fn exchange_codes(target: &Target, time: Duration) -> Outcome<Vec<Duration>> {
    const AHEAD: usize = 50;
    let (agent, mut latencies) = (agent(), Vec::new());
    while latencies.iter().sum::<Duration>() < time {
        let codes: Vec<String> = (0..AHEAD).map(|_| code(&agent, target)).collect::<Outcome<_>>()?;
        for code in codes {
            timed(&mut latencies, || exchange(&agent, target, &code))?;
        }
    }
    Ok(latencies)
}

/// Rotates one refresh token after the other of one family.
fn rotate(target: &Target, time: Duration) -> Outcome<Vec<Duration>> {
    let (agent, mut latencies) = (agent(), Vec::new());
    let first = exchange(&agent, target, &code(&agent, target)?)?;
    let mut refresh_token = member(&first, "refresh_token")?;
    while latencies.iter().sum::<Duration>() < time {
        let answer = timed(&mut latencies, || {
            let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str())];
            token(&agent, target, &form)
        })?;
        refresh_token = member(&answer, "refresh_token")?;
    }
    Ok(latencies)
}

fn code(agent: &Agent, target: &Target) -> Outcome<String> {
    let answer = agent.get(authorize(target)?.as_str()).header("Cookie", &target.cookies).call()?;
    let location =
        answer.headers().get("Location").ok_or("the browser was not sent back: is it signed in?")?;
    let url = Url::parse(location.to_str()?)?;
    let code = url.query_pairs().find(|(name, _)| name == "code").map(|(_, code)| code.into_owned());
    Ok(code.ok_or_else(|| format!("no code in {url}"))?)
}

fn exchange(agent: &Agent, target: &Target, code: &str) -> Outcome<Value> {
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &target.redirect_uri),
        ("code_verifier", VERIFIER),
    ];
    token(agent, target, &form)
}

fn token(agent: &Agent, target: &Target, form: &[(&str, &str)]) -> Outcome<Value> {
    let client = [("client_id", target.client_id.as_str()), ("client_secret", &target.client_secret)];
    let form = form.iter().copied().chain(client);
    let mut answer = agent.post(format!("{}/oauth2/token", target.issuer)).send_form(form)?;
    let body = answer.body_mut().read_to_string()?;
    if answer.status() != 200 {
        return Err(format!("{}: {body}", answer.status()).into());
    }
    Ok(serde_json::from_str(&body)?)
}

fn member(answer: &Value, name: &str) -> Outcome<String> {
    Ok(answer[name].as_str().ok_or_else(|| format!("no {name} in {answer}"))?.to_owned())
}

fn authorize(target: &Target) -> Outcome<Url> {
    let parameters = [
        ("response_type", "code"),
        ("client_id", &target.client_id),
        ("redirect_uri", &target.redirect_uri),
        ("scope", "openid offline_access"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    Ok(Url::parse_with_params(&format!("{}/oauth2/authorize", target.issuer), parameters)?)
}

/// The cookies of a browser that has signed in.
fn sign_in(target: &Target, name: &str, password: &str) -> Outcome<String> {
    let (agent, mut cookies) = (agent(), BTreeMap::new());
    let mut url = authorize(target)?;
    loop {
        let mut page = agent.get(url.as_str()).header("Cookie", joined(&cookies)).call()?;
        keep(&mut cookies, &page);
        if let Some(location) = page.headers().get("Location") {
            url = url.join(location.to_str()?)?;
            if url.as_str().starts_with(&target.redirect_uri) {
                return Ok(joined(&cookies));
            }
            continue;
        }
        let html = page.body_mut().read_to_string()?;
        let action = between(&html, "action=\"", "\"").ok_or("a page without a form")?;
        let mut form: Vec<(&str, &str)> = html.split("<input").skip(1).filter_map(hidden).collect();
        form.extend([("username", name), ("password", password)]);
        let answer =
            agent.post(url.join(action)?.as_str()).header("Cookie", joined(&cookies)).send_form(form)?;
        keep(&mut cookies, &answer);
        let location = answer.headers().get("Location").ok_or("signing in failed")?;
        url = url.join(location.to_str()?)?;
        if url.as_str().starts_with(&target.redirect_uri) {
            return Ok(joined(&cookies));
        }
    }
}

/// Name and value of a hidden field; its value is base64url, so that no reference needs resolving.
fn hidden(input: &str) -> Option<(&str, &str)> {
    let tag = &input[..input.find('>')?];
    tag.contains("type=\"hidden\"").then_some(())?;
    Some((between(tag, "name=\"", "\"")?, between(tag, "value=\"", "\"")?))
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

fn keep(cookies: &mut BTreeMap<String, String>, answer: &Response<ureq::Body>) {
    for cookie in answer.headers().get_all("Set-Cookie").iter().filter_map(|value| value.to_str().ok()) {
        if let Some((name, value)) = cookie.split(';').next().and_then(|pair| pair.split_once('=')) {
            cookies.insert(name.trim().to_owned(), value.trim().to_owned());
        }
    }
}

fn joined(cookies: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("; ")
}

fn agent() -> Agent {
    Agent::config_builder().max_redirects(0).http_status_as_error(false).build().into()
}
