use super::{Params, ProtocolError, Services};
use crate::clients::AuthenticatedClient;
use crate::oauth::{ErrorCode, Secret};

/// How a client authenticated itself in the `Authorization` header.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// There is no such header, or none that authenticates a client where it was sent.
    Absent,
    /// `client_secret_basic` (RFC 6749, section 2.3.1), decoded.
    Basic {
        /// The user name of HTTP Basic.
        client_id: String,
        /// The password of HTTP Basic.
        client_secret: Secret,
    },
    /// A header that is not HTTP Basic, or not well-formed.
    Unusable,
}

/// Finds out which client asks: by HTTP Basic, or by `client_id` and `client_secret` among the parameters,
/// never by both (RFC 6749, section 2.3). A public client only says who it is (section 3.2.1).
///
/// # Errors
/// `invalid_client` when the client is unknown, its secret is wrong or it did not authenticate, or by an assertion (RFC
/// 7523), which nobody can; `invalid_request` when it did so in two ways.
pub fn authenticate(
    services: &Services,
    credentials: &Credentials,
    params: &Params<'_>,
) -> Result<AuthenticatedClient, ProtocolError> {
    if asserts(params) {
        return Err(assertion_refused(credentials, params));
    }
    let (client_id, client_secret) = match credentials {
        Credentials::Basic { client_id, client_secret } => {
            if params.one("client_secret").is_some() {
                return Err(ProtocolError::invalid_request("the client authenticates in two ways"));
            }
            if params.one("client_id").is_some_and(|named| named != client_id) {
                return Err(ProtocolError::invalid_request("client_id is not the authenticated client"));
            }
            (client_id.as_str(), client_secret.expose())
        }
        Credentials::Absent => match (params.one("client_id"), params.one("client_secret")) {
            (Some(client_id), Some(client_secret)) => (client_id, client_secret),
            (Some(client_id), None) => {
                return services.clients.identify(client_id).ok_or_else(ProtocolError::invalid_client);
            }
            _ => return Err(ProtocolError::invalid_client()),
        },
        Credentials::Unusable => return Err(ProtocolError::invalid_client()),
    };
    services.clients.authenticate(client_id, client_secret).ok_or_else(ProtocolError::invalid_client)
}

/// Whether the request tries to authenticate a client at all, where none need be.
pub(super) fn is_attempted(credentials: &Credentials, params: &Params<'_>) -> bool {
    !matches!(credentials, Credentials::Absent) || params.one("client_secret").is_some() || asserts(params)
}

fn asserts(params: &Params<'_>) -> bool {
    params.one("client_assertion").is_some() || params.one("client_assertion_type").is_some()
}

/// RFC 7521, section 4.2. No client can register for it, so to say so tells nothing of any.
fn assertion_refused(credentials: &Credentials, params: &Params<'_>) -> ProtocolError {
    if !matches!(credentials, Credentials::Absent) || params.one("client_secret").is_some() {
        return ProtocolError::invalid_request("the client authenticates in two ways");
    }
    let reason = "client assertions are not supported; authenticate by client_secret";
    ProtocolError::new(ErrorCode::InvalidClient, reason)
}

/// As [`authenticate`], but a public client is refused: anybody can say that they are one.
///
/// # Errors
/// As [`authenticate`].
pub(super) fn authenticate_confidential(
    services: &Services,
    credentials: &Credentials,
    params: &Params<'_>,
) -> Result<AuthenticatedClient, ProtocolError> {
    let client = authenticate(services, credentials, params)?;
    if client.is_public() { Err(ProtocolError::invalid_client()) } else { Ok(client) }
}
