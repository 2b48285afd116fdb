//! Accounts by the command line.

use serde_json::{Map, Value, json};
use url::form_urlencoded::byte_serialize;

use super::act::Call;
use super::error::CliError;
use super::stopped::{parse, value};
use crate::oauth::UserId;
use crate::protocol::Services;
use crate::protocol::admin::Administrator;
use crate::protocol::admin::users::{self, AccountSearch};

/// What can be done to accounts.
#[derive(Clone)]
pub enum UserAct {
    /// A page of them, in the order in which they were made, or that with an e-mail address.
    List(AccountSearch),
    /// One account.
    Show(UserId),
    /// An account is made with these members.
    Add(Map<String, Value>),
    /// These members of an account are changed.
    Change(UserId, Map<String, Value>),
    /// The second factor of an account is removed.
    RemoveSecondFactor(UserId),
    /// An account is removed.
    Delete(UserId),
}

impl std::fmt::Debug for UserAct {
    /// Without the members: a password may be among them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::List(search) => f.debug_tuple("List").field(search).finish(),
            Self::Show(id) => f.debug_tuple("Show").field(id).finish(),
            Self::Add(_) => f.debug_tuple("Add").finish_non_exhaustive(),
            Self::Change(id, _) => f.debug_tuple("Change").field(id).finish_non_exhaustive(),
            Self::RemoveSecondFactor(id) => f.debug_tuple("RemoveSecondFactor").field(id).finish(),
            Self::Delete(id) => f.debug_tuple("Delete").field(id).finish(),
        }
    }
}

impl UserAct {
    /// The request that asks for it.
    pub(super) fn call(&self) -> Call {
        let one = |id: &UserId| format!("/admin/users/{id}");
        let (method, path, body) = match self {
            Self::List(AccountSearch { email: Some(email), .. }) => {
                let email = byte_serialize(email.as_bytes()).collect::<String>();
                ("GET", format!("/admin/users?email={email}"), None)
            }
            Self::List(AccountSearch { page, .. }) => {
                let page = page.page();
                ("GET", format!("/admin/users?limit={}&offset={}", page.limit, page.offset), None)
            }
            Self::Show(id) => ("GET", one(id), None),
            Self::Add(members) => ("POST", "/admin/users".to_owned(), Some(json!(members))),
            Self::Change(id, members) => ("PATCH", one(id), Some(json!(members))),
            Self::RemoveSecondFactor(id) => ("DELETE", format!("{}/second-factor", one(id)), None),
            Self::Delete(id) => ("DELETE", one(id), None),
        };
        // Administrators' accounts need every admin scope: whoever writes asks for all that the client holds.
        let scope = (method == "GET").then_some("signet:users");
        Call { method, path, scope, body }
    }

    /// The columns of its answer that people want, if it is a table.
    pub(super) fn columns(&self) -> &'static [&'static str] {
        match self {
            Self::List(_) => &["id", "name", "email", "administrator", "disabled", "created_at"],
            _ => &[],
        }
    }

    /// Does it to a stopped service.
    pub(super) async fn perform(
        &self,
        services: &Services,
        admin: &Administrator,
    ) -> Result<Value, CliError> {
        match self {
            Self::List(search) => value(users::list(services, search).await),
            Self::Show(id) => value(users::show(services, id.as_str()).await),
            Self::Add(members) => value(users::register(services, admin, parse(members)?).await),
            Self::Change(id, members) => {
                value(users::change(services, admin, id.as_str(), parse(members)?).await)
            }
            Self::RemoveSecondFactor(id) => {
                value(users::remove_second_factor(services, admin, id.as_str()).await.map(|()| json!({})))
            }
            Self::Delete(id) => value(users::delete(services, admin, id.as_str()).await.map(|()| json!({}))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_are_the_documented_requests() {
        let id = UserId::parse("user_abc123").unwrap();
        let members = Map::from_iter([("disabled".to_owned(), json!(true))]);
        let reads = Some("signet:users");
        let of_email = AccountSearch { email: Some("a+b@c.example".into()), ..AccountSearch::default() };
        for (act, request, scope) in [
            (UserAct::List(AccountSearch::default()), "GET /admin/users?limit=20&offset=0", reads),
            (UserAct::List(of_email), "GET /admin/users?email=a%2Bb%40c.example", reads),
            (UserAct::Show(id.clone()), "GET /admin/users/user_abc123", reads),
            (UserAct::Add(members.clone()), "POST /admin/users", None),
            (UserAct::Change(id.clone(), members.clone()), "PATCH /admin/users/user_abc123", None),
            (UserAct::RemoveSecondFactor(id.clone()), "DELETE /admin/users/user_abc123/second-factor", None),
            (UserAct::Delete(id), "DELETE /admin/users/user_abc123", None),
        ] {
            let call = act.call();
            assert_eq!((format!("{} {}", call.method, call.path).as_str(), call.scope), (request, scope));
            let has_body = matches!(act, UserAct::Add(_) | UserAct::Change(..));
            assert_eq!(call.body, has_body.then(|| json!({ "disabled": true })), "{request}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let act = UserAct::Add(Map::from_iter([("password".to_owned(), json!("hunter2"))]));
        assert!(!format!("{act:?}").contains("hunter2"));
    }
}
