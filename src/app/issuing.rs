//! Puts together what issues, publishes and revokes.

use std::sync::Arc;
use std::time::Duration;

use super::upkeep::SWEEP;
use super::{Ground, StartError, seconds};
use crate::backup;
use crate::config::{CodesConfig, Config, RefreshTokensConfig};
use crate::keys::{KeyRing, SealingKeys};
use crate::tokens::{
    AccessTokens, Codes, Families, GrantLifetimes, IdTokens, ListDates, LogoutTokens, Publication,
    RefreshTokens, Revocations, Sealer, StatusIndexes, StatusLists, StatusPublisher,
};

/// For how long a status list takes tokens.
const LIST_WINDOW: Duration = Duration::from_hours(1);

/// So many rounds of housekeeping a start waits for at most.
const ROUNDS: usize = 10;

/// The parts, for the services.
pub(super) struct Issuing {
    pub(super) access_tokens: AccessTokens,
    pub(super) codes: Codes,
    pub(super) refresh_tokens: RefreshTokens,
    pub(super) families: Arc<Families>,
    pub(super) id_tokens: IdTokens,
    pub(super) logout_tokens: LogoutTokens,
    pub(super) revocations: Arc<Revocations>,
    pub(super) status_indexes: Arc<StatusIndexes>,
    pub(super) status_lists: Arc<StatusLists>,
    pub(super) status: StatusPublisher,
    pub(super) sealer: Sealer,
}

/// Removes what has ended by this clock, which may be ahead: it is not seen, and so can't be revoked, and must not come back when the clock
/// is right. A store that is shared goes by its own.
async fn sweep(ground: &Ground) -> Result<(), StartError> {
    if !ground.store.is_shared() {
        for _ in 0..ROUNDS {
            if ground.store.sweep(ground.clock.now(), SWEEP).await? < SWEEP {
                break;
            }
        }
    }
    Ok(())
}

pub(super) async fn open(
    config: &Config,
    ground: &Ground,
    (keys, sealing_keys): (&Arc<KeyRing>, &Arc<SealingKeys>),
) -> Result<Issuing, StartError> {
    let Ground { store, clock, entropy } = ground;
    let (issuer, skew) = (&config.issuer, seconds(config.keys.clock_skew));
    let dates = ListDates {
        window: seconds(LIST_WINDOW),
        longest_lifetime: seconds(config.tokens.longest_lifetime),
        clock_skew: skew,
    };
    sweep(ground).await?;
    let lists_uri = format!("{issuer}/status");
    let lists = StatusLists::open(lists_uri, dates, store.clone(), clock.clone(), entropy.clone()).await?;
    let status_lists = Arc::new(lists);
    let grants = GrantLifetimes {
        sealing_keys: sealing_keys.clone(),
        longest: seconds(RefreshTokensConfig::LONGEST),
        code: seconds(CodesConfig::LONGEST),
    };
    let of_node = (clock.clone(), keys.parts().fitness.clone());
    let revocations = Revocations::open(store.clone(), of_node, status_lists.clone(), Some(grants)).await?;
    // The clock may have been set back since.
    if let Some(dated) = backup::dated_until(store.as_ref(), &config.node, clock.now()).await? {
        revocations.dated_until(dated.timestamp());
    }
    if let Some(dated) = backup::dated_elsewhere(store.as_ref()).await? {
        revocations.dated_elsewhere_until(dated.timestamp());
    }
    let revocations = Arc::new(revocations);
    let status_indexes = Arc::new(StatusIndexes::open(status_lists.clone(), clock.clone()).await?);
    let publication = Publication {
        issuer: issuer.clone(),
        ttl: config.tokens.status_list_ttl.as_secs(),
        lifetime: seconds(config.tokens.longest_lifetime),
    };
    let status = StatusPublisher::new(
        publication,
        clock.clone(),
        keys.clone(),
        status_lists.clone(),
        revocations.clone(),
    );
    let families = Arc::new(Families::new(store.clone(), clock.clone(), revocations.clone(), skew));
    let sealer = Sealer::new(sealing_keys.clone());
    let chance = (clock.clone(), entropy.clone());
    let code_lifetime = seconds(config.codes.lifetime);
    let lifetimes = (seconds(config.refresh_tokens.lifetime), seconds(config.refresh_tokens.idle));
    let places = (status_indexes.clone(), revocations.clone());
    Ok(Issuing {
        access_tokens: AccessTokens::new(issuer.clone(), keys.clone(), places, entropy.clone()),
        codes: Codes::new(store.clone(), chance, families.clone(), code_lifetime),
        refresh_tokens: RefreshTokens::new(sealer.clone(), families.clone(), clock.clone(), lifetimes),
        families,
        id_tokens: IdTokens::new(issuer.clone(), seconds(config.tokens.lifetime)),
        logout_tokens: LogoutTokens::new(
            issuer.clone(),
            entropy.clone(),
            seconds(config.tokens.longest_lifetime),
        ),
        revocations,
        status_indexes,
        status_lists,
        status,
        sealer,
    })
}
