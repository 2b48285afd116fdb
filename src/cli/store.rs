//! What only a store in a database needs: its tables made, and a look at it.

use serde_json::json;

use super::error::CliError;
use super::print::Printer;
use super::stopped::runtime;
use crate::app::database;
use crate::config::{Config, PostgresConfig, StoreConfig};

/// Makes the tables, or brings them to the version of this release.
pub(super) fn migrate(config: &Config, printer: &Printer) -> Result<(), CliError> {
    let Some(settings) = database_of(config) else { return nothing_to_do(printer) };
    let before = runtime()?.block_on(database::migrate(settings)).map_err(failed)?;
    let now = runtime()?.block_on(database::report(settings)).map_err(failed)?;
    printer.show(&json!({ "schema_before": before, "schema": now.schema }), &[])
}

/// Says how the database stands; fails where a service could not start on it.
pub(super) fn check(config: &Config, printer: &Printer) -> Result<(), CliError> {
    let Some(settings) = database_of(config) else { return nothing_to_do(printer) };
    let report = runtime()?.block_on(database::report(settings)).map_err(failed)?;
    let answer = json!({
        "server": report.server,
        "schema": report.schema,
        "expected_schema": report.expected_schema,
        "warnings": report.warnings,
    });
    printer.show(&answer, &[])?;
    if report.schema == report.expected_schema {
        return Ok(());
    }
    Err(CliError::Failed(format!(
        "the tables have version {}, this release works on {}: see `signet store migrate`",
        report.schema, report.expected_schema
    )))
}

fn database_of(config: &Config) -> Option<&PostgresConfig> {
    match &config.store {
        StoreConfig::Directory => None,
        StoreConfig::Postgres(settings) => Some(settings),
    }
}

fn nothing_to_do(printer: &Printer) -> Result<(), CliError> {
    printer.show(&json!({ "store": "directory", "note": "a store in a directory has no tables" }), &[])
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(format!("store: {error}"))
}
