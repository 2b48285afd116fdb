use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::input::object_from;
use crate::cli::{Act, CliError};
use crate::clients::{AuthMethod, GrantType};
use crate::oauth::{Algorithm, ClientId, Origin, RedirectUri, Resource, Scope, WebUri};

/// What can be done to clients.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ClientsCommand {
    /// A page of the clients, in the order of their identifiers.
    List {
        /// The last client of the page before, which that names as `next`.
        #[arg(long, value_name = "ID")]
        after: Option<ClientId>,
        /// How many at most, up to 1000.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// One client.
    Show {
        /// Which client.
        client_id: ClientId,
    },
    /// Register a client; its secret is shown once.
    Register {
        /// Its identifier; one is made up unless it is given.
        #[arg(long, value_name = "ID")]
        client_id: Option<ClientId>,
        #[command(flatten)]
        fields: ClientFields,
    },
    /// Change a client's registration; what is not named stays.
    Change {
        /// Which client.
        client_id: ClientId,
        #[command(flatten)]
        fields: ClientFields,
    },
    /// Give a client a new secret, shown once.
    RotateSecret {
        /// Which client.
        client_id: ClientId,
        /// For how long the old secret works too.
        #[arg(long, default_value = "24h", value_parser = humantime::parse_duration)]
        overlap: Duration,
    },
    /// Remove a client; it gets no more tokens.
    Delete {
        /// Which client.
        client_id: ClientId,
    },
}

