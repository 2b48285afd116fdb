//! An API key for a short-lived access token (RFC 8693), so that resource servers need not know API keys.

use super::count;
use crate::clients::ResourceServer;
use crate::limits::{Exceeded, Policy, Standing};
use crate::oauth::{ClientId, ErrorCode, Resource, Scope};
use crate::protocol::api_key::{self, PresentedKey, present_api_key};
use crate::protocol::authenticate::is_attempted;
use crate::protocol::{Credentials, Params, ProtocolError, Services, authenticate};
use crate::tokens::{Authorized, Issued};
use crate::users::ApiKey;

/// The grant type (RFC 8693, section 2.1).
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// What the only token is called that is given (RFC 8693, section 3).
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What the only token is called that is taken. RFC 8693 has no name for API keys; this one is Signet's own.
pub const API_KEY: &str = "urn:signet:params:oauth:token-type:api_key";

/// No token that is given for an API key lives longer, in seconds.
const LONGEST: i64 = 15 * 60;

/// What came of an exchange.
#[derive(Debug)]
pub struct Exchanged {
    /// The token, or why there is none.
    pub issued: Result<Issued, ProtocolError>,
    /// Whether a key was good: then the request counts for it, and for nobody else.
    pub by_good_key: bool,
    /// How the limit of the key stands, if there was a good one.
    pub standing: Option<Standing>,
}

/// Exchanges an API key for an access token of one resource. The key is credential enough: no client need authenticate,
/// but one that does must do so rightly, and its request counts for it too. The token speaks for the key's owner; its
/// `client_id` is the key's identifier, so that revoking the key ends it.
///
/// Refuses as RFC 8693, section 2.2.2 has it, except that a wrong key is `invalid_token` here: the surface counts it, and
/// calls it `invalid_request`.
pub async fn exchange(services: &Services, credentials: &Credentials, params: &Params<'_>) -> Exchanged {
    let PresentedKey { key, standing } = match present(services, credentials, params).await {
        Ok(presented) => presented,
        Err(error) => {
            let of_key = |exceeded: &Exceeded| exceeded.standing().policy == Policy::ApiKey;
            let by_good_key = error.exceeded.as_deref().is_some_and(of_key);
            return Exchanged { issued: Err(error), by_good_key, standing: None };
        }
    };
    let issued = issue(services, &key, params);
    // Revoked, or its owner sent away, meanwhile: the cut-off may be older than this token.
    let issued = api_key::still_counts(services, &key).await.and(issued);
    Exchanged { issued, by_good_key: true, standing }
}

async fn present(
    services: &Services,
    credentials: &Credentials,
    params: &Params<'_>,
) -> Result<PresentedKey, ProtocolError> {
    if is_attempted(credentials, params) {
        count(services, &authenticate(services, credentials, params)?)?;
    }
    let token = params.required("subject_token")?;
    if params.required("subject_token_type")? != API_KEY {
        return Err(ProtocolError::invalid_request(format!("subject_token_type must be {API_KEY}")));
    }
    present_api_key(services, token).await
}

fn issue(services: &Services, key: &ApiKey, params: &Params<'_>) -> Result<Issued, ProtocolError> {
    if params.one("requested_token_type").is_some_and(|requested| requested != ACCESS_TOKEN) {
        return Err(ProtocolError::invalid_request(format!("requested_token_type must be {ACCESS_TOKEN}")));
    }
    if params.one("actor_token").is_some() || params.one("actor_token_type").is_some() {
        return Err(ProtocolError::invalid_request("actor_token is not supported"));
    }
    let server = server(services, key, params)?;
    let scope = scope(services, key, server, params)?;
    let now = services.clock.numeric_date();
    let remaining = key.expires_at.map_or(LONGEST, |end| end.timestamp() - now);
    Ok(services.access_tokens.issue(&Authorized {
        subject: &key.owner.subject(),
        client_id: &ClientId::from(&key.id),
        audience: &[&server.uri],
        scope: &scope,
        lifetime: server.lifetime.min(LONGEST).min(remaining),
        algorithms: [server.algorithm, None],
        grant: None,
    })?)
}

/// The one resource asked for, or the key's first. Signet's own take the key itself, or none.
fn server<'s>(
    services: &'s Services,
    key: &ApiKey,
    params: &Params<'_>,
) -> Result<&'s ResourceServer, ProtocolError> {
    let refuse = |reason: &'static str| ProtocolError::new(ErrorCode::InvalidTarget, reason);
    if params.one("audience").is_some() {
        return Err(refuse("name what the token is for by resource"));
    }
    let mut asked = params.all("resource");
    let uri = match (asked.next(), asked.next()) {
        (Some(_), Some(_)) => return Err(refuse("name one resource")),
        (Some(uri), None) => uri,
        (None, _) => key.resources.first().map(Resource::as_str).unwrap_or_default(),
    };
    let own = [services.resources.admin(), services.resources.users()];
    services
        .resources
        .find(uri)
        .filter(|server| key.resources.contains(&server.uri))
        .filter(|server| own.iter().all(|own| own.uri != server.uri))
        .ok_or_else(|| refuse("the API key can not be exchanged for this resource"))
}

/// What is asked for by name is granted whole or refused; otherwise all that the key permits there.
fn scope(
    services: &Services,
    key: &ApiKey,
    server: &ResourceServer,
    params: &Params<'_>,
) -> Result<Scope, ProtocolError> {
    let permits = |token: &&str| api_key::permits(services, key, server, token);
    let Some(asked) = params.one("scope") else {
        let permitted: Vec<&str> = key.scope.iter().filter(permits).collect();
        return Scope::parse(&permitted.join(" ")).map_err(ProtocolError::server_error);
    };
    let asked = Scope::parse(asked).map_err(|_| ProtocolError::invalid_scope("the scope is malformed"))?;
    if asked.iter().all(|token| permits(&token)) {
        Ok(asked)
    } else {
        Err(ProtocolError::invalid_scope("the scope exceeds what the API key permits at this resource"))
    }
}
