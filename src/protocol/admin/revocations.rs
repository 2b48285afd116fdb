//! Revoking one token, or everything of a client or a subject.

use serde::{Deserialize, Serialize};

use super::{Administrator, audited};
use crate::audit::EventKind;
use crate::oauth::{ClientId, Subject, UserId};
use crate::protocol::{ProtocolError, Services};
use crate::tokens::Whole;

/// What is to be revoked.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationRequest {
    /// Everything issued to this client before now.
    #[serde(default)]
    client_id: Option<ClientId>,
    /// Everything issued for this subject before now.
    #[serde(default)]
    sub: Option<Subject>,
    /// This one token.
    #[serde(default)]
    token: Option<String>,
}

impl RevocationRequest {
    /// Everything issued to `client_id` before now.
    #[must_use]
    pub fn client(client_id: ClientId) -> Self {
        Self { client_id: Some(client_id), ..Self::default() }
    }

    /// Everything issued for `subject` before now.
    #[must_use]
    pub fn subject(subject: Subject) -> Self {
        Self { sub: Some(subject), ..Self::default() }
    }

    /// One token.
    #[must_use]
    pub fn token(token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..Self::default() }
    }
}

/// What was revoked.
#[derive(Debug, Serialize)]
pub struct RevocationAnswer {
    /// Always true.
    revoked: bool,
    /// Tokens with this `iat` or an earlier one are revoked, where everything of somebody was.
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_up_to: Option<i64>,
    /// Whether a client or an account of that name is registered, where everything of somebody was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    registered: Option<bool>,
    /// Within how many seconds every verifier that honours status lists refuses them.
    effective_within: u64,
}

/// Revokes what the request names.
///
/// # Errors
/// `invalid_request` unless exactly one thing is named, and for a token that is not ours or has ended.
pub async fn revoke(
    services: &Services,
    administrator: &Administrator,
    request: RevocationRequest,
) -> Result<RevocationAnswer, ProtocolError> {
    let mut registered = None;
    let issued_up_to = match request {
        RevocationRequest { client_id: Some(id), sub: None, token: None } => {
            registered = Some(services.clients.find(id.as_str()).is_some());
            Some(revoke_whole(services, administrator, Whole::Client(id)).await?)
        }
        RevocationRequest { client_id: None, sub: Some(sub), token: None } => {
            registered = Some(is_registered(services, &sub).await?);
            Some(revoke_whole(services, administrator, Whole::Subject(sub)).await?)
        }
        RevocationRequest { client_id: None, sub: None, token: Some(token) } => {
            let unknown = || ProtocolError::invalid_request("the token is not a live token of this issuer");
            let issued = services.issued_token(&token).map(|issued| issued.claims);
            let live = issued.filter(|claims| !services.revocations.has_ended(claims));
            let claims = live.ok_or_else(unknown)?;
            let event = administrator.event(EventKind::TokenRevoked);
            let event = event.client(&claims.client_id).token(&claims.jti);
            audited(services, event, async { Ok(services.revocations.revoke(&claims).await?) }).await?;
            None
        }
        _ => return Err(ProtocolError::invalid_request("name one of client_id, sub and token")),
    };
    Ok(RevocationAnswer { revoked: true, issued_up_to, registered, effective_within: services.status.ttl() })
}

/// A subject is a person, or a client that acts for itself.
async fn is_registered(services: &Services, subject: &Subject) -> Result<bool, ProtocolError> {
    match UserId::parse(subject.as_str()) {
        Ok(user) => Ok(services.accounts.find(&user).await?.is_some()),
        Err(_) => Ok(services.clients.find(subject.as_str()).is_some()),
    }
}

async fn revoke_whole(
    services: &Services,
    administrator: &Administrator,
    whole: Whole,
) -> Result<i64, ProtocolError> {
    let event = administrator.event(EventKind::TokensRevokedBefore);
    let event = match &whole {
        Whole::Client(client_id) => event.client(client_id),
        Whole::Subject(subject) => event.subject(subject),
        Whole::Granted(client_id, subject) => event.client(client_id).subject(subject),
    };
    audited(services, event, async { Ok(services.revocations.revoke_before_now(&whole).await?) }).await
}
