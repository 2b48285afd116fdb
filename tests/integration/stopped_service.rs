//! What is done to a stopped service stands in its audit log as it would if it ran.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::grants_fixture::VERIFIER;
use crate::process::{Process, Reply, free_port};
use crate::signed_in::SignedIn;

/// A service that was started once and stopped, of which the command line is asked.
struct Stopped {
    dir: tempfile::TempDir,
    issuer: String,
}

impl Stopped {
    fn signet(&self, args: &[&str]) -> Output {
        self.signet_with(&[], args)
    }

    fn signet_with(&self, settings: &[(&str, &str)], args: &[&str]) -> Output {
        let mut program = Command::new(env!("CARGO_BIN_EXE_signet"));
        program.args(["--json", "--issuer", &self.issuer]).args(args);
        program.current_dir(self.dir.path()).env_clear().envs(settings.iter().copied()).output().unwrap()
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

/// Somebody has a copy of the store and the key-encryption key: what they make with them counts on after `rekey`, which seals the same keys
/// anew, and no more once all keys are condemned, those that seal too (docs/operations.md, "When a key is compromised").
#[test]
fn what_is_made_of_a_stolen_copy_counts_until_every_key_is_condemned() {
    let (dir, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let port = free_port();
    let service = Process::start(dir.path(), port, &[]);
    let browser = SignedIn::new(&service);
    let stopped = Stopped { issuer: service.issuer.clone(), dir };
    assert_eq!(service.terminate(), Some(0));
    let copied = Command::new("cp").arg("-a").arg(stopped.dir.path().join(".")).arg(theirs.path()).status();
    assert!(copied.unwrap().success());

    let (id, secret) = browser.client.clone();
    let ask = |service: &Process, form: &[(&str, &str)]| {
        let client = [("client_id", id.as_str()), ("client_secret", secret.as_str())];
        service.post("/oauth2/token", &[form, &client].concat()).unwrap()
    };
    let refresh_token = |reply: &Reply| {
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["refresh_token"].as_str().unwrap().to_owned()
    };
    let thief = Process::start(theirs.path(), port, &[]);
    let signed_in = |service: &Process| {
        let (code, redirect_uri) = (browser.code(service).unwrap(), ("redirect_uri", SignedIn::REDIRECT_URI));
        let grant = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            redirect_uri,
            ("code_verifier", VERIFIER),
        ];
        refresh_token(&ask(service, &grant))
    };
    let forged = signed_in(&thief);
    drop(thief);

    let new_kek = stopped.dir.path().join("new-kek");
    std::fs::write(&new_kek, "07".repeat(32)).unwrap();
    std::fs::set_permissions(&new_kek, std::fs::Permissions::from_mode(0o600)).unwrap();
    let new_kek = new_kek.to_str().unwrap();
    let rekeyed = stopped.signet(&["keys", "rekey", "--new-kek-file", new_kek]);
    assert!(rekeyed.status.success(), "{rekeyed:?}");
    let settings = [("SIGNET_KEYS_KEK_FILE", new_kek)];
    let refresh = |service: &Process, token: &str| {
        ask(service, &[("grant_type", "refresh_token"), ("refresh_token", token)])
    };
    let service = Process::start(stopped.dir.path(), port, &settings);
    let forged = refresh_token(&refresh(&service, &forged));
    assert_eq!(service.terminate(), Some(0));

    let shown = |args: &[&str]| -> Value {
        let output = stopped.signet_with(&settings, args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let all = shown(&["keys", "list", "--offline"]);
    let names = |list: &Value, kind: &str, name: &str| -> Vec<Value> {
        list[kind].as_array().unwrap().iter().map(|key| key[name].clone()).collect()
    };
    let (signing, sealing) = (names(&all, "keys", "kid"), names(&all, "sealing", "id"));
    for kid in [signing.clone(), sealing.clone()].concat() {
        let before = entries(stopped.dir.path()).len();
        let kid = kid.as_str().unwrap();
        let answer = shown(&["keys", "compromise", kid, "--offline", "--reason", "known"]);
        assert_eq!(answer["kid"], kid);
        let entry = entries(stopped.dir.path()).swap_remove(before);
        assert_eq!(told(std::slice::from_ref(&entry)), [json!(["key.compromised", "success", "known"])]);
        assert_eq!(
            (&entry["kid"], entry["detail"]["use"] == "sealing"),
            (&json!(kid), sealing.contains(&json!(kid)))
        );
    }
    let left = shown(&["keys", "list", "--offline"]);
    let phases = left["keys"].as_array().unwrap().iter();
    assert!(
        phases.filter(|key| signing.contains(&key["kid"])).all(|key| key["phase"] == "compromised"),
        "{left}"
    );
    assert!(names(&left, "sealing", "id").iter().all(|id| !sealing.contains(id)), "{left}");
    let service = Process::start(stopped.dir.path(), port, &settings);
    let refused = refresh(&service, &forged);
    assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("invalid_grant")));
    // The session goes on, and what it comes to under the new keys.
    refresh_token(&refresh(&service, &signed_in(&service)));
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
    let before = entries(stopped.dir.path()).len();
    let done = stopped.signet(&["change-issuer", "--from", &former]);
    assert!(done.status.success(), "{done:?}");
    let after = entries(stopped.dir.path()).split_off(before);
    assert_eq!(told(&after), [json!(["installation.issuer_changed", "success", null])]);
    let before = entries(stopped.dir.path()).len();
    // Once more changes nothing, and is nothing to record.
    for from in [former.as_str(), "https://other.example.com"] {
        let again = stopped.signet(&["change-issuer", "--from", from]);
        assert!(again.status.success(), "{again:?}");
        let answer: Value = serde_json::from_slice(&again.stdout).unwrap();
        assert_eq!(answer, json!({ "issuer": stopped.issuer, "changed": false }));
    }
    assert_eq!(entries(stopped.dir.path()).len(), before);
    let unknown = stopped.signet(&["keys", "compromise", "nothing", "--offline"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    let after = entries(stopped.dir.path()).split_off(before);
    let kind = "key.compromised";
    assert_eq!(told(&after), [json!([kind, "success", null]), json!([kind, "failed", null])]);
}

/// Whoever names another service's data by mistake would condemn a key of that.
#[test]
fn the_keys_of_another_issuer_are_neither_shown_nor_touched_offline() {
    let dir = tempfile::tempdir().unwrap();
    let service = Process::start(dir.path(), free_port(), &[]);
    let (id, secret) = service.credentials("administrator");
    let signs = signing(&service, (&id, &secret));
    let mut stopped = Stopped { issuer: service.issuer.clone(), dir };
    assert_eq!(service.terminate(), Some(0));
    let former = std::mem::replace(&mut stopped.issuer, "https://new.example.com".to_owned());
    let before = entries(stopped.dir.path()).len();
    let new_kek = stopped.dir.path().join("new-kek");
    std::fs::write(&new_kek, "07".repeat(32)).unwrap();
    std::fs::set_permissions(&new_kek, std::fs::Permissions::from_mode(0o600)).unwrap();
    let new_kek = new_kek.to_str().unwrap();
    for args in [
        &["keys", "compromise", &signs, "--offline"][..],
        &["keys", "rotate", "--offline"],
        &["keys", "list", "--offline"],
        &["keys", "plan", "--offline"],
        &["keys", "rekey", "--new-kek-file", new_kek],
    ] {
        let refused = stopped.signet(args);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains(&format!("but the store is that of {former}")), "{args:?}: {said}");
    }
    assert_eq!(entries(stopped.dir.path()).len(), before, "nothing was tried");
    stopped.issuer = former;
    let keys: Value = serde_json::from_slice(&stopped.signet(&["keys", "list", "--offline"]).stdout).unwrap();
    let signs = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == *signs).unwrap();
    assert_eq!(signs["phase"], "signing");
}

/// Also where a key is lost, which stops every start: that is when one looks.
#[test]
fn a_look_at_the_keys_of_a_stopped_service_changes_nothing_and_needs_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let service = Process::start(dir.path(), free_port(), &[]);
    let (id, secret) = service.credentials("administrator");
    let signs = signing(&service, (&id, &secret));
    let token = service.token((&id, &secret)).unwrap();
    let live = service.get("/admin/keys", &token).unwrap().json();
    let stopped = Stopped { issuer: service.issuer.clone(), dir };
    assert_eq!(service.terminate(), Some(0));
    let before = entries(stopped.dir.path()).len();
    std::fs::remove_file(stopped.dir.path().join("keys").join(format!("{signs}.key"))).unwrap();
    let shown = |args: &[&str]| -> Value {
        let output = stopped.signet(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let list = shown(&["keys", "list", "--offline"]);
    let dates = |list: &Value| {
        let keys = list["keys"].as_array().unwrap().clone();
        let dates = |key: &Value| json!([key["kid"], key["phase"], key["signs"], key["sign_from"]]);
        keys.iter().map(dates).collect::<Vec<_>>()
    };
    assert_eq!(dates(&list), dates(&live));
    assert_eq!(list["sealing"], live["sealing"]);
    let waits = dates(&list).into_iter().find(|key| key[1] == "published").unwrap();
    let plan = shown(&["keys", "plan", "--offline"]);
    let mut events = plan["events"].as_array().unwrap().iter();
    let next = events.find(|event| event["what"] == "signs" && event["kid"] == waits[0]).unwrap();
    assert_eq!(next["at"], waits[3]);
    assert_eq!(entries(stopped.dir.path()).len(), before);
}

#[test]
fn a_key_is_taken_in_by_a_stopped_service_and_waits_when_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let service = Process::start(dir.path(), free_port(), &[]);
    let (id, secret) = service.credentials("administrator");
    signing(&service, (&id, &secret));
    let port = service.issuer.rsplit(':').next().unwrap().parse().unwrap();
    let stopped = Stopped { issuer: service.issuer.clone(), dir };
    assert_eq!(service.terminate(), Some(0));
    let before = entries(stopped.dir.path()).len();
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/keys/p256.pem");
    let import = ["keys", "import", key, "--algorithm", "ES256", "--offline"];
    let output = stopped.signet(&import);
    assert!(output.status.success(), "{output:?}");
    let imported: Value = serde_json::from_slice(&output.stdout).unwrap();
    let recorded = entries(stopped.dir.path()).split_off(before);
    assert_eq!(told(&recorded)[0], json!(["key.imported", "success", null]));
    assert_eq!([&recorded[0]["kid"], &recorded[0]["actor"]["type"]], [&imported["kid"], &json!("operator")]);
    let again = stopped.signet(&import);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains("is in the ring"), "{again:?}");

    let service = Process::start(stopped.dir.path(), port, &[]);
    let keys = service.get("/admin/keys", &service.token((&id, &secret)).unwrap()).unwrap().json();
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == imported["kid"]).unwrap();
    assert_eq!([&key["phase"], &key["origin"]], ["published", "imported"]);
    assert_eq!(key["sign_from"], imported["sign_from"]);
}

/// Its last entry, of its stop, included: the store knows of it too.
#[test]
fn whatever_is_cut_off_a_log_between_two_starts_is_missed_at_the_second() {
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let path = dir.path().join("data/audit.jsonl");
    assert_eq!(Process::start(dir.path(), port, &[]).terminate(), Some(0));
    for cut in [1, 2, 5] {
        let log = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = log.split_inclusive('\n').collect();
        let (before, left) = (lines.len(), lines.len() - cut);
        std::fs::write(&path, lines[..left].concat()).unwrap();
        assert_eq!(Process::start(dir.path(), port, &[]).terminate(), Some(0));
        let told = &entries(dir.path())[left..];
        let missed: Vec<_> = told.iter().filter(|entry| entry["event"] == "audit.begun_anew").collect();
        assert_eq!(missed.len(), 1, "{told:?}");
        assert_eq!(missed[0]["detail"], json!({ "entries_before": before, "entries": left }));
    }
    // Nothing is cut off.
    let before = entries(dir.path()).len();
    assert_eq!(Process::start(dir.path(), port, &[]).terminate(), Some(0));
    assert!(entries(dir.path())[before..].iter().all(|entry| entry["event"] != "audit.begun_anew"));
}
