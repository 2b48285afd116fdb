//! What says where a request comes from, where one may go, and for how long an answer counts.

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

use ipnet::IpNet;
use signet::config::{ForwardedHeader, OutgoingConfig};
use signet::limits::{ClientAddress, TrustedProxies};
use signet::outgoing::{Reach, Unreachable};
use signet::verify::freshness;
use url::{Host, Url};

use super::{first_line, text};
use crate::service::{Request, with_service};

const PEER: &str = "10.0.0.1";

/// The first byte chooses the header; the rest is its lines. Whoever is found is the peer, or stands in the header and
/// has nothing behind it that is not a trusted proxy; a peer that is no proxy is believed nothing.
pub(crate) fn forwarded(data: &[u8]) {
    let Some((choice, lines)) = data.split_first() else { return };
    let header =
        if choice.is_multiple_of(2) { ForwardedHeader::XForwardedFor } else { ForwardedHeader::Forwarded };
    let networks: Vec<IpNet> =
        ["10.0.0.0/8", "2001:db8::/32"].map(|net| net.parse().expect("a network")).into();
    let proxies = TrustedProxies { networks: networks.clone(), header };
    let peer: IpAddr = PEER.parse().expect("an address");
    let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').collect();
    let found = proxies.client(peer, lines.iter().copied());
    let stranger: IpAddr = "192.0.2.9".parse().expect("an address");
    assert_eq!(proxies.client(stranger, lines.iter().copied()), ClientAddress::from(stranger));
    if found.ip() == peer {
        return;
    }
    // What the proxies wrote themselves stands at the end: it counts whatever a client put in front of it.
    let mut spoofed = vec![b"203.0.113.7, for=203.0.113.7".as_slice(), b"unknown", b"for=203.0.113.7"];
    spoofed.extend(&lines);
    let trusted = |address: IpAddr| networks.iter().any(|network| network.contains(&address));
    if !trusted(found.ip()) {
        assert_eq!(proxies.client(peer, spoofed.into_iter()), found, "a client chose its own address");
    }
    let all = lines.join(&b","[..]);
    let hops: Vec<&[u8]> = all.split(|byte| *byte == b',').collect();
    let at = hops.iter().rposition(|hop| addresses(hop, header).contains(&found.ip()));
    let at = at.unwrap_or_else(|| panic!("{found} stands in no hop"));
    for hop in &hops[at + 1..] {
        assert!(addresses(hop, header).into_iter().any(trusted), "{found} stands left of an untrusted hop");
    }
}

/// Every address that a hop could be said to name.
fn addresses(hop: &[u8], header: ForwardedHeader) -> Vec<IpAddr> {
    let Some(hop) = text(hop) else { return Vec::new() };
    let nodes: Vec<&str> = match header {
        ForwardedHeader::XForwardedFor => vec![hop],
        ForwardedHeader::Forwarded => hop
            .split(';')
            .filter_map(|pair| pair.split_once('='))
            .filter(|(name, _)| name.trim_matches([' ', '\t']).eq_ignore_ascii_case("for"))
            .map(|(_, value)| value)
            .collect(),
    };
    let read = |node: &str| {
        let node = node.trim_matches([' ', '\t', '"']);
        let bare = node.trim_start_matches('[').trim_end_matches(']');
        let address = bare.parse::<IpAddr>().ok();
        address.or_else(|| node.parse::<SocketAddr>().ok().map(|address| address.ip()))
    };
    nodes.into_iter().filter_map(read).map(|address| address.to_canonical()).collect()
}

/// `X-Request-Id` as a trusted proxy sends it, a line for each time. What is called by it is called so everywhere; all else has a name that
/// the service made.
pub(crate) fn request_id(data: &[u8]) {
    with_service(|service| {
        let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
        let mut request = Request::get(b"/oauth2/userinfo");
        for line in &lines {
            request = request.with("x-request-id", *line);
        }
        let Some(answer) = service.send(request) else { return };
        let called = answer.header("x-request-id").expect("a name");
        let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        match lines[..] {
            [given] if (1..=64).contains(&given.len()) && given.iter().all(plain) => {
                assert_eq!(called.as_bytes(), given);
            }
            _ => {
                assert!(
                    called.len() == 16 && called.bytes().all(|byte| byte.is_ascii_hexdigit()),
                    "{called}"
                );
                assert!(!lines.contains(&called.as_bytes()), "one of several, or what is no name");
            }
        }
    });
}

