use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use url::{Host, Url};

use super::error::Refusal;
use super::leaf::written;
use super::{AdminListener, Config, KekSource, PinSource, StoreConfig, VaultPlace};

/// The rules between settings, besides the issuer's. Whether lead, hold and period are safe is not asked
/// here: that is the key schedule's arithmetic.
pub(super) fn relations(config: &Config) -> Vec<Refusal> {
    let mut refusals: Vec<_> = one_kek_for_all_nodes(config).into_iter().collect();
    refusals.extend(relations_without_kek(config));
    refusals
}

/// The same for whoever opens no key.
pub(super) fn relations_without_kek(config: &Config) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    refusals.extend(listeners(config));
    refusals.extend(admin_in_plaintext(config));
    refusals.extend(issuer_of_tls(config));
    refusals.extend(kek_apart_from_keys(config));
    refusals.extend(lifetimes(config));
    refusals.extend(refresh_tokens(config));
    refusals.extend(resources(config));
    refusals
}

/// How no issuer's path may begin: some path below it would be another one of Signet's own, for a proxy that takes the issuer's
/// path away.
const OWN_PATHS: [&str; 8] =
    ["/.well-known", "/account", "/admin", "/assets", "/console", "/status", "/users", "/v1/users"];

/// An issuer's identifier is an absolute https URL without query and fragment (RFC 8414, section 2); the
/// trailing slash is refused because `iss` is compared as text.
pub(super) fn issuer(issuer: &str, allow_insecure: bool) -> Result<(), Refusal> {
    let refuse = |reason: &str, remedy: &str| Err(Refusal::new("issuer", reason, remedy));
    let example = "write, say, \"https://id.example.com\"";
    let Ok(url) = Url::parse(issuer) else {
        return refuse("must be an absolute URL", example);
    };
    let Some(host) = url.host() else {
        return refuse("must be a URL with a host", example);
    };
    if !matches!(url.scheme(), "https" | "http") {
        return refuse("must be an https URL", example);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("must have no query and no fragment", "remove what follows the path");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("must hold no user name or password", "remove them");
    }
    if issuer.ends_with('/') {
        return refuse("must not end with a slash", "remove the slash");
    }
    let canonical = url.as_str().trim_end_matches('/');
    if issuer != canonical {
        return refuse("is not in its canonical form", &format!("write {canonical:?}"));
    }
    if !url.path().bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/".contains(&b)) {
        return refuse(
            "has characters in its path that are written in several ways",
            "use letters and digits there",
        );
    }
    let is_below = |own: &&str| {
        url.path().strip_prefix(*own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if OWN_PATHS.iter().any(is_below) {
        return refuse(
            "begins its path as pages and documents of Signet itself do",
            "name its path otherwise",
        );
    }
    if url.scheme() == "http" && !is_loopback(&host) && !allow_insecure {
        return refuse(
            "must be https unless its host is loopback",
            "use https, or set allow_insecure_issuer = true if a trusted network carries it",
        );
    }
    Ok(())
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

fn listeners(config: &Config) -> Option<Refusal> {
    let (public, management) = (config.listen, config.management_listen);
    let overlaps = public.port() != 0
        && public.port() == management.port()
        && (same_address(public, management)
            || public.ip().is_unspecified()
            || management.ip().is_unspecified());
    overlaps.then(|| {
        Refusal::new(
            "management_listen",
            format!("must not be where the public listener binds ({public})"),
            "give it another port",
        )
        .depending_on(&["listen"])
    })
}

/// The management listener never speaks TLS: whoever hears an access token there administers until it ends.
fn admin_in_plaintext(config: &Config) -> Option<Refusal> {
    let (admin, address) = (config.admin, config.management_listen);
    let is_open = !address.ip().to_canonical().is_loopback();
    (admin.listener == AdminListener::Management && is_open && !admin.allow_plaintext).then(|| {
        let reason = format!("would have access tokens that administer come in plaintext to {address}");
        let remedy = "bind management_listen to loopback, or set admin.allow_plaintext = true if a trusted network carries them";
        Refusal::new("admin.listener", reason, remedy)
            .depending_on(&["management_listen", "admin.allow_plaintext"])
    })
}

/// Whoever follows an http issuer to a listener that speaks TLS reaches nobody.
fn issuer_of_tls(config: &Config) -> Option<Refusal> {
    (config.tls.is_some() && !config.issuer.starts_with("https://")).then(|| {
        let reason = "must be https where the public listener speaks TLS";
        Refusal::new("issuer", reason, "write https, or remove tls.certificate_file and tls.private_key_file")
            .depending_on(&["tls.certificate_file", "tls.private_key_file"])
    })
}

fn same_address(a: SocketAddr, b: SocketAddr) -> bool {
    let plain = |ip: IpAddr| ip.to_canonical();
    plain(a.ip()) == plain(b.ip())
}

fn kek_apart_from_keys(config: &Config) -> Option<Refusal> {
    let (path, key, variable) = match &config.keys.kek {
        KekSource::File(path) => (path, "keys.kek_file", "SIGNET_KEYS_KEK"),
        KekSource::Module(module) => match &module.pin {
            PinSource::File(path) => (path, "keys.pkcs11.pin_file", "SIGNET_KEYS_PKCS11_PIN"),
            PinSource::Value(_) => return None,
        },
        KekSource::Value(_) | KekSource::Developer => return None,
    };
    lies_in(path, &config.keys.dir).then(|| {
        Refusal::new(
            key,
            "must not lie beside the keys that it seals: who reads one reads both",
            format!("keep it outside keys.dir, or pass it by {variable}"),
        )
        .depending_on(&["keys.dir"])
    })
}

/// What several nodes read must be sealed under what all of them have.
fn one_kek_for_all_nodes(config: &Config) -> Option<Refusal> {
    let is_shared =
        matches!(config.store, StoreConfig::Postgres(_)) || config.keys.vault == VaultPlace::Store;
    (is_shared && matches!(config.keys.kek, KekSource::Developer)).then(|| {
        let reason = "must be set where the store or the keys are shared: each node would make a key-encryption key of \
                      its own, and could not read what the others write";
        Refusal::new("keys.kek_file", reason, "give every node the same, by a file, by SIGNET_KEYS_KEK, or by a module that all of them reach")
            .depending_on(&["store", "keys.vault"])
    })
}

/// Whether `path` is in `directory` or below it, however the two are spelled. Does not follow symbolic links.
#[must_use]
pub fn lies_in(path: &Path, directory: &Path) -> bool {
    normalized(path).starts_with(normalized(directory))
}

/// The absolute path without `.` and `..`, so that two spellings of one place compare equal. Does not follow
/// symbolic links.
fn normalized(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut normalized = PathBuf::new();
    for component in absolute.components() {
        match component {
            // At the root there is nothing above.
            Component::ParentDir => _ = normalized.pop(),
            other => normalized.push(other),
        }
    }
    normalized
}

fn lifetimes(config: &Config) -> Vec<Refusal> {
    let longest = config.tokens.longest_lifetime;
    let too_long = |key: String, lifetime: Duration| {
        (lifetime > longest).then(|| {
            let reason = format!("must be at most {} (tokens.longest_lifetime)", written(longest));
            Refusal::new(key, reason, "lower it or raise tokens.longest_lifetime")
                .depending_on(&["tokens.longest_lifetime"])
        })
    };
    let mut refusals: Vec<Refusal> =
        too_long("tokens.lifetime".into(), config.tokens.lifetime).into_iter().collect();
    for (index, resource) in config.resources.iter().enumerate() {
        let lifetime = resource.lifetime.unwrap_or_default();
        refusals.extend(too_long(format!("resources[{index}].lifetime"), lifetime));
    }
    if config.tokens.status_list_ttl > config.tokens.lifetime {
        let lifetime = written(config.tokens.lifetime);
        refusals.push(
            Refusal::new(
                "tokens.status_list_ttl",
                format!(
                    "must be at most {lifetime} (tokens.lifetime), or tokens end before a revocation is seen"
                ),
                "lower it",
            )
            .depending_on(&["tokens.lifetime"]),
        );
    }
    refusals
}

fn refresh_tokens(config: &Config) -> Option<Refusal> {
    let lifetime = config.refresh_tokens.lifetime;
    (config.refresh_tokens.idle > lifetime).then(|| {
        let reason = format!("must be at most {} (refresh_tokens.lifetime)", written(lifetime));
        Refusal::new("refresh_tokens.idle", reason, "lower it or raise refresh_tokens.lifetime")
            .depending_on(&["refresh_tokens.lifetime"])
    })
}

fn resources(config: &Config) -> Vec<Refusal> {
    let built_in = [(config.admin_resource(), "admin"), (config.users_resource(), "users")];
    let mut refusals = Vec::new();
    for (index, resource) in config.resources.iter().enumerate() {
        let key = |member: &str| format!("resources[{index}].{member}");
        let uri = resource.uri.as_str();
        if let Some((_, api)) = built_in.iter().find(|(built_in, _)| uri == built_in) {
            let reason = format!("is the {api} API, which is built in");
            refusals.push(Refusal::new(key("uri"), reason, "name it otherwise").depending_on(&["issuer"]));
        }
        if config.resources[..index].iter().any(|earlier| earlier.uri == resource.uri) {
            refusals.push(Refusal::new(key("uri"), "is given twice", "merge the two resources"));
        }
        if let Some(token) = resource.people_scope.iter().find(|token| !resource.scope.contains(token)) {
            let reason = format!("{token:?} is not in the resource's scope");
            refusals.push(Refusal::new(
                key("people_scope"),
                reason,
                "add it to the scope, or remove it here",
            ));
        }
        if resource.scope.iter().any(|token| token.starts_with("signet:")) {
            let reason = "must not use scope tokens that begin with signet:, which are the admin API's";
            refusals.push(Refusal::new(key("scope"), reason, "name them otherwise"));
        }
        if let Some(algorithm) = resource.algorithm.filter(|a| !config.keys.algorithms.contains(a)) {
            refusals.push(
                Refusal::new(
                    key("algorithm"),
                    "must be among keys.algorithms",
                    format!("add {algorithm} to keys.algorithms, or name one of them"),
                )
                .depending_on(&["keys.algorithms"]),
            );
        }
    }
    refusals
}
