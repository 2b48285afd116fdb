//! The grants: one file each.

mod client_credentials;

use super::{Credentials, Params, ProtocolError, Services, authenticate};
use crate::clients::GrantType;
use crate::oauth::ErrorCode;
use crate::tokens::Issued;

/// What absent parameters of a token request mean in the dialect it was written in.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// An absent `scope`.
    pub scope: Option<&'static str>,
    /// An absent `grant_type`.
    pub grant_type: Option<&'static str>,
}

impl Defaults {
    /// The standard: what is absent is absent.
    pub const NONE: Self = Self { scope: None, grant_type: None };
}

/// Answers a token request (RFC 6749, section 3.2): authenticates the client, then does what `grant_type`
/// says.
///
/// # Errors
/// As RFC 6749, section 5.2 has them.
pub fn token(
    services: &Services,
    credentials: &Credentials,
    params: &Params<'_>,
    defaults: &Defaults,
) -> Result<Issued, ProtocolError> {
    let client = authenticate(services, credentials, params)?;
    services.limits.token_per_client.spend(&client.client_id)?;
    match params.one("grant_type").or(defaults.grant_type) {
        None => Err(ProtocolError::invalid_request("grant_type is missing")),
        Some("client_credentials") if !client.grant_types.contains(&GrantType::ClientCredentials) => {
            Err(ProtocolError::new(
                ErrorCode::UnauthorizedClient,
                "the client is not registered for this grant_type",
            ))
        }
        Some("client_credentials") => client_credentials::grant(services, &client, params, defaults.scope),
        // There is no authorization endpoint yet, so no code that is presented can be a valid one.
        Some("authorization_code") if defaults.grant_type.is_some() => {
            params.required("code")?;
            Err(ProtocolError::new(ErrorCode::InvalidGrant, "The authorization code is invalid or expired"))
        }
        Some(_) => {
            Err(ProtocolError::new(ErrorCode::UnsupportedGrantType, "the grant_type is not supported"))
        }
    }
}
