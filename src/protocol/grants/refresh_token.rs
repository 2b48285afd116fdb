use super::person::{Plan, Wish, invalid_grant, not_revoked, while_in_session, while_it_lasts};
use super::{Granted, replayed};
use crate::audit::{Actor, Event, EventKind};
use crate::clients::{AuthenticatedClient, GrantType};
use crate::oauth::{ErrorCode, Secret};
use crate::protocol::welcome::welcome;
use crate::protocol::{Params, ProtocolError, Services};
use crate::tokens::{RefreshToken, Replayed, Rotation};

/// A request to refresh (RFC 6749, section 6).
#[derive(Debug)]
pub(super) struct RefreshRequest {
    client: AuthenticatedClient,
    refresh_token: Secret,
    wish: Wish,
}

impl RefreshRequest {
    pub(super) fn read(client: AuthenticatedClient, params: &Params<'_>) -> Result<Self, ProtocolError> {
        let refresh_token = Secret::new(params.required("refresh_token")?.to_owned());
        let wish = Wish {
            scope: params.one("scope").map(str::to_owned),
            resources: params.all("resource").map(str::to_owned).collect(),
            needs_id_token: false,
        };
        Ok(Self { client, refresh_token, wish })
    }
}

/// Spends a refresh token for a new one and an access token. A narrower scope narrows the access token alone. One
/// that was spent before ends its family (RFC 9700, section 4.14.2), unless it is the last one and was spent a moment
/// ago: then its successor is given again.
pub(super) async fn refresh(services: &Services, request: RefreshRequest) -> Result<Granted, ProtocolError> {
    let since = services.clock.millis();
    let granted = spend(services, &request, since).await;
    let failed = |error: &ProtocolError| {
        matches!(error.code, ErrorCode::TemporarilyUnavailable | ErrorCode::ServerError)
    };
    if granted.as_ref().is_err_and(failed) {
        services.refresh_tokens.was_unanswered(
            &request.client.client_id,
            request.refresh_token.expose(),
            since,
        );
    }
    granted
}

async fn spend(
    services: &Services,
    request: &RefreshRequest,
    presented_at: i64,
) -> Result<Granted, ProtocolError> {
    let client = &request.client;
    welcome(services, client).await?;
    let opened = services.refresh_tokens.open(request.refresh_token.expose()).await?;
    // Another client's is left alone: to present it proves nothing about who has it.
    let token = opened.filter(|token| token.grant.client_id == client.client_id).ok_or_else(bad_token)?;
    while_it_lasts(services, &token.grant, bad_token).await?;
    let plan = Plan::new(services, client, &token.grant, &request.wish)?;
    let (prepared, account) = plan.prepare(services, bad_token).await?;
    let in_session = async |batch| match token.grant.ends_with() {
        Some(_) => while_in_session(services, &token.grant, batch).await,
        None => Ok(Some(batch)),
    };
    let successor =
        match services.refresh_tokens.rotate((&token, presented_at), &prepared.live(), in_session).await? {
            Rotation::Rotated(successor) | Rotation::Repeated(successor) => successor,
            Rotation::Reused => {
                reused(services, &token).await?;
                return Err(bad_token());
            }
            Rotation::Dead => return Err(bad_token()),
        };
    not_revoked(services, &token.grant, bad_token)?;
    plan.issue(services, &prepared, (GrantType::RefreshToken, Some(successor)), &account)
}

async fn reused(services: &Services, token: &RefreshToken) -> Result<(), ProtocolError> {
    let client_id = &token.grant.client_id;
    let event = Event::new(EventKind::RefreshTokenReused, Actor::Client(client_id.clone()));
    let event = event.client(client_id).subject(&token.grant.subject);
    replayed(services, Replayed::RefreshToken, (&token.family, token.family_ends_at), event).await
}

fn bad_token() -> ProtocolError {
    invalid_grant("the refresh token is invalid, expired or revoked")
}
