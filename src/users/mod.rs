//! The people: their accounts and passwords, their sessions, what they let clients do, their second factors, how often
//! somebody may try to sign in, and the API keys that they hand to programs. Nothing of it is mirrored in memory:
//! there may be a million accounts.

mod account;
mod accounts;
mod administrators;
mod api_key;
mod api_key_limit;
mod api_keys;
mod common_passwords;
mod consents;
mod email;
mod hasher;
mod hashing_threads;
mod index;
mod logout_queue;
mod logout_schedule;
mod password;
mod record;
mod recovery;
mod registration;
mod second_factor;
mod sessions;
#[cfg(test)]
mod tests;
mod throttle;

pub use account::{Account, Address, Profile};
pub use accounts::{AccountError, Accounts, AuthenticateError, Page};
pub use api_key::{ApiKey, ApiKeyOwner, CreatedApiKey, NewApiKey};
pub use api_key_limit::ApiKeyLimit;
pub use api_keys::{ApiKeyError, ApiKeys};
pub use consents::{Consent, Consents};
pub use email::{Email, InvalidEmail, InvalidUsername, Username};
pub use hasher::{Busy, PasswordHasher};
pub use logout_queue::{ClaimedLogout, DueLogout, Logout, LogoutQueue};
pub use password::PasswordRefusal;
pub use registration::{AccountChange, NewAccount, ProfileRefusal};
pub use second_factor::{Enrollment, Factor, SecondFactor, SecondFactorError, SecondFactors};
pub use sessions::{Authentication, NewSession, Party, Session, Sessions, StartedSession};
pub use throttle::{Attempt, DeviceCookie, DeviceId, LoginThrottle, ThrottleError, Tried};
