//! Databases for tests that need PostgreSQL: each its own schema on the server that `SIGNET_TEST_POSTGRES` names.
#![expect(clippy::unwrap_used, reason = "a test's helper may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use signet::entropy::SystemEntropy;
use signet::store::postgres::{PostgresHost, PostgresOptions, PostgresTls, TimeSource};
use signet::store::{Cursor, PostgresStore, Store as _, Table};
use tokio_postgres::{Client, NoTls};

/// Which server, such as `postgres://signet@127.0.0.1:18905/signet`; `tests/support/postgres.sh` starts one.
pub(crate) const VARIABLE: &str = "SIGNET_TEST_POSTGRES";

/// How long a call may take that is to succeed: more than any machine needs, however busy.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

const OPERATIONS: &str = include_str!("../../docs/operations.md");

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

    /// The same through what listens at this port.
    pub(crate) async fn client_at(&self, port: u16) -> Client {
        let direct: tokio_postgres::Config = self.url.parse().unwrap();
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(port).user(direct.get_user().unwrap());
        config.dbname(direct.get_dbname().unwrap());
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
            timeout: TIMEOUT,
            connections: 8,
            waiting: 256,
            changes_kept: 100_000,
            time,
            entropy: SystemEntropy::shared(),
        }
    }

    /// How a node reaches it whose role has what docs/operations.md grants, and nothing else, on tables that are there already.
    pub(crate) async fn options_of_node(&self, time: TimeSource) -> PostgresOptions {
        let (schema, role) = (&self.schema, format!("{}_node", self.schema));
        PostgresStore::migrate(&self.options(TimeSource::Database)).await.unwrap();
        let [_, grants] = roles_and_grants(&role);
        // In the schema `public`, where an installation of its own has its tables, everybody has the first of these grants.
        let made = format!(
            "DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {role}"
        );
        self.client().await.batch_execute(&format!("{made}; {}", grants.join(";"))).await.unwrap();
        PostgresOptions { user: role, ..self.options(time) }
    }

    /// A store in it.
    pub(crate) async fn store(&self, time: TimeSource) -> Arc<PostgresStore> {
        PostgresStore::open(self.options(time)).await.unwrap()
    }
}

/// A store whose calls may take no longer than `limit`, for those that are to run into it. A busy machine may be slower than that where
/// nothing fails, too: it is opened until that works, and has a connection then.
pub(crate) async fn hurried(options: PostgresOptions, limit: Duration) -> Arc<PostgresStore> {
    let options = PostgresOptions { timeout: limit, ..options };
    for _ in 0..100 {
        if let Ok(store) = PostgresStore::open(options.clone()).await
            && store.get(Table::plain("codes"), b"nothing").await.is_ok()
        {
            return store;
        }
    }
    panic!("a hundred times it took more than {limit:?} to connect");
}

/// What an operator types by docs/operations.md, statement by statement: for roles and a database, and then for the tables. `name` is what the
/// nodes' role and the database are called, and with `_owner` the role that owns the tables.
pub(crate) fn roles_and_grants(name: &str) -> [Vec<String>; 2] {
    let (_, chapter) = OPERATIONS.split_once("### Roles and grants").unwrap();
    let (chapter, _) = chapter.split_once("\n### ").unwrap();
    let mut blocks = chapter.split("```sql\n").skip(1).map(|block| {
        let block = block.split_once("```").unwrap().0;
        let words = block.split_inclusive(|c: char| c != '_' && !c.is_ascii_alphanumeric());
        let renamed =
            words.map(|word| match word.trim_end_matches(|c: char| c != '_' && !c.is_ascii_alphanumeric()) {
                "signet" | "signet_owner" => word.replacen("signet", name, 1),
                _ => word.to_owned(),
            });
        let statements = renamed.collect::<String>();
        statements.split(';').map(|each| each.trim().to_owned()).filter(|each| !each.is_empty()).collect()
    });
    let [Some(roles), Some(grants), None] = std::array::from_fn(|_| blocks.next()) else {
        panic!("the chapter has two blocks of SQL")
    };
    [roles, grants]
}

/// A place of whatever epoch.
pub(crate) fn at(place: u64) -> Cursor {
    Cursor { place, ..Cursor::default() }
}
