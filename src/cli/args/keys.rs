use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::NodesArgs;
use super::input::secret_from;
use crate::cli::{Act, CliError};
use crate::config::{KekSource, ModuleKeyConfig, PinSource};
use crate::oauth::{Algorithm, KeyId, Secret};

/// There are two ways to name the new key-encryption key.
const REKEY_USAGE: &str = "signet keys rekey [OPTIONS] --new-kek-file <FILE>
       signet keys rekey [OPTIONS] --pkcs11-module <FILE> --pkcs11-token <LABEL> --pkcs11-key <LABEL>";

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
        // One thumbprint in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        kid: KeyId,
        /// Why, for the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Take in a private key, PEM (PKCS#8) or JWK.
    Import {
        /// The file it is in; - for standard input.
        file: PathBuf,
        /// With which algorithm it will sign; needed unless a JWK says so by its `alg`.
        #[arg(long)]
        algorithm: Option<Algorithm>,
    },
    /// Seal the keys of a stopped installation with another key-encryption key.
    #[command(override_usage = REKEY_USAGE)]
    Rekey {
        #[command(flatten)]
        new: NewKekArgs,
        #[command(flatten)]
        nodes: NodesArgs,
    },
    /// Make a key-encryption key in a PKCS#11 module; it can't leave it.
    MakeModuleKey(ModuleKeyArgs),
}

/// The new key-encryption key: in a file, or in a module.
#[derive(Debug, Args)]
pub(in crate::cli) struct NewKekArgs {
    /// The file that holds the new one.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "ModuleKeyArgs",
        required_unless_present = "ModuleKeyArgs"
    )]
    new_kek_file: Option<PathBuf>,
    #[command(flatten)]
    module_key: Option<ModuleKeyArgs>,
}

impl NewKekArgs {
    /// As the settings would say it.
    pub(in crate::cli) fn source(self) -> Result<KekSource, CliError> {
        match (self.new_kek_file, self.module_key) {
            (Some(path), _) => Ok(KekSource::File(path)),
            (None, Some(module_key)) => Ok(KekSource::Module(Box::new(module_key.config()?))),
            (None, None) => Err(CliError::Usage("name the new key-encryption key".into())),
        }
    }
}

/// A secret key in a token of a PKCS#11 module.
#[derive(Debug, Args)]
pub(in crate::cli) struct ModuleKeyArgs {
    /// The module's library.
    #[arg(long = "pkcs11-module", value_name = "FILE", requires_all = ["token", "key"])]
    module: PathBuf,
    /// The token's label, or its serial number.
    #[arg(long = "pkcs11-token", value_name = "LABEL", requires = "module")]
    token: String,
    /// The key's label, or id: and its identifier in hex.
    #[arg(long = "pkcs11-key", value_name = "LABEL", requires = "module", value_parser = key_name)]
    key: String,
    /// A file that holds the token's PIN; otherwise it is taken from `SIGNET_KEYS_PKCS11_PIN`.
    #[arg(long = "pkcs11-pin-file", value_name = "FILE", requires = "module")]
    pin_file: Option<PathBuf>,
}

fn key_name(name: &str) -> Result<String, String> {
    ModuleKeyConfig::check_key(name).map(|()| name.to_owned()).map_err(str::to_owned)
}

impl ModuleKeyArgs {
    /// As the settings would say it.
    pub(in crate::cli) fn config(self) -> Result<ModuleKeyConfig, CliError> {
        let Self { module, token, key, pin_file } = self;
        let pin = match (pin_file, std::env::var("SIGNET_KEYS_PKCS11_PIN")) {
            (Some(path), _) => PinSource::File(path),
            (None, Ok(pin)) => PinSource::Value(Secret::new(pin)),
            (None, Err(_)) => {
                let usage = "give the token's PIN by --pkcs11-pin-file or by SIGNET_KEYS_PKCS11_PIN";
                return Err(CliError::Usage(usage.into()));
            }
        };
        Ok(ModuleKeyConfig { module, token, key, pin })
    }
}

