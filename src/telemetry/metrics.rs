use std::fmt;
use std::time::Duration;

use metrics::{Counter, Gauge, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::family::Family;
use super::latency::Latency;
use super::store_call::StoreCall;
use crate::oauth::{Algorithm, ErrorCode};

static METADATA: Metadata<'static> = Metadata::new("signet", Level::INFO, Some(module_path!()));

/// The metrics of one running service, for Prometheus.
///
/// Not installed globally: two services in one process count apart. Counters are registered once and held
/// here, so counting looks nothing up. Label values come from closed lists; anything else counts as `other`.
///
/// ```
/// use signet::telemetry::Metrics;
///
/// let metrics = Metrics::new(&["/oauth2/token"], "node-1");
/// metrics.request("/oauth2/token", 200);
/// assert!(metrics.render().contains("signet_http_requests_total{route=\"/oauth2/token\",status=\"200\"} 1"));
/// ```
pub struct Metrics {
    handle: PrometheusHandle,
    requests: Family,
    latency: Latency,
    store_calls: Latency,
    tokens: Family,
    token_errors: Family,
    keys: [Gauge; KeyPhase::ALL.len()],
    rate_limited: [Counter; POLICIES.len()],
    logouts: [Counter; LOGOUTS.len()],
    replays: [Counter; REPLAYS.len()],
    cut_off: [Counter; CUT_OFF.len()],
    /// Logout tokens that wait to be taken by their clients.
    pub logouts_waiting: Gauge,
    /// Revocations that were accepted.
    pub revocations: Counter,
    /// Tokens that stand revoked in the status lists.
    pub status_list_entries: Gauge,
    /// 1 while every algorithm has a key that is published and waits, else 0.
    pub key_next_ready: Gauge,
    /// Rotations that were due and failed.
    pub key_rotation_failures: Counter,
    /// The version of the key ring in use: nodes must agree on it.
    pub key_ring_version: Gauge,
    /// Connections to the store's database that are in use.
    pub store_connections: Gauge,
    /// Calls that wait for one.
    pub store_waiting: Gauge,
    /// Commits that were given up and that the store's database has neither done nor undone.
    pub store_unanswered: Gauge,
    /// Calls to the store's database that failed. Set it by `absolute`.
    pub store_failures: Counter,
    /// How long ago this node last knew everything that was committed, in seconds.
    pub mirror_age: Gauge,
    /// How many nodes there are.
    pub nodes: Gauge,
    /// How many rows of all nodes were taken in. Set it by `absolute`.
    pub mirror_rows: Counter,
    /// By how much this node's clock is ahead of the store's, in seconds.
    pub clock_offset: Gauge,
    /// Flushes of the store to disk. Set it by `absolute`.
    pub store_flushes: Counter,
    /// What is free on the store's disk, in bytes.
    pub disk_free: Gauge,
    /// How large the store's disk is, in bytes.
    pub disk_size: Gauge,
    /// Flushes of the audit log to disk. Set it by `absolute`.
    pub audit_flushes: Counter,
    /// Events that could not be recorded. Set it by `absolute`.
    pub audit_failures: Counter,
    /// The number of the last audit entry.
    pub audit_head_seq: Gauge,
    /// When the public listener's certificate ends, in seconds since the epoch; 0 without TLS.
    pub tls_not_after: Gauge,
    /// Changed files of the certificate that could not be used. Set it by `absolute`.
    pub tls_reload_failures: Counter,
}

/// The phases that keys are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPhase {
    /// Made, not yet published.
    Pending,
    /// Published and waiting.
    Published,
    /// Signing.
    Signing,
    /// Published, no longer signing.
    Retired,
    /// Declared compromised.
    Compromised,
}

impl KeyPhase {
    /// Every phase.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Published, Self::Signing, Self::Retired, Self::Compromised];

    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Published => "published",
            Self::Signing => "signing",
            Self::Retired => "retired",
            Self::Compromised => "compromised",
        }
    }
}

