//! Copies of an installation: taken, moved, restored.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::args::{NodesArgs, RestoreArgs};
use super::print::Printer;
use super::stopped::{audit_log, failed, operator_name, runtime};
use super::{CliError, Remote, note};
use crate::app::{self, Ground};
use crate::audit::{Actor, AuditLog, Event, EventKind};
use crate::backup::{self, BackupError, Contents, NewFile, Restored};
use crate::config::Config;
use crate::keys::{Kek, KeyRingParts};

/// What a restore can't decide, because only people know it.
const CHECK: [&str; 4] = [
    "accounts that were disabled, deleted or given a new password since the copy was taken are as they were before: disable \
     them again",
    "clients that were deleted or given a new secret since then are as they were before: delete them again, rotate their \
     secrets",
    "second factors that were removed or replaced since then are as they were before",
    "the audit log, if it is newer than the copy, says what happened since: signet audit verify, then look for users, \
     clients and api_key entries",
];

/// Copies the installation into `file`.
pub(super) fn export(config: &Config, file: &Path, printer: &Printer) -> Result<(), CliError> {
    let contents = runtime()?.block_on(async {
        let ground = Ground::of_installation(config).await.map_err(failed)?;
        let (parts, audit) = open(config, &ground).await?;
        let mut sink = NewFile::create(file).map_err(failed)?;
        audit.record(event(EventKind::InstallationExported, file)).await.map_err(failed)?;
        let exported = backup::export(&parts, ground.entropy.as_ref(), &config.issuer, &mut sink).await;
        let contents = exported.map_err(failed)?;
        sink.keep().map_err(failed)?;
        Ok::<_, CliError>(contents)
    })?;
    printer.show(&shown(contents, printer)?, &[])
}

/// Takes a copy of the running service. It is read to its end before the file gets its name, which takes the
/// key-encryption key: this is for the machine that has it.
pub(super) fn download(
    config: &Config,
    remote: &Remote,
    file: &Path,
    printer: &Printer,
) -> Result<(), CliError> {
    let kek = Kek::find(&config.keys.kek, &config.keys.dir).map_err(failed)?.ok_or_else(|| {
        CliError::Failed("there is no key-encryption key here: run this where the service runs".into())
    })?;
    let mut new = NewFile::create(file).map_err(failed)?;
    remote.download("/admin/backup", "signet:keys", new.writer())?;
    let contents = new.inspect(&kek).map_err(failed)?;
    new.keep().map_err(failed)?;
    printer.show(&shown(contents, printer)?, &[])
}

/// Moves the installation in `file` to the empty store of the settings.
pub(super) fn import(
    config: &Config,
    file: &Path,
    nodes: NodesArgs,
    printer: &Printer,
) -> Result<(), CliError> {
    let contents = runtime()?.block_on(async {
        let (copy, parts, audit) = open_with_copy(config, file, nodes).await?;
        audit.record(event(EventKind::InstallationImported, file)).await.map_err(failed)?;
        backup::import(&parts, &config.issuer, copy).await.map_err(failed)
    })?;
    printer.show(&shown(contents, printer)?, &[])?;
    note("start the service; the one that was copied must never be started again");
    Ok(())
}

