use tokio::task::spawn_blocking;
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::TlsConfig;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use url::Url;

use super::{Reach, Unreachable};
use crate::config::OutgoingConfig;
use crate::verify::root_certs;

/// The longest head of an answer that is read, in bytes. Bodies are not read at all.
const LONGEST_HEAD: usize = 16 * 1024;

/// Makes outgoing requests: to what [`Reach`] lets it, by no proxy, following no redirect, each on a connection of its
/// own, within the time of the settings. Needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct Outgoing {
    agent: Agent,
    reach: Reach,
}

/// There was no answer.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The request was not made.
    #[error("the URL {0}")]
    Refused(#[from] Unreachable),
    /// No connection, no trust in the certificate, too slow, or no HTTP.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// The settings can't be used.
    #[error("outgoing.ca_bundle: {0}")]
    CaBundle(String),
}

impl Outgoing {
    /// A client with these settings.
    ///
    /// # Errors
    /// When the CA bundle can't be read or holds no certificate.
    pub fn new(config: &OutgoingConfig) -> Result<Self, OutgoingError> {
        Self::with_resolver(config, DefaultResolver::default())
    }

    fn with_resolver(config: &OutgoingConfig, resolver: impl Resolver) -> Result<Self, OutgoingError> {
        let roots = root_certs(config.ca_bundle.as_deref());
        let roots = roots.map_err(|error| OutgoingError::CaBundle(error.to_string()))?;
        let settings = Agent::config_builder()
            .timeout_global(Some(config.timeout))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            // A proxy would look the name up, and connect, without anybody checking.
            .proxy(None)
            .max_redirects(0)
            .max_idle_connections(0)
            .max_response_header_size(LONGEST_HEAD)
            .http_status_as_error(false)
            .user_agent(concat!("signet/", env!("CARGO_PKG_VERSION")))
            .build();
        let reach = Reach::new(config);
        let guarded = Guarded { inner: resolver, reach: reach.clone() };
        Ok(Self { agent: Agent::with_parts(settings, DefaultConnector::default(), guarded), reach })
    }

    /// Posts `fields` as a form; answers with the status. What the answer says is not read.
    ///
    /// # Errors
    /// When the URL is out of reach, or there is no answer.
    pub async fn post_form(
        &self,
        url: &Url,
        fields: Vec<(&'static str, String)>,
    ) -> Result<u16, OutgoingError> {
        self.reach.check_url(url)?;
        let request = self.agent.post(url.as_str());
        let answered = spawn_blocking(move || request.send_form(fields)).await;
        match answered {
            Ok(Ok(response)) => Ok(response.status().as_u16()),
            Ok(Err(ureq::Error::Other(error))) => Err(match error.downcast::<Unreachable>() {
                Ok(refused) => OutgoingError::Refused(*refused),
                Err(error) => OutgoingError::NoAnswer(error.to_string()),
            }),
            Ok(Err(error)) => Err(OutgoingError::NoAnswer(error.to_string())),
            Err(error) => Err(OutgoingError::NoAnswer(error.to_string())),
        }
    }
}

/// Looks names up, and gives only addresses that may be connected to. The connection goes to one of those that are
/// given here: nothing is looked up a second time, so a name that leads elsewhere a moment later leads nowhere.
#[derive(Debug)]
struct Guarded<R> {
    inner: R,
    reach: Reach,
}

impl<R: Resolver> Resolver for Guarded<R> {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let (mut open, mut refused) = (self.inner.empty(), None);
        for address in &found {
            match self.reach.check_address(scheme, address.ip()) {
                Ok(()) => open.push(*address),
                Err(reason) => refused = Some(reason),
            }
        }
        match refused {
            Some(refused) if open.is_empty() => Err(ureq::Error::Other(Box::new(refused))),
            _ => Ok(open),
        }
    }
}

#[cfg(test)]
mod tests;
