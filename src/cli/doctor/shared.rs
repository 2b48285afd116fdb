//! A store, or keys, that other nodes share.

use std::sync::Arc;

use super::Finding;
use crate::app::{self, Ground, database};
use crate::cli::stopped::runtime;
use crate::config::{Config, PostgresConfig, StoreConfig, VaultPlace};
use crate::keys::Kek;

const START_FAILS: &str = "a start of the service would fail";

/// What there is to say of them; a directory is looked at elsewhere.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let StoreConfig::Postgres(settings) = &config.store else { return Vec::new() };
    let mut findings = store(settings);
    let is_well = findings.iter().all(|finding| finding.remedy != Some(START_FAILS));
    if is_well {
        findings.push(agreement(config));
    }
    if config.keys.vault == VaultPlace::Store && is_well {
        findings.push(match keys(config) {
            Ok(count) => Finding::ok("keys in the store", format!("{count}, each opens")),
            Err(error) => Finding::fail("keys in the store", error.to_string(), START_FAILS),
        });
    }
    findings
}

fn store(settings: &PostgresConfig) -> Vec<Finding> {
    let report = runtime()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(database::report(settings)).map_err(|error| error.to_string()));
    let report = match report {
        Ok(report) => report,
        Err(error) => return vec![Finding::fail("store", error, START_FAILS)],
    };
    let mut findings = vec![match report.schema {
        0 => Finding::fail(
            "store",
            "there are no tables yet",
            "start the service once, or run `signet store migrate`",
        ),
        schema if schema == report.expected_schema => {
            Finding::ok("store", format!("tables of version {schema} in {}", report.server))
        }
        schema => Finding::fail("store", format!("the tables have version {schema}"), START_FAILS),
    }];
    let durability = "change the server's settings, or those of the role";
    findings.extend(report.warnings.into_iter().map(|what| Finding::warn("durability", what, durability)));
    findings
}

/// Whether a node with these settings could serve beside those that run.
fn agreement(config: &Config) -> Finding {
    let name = "settings of the nodes";
    let compared = async {
        let ground = Ground::of_installation(config).await?;
        app::compare_settings(config, ground.store.as_ref()).await
    };
    match runtime().map(|runtime| runtime.block_on(compared)) {
        Ok(Ok((None, differences))) if differences.is_empty() => Finding::ok(name, "as here"),
        Ok(Ok((None, differences))) => {
            let what: Vec<_> = differences.iter().map(ToString::to_string).collect();
            Finding::warn(name, what.join("; "), "give all nodes the same")
        }
        Ok(Ok((Some(difference), _))) => Finding::fail(name, difference.to_string(), START_FAILS),
        Ok(Err(error)) => Finding::fail(name, error.to_string(), START_FAILS),
        Err(error) => Finding::fail(name, error.to_string(), START_FAILS),
    }
}

/// Opens every key that is there; makes nothing.
fn keys(config: &Config) -> Result<usize, Box<dyn std::error::Error>> {
    let kek = Kek::find(&config.keys.kek, &config.keys.dir)?.ok_or("there is no key-encryption key")?;
    runtime()?.block_on(async {
        let ground = Ground::of_installation(config).await?;
        let vault = ground.vault(config, Arc::new(kek))?;
        Ok(tokio::task::spawn_blocking(move || vault.verify()).await??)
    })
}
