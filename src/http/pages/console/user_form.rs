use crate::http::pages::fields::text;
use crate::oauth::Secret;
use crate::protocol::Params;
use crate::protocol::admin::users::{AccountChangeRequest, AccountRequest};
use crate::users::Account;

/// An account as its form shows it and brings it: texts, not yet believed.
pub(super) struct UserForm {
    pub(super) name: String,
    pub(super) email: String,
    pub(super) email_verified: bool,
    pub(super) preferred_username: String,
    pub(super) administrator: bool,
}

impl UserForm {
    /// An account that there is.
    pub(super) fn of(account: &Account) -> Self {
        Self {
            name: account.name.clone(),
            email: account.email.to_string(),
            email_verified: account.email_verified,
            preferred_username: account
                .preferred_username
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            administrator: account.administrator,
        }
    }

    /// What a form brought, or an empty one.
    pub(super) fn read(params: &Params<'_>) -> Self {
        let checked = |name: &str| params.one(name) == Some("yes");
        Self {
            name: text(params, "name"),
            email: text(params, "email"),
            email_verified: checked("email_verified"),
            preferred_username: text(params, "preferred_username"),
            administrator: checked("administrator"),
        }
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
            ..AccountRequest::default()
        }
    }

    /// As a change of everything that the form shows. Nobody takes the administration away from `themselves`.
    pub(super) fn change(&self, themselves: bool) -> AccountChangeRequest {
        AccountChangeRequest {
            name: Some(self.name.clone()),
            email: Some(self.email.clone()),
            email_verified: Some(self.email_verified),
            preferred_username: Some(self.username()),
            administrator: (!themselves).then_some(self.administrator),
            ..AccountChangeRequest::default()
        }
    }

    fn username(&self) -> Option<String> {
        (!self.preferred_username.is_empty()).then(|| self.preferred_username.clone())
    }
}

/// The password that a form brought, as it was typed.
pub(super) fn password(params: &Params<'_>) -> Option<Secret> {
    params.one("password").filter(|text| !text.is_empty()).map(|text| Secret::new(text.to_owned()))
}
