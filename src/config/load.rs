use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::error::{ConfigError, Refusal};
use super::layers::{Secrets, Sources, merge};
use super::leaf::{Leaf, Wrong};
use super::reader::Reader;
use super::{
    AdminConfig, ApiKeysConfig, CodesConfig, Config, DialectsConfig, HashingCost, KeysConfig, LimitsConfig,
};
use super::{
    LogConfig, OutgoingConfig, PagesConfig, PasswordsConfig, PeopleConfig, RefreshTokensConfig,
    ResourceConfig, SessionsConfig, StoreConfig, TlsConfig, TokensConfig, VaultPlace, check, kek, store, tls,
};
use crate::oauth::{Algorithm, Resource, Scope};

const SECOND: Duration = Duration::from_secs(1);
/// Shorter than what is begun may take when the service is ended.
const TWENTY_SECONDS: Duration = Duration::from_secs(20);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const TEN_YEARS: Duration = Duration::from_hours(3650 * 24);

/// Reads and checks the settings. Whether the key schedule is safe is not checked here; see [`load_with`].
///
/// # Errors
/// When a source can't be read, a setting is unknown, malformed or out of range, or two contradict each
/// other: all of it together.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    load_with(sources, |_| Vec::new())
}

/// As [`load`], with further rules from rooms that know more; their refusals are reported together with
/// the others, with the origin of the setting they name.
///
/// # Errors
/// As [`load`], and when `rules` refuses.
pub fn load_with(
    sources: &Sources,
    rules: impl FnOnce(&Config) -> Vec<Refusal>,
) -> Result<Config, ConfigError> {
    load_related(sources, |config| check::relations(config).into_iter().chain(rules(config)).collect())
}

/// As [`load`], for whoever has to do with the tables of a database and with no key: a key-encryption key that all nodes
/// share need not be there.
///
/// # Errors
/// As [`load`].
pub fn load_for_tables(sources: &Sources) -> Result<Config, ConfigError> {
    load_related(sources, check::relations_without_kek)
}

fn load_related(
    sources: &Sources,
    relations: impl FnOnce(&Config) -> Vec<Refusal>,
) -> Result<Config, ConfigError> {
    let merged = merge(sources);
    let mut reader = Reader::new(&merged.figment, merged.problems);
    let config = read(&mut reader, &merged.secrets);
    reader.refuse_the_rest();
    reader.everything_is_read();
    for refusal in relations(&config) {
        reader.push(refusal);
    }
    if reader.problems.is_empty() { Ok(config) } else { Err(ConfigError { problems: reader.problems }) }
}

/// The settings of an empty file, environment and command line.
pub(super) fn defaults() -> Config {
    let mut reader = Reader::new(&figment::Figment::new(), Vec::new());
    read(&mut reader, &Secrets::default())
}

fn read(reader: &mut Reader, secrets: &Secrets) -> Config {
    let listen = reader.read("listen", |leaf| leaf.parsed("127.0.0.1:8080"));
    let tls = tls::read(reader);
    let store = store::read(reader, secrets);
    let keys = read_keys(reader, secrets, &store);
    let resources = read_resources(reader);
    Config {
        issuer: read_issuer(reader, listen, tls.as_ref()),
        listen,
        tls,
        management_listen: reader.read("management_listen", |leaf| leaf.parsed("127.0.0.1:8081")),
        admin: AdminConfig {
            listener: reader.read("admin.listener", |leaf| leaf.parsed("management")),
            allow_plaintext: reader.read("admin.allow_plaintext", Leaf::flag),
        },
        node: reader.read_optional("node", node).unwrap_or_else(host_name),
        workers: reader.read_optional("workers", |leaf| leaf.count(&(1..=1024))).unwrap_or_else(cores),
        data_dir: reader.read("data_dir", path),
        store,
        log: LogConfig {
            filter: reader.read("log.filter", log_filter),
            json: reader.read("log.json", Leaf::flag),
        },
        tokens: read_tokens(reader, &resources),
        codes: CodesConfig {
            lifetime: reader.read("codes.lifetime", |leaf| leaf.duration(&(SECOND..=CodesConfig::LONGEST))),
        },
        refresh_tokens: RefreshTokensConfig {
            lifetime: reader.read("refresh_tokens.lifetime", grant_lifetime),
            idle: reader.read("refresh_tokens.idle", grant_lifetime),
        },
        passwords: PasswordsConfig {
            hashing_permits: reader
                .read_optional("passwords.hashing_permits", |leaf| leaf.count(&(1..=1024)))
                .map_or_else(cores, |most| most.min(cores())),
            cost: HashingCost::ADVISED,
        },
        sessions: SessionsConfig {
            idle: reader.read("sessions.idle", session_lifetime),
            absolute: reader.read("sessions.absolute", session_lifetime),
        },
        pages: PagesConfig {
            service_name: reader.read("pages.service_name", |leaf| leaf.text().map(str::to_owned)),
            scope_descriptions: reader.read_table("pages.scope_descriptions"),
        },
        dialects: DialectsConfig {
            oauth_token_get: reader.read("dialects.oauth_token_get", Leaf::flag),
            apps: reader.read("dialects.apps", Leaf::flag),
            apps_scope: reader.read("dialects.apps_scope", |leaf| leaf.parsed("read write")),
            most_apps: reader.read("dialects.most_apps", |leaf| leaf.count(&(1..=1_000_000))),
        },
        trusted_proxies: reader.read_optional("trusted_proxies", networks).unwrap_or_default(),
        forwarded_header: reader.read("forwarded_header", |leaf| leaf.parsed("x-forwarded-for")),
        believe_request_id: reader.read("believe_request_id", Leaf::flag),
        limits: read_limits(reader),
        api_keys: ApiKeysConfig { in_query: reader.read("api_keys.in_query", Leaf::flag) },
        people: PeopleConfig {
            change_email: reader.read("people.change_email", Leaf::flag),
            client_credentials: reader.read("people.client_credentials", Leaf::flag),
            made_per_day: reader.read("people.made_per_day", |leaf| leaf.count(&(1..=1000))),
        },
        outgoing: OutgoingConfig {
            allowed_networks: reader.read_optional("outgoing.allowed_networks", networks).unwrap_or_default(),
            ca_bundle: reader.read_optional("outgoing.ca_bundle", path),
            timeout: reader.read("outgoing.timeout", |leaf| leaf.duration(&(SECOND..=TWENTY_SECONDS))),
        },
        keys,
        resources,
    }
}