/// What can be said of a client. What may be repeated replaces all that the client had of it.
#[derive(Args, Debug)]
pub(in crate::cli) struct ClientFields {
    /// A name for people.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The scope it may ask for.
    #[arg(long)]
    scope: Option<Scope>,
    /// The scope it gets when it asks for none.
    #[arg(long, value_name = "SCOPE")]
    default_scope: Option<Scope>,
    /// A resource server it may ask tokens for; repeat for several.
    #[arg(long = "resource", value_name = "URI")]
    resources: Vec<Resource>,
    /// A resource server it speaks for: it may introspect its tokens; repeat for several.
    #[arg(long, value_name = "URI")]
    audience_of: Vec<Resource>,
    /// What it may present at the token endpoint, such as `authorization_code`; repeat for several.
    #[arg(long = "grant-type", value_name = "GRANT")]
    grant_types: Vec<GrantType>,
    /// How it proves itself: `client_secret_basic`, `client_secret_post`, or `none` for what can't keep a secret.
    #[arg(long, value_name = "METHOD")]
    auth_method: Option<AuthMethod>,
    /// Where people may come back to; repeat for several.
    #[arg(long = "redirect-uri", value_name = "URI", value_parser = RedirectUri::parse)]
    redirect_uris: Vec<RedirectUri>,
    /// Where people may come back to when they were signed out; repeat for several.
    #[arg(long = "post-logout-redirect-uri", value_name = "URI", value_parser = RedirectUri::parse)]
    post_logout_redirect_uris: Vec<RedirectUri>,
    /// Where it is told that a session has ended (back-channel logout).
    #[arg(long, value_name = "URI")]
    backchannel_logout_uri: Option<WebUri>,
    /// Whether it can't do without `sid` in logout tokens, which have it anyway.
    #[arg(long)]
    backchannel_logout_session_required: Option<bool>,
    /// Whether people are asked: `required`, or `implied` for a client of your own.
    #[arg(long, value_parser = ["required", "implied"])]
    consent: Option<String>,
    /// Whether its codes must be bound by PKCE; false is for clients that were written for an old document.
    #[arg(long)]
    require_pkce: Option<bool>,
    /// How long its access tokens live, if shorter than the resource says.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    access_token_lifetime: Option<Duration>,
    /// What its access tokens are signed with.
    #[arg(long, value_name = "ALGORITHM")]
    access_token_alg: Option<Algorithm>,
    /// What its ID tokens are signed with.
    #[arg(long, value_name = "ALGORITHM")]
    id_token_alg: Option<Algorithm>,
    /// An origin whose scripts may call; repeat for several.
    #[arg(long = "allowed-origin", value_name = "ORIGIN")]
    allowed_origins: Vec<Origin>,
    /// A JSON file with further members, in the words of the admin API.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

impl ClientsCommand {
    pub(in crate::cli) fn act(self) -> Result<Act, CliError> {
        Ok(match self {
            Self::List { after, limit } => Act::ListClients { after, limit },
            Self::Show { client_id } => Act::ShowClient(client_id),
            Self::Register { client_id, fields } => {
                let mut body = fields.body()?;
                if let Some(client_id) = client_id {
                    body.insert("client_id".into(), json!(client_id));
                }
                complete(&body)?;
                Act::RegisterClient(body)
            }
            Self::Change { client_id, fields } => Act::ChangeClient(client_id, fields.body()?),
            Self::RotateSecret { client_id, overlap } => Act::RotateSecret { client_id, overlap },
            Self::Delete { client_id } => Act::DeleteClient(client_id),
        })
    }
}

/// A registration that lacks something is refused as it is typed, with all that it lacks.
fn complete(body: &Map<String, Value>) -> Result<(), CliError> {
    let needed = [("client_name", "--name"), ("scope", "--scope"), ("resources", "--resource")];
    let lacking: Vec<&str> =
        needed.iter().filter(|(member, _)| !body.contains_key(*member)).map(|(_, flag)| *flag).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    Err(CliError::Usage(format!(
        "a client needs {} too, or the members in a file by --from",
        lacking.join(", ")
    )))
}

impl ClientFields {
    /// Only what was named, so that a change leaves the rest alone.
    fn body(self) -> Result<Map<String, Value>, CliError> {
        let several = |values: Value| Some(values).filter(|values| *values != json!([]));
        let mut body = self.from.as_deref().map(object_from).transpose()?.unwrap_or_default();
        for (member, value) in [
            ("client_name", self.name.map(Value::from)),
            ("scope", self.scope.map(|scope| json!(scope))),
            ("default_scope", self.default_scope.map(|scope| json!(scope))),
            ("resources", several(json!(self.resources))),
            ("audience_of", several(json!(self.audience_of))),
            ("grant_types", several(json!(self.grant_types))),
            ("token_endpoint_auth_method", self.auth_method.map(|method| json!(method))),
            ("redirect_uris", several(json!(self.redirect_uris))),
            ("post_logout_redirect_uris", several(json!(self.post_logout_redirect_uris))),
            ("backchannel_logout_uri", self.backchannel_logout_uri.map(|uri| json!(uri))),
            (
                "backchannel_logout_session_required",
                self.backchannel_logout_session_required.map(Value::from),
            ),
            ("consent", self.consent.map(Value::from)),
            ("require_pkce", self.require_pkce.map(Value::from)),
            ("access_token_lifetime", self.access_token_lifetime.map(|lifetime| json!(lifetime.as_secs()))),
            ("access_token_signing_alg", self.access_token_alg.map(|algorithm| json!(algorithm))),
            ("id_token_signed_response_alg", self.id_token_alg.map(|algorithm| json!(algorithm))),
            ("allowed_origins", several(json!(self.allowed_origins))),
        ] {
            if let Some(value) = value {
                body.insert(member.into(), value);
            }
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn act(line: &str) -> Act {
        match Cli::try_parse_from(line.split(' ')).unwrap().command {
            Some(Command::Clients { command, .. }) => command.act().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_flag_is_a_member_of_the_admin_api_and_reads_as_one() {
        let line = "signet clients register --client-id shop --name Shop --scope openid --default-scope openid \
                    --resource https://a.example --audience-of https://a.example --grant-type authorization_code \
                    --grant-type refresh_token --auth-method none --redirect-uri https://b.example/back \
                    --redirect-uri http://127.0.0.1/back --post-logout-redirect-uri https://b.example/ \
                    --backchannel-logout-uri https://b.example/out --backchannel-logout-session-required true --consent \
                    implied --require-pkce false --access-token-lifetime 5m --access-token-alg ES256 --id-token-alg \
                    RS256 --allowed-origin https://b.example";
        let Act::RegisterClient(members) = act(line) else { panic!() };
        assert_eq!(
            json!(members),
            json!({
                "client_id": "shop",
                "client_name": "Shop",
                "scope": "openid",
                "default_scope": "openid",
                "resources": ["https://a.example"],
                "audience_of": ["https://a.example"],
                "grant_types": ["authorization_code", "refresh_token"],
                "token_endpoint_auth_method": "none",
                "redirect_uris": ["https://b.example/back", "http://127.0.0.1/back"],
                "post_logout_redirect_uris": ["https://b.example/"],
                "backchannel_logout_uri": "https://b.example/out",
                "backchannel_logout_session_required": true,
                "consent": "implied",
                "require_pkce": false,
                "access_token_lifetime": 300,
                "access_token_signing_alg": "ES256",
                "id_token_signed_response_alg": "RS256",
                "allowed_origins": ["https://b.example"],
            })
        );
        serde_json::from_value::<crate::clients::Registration>(json!(members)).unwrap();
    }

    #[test]
    fn a_registration_is_told_all_that_it_lacks_by_the_names_of_the_flags() {
        let line = "signet clients register --scope read";
        let Some(Command::Clients { command, .. }) = Cli::try_parse_from(line.split(' ')).unwrap().command
        else {
            panic!()
        };
        let error = command.act().unwrap_err().to_string();
        assert!(error.contains("--name, --resource") && !error.contains("--scope"), "{error}");
    }

    #[test]
    fn a_change_says_only_what_was_named() {
        let Act::ChangeClient(_, members) =
            act("signet clients change shop --redirect-uri https://c.example/")
        else {
            panic!()
        };
        assert_eq!(json!(members), json!({ "redirect_uris": ["https://c.example/"] }));
        let Act::ChangeClient(_, members) = act("signet clients change shop") else { panic!() };
        assert_eq!(json!(members), json!({}));
    }

    #[test]
    fn what_could_not_be_registered_is_refused_as_it_is_typed() {
        for flag in [
            "--grant-type password",
            "--auth-method private",
            "--redirect-uri javascript:alert(1)",
            "--backchannel-logout-uri ftp://b.example/out",
            "--consent never",
            "--id-token-alg HS256",
            "--allowed-origin *",
        ] {
            let line = format!("signet clients register {flag}");
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{flag}");
        }
    }
}
