//! The resource server's half: verifies access tokens offline, revocation included.
//!
//! - [`Verifier`] does it all: give it the issuer's URL and your own, and it fetches keys and status lists
//!   when it needs them.
//! - [`check`] is the pure core, without I/O: the issuer's own introspection uses it too.
//! - [`Fetch`] is the seam to the network; [`HttpFetch`] is the one in use.
//! - `Bearer` is the actix-web extractor (feature `actix`).

mod cache;
#[cfg(feature = "actix")]
mod challenge;
mod cutoffs;
#[cfg(feature = "actix")]
mod extractor;
mod fetch;
mod http_fetch;
mod key;
mod key_source;
mod refusal;
mod status_list;
mod status_source;
mod token;
mod verifier;

#[cfg(feature = "actix")]
pub use challenge::{Challenge, ErrorBody};
#[cfg(feature = "actix")]
pub use extractor::{AnyScope, Bearer, RequiredScope};
pub use fetch::{Fetch, FetchError, FetchRequest, Fetched, freshness};
#[cfg(feature = "server")]
pub(crate) use http_fetch::root_certs;
pub use http_fetch::{HttpFetch, HttpFetchSettings};
pub use key::{KeySet, UnusableKey, VerificationKey};
pub use refusal::Refusal;
pub use status_source::StatusPolicy;
#[cfg(feature = "server")]
pub(crate) use token::id_token_claims;
pub use token::{
    Expectations, ExpectedAudience, MAX_ACCESS_TOKEN_LENGTH, MAX_STATUS_LIST_LENGTH, Verified, check,
};
pub use verifier::{BuildError, Verifier, VerifierBuilder};

#[cfg(test)]
#[path = "../../tests/support/mod.rs"]
mod testing;
