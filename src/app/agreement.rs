//! What the nodes of a store must have in common: the store knows the settings that the newest of them was started with.
//!
//! The issuer stands in whatever is issued. P and S say when every node has heard of a change and how far their clocks differ: each
//! node dates keys by its own, so a node with a longer P would sign with a key that the others let go. All other settings of the
//! keys may differ for a while, so that nodes can be given new ones in turn: the ring remembers the longest of what was promised.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::StartError;
use crate::backup::{self, Assurances, BackupError, INSTALLATION};
use crate::config::Config;
use crate::store::typed::TypedTable;
use crate::store::{Batch, Committed, Condition, Nodes, Store, StoreError};

const SETTINGS: TypedTable<Agreement> = TypedTable::new(INSTALLATION);
const ROW: &[u8] = b"settings";

/// How often it is tried anew when another node was faster.
const ATTEMPTS: usize = 10;

/// What must be the same on every node that runs.
const MUST_AGREE: [&str; 2] = ["keys.propagation", "keys.clock_skew"];

/// The settings that nodes have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    issuer: String,
    /// By name, as people read them.
    settings: BTreeMap<String, String>,
}

/// A node may take no part, because its settings are not those of the others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// It is another service.
    #[error(
        "issuer is {here} here, but the store is that of {there}: what was issued as that would be refused, and verifiers would \
         find two; set issuer to that, or name the right store; if the service is to be called {here} from now on, stop every node \
         and run `signet change-issuer --from {there}`"
    )]
    Issuer {
        /// What this node's settings say.
        here: String,
        /// What the store says.
        there: String,
    },
    /// Keys would be dated for other nodes than there are.
    #[error(
        "{difference} on the nodes that run ({nodes}): keys are dated by it, and a valid token could fail; set it as there, or stop \
         every node, then start them with the new value (one that was killed counts for a minute)"
    )]
    Setting {
        /// Which, here and there.
        difference: Difference,
        /// Which nodes run.
        nodes: String,
    },
    /// Nodes with other settings were started meanwhile.
    #[error(
        "{0} on nodes that were started meanwhile: this one issues nothing while they run; start it again with the settings of the \
         others, or stop those"
    )]
    Overtaken(Difference),
}

/// A setting that is not the same on two nodes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {here} here, but {there}")]
pub struct Difference {
    setting: String,
    here: String,
    there: String,
}

impl Agreement {
    /// What the settings of a node say of it.
    fn of(config: &Config) -> Self {
        let keys = &config.keys;
        let algorithms: Vec<_> = keys.algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
        let times = [
            ("keys.propagation", keys.propagation),
            ("keys.clock_skew", keys.clock_skew),
            ("keys.jwks_max_age", keys.jwks_max_age),
            ("keys.lead", keys.lead),
            ("keys.hold", keys.hold),
            ("keys.rotation_period", keys.rotation_period),
            ("keys.sealing_period", keys.sealing_period),
            ("tokens.longest_lifetime", config.tokens.longest_lifetime),
            ("refresh_tokens.lifetime", config.refresh_tokens.lifetime),
            ("sessions.absolute", config.sessions.absolute),
        ];
        let times =
            times.map(|(name, time): (&str, Duration)| (name.to_owned(), format!("{} s", time.as_secs())));
        let settings = times.into_iter().chain([("keys.algorithms".to_owned(), algorithms.join(", "))]);
        Self { issuer: config.issuer.clone(), settings: settings.collect() }
    }

    /// Refuses a store that is another service's, and settings that must not differ from those of the nodes that run; where
    /// none does, these are the ones from now on. Tells what else differs from the nodes that run.
    ///
    /// # Errors
    /// [`Disagreement`], and when the store fails.
    pub(super) async fn enter(config: &Config, store: &dyn Store) -> Result<Self, StartError> {
        let here = Self::of(config);
        here.write_down(store).await?;
        Ok(here)
    }

