use serde::Serialize;

use super::authenticate::authenticate_confidential;
use super::grants::is_live;
use super::{Credentials, Params, ProtocolError, Services};
use crate::clients::{AuthenticatedClient, Client};
use crate::oauth::{AccessTokenClaims, ClientId, Scope, Secret, Subject};
use crate::tokens::RefreshToken;

/// The answer to an introspection request (RFC 7662, section 2.2).
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Introspection {
    /// A live access token.
    Active {
        /// Always true.
        active: bool,
        /// How the token is presented.
        token_type: &'static str,
        /// What it says.
        #[serde(flatten)]
        claims: Box<AccessTokenClaims>,
    },
    /// A live refresh token, which is presented to nobody but this service: it has no `token_type`.
    Refreshable {
        /// Always true.
        active: bool,
        /// Who issued it.
        iss: String,
        /// For whom it speaks.
        sub: Subject,
        /// To whom it was issued.
        client_id: ClientId,
        /// What it grants.
        #[serde(skip_serializing_if = "Scope::is_empty")]
        scope: Scope,
        /// When it was issued, in seconds since the epoch.
        iat: i64,
        /// When it ends unless it is used, in seconds since the epoch.
        exp: i64,
    },
    /// Anything else: not ours, ended, revoked, or none of the asker's business.
    Inactive {
        /// Always false.
        active: bool,
    },
}

impl Introspection {
    const INACTIVE: Self = Self::Inactive { active: false };
}

/// A request to introspect, read: by whom, and which token.
#[derive(Debug)]
pub struct AskedToIntrospect {
    client: AuthenticatedClient,
    token: Secret,
}

/// Reads a request to introspect (RFC 7662, section 2.1). `token_type_hint` is only a hint and not needed here.
///
/// # Errors
/// `invalid_client` when the client does not authenticate or has nothing to do so by, `invalid_request` without
/// `token`; `temporarily_unavailable` when this node can't know what counts.
pub fn asked_to_introspect(
    services: &Services,
    credentials: &Credentials,
    params: &Params<'_>,
) -> Result<AskedToIntrospect, ProtocolError> {
    // Nor does it know who asks: a client that was registered elsewhere is unknown here.
    services.fitness.check()?;
    let client = authenticate_confidential(services, credentials, params)?;
    Ok(AskedToIntrospect { client, token: Secret::new(params.required("token")?.to_owned()) })
}

/// Tells a client whether a token counts.
///
/// Only the client that holds the token learns anything, and of an access token one that is registered as its
/// audience; to everyone else every token is inactive, so that nobody can scan for tokens.
///
/// # Errors
/// `temporarily_unavailable` when this node can't know whether it counts; the store's.
pub async fn introspect(
    services: &Services,
    asked: &AskedToIntrospect,
) -> Result<Introspection, ProtocolError> {
    let AskedToIntrospect { client, token } = asked;
    if let Some(claims) = services.live_token(token.expose())? {
        if !may_see(client, &claims) {
            return Ok(Introspection::INACTIVE);
        }
        return Ok(Introspection::Active { active: true, token_type: "Bearer", claims: Box::new(claims) });
    }
    let opened = services.refresh_tokens.open(token.expose()).await?;
    match opened.filter(|token| token.grant.client_id == client.client_id) {
        Some(token) if is_live(services, &token).await? => Ok(refreshable(services, token)),
        _ => Ok(Introspection::INACTIVE),
    }
}

fn refreshable(services: &Services, token: RefreshToken) -> Introspection {
    Introspection::Refreshable {
        active: true,
        iss: services.issuer.clone(),
        sub: token.grant.subject,
        client_id: token.grant.client_id,
        scope: token.grant.scope,
        iat: token.issued_at,
        exp: token.expires_at,
    }
}

fn may_see(client: &Client, claims: &AccessTokenClaims) -> bool {
    claims.client_id == client.client_id
        || client.audience_of.iter().any(|resource| claims.aud.contains(resource.as_str()))
}
