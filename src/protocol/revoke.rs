use super::{Credentials, Params, ProtocolError, Services, authenticate};
use crate::audit::{Actor, Event, EventKind};
use crate::oauth::{AccessTokenClaims, ClientId};
use crate::tokens::{RefreshError, RefreshToken};
use crate::verify::Verified;

/// How a revocation request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationOutcome {
    /// The token is revoked, or had ended anyway.
    Done,
    /// It was issued to another client: nothing was changed.
    NotYours,
    /// It is no token that this issuer can tell from others': nothing was changed.
    Unknown,
    /// The request names no token.
    NoToken,
}

/// A request to revoke, read: by whom, and what of it is theirs to revoke.
#[derive(Debug)]
pub struct AskedToRevoke {
    client_id: ClientId,
    token: Asked,
}

#[derive(Debug)]
enum Asked {
    Nothing,
    NotTheirs,
    Unknown,
    Ended,
    AccessToken(Box<AccessTokenClaims>),
    RefreshToken(Box<RefreshToken>),
}

/// Reads a request to revoke (RFC 7009, section 2.1). `token_type_hint` is only a hint and not needed here.
///
/// # Errors
/// `invalid_client` when the client does not authenticate, `temporarily_unavailable` when it can't be told what the token is.
pub async fn asked_to_revoke(
    services: &Services,
    credentials: &Credentials,
    params: &Params<'_>,
) -> Result<AskedToRevoke, ProtocolError> {
    let client = authenticate(services, credentials, params)?;
    if !client.is_public() {
        services.limits.revocation_per_client.spend(&client.client_id)?;
    }
    let client_id = client.client_id.clone();
    let token = match params.one("token") {
        None => Asked::Nothing,
        Some(token) => theirs(services, &client_id, token).await?,
    };
    Ok(AskedToRevoke { client_id, token })
}

async fn theirs(services: &Services, client_id: &ClientId, token: &str) -> Result<Asked, RefreshError> {
    if let Some(Verified { claims, .. }) = services.issued_token(token) {
        return Ok(match claims.client_id == *client_id {
            false => Asked::NotTheirs,
            true if services.revocations.has_ended(&claims) => Asked::Ended,
            true => Asked::AccessToken(Box::new(claims)),
        });
    }
    // It ended with its key.
    if services.token_of_the_past(token).is_some_and(|claims| claims.client_id == *client_id) {
        return Ok(Asked::Ended);
    }
    // One that has ended goes with its family too, of which a newer one may count.
    Ok(match services.refresh_tokens.open_ended(token).await? {
        None => Asked::Unknown,
        Some(opened) if opened.grant.client_id == *client_id => Asked::RefreshToken(Box::new(opened)),
        Some(_) => Asked::NotTheirs,
    })
}

/// Revokes a token at the wish of the client that holds it, also one that this node knows to be revoked: the store may have lost
/// that in a failover, and to revoke again is all that the client can do about it. It is recorded first, but only once: a client may
/// ask as often as it likes. A token of another client is left alone. A refresh token
/// goes with its whole family, access tokens included (RFC 7009, section 2.1), be it the newest or an older one.
///
/// # Errors
/// The store's and the audit log's: then the token may or may not be revoked.
pub async fn revoke(services: &Services, asked: AskedToRevoke) -> Result<RevocationOutcome, ProtocolError> {
    let claims = match asked.token {
        Asked::Nothing => return Ok(RevocationOutcome::NoToken),
        Asked::NotTheirs => return Ok(RevocationOutcome::NotYours),
        Asked::Unknown => return Ok(RevocationOutcome::Unknown),
        Asked::Ended => return Ok(RevocationOutcome::Done),
        Asked::AccessToken(claims) => claims,
        Asked::RefreshToken(token) => return revoke_family(services, asked.client_id, &token).await,
    };
    if !services.revocations.is_on_record(&claims).await? {
        let event = Event::new(EventKind::TokenRevoked, Actor::Client(asked.client_id));
        services.audit.record(event.client(&claims.client_id).token(&claims.jti)).await?;
    }
    services.revocations.revoke(&claims).await?;
    Ok(RevocationOutcome::Done)
}

async fn revoke_family(
    services: &Services,
    client_id: ClientId,
    token: &RefreshToken,
) -> Result<RevocationOutcome, ProtocolError> {
    if !services.families.is_revoked_on_record(&token.family).await? {
        let event = Event::new(EventKind::TokenRevoked, Actor::Client(client_id.clone()));
        let event = event.client(&client_id).subject(&token.grant.subject);
        services.audit.record(event.detail("family", token.family.as_str())).await?;
    }
    services.refresh_tokens.revoke(token).await?;
    Ok(RevocationOutcome::Done)
}
