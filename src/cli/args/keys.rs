use std::path::PathBuf;

use clap::Subcommand;

use super::input::secret_from;
use crate::cli::{Act, CliError};
use crate::oauth::{Algorithm, KeyId};

/// What can be done to the keys.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeysCommand {
    /// All keys, their phases, and who signs.
    List,
    /// What will happen when.
    Plan,
    /// Let the waiting key sign as soon as that is safe.
    Rotate {
        /// Of this algorithm only.
        #[arg(long)]
        algorithm: Option<Algorithm>,
        /// At once, though verifiers may not know the key yet: an emergency.
        #[arg(long)]
        force: bool,
    },
    /// Withdraw a key at once: every token it signed is refused.
    Compromise {
        /// Which key.
        kid: KeyId,
        /// Why, for the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Take in a private key, PEM (PKCS#8) or JWK.
    Import {
        /// The file it is in; - for standard input.
        file: PathBuf,
        /// With which algorithm it will sign.
        #[arg(long)]
        algorithm: Option<Algorithm>,
    },
    /// Seal the keys of a stopped installation with another key-encryption key.
    Rekey {
        /// The file that holds the new one.
        #[arg(long, value_name = "FILE")]
        new_kek_file: PathBuf,
    },
}

impl KeysCommand {
    /// As an act; there is none for `rekey`, which is done to a stopped installation.
    pub(in crate::cli) fn act(self) -> Result<Act, CliError> {
        Ok(match self {
            Self::List => Act::ListKeys,
            Self::Plan => Act::PlanKeys,
            Self::Rotate { algorithm, force } => Act::RotateKeys { algorithm, force },
            Self::Compromise { kid, reason } => Act::CompromiseKey { kid, reason },
            Self::Import { file, algorithm } => Act::ImportKey { key: secret_from(&file)?, algorithm },
            Self::Rekey { .. } => return Err(CliError::Usage("rekey needs a stopped installation".into())),
        })
    }
}