/// Puts an earlier state back: that of a file, or the one that lies in the data directory.
pub(super) fn restore(config: &Config, args: &RestoreArgs, printer: &Printer) -> Result<(), CliError> {
    let answer = runtime()?.block_on(async {
        let (answer, restored, audit) = if let Some(file) = &args.file {
            let (copy, parts, audit) = open_with_copy(config, file, args.nodes).await?;
            let event = event(EventKind::InstallationRestored, file);
            audit.record(event.detail("keep_api_keys", args.keep_api_keys)).await.map_err(failed)?;
            let restored = backup::restore(&parts, &config.issuer, copy, args.keep_api_keys).await;
            let (contents, restored) = restored.map_err(failed)?;
            (shown(contents, printer)?, restored, audit)
        } else {
            let ground = Ground::of_installation(config).await.map_err(failed)?;
            refuse_running_nodes(&ground, args.nodes).await?;
            let (parts, audit) = open(config, &ground).await?;
            let event = event(EventKind::InstallationRestored, &config.data_dir);
            audit.record(event.detail("keep_api_keys", args.keep_api_keys)).await.map_err(failed)?;
            let restored = backup::restore_in_place(&parts, args.keep_api_keys).await.map_err(failed)?;
            (json!({}), restored, audit)
        };
        record(&audit, &restored).await?;
        let mut answer = answer;
        answer["ended"] =
            counted(restored.ended.into_iter().map(|(name, rows)| (name.to_owned(), rows as u64)), printer);
        answer["condemned"] = json!(restored.condemned.kids);
        answer["breaks"] = json!(restored.condemned.breaks);
        Ok::<_, CliError>(answer)
    })?;
    printer.show(&answer, &[])?;
    if args.keep_api_keys {
        note("check by hand: API keys that were revoked since the copy was taken live again");
    }
    for check in CHECK {
        note(&format!("check by hand: {check}"));
    }
    Ok(())
}

/// What a copy holds; for people, the counts as a table.
fn shown(mut contents: Contents, printer: &Printer) -> Result<Value, CliError> {
    let rows = std::mem::take(&mut contents.rows);
    let mut answer = serde_json::to_value(contents).map_err(failed)?;
    answer["rows"] = counted(rows.into_iter(), printer);
    Ok(answer)
}

fn counted(rows: impl Iterator<Item = (String, u64)>, printer: &Printer) -> Value {
    if printer.json {
        return Value::Object(rows.map(|(table, rows)| (table, json!(rows))).collect());
    }
    rows.map(|(table, rows)| json!({ "table": table, "rows": rows })).collect()
}

async fn record(audit: &AuditLog, restored: &Restored) -> Result<(), CliError> {
    for kid in restored.events.iter().filter_map(|event| event.condemned()) {
        let event = Event::new(EventKind::KeyCompromised, Actor::Operator(operator_name())).key(kid);
        audit.record(event.detail("reason", "restore")).await.map_err(failed)?;
    }
    Ok(())
}

fn event(kind: EventKind, file: &Path) -> Event {
    Event::new(kind, Actor::Operator(operator_name())).detail("file", file.display().to_string())
}

async fn open(config: &Config, ground: &Ground) -> Result<(KeyRingParts, Arc<AuditLog>), CliError> {
    std::fs::create_dir_all(&config.data_dir).map_err(failed)?;
    let audit = audit_log(config, ground)?;
    let parts = app::key_ring_parts(config, ground).map_err(failed)?;
    parts.fitness.compare_with(ground.store.as_ref()).await.map_err(failed)?;
    Ok((parts, audit))
}

/// The file, and where it goes. Nothing is made if the file can't be used.
async fn open_with_copy(
    config: &Config,
    path: &Path,
    nodes: NodesArgs,
) -> Result<(File, KeyRingParts, Arc<AuditLog>), CliError> {
    let file =
        File::open(path).map_err(|source| failed(BackupError::File { path: path.to_owned(), source }))?;
    let kek = Kek::find(&config.keys.kek, &config.keys.dir).map_err(failed)?.ok_or_else(|| {
        let dir = config.keys.dir.display();
        CliError::Failed(format!("{dir} holds no key-encryption key; put the one back that sealed the copy"))
    })?;
    let file = checked(file, path, &kek)?;
    let ground = Ground::open(config).await.map_err(failed)?;
    refuse_running_nodes(&ground, nodes).await?;
    let (parts, audit) = open(config, &ground).await?;
    Ok((file, parts, audit))
}

async fn refuse_running_nodes(ground: &Ground, nodes: NodesArgs) -> Result<(), CliError> {
    if nodes.stopped {
        return Ok(());
    }
    backup::refuse_running_nodes(ground.store.as_ref()).await.map_err(failed)
}

fn checked(mut file: File, path: &Path, kek: &Kek) -> Result<File, CliError> {
    match backup::inspect(&mut file, kek) {
        Ok(_) => Ok(file),
        Err(error) => Err(CliError::Failed(format!("{}: {error}", path.display()))),
    }
}
