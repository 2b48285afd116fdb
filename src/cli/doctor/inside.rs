use std::path::Path;

use super::Finding;
use crate::audit::{self, EventKind, Search};
use crate::clock::Clock;
use crate::config::{AdminListener, Config};
use crate::http::{certificate_end, unexplained_scopes};
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Level;
    use super::*;

    fn config() -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::for_tests(dir.path());
        fs::create_dir(&config.data_dir).unwrap();
        (dir, config)
    }

    #[test]
    fn a_demonstration_resource_left_in_place_is_worth_a_warning() {
        let (_dir, mut config) = config();
        assert_eq!(resources(&config).level, Level::Warn);
        config.resources[0].uri = crate::oauth::Resource::parse("https://api.example.com").unwrap();
        assert_eq!(resources(&config).level, Level::Ok);
        config.resources.clear();
        assert_eq!(resources(&config).level, Level::Ok);
    }

    #[test]
    fn a_scope_that_nobody_has_explained_is_worth_a_warning() {
        let (_dir, mut config) = config();
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

    #[tokio::test]
    async fn the_audit_log_must_be_there_and_linked() {
        use crate::audit::{Actor, AuditLog, Event};
        let (_dir, config) = config();
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
        let (_dir, mut config) = config();
        assert_eq!(issuer_scheme(&config).level, Level::Warn);
        assert_eq!(management_exposure(&config).level, Level::Ok);
        config.issuer = "https://id.example.com".into();
        config.management_listen = "0.0.0.0:8081".parse().unwrap();
        assert_eq!(issuer_scheme(&config).level, Level::Ok);
        assert_eq!(management_exposure(&config).level, Level::Warn);
    }
}
