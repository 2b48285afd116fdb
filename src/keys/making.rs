//! Making keys: all that are wanted at once, and those that take long by every core.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::error::KeyRingError;
use super::signer::Signer;
use super::vault::{KeyVault, VaultError};
use crate::oauth::Algorithm;

/// Keys that stand in the vault as pending and in no ring yet.
#[derive(Default)]
pub(super) struct Made(Vec<Arc<dyn Signer>>);

impl Made {
    /// One for `algorithm`.
    pub(super) fn take(&mut self, algorithm: Algorithm) -> Option<Arc<dyn Signer>> {
        let at = self.0.iter().position(|signer| signer.algorithm() == algorithm)?;
        Some(self.0.swap_remove(at))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<dyn Signer>> {
        self.0.iter()
    }
}

impl FromIterator<Arc<dyn Signer>> for Made {
    fn from_iter<I: IntoIterator<Item = Arc<dyn Signer>>>(signers: I) -> Self {
        Self(signers.into_iter().collect())
    }
}

type Tasks = JoinSet<Result<Arc<dyn Signer>, VaultError>>;

/// Makes a key for each of `wanted`. When one can't be made, says so beside what was made.
///
/// How long an RSA key takes is luck: a tenth of a second, and a few times that now and then. While another is
/// wanted, the core that was lucky tries for it too, and whichever is found last is not needed.
pub(super) async fn generate(
    vault: &Arc<dyn KeyVault>,
    wanted: Vec<Algorithm>,
) -> (Made, Option<KeyRingError>) {
    let mut tasks = Tasks::new();
    let start = |tasks: &mut Tasks, algorithm| {
        let vault = Arc::clone(vault);
        tasks.spawn_blocking(move || vault.generate(algorithm));
    };
    for algorithm in &wanted {
        start(&mut tasks, *algorithm);
    }
    let (mut missing, mut made) = (wanted, Made::default());
    while !missing.is_empty() {
        let signer = match tasks.join_next().await {
            Some(Ok(Ok(signer))) => signer,
            Some(Ok(Err(error))) => return fail(vault, tasks, made, error.into()),
            Some(Err(_)) | None => return fail(vault, tasks, made, KeyRingError::Stopping),
        };
        let algorithm = signer.algorithm();
        match missing.iter().position(|each| *each == algorithm) {
            Some(at) => {
                missing.swap_remove(at);
                made.0.push(signer);
            }
            None => destroy(vault, &signer).await,
        }
        if is_slow(algorithm) && missing.contains(&algorithm) {
            start(&mut tasks, algorithm);
        }
    }
    destroy_the_rest(vault, tasks);
    (made, None)
}

fn fail(
    vault: &Arc<dyn KeyVault>,
    tasks: Tasks,
    made: Made,
    error: KeyRingError,
) -> (Made, Option<KeyRingError>) {
    destroy_the_rest(vault, tasks);
    (made, Some(error))
}

/// Nobody waits for what is still being made, and nobody may find it afterwards.
fn destroy_the_rest(vault: &Arc<dyn KeyVault>, mut tasks: Tasks) {
    if tasks.is_empty() {
        return;
    }
    let vault = Arc::clone(vault);
    tokio::spawn(async move {
        while let Some(made) = tasks.join_next().await {
            if let Ok(Ok(signer)) = made {
                destroy(&vault, &signer).await;
            }
        }
    });
}

async fn destroy(vault: &Arc<dyn KeyVault>, signer: &Arc<dyn Signer>) {
    let (vault, kid) = (Arc::clone(vault), signer.kid().clone());
    let destroyed = tokio::task::spawn_blocking(move || vault.destroy(&kid)).await;
    if let Ok(Err(error)) = destroyed {
        tracing::warn!(%error, "a key that is not needed stays in the vault as pending");
    }
}

fn is_slow(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::RS256 | Algorithm::PS256)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::seal::SealedKey;
    use super::super::software::SoftwareSigner;
    use super::super::vault::StoredKey;
    use super::*;
    use crate::oauth::KeyId;

    /// Counts what was made and destroyed; the second key that is asked of it can't be made if `fails`.
    #[derive(Default)]
    struct Counted {
        made: Mutex<Vec<KeyId>>,
        destroyed: Mutex<Vec<KeyId>>,
        asked: Mutex<u32>,
        fails: bool,
    }

    impl KeyVault for Counted {
        fn generate(&self, algorithm: Algorithm) -> Result<Arc<dyn Signer>, VaultError> {
            let mut asked = self.asked.lock().unwrap();
            *asked += 1;
            if self.fails && *asked == 2 {
                return Err(VaultError::Missing { kid: KeyId::parse("none").unwrap(), place: "here".into() });
            }
            drop(asked);
            let signer = SoftwareSigner::generate(algorithm).unwrap();
            self.made.lock().unwrap().push(signer.kid().clone());
            Ok(Arc::new(signer))
        }

        fn import(&self, _: &SoftwareSigner) -> Result<Arc<dyn Signer>, VaultError> {
            unreachable!("nothing is imported")
        }

        fn open(&self, _: &KeyId, _: Algorithm) -> Result<Arc<dyn Signer>, VaultError> {
            unreachable!("nothing is opened")
        }

        fn keep(&self, _: &KeyId) -> Result<(), VaultError> {
            unreachable!("nothing is kept")
        }

        fn list(&self) -> Result<Vec<StoredKey>, VaultError> {
            unreachable!("nothing is listed")
        }

        fn destroy(&self, kid: &KeyId) -> Result<(), VaultError> {
            self.destroyed.lock().unwrap().push(kid.clone());
            Ok(())
        }

        fn sealed(&self) -> Result<Vec<SealedKey>, VaultError> {
            unreachable!("nothing is copied")
        }

        fn put_back(&self, _: &SealedKey) -> Result<(), VaultError> {
            unreachable!("nothing is copied")
        }
    }

    /// Until the tasks that nobody waits for are over: each holds the vault.
    async fn settle(vault: Arc<dyn KeyVault>, counted: &Arc<Counted>) {
        drop(vault);
        while Arc::strong_count(counted) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn each_is_made_once_and_what_is_too_much_is_destroyed() {
        let counted = Arc::new(Counted::default());
        let vault: Arc<dyn KeyVault> = counted.clone();
        let wanted = vec![Algorithm::ES256, Algorithm::RS256, Algorithm::ES256, Algorithm::RS256];
        let (mut made, failed) = generate(&vault, wanted.clone()).await;
        assert!(failed.is_none());
        let kept: Vec<KeyId> =
            wanted.iter().map(|algorithm| made.take(*algorithm).unwrap().kid().clone()).collect();
        assert_eq!(made.iter().count(), 0);
        settle(vault, &counted).await;
        let destroyed = counted.destroyed.lock().unwrap().clone();
        assert!(kept.iter().all(|kid| !destroyed.contains(kid)));
        assert_eq!(counted.made.lock().unwrap().len(), kept.len() + destroyed.len());
    }

    #[tokio::test]
    async fn nothing_is_left_over_when_one_can_not_be_made() {
        let counted = Arc::new(Counted { fails: true, ..Counted::default() });
        let vault: Arc<dyn KeyVault> = counted.clone();
        let (made, failed) = generate(&vault, vec![Algorithm::ES256; 4]).await;
        assert!(failed.is_some());
        let told = made.iter().count();
        drop(made);
        settle(vault, &counted).await;
        assert_eq!(counted.made.lock().unwrap().len(), told + counted.destroyed.lock().unwrap().len());
    }
}
