use serde::{Deserialize, Serialize};

use crate::oauth::{ClientId, Resource, Scope, SessionId, Subject};

/// What a person let a client do, and how they proved who they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// To whom it was given.
    pub client_id: ClientId,
    /// By whom.
    pub subject: Subject,
    /// What was allowed.
    pub scope: Scope,
    /// The resources that tokens may be asked for; at least one.
    pub resources: Vec<Resource>,
    /// In which session; what is issued without `offline_access` ends with it.
    pub sid: Option<SessionId>,
    /// When they proved who they are, in seconds since the epoch (OpenID Connect Core, section 2).
    pub auth_time: i64,
    /// How well (OpenID Connect Core, section 2).
    pub acr: Option<String>,
    /// By what (RFC 8176).
    pub amr: Vec<String>,
    /// What the client wants to find in its ID token (OpenID Connect Core, section 3.1.2.1).
    pub nonce: Option<String>,
    /// The `claims` request parameter as it was sent, if any (OpenID Connect Core, section 5.5).
    pub claims: Option<serde_json::Value>,
    /// When it was given, in seconds since the epoch: a cut-off at that second or later ends it.
    pub granted_at: i64,
}

impl Grant {
    /// The session with which everything ends that is issued for it, unless it may outlive that.
    #[must_use]
    pub fn ends_with(&self) -> Option<&SessionId> {
        self.sid.as_ref().filter(|_| !self.is_offline())
    }

    /// Whether refresh tokens of it outlive the session (OpenID Connect Core, section 11).
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.scope.contains(Scope::OFFLINE_ACCESS)
    }
}
