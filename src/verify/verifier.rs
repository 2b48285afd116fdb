use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::cutoffs::Cutoffs;
use super::key_source::{JwksLoader, KeySettings, KeySource};
use super::status_source::{self, StatusSource};
use super::token::Compact;
use super::{
    Expectations, ExpectedAudience, Fetch, FetchError, HttpFetch, HttpFetchSettings, Refusal, StatusPolicy,
};
use crate::clock::{SharedClock, SystemClock};
use crate::oauth::{AccessTokenClaims, InvalidId, Resource};

/// Verifies an issuer's access tokens offline: it asks the issuer for its keys and its status lists now and
/// then, never about a single token. Cheap to clone; make one for the process.
///
/// Checked are form, type, algorithm, signature, issuer, audience, times (RFC 9068, section 4) and revocation
/// (draft-ietf-oauth-status-list). **Not** checked is scope: ask [`AccessTokenClaims::permits`]; nor whether
/// the sender is the one that the token was issued to: these are bearer tokens.
///
/// When keys and list are at hand, nothing is awaited and no lock is taken. Needs a tokio runtime with its timer.
///
/// ```
/// use signet::verify::{Refusal, Verifier};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), signet::verify::BuildError> {
/// let verifier = Verifier::builder("https://auth.example").audience("https://api.example").build()?;
/// assert_eq!(verifier.verify("not a token").await, Err(Refusal::Malformed));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    issuer: String,
    audience: Vec<Resource>,
    leeway: Duration,
    clock: SharedClock,
    keys: Arc<KeySource>,
    status: StatusSource,
}

impl Verifier {
    /// Starts a verifier of `issuer`'s tokens: its identifier, exactly as in its metadata.
    pub fn builder(issuer: &str) -> VerifierBuilder {
        VerifierBuilder {
            issuer: issuer.to_owned(),
            audience: Vec::new(),
            leeway: Duration::from_mins(1),
            clock: None,
            fetch: None,
            jwks_uri: None,
            keys: KeySettings::default(),
            status: StatusPolicy::default(),
        }
    }

    /// Verifies `token` and returns what it says.
    ///
    /// # Errors
    /// Why it is not accepted. [`Refusal::is_temporary`] tells what to answer with 503 instead of 401.
    pub async fn verify(&self, token: &str) -> Result<AccessTokenClaims, Refusal> {
        let inner = &*self.0;
        // What can't be a token leads to no fetch.
        let compact = Compact::access_token(token)?;
        let keys = inner.keys.keys_for(compact.kid()).await?;
        let expected = Expectations {
            issuer: &inner.issuer,
            audience: ExpectedAudience::AnyOf(&inner.audience),
            leeway: inner.leeway,
            now: inner.clock.numeric_date(),
        };
        let verified = compact.check(&expected, &keys)?;
        inner.status.check(&verified).await?;
        Ok(verified.claims)
    }

    /// Fetches the keys ahead of the first token: for a start-up or readiness check.
    ///
    /// # Errors
    /// [`Refusal::KeysUnavailable`]; why is logged.
    pub async fn prefetch(&self) -> Result<(), Refusal> {
        self.0.keys.prefetch().await
    }

    /// The resources that tokens must be for, the first one first.
    #[must_use]
    pub fn audience(&self) -> &[Resource] {
        &self.0.audience
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("issuer", &self.0.issuer)
            .field("audience", &self.0.audience)
            .finish()
    }
}

