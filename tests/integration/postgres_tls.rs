//! A database that lets in only who comes by TLS and knows the password.

use std::path::{Path, PathBuf};

use signet::store::postgres::{PostgresOptions, PostgresPassword, PostgresTls};
use signet::store::{PostgresStore, Store as _, Table};

use crate::postgres_server::Server;

const PASSWORD: &str = "of-the-tests-alone";

fn options(server: &Server, (host, tls, password): (&str, PostgresTls, &Path)) -> PostgresOptions {
    let mut options = server.options(&[]);
    host.clone_into(&mut options.hosts[0].host);
    PostgresOptions { tls, password: Some(PostgresPassword::File(password.to_owned())), ..options }
}

fn by(ca_bundle: Option<&Path>) -> PostgresTls {
    PostgresTls::Verified { ca_bundle: ca_bundle.map(Path::to_owned) }
}

#[tokio::test]
async fn the_server_must_show_a_certificate_of_its_name_and_the_node_the_password_of_its_file() {
    let Some(server) = Server::start("tls") else { return };
    let ca = PathBuf::from(server.run("demand_tls", &[PASSWORD]).trim());
    let (other, dir) = (Server::start("other-ca").unwrap(), tempfile::tempdir().unwrap());
    let other_ca = PathBuf::from(other.run("demand_tls", &[PASSWORD]).trim());
    let [right, wrong] = ["right", "wrong"].map(|name| dir.path().join(name));
    // As an editor writes it: with the end of the line.
    std::fs::write(&right, format!("{PASSWORD}\n")).unwrap();
    std::fs::write(&wrong, "something-else").unwrap();

    let store = PostgresStore::open(options(&server, ("localhost", by(Some(&ca)), &right))).await.unwrap();
    assert!(store.get(Table::plain("codes"), b"k").await.unwrap().is_none());

    let refusals = [
        (
            "a name that the certificate has not",
            "certificate not valid for name",
            ("127.0.0.1", by(Some(&ca)), &right),
        ),
        (
            "an authority that is not trusted",
            "invalid peer certificate",
            ("localhost", by(Some(&other_ca)), &right),
        ),
        ("nobody's authority", "invalid peer certificate", ("localhost", by(None), &right)),
        ("no TLS", "no encryption", ("localhost", PostgresTls::Plaintext, &right)),
        ("another password", "password authentication failed", ("localhost", by(Some(&ca)), &wrong)),
        ("no file", "postgres.password_file", ("localhost", by(Some(&ca)), &dir.path().join("none"))),
    ];
    for (what, reason, (host, tls, password)) in refusals {
        let refused = PostgresStore::open(options(&server, (host, tls, password))).await.err().unwrap();
        let refused = refused.to_string();
        assert_eq!(refused.matches("unavailable").count(), 1, "said once: {refused}");
        assert!(refused.contains(reason), "{what}: {refused}");
        assert!(!refused.contains(PASSWORD) && !refused.contains("something-else"), "{what}: {refused}");
    }
}
