use super::*;

const DOCUMENT: &str = include_str!("../../../docs/observability.md");
const ROUTES: &[&str] = &["/oauth2/token", "/jwks.json"];

#[test]
fn what_is_counted_is_rendered() {
    let metrics = Metrics::new(ROUTES, "n");
    metrics.request("/oauth2/token", 200);
    metrics.took("/oauth2/token", Duration::from_millis(2));
    metrics.request("/oauth2/token", 200);
    metrics.took("/oauth2/token", Duration::from_millis(2));
    metrics.token_issued("client_credentials", Algorithm::EdDSA);
    metrics.token_refused("client_credentials", ErrorCode::InvalidScope);
    metrics.revocations.increment(3);
    metrics.keys(KeyPhase::Signing, 2);
    metrics.key_next_ready.set(1);
    metrics.store_flushes.absolute(7);
    metrics.store_call(StoreCall::Commit, Duration::from_millis(3));
    metrics.rate_limited("apikey", 5);
    metrics.logouts("given_up", 6);
    metrics.logouts_waiting.set(8);
    metrics.replays("refresh_token", 9);
    let text = metrics.render();
    for line in [
        "signet_http_requests_total{route=\"/oauth2/token\",status=\"200\"} 2",
        "signet_http_request_seconds_count{route=\"/oauth2/token\"} 2",
        "signet_tokens_issued_total{grant=\"client_credentials\",alg=\"EdDSA\"} 1",
        "signet_token_errors_total{grant=\"client_credentials\",error=\"invalid_scope\"} 1",
        "signet_revocations_total 3",
        "signet_ratelimited_total{policy=\"apikey\"} 5",
        "signet_backchannel_logouts_total{outcome=\"given_up\"} 6",
        "signet_backchannel_logouts_waiting 8",
        "signet_replays_total{what=\"code\"} 0",
        "signet_replays_total{what=\"refresh_token\"} 9",
        "signet_keys{phase=\"signing\"} 2",
        "signet_keys{phase=\"retired\"} 0",
        "signet_key_next_ready 1",
        "signet_store_flushes_total 7",
        "signet_store_seconds_bucket{op=\"commit\",le=\"0.0025\"} 0",
        "signet_store_seconds_bucket{op=\"commit\",le=\"0.005\"} 1",
        "signet_audit_failures_total 0",
        concat!("signet_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\",node=\"n\"} 1"),
    ] {
        assert!(text.lines().any(|each| each == line), "{line}\n{text}");
    }
}

#[test]
fn nothing_from_outside_becomes_a_label() {
    let metrics = Metrics::new(ROUTES, "n");
    for number in 0..1000u16 {
        let junk = format!("evil{number}\"}}\n");
        metrics.request(&junk, 600 + number);
        metrics.took(&junk, Duration::ZERO);
        metrics.token_issued(&junk, Algorithm::ES256);
        metrics.token_refused(&junk, ErrorCode::InvalidRequest);
    }
    let text = metrics.render();
    assert!(!text.contains("evil"));
    assert!(text.contains("signet_http_requests_total{route=\"other\",status=\"other\"} 1000"));
    let series = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!(series("signet_tokens_issued_total"), 1);
}

#[test]
fn two_services_count_apart() {
    let (one, other) = (Metrics::new(ROUTES, "n"), Metrics::new(ROUTES, "n"));
    one.revocations.increment(1);
    assert!(one.render().contains("signet_revocations_total 1"));
    assert!(other.render().contains("signet_revocations_total 0"));
}

#[test]
fn every_algorithm_has_its_label() {
    assert_eq!(ALGORITHMS, Algorithm::ALL.map(Algorithm::as_str));
}

#[test]
fn every_metric_says_what_it_is_and_is_documented() {
    let metrics = Metrics::new(ROUTES, "n");
    metrics.request("/jwks.json", 304);
    metrics.took("/jwks.json", Duration::ZERO);
    metrics.token_issued("client_credentials", Algorithm::ES256);
    metrics.token_refused("client_credentials", ErrorCode::InvalidScope);
    metrics.store_call(StoreCall::Get, Duration::ZERO);
    let text = metrics.render();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().unwrap();
        let name = ["_bucket", "_sum", "_count"].iter().fold(name, |n, end| n.trim_end_matches(end));
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
        assert!(DOCUMENT.contains(&format!("| `{name}` |")), "docs/observability.md lacks {name}");
    }
}
