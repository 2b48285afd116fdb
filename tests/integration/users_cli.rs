//! `signet users` as it is typed: through the admin API of a running service, and on the data of a stopped one.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::process::{Process, free_port};

/// Where the service is, and who administers it.
struct Place<'a> {
    dir: &'a Path,
    issuer: &'a str,
    admin: (String, String),
}

impl Place<'_> {
    /// Runs `signet users …` with `input` on standard input.
    fn users(&self, args: &[&str], input: &str) -> Output {
        self.signet(&[&["users"], args].concat(), input)
    }

    fn signet(&self, args: &[&str], input: &str) -> Output {
        self.run(&[&["--json"], args].concat(), input)
    }

    fn run(&self, args: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_signet"))
            .args(["--issuer", self.issuer])
            .args(args)
            .current_dir(self.dir)
            .env_clear()
            .env("SIGNET_ADMIN_CLIENT_ID", &self.admin.0)
            .env("SIGNET_ADMIN_CLIENT_SECRET", &self.admin.1)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    #[track_caller]
    fn done(&self, args: &[&str], input: &str) -> Value {
        let output = self.users(args, input);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The identifiers of all clients, listed one at a time.
    fn clients(&self, how: &[&str]) -> Vec<String> {
        let (mut found, mut next) = (Vec::new(), None::<String>);
        loop {
            let after: Vec<&str> = next.iter().flat_map(|next| ["--after", next]).collect();
            let output = self.signet(&[&["clients", "list", "--limit", "1"][..], &after, how].concat(), "");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let page: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(page["clients"].as_array().unwrap().len(), 1);
            found.push(page["clients"][0]["client_id"].as_str().unwrap().to_owned());
            match page["next"].as_str() {
                Some(more) => next = Some(more.to_owned()),
                None => return found,
            }
        }
    }

    /// To people, in words; what programs read is the answer alone.
    fn says_what_comes_next(&self) {
        let said = |args: &[&str]| {
            let output = self.run(args, "");
            assert!(output.status.success(), "{args:?}: {output:?}");
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
        };
        let name = ["--name", "Shop", "--scope", "read", "--resource", "http://127.0.0.1:9000"];
        let register = [&["clients", "register"][..], &name].concat();
        let (shown, note) = said(&register);
        let rows: Vec<_> = shown.lines().take(2).filter_map(|row| row.split_once(' ')).collect();
        assert_eq!(rows.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["client_id", "client_secret"]);
        assert!(note.contains("shown this once") && !note.contains(rows[1].1.trim()), "{note}");
        let (_, note) = said(&["clients", "rotate-secret", rows[0].1.trim()]);
        assert!(note.contains("shown this once"), "{note}");
        assert_eq!(said(&["clients", "show", rows[0].1.trim()]).1, "");
        assert_eq!(said(&[&["--json"], &register[..]].concat()).1, "");
        let add = ["users", "add", "--name", "Al", "--email", "al@example.com"];
        let (shown, note) = said(&add);
        let id = shown.lines().find_map(|row| row.strip_prefix("id ")).unwrap().trim();
        assert!(note.contains(&format!("set-password {id}")), "{note}");
        said(&["users", "delete", id]);
    }

    /// Every command once, on whatever `how` names.
    fn keep_accounts(&self, how: &[&str], email: &str) {
        let run = |args: &[&str], input: &str| self.done(&[args, how].concat(), input);
        let add = ["add", "--name", "Alice", "--email", email, "--admin", "--password-file", "-"];
        let made = run(&add, "correct horse battery\n");
        assert_eq!((&made["email"], &made["administrator"]), (&email.into(), &true.into()));
        let id = made["id"].as_str().unwrap();
        assert_eq!(run(&["show", id], ""), made);
        assert_eq!(run(&["list", "--limit", "1", "--offset", "0"], "")["users"].as_array().unwrap().len(), 1);
        let changed =
            run(&["change", id, "--name", "Alice W.", "--username", "alice", "--admin", "false"], "");
        assert_eq!((&changed["name"], &changed["preferred_username"]), (&"Alice W.".into(), &"alice".into()));
        assert_eq!(changed["administrator"], false);
        assert_eq!(run(&["disable", id], "")["disabled"], true);
        assert_eq!(run(&["enable", id], "")["disabled"], false);
        run(&["set-password", id], "another long password\n");
        let refused = self.users(&[&["set-password", id], how].concat(), "password\n");
        assert_eq!(refused.status.code(), Some(1));
        let reason = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(reason.contains("one of the commonest"), "{reason}");
        run(&["remove-second-factor", id], "");
        let found = |email: &str| run(&["list", "--email", email], "")["users"].clone();
        assert_eq!(found(&email.to_uppercase()), json!([run(&["show", id], "")]));
        // An empty one in a script must not find the first of all accounts.
        assert_eq!(["nobody@example.com", "alice", ""].map(found), [json!([]), json!([]), json!([])]);
        run(&["delete", id], "");
        let gone = self.users(&[&["show", id], how].concat(), "");
        assert_eq!(gone.status.code(), Some(1));
    }
}

#[test]
fn accounts_are_kept_on_a_running_service_and_on_a_stopped_one() {
    let dir = tempfile::tempdir().unwrap();
    let service = Process::start(dir.path(), free_port(), &[]);
    let issuer = service.issuer.clone();
    let place = Place { dir: dir.path(), issuer: &issuer, admin: service.credentials("administrator") };
    let root = place.done(&["add", "--name", "Root", "--email", "root@example.com", "--admin"], "");
    let last = place.users(&["delete", root["id"].as_str().unwrap()], "");
    let reason = String::from_utf8_lossy(&last.stderr).into_owned();
    assert!(last.status.code() == Some(1) && reason.contains("last account that can administer"), "{reason}");
    place.keep_accounts(&[], "alice@example.com");
    let made = place.done(&["add", "--name", "Bob", "--email", "bob@example.com"], "");
    // A person's API key takes more of the administrator's scope than a client's.
    let bob = made["id"].as_str().unwrap();
    let key = ["--name", "report", "--scope", "read", "--resource", "http://127.0.0.1:9000"];
    let output = place.signet(&[&["api-keys", "create", "--user", bob][..], &key].concat(), "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let key: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(key["user_id"], made["id"]);
    for (who, is_known) in [(["--client", "nobody"], false), (["--subject", bob], true)] {
        let output = place.signet(&[&["tokens", "revoke"][..], &who].concat(), "");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stderr.is_empty(), is_known, "{who:?}: {output:?}");
    }
    place.says_what_comes_next();
    let clients = place.clients(&[]);
    assert!(clients.len() >= 2 && clients.is_sorted_by(|one, other| one < other), "{clients:?}");
    assert_eq!(service.terminate(), Some(0));
    assert_eq!(place.clients(&["--offline"]), clients);
    let kek = place.dir.join("keys/new");
    std::fs::write(&kek, "ab".repeat(32)).unwrap();
    let mut closed = std::fs::metadata(&kek).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut closed, 0o600);
    std::fs::set_permissions(&kek, closed).unwrap();
    let output = place.signet(&["keys", "rekey", "--new-kek-file", "keys/new"], "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("must not lie beside the keys"), "{output:?}");
    place.keep_accounts(&["--offline"], "alice@example.com");
    let listed = place.done(&["list", "--offline"], "");
    assert_eq!(listed["users"], Value::Array(vec![root, made]));
}
