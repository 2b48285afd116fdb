//! This node as one of those that share a store.

use std::sync::atomic::Ordering;

use super::{App, StartError};
use crate::store::{Node, following};

impl App {
    /// Takes part: announces this node, then takes in what was committed since it was opened. Whoever serves does this first; a node
    /// that may not take part takes leave.
    ///
    /// # Errors
    /// As [`Self::announce`] and [`Self::follow`].
    pub async fn join(&self) -> Result<(), StartError> {
        let joined = async {
            self.announce().await?;
            self.follow().await
        };
        let joined = joined.await.map(drop);
        if joined.is_err() {
            self.leave().await;
        }
        joined
    }

    /// Tells the other nodes that this one stops.
    pub async fn leave(&self) {
        if let Err(error) = self.state.services.nodes.leave().await {
            tracing::info!(%error, "the other nodes will count this one for a minute");
        }
    }

    /// Tells the other nodes, and whoever restores or moves the installation, that this one is there, and hears of them: the limits are
    /// divided among all. That the store acknowledges it is what lets this node issue for P. In this order: whoever restores
    /// writes that down, then looks for nodes; so either this node is seen, or it sees what was written.
    ///
    /// # Errors
    /// When the store fails, where the installation is restored or moved, and where nodes with other settings were started.
    pub async fn announce(&self) -> Result<(), StartError> {
        let services = &self.state.services;
        let begun = services.fitness.begin();
        let takes_part = !services.fitness.is_stopped();
        following(async {
            if !takes_part {
                self.agree_anew().await?;
            }
            let nodes = services.nodes.announce(services.fitness.node_clock()).await?;
            self.refuse_unfinished().await?;
            self.keep_agreement(&nodes, takes_part).await
        })
        .await?;
        services.fitness.acknowledged(begun);
        services.limits.share_among(services.nodes.names());
        Ok(())
    }

    /// As at a start, before this node counts again: it stays out beside nodes with other settings, and goes on with its own where
    /// they have gone for a minute, since one that was overtaken tells nobody any more that it is there.
    async fn agree_anew(&self) -> Result<(), StartError> {
        let store = &self.state.services.store;
        if !store.is_shared() {
            return Ok(());
        }
        self.refuse_unfinished().await?;
        self.agreement.write_down(store.as_ref()).await
    }

    /// Refuses to go on where more nodes were started, while this one was not heard of, with other settings that it must share: it
    /// issues nothing more. Refuses to begin beside as many. Tells once what else differs.
    async fn keep_agreement(&self, nodes: &[Node], takes_part: bool) -> Result<(), StartError> {
        let services = &self.state.services;
        if !services.store.is_shared() {
            return Ok(());
        }
        let kept = self.agreement.keep(services.store.as_ref(), nodes, takes_part).await;
        if matches!(kept, Err(StartError::Disagreement(_))) {
            services.fitness.stop();
        }
        let differences = kept?;
        let is_told = self.told_differences.swap(!differences.is_empty(), Ordering::Relaxed);
        for difference in differences.iter().filter(|_| !is_told) {
            tracing::warn!(
                "{difference} on nodes that were started later: start this one again with the same"
            );
        }
        Ok(())
    }
}
