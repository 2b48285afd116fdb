//! What can be typed.

mod api_keys;
mod backup;
mod clients;
mod input;
mod keys;
mod tokens;
mod users;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::audit::Head;
use crate::config::FlagOverrides;
use crate::oauth::ClientId;

pub(super) use api_keys::ApiKeysCommand;
pub(super) use backup::{NodesArgs, RestoreArgs};
pub(super) use clients::ClientsCommand;
pub(super) use input::token;
pub(super) use keys::KeysCommand;
pub(super) use tokens::TokensCommand;
pub(super) use users::UsersCommand;

/// A token service: signed access tokens, keys that rotate without breaking anyone.
#[derive(Debug, Parser)]
#[command(name = "signet", version, about, max_term_width = 100)]
pub struct Cli {
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) settings: SettingsArgs,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Settings by flag; docs/settings.md explains them.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Settings")]
pub(super) struct SettingsArgs {
    /// The settings file [default: that of `SIGNET_CONFIG`, or signet.toml, if it is there].
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The issuer's identifier.
    #[arg(long, global = true, value_name = "URL")]
    issuer: Option<String>,
    /// Where the public listener binds.
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where metrics and health are served.
    #[arg(long, global = true, value_name = "ADDRESS")]
    management_listen: Option<String>,
    /// Worker threads.
    #[arg(long, global = true, value_name = "NUMBER")]
    workers: Option<String>,
    /// Where the store and the audit log live.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where the sealed keys live.
    #[arg(long, global = true, value_name = "DIR")]
    keys_dir: Option<String>,
    /// The file that holds the key-encryption key.
    #[arg(long, global = true, value_name = "FILE")]
    kek_file: Option<String>,
    /// What is logged, such as `info` or `info,signet::keys=debug`.
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    /// Log JSON instead of text.
    #[arg(long, global = true)]
    log_json: bool,
}

impl SettingsArgs {
    pub(super) fn overrides(self) -> FlagOverrides {
        FlagOverrides::default()
            .set("--issuer", "issuer", self.issuer)
            .set("--listen", "listen", self.listen)
            .set("--management-listen", "management_listen", self.management_listen)
            .set("--workers", "workers", self.workers)
            .set("--data-dir", "data_dir", self.data_dir)
            .set("--keys-dir", "keys.dir", self.keys_dir)
            .set("--kek-file", "keys.kek_file", self.kek_file)
            .set("--log", "log.filter", self.log)
            .set("--log-json", "log.json", self.log_json.then(|| "true".to_owned()))
    }
}

/// How to reach the admin API of the running service at the issuer.
#[derive(Args, Debug)]
#[command(next_help_heading = "Administration")]
pub(super) struct AdminArgs {
    /// A JSON file with `client_id` and `client_secret`, as `clients register --json` prints it.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) credentials: Option<PathBuf>,
    /// The administering client [default: `SIGNET_ADMIN_CLIENT_ID`]; its secret comes from `SIGNET_ADMIN_CLIENT_SECRET`.
    #[arg(long, global = true, value_name = "ID")]
    pub(super) admin_client_id: Option<ClientId>,
    /// Certificates (PEM) to trust instead of the public authorities.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// Work on the data of a stopped service, without its admin API.
    #[arg(long, global = true)]
    pub(super) offline: bool,
}

