//! Who may try a password, and when: three lanes, none of which locks an account's owner out.
//!
//! - **Address**: so many tries a minute from one address (`limits.login_per_address`), whatever accounts they name.
//! - **Account, from an unknown device**: five tries at once, then a wait of 30 seconds that doubles up to an hour, and
//!   no more than 100 tries until a success or [`LoginThrottle::recovered`].
//! - **Account, from a known device**: whoever signed in once holds a cookie, and with it a count of their own. The
//!   other two lanes don't touch it: however many strangers try, the owner is let in. An account is known on 64 devices at most.
//!
//! Whoever knows the password pays too, or one person could keep every hashing thread busy: so many times a minute
//! (`limits.login_per_account`), counted when a known device tries and when a device comes to be known. Strangers can't
//! use that up.
//!
//! A name that belongs to nobody is treated like any other, though it has no row of its own. The counts are in the store: no
//! crash resets them.

mod counts;
mod device;
mod of_account;
mod tries;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use counts::Tried;
pub use device::{DeviceCookie, DeviceId};

use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::limits::{ClientAddress, Limits};
use crate::oauth::UserId;
use crate::store::typed::{Record, TypedTable};
use crate::store::{Batch, Committed, Condition, Store, StoreError, Table};
use counts::{Counts, account_key};
use device::Device;

const DEVICES_TABLE: Table = Table::plain("login_devices");

/// Every table of the throttle.
pub(super) const TABLES: [Table; 5] =
    [counts::ACCOUNTS_TABLE, counts::NAMES_TABLE, counts::SECRET, DEVICES_TABLE, of_account::TABLE];

const DEVICES: TypedTable<Device> = TypedTable::new(DEVICES_TABLE);

/// How often a change is tried again that another one has come before.
const RETRIES: usize = 16;

/// Somebody wants to try a password.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// For whom.
    pub tried: Tried,
    /// From where.
    pub address: ClientAddress,
    /// What the browser's cookie says about it.
    pub device: Option<DeviceId>,
    /// For how long the password waits anyway until it is looked at: so long counting it may be put off.
    pub patience: Duration,
}

/// A try that was let through, from a device: it counts for the account once, when it is let through or when the password was right,
/// however often what it comes to has to be drafted anew, and whatever becomes of the device in between.
#[derive(Debug)]
pub struct Arrival {
    device: Option<DeviceId>,
    lane: Lane,
    paid: AtomicBool,
}

/// Of whose tries one was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Device,
    Strangers,
}

impl Arrival {
    /// Whether it has not counted yet; from now on it has.
    fn is_to_pay(&self) -> bool {
        !self.paid.swap(true, Relaxed)
    }
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
    counts: Counts,
}

/// What an account is called in the store: its name can't be read back.
type AccountKey = [u8; 32];

