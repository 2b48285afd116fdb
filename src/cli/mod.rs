//! The command line: thin, one way of doing things with the admin API.
//!
//! `args` defines what can be typed. Acts of administration become an [`Act`], which a [`Target`] performs:
//! [`Remote`] does it through the admin API of a running service, [`Stopped`] on the data of a stopped one. `doctor` looks at a running installation
//! from outside and at its files from inside.
//!
//! Exit codes: 0 done, 1 failed or found something wrong, 2 the settings or the command line are wrong.

mod act;
mod api_keys;
mod args;
mod audit;
mod backup;
mod banner;
mod credentials;
mod directories;
mod doctor;
mod error;
#[cfg(test)]
mod fake;
mod http;
mod print;
mod remote;
mod serve;
mod settings;
mod stopped;
mod store;
mod users;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use serde_json::Value;

use crate::clock::SystemClock;
use crate::config::{self, Config, Sources};

pub use act::{Act, Revocation, Target};
pub use api_keys::ApiKeyAct;
pub use args::Cli;
pub use credentials::Credentials;
pub use error::CliError;
pub use remote::Remote;
pub use stopped::Stopped;
pub use users::UserAct;

use args::{AdminArgs, AuditCommand, Command, KeysCommand, StoreCommand, TokensCommand};
use http::Http;
use print::Printer;

/// The settings file that is read if it is there and no other is named.
const DEFAULT_FILE: &str = "signet.toml";

