use super::{Credentials, Params, ProtocolError, Services, authenticate};
use crate::audit::{Actor, Event, EventKind};
use crate::oauth::{AccessTokenClaims, ClientId};

/// How a revocation request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationOutcome {
    /// The token is revoked, or had ended anyway.
    Done,
    /// It is no token of this client: nothing was changed. The standard answer does not tell.
    NotYours,
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
    Theirs(Box<AccessTokenClaims>),
}

/// Reads a request to revoke (RFC 7009, section 2.1). `token_type_hint` is only a hint and not needed here.
///
/// # Errors
/// `invalid_client` when the client does not authenticate.
pub fn asked_to_revoke(
    services: &Services,
    credentials: &Credentials,
    params: &Params<'_>,
) -> Result<AskedToRevoke, ProtocolError> {
    let client = authenticate(services, credentials, params)?;
    services.limits.revocation_per_client.spend(&client.client_id)?;
    let client_id = client.client_id.clone();
    let token = match params.one("token").map(|token| services.verified_token(token)) {
        None => Asked::Nothing,
        Some(Some(verified)) if verified.claims.client_id == client_id => {
            Asked::Theirs(Box::new(verified.claims))
        }
        Some(_) => Asked::NotTheirs,
    };
    Ok(AskedToRevoke { client_id, token })
}

/// Revokes a token at the wish of the client that holds it. A token of another client is left alone.
///
/// # Errors
/// The store's and the audit log's: then the token may or may not be revoked.
pub async fn revoke(services: &Services, asked: AskedToRevoke) -> Result<RevocationOutcome, ProtocolError> {
    let claims = match asked.token {
        Asked::Nothing => return Ok(RevocationOutcome::NoToken),
        Asked::NotTheirs => return Ok(RevocationOutcome::NotYours),
        Asked::Theirs(claims) => claims,
    };
    if services.revocations.is_revoked(&claims) {
        return Ok(RevocationOutcome::Done);
    }
    let event = Event::new(EventKind::TokenRevoked, Actor::Client(asked.client_id));
    services.audit.record(event.client(&claims.client_id).token(&claims.jti)).await?;
    services.revocations.revoke(&claims).await?;
    Ok(RevocationOutcome::Done)
}
