//! Who may try a password, and when: three lanes, none of which locks an account's owner out.
//!
//! - **Address**: so many tries a minute from one address (`limits.login_per_address`), whatever accounts they name.
//! - **Account, from an unknown device**: five tries at once, then a wait of 30 seconds that doubles up to an hour, and
//!   no more than 100 tries until a success or [`LoginThrottle::recovered`].
//! - **Account, from a known device**: whoever signed in once holds a cookie, and with it a count of their own. The
//!   other two lanes don't touch it: however many strangers try, the owner is let in.
//!
//! A name that belongs to nobody is treated like any other. The counts of accounts are rows in the store, found by
//! the hash of the name: no crash resets them.

mod device;
mod tries;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ring::digest::{SHA256, digest};

pub use device::{DeviceCookie, DeviceId};

use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::limits::{ClientAddress, Limits};
use crate::store::typed::{Record, TypedTable};
use crate::store::{Batch, Committed, Condition, Store, StoreError, Table};
use device::Device;
use tries::Tries;

const ACCOUNTS: TypedTable<Tries> = TypedTable::new(Table::plain("login_tries"));
const DEVICES: TypedTable<Device> = TypedTable::new(Table::plain("login_devices"));

/// How often a change is tried again that another one has come before.
const RETRIES: usize = 16;

/// Somebody wants to try a password.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    /// For which account: its identifier where it is known, so that all of its names count as one, else the name as it
    /// was typed. Letter case and surrounding spaces make no difference.
    pub account: &'a str,
    /// From where.
    pub address: ClientAddress,
    /// What the browser's cookie says about it.
    pub device: Option<DeviceId>,
}

/// The password may not be tried.
#[derive(Debug, thiserror::Error)]
pub enum ThrottleError {
    /// Not now.
    #[error("there were too many tries")]
    TooMany {
        /// After how long another try may be let through.
        retry_after: Duration,
    },
    /// It is not known whether it may.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Decides who may try a password.
pub struct LoginThrottle {
    store: Arc<dyn Store>,
    clock: SharedClock,
    entropy: SharedEntropy,
    limits: Arc<Limits>,
}

/// What an account is called in the store: its name can't be read back.
type AccountKey = [u8; 32];

impl Attempt<'_> {
    fn account_key(&self) -> AccountKey {
        account_key(self.account)
    }
}

fn account_key(account: &str) -> AccountKey {
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, account.trim().to_lowercase().as_bytes()).as_ref());
    key
}

