use std::time::Duration;

use async_trait::async_trait;
use url::Url;

/// Fetches the issuer's public documents: metadata, keys, status lists. [`super::HttpFetch`] does it
/// by HTTP; implement it to go through a client of your own, or to test without a network.
///
/// ```
/// use async_trait::async_trait;
/// use signet::verify::{Fetch, FetchError, Fetched, FetchRequest};
///
/// /// Keys from memory.
/// struct Pinned(&'static [u8]);
///
/// #[async_trait]
/// impl Fetch for Pinned {
///     async fn fetch(&self, request: FetchRequest<'_>) -> Result<Fetched, FetchError> {
///         match request.url.path() {
///             "/jwks" => Ok(Fetched::Body { bytes: self.0.to_vec(), etag: None, max_age: None }),
///             _ => Err(FetchError::Status(404)),
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// Gets a document, unless it still is the one that `request.etag` names.
    ///
    /// An implementation must bound the time and the size, and must not follow a redirection to
    /// another host.
    async fn fetch(&self, request: FetchRequest<'_>) -> Result<Fetched, FetchError>;
}

/// What to fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchRequest<'a> {
    /// From where.
    pub url: &'a Url,
    /// The entity tag of the copy at hand, for `If-None-Match` (RFC 9110, section 13.1.2).
    pub etag: Option<&'a str>,
    /// The media type, for `Accept`.
    pub accept: &'a str,
    /// The largest body to take, in bytes, decoded.
    pub limit: usize,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The copy at hand is still the current one.
    NotModified {
        /// For how long it may be used, if the answer says so.
        max_age: Option<Duration>,
    },
    /// A document.
    Body {
        /// The document.
        bytes: Vec<u8>,
        /// Its entity tag.
        etag: Option<String>,
        /// For how long it may be used, if the answer says so.
        max_age: Option<Duration>,
    },
}

/// The document could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The URL is one that is never fetched.
    #[error("{url} is not fetched: {reason}")]
    Refused {
        /// Which.
        url: String,
        /// Why not.
        reason: &'static str,
    },
    /// No answer: no connection, no trust in the certificate, or too slow.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// An answer that is neither 200 nor 304.
    #[error("the answer has status {0}")]
    Status(u16),
    /// A body over the limit.
    #[error("the answer is over {0} bytes")]
    TooLarge(usize),
    /// The settings can't be used.
    #[error("the settings can't be used: {0}")]
    Settings(String),
}

/// For how long an answer may be used: `max-age` less the time that it spent in caches on the way (RFC 9111,
/// section 4.2), or not at all for `no-store` and `no-cache`. Nothing if the headers don't say.
///
/// ```
/// use signet::verify::freshness;
/// use std::time::Duration;
///
/// assert_eq!(freshness("public, max-age=300", Some("40")), Some(Duration::from_secs(260)));
/// assert_eq!(freshness("no-store", None), Some(Duration::ZERO));
/// assert_eq!(freshness("public", None), None);
/// ```
#[must_use]
pub fn freshness(cache_control: &str, age: Option<&str>) -> Option<Duration> {
    let mut max_age: Option<u64> = None;
    for directive in cache_control.split(',') {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let name = name.trim();
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            return Some(Duration::ZERO);
        }
        if name.eq_ignore_ascii_case("max-age")
            && let Some(seconds) = delta_seconds(value.trim().trim_matches('"'))
        {
            // Two that differ: the shorter one is safe.
            max_age = Some(max_age.map_or(seconds, |other| other.min(seconds)));
        }
    }
    let age = age.and_then(|age| delta_seconds(age.trim())).unwrap_or(0);
    max_age.map(|seconds| Duration::from_secs(seconds.saturating_sub(age)))
}

/// Reads `delta-seconds` (RFC 9111, section 1.2.2): too large a number is the largest.
fn delta_seconds(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_control_is_read_and_garbage_is_not() {
        let seconds = |text| freshness(text, None).map(|duration| duration.as_secs());
        assert_eq!(seconds("max-age=300"), Some(300));
        assert_eq!(seconds(" Public ,  MAX-AGE=300 , immutable"), Some(300));
        assert_eq!(seconds("max-age=\"300\""), Some(300));
        assert_eq!(seconds("max-age=300, max-age=5"), Some(5));
        assert_eq!(seconds("max-age=300, no-cache"), Some(0));
        assert_eq!(seconds("no-store, max-age=300"), Some(0));
        assert_eq!(seconds("max-age=99999999999999999999999"), Some(u64::MAX));
        for garbage in
            ["", ",,,", "max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=5m", "s-maxage=9"]
        {
            assert_eq!(seconds(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn time_spent_in_caches_counts() {
        assert_eq!(freshness("max-age=300", Some("300")), Some(Duration::ZERO));
        assert_eq!(freshness("max-age=300", Some("999")), Some(Duration::ZERO));
        assert_eq!(freshness("max-age=300", Some("garbage")), Some(Duration::from_mins(5)));
    }
}
