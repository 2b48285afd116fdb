//! Copies of an installation: one sealed file with everything that is remembered, taken while others go on writing,
//! and what is made of it: the same installation over another store ([`import`]), or one that has lost some time
//! ([`restore`], [`restore_in_place`]).
//!
//! Whoever restores does not know what was issued, spent and revoked in the time that is lost. So nothing that
//! was issued before counts any more: see docs/decisions/0020. What is only remembered (accounts, clients) is as it
//! was.

mod cutoff;
mod error;
mod export;
mod file;
mod frames;
mod import;
mod read_back;
mod run;
mod seen;
mod unfinished;

use crate::store::Table;
use crate::{clients, keys, tokens, users};

pub use cutoff::{Assurances, Ended, Restored, check_in_place, restore_in_place};
pub use error::BackupError;
pub use export::{Sink, export};
pub use file::NewFile;
pub use frames::{Contents, Purpose};
pub use import::{import, inspect, restore};
pub use run::Incarnation;
pub use seen::{
    Evidence, LAG, Seen, dated_elsewhere, dated_until, dismiss_evidence, forget_evidence, last_seen,
    note_evidence, note_seen, read_evidence,
};
pub use unfinished::{refuse_running_nodes, refuse_unfinished};

/// What an installation remembers of itself.
pub const INSTALLATION: Table = Table::plain("installation");

/// Every table that belongs to an installation, by name. The private keys are copied as what they are, not as rows,
/// so that they can move from one kind of vault to another; which nodes run belongs to the store.
#[must_use]
pub fn tables() -> Vec<Table> {
    let mut tables = vec![INSTALLATION];
    tables.extend(keys::TABLES);
    tables.extend(clients::TABLES);
    tables.extend(tokens::TABLES);
    tables.extend(users::TABLES);
    tables.sort_by_key(|table| table.name);
    tables
}
