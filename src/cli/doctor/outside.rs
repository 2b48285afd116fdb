use std::time::Duration;

use chrono::DateTime;
use serde_json::Value;
use url::Url;

use super::Finding;
use crate::cli::CliError;
use crate::cli::http::{Answer, Http, reachable};
use crate::cli::print::plain;
use crate::clock::Clock;
use crate::config::Config;
use crate::oauth::{Algorithm, JwkSet, ServerMetadata};

/// A clock that is off by more is worth a word; `Date` headers are whole seconds.
const NOTABLE_SKEW: Duration = Duration::from_secs(5);

/// What clients and verifiers see. What can't be asked because something before it failed is left out.
pub(super) fn findings(config: &Config, http: &Http, clock: &dyn Clock) -> Vec<Finding> {
    let mut findings = Vec::new();
    let readiness = ask_readiness(config, http);
    let health = readiness.as_ref().ok().and_then(|answer| serde_json::from_str(&answer.body).ok());
    let health: Value = health.unwrap_or_default();
    match metadata(config, http) {
        Err(finding) => findings.push(finding),
        Ok((metadata, answer)) => {
            findings.push(issuer(config, &metadata));
            findings.push(clock_skew(config, &answer, clock));
            match http.get(&metadata.jwks_uri) {
                Ok(answer) => {
                    findings.push(keys(config, &answer, &health));
                    findings.push(cache_control(config, &answer));
                }
                Err(error) => findings.push(Finding::fail("keys", error.to_string(), "look at jwks_uri")),
            }
        }
    }
    findings.push(ready_or_not(readiness));
    findings.extend(kept_keys(&health));
    findings.extend(algorithms(&health));
    findings.extend(parting_resources(config, &health));
    findings
}

fn metadata(config: &Config, http: &Http) -> Result<(ServerMetadata, Answer), Finding> {
    let remedy = "start the service, or see to it that the issuer leads to it from here too";
    let url = metadata_url(&config.issuer);
    let answer = http.get(&url).map_err(|error| Finding::fail("issuer", error.to_string(), remedy))?;
    if answer.status != 200 {
        return Err(Finding::fail("issuer", format!("{url} answers {}", answer.status), remedy));
    }
    match serde_json::from_str(&answer.body) {
        Ok(metadata) => Ok((metadata, answer)),
        Err(error) => Err(Finding::fail("issuer", format!("{url} is no metadata: {error}"), remedy)),
    }
}

/// The well-known part goes between host and path (RFC 8414, section 3.1).
fn metadata_url(issuer: &str) -> String {
    let path = Url::parse(issuer).map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default();
    let origin = issuer.strip_suffix(path.as_str()).unwrap_or(issuer);
    format!("{origin}/.well-known/oauth-authorization-server{path}")
}

fn issuer(config: &Config, metadata: &ServerMetadata) -> Finding {
    if metadata.issuer == config.issuer {
        return Finding::ok("issuer", format!("{} answers for itself", config.issuer));
    }
    Finding::fail(
        "issuer",
        format!("{} calls itself {:?}: no token will verify", config.issuer, metadata.issuer),
        "give the service and this command the same issuer",
    )
}

fn clock_skew(config: &Config, answer: &Answer, clock: &dyn Clock) -> Finding {
    let date = answer.date.as_deref().and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let Some(date) = date else {
        return Finding::warn("clock", "the service tells no time", "let the proxy pass the Date header on");
    };
    let skew = Duration::from_secs((clock.numeric_date() - date.timestamp()).unsigned_abs());
    let what = format!("{} s between this machine and the service", skew.as_secs());
    if skew > config.keys.clock_skew {
        Finding::fail("clock", what, "set the clocks by NTP; keys.clock_skew allows no more")
    } else if skew > NOTABLE_SKEW {
        Finding::warn("clock", what, "set the clocks by NTP")
    } else {
        Finding::ok("clock", what)
    }
}

