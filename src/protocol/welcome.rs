use super::{ProtocolError, Services};
use crate::clients::Client;

/// Whether the client may get anything now: one that is a person's may not while the person's account is disabled. Nothing is
/// read for any other.
pub(super) async fn is_welcome(services: &Services, client: &Client) -> Result<bool, ProtocolError> {
    let Some(owner) = client.owner() else { return Ok(true) };
    Ok(services.accounts.find(owner).await?.is_some_and(|account| !account.disabled))
}

/// The same for a client that has authenticated.
///
/// # Errors
/// `invalid_client`.
pub(super) async fn welcome(services: &Services, client: &Client) -> Result<(), ProtocolError> {
    if is_welcome(services, client).await? { Ok(()) } else { Err(ProtocolError::invalid_client()) }
}
