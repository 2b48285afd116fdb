//! Requests that the service itself makes to others: where they may go, and the client that makes them.
//!
//! Who registers a client names a URI that this service will call. Nobody may reach by that what only this service can
//! reach: [`Reach`] says which URLs and addresses are open, and [`Outgoing`] connects to no address that was not
//! checked.

mod address;
mod client;
mod reach;

pub use client::{Outgoing, OutgoingError};
pub use reach::{Reach, Unreachable};
