//! The built binary with a key-encryption key in a module: made, moved into, served under, looked at, moved out of.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::process::{Process, free_port};
use crate::softhsm_fixture::{PIN, SoftHsm, TOKEN, in_own_process};

struct Place<'a> {
    dir: &'a Path,
    issuer: String,
    /// Where the module's tokens lie.
    conf: String,
    module: String,
}

impl<'a> Place<'a> {
    fn new(dir: &'a Path, port: u16, hsm: &SoftHsm) -> Self {
        let issuer = format!("http://127.0.0.1:{port}");
        let conf = std::env::var("SOFTHSM2_CONF").unwrap();
        Self { dir, issuer, conf, module: hsm.module.display().to_string() }
    }

    fn signet(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_signet"))
            .args(["--json", "--issuer", &self.issuer])
            .args(args)
            .current_dir(self.dir)
            .env_clear()
            .env("SOFTHSM2_CONF", &self.conf)
            .envs(env.iter().copied())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn done(&self, args: &[&str], env: &[(&str, &str)]) -> Value {
        let output = self.signet(args, env);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What a start under wrong settings says before it ends with exit code 2.
    #[track_caller]
    fn refused(&self, env: &[(&str, &str)]) -> String {
        let output = self.signet(&[], env);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        said
    }

    fn start(&self, port: u16, env: &[(&str, &str)]) -> Process {
        Process::start(self.dir, port, &[&[("SOFTHSM2_CONF", &*self.conf)], env].concat())
    }
}

fn finding(findings: &Value, name: &str) -> (String, String) {
    let finding = findings.as_array().unwrap().iter().find(|finding| finding["name"] == name).unwrap();
    let text = |member: &str| finding[member].as_str().unwrap_or_default().to_owned();
    (text("level"), text("what"))
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_service_moves_into_a_module_and_out_again() {
    in_own_process("pkcs11_cli::a_service_moves_into_a_module_and_out_again", |hsm| {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let place = Place::new(dir.path(), port, hsm);
        let in_file = [("SIGNET_KEYS__KEK_FILE", "kek")];
        write(&dir.path().join("kek"), &"5e".repeat(32));
        write(&dir.path().join("pin"), PIN);
        let service = place.start(port, &in_file);
        let (id, secret) = service.credentials("administrator");
        let keys = service.get("/.well-known/jwks.json", "").unwrap().json();
        assert_eq!(service.terminate(), Some(0));

        let flags =
            ["--pkcs11-module", &*place.module, "--pkcs11-token", TOKEN, "--pkcs11-key", "signet-kek"];
        let pin = [("SIGNET_KEYS_PKCS11_PIN", PIN)];
        let command = [&["keys", "make-module-key"][..], &flags].concat();
        let without = place.signet(&command, &[]);
        assert_eq!(without.status.code(), Some(2), "no PIN: {without:?}");
        let made = place.done(&command, &pin);
        assert_eq!(made["kek"].as_str().unwrap().len(), 16);
        let again = place.signet(&command, &pin);
        assert!(String::from_utf8_lossy(&again.stderr).contains("already"), "{again:?}");

        let settings = |pin: (&'static str, &'static str)| {
            let names = ["SIGNET_KEYS_PKCS11_MODULE", "SIGNET_KEYS_PKCS11_TOKEN", "SIGNET_KEYS_PKCS11_KEY"];
            let values = [place.module.clone(), TOKEN.to_owned(), "signet-kek".to_owned()];
            let mut settings: Vec<_> = names.into_iter().zip(values).collect();
            settings.push((pin.0, pin.1.to_owned()));
            settings
        };
        let in_module = settings(("SIGNET_KEYS_PKCS11_PIN_FILE", "pin"));
        let in_module: Vec<(&str, &str)> = in_module.iter().map(|(name, value)| (*name, &**value)).collect();
        // The settings before the move: it says which key is wanted, and which is given.
        let early = place.signet(&["keys", "list", "--offline"], &in_module);
        let early = String::from_utf8_lossy(&early.stderr).into_owned();
        assert!(
            early.contains("was written under") && early.contains(made["kek"].as_str().unwrap()),
            "{early}"
        );
        assert!(place.refused(&[&in_module[..], &in_file].concat()).contains("key-encryption key too"));

        let half = place.signet(&["keys", "rekey", "--pkcs11-token", TOKEN], &in_file);
        assert_eq!(half.status.code(), Some(2), "{half:?}");
        let rekey = [&["keys", "rekey"][..], &flags, &["--pkcs11-pin-file", "pin"]].concat();
        let done = place.done(&rekey, &in_file);
        assert!(done["verified"].as_u64().unwrap() >= 2 && done["resealed"] == done["verified"], "{done}");
        assert!(done["next"].as_str().unwrap().contains("keys.pkcs11"), "{done}");
        let late = place.signet(&["keys", "list", "--offline"], &in_file);
        assert!(String::from_utf8_lossy(&late.stderr).contains("was written under"), "{late:?}");

        let service = place.start(port, &in_module);
        assert_eq!(service.get("/.well-known/jwks.json", "").unwrap().json(), keys, "no key was lost");
        assert!(service.token((&id, &secret)).is_some());
        let output = place.signet(&["doctor"], &in_module);
        let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
        let (level, what) = finding(&findings, "key-encryption key");
        assert!(
            level == "ok" && what.contains("\"signet-kek\"") && what.contains("where it was made"),
            "{what}"
        );
        assert_eq!(finding(&findings, "key files").0, "ok", "{findings}");
        assert_eq!(service.terminate(), Some(0));
        place.done(&["export", "copy", "--offline"], &in_module);
        assert_eq!(place.done(&["inspect", "copy"], &in_module)["keys"], done["verified"]);

        for (pin, name) in [
            (("SIGNET_KEYS_PKCS11_PIN", "0000000"), "environment variable SIGNET_KEYS_PKCS11_PIN: "),
            (("SIGNET_KEYS_PKCS11_PIN_FILE", "kek"), "keys.pkcs11.pin_file = \"kek\": "),
        ] {
            let wrong = settings(pin);
            let wrong: Vec<(&str, &str)> = wrong.iter().map(|(name, value)| (*name, &**value)).collect();
            let said = place.refused(&wrong);
            assert!(said.contains(name) && said.contains("does not take the PIN"), "{said}");
            assert!(!said.contains("0000000") && !said.contains("5e5e"), "{said}");
        }
        // A module that is not reached has no tokens: not the settings are wrong, so that it is tried again.
        hsm.pull_out();
        let away = place.signet(&[], &in_module);
        assert_eq!(away.status.code(), Some(1), "{away:?}");
        assert!(String::from_utf8_lossy(&away.stderr).contains("but none at all"), "{away:?}");
        hsm.put_in();
        hsm.delete("signet-kek");
        let said = place.refused(&in_module);
        assert!(
            said.contains("keys.pkcs11.key = \"signet-kek\": ") && said.contains("has no secret key"),
            "{said}"
        );
    });
}

#[test]
fn a_module_key_goes_back_into_a_file() {
    in_own_process("pkcs11_cli::a_module_key_goes_back_into_a_file", |hsm| {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let place = Place::new(dir.path(), port, hsm);
        hsm.make("kek", &[]);
        let toml = format!(
            "[keys.pkcs11]\nmodule = {:?}\ntoken = \"{}\"\nkey = \"kek\"\n",
            place.module,
            hsm.serial()
        );
        std::fs::write(dir.path().join("signet.toml"), toml).unwrap();
        let pin = [("SIGNET_KEYS_PKCS11_PIN", PIN)];
        let service = place.start(port, &pin);
        let (id, secret) = service.credentials("administrator");
        assert_eq!(service.terminate(), Some(0));
        assert!(!dir.path().join("keys/kek").exists(), "no developer's key was made");
        write(&dir.path().join("file"), &"5e".repeat(32));
        place.done(&["keys", "rekey", "--new-kek-file", "file"], &pin);
        hsm.delete("kek");
        std::fs::write(dir.path().join("signet.toml"), "[keys]\nkek_file = \"file\"\n").unwrap();
        let service = place.start(port, &[]);
        assert!(service.token((&id, &secret)).is_some());
    });
}
