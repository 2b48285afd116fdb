use std::path::{Path, PathBuf};

/// The certificate or its key can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{setting} = {}: {reason}; {remedy}", path.display())]
pub struct TlsError {
    /// The setting that names the file.
    pub setting: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why it can't be used. Shows nothing of a private key.
    pub reason: String,
    /// What to do.
    pub remedy: &'static str,
}

impl TlsError {
    const CERTIFICATE: &str = "tls.certificate_file";
    const PRIVATE_KEY: &str = "tls.private_key_file";

    pub(super) fn certificate(path: &Path, reason: impl Into<String>, remedy: &'static str) -> Self {
        Self { setting: Self::CERTIFICATE, path: path.to_owned(), reason: reason.into(), remedy }
    }

    pub(super) fn private_key(path: &Path, reason: impl Into<String>, remedy: &'static str) -> Self {
        Self { setting: Self::PRIVATE_KEY, path: path.to_owned(), reason: reason.into(), remedy }
    }
}
