//! `PgBouncer` between Signet and PostgreSQL. Passed over where it is not installed.
#![expect(clippy::unwrap_used, reason = "a test's helper may panic")]

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use signet::store::postgres::{PostgresHost, PostgresOptions, TimeSource};
use signet::store::{PostgresStore, Store as _, StoreError};
use tokio::net::TcpStream;

use crate::postgres_fixture::Database;
use crate::process::free_port;

/// One that is running, between this process and a server.
struct Pooler {
    port: u16,
    process: Child,
    _dir: tempfile::TempDir,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Pooler {
    /// Nothing, and a word about it, where there is none to be had.
    #[expect(clippy::print_stderr, reason = "whoever runs the tests must know what was not tested")]
    async fn before((server, schema): (&PostgresHost, &str), settings: &str) -> Option<Self> {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let PostgresHost { host, port: server } = server;
        let path = dir.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={host} port={server} connect_query='SET search_path = {schema}'\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
             ignore_startup_parameters = options\nserver_reset_query = DEALLOCATE ALL\n{settings}\n",
            dir.path().join("users").display()
        );
        std::fs::write(dir.path().join("users"), "\"signet\" \"\"\n").unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new("pgbouncer");
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "postgres"]);
        }
        let command = command.arg("-q").arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(process) = command.spawn() else {
            eprintln!("PASSED OVER: pgbouncer is not installed");
            return None;
        };
        let mut pooler = Self { port, process, _dir: dir };
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert_eq!(pooler.process.try_wait().unwrap(), None, "it does not start");
            tokio::task::yield_now().await;
        }
        Some(pooler)
    }
}

/// What a start and a look say behind `PgBouncer` with these settings.
async fn told(settings: &str) -> Option<[Result<(), StoreError>; 2]> {
    let database = Database::fresh().await?;
    let options = database.options(TimeSource::Database);
    // It passes on no options, and so not in which schema the tables are.
    let schema = options
        .session_options
        .as_deref()
        .and_then(|options| options.strip_prefix("-csearch_path="))
        .unwrap();
    let pooler = Pooler::before((&options.hosts[0], schema), settings).await?;
    let host = PostgresHost { host: "127.0.0.1".to_owned(), port: pooler.port };
    // So that there are three sessions to lend.
    let clients = [0; 3].map(|_| database.client_at(pooler.port));
    let clients = futures_util::future::join_all(clients).await;
    for statement in ["BEGIN", "ROLLBACK"] {
        for client in &clients {
            // By statement there are no transactions.
            client.simple_query(statement).await.ok();
        }
    }
    let options = || PostgresOptions { hosts: vec![host.clone()], ..database.options(TimeSource::Database) };
    let opened = match PostgresStore::open(options()).await {
        Ok(store) => store.now().await.map(drop),
        Err(error) => Err(error),
    };
    Some([opened, PostgresStore::report(&options()).await.map(drop)])
}

/// What a session is told once would hold for somebody else.
#[tokio::test]
async fn a_pooler_that_hands_out_sessions_by_transaction_is_refused() {
    // It lends the session that was given back last, or the one that was given back first.
    for settings in [
        "pool_mode = transaction",
        "pool_mode = transaction\nserver_round_robin = 1",
        "pool_mode = statement",
    ] {
        let Some(told) = told(settings).await else { return };
        for refused in told {
            let reason = refused.expect_err(settings).to_string();
            assert!(reason.contains("connection pooler"), "{settings}: {reason}");
        }
    }
}

#[tokio::test]
async fn a_pooler_that_does_so_by_session_is_taken() {
    let Some(told) = told("pool_mode = session").await else { return };
    for taken in told {
        taken.unwrap();
    }
}

/// A name may lead to two servers, and each numbers its own processes. Here one server passes for both: what it says of itself is made up.
#[tokio::test]
async fn two_servers_whose_processes_have_one_number_are_no_pooler() {
    let Some(database) = Database::fresh().await else { return };
    let options = || database.options(TimeSource::Database);
    let path = options().session_options.unwrap();
    // Before the server's own.
    let schema = path.strip_prefix("-csearch_path=").unwrap();
    let session_options = Some(format!("{path},pg_catalog"));
    let client = database.client().await;
    for (started, is_taken) in
        [("to_timestamp(pg_catalog.pg_backend_pid())", true), ("to_timestamp(1)", false)]
    {
        let made_up = format!(
            "CREATE OR REPLACE FUNCTION {schema}.pg_backend_pid() RETURNS int LANGUAGE sql AS 'SELECT 4711'; \
             CREATE OR REPLACE FUNCTION {schema}.pg_postmaster_start_time() RETURNS timestamptz LANGUAGE sql \
             AS 'SELECT {started}'"
        );
        client.batch_execute(&made_up).await.unwrap();
        let options = PostgresOptions { session_options: session_options.clone(), ..options() };
        match PostgresStore::report(&options).await {
            Ok(_) => assert!(is_taken, "it is one server and one process"),
            Err(refused) => {
                assert!(!is_taken && refused.to_string().contains("connection pooler"), "{refused}");
            }
        }
    }
}
