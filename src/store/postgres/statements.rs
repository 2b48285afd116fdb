//! The SQL, all of it plain: what `CockroachDB` and `YugabyteDB` take too, `pg_notify` apart.
//!
//! Of a row's key and table the bytes count, not the letters: `bytea` sorts the same whatever the server's locale, and
//! no new release of its library can make the index lie.

use tokio_postgres::{Client, Error, Statement};

/// Now, after any wait for a lock: milliseconds since the epoch by the server's clock, unless `$n` brings another.
macro_rules! now {
    ($n:literal) => {
        concat!("COALESCE($", $n, "::bigint, floor(extract(epoch from clock_timestamp()) * 1000)::bigint)")
    };
}

/// As [`now!`], but when the statement began: an index can be searched by it.
macro_rules! began {
    ($n:literal) => {
        concat!(
            "COALESCE($",
            $n,
            "::bigint, floor(extract(epoch from statement_timestamp()) * 1000)::bigint)"
        )
    };
}

macro_rules! live {
    ($now:expr) => {
        concat!("(expires_at IS NULL OR expires_at > ", $now, ")")
    };
}

/// The row that another statement is about, locked. An `UPDATE` that waits for a lock looks at the row again only where it
/// was changed meanwhile; whether it has expired by now is to be asked of what this gives, in any case.
macro_rules! held {
    ($lock:literal, $statement:expr) => {
        concat!(
            "WITH held AS MATERIALIZED (SELECT tbl, k, version, expires_at FROM signet_kv \
             WHERE tbl = $1 AND k = $2 FOR ",
            $lock,
            ") ",
            $statement
        )
    };
}

/// That it is the row in `held`, of version `$n`, and lives. It is found by its key, not by what `held` gives: whatever was
/// planned while the table was tiny looks it up all the same.
macro_rules! is_held {
    ($version:literal, $now:expr) => {
        concat!(
            " WHERE signet_kv.tbl = $1 AND signet_kv.k = $2 AND signet_kv.version = $",
            $version,
            " AND held.version = $",
            $version,
            " AND (held.expires_at IS NULL OR held.expires_at > ",
            $now,
            ")"
        )
    };
}

/// Table, key, `expires_at`, mirrored, value.
macro_rules! put {
    ($condition:expr) => {
        concat!(
            "INSERT INTO signet_kv (tbl, k, version, expires_at, mirrored, v) \
             VALUES ($1, $2, nextval('signet_version'), $3, $4, $5) ON CONFLICT (tbl, k) DO UPDATE \
             SET version = nextval('signet_version'), expires_at = excluded.expires_at, \
             mirrored = excluded.mirrored, v = excluded.v",
            $condition
        )
    };
}

const GET: &str = concat!(
    "SELECT version, expires_at, v FROM signet_kv WHERE tbl = $1 AND k = $2 AND ",
    live!(began!("3"))
);

pub(super) const SCAN: &str = concat!(
    "SELECT k, version, expires_at, v FROM signet_kv WHERE tbl = $1 AND k > $2 AND ",
    live!(began!("4")),
    " ORDER BY k LIMIT $3"
);

const PUT: &str = put!("");

const PUT_ABSENT: &str = put!(concat!(" WHERE signet_kv.expires_at <= ", now!("6")));

const PUT_VERSION: &str = held!(
    "UPDATE",
    concat!(
        "UPDATE signet_kv SET version = nextval('signet_version'), expires_at = $3, mirrored = $4, v = $5 FROM held",
        is_held!("6", now!("7"))
    )
);

const DELETE: &str = "DELETE FROM signet_kv WHERE tbl = $1 AND k = $2";

const DELETE_VERSION: &str =
    held!("UPDATE", concat!("DELETE FROM signet_kv USING held", is_held!("3", now!("4"))));

/// Others that ask the same of the row need not wait, however long this transaction waits for its turn.
const CHECK_VERSION: &str =
    held!("SHARE", concat!("SELECT version FROM held WHERE version = $3 AND ", live!(now!("4"))));

