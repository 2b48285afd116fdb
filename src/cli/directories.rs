//! The directories that a service needs, looked at and made before there are sockets, keys and a store.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::config::{Config, KekSource, Refusal, VaultPlace};

/// A setting that names a directory.
struct Named<'a> {
    key: &'static str,
    directory: &'a Path,
    /// What is asked of one that is there.
    access: fn(&Path) -> Access,
}

/// Those of `config`; that of the keys only where it is used.
fn named(config: &Config) -> impl Iterator<Item = Named<'_>> {
    let uses_keys =
        config.keys.vault == VaultPlace::Directory || matches!(config.keys.kek, KekSource::Developer);
    let data = Named { key: "data_dir", directory: &config.data_dir, access: |_| changed() };
    let keys = Named { key: "keys.dir", directory: &config.keys.dir, access: of_keys };
    std::iter::once(data).chain(uses_keys.then_some(keys))
}

/// What is wrong with those that are there, or can't be for what is there. Makes nothing.
pub(super) fn look(config: &Config) -> Vec<Refusal> {
    named(config).filter_map(|named| check(&named).err().map(|error| refusal(&named, &error))).collect()
}

/// Makes those that are missing, for this user alone. Where one can't be made, none is.
pub(super) fn make(config: &Config) -> Result<(), Vec<Refusal>> {
    let missing: Vec<PathBuf> = named(config).flat_map(|named| missing_above(named.directory)).collect();
    let made = |named: &Named<'_>| {
        DirBuilder::new().recursive(true).mode(0o700).create(named.directory)?;
        check(named)
    };
    let refusals: Vec<Refusal> =
        named(config).filter_map(|named| made(&named).err().map(|error| refusal(&named, &error))).collect();
    if refusals.is_empty() {
        return Ok(());
    }
    for directory in missing {
        // Only one that is empty goes.
        fs::remove_dir(directory).ok();
    }
    Err(refusals)
}

fn check(named: &Named<'_>) -> io::Result<()> {
    match fs::metadata(named.directory) {
        Ok(found) if Metadata::is_dir(&found) => {
            Ok(access(named.directory, (named.access)(named.directory))?)
        }
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn changed() -> Access {
    Access::WRITE_OK | Access::EXEC_OK
}

/// Keys that are there sign also where none can be written; the first ones must be.
fn of_keys(directory: &Path) -> Access {
    let is_key = |entry: fs::DirEntry| entry.path().extension().is_some_and(|extension| extension == "key");
    let has_keys = fs::read_dir(directory).is_ok_and(|entries| entries.flatten().any(is_key));
    let read = Access::READ_OK | Access::EXEC_OK;
    if has_keys { read } else { read | changed() }
}

/// `directory` and those above it that are not there, the deepest first.
fn missing_above(directory: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    directory.ancestors().take_while(missing).map(Path::to_owned)
}

fn refusal(named: &Named<'_>, error: &io::Error) -> Refusal {
    let reason = format!("can't be made or used: {error}");
    Refusal::new(named.key, reason, "name a directory that this user may make, or read and write")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::load_to_serve;
    use crate::clock::ManualClock;
    use crate::config::{ConfigError, Sources};

    const KEK: &str = "abababababababababababababababababababababababababababababababab";

    fn of(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let env = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        load_to_serve(&Sources { env, ..Sources::default() }, &ManualClock::at(0))
    }

    /// With and without a key-encryption key, nothing else being wrong: the setting is named, and nothing is made.
    #[test]
    fn a_directory_that_can_not_be_is_a_wrong_setting() {
        for (key, variable, other) in [
            ("data_dir", "SIGNET_DATA_DIR", "SIGNET_KEYS_DIR"),
            ("keys.dir", "SIGNET_KEYS_DIR", "SIGNET_DATA_DIR"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let fine = dir.path().join("a/fine").display().to_string();
            let taken = dir.path().join("taken");
            fs::write(&taken, "").unwrap();
            for place in ["/proc/x", &taken.display().to_string(), &taken.join("below").display().to_string()]
            {
                for kek in [None, Some(("SIGNET_KEYS_KEK", KEK))] {
                    let given = [(variable, place), (other, &fine)];
                    let given: Vec<_> = given.into_iter().chain(kek).collect();
                    let error = of(&given).unwrap_err();
                    let [problem] = error.problems.as_slice() else { panic!("{error}") };
                    assert_eq!(problem.origin, format!("environment variable {variable}"));
                    assert_eq!(problem.key.as_deref(), Some(key));
                    assert!(problem.value.as_deref().unwrap_or_default().contains(place), "{error}");
                    assert!(problem.remedy.contains("may make"), "{error}");
                    assert!(!dir.path().join("a").exists(), "{given:?}: something was made");
                }
            }
        }
    }

    #[test]
    fn both_are_told_of_at_once_and_the_one_of_the_keys_only_where_it_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let file = file.display().to_string();
        let error = of(&[("SIGNET_DATA_DIR", &file), ("SIGNET_KEYS_DIR", &file)]).unwrap_err();
        let keys: Vec<_> = error.problems.iter().filter_map(|problem| problem.key.as_deref()).collect();
        assert_eq!(keys, ["data_dir", "keys.dir"]);
        let data = dir.path().join("data").display().to_string();
        let given = [("SIGNET_DATA_DIR", data.as_str()), ("SIGNET_KEYS_DIR", &file)];
        let elsewhere = [("SIGNET_KEYS_VAULT", "store"), ("SIGNET_KEYS_KEK", KEK)];
        of(&[given, elsewhere].concat()).unwrap();
    }

    #[test]
    fn they_are_made_for_this_user_alone_when_nothing_else_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let (data, keys) = (dir.path().join("a/data"), dir.path().join("b/keys"));
        let (data_dir, keys_dir) = (data.display().to_string(), keys.display().to_string());
        let given = [("SIGNET_DATA_DIR", data_dir.as_str()), ("SIGNET_KEYS_DIR", &keys_dir)];
        of(&[given[0], given[1], ("SIGNET_WORKERS", "none")]).unwrap_err();
        assert!(!data.exists() && !keys.exists());
        assert_eq!(of(&given).unwrap().data_dir, data);
        for directory in [data, keys] {
            let mode = std::os::unix::fs::PermissionsExt::mode(&directory.metadata().unwrap().permissions());
            assert_eq!(mode & 0o777, 0o700);
        }
    }
}
