//! One connection: how it is made, what it is told first, and who reads from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Socket, ToStatement};

use super::fault::describe;
use super::options::{PostgresHost, PostgresOptions, PostgresPassword, PostgresTls};
use super::statements::Statements;
use super::tls;
use crate::store::{Cursor, StoreError};

/// What the server is asked about itself; a server that does not know a setting answers nothing.
const ABOUT: &str = "SELECT current_setting('synchronous_commit', true), current_setting('fsync', true), \
                     current_setting('full_page_writes', true), version(), \
                     current_setting('synchronous_standby_names', true), current_setting('server_version_num', true)";

/// The oldest PostgreSQL that is tested, as `server_version_num` has it.
const OLDEST: u32 = 150_000;

/// Every statement finds its rows by an index. A plan that was made while a table was tiny would read all of it, and is kept: it would
/// walk whatever was removed since, and is still there for a reader with an old snapshot.
const BY_INDEX: &str = "SET enable_seqscan = off";

/// Which functions of the server warn that its numbers of transactions run out: with every one that is given, from 40 million before it stops.
/// That says nothing of the commit that it comes with. The SQLSTATE is the one of the warning that does, and the text is translated; the
/// name of the function is not. A server that names none, or another, is doubted as with any other warning.
const OF_NUMBERS: [&str; 2] = ["GetNewTransactionId", "GetNewMultiXactId"];

/// A connection that is nobody's. Dropping it cuts it off, whatever the server is doing: nobody waits for that.
pub(super) struct Link {
    pub(super) client: Client,
    /// The payloads of the notifications that come in.
    pub(super) notifications: mpsc::Receiver<String>,
    warned: Arc<AtomicBool>,
    driver: AbortHandle,
}

/// A connection that is ready to work.
pub(super) struct Session {
    link: Link,
    pub(super) statements: Statements,
    /// Said before the turn of those who number changes is asked for, within their transaction.
    pub(super) waits_for_turn: String,
    /// Of which generation it is: those before a failover are of no use after it.
    pub(super) generation: u64,
    /// Which server it talks to: the epoch of its changes.
    pub(super) server: u64,
    /// When it was last given back, in the pool's count of leases.
    pub(super) answered: u64,
}

/// What a server says of itself.
#[derive(Clone, Debug)]
pub(super) struct About {
    /// Its `version()`.
    pub(super) version: String,
    /// How far a commit goes before it is answered, as the server or the role would have it.
    pub(super) synchronous_commit: Option<String>,
    /// What makes an acknowledged commit less than durable.
    warnings: Vec<String>,
    /// Whether its commits wait for no other server.
    is_alone: bool,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    /// Connects to `host`, if it takes writes. Must be called in the runtime that is to read from it.
    pub(super) async fn open(options: &PostgresOptions, host: &PostgresHost) -> Result<Self, StoreError> {
        let config = config(options, host)?;
        match &options.tls {
            // There is nothing between the two ends of a socket in the file system.
            _ if host.is_socket() => Self::start(config.connect(NoTls).await, host),
            PostgresTls::Plaintext => Self::start(config.connect(NoTls).await, host),
            PostgresTls::Verified { ca_bundle } => {
                let tls = tls::verified(ca_bundle.as_deref())?;
                Self::start(config.connect(tls).await, host)
            }
        }
    }

    fn start<S>(
        connected: Result<(Client, Connection<Socket, S>), tokio_postgres::Error>,
        host: &PostgresHost,
    ) -> Result<Self, StoreError>
    where
        S: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
    {
        let (client, connection) = connected.map_err(|error| match describe(&error) {
            StoreError::Unavailable(reason) => {
                StoreError::Unavailable(format!("{}:{}: {reason}", host.host, host.port))
            }
            error => error,
        })?;
        let (tell, notifications) = mpsc::channel(64);
        let warned = Arc::new(AtomicBool::new(false));
        let driver = tokio::spawn(drive(connection, tell, warned.clone())).abort_handle();
        Ok(Self { client, notifications, warned, driver })
    }
}

