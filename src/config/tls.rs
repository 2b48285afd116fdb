//! Whether the public listener speaks TLS by itself, and with which certificate.

use std::path::PathBuf;
use std::str::FromStr;

use super::error::Refusal;
use super::reader::Reader;

/// With what the public listener identifies itself: two files in PEM.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// The certificate, followed by those that lead from it to the authority.
    pub certificate_file: PathBuf,
    /// Its private key.
    pub private_key_file: PathBuf,
    /// What browsers are told about later visits, if anything.
    pub strict_transport_security: Option<TransportPolicy>,
}

/// For how long browsers must come by https, whatever they are told (the value of `Strict-Transport-Security`; RFC 6797,
/// section 6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportPolicy(String);

impl TransportPolicy {
    /// The header's value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TransportPolicy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut seen = Vec::new();
        for directive in text.split(';').map(|each| each.trim().to_ascii_lowercase()) {
            let name = match directive.split_once('=') {
                // Browsers take whole seconds; more digits than these overflow some.
                Some(("max-age", seconds)) => {
                    let digits =
                        (1..=10).contains(&seconds.len()) && seconds.bytes().all(|b| b.is_ascii_digit());
                    digits.then_some("max-age")
                }
                None => ["includesubdomains", "preload"].into_iter().find(|name| *name == directive),
                _ => None,
            };
            match name {
                Some(name) if !seen.contains(&name) => seen.push(name),
                _ => {
                    return Err(
                        "must be off, or max-age=SECONDS with includeSubDomains and preload if wanted",
                    );
                }
            }
        }
        if seen.contains(&"max-age") { Ok(Self(text.trim().to_owned())) } else { Err("lacks max-age") }
    }
}

/// Both files or neither: half a pair must not end in a listener without TLS.
pub(super) fn read(reader: &mut Reader) -> Option<TlsConfig> {
    let strict_transport_security =
        reader.read("tls.strict_transport_security", |leaf| match leaf.text()? {
            "off" => Ok(None),
            _ => leaf.parsed("max-age=31536000").map(Some),
        });
    let mut file = |key| reader.read_optional(key, |leaf| leaf.text().map(PathBuf::from));
    let (certificate, private_key) = (file("tls.certificate_file"), file("tls.private_key_file"));
    let lacking = |key, other: &'static [&'static str]| {
        let (reason, remedy) =
            (format!("must be given with {}", other[0]), format!("set it, or remove {}", other[0]));
        Refusal::new(key, reason, remedy).depending_on(other)
    };
    match (certificate, private_key) {
        (Some(certificate_file), Some(private_key_file)) => {
            Some(TlsConfig { certificate_file, private_key_file, strict_transport_security })
        }
        (None, None) => None,
        (Some(_), None) => {
            reader.push(lacking("tls.private_key_file", &["tls.certificate_file"]));
            None
        }
        (None, Some(_)) => {
            reader.push(lacking("tls.certificate_file", &["tls.private_key_file"]));
            None
        }
    }
}