fn read_issuer(reader: &mut Reader, listen: SocketAddr, tls: Option<&TlsConfig>) -> String {
    let allow_insecure = reader.read("allow_insecure_issuer", Leaf::flag);
    let given = reader.read_optional("issuer", |leaf| leaf.text().map(str::to_owned));
    if let Some(issuer) = given {
        if let Err(refusal) = check::issuer(&issuer, allow_insecure) {
            reader.push(refusal);
        }
        return issuer;
    }
    if !listen.ip().is_loopback() || listen.port() == 0 {
        let reason = format!("must be set, because it can't be told from listen = \"{listen}\"");
        let remedy = "set it to the https URL by which clients reach the service";
        reader.push(Refusal::new("issuer", reason, remedy).depending_on(&["listen"]));
    }
    format!("{}://{listen}", if tls.is_some() { "https" } else { "http" })
}

fn read_keys(reader: &mut Reader, secrets: &Secrets, store: &StoreConfig) -> KeysConfig {
    let up_to = |most: Duration| move |leaf: &Leaf| leaf.duration(&(SECOND..=most));
    let usual = match store {
        StoreConfig::Directory => VaultPlace::Directory,
        StoreConfig::Postgres(_) => VaultPlace::Store,
    };
    KeysConfig {
        vault: reader.read_optional("keys.vault", |leaf| leaf.parsed("store")).unwrap_or(usual),
        dir: reader.read("keys.dir", path),
        kek: kek::read(reader, secrets),
        algorithms: reader.read("keys.algorithms", algorithms),
        jwks_max_age: reader.read("keys.jwks_max_age", up_to(DAY)),
        propagation: reader.read("keys.propagation", up_to(HOUR)),
        clock_skew: reader.read("keys.clock_skew", up_to(HOUR)),
        lead: reader.read("keys.lead", up_to(TEN_YEARS)),
        hold: reader.read("keys.hold", up_to(TEN_YEARS)),
        rotation_period: reader.read("keys.rotation_period", up_to(TEN_YEARS)),
        sealing_period: reader.read("keys.sealing_period", |leaf| leaf.duration(&(HOUR..=TEN_YEARS))),
    }
}

fn read_tokens(reader: &mut Reader, resources: &[ResourceConfig]) -> TokensConfig {
    let lifetime = reader.read("tokens.lifetime", token_lifetime);
    let largest = resources.iter().filter_map(|resource| resource.lifetime).fold(lifetime, Duration::max);
    TokensConfig {
        lifetime,
        longest_lifetime: reader.read_optional("tokens.longest_lifetime", token_lifetime).unwrap_or(largest),
        status_list_ttl: reader.read("tokens.status_list_ttl", |leaf| leaf.duration(&(SECOND..=HOUR))),
    }
}