impl Session {
    /// Sets the connection up, and asks which server it leads to.
    pub(super) async fn open(
        options: &PostgresOptions,
        host: &PostgresHost,
        generation: u64,
    ) -> Result<Self, StoreError> {
        let link = Link::open(options, host).await?;
        let failed = |error| describe(&error);
        let told = set_up(options.timeout);
        let ((), about) = tokio::try_join!(
            async { link.client.batch_execute(&told).await.map_err(failed) },
            About::ask(&link.client)
        )?;
        if about.is_too_early() {
            link.client.batch_execute("SET synchronous_commit = on").await.map_err(failed)?;
        }
        if about.announces() {
            link.client.batch_execute(BY_INDEX).await.map_err(failed)?;
        }
        let statements = Statements::prepare(&link.client, about.announces()).await.map_err(failed)?;
        let server = newest(&link.client, &statements.changes).await?.epoch;
        let waits_for_turn = wait_for_turn(options.longest_wait_for_turn());
        Ok(Self { link, statements, waits_for_turn, generation, server, answered: 0 })
    }

    pub(super) fn client(&self) -> &Client {
        &self.link.client
    }

    pub(super) fn is_closed(&self) -> bool {
        self.link.client.is_closed()
    }

    /// Forgets earlier warnings.
    pub(super) fn begin(&self) {
        self.link.warned.store(false, Ordering::SeqCst);
    }

    /// Whether the server warned since [`Session::begin`]. A commit whose wait for the synchronous standby was
    /// cancelled is answered as if it had been done; only a warning says that it may not survive.
    pub(super) fn was_warned(&self) -> bool {
        self.link.warned.load(Ordering::SeqCst)
    }
}

impl About {
    pub(super) async fn ask(client: &Client) -> Result<Self, StoreError> {
        let row = client.query_one(ABOUT, &[]).await.map_err(|error| describe(&error))?;
        let text = |at: usize| row.get::<_, Option<String>>(at);
        let synchronous_commit = text(0);
        let off = |at: usize| text(at).is_some_and(|value| value == "off");
        let mut warnings = Vec::new();
        if off(1) {
            warnings.push("fsync is off: a crash of its machine loses or damages everything".to_owned());
        }
        if off(2) {
            warnings.push("full_page_writes is off: a power cut may damage its pages".to_owned());
        }
        let is_alone = text(4).is_some_and(|names| names.is_empty());
        let mut about = Self { version: text(3).unwrap_or_default(), synchronous_commit, warnings, is_alone };
        if about.announces() {
            expect_recent(text(5).as_deref())?;
        }
        if about.is_too_early() {
            let set = about.synchronous_commit.clone().unwrap_or_default();
            about.warnings.push(format!(
                "synchronous_commit is {set} for this role: Signet's sessions set it to on, as what it \
                 acknowledges must survive; set it so for the role too"
            ));
        }
        Ok(about)
    }

    /// What is to be told of it where the settings name so many hosts.
    pub(super) fn warnings(&self, hosts: usize) -> Vec<String> {
        let mut warnings = self.warnings.clone();
        if self.is_alone && hosts > 1 {
            warnings.push(
                "synchronous_standby_names is empty: a failover loses what was acknowledged last, spent codes and \
                 revocations too"
                    .to_owned(),
            );
        }
        warnings
    }

    /// Whether commits would be answered before they are durable, here and at the synchronous standby.
    fn is_too_early(&self) -> bool {
        let set = self.synchronous_commit.as_deref();
        set.is_some_and(|set| ["off", "local", "remote_write"].contains(&set))
    }

    /// Whether it knows `NOTIFY`: those that only speak like PostgreSQL don't.
    pub(super) fn announces(&self) -> bool {
        self.version.starts_with("PostgreSQL") && !self.version.contains("-YB-")
    }
}

