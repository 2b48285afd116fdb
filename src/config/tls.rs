//! Whether the public listener speaks TLS by itself, and with which certificate.

use std::path::PathBuf;

use super::error::Refusal;
use super::reader::Reader;

/// With what the public listener identifies itself: two files in PEM.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// The certificate, followed by those that lead from it to the authority.
    pub certificate_file: PathBuf,
    /// Its private key.
    pub private_key_file: PathBuf,
}

/// Both files or neither: half a pair must not end in a listener without TLS.
pub(super) fn read(reader: &mut Reader) -> Option<TlsConfig> {
    let mut file = |key| reader.read_optional(key, |leaf| leaf.text().map(PathBuf::from));
    let (certificate, private_key) = (file("tls.certificate_file"), file("tls.private_key_file"));
    let lacking = |key, other: &'static [&'static str]| {
        let (reason, remedy) =
            (format!("must be given with {}", other[0]), format!("set it, or remove {}", other[0]));
        Refusal::new(key, reason, remedy).depending_on(other)
    };
    match (certificate, private_key) {
        (Some(certificate_file), Some(private_key_file)) => {
            Some(TlsConfig { certificate_file, private_key_file })
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
