use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Email, Username};
use crate::oauth::UserId;

/// A person's account. Its password is not in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a member of its own, and any of them goes with any other"
)]
pub struct Account {
    /// Its identifier; never given to another account.
    pub id: UserId,
    /// The full name, as it is shown: the `name` claim.
    pub name: String,
    /// The e-mail address; no two accounts have the same, whatever the case of its letters.
    pub email: Email,
    /// Whether the address is known to be the person's: the `email_verified` claim.
    #[serde(default)]
    pub email_verified: bool,
    /// Whether the person wrote the address themselves and no administrator has verified or replaced it since: then it says
    /// nothing about who they are.
    #[serde(default)]
    pub email_self_asserted: bool,
    /// Another name to sign in with; no two accounts have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<Username>,
    /// More about the person.
    #[serde(default)]
    pub profile: Profile,
    /// Whether the person may administer Signet.
    #[serde(default)]
    pub administrator: bool,
    /// A disabled account can't be signed in to, and keeps its e-mail address.
    #[serde(default)]
    pub disabled: bool,
    /// Grows whenever all that the person was signed in to is ended: by a new password, by disabling
    /// the account, or by an administrator who removes the second factor.
    /// Who began to sign in before that does not get in.
    #[serde(default)]
    pub sign_in_generation: u64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime<Utc>>,
}

impl Account {
    /// When it was last changed, or made if never.
    #[must_use]
    pub fn changed_at(&self) -> DateTime<Utc> {
        self.updated_at.unwrap_or(self.created_at)
    }
}

/// What is known of a person beyond name and address: claims of OpenID Connect Core, section 5.1, all of them
/// optional, in their words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the members are the claims, which the standard describes")]
pub struct Profile {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub middle_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nickname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gender: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birthdate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zoneinfo: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
}

/// A postal address (OpenID Connect Core, section 5.1.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the members are the claims, which the standard describes")]
pub struct Address {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formatted: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub street_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
}