/// Of each algorithm there must be a key that signs and one that waits; of one that was added, one that waits. The key set does not
/// say which is which, and holds retired ones too: that only the service knows, of whose `health` nothing is known on another machine.
fn keys(config: &Config, answer: &Answer, health: &Value) -> Finding {
    let Ok(set) = serde_json::from_str::<JwkSet>(&answer.body) else {
        let what = format!("the key set can't be read (status {})", answer.status);
        return Finding::fail("keys", what, "look at jwks_uri");
    };
    let published = |algorithm| set.keys.iter().filter(|key| key.alg == algorithm).count();
    let waits = |algorithm: &Algorithm| waiting(health).any(|(name, _)| name == algorithm.as_str());
    let lacking: Vec<String> = config
        .keys
        .algorithms
        .iter()
        .filter(|algorithm| published(**algorithm) < if waits(algorithm) { 1 } else { 2 })
        .map(|algorithm| format!("{algorithm} has {}", published(*algorithm)))
        .collect();
    let remedy = "see what `signet keys list` and the service's log say of the rotation";
    if !lacking.is_empty() {
        let lacking = lacking.join(", ");
        let what = format!("an algorithm needs a key that signs and one that waits, but {lacking}");
        return Finding::fail("keys", what, remedy);
    }
    let published = set.keys.len();
    match (health["keys"].as_str(), health["next_key"].as_str()) {
        // While it is ready it signs, and only the next key is missing.
        (Some("failing"), _) if health["ready"] != true => {
            Finding::fail("keys", "the service can't read its keys, and signs nothing", remedy)
        }
        (Some("ok"), Some("missing")) => {
            // The next one is made within seconds, or the next answer is amber.
            Finding::warn(
                "keys",
                format!("{published} published, and a rotation just now"),
                "ask again in a minute",
            )
        }
        (_, Some("missing")) => {
            let what = format!("{published} published, none of which waits for the next rotation");
            Finding::fail("keys", what, remedy)
        }
        (Some("amber"), _) => {
            let what = "the last attempt to read or change them failed; the service goes on with what it has";
            Finding::warn("keys", what, remedy)
        }
        (_, Some("ok")) => {
            Finding::ok("keys", format!("{published} published, a next one for each algorithm"))
        }
        _ => Finding::ok("keys", format!("{published} published; whether one waits only the service says")),
    }
}

/// The algorithms that no key signs with yet, and from when.
fn waiting(health: &Value) -> impl Iterator<Item = (&str, &str)> {
    let waiting = health["waiting"].as_array().map(Vec::as_slice).unwrap_or_default();
    waiting.iter().filter_map(|each| {
        let soon = "when its first key is made and every verifier knows it";
        Some((each["algorithm"].as_str()?, each["sign_from"].as_str().unwrap_or(soon)))
    })
}

/// What was added to the settings and signs later by itself, and which clients want what was taken away.
fn algorithms(health: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let waiting: Vec<String> =
        waiting(health).map(|(algorithm, date)| format!("{algorithm} signs from {date}")).collect();
    if !waiting.is_empty() {
        findings.push(Finding::warn(
            "algorithms",
            format!("verifiers have yet to learn of a key: {}; others sign until then", waiting.join(", ")),
            "nothing is to be done",
        ));
    }
    let stranded = &health["stranded_clients"];
    let count = stranded["count"].as_u64().unwrap_or_default();
    if count > 0 {
        let first = stranded["first"].as_array().map(Vec::as_slice).unwrap_or_default();
        let first: Vec<&str> = first.iter().filter_map(Value::as_str).collect();
        findings.push(Finding::warn(
            "clients",
            format!("{count} registered for an algorithm that is not in use: {}", first.join(", ")),
            "change access_token_signing_alg or id_token_signed_response_alg of these clients, or add the algorithm to keys.algorithms",
        ));
    }
    findings
}

