use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use super::CliError;
use super::print::{self, Printer};
use crate::audit::{self, Head, Report};

/// Recomputes the audit log at `path`; exit code 1 if something is wrong with it.
pub(super) fn verify(path: &Path, head: Option<&Head>, printer: &Printer) -> Result<ExitCode, CliError> {
    let report = audit::verify(path, head)
        .map_err(|error| CliError::Failed(format!("{} can't be read: {error}", path.display())))?;
    if printer.json {
        printer.show(&serde_json::json!(report), &[])?;
    } else {
        print::write(&describe(&report, head.is_some()))?;
    }
    Ok(if report.is_intact() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn describe(report: &Report, with_head: bool) -> String {
    let mut out = String::new();
    for damage in &report.damage {
        writeln!(out, "{damage}").ok();
    }
    let verdict = if report.is_intact() { "intact" } else { "DAMAGED" };
    writeln!(out, "{} entries, {verdict}", report.entries).ok();
    if let Some(head) = &report.head {
        writeln!(out, "head {head}").ok();
    }
    if !with_head {
        out.push_str(
            "note the head elsewhere and pass it by --head next time: without it, a cut end can't be seen\n",
        );
    }
    out
}
