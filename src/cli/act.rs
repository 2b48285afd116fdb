use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{ApiKeyAct, CliError, UserAct};
use crate::oauth::{Algorithm, ClientId, KeyId, Secret, Subject};

/// What acts of administration are done to: a running service through its admin API, or whatever else
/// can perform them.
pub trait Target {
    /// Performs `act`; answers with what the admin API would answer.
    ///
    /// # Errors
    /// When it was refused or did not work.
    fn perform(&self, act: &Act) -> Result<Value, CliError>;
}

/// An act of administration.
#[derive(Clone, Debug)]
pub enum Act {
    /// All keys.
    ListKeys,
    /// What will happen to the keys when.
    PlanKeys,
    /// The waiting keys shall sign as soon as that is safe.
    RotateKeys {
        /// Of this algorithm only.
        algorithm: Option<Algorithm>,
        /// At once, safe or not.
        force: bool,
    },
    /// A key is withdrawn at once.
    CompromiseKey {
        /// Which key.
        kid: KeyId,
        /// Why.
        reason: Option<String>,
    },
    /// A private key is taken in.
    ImportKey {
        /// PEM (PKCS#8) or JWK.
        key: Secret,
        /// With which algorithm it will sign.
        algorithm: Algorithm,
    },
    /// A page of the clients.
    ListClients {
        /// The last client of the page before.
        after: Option<ClientId>,
        /// How many at most.
        limit: u16,
    },
    /// One client.
    ShowClient(ClientId),
    /// A client is registered with these members.
    RegisterClient(Map<String, Value>),
    /// These members of a client's registration are changed.
    ChangeClient(ClientId, Map<String, Value>),
    /// A client is given a new secret.
    RotateSecret {
        /// Which client.
        client_id: ClientId,
        /// For how long the old one works too.
        overlap: Duration,
    },
    /// A client is removed.
    DeleteClient(ClientId),
    /// Something is done to accounts.
    User(UserAct),
    /// Something is done to API keys.
    ApiKey(ApiKeyAct),
    /// Something is revoked.
    Revoke(Revocation),
}

/// What is revoked.
#[derive(Clone, Debug)]
pub enum Revocation {
    /// Everything issued to a client until now.
    Client(ClientId),
    /// Everything issued for a subject until now.
    Subject(Subject),
    /// One token.
    Token(Secret),
}

/// An act as a request to the admin API.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: &'static str,
    /// Behind the issuer.
    pub(super) path: String,
    /// What the access token must permit; all that the client holds if absent: nobody may touch a client with
    /// more admin scope than their own.
    pub(super) scope: Option<&'static str>,
    pub(super) body: Option<Value>,
}

const KEYS: Option<&str> = Some("signet:keys");
const CLIENTS: Option<&str> = Some("signet:clients");
const REVOCATIONS: Option<&str> = Some("signet:revocations");

impl Act {
    /// The request that asks for it. The body of some holds secrets.
    pub(super) fn call(&self) -> Call {
        let get = |path: String, scope| Call { method: "GET", path, scope, body: None };
        let post =
            |path: &str, scope, body| Call { method: "POST", path: path.into(), scope, body: Some(body) };
        match self {
            Self::ListKeys => get("/admin/keys".into(), KEYS),
            Self::PlanKeys => get("/admin/keys/plan".into(), KEYS),
            Self::RotateKeys { algorithm, force } => {
                let body = json!({"algorithm": algorithm, "force": force.then_some(true)});
                post("/admin/keys/rotate", KEYS, without_nulls(body))
            }
            Self::CompromiseKey { kid, reason } => {
                let body = without_nulls(json!({"reason": reason}));
                post(&format!("/admin/keys/{kid}/compromise"), KEYS, body)
            }
            Self::ImportKey { key, algorithm } => {
                post("/admin/keys/import", KEYS, json!({"key": key.expose(), "algorithm": algorithm}))
            }
            Self::ListClients { after, limit } => {
                let after = after.as_ref().map_or_else(String::new, |after| format!("&after={after}"));
                get(format!("/admin/clients?limit={limit}{after}"), CLIENTS)
            }
            Self::ShowClient(client_id) => get(format!("/admin/clients/{client_id}"), CLIENTS),
            Self::RegisterClient(members) => post("/admin/clients", None, json!(members)),
            Self::ChangeClient(client_id, members) => Call {
                method: "PATCH",
                path: format!("/admin/clients/{client_id}"),
                scope: None,
                body: Some(json!(members)),
            },
            Self::RotateSecret { client_id, overlap } => {
                let body = json!({"overlap_seconds": overlap.as_secs()});
                post(&format!("/admin/clients/{client_id}/secret"), None, body)
            }
            Self::DeleteClient(client_id) => Call {
                method: "DELETE",
                path: format!("/admin/clients/{client_id}"),
                scope: None,
                body: None,
            },
            Self::User(act) => act.call(),
            Self::ApiKey(act) => act.call(),
            Self::Revoke(what) => {
                let body = match what {
                    Revocation::Client(client_id) => json!({"client_id": client_id}),
                    Revocation::Subject(subject) => json!({"sub": subject}),
                    Revocation::Token(token) => json!({"token": token.expose()}),
                };
                post("/admin/revocations", REVOCATIONS, body)
            }
        }
    }

