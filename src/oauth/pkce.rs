use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;

use super::{CodeChallenge, Secret};

/// What proves that whoever redeems a code is who asked for it (RFC 7636, section 4.1). Prints as `[redacted]`.
///
/// ```
/// use signet::oauth::{CodeChallenge, CodeVerifier};
///
/// // The example of RFC 7636, appendix B.
/// let verifier = CodeVerifier::parse("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")?;
/// let challenge = CodeChallenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").unwrap();
/// assert!(verifier.meets(&challenge));
/// # Ok::<(), signet::oauth::InvalidVerifier>(())
/// ```
#[derive(Clone, Debug)]
pub struct CodeVerifier(Secret);

/// The text is no code verifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("code_verifier must be 43 to 128 letters, digits, '-', '.', '_' and '~'")]
pub struct InvalidVerifier;

impl CodeVerifier {
    /// Takes `text` if it can be one.
    ///
    /// # Errors
    /// When it is shorter than 43 or longer than 128 characters, or holds one that is not unreserved.
    pub fn parse(text: &str) -> Result<Self, InvalidVerifier> {
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        if (43..=128).contains(&text.len()) && text.bytes().all(unreserved) {
            Ok(Self(Secret::new(text.to_owned())))
        } else {
            Err(InvalidVerifier)
        }
    }

    /// Whether `challenge` was made of it by S256 (RFC 7636, section 4.6); takes the same time whatever the answer.
    #[must_use]
    pub fn meets(&self, challenge: &CodeChallenge) -> bool {
        let made = URL_SAFE_NO_PAD.encode(digest(&SHA256, self.0.expose().as_bytes()));
        made.as_bytes().ct_eq(challenge.as_str().as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_has_43_to_128_unreserved_characters() {
        for length in [43, 128] {
            assert!(CodeVerifier::parse(&"a".repeat(length)).is_ok(), "{length}");
        }
        for text in
            ["a".repeat(42), "a".repeat(129), format!("{}+", "a".repeat(42)), "é".repeat(43), String::new()]
        {
            assert!(CodeVerifier::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_challenge_is_a_digest() {
        for text in
            ["a".repeat(42), "a".repeat(44), format!("{}=", "a".repeat(42)), format!("{}+", "a".repeat(42))]
        {
            assert!(CodeChallenge::parse(&text).is_err(), "{text}");
        }
        let verifier = CodeVerifier::parse(&"a".repeat(43)).unwrap();
        let plain = CodeChallenge::parse(&format!("{}Y", "a".repeat(42))).unwrap();
        assert!(!verifier.meets(&plain));
    }
}
