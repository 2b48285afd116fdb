//! The tables, and how they come to be: by whoever comes first, once, however many come at the same time.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::fault::describe;
use crate::store::StoreError;

/// The version of the tables that this release works on.
pub(super) const VERSION: i32 = 1;

// Each number says how wide it is: what `int` and `serial` mean differs between PostgreSQL and CockroachDB, where a version
// that is read as an `i32` would be an `int8`.
const VERSION_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS signet_schema (id int4 PRIMARY KEY, version int4 NOT NULL)";

const FIRST_VERSION: &str =
    "INSERT INTO signet_schema (id, version) VALUES (1, 0) ON CONFLICT (id) DO NOTHING";

/// What leads from each version to the next.
const STEPS: [&str; 1] = ["\
    CREATE TABLE IF NOT EXISTS signet_kv (\
        tbl bytea NOT NULL, k bytea NOT NULL, version bigint NOT NULL, expires_at bigint, \
        mirrored boolean NOT NULL, v bytea NOT NULL, PRIMARY KEY (tbl, k));\
    CREATE INDEX IF NOT EXISTS signet_kv_expires_at ON signet_kv (expires_at) WHERE expires_at IS NOT NULL;\
    CREATE SEQUENCE IF NOT EXISTS signet_version;\
    CREATE TABLE IF NOT EXISTS signet_event (n bigint PRIMARY KEY, tbl bytea NOT NULL, k bytea NOT NULL);\
    CREATE TABLE IF NOT EXISTS signet_turn (id int4 PRIMARY KEY);\
    INSERT INTO signet_turn (id) VALUES (1) ON CONFLICT (id) DO NOTHING;\
    CREATE TABLE IF NOT EXISTS signet_place (n bigint PRIMARY KEY);\
    INSERT INTO signet_place (n) VALUES (0) ON CONFLICT (n) DO NOTHING"];

/// How often creating the first table is tried: two that create it at the same time may both be told that it exists.
const TRIES: u32 = 10;

/// The version that the tables have; 0 if there are none yet.
pub(super) async fn version(client: &Client) -> Result<i32, StoreError> {
    match client.query_opt("SELECT version FROM signet_schema WHERE id = 1", &[]).await {
        Ok(row) => Ok(row.map_or(0, |row| row.get(0))),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(0),
        Err(error) => Err(match (describe(&error), error.code()) {
            (StoreError::Unavailable(reason), Some(&SqlState::INSUFFICIENT_PRIVILEGE)) => {
                StoreError::Unavailable(format!("{reason}: grant this role what docs/operations.md lists"))
            }
            (error, _) => error,
        }),
    }
}

/// Brings the tables to [`VERSION`]; gives the version that they had.
pub(super) async fn migrate(client: &Client) -> Result<i32, StoreError> {
    let mut tries = 0;
    while let Err(error) = client.batch_execute(&format!("{VERSION_TABLE}; {FIRST_VERSION}")).await {
        tries += 1;
        let raced = [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_OBJECT];
        if tries == TRIES || !error.code().is_some_and(|code| raced.contains(code)) {
            return Err(remedied(&error));
        }
    }
    let failed = |error: tokio_postgres::Error| remedied(&error);
    client.batch_execute("BEGIN").await.map_err(failed)?;
    // Whoever comes second waits here, and then finds the work done.
    let locked = client.query_one("SELECT version FROM signet_schema WHERE id = 1 FOR UPDATE", &[]).await;
    let found: i32 = locked.map_err(failed)?.get(0);
    let behind = usize::try_from(found).ok().and_then(|found| STEPS.get(found..));
    let Some(behind) = behind else { return Err(unknown(found)) };
    for step in behind {
        client.batch_execute(step).await.map_err(failed)?;
    }
    let noted = format!("UPDATE signet_schema SET version = {VERSION} WHERE id = 1; COMMIT");
    client.batch_execute(&noted).await.map_err(failed)?;
    Ok(found)
}

/// Refuses tables that this release does not work on.
pub(super) fn expect_current(found: i32) -> Result<(), StoreError> {
    match found {
        VERSION => Ok(()),
        0 => Err(StoreError::Unavailable(
            "the database holds no tables of Signet yet: `signet store migrate` makes them".to_owned(),
        )),
        older if older < VERSION => Err(StoreError::Unavailable(format!(
            "the tables have version {older}, this release works on {VERSION}: stop every node, then run `signet store \
             migrate`"
        ))),
        later => Err(unknown(later)),
    }
}

fn unknown(found: i32) -> StoreError {
    StoreError::Unavailable(format!(
        "the tables have version {found}, this release works on {VERSION}: use the release that made them"
    ))
}

fn remedied(error: &tokio_postgres::Error) -> StoreError {
    match (describe(error), error.code()) {
        (StoreError::Unavailable(reason), Some(&SqlState::INSUFFICIENT_PRIVILEGE)) => {
            StoreError::Unavailable(format!(
                "{reason}: run `signet store migrate` as the owner of the schema, or grant this role CREATE on it"
            ))
        }
        (error, _) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_column_has_a_type_whose_width_depends_on_the_database() {
        for sql in STEPS.iter().chain([&VERSION_TABLE]) {
            let mut words = sql.split(|c: char| !c.is_ascii_alphanumeric());
            let vague =
                words.find(|word| ["int", "integer", "serial"].contains(&word.to_lowercase().as_str()));
            assert_eq!(vague, None, "{sql}");
        }
    }
}