/// The newest place in the order of changes that this connection leads to, by the statement that reads them. Its epoch says
/// which server it is: one start of one server has one; a database that only speaks like PostgreSQL, of whose many servers
/// none takes over alone, has the same everywhere.
pub(super) async fn newest(
    client: &Client,
    changes: &(impl ToStatement + ?Sized),
) -> Result<Cursor, StoreError> {
    // No change is behind the last place: the answer is the newest place.
    let answer = client.query_opt(changes, &[&i64::MAX, &0_i64]).await;
    let missing = || StoreError::Unavailable("PostgreSQL: signet_place is empty".to_owned());
    let row = answer.map_err(|error| describe(&error))?.ok_or_else(missing)?;
    let number = |at: usize| row.get::<_, i64>(at).cast_unsigned();
    Ok(Cursor { epoch: number(3), place: number(0) })
}

/// Refuses a PostgreSQL older than [`OLDEST`]. One that only speaks like it counts its releases otherwise.
fn expect_recent(server_version_num: Option<&str>) -> Result<(), StoreError> {
    let number: Option<u32> = server_version_num.and_then(|number| number.parse().ok());
    match number {
        Some(number) if number >= OLDEST => Ok(()),
        Some(number) => Err(StoreError::Unavailable(format!(
            "this is PostgreSQL {}, and Signet needs {} or newer: upgrade the server",
            number / 10_000,
            OLDEST / 10_000
        ))),
        None => Err(StoreError::Unavailable(
            "PostgreSQL does not say which release it is (server_version_num)".to_owned(),
        )),
    }
}

/// What a session is told first. A transaction whose node stands still holds its locks no longer than this.
fn set_up(timeout: Duration) -> String {
    // The server gives up first: then it is known to be alive, and to have done nothing.
    let millis = timeout.as_millis() * 4 / 5;
    format!(
        "SET default_transaction_isolation = 'read committed'; SET statement_timeout = {millis}; \
         SET lock_timeout = {millis}; SET idle_in_transaction_session_timeout = {millis}"
    )
}

/// Whoever has the turn keeps it until its commit is acknowledged. Who gave up sooner would lose its place to those who came later, and
/// where commits are slow, and several nodes have some all the time, might never have a turn.
fn wait_for_turn(longest: Duration) -> String {
    let millis = longest.as_millis();
    format!("SET LOCAL statement_timeout = {millis}; SET LOCAL lock_timeout = {millis}")
}

fn config(options: &PostgresOptions, host: &PostgresHost) -> Result<Config, StoreError> {
    let mut config = Config::new();
    config
        .host(&host.host)
        .port(host.port)
        .user(&options.user)
        .dbname(&options.database)
        .application_name("signet")
        .connect_timeout(options.timeout)
        .tcp_user_timeout(options.timeout)
        .keepalives_idle(Duration::from_secs(10))
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .ssl_mode(match options.tls {
            PostgresTls::Verified { .. } if !host.is_socket() => SslMode::Require,
            _ => SslMode::Disable,
        });
    if let Some(session_options) = &options.session_options {
        config.options(session_options);
    }
    match &options.password {
        None => {}
        Some(PostgresPassword::Value(password)) => _ = config.password(password.expose()),
        Some(PostgresPassword::File(path)) => {
            let text = std::fs::read_to_string(path).map(zeroize::Zeroizing::new).map_err(|error| {
                StoreError::Unavailable(format!("postgres.password_file = {}: {error}", path.display()))
            })?;
            config.password(text.trim_end_matches(['\r', '\n']));
        }
    }
    Ok(config)
}

