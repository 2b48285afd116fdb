use crate::http::pages::fields::{of_version, text, version};
use crate::http::pages::profile_form::{ProfileForm, Shown};
use crate::oauth::Secret;
use crate::protocol::admin::users::{AccountChangeRequest, AccountRequest};
use crate::protocol::{Params, ProtocolError};
use crate::users::{Account, Profile, ProfileRefusal};

/// An account as its form shows it and brings it: texts, not yet believed.
pub(super) struct UserForm {
    /// Of which version of the account; empty for a new one.
    pub(super) version: String,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) email_verified: bool,
    pub(super) preferred_username: String,
    pub(super) administrator: bool,
    pub(super) profile: ProfileForm,
    /// Whether the phone number is known to be the person's, if the form has brought it.
    pub(super) phone_number_verified: Option<bool>,
}

impl UserForm {
    /// An account that there is.
    pub(super) fn of(account: &Account) -> Self {
        Self {
            version: version(account.changed_at()),
            name: account.name.clone(),
            email: account.email.to_string(),
            email_verified: account.email_verified,
            preferred_username: account
                .preferred_username
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            administrator: account.administrator,
            profile: ProfileForm::of(&account.profile),
            phone_number_verified: account.profile.phone_number_verified,
        }
    }

    /// What a form brought, or an empty one.
    pub(super) fn read(params: &Params<'_>) -> Self {
        let checked = |name: &str| params.one(name) == Some("yes");
        Self {
            version: text(params, "version"),
            name: text(params, "name"),
            email: text(params, "email"),
            email_verified: checked("email_verified"),
            preferred_username: text(params, "preferred_username"),
            administrator: checked("administrator"),
            profile: ProfileForm::read(params),
            phone_number_verified: params.sent("phone_number").map(|_| checked("phone_number_verified")),
        }
    }

    /// The profile as the page shows it.
    pub(super) fn shown(&self) -> Shown {
        self.profile.shown(false, self.phone_number_verified)
    }

    /// The same, where the form is shown again because it can't be taken.
    pub(super) fn refused(&self) -> Shown {
        let profile = self.profile.onto(&Profile::default(), self.phone_number_verified);
        self.shown().refused(ProfileRefusal::of(&self.name, &profile))
    }

    /// Whether it shows the account as it is now.
    pub(super) fn is_of(&self, account: &Account) -> bool {
        self.version == version(account.changed_at())
    }

    /// As a new account. A password that was left empty is none.
    pub(super) fn registration(&self, params: &Params<'_>) -> AccountRequest {
        AccountRequest {
            name: self.name.clone(),
            email: self.email.clone(),
            email_verified: self.email_verified,
            password: password(params),
            preferred_username: self.username(),
            administrator: self.administrator,
            profile: self.profile.onto(&Profile::default(), self.phone_number_verified),
        }
    }

    /// As a change of everything that the form shows, of the version that it shows: what was changed meanwhile is not
    /// undone. Nobody takes the administration away from `themselves`.
    pub(super) fn change(
        &self,
        account: &Account,
        themselves: bool,
    ) -> Result<AccountChangeRequest, ProtocolError> {
        Ok(AccountChangeRequest {
            of_version: Some(of_version(&self.version)?),
            name: Some(self.name.clone()),
            email: Some(self.email.clone()),
            email_verified: Some(self.email_verified),
            preferred_username: Some(self.username()),
            administrator: (!themselves).then_some(self.administrator),
            profile: Some(self.profile.onto(&account.profile, self.phone_number_verified)),
            ..AccountChangeRequest::default()
        })
    }

    fn username(&self) -> Option<String> {
        (!self.preferred_username.is_empty()).then(|| self.preferred_username.clone())
    }
}

/// The password that a form brought, as it was typed.
pub(super) fn password(params: &Params<'_>) -> Option<Secret> {
    params.one("password").filter(|text| !text.is_empty()).map(|text| Secret::new(text.to_owned()))
}