impl LoginThrottle {
    /// A throttle with the counts of the store.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: SharedClock,
        entropy: SharedEntropy,
        limits: Arc<Limits>,
    ) -> Self {
        Self { store, clock, entropy, limits }
    }

    /// Lets an attempt through, before its password is looked at, or doesn't. It then counts as failed, durably, until
    /// [`Self::succeeded`] says otherwise: so many attempts at once get no further than as many one after another.
    ///
    /// # Errors
    /// [`ThrottleError::TooMany`]; and the store's, when nothing may be let through either.
    pub async fn check(&self, attempt: &Attempt<'_>) -> Result<(), ThrottleError> {
        let account = attempt.account_key();
        if let Some(device) = &attempt.device
            && let Some(answer) = self.check_known(device, &account).await?
        {
            return answer;
        }
        self.limits.login_per_address.spend(&attempt.address.prefix()).map_err(|exceeded| {
            ThrottleError::TooMany { retry_after: exceeded.standing().quota.resets_after }
        })?;
        self.check_unknown(&account).await
    }

    /// The lane of a known device; nothing if this is none, or has used up all of its tries.
    async fn check_known(
        &self,
        id: &DeviceId,
        account: &AccountKey,
    ) -> Result<Option<Result<(), ThrottleError>>, StoreError> {
        for _ in 0..RETRIES {
            let now = self.clock.now();
            let Some((_, record)) = self.known(Some(id)).await? else { return Ok(None) };
            let mut device = record.value;
            let Some(tries) = device.tries_mut(account).filter(|tries| !tries.are_used_up()) else {
                return Ok(None);
            };
            if let Err(retry_after) = tries.take(now) {
                return Ok(Some(Err(ThrottleError::TooMany { retry_after })));
            }
            let condition = Condition::VersionIs(record.version);
            if self.put_device(Batch::new(), id, condition, (&device, record.expires_at)).await? {
                return Ok(Some(Ok(())));
            }
        }
        Ok(Some(Err(contended())))
    }

    async fn check_unknown(&self, account: &AccountKey) -> Result<(), ThrottleError> {
        for _ in 0..RETRIES {
            let now = self.clock.now();
            let record = ACCOUNTS.get(self.store.as_ref(), account).await?;
            let (mut tries, condition) = match record {
                Some(record) if record.value.are_used_up() => {
                    let ends = record.expires_at.unwrap_or(now);
                    let retry_after = (ends - now).to_std().unwrap_or_default();
                    return Err(ThrottleError::TooMany { retry_after });
                }
                Some(record) => (record.value, Condition::VersionIs(record.version)),
                None => (Tries::default(), Condition::Absent),
            };
            tries.take(now).map_err(|retry_after| ThrottleError::TooMany { retry_after })?;
            let put = ACCOUNTS.encode(&tries, Some(now + tries::REMEMBERED))?;
            let batch = Batch::new().put(ACCOUNTS.table(), account.to_vec(), condition, put);
            if self.store.commit(batch).await? == Committed::Applied {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// The password was right: the account's counts begin anew, and the device is known from now on. Send it the
    /// cookie. Call it only when every factor that is asked for has been given.
    ///
    /// # Errors
    /// The store's; the attempt then still counts as failed.
    pub async fn succeeded(&self, attempt: &Attempt<'_>) -> Result<DeviceCookie, StoreError> {
        let account = attempt.account_key();
        for _ in 0..RETRIES {
            let expires_at = Some(self.clock.now() + device::REMEMBERED);
            let mut batch = Batch::new().delete(ACCOUNTS.table(), account.to_vec(), Condition::Always);
            let new = || DeviceId::new(self.entropy.as_ref());
            let (id, condition, mut device) = match self.known(attempt.device.as_ref()).await? {
                None => (new(), Condition::Absent, Device::default()),
                Some((id, record)) if record.value.knows(&account) => {
                    (id.clone(), Condition::VersionIs(record.version), record.value)
                }
                // Known, but not for this account: whoever brought the cookie to this browser must not come to know
                // the account by it.
                Some((old, record)) => {
                    let condition = Condition::VersionIs(record.version);
                    batch = batch.delete(DEVICES.table(), old.key(), condition);
                    (new(), Condition::Absent, record.value)
                }
            };
            device.forgive(account);
            if self.put_device(batch, &id, condition, (&device, expires_at)).await? {
                return Ok(id.into_cookie());
            }
        }
        Err(StoreError::Unavailable("the device's record is changed all the time".into()))
    }

    async fn known<'d>(
        &self,
        device: Option<&'d DeviceId>,
    ) -> Result<Option<(&'d DeviceId, Record<Device>)>, StoreError> {
        let Some(id) = device else { return Ok(None) };
        Ok(DEVICES.get(self.store.as_ref(), id.key()).await?.map(|record| (id, record)))
    }

    /// The password was not looked at after all, say because the service was too busy: the attempt does not count.
    ///
    /// # Errors
    /// The store's; the attempt then still counts.
    pub async fn withdrawn(&self, attempt: &Attempt<'_>) -> Result<(), StoreError> {
        let account = attempt.account_key();
        for _ in 0..RETRIES {
            if let Some((id, record)) = self.known(attempt.device.as_ref()).await? {
                let mut device = record.value;
                if let Some(tries) = device.tries_mut(&account) {
                    tries.give_back();
                    let condition = Condition::VersionIs(record.version);
                    if self.put_device(Batch::new(), id, condition, (&device, record.expires_at)).await? {
                        return Ok(());
                    }
                    continue;
                }
            }
            let Some(record) = ACCOUNTS.get(self.store.as_ref(), &account).await? else { return Ok(()) };
            let mut tries = record.value;
            tries.give_back();
            let put = ACCOUNTS.encode(&tries, record.expires_at)?;
            let condition = Condition::VersionIs(record.version);
            let batch = Batch::new().put(ACCOUNTS.table(), account.to_vec(), condition, put);
            if self.store.commit(batch).await? == Committed::Applied {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The owner has proved in another way that the account is theirs, or an administrator vouches: strangers' tries
    /// are forgotten.
    ///
    /// # Errors
    /// The store's.
    pub async fn recovered(&self, account: &str) -> Result<(), StoreError> {
        let key = account_key(account).to_vec();
        let batch = Batch::new().delete(ACCOUNTS.table(), key, Condition::Always);
        let _applied = self.store.commit(batch).await?;
        Ok(())
    }

    async fn put_device(
        &self,
        batch: Batch,
        id: &DeviceId,
        condition: Condition,
        (device, expires_at): (&Device, Option<DateTime<Utc>>),
    ) -> Result<bool, StoreError> {
        let put = DEVICES.encode(device, expires_at)?;
        let batch = batch.put(DEVICES.table(), id.key().to_vec(), condition, put);
        Ok(self.store.commit(batch).await? == Committed::Applied)
    }
}

fn contended() -> ThrottleError {
    ThrottleError::TooMany { retry_after: Duration::from_secs(1) }
}

#[cfg(test)]
mod tests;
