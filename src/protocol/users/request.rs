use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::oauth::Secret;
use crate::protocol::{Params, ProtocolError};
use crate::users::{AccountChange, Email, NewAccount, Page};

/// The most accounts on a page.
const LONGEST_PAGE: usize = 1000;

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
    /// What an answer shows and nobody changes may come back with what was changed in it; it counts for nothing.
    #[serde(default, rename = "id")]
    _id: IgnoredAny,
    #[serde(default, rename = "created_at")]
    _created_at: IgnoredAny,
    #[serde(default, rename = "updated_at")]
    _updated_at: IgnoredAny,
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
    /// How many at most, up to 1000; 20 if absent.
    pub limit: Option<usize>,
    /// How many are skipped; none if absent.
    pub offset: Option<usize>,
}

impl PageRequest {
    /// From the parameters `limit` and `offset` of a query string.
    ///
    /// # Errors
    /// `invalid_request` when one of them is no such number. A longer page than there can be is refused: whoever got a shorter one,
    /// and skips as many as they asked for, would miss the rest.
    pub fn parse(params: &Params<'_>) -> Result<Self, ProtocolError> {
        let limit = number(params, "limit")?;
        if limit.is_some_and(|limit| limit > LONGEST_PAGE) {
            return Err(ProtocolError::invalid_request(format!("limit must be at most {LONGEST_PAGE}")));
        }
        Ok(Self { limit, offset: number(params, "offset")? })
    }

    /// The page, with the defaults for what is absent.
    #[must_use]
    pub fn page(self) -> Page {
        Page { limit: self.limit.unwrap_or(20), offset: self.offset.unwrap_or(0) }
    }
}

/// A number of any length: what is more than there can be is as much as there can be.
fn number(params: &Params<'_>, name: &'static str) -> Result<Option<usize>, ProtocolError> {
    let Some(text) = params.one(name) else { return Ok(None) };
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ProtocolError::invalid_request(format!("{name} must be a number, 0 or more")));
    }
    Ok(Some(text.parse().unwrap_or(usize::MAX)))
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
        let UserChange { name, email: address, password, .. } = change;
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
