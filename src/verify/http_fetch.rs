use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ureq::Agent;
use ureq::http::{HeaderMap, Response, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use url::{Host, Url};

use super::{Fetch, FetchError, FetchRequest, Fetched, freshness};

/// How [`HttpFetch`] fetches.
#[derive(Clone, Debug)]
pub struct HttpFetchSettings {
    /// How long a fetch may take in all.
    pub timeout: Duration,
    /// Certificates in PEM to trust instead of Mozilla's list.
    pub ca_bundle: Option<PathBuf>,
    /// Hosts, besides loopback, from which plain `http` is taken: for a network that is trusted as a
    /// whole. Whoever can change the keys on the way can forge any token.
    pub plain_http_hosts: Vec<String>,
}

impl Default for HttpFetchSettings {
    /// 10 seconds, Mozilla's list, no plain `http` but from loopback.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), ca_bundle: None, plain_http_hosts: Vec::new() }
    }
}

/// Fetches by HTTP: `https` only, but for loopback; redirections are not followed; time and size are
/// bounded. Needs a tokio runtime. Proxies are taken from the environment, except for loopback.
///
/// ```
/// use signet::verify::{HttpFetch, HttpFetchSettings};
///
/// let settings = HttpFetchSettings { timeout: std::time::Duration::from_secs(3), ..Default::default() };
/// let fetch = HttpFetch::new(settings)?;
/// # let _ = fetch;
/// # Ok::<(), signet::verify::FetchError>(())
/// ```
#[derive(Clone, Debug)]
pub struct HttpFetch {
    agent: Agent,
    plain_http_hosts: Arc<[String]>,
}

impl HttpFetch {
    /// A fetcher with these settings.
    ///
    /// # Errors
    /// When the CA bundle can't be read or holds no certificate.
    pub fn new(settings: HttpFetchSettings) -> Result<Self, FetchError> {
        let roots = root_certs(settings.ca_bundle.as_deref())?;
        let agent = Agent::config_builder()
            .timeout_global(Some(settings.timeout))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("signet/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self { agent, plain_http_hosts: settings.plain_http_hosts.into() })
    }

    /// Whether `url` may be fetched at all.
    fn permit(&self, url: &Url) -> Result<(), FetchError> {
        let refuse = |reason| Err(FetchError::Refused { url: url.to_string(), reason });
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("it holds credentials");
        }
        match (url.scheme(), url.host_str()) {
            ("https", Some(_)) => Ok(()),
            ("http", Some(host)) if is_loopback(url) || self.plain_http_hosts.iter().any(|h| h == host) => {
                Ok(())
            }
            ("http", Some(_)) => refuse("plain http is for loopback and hosts allowed by name"),
            _ => refuse("it is not https"),
        }
    }
}

#[async_trait]
impl Fetch for HttpFetch {
    async fn fetch(&self, request: FetchRequest<'_>) -> Result<Fetched, FetchError> {
        self.permit(request.url)?;
        let mut get = self.agent.get(request.url.as_str()).header(header::ACCEPT, request.accept);
        if let Some(etag) = request.etag {
            get = get.header(header::IF_NONE_MATCH, etag);
        }
        if is_loopback(request.url) {
            get = get.config().proxy(None).build();
        }
        let limit = request.limit;
        tokio::task::spawn_blocking(move || read(get.call().map_err(unreachable)?, limit))
            .await
            .map_err(unreachable)?
    }
}

fn unreachable(error: impl std::fmt::Display) -> FetchError {
    FetchError::Unreachable(error.to_string())
}

fn read(response: Response<ureq::Body>, limit: usize) -> Result<Fetched, FetchError> {
    let max_age = max_age(response.headers());
    match response.status().as_u16() {
        304 => Ok(Fetched::NotModified { max_age }),
        200 => {
            let etag = text(response.headers(), header::ETAG);
            let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
            let mut bytes = Vec::new();
            // Both bounds are needed: one counts what comes over the wire, the other what it decodes to.
            let body = response.into_body().into_with_config().limit(bound).reader();
            body.take(bound).read_to_end(&mut bytes).map_err(unreachable)?;
            if bytes.len() > limit {
                return Err(FetchError::TooLarge(limit));
            }
            Ok(Fetched::Body { bytes, etag, max_age })
        }
        status => Err(FetchError::Status(status)),
    }
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let cache_control: Vec<&str> =
        headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()).collect();
    freshness(&cache_control.join(","), text(headers, header::AGE).as_deref())
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// The certificates to trust: those of the bundle in PEM, or Mozilla's list.
///
/// # Errors
/// When the bundle can't be read or holds no certificate.
pub(crate) fn root_certs(ca_bundle: Option<&Path>) -> Result<RootCerts, FetchError> {
    let Some(path) = ca_bundle else { return Ok(RootCerts::WebPki) };
    let wrong = |reason: String| FetchError::Settings(format!("{}: {reason}", path.display()));
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let certificates = certificates(&pem).map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("it holds no certificate".into()));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

fn certificates(pem: &[u8]) -> Result<Vec<ureq::tls::Certificate<'static>>, ureq::Error> {
    let mut certificates = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item? {
            certificates.push(certificate);
        }
    }
    Ok(certificates)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests;
