//! Making, changing and deleting accounts.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};

use super::Administrator;
use crate::clients::ADMIN_SCOPE;
use crate::oauth::{Scope, Secret, UserId};
use crate::protocol::users::{self, Keeper, PageRequest, request};
use crate::protocol::{Params, ProtocolError, Services};
use crate::users::{Account, AccountChange, Email, NewAccount, Profile, Username};

/// An account as the admin API shows it.
#[derive(Debug, Serialize)]
pub struct AccountView {
    id: UserId,
    name: String,
    email: Email,
    email_verified: bool,
    preferred_username: Option<Username>,
    profile: Profile,
    administrator: bool,
    disabled: bool,
    #[serde(serialize_with = "users::rfc3339")]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "users::optional_rfc3339")]
    updated_at: Option<DateTime<Utc>>,
}

impl AccountView {
    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> &UserId {
        &self.id
    }
}

/// A page of accounts.
#[derive(Debug, Serialize)]
pub struct AccountPage {
    users: Vec<AccountView>,
}

/// Which accounts are asked for.
#[derive(Clone, Debug, Default)]
pub struct AccountSearch {
    /// Which page of them.
    pub page: PageRequest,
    /// That with this e-mail address alone, not yet read; the page does not count then. An empty one is nobody's.
    pub email: Option<String>,
}

impl AccountSearch {
    /// From the parameters of a query string.
    ///
    /// # Errors
    /// As [`PageRequest::parse`].
    pub fn parse(params: &Params<'_>) -> Result<Self, ProtocolError> {
        Ok(Self { page: PageRequest::parse(params)?, email: params.sent("email").map(str::to_owned) })
    }
}

/// An account to make.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountRequest {
    /// The full name.
    pub name: String,
    /// The e-mail address, not yet read.
    pub email: String,
    /// Whether the address is known to be the person's.
    #[serde(default)]
    pub email_verified: bool,
    /// Without one nobody can sign in until one is set.
    #[serde(default, deserialize_with = "request::present_secret")]
    pub password: Option<Secret>,
    /// Another name to sign in with, not yet read.
    #[serde(default)]
    pub preferred_username: Option<String>,
    /// More about the person.
    #[serde(default)]
    pub profile: Profile,
    /// Whether the person may administer Signet.
    #[serde(default)]
    pub administrator: bool,
}

/// What is to change of an account; what is absent stays, and a `preferred_username` of `null` is taken away.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountChangeRequest {
    /// A new full name.
    #[serde(default)]
    pub name: Option<String>,
    /// A new e-mail address, not yet read.
    #[serde(default)]
    pub email: Option<String>,
    /// Whether the address is known to be the person's.
    #[serde(default)]
    pub email_verified: Option<bool>,
    /// A new name to sign in with, not yet read, or none; absent, `null` and a name are three things.
    #[serde(default, deserialize_with = "present")]
    pub preferred_username: Option<Option<String>>,
    /// All that is known besides, anew.
    #[serde(default)]
    pub profile: Option<Profile>,
    /// Whether the person may administer Signet.
    #[serde(default)]
    pub administrator: Option<bool>,
    /// Whether the account can't be signed in to.
    #[serde(default)]
    pub disabled: Option<bool>,
    /// A new password.
    #[serde(default, deserialize_with = "request::present_secret")]
    pub password: Option<Secret>,
    /// Only of the account as it is since then; nothing that a request can say.
    #[serde(skip)]
    pub of_version: Option<DateTime<Utc>>,
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        Self {
            id: account.id,
            name: account.name,
            email: account.email,
            email_verified: account.email_verified,
            preferred_username: account.preferred_username,
            profile: account.profile,
            administrator: account.administrator,
            disabled: account.disabled,
            created_at: account.created_at,
            updated_at: account.updated_at,
        }
    }
}

impl TryFrom<AccountRequest> for NewAccount {
    type Error = ProtocolError;

    fn try_from(request: AccountRequest) -> Result<Self, ProtocolError> {
        Ok(Self {
            name: request.name,
            email: request::email(&request.email)?,
            email_verified: request.email_verified,
            password: request.password,
            preferred_username: request.preferred_username.as_deref().map(username).transpose()?,
            profile: request.profile,
            administrator: request.administrator,
        })
    }
}

impl TryFrom<AccountChangeRequest> for AccountChange {
    type Error = ProtocolError;

    fn try_from(request: AccountChangeRequest) -> Result<Self, ProtocolError> {
        let preferred_username = match request.preferred_username {
            Some(Some(name)) => Some(Some(username(&name)?)),
            Some(None) => Some(None),
            None => None,
        };
        Ok(Self {
            name: request.name,
            email: request.email.as_deref().map(request::email).transpose()?,
            email_verified: request.email_verified,
            email_self_asserted: false,
            preferred_username,
            profile: request.profile,
            administrator: request.administrator,
            disabled: request.disabled,
            password: request.password,
            removes_second_factor: false,
            of_version: request.of_version,
        })
    }
}

fn username(text: &str) -> Result<Username, ProtocolError> {
    Username::parse(text).map_err(|error| ProtocolError::invalid_request(error.to_string()))
}

/// Tells `null` from absence.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// An administrator of accounts: of other administrators' only with every admin scope, because whoever may change an
/// administrator's password has all that the administrator has.
fn keeper(administrator: &Administrator) -> Keeper {
    let everything = Scope::parse(ADMIN_SCOPE).unwrap_or_default();
    Keeper {
        actor: administrator.actor.clone(),
        of_administrators: everything.is_subset(&administrator.scope),
    }
}

/// A page of the accounts, in the order in which they were made, or that with one e-mail address. What is no address is nobody's.
///
/// # Errors
/// When the store fails.
pub async fn list(services: &Services, search: &AccountSearch) -> Result<AccountPage, ProtocolError> {
    let accounts = match search.email.as_deref().map(Email::parse) {
        None => users::list(services, search.page.page()).await?,
        Some(Ok(email)) => services.accounts.find_by_email(&email).await?.into_iter().collect(),
        Some(Err(_)) => Vec::new(),
    };
    Ok(AccountPage { users: accounts.into_iter().map(AccountView::from).collect() })
}

/// One account.
///
/// # Errors
/// `not_found`.
pub async fn show(services: &Services, id: &str) -> Result<AccountView, ProtocolError> {
    users::show(services, id).await.map(AccountView::from)
}

/// Makes an account.
///
/// # Errors
/// As [`users::register`].
pub async fn register(
    services: &Services,
    administrator: &Administrator,
    request: AccountRequest,
) -> Result<AccountView, ProtocolError> {
    let account = users::register(services, &keeper(administrator), request.try_into()?).await?;
    Ok(account.into())
}

/// Changes an account.
///
/// # Errors
/// As [`users::change`].
pub async fn change(
    services: &Services,
    administrator: &Administrator,
    id: &str,
    request: AccountChangeRequest,
) -> Result<AccountView, ProtocolError> {
    let account = users::change(services, &keeper(administrator), id, request.try_into()?).await?;
    Ok(account.into())
}

/// Deletes an account.
///
/// # Errors
/// As [`users::delete`].
pub async fn delete(
    services: &Services,
    administrator: &Administrator,
    id: &str,
) -> Result<(), ProtocolError> {
    users::delete(services, &keeper(administrator), id).await
}

/// Removes the second factor of somebody who lost it.
///
/// # Errors
/// As [`users::remove_second_factor`].
pub async fn remove_second_factor(
    services: &Services,
    administrator: &Administrator,
    id: &str,
) -> Result<(), ProtocolError> {
    users::remove_second_factor(services, &keeper(administrator), id).await
}
