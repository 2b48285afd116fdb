use std::sync::Arc;

use super::password;
use super::record::{CREATED, EMAILS, Stored, USERNAMES, USERS, changed, created, listed, moved};
use super::registration::check_name;
use super::{
    Account, AccountChange, Busy, Email, NewAccount, PasswordHasher, PasswordRefusal, ProfileRefusal,
    SecondFactors, Turn, Username,
};
use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::oauth::{Secret, UserId};
use crate::store::typed::Record;
use crate::store::{Batch, Committed, Condition, Put, Store, StoreError};

/// How often a write is tried again when another one came first.
const ATTEMPTS: usize = 5;

/// How many rows of the list are skipped at once.
const PAGE: usize = 1000;

/// The accounts.
pub struct Accounts {
    pub(super) store: Arc<dyn Store>,
    clock: SharedClock,
    entropy: SharedEntropy,
    hasher: PasswordHasher,
}

/// Which part of the list of accounts is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many accounts at most.
    pub limit: usize,
    /// How many are skipped before.
    pub offset: usize,
}

/// An account could not be made, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// There is none of that identifier.
    #[error("no such account")]
    Unknown,
    /// The e-mail address is another account's.
    #[error("the email is taken")]
    EmailTaken,
    /// The user name is another account's.
    #[error("the preferred_username is taken")]
    UsernameTaken,
    /// It was changed meanwhile; read it again.
    #[error("the account was changed meanwhile")]
    Changed,
    /// Nobody would be left who administers.
    #[error("nobody else can administer")]
    LastAdministrator,
    /// The password is not good enough.
    #[error(transparent)]
    Password(#[from] PasswordRefusal),
    /// What is said of the person can't be taken.
    #[error(transparent)]
    Profile(#[from] ProfileRefusal),
    /// Too many passwords wait to be hashed.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether somebody is who they say could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// Too many passwords wait to be checked.
    #[error("too many passwords wait to be checked")]
    Busy {
        /// In how many seconds another try may succeed.
        retry_after: u64,
    },
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Busy> for AuthenticateError {
    fn from(Busy { retry_after }: Busy) -> Self {
        Self::Busy { retry_after }
    }
}

impl Accounts {
    /// The accounts in `store`.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: SharedClock,
        entropy: SharedEntropy,
        hasher: PasswordHasher,
    ) -> Self {
        Self { store, clock, entropy, hasher }
    }

    /// A place for another password among those that wait to be looked at, before anything is written down about the try.
    ///
    /// # Errors
    /// When too many wait.
    pub fn turn(&self) -> Result<Turn, Busy> {
        self.hasher.turn()
    }

    /// The account that `username`, an e-mail address or a `preferred_username` in any letter case, names, if
    /// `password` is its password and it is not disabled. The work is the same for a name that nobody has. Whether
    /// a second factor is asked for is not looked at.
    ///
    /// # Errors
    /// When the password could not be looked at, or the store fails.
    pub async fn authenticate(
        &self,
        turn: Turn,
        username: &str,
        password: &Secret,
    ) -> Result<Option<Account>, AuthenticateError> {
        let found = self.find_by_sign_in_name(username).await?;
        let hash = found.as_ref().and_then(|record| record.value.password.as_ref());
        let matches = self.hasher.verify(turn, password, hash).await?;
        let Some(record) = found.filter(|record| matches && !record.value.account.disabled) else {
            return Ok(None);
        };
        let account = record.value.account.clone();
        if record.value.password.as_ref().is_some_and(|hash| self.hasher.is_outdated(hash)) {
            // The password is right whether or not this could be done; the next sign-in does it.
            if let Err(error) = self.rehash(record, password).await {
                tracing::warn!(user = %account.id, %error, "a password could not be hashed anew");
            }
        }
        Ok(Some(account))
    }

    /// Whose name to sign in with `name` is, in any letter case.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn named(&self, name: &str) -> Result<Option<UserId>, StoreError> {
        Ok(self.find_by_sign_in_name(name).await?.map(|record| record.value.account.id))
    }

    /// The account of that identifier.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, id: &UserId) -> Result<Option<Account>, StoreError> {
        Ok(self.record(id).await?.map(|record| record.value.account))
    }

    /// The same batch, which applies only while the person of `account` may sign in as they could when it was read. `None` if
    /// they may not any more: the password was changed, the account disabled or deleted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unchanged(&self, batch: Batch, account: &Account) -> Result<Option<Batch>, StoreError> {
        let unchanged = |now: &Account| !now.disabled && now.sign_in_generation == account.sign_in_generation;
        let now = self.record(&account.id).await?.filter(|record| unchanged(&record.value.account));
        Ok(now.map(|now| batch.check(USERS.table(), account.id.as_str(), Condition::VersionIs(now.version))))
    }

    /// The account with that e-mail address, in any letter case.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find_by_email(&self, email: &Email) -> Result<Option<Account>, StoreError> {
        let owner = EMAILS.get(self.store.as_ref(), email.normalized().as_bytes()).await?;
        Ok(self.owned(owner).await?.map(|record| record.value.account))
    }

    /// The accounts of one page, in the order in which they were made. What is before the page is read and skipped.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, page: Page) -> Result<Vec<Account>, StoreError> {
        let (mut after, mut to_skip) = (None::<Vec<u8>>, page.offset);
        while to_skip > 0 {
            let skipped = self.store.scan(CREATED, after.as_deref(), to_skip.min(PAGE)).await?;
            let Some((last, _)) = skipped.last() else { return Ok(Vec::new()) };
            after = Some(last.clone());
            to_skip -= skipped.len();
        }
        let mut accounts = Vec::new();
        for (key, _) in self.store.scan(CREATED, after.as_deref(), page.limit).await? {
            // Deleted between the two reads, if it is not there.
            accounts.extend(self.find(&listed(&key)?).await?);
        }
        Ok(accounts)
    }

    /// Makes an account.
    ///
    /// # Errors
    /// When the e-mail address or the user name is taken, something about it can't be taken, too many passwords
    /// wait, or the store fails.
    pub async fn register(&self, new: NewAccount) -> Result<Account, AccountError> {
        self.register_as(self.new_id(), new).await
    }

    /// As [`Self::register`], with an identifier from [`Self::new_id`].
    ///
    /// # Errors
    /// As [`Self::register`].
    pub async fn register_as(&self, id: UserId, new: NewAccount) -> Result<Account, AccountError> {
        let account = new.account(id, self.clock.now());
        check(&account, new.password.as_ref())?;
        let password = match &new.password {
            Some(password) => Some(self.hasher.hash(password).await?),
            None => None,
        };
        let id = account.id.clone();
        let batch = Batch::new().put(CREATED, created(&account), Condition::Absent, Put::lasting(vec![]));
        let batch = EMAILS.put(batch, account.email.normalized(), Condition::Absent, &id)?;
        let batch = match &account.preferred_username {
            Some(name) => USERNAMES.put(batch, name.normalized(), Condition::Absent, &id)?,
            None => batch,
        };
        let stored = Stored { account, password };
        let batch = USERS.put(batch, id.as_str(), Condition::Absent, &stored)?;
        match self.store.commit(batch).await? {
            Committed::Applied => Ok(stored.account),
            Committed::Conflict => Err(self.taken(&stored.account).await?.unwrap_or_else(contended)),
        }
    }

    /// Whether [`Self::register_as`] would do it as things stand. Makes nothing.
    ///
    /// # Errors
    /// As [`Self::register`].
    pub async fn may_register(&self, id: &UserId, new: &NewAccount) -> Result<(), AccountError> {
        let account = new.account(id.clone(), self.clock.now());
        check(&account, new.password.as_ref())?;
        self.may_be(&account).await
    }

    /// Whether nobody else has the e-mail address and the user name of `account`, as things stand.
    ///
    /// # Errors
    /// When somebody has, or the store fails.
    pub async fn may_be(&self, account: &Account) -> Result<(), AccountError> {
        self.taken(account).await?.map_or(Ok(()), Err)
    }

    /// Changes what `change` names of the account, all of it or nothing. What the person is signed in to is not ended
    /// by this.
    ///
    /// # Errors
    /// As [`Self::register`], and when there is no such account, it is not as the change expects it, or it is the last
    /// administrator's and would be no more.
    pub async fn update(&self, id: &UserId, change: &AccountChange) -> Result<Account, AccountError> {
        let mut password = None;
        for _ in 0..ATTEMPTS {
            let Record { version, value: Stored { account: old, password: old_password }, .. } =
                self.record(id).await?.ok_or(AccountError::Unknown)?;
            if change.of_version.is_some_and(|version| version != old.changed_at()) {
                return Err(AccountError::Changed);
            }
            let account = Account { updated_at: Some(self.clock.now()), ..old.with(change)? };
            if let (Some(new), None) = (&change.password, &password) {
                password = Some(self.hasher.hash(new).await?);
            }
            let mut batch = moved((&old, &account))?;
            if change.removes_second_factor {
                batch = SecondFactors::removed(batch, id);
            }
            if !account.administers() {
                batch = self.leaving(batch, &old).await?;
            }
            let stored = Stored { account, password: password.clone().or(old_password) };
            let batch = USERS.put(batch, id.as_str(), Condition::VersionIs(version), &stored)?;
            if self.store.commit(batch).await? == Committed::Applied {
                return Ok(stored.account);
            }
            if let Some(taken) = self.taken(&stored.account).await? {
                return Err(taken);
            }
        }
        Err(contended())
    }

    /// Sets a new password. What the person is signed in to is not ended by this.
    ///
    /// # Errors
    /// When there is no such account, the password is not good enough, too many wait, or the store fails.
    pub async fn set_password(&self, id: &UserId, password: &Secret) -> Result<Account, AccountError> {
        self.update(id, &AccountChange::password(password.clone())).await
    }

    /// Deletes the account, if it still is as it was `seen`, with its second factor, in one step: it is never there without. Its
    /// e-mail address and user name are free again. Answers with what it was. Its sessions, consents and tokens are not
    /// ended by this.
    ///
    /// # Errors
    /// When there is no such account, it was changed meanwhile, it is the last administrator's, or the store fails.
    pub async fn delete(&self, seen: &Account) -> Result<Account, AccountError> {
        let id = &seen.id;
        for _ in 0..ATTEMPTS {
            let record = self.record(id).await?.ok_or(AccountError::Unknown)?;
            let account = record.value.account;
            if account.changed_at() != seen.changed_at() {
                return Err(AccountError::Changed);
            }
            let mut batch = Batch::new()
                .delete(USERS.table(), id.as_str(), Condition::VersionIs(record.version))
                .delete(EMAILS.table(), account.email.normalized(), Condition::Always)
                .delete(CREATED, created(&account), Condition::Always);
            if let Some(name) = &account.preferred_username {
                batch = batch.delete(USERNAMES.table(), name.normalized(), Condition::Always);
            }
            batch = self.leaving(SecondFactors::removed(batch, id), &account).await?;
            if self.store.commit(batch).await? == Committed::Applied {
                return Ok(account);
            }
        }
        Err(contended())
    }

    /// An identifier that no account has: 128 random bits in base32.
    #[must_use]
    pub fn new_id(&self) -> UserId {
        let lower = base32::Alphabet::Rfc4648Lower { padding: false };
        let random = base32::encode(lower, &self.entropy.identifier());
        #[expect(clippy::expect_used, reason = "base32 is letters and digits")]
        UserId::parse(&format!("{}{random}", UserId::PREFIX)).expect("a user id")
    }

    async fn record(&self, id: &UserId) -> Result<Option<Record<Stored>>, StoreError> {
        USERS.get(self.store.as_ref(), id.as_str().as_bytes()).await
    }

    async fn owned(&self, owner: Option<Record<UserId>>) -> Result<Option<Record<Stored>>, StoreError> {
        match owner {
            Some(owner) => self.record(&owner.value).await,
            None => Ok(None),
        }
    }

    async fn find_by_sign_in_name(&self, name: &str) -> Result<Option<Record<Stored>>, StoreError> {
        let store = self.store.as_ref();
        let owner = match (Email::parse(name), Username::parse(name)) {
            (Ok(email), _) => EMAILS.get(store, email.normalized().as_bytes()).await?,
            (_, Ok(name)) => USERNAMES.get(store, name.normalized().as_bytes()).await?,
            _ => None,
        };
        self.owned(owner).await
    }

    /// What of the account is another one's.
    async fn taken(&self, account: &Account) -> Result<Option<AccountError>, StoreError> {
        let store = self.store.as_ref();
        let foreign = |owner: Option<Record<UserId>>| owner.is_some_and(|owner| owner.value != account.id);
        if foreign(EMAILS.get(store, account.email.normalized().as_bytes()).await?) {
            return Ok(Some(AccountError::EmailTaken));
        }
        let Some(name) = &account.preferred_username else { return Ok(None) };
        let owner = USERNAMES.get(store, name.normalized().as_bytes()).await?;
        Ok(foreign(owner).then_some(AccountError::UsernameTaken))
    }

    /// Hashes the password anew at the cost of today. If somebody changes the account meanwhile, the next sign-in
    /// does it.
    async fn rehash(&self, record: Record<Stored>, password: &Secret) -> Result<(), AuthenticateError> {
        let mut stored = record.value;
        stored.password = Some(self.hasher.hash(password).await?);
        let version = Condition::VersionIs(record.version);
        let batch = USERS.put(Batch::new(), stored.account.id.as_str(), version, &stored)?;
        let _changed_meanwhile = self.store.commit(batch).await?;
        Ok(())
    }
}

impl Account {
    /// The account as `change` makes it. Whether another one has the e-mail address or the user name is not asked.
    ///
    /// # Errors
    /// When something about it can't be taken.
    pub fn with(&self, change: &AccountChange) -> Result<Self, AccountError> {
        let account = changed(self, change);
        check(&account, change.password.as_ref())?;
        Ok(account)
    }
}

fn check(account: &Account, password: Option<&Secret>) -> Result<(), AccountError> {
    check_name(&account.name)?;
    account.profile.check()?;
    Ok(password.map_or(Ok(()), |password| password::check(password, account))?)
}

fn contended() -> AccountError {
    AccountError::Store(StoreError::Unavailable("an account is changed by too many at once".into()))
}
