use serde::{Deserialize, Deserializer};

use crate::oauth::Secret;
use crate::protocol::{Params, ProtocolError};
use crate::users::{AccountChange, Email, NewAccount, Page};

/// The most accounts on a page.
const LONGEST_PAGE: usize = 100;

/// An account as the users API is asked to make it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    name: String,
    email: String,
    #[serde(deserialize_with = "secret")]
    password: Secret,
}

/// What the users API is asked to change; what is absent stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default, deserialize_with = "present_secret")]
    password: Option<Secret>,
}

/// Which page is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct PageRequest {
    /// How many at most; 20 if absent.
    pub limit: Option<usize>,
    /// How many are skipped; none if absent.
    pub offset: Option<usize>,
}

impl PageRequest {
    /// From the parameters `limit` and `offset` of a query string.
    ///
    /// # Errors
    /// `invalid_request` when one of them is no such number.
    pub fn parse(params: &Params<'_>) -> Result<Self, ProtocolError> {
        let wrong = |text| move |_| ProtocolError::invalid_request(text);
        let limit = params.one("limit").map(str::parse::<usize>).transpose();
        let limit = limit.map_err(wrong("limit must be a number from 1 to 100"))?;
        if limit.is_some_and(|limit| !(1..=LONGEST_PAGE).contains(&limit)) {
            return Err(ProtocolError::invalid_request("limit must be a number from 1 to 100"));
        }
        let offset = params.one("offset").map(str::parse::<usize>).transpose();
        Ok(Self { limit, offset: offset.map_err(wrong("offset must be a number, 0 or more"))? })
    }

    /// The page, with the defaults for what is absent.
    #[must_use]
    pub fn page(self) -> Page {
        Page { limit: self.limit.unwrap_or(20).clamp(1, LONGEST_PAGE), offset: self.offset.unwrap_or(0) }
    }
}

impl TryFrom<NewUser> for NewAccount {
    type Error = ProtocolError;

    fn try_from(user: NewUser) -> Result<Self, ProtocolError> {
        Ok(Self { password: Some(user.password), ..Self::new(user.name, email(&user.email)?) })
    }
}

impl TryFrom<UserChange> for AccountChange {
    type Error = ProtocolError;

    fn try_from(change: UserChange) -> Result<Self, ProtocolError> {
        let UserChange { name, email: address, password } = change;
        if name.is_none() && address.is_none() && password.is_none() {
            return Err(ProtocolError::invalid_request("name one of name, email and password"));
        }
        let email = address.as_deref().map(email).transpose()?;
        Ok(Self { name, email, password, ..Self::default() })
    }
}

/// Said in words, where serde would only say the place.
pub(in crate::protocol) fn email(text: &str) -> Result<Email, ProtocolError> {
    Email::parse(text).map_err(|error| ProtocolError::invalid_request(error.to_string()))
}

pub(in crate::protocol) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

pub(in crate::protocol) fn present_secret<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
}
