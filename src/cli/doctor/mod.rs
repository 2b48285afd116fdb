//! Looks whether an installation is in order: from outside, as its clients and verifiers see it, and at
//! its files from inside. A check is a function that answers with one [`Finding`].

mod inside;
mod issuer_change;
mod keys_at_rest;
mod outside;
mod shared;

use std::process::ExitCode;

use serde::Serialize;

pub(super) use outside::ready;

use super::CliError;
use super::http::Http;
use super::print::{self, Printer, aligned, plain};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, VaultPlace};

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    level: Level,
    name: &'static str,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Fail,
}

impl Finding {
    fn ok(name: &'static str, what: impl Into<String>) -> Self {
        Self { level: Level::Ok, name, what: what.into(), remedy: None }
    }

    fn warn(name: &'static str, what: impl Into<String>, remedy: &'static str) -> Self {
        Self { level: Level::Warn, name, what: what.into(), remedy: Some(remedy) }
    }

    fn fail(name: &'static str, what: impl Into<String>, remedy: &'static str) -> Self {
        Self { level: Level::Fail, name, what: what.into(), remedy: Some(remedy) }
    }
}

/// Runs every check and shows what it found; exit code 1 if one failed, 2 if the settings can't be used.
pub(super) fn run(
    config: Result<Config, ConfigError>,
    http: &Http,
    clock: &dyn Clock,
    printer: &Printer,
) -> Result<ExitCode, CliError> {
    let config = config?;
    let findings = examine(&config, http, clock);
    if printer.json {
        printer.show(&serde_json::json!(findings), &[])?;
    } else {
        print::write(&describe(&findings))?;
    }
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn examine(config: &Config, http: &Http, clock: &dyn Clock) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("settings", "in order")];
    findings.push(inside::issuer_scheme(config));
    findings.extend(inside::certificate(config, clock));
    findings.extend(outside::findings(config, http, clock));
    findings.push(inside::management_exposure(config));
    findings.extend(shared::findings(config));
    findings.push(inside::resources(config));
    findings.push(inside::scopes(config));
    if config.keys.vault == VaultPlace::Directory {
        findings.push(keys_at_rest::keys_directory(config));
    }
    findings.push(keys_at_rest::key_encryption_key(config));
    findings.push(inside::audit_log(config));
    findings.extend(issuer_change::finding(config, clock));
    findings.push(inside::disk(config));
    findings
}

fn describe(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let level = match finding.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        let remedy = finding.remedy.map(|remedy| format!("; {remedy}")).unwrap_or_default();
        vec![level.to_owned(), format!("{}:", finding.name), format!("{}{remedy}", plain(&finding.what))]
    };
    aligned(&findings.iter().map(line).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_with_its_remedy() {
        let findings = [
            Finding::ok("disk", "50 % free"),
            Finding::fail("issuer", "does not\nanswer", "start the service"),
        ];
        assert_eq!(
            describe(&findings),
            "ok    disk:    50 % free\nFAIL  issuer:  does not\u{fffd}answer; start the service\n"
        );
    }
}