impl KeysCommand {
    /// As an act; there is none for `rekey`, which is done to a stopped installation, nor for `make-module-key`.
    pub(in crate::cli) fn act(self) -> Result<Act, CliError> {
        Ok(match self {
            Self::List => Act::ListKeys,
            Self::Plan => Act::PlanKeys,
            Self::Rotate { algorithm, force } => Act::RotateKeys { algorithm, force },
            Self::Compromise { kid, reason } => Act::CompromiseKey { kid, reason },
            Self::Import { file, algorithm } => {
                let key = secret_from(&file)?;
                let unnamed = || {
                    CliError::Usage(
                        "the key does not say for which algorithm it is: name it by --algorithm".into(),
                    )
                };
                let algorithm = algorithm.or_else(|| algorithm_of(&key)).ok_or_else(unnamed)?;
                Act::ImportKey { key, algorithm }
            }
            Self::Rekey { .. } | Self::MakeModuleKey(_) => {
                return Err(CliError::Usage("that is not done to a running service".into()));
            }
        })
    }
}

/// What a JWK says that it is for (RFC 7517, section 4.4).
fn algorithm_of(key: &Secret) -> Option<Algorithm> {
    #[derive(Deserialize)]
    struct Jwk {
        alg: Algorithm,
    }
    serde_json::from_str(key.expose()).ok().map(|Jwk { alg }| alg)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Command};

    #[test]
    fn a_key_is_imported_for_the_algorithm_that_is_named_by_the_flag_or_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        for (key, flag, expected) in [
            ("-----BEGIN PRIVATE KEY-----", " --algorithm ES256", Some(Algorithm::ES256)),
            ("-----BEGIN PRIVATE KEY-----", "", None),
            (r#"{"kty": "RSA", "alg": "PS256", "d": "x"}"#, "", Some(Algorithm::PS256)),
            // The service refuses a key that says otherwise.
            (r#"{"kty": "RSA", "alg": "PS256", "d": "x"}"#, " --algorithm RS256", Some(Algorithm::RS256)),
            (r#"{"kty": "RSA", "alg": "RSA-OAEP", "d": "x"}"#, "", None),
            (r#"{"kty": "RSA", "d": "x"}"#, "", None),
        ] {
            let file = dir.path().join("key");
            std::fs::write(&file, key).unwrap();
            let line = format!("signet keys import {}{flag}", file.display());
            let Some(Command::Keys { command, .. }) = Cli::try_parse_from(line.split(' ')).unwrap().command
            else {
                panic!()
            };
            match (command.act(), expected) {
                (Ok(Act::ImportKey { algorithm, .. }), Some(expected)) => assert_eq!(algorithm, expected),
                (Err(error), None) => assert!(error.to_string().contains("--algorithm"), "{error}"),
                (act, _) => panic!("{key}{flag}: {act:?}"),
            }
        }
    }

    #[test]
    fn a_key_whose_name_begins_with_a_hyphen_can_be_condemned() {
        for line in [
            "signet keys compromise -41soxno9NVbw_iaOkGtMomTMcH_HG3Wo79ifrOeK4U --offline --reason lost",
            "signet keys compromise --offline --reason lost -41soxno9NVbw_iaOkGtMomTMcH_HG3Wo79ifrOeK4U",
            "signet keys compromise --offline --reason lost --1soxno9NVbw_iaOkGtMomTMcH_HG3Wo79ifrOeK4U4",
        ] {
            let parsed = Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{error}"));
            let Some(Command::Keys { command, admin }) = parsed.command else { panic!() };
            let Ok(Act::CompromiseKey { kid, reason }) = command.act() else { panic!() };
            assert!(line.contains(kid.as_str()) && kid.as_str().starts_with('-'), "{kid}");
            assert_eq!((reason.as_deref(), admin.offline), (Some("lost"), true));
        }
    }
}
