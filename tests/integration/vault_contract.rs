//! What every vault promises, wherever it keeps its sealed keys.
#![expect(clippy::unwrap_used, reason = "a test's helper may panic")]

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use signet::clock::ManualClock;
use signet::entropy::SystemEntropy;
use signet::keys::{
    DirectoryVault, Kek, SealedVault, Signer as _, SoftwareSigner, StoreVault, StoredState, VaultError,
    self_test,
};
use signet::oauth::{Algorithm, KeyId};
use signet::store::postgres::TimeSource;
use signet::store::{MemoryStore, Store};
use zeroize::Zeroizing;

use crate::postgres_fixture::Database;

fn kek(byte: u8) -> Arc<Kek> {
    Arc::new(Kek::new(Zeroizing::new([byte; 32])))
}

/// The suite: `open` opens the same vault under another of three key-encryption keys.
pub(crate) fn vault_contract(keks: &[Arc<Kek>; 3], open: impl Fn(Arc<Kek>) -> Arc<dyn SealedVault>) {
    let kek = |number: usize| keks[number - 1].clone();
    let open = |number: usize| open(kek(number));
    let vault = open(1);
    assert_eq!(vault.list().unwrap(), []);
    let made = vault.generate(Algorithm::ES256).unwrap();
    let kid = made.kid().clone();
    let listed = vault.list().unwrap();
    assert!(matches!(listed[0].state, StoredState::Pending { since } if since > 0), "{listed:?}");
    assert_eq!((listed.len(), &listed[0].kid), (1, &kid));

    let opened = open(1).open(&kid, Algorithm::ES256).unwrap();
    assert_eq!(opened.public_jwk(), made.public_jwk());
    assert_eq!(self_test(opened.as_ref()), Ok(()));
    assert!(matches!(
        vault.open(&kid, Algorithm::EdDSA),
        Err(VaultError::Unusable { .. } | VaultError::Unseal { .. })
    ));
    let stranger = KeyId::parse("stranger").unwrap();
    assert!(matches!(vault.open(&stranger, Algorithm::ES256), Err(VaultError::Missing { .. })));
    assert!(matches!(vault.keep(&stranger), Err(VaultError::Missing { .. })));
    vault.destroy(&stranger).unwrap();

    for _ in 0..2 {
        vault.keep(&kid).unwrap();
        assert_eq!(vault.list().unwrap()[0].state, StoredState::Kept);
    }
    let brought = SoftwareSigner::generate(Algorithm::EdDSA).unwrap();
    assert_eq!(vault.import(&brought).unwrap().kid(), brought.kid());
    assert!(matches!(vault.import(&brought), Err(VaultError::Present { .. })));

    // Another key-encryption key opens nothing, and takes over whole.
    let renewed = open(2);
    assert!(matches!(renewed.open(&kid, Algorithm::ES256), Err(VaultError::Unseal { .. })));
    assert!(renewed.verify().is_err());
    assert!(renewed.reseal(&kek(3)).is_err(), "neither the old one nor the new one");
    assert_eq!((renewed.reseal(&kek(1)).unwrap(), renewed.reseal(&kek(1)).unwrap()), (2, 0));
    assert_eq!(renewed.verify().unwrap(), 2);
    assert!(matches!(vault.open(&kid, Algorithm::ES256), Err(VaultError::Unseal { .. })));
    let states: Vec<_> = renewed.list().unwrap().into_iter().map(|key| (key.kid, key.state)).collect();
    assert!(states.contains(&(kid.clone(), StoredState::Kept)), "{states:?}");

    for _ in 0..2 {
        renewed.destroy(&kid).unwrap();
    }
    renewed.destroy(brought.kid()).unwrap();
    assert_eq!(renewed.list().unwrap(), []);
    assert!(matches!(renewed.open(&kid, Algorithm::ES256), Err(VaultError::Missing { .. })));
}

pub(crate) fn in_directory(dir: &Path) -> impl Fn(Arc<Kek>) -> Arc<dyn SealedVault> {
    |kek| Arc::new(DirectoryVault::open(dir, kek, SystemEntropy::shared()).unwrap())
}

pub(crate) fn in_store(store: Arc<dyn Store>) -> impl Fn(Arc<Kek>) -> Arc<dyn SealedVault> {
    let clock = Arc::new(ManualClock::at(1_700_000_000));
    move |kek| {
        let sources = (clock.clone() as Arc<_>, SystemEntropy::shared());
        Arc::new(StoreVault::new(store.clone(), kek, sources))
    }
}

fn keks() -> [Arc<Kek>; 3] {
    [kek(1), kek(2), kek(3)]
}

#[test]
fn a_directory() {
    let dir = tempfile::tempdir().unwrap();
    vault_contract(&keks(), in_directory(dir.path()));
}

#[tokio::test]
async fn a_store_in_memory() {
    let store = MemoryStore::new(Arc::new(ManualClock::at(1_700_000_000)));
    tokio::task::spawn_blocking(|| vault_contract(&keks(), in_store(store))).await.unwrap();
}

#[tokio::test]
async fn a_store_in_a_database_that_learns_nothing() {
    let Some(database) = Database::fresh().await else { return };
    let store = database.store(TimeSource::Database).await;
    tokio::task::spawn_blocking({
        let store = store.clone();
        || vault_contract(&keks(), in_store(store))
    })
    .await
    .unwrap();
    let vault = in_store(store)(kek(1));
    let key = SoftwareSigner::generate(Algorithm::ES256).unwrap();
    let der = key.to_pkcs8().unwrap();
    tokio::task::spawn_blocking(move || vault.import(&key).map(drop)).await.unwrap().unwrap();
    let rows = database.client().await.query("SELECT v FROM signet_kv", &[]).await.unwrap();
    let value: Vec<u8> = rows[0].get(0);
    // The private scalar, as it stands in PKCS#8 of P-256.
    let scalar = &der[36..68];
    assert!(!value.windows(scalar.len()).any(|window| window == scalar));
    let text = String::from_utf8(value).unwrap();
    let encoded = URL_SAFE_NO_PAD.encode(scalar);
    assert!(text.contains("\"sealed\"") && !text.contains(&encoded[..40]));
}
