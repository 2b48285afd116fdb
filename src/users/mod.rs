//! The people: their accounts and passwords, their sessions, what they let clients do, their second factors, how often
//! somebody may try to sign in, and the API keys that they hand to programs. Nothing of it is mirrored in memory:
//! there may be a million accounts.

mod account;
mod accounts;
mod administrators;
mod allowance;
mod api_key;
mod api_key_limit;
mod api_keys;
mod coming_back;
mod common_passwords;
mod consents;
mod email;
mod hasher;
mod hashing_memory;
mod hashing_threads;
mod index;
mod logout_queue;
mod logout_schedule;
mod password;
mod record;
mod recovery;
mod registration;
mod second_factor;
mod session;
mod sessions;
mod simple_passwords;
#[cfg(test)]
mod tests;
mod throttle;

pub use account::{Account, Address, Profile};
pub use accounts::{AccountError, Accounts, AuthenticateError, Page};
pub use allowance::{Allowance, AllowanceError};
pub use api_key::{ApiKey, ApiKeyOwner, CreatedApiKey, NewApiKey};
pub use api_key_limit::ApiKeyLimit;
pub use api_keys::{ApiKeyError, ApiKeys, Revoked};
pub use consents::{Asker, Consent, Consents};
pub use email::{Email, InvalidEmail, InvalidUsername, Username};
pub use hasher::{Busy, PasswordHasher, Turn};
pub use logout_queue::{ClaimedLogout, DueLogout, Logout, LogoutQueue};
pub use password::PasswordRefusal;
pub use registration::{AccountChange, NewAccount, ProfileRefusal};
pub use second_factor::{
    Enrollment, Factor, SecondFactor, SecondFactorError, SecondFactors, end_recovery_codes,
};
pub use session::{Authentication, NewSession, Party, Session, StartedSession};
pub use sessions::Sessions;
pub use throttle::{Arrival, Attempt, DeviceCookie, DeviceId, LoginThrottle, ThrottleError, Tried};

use crate::store::Table;

/// Every table of this room.
pub const TABLES: [Table; 22] = [
    record::USERS.table(),
    record::EMAILS.table(),
    record::USERNAMES.table(),
    record::CREATED,
    administrators::TABLE,
    sessions::SESSIONS_TABLE,
    sessions::OF_USER_TABLE,
    second_factor::FACTORS_TABLE,
    second_factor::ENROLLMENTS_TABLE,
    consents::TABLE,
    consents::ANSWERED,
    allowance::MADE.table(),
    api_key_limit::TABLE,
    logout_queue::TABLE,
    throttle::TABLES[0],
    throttle::TABLES[1],
    throttle::TABLES[2],
    throttle::TABLES[3],
    throttle::TABLES[4],
    api_keys::TABLE,
    api_keys::BY_SECRET,
    api_keys::BY_OWNER,
];

/// The tables of which nothing may count once an earlier state was put back: sessions may have been ended later,
/// consents taken back; a browser that is known may try passwords for longer.
pub const ENDED_BY_RESTORE: [Table; 6] = [
    sessions::SESSIONS_TABLE,
    sessions::OF_USER_TABLE,
    second_factor::ENROLLMENTS_TABLE,
    consents::TABLE,
    throttle::TABLES[3],
    throttle::TABLES[4],
];

/// The tables of the API keys: one that was revoked later would live again.
pub const API_KEY_TABLES: [Table; 3] = [api_keys::TABLE, api_keys::BY_SECRET, api_keys::BY_OWNER];
