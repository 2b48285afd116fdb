//! The grants: one file each. A request is read first, which writes nothing; what must be written is done then, and
//! to its end, whether or not the client waits for it.

mod authorization_code;
mod client_credentials;
mod person;
mod refresh_token;
mod target;
mod token_exchange;

use super::welcome::welcome;
use super::{Credentials, Params, ProtocolError, Services, authenticate};
use crate::audit::Event;
use crate::clients::{AuthenticatedClient, GrantType};
use crate::oauth::{ErrorCode, FamilyId, Secret, SignedToken};
use crate::tokens::{Issued, Replayed};

pub(super) use person::is_live;
pub use token_exchange::{ACCESS_TOKEN, API_KEY, Exchanged, TOKEN_EXCHANGE, exchange};

use authorization_code::CodeRequest;
use refresh_token::RefreshRequest;

/// What absent parameters of a token request mean in the dialect it was written in.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// An absent `scope`.
    pub scope: Option<&'static str>,
    /// An absent `grant_type`.
    pub grant_type: Option<&'static str>,
    /// Whether `redirect_uri` may be absent though the authorization request named one: the older document has none.
    pub without_redirect_uri: bool,
    /// Whether an absent `client_id` or `client_secret` is `invalid_request`, like any other absent parameter, and not
    /// `invalid_client`.
    pub credentials_are_parameters: bool,
    /// Whether a token of the client's own that names no `resource` is for all of the client's, not for the first: the older
    /// document has one host and one token for everything there.
    pub every_resource: bool,
}

impl Defaults {
    /// The standard: what is absent is absent.
    pub const NONE: Self = Self {
        scope: None,
        grant_type: None,
        without_redirect_uri: false,
        credentials_are_parameters: false,
        every_resource: false,
    };
}

/// The answer to a token request (RFC 6749, section 5.1; OpenID Connect Core, section 3.1.3.3).
#[derive(Debug)]
pub struct Granted {
    /// By which grant.
    pub grant_type: GrantType,
    /// The access token.
    pub issued: Issued,
    /// The refresh token, if the client gets one.
    pub refresh_token: Option<Secret>,
    /// The ID token, if `openid` was allowed.
    pub id_token: Option<SignedToken>,
}

/// A token request that was read: answered already, or to be answered by [`grant`].
#[derive(Debug)]
pub enum Asked {
    /// Nothing had to be written.
    Answered(Box<Granted>),
    /// A code must be spent, or a refresh token; or somebody's account be read.
    Pending(Pending),
}

/// What must be written before there is an answer.
#[derive(Debug)]
pub struct Pending(Kind);

#[derive(Debug)]
enum Kind {
    Code(CodeRequest),
    Refresh(RefreshRequest),
    /// What a person's own client is given on its own behalf, if the person may have clients.
    Issued(AuthenticatedClient, Box<Granted>),
}

/// Reads a token request (RFC 6749, section 3.2): authenticates the client, and does what `grant_type` says as far as
/// nothing is written.
///
/// # Errors
/// As RFC 6749, section 5.2 has them.
pub fn asked_for_token(
    services: &Services,
    credentials: &Credentials,
    params: &Params<'_>,
    defaults: &Defaults,
) -> Result<Asked, ProtocolError> {
    let client = authenticate(services, credentials, params).map_err(|refused| {
        let missing = defaults.credentials_are_parameters && matches!(credentials, Credentials::Absent);
        let named = ["client_id", "client_secret"].into_iter().filter(|_| missing);
        named.map(|name| params.required(name)).find_map(Result::err).unwrap_or(refused)
    })?;
    count(services, &client)?;
    let pending = match params.one("grant_type").or(defaults.grant_type) {
        None => return Err(ProtocolError::invalid_request("grant_type is missing")),
        Some("client_credentials") => {
            may(&client, GrantType::ClientCredentials)?;
            let issued = client_credentials::grant(services, &client, params, defaults)?;
            let grant_type = GrantType::ClientCredentials;
            let granted = Box::new(Granted { grant_type, issued, refresh_token: None, id_token: None });
            if client.owner().is_none() {
                return Ok(Asked::Answered(granted));
            }
            Kind::Issued(client, granted)
        }
        Some("authorization_code") => {
            may(&client, GrantType::AuthorizationCode)?;
            Kind::Code(CodeRequest::read(client, params, defaults)?)
        }
        Some("refresh_token") => {
            may(&client, GrantType::RefreshToken)?;
            Kind::Refresh(RefreshRequest::read(client, params)?)
        }
        Some(_) => {
            return Err(ProtocolError::new(
                ErrorCode::UnsupportedGrantType,
                "the grant_type is not supported",
            ));
        }
    };
    Ok(Asked::Pending(Pending(pending)))
}

/// Answers a token request for which the store is needed.
///
/// # Errors
/// As RFC 6749, section 5.2 has them.
pub async fn grant(services: &Services, pending: Pending) -> Result<Granted, ProtocolError> {
    match pending.0 {
        Kind::Code(request) => authorization_code::redeem(services, request).await,
        Kind::Refresh(request) => refresh_token::refresh(services, request).await,
        Kind::Issued(client, granted) => {
            welcome(services, &client).await?;
            Ok(*granted)
        }
    }
}

/// Counts a token request for the client that has authenticated. Anybody can say that they are a public one: those
/// requests count for their address, at the surface.
fn count(services: &Services, client: &AuthenticatedClient) -> Result<(), ProtocolError> {
    if !client.is_public() {
        services.limits.token_per_client.spend(&client.client_id)?;
    }
    Ok(())
}

fn may(client: &AuthenticatedClient, grant_type: GrantType) -> Result<(), ProtocolError> {
    if client.may(grant_type) {
        return Ok(());
    }
    Err(ProtocolError::new(ErrorCode::UnauthorizedClient, "the client is not registered for this grant_type"))
}

/// Ends a family because something of it was presented again. That is recorded first: once the family is revoked nothing tells what was
/// reused from what is merely dead. It is revoked whether that could be recorded or not; if not, who comes next records it. Once it is on
/// record no more is written, however often somebody comes.
async fn replayed(
    services: &Services,
    what: Replayed,
    (family, end): (&FamilyId, i64),
    event: Event,
) -> Result<(), ProtocolError> {
    let recorded = if services.families.is_revoked_on_record(family).await? {
        Ok(())
    } else {
        services.audit.record(event.detail("family", family.as_str())).await
    };
    services.families.revoke_replayed(what, (family, end), recorded.is_ok()).await?;
    Ok(recorded?)
}
