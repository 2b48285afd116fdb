//! What is issued: codes, access tokens, refresh tokens, ID tokens and logout tokens; the status lists in which the revocation of
//! access tokens stands, and revocation itself.
//!
//! Issuing an access token writes nothing: it takes the next index of an open status list by an atomic counter.
//! Revoking one writes one row. What was issued for one code is a family, revoked together.

mod access;
mod allocation;
mod code;
mod cutoffs;
mod family;
mod grant;
mod id_token;
mod jws;
mod logout_token;
mod members;
mod refresh;
mod revocation;
mod sealer;
mod status_document;
mod status_list;

pub use access::{AccessTokens, Authorized, IssueError, Issued, Prepared};
pub use allocation::{Place, StatusIndexes};
pub use code::{Codes, FoundCode, FreshCode, NewCode, Presented, PresentedRedirectUri};
pub use family::{Families, Replayed};
pub use grant::Grant;
pub use id_token::{IdTokens, NewIdToken};
pub use logout_token::{LogoutTokens, NewLogoutToken};
pub use refresh::{RefreshError, RefreshToken, RefreshTokens, Rotation};
pub use revocation::{LiveToken, RevocationError, Revocations, Whole};
pub use sealer::Sealer;
pub use status_document::{Publication, StatusDocument, StatusError, StatusPublisher};
pub use status_list::{ListDates, StatusLists};
