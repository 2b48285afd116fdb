use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::AccountKey;
use super::tries::Tries;
use crate::entropy::Entropy;
use crate::oauth::Secret;

/// How long after the last sign-in a device stays known.
pub(super) const REMEMBERED: TimeDelta = TimeDelta::days(180);

/// For how many accounts one device is known at most; the one that signed in longest ago is forgotten first.
const MOST_ACCOUNTS: usize = 8;

/// A browser, by the 256 random bits in its cookie. The store knows it by their hash only.
#[derive(Clone, Debug)]
pub struct DeviceId {
    value: Secret,
    key: [u8; 32],
}

/// What a browser is sent so that it is known the next time.
#[derive(Debug)]
pub struct DeviceCookie {
    /// The cookie's value: base64url. Only for the browser, out of reach of scripts.
    pub value: Secret,
    /// How long the browser may keep it.
    pub max_age: Duration,
}

impl DeviceId {
    /// Takes a cookie's value, if it can be one. Whether the device is known is not asked.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let decoded = URL_SAFE_NO_PAD.decode(value).ok()?;
        (decoded.len() == 32).then(|| Self::of(Secret::new(value.to_owned())))
    }

    pub(super) fn new(entropy: &dyn Entropy) -> Self {
        Self::of(Secret::new(entropy.token::<32>()))
    }

    fn of(value: Secret) -> Self {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, value.expose().as_bytes()).as_ref());
        Self { value, key }
    }

    /// What the device is called in the store.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn into_cookie(self) -> DeviceCookie {
        DeviceCookie { value: self.value, max_age: REMEMBERED.to_std().unwrap_or_default() }
    }
}

/// A device that somebody has signed in with.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Device {
    /// The one that signed in last stands first.
    accounts: Vec<KnownAccount>,
}

/// An account that has signed in with a device, and the tries since.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct KnownAccount {
    account: AccountKey,
    tries: Tries,
}

impl Device {
    pub(super) fn knows(&self, account: &AccountKey) -> bool {
        self.accounts.iter().any(|known| known.account == *account)
    }

    /// The tries of an account that the device is known for.
    pub(super) fn tries_mut(&mut self, account: &AccountKey) -> Option<&mut Tries> {
        self.accounts.iter_mut().find(|known| known.account == *account).map(|known| &mut known.tries)
    }

    /// Those that it is known for.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &AccountKey> {
        self.accounts.iter().map(|known| &known.account)
    }

    pub(super) fn forget(&mut self, account: &AccountKey) {
        self.accounts.retain(|known| known.account != *account);
    }

    /// The account has signed in.
    pub(super) fn forgive(&mut self, account: AccountKey) {
        self.forget(&account);
        self.accounts.insert(0, KnownAccount { account, tries: Tries::default() });
        self.accounts.truncate(MOST_ACCOUNTS);
    }
}
