use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::cache::{Cached, Copy, Load, LoadError, Loaded};
use super::{Fetch, FetchRequest, Fetched, KeySet, Refusal, VerificationKey};
use crate::clock::SharedClock;
use crate::oauth::{Jwk, KeyId};

/// The largest metadata document and JWKS, in bytes.
const LARGEST_DOCUMENT: usize = 1024 * 1024;

/// The issuer's verification keys, fetched and kept.
///
/// What a freshly fetched JWKS no longer holds is gone at once. One that is empty or unreadable never
/// replaces a good one.
pub(super) struct KeySource {
    jwks: Arc<Cached<JwksLoader>>,
    clock: SharedClock,
    settings: KeySettings,
}

/// When keys are fetched and for how long they are used.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeySettings {
    /// For how long keys are used beyond their time while the issuer can't be reached.
    pub max_staleness: Duration,
    /// How often an unknown `kid` may lead to a fetch.
    pub unknown_kid_interval: Duration,
}

impl Default for KeySettings {
    /// 24 hours: as long as the issuer keeps a retired key published, so that no key in the copy has
    /// lost its meaning but by compromise; those the status list names too. 10 seconds.
    fn default() -> Self {
        Self { max_staleness: Duration::from_hours(24), unknown_kid_interval: Duration::from_secs(10) }
    }
}

impl KeySource {
    pub(super) fn new(loader: JwksLoader, clock: SharedClock, settings: KeySettings) -> Self {
        Self { jwks: Cached::new(loader, clock.clone()), clock, settings }
    }

    /// The keys, among them `kid` if it is published.
    ///
    /// # Errors
    /// [`Refusal::KeysUnavailable`] when there are none, or when `kid` is not among them and they are too
    /// old to say that it is not published.
    pub(super) async fn keys_for(&self, kid: &KeyId) -> Result<Arc<KeySet>, Refusal> {
        let keys = self.usable(self.jwks.read().await)?.value.clone();
        if keys.find(kid).is_some() {
            return Ok(keys);
        }
        let copy = self.usable(self.jwks.read_out_of_turn(self.settings.unknown_kid_interval).await)?;
        if copy.value.find(kid).is_none() && !copy.is_fresh(self.clock.monotonic()) {
            return Err(Refusal::KeysUnavailable);
        }
        Ok(copy.value.clone())
    }

    /// Fetches the keys unless they are at hand.
    pub(super) async fn prefetch(&self) -> Result<(), Refusal> {
        self.usable(self.jwks.read().await).map(drop)
    }

    fn usable(&self, copy: Option<Arc<Copy<KeySet>>>) -> Result<Arc<Copy<KeySet>>, Refusal> {
        copy.filter(|copy| copy.stale_for(self.clock.monotonic()) <= self.settings.max_staleness)
            .ok_or(Refusal::KeysUnavailable)
    }
}

/// Fetches the JWKS, from where the issuer's metadata say unless told.
pub(super) struct JwksLoader {
    issuer: String,
    fetch: Arc<dyn Fetch>,
    fixed_uri: Option<Url>,
    discovered_uri: ArcSwapOption<Url>,
}

impl JwksLoader {
    pub(super) fn new(issuer: String, fetch: Arc<dyn Fetch>, fixed_uri: Option<Url>) -> Self {
        Self { issuer, fetch, fixed_uri, discovered_uri: ArcSwapOption::empty() }
    }

    async fn jwks_uri(&self) -> Result<Url, LoadError> {
        if let Some(uri) = &self.fixed_uri {
            return Ok(uri.clone());
        }
        if let Some(uri) = self.discovered_uri.load_full() {
            return Ok(Url::clone(&uri));
        }
        let uri = self.discover().await?;
        self.discovered_uri.store(Some(Arc::new(uri.clone())));
        Ok(uri)
    }

    /// Finds the JWKS by the issuer's metadata (RFC 8414, section 3).
    async fn discover(&self) -> Result<Url, LoadError> {
        let url = metadata_url(&self.issuer)?;
        let request =
            FetchRequest { url: &url, etag: None, accept: "application/json", limit: LARGEST_DOCUMENT };
        let Fetched::Body { bytes, .. } = self.fetch.fetch(request).await? else {
            return Err("not modified, but no copy was named".into());
        };
        let metadata: Metadata = serde_json::from_slice(&bytes)?;
        // Section 3.3: identical, or the keys are somebody else's.
        if metadata.issuer != self.issuer {
            return Err(format!("{url} is the metadata of another issuer").into());
        }
        Ok(metadata.jwks_uri)
    }

    async fn fetch_jwks(&self, previous: Option<&Copy<KeySet>>) -> Result<Loaded<KeySet>, LoadError> {
        let url = self.jwks_uri().await?;
        let request = FetchRequest {
            url: &url,
            etag: previous.and_then(|copy| copy.etag.as_deref()),
            accept: "application/jwk-set+json, application/json",
            limit: LARGEST_DOCUMENT,
        };
        match self.fetch.fetch(request).await? {
            Fetched::NotModified { max_age } => Ok(Loaded::Unchanged { lifetime: max_age }),
            Fetched::Body { bytes, etag, max_age } => {
                Ok(Loaded::New { value: key_set(&bytes)?, etag, lifetime: max_age })
            }
        }
    }
}

#[async_trait]
impl Load for JwksLoader {
    type Value = KeySet;

    fn name(&self) -> &str {
        &self.issuer
    }

    async fn load(&self, previous: Option<&Copy<KeySet>>) -> Result<Loaded<KeySet>, LoadError> {
        let loaded = self.fetch_jwks(previous).await;
        if loaded.is_err() {
            // The JWKS may have moved: ask the metadata again next time.
            self.discovered_uri.store(None);
        }
        loaded
    }
}

/// What is needed of the metadata (RFC 8414, section 2), whoever wrote them.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Url,
}

/// Where an issuer's metadata are: the well-known part goes between host and path (RFC 8414, section 3.1).
fn metadata_url(issuer: &str) -> Result<Url, LoadError> {
    let mut url = Url::parse(issuer)?;
    if url.query().is_some() || url.fragment().is_some() || url.cannot_be_a_base() {
        return Err("an issuer is a URL without query and fragment".into());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    Ok(url)
}

/// Reads a JWKS (RFC 7517, section 5). Keys of unknown kind are skipped; a set without a usable one is an error.
fn key_set(json: &[u8]) -> Result<KeySet, LoadError> {
    #[derive(Deserialize)]
    struct Jwks {
        keys: Vec<Value>,
    }
    let jwks: Jwks = serde_json::from_slice(json)?;
    let usable = |jwk: Value| {
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        VerificationKey::from_jwk(&jwk)
            .inspect_err(|error| tracing::warn!(kid = %jwk.kid, %error, "a published key is skipped"))
            .ok()
    };
    let keys: KeySet = jwks.keys.into_iter().filter_map(usable).collect();
    if keys.is_empty() {
        return Err("the JWKS holds no usable key".into());
    }
    Ok(keys)
}

#[cfg(test)]
mod tests;
