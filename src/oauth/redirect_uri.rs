use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::Url;

use super::Origin;

/// Where a client lets people come back to, as it registered it (RFC 6749, section 3.1.2; RFC 9700, section 4.1).
///
/// It is `https`, or `http` on a loopback host, or of a private scheme with a period in it (RFC 8252, sections 7
/// and 8.4), or [`RedirectUri::OUT_OF_BAND`]; it has no fragment and no user name. It is compared as text.
///
/// ```
/// use signet::oauth::RedirectUri;
///
/// let registered = RedirectUri::parse("https://shop.example/callback")?;
/// assert!(registered.admits("https://shop.example/callback"));
/// assert!(!registered.admits("https://shop.example/callback/"));
/// let native = RedirectUri::parse("http://127.0.0.1/callback")?;
/// assert!(native.admits("http://127.0.0.1:51004/callback"));
/// # Ok::<(), signet::oauth::InvalidRedirectUri>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectUri(Arc<str>);

/// The text can't be a redirect URI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a redirect URI must be an absolute URI of at most 2048 characters without fragment and user name: https, http on a \
     loopback host, a private scheme with a period, or urn:ietf:wg:oauth:2.0:oob"
)]
pub struct InvalidRedirectUri;

/// The hosts that never leave the machine, as they stand in front of a port.
const LOOPBACK: [&str; 3] = ["http://127.0.0.1", "http://[::1]", "http://localhost"];

impl RedirectUri {
    /// Shows the code to the person instead of sending it anywhere: for old clients without a URL of their own.
    pub const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

    const MAX_LENGTH: usize = 2048;

    /// Takes `text` if a client may register it.
    ///
    /// # Errors
    /// When it may not.
    pub fn parse(text: &str) -> Result<Self, InvalidRedirectUri> {
        let visible = |b: u8| (0x21..=0x7e).contains(&b) && !matches!(b, b'"' | b'\\' | b'<' | b'>');
        if text.len() > Self::MAX_LENGTH || !text.bytes().all(visible) || text.contains('#') {
            return Err(InvalidRedirectUri);
        }
        if text == Self::OUT_OF_BAND {
            return Ok(Self(text.into()));
        }
        let url = Url::parse(text).map_err(|_| InvalidRedirectUri)?;
        let anonymous = url.username().is_empty() && url.password().is_none() && !has_user_info(text);
        let allowed = match url.scheme() {
            // The parser takes any number of slashes.
            "https" => text.strip_prefix("https://").is_some_and(|rest| !rest.starts_with('/')),
            "http" => without_port(text).is_some(),
            private => private.contains('.'),
        };
        if allowed && anonymous { Ok(Self(text.into())) } else { Err(InvalidRedirectUri) }
    }

    /// The URI as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the code is shown instead of sent.
    #[must_use]
    pub fn is_out_of_band(&self) -> bool {
        &*self.0 == Self::OUT_OF_BAND
    }

    /// Where a page at this URI comes from, as a browser puts it into `Origin`; none for an app's own scheme, which no page has.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        let url = Url::parse(&self.0).ok().filter(|url| matches!(url.scheme(), "https" | "http"))?;
        Origin::parse(&url.origin().ascii_serialization()).ok()
    }

    /// Whether a request may name `asked`: the same text, save the port of a loopback host, which a native app
    /// takes as it comes (RFC 8252, section 7.3).
    #[must_use]
    pub fn admits(&self, asked: &str) -> bool {
        if &*self.0 == asked {
            return true;
        }
        match (without_port(&self.0), without_port(asked).filter(|_| names_a_port_plainly(asked))) {
            (Some(registered), Some(asked)) => registered == asked,
            _ => false,
        }
    }
}

