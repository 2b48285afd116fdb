use chrono::{DateTime, Utc};

use super::Finding;
use crate::audit::{self, EventKind, Search};
use crate::clock::Clock;
use crate::config::Config;

const NAME: &str = "former issuer";

/// How many starts are looked at.
const STARTS: usize = 100;

/// An issuer that has changed is worth a warning for as long as something that was issued under the former one would
/// be valid: nothing of that is accepted any more. The audit log tells of it; nothing is said where that can't be read.
pub(super) fn finding(config: &Config, clock: &dyn Clock) -> Option<Finding> {
    let asked =
        Search { event: EventKind::ServiceStarted.as_str().into(), limit: STARTS, ..Search::default() };
    let starts = audit::search(&config.audit_path(), &asked).ok()?.entries;
    // From the newest to the oldest, back to the first that bears another issuer.
    let mut changed_at = clock.now();
    for start in &starts {
        let Some(issuer) = start.detail.get("issuer").and_then(serde_json::Value::as_str) else { break };
        if issuer != config.issuer {
            return is_recent(config, changed_at, clock.now()).then(|| warning(issuer, &config.issuer));
        }
        changed_at = DateTime::parse_from_rfc3339(&start.time).ok()?.to_utc();
    }
    None
}

/// Refresh tokens live longest.
fn is_recent(config: &Config, changed_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    let longest = config.refresh_tokens.lifetime.max(config.tokens.longest_lifetime);
    (now - changed_at).to_std().is_ok_and(|since| since < longest)
}

fn warning(former: &str, issuer: &str) -> Finding {
    Finding::warn(
        NAME,
        format!("the issuer was {former}, and is {issuer} now: all that was issued as the former is refused"),
        "give verifiers and clients the new one; for clients that administer, stop the service and run `signet clients change ID \
         --offline --resource ISSUER/admin`",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::Level;
    use super::*;
    use crate::audit::{Actor, AuditLog, Event};
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn a_changed_issuer_is_told_until_nothing_of_the_former_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::for_tests(dir.path());
        std::fs::create_dir(&config.data_dir).unwrap();
        let clock = Arc::new(ManualClock::at(1_800_000_000));
        let look = |config: &Config| finding(config, clock.as_ref());
        assert_eq!(look(&config), None, "there is no log");
        let log = AuditLog::open(&config.audit_path(), clock.clone()).unwrap();
        let start = async |issuer: Option<&str>| {
            let event = Event::new(EventKind::ServiceStarted, Actor::Service);
            let event = match issuer {
                Some(issuer) => event.detail("issuer", issuer),
                None => event,
            };
            log.record(event).await.unwrap();
        };
        start(None).await;
        start(Some(&config.issuer.clone())).await;
        assert_eq!(look(&config), None, "earlier versions did not say");
        let former = std::mem::replace(&mut config.issuer, "https://new.example".into());
        let told = look(&config).expect("the settings are ahead of the service");
        assert!(told.level == Level::Warn && told.what.contains(&former), "{}", told.what);
        start(Some("https://new.example")).await;
        clock.advance(Duration::from_mins(1));
        start(Some("https://new.example")).await;
        clock.advance(config.refresh_tokens.lifetime.checked_sub(Duration::from_secs(61)).unwrap());
        assert!(look(&config).is_some());
        clock.advance(Duration::from_secs(1));
        assert_eq!(look(&config), None);
    }
}
