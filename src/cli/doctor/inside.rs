use std::fs::Metadata;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Finding;
use crate::audit::{self, EventKind, Search};
use crate::clock::Clock;
use crate::config::{AdminListener, Config, KekSource, ModuleKeyConfig, exposed};
use crate::entropy::SystemEntropy;
use crate::http::{certificate_end, unexplained_scopes};
use crate::keys::{DirectoryVault, Kek, SealedVault as _};
use crate::store::Room;

/// A certificate that ends sooner should have been renewed, in days.
const FEWEST_DAYS: i64 = 14;

/// Without TLS whoever carries the packets reads the tokens.
pub(super) fn issuer_scheme(config: &Config) -> Finding {
    if config.issuer.starts_with("https://") {
        return Finding::ok("tls", "the issuer is https");
    }
    Finding::warn("tls", "the issuer is http", "use https for anything but development on one machine")
}

/// A certificate that nobody renewed is what ends a service that nobody touched.
pub(super) fn certificate(config: &Config, clock: &dyn Clock) -> Option<Finding> {
    let check = "certificate";
    let remedy = "renew it; the service takes in changed files by itself";
    let not_after = match certificate_end(&config.tls.as_ref()?.certificate_file) {
        Ok(not_after) => not_after,
        Err(error) => {
            let remedy = "run this on the machine of the service, in its directory, as its user";
            return Some(Finding::fail(check, format!("{}: {}", error.path.display(), error.reason), remedy));
        }
    };
    let days = (not_after - clock.now()).num_days();
    let what = format!("it ends in {days} days, at {}", not_after.to_rfc3339());
    Some(match not_after <= clock.now() {
        true => Finding::fail(check, format!("it ended at {}", not_after.to_rfc3339()), remedy),
        false if days < FEWEST_DAYS => Finding::warn(check, what, remedy),
        false => Finding::ok(check, what),
    })
}

/// Metrics and health need no authentication, so they belong where strangers don't reach; nor does the admin API have TLS there.
pub(super) fn management_exposure(config: &Config) -> Finding {
    let address = config.management_listen;
    let administers = config.admin.listener == AdminListener::Management;
    if address.ip().is_loopback() {
        let too = if administers { ", the admin API too" } else { "" };
        return Finding::ok("management", format!("{address} is reached from this machine only{too}"));
    }
    if administers {
        return Finding::warn(
            "management",
            format!(
                "{address} may be reached from elsewhere, the admin API too, whose access tokens come in plaintext"
            ),
            "make sure that only administrators and the monitoring can reach it, over a network that nobody else hears",
        );
    }
    Finding::warn(
        "management",
        format!("{address} may be reached from elsewhere"),
        "make sure that only the monitoring can reach it",
    )
}

/// What stands in for resource servers until some are named belongs to a trial.
pub(super) fn resources(config: &Config) -> Finding {
    if config.demo_resource().is_some() {
        return Finding::warn(
            "resources",
            "the demonstration resource is served: its scope can be asked for, and people may open all of it",
            "name your resource servers under [[resources]], or set resources = [], and delete the demo client",
        );
    }
    Finding::ok("resources", format!("{} of your own", config.resources.len()))
}

/// What nobody has put into words people can't decide about.
pub(super) fn scopes(config: &Config) -> Finding {
    let unexplained = unexplained_scopes(config);
    if unexplained.is_empty() {
        return Finding::ok("scopes", "each is explained on the consent page");
    }
    Finding::warn(
        "scopes",
        format!("the consent page shows as they are: {}", unexplained.join(" ")),
        "say under [pages.scope_descriptions] what each lets a client do",
    )
}

/// The directory of the keys and every file in it must be closed to others.
pub(super) fn keys_directory(config: &Config) -> Finding {
    let directory = &config.keys.dir;
    let remedy = "run this on the machine of the service, in its directory, as its user";
    let entries = match files_of(directory) {
        Ok(entries) => entries,
        Err(error) => {
            return Finding::fail("key files", format!("{}: {error}", directory.display()), remedy);
        }
    };
    let keys = entries.iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "key")).count();
    let open: Vec<String> = entries
        .iter()
        .filter(|(path, meta)| is_secret(path) && is_open(meta))
        .map(|(path, _)| name(path))
        .collect();
    if !open.is_empty() {
        let what = format!("others may read {} in {}", open.join(", "), directory.display());
        return Finding::fail("key files", what, "chmod 600 them, and rotate the keys if others had access");
    }
    if keys == 0 {
        return Finding::fail("key files", format!("there is no key in {}", directory.display()), remedy);
    }
    match opened(config) {
        Ok(()) => {
            let what = format!("{keys} in {}, closed to others, each opens", directory.display());
            Finding::ok("key files", what)
        }
        Err(error) => Finding::fail("key files", error.to_string(), "a start of the service would fail"),
    }
}

