//! What is issued: codes, access tokens, refresh tokens, ID tokens and logout tokens; the status lists in which the revocation of
//! access tokens stands, and revocation itself.
//!
//! Issuing an access token writes nothing: it takes the next index of an open status list by an atomic counter.
//! Revoking one writes one row. What was issued for one code is a family, revoked together.

mod access;
mod allocation;
mod code;
mod cutoffs;
mod cutting_off;
mod ended_sessions;
mod ends;
mod family;
mod grant;
mod id_token;
mod jws;
mod kept_cutoffs;
mod logout_token;
mod members;
mod refresh;
mod revocation;
mod revocation_rows;
mod sealer;
mod standing;
mod status_document;
mod status_list;
mod unanswered;

pub use access::{AccessTokens, Authorized, IssueError, Issued, Prepared};
pub use allocation::{Place, StatusIndexes};
pub use code::{Codes, FoundCode, FreshCode, NewCode, Presented, PresentedRedirectUri};
pub use cutting_off::GrantLifetimes;
pub use family::{Families, Replayed};
pub use grant::Grant;
pub use id_token::{IdTokens, NewIdToken};
pub use logout_token::{LogoutTokens, NewLogoutToken};
pub use refresh::{RefreshError, RefreshToken, RefreshTokens, Rotation};
pub use revocation::{LiveToken, RevocationError, Revocations, RevocationsReading, Whole};
pub use sealer::Sealer;
pub use standing::StandingCutoff;
pub use status_document::{Publication, StatusDocument, StatusError, StatusPublisher};
pub use status_list::{ListDates, StatusLists};

use crate::store::Table;

/// Every table of this room.
pub const TABLES: [Table; 7] = [
    code::TABLE,
    family::TABLE,
    family::LIVE_TOKENS,
    ended_sessions::ENDED,
    revocation::CUTOFFS_TABLE,
    revocation::REVOCATIONS,
    status_list::TABLE,
];

/// The tables of which nothing may count once an earlier state was put back: what they hold may have been spent or
/// revoked later. Revocations stay: they only ever refuse. Of the status lists see [`StatusLists::end_all`].
pub const ENDED_BY_RESTORE: [Table; 4] =
    [code::TABLE, family::TABLE, family::LIVE_TOKENS, ended_sessions::ENDED];
