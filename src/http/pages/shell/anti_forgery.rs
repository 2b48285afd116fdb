use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use crate::oauth::Secret;

/// What every form of a session has to bring back. It follows from the session's cookie, which no other site knows,
/// ends with it, and tells nothing about it.
pub(super) fn token(session: &Secret) -> String {
    URL_SAFE_NO_PAD.encode(hmac::sign(&key(session), PURPOSE))
}

/// Whether `token` is the session's; takes the same time whatever is wrong with it.
pub(super) fn matches(session: &Secret, token: &str) -> bool {
    let mac = URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
    hmac::verify(&key(session), PURPOSE, &mac).is_ok()
}

const PURPOSE: &[u8] = b"signet form";

fn key(session: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, session.expose().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_counts_for_its_session_only() {
        let (mine, other) = (Secret::new("a".repeat(43)), Secret::new("b".repeat(43)));
        assert!(matches(&mine, &token(&mine)));
        let shorter = &token(&mine)[..42];
        for wrong in [token(&other).as_str(), "", "!", shorter, mine.expose()] {
            assert!(!matches(&mine, wrong), "{wrong}");
        }
    }
}
