use super::Keeper;
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::oauth::{ErrorCode, UserId};
use crate::protocol::{ProtocolError, Services};

/// Who may do what needs `scope` with the users API: whoever sends an access token of this issuer, made for that API,
/// not revoked, whose scope holds it. A token that speaks for a person counts only while that person is an
/// administrator: nobody lets a client at other people's accounts by consenting. Who is known but may not is put on record
/// if `record` says so.
///
/// # Errors
/// `invalid_token`, `insufficient_scope`, `temporarily_unavailable` when this node can't know whether the token counts, or what
/// the store or the audit log fail with.
pub async fn admit(
    services: &Services,
    token: &str,
    scope: &str,
    record: bool,
) -> Result<Keeper, ProtocolError> {
    let invalid = || ProtocolError::new(ErrorCode::InvalidToken, "the access token is not valid here");
    let users_api = services.resources.users();
    let claims = services.live_token_for(token, users_api)?.ok_or_else(invalid)?;
    // What a client may no longer ask for, it may no longer use: a token does not outlive a demotion here.
    let client = services.clients.find(claims.client_id.as_str()).ok_or_else(invalid)?;
    let still_may = services.clients.may_have(&client, scope) && client.resources.contains(&users_api.uri);
    let administers = match UserId::parse(claims.sub.as_str()) {
        Err(_) => true,
        Ok(id) => {
            let account = services.accounts.find(&id).await?;
            account.is_some_and(|account| account.administrator && !account.disabled)
        }
    };
    let actor = Actor::Client(claims.client_id.clone());
    if claims.permits(scope) && still_may && administers {
        return Ok(Keeper { actor, of_administrators: false });
    }
    if record {
        let event = Event::new(EventKind::UsersRefused, actor).outcome(Outcome::Refused);
        services.audit.record(event.detail("scope", scope)).await?;
    }
    let reason = if administers {
        format!("this needs the scope {scope}")
    } else {
        "only administrators may do this".to_owned()
    };
    Err(ProtocolError::new(ErrorCode::InsufficientScope, reason))
}