impl LoginThrottle {
    /// A throttle with the counts of the store.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: SharedClock,
        entropy: SharedEntropy,
        limits: Arc<Limits>,
    ) -> Self {
        let counts = Counts::new(store.clone(), entropy.clone());
        Self { store, clock, entropy, limits, counts }
    }

    /// Lets an attempt through, before its password is looked at, or doesn't. It then counts as failed, durably, until
    /// [`Self::succeeded`] says otherwise: so many attempts at once get no further than as many one after another. What it
    /// takes of the account's own quota stays taken, also when the attempt is withdrawn.
    ///
    /// # Errors
    /// [`ThrottleError::TooMany`]; and the store's, when nothing may be let through either.
    pub async fn check(&self, attempt: &Attempt) -> Result<Arrival, ThrottleError> {
        let mut arrival =
            Arrival { device: attempt.device.clone(), lane: Lane::Device, paid: AtomicBool::new(false) };
        if let Tried::Account(user) = &attempt.tried
            && let Some(answer) = self.check_known((&arrival, user), attempt.patience).await?
        {
            return answer.map(|()| arrival);
        }
        if let Tried::Account(user) = &attempt.tried
            && self.limits.login_per_account.is_used_up(user)
        {
            return Err(ThrottleError::TooMany { retry_after: Duration::from_mins(1) });
        }
        self.limits.login_per_address.spend(&attempt.address.prefix()).map_err(|exceeded| {
            ThrottleError::TooMany { retry_after: exceeded.standing().quota.resets_after }
        })?;
        self.check_unknown(attempt).await?;
        arrival.lane = Lane::Strangers;
        Ok(arrival)
    }

    /// The lane of a known device; nothing if this is none, or has used up all of its tries.
    async fn check_known(
        &self,
        (arrival, user): (&Arrival, &UserId),
        mut patience: Duration,
    ) -> Result<Option<Result<(), ThrottleError>>, StoreError> {
        let account = &account_key(user);
        for _ in 0..RETRIES {
            let now = self.clock.now();
            let Some((id, record)) = self.known(arrival.device.as_ref()).await? else { return Ok(None) };
            let mut device = record.value;
            let Some(tries) = device.tries_mut(account).filter(|tries| !tries.are_used_up()) else {
                return Ok(None);
            };
            if let Err(retry_after) = tries.take(now) {
                return Ok(Some(Err(ThrottleError::TooMany { retry_after })));
            }
            if arrival.is_to_pay()
                && let Err(exceeded) = self.limits.login_per_account.spend(user)
            {
                let retry_after = exceeded.standing().quota.resets_after;
                return Ok(Some(Err(ThrottleError::TooMany { retry_after })));
            }
            let condition = Condition::VersionIs(record.version);
            let batch = with_device(id, condition, (&device, record.expires_at))?
                .patient(std::mem::take(&mut patience));
            if self.store.commit(batch).await? == Committed::Applied {
                return Ok(Some(Ok(())));
            }
        }
        Ok(Some(Err(contended())))
    }

    /// The lane of an account, or of a name that nobody has, from an unknown device.
    async fn check_unknown(&self, attempt: &Attempt) -> Result<(), ThrottleError> {
        // Once: who has lost a race has waited enough.
        let mut patience = attempt.patience;
        for _ in 0..RETRIES {
            let now = self.clock.now();
            let mut count = self.counts.read(&attempt.tried, now).await?;
            count
                .tries
                .take_unless_used_up(now)
                .map_err(|retry_after| ThrottleError::TooMany { retry_after })?;
            if self.counts.write(count, std::mem::take(&mut patience)).await? {
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
    pub async fn succeeded(&self, user: &UserId, arrival: &Arrival) -> Result<DeviceCookie, StoreError> {
        for _ in 0..RETRIES {
            let (cookie, batch) = self.forgiving(Batch::new(), user, arrival).await?;
            if self.store.commit(batch).await? == Committed::Applied {
                return Ok(cookie);
            }
        }
        Err(StoreError::Unavailable("the device's record is changed all the time".into()))
    }

    /// The cookie of [`Self::succeeded`], and the same batch, with which the device is known by it. It does not apply if the
    /// device's record changes before that.
    ///
    /// # Errors
    /// The store's.
    pub async fn forgiving(
        &self,
        batch: Batch,
        user: &UserId,
        arrival: &Arrival,
    ) -> Result<(DeviceCookie, Batch), StoreError> {
        let account = account_key(user);
        let expires_at = Some(self.clock.now() + device::REMEMBERED);
        let mut batch = Counts::forget(batch, user);
        let new = || DeviceId::new(self.entropy.as_ref());
        let (id, condition, mut device) = match self.known(arrival.device.as_ref()).await? {
            None => (new(), Condition::Absent, Device::default()),
            Some((id, record)) if record.value.knows(&account) => {
                (id.clone(), Condition::VersionIs(record.version), record.value)
            }
            // Known, but not for this account: whoever brought the cookie to this browser must not come to know
            // the account by it.
            Some((old, record)) => {
                let condition = Condition::VersionIs(record.version);
                batch = batch.delete(DEVICES.table(), old.key(), condition);
                batch = of_account::strike(batch, (old, &record.value));
                (new(), Condition::Absent, record.value)
            }
        };
        if !device.knows(&account) {
            // A known device has paid before; what this one did counts for its next try.
            if arrival.is_to_pay() {
                let _counted = self.limits.login_per_account.spend(user);
            }
            batch = of_account::make_room(batch, self.store.as_ref(), &account).await?;
        }
        device.forgive(account);
        batch = of_account::note(batch, (&id, &device), expires_at);
        let put = DEVICES.encode(&device, expires_at)?;
        let batch = batch.put(DEVICES.table(), id.key().to_vec(), condition, put);
        Ok((id.into_cookie(), batch))
    }

    async fn known<'d>(
        &self,
        device: Option<&'d DeviceId>,
    ) -> Result<Option<(&'d DeviceId, Record<Device>)>, StoreError> {
        let Some(id) = device else { return Ok(None) };
        Ok(DEVICES.get(self.store.as_ref(), id.key()).await?.map(|record| (id, record)))
    }

    /// The password was not looked at after all, say because the service was too busy: the attempt does not count, whichever lane
    /// let it through. A device that is not known any more has no count to give it back to.
    ///
    /// # Errors
    /// The store's; the attempt then still counts.
    pub async fn withdrawn(&self, attempt: &Attempt, arrival: &Arrival) -> Result<(), StoreError> {
        for _ in 0..RETRIES {
            let given_back = match (arrival.lane, &attempt.tried) {
                (Lane::Device, Tried::Account(user)) => self.give_back_to_device(arrival, user).await?,
                (Lane::Device | Lane::Strangers, tried) => self.give_back_to_strangers(tried).await?,
            };
            if given_back {
                break;
            }
        }
        Ok(())
    }

    async fn give_back_to_device(&self, arrival: &Arrival, user: &UserId) -> Result<bool, StoreError> {
        let Some((id, record)) = self.known(arrival.device.as_ref()).await? else { return Ok(true) };
        let mut device = record.value;
        let Some(tries) = device.tries_mut(&account_key(user)) else { return Ok(true) };
        tries.give_back();
        let condition = Condition::VersionIs(record.version);
        let batch = with_device(id, condition, (&device, record.expires_at))?;
        Ok(self.store.commit(batch).await? == Committed::Applied)
    }

    async fn give_back_to_strangers(&self, tried: &Tried) -> Result<bool, StoreError> {
        let mut count = self.counts.read(tried, self.clock.now()).await?;
        if count.tries.are_none() {
            return Ok(true);
        }
        count.tries.give_back();
        self.counts.write(count, Duration::ZERO).await
    }

    /// The owner has proved in another way that the account is theirs, or an administrator vouches: strangers' tries
    /// are forgotten.
    ///
    /// # Errors
    /// The store's.
    pub async fn recovered(&self, user: &UserId) -> Result<(), StoreError> {
        let _applied = self.store.commit(Counts::forget(Batch::new(), user)).await?;
        Ok(())
    }
}

/// Keeps what is known of a device, on a condition.
fn with_device(
    id: &DeviceId,
    condition: Condition,
    (device, expires_at): (&Device, Option<DateTime<Utc>>),
) -> Result<Batch, StoreError> {
    let put = DEVICES.encode(device, expires_at)?;
    Ok(Batch::new().put(DEVICES.table(), id.key().to_vec(), condition, put))
}

fn contended() -> ThrottleError {
    ThrottleError::TooMany { retry_after: Duration::from_secs(1) }
}

#[cfg(test)]
mod tests;
