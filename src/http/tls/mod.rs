//! TLS on the public listener, for where no proxy does it: 1.2 and 1.3, by rustls and ring as everything else here that
//! speaks TLS. The certificate is taken in anew when its files change; what can't be used leaves the one before in place.

mod error;
mod identity;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::http::header::HeaderValue;
use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use crate::config::TlsConfig;
use crate::telemetry::Metrics;

pub use error::TlsError;
pub use identity::certificate_end;
use identity::{Identity, Stamp};

/// The certificate with which the public listener identifies itself.
pub struct Tls {
    files: TlsConfig,
    shown: Arc<Shown>,
    seen: Mutex<Seen>,
    failures: AtomicU64,
}

/// What every new connection is shown, whatever name it asks for.
struct Shown(ArcSwap<Identity>);

/// What is known of the files.
struct Seen {
    /// How they were when they were last taken in.
    taken: Stamp,
    /// How they were when it was last told that they can't be used.
    told: Option<Stamp>,
}

/// What a look at the files led to.
#[derive(Debug)]
pub enum Reloaded {
    /// They are as they were.
    Unchanged,
    /// New connections are shown the new certificate.
    Taken,
    /// They can't be used: new connections are shown the one before.
    Kept(TlsError),
}

impl Tls {
    /// Takes the certificate and its key from their files.
    ///
    /// # Errors
    /// When they can't be used.
    pub fn open(files: &TlsConfig, now: DateTime<Utc>) -> Result<Self, TlsError> {
        let taken = Stamp::of(files);
        let identity = Identity::read(files, now)?;
        Ok(Self {
            files: files.clone(),
            shown: Arc::new(Shown(ArcSwap::from_pointee(identity))),
            seen: Mutex::new(Seen { taken, told: None }),
            failures: AtomicU64::new(0),
        })
    }

    /// What every answer tells browsers about later visits (RFC 6797, section 7.1).
    pub(super) fn strict_transport_security(&self) -> Option<HeaderValue> {
        let policy = self.files.strict_transport_security.as_ref()?;
        HeaderValue::from_str(policy.as_str()).ok()
    }

    /// Takes the files in again if they have changed. Connections that are open go on with what they began with. Reads files.
    pub fn reload(&self, now: DateTime<Utc>) -> Reloaded {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Before they are read: what changes meanwhile is seen the next time.
        let stamp = Stamp::of(&self.files);
        if seen.taken == stamp {
            return Reloaded::Unchanged;
        }
        match Identity::read(&self.files, now) {
            Ok(identity) => {
                let not_after = identity.not_after;
                self.shown.0.store(Arc::new(identity));
                *seen = Seen { taken: stamp, told: None };
                tracing::info!(%not_after, "a new certificate is shown to new connections");
                Reloaded::Taken
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                if seen.told.as_ref() != Some(&stamp) {
                    let not_after = self.not_after();
                    tracing::error!(%error, %not_after, "the certificate's files can't be used; the one before is kept");
                    seen.told = Some(stamp);
                }
                Reloaded::Kept(error)
            }
        }
    }

    /// When the certificate that is shown ends.
    #[must_use]
    pub fn not_after(&self) -> DateTime<Utc> {
        self.shown.0.load().not_after
    }

    /// How often changed files could not be used.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Brings the metrics up to date.
    #[expect(clippy::cast_precision_loss, reason = "a date in seconds stays far below 2^52")]
    pub fn measure(&self, metrics: &Metrics) {
        metrics.tls_not_after.set(self.not_after().timestamp() as f64);
        metrics.tls_reload_failures.absolute(self.failures());
    }

    /// For the listener.
    ///
    /// # Errors
    /// Never, as long as ring speaks both versions.
    pub(super) fn server_config(&self) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions =
            ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13, &TLS12])?;
        Ok(versions.with_no_client_auth().with_cert_resolver(self.shown.clone()))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().key.clone())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").finish_non_exhaustive()
    }
}
