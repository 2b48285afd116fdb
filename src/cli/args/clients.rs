use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::input::object_from;
use crate::cli::{Act, CliError};
use crate::oauth::{ClientId, Resource, Scope};

/// What can be done to clients.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ClientsCommand {
    /// All clients.
    List,
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

/// What can be said of a client.
#[derive(Args, Debug)]
pub(in crate::cli) struct ClientFields {
    /// A name for people.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The scope it may ask for.
    #[arg(long)]
    scope: Option<Scope>,
    /// A resource server it may ask tokens for; repeat for several.
    #[arg(long = "resource", value_name = "URI")]
    resources: Vec<Resource>,
    /// A JSON file with further members, in the words of the admin API.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

impl ClientsCommand {
    pub(in crate::cli) fn act(self) -> Result<Act, CliError> {
        Ok(match self {
            Self::List => Act::ListClients,
            Self::Show { client_id } => Act::ShowClient(client_id),
            Self::Register { client_id, fields } => {
                let mut body = fields.body()?;
                if let Some(client_id) = client_id {
                    body.insert("client_id".into(), json!(client_id));
                }
                Act::RegisterClient(body)
            }
            Self::Change { client_id, fields } => Act::ChangeClient(client_id, fields.body()?),
            Self::RotateSecret { client_id, overlap } => Act::RotateSecret { client_id, overlap },
            Self::Delete { client_id } => Act::DeleteClient(client_id),
        })
    }
}

impl ClientFields {
    fn body(self) -> Result<Map<String, Value>, CliError> {
        let mut body = self.from.as_deref().map(object_from).transpose()?.unwrap_or_default();
        if let Some(name) = self.name {
            body.insert("client_name".into(), json!(name));
        }
        if let Some(scope) = self.scope {
            body.insert("scope".into(), json!(scope));
        }
        if !self.resources.is_empty() {
            body.insert("resources".into(), json!(self.resources));
        }
        Ok(body)
    }
}