    /// The columns of its answer that people want, if it is a table; of any other what they look for first.
    pub(super) fn columns(&self) -> &'static [&'static str] {
        match self {
            Self::ListKeys => &[
                "kid",
                "id",
                "algorithm",
                "phase",
                "signs",
                "seals",
                "created_at",
                "publish_at",
                "sign_from",
                "seal_from",
                "retire_at",
                "forget_at",
                "fetchers",
            ],
            Self::RotateKeys { .. } => &["algorithm", "kid", "previous", "sign_from", "wait", "breaks"],
            Self::PlanKeys => &["at", "kid", "algorithm", "what"],
            Self::ListClients { .. } => &["client_id", "client_name", "scope", "resources"],
            Self::RegisterClient(_) | Self::RotateSecret { .. } => &["client_id", "client_secret"],
            Self::User(act) => act.columns(),
            Self::ApiKey(act) => act.columns(),
            _ => &[],
        }
    }
}

fn without_nulls(mut body: Value) -> Value {
    if let Value::Object(members) = &mut body {
        members.retain(|_, value| !value.is_null());
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_are_the_documented_requests() {
        let shop = ClientId::parse("shop").unwrap();
        let kid = KeyId::parse("k1").unwrap();
        let members = Map::from_iter([("scope".to_owned(), json!("x"))]);
        for (act, request, scope, body) in [
            (Act::ListKeys, "GET /admin/keys", KEYS, None),
            (Act::PlanKeys, "GET /admin/keys/plan", KEYS, None),
            (
                Act::RotateKeys { algorithm: Some(Algorithm::ES256), force: true },
                "POST /admin/keys/rotate",
                KEYS,
                Some(json!({"algorithm": "ES256", "force": true})),
            ),
            (
                Act::RotateKeys { algorithm: None, force: false },
                "POST /admin/keys/rotate",
                KEYS,
                Some(json!({})),
            ),
            (
                Act::CompromiseKey { kid, reason: Some("lost".into()) },
                "POST /admin/keys/k1/compromise",
                KEYS,
                Some(json!({"reason": "lost"})),
            ),
            (
                Act::ImportKey { key: Secret::new("pem".into()), algorithm: Algorithm::ES256 },
                "POST /admin/keys/import",
                KEYS,
                Some(json!({"key": "pem", "algorithm": "ES256"})),
            ),
            (Act::ListClients { after: None, limit: 100 }, "GET /admin/clients?limit=100", CLIENTS, None),
            (
                Act::ListClients { after: Some(shop.clone()), limit: 2 },
                "GET /admin/clients?limit=2&after=shop",
                CLIENTS,
                None,
            ),
            (Act::ShowClient(shop.clone()), "GET /admin/clients/shop", CLIENTS, None),
            (Act::RegisterClient(members.clone()), "POST /admin/clients", None, Some(json!({"scope": "x"}))),
            (
                Act::ChangeClient(shop.clone(), members),
                "PATCH /admin/clients/shop",
                None,
                Some(json!({"scope": "x"})),
            ),
            (
                Act::RotateSecret { client_id: shop.clone(), overlap: Duration::from_mins(1) },
                "POST /admin/clients/shop/secret",
                None,
                Some(json!({"overlap_seconds": 60})),
            ),
            (Act::DeleteClient(shop.clone()), "DELETE /admin/clients/shop", None, None),
            (
                Act::Revoke(Revocation::Client(shop)),
                "POST /admin/revocations",
                REVOCATIONS,
                Some(json!({"client_id": "shop"})),
            ),
            (
                Act::Revoke(Revocation::Subject(Subject::parse("bob").unwrap())),
                "POST /admin/revocations",
                REVOCATIONS,
                Some(json!({"sub": "bob"})),
            ),
        ] {
            let call = act.call();
            assert_eq!(format!("{} {}", call.method, call.path), request);
            assert_eq!((call.scope, call.body), (scope, body), "{request}");
        }
    }

    #[test]
    fn an_act_does_not_print_its_secrets() {
        let act = Act::Revoke(Revocation::Token(Secret::new("hunter2".into())));
        assert!(!format!("{act:?}").contains("hunter2"));
    }
}
