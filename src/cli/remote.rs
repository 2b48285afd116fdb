use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::act::{Act, Target};
use super::credentials::Credentials;
use super::error::CliError;
use super::http::{Answer, Http, reachable};
use super::note;
use super::print::plain;
use crate::config::{AdminListener, Config};
use crate::oauth::Secret;

/// The admin API of a running service, asked with an access token by client credentials.
#[derive(Debug)]
pub struct Remote {
    issuer: String,
    /// What the paths of the admin API stand behind.
    admin: String,
    credentials: Credentials,
    http: Http,
}

/// What the paths of the admin API stand behind.
pub(super) fn admin_base(config: &Config) -> String {
    match config.admin.listener {
        AdminListener::Public => config.issuer.clone(),
        AdminListener::Management => format!("http://{}", reachable(config.management_listen)),
    }
}

impl Remote {
    pub(super) fn new(config: &Config, credentials: Credentials, http: Http) -> Self {
        let issuer = config.issuer.clone();
        Self { issuer, admin: admin_base(config), credentials, http }
    }

    /// What the service says of `token` (RFC 7662).
    ///
    /// # Errors
    /// When the service can't be reached or refuses the client.
    pub fn introspect(&self, token: &Secret) -> Result<Value, CliError> {
        let form = Serializer::new(String::new()).append_pair("token", token.expose()).finish();
        let url = format!("{}/oauth2/introspect", self.issuer);
        let answer = self.http.post_form(&url, &self.basic(), &form)?;
        self.read(&answer, None)
    }

    /// An access token for the admin API with `scope`, or all that the client holds (RFC 6749, section 4.4; RFC 8707).
    fn access_token(&self, scope: Option<&str>) -> Result<Secret, CliError> {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if let Some(scope) = scope {
            form.append_pair("scope", scope);
        }
        let form = form.append_pair("resource", &format!("{}/admin", self.issuer)).finish();
        let url = format!("{}/oauth2/token", self.issuer);
        let answer = self.http.post_form(&url, &self.basic(), &form)?;
        let mut answer = self.read(&answer, scope)?;
        match answer["access_token"].take() {
            Value::String(token) => Ok(Secret::new(token)),
            _ => Err(CliError::Failed(format!("{url} answered without an access token"))),
        }
    }

    /// Writes what the admin API answers to a POST to `path` into `to`.
    ///
    /// # Errors
    /// When the service can't be reached or refuses, and when the answer breaks off or can't be written.
    pub(super) fn download(&self, path: &str, scope: &str, to: &mut dyn Write) -> Result<(), CliError> {
        let url = format!("{}{path}", self.admin);
        match self.authorized(Some(scope), |authorization| self.http.download(&url, authorization, to))? {
            Some(refusal) => self.read(&refusal, Some(scope)).map(drop),
            None => Ok(()),
        }
    }

    /// Asks the admin API by `ask`, which is given an `Authorization` header with a token of `scope`. Where that goes to another
    /// address than the issuer's, nobody vouches for who listens there: the token ends with the call, whatever came of it.
    fn authorized<T>(
        &self,
        scope: Option<&str>,
        ask: impl FnOnce(&str) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let token = self.access_token(scope)?;
        let answer = ask(&Zeroizing::new(format!("Bearer {}", token.expose())));
        if self.admin != self.issuer {
            self.revoke(&token);
        }
        answer
    }

    /// Revokes a token that was used (RFC 7009); where that fails, says so: it ends by itself. Tried also where the act was one on this
    /// client, which the issuer may not know any more: whoever listened may have said that it was done, and kept the token.
    fn revoke(&self, token: &Secret) {
        let form = Serializer::new(String::new()).append_pair("token", token.expose()).finish();
        let url = format!("{}/oauth2/revoke", self.issuer);
        let answer = self.http.post_form(&url, &self.basic(), &Zeroizing::new(form));
        if let Err(error) = answer.and_then(|answer| self.read(&answer, None)) {
            note(&format!(
                "the access token of this command could not be revoked; it ends by itself: {error}"
            ));
        }
    }

