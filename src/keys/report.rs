//! What the admin API and the command line are told of the keys. Dates are seconds since the epoch here, and
//! written as RFC 3339.

use serde::Serialize;

use super::choice::Waiting;
use super::intervene::Breakage;
use super::record::{Origin, Phase};
use super::rfc3339;
use crate::oauth::{Algorithm, KeyId};

/// Every key, and what comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyList {
    /// When this was so.
    #[serde(serialize_with = "rfc3339::date")]
    pub now: i64,
    /// How old this node's copy of the ring is, in seconds.
    pub snapshot_age: u64,
    /// When the JWKS changes next, as far as is planned.
    #[serde(serialize_with = "rfc3339::optional")]
    pub next_change: Option<i64>,
    /// For how long a JWKS served now may be cached, in seconds.
    pub max_age: i64,
    /// How long a new key waits before it signs, in seconds.
    pub lead: i64,
    /// The algorithms in use that no key signs with yet.
    pub waiting: Vec<Waiting>,
    /// The keys, in the order of their publication.
    pub keys: Vec<KeyView>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyView {
    /// Which one.
    pub kid: KeyId,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// Where it stands.
    pub phase: Phase,
    /// Whether new tokens are signed with it now.
    pub signs: bool,
    /// Where it came from.
    pub origin: Origin,
    /// When it was made or brought in.
    #[serde(serialize_with = "rfc3339::date")]
    pub created_at: i64,
    /// Since when it counts as published: its lead runs from then. Before `created_at` for the first keys.
    #[serde(serialize_with = "rfc3339::date")]
    pub publish_at: i64,
    /// From when it signs.
    #[serde(serialize_with = "rfc3339::date")]
    pub sign_from: i64,
    /// From when it signs no more.
    #[serde(serialize_with = "rfc3339::optional")]
    pub retire_at: Option<i64>,
    /// From when it is no longer in the JWKS.
    #[serde(serialize_with = "rfc3339::optional")]
    pub forget_at: Option<i64>,
    /// Since when it has been compromised.
    #[serde(serialize_with = "rfc3339::optional")]
    pub compromised_at: Option<i64>,
    /// How long ago it was made or brought in, in seconds.
    pub age: i64,
    /// The longest lifetime of a token signed with it, in seconds.
    pub longest_lifetime: i64,
    /// How many addresses have fetched the JWKS from this node since the key was published, as far as they
    /// are counted: since this node started, and not beyond 10,000.
    pub fetchers: usize,
}

/// Rotations that were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rotations {
    /// One an algorithm.
    pub rotations: Vec<Rotated>,
}

/// A rotation that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rotated {
    /// For which algorithm.
    pub algorithm: Algorithm,
    /// The key that signs from `sign_from`.
    pub kid: KeyId,
    /// The key that it replaces.
    pub previous: Option<KeyId>,
    /// From when.
    #[serde(serialize_with = "rfc3339::date")]
    pub sign_from: i64,
    /// In how many seconds that is.
    pub wait: i64,
    /// What breaks; empty unless it was forced.
    pub breaks: Vec<Breakage>,
}

/// A key that was declared compromised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compromised {
    /// Which one.
    pub kid: KeyId,
    /// The key that signs now in its place: of its algorithm, or, where none of that signs, of the one that takes over.
    pub signs_now: Option<KeyId>,
    /// Until when the key is named as compromised.
    #[serde(serialize_with = "rfc3339::optional")]
    pub named_until: Option<i64>,
    /// What breaks, for whom, until when.
    pub breaks: Vec<Breakage>,
}

/// A key that was brought in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Which one.
    pub kid: KeyId,
    /// For which algorithm.
    pub algorithm: Algorithm,
    /// From when it signs, unless a rotation is asked for earlier.
    #[serde(serialize_with = "rfc3339::date")]
    pub sign_from: i64,
}
