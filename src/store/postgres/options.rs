use std::path::PathBuf;
use std::time::Duration;

use super::attempts::Limits;
use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::oauth::Secret;

/// Where the database is, as whom it is entered, and how much is asked of it.
#[derive(Clone)]
pub struct PostgresOptions {
    /// The servers of one database; whichever takes writes is the one that is used.
    pub hosts: Vec<PostgresHost>,
    /// As whom to enter.
    pub user: String,
    /// Which database.
    pub database: String,
    /// With which password, if one is asked for.
    pub password: Option<PostgresPassword>,
    /// How the connection is protected.
    pub tls: PostgresTls,
    /// What the server is told at the start of a session, such as `-csearch_path=signet` (libpq's `options`).
    pub session_options: Option<String>,
    /// How long one call may take in all, waiting and connecting included.
    pub timeout: Duration,
    /// How many connections there may be, two at least, besides the one that listens and the two that follow. A quarter of
    /// them, one at least, is never used to write.
    pub connections: usize,
    /// How many calls may wait for a connection; further ones fail at once.
    pub waiting: usize,
    /// How many of the latest changes stay readable; older cursors are answered [`crate::store::Changes::Reset`].
    pub changes_kept: u64,
    /// By which clock rows expire.
    pub time: TimeSource,
    /// Chance, for pauses before another try.
    pub entropy: SharedEntropy,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresHost {
    /// Its name or address, or the directory of its socket if it begins with a slash.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// A commit that no request waits for is given up after so many times what a call may take: one that takes longer can't be told from
/// one that is never answered.
const PATIENCE_WITH_COMMITS: u32 = 4;
/// A turn is waited for so many times as long: for the commits of four other nodes that are as slow as may be.
const PATIENCE_WITH_TURNS: u32 = 4 * PATIENCE_WITH_COMMITS;

impl PostgresOptions {
    /// How long whoever is in no hurry waits.
    pub(super) fn limits(&self) -> Limits {
        Limits { call: self.timeout, commit: self.timeout * PATIENCE_WITH_COMMITS }
    }

    /// How long commits of a turn wait: for the other nodes', and then for their own.
    pub(super) fn turn_limits(&self) -> Limits {
        let limits = self.limits();
        Limits { commit: self.longest_wait_for_turn() + limits.commit, ..limits }
    }

    /// Whoever is sent away from the line comes behind all others again.
    pub(super) fn longest_wait_for_turn(&self) -> Duration {
        self.timeout * PATIENCE_WITH_TURNS
    }
}

impl PostgresHost {
    /// Whether it is reached by a socket of this machine's file system.
    #[must_use]
    pub fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }
}

/// Where the password comes from.
#[derive(Clone, Debug)]
pub enum PostgresPassword {
    /// The settings.
    Value(Secret),
    /// A file, read for every new connection: a changed password needs no new start.
    File(PathBuf),
}

/// How the connection is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostgresTls {
    /// Not at all.
    Plaintext,
    /// TLS, with the server's certificate verified, its name included.
    Verified {
        /// Certificates in PEM to trust instead of Mozilla's list.
        ca_bundle: Option<PathBuf>,
    },
}

/// By which clock rows expire.
///
/// Nodes' clocks differ, and a code that one node calls expired must not be redeemed at another; so the one clock
/// that all of them share decides. A test must move time, and can't move the server's: it brings its own, which is
/// handed to the very same statements as a parameter that is null otherwise.
#[derive(Clone)]
pub enum TimeSource {
    /// The database server's.
    Database,
    /// This one. **For tests**: nodes that bring clocks of their own disagree.
    Injected(SharedClock),
}

impl TimeSource {
    /// What the statements get: milliseconds since the epoch, or nothing for the server's clock.
    pub(super) fn parameter(&self) -> Option<i64> {
        match self {
            Self::Database => None,
            Self::Injected(clock) => Some(clock.now().timestamp_millis()),
        }
    }
}
