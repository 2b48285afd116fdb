//! Revoking one token, or everything of a client or a subject, and what was revoked as a whole.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Administrator, audited};
use crate::audit::EventKind;
use crate::keys::intervene::Breakage;
use crate::oauth::{ClientId, Subject, UserId};
use crate::protocol::users::rfc3339;
use crate::protocol::{ProtocolError, Services};
use crate::tokens::{StandingCutoff, Whole};

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
    /// Within how many seconds verifiers that read the status lists refuse them; save those of `still_accepted`.
    effective_within: u64,
    /// Who accepts them all the same, until when, where everything of somebody was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    still_accepted: Option<[Breakage; 1]>,
}

/// Whose tokens and grants were revoked as a whole, of a client, a subject, or what a client holds for a subject.
#[derive(Debug, Serialize)]
pub struct CutoffView {
    /// Which client's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// Which subject's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<Subject>,
    /// Those with this `iat` or an earlier one.
    pub issued_up_to: i64,
    /// When the last of the tokens has ended.
    #[serde(serialize_with = "rfc3339")]
    pub tokens_until: DateTime<Utc>,
    /// When the last of the grants has.
    #[serde(serialize_with = "rfc3339")]
    pub grants_until: DateTime<Utc>,
}

/// A page of what was revoked as a whole.
#[derive(Debug, Serialize)]
pub struct CutoffPage {
    /// What counts still.
    pub revocations: Vec<CutoffView>,
    /// What to give as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl From<StandingCutoff> for CutoffView {
    fn from(cutoff: StandingCutoff) -> Self {
        let StandingCutoff { whole, before, tokens_until, grants_until, .. } = cutoff;
        let (client_id, sub) = match whole {
            Whole::Client(client_id) => (Some(client_id), None),
            Whole::Subject(sub) => (None, Some(sub)),
            Whole::Granted(client_id, sub) => (Some(client_id), Some(sub)),
        };
        Self { client_id, sub, issued_up_to: before, tokens_until, grants_until }
    }
}

/// A page of what was revoked as a whole, as long as something is refused for it.
///
/// # Errors
/// The store's.
pub async fn list(
    services: &Services,
    after: Option<&str>,
    limit: Option<usize>,
) -> Result<CutoffPage, ProtocolError> {
    let limit = limit.unwrap_or(100).clamp(1, 1000);
    let mut cutoffs = services.revocations.standing(after, limit + 1).await?;
    let more = cutoffs.len() > limit;
    cutoffs.truncate(limit);
    let next = cutoffs.last().filter(|_| more).map(|cutoff| cutoff.name.clone());
    Ok(CutoffPage { revocations: cutoffs.into_iter().map(Into::into).collect(), next })
}

/// Revokes what the request names.
///
/// # Errors
/// `invalid_request` unless exactly one thing is named, and for a token that is not ours or has ended together with its status list.
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
    let still_accepted = issued_up_to.map(|before| [accepted_until(services, before)]);
    let effective_within = services.status.ttl();
    Ok(RevocationAnswer { revoked: true, issued_up_to, registered, effective_within, still_accepted })
}

/// What is issued is not known, so what is revoked as a whole has no bits of its own: see decision 0002.
fn accepted_until(services: &Services, before: i64) -> Breakage {
    let what = "verifiers that read the status lists but not their claim revoked_before accept these tokens until they end";
    Breakage { what: what.to_owned(), until: before + services.status_lists.longest_lifetime() }
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
