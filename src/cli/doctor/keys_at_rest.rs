use std::fs::Metadata;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Finding;
use crate::config::{Config, KekSource, ModuleKeyConfig, exposed};
use crate::entropy::SystemEntropy;
use crate::keys::{DirectoryVault, Kek, SealedVault as _};

/// The directory of the keys and every file in it must be closed to others.
pub(super) fn keys_directory(config: &Config) -> Finding {
    let directory = &config.keys.dir;
    let remedy = "run this on the machine of the service, in its directory, as its user";
    let entries = match files_of(directory) {
        Ok(entries) => entries,
        Err(error) => {
            return Finding::fail("key files", format!("{}: {error}", directory.display()), remedy);
        }
    };
    let keys = entries.iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "key")).count();
    let open: Vec<String> = entries
        .iter()
        .filter(|(path, meta)| is_secret(path) && is_open(meta))
        .map(|(path, _)| name(path))
        .collect();
    if !open.is_empty() {
        let what = format!("others may read {} in {}", open.join(", "), directory.display());
        return Finding::fail("key files", what, "chmod 600 them, and rotate the keys if others had access");
    }
    if keys == 0 {
        return Finding::fail("key files", format!("there is no key in {}", directory.display()), remedy);
    }
    match opened(config) {
        Ok(()) => {
            let what = format!("{keys} in {}, closed to others, each opens", directory.display());
            Finding::ok("key files", what)
        }
        Err(error) => Finding::fail("key files", error.to_string(), "a start of the service would fail"),
    }
}

/// Opens every key that is there; makes nothing.
fn opened(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    let directory = &config.keys.dir;
    let kek = Kek::find(&config.keys.kek, directory)?;
    let kek = kek.ok_or_else(|| format!("{} is missing", directory.join("kek").display()))?;
    let vault = DirectoryVault::open(directory, Arc::new(kek), SystemEntropy::shared())?;
    vault.verify()?;
    Ok(())
}

/// Where the key-encryption key comes from.
pub(super) fn key_encryption_key(config: &Config) -> Finding {
    let check = "key-encryption key";
    let beside = config.keys.dir.join("kek").exists();
    match &config.keys.kek {
        KekSource::Developer => Finding::warn(
            check,
            "it lies beside the keys: who reads one reads both",
            "stop the service, run `signet keys rekey --new-kek-file FILE`, then set keys.kek_file = FILE and delete kek in keys.dir",
        ),
        _ if beside => Finding::warn(
            check,
            format!("an old one lies in {}", config.keys.dir.display()),
            "if `signet keys rekey` is done, move it to where the copies are that were taken before, which can only be read with it",
        ),
        KekSource::Value(_) => Finding::ok(check, "it comes from the environment"),
        KekSource::Module(key) => in_module(check, config, key),
        KekSource::File(path) => match path.metadata() {
            Ok(meta) if exposed(&meta).is_some() => {
                Finding::fail(check, format!("others may read {}", path.display()), "chmod 600 it")
            }
            Ok(_) => Finding::ok(check, format!("it is in {}, closed to others", path.display())),
            Err(error) => {
                let what = format!("{}: {error}", path.display());
                Finding::fail(check, what, "run this on the machine of the service, as its user")
            }
        },
    }
}

/// A key-encryption key that a module keeps must be there and answer.
fn in_module(check: &'static str, config: &Config, key: &ModuleKeyConfig) -> Finding {
    match Kek::find(&config.keys.kek, &config.keys.dir) {
        Err(error) => Finding::fail(check, error.to_string(), "a start of the service would fail"),
        Ok(kek) => {
            let info = kek.as_ref().and_then(Kek::module_key);
            let token = info.map_or(key.token.as_str(), |info| info.token.as_str());
            let what =
                format!("the module {} keeps {:?} in the token {token}", key.module.display(), key.key);
            if info.is_some_and(|info| info.never_outside) {
                return Finding::ok(check, format!("{what}, where it was made"));
            }
            let what = format!("{what}; it was brought there, or could leave it once");
            Finding::warn(
                check,
                what,
                "know where its copies are, or make one there: `signet keys make-module-key`",
            )
        }
    }
}

