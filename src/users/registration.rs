use chrono::{DateTime, Utc};
use url::Url;

use super::{Account, Email, Profile, Username};
use crate::oauth::{Secret, UserId, is_all_seen, is_name};

/// What an account is made of.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// The full name.
    pub name: String,
    /// The e-mail address.
    pub email: Email,
    /// Whether the address is known to be the person's.
    pub email_verified: bool,
    /// The first password; without one nobody can sign in to the account until one is set.
    pub password: Option<Secret>,
    /// Another name to sign in with.
    pub preferred_username: Option<Username>,
    /// More about the person.
    pub profile: Profile,
    /// Whether the person may administer Signet.
    pub administrator: bool,
}

impl NewAccount {
    /// An account with the members that every account has.
    #[must_use]
    pub fn new(name: impl Into<String>, email: Email) -> Self {
        Self {
            name: name.into(),
            email,
            email_verified: false,
            password: None,
            preferred_username: None,
            profile: Profile::default(),
            administrator: false,
        }
    }
}

impl NewAccount {
    /// The account that is made of it.
    pub(super) fn account(&self, id: UserId, now: DateTime<Utc>) -> Account {
        Account {
            id,
            name: self.name.trim().to_owned(),
            email: self.email.clone(),
            email_verified: self.email_verified,
            email_self_asserted: false,
            preferred_username: self.preferred_username.clone(),
            profile: self.profile.clone(),
            administrator: self.administrator,
            disabled: false,
            sign_in_generation: 0,
            created_at: now,
            updated_at: None,
        }
    }
}

/// What is to change of an account; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// A new full name.
    pub name: Option<String>,
    /// A new e-mail address; it is unverified unless [`Self::email_verified`] says otherwise.
    pub email: Option<Email>,
    /// Whether the address is known to be the person's.
    pub email_verified: Option<bool>,
    /// Whether it is the person who gives the new address.
    pub email_self_asserted: bool,
    /// A new name to sign in with, or none.
    pub preferred_username: Option<Option<Username>>,
    /// All that is known besides, anew.
    pub profile: Option<Profile>,
    /// Whether the person may administer Signet.
    pub administrator: Option<bool>,
    /// Whether the account can't be signed in to.
    pub disabled: Option<bool>,
    /// A new password.
    pub password: Option<Secret>,
    /// Whether the second factor goes. Who began to sign in before does not get in.
    pub removes_second_factor: bool,
    /// Only of the account as it is since then ([`super::Account::changed_at`]); else nothing is changed.
    pub of_version: Option<DateTime<Utc>>,
}

impl AccountChange {
    /// A new password and nothing else.
    #[must_use]
    pub fn password(password: Secret) -> Self {
        Self { password: Some(password), ..Self::default() }
    }

    /// Whether the person is signed out everywhere by it.
    #[must_use]
    pub fn signs_out(&self) -> bool {
        self.removes_second_factor || self.password.is_some() || self.disabled == Some(true)
    }
}

/// What is said of a person can't be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileRefusal {
    /// The name says nothing or too much.
    #[error("name must be 1 to 120 characters, all of which can be seen")]
    Name,
    /// A text says nothing or too much.
    #[error("{0} must be 1 to 1000 characters, all of which can be seen")]
    Text(&'static str),
    /// A page or picture that a browser should not be sent to.
    #[error("{0} must be an http or https URL, 1000 characters at most")]
    Url(&'static str),
}

impl ProfileRefusal {
    /// What can't be taken first of a person's name and profile, if anything: for who shows them again.
    #[must_use]
    pub fn of(name: &str, profile: &Profile) -> Option<Self> {
        check_name(name).and_then(|()| profile.check()).err()
    }

    /// The claim that it is about; of an address the member.
    #[must_use]
    pub fn claim(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Text(claim) | Self::Url(claim) => claim.strip_prefix("address.").unwrap_or(claim),
        }
    }
}

/// Refuses a name that can't be shown.
pub(super) fn check_name(name: &str) -> Result<(), ProfileRefusal> {
    if is_name(name, 120) { Ok(()) } else { Err(ProfileRefusal::Name) }
}

impl Profile {
    /// Refuses members that can't be shown, or linked to.
    pub(super) fn check(&self) -> Result<(), ProfileRefusal> {
        let address = self.address.clone().unwrap_or_default();
        let lines = |c: char| c == '\n' || c == '\r';
        let texts = [
            ("given_name", &self.given_name),
            ("family_name", &self.family_name),
            ("middle_name", &self.middle_name),
            ("nickname", &self.nickname),
            ("gender", &self.gender),
            ("birthdate", &self.birthdate),
            ("zoneinfo", &self.zoneinfo),
            ("locale", &self.locale),
            ("phone_number", &self.phone_number),
            ("address.locality", &address.locality),
            ("address.region", &address.region),
            ("address.postal_code", &address.postal_code),
            ("address.country", &address.country),
            // These may have several lines (OpenID Connect Core, section 5.1.1).
            ("address.formatted", &address.formatted.map(|text| text.replace(lines, " "))),
            ("address.street_address", &address.street_address.map(|text| text.replace(lines, " "))),
        ];
        for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?))) {
            if text.trim().is_empty() || text.chars().count() > 1000 || !is_all_seen(text) {
                return Err(ProfileRefusal::Text(name));
            }
        }
        let urls = [("profile", &self.profile), ("picture", &self.picture), ("website", &self.website)];
        for (name, text) in urls.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?))) {
            let web = Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            if !web || text.len() > 1000 {
                return Err(ProfileRefusal::Url(name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::Address;

    #[test]
    fn a_name_can_be_shown() {
        for name in ["Alice Wonderland", "李", "X Æ A-12"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", " ", "a\nb", "a\0", &"a".repeat(121)] {
            assert_eq!(check_name(name), Err(ProfileRefusal::Name), "{name:?}");
        }
    }

    #[test]
    fn a_profile_says_something_and_links_to_the_web_only() {
        let formatted = Some("1 Main Street\nSpringfield".to_owned());
        let address = Some(Address { formatted, ..Address::default() });
        let good = Profile {
            given_name: Some("Alice".into()),
            picture: Some("https://example.com/a.png".into()),
            address,
            ..Profile::default()
        };
        assert_eq!(good.check(), Ok(()));
        let name = Profile { given_name: Some(" ".into()), ..good.clone() };
        assert_eq!(name.check(), Err(ProfileRefusal::Text("given_name")));
        for picture in ["javascript:alert(1)", "data:text/html,x", "a.png", ""] {
            let bad = Profile { picture: Some(picture.into()), ..good.clone() };
            assert_eq!(bad.check(), Err(ProfileRefusal::Url("picture")), "{picture}");
        }
        let locality = Some("a\nb".to_owned());
        let bad = Profile { address: Some(Address { locality, ..Address::default() }), ..good };
        assert_eq!(bad.check(), Err(ProfileRefusal::Text("address.locality")));
    }
}