/// Opens every key that is there; makes nothing.
fn opened(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    let directory = &config.keys.dir;
    let kek = Kek::find(&config.keys.kek, directory)?;
    let kek = kek.ok_or_else(|| format!("{} is missing", directory.join("kek").display()))?;
    let vault = DirectoryVault::open(directory, Arc::new(kek), SystemEntropy::shared())?;
    vault.verify()?;
    Ok(())
}

/// Where the key-encryption key comes from.
pub(super) fn key_encryption_key(config: &Config) -> Finding {
    let check = "key-encryption key";
    let beside = config.keys.dir.join("kek").exists();
    match &config.keys.kek {
        KekSource::Developer => Finding::warn(
            check,
            "it lies beside the keys: who reads one reads both",
            "stop the service, run `signet keys rekey --new-kek-file FILE`, then set keys.kek_file = FILE and delete kek in keys.dir",
        ),
        _ if beside => Finding::warn(
            check,
            format!("an old one lies in {}", config.keys.dir.display()),
            "if `signet keys rekey` is done, move it to where the copies are that were taken before, which can only be read with it",
        ),
        KekSource::Value(_) => Finding::ok(check, "it comes from the environment"),
        KekSource::Module(key) => in_module(check, config, key),
        KekSource::File(path) => match path.metadata() {
            Ok(meta) if exposed(&meta).is_some() => {
                Finding::fail(check, format!("others may read {}", path.display()), "chmod 600 it")
            }
            Ok(_) => Finding::ok(check, format!("it is in {}, closed to others", path.display())),
            Err(error) => {
                let what = format!("{}: {error}", path.display());
                Finding::fail(check, what, "run this on the machine of the service, as its user")
            }
        },
    }
}

/// A key-encryption key that a module keeps must be there and answer.
fn in_module(check: &'static str, config: &Config, key: &ModuleKeyConfig) -> Finding {
    match Kek::find(&config.keys.kek, &config.keys.dir) {
        Err(error) => Finding::fail(check, error.to_string(), "a start of the service would fail"),
        Ok(kek) => {
            let info = kek.as_ref().and_then(Kek::module_key);
            let token = info.map_or(key.token.as_str(), |info| info.token.as_str());
            let what =
                format!("the module {} keeps {:?} in the token {token}", key.module.display(), key.key);
            if info.is_some_and(|info| info.never_outside) {
                return Finding::ok(check, format!("{what}, where it was made"));
            }
            let what = format!("{what}; it was brought there, or could leave it once");
            Finding::warn(
                check,
                what,
                "know where its copies are, or make one there: `signet keys make-module-key`",
            )
        }
    }
}

/// Recomputes the audit log's chain.
pub(super) fn audit_log(config: &Config) -> Finding {
    let path = config.audit_path();
    match audit::verify(&path, None) {
        Err(error) => Finding::fail(
            "audit log",
            format!("{}: {error}", path.display()),
            "run this on the machine of the service, in its directory, as its user",
        ),
        Ok(report) => match report.damage.first() {
            None => match begun_anew(&path) {
                Some(time) => Finding::warn(
                    "audit log",
                    format!(
                        "{} entries, linked; those before are elsewhere, as was noticed at {time}",
                        report.entries
                    ),
                    "keep what was moved away: it is a part of the record",
                ),
                None => Finding::ok("audit log", format!("{} entries, linked", report.entries)),
            },
            Some(first) => Finding::fail(
                "audit log",
                format!("{first} ({} findings)", report.damage.len()),
                "see `signet audit verify`",
            ),
        },
    }
}

/// When it was last noticed that the log is not the one that the store knew of.
fn begun_anew(path: &Path) -> Option<String> {
    let event = EventKind::AuditBegunAnew.as_str().to_owned();
    let found = audit::search(path, &Search { event, limit: 1, ..Search::default() }).ok()?;
    found.entries.into_iter().next().map(|entry| entry.time)
}

