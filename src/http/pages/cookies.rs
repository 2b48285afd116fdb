//! Cookies: host-only, out of reach of scripts, not sent along by other sites' forms, and tied to https where the
//! issuer is.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderValue};

use crate::oauth::Secret;

/// The cookies that are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Cookie {
    /// Whose browser session it is.
    Session,
    /// Which browser a form was made for, until somebody has signed in.
    Browser,
    /// A device that an account was signed in from before.
    Device,
    /// What the next page shows once.
    Notice,
}

impl Cookie {
    /// The name without prefix.
    fn stem(self) -> &'static str {
        match self {
            Self::Session => "signet-session",
            Self::Browser => "signet-browser",
            Self::Device => "signet-device",
            Self::Notice => "signet-notice",
        }
    }
}

/// How cookies are written.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Cookies {
    /// Whether the issuer is https: then no plain connection and no subdomain can set or read them
    /// (draft-ietf-httpbis-rfc6265bis, section 4.1.3.2).
    secure: bool,
}

impl Cookies {
    /// The cookies of `issuer`.
    pub(in crate::http) fn of(issuer: &str) -> Self {
        Self { secure: issuer.starts_with("https://") }
    }

    fn name(self, cookie: Cookie) -> String {
        let prefix = if self.secure { "__Host-" } else { "" };
        format!("{prefix}{}", cookie.stem())
    }

    /// The cookie's value. Nothing if it was sent twice: then somebody else planted one of the two.
    pub(in crate::http) fn read(self, request: &HttpRequest, cookie: Cookie) -> Option<Secret> {
        let name = self.name(cookie);
        let headers = request.headers().get_all(header::COOKIE);
        let pairs = headers.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
        let mut values =
            pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(each, _)| *each == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) if !value.is_empty() => Some(Secret::new(value.to_owned())),
            _ => None,
        }
    }

    /// The header that sets the cookie, until the browser is closed or for `max_age`.
    pub(in crate::http) fn set(
        self,
        cookie: Cookie,
        value: &Secret,
        max_age: Option<Duration>,
    ) -> Option<HeaderValue> {
        let life = max_age.map_or_else(String::new, |life| format!("; Max-Age={}", life.as_secs()));
        let text = format!("{}={}{}{life}", self.name(cookie), value.expose(), self.attributes());
        let mut header = HeaderValue::try_from(text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// The header that removes the cookie.
    pub(in crate::http) fn remove(self, cookie: Cookie) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("{}={}; Max-Age=0", self.name(cookie), self.attributes())).ok()
    }

    fn attributes(self) -> &'static str {
        if self.secure {
            "; Path=/; HttpOnly; SameSite=Lax; Secure"
        } else {
            "; Path=/; HttpOnly; SameSite=Lax"
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn read(header: &str) -> Option<String> {
        let request = TestRequest::default().insert_header(("Cookie", header)).to_http_request();
        let value = Cookies::of("https://id.example.com").read(&request, Cookie::Session);
        value.map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn an_https_issuer_locks_its_cookies_to_the_host() {
        let value = Secret::new("abc".into());
        let header = Cookies::of("https://id.example.com").set(Cookie::Session, &value, None).unwrap();
        assert_eq!(header, "__Host-signet-session=abc; Path=/; HttpOnly; SameSite=Lax; Secure");
        let header = Cookies::of("http://127.0.0.1:8080").set(Cookie::Session, &value, None).unwrap();
        assert_eq!(header, "signet-session=abc; Path=/; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn a_cookie_counts_only_once_and_by_its_whole_name() {
        assert_eq!(read("a=b; __Host-signet-session=abc"), Some("abc".into()));
        assert_eq!(read("__Host-signet-session=abc; __Host-signet-session=def"), None);
        assert_eq!(read("signet-session=abc"), None, "a subdomain could have set it");
        assert_eq!(read("__Host-signet-session="), None);
        assert_eq!(read("x__Host-signet-session=abc"), None);
    }

    #[test]
    fn what_a_header_cannot_hold_is_not_set() {
        let value = Secret::new("a\r\nSet-Cookie: b=c".into());
        assert!(Cookies::of("https://id.example.com").set(Cookie::Session, &value, None).is_none());
    }
}