/// The directory itself and the files in it.
fn files_of(directory: &Path) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let mut entries = vec![(directory.to_owned(), directory.metadata()?)];
    for entry in directory.read_dir()? {
        let entry = entry?;
        entries.push((entry.path(), entry.path().metadata()?));
    }
    Ok(entries)
}

/// Whether it must be closed: what Signet keeps there, not a note such as README.md. A directory whose
/// names others can list is no secret; one that they can write is caught by [`is_open`].
fn is_secret(path: &Path) -> bool {
    path.is_dir() || path.file_name().is_some_and(|name| name == "kek") || {
        path.extension().is_some_and(|end| end == "key" || end == "pending")
    }
}

/// Whether others than the owner may read a file, or write into a directory.
fn is_open(meta: &Metadata) -> bool {
    let mode = meta.permissions().mode();
    if meta.is_dir() { mode & 0o022 != 0 } else { mode & 0o077 != 0 }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Level;
    use super::*;
    use crate::keys::KeyVault as _;
    use crate::oauth::{Algorithm, Secret};

    struct Installation {
        _dir: tempfile::TempDir,
        config: Config,
        key: PathBuf,
    }

    fn installation() -> Installation {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::for_tests(dir.path());
        for directory in [&config.keys.dir, &config.data_dir] {
            fs::create_dir(directory).unwrap();
            close(directory, 0o700);
        }
        config.keys.kek = KekSource::Value(Secret::new("ab".repeat(32)));
        let kek = Arc::new(Kek::find(&config.keys.kek, &config.keys.dir).unwrap().unwrap());
        let vault = DirectoryVault::open(&config.keys.dir, kek, SystemEntropy::shared()).unwrap();
        let kid = vault.generate(Algorithm::ES256).unwrap().kid().clone();
        vault.keep(&kid).unwrap();
        let key = config.keys.dir.join(format!("{kid}.key"));
        write(&config.keys.dir.join("README.md"), 0o644);
        Installation { _dir: dir, config, key }
    }

    fn write(path: &Path, mode: u32) {
        fs::write(path, "x").unwrap();
        close(path, mode);
    }

    fn close(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn keys_must_be_there_and_closed() {
        let Installation { _dir, config, key } = installation();
        assert_eq!(keys_directory(&config).level, Level::Ok);
        close(&key, 0o640);
        let finding = keys_directory(&config);
        assert_eq!(finding.level, Level::Fail);
        assert!(finding.what.contains(".key"), "{}", finding.what);
        let sealed = fs::read(&key).unwrap();
        write(&key, 0o600);
        let finding = keys_directory(&config);
        assert!(
            finding.level == Level::Fail && finding.what.contains("--offline` condemns it"),
            "{}",
            finding.what
        );
        fs::remove_file(&key).unwrap();
        assert_eq!(keys_directory(&config).level, Level::Fail);
        fs::write(&key, sealed).unwrap();
        close(&key, 0o600);
        close(&config.keys.dir, 0o777);
        assert_eq!(keys_directory(&config).level, Level::Fail);
        close(&config.keys.dir, 0o755);
        assert_eq!(keys_directory(&config).level, Level::Ok);
        let elsewhere = Config::for_tests(Path::new("/nonexistent"));
        assert_eq!(keys_directory(&elsewhere).level, Level::Fail);
    }

    #[test]
    fn a_key_encryption_key_beside_the_keys_is_worth_a_warning() {
        let Installation { _dir, mut config, .. } = installation();
        config.keys.kek = KekSource::Developer;
        assert_eq!(key_encryption_key(&config).level, Level::Warn);
        let file = config.data_dir.join("kek");
        config.keys.kek = KekSource::File(file.clone());
        assert_eq!(key_encryption_key(&config).level, Level::Fail, "not there");
        write(&file, 0o600);
        assert_eq!(key_encryption_key(&config).level, Level::Ok);
        close(&file, 0o440);
        assert_eq!(key_encryption_key(&config).level, Level::Ok, "as a service manager mounts it");
        close(&file, 0o644);
        assert_eq!(key_encryption_key(&config).level, Level::Fail, "open");
        write(&config.keys.dir.join("kek"), 0o600);
        assert_eq!(key_encryption_key(&config).level, Level::Warn, "an old one");
    }
}