fn read_limits(reader: &mut Reader) -> LimitsConfig {
    let mut per_minute = |key| reader.read(key, per_minute);
    LimitsConfig {
        token_per_client: per_minute("limits.token_per_client"),
        token_per_address: per_minute("limits.token_per_address"),
        revocation_per_client: per_minute("limits.revocation_per_client"),
        refused_per_address: per_minute("limits.refused_per_address"),
        authorize_per_address: per_minute("limits.authorize_per_address"),
        login_per_address: per_minute("limits.login_per_address"),
        login_per_account: per_minute("limits.login_per_account"),
        registration_per_address: per_minute("limits.registration_per_address"),
        acts_per_person: per_minute("limits.acts_per_person"),
        api_key: per_minute("limits.api_key"),
    }
}

fn read_resources(reader: &mut Reader) -> Vec<ResourceConfig> {
    let mut resources = Vec::new();
    for index in 0..reader.resources() {
        let key = |member: &str| format!("resources[{index}].{member}");
        let uri =
            reader.read_required(&key("uri"), |leaf| leaf.parsed::<Resource>("https://api.example.com"));
        let scope = reader.read_required(&key("scope"), |leaf| leaf.parsed::<Scope>("read write"));
        let people_scope = reader.read_optional(&key("people_scope"), |leaf| leaf.parsed::<Scope>("read"));
        let lifetime = reader.read_optional(&key("lifetime"), token_lifetime);
        let algorithm = reader.read_optional(&key("algorithm"), |leaf| leaf.parsed::<Algorithm>("ES256"));
        // Anything missing was reported; a stand-in would only bring up rules about what nobody wrote.
        if let (Some(uri), Some(scope)) = (uri, scope) {
            let people_scope = people_scope.unwrap_or_default();
            resources.push(ResourceConfig { uri, scope, people_scope, lifetime, algorithm });
        }
    }
    resources
}

/// So many in any minute; 0 and `off` mean no limit.
fn per_minute(leaf: &Leaf) -> Result<u32, Wrong> {
    if leaf.text().is_ok_and(|text| text == "off") {
        return Ok(0);
    }
    let count = leaf.count(&(0..=1_000_000_000)).map_err(|(reason, _)| {
        (format!("{reason}, or \"off\""), "write how many requests are let through a minute".to_owned())
    })?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

fn networks(leaf: &Leaf) -> Result<Vec<IpNet>, Wrong> {
    let texts = leaf.list()?.into_iter().filter(|text| !text.is_empty());
    let network = |text: &str| {
        let alone = text.parse::<IpAddr>().map(IpNet::from).ok();
        alone.or_else(|| text.parse().ok()).ok_or_else(|| {
            (format!("{text:?} is not a network"), "write, say, [\"10.0.0.0/8\", \"fd00::/8\"]".to_owned())
        })
    };
    texts.map(network).collect()
}

fn token_lifetime(leaf: &Leaf) -> Result<Duration, Wrong> {
    leaf.duration(&(SECOND..=DAY))
}

fn grant_lifetime(leaf: &Leaf) -> Result<Duration, Wrong> {
    leaf.duration(&(SECOND..=RefreshTokensConfig::LONGEST))
}

fn session_lifetime(leaf: &Leaf) -> Result<Duration, Wrong> {
    leaf.duration(&(MINUTE..=TEN_YEARS))
}

fn path(leaf: &Leaf) -> Result<PathBuf, Wrong> {
    leaf.text().map(PathBuf::from)
}

fn log_filter(leaf: &Leaf) -> Result<String, Wrong> {
    let text = leaf.text()?;
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err((
            format!("is not a filter: {error}"),
            "write a level such as \"info\", or \"info,signet::keys=debug\"".into(),
        )),
    }
}

fn algorithms(leaf: &Leaf) -> Result<Vec<Algorithm>, Wrong> {
    let mut algorithms = Vec::new();
    for name in leaf.list()? {
        let algorithm: Algorithm =
            name.parse().map_err(|error| (format!("{error}"), "correct or remove it".to_owned()))?;
        if algorithms.contains(&algorithm) {
            return Err((format!("names {algorithm} twice"), "remove one of them".into()));
        }
        algorithms.push(algorithm);
    }
    if algorithms.is_empty() {
        return Err(("must name an algorithm".into(), "write, say, [\"ES256\"]".into()));
    }
    Ok(algorithms)
}

fn node(leaf: &Leaf) -> Result<String, Wrong> {
    let name = leaf.text()?;
    if is_node_name(name) {
        return Ok(name.to_owned());
    }
    let remedy = "write a name of at most 64 letters, digits, dots, hyphens and underscores".to_owned();
    Err((format!("{name:?} is no name of a node"), remedy))
}

fn is_node_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=64).contains(&name.len()) && name.chars().all(plain)
}

/// The machine's name, which differs from node to node.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if is_node_name(&name) { name } else { "node".into() }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
