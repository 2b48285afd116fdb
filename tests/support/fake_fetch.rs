use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use signet::oauth::Algorithm;
use signet::verify::{Fetch, FetchError, FetchRequest, Fetched};
use tokio::sync::RwLock;

use super::issuer::{ISSUER, Issuer, list_uri};

/// What was fetched, and the entity tag named.
type Call = (String, Option<String>);

/// A network of documents that counts its fetches, can be taken away, and can be held up.
#[derive(Clone, Default)]
pub struct FakeFetch {
    documents: Arc<Mutex<HashMap<String, Fetched>>>,
    calls: Arc<Mutex<Vec<Call>>>,
    /// While somebody holds it for writing, no fetch ends.
    held: Arc<RwLock<()>>,
}

impl FakeFetch {
    /// A network on which `issuer` publishes its metadata, its keys for `algs` and the list `1`.
    pub fn of(issuer: Issuer, algs: &[Algorithm]) -> Self {
        let network = Self::default();
        let metadata = serde_json::json!({ "issuer": ISSUER, "jwks_uri": Self::jwks_uri() });
        network.put(&Self::metadata_uri(), metadata.to_string().into_bytes(), 300);
        network.put(&Self::jwks_uri(), issuer.jwks(algs), 300);
        network.put(&list_uri("1"), issuer.list(algs[0], &Issuer::list_claims("1", &[])), 300);
        network
    }

    pub fn metadata_uri() -> String {
        format!("{ISSUER}/.well-known/oauth-authorization-server")
    }

    pub fn jwks_uri() -> String {
        format!("{ISSUER}/jwks")
    }

    /// Publishes a document; its entity tag changes with its content.
    pub fn put(&self, url: &str, bytes: Vec<u8>, max_age: u64) {
        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
        let etag = Some(format!("\"{digest:?}\""));
        let document = Fetched::Body { bytes, etag, max_age: Some(Duration::from_secs(max_age)) };
        self.documents.lock().unwrap().insert(url.to_owned(), document);
    }

    /// Takes a document away: fetches of it fail.
    pub fn remove(&self, url: &str) {
        self.documents.lock().unwrap().remove(url);
    }

    /// Takes everything away.
    pub fn go_down(&self) {
        self.documents.lock().unwrap().clear();
    }

    /// How often `url` was fetched.
    pub fn calls(&self, url: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|(called, _)| called == url).count()
    }

    /// How often anything was fetched.
    pub fn all_calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    /// The entity tag that the last fetch named.
    pub fn last_etag(&self) -> Option<String> {
        self.calls.lock().unwrap().last().and_then(|(_, etag)| etag.clone())
    }

    /// Holds fetches up until the guard is dropped.
    pub async fn hold(&self) -> tokio::sync::OwnedRwLockWriteGuard<()> {
        self.held.clone().write_owned().await
    }
}

#[async_trait]
impl Fetch for FakeFetch {
    async fn fetch(&self, request: FetchRequest<'_>) -> Result<Fetched, FetchError> {
        let url = request.url.to_string();
        self.calls.lock().unwrap().push((url.clone(), request.etag.map(str::to_owned)));
        drop(self.held.read().await);
        match self.documents.lock().unwrap().get(&url) {
            Some(Fetched::Body { etag, max_age, .. }) if etag.as_deref() == request.etag => {
                Ok(Fetched::NotModified { max_age: *max_age })
            }
            Some(document) => Ok(document.clone()),
            None => Err(FetchError::Unreachable("nobody there".into())),
        }
    }
}