static NOWHERE_LISTED: LazyLock<Reach> = LazyLock::new(|| reach(&[]));
static LOOPBACK_LISTED: LazyLock<Reach> = LazyLock::new(|| reach(&["127.0.0.1/32"]));

fn reach(networks: &[&str]) -> Reach {
    Reach::new(&OutgoingConfig {
        allowed_networks: networks.iter().map(|network| network.parse().expect("a network")).collect(),
        ca_bundle: None,
        timeout: Duration::from_secs(1),
    })
}

/// A URL that a client wants called. Without a list it is https, and no address in it is private by the standard
/// library's judgement; a list opens no more than what is on it.
pub(crate) fn outgoing_url(data: &[u8]) {
    let Some(url) = text(data).and_then(|text| Url::parse(text).ok()) else { return };
    let open = NOWHERE_LISTED.check_url(&url);
    if open.is_ok() {
        assert_eq!(url.scheme(), "https");
        assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
        match url.host().expect("a host") {
            Host::Domain(_) => {}
            Host::Ipv4(address) => assert!(is_public_v4(address), "{address} was open"),
            Host::Ipv6(address) => {
                let within = address.to_ipv4().or_else(|| nat64(address));
                assert!(within.is_none_or(is_public_v4), "{address} was open");
                assert!(!address.is_loopback() && !address.is_unspecified() && !address.is_multicast());
                assert!(!address.is_unique_local() && !address.is_unicast_link_local());
            }
        }
    }
    match (open, LOOPBACK_LISTED.check_url(&url)) {
        (Ok(()), listed) => assert_eq!(listed, Ok(()), "a list closes nothing"),
        (Err(_), Err(_)) => {}
        (Err(refused), Ok(())) => {
            assert!(matches!(refused, Unreachable::Scheme | Unreachable::Address(_)), "{url}: {refused}");
            assert!(matches!(url.host_str(), Some("127.0.0.1" | "localhost")), "{url} is not on the list");
        }
    }
}

fn is_public_v4(address: std::net::Ipv4Addr) -> bool {
    let special = address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_unspecified();
    !special
}

fn nat64(address: std::net::Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    let octets = address.octets();
    let bytes: [u8; 4] = octets[12..].try_into().ok()?;
    (octets[..4] == [0, 0x64, 0xff, 0x9b]).then(|| bytes.into())
}

/// `Cache-Control`, and `Age` on the line behind it. What may not be kept is not, and time on the way counts.
pub(crate) fn cache_control(data: &[u8]) {
    let (directives, age) = first_line(data);
    let (Some(directives), Some(age)) = (text(directives), text(age)) else { return };
    let fresh = freshness(directives, None);
    let lower = directives.to_ascii_lowercase();
    let names = || lower.split(',').map(|each| each.split('=').next().unwrap_or_default().trim());
    if names().any(|name| matches!(name, "no-store" | "no-cache")) {
        assert_eq!(fresh, Some(Duration::ZERO));
    }
    if fresh.is_some_and(|fresh| !fresh.is_zero()) {
        assert!(names().any(|name| name == "max-age"), "nobody said for how long");
    }
    let aged = freshness(directives, Some(age));
    assert!(aged <= fresh && aged.is_some() == fresh.is_some(), "age makes nothing fresher");
    if let (Ok(seconds), Some(fresh)) = (age.trim().parse::<u32>(), fresh)
        && age.trim().bytes().all(|byte| byte.is_ascii_digit())
    {
        assert_eq!(aged, Some(fresh.saturating_sub(Duration::from_secs(seconds.into()))));
    }
}
