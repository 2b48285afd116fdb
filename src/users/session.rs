//! What a session is.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::oauth::{Acr, ClientId, Secret, SessionId, UserId};

/// How and when a person proved who they are (OpenID Connect Core, section 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authentication {
    /// When, in seconds since the epoch.
    pub auth_time: i64,
    /// By what methods (RFC 8176): `pwd`, `otp`, `mfa`.
    pub amr: Vec<String>,
}

impl Authentication {
    /// How well: what the methods come to.
    #[must_use]
    pub fn acr(&self) -> Option<Acr> {
        Acr::of(&self.amr)
    }
}

/// A person signed in by one browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its public name: the `sid` claim (OpenID Connect Front-Channel Logout, section 3). Opens nothing.
    pub sid: SessionId,
    /// Who.
    pub user: UserId,
    /// How they proved it, the last time.
    pub authentication: Authentication,
    /// When they signed in first.
    pub created_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    pub last_seen: DateTime<Utc>,
    /// What the browser said of itself.
    pub user_agent: Option<String>,
    /// Where it signed in from.
    pub address: Option<IpAddr>,
    /// Who is to be told when it is ended.
    #[serde(default)]
    pub parties: Vec<Party>,
}

/// A client that takes part in a session: it was told who signed in, and wants to know when that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Which client.
    pub client_id: ClientId,
    /// Since when.
    pub joined_at: DateTime<Utc>,
}

/// What a session is made of.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Who.
    pub user: UserId,
    /// How they proved it.
    pub authentication: Authentication,
    /// What the browser says of itself; only its beginning is kept.
    pub user_agent: Option<String>,
    /// Where it signs in from.
    pub address: Option<IpAddr>,
}

/// A session, and what its cookie holds: the only time it can be seen.
#[derive(Clone, Debug)]
pub struct StartedSession {
    /// The session.
    pub session: Session,
    /// 256 random bits, stored as their hash only.
    pub cookie: Secret,
}