/// The settings can't make a verifier.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The issuer is not an absolute URL with a host, without query and fragment (RFC 8414, section 2).
    #[error("the issuer must be an absolute URL with a host, without query and fragment")]
    Issuer,
    /// There is no audience: every token would be refused, or every token for anyone accepted.
    #[error("name at least one audience: the identifier of this resource server")]
    NoAudience,
    /// An audience is not a resource identifier.
    #[error(transparent)]
    Audience(#[from] InvalidId),
    /// The leeway is over five minutes: clocks that far apart want repair.
    #[error("the leeway must be 5 minutes at most")]
    Leeway,
    /// The JWKS URI is not a URL.
    #[error("the JWKS URI must be an absolute URL")]
    JwksUri,
    /// The default fetcher can't be made.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// Makes a [`Verifier`].
///
/// ```
/// use signet::verify::{StatusPolicy, Verifier};
/// use std::time::Duration;
///
/// let verifier = Verifier::builder("https://auth.example")
///     .audience("https://api.example")
///     .leeway(Duration::from_secs(30))
///     .status_policy(StatusPolicy::BestEffort)
///     .build()?;
/// assert!(Verifier::builder("https://auth.example").build().is_err()); // for whom?
/// # Ok::<(), signet::verify::BuildError>(())
/// ```
#[must_use]
pub struct VerifierBuilder {
    issuer: String,
    audience: Vec<String>,
    leeway: Duration,
    clock: Option<SharedClock>,
    fetch: Option<Arc<dyn Fetch>>,
    jwks_uri: Option<String>,
    keys: KeySettings,
    status: StatusPolicy,
}

impl VerifierBuilder {
    /// The identifier of this resource server. When named several times, a token for any of them will do.
    pub fn audience(mut self, resource: &str) -> Self {
        self.audience.push(resource.to_owned());
        self
    }

    /// By how much the issuer's clock and ours may differ; one minute unless set, five at most.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Where the time comes from; the machine unless set.
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// How documents are fetched; [`HttpFetch`] with its default settings unless set.
    pub fn fetch(mut self, fetch: impl Fetch) -> Self {
        self.fetch = Some(Arc::new(fetch));
        self
    }

    /// Where the keys are, instead of asking the issuer's metadata.
    pub fn jwks_uri(mut self, uri: &str) -> Self {
        self.jwks_uri = Some(uri.to_owned());
        self
    }

    /// For how long keys are used beyond their time while the issuer can't be reached; 24 hours unless set.
    /// A key that is compromised meanwhile stays in use for as long.
    pub fn max_key_staleness(mut self, staleness: Duration) -> Self {
        self.keys.max_staleness = staleness;
        self
    }

    /// How often, at most, a token with an unknown `kid` leads to a fetch of the keys; 10 seconds unless set.
    pub fn unknown_kid_interval(mut self, interval: Duration) -> Self {
        self.keys.unknown_kid_interval = interval;
        self
    }

    /// What to do about tokens whose revocation can't be looked up; refuse them unless set.
    pub fn status_policy(mut self, policy: StatusPolicy) -> Self {
        self.status = policy;
        self
    }

    /// The verifier. Fetches nothing yet.
    ///
    /// # Errors
    /// When a setting is missing or can't be used.
    pub fn build(self) -> Result<Verifier, BuildError> {
        let issuer_url = Url::parse(&self.issuer).map_err(|_| BuildError::Issuer)?;
        if !issuer_url.has_host() || issuer_url.query().is_some() || issuer_url.fragment().is_some() {
            return Err(BuildError::Issuer);
        }
        if self.audience.is_empty() {
            return Err(BuildError::NoAudience);
        }
        if self.leeway > Duration::from_mins(5) {
            return Err(BuildError::Leeway);
        }
        let audience = self.audience.iter().map(|each| Resource::parse(each)).collect::<Result<_, _>>()?;
        let jwks_uri =
            self.jwks_uri.as_deref().map(Url::parse).transpose().map_err(|_| BuildError::JwksUri)?;
        let clock = self.clock.unwrap_or_else(SystemClock::shared);
        let fetch = match self.fetch {
            Some(fetch) => fetch,
            None => Arc::new(HttpFetch::new(HttpFetchSettings::default())?),
        };
        let loader = JwksLoader::new(self.issuer.clone(), fetch.clone(), jwks_uri);
        let keys = Arc::new(KeySource::new(loader, clock.clone(), self.keys));
        let context = status_source::Context {
            issuer: self.issuer.clone(),
            issuer_url,
            leeway: self.leeway,
            clock: clock.clone(),
            fetch,
            keys: keys.clone(),
            cutoffs: Cutoffs::default(),
        };
        let status = StatusSource::new(context, self.status);
        Ok(Verifier(Arc::new(Inner {
            issuer: self.issuer,
            audience,
            leeway: self.leeway,
            clock,
            keys,
            status,
        })))
    }
}

#[cfg(test)]
mod tests;