const STATUSES: [(u16, &str); 19] = [
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (302, "302"),
    (303, "303"),
    (304, "304"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (409, "409"),
    (413, "413"),
    (415, "415"),
    (429, "429"),
    (500, "500"),
    (503, "503"),
    (504, "504"),
];
const STATUS_NAMES: &[&str] = &const {
    let mut names = [""; STATUSES.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = STATUSES[i].1;
        i += 1;
    }
    names
};
const GRANTS: &[&str] = &[
    "client_credentials",
    "authorization_code",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:token-exchange",
];
const ALGORITHMS: &[&str] = &["ES256", "ES384", "EdDSA", "RS256", "PS256"];
const POLICIES: [&str; 10] = [
    "token_per_client",
    "token_per_address",
    "revocation_per_client",
    "refused_per_address",
    "authorize_per_address",
    "login_per_address",
    "login_per_account",
    "registration_per_address",
    "acts_per_person",
    "apikey",
];
const LOGOUTS: [&str; 5] = ["delivered", "postponed", "refused", "given_up", "dropped"];
const REPLAYS: [&str; 2] = ["code", "refresh_token"];
const CUT_OFF: [&str; 4] = ["new", "handshake", "line", "unread"];
const ERRORS: &[&str] = &[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "server_error",
    "temporarily_unavailable",
];

const REQUESTS: (&str, &str) = ("signet_http_requests_total", "Answered requests, by route and status.");
const REQUEST_SECONDS: (&str, &str) = ("signet_http_request_seconds", "How long requests took, by route.");
const STORE_SECONDS: (&str, &str) =
    ("signet_store_seconds", "How long calls to the store took, by operation.");
const TOKENS: (&str, &str) = ("signet_tokens_issued_total", "Issued access tokens, by grant and algorithm.");
const TOKEN_ERRORS: (&str, &str) =
    ("signet_token_errors_total", "Refused token requests, by grant and error.");

impl Metrics {
    /// Metrics of a node that count requests by these routes: templates such as `/admin/keys/{kid}`, never paths.
    #[must_use]
    pub fn new(routes: &'static [&'static str], node: &str) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        describe(&recorder);
        let counter = |name: &'static str| recorder.register_counter(&Key::from_static_name(name), &METADATA);
        let gauge = |name: &'static str| recorder.register_gauge(&Key::from_static_name(name), &METADATA);
        let build = Key::from_parts(
            "signet_build_info",
            vec![
                Label::from_static_parts("version", env!("CARGO_PKG_VERSION")),
                Label::new("node", node.to_owned()),
            ],
        );
        recorder.register_gauge(&build, &METADATA).set(1);
        Self {
            handle: recorder.handle(),
            requests: Family::new(REQUESTS, ["route", "status"], routes, STATUS_NAMES),
            latency: Latency::new(REQUEST_SECONDS, "route", routes),
            store_calls: Latency::new(STORE_SECONDS, "op", &StoreCall::NAMES),
            tokens: Family::new(TOKENS, ["grant", "alg"], GRANTS, ALGORITHMS),
            token_errors: Family::new(TOKEN_ERRORS, ["grant", "error"], GRANTS, ERRORS),
            keys: KeyPhase::ALL.map(|phase| {
                let label = Label::from_static_parts("phase", phase.as_str());
                recorder.register_gauge(&Key::from_parts("signet_keys", vec![label]), &METADATA)
            }),
            rate_limited: POLICIES.map(|policy| {
                let label = Label::from_static_parts("policy", policy);
                recorder
                    .register_counter(&Key::from_parts("signet_ratelimited_total", vec![label]), &METADATA)
            }),
            logouts: LOGOUTS.map(|outcome| {
                let label = Label::from_static_parts("outcome", outcome);
                let key = Key::from_parts("signet_backchannel_logouts_total", vec![label]);
                recorder.register_counter(&key, &METADATA)
            }),
            replays: REPLAYS.map(|what| {
                let label = Label::from_static_parts("what", what);
                recorder.register_counter(&Key::from_parts("signet_replays_total", vec![label]), &METADATA)
            }),
            cut_off: CUT_OFF.map(|reason| {
                let label = Label::from_static_parts("reason", reason);
                let key = Key::from_parts("signet_http_connections_cut_off_total", vec![label]);
                recorder.register_counter(&key, &METADATA)
            }),
            logouts_waiting: gauge("signet_backchannel_logouts_waiting"),
            revocations: counter("signet_revocations_total"),
            status_list_entries: gauge("signet_status_list_entries"),
            key_next_ready: gauge("signet_key_next_ready"),
            key_rotation_failures: counter("signet_key_rotation_failures_total"),
            key_ring_version: gauge("signet_key_ring_version"),
            store_connections: gauge("signet_store_connections_in_use"),
            store_waiting: gauge("signet_store_calls_waiting"),
            store_unanswered: gauge("signet_store_commits_unanswered"),
            store_failures: counter("signet_store_failures_total"),
            mirror_age: gauge("signet_mirror_age_seconds"),
            nodes: gauge("signet_nodes"),
            mirror_rows: counter("signet_mirror_rows_total"),
            clock_offset: gauge("signet_clock_offset_seconds"),
            store_flushes: counter("signet_store_flushes_total"),
            disk_free: gauge("signet_disk_free_bytes"),
            disk_size: gauge("signet_disk_size_bytes"),
            audit_flushes: counter("signet_audit_flushes_total"),
            audit_failures: counter("signet_audit_failures_total"),
            audit_head_seq: gauge("signet_audit_head_seq"),
            tls_not_after: gauge("signet_tls_certificate_not_after_seconds"),
            tls_reload_failures: counter("signet_tls_reload_failures_total"),
        }
    }

    /// Counts an answered request. `route` is one of those given to [`Metrics::new`].
    pub fn request(&self, route: &str, status: u16) {
        let name = STATUSES.iter().find(|(code, _)| *code == status).map_or("other", |(_, name)| name);
        self.requests.increment(route, name);
    }

    /// Adds how long an answered request took.
    pub fn took(&self, route: &str, elapsed: Duration) {
        self.latency.record(route, elapsed);
    }

    /// Counts an issued access token; `grant` is the grant type as the request names it.
    pub fn token_issued(&self, grant: &str, algorithm: Algorithm) {
        self.tokens.increment(grant, algorithm.as_str());
    }

    /// Counts a refused token request; `grant` is the grant type as the request names it, if it does.
    pub fn token_refused(&self, grant: &str, error: ErrorCode) {
        self.token_errors.increment(grant, error.as_str());
    }

    /// Says how many requests the limit called `policy` has refused by now.
    pub fn rate_limited(&self, policy: &str, count: u64) {
        for (counter, each) in self.rate_limited.iter().zip(POLICIES) {
            if each == policy {
                counter.absolute(count);
            }
        }
    }

    /// Says how many logout tokens had this outcome by now.
    pub fn logouts(&self, outcome: &str, count: u64) {
        for (counter, each) in self.logouts.iter().zip(LOGOUTS) {
            if each == outcome {
                counter.absolute(count);
            }
        }
    }

    /// Counts a connection that was closed because it waited for too long: to begin (`new`), with a request that stood behind another
    /// (`line`), or for answers to be read (`unread`).
    pub fn connection_cut_off(&self, reason: &str) {
        for (counter, each) in self.cut_off.iter().zip(CUT_OFF) {
            if each == reason {
                counter.increment(1);
            }
        }
    }

    /// Says how often `what` was presented again by now.
    pub fn replays(&self, what: &str, count: u64) {
        for (counter, each) in self.replays.iter().zip(REPLAYS) {
            if each == what {
                counter.absolute(count);
            }
        }
    }

    /// A call to the store took so long.
    pub fn store_call(&self, call: StoreCall, elapsed: Duration) {
        self.store_calls.record(call.as_str(), elapsed);
    }

    /// Says how many keys are in `phase` now.
    pub fn keys(&self, phase: KeyPhase, count: u32) {
        for (gauge, each) in self.keys.iter().zip(KeyPhase::ALL) {
            if each == phase {
                gauge.set(count);
            }
        }
    }

    /// All metrics in Prometheus' text format: serve it as `text/plain; version=0.0.4`.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        for family in [&self.requests, &self.tokens, &self.token_errors] {
            family.render(&mut text);
        }
        self.latency.render(&mut text);
        self.store_calls.render(&mut text);
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn describe(recorder: &PrometheusRecorder) {
    for (name, help) in [
        ("signet_ratelimited_total", "Requests that went beyond a limit, by its policy."),
        ("signet_backchannel_logouts_total", "Logout tokens, by what became of them."),
        ("signet_replays_total", "Spent codes and refresh tokens that were presented again."),
        (
            "signet_http_connections_cut_off_total",
            "Connections that were closed because they waited for too long: new, in line, or with answers left unread.",
        ),
        ("signet_revocations_total", "Accepted revocations."),
        ("signet_key_rotation_failures_total", "Rotations that were due and failed."),
        ("signet_mirror_rows_total", "Changed rows of all nodes that were taken into memory."),
        ("signet_store_flushes_total", "Flushes of the store to disk."),
        ("signet_store_failures_total", "Calls to the store's database that failed."),
        ("signet_audit_flushes_total", "Flushes of the audit log to disk."),
        ("signet_audit_failures_total", "Events that could not be recorded."),
        ("signet_tls_reload_failures_total", "Looks at changed files of the certificate that can't be used."),
    ] {
        recorder.describe_counter(name.into(), None, help.into());
    }
    for (name, help) in [
        ("signet_keys", "Keys, by phase."),
        ("signet_backchannel_logouts_waiting", "Logout tokens that wait to be taken by their clients."),
        ("signet_key_next_ready", "1 while every algorithm has a published key that waits."),
        ("signet_key_ring_version", "Version of the key ring in use."),
        ("signet_store_connections_in_use", "Connections to the store's database that are in use."),
        ("signet_store_calls_waiting", "Calls that wait for a connection to the store's database."),
        (
            "signet_store_commits_unanswered",
            "Commits that were given up and that the database has not let go of.",
        ),
        ("signet_nodes", "Nodes that share the store, as this one last counted."),
        ("signet_mirror_age_seconds", "How long ago this node last knew everything that was committed."),
        ("signet_clock_offset_seconds", "By how much this node's clock is ahead of the store's."),
        ("signet_status_list_entries", "Tokens that stand revoked in the status lists."),
        ("signet_disk_free_bytes", "What is free on the store's disk."),
        ("signet_disk_size_bytes", "How large the store's disk is."),
        ("signet_audit_head_seq", "Number of the last audit entry."),
        (
            "signet_tls_certificate_not_after_seconds",
            "When the public listener's certificate ends; 0 without TLS.",
        ),
        ("signet_build_info", "1, labelled with the version and the node."),
    ] {
        recorder.describe_gauge(name.into(), None, help.into());
    }
}

#[cfg(test)]
mod tests;
