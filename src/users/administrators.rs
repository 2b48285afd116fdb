//! One administrator who can sign in always stays.

use super::record::USERS;
use super::{Account, AccountError, Accounts};
use crate::oauth::UserId;
use crate::store::typed::TypedTable;
use crate::store::{Batch, Condition, Store, StoreError, Table};

pub(super) const TABLE: Table = Table::plain("administrators_left");
/// One row, written anew whenever an administrator leaves: of two who leave at once, one comes too late.
const LEFT: TypedTable<UserId> = TypedTable::new(TABLE);

/// How many accounts are looked at in one read.
const PAGE: usize = 1000;

impl Account {
    /// Whether the person may administer Signet now.
    #[must_use]
    pub fn administers(&self) -> bool {
        self.administrator && !self.disabled
    }
}

impl Accounts {
    /// Refuses to let somebody go who is the last to administer. Meanwhile another one may go: what is committed asks
    /// again.
    ///
    /// # Errors
    /// [`AccountError::LastAdministrator`], or the store's.
    pub async fn may_leave(&self, account: &Account) -> Result<(), AccountError> {
        if account.administers() && !another(self.store.as_ref(), &account.id).await? {
            return Err(AccountError::LastAdministrator);
        }
        Ok(())
    }

    /// Adds to a batch that takes the administration from `account` what makes it fail if another one leaves meanwhile.
    pub(super) async fn leaving(&self, batch: Batch, account: &Account) -> Result<Batch, AccountError> {
        if !account.administers() {
            return Ok(batch);
        }
        // Before the others are looked for: who leaves after this read is noticed.
        let left = LEFT.get(self.store.as_ref(), b"last").await?;
        self.may_leave(account).await?;
        let condition = left.map_or(Condition::Absent, |record| Condition::VersionIs(record.version));
        Ok(LEFT.put(batch, "last", condition, &account.id)?)
    }
}

/// Whether anybody else administers. All accounts are read until one is found: it is asked seldom.
async fn another(store: &dyn Store, id: &UserId) -> Result<bool, StoreError> {
    let mut after = None::<Vec<u8>>;
    loop {
        let rows = store.scan(USERS.table(), after.as_deref(), PAGE).await?;
        for (_, row) in &rows {
            let account = USERS.decode(row)?.value.account;
            if account.administers() && account.id != *id {
                return Ok(true);
            }
        }
        let Some((last, _)) = rows.last() else { return Ok(false) };
        after = Some(last.clone());
    }
}
