//! `signet export`, `inspect`, `import` and `restore` as they are typed, between services that run.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use signet::backup;
use signet::clock::SystemClock;
use signet::store::SledStore;

use crate::postgres_fixture::Database;
use crate::process::{Process, free_port};

const KEK: [(&str, &str); 1] = [("SIGNET_KEYS__KEK_FILE", "../kek")];

/// Runs `signet` in `dir` with the issuer of the service that is or was there.
fn signet(dir: &Path, issuer: &str, args: &[&str]) -> Output {
    signet_with(&KEK, (dir, issuer), args)
}

/// The same with these settings.
fn signet_with(settings: &[(&str, &str)], (dir, issuer): (&Path, &str), args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signet"));
    command.args(["--json", "--issuer", issuer]).args(args).current_dir(dir).env_clear();
    command.envs(settings.iter().copied()).output().unwrap()
}

/// Empty directories of these names below `dir`, which gets the file that [`KEK`] names.
fn directories<const N: usize>(dir: &Path, names: [&str; N]) -> [PathBuf; N] {
    let kek = dir.join("kek");
    std::fs::write(&kek, "5e".repeat(32)).unwrap();
    std::fs::set_permissions(&kek, std::fs::Permissions::from_mode(0o600)).unwrap();
    names.map(|name| {
        let dir = dir.join(name);
        std::fs::create_dir(&dir).unwrap();
        dir
    })
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

/// The operator must name what is dismissed, as the warning does.
fn dismiss_a_false_alarm(dir: &Path, run: &dyn Fn(&Path, &[&str]) -> Output) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let times = ["2026-01-01T00:00:00.007Z", "2026-01-02T00:00:00.000Z"];
    runtime.block_on(async {
        let store = SledStore::open(dir.join("data/store"), SystemClock::shared()).unwrap();
        for at in times {
            let what = ("a-node", format!("a test noticed at {at}"));
            backup::note_evidence(store.as_ref(), what, at.parse().unwrap()).await.unwrap();
        }
    });
    let warned = || {
        let told = String::from_utf8(run(dir, &["clients", "list", "--offline"]).stderr).unwrap();
        times.map(|at| told.contains(&format!("signet restore --false-alarm {at}")))
    };
    assert_eq!(warned(), [true, true]);
    assert_eq!(run(dir, &["restore", "--false-alarm"]).status.code(), Some(2));
    refused(&run(dir, &["restore", "--false-alarm", "2026-01-01T00:00:00Z"]), "nothing was noticed at that");
    assert_eq!(warned(), [true, true]);
    assert!(run(dir, &["restore", "--false-alarm", times[0]]).status.success());
    assert_eq!(warned(), [false, true]);
    assert!(run(dir, &["restore", "--false-alarm", times[1]]).status.success());
    assert_eq!(warned(), [false, false]);
}

