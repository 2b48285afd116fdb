//! API keys by the command line.

use serde_json::{Map, Value, json};

use super::act::Call;
use super::error::CliError;
use super::stopped::{parse, value};
use crate::oauth::ApiKeyId;
use crate::protocol::Services;
use crate::protocol::admin::{Administrator, api_keys};

/// How many are listed at once.
const PAGE: usize = 1000;

/// What can be done to API keys.
#[derive(Clone, Debug)]
pub enum ApiKeyAct {
    /// A page of them, behind this one if it is named.
    List(Option<ApiKeyId>),
    /// A key is made with these members.
    Create(Map<String, Value>),
    /// A key is revoked.
    Revoke(ApiKeyId),
}

impl ApiKeyAct {
    /// The request that asks for it.
    pub(super) fn call(&self) -> Call {
        let (method, path, body) = match self {
            Self::List(after) => {
                let after = after.as_ref().map_or_else(String::new, |after| format!("&after={after}"));
                ("GET", format!("/admin/api-keys?limit={PAGE}{after}"), None)
            }
            Self::Create(members) => ("POST", "/admin/api-keys".to_owned(), Some(json!(members))),
            Self::Revoke(id) => ("DELETE", format!("/admin/api-keys/{id}"), None),
        };
        // A person's key needs `signet:users` too: whoever writes asks for all that the client holds.
        let scope = (method == "GET").then_some("signet:api-keys");
        Call { method, path, scope, body }
    }

    /// The columns of its answer that people want, if it is a table; of any other what they look for first.
    pub(super) fn columns(&self) -> &'static [&'static str] {
        match self {
            Self::List(_) => &["id", "name", "client_id", "user_id", "scope", "expires_at", "last_used_at"],
            Self::Create(_) => &["id", "api_key"],
            Self::Revoke(_) => &[],
        }
    }

    /// Does it to a stopped service.
    pub(super) async fn perform(
        &self,
        services: &Services,
        admin: &Administrator,
    ) -> Result<Value, CliError> {
        match self {
            Self::List(after) => {
                let after = after.as_ref().map(ApiKeyId::as_str);
                value(api_keys::list(services, after, Some(PAGE)).await)
            }
            Self::Create(members) => value(api_keys::create(services, admin, parse(members)?).await),
            Self::Revoke(id) => {
                value(api_keys::revoke(services, admin, id.as_str()).await.map(|()| json!({})))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_are_the_documented_requests() {
        let id = ApiKeyId::parse("key_abc").unwrap();
        let members = Map::from_iter([("name".to_owned(), json!("report"))]);
        for (act, request, body) in [
            (ApiKeyAct::List(None), "GET /admin/api-keys?limit=1000", None),
            (ApiKeyAct::List(Some(id.clone())), "GET /admin/api-keys?limit=1000&after=key_abc", None),
            (ApiKeyAct::Create(members), "POST /admin/api-keys", Some(json!({ "name": "report" }))),
            (ApiKeyAct::Revoke(id), "DELETE /admin/api-keys/key_abc", None),
        ] {
            let call = act.call();
            assert_eq!(format!("{} {}", call.method, call.path), request);
            let scope = (call.method == "GET").then_some("signet:api-keys");
            assert_eq!((call.scope, call.body), (scope, body));
        }
    }
}
