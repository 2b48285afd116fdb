//! Access tokens, the status lists in which their revocation stands, and revocation itself.
//!
//! Issuing writes nothing: a token takes the next index of an open status list by an atomic counter.
//! Revoking writes one row.

mod access;
mod allocation;
mod cutoffs;
mod grant;
mod jws;
mod revocation;
mod sealer;
mod status_document;
mod status_list;

pub use access::{AccessTokens, Authorized, IssueError, Issued};
pub use allocation::{Place, StatusIndexes};
pub use grant::Grant;
pub use revocation::{RevocationError, Revocations, Whole};
pub use sealer::Sealer;
pub use status_document::{Publication, StatusDocument, StatusError, StatusPublisher};
pub use status_list::{ListDates, StatusLists};