#[test]
fn an_installation_is_copied_moved_and_put_back_by_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = directories(dir.path(), ["old", "new"]);
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
    std::fs::write(dir.path().join("new-kek"), "5f".repeat(32)).unwrap();
    std::fs::set_permissions(dir.path().join("new-kek"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let before = [files(&old.join("keys")), files(&old.join("data"))];
    for act in [
        ["clients", "list", "--offline"].as_slice(),
        &["keys", "compromise", "a-key", "--offline"],
        &["keys", "rekey", "--new-kek-file", "../new-kek"],
    ] {
        refused(&run(&old, act), "was moved elsewhere");
    }
    assert_eq!([files(&old.join("keys")), files(&old.join("data"))], before, "nothing was touched");
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
    dismiss_a_false_alarm(&new, &run);
    let said = |event: &str, outcome: &str| (format!("installation.{event}"), outcome.to_owned());
    let begun = said("copy_begun", "success");
    assert_eq!(
        entries(&new),
        [
            (begun.clone(), said("imported", "failed")),
            (begun.clone(), said("imported", "success")),
            (begun.clone(), said("restored", "failed")),
            (begun, said("restored", "success")),
            (said("false_alarm", "success"), said("false_alarm", "success")),
        ]
        .map(<[_; 2]>::from)
        .concat()
    );
}

/// From a directory into a database and out again: what was issued before counts on each side, and what was revoked on one is
/// revoked on the next.
#[tokio::test]
async fn an_installation_moves_into_postgres_and_back_by_the_command_line() {
    let Some(database) = Database::fresh().await else { return };
    let url = database.url();
    tokio::task::spawn_blocking(move || into_a_database_and_back(&url)).await.unwrap();
}

fn into_a_database_and_back(url: &str) {
    let dir = tempfile::tempdir().unwrap();
    let [first, nodes, last] = directories(dir.path(), ["first", "nodes", "last"]);
    let in_database = [KEK[0], ("SIGNET_STORE", url)];
    let service = Process::start(&first, free_port(), &KEK);
    let issuer = service.issuer.clone();
    let port = issuer.rsplit(':').next().unwrap().parse().unwrap();
    let [admin, demo] = ["administrator", "demo client"].map(|role| service.credentials(role));
    let (admin, demo) = ((admin.0.as_str(), admin.1.as_str()), (demo.0.as_str(), demo.1.as_str()));
    let about = |service: &Process, path: &str, token: &str| {
        let form = [("client_id", demo.0), ("client_secret", demo.1), ("token", token)];
        let reply = service.post(path, &form).unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
        reply
    };
    let is_active = |service: &Process, token: &str| {
        about(service, "/oauth2/introspect", token).json()["active"].as_bool().unwrap()
    };
    let register = |service: &Process, token: &str, id: &str| {
        let client = json!({ "client_id": id, "client_name": id, "scope": "", "resources": ["http://127.0.0.1:9000"] });
        assert_eq!(service.post_json("/admin/clients", token, &client).unwrap().status, 201);
    };
    let [held, revoked] = std::array::from_fn(|_| service.token(demo).unwrap());
    let administrators = service.token(admin).unwrap();
    // Which waits for the first keys to be published: before that nothing is copied.
    assert_eq!(service.get("/.well-known/jwks.json", &administrators).unwrap().status, 200);
    register(&service, &administrators, "of-the-directory");
    about(&service, "/oauth2/revoke", &revoked);
    assert_eq!(service.terminate(), Some(0));

    let moved = done(&signet(&first, &issuer, &["export", "../moved", "--offline", "--move"]));
    let run = |args: &[&str]| signet_with(&in_database, (&nodes, &issuer), args);
    done(&run(&["store", "migrate"]));
    let came = done(&run(&["import", "../moved", "--move"]));
    assert_eq!((&came["sha256"], &came["rows"]), (&moved["sha256"], &moved["rows"]));
    std::fs::write(nodes.join("seen"), "").unwrap();
    let service = Process::start(&nodes, port, &in_database);
    assert!(is_active(&service, &held) && !is_active(&service, &revoked));
    assert_eq!(service.get("/admin/clients/of-the-directory", &administrators).unwrap().status, 200);
    register(&service, &administrators, "of-the-database");
    let meanwhile = service.token(demo).unwrap();
    about(&service, "/oauth2/revoke", &meanwhile);
    assert_eq!(service.terminate(), Some(0));

    let moved = done(&run(&["export", "../back", "--offline", "--move"]));
    refused(&run(&["clients", "list", "--offline"]), "was moved elsewhere");
    let came = done(&signet(&last, &issuer, &["import", "../back", "--move"]));
    assert_eq!((&came["sha256"], &came["rows"]), (&moved["sha256"], &moved["rows"]));
    std::fs::write(last.join("seen"), "").unwrap();
    let service = Process::start(&last, port, &KEK);
    assert!(is_active(&service, &held));
    assert!(!is_active(&service, &revoked) && !is_active(&service, &meanwhile));
    for id in ["of-the-directory", "of-the-database"] {
        assert_eq!(service.get(&format!("/admin/clients/{id}"), &administrators).unwrap().status, 200);
    }
    assert!(service.token(admin).is_some());
    assert_eq!(service.terminate(), Some(0));
}
