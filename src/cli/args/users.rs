use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::input::{object_from, text_from};
use crate::cli::{CliError, UserAct};
use crate::oauth::UserId;
use crate::protocol::admin::users::AccountSearch;
use crate::protocol::users::PageRequest;

/// What can be done to accounts.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum UsersCommand {
    /// A page of the accounts, in the order in which they were made, or that with an e-mail address.
    List {
        /// Only the account with this address.
        #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["limit", "offset"])]
        email: Option<String>,
        /// How many at most, up to 1000.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// How many are skipped.
        #[arg(long, default_value_t = 0)]
        offset: usize,
    },
    /// One account.
    Show {
        /// Which account: `signet users list --email ADDRESS` tells.
        id: UserId,
    },
    /// Make an account.
    Add {
        /// The full name.
        #[arg(long, value_name = "TEXT")]
        name: String,
        /// The e-mail address.
        #[arg(long, value_name = "ADDRESS")]
        email: String,
        #[command(flatten)]
        fields: UserFields,
        /// The person may administer Signet.
        #[arg(long)]
        admin: bool,
        /// The file that the first password is in; - for standard input. Without one nobody can sign in until one is set.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Change an account; what is not named stays.
    Change {
        /// Which account.
        id: UserId,
        /// A new full name.
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// A new e-mail address.
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        #[command(flatten)]
        fields: UserFields,
        /// Whether the person may administer Signet.
        #[arg(long)]
        admin: Option<bool>,
    },
    /// Let nobody sign in to an account, and end all that it is signed in to.
    Disable {
        /// Which account.
        id: UserId,
    },
    /// Let the person sign in again.
    Enable {
        /// Which account.
        id: UserId,
    },
    /// Set a new password, and end all that the account is signed in to.
    SetPassword {
        /// Which account.
        id: UserId,
        /// The file that the password is in; - for standard input.
        #[arg(long, value_name = "FILE", default_value = "-")]
        password_file: PathBuf,
    },
    /// Remove the second factor of somebody who lost it, and end all that the account is signed in to.
    RemoveSecondFactor {
        /// Which account.
        id: UserId,
    },
    /// Remove an account and end all that it is signed in to.
    Delete {
        /// Which account.
        id: UserId,
    },
}

/// What else can be said of an account.
#[derive(Args, Debug)]
pub(in crate::cli) struct UserFields {
    /// Another name to sign in with.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// A JSON file with further members, in the words of the admin API.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

impl UsersCommand {
    pub(in crate::cli) fn act(self) -> Result<UserAct, CliError> {
        Ok(match self {
            Self::List { email, limit, offset } => {
                let page = PageRequest { limit: Some(limit.into()), offset: Some(offset) };
                UserAct::List(AccountSearch { page, email })
            }
            Self::Show { id } => UserAct::Show(id),
            Self::Add { name, email, fields, admin, password_file } => {
                let mut members = fields.members((Some(name), Some(email)), admin.then_some(true))?;
                if let Some(file) = password_file {
                    members.insert("password".into(), password(&file)?);
                }
                UserAct::Add(members)
            }
            Self::Change { id, name, email, fields, admin } => {
                UserAct::Change(id, fields.members((name, email), admin)?)
            }
            Self::Disable { id } => UserAct::Change(id, one("disabled", json!(true))),
            Self::Enable { id } => UserAct::Change(id, one("disabled", json!(false))),
            Self::SetPassword { id, password_file } => {
                UserAct::Change(id, one("password", password(&password_file)?))
            }
            Self::RemoveSecondFactor { id } => UserAct::RemoveSecondFactor(id),
            Self::Delete { id } => UserAct::Delete(id),
        })
    }
}

impl UserFields {
    fn members(
        self,
        (name, email): (Option<String>, Option<String>),
        administrator: Option<bool>,
    ) -> Result<Map<String, Value>, CliError> {
        let mut members = self.from.as_deref().map(object_from).transpose()?.unwrap_or_default();
        for (member, value) in [
            ("name", name.map(Value::from)),
            ("email", email.map(Value::from)),
            ("preferred_username", self.username.map(Value::from)),
            ("administrator", administrator.map(Value::from)),
        ] {
            if let Some(value) = value {
                members.insert(member.into(), value);
            }
        }
        Ok(members)
    }
}

fn one(member: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(member.to_owned(), value)])
}

/// The first line: the file that holds it was written by an editor, or by `echo`.
fn password(file: &Path) -> Result<Value, CliError> {
    let text = zeroize::Zeroizing::new(text_from(file)?);
    Ok(json!(text.lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn act(line: &str) -> UserAct {
        match Cli::try_parse_from(line.split(' ')).unwrap().command {
            Some(Command::Users { command, .. }) => command.act().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_say_only_what_was_named() {
        let UserAct::Change(id, members) =
            act("signet users change user_a1 --email b@c.example --admin false")
        else {
            panic!()
        };
        assert_eq!(id.as_str(), "user_a1");
        assert_eq!(json!(members), json!({ "email": "b@c.example", "administrator": false }));
        let UserAct::Add(members) = act("signet users add --name Al --email a@b.example --admin") else {
            panic!()
        };
        assert_eq!(json!(members), json!({ "name": "Al", "email": "a@b.example", "administrator": true }));
        let UserAct::Change(_, members) = act("signet users disable user_a1") else { panic!() };
        assert_eq!(json!(members), json!({ "disabled": true }));
        let UserAct::Change(_, members) = act("signet users enable user_a1") else { panic!() };
        assert_eq!(json!(members), json!({ "disabled": false }));
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, " correct horse \r\nsecond line\n").unwrap();
        let UserAct::Change(_, members) =
            act(&format!("signet users set-password user_a1 --password-file {}", file.display()))
        else {
            panic!()
        };
        assert_eq!(json!(members), json!({ "password": " correct horse " }));
    }

    #[test]
    fn identifiers_are_typed() {
        for line in [
            "signet users show alice",
            "signet users delete ../x",
            "signet users list --limit 1001",
            "signet users list --limit 5 --email a@b.example",
            "signet users add --name Al",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