    /// The client's credentials as an `Authorization` header; both parts are form-encoded first (RFC 6749,
    /// section 2.3.1).
    fn basic(&self) -> Zeroizing<String> {
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let id = encoded(self.credentials.client_id.as_str());
        let secret = Zeroizing::new(encoded(self.credentials.client_secret.expose()));
        let pair = Zeroizing::new(format!("{id}:{}", *secret));
        Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
    }

    /// The answer's JSON, or what its error means.
    fn read(&self, answer: &Answer, scope: Option<&str>) -> Result<Value, CliError> {
        let body: Option<Value> = serde_json::from_str(&answer.body).ok();
        match (answer.status, body) {
            (204, _) => Ok(json!({})),
            (200..=299, _) if answer.body.is_empty() => Ok(json!({})),
            (200..=299, Some(body)) => Ok(body),
            (status, Some(body)) if body["error"].is_string() => Err(self.refused(status, &body, scope)),
            (status, _) => Err(CliError::Failed(format!(
                "{} answered {status} with something that is not Signet's; look whether the issuer is right",
                self.issuer
            ))),
        }
    }

    fn refused(&self, status: u16, body: &Value, scope: Option<&str>) -> CliError {
        let code = body["error"].as_str().unwrap_or_default();
        let description = body["error_description"].as_str().unwrap_or("no reason given");
        let client_id = &self.credentials.client_id;
        let remedy = match code {
            "invalid_client" => format!("; look at the secret of {client_id}"),
            "invalid_scope" => {
                let scope = scope.unwrap_or("signet:…");
                format!(
                    "; {client_id} must be registered with the scope {scope}: give it by `signet clients change {client_id} \
                     --scope SCOPE`, which replaces all of its scope and is done by an administrator who holds it"
                )
            }
            "invalid_target" | "unauthorized_client" => {
                let scope = scope.map_or_else(String::new, |scope| format!(" with the scope {scope}"));
                let admin = format!("{}/admin", self.issuer);
                format!(
                    "; {client_id} must be registered{scope} for {admin}: name the issuer as the service does; if that has changed, stop \
                     the service and run `signet clients change {client_id} --offline --resource {admin}` for an administrator's \
                     client"
                )
            }
            _ => String::new(),
        };
        CliError::Failed(format!(
            "the service refused ({status} {}): {}{remedy}",
            plain(code),
            plain(description)
        ))
    }
}

