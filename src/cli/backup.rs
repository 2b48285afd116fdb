//! Copies of an installation: taken, moved, restored.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::args::{NodesArgs, RestoreArgs};
use super::print::Printer;
use super::stopped::{audit_log, failed, operator_name, runtime};
use super::{CliError, Remote, note};
use crate::app::{self, Ground};
use crate::audit::{Actor, AuditLog, Event, EventKind, Outcome};
use crate::backup::{self, Assurances, BackupError, Contents, Evidence, NewFile, Purpose, Restored};
use crate::config::Config;
use crate::keys::{Kek, KeyRingParts};

/// What a restore can't decide, because only people know it.
const CHECK: [&str; 6] = [
    "accounts that were disabled, deleted or given a new password since the copy was taken are as they were before: disable \
     them again",
    "administrators whom somebody demoted since then are administrators again: signet users list",
    "clients that were deleted or given a new secret since then are as they were before: delete them again, rotate their \
     secrets",
    "scopes, resources and redirect URIs that were taken from clients since then are theirs again: signet clients list",
    "second factors that were removed or replaced since then are as they were before; whoever has one needs new recovery codes",
    "the audit log, if it is newer than the copy, says what happened since: signet audit verify, then look for users, \
     clients and api_key entries",
];

/// Copies the installation into `file`; one that is `moved` is not served any more.
pub(super) fn export(
    config: &Config,
    file: &Path,
    moved: Option<NodesArgs>,
    printer: &Printer,
) -> Result<(), CliError> {
    let purpose = match moved {
        Some(nodes) => (Purpose::Move, assured(nodes)),
        None => (Purpose::Backup, Assurances::default()),
    };
    runtime()?.block_on(async {
        let ground = Ground::of_installation(config).await.map_err(failed)?;
        if let Some(nodes) = moved {
            // What one of them would write from here on would be lost.
            refuse_running_nodes(&ground, nodes).await?;
        }
        let (parts, audit) = open(config, &ground).await?;
        let mut sink = NewFile::create(file).map_err(failed)?;
        begin(&audit, "export", file).await?;
        let entropy = ground.entropy.as_ref();
        let exported = backup::export(&parts, entropy, &config.issuer, purpose, &mut sink).await;
        let kept = exported.and_then(|contents| sink.keep().map(|()| contents));
        let event = event(EventKind::InstallationExported, file);
        let contents = or_recorded(&audit, &event, kept).await?;
        let shown = printer.show(&shown(contents.clone(), printer)?, &[]);
        audit.record(of_copy(event, &contents)).await.map_err(failed)?;
        shown
    })?;
    if moved.is_some() {
        note("this installation is not served any more: `signet import FILE --move` where it goes on");
    }
    Ok(())
}

/// Says what is in the copy.
pub(super) fn inspect(config: &Config, file: &Path, printer: &Printer) -> Result<(), CliError> {
    let (_, contents) = open_copy(config, file)?;
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
    runtime()?.block_on(async {
        let (copy, parts, audit) = open_with_copy(config, file, (nodes, None)).await?;
        begin(&audit, "import", file).await?;
        let imported = backup::import(&parts, &config.issuer, copy, assured(nodes)).await;
        let event = event(EventKind::InstallationImported, file);
        let contents = or_recorded(&audit, &event, imported).await?;
        let shown = printer.show(&shown(contents.clone(), printer)?, &[]);
        audit.record(of_copy(event, &contents)).await.map_err(failed)?;
        shown
    })?;
    note("start the service; the one that was copied must never be started again");
    Ok(())
}

/// Puts an earlier state back: that of a file, or the one that lies in the data directory.
pub(super) fn restore(config: &Config, args: &RestoreArgs, printer: &Printer) -> Result<(), CliError> {
    if let Some(noticed_at) = args.false_alarm {
        return false_alarm(config, noticed_at);
    }
    let RestoreArgs { keep_api_keys, keys_lost, .. } = *args;
    let assurances = Assurances { keep_api_keys, keys_lost, ..assured(args.nodes) };
    runtime()?.block_on(async {
        let place = args.file.as_deref().unwrap_or(&config.data_dir);
        let event = event(EventKind::InstallationRestored, place);
        let event = event.detail("keep_api_keys", keep_api_keys).detail("keys_lost", keys_lost);
        let (mut answer, event, restored, audit) = if let Some(file) = &args.file {
            let (copy, parts, audit) =
                open_with_copy(config, file, (args.nodes, args.sha256.as_deref())).await?;
            begin(&audit, "restore", place).await?;
            let restored = backup::restore(&parts, &config.issuer, copy, assurances).await;
            let (contents, restored) = or_recorded(&audit, &event, restored).await?;
            (shown(contents.clone(), printer)?, of_copy(event, &contents), restored, audit)
        } else {
            let ground = Ground::of_installation(config).await.map_err(failed)?;
            refuse_running_nodes(&ground, args.nodes).await?;
            let (parts, audit) = open(config, &ground).await?;
            begin(&audit, "restore --in-place", place).await?;
            let restored = backup::restore_in_place(&parts, assurances).await;
            let restored = or_recorded(&audit, &event, restored).await?;
            (json!({}), event, restored, audit)
        };
        let ended = |(name, rows): (&&str, &usize)| ((*name).to_owned(), *rows as u64);
        answer["ended"] = counted(restored.ended.iter().map(ended), printer);
        answer["condemned"] = json!(restored.condemned.kids);
        answer["breaks"] = json!(restored.condemned.breaks);
        // Whoever restores must see it, also where it can't be recorded.
        let shown = printer.show(&answer, &[]);
        audit.record(event.detail("ended", json!(restored.ended))).await.map_err(failed)?;
        record(&audit, &restored).await?;
        shown
    })?;
    if keep_api_keys {
        note("check by hand: API keys that were revoked since the copy was taken live again");
    }
    for check in CHECK {
        note(&format!("check by hand: {check}"));
    }
    Ok(())
}

