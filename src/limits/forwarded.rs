use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::ClientAddress;
use crate::config::{Config, ForwardedHeader};

/// More hops than any request passes through; a longer list is not believed.
const MOST_HOPS: usize = 64;

/// The proxies in front of the service. By default there is none, and what headers say is ignored.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    /// Their networks. A proxy must replace or append to the header; what came with the request it must not pass
    /// on as its own word.
    pub networks: Vec<IpNet>,
    /// The one header that they write.
    pub header: ForwardedHeader,
}

impl TrustedProxies {
    /// Those of the settings.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { networks: config.trusted_proxies.clone(), header: config.forwarded_header }
    }

    /// For whom a request from `peer` counts. `lines` are the header's lines in the order in which they came.
    ///
    /// Every proxy appends whom it was asked by, so the list is read from its end: the first hop that is not a trusted
    /// proxy is the client, and whatever stands before it is that client's own word. If all are trusted, the first
    /// counts. A list that can't be read up to there is not believed at all: then the peer counts.
    #[must_use]
    pub fn client<'a>(
        &self,
        peer: IpAddr,
        lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> ClientAddress {
        let peer = ClientAddress::from(peer);
        if !self.trusts(peer) {
            return peer;
        }
        let hops = lines.rev().flat_map(|line| self.hops(line));
        let mut client = peer;
        for (passed, hop) in hops.enumerate() {
            match hop {
                Some(address) if passed < MOST_HOPS => client = address,
                _ => return peer,
            }
            if !self.trusts(client) {
                break;
            }
        }
        client
    }

    /// Whether a request from there has passed a trusted proxy.
    #[must_use]
    pub fn trusts(&self, address: ClientAddress) -> bool {
        self.networks.iter().any(|network| network.contains(&address.ip()))
    }

    /// A line's hops, the last first; `None` for one that can't be read.
    fn hops(&self, line: &[u8]) -> Vec<Option<ClientAddress>> {
        let Ok(line) = std::str::from_utf8(line) else { return vec![None] };
        let read = |hop| match self.header {
            ForwardedHeader::XForwardedFor => node(trimmed(hop)),
            ForwardedHeader::Forwarded => forwarded_for(hop),
        };
        line.rsplit(',').take(MOST_HOPS + 1).map(read).collect()
    }
}

/// The `for` of one element (RFC 7239, section 4). A quoted text that holds a comma is none that a proxy writes: it
/// falls apart into elements that can't be read.
fn forwarded_for(element: &str) -> Option<ClientAddress> {
    let mut pairs = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        trimmed(name).eq_ignore_ascii_case("for").then(|| trimmed(value))
    });
    let (value, None) = (pairs.next()?, pairs.next()) else { return None };
    node(value.strip_prefix('"').map_or(Some(value), |quoted| quoted.strip_suffix('"'))?)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// An address, with or without a port; an IPv6 address may stand in brackets.
fn node(text: &str) -> Option<ClientAddress> {
    let address = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    address.or_else(with_port).or_else(bracketed).map(ClientAddress::from)
}

#[cfg(test)]
mod tests;
