//! Picks what the service stands on; the one place that knows which backends there are.

use std::sync::Arc;

use super::StartError;
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, StoreConfig, VaultPlace};
use crate::entropy::{SharedEntropy, SystemEntropy};
use crate::keys::{DirectoryVault, Kek, SealedVault, StoreVault};
use crate::store::{SledStore, Store, StoreError};

/// What the service stands on; everything else follows from the settings.
#[derive(Clone)]
pub struct Ground {
    /// What must be remembered.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: SharedClock,
    /// Chance.
    pub entropy: SharedEntropy,
}

impl Ground {
    /// This machine's clock and chance, and the store of the settings, which is set up where there is none.
    ///
    /// # Errors
    /// When the store is not to be had.
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        let clock = SystemClock::shared();
        let store = match &config.store {
            StoreConfig::Directory => {
                let store = SledStore::open(config.store_path(), clock.clone());
                store.map_err(at(format!("data_dir = {}", config.data_dir.display())))? as Arc<dyn Store>
            }
            StoreConfig::Postgres(database) => database::open(database).await.map_err(at("store".into()))?,
        };
        Ok(Self { store, clock, entropy: SystemEntropy::shared() })
    }

    /// As [`Ground::open`], but nothing is made where nothing is.
    ///
    /// # Errors
    /// As [`Ground::open`], and [`StartError::NoInstallation`].
    pub async fn of_installation(config: &Config) -> Result<Self, StartError> {
        let (exists, place) = match &config.store {
            StoreConfig::Directory => (config.store_path().exists(), config.data_dir.display().to_string()),
            StoreConfig::Postgres(settings) => {
                let exists = database::exists(settings).await.map_err(at("store".into()))?;
                (exists, format!("the database {}", settings.database))
            }
        };
        if exists { Self::open(config).await } else { Err(StartError::NoInstallation { place }) }
    }

    /// Where the settings keep the private keys, sealed under `kek`.
    ///
    /// # Errors
    /// When their directory can't be used.
    pub fn vault(&self, config: &Config, kek: Arc<Kek>) -> Result<Arc<dyn SealedVault>, StartError> {
        let entropy = self.entropy.clone();
        Ok(match config.keys.vault {
            VaultPlace::Directory => {
                let vault = DirectoryVault::open(&config.keys.dir, kek, entropy);
                Arc::new(vault.map_err(StartError::KeysDir)?)
            }
            VaultPlace::Store => {
                Arc::new(StoreVault::new(self.store.clone(), kek, (self.clock.clone(), entropy)))
            }
        })
    }
}

fn at(place: String) -> impl FnOnce(StoreError) -> StartError {
    move |source| StartError::StoreAt { place, source }
}

#[cfg(feature = "postgres")]
pub(crate) mod database {
    //! The database that the settings name.

    use std::path::Path;
    use std::sync::Arc;

    use crate::config::{PasswordSource, PostgresConfig, exposed};
    use crate::entropy::SystemEntropy;
    use crate::store::postgres::{
        PostgresHost, PostgresOptions, PostgresPassword, PostgresReport, PostgresTls, TimeSource,
    };
    use crate::store::{PostgresStore, Store, StoreError};

    /// How many of the latest changes stay readable.
    const CHANGES_KEPT: u64 = 100_000;

    pub(crate) async fn open(settings: &PostgresConfig) -> Result<Arc<dyn Store>, StoreError> {
        Ok(PostgresStore::open(options(settings)?).await?)
    }

    pub(crate) async fn exists(settings: &PostgresConfig) -> Result<bool, StoreError> {
        Ok(report(settings).await?.schema != 0)
    }

    pub(crate) async fn report(settings: &PostgresConfig) -> Result<PostgresReport, StoreError> {
        PostgresStore::report(&options(settings)?).await
    }

    pub(crate) async fn migrate(settings: &PostgresConfig) -> Result<i32, StoreError> {
        PostgresStore::migrate(&options(settings)?).await
    }

    /// A password that others may read, or its file's group change, is refused, as a key-encryption key is. A file that is not
    /// there is told of by whoever reads it, for every connection.
    fn refuse_exposed(path: &Path) -> Result<(), StoreError> {
        match path.metadata().ok().and_then(|file| exposed(&file)) {
            Some(mode) => Err(StoreError::Unavailable(format!(
                "postgres.password_file = {}: others may read it, or its group change it (mode {mode:04o}): `chmod 600` it",
                path.display()
            ))),
            None => Ok(()),
        }
    }

    fn options(settings: &PostgresConfig) -> Result<PostgresOptions, StoreError> {
        if let Some(PasswordSource::File(path)) = &settings.password {
            refuse_exposed(path)?;
        }
        let host = |(host, port): &(String, u16)| PostgresHost { host: host.clone(), port: *port };
        Ok(PostgresOptions {
            hosts: settings.hosts.iter().map(host).collect(),
            user: settings.user.clone(),
            database: settings.database.clone(),
            password: settings.password.as_ref().map(|source| match source {
                PasswordSource::Value(password) => PostgresPassword::Value(password.clone()),
                PasswordSource::File(path) => PostgresPassword::File(path.clone()),
            }),
            tls: if settings.tls {
                PostgresTls::Verified { ca_bundle: settings.ca_bundle.clone() }
            } else {
                PostgresTls::Plaintext
            },
            session_options: settings.session_options.clone(),
            timeout: settings.timeout,
            connections: settings.connections,
            waiting: settings.waiting,
            changes_kept: CHANGES_KEPT,
            time: TimeSource::Database,
            entropy: SystemEntropy::shared(),
        })
    }
}

#[cfg(not(feature = "postgres"))]
pub(crate) mod database {
    //! A build that knows no database.

    use std::sync::Arc;

    use crate::config::PostgresConfig;
    use crate::store::{Store, StoreError};

    /// What a database says of itself; there is none.
    pub(crate) struct Report {
        pub(crate) server: String,
        pub(crate) schema: i32,
        pub(crate) expected_schema: i32,
        pub(crate) warnings: Vec<String>,
    }

    pub(crate) async fn open(_: &PostgresConfig) -> Result<Arc<dyn Store>, StoreError> {
        std::future::ready(Err(missing())).await
    }

    pub(crate) async fn exists(_: &PostgresConfig) -> Result<bool, StoreError> {
        std::future::ready(Err(missing())).await
    }

    pub(crate) async fn report(_: &PostgresConfig) -> Result<Report, StoreError> {
        std::future::ready(Err(missing())).await
    }

    pub(crate) async fn migrate(_: &PostgresConfig) -> Result<i32, StoreError> {
        std::future::ready(Err(missing())).await
    }

    fn missing() -> StoreError {
        StoreError::Unavailable("this build has no PostgreSQL (cargo feature postgres)".to_owned())
    }
}
