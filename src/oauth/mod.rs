//! The vocabulary: plain data in the words of the RFCs, no I/O. Every other room speaks it, the
//! verifying half and the issuing half alike.

mod acr;
mod algorithm;
mod claims;
mod error_code;
mod id;
mod jwk;
mod metadata;
mod pkce;
mod redirect_uri;
mod scope;
mod secret;
mod shell_word;
mod shown;
mod status;
mod unreadable;

pub use acr::Acr;
pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use claims::{AccessTokenClaims, Audience, TokenType};
pub use error_code::ErrorCode;
pub use id::{
    ApiKeyId, ClientId, CodeChallenge, FamilyId, InvalidId, KeyId, ListId, Origin, Resource, SessionId,
    Subject, TokenId, UserId, WebUri,
};
pub use jwk::{Jwk, JwkSet, PublicKey};
pub use metadata::ServerMetadata;
pub use pkce::{CodeVerifier, InvalidVerifier};
pub use redirect_uri::{InvalidRedirectUri, RedirectUri};
pub use scope::{InvalidScope, Scope};
pub use secret::{Secret, SecretHash, SignedToken};
pub use shell_word::shell_word;
pub use shown::{is_all_seen, is_name};
pub use status::{RevokedBefore, StatusClaim, StatusList, StatusListClaims, StatusReference, WholeName};
pub use unreadable::{quotable, unreadable};
