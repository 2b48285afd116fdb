//! The vocabulary: plain data in the words of the RFCs, no I/O. Every other room speaks it, the
//! verifying half and the issuing half alike.

mod algorithm;
mod claims;
mod error_code;
mod id;
mod jwk;
mod metadata;
mod scope;
mod secret;
mod status;
mod unreadable;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use claims::{AccessTokenClaims, Audience, TokenType};
pub use error_code::ErrorCode;
pub use id::{ApiKeyId, ClientId, InvalidId, KeyId, ListId, Resource, SessionId, Subject, TokenId, UserId};
pub use jwk::{Jwk, JwkSet, PublicKey};
pub use metadata::ServerMetadata;
pub use scope::{InvalidScope, Scope};
pub use secret::{Secret, SecretHash, SignedToken};
pub use status::{RevokedBefore, StatusClaim, StatusList, StatusListClaims, StatusReference};
pub use unreadable::unreadable;
