//! Databases for tests that need PostgreSQL: each its own schema on the server that `SIGNET_TEST_POSTGRES` names.
#![expect(clippy::unwrap_used, reason = "a test's helper may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use signet::entropy::SystemEntropy;
use signet::store::postgres::{PostgresHost, PostgresOptions, PostgresTls, TimeSource};
use signet::store::{Cursor, PostgresStore};
use tokio_postgres::{Client, NoTls};

/// Which server, such as `postgres://signet@127.0.0.1:55410/signet`; `tests/support/postgres.sh` starts one.
pub(crate) const VARIABLE: &str = "SIGNET_TEST_POSTGRES";

/// A schema of its own in the database for tests.
pub(crate) struct Database {
    url: String,
    schema: String,
}

impl Database {
    /// An empty one, or nothing, and a word about it, where there is no server for tests.
    #[expect(clippy::print_stderr, reason = "whoever runs the tests must know what was not tested")]
    pub(crate) async fn fresh() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let Ok(url) = std::env::var(VARIABLE) else {
            eprintln!("PASSED OVER: {VARIABLE} names no PostgreSQL server; see tests/support/postgres.sh");
            return None;
        };
        let schema = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let database = Self { url, schema };
        let created = format!("DROP SCHEMA IF EXISTS {0} CASCADE; CREATE SCHEMA {0}", database.schema);
        database.client().await.batch_execute(&created).await.unwrap();
        Some(database)
    }

    /// What `store` in the settings says of it.
    pub(crate) fn url(&self) -> String {
        format!("{}?options=-csearch_path%3D{}", self.url, self.schema)
    }

    /// A connection to it, as an operator's.
    pub(crate) async fn client(&self) -> Client {
        let mut config: tokio_postgres::Config = self.url.parse().unwrap();
        config.options(format!("-csearch_path={}", self.schema));
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// All that stands in it, as the server keeps it: by table.
    pub(crate) async fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let operator = self.client().await;
        let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()";
        let mut contents = Vec::new();
        for row in operator.query(tables, &[]).await.unwrap() {
            let table: String = row.get(0);
            let copy = operator.copy_out(&format!("COPY {table} TO STDOUT (FORMAT binary)")).await.unwrap();
            let bytes: Vec<_> = copy.try_collect().await.unwrap();
            contents.push((format!("the store's table {table}"), bytes.concat()));
        }
        contents
    }

    /// How to reach it.
    pub(crate) fn options(&self, time: TimeSource) -> PostgresOptions {
        let config: tokio_postgres::Config = self.url.parse().unwrap();
        let hosts = config.get_hosts().iter().zip(config.get_ports());
        let name = |host: &tokio_postgres::config::Host| match host {
            tokio_postgres::config::Host::Tcp(name) => name.clone(),
            tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
        };
        PostgresOptions {
            hosts: hosts.map(|(host, port)| PostgresHost { host: name(host), port: *port }).collect(),
            user: config.get_user().unwrap().to_owned(),
            database: config.get_dbname().unwrap().to_owned(),
            password: None,
            tls: PostgresTls::Plaintext,
            session_options: Some(format!("-csearch_path={}", self.schema)),
            timeout: Duration::from_secs(10),
            connections: 8,
            waiting: 256,
            changes_kept: 100_000,
            time,
            entropy: SystemEntropy::shared(),
        }
    }

    /// A store in it.
    pub(crate) async fn store(&self, time: TimeSource) -> Arc<PostgresStore> {
        PostgresStore::open(self.options(time)).await.unwrap()
    }
}

/// A place of whatever epoch.
pub(crate) fn at(place: u64) -> Cursor {
    Cursor { place, ..Cursor::default() }
}
