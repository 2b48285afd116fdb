//! What the nodes of a store must have in common: the store knows the settings that the newest of them was started with.
//!
//! The issuer stands in whatever is issued. P and S say when every node has heard of a change and how far their clocks differ: each
//! node dates keys by its own, so a node with a longer P would sign with a key that the others let go. All other settings of the
//! keys may differ for a while, so that nodes can be given new ones in turn: the ring remembers the longest of what was promised.
//!
//! P and S are what most of the nodes that run say they have. What is written down decides among as many, and for those of an earlier
//! release, which do not say: so neither a node that slips in while the others are not heard of stops them when they come back, nor one
//! that was forgotten those that were started since.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::StartError;
use crate::backup::{self, Assurances, BackupError, INSTALLATION};
use crate::config::Config;
use crate::store::typed::TypedTable;
use crate::store::{Batch, Committed, Condition, Node, Nodes, Store, StoreError};

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
    /// It is not called what somebody thinks who would call it something else.
    #[error(
        "the store is that of {there}, not of {from}: nothing was changed; name the former issuer by `--from {there}`"
    )]
    NotFormer {
        /// What was named.
        from: String,
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
    pub(super) fn of(config: &Config) -> Self {
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
            let written = before.as_ref().unwrap_or(self);
            self.refuse_beside_others(store, written).await?;
            if before.is_some() && differences.is_empty() {
                return Ok(());
            }
            if self.write(store, condition).await? == Committed::Conflict {
                continue;
            }
            // A node that announced itself meanwhile is seen here, or it sees what was written.
            let alone = self.refuse_beside_others(store, written).await;
            if let (Err(_), Some(before)) = (&alone, &before) {
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

    /// Looks again, as one of the `nodes`, which the others can see by now: most of them may have other settings. One that does not
    /// take part yet gives way to as many as agree with it, too: of two that are started at once, whichever announced itself later sees
    /// the other, whatever is written down. Tells what else differs.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub(super) async fn keep(
        &self,
        store: &dyn Store,
        nodes: &[Node],
        takes_part: bool,
    ) -> Result<Vec<Difference>, StartError> {
        let Some(found) = SETTINGS.get(store, ROW).await? else { return Ok(Vec::new()) };
        let mut differences = self.differences(&found.value)?;
        if !takes_part && let Some(difference) = self.difference_from_others(nodes, &found.value) {
            return Err(Disagreement::Setting { difference, nodes: names(nodes) }.into());
        }
        if let Some(difference) = self.difference_from_most(nodes, &found.value) {
            return Err(Disagreement::Overtaken(difference).into());
        }
        let before = differences.len();
        differences.retain(|difference| !difference.matters());
        if differences.len() < before {
            // Written by a node that was alone for a while.
            let mut most = found.value.clone();
            most.settings.extend(self.must_agree());
            let _by_another = most.write(store, Condition::VersionIs(found.version)).await?;
        }
        Ok(differences)
    }

    /// What must be the same on every node that runs.
    pub(super) fn must_agree(&self) -> BTreeMap<String, String> {
        let settings = self.settings.iter().filter(|(name, _)| MUST_AGREE.contains(&name.as_str()));
        settings.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// In what this node differs from most of `nodes`, of what must be the same on all of them.
    fn difference_from_most(&self, nodes: &[Node], written: &Self) -> Option<Difference> {
        let written = written.must_agree();
        let mut counts = counted(nodes, &written);
        counts.entry(&written).or_insert(0);
        let (most, _) = counts.into_iter().max_by_key(|(settings, count)| (*count, **settings == written))?;
        self.difference_from(most)
    }

    /// In what this node differs from as many of the other `nodes` as agree with it, or more.
    fn difference_from_others(&self, nodes: &[Node], written: &Self) -> Option<Difference> {
        let (written, here) = (written.must_agree(), self.must_agree());
        let mut counts = counted(nodes, &written);
        // Itself.
        counts.entry(&here).and_modify(|count| *count = count.saturating_sub(1));
        counts.retain(|_, count| *count > 0);
        let (most, _) = counts.into_iter().max_by_key(|(settings, count)| (*count, **settings != here))?;
        self.difference_from(most)
    }

    fn difference_from(&self, settings: &BTreeMap<String, String>) -> Option<Difference> {
        self.must_agree().into_iter().find_map(|(setting, here)| {
            let there = settings.get(&setting).filter(|there| **there != here)?.clone();
            Some(Difference { setting, here, there })
        })
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

    async fn refuse_beside_others(&self, store: &dyn Store, written: &Self) -> Result<(), StartError> {
        let nodes = Nodes::running(store).await?;
        let difference = if nodes.is_empty() { None } else { self.difference_from_most(&nodes, written) };
        let Some(difference) = difference else { return Ok(()) };
        Err(Disagreement::Setting { difference, nodes: names(&nodes) }.into())
    }

    async fn write(&self, store: &dyn Store, condition: Condition) -> Result<Committed, StoreError> {
        store.commit(SETTINGS.put(Batch::new(), ROW, condition, self)?).await
    }
}

/// How many nodes say what; those of an earlier release say what is written down.
fn counted<'n>(
    nodes: &'n [Node],
    written: &'n BTreeMap<String, String>,
) -> BTreeMap<&'n BTreeMap<String, String>, usize> {
    let mut counts = BTreeMap::new();
    for node in nodes {
        let said = node.said.as_ref().map(|said| &said.settings).filter(|said| !said.is_empty());
        *counts.entry(said.unwrap_or(written)).or_insert(0) += 1;
    }
    counts
}

fn names(nodes: &[Node]) -> String {
    let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
    names.join(", ")
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

/// What differs in the settings from those of the nodes that run, or that ran last: what keeps this one from starting beside them, and what
/// does not.
///
/// # Errors
/// [`Disagreement::Issuer`], and when the store fails.
pub async fn compare_settings(
    config: &Config,
    store: &dyn Store,
) -> Result<(Option<Difference>, Vec<Difference>), StartError> {
    let here = Agreement::of(config);
    let Some(found) = SETTINGS.get(store, ROW).await? else { return Ok((None, Vec::new())) };
    let mut differences = here.differences(&found.value)?;
    let nodes = Nodes::running(store).await?;
    let fatal = if nodes.is_empty() { None } else { here.difference_from_most(&nodes, &found.value) };
    differences.retain(|difference| Some(difference) != fatal.as_ref());
    Ok((fatal, differences))
}

/// From now on the service on this store, which was called `from`, is called `to`. Nothing where it is called that already.
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
    if found.value.issuer == to {
        return Ok(());
    }
    if found.value.issuer != from {
        return Err(Disagreement::NotFormer { from: from.to_owned(), there: found.value.issuer }.into());
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
