//! The people: their accounts and passwords, their sessions, what they let clients do, and their second
//! factors. Nothing of it is mirrored in memory: there may be a million accounts.

mod account;
mod accounts;
mod common_passwords;
mod consents;
mod email;
mod hasher;
mod index;
mod password;
mod record;
mod recovery;
mod registration;
mod second_factor;
mod sessions;
#[cfg(test)]
mod tests;

pub use account::{Account, Address, Profile};
pub use accounts::{AccountError, Accounts, AuthenticateError, Page};
pub use consents::{Consent, Consents};
pub use email::{Email, InvalidEmail, InvalidUsername, Username};
pub use hasher::{Busy, PasswordHasher};
pub use password::PasswordRefusal;
pub use registration::{AccountChange, NewAccount, ProfileRefusal};
pub use second_factor::{Enrollment, Factor, SecondFactor, SecondFactorError, SecondFactors};
pub use sessions::{Authentication, NewSession, Session, Sessions, StartedSession};