impl Target for Remote {
    fn perform(&self, act: &Act) -> Result<Value, CliError> {
        let call = act.call();
        let url = format!("{}{}", self.admin, call.path);
        let answer = self.authorized(call.scope, |authorization| {
            self.http.json(call.method, &url, authorization, call.body.as_ref())
        })?;
        self.read(&answer, call.scope)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::fake::{Reply, Service};
    use crate::oauth::ClientId;

    fn remote(service: &Service) -> Remote {
        let credentials = Credentials {
            client_id: ClientId::parse("ops").unwrap(),
            client_secret: Secret::new("p+ss:w rd".into()),
        };
        Remote::new(&config(&service.url), credentials, Http::new(None).unwrap())
    }

    fn config(issuer: &str) -> Config {
        Config { issuer: issuer.to_owned(), ..Config::for_tests(Path::new("t")) }
    }

    fn token() -> Reply {
        Reply::json(200, r#"{"access_token": "at", "token_type": "Bearer", "expires_in": 60}"#)
    }

    #[test]
    fn an_act_gets_a_token_for_the_admin_api_and_uses_it() {
        let service = Service::start(vec![token(), Reply::json(200, r#"{"keys": []}"#)]);
        let answer = remote(&service).perform(&Act::RotateKeys { algorithm: None, force: true }).unwrap();
        assert_eq!(answer, json!({"keys": []}));
        let url = service.url.clone();
        let requests = service.requests();
        assert!(requests[0].starts_with("POST /oauth2/token HTTP/1.1"), "{}", requests[0]);
        // "ops:p%2Bss%3Aw+rd"
        assert!(requests[0].contains("authorization: Basic b3BzOnAlMkJzcyUzQXcrcmQ="), "{}", requests[0]);
        let resource: String = byte_serialize(format!("{url}/admin").as_bytes()).collect();
        let form = format!("grant_type=client_credentials&scope=signet%3Akeys&resource={resource}");
        assert!(requests[0].ends_with(&form), "{}", requests[0]);
        assert!(requests[1].starts_with("POST /admin/keys/rotate HTTP/1.1"), "{}", requests[1]);
        assert!(requests[1].contains("authorization: Bearer at"), "{}", requests[1]);
        assert!(requests[1].ends_with(r#"{"force":true}"#), "{}", requests[1]);
    }

    /// Whoever answers need not be the service: what is said of it has nothing in it that a terminal obeys.
    #[test]
    fn whatever_is_answered_is_read_or_refused_in_plain_words() {
        let remote = remote(&Service::start(Vec::new()));
        let bodies = [
            "",
            "null",
            "{",
            "[[[[",
            "\u{1b}[2J",
            "{}",
            r#"{"error":null}"#,
            r#"{"error":{"error":"x"}}"#,
            r#"{"error":"\u001b[2J\nok","error_description":"\u202e\u009b\n"}"#,
            r#"{"error":"invalid_scope","error_description":7}"#,
            r#"{"error":"invalid_target"}"#,
        ];
        for (status, body) in [0, 200, 204, 299, 302, 400, 401, 503, 999].into_iter().flat_map(|status| {
            bodies.map(|body| (status, body.to_owned())).into_iter().chain([(status, "[".repeat(100_000))])
        }) {
            let answer = Answer { status, date: None, cache_control: None, body };
            for scope in [None, Some("signet:keys")] {
                match remote.read(&answer, scope) {
                    Ok(_) => assert!((200..300).contains(&status), "{answer:?}"),
                    Err(error) => assert_eq!(plain(&error.to_string()), error.to_string()),
                }
            }
        }
    }

    #[test]
    fn where_the_management_listener_has_the_admin_api_it_is_asked_there_and_for_tokens_at_the_issuer() {
        let issuer = Service::start(vec![token(), Reply::json(200, "")]);
        let management = Service::start(vec![Reply::json(200, r#"{"keys": []}"#)]);
        managing(&issuer, &management).perform(&Act::ListKeys).unwrap();
        let resource: String = byte_serialize(format!("{}/admin", issuer.url).as_bytes()).collect();
        let asked = issuer.requests().remove(0);
        assert!(asked.starts_with("POST /oauth2/token") && asked.contains(&resource), "{asked}");
        assert!(management.requests()[0].starts_with("GET /admin/keys HTTP/1.1"));
    }

    /// While no service runs, anybody on the machine may listen there; another node answers for the issuer.
    #[test]
    fn a_token_that_was_shown_to_whoever_listens_for_the_management_ends_with_the_call() {
        let garbage = || Reply { status: 200, headers: String::new(), body: "<html>thank you</html>" };
        let refused = || Reply::json(401, r#"{"error": "invalid_token", "error_description": "no"}"#);
        let sound = || Reply::json(200, r#"{"keys": []}"#);
        for (replies, is_done) in
            [(vec![sound()], true), (vec![garbage()], false), (vec![refused()], false), (Vec::new(), false)]
        {
            let issuer = Service::start(vec![token(), Reply::json(200, "")]);
            let management = Service::start(replies);
            assert_eq!(managing(&issuer, &management).perform(&Act::ListKeys).is_ok(), is_done);
            revoked(&issuer, &management);
        }
        for (replies, is_done) in [(vec![garbage()], true), (vec![refused()], false), (Vec::new(), false)] {
            let issuer = Service::start(vec![token(), Reply::json(200, "")]);
            let management = Service::start(replies);
            let copied =
                managing(&issuer, &management).download("/admin/backup", "signet:keys", &mut Vec::new());
            assert_eq!(copied.is_ok(), is_done);
            revoked(&issuer, &management);
        }
        // One that can't be revoked changes nothing of what was done.
        let issuer = Service::start(vec![token()]);
        managing(&issuer, &Service::start(vec![sound()])).perform(&Act::ListKeys).unwrap();
        // Nobody but the issuer has seen it: there it is one row less to write.
        let issuer = Service::start(vec![token(), sound()]);
        remote(&issuer).perform(&Act::ListKeys).unwrap();
        assert_eq!(issuer.requests().len(), 2);
    }

    #[track_caller]
    fn revoked(issuer: &Service, management: &Service) {
        assert!(management.requests()[0].contains("authorization: Bearer at\r\n"));
        let requests = issuer.requests();
        let [_, revocation] = requests.as_slice() else { panic!("{requests:?}") };
        assert!(revocation.starts_with("POST /oauth2/revoke HTTP/1.1"), "{revocation}");
        assert!(revocation.contains("authorization: Basic b3BzOnAlMkJzcyUzQXcrcmQ="), "{revocation}");
        assert!(revocation.ends_with("\r\n\r\ntoken=at"), "{revocation}");
    }

    /// The admin API on a listener of its own.
    fn managing(issuer: &Service, management: &Service) -> Remote {
        let mut config = config(&issuer.url);
        config.admin.listener = AdminListener::Management;
        config.management_listen = management.url.strip_prefix("http://").unwrap().parse().unwrap();
        let Remote { credentials, http, .. } = remote(issuer);
        Remote::new(&config, credentials, http)
    }

    #[test]
    fn a_delete_without_an_answer_is_done() {
        let service = Service::start(vec![token(), Reply::json(204, "")]);
        let act = Act::DeleteClient(ClientId::parse("shop").unwrap());
        assert_eq!(remote(&service).perform(&act).unwrap(), json!({}));
        assert!(service.requests()[1].starts_with("DELETE /admin/clients/shop"));
    }

    #[test]
    fn refusals_say_what_to_do_and_can_not_write_to_the_terminal() {
        let refusal = r#"{"error": "invalid_scope", "error_description": "no\u001b[2J"}"#;
        let service = Service::start(vec![Reply::json(400, refusal)]);
        let error = remote(&service).perform(&Act::ListKeys).unwrap_err().to_string();
        assert!(error.contains("ops must be registered with the scope signet:keys"), "{error}");
        assert!(!error.contains('\u{1b}'));
        assert!(!error.contains("w rd"));
    }

    #[test]
    fn redirects_are_not_followed() {
        let target = Service::start(vec![token()]);
        let redirect = Reply { status: 307, headers: format!("Location: {}/\r\n", target.url), body: "" };
        let service = Service::start(vec![redirect]);
        let error = remote(&service).perform(&Act::ListKeys).unwrap_err().to_string();
        assert!(error.contains("answered 307"), "{error}");
        assert!(target.requests().is_empty());
    }

    #[test]
    fn introspection_authenticates_the_client() {
        let service = Service::start(vec![Reply::json(200, r#"{"active": false}"#)]);
        let answer = remote(&service).introspect(&Secret::new("a&b".into())).unwrap();
        assert_eq!(answer["active"], false);
        let request = service.requests().remove(0);
        assert!(request.contains("authorization: Basic ") && request.ends_with("token=a%26b"), "{request}");
    }

    #[test]
    fn a_service_that_is_not_there_is_named() {
        let credentials = Credentials {
            client_id: ClientId::parse("ops").unwrap(),
            client_secret: Secret::new("x".into()),
        };
        let remote = Remote::new(&config("http://127.0.0.1:1"), credentials, Http::new(None).unwrap());
        let error = remote.perform(&Act::ListKeys).unwrap_err().to_string();
        assert!(error.starts_with("http://127.0.0.1:1/oauth2/token does not answer"), "{error}");
    }
}