/// Reads from the connection until it ends.
async fn drive<S, T>(
    mut connection: Connection<S, T>,
    notifications: mpsc::Sender<String>,
    warned: Arc<AtomicBool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut is_told = false;
    while let Some(message) = std::future::poll_fn(|context| connection.poll_message(context)).await {
        match message {
            // Which comes with every commit: once for each connection is often enough.
            Ok(AsyncMessage::Notice(notice)) if is_of_numbers(&notice) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(
                        message = notice.message(),
                        "PostgreSQL warns; commits count all the same"
                    );
                }
            }
            Ok(AsyncMessage::Notification(notification)) => {
                // One that waits already says as much.
                notifications.try_send(notification.payload().to_owned()).ok();
            }
            Ok(AsyncMessage::Notice(notice)) => {
                if is_warning(&notice) {
                    warned.store(true, Ordering::SeqCst);
                    tracing::warn!(message = notice.message(), "PostgreSQL warns");
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "a connection to PostgreSQL broke");
                return;
            }
        }
    }
}

/// By what the server never translates: the word for people is in the language of its `lc_messages`.
fn is_warning(notice: &DbError) -> bool {
    match notice.parsed_severity() {
        Some(severity) => severity == Severity::Warning,
        // A server that only speaks like PostgreSQL: by the class of the SQLSTATE.
        None => notice.code().code().starts_with("01"),
    }
}

fn is_of_numbers(notice: &DbError) -> bool {
    notice.routine().is_some_and(|routine| OF_NUMBERS.contains(&routine))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn a_server_that_is_too_old_is_refused_with_its_release_and_the_one_that_is_needed() {
        for recent in ["150000", "150018", "160004", "180001", "1000000"] {
            expect_recent(Some(recent)).unwrap();
        }
        for (old, release) in [("140023", "14"), ("130000", "13"), ("90624", "9")] {
            let told = expect_recent(Some(old)).unwrap_err().to_string();
            assert!(told.contains(&format!("PostgreSQL {release}, and Signet needs 15 or newer")), "{told}");
        }
        for unknown in [None, Some(""), Some("17devel")] {
            assert!(expect_recent(unknown).is_err());
        }
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind], length.to_be_bytes().as_slice(), body].concat()
    }

    /// Whether a session is warned by a notice of these fields.
    async fn is_warned_by(fields: &[u8]) -> bool {
        let (here, mut server) = tokio::io::duplex(4096);
        let notice = message(b'N', fields);
        let serving = tokio::spawn(async move {
            let mut startup = vec![0; 4096];
            _ = server.read(&mut startup).await.unwrap();
            // It lets everybody in, is ready, says its notice and goes.
            let greeting = [message(b'R', &[0; 4]), message(b'Z', b"I"), notice].concat();
            server.write_all(&greeting).await.unwrap();
        });
        let (_client, connection) = Config::new().user("signet").connect_raw(here, NoTls).await.unwrap();
        let (warned, (tell, _heard)) = (Arc::new(AtomicBool::new(false)), mpsc::channel(1));
        drive(connection, tell, warned.clone()).await;
        serving.await.unwrap();
        warned.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn a_warning_is_one_in_any_language() {
        for (fields, warns) in [
            (b"SWARNING\0VWARNING\0C01000\0Mcanceling wait\0\0".as_slice(), true),
            (b"SWARNUNG\0VWARNING\0C01000\0Mstorniere Warten\0\0", true),
            (b"SWARNUNG\0C01000\0Mwithout the word for programs\0\0", true),
            (b"SNOTICE\0VNOTICE\0C00000\0Mnothing of weight\0\0", false),
            (b"SWARNING\0VNOTICE\0C00000\0Ma translation that misleads\0\0", false),
            (b"SWARNING\0VWARNING\0C01000\0Mcanceling wait\0Fsyncrep.c\0L303\0RSyncRepWaitForLSN\0\0", true),
            (b"SWARNING\0VWARNING\0C01000\0Mwraparound\0Fvarsup.c\0L149\0RGetNewTransactionId\0\0", false),
            (b"SWARNUNG\0VWARNING\0C01000\0M\0Fmultixact.c\0L1\0RGetNewMultiXactId\0\0", false),
            (b"SWARNING\0VWARNING\0C01000\0Mdatabase must be vacuumed\0RSomethingElse\0\0", true),
        ] {
            assert_eq!(is_warned_by(fields).await, warns, "{}", String::from_utf8_lossy(fields));
        }
    }
}
