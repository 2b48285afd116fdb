//! The files of the public listener's certificate: what is taken, what is refused, and what becomes of a change.

use std::path::Path;
use std::process::Command;

use signet::clock::{Clock as _, SystemClock};
use signet::config::TlsConfig;
use signet::http::{Reloaded, Tls, TlsError, certificate_end};

use crate::certificates::{Pair, files, write_key, year};
use crate::test_app::TestApp;

const P256: &str = include_str!("../fixtures/keys/p256.pem");
const P256_SEC1: &str = include_str!("../fixtures/keys/p256.sec1.pem");
const RSA: &str = include_str!("../fixtures/keys/rsa2048.pem");
const RSA_PKCS1: &str = include_str!("../fixtures/keys/rsa2048.pkcs1.pem");
const RSA_SHORT: &str = include_str!("../fixtures/keys/rsa1024.pem");

fn der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject as _;
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap().secret_der().to_vec()
}

/// What spoils a pair that was good, and what is said of it.
type Harm = (&'static str, fn(&TlsConfig), &'static str, &'static str);

const HARMS: [Harm; 11] = [
    (
        "no certificate",
        |f| drop(std::fs::remove_file(&f.certificate_file)),
        "certificate_file",
        "can't be read",
    ),
    (
        "not PEM",
        |f| std::fs::write(&f.certificate_file, "hello").unwrap(),
        "certificate_file",
        "no certificate",
    ),
    (
        "no X.509",
        |f| {
            let text = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
            std::fs::write(&f.certificate_file, text).unwrap();
        },
        "certificate_file",
        "its first certificate can't be read",
    ),
    (
        "an ended one",
        |f| drop(Pair::ending(2025).write(f.certificate_file.parent().unwrap())),
        "certificate_file",
        "ended at 2025-01-01",
    ),
    (
        "one of the future",
        |f| drop(Pair::beginning(2027).write(f.certificate_file.parent().unwrap())),
        "certificate_file",
        "counts only from 2027-01-01",
    ),
    ("no key", |f| drop(std::fs::remove_file(&f.private_key_file)), "private_key_file", "can't be read"),
    (
        "another's key",
        |f| write_key(f, &Pair::new().private_key_pem(), 0o600),
        "private_key_file",
        "is not the key of the certificate in",
    ),
    (
        "a key that all may read",
        |f| write_key(f, &std::fs::read_to_string(&f.private_key_file).unwrap(), 0o644),
        "private_key_file",
        "has mode 0644: others may read it",
    ),
    ("a short key", |f| write_key(f, RSA_SHORT, 0o600), "private_key_file", "a key that can't be used"),
    (
        "a certificate for a key",
        |f| write_key(f, &Pair::new().certificate_pem(), 0o600),
        "private_key_file",
        "something else than a private key",
    ),
    ("no PEM for a key", |f| write_key(f, "hunter2", 0o600), "private_key_file", "is not PEM"),
];

fn says(error: &TlsError, setting: &str, reason: &str) -> bool {
    error.setting == format!("tls.{setting}") && error.reason.contains(reason)
}

#[test]
fn a_pair_that_can_not_be_used_is_refused_and_named() {
    let dir = tempfile::tempdir().unwrap();
    for (what, harm, setting, reason) in HARMS {
        let files = Pair::new().write(dir.path());
        Tls::open(&files, year(2026)).unwrap();
        harm(&files);
        let error = Tls::open(&files, year(2026)).unwrap_err();
        assert!(says(&error, setting, reason), "{what}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn a_change_that_can_not_be_used_keeps_the_pair_before_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    for (what, harm, setting, reason) in HARMS {
        let files = Pair::ending(2090).write(dir.path());
        let tls = Tls::open(&files, year(2026)).unwrap();
        assert!(matches!(tls.reload(year(2026)), Reloaded::Unchanged));
        harm(&files);
        for failures in 1..3 {
            let kept = tls.reload(year(2026));
            assert!(
                matches!(&kept, Reloaded::Kept(error) if says(error, setting, reason)),
                "{what}: {kept:?}"
            );
            assert_eq!((tls.failures(), tls.not_after()), (failures, year(2090)), "{what}");
        }
        Pair::ending(2091).write(dir.path());
        assert!(matches!(tls.reload(year(2026)), Reloaded::Taken), "{what}");
        assert_eq!((tls.failures(), tls.not_after()), (2, year(2091)), "{what}");
        assert!(matches!(tls.reload(year(2026)), Reloaded::Unchanged), "{what}");
    }
}

#[test]
fn a_link_that_leads_elsewhere_is_a_change() {
    // As an orchestrator mounts them: both names lead through one link, which is replaced at once.
    let dir = tempfile::tempdir().unwrap();
    let point_to = |version: &str, ending: i32| {
        std::fs::create_dir(dir.path().join(version)).unwrap();
        Pair::ending(ending).write(&dir.path().join(version));
        std::os::unix::fs::symlink(version, dir.path().join("next")).unwrap();
        std::fs::rename(dir.path().join("next"), dir.path().join("current")).unwrap();
    };
    point_to("one", 2090);
    let tls = Tls::open(&files(&dir.path().join("current")), year(2026)).unwrap();
    point_to("two", 2091);
    assert!(matches!(tls.reload(year(2026)), Reloaded::Taken));
    assert_eq!(tls.not_after(), year(2091));
}

#[test]
fn keys_come_in_every_usual_form() {
    let dir = tempfile::tempdir().unwrap();
    for (pkcs8, other) in [(P256, P256_SEC1), (RSA, RSA_PKCS1)] {
        let files = Pair::of_key(&der(pkcs8)).write(dir.path());
        for (form, mode) in [(pkcs8, 0o600), (other, 0o400), (other, 0o440)] {
            std::fs::remove_file(&files.private_key_file).unwrap();
            write_key(&files, form, mode);
            Tls::open(&files, year(2026)).unwrap();
        }
    }
}

#[test]
fn the_key_does_not_print() {
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls::open(&Pair::new().write(dir.path()), year(2026)).unwrap();
    assert_eq!(
        format!("{tls:?}"),
        format!("Tls {{ files: {:?}, .. }}", files(dir.path())),
        "nothing but the files' names"
    );
}

#[actix_web::test]
async fn the_end_and_the_failures_are_measured() {
    let app = TestApp::start().await;
    let without = String::from_utf8(app.manage("/metrics").await.body).unwrap();
    assert!(without.contains("\nsignet_tls_certificate_not_after_seconds 0\n"), "{without}");
    let files = Pair::ending(2090).write(app.dir());
    let tls = Tls::open(&files, year(2026)).unwrap();
    std::fs::remove_file(&files.certificate_file).unwrap();
    tls.reload(year(2026));
    tls.measure(&app.app.state.metrics);
    let with = String::from_utf8(app.manage("/metrics").await.body).unwrap();
    let ends = format!("\nsignet_tls_certificate_not_after_seconds {}\n", year(2090).timestamp());
    assert!(with.contains(&ends), "{with}");
    assert!(with.contains("\nsignet_tls_reload_failures_total 1\n"), "{with}");
    assert!(certificate_end(&files.certificate_file).is_err());
}

#[test]
fn a_wrong_pair_stops_the_start_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let files = Pair::new().write(dir.path());
    write_key(&files, &Pair::new().private_key_pem(), 0o600);
    // Taken, so that a start which should have been refused ends too.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_signet"))
        .current_dir(dir.path())
        .env_clear()
        .env("SIGNET_LISTEN", taken.local_addr().unwrap().to_string())
        .env("SIGNET_TLS_CERTIFICATE_FILE", &files.certificate_file)
        .env("SIGNET_TLS_PRIVATE_KEY_FILE", &files.private_key_file)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let said = format!(
        "environment variable SIGNET_TLS_PRIVATE_KEY_FILE: tls.private_key_file = {:?}: is not the key of the certificate",
        files.private_key_file
    );
    assert!(stderr.contains(&said) && stderr.contains("; name the two files of one pair"), "{stderr}");
    let made = |name: &str| Path::exists(&dir.path().join(name));
    assert!(!made("data") && !made("keys"));
}

#[test]
fn the_doctor_counts_the_days() {
    let dir = tempfile::tempdir().unwrap();
    let said = |pair: &Pair| {
        let files = pair.write(dir.path());
        let output = Command::new(env!("CARGO_BIN_EXE_signet"))
            .args(["doctor", "--issuer", "https://127.0.0.1:1"])
            .current_dir(dir.path())
            .env_clear()
            .env("SIGNET_TLS_CERTIFICATE_FILE", &files.certificate_file)
            .env("SIGNET_TLS_PRIVATE_KEY_FILE", &files.private_key_file)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find(|line| line.contains(" certificate: ")).unwrap_or_default().to_owned()
    };
    let fresh = said(&Pair::ending(2100));
    assert!(fresh.starts_with("ok ") && fresh.ends_with(" days, at 2100-01-01T00:00:00+00:00"), "{fresh}");
    let ended = said(&Pair::ending(2025));
    assert!(ended.starts_with("FAIL ") && ended.contains("it ended at 2025-01-01"), "{ended}");
    // As long as the system's own clock has not passed it: the thirteenth day from now.
    let soon = said(&Pair::ending_on(SystemClock::new().now() + chrono::Duration::days(13)));
    assert!(soon.starts_with("warn ") && soon.contains("it ends in 1"), "{soon}");
}
