//! PostgreSQL servers of a test's own, which may be frozen, killed and set up as it likes.
#![expect(clippy::unwrap_used, reason = "a test's helper may panic")]

use std::path::PathBuf;
use std::process::Command;

use signet::entropy::SystemEntropy;
use signet::store::postgres::{PostgresHost, PostgresOptions, PostgresTls, TimeSource};
use tokio_postgres::NoTls;

use crate::postgres_fixture::{TIMEOUT, VARIABLE};
use crate::process::free_port;

/// A server of a test's own.
pub(crate) struct Server {
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
}

impl Server {
    #[expect(clippy::print_stderr, reason = "whoever runs the tests must know what was not tested")]
    /// A new one, or nothing where no servers are to be started.
    pub(crate) fn start(name: &str) -> Option<Self> {
        if std::env::var(VARIABLE).is_err() {
            eprintln!("PASSED OVER: {VARIABLE} is not set, so no servers are started");
            return None;
        }
        let server = Self::at(name);
        server.run("start_primary", &[&server.port.to_string()]);
        Some(server)
    }

    fn at(name: &str) -> Self {
        // Short, for a socket's path may not be long; and open to the user that the server runs as.
        let dir = PathBuf::from(format!("/tmp/signet-{}-{name}", std::process::id()));
        Self { dir, port: free_port() }
    }

    /// A synchronous standby of it.
    pub(crate) fn standby(&self) -> Self {
        let standby = Self::at("standby");
        standby.run("start_standby", &[&standby.port.to_string(), self.dir.to_str().unwrap()]);
        standby
    }

    /// Does one of the script's verbs; gives what it printed.
    pub(crate) fn run(&self, verb: &str, more: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/postgres.sh");
        let ran = Command::new(script).arg(verb).arg(&self.dir).args(more).output().unwrap();
        assert!(ran.status.success(), "{verb}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    }

    /// How to reach it, or else one of the others.
    pub(crate) fn options(&self, others: &[&Self]) -> PostgresOptions {
        let host = |server: &Self| PostgresHost { host: "127.0.0.1".to_owned(), port: server.port };
        PostgresOptions {
            hosts: [self].into_iter().chain(others.iter().copied()).map(host).collect(),
            user: "signet".to_owned(),
            database: "signet".to_owned(),
            password: None,
            tls: PostgresTls::Plaintext,
            session_options: None,
            timeout: TIMEOUT,
            connections: 4,
            waiting: 16,
            changes_kept: 1000,
            time: TimeSource::Database,
            entropy: SystemEntropy::shared(),
        }
    }

    /// Commits at it wait for this standby from now on, or for none where it has no name.
    pub(crate) async fn wait_for_standby(&self, name: &str) {
        let operator = self.operator().await;
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'");
        operator.batch_execute(&set).await.unwrap();
        operator.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    }

    /// A connection to it, as an operator's.
    pub(crate) async fn operator(&self) -> tokio_postgres::Client {
        let url = format!("postgres://signet@127.0.0.1:{}/signet", self.port);
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/postgres.sh");
        let _ended = Command::new(script).arg("stop").arg(&self.dir).output();
    }
}
