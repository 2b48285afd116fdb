//! What a fresh installation begins with, and that it begins only once.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::process::{Process, free_port};
use crate::test_app::ISSUER;

fn offline(dir: &Path, args: &[&str]) -> Output {
    let command = ["clients", "--offline", "--json"];
    let mut program = Command::new(env!("CARGO_BIN_EXE_signet"));
    program.args(command).args(args).current_dir(dir).env_clear().env("USER", "ada").output().unwrap()
}

/// The audit log's entries of one kind.
fn entries(dir: &Path, kind: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(dir.join("data/audit.jsonl")).unwrap();
    let entries = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries.filter(|entry| entry.to_string().contains(&format!("\"{kind}\""))).collect()
}

#[test]
fn an_installation_begins_once_and_the_way_back_in_is_offline() {
    let dir = tempfile::tempdir().unwrap();
    let issuer = [("SIGNET_ISSUER", ISSUER)];
    let service = Process::start(dir.path(), free_port(), &issuer);
    let (admin, _) = service.credentials("administrator");
    let (demo, _) = service.credentials("demo client");
    assert_eq!(service.terminate(), Some(0));
    let registered = entries(dir.path(), "client.registered");
    assert!(registered[0].to_string().contains(&admin), "the administrator is first: {registered:?}");
    assert!(registered[1].to_string().contains(&demo), "{registered:?}");

    for client_id in [&demo, &admin] {
        let deleted = offline(dir.path(), &["delete", client_id]);
        assert!(deleted.status.success(), "{deleted:?}");
    }
    let operator = format!("uid {} (ada)", rustix::process::getuid());
    let deleted = entries(dir.path(), "client.deleted");
    assert!(deleted[0].to_string().contains(&operator), "{operator}: {deleted:?}");

    let service = Process::start(dir.path(), free_port(), &issuer);
    assert!(!service.banner.contains("secret"), "{}", service.banner);
    assert_eq!(service.terminate(), Some(0));
    assert_eq!(entries(dir.path(), "client.registered").len(), 2);

    let scope = "signet:keys signet:clients signet:users signet:revocations";
    let resource = format!("{ISSUER}/admin");
    let back = offline(dir.path(), &["register", "--name", "Ops", "--scope", scope, "--resource", &resource]);
    assert!(back.status.success(), "{back:?}");
    let back: Value = serde_json::from_slice(&back.stdout).unwrap();
    let service = Process::start(dir.path(), free_port(), &issuer);
    let credentials = (back["client_id"].as_str().unwrap(), back["client_secret"].as_str().unwrap());
    let token = service.token(credentials).unwrap();
    assert_eq!(service.get("/admin/clients", &token).unwrap().status, 200);
}

#[test]
fn without_the_demonstration_resource_there_is_no_demo_client() {
    let own = "[[resources]]\nuri = \"https://api.example.com\"\nscope = \"read\"\n";
    for resources in ["resources = []\n", own] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("signet.toml"), resources).unwrap();
        let service = Process::start(dir.path(), free_port(), &[]);
        let banner = &service.banner;
        assert!(!banner.contains("demo client") && !banner.contains("A signed token"), "{banner}");
        let (admin, secret) = service.credentials("administrator");
        assert!(service.token((&admin, &secret)).is_some());
        assert_eq!(entries(dir.path(), "client.registered").len(), 1);
    }
}

/// What docs/settings.md tells an operator to do after a first start whose output went to a log.
#[test]
fn the_first_secrets_are_rotated_by_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let service = Process::start(dir.path(), free_port(), &[]);
    let (admin, secret) = service.credentials("administrator");
    let (demo, _) = service.credentials("demo client");
    let signet = |secret: &str, args: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_signet"));
        program.args(args).args(["--admin-client-id", &admin, "--issuer", &service.issuer, "--json"]);
        program
            .current_dir(dir.path())
            .env_clear()
            .env("SIGNET_ADMIN_CLIENT_SECRET", secret)
            .output()
            .unwrap()
    };
    let rotated = signet(&secret, &["clients", "rotate-secret", &admin, "--overlap", "0s"]);
    assert!(rotated.status.success(), "{rotated:?}");
    let rotated: Value = serde_json::from_slice(&rotated.stdout).unwrap();
    let new = rotated["client_secret"].as_str().unwrap();
    assert!(!signet(&secret, &["clients", "list"]).status.success(), "the old one is over");
    let deleted = signet(new, &["clients", "delete", &demo]);
    assert!(deleted.status.success(), "{deleted:?}");
    let rotated = signet(new, &["keys", "rotate"]);
    assert!(rotated.status.success(), "{rotated:?}");
    let offline = signet(new, &["tokens", "introspect", "x", "--offline"]);
    assert_eq!(offline.status.code(), Some(2), "{offline:?}");
}

#[test]
fn a_listener_that_is_not_to_be_had_is_named_with_where_the_settings_say_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let management = format!("127.0.0.1:{}", free_port());
    let toml = format!("listen = \"{listen}\"\nmanagement_listen = \"{management}\"\n");
    std::fs::write(dir.path().join("signet.toml"), toml).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_signet"));
    let refused = program.current_dir(dir.path()).env_clear().output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("signet.toml: listen = {listen:?}: can't listen")), "{said}");
    assert!(said.contains("; stop whoever listens there"), "{said}");
}
