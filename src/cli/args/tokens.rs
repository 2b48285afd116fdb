use clap::{Args, Subcommand};

use super::input::token;
use crate::cli::{CliError, Revocation};
use crate::oauth::{ClientId, Subject};

/// What can be done to tokens.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TokensCommand {
    /// Revoke a token, or everything issued to a client or for a subject until now.
    Revoke(RevokeArgs),
    /// What the running service says of a token to its holder, or to a client of its audience; to others every
    /// token is inactive.
    Introspect {
        /// The token; - for standard input, which other users of the machine can't see.
        token: String,
    },
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct RevokeArgs {
    /// Everything issued to this client.
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,
    /// Everything issued for this subject.
    #[arg(long, value_name = "SUB")]
    subject: Option<Subject>,
    /// This token; - for standard input, which other users of the machine can't see.
    token: Option<String>,
}

impl RevokeArgs {
    pub(in crate::cli) fn revocation(self) -> Result<Revocation, CliError> {
        match self {
            Self { client: Some(client_id), .. } => Ok(Revocation::Client(client_id)),
            Self { subject: Some(subject), .. } => Ok(Revocation::Subject(subject)),
            Self { token: Some(given), .. } => Ok(Revocation::Token(token(&given)?)),
            _ => Err(CliError::Usage("name a client, a subject or a token".into())),
        }
    }
}