/// A full disk stops revocation and administration.
pub(super) fn disk(config: &Config) -> Finding {
    let directory = &config.data_dir;
    match Room::at(directory) {
        Err(error) => {
            let what = format!("{}: {error}", directory.display());
            Finding::fail("disk", what, "run this on the machine of the service, in its directory")
        }
        Ok(room) => free_space(&room),
    }
}

fn free_space(room: &Room) -> Finding {
    let percent = room.free.saturating_mul(100).checked_div(room.size).unwrap_or_default();
    let what = format!("{percent} % free, {} MiB", room.free >> 20);
    if room.is_almost_full() {
        let remedy = "make room: with less than 32 MiB free nothing is written";
        return Finding::fail("disk", what, remedy);
    }
    if room.is_low() {
        return Finding::warn("disk", what, "make room, or give the data directory a larger disk");
    }
    Finding::ok("disk", what)
}

/// The directory itself and the files in it.
fn files_of(directory: &Path) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let mut entries = vec![(directory.to_owned(), directory.metadata()?)];
    for entry in directory.read_dir()? {
        let entry = entry?;
        entries.push((entry.path(), entry.path().metadata()?));
    }
    Ok(entries)
}

/// Whether it must be closed: what Signet keeps there, not a note such as README.md. A directory whose
/// names others can list is no secret; one that they can write is caught by [`is_open`].
fn is_secret(path: &Path) -> bool {
    path.is_dir() || path.file_name().is_some_and(|name| name == "kek") || {
        path.extension().is_some_and(|end| end == "key" || end == "pending")
    }
}

