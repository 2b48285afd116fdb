//! `signet export`, `inspect`, `import` and `restore` as they are typed, between services that run.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::process::{Process, free_port};

const KEK: [(&str, &str); 1] = [("SIGNET_KEYS__KEK_FILE", "../kek")];

/// Runs `signet` in `dir` with the issuer of the service that is or was there.
fn signet(dir: &Path, issuer: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signet"));
    command.args(["--json", "--issuer", issuer]).args(args).current_dir(dir).env_clear().envs(KEK);
    command.output().unwrap()
}

#[track_caller]
fn done(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refused(output: &Output, why: &str) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && message.contains(why), "{output:?}");
}

/// The names and contents of the files in `dir`.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap_or_default())).collect();
    files.sort();
    files
}

/// The entries of the audit log about copies, in order: event and outcome.
fn entries(dir: &Path) -> Vec<(String, String)> {
    let log = std::fs::read_to_string(dir.join("data/audit.jsonl")).unwrap();
    let entries = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let about = entries.filter(|entry| entry["event"].as_str().unwrap().starts_with("installation."));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    about.map(|entry| (text(&entry["event"]), text(&entry["outcome"]))).collect()
}

#[test]
fn an_installation_is_copied_moved_and_put_back_by_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| {
        let dir = dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        dir
    });
    let kek = dir.path().join("kek");
    std::fs::write(&kek, "5e".repeat(32)).unwrap();
    std::fs::set_permissions(&kek, std::fs::Permissions::from_mode(0o600)).unwrap();
    let service = Process::start(&old, free_port(), &KEK);
    let issuer = service.issuer.clone();
    let port = issuer.rsplit(':').next().unwrap().parse().unwrap();
    let admin = service.credentials("administrator");
    let admin = (admin.0.as_str(), admin.1.as_str());
    let token = service.token(admin).unwrap();
    // Which waits for the first keys to be published: before that nothing is copied.
    assert_eq!(service.get("/.well-known/jwks.json", &token).unwrap().status, 200);
    assert_eq!(service.terminate(), Some(0));
    let run = |dir: &Path, args: &[&str]| signet(dir, &issuer, args);

    let copied = done(&run(&old, &["export", "../backup", "--offline"]));
    assert_eq!(copied["purpose"], "backup");
    assert_eq!(done(&run(&new, &["inspect", "../backup"])), copied);
    refused(&run(&new, &["restore", "../backup", "--sha256", "another"]), "not the one that was named");
    assert_eq!(files(&new), [], "nothing was touched");
    refused(&run(&new, &["import", "../backup", "--move"]), "the copy is a backup");
    // Beside the keys of the installation itself.
    let keys = files(&old.join("keys"));
    let restore = ["restore", "../backup", "--data-dir", "fresh"];
    refused(&run(&old, &restore), "another installation may need them");
    assert_eq!(files(&old.join("keys")), keys);

    let moved = done(&run(&old, &["export", "../moved", "--offline", "--move"]));
    assert_eq!((&moved["purpose"], &moved["sha256"]), (&"move".into(), &copied["sha256"]));
    refused(&run(&old, &["clients", "list", "--offline"]), "was moved elsewhere");
    assert_eq!(done(&run(&new, &["import", "../moved", "--move"]))["sha256"], moved["sha256"]);
    std::fs::write(new.join("seen"), "").unwrap();
    let service = Process::start(&new, port, &KEK);
    assert_eq!(service.get("/admin/clients", &token).unwrap().status, 200, "nothing has ended");
    assert_eq!(service.terminate(), Some(0));

    let elsewhere = ["restore", "--in-place", "--keys-dir", "../elsewhere"];
    refused(&run(&new, &elsewhere), "none of the private keys");
    let restored = done(&run(&new, &["restore", "--in-place"]));
    assert!(restored["condemned"].as_array().unwrap().len() >= 2, "{restored}");
    let service = Process::start(&new, port, &KEK);
    assert_eq!(service.get("/admin/clients", &token).unwrap().status, 401);
    assert!(service.token(admin).is_some());
    assert_eq!(service.terminate(), Some(0));
    let said = |event: &str, outcome: &str| (format!("installation.{event}"), outcome.to_owned());
    let begun = said("copy_begun", "success");
    assert_eq!(
        entries(&new),
        [
            (begun.clone(), said("imported", "failed")),
            (begun.clone(), said("imported", "success")),
            (begun.clone(), said("restored", "failed")),
            (begun, said("restored", "success")),
        ]
        .map(<[_; 2]>::from)
        .concat()
    );
}
