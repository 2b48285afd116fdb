//! What an operator or the service itself wrote, and what may have happened to it since.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use signet::clients::Client;
use signet::clock::ManualClock;
use signet::config::{Sources, load};
use signet::keys::{KeyRingRecord, Signer as _, self_test};
use signet::oauth::{Algorithm, Secret, StatusListClaims};
use signet::store::typed::TypedTable;
use signet::store::{Batch, Condition, MemoryStore, Put, Store as _, Table};
use signet::tokens::{Grant, RefreshToken};
use signet::users::{Account, ApiKey, Consent, Session};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::text;

static DIR: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a directory"));

/// A settings file; or, where the first line is `env`, variables of the environment, one a line. What is taken can
/// be used; what is refused says what and why, and does not print a key-encryption key.
pub(crate) fn settings(data: &[u8]) {
    let sources = match text(data).and_then(|text| text.strip_prefix("env\n")) {
        Some(lines) => {
            let variables = lines.lines().filter_map(|line| line.split_once('='));
            let env = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            Sources { env, ..Sources::default() }
        }
        None => Sources { file: Some(file(data)), ..Sources::default() },
    };
    match load(&sources) {
        Ok(config) => {
            let issuer = url::Url::parse(&config.issuer).expect("the issuer is a URL");
            assert!(issuer.query().is_none() && issuer.fragment().is_none() && issuer.has_host());
            assert!(config.workers > 0 && !config.keys.algorithms.is_empty());
            assert!(config.tokens.lifetime <= config.tokens.longest_lifetime);
            assert!(config.sessions.idle <= config.sessions.absolute);
        }
        Err(error) => {
            assert!(!error.problems.is_empty());
            let told = error.to_string();
            assert!(
                error.problems.iter().all(|problem| !problem.reason.is_empty() && !problem.remedy.is_empty())
            );
            let secrets = sources.env.iter().filter(|(name, _)| name == "SIGNET_KEYS_KEK");
            for (_, secret) in secrets.filter(|(_, secret)| secret.trim().len() > 20) {
                assert!(!told.contains(secret.trim()), "a key-encryption key is printed");
            }
        }
    }
}

fn file(data: &[u8]) -> PathBuf {
    let path = DIR.path().join("signet.toml");
    std::fs::write(&path, data).expect("a file");
    path
}

/// A private key in PEM or as a JWK. One that is taken signs what its public half verifies, and is stored as itself.
pub(crate) fn import_key(data: &[u8]) {
    let Some(text) = text(data) else { return };
    for alg in [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS256] {
        let Ok(signer) = signet::keys::read_private_key(alg, &Secret::new(text.to_owned())) else { continue };
        assert_eq!(self_test(&signer), Ok(()));
        assert_eq!(signer.kid(), &signer.public_jwk().key.thumbprint());
        let der = signer.to_pkcs8().expect("PKCS#8");
        let again = signet::keys::SoftwareSigner::from_pkcs8(alg, &der).expect("the same key");
        assert_eq!(again.public_jwk(), signer.public_jwk());
    }
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));

const ROWS: Table = Table::plain("rows");

/// A stored row; the first byte says of what. It is read or refused as damaged, and what is read is stored again as
/// the same.
pub(crate) fn stored_record(data: &[u8]) {
    let Some((kind, row)) = data.split_first() else { return };
    match kind % 9 {
        0 => stored::<Client>(row),
        1 => stored::<Account>(row),
        2 => stored::<Session>(row),
        3 => stored::<ApiKey>(row),
        4 => stored::<Consent>(row),
        5 => stored::<KeyRingRecord>(row),
        6 => stored::<Grant>(row),
        7 => stored::<RefreshToken>(row),
        _ => stored::<StatusListClaims>(row),
    }
}

fn stored<T: Serialize + DeserializeOwned>(row: &[u8]) {
    let table = TypedTable::<T>::new(ROWS);
    let store = MemoryStore::new(Arc::new(ManualClock::at(1_800_000_000)));
    RUNTIME.block_on(async {
        let put = |key: &str, put: Put| store.commit(Batch::new().put(ROWS, key, Condition::Always, put));
        let _applied = put("1", Put::lasting(row.to_vec())).await.expect("a row");
        let Ok(Some(record)) = table.get(store.as_ref(), b"1").await else { return };
        let encoded = table.encode(&record.value, None).expect("a record");
        let _applied = put("2", encoded.clone()).await.expect("a row");
        let again = table.get(store.as_ref(), b"2").await.expect("a record").expect("a record");
        assert_eq!(table.encode(&again.value, None).expect("a record").value, encoded.value);
    });
}