/// Locks a row whether it is there or not: one that is not is held by a placeholder, of version 0 and long expired.
const LOCK: &str = "INSERT INTO signet_kv (tbl, k, version, expires_at, mirrored, v) \
     VALUES ($1, $2, 0, 0, false, '') ON CONFLICT (tbl, k) DO UPDATE SET version = signet_kv.version";

/// As [`LOCK`], and finds no row if there is a live one.
const LOCK_ABSENT: &str = concat!(
    "INSERT INTO signet_kv (tbl, k, version, expires_at, mirrored, v) \
     VALUES ($1, $2, 0, 0, false, '') ON CONFLICT (tbl, k) DO UPDATE SET version = signet_kv.version \
     WHERE signet_kv.expires_at <= ",
    now!("3")
);

/// An expired row that was there before the placeholder stays: the mirrors are told when it is swept.
const UNLOCK: &str = "DELETE FROM signet_kv WHERE tbl = $1 AND k = $2 AND version = 0";

/// The turn of whoever numbers changes, which lasts until the transaction ends: so numbers become visible in their order. A
/// statement of its own, for the next one has to see what was committed while this one waited. It leaves no version of the row
/// behind, as an update would: while anybody reads from an old snapshot those can't be removed, and each turn would walk all of them.
const TURN: &str = "SELECT id FROM signet_turn WHERE id = 1 FOR UPDATE";

/// The newest number: the last entry of the index, whatever was removed before it. Nothing where there is no row.
macro_rules! newest {
    () => {
        "(SELECT n FROM signet_place ORDER BY n DESC LIMIT 1)"
    };
}

/// Numbers the changes and writes them down; fails where nobody knows the newest number.
const LOG: &str = concat!(
    "WITH taken AS (INSERT INTO signet_place (n) VALUES (",
    newest!(),
    " + $3) RETURNING n), \
     logged AS (INSERT INTO signet_event (n, tbl, k) \
     SELECT taken.n - $3 + each.place, each.tbl, each.k \
     FROM taken, unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY AS each (tbl, k, place))"
);

/// The newest number with the epoch, and up to so many changes behind a place: in one statement, so in one snapshot.
macro_rules! changes {
    ($epoch:expr) => {
        concat!(
            "(SELECT n, NULL::bytea, NULL::bytea, ",
            $epoch,
            " FROM signet_place ORDER BY n DESC LIMIT 1) UNION ALL \
             (SELECT n, tbl, k, NULL::bigint FROM signet_event WHERE n > $1 ORDER BY n LIMIT $2)"
        )
    };
}

/// The epoch is one start of one server with one set of tables: another server that was promoted was started at another
/// time, and tables that were put back are other ones. A server that was merely restarted costs one reading of everything.
const CHANGES: &str = changes!(
    "hashtextextended(concat(extract(epoch FROM pg_postmaster_start_time()), '/', tableoid), 0) | 1"
);

/// The same of a database that only speaks like PostgreSQL. It is made of many servers, of which none takes over alone.
const CHANGES_ELSEWHERE: &str = changes!("1::bigint");

/// What has expired of what all nodes mirror, or of the rest. Never by a clock that is ahead of the one by which rows expire.
macro_rules! due {
    ($what:literal, $now:literal, $mirrored:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM signet_kv WHERE expires_at <= LEAST($1::bigint, ",
            began!($now),
            ") AND mirrored = ",
            $mirrored
        )
    };
}

/// Rows that others hold are left to the next sweep. Which rows is asked once: a join might ask for those to be removed again and again,
/// and get more than the limit.
macro_rules! sweep {
    ($mirrored:literal) => {
        concat!(
            "WITH due AS MATERIALIZED (",
            due!("tbl, k", "3", $mirrored),
            " ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) \
             DELETE FROM signet_kv WHERE (tbl, k) IN (SELECT tbl, k FROM due) RETURNING tbl, k"
        )
    };
}

const SWEEP: &str = sweep!("false");

const SWEEP_MIRRORED: &str = sweep!("true");

