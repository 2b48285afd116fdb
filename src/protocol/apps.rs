//! Registration of applications by anybody, as one older document's clients expect it. Off unless the operator wants it.

use super::{Params, ProtocolError, Services};
use crate::audit::{Actor, Event, EventKind};
use crate::clients::{Client, Registered, Registrant, Registration};
use crate::oauth::{ErrorCode, RedirectUri, Scope, WebUri};

/// What an application gets that names no scope.
const DEFAULT_SCOPE: &str = "read";

/// Registers an application for the first resource of the settings, within the scope that the operator opens to anybody. It is confidential, people are asked before it gets
/// anything of theirs, and it need not use PKCE, which its kind does not know.
///
/// # Errors
/// `invalid_request` with the reason, `conflict` when there are as many as the operator wants.
pub async fn register_app(services: &Services, params: &Params<'_>) -> Result<Registered, ProtocolError> {
    let registration = read(services, params)?;
    // What can't be honoured is refused before it is put on record as done.
    services.clients.may_register(&registration)?;
    let mut event = Event::new(EventKind::ClientRegistered, Actor::Anonymous);
    if let Some(client_id) = &registration.client_id {
        event = event.client(client_id);
    }
    super::admin::audited(services, event, async { Ok(services.clients.register(registration).await?) }).await
}

fn read(services: &Services, params: &Params<'_>) -> Result<Registration, ProtocolError> {
    let invalid = |reason: &'static str| move || ProtocolError::invalid_request(reason);
    let uris = params.required("redirect_uris")?.split(['\n', '\r', ' ']).filter(|uri| !uri.is_empty());
    let redirect_uris: Result<Vec<RedirectUri>, _> = uris.map(RedirectUri::parse).collect();
    let redirect_uris = redirect_uris.map_err(|error| ProtocolError::invalid_request(error.to_string()))?;
    let website = params.one("website").map(WebUri::parse).transpose();
    let own = [services.resources.admin(), services.resources.users()];
    let mut servers = services.resources.all().iter();
    let server = servers.find(|server| own.iter().all(|own| own.uri != server.uri));
    let server = server.ok_or_else(invalid("there is no resource that an application could be for"))?;
    let scope = Scope::parse(params.one("scopes").unwrap_or(DEFAULT_SCOPE)).ok();
    Ok(Registration {
        client_id: Some(services.clients.new_id()),
        client_name: params.required("client_name")?.to_owned(),
        scope: scope.ok_or_else(invalid("scopes is malformed"))?,
        resources: vec![server.uri.clone()],
        redirect_uris,
        require_pkce: Some(false),
        registrant: Registrant::Anybody,
        client_uri: website.map_err(|_| invalid("website must be a web address")())?,
        ..Registration::default()
    })
}

/// The application that a token was issued to. The token may be one of the application itself or of a person. The
/// question counts for the token, if it is a good one: whoever holds others, or none, uses up nothing of it.
///
/// # Errors
/// `invalid_token`, too many requests, or `temporarily_unavailable` when this node can't know whether it counts.
pub fn app_of_token(services: &Services, token: &str) -> Result<std::sync::Arc<Client>, ProtocolError> {
    let invalid = || ProtocolError::new(ErrorCode::InvalidToken, "The access token is invalid");
    let claims = services.live_token(token)?.ok_or_else(invalid)?;
    let client = services.clients.find(claims.client_id.as_str()).ok_or_else(invalid)?;
    services.limits.questions_per_token.spend(&claims.jti)?;
    Ok(client)
}
