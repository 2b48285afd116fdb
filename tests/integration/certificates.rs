//! Certificates that sign themselves, made when they are wanted.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike as _, Utc};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;
use signet::config::TlsConfig;

/// A certificate of `localhost` and 127.0.0.1, and its private key.
pub(crate) struct Pair {
    pub(crate) certificate: CertificateDer<'static>,
    /// PKCS #8.
    pub(crate) private_key: Vec<u8>,
}

impl Pair {
    /// One that lives until the end of this century.
    pub(crate) fn new() -> Self {
        Self::ending(2100)
    }

    /// One that ends with the first of January.
    pub(crate) fn ending(year: i32) -> Self {
        Self::of(&KeyPair::generate().unwrap(), year)
    }

    /// One that counts from the first of January on.
    pub(crate) fn beginning(year: i32) -> Self {
        let mut params = params();
        params.not_before = date_time_ymd(year, 1, 1);
        params.not_after = date_time_ymd(2100, 1, 1);
        Self::signed(&KeyPair::generate().unwrap(), &params)
    }

    /// One that ends on that day.
    pub(crate) fn ending_on(day: DateTime<Utc>) -> Self {
        let mut params = params();
        let month = u8::try_from(day.month()).unwrap();
        params.not_after = date_time_ymd(day.year(), month, u8::try_from(day.day()).unwrap());
        Self::signed(&KeyPair::generate().unwrap(), &params)
    }

    /// One of this key, in PKCS #8.
    pub(crate) fn of_key(pkcs8: &[u8]) -> Self {
        Self::of(&KeyPair::try_from(pkcs8).unwrap(), 2100)
    }

    fn of(key: &KeyPair, year: i32) -> Self {
        let mut params = params();
        params.not_after = date_time_ymd(year, 1, 1);
        Self::signed(key, &params)
    }

    fn signed(key: &KeyPair, params: &CertificateParams) -> Self {
        let certificate = params.self_signed(key).unwrap().der().clone();
        Self { certificate, private_key: key.serialize_der() }
    }

    pub(crate) fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    pub(crate) fn private_key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.private_key)
    }

    /// Writes both into `dir`, over what is there.
    pub(crate) fn write(&self, dir: &Path) -> TlsConfig {
        let files = files(dir);
        std::fs::write(&files.certificate_file, self.certificate_pem()).unwrap();
        write_key(&files, &self.private_key_pem(), 0o600);
        files
    }
}

fn params() -> CertificateParams {
    CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap()
}

/// Where [`Pair::write`] writes.
pub(crate) fn files(dir: &Path) -> TlsConfig {
    TlsConfig {
        certificate_file: dir.join("tls.crt"),
        private_key_file: dir.join("tls.key"),
        strict_transport_security: "max-age=31536000".parse().ok(),
    }
}

pub(crate) fn write_key(files: &TlsConfig, pem: &str, mode: u32) {
    std::fs::write(&files.private_key_file, pem).unwrap();
    std::fs::set_permissions(&files.private_key_file, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The first of January.
pub(crate) fn year(year: i32) -> DateTime<Utc> {
    DateTime::from_timestamp(date_time_ymd(year, 1, 1).unix_timestamp(), 0).unwrap()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