/// Host and remainder of an `http` URI on a loopback host.
fn without_port(text: &str) -> Option<(&'static str, &str)> {
    LOOPBACK.into_iter().find_map(|host| {
        let rest = text.strip_prefix(host)?;
        let rest = match rest.strip_prefix(':') {
            Some(port) => {
                let digits = port.bytes().take_while(u8::is_ascii_digit).count();
                port[..digits].parse::<u16>().ok()?;
                &port[digits..]
            }
            None => rest,
        };
        (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((host, rest))
    })
}

/// Whether the port, if there is one, is one that an app can listen on, written as browsers write it.
fn names_a_port_plainly(asked: &str) -> bool {
    let behind_host = LOOPBACK.into_iter().find_map(|host| asked.strip_prefix(host)).unwrap_or_default();
    behind_host
        .strip_prefix(':')
        .is_none_or(|port| port.starts_with(|first: char| matches!(first, '1'..='9')))
}

/// An empty user name is dropped by the parser, and still looks like another host to whoever reads it.
fn has_user_info(text: &str) -> bool {
    let authority = text.split_once("://").map_or("", |(_, rest)| rest);
    authority.split(['/', '?']).next().is_some_and(|authority| authority.contains('@'))
}

impl TryFrom<String> for RedirectUri {
    type Error = InvalidRedirectUri;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<RedirectUri> for String {
    fn from(uri: RedirectUri) -> Self {
        uri.0.as_ref().into()
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_may_register() {
        for uri in [
            "https://shop.example/callback",
            "https://shop.example/callback?tenant=1",
            "http://127.0.0.1/callback",
            "http://127.0.0.1:9999",
            "http://[::1]:80/callback",
            "http://localhost/?x=1",
            "com.example.app:/callback",
            "urn:ietf:wg:oauth:2.0:oob",
        ] {
            assert_eq!(RedirectUri::parse(uri).unwrap().as_str(), uri);
        }
        for uri in [
            "",
            "/callback",
            "shop.example/callback",
            "https:shop.example",
            "https:///callback",
            "http://shop.example/callback",
            "http://127.0.0.1.example/",
            "http://localhost.example/",
            "http://127.0.0.1:80@shop.example/",
            "http://127.0.0.1:99999/",
            "https://user@shop.example/",
            "https://@shop.example/",
            "https://shop.example/#fragment",
            "https://shop.example/ ",
            "https://shop.example/é",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "myapp://callback",
            "urn:ietf:wg:oauth:2.0:oob:auto",
            &format!("https://shop.example/{}", "a".repeat(2048)),
        ] {
            assert_eq!(RedirectUri::parse(uri), Err(InvalidRedirectUri), "{uri}");
        }
    }

    #[test]
    fn pages_have_an_origin_and_apps_have_none() {
        for (uri, origin) in [
            ("https://shop.example/callback?x", Some("https://shop.example")),
            ("https://SHOP.example:443/", Some("https://shop.example")),
            ("https://shop.example:8443/", Some("https://shop.example:8443")),
            ("http://127.0.0.1:3000/cb", Some("http://127.0.0.1:3000")),
            ("http://localhost/cb", Some("http://localhost")),
            ("com.example.app:/callback", None),
            (RedirectUri::OUT_OF_BAND, None),
        ] {
            let found = RedirectUri::parse(uri).unwrap().origin();
            assert_eq!(found.as_ref().map(Origin::as_str), origin, "{uri}");
        }
    }

    #[test]
    fn only_the_port_of_a_loopback_host_is_free() {
        let native = RedirectUri::parse("http://127.0.0.1:1/callback").unwrap();
        for asked in ["http://127.0.0.1/callback", "http://127.0.0.1:65535/callback"] {
            assert!(native.admits(asked), "{asked}");
        }
        // What was registered is taken as it was written, and goes no further.
        let odd = RedirectUri::parse("http://127.0.0.1:080/callback").unwrap();
        assert!(odd.admits("http://127.0.0.1:080/callback") && odd.admits("http://127.0.0.1:80/callback"));
        assert!(!odd.admits("http://127.0.0.1:0/callback") && !odd.admits("http://127.0.0.1:081/callback"));
        for asked in [
            "http://127.0.0.1:2/callback/",
            "http://127.0.0.1:2/Callback",
            "http://127.0.0.1:2/callback?x",
            "http://localhost:2/callback",
            "http://127.0.0.1:2@evil.example/callback",
            "http://127.0.0.1:x/callback",
            "https://127.0.0.1:2/callback",
            "http://127.0.0.1:2/callback/../callback",
            "http://127.0.0.1:080/callback",
            "http://127.0.0.1:000000080/callback",
            "http://127.0.0.1:0/callback",
            "http://127.0.0.1:00/callback",
            "http://127.0.0.1:01/callback",
            "http://127.0.0.1:65536/callback",
            "http://127.0.0.1:-1/callback",
            "http://127.0.0.1:+2/callback",
            "http://127.0.0.1:2:3/callback",
            "http://127.0.0.1:/callback",
            "http://127.0.0.1:%32/callback",
            "http://127.0.0.1:2e3/callback",
            "http://127.0.0.1:0x50/callback",
            "http://127.0.0.1:٢/callback",
            "http://127.0.0.1:2.evil.example/callback",
            "http://127.0.0.1:2@evil.example/",
            "http://127.0.0.1:2\\@evil.example/callback",
            "http://127.0.0.1:2#/callback",
            "http://127.0.0.1:2//callback",
            "http://127.0.0.1:2;/callback",
            "http://127.0.0.1: 2/callback",
            "http://127.0.0.1:2 /callback",
            "http://127.0.0.1.:2/callback",
            "http://127.0.0.1.evil.example:2/callback",
            "http://user@127.0.0.1:2/callback",
            "http://127.1:2/callback",
            "http://127.0.0.2:2/callback",
            "http://2130706433:2/callback",
            "http://0x7f000001:2/callback",
            "http://0177.0.0.1:2/callback",
            "http://[::ffff:127.0.0.1]:2/callback",
            "http://[::1]:2/callback",
            "http://LOCALHOST:2/callback",
            "HTTP://127.0.0.1:2/callback",
            "http:/127.0.0.1:2/callback",
            "http:///127.0.0.1:2/callback",
        ] {
            assert!(!native.admits(asked), "{asked}");
        }
        let web = RedirectUri::parse("https://shop.example/callback").unwrap();
        for asked in [
            "https://shop.example:443/callback",
            "https://SHOP.example/callback",
            "https://shop.example/callback?",
            "https://shop.example/callback/../callback",
            "https://shop.example/%63allback",
        ] {
            assert!(!web.admits(asked), "{asked}");
        }
    }
}