/// Made of its arguments it would name the file as if there were no other way.
const RESTORE: &str = "signet restore [OPTIONS] <FILE>
       signet restore [OPTIONS] --in-place
       signet restore [OPTIONS] --false-alarm <NOTICED_AT>";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the service; the same as no command.
    Serve,
    /// Signing keys.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Registered clients.
    Clients {
        #[command(subcommand)]
        command: ClientsCommand,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Accounts.
    Users {
        #[command(subcommand)]
        command: UsersCommand,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// API keys.
    ApiKeys {
        #[command(subcommand)]
        command: ApiKeysCommand,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Tokens and their revocation.
    Tokens {
        #[command(subcommand)]
        command: TokensCommand,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Copy the installation into one sealed file; the service goes on meanwhile.
    Export {
        /// The file, which must not exist yet.
        file: PathBuf,
        /// The installation moves: nothing is served from the old store any more, and `import --move` takes the copy.
        #[arg(long = "move", requires = "offline")]
        moved: bool,
        #[command(flatten)]
        nodes: NodesArgs,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Say what a copy holds; nothing is touched.
    Inspect {
        /// The file that `export` wrote.
        file: PathBuf,
    },
    /// Move an installation to another, empty store: nothing of it is lost, nothing is ended.
    Import {
        /// The file that `export --move` wrote.
        file: PathBuf,
        /// The installation that was copied is stopped for good, and nothing has happened there since. For anything
        /// else there is `restore`.
        #[arg(long = "move", required = true)]
        moved: bool,
        #[command(flatten)]
        nodes: NodesArgs,
    },
    /// Put an earlier state back: into an empty store, or declare that one was put back by other means. Nothing that was issued
    /// until now counts any more: people sign in again, every key is replaced, API keys end.
    #[command(override_usage = RESTORE)]
    Restore(RestoreArgs),
    /// Give a stopped installation another issuer, that of the settings. No token that names the former is accepted any more;
    /// people stay signed in, and refresh tokens and API keys go on.
    ChangeIssuer {
        /// What it was called until now.
        #[arg(long, value_name = "URL")]
        from: String,
        #[command(flatten)]
        nodes: NodesArgs,
    },
    /// The audit log.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// The store, where it is a database.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Ask the service that runs here whether it is ready; exit code 1 if it is not: for who watches over it.
    Ready,
    /// Look whether an installation is in order.
    Doctor {
        /// Certificates (PEM) to trust instead of the public authorities.
        #[arg(long, value_name = "FILE")]
        ca_file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Make its tables, or bring them to the version of this release.
    Migrate,
    /// Say how it stands; exit code 1 if a service could not start on it.
    Check,
}

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Recompute the chain and say what is wrong with it; the service may be running.
    Verify {
        /// An earlier `seq:hash`: shows whether the end was cut off or all of it written anew.
        #[arg(long, value_name = "SEQ:HASH")]
        head: Option<Head>,
        /// Another log than that of the settings.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::Act;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn no_command_is_serve_and_flags_may_stand_anywhere() {
        assert!(parse("signet").unwrap().command.is_none());
        let cli = parse("signet keys list --issuer https://id.example.com --json").unwrap();
        assert!(cli.json);
        assert_eq!(cli.settings.issuer.as_deref(), Some("https://id.example.com"));
    }

    #[test]
    fn a_revocation_names_exactly_one_thing() {
        assert!(parse("signet tokens revoke").is_err());
        assert!(parse("signet tokens revoke --client a --subject b").is_err());
        assert!(parse("signet tokens revoke --client a token").is_err());
        assert!(parse("signet tokens revoke --subject b").is_ok());
    }

    #[test]
    fn arguments_are_typed() {
        for line in [
            "signet keys rotate --algorithm HS256",
            "signet keys compromise a/b",
            "signet clients show ../x",
            "signet clients rotate-secret a --overlap 5",
            "signet audit verify --head x",
            "signet import a",
            "signet restore",
            "signet restore a --in-place",
            "signet restore a --keys-lost",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_registration_says_only_what_was_named() {
        let line = "signet clients register --name Shop --scope read --resource https://a.example";
        let command = parse(line).unwrap().command;
        let Some(Command::Clients { command, .. }) = command else { panic!("{command:?}") };
        let Act::RegisterClient(body) = command.act().unwrap() else { panic!() };
        let named = json!({"client_name": "Shop", "scope": "read", "resources": ["https://a.example"]});
        assert_eq!(Value::Object(body), named);
    }
}
