//! Texts that become values of the vocabulary.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use signet::oauth::{
    ApiKeyId, ClientId, CodeChallenge, CodeVerifier, KeyId, ListId, Origin, RedirectUri, Resource, Scope,
    SessionId, Subject, TokenId, UserId, WebUri,
};
use signet::users::{Email, Username};
use url::Url;

use super::{first_line, text};

/// Two scopes, on a line each. What is printed reads back as the same, and sets behave as sets.
pub(crate) fn scope(data: &[u8]) {
    let (first, second) = first_line(data);
    let (Some(first), Some(second)) = (text(first), text(second)) else { return };
    let Ok(scope) = Scope::parse(first) else { return };
    assert_eq!(Scope::parse(scope.as_str()).as_ref(), Ok(&scope), "what is printed reads back");
    let in_json = serde_json::to_string(&scope).expect("JSON");
    assert_eq!(serde_json::from_str::<Scope>(&in_json).expect("a scope"), scope);
    for token in scope.iter() {
        let allowed = |byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(!token.is_empty() && token.bytes().all(allowed), "{token:?} is no scope-token");
        assert!(first.split(' ').any(|each| each == token), "{token:?} was not in the text");
        assert_eq!(scope.iter().filter(|each| *each == token).count(), 1, "a set holds nothing twice");
    }
    let Ok(other) = Scope::parse(second) else { return };
    let covered = scope.iter().all(|token| other.contains(token));
    assert_eq!(scope.is_subset(&other), covered);
    if let Ok(both) = scope.union(&other) {
        assert!(scope.is_subset(&both) && other.is_subset(&both));
        assert!(both.iter().all(|token| scope.contains(token) || other.contains(token)));
    }
}

/// A text that may be any identifier. What is taken is kept letter for letter, within its length and alphabet.
pub(crate) fn identifiers(data: &[u8]) {
    let Some(text) = text(data) else { return };
    macro_rules! kept {
        ($($kind:ident up to $longest:literal),*) => {
            $(if let Ok(id) = $kind::parse(text) {
                assert_eq!(id.as_str(), text);
                assert!(!text.is_empty() && text.len() <= $longest);
                assert!(text.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && !matches!(byte, b'"' | b'\\')));
                let in_json = serde_json::to_string(&id).expect("JSON");
                assert_eq!(serde_json::from_str::<$kind>(&in_json).expect("an identifier"), id);
            })*
        };
    }
    kept!(
        ClientId up to 128, KeyId up to 128, ListId up to 64, TokenId up to 64, SessionId up to 64,
        Subject up to 255, UserId up to 64, ApiKeyId up to 64, CodeChallenge up to 43, Origin up to 255,
        WebUri up to 2048, Resource up to 255
    );
    if Resource::parse(text).is_ok() {
        let url = Url::parse(text).expect("an absolute URI");
        assert!(url.fragment().is_none(), "RFC 8707, section 2");
    }
    if Origin::parse(text).is_ok() {
        assert_eq!(Url::parse(text).expect("a URL").origin().ascii_serialization(), text);
    }
    if WebUri::parse(text).is_ok() {
        let url = Url::parse(text).expect("a URL");
        assert!(
            matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()
        );
    }
    if let Ok(email) = Email::parse(text) {
        let again = Email::parse(&email.normalized()).expect("an address");
        assert_eq!(again.normalized(), email.normalized(), "normal is normal");
        assert!(!email.as_str().bytes().any(|byte| byte.is_ascii_control()));
    }
    if let Ok(name) = Username::parse(text) {
        let again = Username::parse(&name.normalized()).expect("a name");
        assert_eq!(again.normalized(), name.normalized(), "normal is normal");
    }
}

/// A redirect URI as registered, and one that a request names. What is admitted is the registered one, or differs in
/// the port of a loopback host alone; and for a browser it leads to the same host.
pub(crate) fn redirect_uri(data: &[u8]) {
    let (registered, asked) = first_line(data);
    let (Some(registered), Some(asked)) = (text(registered), text(asked)) else { return };
    let Ok(uri) = RedirectUri::parse(registered) else { return };
    assert_eq!(uri.as_str(), registered, "a redirect URI is kept letter for letter");
    assert!(uri.admits(registered));
    if !uri.is_out_of_band() {
        let url = Url::parse(registered).expect("a URI");
        assert!(url.fragment().is_none() && url.username().is_empty() && url.password().is_none());
        let loopback = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        let allowed = match url.scheme() {
            "https" => url.has_host(),
            "http" => loopback,
            private => private.contains('.'),
        };
        assert!(allowed, "{registered} may not be registered");
    }
    if !uri.admits(asked) || registered == asked {
        return;
    }
    let (mut ours, mut theirs) = (Url::parse(registered).expect("a URI"), Url::parse(asked).expect("a URI"));
    assert_eq!(ours.scheme(), "http", "{asked} was admitted for {registered}");
    assert!(matches!(ours.host_str(), Some("127.0.0.1" | "[::1]" | "localhost")));
    ours.set_port(None).expect("a host");
    theirs.set_port(None).expect("a host");
    assert_eq!(ours, theirs, "only the port may differ");
}

/// A code verifier and a challenge. A verifier meets exactly the challenge that is its digest.
pub(crate) fn pkce(data: &[u8]) {
    let (verifier, challenge) = first_line(data);
    let (Some(verifier), Some(challenge)) = (text(verifier), text(challenge)) else { return };
    let Ok(parsed) = CodeVerifier::parse(verifier) else { return };
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    assert!((43..=128).contains(&verifier.len()) && verifier.bytes().all(unreserved));
    let made = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    assert!(parsed.meets(&CodeChallenge::parse(&made).expect("a challenge")), "a verifier meets its own");
    if let Ok(challenge) = CodeChallenge::parse(challenge) {
        assert_eq!(parsed.meets(&challenge), challenge.as_str() == made);
    }
    assert!(!format!("{parsed:?}").contains(verifier), "a verifier is not printed");
}
