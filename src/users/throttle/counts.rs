//! Where the tries of strangers are counted. An account has a row of its own. A name that belongs to nobody is counted just
//! as exactly, but has none: anybody can make up names, and each would stay for 90 days. Those share a table that can't grow, in
//! which the name that was tried longest ago makes room. Whose place is whose depends on a secret, so that nobody can push a
//! name out by others of their choice.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ring::digest::{SHA256, digest};
use ring::hmac;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::AccountKey;
use super::tries::Tries;
use crate::entropy::SharedEntropy;
use crate::oauth::UserId;
use crate::store::typed::TypedTable;
use crate::store::{Batch, Committed, Condition, Put, Store, StoreError, Table};
use crate::users::{Email, Username};

pub(super) const ACCOUNTS_TABLE: Table = Table::plain("login_tries");
const ACCOUNTS: TypedTable<Tries> = TypedTable::new(ACCOUNTS_TABLE);
pub(super) const NAMES_TABLE: Table = Table::plain("login_names");
const NAMES: TypedTable<Vec<Name>> = TypedTable::new(NAMES_TABLE);
pub(super) const SECRET: Table = Table::plain("login_names_secret");

/// How many rows the table of names has at most: with all names in them about 30 MB.
const ROWS: u16 = 32_768;

/// How many names a row has at most.
const NAMES_A_ROW: usize = 8;

/// For whom a password is tried.
#[derive(Clone, Debug)]
pub enum Tried {
    /// For an account, by whichever of its names.
    Account(UserId),
    /// For a name that belongs to nobody. What makes no difference for the names of accounts makes none for it.
    Nobody(String),
}

/// The tries at one account or name so far.
pub(super) struct Count {
    pub(super) tries: Tries,
    place: Place,
    condition: Condition,
}

/// Where they are kept.
enum Place {
    Account(AccountKey),
    Name { row: [u8; 2], name: Tag, others: Vec<Name> },
}

/// What a name is called in its row: it can't be read back.
type Tag = u128;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Name {
    tag: Tag,
    tries: Tries,
}

pub(super) struct Counts {
    store: Arc<dyn Store>,
    entropy: SharedEntropy,
    secret: OnceCell<hmac::Key>,
}

impl Counts {
    pub(super) fn new(store: Arc<dyn Store>, entropy: SharedEntropy) -> Self {
        Self { store, entropy, secret: OnceCell::new() }
    }

    /// The tries at it so far; none that are forgotten.
    pub(super) async fn read(&self, whom: &Tried, now: DateTime<Utc>) -> Result<Count, StoreError> {
        match whom {
            Tried::Account(user) => {
                let key = account_key(user);
                let record = ACCOUNTS.get(self.store.as_ref(), &key).await?;
                let condition =
                    record.as_ref().map_or(Condition::Absent, |known| Condition::VersionIs(known.version));
                let tries = record.map(|known| known.value).unwrap_or_default();
                Ok(Count { tries, place: Place::Account(key), condition })
            }
            Tried::Nobody(name) => {
                let (row, name) = self.place_of(name).await?;
                let record = NAMES.get(self.store.as_ref(), &row).await?;
                let condition =
                    record.as_ref().map_or(Condition::Absent, |known| Condition::VersionIs(known.version));
                let mut others = record.map(|known| known.value).unwrap_or_default();
                let own = others.iter().position(|each| each.tag == name).map(|at| others.remove(at).tries);
                let tries = own.filter(|tries| now < tries.forgotten_at()).unwrap_or_default();
                Ok(Count { tries, place: Place::Name { row, name, others }, condition })
            }
        }
    }

    /// Keeps them, if nobody else has counted meanwhile; it may be put off for up to `patience`.
    pub(super) async fn write(&self, count: Count, patience: Duration) -> Result<bool, StoreError> {
        let Count { tries, place, condition } = count;
        let ends = tries.forgotten_at();
        let batch = match place {
            Place::Account(key) => Batch::new().put(
                ACCOUNTS.table(),
                key.to_vec(),
                condition,
                ACCOUNTS.encode(&tries, Some(ends))?,
            ),
            Place::Name { row, name, mut others } => {
                // The one that was tried last stands first.
                others.insert(0, Name { tag: name, tries });
                others.truncate(NAMES_A_ROW);
                let ends = others.iter().map(|each| each.tries.forgotten_at()).max();
                Batch::new().put(NAMES.table(), row.to_vec(), condition, NAMES.encode(&others, ends)?)
            }
        };
        Ok(self.store.commit(batch.patient(patience)).await? == Committed::Applied)
    }

    /// The same batch, with which the tries at an account are forgotten.
    pub(super) fn forget(batch: Batch, user: &UserId) -> Batch {
        batch.delete(ACCOUNTS.table(), account_key(user).to_vec(), Condition::Always)
    }

    pub(super) async fn place_of(&self, name: &str) -> Result<([u8; 2], Tag), StoreError> {
        let secret = self.secret.get_or_try_init(|| self.load_secret()).await?;
        let digest = hmac::sign(secret, folded(name).as_bytes());
        let (row, rest) = digest.as_ref().split_first_chunk::<2>().unwrap_or((&[0; 2], &[]));
        let tag = rest.first_chunk::<16>().unwrap_or(&[0; 16]);
        Ok(((u16::from_be_bytes(*row) % ROWS).to_be_bytes(), Tag::from_be_bytes(*tag)))
    }

    /// The secret of this installation, made when it is first needed: it must be the same after a restart.
    async fn load_secret(&self) -> Result<hmac::Key, StoreError> {
        let row = b"1".as_slice();
        let made = Put::lasting(self.entropy.bytes::<32>().to_vec());
        if self.store.get(SECRET, row).await?.is_none() {
            let batch = Batch::new().put(SECRET, row.to_vec(), Condition::Absent, made);
            // If another node was faster, its secret counts.
            let _either = self.store.commit(batch).await?;
        }
        let kept = self.store.get(SECRET, row).await?;
        let kept = kept.ok_or(StoreError::Invalid("a secret that was written is not there"))?;
        Ok(hmac::Key::new(hmac::HMAC_SHA256, &kept.value))
    }
}

/// What an account is called in the store: its identifier can't be read back.
pub(super) fn account_key(user: &UserId) -> AccountKey {
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, user.as_str().as_bytes()).as_ref());
    key
}

/// All forms of a name that would be one account's, by the very rules by which accounts are found at the sign-in: any other would tell names
/// that are somebody's from names that are nobody's.
fn folded(name: &str) -> String {
    let name = name.trim();
    let email = Email::parse(name).map(|email| email.normalized());
    let username = || Username::parse(name).map(|name| name.normalized());
    email.or_else(|_| username()).unwrap_or_else(|_| name.to_owned())
}