/// Takes back what a node noticed, at this time, of a store that was never put back. What was noticed at another stays: it is not
/// what the operator has looked into.
fn false_alarm(config: &Config, noticed_at: DateTime<Utc>) -> Result<(), CliError> {
    runtime()?.block_on(async {
        let ground = Ground::of_installation(config).await.map_err(failed)?;
        let (_, audit) = open(config, &ground).await?;
        let store = ground.store.as_ref();
        let mut noticed = backup::read_evidence(store).await.map_err(failed)?;
        noticed.retain(|evidence| evidence.is_of(noticed_at));
        if noticed.is_empty() {
            return Err(CliError::Failed(
                "nothing was noticed at that time: name the one that the warning names".into(),
            ));
        }
        for Evidence { node, what, .. } in noticed {
            let event = Event::new(EventKind::InstallationFalseAlarm, Actor::Operator(operator_name()));
            let event = event.detail("noticed_at", noticed_at.to_rfc3339());
            audit.record(event.detail("noticed", what).detail("noticed_by", node)).await.map_err(failed)?;
        }
        backup::dismiss_evidence(store, noticed_at).await.map_err(failed)
    })
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

/// Records that it is about to be done: nothing is done that can't be recorded.
async fn begin(audit: &AuditLog, act: &'static str, file: &Path) -> Result<(), CliError> {
    audit.record(event(EventKind::InstallationCopyBegun, file).detail("act", act)).await.map_err(failed)
}

/// Records what did not work; what did is shown first, then recorded.
pub(super) async fn or_recorded<T, E: std::fmt::Display>(
    audit: &AuditLog,
    event: &Event,
    done: Result<T, E>,
) -> Result<T, CliError> {
    match done {
        Ok(done) => Ok(done),
        Err(error) => {
            let event = event.clone().outcome(Outcome::Failed).detail("error", error.to_string());
            if let Err(unrecorded) = audit.record(event).await {
                note(&format!("the audit log can't be written: {unrecorded}"));
            }
            Err(failed(error))
        }
    }
}

/// With which copy it was.
fn of_copy(event: Event, contents: &Contents) -> Event {
    let Contents { sha256, taken_at, purpose, rows, keys, .. } = contents;
    let event = event.detail("sha256", sha256.as_str()).detail("taken_at", taken_at.to_rfc3339());
    event.detail("purpose", json!(purpose)).detail("rows", json!(rows)).detail("keys", *keys)
}

/// What the settings name. What shows that the store was put back is told.
async fn open(config: &Config, ground: &Ground) -> Result<(KeyRingParts, Arc<AuditLog>), CliError> {
    app::refuse_other_issuer(ground.store.as_ref(), &config.issuer).await.map_err(failed)?;
    std::fs::create_dir_all(&config.data_dir).map_err(failed)?;
    let audit = audit_log(config, ground).await?;
    let parts = app::key_ring_parts(config, ground).map_err(failed)?;
    parts.fitness.compare_with(ground.store.as_ref()).await.map_err(failed)?;
    Ok((parts, audit))
}

/// The file, and where it goes. Nothing is made if the file can't be used, or is not the one with the digest `expected`.
async fn open_with_copy(
    config: &Config,
    path: &Path,
    (nodes, expected): (NodesArgs, Option<&str>),
) -> Result<(File, KeyRingParts, Arc<AuditLog>), CliError> {
    let (file, contents) = open_copy(config, path)?;
    let Contents { taken_at, sha256, .. } = contents;
    note(&format!("the copy was taken at {}; sha256 {sha256}", taken_at.to_rfc3339()));
    if expected.is_some_and(|expected| expected != sha256) {
        return Err(failed(BackupError::OtherCopy { found: sha256 }));
    }
    let ground = Ground::open(config).await.map_err(failed)?;
    refuse_running_nodes(&ground, nodes).await?;
    let (parts, audit) = open(config, &ground).await?;
    Ok((file, parts, audit))
}

/// What the operator says of the nodes.
pub(super) fn assured(nodes: NodesArgs) -> Assurances {
    Assurances { nodes_stopped: nodes.stopped, ..Assurances::default() }
}

/// Before anything is begun; what is done looks again.
pub(super) async fn refuse_running_nodes(ground: &Ground, nodes: NodesArgs) -> Result<(), CliError> {
    if nodes.stopped {
        return Ok(());
    }
    backup::refuse_running_nodes(ground.store.as_ref()).await.map_err(failed)
}

/// A copy, read to its end.
fn open_copy(config: &Config, path: &Path) -> Result<(File, Contents), CliError> {
    let mut file =
        File::open(path).map_err(|source| failed(BackupError::File { path: path.to_owned(), source }))?;
    let kek = Kek::find(&config.keys.kek, &config.keys.dir).map_err(failed)?.ok_or_else(|| {
        let dir = config.keys.dir.display();
        CliError::Failed(format!("{dir} holds no key-encryption key; put the one back that sealed the copy"))
    })?;
    match backup::inspect(&mut file, &kek) {
        Ok(contents) => Ok((file, contents)),
        Err(error) => Err(CliError::Failed(format!("{}: {error}", path.display()))),
    }
}
