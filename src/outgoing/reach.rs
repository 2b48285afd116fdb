use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use url::{Host, Url};

use super::address::is_public;
use crate::config::OutgoingConfig;

/// Where outgoing requests may go: to public addresses by `https`, and to the networks that the operator lists; by
/// plain `http` only to loopback addresses that are listed.
#[derive(Clone, Debug)]
pub struct Reach {
    listed: Arc<[IpNet]>,
}

/// A URL or an address that outgoing requests do not go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// It is not `https`.
    #[error("must be https; http is for loopback addresses in outgoing.allowed_networks alone")]
    Scheme,
    /// It names no host.
    #[error("must name a host")]
    Host,
    /// It has a fragment.
    #[error("must have no fragment")]
    Fragment,
    /// It holds a user name or a password.
    #[error("must hold no user name and no password")]
    Credentials,
    /// The address is not a public one.
    #[error("leads to {0}, which is not public: add it to outgoing.allowed_networks if it is meant")]
    Address(IpAddr),
}

impl Reach {
    /// What the settings let outgoing requests reach.
    #[must_use]
    pub fn new(config: &OutgoingConfig) -> Self {
        Self { listed: config.allowed_networks.as_slice().into() }
    }

    /// Whether a request may be made to `url`, as far as that can be told before its host is looked up: an address in
    /// it is checked, what a name leads to is not.
    ///
    /// # Errors
    /// When it may not.
    pub fn check_url(&self, url: &Url) -> Result<(), Unreachable> {
        if url.fragment().is_some() {
            return Err(Unreachable::Fragment);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Unreachable::Credentials);
        }
        let address = match url.host() {
            None => return Err(Unreachable::Host),
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
        };
        match (url.scheme(), address) {
            ("https" | "http", Some(address)) => self.check_address(url.scheme(), address),
            ("https", None) => Ok(()),
            ("http", None) if url.host_str() == Some("localhost") && self.lists_loopback() => Ok(()),
            _ => Err(Unreachable::Scheme),
        }
    }

    /// Whether a connection may be made to `address` for a URL with that scheme.
    ///
    /// # Errors
    /// When it may not.
    pub(super) fn check_address(&self, scheme: &str, address: IpAddr) -> Result<(), Unreachable> {
        let listed = self.listed.iter().any(|network| network.contains(&address));
        match scheme {
            "https" if listed || is_public(address) => Ok(()),
            "http" if listed && address.is_loopback() => Ok(()),
            "http" if !address.is_loopback() => Err(Unreachable::Scheme),
            _ => Err(Unreachable::Address(address)),
        }
    }

    fn lists_loopback(&self) -> bool {
        self.listed.iter().any(|network| network.addr().is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(listed: &[&str]) -> Reach {
        let allowed_networks = listed.iter().map(|network| network.parse().unwrap()).collect();
        Reach { listed: allowed_networks }
    }

    fn check(reach: &Reach, url: &str) -> Result<(), Unreachable> {
        reach.check_url(&Url::parse(url).unwrap())
    }

    #[test]
    fn an_address_is_known_however_it_is_written() {
        let reach = reach(&[]);
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "017700000001",
            "0",
            "10.1",
            "0xa9fea9fe",
            "2852039166",
            "169.254.169.254.",
            "%31%32%37.0.0.1",
            "①②⑦.⓪.⓪.①",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[64:ff9b::10.0.0.1]",
            "[2002:7f00:1::]",
            "[fe80::1]",
        ] {
            let refused = check(&reach, &format!("https://{host}/logout"));
            assert!(matches!(refused, Err(Unreachable::Address(_))), "{host}: {refused:?}");
        }
        for host in ["shop.example", "8.8.8.8", "[2606:4700::1111]", "shop.example:8443"] {
            assert_eq!(check(&reach, &format!("https://{host}/logout")), Ok(()), "{host}");
        }
    }

    #[test]
    fn only_https_is_taken_and_nothing_but_a_host_and_a_path() {
        let reach = reach(&[]);
        for (url, refused) in [
            ("http://shop.example/", Unreachable::Scheme),
            ("http://8.8.8.8/", Unreachable::Scheme),
            ("http://localhost/", Unreachable::Scheme),
            ("http://127.0.0.1/", Unreachable::Address([127, 0, 0, 1].into())),
            ("ftp://shop.example/", Unreachable::Scheme),
            ("file:///etc/passwd", Unreachable::Host),
            ("https://shop.example/#x", Unreachable::Fragment),
            ("https://user@shop.example/", Unreachable::Credentials),
            ("https://:secret@shop.example/", Unreachable::Credentials),
        ] {
            assert_eq!(check(&reach, url), Err(refused), "{url}");
        }
    }

    #[test]
    fn what_the_operator_lists_is_open_and_no_more() {
        let reach = reach(&["127.0.0.1/32", "10.1.0.0/16", "fd00::/8"]);
        for url in [
            "https://127.0.0.1/",
            "http://127.0.0.1:8080/",
            "http://localhost/",
            "https://10.1.255.255/",
            "https://[fd12::1]/",
        ] {
            assert_eq!(check(&reach, url), Ok(()), "{url}");
        }
        for url in [
            "https://127.0.0.2/",
            "http://127.0.0.2/",
            "https://10.2.0.0/",
            "http://10.1.0.1/",
            "http://[fd12::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::1]/",
            "http://shop.example/",
        ] {
            assert!(check(&reach, url).is_err(), "{url}");
        }
    }
}