/// The resources that share tokens now and will not when every algorithm signs: one token has one signature, so whoever asks for
/// several of them at once is refused from that moment on (`invalid_target`).
fn parting_resources(config: &Config, health: &Value) -> Option<Finding> {
    let waits = |algorithm: &Algorithm| waiting(health).any(|(name, _)| name == algorithm.as_str());
    let in_use = &config.keys.algorithms;
    let first = in_use.iter().copied().find(|algorithm| !waits(algorithm));
    let now = |own: Option<Algorithm>| own.filter(|algorithm| !waits(algorithm)).or(first);
    let then = |own: Option<Algorithm>| own.or(in_use.first().copied());
    let users = config.users_resource();
    let named = config.resources.iter().map(|resource| (resource.uri.as_str(), resource.algorithm));
    let resources: Vec<_> = named.chain([(users.as_str(), None)]).collect();
    let parts = |own| resources.iter().any(|(_, other)| now(own) == now(*other) && then(own) != then(*other));
    let parting: Vec<&str> = resources.iter().filter(|(_, own)| parts(*own)).map(|(uri, _)| *uri).collect();
    (!parting.is_empty()).then(|| {
        Finding::warn(
            "resources",
            format!("no token is for several of these any more once the algorithm that waits signs: {}", parting.join(", ")),
            "give the clients that ask for several of them at once an access_token_signing_alg, or the resources the same algorithm",
        )
    })
}

/// Verifiers must not keep the key set longer than the key schedule reckons with.
fn cache_control(config: &Config, answer: &Answer) -> Finding {
    let directive = |name: &str| {
        let header = answer.cache_control.as_deref().unwrap_or_default();
        header.split(',').find_map(|each| each.trim().strip_prefix(name)?.parse::<u64>().ok())
    };
    let longest = directive("max-age=").into_iter().chain(directive("s-maxage=")).max();
    let allowed = config.keys.jwks_max_age.as_secs();
    match longest {
        None => Finding::warn(
            "caching",
            "the key set does not say for how long it may be kept",
            "let the proxy pass the Cache-Control header on",
        ),
        Some(longest) if longest > allowed => Finding::fail(
            "caching",
            format!("the key set may be kept for {longest} s, the key schedule reckons with {allowed} s"),
            "let the proxy leave the Cache-Control header as it is",
        ),
        Some(longest) => Finding::ok("caching", format!("the key set may be kept for {longest} s")),
    }
}

/// What the service that runs on this machine says of itself, if it is ready.
///
/// # Errors
/// When it is not, or does not answer.
pub(in crate::cli) fn ready(config: &Config, http: &Http) -> Result<Value, CliError> {
    let answer = ask_readiness(config, http).map_err(|error| {
        let remedy =
            "is it running, on this machine and with this management_listen? `signet serve` starts it";
        CliError::Failed(format!("{error}; {remedy}"))
    })?;
    match (answer.status, serde_json::from_str(&answer.body)) {
        (200, Ok(health)) => Ok(health),
        (status, _) => Err(CliError::Failed(format!("not ready ({status}): {}", plain(answer.body.trim())))),
    }
}

fn ask_readiness(config: &Config, http: &Http) -> Result<Answer, CliError> {
    http.get(&format!("http://{}/health/ready", reachable(config.management_listen)))
}

fn ready_or_not(asked: Result<Answer, CliError>) -> Finding {
    match asked {
        Err(error) => Finding::fail("ready", error.to_string(), "run this on the machine of the service"),
        Ok(Answer { status: 200, .. }) => Finding::ok("ready", "the service says it is ready"),
        Ok(answer) => Finding::fail(
            "ready",
            format!("the service says it is not ready ({}): {}", answer.status, answer.body.trim()),
            "see its log",
        ),
    }
}