/// Whether there is anything for [`SWEEP_MIRRORED`], which is seldom.
const IS_MIRRORED_DUE: &str = concat!(due!("k", "2", "true"), " LIMIT 1");

/// The oldest first: what is left has no gap. Rows that another node prunes are left to it. An array, for a join might ask for
/// those to be removed more than once, and get more than the limit.
const PRUNE: &str = concat!(
    "DELETE FROM signet_event WHERE n = ANY(ARRAY(SELECT n FROM signet_event WHERE n <= ",
    newest!(),
    " - $1::bigint ORDER BY n LIMIT $2 FOR UPDATE SKIP LOCKED))"
);

/// All but the newest. The latest first: those that were removed before, and that an old snapshot keeps, lie behind them.
const PRUNE_PLACES: &str = concat!(
    "DELETE FROM signet_place WHERE n = ANY(ARRAY(SELECT n FROM signet_place WHERE n < ",
    newest!(),
    " ORDER BY n DESC LIMIT $1 FOR UPDATE SKIP LOCKED))"
);

pub(super) const NOW: &str = "SELECT floor(extract(epoch from clock_timestamp()) * 1000)::bigint";

/// What reads the changes of a database that announces them, or does not.
pub(super) fn changes(announces: bool) -> &'static str {
    if announces { CHANGES } else { CHANGES_ELSEWHERE }
}

/// The statements of one connection, prepared.
pub(super) struct Statements {
    pub(super) get: Statement,
    pub(super) scan: Statement,
    pub(super) put: Statement,
    pub(super) put_absent: Statement,
    pub(super) put_version: Statement,
    pub(super) delete: Statement,
    pub(super) delete_version: Statement,
    pub(super) check_version: Statement,
    pub(super) lock: Statement,
    pub(super) lock_absent: Statement,
    pub(super) unlock: Statement,
    pub(super) turn: Statement,
    pub(super) log: Statement,
    pub(super) changes: Statement,
    pub(super) sweep: Statement,
    pub(super) sweep_mirrored: Statement,
    pub(super) is_mirrored_due: Statement,
    pub(super) prune: Statement,
    pub(super) prune_places: Statement,
    pub(super) now: Statement,
}

impl Statements {
    /// Prepares all of them. Whether changes are announced depends on whether the server can.
    pub(super) async fn prepare(client: &Client, announces: bool) -> Result<Self, Error> {
        let notify = " SELECT pg_notify('signet_changes', n::text) FROM taken";
        let log = format!("{LOG}{}", if announces { notify } else { " SELECT n FROM taken" });
        let prepare = |text| client.prepare(text);
        let (get, scan, changes, now) =
            tokio::try_join!(prepare(GET), prepare(SCAN), prepare(changes(announces)), prepare(NOW))?;
        let (put, put_absent, put_version) =
            tokio::try_join!(prepare(PUT), prepare(PUT_ABSENT), prepare(PUT_VERSION))?;
        let (delete, delete_version, check_version) =
            tokio::try_join!(prepare(DELETE), prepare(DELETE_VERSION), prepare(CHECK_VERSION))?;
        let (lock, lock_absent, unlock) =
            tokio::try_join!(prepare(LOCK), prepare(LOCK_ABSENT), prepare(UNLOCK))?;
        let (turn, log) = tokio::try_join!(prepare(TURN), prepare(&log))?;
        let (sweep, sweep_mirrored, is_mirrored_due) =
            tokio::try_join!(prepare(SWEEP), prepare(SWEEP_MIRRORED), prepare(IS_MIRRORED_DUE))?;
        let (prune, prune_places) = tokio::try_join!(prepare(PRUNE), prepare(PRUNE_PLACES))?;
        Ok(Self {
            get,
            scan,
            put,
            put_absent,
            put_version,
            delete,
            delete_version,
            check_version,
            lock,
            lock_absent,
            unlock,
            turn,
            log,
            changes,
            sweep,
            sweep_mirrored,
            is_mirrored_due,
            prune,
            prune_places,
            now,
        })
    }
}
