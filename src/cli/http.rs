use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Request, Response};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::CliError;

/// No answer that the command line asks for is longer.
const LARGEST_ANSWER: u64 = 4 * 1024 * 1024;

/// How long a long answer may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);

/// A small HTTP client: follows no redirects and uses no proxy, so that no credential goes where it was not
/// meant to; waits
/// 30 seconds at most, and reads 4 MiB at most.
#[derive(Debug)]
pub(super) struct Http(Agent);

/// An answer with any status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) date: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) body: String,
}

impl Http {
    /// A client that trusts the certificates in `ca_file` (PEM), or the public authorities.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, CliError> {
        let roots = match ca_file {
            None => RootCerts::WebPki,
            Some(path) => certificates(path)?,
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_global(Some(Duration::from_secs(30)))
            .user_agent(concat!("signet/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        Ok(Self(config.into()))
    }

    /// Asks for `url`.
    pub(super) fn get(&self, url: &str) -> Result<Answer, CliError> {
        let request = Request::get(url).body(()).map_err(|error| unreachable(url, &error))?;
        answer(url, self.0.run(request))
    }

    /// Sends a form with an `Authorization` header.
    pub(super) fn post_form(&self, url: &str, authorization: &str, form: &str) -> Result<Answer, CliError> {
        let request = Request::post(url)
            .header("Authorization", authorization)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Accept", "application/json")
            .body(form.to_owned())
            .map_err(|error| unreachable(url, &error))?;
        or_offline(answer(url, self.0.run(request)))
    }

    /// Writes the answer to an empty POST into `to`, however long it is; gives an answer other than 200 instead.
    pub(super) fn download(
        &self,
        url: &str,
        authorization: &str,
        to: &mut dyn Write,
    ) -> Result<Option<Answer>, CliError> {
        let request = Request::post(url).header("Authorization", authorization).body(());
        let request = request.map_err(|error| unreachable(url, &error))?;
        let request = self.0.configure_request(request).timeout_global(None);
        let response = self.0.run(request.timeout_recv_response(Some(PATIENCE)).build());
        if !response.as_ref().is_ok_and(|response| response.status() == 200) {
            return or_offline(answer(url, response)).map(Some);
        }
        let mut body = response.map_err(|error| unreachable(url, &error))?.into_body().into_reader();
        let broken =
            |error| CliError::Failed(format!("{url} broke off, or the file can't be written: {error}"));
        std::io::copy(&mut body, to).map_err(broken)?;
        Ok(None)
    }

    /// Sends JSON, or nothing, with an `Authorization` header.
    pub(super) fn json(
        &self,
        method: &str,
        url: &str,
        authorization: &str,
        body: Option<&Value>,
    ) -> Result<Answer, CliError> {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header("Authorization", authorization)
            .header("Accept", "application/json");
        let run = match body {
            Some(body) => request
                .header("Content-Type", "application/json")
                .body(body.to_string())
                .map(|request| self.0.run(request)),
            None => request.body(()).map(|request| self.0.run(request)),
        };
        or_offline(answer(url, run.map_err(|error| unreachable(url, &error))?))
    }
}

fn answer(url: &str, response: Result<Response<Body>, ureq::Error>) -> Result<Answer, CliError> {
    let mut response = response.map_err(|error| unreachable(url, &error))?;
    let header =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (date, cache_control) = (header("date"), header("cache-control"));
    let status = response.status().as_u16();
    let body = response
        .body_mut()
        .with_config()
        .limit(LARGEST_ANSWER)
        .read_to_string()
        .map_err(|error| unreachable(url, &error))?;
    Ok(Answer { status, date, cache_control, body })
}

fn unreachable(url: &str, error: &dyn std::fmt::Display) -> CliError {
    CliError::Failed(format!("{url} does not answer: {error}"))
}

/// What is administered can be had without the service, too.
fn or_offline(answer: Result<Answer, CliError>) -> Result<Answer, CliError> {
    let remedy = "start the service, correct --issuer or --listen, or work with --offline";
    answer.map_err(|error| CliError::Failed(format!("{error}; {remedy}")))
}

fn certificates(path: &Path) -> Result<RootCerts, CliError> {
    let wrong = |reason: String| CliError::Usage(format!("--ca-file {}: {reason}", path.display()));
    let pem = std::fs::read(path).map_err(|error| wrong(format!("can't be read: {error}")))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(error.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(wrong("holds no certificate".into()));
    }
    Ok(RootCerts::from(certificates))
}

/// Nobody can connect to the unspecified address; the listener behind it is on loopback too.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_certificates_holds_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")
            .unwrap();
        assert!(Http::new(Some(file.path())).is_ok());
        for wrong in ["", "hello", "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n"] {
            std::fs::write(file.path(), wrong).unwrap();
            let error = Http::new(Some(file.path())).unwrap_err().to_string();
            assert!(error.contains("holds no certificate"), "{error}");
        }
        assert!(Http::new(Some(Path::new("/nonexistent"))).is_err());
    }
}
