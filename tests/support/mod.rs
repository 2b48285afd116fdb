//! An issuer and a network in memory, for the tests of the verifying half.
#![allow(
    clippy::allow_attributes,
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each user uses its part"
)]

mod fake_fetch;
mod issuer;

#[allow(unused_imports, reason = "each user uses its part")]
pub use fake_fetch::FakeFetch;
#[allow(unused_imports, reason = "each user uses its part")]
pub use issuer::{AUDIENCE, ISSUER, Issuer, NOW};
