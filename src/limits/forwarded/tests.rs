use super::*;

const PROXIES: [&str; 3] = ["10.0.0.0/8", "fd00::/8", "203.0.113.7/32"];

fn client(header: ForwardedHeader, peer: &str, lines: &[&str]) -> String {
    let networks = PROXIES.iter().map(|network| network.parse().unwrap()).collect();
    let proxies = TrustedProxies { networks, header };
    proxies.client(peer.parse().unwrap(), lines.iter().map(|line| line.as_bytes())).to_string()
}

#[test]
fn without_proxies_nothing_that_is_sent_counts() {
    let nobody = TrustedProxies::default();
    for lines in [&["192.0.2.1"][..], &["127.0.0.1"], &["198.51.100.1", "10.0.0.1"], &["", ","], &["\u{0}"]] {
        let client = nobody.client("198.51.100.9".parse().unwrap(), lines.iter().map(|line| line.as_bytes()));
        assert_eq!(client.to_string(), "198.51.100.9", "{lines:?}");
    }
}

/// Peer, lines of the header, for whom the request counts.
type Case = (&'static str, &'static [&'static str], &'static str);

/// What somebody may send who wants to count as somebody else, or as nobody. The attacker is 198.51.100.9.
const SPOOFS: [Case; 40] = [
    // Straight at the service, past the proxies.
    ("198.51.100.9", &["192.0.2.1"], "198.51.100.9"),
    ("198.51.100.9", &["127.0.0.1"], "198.51.100.9"),
    ("198.51.100.9", &["10.0.0.1"], "198.51.100.9"),
    ("198.51.100.9", &["192.0.2.1, 10.0.0.1"], "198.51.100.9"),
    ("198.51.100.9", &["192.0.2.1", "10.0.0.1"], "198.51.100.9"),
    ("::ffff:198.51.100.9", &["192.0.2.1"], "198.51.100.9"),
    ("2001:db8::9", &["192.0.2.1"], "2001:db8::9"),
    ("2001:db8::9", &["fd00::1"], "2001:db8::9"),
    ("198.51.100.9", &[""], "198.51.100.9"),
    ("198.51.100.9", &["unknown"], "198.51.100.9"),
    // Through one proxy, which appends.
    ("10.0.0.1", &["198.51.100.9"], "198.51.100.9"),
    ("10.0.0.1", &["192.0.2.1, 198.51.100.9"], "198.51.100.9"),
    ("10.0.0.1", &["192.0.2.1", "198.51.100.9"], "198.51.100.9"),
    ("10.0.0.1", &["10.0.0.2, 198.51.100.9"], "198.51.100.9"),
    ("10.0.0.1", &["127.0.0.1,198.51.100.9"], "198.51.100.9"),
    ("10.0.0.1", &["garbage, 198.51.100.9"], "198.51.100.9"),
    ("10.0.0.1", &["\"192.0.2.1, 198.51.100.9"], "198.51.100.9"),
    ("10.0.0.1", &[",,,,198.51.100.9"], "198.51.100.9"),
    ("10.0.0.1", &["192.0.2.1,198.51.100.9:443"], "198.51.100.9"),
    ("10.0.0.1", &["192.0.2.1, ::ffff:198.51.100.9"], "198.51.100.9"),
    ("::ffff:10.0.0.1", &["192.0.2.1, 198.51.100.9"], "198.51.100.9"),
    ("fd00::1", &["192.0.2.1, 2001:db8::9"], "2001:db8::9"),
    ("fd00::1", &["192.0.2.1, [2001:db8::9]:8443"], "2001:db8::9"),
    ("fd00::1", &["192.0.2.1, [2001:db8::9]"], "2001:db8::9"),
    // Through two proxies.
    ("10.0.0.1", &["198.51.100.9, 10.0.0.2"], "198.51.100.9"),
    ("10.0.0.1", &["192.0.2.1, 198.51.100.9, 10.0.0.2"], "198.51.100.9"),
    ("10.0.0.1", &["192.0.2.1, 198.51.100.9", "10.0.0.2"], "198.51.100.9"),
    ("10.0.0.1", &["10.9.9.9, 198.51.100.9, 203.0.113.7"], "198.51.100.9"),
    ("10.0.0.1", &["192.0.2.1, 198.51.100.9, fd00::2"], "198.51.100.9"),
    ("fd00::1", &["192.0.2.1, 198.51.100.9, ::ffff:10.0.0.2"], "198.51.100.9"),
    // What the proxies can't have meant: then the one that is connected counts.
    ("10.0.0.1", &["198.51.100.9, unknown"], "10.0.0.1"),
    ("10.0.0.1", &["198.51.100.9, _hidden"], "10.0.0.1"),
    ("10.0.0.1", &["192.0.2.1, 10.0.0.2,"], "10.0.0.1"),
    ("10.0.0.1", &["192.0.2.1 198.51.100.9"], "10.0.0.1"),
    ("10.0.0.1", &["192.0.2.256"], "10.0.0.1"),
    ("10.0.0.1", &["0300.0.2.1"], "10.0.0.1"),
    ("10.0.0.1", &["3221225985"], "10.0.0.1"),
    ("10.0.0.1", &["for=192.0.2.1"], "10.0.0.1"),
    ("10.0.0.1", &["2001:db8::9%eth0"], "10.0.0.1"),
    ("10.0.0.1", &["[192.0.2.1]"], "10.0.0.1"),
];

#[test]
fn no_spoof_counts_for_anybody_else() {
    for (peer, lines, expected) in SPOOFS {
        assert_eq!(client(ForwardedHeader::XForwardedFor, peer, lines), expected, "{peer} {lines:?}");
    }
}

#[test]
fn no_spoof_counts_for_anybody_else_in_the_standard_header() {
    for (peer, lines, expected) in [
        ("198.51.100.9", &["for=192.0.2.1"][..], "198.51.100.9"),
        ("10.0.0.1", &["for=192.0.2.1, for=198.51.100.9"], "198.51.100.9"),
        (
            "10.0.0.1",
            &["For=192.0.2.1;proto=http, proto=https; FOR=198.51.100.9 ;by=10.0.0.1"],
            "198.51.100.9",
        ),
        ("10.0.0.1", &["for=192.0.2.1", "for=\"198.51.100.9:1234\""], "198.51.100.9"),
        ("10.0.0.1", &["for=\"[2001:db8::9]:8443\""], "2001:db8::9"),
        ("10.0.0.1", &["for=\"[2001:db8::9]\", for=10.0.0.2"], "2001:db8::9"),
        ("10.0.0.1", &["for=192.0.2.1, for=unknown"], "10.0.0.1"),
        ("10.0.0.1", &["for=192.0.2.1, for=\"_secret\""], "10.0.0.1"),
        ("10.0.0.1", &["for=192.0.2.1, proto=https"], "10.0.0.1"),
        ("10.0.0.1", &["for=192.0.2.1;for=192.0.2.2"], "10.0.0.1"),
        ("10.0.0.1", &["for=\"192.0.2.1"], "10.0.0.1"),
        ("10.0.0.1", &["192.0.2.1"], "10.0.0.1"),
    ] {
        assert_eq!(client(ForwardedHeader::Forwarded, peer, lines), expected, "{peer} {lines:?}");
    }
}

#[test]
fn where_every_hop_is_trusted_the_first_counts() {
    assert_eq!(client(ForwardedHeader::XForwardedFor, "10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    assert_eq!(client(ForwardedHeader::XForwardedFor, "10.0.0.1", &[]), "10.0.0.1");
}

#[test]
fn a_list_without_end_is_not_believed() {
    let list = vec!["10.0.0.2"; 10_000].join(",");
    assert_eq!(client(ForwardedHeader::XForwardedFor, "10.0.0.1", &[&list]), "10.0.0.1");
    let lines = vec!["10.0.0.2"; 10_000];
    assert_eq!(client(ForwardedHeader::XForwardedFor, "10.0.0.1", &lines), "10.0.0.1");
}

#[test]
fn any_bytes_are_read_without_a_panic() {
    use proptest::prelude::*;
    let networks: Vec<IpNet> = PROXIES.iter().map(|network| network.parse().unwrap()).collect();
    proptest!(|(line in proptest::collection::vec(any::<u8>(), 0..64), standard: bool)| {
        let header = if standard { ForwardedHeader::Forwarded } else { ForwardedHeader::XForwardedFor };
        let proxies = TrustedProxies { networks: networks.clone(), header };
        let _any = proxies.client("10.0.0.1".parse().unwrap(), std::iter::once(line.as_slice()));
    });
}