    pub(super) async fn write_down(&self, store: &dyn Store) -> Result<(), StartError> {
        for _ in 0..ATTEMPTS {
            let (condition, before) = match SETTINGS.get(store, ROW).await? {
                None => (Condition::Absent, None),
                Some(found) => (Condition::VersionIs(found.version), Some(found.value)),
            };
            let differences =
                before.as_ref().map(|before| self.differences(before)).transpose()?.unwrap_or_default();
            if before.is_some() && differences.is_empty() {
                return Ok(());
            }
            self.refuse_beside_others(store, &differences).await?;
            if self.write(store, condition).await? == Committed::Conflict {
                continue;
            }
            // A node that announced itself meanwhile is seen here, or it sees what was written.
            let alone = self.refuse_beside_others(store, &differences).await;
            if let (Err(_), Some(before)) = (&alone, before) {
                let _unconditional = before.write(store, Condition::Always).await?;
            }
            alone?;
            if !differences.is_empty() && !Nodes::running(store).await?.is_empty() {
                for difference in differences {
                    tracing::warn!(
                        "{difference} on nodes that were started before: give all of them the same"
                    );
                }
            }
            return Ok(());
        }
        Err(StoreError::Unavailable("other nodes change the same row again and again".into()).into())
    }

    /// Looks again, as a node that the others can see by now: nobody may have been started with other settings meanwhile.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub(super) async fn keep(&self, store: &dyn Store) -> Result<Vec<Difference>, StartError> {
        let Some(found) = SETTINGS.get(store, ROW).await? else { return Ok(Vec::new()) };
        let differences = self.differences(&found.value)?;
        match differences.iter().find(|difference| difference.matters()) {
            Some(difference) => Err(Disagreement::Overtaken(difference.clone()).into()),
            None => Ok(differences),
        }
    }

    /// # Errors
    /// When it is another issuer.
    fn differences(&self, there: &Self) -> Result<Vec<Difference>, Disagreement> {
        if self.issuer != there.issuer {
            return Err(Disagreement::Issuer { here: self.issuer.clone(), there: there.issuer.clone() });
        }
        let differing = self.settings.iter().filter_map(|(setting, here)| {
            let there = there.settings.get(setting).filter(|there| *there != here)?;
            Some(Difference { setting: setting.clone(), here: here.clone(), there: there.clone() })
        });
        Ok(differing.collect())
    }

    async fn refuse_beside_others(
        &self,
        store: &dyn Store,
        differences: &[Difference],
    ) -> Result<(), StartError> {
        let Some(difference) = differences.iter().find(|difference| difference.matters()) else {
            return Ok(());
        };
        let names: Vec<_> = Nodes::running(store).await?.into_iter().map(|node| node.name).collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(Disagreement::Setting { difference: difference.clone(), nodes: names.join(", ") }.into())
    }

    async fn write(&self, store: &dyn Store, condition: Condition) -> Result<Committed, StoreError> {
        store.commit(SETTINGS.put(Batch::new(), ROW, condition, self)?).await
    }
}

impl Difference {
    fn matters(&self) -> bool {
        MUST_AGREE.contains(&self.setting.as_str())
    }
}

/// Refuses a store that is another service's: for whoever works on it without being a node.
///
/// # Errors
/// [`Disagreement::Issuer`], and when the store fails.
pub async fn refuse_other_issuer(store: &dyn Store, issuer: &str) -> Result<(), StartError> {
    match SETTINGS.get(store, ROW).await? {
        Some(found) if found.value.issuer != issuer => {
            Err(Disagreement::Issuer { here: issuer.to_owned(), there: found.value.issuer }.into())
        }
        _ => Ok(()),
    }
}

/// From now on the service on this store, which was called `from`, is called `to`.
///
/// # Errors
/// When nodes use the store, when it is not that of `from`, and when it fails.
pub async fn change_issuer(
    store: &dyn Store,
    (from, to): (&str, &str),
    assurances: Assurances,
) -> Result<(), StartError> {
    backup::refuse_unfinished(store).await?;
    let refuse_nodes = async || {
        if assurances.nodes_stopped { Ok(()) } else { backup::refuse_running_nodes(store).await }
    };
    refuse_nodes().await?;
    let Some(found) = SETTINGS.get(store, ROW).await? else { return Ok(()) };
    if found.value.issuer != from {
        return Err(Disagreement::Issuer { here: from.to_owned(), there: found.value.issuer }.into());
    }
    let changed = Agreement { issuer: to.to_owned(), ..found.value.clone() };
    match changed.write(store, Condition::VersionIs(found.version)).await? {
        Committed::Applied => {}
        Committed::Conflict => return Err(BackupError::Contended.into()),
    }
    // A node that was started meanwhile is seen here, or it sees what was written.
    let alone = refuse_nodes().await;
    if alone.is_err() {
        let _unconditional = found.value.write(store, Condition::Always).await?;
    }
    Ok(alone?)
}
