use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use pkcs8::der::{Decode as _, pem};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_cert::Certificate;
use zeroize::Zeroizing;

use super::TlsError;
use crate::config::{TlsConfig, exposed};

/// A certificate with its private key, and when it ends.
pub(super) struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) not_after: DateTime<Utc>,
}

impl Identity {
    /// Reads both files. What was read of the private key is wiped; what it was parsed to lives as long as this does.
    ///
    /// # Errors
    /// When a file can't be read, the key's is open to others, either holds something else, they don't belong together, or
    /// the certificate has ended or does not count yet. Whether the name is right, and whether the certificates lead to an authority, is not
    /// checked.
    pub(super) fn read(files: &TlsConfig, now: DateTime<Utc>) -> Result<Self, TlsError> {
        let chain = chain(&files.certificate_file)?;
        let wrong = |reason: String, remedy| TlsError::certificate(&files.certificate_file, reason, remedy);
        let (not_before, not_after) = chain.first().and_then(validity).ok_or_else(|| {
            wrong("its first certificate can't be read".into(), "name the service's own certificate first")
        })?;
        let key = CertifiedKey::new(chain, private_key(&files.private_key_file)?);
        key.keys_match().map_err(|_| {
            let reason = format!("is not the key of the certificate in {}", files.certificate_file.display());
            TlsError::private_key(&files.private_key_file, reason, "name the two files of one pair")
        })?;
        if not_after <= now {
            let reason = format!("the certificate ended at {}", not_after.to_rfc3339());
            return Err(wrong(reason, "renew it, or set the clock right"));
        }
        if now < not_before {
            let reason = format!("the certificate counts only from {}", not_before.to_rfc3339());
            return Err(wrong(reason, "keep the one before until then, or set the clock right"));
        }
        Ok(Self { key: Arc::new(key), not_after })
    }
}

/// When the certificate in this file ends.
///
/// # Errors
/// When the file can't be read or holds no certificate.
pub fn certificate_end(file: &Path) -> Result<DateTime<Utc>, TlsError> {
    let validity = chain(file)?.first().and_then(validity);
    validity.map(|(_, not_after)| not_after).ok_or_else(|| {
        TlsError::certificate(file, "its first certificate can't be read", "name the service's own first")
    })
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let remedy = "name a file of certificates in PEM";
    let wrong = |reason: String| TlsError::certificate(path, reason, remedy);
    let text = fs::read(path).map_err(|error| wrong(format!("can't be read: {error}")))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| wrong(format!("is not PEM: {error}")))?;
    if chain.is_empty() { Err(wrong("holds no certificate".into())) } else { Ok(chain) }
}

/// RFC 5280, section 4.1.2.5.
/// From when and until when it counts.
fn validity(certificate: &CertificateDer<'_>) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let validity = Certificate::from_der(certificate).ok()?.tbs_certificate.validity;
    let [from, until] = [validity.not_before, validity.not_after]
        .map(|time| DateTime::from_timestamp(i64::try_from(time.to_unix_duration().as_secs()).ok()?, 0));
    Some((from?, until?))
}

fn private_key(path: &Path) -> Result<Arc<dyn SigningKey>, TlsError> {
    let remedy = "name a file that holds one private key in PEM, not encrypted (PKCS #8, SEC 1 or PKCS #1)";
    let wrong = |reason: String| TlsError::private_key(path, reason, remedy);
    let unreadable = |error| wrong(format!("can't be read: {error}"));
    let text = Zeroizing::new(fs::read(path).map_err(unreadable)?);
    if let Some(mode) = exposed(&fs::metadata(path).map_err(unreadable)?) {
        let reason = format!("has mode {mode:04o}: others may read it, or its group change it");
        let remedy = "`chmod 600` it (0440 will do for a secret that an orchestrator mounts)";
        return Err(TlsError::private_key(path, reason, remedy));
    }
    // Into a buffer that is wiped; the parser of certificates keeps its own.
    let mut buffer = Zeroizing::new(vec![0; text.len()]);
    let (label, der) =
        pem::decode(&text, &mut buffer).map_err(|error| wrong(format!("is not PEM: {error}")))?;
    let key = match label {
        "PRIVATE KEY" => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der)),
        "EC PRIVATE KEY" => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der)),
        "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der)),
        _ => return Err(wrong("holds something else than a private key".into())),
    };
    any_supported_type(&key).map_err(|_| {
        let remedy = "use an RSA key of at least 2048 bits, ECDSA by P-256 or P-384, or Ed25519";
        TlsError::private_key(path, "holds a key that can't be used", remedy)
    })
}

/// Tells one state of the two files from another, without reading them; `None` for a file that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp([Option<State>; 2]);

/// Which file it is, how long, and when it was last changed, its permissions included.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    file: (u64, u64),
    length: u64,
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(files: &TlsConfig) -> Self {
        // What an orchestrator mounts are links, which lead elsewhere after a change.
        let stamp = |path: &Path| {
            let meta = fs::metadata(path).ok()?;
            let (file, changed) = ((meta.dev(), meta.ino()), (meta.ctime(), meta.ctime_nsec()));
            Some(State { file, length: meta.len(), changed })
        };
        Self([stamp(&files.certificate_file), stamp(&files.private_key_file)])
    }
}
