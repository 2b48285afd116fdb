//! People who sign in, again and again, each on a thread and a connection of their own and from a browser that was
//! never seen before.
//!
//! `sign_ins ISSUER CLIENT_ID REDIRECT_URI PASSWORD PEOPLE SECONDS`: the people are called `person-0` and so on at
//! `example.com` and have the same password; the client's consent must be implied. First prints the cookies of one
//! who has signed in (`cookies TEXT`), then, with some seconds to spend, how many signed in a second, how many were sent
//! away because too many waited, and the median and 99th percentile of a sign-in in milliseconds (`sign_ins RATE AWAY
//! MEDIAN P99`). Whoever is sent away comes back when the answer says. The first second, in which all of them ask for the page
//! at once, is not counted.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::{Response, StatusCode};
use url::Url;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Before anything is counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// Of RFC 7636, appendix B.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

struct Target {
    issuer: String,
    client_id: String,
    redirect_uri: String,
    password: String,
}

/// How a sign-in went.
enum Went {
    /// With these cookies.
    In(String),
    /// Sent away, for so long.
    Away(Duration),
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [issuer, client_id, redirect_uri, password, people, seconds] = args
        .try_into()
        .map_err(|_| "usage: sign_ins ISSUER CLIENT_ID REDIRECT_URI PASSWORD PEOPLE SECONDS")?;
    let target = Arc::new(Target { issuer, client_id, redirect_uri, password });
    let (people, time) = (people.parse()?, Duration::from_secs(seconds.parse()?));
    let Went::In(cookies) = sign_in(&agent(), &target, "person-0@example.com")? else {
        return Err("the service is busy".into());
    };
    println!("cookies {cookies}");
    if !time.is_zero() {
        println!("sign_ins {}", figures(&target, people, time)?);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn figures(target: &Arc<Target>, people: usize, time: Duration) -> Outcome<String> {
    let running: Vec<_> = (0..people)
        .map(|number| {
            let target = Arc::clone(target);
            thread::spawn(move || keep_signing_in(&target, number, time))
        })
        .collect();
    let (mut latencies, mut away) = (Vec::new(), 0);
    for person in running {
        let (of_one, of_one_away) = person.join().map_err(|_| "somebody gave up")??;
        latencies.extend(of_one);
        away += of_one_away;
    }
    latencies.sort_unstable();
    let last = latencies.len().checked_sub(1).ok_or("nobody signed in")?;
    let millis = |share: usize| latencies[last * share / 100].as_secs_f64() * 1e3;
    let rate = latencies.len() as f64 / time.as_secs_f64();
    Ok(format!("{rate:.2} {away} {:.1} {:.1}", millis(50), millis(99)))
}

/// The latencies of those sign-ins that ended in time after the warm-up, and how often the person was sent away.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn keep_signing_in(target: &Target, number: usize, time: Duration) -> Outcome<(Vec<Duration>, usize)> {
    let (agent, name) = (agent(), format!("person-{number}@example.com"));
    let (begun, mut latencies, mut away) = (Instant::now(), Vec::new(), 0);
    loop {
        let before = Instant::now();
        let went = sign_in(&agent, target, &name)?;
        if begun.elapsed() > WARM_UP + time {
            return Ok((latencies, away));
        }
        match went {
            Went::In(_) if begun.elapsed() <= WARM_UP => {}
            Went::In(_) => latencies.push(before.elapsed()),
            Went::Away(wait) => {
                away += 1;
                thread::sleep(wait);
            }
        }
    }
}

/// From the application to the sign-in page and back, with a code.
fn sign_in(agent: &Agent, target: &Target, name: &str) -> Outcome<Went> {
    let mut cookies = BTreeMap::new();
    let mut url = authorize(target)?;
    loop {
        let mut answer = agent.get(url.as_str()).header("Cookie", joined(&cookies)).call()?;
        keep(&mut cookies, &answer);
        if answer.headers().get("Location").is_none() {
            let html = answer.body_mut().read_to_string()?;
            let action = between(&html, "action=\"", "\"").ok_or("a page without a form")?;
            let mut form: Vec<(&str, &str)> = html.split("<input").skip(1).filter_map(hidden).collect();
            form.extend([("username", name), ("password", &target.password)]);
            let to = url.join(action)?;
            answer = agent.post(to.as_str()).header("Cookie", joined(&cookies)).send_form(form)?;
            keep(&mut cookies, &answer);
        }
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let Some(location) = header("Location") else {
            let wait = header("Retry-After").filter(|_| answer.status() == StatusCode::SERVICE_UNAVAILABLE);
            let wait = wait.ok_or_else(|| format!("{name} could not sign in: {}", answer.status()))?;
            return Ok(Went::Away(Duration::from_secs(wait.parse()?)));
        };
        url = url.join(location)?;
        if url.as_str().starts_with(&target.redirect_uri) {
            return Ok(Went::In(joined(&cookies)));
        }
    }
}

fn authorize(target: &Target) -> Outcome<Url> {
    let parameters = [
        ("response_type", "code"),
        ("client_id", &target.client_id),
        ("redirect_uri", &target.redirect_uri),
        ("scope", "read"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    Ok(Url::parse_with_params(&format!("{}/oauth2/authorize", target.issuer), parameters)?)
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