/// What the running service says of its key files: which of them it needs, only its key ring knows.
fn kept_keys(health: &Value) -> Option<Finding> {
    Some(match health["key_files"].as_str()? {
        "ok" => Finding::ok("kept keys", "the service finds the file of every key that signs or waits"),
        _ => Finding::fail(
            "kept keys",
            "the file of a key that signs or waits is missing: the service goes on until it is stopped, and does not start again",
            "restore keys.dir from a backup, or rotate the keys twice before the service is stopped",
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Level;
    use super::*;
    use crate::cli::fake::{Reply, Service};
    use crate::clock::ManualClock;

    const KEY_PAIR: &str = r#"{"keys": [
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "a", "alg": "ES256", "use": "sig"},
        {"kty": "EC", "crv": "P-256", "x": "AB", "y": "AA", "kid": "b", "alg": "ES256", "use": "sig"}]}"#;
    /// 1994-11-06 08:49:37.
    const NOW: i64 = 784_111_777;
    const DATE: &str = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

    #[derive(Clone, Copy)]
    struct World {
        issuer: &'static str,
        keys: &'static str,
        caching: &'static str,
        ready: u16,
        health: &'static str,
    }

    const SOUND: World = World {
        issuer: "",
        keys: KEY_PAIR,
        caching: "public, max-age=300",
        ready: 200,
        health: r#"{"keys": "ok", "next_key": "ok"}"#,
    };

    /// What is found at a service like `world` when this machine's clock is ahead by `skew` seconds.
    fn findings_at(world: World, skew: i64) -> Vec<Finding> {
        let url = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
        let own = std::sync::Arc::clone(&url);
        let service = Service::answering(move |line| {
            let url = own.get().unwrap();
            let body: String = if line.contains("/.well-known/oauth-authorization-server ") {
                let issuer = if world.issuer.is_empty() { url } else { world.issuer };
                format!(
                    r#"{{"issuer": "{issuer}", "token_endpoint": "{url}/oauth2/token", "jwks_uri": "{url}/jwks", "response_types_supported": []}}"#
                )
            } else if line.contains("/jwks ") {
                world.keys.into()
            } else {
                return Some(Reply::json(world.ready, world.health));
            };
            let headers = format!("{DATE}Cache-Control: {}\r\n", world.caching);
            Some(Reply { status: 200, headers, body: body.leak() })
        });
        url.set(service.url.clone()).unwrap();
        let mut config = Config::for_tests(Path::new("unused"));
        config.management_listen = service.url.strip_prefix("http://").unwrap().parse().unwrap();
        config.issuer = service.url;
        let clock = ManualClock::at(NOW + skew);
        let http = Http::new(None).unwrap();
        findings(&config, &http, &clock)
    }

    fn found(world: World, skew: i64) -> Vec<(Level, &'static str)> {
        findings_at(world, skew).into_iter().map(|finding| (finding.level, finding.name)).collect()
    }

    fn wrong(world: World, skew: i64) -> Vec<(Level, &'static str)> {
        found(world, skew).into_iter().filter(|(level, _)| *level != Level::Ok).collect()
    }

    /// Whoever answers in the place of the service, or before it.
    #[test]
    fn whatever_is_answered_is_told_of_in_plain_words() {
        let odd = [
            "",
            "null",
            "[]",
            "{",
            "\u{1b}[2J",
            r#"{"issuer": "\u001b[2J", "token_endpoint": "", "jwks_uri": "\u202e", "response_types_supported": []}"#,
            r#"{"keys": [{"kty": "EC", "kid": "\u001b[2J"}, 7]}"#,
            r#"{"keys": 7, "next_key": [], "waiting": 7, "stranded_clients": 7, "key_files": 7}"#,
            r#"{"waiting": [null, {"algorithm": "\u009b", "sign_from": 7}], "key_files": "\u001b[2J",
                "stranded_clients": {"count": -1, "first": [7, "\u202e"]}}"#,
            "max-age=99999999999999999999999, s-maxage=-1,,=,max-age=",
        ];
        for one in odd {
            for world in [
                World { issuer: one, ..SOUND },
                World { keys: one, ..SOUND },
                World { caching: one, ..SOUND },
                World { health: one, ..SOUND },
                World { health: one, ready: 503, ..SOUND },
            ] {
                let findings = findings_at(world, 0);
                assert!(!findings.is_empty());
                let told = super::super::describe(&findings).replace('\n', " ");
                assert_eq!(plain(&told), told, "{one:?}");
            }
        }
    }

    #[test]
    fn a_sound_service_is_found_sound() {
        let names: Vec<_> =
            found(SOUND, 2).into_iter().map(|(level, name)| (level == Level::Ok, name)).collect();
        let all = [(true, "issuer"), (true, "clock"), (true, "keys"), (true, "caching"), (true, "ready")];
        assert_eq!(names, all);
    }

    #[test]
    fn each_fault_is_found_alone() {
        assert_eq!(wrong(World { issuer: "https://other.example", ..SOUND }, 0), [(Level::Fail, "issuer")]);
        assert_eq!(wrong(SOUND, 10), [(Level::Warn, "clock")]);
        assert_eq!(wrong(SOUND, -91), [(Level::Fail, "clock")]);
        assert_eq!(wrong(World { keys: r#"{"keys": []}"#, ..SOUND }, 0), [(Level::Fail, "keys")]);
        assert_eq!(wrong(World { keys: "<html>", ..SOUND }, 0), [(Level::Fail, "keys")]);
        assert_eq!(wrong(World { caching: "max-age=301", ..SOUND }, 0), [(Level::Fail, "caching")]);
        assert_eq!(
            wrong(World { caching: "max-age=5, s-maxage=900", ..SOUND }, 0),
            [(Level::Fail, "caching")]
        );
        assert_eq!(wrong(World { caching: "no-store", ..SOUND }, 0), [(Level::Warn, "caching")]);
        assert_eq!(wrong(World { ready: 503, ..SOUND }, 0), [(Level::Fail, "ready")]);
    }

    /// Two keys of which one is retired look like two of which one waits.
    #[test]
    fn which_key_waits_is_what_the_service_says() {
        let keys = |health| wrong(World { health, ..SOUND }, 0);
        assert_eq!(keys(r#"{"keys": "ok", "next_key": "missing"}"#), [(Level::Warn, "keys")]);
        assert_eq!(keys(r#"{"keys": "amber", "next_key": "missing"}"#), [(Level::Fail, "keys")]);
        assert_eq!(keys(r#"{"keys": "amber", "next_key": "ok"}"#), [(Level::Warn, "keys")]);
        let failing = r#"{"keys": "failing", "next_key": "missing"}"#;
        let expected = [(Level::Fail, "keys"), (Level::Fail, "ready")];
        assert_eq!(wrong(World { health: failing, ready: 503, ..SOUND }, 0), expected);
        let said = |health, ready| {
            let found = findings_at(World { ready, health, ..SOUND }, 0);
            found.into_iter().find(|finding| finding.name == "keys").unwrap().what
        };
        assert!(said(failing, 503).contains("signs nothing"));
        // No next key can be made, but it signs.
        let signs = r#"{"ready": true, "keys": "failing", "next_key": "missing"}"#;
        assert_eq!(keys(signs), [(Level::Fail, "keys")]);
        assert!(said(signs, 200).contains("none of which waits"));
        // A service that says nothing of it, or is out of reach.
        assert_eq!(keys("{}"), []);
    }

    #[test]
    fn an_algorithm_that_waits_needs_one_key_and_is_named() {
        let one = r#"{"keys": [
            {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "a", "alg": "ES256", "use": "sig"}]}"#;
        let health = r#"{"keys": "ok", "next_key": "ok", "waiting": [{"algorithm": "ES256", "sign_from": "2027-01-15T08:00:00Z"}],
            "stranded_clients": {"count": 0, "first": []}}"#;
        let found = findings_at(World { keys: one, health, ..SOUND }, 0);
        let wrong: Vec<_> = found.iter().filter(|finding| finding.level != Level::Ok).collect();
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert_eq!((wrong[0].level, wrong[0].name), (Level::Warn, "algorithms"));
        assert!(wrong[0].what.contains("ES256 signs from 2027-01-15T08:00:00Z"), "{}", wrong[0].what);
        // One that signs needs two.
        let health = r#"{"keys": "ok", "next_key": "ok", "waiting": []}"#;
        assert_eq!(super::tests::wrong(World { keys: one, health, ..SOUND }, 0), [(Level::Fail, "keys")]);
    }

    #[test]
    fn resources_that_part_when_an_algorithm_signs_are_named_before() {
        let mut config = Config::for_tests(Path::new("unused"));
        config.issuer = "https://id.example".into();
        config.keys.algorithms = vec![Algorithm::ES256, Algorithm::RS256];
        let of = |uri: &str, algorithm| crate::config::ResourceConfig {
            uri: crate::oauth::Resource::parse(uri).unwrap(),
            algorithm,
            ..config.resources[0].clone()
        };
        let [orders, stock, bills] =
            ["https://orders.example", "https://stock.example", "https://bills.example"];
        let resources =
            vec![of(orders, Some(Algorithm::RS256)), of(stock, None), of(bills, Some(Algorithm::RS256))];
        config.resources = resources;
        let waiting =
            |name: &str| serde_json::json!({ "waiting": [{ "algorithm": name, "sign_from": null }] });
        let found =
            |config: &Config, health: &Value| parting_resources(config, health).map(|finding| finding.what);
        let said = found(&config, &waiting("RS256")).unwrap();
        let users = config.users_resource();
        assert!([orders, stock, bills, users.as_str()].iter().all(|uri| said.contains(uri)), "{said}");
        // The two that ask for it part as little now as then.
        assert_eq!(found(&config, &serde_json::json!({ "waiting": [] })), None);
        // What waits is what all will get.
        config.resources.iter_mut().for_each(|resource| resource.algorithm = None);
        assert_eq!(found(&config, &waiting("ES256")), None);
        // The default comes to those that name none.
        config.resources[0].algorithm = Some(Algorithm::RS256);
        let said = found(&config, &waiting("ES256")).unwrap();
        assert!(said.contains(orders) && said.contains(stock), "{said}");
    }

    #[test]
    fn clients_of_an_algorithm_that_is_gone_are_named() {
        let health = r#"{"keys": "ok", "next_key": "ok", "stranded_clients": {"count": 7, "first": ["web", "batch"]}}"#;
        let found = findings_at(World { health, ..SOUND }, 0);
        let finding = found.into_iter().find(|finding| finding.level != Level::Ok).unwrap();
        assert_eq!((finding.level, finding.name), (Level::Warn, "clients"));
        assert!(
            finding.what.contains("7 registered") && finding.what.contains("web, batch"),
            "{}",
            finding.what
        );
    }

    #[test]
    fn ready_is_what_answers_so_and_nothing_else() {
        let asked = |status, body| {
            let service = Service::start(vec![Reply::json(status, body)]);
            let mut config = Config::for_tests(Path::new("unused"));
            config.management_listen = service.url.strip_prefix("http://").unwrap().parse().unwrap();
            ready(&config, &Http::new(None).unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(asked(200, r#"{"ready": true}"#).unwrap()["ready"], true);
        assert_eq!(asked(503, r#"{"disk": "full"}"#).unwrap_err(), r#"not ready (503): {"disk": "full"}"#);
        assert!(asked(200, "<html>").is_err());
        let mut config = Config::for_tests(Path::new("unused"));
        config.management_listen = "127.0.0.1:1".parse().unwrap();
        assert!(ready(&config, &Http::new(None).unwrap()).is_err());
    }

    #[test]
    fn a_service_that_is_not_there_is_found_so() {
        let mut config = Config::for_tests(Path::new("unused"));
        config.issuer = "http://127.0.0.1:1".into();
        config.management_listen = "0.0.0.0:1".parse().unwrap();
        let findings = findings(&config, &Http::new(None).unwrap(), &ManualClock::at(NOW));
        assert_eq!(
            findings.iter().map(|f| (f.level, f.name)).collect::<Vec<_>>(),
            [(Level::Fail, "issuer"), (Level::Fail, "ready")]
        );
    }

    #[test]
    fn the_well_known_part_goes_before_the_path() {
        let middle = "/.well-known/oauth-authorization-server";
        assert_eq!(metadata_url("https://a.example"), format!("https://a.example{middle}"));
        assert_eq!(metadata_url("https://a.example/t/1"), format!("https://a.example{middle}/t/1"));
    }
}
