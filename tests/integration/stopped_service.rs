//! What is done to a stopped service stands in its audit log as it would if it ran.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::process::{Process, free_port};

/// A service that was started once and stopped, of which the command line is asked.
struct Stopped {
    dir: tempfile::TempDir,
    issuer: String,
}

impl Stopped {
    fn signet(&self, args: &[&str]) -> Output {
        let mut program = Command::new(env!("CARGO_BIN_EXE_signet"));
        program.args(["--json", "--issuer", &self.issuer]).args(args);
        program.current_dir(self.dir.path()).env_clear().output().unwrap()
    }
}

fn entries(dir: &Path) -> Vec<Value> {
    let log = std::fs::read_to_string(dir.join("data/audit.jsonl")).unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Event, outcome and reason of each.
fn told(entries: &[Value]) -> Vec<Value> {
    entries.iter().map(|entry| json!([entry["event"], entry["outcome"], entry["detail"]["reason"]])).collect()
}

/// The keys of a service that has one that waits for each that signs.
fn signing(service: &Process, administrator: (&str, &str)) -> String {
    let token = &service.token(administrator).unwrap();
    assert_eq!(service.get("/.well-known/jwks.json", token).map(|reply| reply.status), Some(200));
    let keys = service.get("/admin/keys", token).unwrap().json();
    let keys = keys["keys"].as_array().unwrap();
    let signs = keys.iter().find(|key| key["phase"] == "signing").unwrap_or_else(|| panic!("{keys:?}"));
    signs["kid"].as_str().unwrap().to_owned()
}

#[test]
fn a_key_is_condemned_with_the_same_entries_whether_the_service_runs_or_not() {
    for reason in [Some("lost"), None] {
        let dir = tempfile::tempdir().unwrap();
        let service = Process::start(dir.path(), free_port(), &[]);
        let (id, secret) = service.credentials("administrator");
        let token = service.token((&id, &secret)).unwrap();
        let live = signing(&service, (&id, &secret));
        let body = reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
        let answer = service.post_json(&format!("/admin/keys/{live}/compromise"), &token, &body).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        // Its successor's successor has to wait by then.
        let next = signing(&service, (&id, &secret));
        assert_ne!(next, live);
        let stopped = Stopped { issuer: service.issuer.clone(), dir };
        assert_eq!(service.terminate(), Some(0));
        let all = entries(stopped.dir.path());
        let first = all.iter().find(|entry| entry["event"] == "key.compromised").unwrap();
        let live: Vec<Value> =
            all.iter().filter(|entry| entry["request_id"] == first["request_id"]).cloned().collect();
        assert!(live.len() > 1, "the successor's too: {live:?}");

        let flags = reason.map_or_else(Vec::new, |reason| vec!["--reason", reason]);
        let done = stopped.signet(&[&["keys", "compromise", &next, "--offline"][..], &flags].concat());
        assert!(done.status.success(), "{done:?}");
        let offline = entries(stopped.dir.path()).split_off(all.len());
        assert_eq!(told(&offline), told(&live));
        assert_eq!(offline[0]["kid"], *next);
        assert_eq!(offline[0]["actor"]["type"], "operator");
        let answer: Value = serde_json::from_slice(&done.stdout).unwrap();
        let activated = offline.iter().find(|entry| entry["event"] == "key.activated").unwrap();
        assert_eq!(activated["kid"], answer["signs_now"], "{answer}");
    }
}

#[test]
fn what_is_refused_offline_is_on_record_as_failed() {
    let dir = tempfile::tempdir().unwrap();
    let service = Process::start(dir.path(), free_port(), &[]);
    let mut stopped = Stopped { issuer: service.issuer.clone(), dir };
    assert_eq!(service.terminate(), Some(0));
    let former = std::mem::replace(&mut stopped.issuer, "https://new.example.com".to_owned());
    let refused = |args: &[&str], kind: &str, error: &str| {
        let before = entries(stopped.dir.path()).len();
        let output = stopped.signet(args);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let after = entries(stopped.dir.path()).split_off(before);
        assert_eq!(told(&after), [json!([kind, "success", null]), json!([kind, "failed", null])], "{args:?}");
        let said = after[1]["detail"]["error"].as_str().unwrap();
        assert!(said.contains(error), "{said}");
    };
    let from = |from: &'static str| ["change-issuer", "--from", from];
    refused(&from("https://other.example.com"), "installation.issuer_changed", &former);
    refused(&["keys", "compromise", "nothing", "--offline"], "key.compromised", "no");
    let before = entries(stopped.dir.path()).len();
    let done = stopped.signet(&["change-issuer", "--from", &former]);
    assert!(done.status.success(), "{done:?}");
    let after = entries(stopped.dir.path()).split_off(before);
    assert_eq!(told(&after), [json!(["installation.issuer_changed", "success", null])]);
}
