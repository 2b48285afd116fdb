//! The program as it is typed: exit codes, and what goes where.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::{Command, Output};

use signet::audit::{Actor, AuditLog, Event, EventKind};
use signet::clock::SystemClock;

/// Runs `signet` in `dir` with nothing in its environment but `env`.
fn signet(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_signet"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn wrong_settings_are_all_named_and_exit_with_2() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("signet.toml"), "[keys]\nlead = \"soon\"\n").unwrap();
    let output = signet(dir.path(), &["keys", "list"], &[("SIGNET_WORKRES", "4")]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("environment variable SIGNET_WORKRES: is not a setting"), "{stderr}");
    assert!(stderr.contains("signet.toml: keys.lead = \"soon\": is not a duration"), "{stderr}");
    assert!(output.stdout.is_empty());
}

#[test]
fn flags_are_named_when_they_are_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let output = signet(dir.path(), &["keys", "list", "--listen", "nowhere"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("flag --listen: listen = \"nowhere\""), "{}", text(&output.stderr));
}

#[test]
fn a_file_named_by_flag_or_variable_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    for (args, env) in [
        (&["doctor", "--config", "absent.toml"][..], &[][..]),
        (&["doctor"], &[("SIGNET_CONFIG", "absent.toml")]),
    ] {
        let output = signet(dir.path(), args, env);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("absent.toml: can't be read"), "{}", text(&output.stderr));
    }
}

#[test]
fn administration_needs_credentials_and_the_secret_is_no_flag() {
    let dir = tempfile::tempdir().unwrap();
    let output = signet(dir.path(), &["clients", "list", "--admin-client-id", "ops"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("SIGNET_ADMIN_CLIENT_SECRET"), "{}", text(&output.stderr));
    let output = signet(dir.path(), &["clients", "list", "--admin-client-secret", "x"], &[]);
    assert_eq!(output.status.code(), Some(2));
}

/// Whatever the environment holds, usage names what has to be typed.
#[test]
fn usage_does_not_name_what_the_environment_gives() {
    let dir = tempfile::tempdir().unwrap();
    let env = [("SIGNET_ADMIN_CLIENT_ID", "ops"), ("SIGNET_CONFIG", "signet.toml")];
    for (args, usage) in [
        (&["tokens", "revoke"][..], "Usage: signet tokens revoke <--client <ID>|--subject <SUB>|TOKEN>\n"),
        (&["import"], "Usage: signet import --move <FILE>\n"),
        (&["restore"], "\n       signet restore [OPTIONS] --in-place\n"),
    ] {
        let output = signet(dir.path(), args, &env);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(usage), "{}", text(&output.stderr));
    }
    let wrong = signet(dir.path(), &["clients", "list"], &[("SIGNET_ADMIN_CLIENT_ID", "a b")]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("SIGNET_ADMIN_CLIENT_ID"), "{}", text(&wrong.stderr));
}

#[test]
fn a_service_that_is_not_there_exits_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = [("SIGNET_MANAGEMENT_LISTEN", "127.0.0.1:1")];
    let ready = signet(dir.path(), &["ready"], &nowhere);
    assert_eq!(ready.status.code(), Some(1));
    assert!(text(&ready.stderr).contains("`signet serve` starts it"), "{}", text(&ready.stderr));
    let args = ["keys", "list", "--issuer", "http://127.0.0.1:1", "--admin-client-id", "ops"];
    let output = signet(dir.path(), &args, &[("SIGNET_ADMIN_CLIENT_SECRET", "hunter2")]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("does not answer") && !stderr.contains("hunter2"), "{stderr}");
}

#[test]
fn a_key_encryption_key_that_can_not_be_had_is_a_wrong_setting_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    // Somebody else has the socket: if it were asked for first, that would be told.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    std::fs::write(dir.path().join("short"), "AAAA").unwrap();
    for (env, words) in [
        ([("SIGNET_LISTEN", &*address), ("SIGNET_KEYS__KEK_FILE", "absent")], "absent"),
        ([("SIGNET_LISTEN", &*address), ("SIGNET_KEYS__KEK_FILE", "short")], "others may read it"),
        ([("SIGNET_LISTEN", &*address), ("SIGNET_KEYS_KEK", "AAAA")], "SIGNET_KEYS_KEK must be 32 bytes"),
    ] {
        let output = signet(dir.path(), &[], &env);
        assert_eq!(output.status.code(), Some(2), "{env:?} {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(words), "{env:?} {}", text(&output.stderr));
    }
    let toml = "[keys]\nkek_file = \"absent\"\nlead = \"1m\"\n[outgoing]\nca_bundle = \"nowhere.pem\"\n";
    std::fs::write(dir.path().join("signet.toml"), toml).unwrap();
    let output = signet(dir.path(), &[], &[("SIGNET_LISTEN", &*address)]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    for wrong in
        ["keys.kek_file = \"absent\": ", "keys.lead = \"1m\": ", "outgoing.ca_bundle = \"nowhere.pem\": "]
    {
        assert!(text(&output.stderr).contains(wrong), "{wrong} {}", text(&output.stderr));
    }
    std::fs::remove_file(dir.path().join("signet.toml")).unwrap();
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["short"], "nothing was made");
}

#[test]
fn what_works_on_a_stopped_service_refuses_where_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("kek"), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=").unwrap();
    for args in [&["keys", "rekey", "--new-kek-file", "kek"][..], &["clients", "list", "--offline"]] {
        let output = signet(dir.path(), args, &[]);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(text(&output.stderr).contains("holds no installation"), "{}", text(&output.stderr));
    }
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["kek"], "nothing was made");
}

#[test]
fn credentials_never_go_through_a_proxy() {
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let args = ["keys", "list", "--issuer", "http://127.0.0.1:1", "--admin-client-id", "ops"];
    let env = [("SIGNET_ADMIN_CLIENT_SECRET", "hunter2"), ("HTTP_PROXY", &url), ("ALL_PROXY", &url)];
    assert_eq!(signet(dir.path(), &args, &env).status.code(), Some(1));
    assert_eq!(proxy.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_doctor_without_a_patient_fails_every_check_it_should() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["doctor", "--json", "--issuer", "http://127.0.0.1:1", "--management-listen", "127.0.0.1:2"];
    let output = signet(dir.path(), &args, &[]);
    assert_eq!(output.status.code(), Some(1));
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let failed: Vec<_> =
        findings.iter().filter(|f| f["level"] == "fail").map(|f| f["name"].clone()).collect();
    assert_eq!(failed, ["issuer", "ready", "key files", "audit log", "disk"]);
    assert!(findings.iter().filter(|f| f["level"] != "ok").all(|f| f["remedy"].is_string()));
}

#[tokio::test]
async fn the_audit_log_is_verified_by_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/audit.jsonl");
    let log = AuditLog::open(&path, SystemClock::shared()).unwrap();
    for _ in 0..3 {
        log.record(Event::new(EventKind::ServiceStarted, Actor::Service)).await.unwrap();
    }
    let head = log.head().unwrap().to_string();
    let output = signet(dir.path(), &["audit", "verify"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(&format!("3 entries, intact\nhead {head}\n")));

    let whole = std::fs::read_to_string(&path).unwrap();
    let cut: String = whole.split_inclusive('\n').take(2).collect();
    std::fs::write(&path, cut).unwrap();
    assert_eq!(signet(dir.path(), &["audit", "verify"], &[]).status.code(), Some(0));
    let output = signet(dir.path(), &["audit", "verify", "--head", &head, "--json"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["damage"][0]["damage"], "truncated");
}
