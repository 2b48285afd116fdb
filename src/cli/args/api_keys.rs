use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::cli::ApiKeyAct;
use crate::oauth::{ApiKeyId, ClientId, Resource, Scope, UserId};

/// What can be done to API keys.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ApiKeysCommand {
    /// Up to 1000 of the keys.
    List {
        /// The last key of the page before.
        #[arg(long, value_name = "ID")]
        after: Option<ApiKeyId>,
    },
    /// Make a key; it is shown once.
    #[command(group = clap::ArgGroup::new("owner").required(true).args(["client", "user"]))]
    Create {
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        name: String,
        /// The client that it is for.
        #[arg(long, value_name = "CLIENT_ID")]
        client: Option<ClientId>,
        /// The person that it is for.
        #[arg(long, value_name = "USER_ID")]
        user: Option<UserId>,
        /// What it permits.
        #[arg(long)]
        scope: Scope,
        /// A resource server where it permits it; repeat for several.
        #[arg(long = "resource", value_name = "URI", required = true)]
        resources: Vec<Resource>,
        /// When it ends, such as 2027-11-21T12:00:00Z; never unless given.
        #[arg(long, value_name = "DATE")]
        expires_at: Option<DateTime<Utc>>,
    },
    /// Revoke a key and the tokens that it was exchanged for.
    Revoke {
        /// Which key: its identifier, not the key itself.
        id: ApiKeyId,
    },
}

impl ApiKeysCommand {
    pub(in crate::cli) fn act(self) -> ApiKeyAct {
        match self {
            Self::List { after } => ApiKeyAct::List(after),
            Self::Revoke { id } => ApiKeyAct::Revoke(id),
            Self::Create { name, client, user, scope, resources, expires_at } => {
                let members = [
                    ("name", json!(name)),
                    ("client_id", json!(client)),
                    ("user_id", json!(user)),
                    ("scope", json!(scope)),
                    ("resources", json!(resources)),
                    ("expires_at", json!(expires_at)),
                ];
                let given = members.into_iter().filter(|(_, value)| !value.is_null());
                ApiKeyAct::Create(
                    given.map(|(name, value)| (name.to_owned(), value)).collect::<Map<String, Value>>(),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Command};

    #[test]
    fn a_key_is_made_for_exactly_one_owner() {
        let base = "signet api-keys create --name report --scope read --resource https://a.example";
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        for wrong in ["", " --client shop --user user_a1", " --user alice"] {
            assert!(parse(&format!("{base}{wrong}")).is_err(), "{wrong}");
        }
        let command = parse(&format!("{base} --client shop")).unwrap().command;
        let Some(Command::ApiKeys { command, .. }) = command else { panic!("{command:?}") };
        let ApiKeyAct::Create(members) = command.act() else { panic!() };
        let expected = json!({
            "name": "report", "client_id": "shop", "scope": "read", "resources": ["https://a.example"]
        });
        assert_eq!(json!(members), expected);
        assert!(parse("signet api-keys revoke sk_secret").is_err(), "the key itself is not asked for");
    }
}