/// Whether others than the owner may read a file, or write into a directory.
fn is_open(meta: &Metadata) -> bool {
    let mode = meta.permissions().mode();
    if meta.is_dir() { mode & 0o022 != 0 } else { mode & 0o077 != 0 }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Level;
    use super::*;

    use crate::keys::KeyVault as _;
    use crate::oauth::{Algorithm, Secret};

    struct Installation {
        _dir: tempfile::TempDir,
        config: Config,
        key: PathBuf,
    }

    fn installation() -> Installation {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::for_tests(dir.path());
        for directory in [&config.keys.dir, &config.data_dir] {
            fs::create_dir(directory).unwrap();
            close(directory, 0o700);
        }
        config.keys.kek = KekSource::Value(Secret::new("ab".repeat(32)));
        let kek = Arc::new(Kek::find(&config.keys.kek, &config.keys.dir).unwrap().unwrap());
        let vault = DirectoryVault::open(&config.keys.dir, kek, SystemEntropy::shared()).unwrap();
        let kid = vault.generate(Algorithm::ES256).unwrap().kid().clone();
        vault.keep(&kid).unwrap();
        let key = config.keys.dir.join(format!("{kid}.key"));
        write(&config.keys.dir.join("README.md"), 0o644);
        Installation { _dir: dir, config, key }
    }

    fn write(path: &Path, mode: u32) {
        fs::write(path, "x").unwrap();
        close(path, mode);
    }

    fn close(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn keys_must_be_there_and_closed() {
        let Installation { _dir, config, key } = installation();
        assert_eq!(keys_directory(&config).level, Level::Ok);
        close(&key, 0o640);
        let finding = keys_directory(&config);
        assert_eq!(finding.level, Level::Fail);
        assert!(finding.what.contains(".key"), "{}", finding.what);
        let sealed = fs::read(&key).unwrap();
        write(&key, 0o600);
        let finding = keys_directory(&config);
        assert!(
            finding.level == Level::Fail && finding.what.contains("--offline` condemns it"),
            "{}",
            finding.what
        );
        fs::remove_file(&key).unwrap();
        assert_eq!(keys_directory(&config).level, Level::Fail);
        fs::write(&key, sealed).unwrap();
        close(&key, 0o600);
        close(&config.keys.dir, 0o777);
        assert_eq!(keys_directory(&config).level, Level::Fail);
        close(&config.keys.dir, 0o755);
        assert_eq!(keys_directory(&config).level, Level::Ok);
        let elsewhere = Config::for_tests(Path::new("/nonexistent"));
        assert_eq!(keys_directory(&elsewhere).level, Level::Fail);
    }

    #[test]
    fn a_demonstration_resource_left_in_place_is_worth_a_warning() {
        let Installation { _dir, mut config, .. } = installation();
        assert_eq!(resources(&config).level, Level::Warn);
        config.resources[0].uri = crate::oauth::Resource::parse("https://api.example.com").unwrap();
        assert_eq!(resources(&config).level, Level::Ok);
        config.resources.clear();
        assert_eq!(resources(&config).level, Level::Ok);
    }

    #[test]
    fn a_scope_that_nobody_has_explained_is_worth_a_warning() {
        let Installation { _dir, mut config, .. } = installation();
        assert_eq!(scopes(&config).level, Level::Ok, "read and write have usual words");
        config.resources[0].scope = crate::oauth::Scope::parse("read orders.write orders.read").unwrap();
        let warned = scopes(&config);
        assert_eq!(warned.level, Level::Warn);
        assert!(warned.what.ends_with(": orders.read orders.write"), "{}", warned.what);
        let mut describe = |token: &str| {
            config.pages.scope_descriptions.insert(token.into(), "See your orders".into());
            scopes(&config).what
        };
        assert!(describe("orders.read").ends_with(": orders.write"));
        assert!(describe("orders.write").contains("each is explained"));
    }

    #[test]
    fn a_key_encryption_key_beside_the_keys_is_worth_a_warning() {
        let Installation { _dir, mut config, .. } = installation();
        config.keys.kek = KekSource::Developer;
        assert_eq!(key_encryption_key(&config).level, Level::Warn);
        let file = config.data_dir.join("kek");
        config.keys.kek = KekSource::File(file.clone());
        assert_eq!(key_encryption_key(&config).level, Level::Fail, "not there");
        write(&file, 0o600);
        assert_eq!(key_encryption_key(&config).level, Level::Ok);
        close(&file, 0o440);
        assert_eq!(key_encryption_key(&config).level, Level::Ok, "as a service manager mounts it");
        close(&file, 0o644);
        assert_eq!(key_encryption_key(&config).level, Level::Fail, "open");
        write(&config.keys.dir.join("kek"), 0o600);
        assert_eq!(key_encryption_key(&config).level, Level::Warn, "an old one");
    }

    #[tokio::test]
    async fn the_audit_log_must_be_there_and_linked() {
        use crate::audit::{Actor, AuditLog, Event};
        let Installation { _dir, config, .. } = installation();
        assert_eq!(audit_log(&config).level, Level::Fail, "not there");
        let log = AuditLog::open(&config.audit_path(), crate::clock::SystemClock::shared()).unwrap();
        log.record(Event::new(EventKind::ServiceStarted, Actor::Service)).await.unwrap();
        assert_eq!(audit_log(&config).level, Level::Ok);
        log.record(Event::new(EventKind::AuditBegunAnew, Actor::Service)).await.unwrap();
        assert_eq!(audit_log(&config).level, Level::Warn);
        let altered = fs::read_to_string(config.audit_path()).unwrap().replace("started", "stopped");
        fs::write(config.audit_path(), altered).unwrap();
        assert_eq!(audit_log(&config).level, Level::Fail);
    }

    #[test]
    fn a_disk_needs_room() {
        const MIB: u64 = 1024 * 1024;
        let of = |free: u64, size: u64| {
            let room = Room { free: free * MIB, size: size * MIB, kept_free: 32 * MIB };
            let Finding { level, what, .. } = free_space(&room);
            (level, what)
        };
        assert_eq!(of(63, 100), (Level::Fail, "63 % free, 63 MiB".into()));
        assert_eq!(of(35_000, 250_000), (Level::Warn, "14 % free, 35000 MiB".into()), "nothing stops yet");
        assert_eq!(of(40_000, 250_000), (Level::Ok, "16 % free, 40000 MiB".into()));
        assert_eq!(of(0, 0).0, Level::Fail);
        assert_eq!(disk(&Config::for_tests(Path::new("/nonexistent"))).level, Level::Fail);
    }

    #[test]
    fn what_is_open_by_choice_is_worth_a_warning() {
        let Installation { _dir, mut config, .. } = installation();
        assert_eq!(issuer_scheme(&config).level, Level::Warn);
        assert_eq!(management_exposure(&config).level, Level::Ok);
        config.issuer = "https://id.example.com".into();
        config.management_listen = "0.0.0.0:8081".parse().unwrap();
        assert_eq!(issuer_scheme(&config).level, Level::Ok);
        assert_eq!(management_exposure(&config).level, Level::Warn);
    }
}