/// Does what the command line says; the program is nothing else.
#[must_use]
pub fn run() -> ExitCode {
    match dispatch(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Nobody is left to tell if standard error is closed.
            writeln!(std::io::stderr(), "{error}").ok();
            error.exit_code()
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, CliError> {
    let file = cli.settings.config.clone().or_else(named_file).or_else(default_file);
    let printer = Printer::new(cli.json);
    let sources = Sources::of_process(file, cli.settings.overrides());
    let config = settings::load(&sources);
    match cli.command.unwrap_or(Command::Serve) {
        Command::Doctor { ca_file } => {
            let http = Http::new(ca_file.as_deref())?;
            // It reports wrong settings itself.
            return doctor::run(settings::load_of_node(&sources), &http, &SystemClock::new(), &printer);
        }
        Command::Ready => printer.show(&doctor::ready(&config?, &Http::new(None)?)?, &[])?,
        Command::Serve => serve::serve(&settings::load_to_serve(&sources, &SystemClock::new())?, &sources)?,
        Command::Store(command) => {
            // Whoever owns the tables need not hold the key-encryption key.
            let config = config::load_for_tables(&sources)?;
            match command {
                StoreCommand::Migrate => store::migrate(&config, &printer)?,
                StoreCommand::Check => store::check(&config, &printer)?,
            }
        }
        Command::Audit(AuditCommand::Verify { head, file }) => {
            let path = file.map_or_else(|| config.map(|config| config.audit_path()), Ok)?;
            return audit::verify(&path, head.as_ref(), &printer);
        }
        Command::Export { file, moved, nodes, admin } if admin.offline => {
            backup::export(&config?, &file, moved.then_some(nodes), &printer)?;
        }
        Command::Inspect { file } => backup::inspect(&config?, &file, &printer)?,
        Command::Export { file, admin, .. } => {
            let config = config?;
            backup::download(&config, &remote(&config, &admin)?, &file, &printer)?;
        }
        Command::Import { file, moved: _, nodes } => backup::import(&config?, &file, nodes, &printer)?,
        Command::ChangeIssuer { from, nodes } => stopped::change_issuer(&config?, &from, nodes, &printer)?,
        Command::Restore(args) => backup::restore(&config?, &args, &printer)?,
        Command::Keys { command: KeysCommand::Rekey { new, nodes }, .. } => {
            stopped::rekey(&config?, &new.source()?, nodes, &printer)?;
        }
        Command::Keys { command: KeysCommand::MakeModuleKey(key), .. } => {
            stopped::make_module_key(&key.config()?, &printer)?;
        }
        Command::Keys { command, admin } => perform(&config?, &admin, &command.act()?, &printer)?,
        Command::Clients { command, admin } => perform(&config?, &admin, &command.act()?, &printer)?,
        Command::Users { command, admin } => {
            perform(&config?, &admin, &Act::User(command.act()?), &printer)?;
        }
        Command::ApiKeys { command, admin } => {
            perform(&config?, &admin, &Act::ApiKey(command.act()), &printer)?;
        }
        Command::Tokens { command: TokensCommand::Introspect { .. }, admin } if admin.offline => {
            return Err(CliError::Usage("introspect asks a running service; leave out --offline".into()));
        }
        Command::Tokens { command: TokensCommand::Introspect { token }, admin } => {
            let answer = remote(&config?, &admin)?.introspect(&args::token(&token)?)?;
            printer.show(&answer, &[])?;
            if answer["active"] == false {
                note(
                    "a token is shown to the client that it was issued to and to clients of its audience \
                     (audience_of): to others a live one is inactive too",
                );
            }
        }
        Command::Tokens { command: TokensCommand::Revoke(what), admin } => {
            perform(&config?, &admin, &Act::Revoke(what.revocation()?), &printer)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn perform(config: &Config, admin: &AdminArgs, act: &Act, printer: &Printer) -> Result<(), CliError> {
    let answer = if admin.offline {
        match act {
            // Nothing that is due is done by a look.
            Act::ListKeys => stopped::list_keys(config)?,
            Act::PlanKeys => stopped::plan_keys(config)?,
            // What is wrong may be that the key's file is lost: then nothing else opens.
            Act::CompromiseKey { kid, reason } => stopped::compromise(config, kid, reason.as_deref())?,
            act => Stopped::open(config)?.perform(act)?,
        }
    } else {
        remote(config, admin)?.perform(act)?
    };
    if answer["registered"] == false {
        note(
            "no client or account of that name is registered; what was issued to it is revoked all the same",
        );
    }
    printer.show(&answer, act.columns())?;
    if let Some(hint) = next(act, &answer).filter(|_| !printer.json) {
        note(&hint);
    }
    Ok(())
}

/// What people should know, or do next.
fn next(act: &Act, answer: &Value) -> Option<String> {
    match act {
        _ if answer["client_secret"].is_string() => {
            Some("the client_secret is shown this once: keep it where only the client reads it".to_owned())
        }
        Act::ApiKey(ApiKeyAct::Create(_)) => {
            Some("the api_key is shown this once: keep it where only its holder reads it".to_owned())
        }
        Act::User(UserAct::Add(members)) if !members.contains_key("password") => {
            let id = answer["id"].as_str().unwrap_or("ID");
            Some(format!(
                "nobody can sign in to it yet: `signet users set-password {id} --password-file FILE` sets a password"
            ))
        }
        _ => None,
    }
}

/// Tells people what the answer, which is for programs too, has no place for.
fn note(text: &str) {
    // Nobody is left to tell if standard error is closed.
    writeln!(std::io::stderr(), "{text}").ok();
}

fn remote(config: &Config, admin: &AdminArgs) -> Result<Remote, CliError> {
    let credentials = Credentials::find(admin.credentials.as_deref(), admin.admin_client_id.clone())?;
    Ok(Remote::new(config, credentials, Http::new(admin.ca_file.as_deref())?))
}

/// Not read by the parser, whose usage would name the flag as if it had to be there.
fn named_file() -> Option<PathBuf> {
    std::env::var_os("SIGNET_CONFIG").filter(|name| !name.is_empty()).map(PathBuf::from)
}

fn default_file() -> Option<PathBuf> {
    Path::new(DEFAULT_FILE).exists().then(|| DEFAULT_FILE.into())
}
