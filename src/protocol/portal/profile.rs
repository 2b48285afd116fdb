use super::change_own;
use crate::protocol::authorize::Present;
use crate::protocol::users::request;
use crate::protocol::{ProtocolError, Services};
use crate::users::AccountChange;

/// Changes the person's own name.
///
/// # Errors
/// `invalid_request` when it can't be a name.
pub async fn rename(services: &Services, present: &Present, name: String) -> Result<(), ProtocolError> {
    let change = AccountChange { name: Some(name), ..AccountChange::default() };
    change_own(services, present, change).await.map(drop)
}

/// Changes the person's own e-mail address, by which they sign in from then on. It is not verified: nothing is sent
/// there; clients that know people by their address don't get it ([`plain_userinfo`](super::super::plain_userinfo)). How long
/// ago they signed in, and whether the settings let people do this, is not looked at.
///
/// # Errors
/// `invalid_request` when it is no address, or is theirs already; `conflict` when it is another account's.
pub async fn change_email(services: &Services, present: &Present, email: &str) -> Result<(), ProtocolError> {
    let email = request::email(email)?;
    // It may be verified, and would not be afterwards. Browsers send an address in other letters than it is shown in.
    if email.normalized() == present.account.email.normalized() {
        return Err(ProtocolError::invalid_request("this is your e-mail address already"));
    }
    let change = AccountChange {
        email: Some(email),
        email_verified: Some(false),
        email_self_asserted: true,
        ..AccountChange::default()
    };
    change_own(services, present, change).await.map(drop)
}
