//! Signet: a token service, and the library half with which resource servers verify its tokens offline.
//!
//! Three sentences carry the design. *Issue without writing*: issuing an access token touches no disk.
//! *Verify without asking*: a resource server needs the published keys and a signed status list, never
//! a call per request. *Rotate without breaking*: a key's phase is computed from dates, and the server
//! refuses any step that could make a valid token fail.
//!
//! The rooms, from the ground up; imports only go down this list:
//!
//! - [`clock`] and [`entropy`]: the two sources of surprise, injectable.
//! - [`oauth`]: the vocabulary, plain data without I/O.
//! - [`verify`]: the resource server's half. With `default-features = false` the crate is these rooms only.
//! - `store`: the contract for what must be remembered, and its backends.
//! - `outgoing`: requests that the service itself makes, and where they may go.
//! - `audit`: the hash-chained log of security-relevant acts.
//! - `limits`: who asks how often, and whether that is too often.
//! - `keys`, `clients`, `users`, `tokens`: the signing keys and their rotation, the registered clients, the
//!   people with their accounts and sessions, the tokens and their revocation.
//! - `backup`: copies of an installation: moved to another store, or put back after a loss.
//! - `protocol`: OAuth itself; knows no HTTP type.
//! - `http`: actix-web only: routes, parameters, answers, dialects.
//! - `telemetry`: the log and the metrics.
//! - `priority`: which threads come first.
//! - `stall`: whether a disk is held up.
//! - `app`, `config`, `cli`: everything put together, settings, the command line.

// The tests' support, shared with the integration tests, says `signet::` as they do.
#[cfg(test)]
extern crate self as signet;

pub mod clock;
pub mod entropy;
pub mod oauth;
pub mod verify;

#[cfg(feature = "server")]
pub mod app;
#[cfg(feature = "server")]
pub mod audit;
#[cfg(feature = "server")]
pub mod backup;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod clients;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod keys;
#[cfg(feature = "server")]
pub mod limits;
#[cfg(feature = "server")]
pub mod outgoing;
#[cfg(feature = "server")]
pub mod priority;
#[cfg(feature = "server")]
pub mod protocol;
#[cfg(feature = "server")]
pub mod stall;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(feature = "server")]
pub mod tokens;
#[cfg(feature = "server")]
pub mod users;
