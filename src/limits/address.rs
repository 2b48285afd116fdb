use std::fmt;
use std::net::IpAddr;

/// The address that a request counts for: of the client itself, or of the last hop that nobody vouches for.
///
/// An IPv4 address inside an IPv6 one counts as the IPv4 address that it is.
///
/// ```
/// use signet::limits::ClientAddress;
///
/// let mapped = ClientAddress::from("::ffff:192.0.2.1".parse::<std::net::IpAddr>()?);
/// assert_eq!(mapped, ClientAddress::from("192.0.2.1".parse::<std::net::IpAddr>()?));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// The address itself.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0
    }

    /// What limits go by.
    #[must_use]
    pub fn prefix(self) -> AddressPrefix {
        match self.0 {
            IpAddr::V4(address) => AddressPrefix::V4(address.to_bits()),
            IpAddr::V6(address) => AddressPrefix::V6((address.to_bits() >> 64) as u64),
        }
    }
}

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What limits go by: the whole of an IPv4 address, and of an IPv6 address the 64 bits of its network, because
/// whoever has one of its addresses has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressPrefix {
    /// A /32.
    V4(u32),
    /// A /64.
    V6(u64),
    /// A /48: what many get who ask for a network, 65,536 times a /64.
    Site(u64),
}

impl AddressPrefix {
    /// The site that the network is part of, for IPv6.
    #[must_use]
    pub fn site(&self) -> Option<Self> {
        match self {
            Self::V6(network) => Some(Self::Site(network >> 16)),
            Self::V4(_) | Self::Site(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> AddressPrefix {
        ClientAddress::from(text.parse::<IpAddr>().unwrap()).prefix()
    }

    #[test]
    fn an_ipv4_address_counts_alone_and_an_ipv6_network_as_one() {
        assert_ne!(prefix("192.0.2.1"), prefix("192.0.2.2"));
        assert_eq!(prefix("192.0.2.1"), prefix("::ffff:192.0.2.1"));
        assert_eq!(prefix("2001:db8::1"), prefix("2001:db8::ffff:ffff:ffff:ffff"));
        assert_ne!(prefix("2001:db8::1"), prefix("2001:db8:0:1::1"));
        assert_eq!(prefix("2001:db8::1").site(), prefix("2001:db8:0:ffff::1").site());
        assert_ne!(prefix("2001:db8::1").site(), prefix("2001:db8:1::1").site());
        assert_eq!(prefix("192.0.2.1").site(), None);
    }
}
