use serde::Serialize;

use super::{Credentials, Params, ProtocolError, Services, authenticate};
use crate::clients::Client;
use crate::oauth::AccessTokenClaims;

/// The answer to an introspection request (RFC 7662, section 2.2).
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Introspection {
    /// A live token.
    Active {
        /// Always true.
        active: bool,
        /// How the token is presented.
        token_type: &'static str,
        /// What it says.
        #[serde(flatten)]
        claims: Box<AccessTokenClaims>,
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

/// Tells a client whether a token counts (RFC 7662, section 2.1).
///
/// Only the client that holds the token, or one that is registered as its audience, learns anything; to
/// everyone else every token is inactive, so that nobody can scan for tokens.
///
/// # Errors
/// `invalid_client` when the client does not authenticate, `invalid_request` without `token`.
pub fn introspect(
    services: &Services,
    credentials: &Credentials,
    params: &Params<'_>,
) -> Result<Introspection, ProtocolError> {
    let client = authenticate(services, credentials, params)?;
    let token = params.required("token")?;
    let Some(verified) = services.verified_token(token) else { return Ok(Introspection::INACTIVE) };
    let claims = verified.claims;
    if !may_see(&client, &claims) || services.revocations.is_revoked(&claims) {
        return Ok(Introspection::INACTIVE);
    }
    Ok(Introspection::Active { active: true, token_type: "Bearer", claims: Box::new(claims) })
}

fn may_see(client: &Client, claims: &AccessTokenClaims) -> bool {
    claims.client_id == client.client_id
        || client.audience_of.iter().any(|resource| claims.aud.contains(resource.as_str()))
}
