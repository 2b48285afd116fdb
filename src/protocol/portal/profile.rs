use chrono::{DateTime, Utc};

use super::change_own;
use crate::protocol::authorize::Present;
use crate::protocol::users::request;
use crate::protocol::{ProtocolError, Services};
use crate::users::{AccountChange, Profile};

/// What a person writes of themselves.
#[derive(Clone, Debug)]
pub struct ProfileChange {
    /// The name.
    pub name: String,
    /// All that is known besides. That it says of nothing new that it is verified is for the caller to see to.
    pub profile: Profile,
    /// Of which version of the account: what was changed meanwhile is not undone.
    pub of_version: DateTime<Utc>,
}

/// Changes the person's own name and profile.
///
/// # Errors
/// `invalid_request` when something of it can't be shown, `conflict` when the account was changed meanwhile.
pub async fn change_profile(
    services: &Services,
    present: &Present,
    change: ProfileChange,
) -> Result<(), ProtocolError> {
    let ProfileChange { name, profile, of_version } = change;
    let (name, profile, of_version) = (Some(name), Some(profile), Some(of_version));
    let change = AccountChange { name, profile, of_version, ..AccountChange::default() };
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
