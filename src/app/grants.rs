use std::sync::Arc;

use super::{Ground, seconds};
use crate::config::Config;
use crate::keys::{KeyRing, SealingKeys};
use crate::tokens::{Codes, Families, IdTokens, RefreshTokens, Revocations, Sealer};

/// What people's grants become.
pub(super) struct Grants {
    pub(super) codes: Codes,
    pub(super) refresh_tokens: RefreshTokens,
    pub(super) families: Arc<Families>,
    pub(super) id_tokens: IdTokens,
    pub(super) sealer: Sealer,
}

impl Grants {
    /// What the settings make it of.
    pub(super) fn new(
        config: &Config,
        Ground { store, clock, entropy }: &Ground,
        (keys, sealing_keys): (&Arc<KeyRing>, &Arc<SealingKeys>),
        revocations: &Arc<Revocations>,
    ) -> Self {
        let skew = seconds(config.keys.clock_skew);
        let families = Arc::new(Families::new(store.clone(), clock.clone(), revocations.clone(), skew));
        let sealer = Sealer::new(sealing_keys.clone());
        let lifetimes = (seconds(config.refresh_tokens.lifetime), seconds(config.refresh_tokens.idle));
        Self {
            codes: Codes::new(
                store.clone(),
                (clock.clone(), entropy.clone()),
                families.clone(),
                seconds(config.codes.lifetime),
            ),
            refresh_tokens: RefreshTokens::new(sealer.clone(), families.clone(), clock.clone(), lifetimes),
            families,
            id_tokens: IdTokens::new(config.issuer.clone(), keys.clone(), seconds(config.tokens.lifetime)),
            sealer,
        }
    }
}
