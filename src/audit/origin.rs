use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static CURRENT: Origin;
}

/// The request that everything is done for while it is answered. It is ambient, unlike time and chance: nothing is
/// decided by it, and what every function between the surface and the log had to hand on would some day be forgotten
/// by one of them.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Where it came from, if over a network; after the rule about trusted proxies.
    pub address: Option<IpAddr>,
    /// Its identifier.
    pub request_id: RequestId,
}

impl Origin {
    /// The request that is being answered; none where Signet acts by itself.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// Does `act` for this request.
    pub fn cause<F: Future>(self, act: F) -> TaskLocalFuture<Self, F> {
        CURRENT.scope(self, act)
    }

    /// Does `act`, which becomes a task of its own, for the request that is being answered now.
    pub fn carried<F: Future>(act: F) -> impl Future<Output = F::Output> {
        let origin = Self::current();
        async move {
            match origin {
                Some(origin) => origin.cause(act).await,
                None => act.await,
            }
        }
    }
}

/// Tells one request from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    /// Made here.
    Own(u64),
    /// Made by a trusted proxy.
    Given(Arc<str>),
}

impl RequestId {
    /// No proxy's identifier is longer.
    const LONGEST: usize = 64;

    /// What a trusted proxy calls the request: 1 to 64 letters, digits, `.`, `_` and `-`.
    #[must_use]
    pub fn given(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let fits = (1..=Self::LONGEST).contains(&text.len()) && text.bytes().all(plain);
        fits.then(|| Self::Given(text.into()))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(number) => write!(f, "{number:016x}"),
            Self::Given(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(number: u64) -> Origin {
        Origin { address: None, request_id: RequestId::Own(number) }
    }

    fn current() -> Option<String> {
        Origin::current().map(|origin| origin.request_id.to_string())
    }

    #[tokio::test]
    async fn a_request_is_that_of_its_own_task_only() {
        assert_eq!(current(), None);
        let (a, b) = tokio::join!(
            origin(1).cause(async {
                tokio::task::yield_now().await;
                let spawned = tokio::spawn(Origin::carried(async { current() }));
                (current(), tokio::spawn(async { current() }).await.unwrap(), spawned.await.unwrap())
            }),
            origin(0xab).cause(async {
                tokio::task::yield_now().await;
                current()
            })
        );
        let first = Some("0000000000000001".to_owned());
        assert_eq!(a, (first.clone(), None, first));
        assert_eq!(b.as_deref(), Some("00000000000000ab"));
        assert_eq!((current(), Origin::carried(async { current() }).await), (None, None));
    }

    #[test]
    fn a_proxy_gives_no_more_than_a_short_plain_word() {
        assert_eq!(RequestId::given("a.B_9-").unwrap().to_string(), "a.B_9-");
        assert!(RequestId::given(&"x".repeat(64)).is_some());
        for text in ["", "a b", "a\n", "ä", "\"", "{}", &"x".repeat(65)] {
            assert_eq!(RequestId::given(text), None, "{text:?}");
        }
    }
}
