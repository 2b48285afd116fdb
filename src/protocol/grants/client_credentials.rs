use super::target::{Target, asked_for, cut_down};
use crate::clients::AuthenticatedClient;
use crate::oauth::{Scope, Subject};
use crate::protocol::{Defaults, Params, ProtocolError, Services};
use crate::tokens::{Authorized, Issued};

/// The client acts on its own behalf (RFC 6749, section 4.4): the token's subject is the client itself
/// (RFC 9068, section 2.2).
pub(super) fn grant(
    services: &Services,
    client: &AuthenticatedClient,
    params: &Params<'_>,
    defaults: &Defaults,
) -> Result<Issued, ProtocolError> {
    let mut asked: Vec<&str> = params.all("resource").collect();
    if asked.is_empty() && defaults.every_resource {
        asked = Target::every(services, client)?;
    }
    let target = Target::new(services, client, &client.resources, asked.into_iter())?;
    let scope = scope(services, client, &target, (params, defaults.scope))?;
    let target = target.with_scope(services, client, &scope);
    let subject = Subject::from(&client.client_id);
    let issued = services.access_tokens.issue(&Authorized {
        subject: &subject,
        client_id: &client.client_id,
        audience: &target.audience(),
        scope: &scope,
        lifetime: target.lifetime(client),
        algorithms: target.algorithms(),
        grant: None,
    })?;
    // Deleted meanwhile: its cut-off may be older than this token.
    services.clients.find(client.client_id.as_str()).ok_or_else(ProtocolError::invalid_client)?;
    Ok(issued)
}

/// The scope asked for, held against what the client is allowed and what the resources know. A default is cut
/// down to what they know; what was asked for by name is granted whole or refused. Where no person is, the scope
/// tokens of OpenID Connect mean nothing. A client that nobody vouches for has of its own no more than people can let it have.
fn scope(
    services: &Services,
    client: &AuthenticatedClient,
    target: &Target<'_>,
    (params, default_scope): (&Params<'_>, Option<&str>),
) -> Result<Scope, ProtocolError> {
    let grantable = |token: &str| services.clients.may_have(client, token) && target.lends(client, token);
    if let Some(asked) = params.one("scope") {
        return asked_for(asked, grantable);
    }
    if let Some(default) = default_scope.filter(|default| grantable(default)) {
        return Scope::parse(default).map_err(ProtocolError::server_error);
    }
    cut_down(&client.default_scope, grantable)
}
